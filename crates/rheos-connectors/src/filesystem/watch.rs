//! A folder or glob that is followed: every look finds the files that have come since.
//!
//! ```text
//!   discover ──► first look, before the job runs
//!   discover ──► every interval a look on an I/O thread; what the last one found, or nothing yet
//! ```
//!
//! Invariant: each path is read once, for as long as it is there; a path that has gone is forgotten, so that the memory is
//! that of the folder as it is. Files are renamed into the folder whole: a file is read as long as it is when it is found.
//! An empty one is left for a later look. One that is not what its table says is one bad record; only where a job begins it is
//! refused, unless the table says what bad records do: then it is rather the table that is wrong.
//!
//! A checkpoint remembers each path once, when it was found, and all anew when most of what it remembers has gone.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rheos_core::error::Warn;
use rheos_core::letters::OnError;
use rheos_core::source::{Discovery, Found, Split};
use rheos_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::options::FileOrder;
use super::paths::{InputFile, NoFiles, input_files, shown};
use super::source::FileSource;
use super::splits::{FileSplit, Part};
use crate::io::once::Once;
use crate::io::patience::Patience;
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
    look: Option<Once<Finds>>,
    looked_at: Option<Instant>,
    told: Told,
    warn: Warn,
    /// What is known comes from a checkpoint.
    restored: bool,
}

/// What a look came to.
struct Finds {
    known: Known,
    splits: Vec<Split>,
    /// The paths of the splits.
    new: Vec<PathBuf>,
}

/// What checkpoints remember.
#[derive(Default)]
struct Told {
    /// Entries, also of paths that have gone.
    entries: usize,
    /// Paths that were found since the last checkpoint.
    untold: Vec<PathBuf>,
    /// The sequence of the next file.
    sequence: u32,
}

/// Entries of paths that have gone, beyond as many as are there, before all are told anew.
const SPARE_ENTRIES: usize = 1000;

/// What a checkpoint remembers, as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Entry {
    /// A file that was found.
    Path(PathBuf),
    /// The sequence of the next file.
    Next(u32),
}

impl Entry {
    fn text(&self) -> Option<String> {
        // A path that is not UTF-8 was refused when it became a split.
        serde_json::to_string(self).ok()
    }
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
        let mut state = lock(&self.state);
        let untold = restored.paths.iter().cloned().collect();
        state.told = Told { entries: 0, untold, sequence: restored.sequence };
        (state.known, state.restored) = (Some(restored), true);
        Ok(())
    }

    /// As [`restore`](Self::restore), from what [`take_found`](Self::take_found) gave.
    pub(crate) fn restore_found(&self, entries: &[String]) -> Result<()> {
        let mut restored = Known::default();
        for text in entries {
            let entry = serde_json::from_str(text).map_err(|e| {
                Error::new(ErrorKind::Corrupt, 684, format!("a checkpoint says that the file '{text}' was found: {e}"))
                    .with_hint("go on from another checkpoint")
            })?;
            match entry {
                Entry::Path(path) => {
                    restored.paths.insert(path);
                }
                Entry::Next(sequence) => restored.sequence = restored.sequence.max(sequence),
            }
        }
        let mut state = lock(&self.state);
        state.told = Told { entries: entries.len(), untold: vec![], sequence: restored.sequence };
        (state.known, state.restored) = (Some(restored), true);
        Ok(())
    }

    /// Who is told of a look that fails and is tried again.
    pub(crate) fn set_warn(&self, warn: &Warn) {
        lock(&self.state).warn = warn.clone();
    }

    /// What a checkpoint has to remember beside what it was told before.
    pub(crate) fn take_found(&self) -> Option<Found> {
        let mut state = lock(&self.state);
        let State { known, told, .. } = &mut *state;
        let untold = std::mem::take(&mut told.untold);
        // While a look runs, what is known is with it: then later.
        let entries = told.entries + untold.len();
        let worn = known.as_ref().filter(|k| entries > 2 * k.paths.len() + SPARE_ENTRIES);
        if worn.is_none() && untold.is_empty() {
            return None;
        }
        let paths: Vec<PathBuf> = worn.map_or(untold, |known| known.paths.iter().cloned().collect());
        let next = (told.sequence > 0).then_some(Entry::Next(told.sequence));
        let texts = paths.into_iter().map(Entry::Path).chain(next).filter_map(|entry| entry.text());
        let found = Found { anew: worn.is_some(), entries: texts.collect() };
        told.entries = if found.anew { 0 } else { told.entries } + found.entries.len();
        Some(found)
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
            (None, None) => {
                let keeps = state.restored || source.options.on_error != OnError::Unset;
                let mut known = state.known.take().unwrap_or_default();
                let (splits, new) = find(source, &mut known, time, keeps)?;
                Some(Finds { known, splits, new })
            }
            (None, Some(at)) if at.elapsed() >= interval => {
                let (source, time) = (source.clone(), time.map(str::to_string));
                let mut known = state.known.take().unwrap_or_default();
                let patience = Patience::new(state.warn.clone());
                // Nobody waits for it: the engine asks again soon.
                let look = Once::spawn(Arc::new(|| ()), move || {
                    let (splits, new) = patience.again(|| find(&source, &mut known, time.as_deref(), true))?;
                    Ok(Finds { known, splits, new })
                });
                state.look = Some(look);
                None
            }
            (None, Some(_)) => None,
        };
        let Some(Finds { known, splits, new }) = found else {
            return Ok(Discovery { splits: vec![], finished: false });
        };
        state.told.untold.extend(new);
        state.told.sequence = known.sequence;
        state.known = Some(known);
        state.looked_at = Some(Instant::now());
        Ok(Discovery { splits, finished: false })
    }
}

/// The splits and paths that are new. Where it fails, nothing of `known` has changed but that numbers are left out.
/// `keeps`: a file that is not what its table says is a bad record, if any are kept.
fn find(source: &FileSource, known: &mut Known, time: Option<&str>, keeps: bool) -> Result<(Vec<Split>, Vec<PathBuf>)> {
    let keeps = keeps && source.options.on_error != OnError::Fail;
    let (mut splits, mut new) = (vec![], vec![]);
    let mut paths = HashSet::new();
    for file in input_files(&source.options.path, source.options.file_order, NoFiles::Awaited)? {
        if file.regular && file.size_bytes == 0 {
            continue;
        }
        if !known.paths.contains(&file.path) {
            let before = splits.len();
            match source.split_file(&file, known.sequence, time, &mut splits) {
                Ok(()) => {}
                Err(e) if keeps && is_of_the_file(&e) => {
                    splits.truncate(before);
                    splits.push(broken(&file, &e, known.sequence)?);
                }
                // It has gone again.
                Err(e) if e.kind() == ErrorKind::InputMissing && !file.path.exists() => continue,
                Err(e) => return Err(e),
            }
            if source.options.file_order == FileOrder::Unknown {
                known.sequence = known.sequence.saturating_add(1);
            }
            new.push(file.path.clone());
        }
        paths.insert(file.path);
    }
    known.paths = paths;
    Ok((splits, new))
}

/// Whether an error says that a file is not what its table says.
fn is_of_the_file(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::User | ErrorKind::Invalid | ErrorKind::Corrupt)
}

fn broken(file: &InputFile, error: &Error, sequence: u32) -> Result<Split> {
    let name = format!("'{}'", shown(&file.path));
    let message = error.message();
    let reason = if message.contains(&name) { message.to_string() } else { format!("{name}: {message}") };
    FileSplit { path: file.path.clone(), part: Part::Broken(reason) }.into_split(sequence, 0, None)
}
