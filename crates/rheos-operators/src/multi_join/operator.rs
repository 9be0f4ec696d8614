//! The operator: takes a batch into its input, and tells what comes of it.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use rheos_core::change::{split, weighted, without_weights};
use rheos_core::operator::{CHUNK_ROWS_MAX, OperatorInit, StateSize, WatermarkChange};
use rheos_core::state::{SnapshotReader, StateDelta};
use rheos_core::{Epoch, Operator, OperatorContext, Progress, Result, Watermark};

use super::product::{Combinations, Cursor};
use super::spec::{MultiJoinInput, MultiJoinSpec, Plan, key_columns};
use crate::chunk_queue::{ChunkQueue, STEPS_MAX, chunk_rows};
use crate::evaluation::new_batch;
use crate::joining::keys::joinable_rows;
use crate::row_keys::RowKeys;
use crate::update_join::inputs::Inputs;
use crate::update_join::side::Change;

/// See the module.
pub(crate) struct MultiJoin {
    plan: Arc<Plan>,
    inputs: Inputs,
    /// The changes whose results are on their way out.
    cursor: Option<Cursor>,
    queue: ChunkQueue,
    /// Rows that make a chunk, by the size of the largest.
    chunk_rows: usize,
    /// Of all inputs.
    watermark: Watermark,
    /// A flush has closed the epoch, and its changes have not been asked for.
    is_stale: bool,
}

impl MultiJoin {
    pub(crate) fn try_new(spec: &MultiJoinSpec, plan: Arc<Plan>, init: &OperatorInit) -> Result<Self> {
        let input = |(at, input): (usize, &MultiJoinInput)| {
            let schema = &plan.inputs[at];
            let keys = RowKeys::try_unordered(&key_columns(schema, input)?, schema)?;
            Ok((format!("input-{at}"), plan.side(at), keys))
        };
        let inputs = spec.inputs.iter().enumerate().map(input).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            inputs: Inputs::try_new(inputs, plan.key_columns, spec.state_ttl_ms, init)?,
            cursor: None,
            queue: ChunkQueue::default(),
            chunk_rows: CHUNK_ROWS_MAX,
            watermark: Watermark::MIN,
            is_stale: false,
            plan,
        })
    }

    /// Takes rows into their input: those that can join at all.
    fn apply(&mut self, input: usize, rows: RecordBatch, weights: Option<Int64Array>) -> Result<Vec<Change>> {
        let keys = self.inputs.key_values(input, &rows)?;
        let (rows, weights, keys) = match joinable_rows(self.plan.null_equality, &keys) {
            None => (rows, weights, keys),
            Some(joinable) => {
                let joinable = BooleanArray::new(joinable.into_inner(), None);
                let weights = weights.map(|weights| filter(&weights, &joinable)).transpose()?;
                let weights = weights.map(|weights| weights.as_primitive::<Int64Type>().clone());
                let keys = keys.iter().map(|key| Ok(filter(key, &joinable)?)).collect::<Result<Vec<_>>>()?;
                (filter_record_batch(&rows, &joinable)?, weights, keys)
            }
        };
        if rows.num_rows() == 0 {
            return Ok(vec![]);
        }
        self.chunk_rows = self.chunk_rows.min(chunk_rows(&rows));
        self.inputs.apply(input, rows, &keys, weights.as_ref(), self.watermark)
    }

    /// Goes on with what is to be done, and emits a chunk.
    fn proceed(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        for _ in 0..STEPS_MAX {
            if self.queue.has_full_chunk() {
                break;
            }
            let Some(mut cursor) = self.cursor.take() else { break };
            let found = cursor.step(&self.inputs.sides, self.chunk_rows)?;
            self.tell(found)?;
            self.cursor = Some(cursor).filter(|cursor| !cursor.is_done());
        }
        match self.queue.emit_one(ctx)? {
            Progress::Done if self.cursor.is_some() => Ok(Progress::More),
            progress => Ok(progress),
        }
    }

    /// Combinations of rows as results.
    fn tell(&mut self, found: Combinations) -> Result<()> {
        let count = found.weights.len();
        if count == 0 {
            return Ok(());
        }
        let mut columns: Vec<ArrayRef> = vec![];
        for (side, rows) in self.inputs.sides.iter().zip(&found.rows) {
            columns.extend(side.rows.gather(rows)?.columns().iter().cloned());
        }
        self.queue.push(match self.plan.emits_weights() {
            true => weighted(&without_weights(&self.plan.schema), columns, Int64Array::from(found.weights))?,
            false => new_batch(&self.plan.schema, columns, count)?,
        });
        Ok(())
    }

    /// Ends the epoch that a flush has closed, where the job keeps no state and nobody else does.
    fn forget_stale(&mut self) -> Result<()> {
        if !self.is_stale {
            return Ok(());
        }
        self.inputs.vanish_untouched(self.watermark);
        self.end_epoch()
    }

    /// Lets go what is not there any more, now that it has been told and stored.
    fn end_epoch(&mut self) -> Result<()> {
        for input in 0..self.inputs.sides.len() {
            for row in self.inputs.take_gone(input) {
                self.inputs.let_go(input, row);
            }
            self.inputs.sides[input].rows.tidy()?;
        }
        self.is_stale = false;
        Ok(())
    }
}

impl Operator for MultiJoin {
    fn on_batch(&mut self, input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        self.forget_stale()?;
        let (rows, weights) = split(&batch)?;
        let changes = self.apply(input, rows, weights)?;
        if !changes.is_empty() {
            self.cursor = Some(Cursor::new(input, self.inputs.sides.len(), changes));
        }
        self.proceed(ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.proceed(ctx)
    }

    fn flush(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.forget_stale()?;
        self.is_stale = true;
        self.proceed(ctx)
    }

    fn on_watermark(&mut self, change: WatermarkChange, ctx: &mut OperatorContext) -> Result<Progress> {
        self.forget_stale()?;
        self.watermark = change.combined;
        self.proceed(ctx)
    }

    fn state_size(&self) -> StateSize {
        self.inputs.size()
    }

    fn on_epoch_end(&mut self, _epoch: Epoch, _ctx: &mut OperatorContext) -> Result<StateDelta> {
        self.inputs.vanish_untouched(self.watermark);
        let delta = self.inputs.delta()?;
        self.end_epoch()?;
        Ok(delta)
    }

    fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        self.inputs.restore(snapshot)
    }

    fn output_watermark(&self, combined: Watermark) -> Watermark {
        // A row joins what comes much later.
        combined.held_until_the_end()
    }
}
