//! What a writer tells the commit: the parts that it has staged, and how far its watermark is. It is kept in checkpoints, so
//! its form (JSON) is read by every later version.
//!
//! ```text
//!   hidden   .part-<worker>-<n>.inprogress                      of a job without state
//!            .part-<run>.<generation>-<worker>-<n>.inprogress   of one with state: no two attempts ever meet
//!   visible  [day=../]part-<worker>-<n>.csv
//! ```
//!
//! All hidden files lie in the table's folder: the folder of a partition begins with its first visible part.

use std::fmt;

use rheos_core::sink::Committable;
use rheos_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// The suffix of hidden parts.
const IN_PROGRESS: &str = ".inprogress";

/// One attempt to write to a folder: an attempt of a job that keeps state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Attempt {
    /// Counts what has begun or gone on in the folder, whatever the job.
    pub(crate) run: u64,
    /// The job's own count.
    pub(crate) generation: u64,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.run, self.generation)
    }
}

impl From<Attempt> for String {
    fn from(attempt: Attempt) -> Self {
        attempt.to_string()
    }
}

impl TryFrom<String> for Attempt {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts =
            text.split_once('.').and_then(|(run, generation)| Some((run.parse().ok()?, generation.parse().ok()?)));
        parts.map(|(run, generation)| Self { run, generation }).ok_or_else(|| format!("'{text}' is no attempt"))
    }
}

/// What one writer has staged in one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Staged {
    /// Absent in a job that keeps no state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attempt: Option<Attempt>,
    pub(crate) epoch: u64,
    pub(crate) worker: usize,
    /// The number of writers.
    pub(crate) workers: usize,
    /// Of the visible names.
    pub(crate) suffix: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parts: Vec<StagedPart>,
    /// All parts with rows from before this watermark have been staged by the writer; `i64::MAX` at the end of the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) watermark_ms: Option<i64>,
    /// With the first parts that become visible, those go that were there before: all with a lower number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replaces_below: Option<u64>,
}

/// A part that is written and durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StagedPart {
    /// Unique in its attempt and worker; a visible part of the folder with the same is this one.
    pub(crate) n: u64,
    /// The folder of its partition, relative to the table's; empty without partitions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) folder: String,
    /// Its length.
    pub(crate) bytes: u64,
    /// So many of its first bytes name the columns, and are left out behind another part.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) header_bytes: u64,
    /// Of all its bytes; versions before did not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) checksum: Option<Checksum>,
}

/// The xxh3-64 of a file, in 16 hexadecimal digits: JSON readers round large numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Checksum(pub(crate) u64);

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl From<Checksum> for String {
    fn from(checksum: Checksum) -> Self {
        checksum.to_string()
    }
}

impl TryFrom<String> for Checksum {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        u64::from_str_radix(&text, 16).map(Self).map_err(|_| format!("'{text}' is no checksum"))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Staged {
    pub(crate) fn to_committable(&self) -> Committable {
        Committable(serde_json::to_vec(self).expect("names and numbers are always JSON"))
    }

    /// Errors: `Internal` for what no sink of files has staged.
    pub(crate) fn parse(committable: &Committable) -> Result<Self> {
        serde_json::from_slice(&committable.0)
            .map_err(|e| Error::internal(format!("a committable cannot be read: {e}")))
    }

    /// The name of a part while it is hidden.
    pub(crate) fn hidden_name(&self, part: &StagedPart) -> String {
        hidden_name(self.attempt, self.worker, part.n)
    }

    /// Its name for everybody, relative to the table's folder.
    pub(crate) fn visible_name(&self, part: &StagedPart) -> String {
        let separator = if part.folder.is_empty() { "" } else { "/" };
        format!("{}{separator}part-{}-{}.{}", part.folder, self.worker, part.n, self.suffix)
    }
}

/// The name of part `n` of a worker while it is hidden.
pub(crate) fn hidden_name(attempt: Option<Attempt>, worker: usize, n: u64) -> String {
    match attempt {
        Some(attempt) => format!(".part-{attempt}-{worker}-{n}{IN_PROGRESS}"),
        None => format!(".part-{worker}-{n}{IN_PROGRESS}"),
    }
}

/// The name of the file in which the part of a hidden name is put together with others.
pub(crate) fn merging_name(hidden: &str) -> String {
    format!("{}.merged{IN_PROGRESS}", hidden.strip_suffix(IN_PROGRESS).unwrap_or(hidden))
}

/// Whether `name` is that of a hidden part.
pub(crate) fn is_hidden_part(name: &str) -> bool {
    name.starts_with(".part-") && name.ends_with(IN_PROGRESS)
}

/// The run in the name of a hidden part; 0 for one of a job without state.
pub(crate) fn run_of(name: &str) -> u64 {
    let attempt = name.strip_prefix(".part-").and_then(|rest| rest.split_once('-')).map(|(first, _)| first);
    attempt.and_then(|text| Attempt::try_from(text.to_string()).ok()).map_or(0, |a| a.run)
}

/// The number in `part-<worker>-<n>.<suffix>`, the name of a visible part of any format.
pub(crate) fn part_number(name: &str) -> Option<u64> {
    let (stem, suffix) = name.strip_prefix("part-")?.split_once('.')?;
    let (worker, n) = stem.split_once('-')?;
    let known = ["csv", "json", "parquet", "csv.gz", "json.gz", "csv.zst", "json.zst"];
    (known.contains(&suffix) && worker.parse::<u64>().is_ok()).then(|| n.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_parts() {
        assert_eq!(part_number("part-0-12.csv"), Some(12));
        assert_eq!(part_number("part-3-0.json.gz"), Some(0));
        for foreign in ["part-0.csv", "part-a-1.csv", "part-0-1.txt", "part-0-1", "data.csv", "part-0-1.csv.bak"] {
            assert_eq!(part_number(foreign), None, "{foreign}");
        }
        let attempt = Some(Attempt { run: 7, generation: 2 });
        let names = [hidden_name(None, 0, 1), hidden_name(attempt, 3, 12), merging_name(&hidden_name(attempt, 3, 12))];
        assert_eq!(names[0], ".part-0-1.inprogress");
        assert_eq!(names[1], ".part-7.2-3-12.inprogress");
        assert_eq!(
            names.each_ref().map(|name| (is_hidden_part(name), run_of(name))),
            [(true, 0), (true, 7), (true, 7)]
        );
        assert!(!is_hidden_part(".other"));
    }

    #[test]
    fn what_checkpoints_hold_is_read_for_ever() {
        // Written by hand, in the form of version 1.
        let whole = r#"{"attempt":"7.2","epoch":12,"worker":1,"workers":4,"suffix":"csv.gz","parts":[{"n":5,"folder":"day=1",
            "bytes":120,"header_bytes":20},{"n":6,"bytes":8,"checksum":"002d06800538d394"}],"watermark_ms":-5,"replaces_below":3}"#;
        let staged = Staged::parse(&Committable(whole.as_bytes().to_vec())).unwrap();
        assert_eq!(staged.attempt, Some(Attempt { run: 7, generation: 2 }));
        assert_eq!((staged.epoch, staged.worker, staged.workers), (12, 1, 4));
        assert_eq!(staged.visible_name(&staged.parts[0]), "day=1/part-1-5.csv.gz");
        assert_eq!(staged.hidden_name(&staged.parts[1]), ".part-7.2-1-6.inprogress");
        assert_eq!((staged.parts[0].header_bytes, staged.parts[1].header_bytes), (20, 0));
        assert_eq!(
            staged.parts.iter().map(|p| p.checksum).collect::<Vec<_>>(),
            [None, Some(Checksum(0x2d_0680_0538_d394))]
        );
        assert_eq!((staged.watermark_ms, staged.replaces_below), (Some(-5), Some(3)));
        assert_eq!(Staged::parse(&staged.to_committable()).unwrap(), staged);
        let least = br#"{"epoch":0,"worker":0,"workers":1,"suffix":"json"}"#;
        assert_eq!(Staged::parse(&Committable(least.to_vec())).unwrap().parts, []);
    }
}
