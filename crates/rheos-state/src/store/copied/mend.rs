//! What the first store has lost or cannot read, taken from the second: all of a file, or only the stretch that is bad.
//!
//! ```text
//!   first    ......XXX.......        second   ..........YYY...        X, Y: damaged
//!   mended   ......222.......        and Y is left as the first has it
//! ```
//! A file holds the segments of many tables, and two old disks may each have lost another one. So nothing but the stretch that
//! its reader found damaged is replaced, and only by bytes that the reader takes for whole.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rheos_core::{Error, ErrorKind, Result};

use super::CopiedStore;
use crate::errors::damaged;
use crate::names;
use crate::store::{CheckpointStore, Creation, WriteFailure};

/// As short as damage costs: a frame of an encrypted file cannot be read in parts, and disks lose blocks that are not longer.
const PIECE_BYTES: u64 = 64 << 10;

/// Files that are read from the second store, for the first can neither read nor write them.
#[derive(Debug, Default)]
pub(super) struct Elsewhere(Mutex<BTreeSet<String>>);

impl Elsewhere {
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// Whether it is new.
    fn add(&self, name: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_string())
    }

    /// It is written anew, or removed.
    pub(super) fn forget(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

impl CopiedStore {
    /// Puts a file back that the first store has lost; whether the second has it.
    pub(super) fn put_back(&self, name: &str) -> Result<bool> {
        let bytes = match self.second.read(name, u64::MAX) {
            Ok(None) => return Ok(false),
            Ok(Some(bytes)) => bytes,
            // Not as a whole; what is asked for may be whole.
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.look_elsewhere(name, "missing", &error);
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        match self.first.create(name, &bytes) {
            Ok(Creation::Created) => self.tell(name, "missing"),
            // Another thread was faster.
            Ok(Creation::Exists) => {}
            Err(failure) => self.look_elsewhere(name, "missing", failure.error()),
        }
        Ok(true)
    }

    /// Replaces what is damaged in the first store; whether it reads otherwise now. See [`CheckpointStore::repair`].
    pub(super) fn mend(
        &self,
        name: &str,
        stretch: Option<Range<u64>>,
        is_whole: &dyn Fn(&[u8]) -> bool,
    ) -> Result<bool> {
        if self.elsewhere.has(name) {
            return Ok(false);
        }
        // Stretches of one file are mended one by one: each is put into what the one before has left.
        let _one_by_one = self.mending.lock().unwrap_or_else(PoisonError::into_inner);
        let part = |store: &dyn CheckpointStore| match &stretch {
            Some(stretch) => store.read_range(name, stretch.clone()),
            None => store.read(name, u64::MAX),
        };
        let Some(good) = readable(part(self.second.as_ref()))?.filter(|bytes| is_whole(bytes)) else {
            return Ok(false);
        };
        if readable(part(self.first.as_ref()))?.as_ref() == Some(&good) {
            // Another thread has mended it since, or the disk reads it after all.
            return Ok(true);
        }
        let mended = match &stretch {
            Some(stretch) => self.mended(name, stretch, &good)?,
            None => good.clone(),
        };
        let replace = || -> Result<()> {
            if !matches!(self.first.length_bytes(name), Ok(None)) {
                self.first.keep(name)?;
            }
            self.first.replace(name, &mended).map_err(WriteFailure::into_error)?;
            match readable(part(self.first.as_ref()))? == Some(good) {
                true => Ok(()),
                false => Err(damaged(format!("'{name}' reads other than it was written"))),
            }
        };
        match replace() {
            Ok(()) => self.tell(name, &format!("damaged (it is kept as '{}')", names::damaged_path(name))),
            Err(error) => self.look_elsewhere(name, "damaged", &error),
        }
        Ok(true)
    }

    /// The first store's file with another stretch in it. What it cannot read elsewhere is the second's.
    fn mended(&self, name: &str, stretch: &Range<u64>, good: &[u8]) -> Result<Vec<u8>> {
        let length =
            |store: &dyn CheckpointStore| -> Result<u64> { Ok(readable(store.length_bytes(name))?.unwrap_or(0)) };
        let (first, second) = (length(self.first.as_ref())?, length(self.second.as_ref())?);
        let all = first.max(second).max(stretch.end);
        let mut bytes = vec![0; all as usize];
        let (mut gaps, mut lost) = (Vec::new(), Vec::new());
        fill(self.first.as_ref(), name, 0..first, &mut bytes, &mut gaps)?;
        gaps.push(first..all);
        for gap in gaps {
            // What neither has stays zero: whoever reads it finds it damaged.
            fill(self.second.as_ref(), name, gap.start..gap.end.min(second), &mut bytes, &mut lost)?;
        }
        bytes[stretch.start as usize..stretch.end as usize].copy_from_slice(good);
        Ok(bytes)
    }

    /// From now on a file is read from the second store.
    fn look_elsewhere(&self, name: &str, what: &str, why: &Error) {
        if self.elsewhere.add(name) {
            let (first, second) = (self.first.place(), self.second.place());
            let message = format!("'{name}' is {what} in {first}: it is read from the copy in {second}");
            let message = format!("{message}, and could not be put back: {}", why.message());
            let hint = "look at the disk or store that it was on: one copy is left";
            (self.note)(&Error::new(ErrorKind::Corrupt, 643, message).with_hint(hint));
        }
    }
}

/// What a store cannot read is not there.
pub(super) fn readable<T>(read: Result<Option<T>>) -> Result<Option<T>> {
    match read {
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
        other => other,
    }
}

/// Reads what can be read of a stretch of a file, down to pieces; what cannot be goes to `gaps`.
fn fill(
    store: &dyn CheckpointStore,
    name: &str,
    range: Range<u64>,
    into: &mut [u8],
    gaps: &mut Vec<Range<u64>>,
) -> Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    if let Some(bytes) = readable(store.read_range(name, range.clone()))? {
        into[range.start as usize..range.end as usize].copy_from_slice(&bytes);
    } else if range.end - range.start <= PIECE_BYTES {
        gaps.push(range);
    } else {
        let middle = range.start + (range.end - range.start) / 2;
        let aligned = middle - middle % PIECE_BYTES;
        let middle = if aligned > range.start { aligned } else { middle };
        fill(store, name, range.start..middle, into, gaps)?;
        fill(store, name, middle..range.end, into, gaps)?;
    }
    Ok(())
}
