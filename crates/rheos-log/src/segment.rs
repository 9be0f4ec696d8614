//! A stretch of a partition: a file of batches one behind the other, and where to find them.
//!
//! ```text
//!   00000000000000000042.log     batches, the first at offset 42
//!   00000000000000000042.index   written when the segment is full: a place for each so many bytes, and what it knows of transactions
//! ```
//! An index can be made anew from its file; one that does not fit its file is.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rheos_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::batch::{BatchHead, HEAD_BYTES};
use crate::disk::{Disk, DiskFile};
use crate::partition::{Aborted, Producers};
use crate::sidecar::{self, Found};

/// How far apart the places of an index are, at least, in bytes.
const INDEX_STEP_BYTES: u64 = 16 << 10;
/// What is read at once where a file is read as a whole, in bytes.
const SCAN_BYTES: usize = 1 << 20;
const INDEX_VERSION: u32 = 1;

/// See the module.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base_offset: i64,
    /// Just behind its last record.
    pub(crate) end_offset: i64,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) bytes: u64,
    /// The latest time of its records, in ms.
    pub(crate) max_time_ms: i64,
    places: Vec<Place>,
}

/// What a reader reads in, without the partition's lock: a segment from some batch on.
#[derive(Debug)]
pub(crate) struct Stretch {
    base_offset: i64,
    file: Arc<dyn DiskFile>,
    at: u64,
    bytes: u64,
}

/// Where a batch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    offset: i64,
    at: u64,
    /// The latest time of the records before it, in ms.
    max_time_before_ms: i64,
}

/// The file beside a full segment.
#[derive(Debug, Serialize, Deserialize)]
struct Index {
    version: u32,
    bytes: u64,
    end_offset: i64,
    max_time_ms: i64,
    places: Vec<Place>,
    /// Transactions that were given up, whose markers stand in the segment.
    aborted: Vec<Aborted>,
    /// As they are behind it.
    producers: Producers,
}

/// Why a file was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It was.
    End,
    /// The next batch ends behind what was asked for.
    Below,
    /// What is there is no batch, or not the one that is due; or its end is missing.
    Damage,
}

pub(crate) fn log_path(folder: &Path, base_offset: i64) -> PathBuf {
    folder.join(format!("{base_offset:020}.log"))
}

pub(crate) fn index_path(folder: &Path, base_offset: i64) -> PathBuf {
    folder.join(format!("{base_offset:020}.index"))
}

/// The first offset of a segment, from the name of its file.
pub(crate) fn base_of(name: &str) -> Option<i64> {
    let digits = name.strip_suffix(".log").filter(|d| d.len() == 20 && d.bytes().all(|b| b.is_ascii_digit()))?;
    digits.parse().ok()
}

impl Segment {
    /// A new, empty one, whose name is there for good.
    pub(crate) fn create(disk: &dyn Disk, folder: &Path, base_offset: i64) -> io::Result<Self> {
        let file = disk.create(&log_path(folder, base_offset))?;
        disk.sync_folder(folder)?;
        Ok(Self::empty(file, base_offset))
    }

    fn empty(file: Arc<dyn DiskFile>, base_offset: i64) -> Self {
        Self { base_offset, end_offset: base_offset, file, bytes: 0, max_time_ms: i64::MIN, places: vec![] }
    }

    /// A full one, by its index, with the producers as they are behind it. `None` if the index is not there or does not fit.
    pub(crate) fn open_indexed(
        disk: &dyn Disk,
        folder: &Path,
        base_offset: i64,
    ) -> io::Result<Option<(Self, Vec<Aborted>, Producers)>> {
        let file = disk.open(&log_path(folder, base_offset))?;
        let Found::Whole::<Index>(index) = sidecar::read(disk, &index_path(folder, base_offset))? else {
            return Ok(None);
        };
        if index.version != INDEX_VERSION || index.bytes != file.length_bytes()? {
            return Ok(None);
        }
        let Index { bytes, end_offset, max_time_ms, places, aborted, producers, .. } = index;
        Ok(Some((Self { base_offset, end_offset, file, bytes, max_time_ms, places }, aborted, producers)))
    }

    /// One from its file alone, as far as its batches are whole, due, and end at `below` or before: each is given in turn.
    pub(crate) fn scan(
        disk: &dyn Disk,
        folder: &Path,
        base_offset: i64,
        below: i64,
        mut each: impl FnMut(&BatchHead, &[u8]),
    ) -> io::Result<(Self, Stop)> {
        let file = disk.open(&log_path(folder, base_offset))?;
        let length = file.length_bytes()?;
        let mut segment = Self::empty(file, base_offset);
        let (mut buffer, mut from, mut wanted) = (Vec::new(), 0_u64, SCAN_BYTES);
        while segment.bytes < length {
            let read =
                length.saturating_sub(from + buffer.len() as u64).min((wanted.saturating_sub(buffer.len())) as u64);
            let behind = buffer.len();
            buffer.resize(behind + read as usize, 0);
            segment.file.read_at(&mut buffer[behind..], from + behind as u64)?;
            let mut at = 0;
            let stop = loop {
                match BatchHead::read_checked(&buffer[at..]) {
                    Ok(Some(head)) if head.end_offset() > below => break Some(Stop::Below),
                    Ok(Some(head)) if head.base_offset >= segment.end_offset => {
                        each(&head, &buffer[at..at + head.length_bytes]);
                        segment.note(&head);
                        at += head.length_bytes;
                    }
                    Ok(Some(_)) => break Some(Stop::Damage),
                    Ok(None) => break None,
                    Err(_) => break Some(Stop::Damage),
                }
            };
            let is_last = from + buffer.len() as u64 == length;
            if let Some(stop) = stop {
                return Ok((segment, stop));
            }
            buffer.drain(..at);
            from += at as u64;
            if is_last {
                return Ok((segment, if buffer.is_empty() { Stop::End } else { Stop::Damage }));
            }
            // A batch that does not fit: all of it, if the file has so much.
            let next = BatchHead::read(&buffer).ok().flatten().map_or(SCAN_BYTES, |head| head.length_bytes);
            if from + next as u64 > length {
                return Ok((segment, Stop::Damage));
            }
            wanted = next.max(SCAN_BYTES);
        }
        Ok((segment, Stop::End))
    }

    /// Appends a batch that has its place. After an error the segment is as it was.
    pub(crate) fn append(&mut self, head: &BatchHead, batch: &[u8]) -> io::Result<()> {
        self.file.write_at(batch, self.bytes)?;
        self.note(head);
        Ok(())
    }

    fn note(&mut self, head: &BatchHead) {
        if self.places.last().is_none_or(|place| self.bytes - place.at >= INDEX_STEP_BYTES) {
            let max_time_before_ms = self.max_time_ms;
            self.places.push(Place { offset: head.base_offset, at: self.bytes, max_time_before_ms });
        }
        self.bytes += head.length_bytes as u64;
        self.end_offset = head.end_offset();
        self.max_time_ms = self.max_time_ms.max(head.max_time_ms);
    }

    /// Writes the index; the segment's bytes have been synced.
    pub(crate) fn write_index(
        &self,
        disk: &dyn Disk,
        folder: &Path,
        aborted: Vec<Aborted>,
        producers: &Producers,
    ) -> io::Result<()> {
        let index = Index {
            version: INDEX_VERSION,
            bytes: self.bytes,
            end_offset: self.end_offset,
            max_time_ms: self.max_time_ms,
            places: self.places.clone(),
            aborted,
            producers: producers.clone(),
        };
        sidecar::write(disk, &index_path(folder, self.base_offset), &index)
    }

    /// Its end, from a place at or before the batch that has `offset`.
    pub(crate) fn stretch_at(&self, offset: i64) -> Stretch {
        self.behind(self.places.partition_point(|place| place.offset <= offset))
    }

    /// Its end, from a place at or before the first record of `time_ms` or later; `None` if there is none.
    pub(crate) fn stretch_of(&self, time_ms: i64) -> Option<Stretch> {
        let is_before = |place: &Place| place.max_time_before_ms < time_ms;
        (self.max_time_ms >= time_ms).then(|| self.behind(self.places.partition_point(is_before)))
    }

    /// From the last of the first `n` places.
    fn behind(&self, n: usize) -> Stretch {
        let at = n.checked_sub(1).map_or(0, |last| self.places[last].at);
        Stretch { base_offset: self.base_offset, file: Arc::clone(&self.file), at, bytes: self.bytes }
    }
}

impl Stretch {
    /// The batches from the one that has `offset`, or the first behind it, up to `end_offset`: about `bytes_max`, but one at least.
    pub(crate) fn read(&self, offset: i64, end_offset: i64, bytes_max: usize) -> Result<Vec<u8>> {
        let mut at = self.at;
        // To the batch; its head says how far the next one is.
        let first = loop {
            let Some(head) = self.head_at(at)? else { return Ok(vec![]) };
            if head.end_offset() > offset {
                break head;
            }
            at += head.length_bytes as u64;
        };
        if first.base_offset >= end_offset {
            return Ok(vec![]);
        }
        let wanted = bytes_max.max(first.length_bytes).min((self.bytes - at) as usize);
        let mut bytes = vec![0; wanted];
        self.file.read_at(&mut bytes, at).map_err(|e| self.failed(&e))?;
        let mut whole = 0;
        while let Some(head) = BatchHead::read(&bytes[whole..]).map_err(|_| self.damaged(at + whole as u64))? {
            if head.base_offset >= end_offset || whole + head.length_bytes > bytes.len() {
                break;
            }
            whole += head.length_bytes;
        }
        bytes.truncate(whole);
        Ok(bytes)
    }

    /// The first batch with a record of `time_ms` or later that ends behind `start`.
    pub(crate) fn at_time(&self, time_ms: i64, start: i64) -> Result<Option<Vec<u8>>> {
        let mut at = self.at;
        while let Some(head) = self.head_at(at)? {
            if head.max_time_ms >= time_ms && head.end_offset() > start {
                return Ok(Some(self.read(head.base_offset, head.end_offset(), 0)?));
            }
            at += head.length_bytes as u64;
        }
        Ok(None)
    }

    /// The head of the batch that begins there; `None` at the end.
    fn head_at(&self, at: u64) -> Result<Option<BatchHead>> {
        if at >= self.bytes {
            return Ok(None);
        }
        let mut bytes = [0; HEAD_BYTES];
        self.file.read_at(&mut bytes, at).map_err(|e| self.failed(&e))?;
        BatchHead::read(&bytes).map_err(|_| self.damaged(at))
    }

    fn failed(&self, error: &io::Error) -> Error {
        let message = format!("the segment {:020}.log cannot be read: {error}", self.base_offset);
        Error::new(ErrorKind::External, 801, message).with_hint("look at the disk, then start again")
    }

    fn damaged(&self, at: u64) -> Error {
        let message = format!("the segment {:020}.log has no batch at byte {at}", self.base_offset);
        Error::new(ErrorKind::Corrupt, 802, message).with_hint("put the file back from a copy")
    }
}
