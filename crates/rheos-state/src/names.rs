//! What lies where in a job's store.
//!
//! ```text
//!   journal/00000000000000000017.json     entries: manifests, claims
//!   journal/head-00000000000000000017     bears witness to the newest entry: its checksum
//!   objects/g3-w1-e17                     state that worker 1 of generation 3 stored when epoch 17 had ended
//!   objects/g3-w1-e17-c0                  state of earlier epochs, merged
//!   damaged/objects/g3-w1-e17             what a copy has taken the place of, for a look at it
//!   requests/<number>, answers/<number>   object stores: what other processes ask the job, and what it says
//!   lease, probe                          object stores: renewed by the run that uses the prefix; a name that is taken
//!   lock, control.sock                    folders: held by the run that uses the folder; where it is asked
//! ```

use std::fmt;

use rheos_checkpoint::garbage::StoredObject;
use rheos_checkpoint::journal::EntryNumber;
use rheos_core::{Epoch, Error, ErrorKind, Generation, Result, WorkerId};

/// Where entries lie.
pub const JOURNAL: &str = "journal/";
/// What the names of witnesses begin with.
pub(crate) const WITNESSES: &str = "journal/head-";
/// Where objects lie.
pub const OBJECTS: &str = "objects/";
/// Where damaged files are kept.
pub const DAMAGED: &str = "damaged/";
/// Object stores: renewed by the run that uses the prefix.
pub(crate) const LEASE: &str = "lease";
/// Object stores: a name that is taken.
pub(crate) const PROBE: &str = "probe";
/// Where requests to the job lie.
pub const REQUESTS: &str = "requests/";
/// Where its answers lie.
pub const ANSWERS: &str = "answers/";
/// Longest name in a store, in bytes.
pub const NAME_BYTES_MAX: usize = 512;

/// The name of an object. Unique in a job's store, also over generations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Who wrote it.
    pub generation: Generation,
    /// Which of its workers.
    pub worker: WorkerId,
    /// The epoch that ended, or, for a merged object, that ran when the merge began.
    pub epoch: Epoch,
    /// Number of the merged object among those of the epoch; `None` for what the epoch itself changed.
    pub merge: Option<u32>,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}-w{}-e{}", self.generation, self.worker, self.epoch)?;
        self.merge.map_or(Ok(()), |merge| write!(f, "-c{merge}"))
    }
}

impl ObjectName {
    /// A name from its text; `None` for the text of anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let generation = Generation(parts.next()?.strip_prefix('g')?.parse().ok()?);
        let worker = WorkerId(parts.next()?.strip_prefix('w')?.parse().ok()?);
        let epoch = Epoch(parts.next()?.strip_prefix('e')?.parse().ok()?);
        let merge = match parts.next() {
            None => None,
            Some(part) => Some(part.strip_prefix('c')?.parse().ok()?),
        };
        let name = Self { generation, worker, epoch, merge };
        // One name, one text: no leading zeros, no signs.
        (name.to_string() == text).then_some(name)
    }

    /// What garbage collection wants to know of it.
    pub fn stored(&self) -> StoredObject {
        StoredObject { name: self.to_string(), generation: self.generation, epoch: self.epoch }
    }
}

/// Where an object lies.
pub fn object_path(name: &str) -> String {
    format!("{OBJECTS}{name}")
}

/// Where the witness of an entry lies.
pub fn witness_path(number: EntryNumber) -> String {
    format!("{JOURNAL}{}", number.witness_name())
}

/// Where an entry lies.
pub fn entry_path(number: EntryNumber) -> String {
    format!("{JOURNAL}{}", number.file_name())
}

/// Where a damaged file is kept.
pub(crate) fn damaged_path(name: &str) -> String {
    format!("{DAMAGED}{name}")
}

/// Whether a name stays inside of the store: parts of letters, digits, `-`, `_` and `.`, none beginning with a point.
///
/// Errors: `Corrupt` (R0620): names come from manifests.
pub fn check(name: &str) -> Result<()> {
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let part = |p: &str| !p.is_empty() && !p.starts_with('.') && p.bytes().all(letter);
    if name.len() <= NAME_BYTES_MAX && name.split('/').all(part) {
        return Ok(());
    }
    let shown: String = name.chars().take(80).collect();
    Err(Error::new(ErrorKind::Corrupt, 620, format!("'{}' is no name of a file of state", shown.escape_debug()))
        .with_hint("the manifest that names it was not written by Rheos; restore from another checkpoint"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_objects_come_back_from_their_text() {
        for text in ["g3-w1-e17", "g18446744073709551615-w0-e0-c4294967295"] {
            assert_eq!(ObjectName::parse(text).unwrap().to_string(), text);
        }
        for text in
            ["", "g3-w1", "g03-w1-e17", "g3-w1-e17-", "g3-w1-e17-c", "g3-w1-e+7", "g3-w1-e17-c0-x", "../g3-w1-e1"]
        {
            assert_eq!(ObjectName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn names_stay_inside_of_the_store() {
        for name in ["lock", "objects/g1-w0-e3", "a/b/c.json"] {
            check(name).unwrap();
        }
        for name in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "a/../b",
            "a//b",
            "a/",
            ".hidden",
            "a/.tmp",
            "ü",
            "a\0b",
            "a b",
            &"x".repeat(513),
        ] {
            let error = check(name).unwrap_err();
            assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Corrupt, "R0620"), "{name}");
        }
    }
}
