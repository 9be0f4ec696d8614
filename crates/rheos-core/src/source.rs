//! The source contract: a source is cut into splits, workers read splits, the engine hands them out.
//!
//! ```text
//!   Source ── discover ──► splits, in sequences ── handed out by the engine ──► SplitReader (one worker)
//! ```
//!
//! A *sequence* is a chain of splits whose records are in order of event time but for the disorder that the table's
//! watermark allows: the ranges of one file, the files of a folder in a known order, one partition of a log. Sequences
//! are independent of each other. A reader runs on a worker thread and never blocks: what needs I/O runs elsewhere and
//! wakes the worker.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::change::Changes;
use crate::credit::Wake;
use crate::error::{Result, Warn};
use crate::letters::{DeadLetter, LetterBox, OnError};

/// Whether a source ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundedness {
    /// It ends: every window closes at the end of the input.
    Bounded,
    /// It goes on until it is stopped.
    Unbounded,
}

/// A piece of a source that one worker reads from start to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Unique in its source; stable over restarts.
    pub id: String,
    /// The sequence that it belongs to.
    pub sequence: u32,
    /// What is known of it before it is read: no record has an event time below this (ms).
    pub not_before_ms: Option<i64>,
    /// Size for the progress bar; 0 where it is unknown.
    pub size_bytes: u64,
    /// What the connector needs to open it, in a form of its own (JSON).
    pub descriptor: String,
}

/// What a look for splits found.
#[derive(Debug, Default)]
pub struct Discovery {
    /// New splits; within a sequence in the order of their records.
    pub splits: Vec<Split>,
    /// Whether none will follow.
    pub finished: bool,
}

/// What a source has to remember of what it has found, so that it does not find it again after a restart: entries in the
/// source's own form, which every later version of it reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Whether these take the place of all earlier entries, rather than adding to them.
    pub anew: bool,
    /// The entries.
    pub entries: Vec<String>,
}

/// The column that event times are read from, and how far records may be out of order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatermarkSpec {
    /// Index into the source's schema; a timestamp in microseconds.
    pub column: usize,
    /// W = max(event time) - delay.
    pub delay_ms: i64,
    /// A split without a record for so long does not hold the watermark back.
    pub idle_timeout_ms: Option<i64>,
    /// How far ahead of the clock event times may be.
    pub max_jump: MaxJump,
}

/// How far ahead of the clock an event time may be: one that is further is a bad record, since the watermark would follow it and make
/// all others late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MaxJump {
    /// A day where the input does not end and its rows are not made, else any.
    #[default]
    Unset,
    /// Any.
    Off,
    /// So many ms.
    Ms(i64),
}

impl MaxJump {
    /// In ms, for a source; `None`: as far as it likes.
    pub fn of(self, source: &dyn Source) -> Option<i64> {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        match self {
            MaxJump::Unset if source.boundedness() == Boundedness::Unbounded && !source.makes_rows() => Some(DAY_MS),
            MaxJump::Unset | MaxJump::Off => None,
            MaxJump::Ms(ms) => Some(ms),
        }
    }
}

/// Counts that readers keep; shared by all readers of a source.
#[derive(Debug, Default)]
pub struct SourceCounters {
    /// Records that were found in the input, or made, bad ones among them.
    pub read: AtomicU64,
    /// Records decoded.
    pub records: AtomicU64,
    /// Bytes of finished input (compressed, as on disk): what the progress bar shows.
    pub bytes: AtomicU64,
    /// Records that could not be decoded and were skipped.
    pub skipped: AtomicU64,
    /// Records that could not be decoded and went to the dead letters.
    pub dead_lettered: AtomicU64,
    first_skipped: OnceLock<Description>,
}

/// A text that is made when it is asked for.
struct Description(Box<dyn Fn() -> String + Send + Sync>);

impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Description")
    }
}

impl SourceCounters {
    /// Adds to `bytes`.
    pub fn add_bytes(&self, n: u64) {
        self.bytes.fetch_add(n, Ordering::Relaxed);
    }

    /// Adds to `skipped`.
    pub fn add_skipped(&self, n: u64) {
        self.skipped.fetch_add(n, Ordering::Relaxed);
    }

    /// Adds to `read`.
    pub fn add_read(&self, n: u64) {
        self.read.fetch_add(n, Ordering::Relaxed);
    }

    /// Adds rows that were made to `read` and `records`.
    pub fn add_made(&self, n: u64) {
        self.add_read(n);
        self.records.fetch_add(n, Ordering::Relaxed);
    }

    /// Keeps the first skipped record for the report. `describe` gives its place, reason and text; it may read the input
    /// again to count lines, so it is called when the job has ended.
    pub fn note_skipped(&self, describe: impl Fn() -> String + Send + Sync + 'static) {
        let _ = self.first_skipped.set(Description(Box::new(describe)));
    }

    /// The record that was noted. May block.
    pub fn first_skipped(&self) -> Option<String> {
        self.first_skipped.get().map(|description| description.0())
    }
}

/// What a reader gets from the engine.
#[derive(Clone)]
pub struct ReaderContext {
    /// Wakes the worker that reads; call it after the data has been made available.
    pub wake: Wake,
    /// Rows in a batch, at most.
    pub batch_rows: usize,
    /// Where to count.
    pub counters: Arc<SourceCounters>,
    /// Where bad records go; `None`: nobody reads the table's dead letters.
    pub letters: Option<Arc<LetterBox>>,
    /// Who is told of what goes wrong and is tried again.
    pub warn: Warn,
}

impl ReaderContext {
    /// A context without an engine behind it, for tests.
    pub fn detached(batch_rows: usize) -> Self {
        Self { wake: Arc::new(|| ()), batch_rows, counters: Arc::default(), letters: None, warn: Warn::default() }
    }

    /// Puts bad records into the box, and counts them. Whether the box is full: the reader then gives an empty batch.
    pub fn put_letters(&self, letters: Vec<DeadLetter>) -> bool {
        let Some(letter_box) = &self.letters else { return false };
        if !letters.is_empty() {
            self.counters.dead_lettered.fetch_add(letters.len() as u64, Ordering::Relaxed);
            letter_box.put(letters);
        }
        letter_box.is_full()
    }
}

/// One answer of a reader.
#[derive(Debug)]
pub enum SourcePoll {
    /// Rows in the source's schema, at most `batch_rows`; none where only the reader's letters are to be taken.
    Batch(RecordBatch),
    /// Nothing now; the wake-up has been arranged.
    Pending,
    /// The split has been read to its end.
    Finished,
}

/// Reads one split on a worker thread.
pub trait SplitReader {
    /// The next rows. Never blocks.
    ///
    /// Errors: a record that cannot be decoded under `on-error = fail` (kind `User`, with file, line and reason), or
    /// I/O (kind `External`).
    fn poll(&mut self) -> Result<SourcePoll>;

    /// Where to go on after the last answer of `poll`, in the connector's own form; given to `open` at restore. Valid at any
    /// moment, also before the first batch. It is exact: what was given, counted as skipped or put into the letters' box so
    /// far is not read again, and all else is. Manifests hold it: it says what it counts ("row 7"), and every later version reads it.
    fn position(&self) -> String;
}

/// A readable table: shared by the workers, cheap to clone behind an `Arc`.
pub trait Source: Send + Sync + fmt::Debug {
    /// The columns that readers give, already reduced to those that the job uses.
    fn schema(&self) -> SchemaRef;

    /// What its rows say. Where they go as well as come, the last column of the schema is their weight (see
    /// [`crate::change`]), which no projection names.
    fn changes(&self) -> Changes {
        Changes::Append
    }

    /// Whether it ends.
    fn boundedness(&self) -> Boundedness;

    /// The same source reduced to some of its columns (indices into `schema`, ascending).
    fn project(&self, columns: &[usize]) -> Result<Arc<dyn Source>>;

    /// The same source with less in its ROW columns. `schema` has the columns of [`Source::schema`] by name and in order;
    /// a struct, also one in a struct, may lack fields. What is given may still have more fields than were asked for.
    /// `None`: this source can only give whole columns.
    ///
    /// Errors: `Internal` for a schema that is no such part.
    fn narrow(&self, schema: &SchemaRef) -> Result<Option<Arc<dyn Source>>> {
        let _ = schema;
        Ok(None)
    }

    /// Looks for splits. Called once before the job starts and, while `finished` is false, now and then afterwards.
    /// `time_column` names the event time, so that statistics on it can be used.
    ///
    /// Errors: `InputMissing` for a file that is not there.
    fn discover(&self, time_column: Option<usize>, parallelism: usize) -> Result<Discovery>;

    /// What has to be remembered of the splits that [`Source::discover`] gave since the last call, while more may be found;
    /// `None`: nothing new. Called once a checkpoint, while nothing is discovered, and kept with it. Sources that find
    /// without end keep the entries few, by beginning anew.
    fn take_found(&self) -> Option<Found> {
        None
    }

    /// Before the first [`Source::discover`] of a job that goes on from a checkpoint: the entries of [`Source::take_found`], in
    /// their order. `discover` need not give those splits again, and goes on with their sequences.
    ///
    /// Errors: `Corrupt` for entries that no version of the source has made.
    fn restore_found(&self, entries: &[String]) -> Result<()> {
        let _ = entries;
        Ok(())
    }

    /// As [`Source::restore_found`], where the checkpoint has whole splits, also those that have been read to their end:
    /// checkpoints of earlier versions, and sources that have found all. What is to be remembered of them is given to the next
    /// checkpoint.
    fn restore(&self, known: &[Split]) -> Result<()> {
        let _ = known;
        Ok(())
    }

    /// Opens a split, from its start or from a `position`.
    ///
    /// Errors: `Corrupt` for what is not there any more as it was when the position was taken.
    fn open(&self, split: &Split, position: Option<&str>, ctx: ReaderContext) -> Result<Box<dyn SplitReader>>;

    /// Before the first split of a job that goes on from a checkpoint is opened: those that have not been read to their end, with
    /// their positions. For sources that do something in the order of all rows, as keeping a pace.
    fn resume(&self, open: &[(Split, Option<String>)]) -> Result<()> {
        let _ = open;
        Ok(())
    }

    /// What records that cannot be read or computed with do, as the table declares it.
    fn on_error(&self) -> OnError {
        OnError::Unset
    }

    /// Whether its rows are made rather than read: their event times need not be near the clock.
    fn makes_rows(&self) -> bool {
        false
    }

    /// Whether a position can be gone back to: after a crash, rows are read again from the newest checkpoint on.
    fn is_replayable(&self) -> bool {
        true
    }

    /// Whether it reads, or may come to read, files in `folder` or below: a job must not delete its own input.
    fn reads_in(&self, folder: &Path) -> bool {
        let _ = folder;
        false
    }

    /// Whether it goes on looking for files, and will find those that come to be in `folder`: a job must not read its own output
    /// for ever.
    fn follows_in(&self, folder: &Path) -> bool {
        let _ = folder;
        false
    }

    /// The source's meaning as ordered facts, for `explain` and for its stable id.
    fn describe(&self) -> Vec<(String, String)>;
}
