//! Writes the parts of one worker, on an I/O thread: one open part a partition.
//!
//! ```text
//!   batch ──by partition──► open parts ──full, old, too many, complete, or told──► closed
//! ```
//!
//! Open parts are few (`sink.open-files-max`) and hold little: what is over a limit is closed, and a new part of the same
//! partition begins with its next row.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use rheos_core::{Batch, Result};

use super::disk;
use super::options::FileOptions;
use super::part::OpenPart;
use super::partition::Partitioning;
use super::staged::{Attempt, StagedPart, hidden_name};
use super::success::PartitionCommit;
use crate::io::patience::Patience;
use crate::io::pool::lock;
use crate::io::strand::Handler;

/// Bytes that the row groups of all open Parquet files of a worker may hold.
const BUFFERED_BYTES_MAX: u64 = 128 << 20;

/// The buffer of a file that is the only one of its worker.
const BUFFER_BYTES: usize = 256 << 10;

/// The buffer of one file of many.
const PARTITION_BUFFER_BYTES: usize = 32 << 10;

/// What the writer of parts is told.
pub(crate) enum Message {
    /// Rows of the table.
    Write(Batch),
    /// Close the parts that are old by now, and those of the partitions that are complete at this watermark (ms).
    Roll(i64),
    /// Close all parts.
    Close,
    /// Close all parts, and make their names durable: who restores the job finds them.
    CloseForGood,
}

/// Closed parts on their way from the I/O thread to the worker.
pub(crate) type Closed = Arc<Mutex<Vec<StagedPart>>>;

/// What all writers of a table share.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) options: FileOptions,
    /// The columns in the files.
    pub(crate) file_schema: SchemaRef,
    pub(crate) partitioning: Option<Arc<Partitioning>>,
    pub(crate) commit: Option<PartitionCommit>,
}

/// See the module.
pub(crate) struct PartWriter {
    target: Arc<Target>,
    attempt: Option<Attempt>,
    worker: usize,
    /// Number of the next part.
    next: u64,
    /// By the folder of the partition.
    open: BTreeMap<String, Slot>,
    /// Batches so far: which part was used last.
    batches: u64,
    closed: Closed,
    patience: Patience,
    scratch: Vec<u8>,
}

struct Slot {
    part: OpenPart,
    opened: Instant,
    used: Instant,
    /// The number of the batch that was written last.
    batch: u64,
    /// The watermark (ms) at which its partition is complete; `i64::MAX`: not by a watermark.
    complete_at: i64,
}

impl PartWriter {
    /// A writer whose parts are numbered from `next`.
    pub(crate) fn new(
        target: Arc<Target>,
        attempt: Option<Attempt>,
        worker: usize,
        next: u64,
        closed: Closed,
        patience: Patience,
    ) -> Self {
        Self { target, attempt, worker, next, open: BTreeMap::new(), batches: 0, closed, patience, scratch: Vec::new() }
    }

    fn close(&mut self, folder: &str) -> Result<()> {
        if let Some(slot) = self.open.remove(folder) {
            let part = slot.part.close()?;
            lock(&self.closed).push(part);
        }
        Ok(())
    }

    fn close_where(&mut self, which: impl Fn(&Slot) -> bool) -> Result<()> {
        let folders: Vec<_> = self.open.iter().filter(|(_, slot)| which(slot)).map(|(f, _)| f.clone()).collect();
        folders.iter().try_for_each(|folder| self.close(folder))
    }

    fn open(&mut self, folder: &str) -> Result<()> {
        if self.open.len() >= self.target.options.sink.rolling.open_parts_max {
            let oldest = self.open.iter().min_by_key(|(_, slot)| slot.batch).map(|(f, _)| f.clone());
            oldest.map_or(Ok(()), |folder| self.close(&folder))?;
        }
        let complete_at = match &self.target.commit {
            Some(commit) => commit.complete_at(folder)?,
            None => i64::MAX,
        };
        let buffer_bytes = if self.target.partitioning.is_some() { PARTITION_BUFFER_BYTES } else { BUFFER_BYTES };
        let (options, schema) = (&self.target.options, &self.target.file_schema);
        let name = hidden_name(self.attempt, self.worker, self.next);
        let part = OpenPart::create(options, schema, &name, (self.next, folder), buffer_bytes, &self.patience)?;
        self.next += 1;
        let now = Instant::now();
        let slot = Slot { part, opened: now, used: now, batch: self.batches, complete_at };
        self.open.insert(folder.to_string(), slot);
        Ok(())
    }

    fn write(&mut self, folder: &str, rows: &RecordBatch) -> Result<()> {
        if !self.open.contains_key(folder) {
            self.open(folder)?;
        }
        let Some(slot) = self.open.get_mut(folder) else { return Ok(()) };
        slot.part.write(rows, &mut self.scratch)?;
        (slot.used, slot.batch) = (Instant::now(), self.batches);
        if slot.part.bytes() >= self.target.options.sink.rolling.part_bytes_max {
            return self.close(folder);
        }
        Ok(())
    }

    /// Closes the largest parts until what waits in memory is little.
    fn limit_memory(&mut self) -> Result<()> {
        while self.open.len() > 1 {
            let buffered = self.open.iter().map(|(folder, slot)| (slot.part.buffered_bytes(), folder));
            let total: u64 = buffered.clone().map(|(bytes, _)| bytes).sum();
            let largest = buffered.max().map(|(_, folder)| folder.clone());
            match largest {
                Some(folder) if total > BUFFERED_BYTES_MAX => self.close(&folder)?,
                _ => break,
            }
        }
        Ok(())
    }
}

impl Handler for PartWriter {
    type Message = Message;

    fn handle(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Close => self.close_where(|_| true),
            Message::CloseForGood => {
                self.close_where(|_| true)?;
                disk::sync_folder(Path::new(&self.target.options.path))
            }
            Message::Roll(watermark_ms) => {
                let (rollover, inactivity) =
                    (self.target.options.sink.rolling.rollover, self.target.options.sink.rolling.inactivity);
                self.close_where(|slot| {
                    slot.complete_at <= watermark_ms
                        || slot.opened.elapsed() >= rollover
                        || slot.used.elapsed() >= inactivity
                })
            }
            Message::Write(batch) => {
                self.batches += 1;
                let Some(partitioning) = self.target.partitioning.clone() else {
                    return self.write("", &batch.records);
                };
                for (folder, rows) in partitioning.split(&batch.records)? {
                    self.write(&folder, &rows)?;
                }
                self.limit_memory()
            }
        }
    }
}
