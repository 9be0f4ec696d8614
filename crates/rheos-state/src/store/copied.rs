//! Two stores that hold the same: what is lost or damaged in the first is taken from the second.
//!
//! ```text
//!   create:           first (decides who wins) ──► second            so the second never has what the first never had,
//!   replace, delete:  second ──► first                               and what only the second has was lost
//!   read:             first; lost, or damaged (also as the reader says: repair) ──► the second's, put back into the first
//!                     (or, where the first cannot be written, read from the second)
//! ```
//! A write is done when both have it. If the second fails, the outcome counts as unknown, and whoever writes tries again.

mod mend;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rheos_core::{Error, ErrorKind, Result};

use self::mend::{Elsewhere, readable};
use super::{CheckpointStore, Creation, Listed, Note, WriteFailure};
use crate::errors::{damaged, of_the_copy};
use crate::names;

/// See the module.
pub struct CopiedStore {
    first: Arc<dyn CheckpointStore>,
    second: Arc<dyn CheckpointStore>,
    note: Note,
    elsewhere: Elsewhere,
    mending: Mutex<()>,
}

impl std::fmt::Debug for CopiedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopiedStore").field("first", &self.first).field("second", &self.second).finish_non_exhaustive()
    }
}

impl CopiedStore {
    /// `note` is told (R0643) of each file that is taken from the second store, or read there.
    pub fn new(first: Arc<dyn CheckpointStore>, second: Arc<dyn CheckpointStore>, note: Note) -> Self {
        Self { first, second, note, elsewhere: Elsewhere::default(), mending: Mutex::default() }
    }

    /// Copies what the second store does not have: it may be new, or have lost something.
    ///
    /// Errors: those of the stores.
    pub fn catch_up(&self) -> Result<()> {
        // Who finds a copy that is not complete must see that: its newest entry is missing.
        if let Some(newest) = self.first.list(names::WITNESSES)?.pop() {
            self.copy(&newest.name)?;
        }
        // A journal must not speak of objects that are not there.
        for prefix in [names::OBJECTS, names::JOURNAL] {
            let there: BTreeSet<String> = self.second.list(prefix)?.into_iter().map(|l| l.name).collect();
            for file in self.first.list(prefix)? {
                if !there.contains(&file.name) {
                    self.copy(&file.name)?;
                }
            }
        }
        Ok(())
    }

    /// What the second store has under the name already stays.
    fn copy(&self, name: &str) -> Result<()> {
        // It may have been deleted meanwhile; or is damaged, which its reader will find.
        if let Some(bytes) = readable(Self::all_of(&self.first, name))? {
            self.second.create(name, &bytes)?;
        }
        Ok(())
    }

    fn all_of(store: &Arc<dyn CheckpointStore>, name: &str) -> Result<Option<Vec<u8>>> {
        store.read(name, u64::MAX)
    }

    fn tell(&self, name: &str, what: &str) {
        let place = self.second.place();
        let message = format!("'{name}' was {what} in {}: it was taken from the copy in {place}", self.first.place());
        (self.note)(
            &Error::new(ErrorKind::Corrupt, 643, message).with_hint("look at the disk or store that it was on"),
        );
    }

    /// Reads from the first, and from the second what the first has lost or cannot read.
    fn read_either<T>(
        &self,
        name: &str,
        stretch: Option<Range<u64>>,
        read: impl Fn(&dyn CheckpointStore) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let best = || read(if self.elsewhere.has(name) { self.second.as_ref() } else { self.first.as_ref() });
        match best() {
            Ok(None) if self.put_back(name)? => best(),
            // Whoever asks knows what is whole; here is known only what can be read.
            Err(error) if error.kind() == ErrorKind::Corrupt && self.mend(name, stretch, &|_| true)? => {
                // What cannot be put right is still told in the first one's words.
                best().map_err(|_| error)
            }
            other => other,
        }
    }

    /// The second's part of a creation. `first` is how the first took it: if the name existed there, then with these bytes.
    fn copy_new(&self, name: &str, bytes: &[u8], first: Creation) -> Result<Creation, WriteFailure> {
        let unknown = |e: Error| WriteFailure::Unknown(e.context(format_args!("the copy in {}", self.second.place())));
        let second = self.second.create(name, bytes).map_err(|e| unknown(e.into()))?;
        // Whoever stores objects reads back those of the first store; here those of the second are.
        if second == Creation::Created && !name.starts_with(names::OBJECTS) {
            return Ok(first);
        }
        let readable = || readable(Self::all_of(&self.second, name)).map_err(unknown);
        match readable()? {
            Some(found) if found == bytes => Ok(first),
            // The name was taken, and the first had lost what it held.
            Some(found) if (first, second) == (Creation::Created, Creation::Exists) => {
                self.first.replace(name, &found).map_err(|e| WriteFailure::Unknown(e.into()))?;
                self.tell(name, "missing");
                Ok(Creation::Exists)
            }
            // The copy is no good: a write that was cut off, or damage.
            _ => {
                self.second.keep(name).map_err(unknown)?;
                self.second.replace(name, bytes).map_err(|e| unknown(e.into()))?;
                match readable()?.as_deref() == Some(bytes) {
                    true => Ok(first),
                    false => Err(unknown(damaged(format!("'{name}' reads other than it was written")))),
                }
            }
        }
    }
}

impl CheckpointStore for CopiedStore {
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Creation, WriteFailure> {
        self.elsewhere.forget(name);
        let first = self.first.create(name, bytes)?;
        let is_mine = || Self::all_of(&self.first, name).is_ok_and(|found| found.as_deref() == Some(bytes));
        match first {
            // An earlier try may have ended between the two.
            Creation::Exists if !is_mine() => Ok(Creation::Exists),
            _ => self.copy_new(name, bytes, first),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), WriteFailure> {
        self.second.replace(name, bytes)?;
        self.elsewhere.forget(name);
        self.first.replace(name, bytes).map_err(|failure| WriteFailure::Unknown(failure.error().clone()))
    }

    fn read(&self, name: &str, limit_bytes: u64) -> Result<Option<Vec<u8>>> {
        self.read_either(name, None, |store| store.read(name, limit_bytes))
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Option<Vec<u8>>> {
        self.read_either(name, Some(range.clone()), |store| store.read_range(name, range.clone()))
    }

    fn length_bytes(&self, name: &str) -> Result<Option<u64>> {
        self.read_either(name, None, |store| store.length_bytes(name))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        let mut found = self.first.list(prefix)?;
        // What only the copy has may be the newest: without it nothing can be said.
        let lost = self.second.list(prefix).map_err(of_the_copy)?;
        let is_lost = |l: &Listed| found.binary_search_by(|f| f.name.cmp(&l.name)).is_err();
        let lost: Vec<Listed> = lost.into_iter().filter(is_lost).collect();
        found.extend(lost);
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn missing(&self, names: &[&str]) -> Result<Option<String>> {
        for name in names {
            if self.first.missing(&[name])?.is_some() && !self.put_back(name)? {
                return Ok(Some(name.to_string()));
            }
            if self.second.missing(&[name]).map_err(of_the_copy)?.is_some() {
                self.copy(name).map_err(of_the_copy)?;
            }
        }
        Ok(None)
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.second.delete(name)?;
        self.elsewhere.forget(name);
        self.first.delete(name)
    }

    fn keep(&self, name: &str) -> Result<()> {
        self.first.keep(name)
    }

    fn repair(&self, name: &str, stretch: Option<Range<u64>>, is_whole: &dyn Fn(&[u8]) -> bool) -> Result<bool> {
        self.mend(name, stretch, is_whole)
    }

    fn place(&self) -> String {
        self.first.place()
    }

    fn folder(&self) -> Option<&Path> {
        self.first.folder()
    }

    fn folders(&self) -> Vec<&Path> {
        self.first.folders().into_iter().chain(self.second.folders()).collect()
    }
}
