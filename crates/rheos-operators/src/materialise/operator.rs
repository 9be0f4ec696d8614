//! The operator: rows go to their keys; at the end of an epoch the keys that were touched tell what has changed.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rheos_core::change::{split, with_weights};
use rheos_core::operator::{CHUNK_ROWS_MAX, OperatorInit, StateSize, WatermarkChange};
use rheos_core::state::{SnapshotReader, StateDelta};
use rheos_core::{Epoch, Operator, OperatorContext, Progress, Result, Watermark};

use super::MaterialiseSpec;
use super::keyed_rows::KeyedRows;
use crate::chunk_queue::ChunkQueue;
use crate::evaluation::new_batch;
use crate::keyed::telling::Telling;

/// See the module.
pub(super) struct Materialise {
    schema: SchemaRef,
    rows: KeyedRows,
    /// Keys that have not told their changes.
    waiting: Vec<u32>,
    queue: ChunkQueue,
    telling: Telling,
    ends_epoch: bool,
}

impl Materialise {
    pub(super) fn try_new(spec: &MaterialiseSpec, rows: &SchemaRef, init: &OperatorInit) -> Result<Self> {
        Ok(Self {
            schema: with_weights(rows),
            rows: KeyedRows::try_new(spec, rows, init)?,
            waiting: vec![],
            queue: ChunkQueue::default(),
            telling: Telling::new(None),
            ends_epoch: false,
        })
    }

    fn begin(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.waiting = self.rows.take_touched();
        self.waiting.reverse();
        self.emit(ctx)
    }

    fn emit(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        while !self.queue.has_full_chunk() && self.step()? {}
        match self.queue.emit_one(ctx)? {
            Progress::Done if !self.waiting.is_empty() => Ok(Progress::More),
            Progress::Done => {
                self.telling.is_told(ctx.watermark);
                if std::mem::take(&mut self.ends_epoch) {
                    self.rows.expire(ctx.watermark.ms());
                }
                Ok(Progress::Done)
            }
            Progress::More => Ok(Progress::More),
        }
    }

    /// Lets some keys tell their changes. `false`: none waits.
    fn step(&mut self) -> Result<bool> {
        let (mut changes, mut told) = (vec![], vec![]);
        // A key tells two rows at most, which stay together.
        while changes.len() + 1 < CHUNK_ROWS_MAX
            && let Some(slot) = self.waiting.pop()
        {
            self.rows.tell(slot, &mut changes);
            told.push(slot);
        }
        let mut columns = self.rows.columns(&changes)?;
        columns.push(Arc::new(Int64Array::from_iter_values(changes.iter().map(|(_, _, weight)| *weight))) as ArrayRef);
        self.queue.push(new_batch(&self.schema, columns, changes.len())?);
        told.into_iter().for_each(|slot| self.rows.release(slot));
        Ok(!self.waiting.is_empty())
    }
}

impl Operator for Materialise {
    fn on_batch(&mut self, _input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        let (rows, weights) = split(&batch)?;
        self.rows.apply(&rows, weights.as_ref(), ctx.watermark.ms())?;
        Ok(Progress::Done)
    }

    fn on_watermark(&mut self, change: WatermarkChange, ctx: &mut OperatorContext) -> Result<Progress> {
        match self.telling.is_last(change.combined, self.rows.has_changes()) {
            true => self.begin(ctx),
            false => Ok(Progress::Done),
        }
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.emit(ctx)
    }

    fn flush(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.ends_epoch = true;
        self.begin(ctx)
    }

    fn on_epoch_end(&mut self, _epoch: Epoch, _ctx: &mut OperatorContext) -> Result<StateDelta> {
        self.rows.delta()
    }

    fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        self.rows.restore(snapshot)
    }

    fn output_watermark(&self, combined: Watermark) -> Watermark {
        self.telling.output_watermark(combined)
    }

    fn state_size(&self) -> StateSize {
        self.rows.size()
    }
}
