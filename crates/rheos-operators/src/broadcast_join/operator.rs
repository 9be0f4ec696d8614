//! The operator: rows wait until all their partners have come, then look them up.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use rheos_core::operator::{OperatorInit, WatermarkChange};
use rheos_core::state::{SnapshotReader, StateDelta};
use rheos_core::{Epoch, Operator, OperatorContext, Progress, Result, Watermark};

use super::state::{Few, Waiting};
use super::{BroadcastJoinSpec, Closing};
use crate::chunk_queue::ChunkQueue;
use crate::joining::LEFT;
use crate::row_keys::RowKeys;
use crate::window_join::matching::Matching;
use crate::window_join::spec::Plan;

/// Steps without a full chunk before other operators get their turn.
const STEPS_MAX: usize = 16;

/// See the module.
pub(crate) struct BroadcastJoin {
    plan: Arc<Plan>,
    keys: [RowKeys; 2],
    /// The input that has few rows.
    input_of_few: usize,
    closing: Option<Closing>,
    few: Few,
    waiting: Waiting,
    /// How far the input with few rows is.
    few_ms: i64,
    /// The few rows in a table, as long as no more come.
    table: Option<Matching>,
    /// What looks up next.
    due: VecDeque<RecordBatch>,
    queue: ChunkQueue,
}

impl BroadcastJoin {
    pub(crate) fn try_new(spec: &BroadcastJoinSpec, plan: Arc<Plan>, init: &OperatorInit) -> Result<Self> {
        let (left, right) = (&spec.join.left, &spec.join.right);
        let [few, others] = [spec.few, 1 - spec.few].map(|input| Arc::clone(&plan.inputs[input]));
        Ok(Self {
            keys: [
                RowKeys::try_unordered(&left.keys, &left.schema)?,
                RowKeys::try_unordered(&right.keys, &right.schema)?,
            ],
            input_of_few: spec.few,
            closing: spec.closing,
            few: Few::new(few, init),
            waiting: Waiting::new(others),
            few_ms: i64::MIN,
            table: None,
            due: VecDeque::new(),
            queue: ChunkQueue::default(),
            plan,
        })
    }

    /// Lets rows look up whose partners have all come. As long as more of the few rows may come, the table is made for these: then it
    /// takes as many.
    fn release(&mut self) {
        if self.has_all() || self.waiting.rows_closed(self.few_ms) >= self.few.rows() {
            self.due.extend(self.waiting.take_closed(self.few_ms));
        }
    }

    /// Whether all of the few rows have come.
    fn has_all(&self) -> bool {
        self.few_ms == Watermark::MAX.ms()
    }

    /// Emits a chunk of what is due.
    fn fire(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        for _ in 0..STEPS_MAX {
            if self.queue.has_full_chunk() || !self.step()? {
                break;
            }
        }
        match self.queue.emit_one(ctx)? {
            Progress::Done if self.has_work() => Ok(Progress::More),
            progress => Ok(progress),
        }
    }

    fn has_work(&self) -> bool {
        !self.due.is_empty() || self.table.as_ref().is_some_and(|table| !table.is_done())
    }

    /// One bounded step. `false`: nothing is due.
    fn step(&mut self) -> Result<bool> {
        let is_done = self.table.as_ref().is_none_or(Matching::is_done);
        if is_done {
            let Some(batch) = self.due.pop_front() else { return Ok(false) };
            match &mut self.table {
                Some(table) => table.feed(batch)?,
                None => {
                    let (few, probe) = (self.few.batches().to_vec(), 1 - self.input_of_few);
                    let rows = if probe == LEFT { [vec![batch], few] } else { [few, vec![batch]] };
                    self.table = Some(Matching::streaming(&self.plan, &self.keys, rows, probe)?);
                }
            }
        }
        let results = self.table.as_mut().map(|table| table.step(&self.plan, &self.keys)).transpose()?;
        if let Some(results) = results.flatten() {
            self.queue.push(results);
        }
        Ok(true)
    }
}

impl Operator for BroadcastJoin {
    fn on_batch(&mut self, input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        let batch = self.plan.useful(input, &self.keys[input], batch)?;
        if batch.num_rows() == 0 {
            return Ok(Progress::Done);
        }
        if input == self.input_of_few {
            self.few.push(batch);
            self.table = None;
            return Ok(Progress::Done);
        }
        let closes_ms = self.closing.map_or(i64::MAX, |closing| closing.closes_ms(&batch));
        self.waiting.push(batch, closes_ms);
        if !self.has_all() {
            return Ok(Progress::Done);
        }
        self.release();
        self.fire(ctx)
    }

    fn on_watermark(&mut self, change: WatermarkChange, ctx: &mut OperatorContext) -> Result<Progress> {
        if change.input == self.input_of_few {
            self.few_ms = self.few_ms.max(change.watermark.ms());
            self.release();
        }
        self.fire(ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.fire(ctx)
    }

    fn on_epoch_end(&mut self, _epoch: Epoch, _ctx: &mut OperatorContext) -> Result<StateDelta> {
        let tables = [self.few.delta(), self.waiting.delta()?];
        Ok(StateDelta { tables: tables.into_iter().flatten().collect() })
    }

    fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        self.few.restore(snapshot)?;
        self.waiting.restore(snapshot)
    }

    fn output_watermark(&self, combined: Watermark) -> Watermark {
        combined.held_until_the_end()
    }

    fn open_windows(&self) -> u64 {
        u64::from(self.waiting.has_rows())
    }
}
