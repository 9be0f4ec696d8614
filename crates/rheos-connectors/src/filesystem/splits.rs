//! How files are cut: row groups, byte ranges of lines, or whole files.

use std::path::PathBuf;

use rheos_core::source::Split;
use rheos_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::paths::{InputFile, place_of, shown};
use super::position::FileMark;

/// What a reader needs to open a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileSplit {
    /// As the table names it.
    pub(crate) path: PathBuf,
    pub(crate) part: Part,
    /// See [`place_of`]. Versions before did not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<PathBuf>,
    /// In a folder that is followed: what the file is known by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mark: Option<FileMark>,
    /// Another file had its path not long ago.
    #[serde(skip)]
    pub(crate) again: bool,
}

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// The lines that begin in `[start, end)`.
    Lines {
        /// First byte.
        start: u64,
        /// Just behind the last byte.
        end: u64,
    },
    /// A file of lines that becomes longer: it is never read to its end.
    Growing,
    /// One row group of a Parquet file.
    RowGroup(usize),
    /// A file that is not what its table says, and why: one bad record.
    Broken(String),
}

impl FileSplit {
    pub(crate) fn new(file: &InputFile, part: Part) -> Self {
        let InputFile { path, place, mark, again, .. } = file;
        Self { path: path.clone(), part, place: place.clone(), mark: *mark, again: *again }
    }

    /// Where its file lies.
    pub(crate) fn whereabouts(&self) -> PathBuf {
        self.place.clone().unwrap_or_else(|| place_of(&self.path))
    }

    /// Its file's path: as it was spelled, if that still leads there.
    pub(crate) fn open_path(&self) -> PathBuf {
        match &self.place {
            Some(place) if place_of(&self.path) != *place => place.clone(),
            _ => self.path.clone(),
        }
    }

    pub(crate) fn into_split(self, sequence: u32, size_bytes: u64, not_before_ms: Option<i64>) -> Result<Split> {
        let mut path = shown(&self.path);
        if let Some(mark) = self.mark.filter(|_| self.again) {
            // The splits of the one before may not be done.
            path = format!("{path}@{}-{}", mark.identity.inode, mark.modified_ns);
        }
        let id = match &self.part {
            Part::Whole | Part::Growing | Part::Broken(_) => path,
            Part::Lines { start, end } => format!("{path}:{start}-{end}"),
            Part::RowGroup(n) => format!("{path}#{n}"),
        };
        let descriptor = serde_json::to_string(&self)
            .map_err(|_| Error::invalid(219, format!("the path '{id}' is not UTF-8")).with_hint("rename the file"))?;
        Ok(Split { id, sequence, not_before_ms, size_bytes, descriptor })
    }

    pub(crate) fn parse(split: &Split) -> Result<Self> {
        serde_json::from_str(&split.descriptor)
            .map_err(|e| Error::internal(format!("the split '{}' cannot be read: {e}", split.id)))
    }
}

/// A smaller file is not cut.
const SPLIT_BYTES_MIN: u64 = 1 << 20;

/// A file is cut into about so many pieces, if they do not become too small.
const SPLITS_A_FILE: u64 = 16;

/// The byte ranges of a file of lines. They depend on the file and on the option alone, so that they stay the same over
/// restarts at any parallelism.
pub(crate) fn line_ranges(file: &InputFile, split_bytes_max: u64) -> Vec<Part> {
    let even = file.size_bytes.div_ceil(SPLITS_A_FILE).max(SPLIT_BYTES_MIN);
    let size = even.min(split_bytes_max).max(1);
    let mut parts = vec![];
    let mut start = 0;
    while start < file.size_bytes {
        let end = (start + size).min(file.size_bytes);
        parts.push(Part::Lines { start, end });
        start = end;
    }
    parts
}
