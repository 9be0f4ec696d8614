//! The operator contract: a synchronous state machine over batches, watermarks, timers and epoch ends.
//!
//! An operator does no I/O, reads no clock and starts nothing; time comes through its context. The order of calls in one
//! epoch: any number of `on_batch`, `on_watermark`, `on_timer`, `on_clock`; then `flush`, then `on_epoch_end`.
//!
//! Every call may answer [`Progress::More`]: "I emitted a chunk and have more; call [`Operator::resume`] when there is
//! credit". Until it says `Done` it gets no further input, so a window with a million keys leaves in chunks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::error::Result;
use crate::key::KeyGroupAssignment;
use crate::lateness::Lateness;
use crate::state::{Combine, SnapshotReader, StateDelta};
use crate::time::{Epoch, Watermark};
use crate::timer::{TimeDomain, TimerQueue};

/// Rows in one emitted chunk, at most.
pub const CHUNK_ROWS_MAX: usize = 8192;

/// Whether an operator has more to emit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// Nothing is waiting.
    Done,
    /// A chunk was emitted; `resume` gives the next.
    More,
}

/// An output of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(pub usize);

impl Port {
    /// The results.
    pub const MAIN: Port = Port(0);
    /// Rows that came after their window had fired.
    pub const LATE: Port = Port(1);
    /// Rows that could not be evaluated.
    pub const ERRORS: Port = Port(2);
}

/// What an operator counts beside the rows that go in and out. Additive over workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counter {
    /// Rows dropped because their last window had fired.
    LateRecords,
    /// Rows dropped because their event time is null.
    NullEventTimes,
    /// Rows put into a slice or a session; a row enters exactly one, also in overlapping windows.
    SliceInserts,
    /// Rows that a local aggregate gave on.
    PartialRowsOut,
    /// Rows that did not fulfil a condition.
    FilteredRows,
    /// Rows that could not be computed with and became dead letters.
    DeadLetters,
    /// Windows that were open when the job was stopped (set at the stop, not before).
    OpenWindows,
}

impl Counter {
    /// Those that add up over the epochs of a job.
    pub const SUMS: [Counter; 6] = [
        Counter::LateRecords,
        Counter::NullEventTimes,
        Counter::SliceInserts,
        Counter::PartialRowsOut,
        Counter::FilteredRows,
        Counter::DeadLetters,
    ];
}

/// What an operator learns when it is made.
#[derive(Debug, Clone)]
pub struct OperatorInit {
    /// This worker, from 0.
    pub worker: usize,
    /// Workers of the job.
    pub parallelism: usize,
    /// Who owns which key group.
    pub assignment: KeyGroupAssignment,
}

impl OperatorInit {
    /// One worker that owns everything.
    pub fn single() -> Self {
        Self { worker: 0, parallelism: 1, assignment: KeyGroupAssignment::even(crate::key::KEY_GROUPS_DEFAULT, 1) }
    }
}

/// Which rows of an input that only grows count: a row does not, once one has come for its partition that stands before it by a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstBy {
    /// Columns of the rows. Those that agree in all of them are a partition.
    pub partition_by: Vec<usize>,
    /// The column, whose equal values leave it open which row is first.
    pub column: usize,
    /// How its values are ordered.
    pub options: SortOptions,
}

/// Makes one operator a worker. Part of the job graph, so it is shared and says what it is.
pub trait OperatorFactory: Send + Sync + fmt::Debug {
    /// The operator of one worker.
    fn create(&self, init: &OperatorInit) -> Result<Box<dyn Operator>>;

    /// How stored rows of a table are put together when its runs are merged. `None`: they stay as they are.
    fn combiner(&self, table: &str, init: &OperatorInit) -> Option<Arc<dyn Combine>> {
        let _ = (table, init);
        None
    }

    /// The same, but rows that cannot be computed with leave by [`Port::ERRORS`] as dead letters of `table`, with the id of the
    /// operator, and are counted. `None`: none of its rows fails by itself.
    fn lenient(&self, operator_id: &str, table: &str) -> Option<Arc<dyn OperatorFactory>> {
        let _ = (operator_id, table);
        None
    }

    /// Whether port 0 gives rows of its input as they are. What stands behind means the same without it, so it is no part of the
    /// ids there.
    fn passes_rows(&self) -> bool {
        false
    }

    /// The schema of port 0.
    fn schema(&self) -> SchemaRef;

    /// The operator's meaning as ordered facts (`group by: origin`), for `explain` and for its stable id.
    fn describe(&self) -> Vec<(String, String)>;

    /// What its state has more and more of while the input goes on, as in `a row for each auction`. `None`: the state is bounded,
    /// or goes with windows or time.
    fn growth(&self) -> Option<String> {
        None
    }

    /// Whether its state ends by its time to live, where one is set.
    fn has_time_to_live(&self) -> bool {
        false
    }

    /// Whether results can be of any time, however far the input has come: then the watermark behind it stays where it is until
    /// the input ends, and no window there would ever close.
    fn holds_watermark(&self) -> bool {
        false
    }

    /// Whether, of two inputs that end, it keeps the rows of one until the other has ended: then that other is better read first.
    fn keeps_until_an_end(&self) -> bool {
        false
    }

    /// Which rows of its only input count, where others never do. `None`: each may.
    fn wants_first(&self) -> Option<FirstBy> {
        None
    }

    /// The same, but it may leave out results that count for nobody who [wants](Self::wants_first) `first` alone. Its only reader does.
    /// `None`: it cannot.
    fn giving_first(&self, first: &FirstBy) -> Option<Arc<dyn OperatorFactory>> {
        let _ = first;
        None
    }

    /// Whether rows pass as they are, but for columns that are left out or change their places: it then has no part in the ids of
    /// what comes behind it.
    fn only_selects(&self) -> bool {
        false
    }
}

/// Which way the watermark of an operator moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatermarkChange {
    /// The input whose watermark moved.
    pub input: usize,
    /// The watermark of that input.
    pub watermark: Watermark,
    /// The minimum over all inputs.
    pub combined: Watermark,
}

/// A state machine over one worker's share of a stream.
pub trait Operator {
    /// Applies rows. May emit.
    fn on_batch(&mut self, input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress>;

    /// Computes what [`on_batch`](Self::on_batch) computes of each row by itself, and keeps nothing of it. Asked when that has
    /// failed, which then has changed nothing. Errors: the same.
    fn check_rows(&self, input: usize, batch: &RecordBatch) -> Result<()> {
        let _ = (input, batch);
        Ok(())
    }

    /// A watermark rose: fire what is complete, drop what no row can reach any more.
    fn on_watermark(&mut self, change: WatermarkChange, ctx: &mut OperatorContext) -> Result<Progress> {
        let _ = (change, ctx);
        Ok(Progress::Done)
    }

    /// A timer that this operator set is due.
    fn on_timer(
        &mut self,
        domain: TimeDomain,
        key: &[u8],
        time_ms: i64,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        let _ = (domain, key, time_ms, ctx);
        Ok(Progress::Done)
    }

    /// The processing-time clock moved. Called only for operators that [`wants_clock`](Self::wants_clock).
    fn on_clock(&mut self, now_ms: i64, ctx: &mut OperatorContext) -> Result<Progress> {
        let _ = (now_ms, ctx);
        Ok(Progress::Done)
    }

    /// The next chunk after `Progress::More`.
    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        let _ = ctx;
        Ok(Progress::Done)
    }

    /// Emits what may not outlive the epoch, still inside it.
    fn flush(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        let _ = ctx;
        Ok(Progress::Done)
    }

    /// All inputs have closed `epoch`: hand over what the epoch changed. Called only when the job keeps state.
    fn on_epoch_end(&mut self, epoch: Epoch, ctx: &mut OperatorContext) -> Result<StateDelta> {
        let _ = (epoch, ctx);
        Ok(StateDelta::default())
    }

    /// Takes back the state of the key groups that this worker owns now. Called once, before any input.
    fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        let _ = snapshot;
        Ok(())
    }

    /// The watermark behind this operator when its input is at `combined`: not above it, and it never falls.
    ///
    /// Lower where results come out later than their event time says, so that they are not late for the next window.
    fn output_watermark(&self, combined: Watermark) -> Watermark {
        combined
    }

    /// Whether `on_clock` is wanted.
    fn wants_clock(&self) -> bool {
        false
    }

    /// Windows (or other results) that would still fire if the input went on. Asked once, when a job is stopped.
    fn open_windows(&self) -> u64 {
        0
    }

    /// What is kept in memory. Asked once, when the job has ended.
    fn state_size(&self) -> StateSize {
        StateSize::default()
    }
}

/// What an operator keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateSize {
    /// Groups, rows, or whatever else comes by number.
    pub rows: u64,
    /// In memory, about; 0 where it is not known.
    pub bytes: u64,
}

impl StateSize {
    /// So many rows in so many bytes.
    pub fn new(rows: usize, bytes: usize) -> Self {
        Self { rows: rows as u64, bytes: bytes as u64 }
    }
}

impl std::ops::Add for StateSize {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { rows: self.rows + other.rows, bytes: self.bytes + other.bytes }
    }
}

/// What an operator sees of the world, and where its output goes.
#[derive(Debug)]
pub struct OperatorContext {
    /// Processing time in ms since 1970, monotonic per job.
    pub now_ms: i64,
    /// The combined watermark that the operator has been told last.
    pub watermark: Watermark,
    /// The epoch that is open.
    pub epoch: Epoch,
    /// The operator's timers.
    pub timers: TimerQueue,
    emitted: Vec<(Port, RecordBatch)>,
    counters: BTreeMap<Counter, u64>,
    lateness: Lateness,
}

impl Default for OperatorContext {
    fn default() -> Self {
        Self {
            now_ms: 0,
            watermark: Watermark::MIN,
            epoch: Epoch::default(),
            timers: TimerQueue::default(),
            emitted: Vec::new(),
            counters: BTreeMap::new(),
            lateness: Lateness::default(),
        }
    }
}

impl OperatorContext {
    /// Sends rows to an output. Empty batches are dropped.
    pub fn emit(&mut self, port: Port, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.emitted.push((port, batch));
        }
    }

    /// Adds to a counter.
    pub fn count(&mut self, counter: Counter, n: u64) {
        if n > 0 {
            *self.counters.entry(counter).or_default() += n;
        }
    }

    /// What was emitted since the last call: for the adapter and the harness.
    pub fn take_emitted(&mut self) -> Vec<(Port, RecordBatch)> {
        std::mem::take(&mut self.emitted)
    }

    /// Notes that `rows` dropped rows would have been in time with a watermark `ms` wider.
    pub fn observe_lateness(&mut self, ms: i64, rows: u64) {
        self.lateness.observe(ms, rows);
    }

    /// What was noted by [`observe_lateness`](Self::observe_lateness) since the last call.
    pub fn take_lateness(&mut self) -> Lateness {
        std::mem::take(&mut self.lateness)
    }

    /// What was counted since the last call.
    pub fn take_counters(&mut self) -> BTreeMap<Counter, u64> {
        std::mem::take(&mut self.counters)
    }
}
