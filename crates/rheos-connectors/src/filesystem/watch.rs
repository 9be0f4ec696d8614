//! A folder or glob that is followed: every look finds the files that have come since.
//!
//! ```text
//!   discover ──► first look, before the job runs
//!   discover ──► every interval a look on an I/O thread; what the last one found, or nothing yet
//! ```
//!
//! Invariant: each path is read once, for as long as it is there; a path that has gone is forgotten, so that the memory is
//! that of the folder as it is. Files are renamed into the folder whole: a file is read as long as it is when it is found.
//! An empty one is left for a later look.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rheos_core::source::{Discovery, Split};
use rheos_core::{ErrorKind, Result};

use super::options::FileOrder;
use super::paths::{NoFiles, input_files};
use super::source::FileSource;
use super::splits::FileSplit;
use crate::io::once::Once;
use crate::io::pool::lock;

/// See the module.
#[derive(Default)]
pub(crate) struct FolderWatch {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Absent while a look has it.
    known: Option<Known>,
    look: Option<Once<(Known, Vec<Split>)>>,
    looked_at: Option<Instant>,
}

/// What has been found so far.
#[derive(Default)]
struct Known {
    paths: HashSet<PathBuf>,
    /// The sequence of the next file, where each is one of its own.
    sequence: u32,
}

impl FolderWatch {
    /// Before the first look: what a checkpoint knows is not found again, as long as it is there.
    pub(crate) fn restore(&self, known: &[Split], order: FileOrder) -> Result<()> {
        let mut restored = Known::default();
        for split in known {
            restored.paths.insert(FileSplit::parse(split)?.path);
            if order == FileOrder::Unknown {
                restored.sequence = restored.sequence.max(split.sequence.saturating_add(1));
            }
        }
        lock(&self.state).known = Some(restored);
        Ok(())
    }

    /// The splits that are new. Blocks only the first time.
    pub(crate) fn look(&self, source: &FileSource, time: Option<&str>, interval: Duration) -> Result<Discovery> {
        let mut state = lock(&self.state);
        let found = match (state.look.take(), state.looked_at) {
            (Some(look), _) => match look.take() {
                Some(found) => Some(found?),
                None => {
                    state.look = Some(look);
                    None
                }
            },
            (None, None) => Some(find(source, state.known.take().unwrap_or_default(), time)?),
            (None, Some(at)) if at.elapsed() >= interval => {
                let (source, time) = (source.clone(), time.map(str::to_string));
                let known = state.known.take().unwrap_or_default();
                // Nobody waits for it: the engine asks again soon.
                let look = Once::spawn(Arc::new(|| ()), move || find(&source, known, time.as_deref()));
                state.look = Some(look);
                None
            }
            (None, Some(_)) => None,
        };
        let Some((known, splits)) = found else { return Ok(Discovery { splits: vec![], finished: false }) };
        state.known = Some(known);
        state.looked_at = Some(Instant::now());
        Ok(Discovery { splits, finished: false })
    }
}

fn find(source: &FileSource, mut known: Known, time: Option<&str>) -> Result<(Known, Vec<Split>)> {
    let mut splits = vec![];
    let mut paths = HashSet::new();
    for file in input_files(&source.options.path, source.options.file_order, NoFiles::Awaited)? {
        if file.regular && file.size_bytes == 0 {
            continue;
        }
        if !known.paths.contains(&file.path) {
            match source.split_file(&file, known.sequence, time, &mut splits) {
                Ok(()) => {}
                // It has gone again.
                Err(e) if e.kind() == ErrorKind::InputMissing && !file.path.exists() => continue,
                Err(e) => return Err(e),
            }
            if source.options.file_order == FileOrder::Unknown {
                known.sequence = known.sequence.saturating_add(1);
            }
        }
        paths.insert(file.path);
    }
    known.paths = paths;
    Ok((known, splits))
}
