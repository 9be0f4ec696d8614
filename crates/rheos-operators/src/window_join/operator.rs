//! The operator: rows wait by window; when both inputs' watermarks are at a window's end, it is joined.
//!
//! Without windows the rows of the input that ends first wait for those of the other, which look them up as they come and are
//! not kept, once there are as many: unless rows of the first go out by themselves, and only the end of the other tells which.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use rheos_core::operator::{OperatorInit, WatermarkChange};
use rheos_core::state::{SnapshotReader, StateDelta};
use rheos_core::{Epoch, Operator, OperatorContext, Progress, Result, Watermark};

use super::matching::Matching;
use super::spec::{Plan, WindowJoinSpec};
use crate::chunk_queue::ChunkQueue;
use crate::joining::failed::FailedPairs;
use crate::joining::{LEFT, Letters, RIGHT};
use crate::lenient::emit;
use crate::row_keys::RowKeys;
use crate::windowed_rows::{WindowKey, WindowState, WindowedRows};

/// Steps without a full chunk before other operators get their turn.
const STEPS_MAX: usize = 16;

/// See the module.
pub(crate) struct WindowJoin {
    plan: Arc<Plan>,
    letters: Option<Letters>,
    keys: [RowKeys; 2],
    inputs: [WindowedRows; 2],
    /// The window that is on its way out.
    matching: Option<Matching>,
    /// Of two bounded inputs, the one that has ended.
    ended: Option<usize>,
    /// `matching` takes the rows of the other as they come.
    is_streaming: bool,
    queue: ChunkQueue,
    /// Windows that end by this have fired, once nothing is on its way out.
    watermark_ms: i64,
    state: WindowState,
}

impl WindowJoin {
    pub(crate) fn try_new(
        spec: &WindowJoinSpec,
        plan: Arc<Plan>,
        letters: Option<Letters>,
        init: &OperatorInit,
    ) -> Result<Self> {
        let (left, right) = (&spec.left, &spec.right);
        let rows = |table, side: usize, window| {
            let distribution = plan.distributions[side].clone();
            WindowedRows::new(table, Arc::clone(&plan.inputs[side]), window, distribution)
        };
        Ok(Self {
            keys: [
                RowKeys::try_unordered(&left.keys, &left.schema)?,
                RowKeys::try_unordered(&right.keys, &right.schema)?,
            ],
            inputs: [rows("left", LEFT, left.window), rows("right", RIGHT, right.window)],
            matching: None,
            ended: None,
            is_streaming: false,
            queue: ChunkQueue::default(),
            watermark_ms: i64::MIN,
            state: WindowState::new(&plan.distributions[LEFT], init),
            plan,
            letters,
        })
    }

    /// Emits a chunk of what is due.
    fn fire(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        for _ in 0..STEPS_MAX {
            if self.queue.has_full_chunk() || !self.step(ctx)? {
                break;
            }
        }
        match self.queue.emit_one(ctx)? {
            Progress::Done if self.has_work() => Ok(Progress::More),
            progress => Ok(progress),
        }
    }

    fn has_work(&self) -> bool {
        match (&self.matching, self.is_streaming) {
            (Some(matching), true) => !matching.is_done(),
            (matching, false) => matching.is_some() || self.due().is_some(),
            (None, true) => false,
        }
    }

    /// Whether the rows of one input need not wait for its end, now that the other has ended.
    fn may_stream(&self, ended: usize) -> bool {
        let is_bounded = !self.inputs[LEFT].has_windows();
        is_bounded && self.letters.is_none() && self.plan.rest[ended].is_none()
    }

    /// Begins with it once it pays: the smaller side is to be in the table.
    fn stream_if_it_pays(&mut self) -> Result<()> {
        let Some(ended) = self.ended.filter(|_| !self.is_streaming) else { return Ok(()) };
        if self.inputs[1 - ended].rows() < self.inputs[ended].rows() {
            return Ok(());
        }
        let (kept, drained) = (self.inputs[ended].all(), self.inputs[1 - ended].drain());
        let rows = if ended == LEFT { [kept, drained] } else { [drained, kept] };
        self.matching = Some(Matching::streaming(&self.plan, &self.keys, rows, 1 - ended)?);
        self.is_streaming = true;
        Ok(())
    }

    /// The other input has ended, too.
    fn end_streaming(&mut self) {
        self.inputs.iter_mut().for_each(|input| drop(input.drain()));
        (self.matching, self.ended, self.is_streaming) = (None, None, false);
    }

    /// The next window that is to fire.
    fn due(&self) -> Option<WindowKey> {
        let first = self.inputs.iter().filter_map(WindowedRows::first).min();
        first.filter(|window| window.is_due(self.watermark_ms))
    }

    /// One bounded step. `false`: nothing is due.
    fn step(&mut self, ctx: &mut OperatorContext) -> Result<bool> {
        let matching = match &mut self.matching {
            Some(matching) if self.is_streaming && matching.is_done() => return Ok(false),
            Some(matching) => matching,
            None => {
                let Some(window) = self.due() else { return Ok(false) };
                let rows = self.inputs.each_mut().map(|input| input.take(window));
                let failed = self.letters.as_ref().map(|_| FailedPairs::new(&self.plan.pairs));
                self.matching.insert(Matching::try_new(&self.plan, &self.keys, rows, failed)?)
            }
        };
        if let Some(results) = matching.step(&self.plan, &self.keys)? {
            self.queue.push(results);
        }
        if let Some(Letters { operator_id, table }) = &self.letters {
            emit(&matching.take_letters(), operator_id, table, ctx)?;
        }
        if matching.is_done() && !self.is_streaming {
            self.matching = None;
        }
        Ok(true)
    }
}

impl Operator for WindowJoin {
    fn on_batch(&mut self, input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        let batch = self.plan.useful(input, &self.keys[input], batch)?;
        if let Some(matching) = self.matching.as_mut().filter(|m| self.is_streaming && m.probe == input) {
            matching.feed(batch)?;
            return self.fire(ctx);
        }
        self.inputs[input].add(batch, self.watermark_ms, ctx)?;
        self.stream_if_it_pays()?;
        if self.is_streaming { self.fire(ctx) } else { Ok(Progress::Done) }
    }

    fn on_watermark(&mut self, change: WatermarkChange, ctx: &mut OperatorContext) -> Result<Progress> {
        let is_over = change.combined == Watermark::MAX;
        if is_over && self.is_streaming {
            self.end_streaming();
        } else if change.watermark == Watermark::MAX && !is_over && self.may_stream(change.input) {
            self.ended = Some(change.input);
            self.stream_if_it_pays()?;
        }
        self.watermark_ms = self.watermark_ms.max(change.combined.ms());
        self.fire(ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.fire(ctx)
    }

    fn on_epoch_end(&mut self, _epoch: Epoch, _ctx: &mut OperatorContext) -> Result<StateDelta> {
        self.state.delta(&mut self.inputs, self.watermark_ms)
    }

    fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        self.watermark_ms = self.state.restore(snapshot, &mut self.inputs)?;
        Ok(())
    }

    fn output_watermark(&self, combined: Watermark) -> Watermark {
        if self.inputs[LEFT].has_windows() { combined } else { combined.held_until_the_end() }
    }

    fn open_windows(&self) -> u64 {
        let [left, right] = &self.inputs;
        let mut windows: Vec<WindowKey> = left.windows().chain(right.windows()).collect();
        windows.sort_unstable();
        windows.dedup();
        windows.len() as u64
    }
}
