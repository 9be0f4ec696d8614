//! The operator: rows are counted; at the end of an epoch, or of both inputs, the result or what has changed of it goes out.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rheos_core::change::{self, has_weights};
use rheos_core::operator::{CHUNK_ROWS_MAX, OperatorInit, StateSize, WatermarkChange};
use rheos_core::state::{SnapshotReader, StateDelta};
use rheos_core::{Epoch, Operator, OperatorContext, Progress, Result, Watermark};

use super::SetOperationSpec;
use super::counts::Counts;
use crate::chunk_queue::ChunkQueue;
use crate::evaluation::new_batch;
use crate::keyed::telling::Telling;

/// See the module.
pub(super) struct SetOperator {
    schema: SchemaRef,
    counts: Counts,
    at_end: bool,
    telling: Telling,
    /// Rows whose changes have not been told.
    waiting: Vec<u32>,
    /// The change that is on its way out where each copy is a row: its slot, and the copies that wait.
    copies: Option<(u32, i64)>,
    queue: ChunkQueue,
    ends_epoch: bool,
}

impl SetOperator {
    pub(super) fn try_new(
        spec: &SetOperationSpec,
        schema: &SchemaRef,
        rows: &SchemaRef,
        init: &OperatorInit,
    ) -> Result<Self> {
        Ok(Self {
            schema: Arc::clone(schema),
            counts: Counts::try_new(spec.operation, rows, spec.state_ttl_ms, init)?,
            at_end: spec.at_end,
            telling: Telling::new(spec.emit_interval_ms.filter(|_| !spec.at_end)),
            waiting: vec![],
            copies: None,
            queue: ChunkQueue::default(),
            ends_epoch: false,
        })
    }

    fn begin(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.waiting = self.counts.take_touched();
        self.waiting.reverse();
        self.emit(ctx)
    }

    fn emit(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        while !self.queue.has_full_chunk() && self.step()? {}
        let waits = !self.waiting.is_empty() || self.copies.is_some();
        match self.queue.emit_one(ctx)? {
            Progress::Done if waits => Ok(Progress::More),
            Progress::More => Ok(Progress::More),
            Progress::Done => {
                self.telling.is_told(ctx.watermark);
                if std::mem::take(&mut self.ends_epoch) {
                    self.counts.expire(ctx.watermark.ms());
                }
                Ok(Progress::Done)
            }
        }
    }

    /// Makes the next chunk. `false`: there is no more.
    fn step(&mut self) -> Result<bool> {
        let (mut slots, mut weights, mut told) = (vec![], vec![], vec![]);
        while slots.len() < CHUNK_ROWS_MAX {
            let next = self.copies.take().or_else(|| {
                let slot = self.waiting.pop()?;
                told.push(slot);
                Some((slot, self.counts.tell(slot)))
            });
            let Some((slot, weight)) = next else { break };
            if has_weights(&self.schema) {
                slots.extend((weight != 0).then_some(slot));
                weights.extend((weight != 0).then_some(weight));
                continue;
            }
            let room = CHUNK_ROWS_MAX - slots.len();
            let copies = usize::try_from(weight).unwrap_or(0).min(room);
            slots.extend(std::iter::repeat_n(slot, copies));
            self.copies = Some((slot, weight - copies as i64)).filter(|(_, left)| *left > 0);
        }
        let mut columns = self.counts.rows(slots.iter())?;
        if has_weights(&self.schema) {
            columns.push(Arc::new(Int64Array::from(weights)) as ArrayRef);
        }
        self.queue.push(new_batch(&self.schema, columns, slots.len())?);
        let is_open = self.copies.map(|(slot, _)| slot);
        told.into_iter().filter(|slot| Some(*slot) != is_open).for_each(|slot| self.counts.release(slot));
        Ok(!self.waiting.is_empty() || self.copies.is_some())
    }
}

impl Operator for SetOperator {
    fn on_batch(&mut self, input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        let (rows, weights) = change::split(&batch)?;
        self.counts.add(input, &rows, weights.as_ref(), ctx.watermark.ms())?;
        Ok(Progress::Done)
    }

    fn on_watermark(&mut self, change: WatermarkChange, ctx: &mut OperatorContext) -> Result<Progress> {
        match self.telling.is_last(change.combined, self.counts.has_changes()) {
            true => self.begin(ctx),
            false => Ok(Progress::Done),
        }
    }

    fn on_clock(&mut self, now_ms: i64, ctx: &mut OperatorContext) -> Result<Progress> {
        match self.telling.is_due(now_ms) {
            true => self.begin(ctx),
            false => Ok(Progress::Done),
        }
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.emit(ctx)
    }

    fn flush(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        if self.at_end {
            return Ok(Progress::Done);
        }
        self.ends_epoch = true;
        self.begin(ctx)
    }

    fn on_epoch_end(&mut self, _epoch: Epoch, ctx: &mut OperatorContext) -> Result<StateDelta> {
        if self.at_end && ctx.watermark == Watermark::MAX && !self.counts.is_empty() {
            self.counts.end();
        }
        self.counts.delta()
    }

    fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        self.counts.restore(snapshot, !self.at_end)
    }

    fn output_watermark(&self, combined: Watermark) -> Watermark {
        match has_weights(&self.schema) {
            true => self.telling.output_watermark(combined),
            // Rows of any time may follow, and none can be taken back.
            false => combined.held_until_the_end(),
        }
    }

    fn state_size(&self) -> StateSize {
        self.counts.size()
    }

    fn wants_clock(&self) -> bool {
        self.telling.wants_clock()
    }

    fn open_windows(&self) -> u64 {
        u64::from(self.at_end && !self.counts.is_empty())
    }
}
