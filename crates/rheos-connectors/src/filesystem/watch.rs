//! A folder or glob that is followed: every look finds the files that have come since.
//!
//! ```text
//!   discover ──► first look, before the job runs
//!   discover ──► every interval a look on an I/O thread; what the last one found, or nothing yet
//! ```
//!
//! Invariant: each file is read once, for as long as it is there, however its path is spelled. It is known by its place and by what it
//! is (inode, first bytes), so that another one of the same name is new. A path that has gone is forgotten, so that the memory is that
//! of the folder as it is. Files are renamed into the folder whole: a file is read as long as it is when it is found.
//! An empty one is left for a later look. One that is not what its table says is one bad record; only where a job begins it is
//! refused, unless the table says what bad records do: then it is rather the table that is wrong.
//!
//! A checkpoint remembers each path once, when it was found, and all anew when most of what it remembers has gone.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rheos_core::error::Warn;
use rheos_core::letters::OnError;
use rheos_core::source::{Discovery, Found, Split};
use rheos_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::moved::places_of;
use super::options::{FileOptions, FileOrder, Growth};
use super::paths::{InputFile, NoFiles, Places, input_files, place_of, root_of, shown};
use super::position::FileMark;
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
    /// What the user is to be told as soon as somebody listens.
    notice: Option<Error>,
}

/// What a look came to.
struct Finds {
    known: Known,
    splits: Vec<Split>,
    /// What has come to be known.
    new: Vec<Sighting>,
}

/// What checkpoints remember.
#[derive(Default)]
struct Told {
    /// Entries, also of paths that have gone.
    entries: usize,
    /// What has come to be known since the last checkpoint.
    untold: Vec<Sighting>,
    /// The sequence of the next file.
    sequence: u32,
}

/// Entries of paths that have gone, beyond as many as are there, before all are told anew.
const SPARE_ENTRIES: usize = 1000;

/// What a checkpoint remembers, as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Entry {
    /// A file that was found, as versions before remembered it: the path as the table named it.
    Path(PathBuf),
    /// A file that was found.
    File(Sighting),
    /// The sequence of the next file.
    Next(u32),
}

impl Entry {
    fn text(&self) -> Option<String> {
        // A path that is not UTF-8 was refused when it became a split.
        serde_json::to_string(self).ok()
    }
}

/// A file that was found.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sighting {
    place: PathBuf,
    /// Absent for pipes, and where versions before found it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<FileMark>,
}

/// Paths of files that have gone that are remembered, about.
const GONE_MAX: usize = 10_000;

/// What has been found so far.
#[derive(Default)]
struct Known {
    /// By the place.
    files: HashMap<PathBuf, Option<FileMark>>,
    /// By the inode: files that were known where the table does not read any more. They may lie there under another name of the folder.
    elsewhere: HashMap<u64, FileMark>,
    /// Places of files that have gone or were replaced lately: their splits may not be done.
    gone: HashSet<PathBuf>,
    /// The sequence of the next file, where each is one of its own.
    sequence: u32,
}

impl Known {
    fn sightings(&self) -> Vec<Sighting> {
        self.files.iter().map(|(place, mark)| Sighting { place: place.clone(), mark: *mark }).collect()
    }

    /// Sets the files apart that lie nowhere where `path` reads. Whether that is all of them.
    fn set_apart(&mut self, options: &FileOptions) -> bool {
        let root = root_of(&options.path);
        let is_below = self.files.keys().any(|place| place.starts_with(&root));
        // Through links a glob reads in other folders.
        let is_read = || places_of(options).is_ok_and(|places| self.files.keys().any(|place| places.contains(place)));
        let is_elsewhere = !self.files.is_empty() && !is_below && !is_read();
        if is_elsewhere {
            self.elsewhere = self.files.values().flatten().map(|mark| (mark.identity.inode, *mark)).collect();
        }
        is_elsewhere
    }

    fn forget(&mut self, place: PathBuf) {
        if self.gone.len() >= GONE_MAX {
            self.gone.clear();
        }
        self.gone.insert(place);
    }
}

impl FolderWatch {
    /// Before the first look: what a checkpoint knows is not found again, as long as it is there.
    ///
    /// Errors: `Invalid` (R0241) where the checkpoint does not say which files there were.
    pub(crate) fn restore(&self, known: &[Split], options: &FileOptions) -> Result<()> {
        let mut restored = Known::default();
        for split in known {
            let file = FileSplit::parse(split)?;
            if matches!(options.growth, Growth::Files { .. }) && file.place.is_some() && file.mark.is_none() {
                let what =
                    format!("the job reads what was in '{}' when it began, and the table now follows it", options.path);
                return Err(Error::invalid(241, what).with_hint(
                    "take 'source.monitor-interval' away until the job has come to its end: it does not remember which files it has read",
                ));
            }
            restored.files.insert(file.whereabouts(), file.mark);
            if options.file_order == FileOrder::Unknown {
                restored.sequence = restored.sequence.max(split.sequence.saturating_add(1));
            }
        }
        let untold = restored.sightings();
        self.begin(restored, Told { entries: 0, untold, sequence: 0 }, options);
        Ok(())
    }

    /// As [`restore`](Self::restore), from what [`take_found`](Self::take_found) gave.
    pub(crate) fn restore_found(&self, entries: &[String], options: &FileOptions) -> Result<()> {
        let mut restored = Known::default();
        for text in entries {
            let entry = serde_json::from_str(text).map_err(|e| {
                Error::new(ErrorKind::Corrupt, 684, format!("a checkpoint says that the file '{text}' was found: {e}"))
                    .with_hint("go on from another checkpoint")
            })?;
            match entry {
                Entry::Path(path) => {
                    restored.files.insert(place_of(&path), None);
                }
                Entry::File(Sighting { place, mark }) => {
                    restored.files.insert(place, mark);
                }
                Entry::Next(sequence) => restored.sequence = restored.sequence.max(sequence),
            }
        }
        self.begin(restored, Told { entries: entries.len(), ..Told::default() }, options);
        Ok(())
    }

    fn begin(&self, mut known: Known, told: Told, options: &FileOptions) {
        let mut state = lock(&self.state);
        if known.set_apart(options) {
            let path = &options.path;
            let what = format!(
                "the {} files that have been read lie elsewhere, so '{path}' is read from its start, but for files that are the same",
                known.files.len()
            );
            state.notice = Some(Error::invalid(241, what).with_hint("if that is not meant, set 'path' back"));
        }
        state.told = Told { sequence: known.sequence, ..told };
        (state.known, state.restored) = (Some(known), true);
    }

    /// What is left of a folder that was followed and is now read to its end; `None` where none was.
    pub(crate) fn rest(&self, source: &FileSource, time: Option<&str>) -> Result<Option<Vec<Split>>> {
        let known = lock(&self.state).known.take();
        let Some(mut known) = known else { return Ok(None) };
        find(source, &mut known, time, true).map(|(splits, _)| Some(splits))
    }

    /// Who is told of a look that fails and is tried again.
    pub(crate) fn set_warn(&self, warn: &Warn) {
        let mut state = lock(&self.state);
        state.warn = warn.clone();
        if let Some(notice) = state.notice.take() {
            warn.tell(&notice);
        }
    }

    /// What a checkpoint has to remember beside what it was told before.
    pub(crate) fn take_found(&self) -> Option<Found> {
        let mut state = lock(&self.state);
        let State { known, told, .. } = &mut *state;
        let untold = std::mem::take(&mut told.untold);
        // While a look runs, what is known is with it: then later.
        let entries = told.entries + untold.len();
        let worn = known.as_ref().filter(|k| entries > 2 * k.files.len() + SPARE_ENTRIES);
        if worn.is_none() && untold.is_empty() {
            return None;
        }
        let files = worn.map_or(untold, Known::sightings);
        let next = (told.sequence > 0).then_some(Entry::Next(told.sequence));
        let texts = files.into_iter().map(Entry::File).chain(next).filter_map(|entry| entry.text());
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

/// The splits and files that are new. Where it fails, nothing of `known` has changed but that numbers are left out.
/// `keeps`: a file that is not what its table says is a bad record, if any are kept.
fn find(
    source: &FileSource,
    known: &mut Known,
    time: Option<&str>,
    keeps: bool,
) -> Result<(Vec<Split>, Vec<Sighting>)> {
    let keeps = keeps && source.options.on_error != OnError::Fail;
    let (mut splits, mut new) = (vec![], vec![]);
    let (mut files, mut places) = (HashMap::new(), Places::default());
    for mut file in input_files(&source.options.path, source.options.file_order, NoFiles::Awaited)? {
        if file.regular && file.size_bytes == 0 {
            continue;
        }
        let place = places.of(&file.path);
        let Some(sight) = look_at(&mut file, &place, known) else { continue };
        if sight == Sight::New {
            file.place = Some(place.clone());
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
        }
        if sight != Sight::Known {
            new.push(Sighting { place: place.clone(), mark: file.mark });
        }
        files.insert(place, file.mark);
    }
    let before = std::mem::replace(&mut known.files, files);
    for place in before.into_keys().filter(|place| !known.files.contains_key(place)).collect::<Vec<_>>() {
        known.forget(place);
    }
    Ok((splits, new))
}

/// What a file is to those who have looked before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    New,
    /// It has been found, but a checkpoint does not say what it is known by, or where it lies now.
    Unmarked,
    Known,
}

/// Marks a file. `None`: it has gone.
fn look_at(file: &mut InputFile, place: &Path, known: &mut Known) -> Option<Sight> {
    let before = known.files.get(place).copied();
    if let Some(Some(mark)) = before.filter(|_| file.regular)
        && mark.is_unchanged(file)
    {
        file.mark = Some(mark);
        return Some(Sight::Known);
    }
    if file.regular {
        file.mark = match FileMark::of(file) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
            // What cannot be read is told by who reads it.
            mark => mark.ok(),
        };
    }
    let sight = match before {
        Some(Some(mark)) if file.mark.is_some() && !mark.is(file).unwrap_or(true) => {
            known.forget(place.into());
            Sight::New
        }
        Some(None) if file.mark.is_some() => Sight::Unmarked,
        Some(mark) => {
            file.mark = file.mark.or(mark);
            Sight::Known
        }
        None => match known.elsewhere.get(&file.inode) {
            Some(mark) if mark.is(file).unwrap_or(false) => Sight::Unmarked,
            _ => Sight::New,
        },
    };
    file.again = sight == Sight::New && known.gone.contains(place);
    Some(sight)
}

/// Whether an error says that a file is not what its table says.
fn is_of_the_file(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::User | ErrorKind::Invalid | ErrorKind::Corrupt)
}

fn broken(file: &InputFile, error: &Error, sequence: u32) -> Result<Split> {
    let name = format!("'{}'", shown(&file.path));
    let message = error.message();
    let reason = if message.contains(&name) { message.to_string() } else { format!("{name}: {message}") };
    FileSplit::new(file, Part::Broken(reason)).into_split(sequence, 0, None)
}
