//! Where reading goes on, as checkpoints hold it: short texts that say what they count. Every later version reads them.
//!
//! ```text
//!   byte 1200                                        of the unpacked file
//!   byte 1200, behind its line                       in the middle of a record that has been left out
//!   row 7                                            of the row group
//!   byte 1200 of inode 77, 1024 bytes 09f3...        of a growing file, known by its first bytes too; a "start" before
//! ```

use std::fmt;
use std::fs::File;
use std::io;
use std::str::FromStr;
use std::time::UNIX_EPOCH;

use rheos_core::{Error, Result};
use rheos_formats::InputRange;
use serde::{Deserialize, Serialize};

use super::paths::InputFile;
use super::rotation::read_head;

fn unreadable(text: &str, of: &str) -> Error {
    Error::internal(format!("'{text}' is no position in {of}"))
}

/// Reads a position.
///
/// Errors: `Internal` for what is none.
pub(super) fn parse<P: FromStr>(text: &str, of: &str) -> Result<P> {
    text.parse().map_err(|_| unreadable(text, of))
}

/// A position in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BytePosition {
    pub(super) offset: u64,
    /// What is left of the line there belongs to a record that is done.
    pub(super) behind_line: bool,
}

const BEHIND_LINE: &str = ", behind its line";

impl BytePosition {
    pub(super) fn of(rest: InputRange) -> Self {
        Self { offset: rest.offset, behind_line: rest.skip_first }
    }

    pub(super) fn range(self, end: Option<u64>) -> InputRange {
        InputRange { offset: self.offset, skip_first: self.behind_line, end }
    }
}

impl fmt::Display for BytePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}{}", self.offset, if self.behind_line { BEHIND_LINE } else { "" })
    }
}

impl FromStr for BytePosition {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (number, behind_line) = match text.strip_suffix(BEHIND_LINE) {
            Some(number) => (number, true),
            None => (text, false),
        };
        let offset = number.strip_prefix("byte ").and_then(|n| n.parse().ok()).ok_or(())?;
        Ok(Self { offset, behind_line })
    }
}

/// A position in a row group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowPosition(pub(super) u64);

impl fmt::Display for RowPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {}", self.0)
    }
}

impl FromStr for RowPosition {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.strip_prefix("row ").and_then(|n| n.parse().ok()).map(Self).ok_or(())
    }
}

/// What a file is known by, also under another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileIdentity {
    pub(super) inode: u64,
    /// How many of its first bytes were looked at; inodes are given out again.
    pub(super) head_bytes: usize,
    pub(super) head_hash: u64,
}

impl FileIdentity {
    /// `head_bytes` at most.
    pub(super) const HEAD_BYTES: usize = 1024;

    /// `head`: the bytes that the file begins with, as many as have been read, but not more than needed.
    pub(super) fn new(inode: u64, head: &[u8]) -> Self {
        Self { inode, head_bytes: head.len(), head_hash: xxhash_rust::xxh3::xxh3_64(head) }
    }

    /// Whether a file begins as this one did.
    pub(super) fn begins(&self, head: &[u8]) -> bool {
        head.get(..self.head_bytes).is_some_and(|head| Self::new(self.inode, head) == *self)
    }
}

/// What a file of a followed folder is known by: another one may take its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileMark {
    pub(super) identity: FileIdentity,
    /// As it was when it was found.
    pub(super) size_bytes: u64,
    /// The same, in ns since 1970.
    pub(super) modified_ns: u64,
}

impl FileMark {
    /// Reads the file's first bytes.
    pub(super) fn of(file: &InputFile) -> io::Result<Self> {
        let head = read_head(&File::open(&file.path)?)?;
        let length = head.len().min(usize::try_from(file.size_bytes).unwrap_or(usize::MAX));
        Ok(Self {
            identity: FileIdentity::new(file.inode, &head[..length]),
            size_bytes: file.size_bytes,
            modified_ns: modified_ns(file),
        })
    }

    /// Whether it is that file as it was: then nothing of it needs to be read.
    pub(super) fn is_unchanged(&self, file: &InputFile) -> bool {
        self.identity.inode == file.inode && self.is_alike(file)
    }

    fn is_alike(&self, file: &InputFile) -> bool {
        (self.size_bytes, self.modified_ns) == (file.size_bytes, modified_ns(file))
    }

    /// Whether it is that file, which may have changed behind its first bytes, or a faithful copy of it. Reads the first bytes of
    /// one that is not wholly as it was.
    pub(super) fn is(&self, file: &InputFile) -> io::Result<bool> {
        if self.is_unchanged(file) {
            return Ok(true);
        }
        let same_file = self.identity.inode == file.inode || self.is_alike(file);
        Ok(same_file && self.identity.begins(&read_head(&File::open(&file.path)?)?))
    }
}

fn modified_ns(file: &InputFile) -> u64 {
    let since = file.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A position in a growing file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GrowingPosition {
    /// No file has been looked at.
    Start,
    /// In this one.
    At(BytePosition, FileIdentity),
}

impl fmt::Display for GrowingPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::At(at, file) => {
                write!(f, "{at} of inode {}, {} bytes {:016x}", file.inode, file.head_bytes, file.head_hash)
            }
        }
    }
}

impl FromStr for GrowingPosition {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "start" {
            return Ok(Self::Start);
        }
        let (at, file) = text.split_once(" of inode ").ok_or(())?;
        let (inode, head) = file.split_once(", ").ok_or(())?;
        let (head_bytes, hash) = head.split_once(" bytes ").ok_or(())?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| ());
        let head_bytes = head_bytes.parse().map_err(|_| ())?;
        let head_hash = u64::from_str_radix(hash, 16).map_err(|_| ())?;
        Ok(Self::At(at.parse()?, FileIdentity { inode: number(inode)?, head_bytes, head_hash }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_checkpoints_hold_is_read_for_ever() {
        // Written by hand, in the form of version 1; xxh3-64 of the empty input is 2d06800538d394c2.
        let bytes = [("byte 0", 0, false), ("byte 1200", 1200, false), ("byte 7, behind its line", 7, true)];
        for (text, offset, behind_line) in bytes {
            assert_eq!(parse::<BytePosition>(text, "x").unwrap(), BytePosition { offset, behind_line });
            assert_eq!(BytePosition { offset, behind_line }.to_string(), text);
        }
        assert_eq!(parse::<RowPosition>("row 7", "x").unwrap(), RowPosition(7));
        assert_eq!(RowPosition(7).to_string(), "row 7");
        let empty = FileIdentity::new(77, b"");
        let growing = [
            ("start", GrowingPosition::Start),
            (
                "byte 12, behind its line of inode 77, 0 bytes 2d06800538d394c2",
                GrowingPosition::At(BytePosition { offset: 12, behind_line: true }, empty),
            ),
        ];
        for (text, position) in growing {
            assert_eq!(parse::<GrowingPosition>(text, "x").unwrap(), position);
            assert_eq!(position.to_string(), text);
        }
        assert!(empty.begins(b"") && empty.begins(b"abc"));
        let file = FileIdentity::new(77, b"abc");
        assert!(file.begins(b"abc") && file.begins(b"abcd") && !file.begins(b"ab") && !file.begins(b"abd"));
        for text in ["", "12", "row 7", "byte x", "byte 1 of inode", "byte 1, behind"] {
            assert!(
                parse::<BytePosition>(text, "x").is_err() && parse::<GrowingPosition>(text, "x").is_err(),
                "{text}"
            );
        }
    }
}
