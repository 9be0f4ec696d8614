//! A partition of a topic: segments one behind the other, and who has written into them.
//!
//! ```text
//!   start                             last stable        high watermark         end
//!     │ full segments, each with index     │ open transactions │ not synced yet    │
//!     ▼                                    ▼                   ▼                   ▼
//!   ──┴────────────────────────────────────┴───────────────────┴───────────────────┴──
//! ```
//! * Readers see what lies below the high watermark, all of which has been synced; those that want committed records only, what lies
//!   below the last stable offset.
//! * A batch is acknowledged when the high watermark has passed it. What is behind it may be gone after a crash.
//! * When the disk fails in a sync, nobody knows what it has: what is not acknowledged is cut off, and its producers are told.

pub(crate) mod producers;
mod recover;
mod retention;

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rheos_core::{Error, ErrorKind, Result};
use tokio::sync::watch;

use crate::Refusal;
use crate::batch::{BatchHead, marker, stamp};
use crate::disk::Disk;
use crate::segment::Segment;

pub use producers::Aborted;
use producers::Admission;
pub(crate) use producers::Producers;
pub use retention::Retention;
use retention::Start;

/// Limits of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionOptions {
    /// A segment that would be longer is ended before, in bytes.
    pub segment_bytes: u64,
    /// A batch, in bytes.
    pub batch_bytes_max: usize,
    /// A producer that nothing has come from for so long is forgotten when a segment ends, in ms.
    pub producer_idle_ms: i64,
}

impl Default for PartitionOptions {
    fn default() -> Self {
        // As Kafka's, but for shorter segments: what is not indexed is read at the start.
        Self { segment_bytes: 256 << 20, batch_bytes_max: 1_048_588, producer_idle_ms: 86_400_000 }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Partition {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    options: RwLock<PartitionOptions>,
    state: Mutex<State>,
    synced: watch::Sender<Synced>,
    /// Waits for the committer.
    pub(crate) is_queued: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// The last one is written to.
    segments: Vec<Segment>,
    /// Transactions that were given up, by their markers.
    aborted: Vec<Aborted>,
    producers: Producers,
    /// Records before it are there no more, though the first segment may have them.
    start: Start,
    /// A sync has failed, and what the disk has is not known yet: nothing is written before it is.
    is_in_doubt: bool,
}

/// How far the disk has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Synced {
    /// The high watermark.
    below: i64,
    /// How often what was behind it has been cut off.
    failures: u64,
}

/// Where what was appended stands; see [`Partition::wait`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the first record.
    pub base_offset: i64,
    /// Just behind the last.
    pub end_offset: i64,
    failures: u64,
}

/// What a reader gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Whole batches. The first may begin before the offset that was asked for.
    pub batches: Vec<u8>,
    /// Transactions whose records in them are to be left out, for readers of what is committed.
    pub aborted: Vec<Aborted>,
    /// Where the partition stands.
    pub offsets: Offsets,
}

/// The offsets of the module's picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offsets {
    /// Of the first record that is there.
    pub start: i64,
    /// Below it no transaction is open.
    pub last_stable: i64,
    /// Below it everything is synced.
    pub high_watermark: i64,
}

/// Which records a reader wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// All that are synced.
    ReadUncommitted,
    /// Those of no open or aborted transaction. The latter come too, and are told.
    ReadCommitted,
}

impl Partition {
    /// Opens the partition in `folder`, which is made if it is not there. `note` is told what a crash has left and was cut off.
    ///
    /// Errors: `Corrupt` (R0802) if a full segment is damaged or one is missing, `External` (R0801) of the disk.
    pub fn open(disk: Arc<dyn Disk>, folder: &Path, options: PartitionOptions, note: &dyn Fn(String)) -> Result<Self> {
        let state = recover::recover(&*disk, folder, i64::MAX, note)?;
        state.settle(&*disk, folder)?;
        let below = state.end();
        let (synced, _) = watch::channel(Synced { below, failures: 0 });
        let folder = folder.to_path_buf();
        let (options, state) = (RwLock::new(options), Mutex::new(state));
        Ok(Self { disk, folder, options, state, synced, is_queued: AtomicBool::new(false) })
    }

    /// Puts batches behind the last, and gives them their offsets. They are not synced yet. Batches that have come before are not written
    /// again: the answer says where they are.
    ///
    /// Errors: what is wrong with them; `Storage` if the disk is full or fails, when some of them may be there.
    pub fn append(&self, batches: &mut [u8]) -> Result<Appended, Refusal> {
        let heads = self.heads(batches)?;
        let mut state = self.writable()?;
        let failures = self.synced.borrow().failures;
        let mut found: Option<Appended> = None;
        let mut rest = batches;
        for mut head in heads {
            let (batch, behind) = rest.split_at_mut(head.length_bytes);
            rest = behind;
            let (base_offset, end_offset) = match state.producers.admit(&head)? {
                Admission::Again { base_offset, end_offset } => (base_offset, end_offset),
                Admission::New => {
                    head.base_offset = state.end();
                    stamp(batch, head.base_offset);
                    self.push(&mut state, &head, batch)?;
                    state.producers.note(&head);
                    (head.base_offset, head.end_offset())
                }
            };
            let appended = found.get_or_insert(Appended { base_offset, end_offset, failures });
            appended.end_offset = appended.end_offset.max(end_offset);
        }
        found.ok_or(Refusal::CorruptMessage)
    }

    /// Ends the transaction of a producer: puts the batch behind the last that says so. It is not synced yet.
    ///
    /// Errors: `InvalidProducerEpoch`; `Storage` if the disk is full or fails.
    pub fn end_transaction(
        &self,
        producer_id: i64,
        producer_epoch: i16,
        is_commit: bool,
        time_ms: i64,
    ) -> Result<Appended, Refusal> {
        let mut state = self.writable()?;
        state.producers.admit_marker(producer_id, producer_epoch)?;
        let mut batch = marker(producer_id, producer_epoch, is_commit, time_ms);
        stamp(&mut batch, state.end());
        let head = BatchHead::read(&batch)?.ok_or(Refusal::CorruptMessage)?;
        self.push(&mut state, &head, &batch)?;
        let aborted = state.producers.note_marker(&head, is_commit);
        state.aborted.extend(aborted);
        let failures = self.synced.borrow().failures;
        Ok(Appended { base_offset: head.base_offset, end_offset: head.end_offset(), failures })
    }

    /// Until what was appended is synced.
    ///
    /// Errors: `Storage` if it never will be: send it again.
    pub async fn wait(&self, appended: Appended) -> Result<(), Refusal> {
        let mut synced = self.synced.subscribe();
        let is_decided = |s: &Synced| s.failures != appended.failures || s.below >= appended.end_offset;
        // The sender lives as long as the partition.
        let found = synced.wait_for(is_decided).await.map_err(|_| Refusal::Storage)?;
        match found.failures == appended.failures {
            true => Ok(()),
            false => Err(Refusal::Storage),
        }
    }

    /// Until the high watermark is above `offset`.
    pub async fn wait_for_more(&self, offset: i64) {
        let mut synced = self.synced.subscribe();
        let _ = synced.wait_for(|s| s.below > offset).await;
    }

    /// Syncs all that has been appended. Where the disk fails, what is not acknowledged is cut off, and may be sent again.
    ///
    /// Errors: those of the disk (R0801).
    pub fn sync(&self) -> Result<()> {
        self.is_queued.store(false, Ordering::SeqCst);
        let (file, end, failures) = {
            let mut state = self.lock();
            if state.is_in_doubt {
                return self.cut(&mut state);
            }
            let last = state.segments.last().ok_or_else(|| Error::internal("a partition without a segment"))?;
            (Arc::clone(&last.file), last.end_offset, self.synced.borrow().failures)
        };
        let Err(error) = file.sync() else {
            self.synced.send_if_modified(|synced| {
                let moves = synced.failures == failures && synced.below < end;
                synced.below = if moves { end } else { synced.below };
                moves
            });
            return Ok(());
        };
        self.cut(&mut self.lock())?;
        Err(disk_error("sync", &self.folder, &error))
    }

    /// Goes back to what is synced, from the disk: the system may have forgotten what it could not write, and say no more of it.
    fn cut(&self, state: &mut State) -> Result<()> {
        state.is_in_doubt = true;
        let below = self.synced.borrow().below;
        *state = State { is_in_doubt: true, ..recover::recover(&*self.disk, &self.folder, below, &|_| ())? };
        self.synced.send_modify(|synced| synced.failures += 1);
        state.settle(&*self.disk, &self.folder)?;
        state.is_in_doubt = false;
        Ok(())
    }

    /// The state, which may be changed. Errors: `Storage` while nobody knows what the disk has.
    fn writable(&self) -> Result<MutexGuard<'_, State>, Refusal> {
        let mut state = self.lock();
        if state.is_in_doubt {
            self.cut(&mut state).map_err(|_| Refusal::Storage)?;
        }
        Ok(state)
    }

    /// Whole batches from `offset` on, about `bytes_max`, but one at least if there is one. None at the end.
    ///
    /// Errors: `OffsetOutOfRange` outside of what is there; `Storage` if the disk fails or the file is damaged.
    pub fn read(&self, offset: i64, bytes_max: usize, isolation: Isolation) -> Result<Fetched, Refusal> {
        let (stretch, offsets, end) = {
            let state = self.lock();
            let offsets = self.offsets_of(&state);
            let end = match isolation {
                Isolation::ReadUncommitted => offsets.high_watermark,
                Isolation::ReadCommitted => offsets.last_stable,
            };
            if !(offsets.start..=offsets.high_watermark).contains(&offset) {
                return Err(Refusal::OffsetOutOfRange);
            }
            // Segments may begin with a gap: the first that ends behind the offset.
            let at = state.segments.partition_point(|s| s.end_offset <= offset);
            (state.segments.get(at).map(|s| s.stretch_at(offset)), offsets, end)
        };
        let nothing = Fetched { batches: vec![], aborted: vec![], offsets };
        let Some(stretch) = stretch.filter(|_| offset < end) else { return Ok(nothing) };
        let batches = stretch.read(offset, end, bytes_max).map_err(|_| Refusal::Storage)?;
        let aborted = match isolation {
            Isolation::ReadUncommitted => vec![],
            Isolation::ReadCommitted => self.aborted_in(offset, &batches),
        };
        Ok(Fetched { batches, aborted, offsets })
    }

    /// Transactions that were given up, with records in these batches or before them from `offset` on.
    fn aborted_in(&self, offset: i64, batches: &[u8]) -> Vec<Aborted> {
        let (mut at, mut end) = (0, offset);
        while let Ok(Some(head)) = BatchHead::read(&batches[at..]) {
            (at, end) = (at + head.length_bytes, head.end_offset());
        }
        let state = self.lock();
        let from = state.aborted.partition_point(|a| a.marker_offset < offset);
        state.aborted[from..].iter().filter(|a| a.first_offset < end).copied().collect()
    }

    /// The first synced batch with a record of `time_ms` or later. Deleted records may stand before that in it.
    ///
    /// Errors: `Storage` if the disk fails or the file is damaged.
    pub fn at_time(&self, time_ms: i64) -> Result<Option<Vec<u8>>, Refusal> {
        let (stretches, offsets) = {
            let state = self.lock();
            let stretches: Vec<_> = state.segments.iter().filter_map(|s| s.stretch_of(time_ms)).collect();
            (stretches, self.offsets_of(&state))
        };
        let below = offsets.high_watermark;
        for stretch in stretches {
            if let Some(batch) = stretch.at_time(time_ms, offsets.start).map_err(|_| Refusal::Storage)? {
                let head = BatchHead::read(&batch)?;
                return Ok(head.filter(|head| head.end_offset() <= below).map(|_| batch));
            }
        }
        Ok(None)
    }

    /// Other limits, from now on.
    pub fn set_options(&self, options: PartitionOptions) {
        *self.options.write().unwrap_or_else(PoisonError::into_inner) = options;
    }

    fn options(&self) -> PartitionOptions {
        *self.options.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it stands.
    pub fn offsets(&self) -> Offsets {
        self.offsets_of(&self.lock())
    }

    fn offsets_of(&self, state: &State) -> Offsets {
        let high_watermark = self.synced.borrow().below;
        let start = state.segments.first().map_or(0, |s| s.base_offset).max(state.start.offset);
        // Of an open transaction the first records may have been deleted.
        let last_stable = state.producers.first_open().unwrap_or(high_watermark).max(start).min(high_watermark);
        Offsets { start, last_stable, high_watermark }
    }

    /// The heads of batches, each of which is whole and may be written by a client.
    fn heads(&self, batches: &[u8]) -> Result<Vec<BatchHead>, Refusal> {
        let (mut heads, mut at) = (vec![], 0);
        let batch_bytes_max = self.options().batch_bytes_max;
        while at < batches.len() {
            let head = BatchHead::read_checked(&batches[at..])?.ok_or(Refusal::CorruptMessage)?;
            if head.length_bytes > batch_bytes_max {
                return Err(Refusal::MessageTooLarge);
            }
            let counts = head.records > 0 && head.last_offset_delta == head.records - 1;
            if head.is_control() || !counts || (head.is_idempotent() && head.first_sequence < 0) {
                return Err(Refusal::InvalidRecord);
            }
            at += head.length_bytes;
            heads.push(head);
        }
        // The numbers of one request follow each other: what is wrong with a later one is known before the first is written.
        let follows = |pair: &[BatchHead]| {
            pair[0].producer_id != pair[1].producer_id
                || !pair[0].is_idempotent()
                || producers::follows(pair[0].last_sequence(), pair[1].first_sequence)
        };
        match heads.windows(2).all(follows) {
            true => Ok(heads),
            false => Err(Refusal::OutOfOrderSequence),
        }
    }

    fn push(&self, state: &mut State, head: &BatchHead, batch: &[u8]) -> Result<(), Refusal> {
        let segment_bytes = self.options().segment_bytes;
        let is_full = |s: &Segment| s.bytes > 0 && s.bytes + batch.len() as u64 > segment_bytes;
        if state.segments.last().is_some_and(is_full) {
            self.roll(state, head.max_time_ms)?;
        }
        let last = state.segments.last_mut().ok_or(Refusal::Storage)?;
        last.append(head, batch).map_err(|_| Refusal::Storage)
    }

    /// Ends the last segment, and begins the next one.
    fn roll(&self, state: &mut State, now_ms: i64) -> Result<(), Refusal> {
        let Some(last) = state.segments.last() else { return Err(Refusal::Storage) };
        let end_offset = last.end_offset;
        if last.file.sync().is_err() {
            let _ = self.cut(state);
            return Err(Refusal::Storage);
        }
        self.synced.send_if_modified(|synced| std::mem::replace(&mut synced.below, end_offset) < end_offset);
        state.producers.forget(now_ms.saturating_sub(self.options().producer_idle_ms));
        let own = |a: &&Aborted| (last.base_offset..end_offset).contains(&a.marker_offset);
        let aborted = state.aborted.iter().filter(own).copied().collect();
        last.write_index(&*self.disk, &self.folder, aborted, &state.producers).map_err(|_| Refusal::Storage)?;
        match Segment::create(&*self.disk, &self.folder, end_offset) {
            Ok(next) => {
                state.segments.push(next);
                Ok(())
            }
            Err(_) => {
                // Batches go on behind the last one, so there must be no other at this offset.
                let _ = self.disk.remove(&crate::segment::log_path(&self.folder, end_offset));
                Err(Refusal::Storage)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Just behind the last record.
    fn end(&self) -> i64 {
        self.segments.last().map_or(0, |s| s.end_offset)
    }

    /// What was read may never have been synced, and readers will be told of it.
    fn settle(&self, disk: &dyn Disk, folder: &Path) -> Result<()> {
        let synced = self.segments.last().map_or(Ok(()), |last| last.file.sync());
        synced.and_then(|()| disk.sync_folder(folder)).map_err(|e| disk_error("sync", folder, &e))
    }
}

pub(crate) fn disk_error(what: &str, path: &Path, error: &io::Error) -> Error {
    let message = format!("cannot {what} '{}': {error}", path.display());
    Error::new(ErrorKind::External, 801, message).with_hint("look at the disk and the folder, then start again")
}
