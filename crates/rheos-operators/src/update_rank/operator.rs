//! The operator: rows go to their partitions; at the end of an epoch, or on the clock, partitions that were touched tell what has changed.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, UInt64Array};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rheos_core::change;
use rheos_core::operator::{CHUNK_ROWS_MAX, OperatorInit, StateSize, WatermarkChange};
use rheos_core::state::{SnapshotReader, StateDelta};
use rheos_core::{Epoch, Operator, OperatorContext, Progress, Result, Watermark};

use super::UpdateRankSpec;
use super::listing::Change;
use super::numbers::Numbering;
use super::partitions::Partitions;
use super::state::RankState;
use crate::chunk_queue::ChunkQueue;
use crate::evaluation::new_batch;
use crate::keyed::row_codec::RowCodec;
use crate::keyed::telling::Telling;

/// See the module.
pub(crate) struct UpdateRank {
    schema: SchemaRef,
    emits_number: bool,
    partitions: Partitions,
    state: RankState,
    emission: Emission,
    telling: Telling,
}

/// Changes on their way out.
#[derive(Default)]
struct Emission {
    /// Partitions that have not told their changes, the last one first.
    waiting: Vec<u32>,
    /// Partitions that have told these changes.
    told: Vec<u32>,
    changes: Vec<Change>,
    /// The first of the changes that is not in the queue.
    next: usize,
    queue: ChunkQueue,
    ends_epoch: bool,
}

impl Emission {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.next == self.changes.len()
    }
}

impl UpdateRank {
    pub(crate) fn try_new(
        spec: &UpdateRankSpec,
        numbering: Numbering,
        schema: &SchemaRef,
        init: &OperatorInit,
    ) -> Result<Self> {
        let rows = change::without_weights(&spec.input);
        let only_grows = !change::has_weights(&spec.input) && spec.limit.is_some();
        let codec = RowCodec::try_new(&rows, &spec.partition_by, &spec.order_by)?;
        Ok(Self {
            schema: Arc::clone(schema),
            emits_number: numbering.emits_number,
            partitions: Partitions::new(codec, numbering, only_grows, spec.state_ttl_ms),
            state: RankState::new(&rows, spec.partition_by.clone(), init),
            emission: Emission::default(),
            telling: Telling::new(spec.emit_interval_ms),
        })
    }

    fn begin(&mut self, ends_epoch: bool, ctx: &mut OperatorContext) -> Result<Progress> {
        self.emission.waiting = self.partitions.take_touched();
        // In the order in which they were touched.
        self.emission.waiting.reverse();
        self.emission.ends_epoch = ends_epoch;
        self.emit(ctx)
    }

    fn emit(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        while !self.emission.queue.has_full_chunk() && self.step()? {}
        match self.emission.queue.emit_one(ctx)? {
            Progress::Done if !self.emission.is_empty() => Ok(Progress::More),
            Progress::More => Ok(Progress::More),
            Progress::Done => {
                self.refill();
                self.telling.is_told(ctx.watermark);
                if std::mem::take(&mut self.emission.ends_epoch) {
                    self.partitions.expire(ctx.watermark.ms());
                }
                Ok(Progress::Done)
            }
        }
    }

    /// Makes rows of some changes. `false`: there are no more.
    fn step(&mut self) -> Result<bool> {
        if self.emission.next == self.emission.changes.len() {
            self.refill();
        }
        let changes = &self.emission.changes[self.emission.next..];
        if changes.is_empty() {
            return Ok(false);
        }
        let count = whole_pairs(changes, CHUNK_ROWS_MAX);
        let rows = self.rows(&changes[..count])?;
        self.emission.queue.push(rows);
        self.emission.next += count;
        Ok(true)
    }

    /// Lets partitions tell their changes, as many as make a chunk. What was told before is in the queue.
    fn refill(&mut self) {
        let Emission { waiting, told, changes, next, .. } = &mut self.emission;
        told.drain(..).for_each(|slot| self.partitions.release(slot));
        changes.clear();
        *next = 0;
        while changes.len() < CHUNK_ROWS_MAX
            && let Some(slot) = waiting.pop()
        {
            self.partitions.tell(slot, changes);
            told.push(slot);
        }
    }

    fn rows(&self, changes: &[Change]) -> Result<RecordBatch> {
        let keys = changes.iter().map(|change| self.partitions.key(change.slot));
        let mut columns = self.partitions.codec.columns(keys, changes.iter().map(|change| &change.row))?;
        if self.emits_number {
            columns.push(Arc::new(UInt64Array::from_iter_values(changes.iter().map(|c| c.number))) as ArrayRef);
        }
        columns.push(Arc::new(Int64Array::from_iter_values(changes.iter().map(|c| c.weight))));
        new_batch(&self.schema, columns, changes.len())
    }
}

/// How many of the first changes, `rows_max` at most, make a chunk that does not part a row that leaves from the one that follows it.
fn whole_pairs(changes: &[Change], rows_max: usize) -> usize {
    match changes.get(rows_max - 1..=rows_max) {
        Some([leaves, enters]) if leaves.weight < 0 && enters.weight > 0 => rows_max - 1,
        _ => rows_max.min(changes.len()),
    }
}

impl Operator for UpdateRank {
    fn on_batch(&mut self, _input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        let (rows, weights) = change::split(&batch)?;
        self.partitions.apply(&rows, weights.as_ref(), ctx.watermark.ms())?;
        Ok(Progress::Done)
    }

    fn on_watermark(&mut self, change: WatermarkChange, ctx: &mut OperatorContext) -> Result<Progress> {
        match self.telling.is_last(change.combined, self.partitions.has_changes()) {
            true => self.begin(false, ctx),
            false => Ok(Progress::Done),
        }
    }

    fn on_clock(&mut self, now_ms: i64, ctx: &mut OperatorContext) -> Result<Progress> {
        match self.telling.is_due(now_ms) {
            true => self.begin(false, ctx),
            false => Ok(Progress::Done),
        }
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.emit(ctx)
    }

    fn flush(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.begin(true, ctx)
    }

    fn on_epoch_end(&mut self, _epoch: Epoch, _ctx: &mut OperatorContext) -> Result<StateDelta> {
        self.state.delta(&mut self.partitions)
    }

    fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        self.state.restore(snapshot, &mut self.partitions)
    }

    fn output_watermark(&self, combined: Watermark) -> Watermark {
        self.telling.output_watermark(combined)
    }

    fn wants_clock(&self) -> bool {
        self.telling.wants_clock()
    }

    fn state_size(&self) -> StateSize {
        self.partitions.size()
    }
}
