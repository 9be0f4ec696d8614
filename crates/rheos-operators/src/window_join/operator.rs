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
    stage: Stage,
    queue: ChunkQueue,
    /// Windows that end by this have fired, once nothing is on its way out.
    watermark_ms: i64,
    state: WindowState,
}

/// What is done with the rows that wait.
enum Stage {
    /// Nothing yet. Of two bounded inputs, one may have ended.
    Waiting { ended: Option<usize> },
    /// They are of the window that is on its way out.
    Firing(Matching),
    /// They are of the bounded input that has ended. Those of the other look them up as they come.
    Streaming(Matching),
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
            stage: Stage::Waiting { ended: None },
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
        match &self.stage {
            Stage::Waiting { .. } => self.due().is_some(),
            Stage::Firing(_) => true,
            Stage::Streaming(matching) => !matching.is_done(),
        }
    }

    fn is_streaming(&self) -> bool {
        matches!(self.stage, Stage::Streaming(_))
    }

    /// Whether the rows of one input need not wait for its end, now that the other has ended.
    fn may_stream(&self, ended: usize) -> bool {
        let is_bounded = !self.inputs[LEFT].has_windows();
        is_bounded && self.letters.is_none() && self.plan.rest[ended].is_none()
    }

    /// Begins with it once it pays: the smaller side is to be in the table.
    fn stream_if_it_pays(&mut self) -> Result<()> {
        let Stage::Waiting { ended: Some(ended) } = self.stage else { return Ok(()) };
        if self.inputs[1 - ended].rows() < self.inputs[ended].rows() {
            return Ok(());
        }
        let (kept, drained) = (self.inputs[ended].all(), self.inputs[1 - ended].drain());
        let rows = if ended == LEFT { [kept, drained] } else { [drained, kept] };
        self.stage = Stage::Streaming(Matching::streaming(&self.plan, &self.keys, rows, 1 - ended)?);
        Ok(())
    }

    /// The other input has ended, too.
    fn end_streaming(&mut self) {
        self.inputs.iter_mut().for_each(|input| drop(input.drain()));
        self.stage = Stage::Waiting { ended: None };
    }

    /// The next window that is to fire.
    fn due(&self) -> Option<WindowKey> {
        let first = self.inputs.iter().filter_map(WindowedRows::first).min();
        first.filter(|window| window.is_due(self.watermark_ms))
    }

    /// One bounded step. `false`: nothing is due.
    fn step(&mut self, ctx: &mut OperatorContext) -> Result<bool> {
        if let Stage::Waiting { .. } = self.stage {
            let Some(window) = self.due() else { return Ok(false) };
            let rows = self.inputs.each_mut().map(|input| input.take(window));
            let failed = self.letters.as_ref().map(|_| FailedPairs::new(&self.plan.pairs));
            self.stage = Stage::Firing(Matching::try_new(&self.plan, &self.keys, rows, failed)?);
        }
        let (matching, is_window) = match &mut self.stage {
            Stage::Firing(matching) => (matching, true),
            Stage::Streaming(matching) if !matching.is_done() => (matching, false),
            Stage::Streaming(_) | Stage::Waiting { .. } => return Ok(false),
        };
        if let Some(results) = matching.step(&self.plan, &self.keys)? {
            self.queue.push(results);
        }
        if let Some(Letters { operator_id, table }) = &self.letters {
            emit(&matching.take_letters(), operator_id, table, ctx)?;
        }
        if is_window && matching.is_done() {
            self.stage = Stage::Waiting { ended: None };
        }
        Ok(true)
    }
}

impl Operator for WindowJoin {
    fn on_batch(&mut self, input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        let batch = self.plan.useful(input, &self.keys[input], batch)?;
        if let Stage::Streaming(matching) = &mut self.stage
            && matching.probe == input
        {
            matching.feed(batch)?;
            return self.fire(ctx);
        }
        self.inputs[input].add(batch, self.watermark_ms, ctx)?;
        self.stream_if_it_pays()?;
        if self.is_streaming() { self.fire(ctx) } else { Ok(Progress::Done) }
    }

    fn on_watermark(&mut self, change: WatermarkChange, ctx: &mut OperatorContext) -> Result<Progress> {
        let is_over = change.combined == Watermark::MAX;
        if is_over && self.is_streaming() {
            self.end_streaming();
        } else if change.watermark == Watermark::MAX
            && !is_over
            && self.may_stream(change.input)
            && let Stage::Waiting { ended } = &mut self.stage
        {
            *ended = Some(change.input);
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
