//! What generators remember: the number of the next row that they hand out.

use std::sync::atomic::{AtomicU64, Ordering};

use rheos_core::source::Found;
use rheos_core::{Error, ErrorKind, Result};

/// One entry, which says all.
pub(crate) fn found(next: &AtomicU64) -> Found {
    Found { anew: true, entries: vec![next.load(Ordering::SeqCst).to_string()] }
}

/// Goes on at the last entry. Errors: `Corrupt` (R0684) for an entry that is no number.
pub(crate) fn restore(next: &AtomicU64, entries: &[String]) -> Result<()> {
    let Some(last) = entries.last() else { return Ok(()) };
    let number = last.parse::<u64>().map_err(|_| {
        Error::new(ErrorKind::Corrupt, 684, format!("a checkpoint says that a generator goes on at row '{last}'"))
            .with_hint("go on from another checkpoint")
    })?;
    next.fetch_max(number, Ordering::SeqCst);
    Ok(())
}
