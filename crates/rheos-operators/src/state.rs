//! What the operators share when they read their state back.

use rheos_core::state::TableDelta;
use rheos_core::{Error, ErrorKind, Result};

/// Refuses, by name, rows in a layout that this version does not read.
pub(crate) fn check_layout(delta: &TableDelta, layout: &str) -> Result<()> {
    if delta.layout == layout {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Corrupt,
        354,
        format!(
            "the stored table '{}' has the layout '{}', but this version reads '{layout}'",
            delta.table, delta.layout
        ),
    )
    .with_hint("restore it with the version that wrote it, or start the job without its state"))
}
