//! How files are cut: row groups, byte ranges of lines, or whole files.

use std::path::PathBuf;

use rheos_core::source::Split;
use rheos_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::paths::{InputFile, shown};

/// What a reader needs to open a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileSplit {
    pub(crate) path: PathBuf,
    pub(crate) part: Part,
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
    pub(crate) fn into_split(self, sequence: u32, size_bytes: u64, not_before_ms: Option<i64>) -> Result<Split> {
        let path = shown(&self.path);
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
