//! The operator: rows go to their partitions; what has changed is told at the end of an epoch or on the clock, or all rows go out at
//! the end of the input.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rheos_core::operator::{OperatorInit, StateSize, WatermarkChange};
use rheos_core::state::{SnapshotReader, StateDelta};
use rheos_core::{Epoch, Operator, OperatorContext, Progress, Result, Watermark};

use super::BestRows;
use super::last::LastRows;
use super::told::Untold;
use crate::chunk_queue::ChunkQueue;
use crate::keyed::telling::Telling;
use crate::update_rank::state::RankState;
use crate::update_rank::{Tells, UpdateRankSpec};

/// See the module.
pub(in crate::update_rank) struct BestRank {
    schema: SchemaRef,
    with_numbers: bool,
    tells: Tells,
    rows: BestRows,
    state: RankState,
    output: Output,
    queue: ChunkQueue,
    ends_epoch: bool,
    telling: Telling,
}

/// What is on its way out, but for what is in the queue.
enum Output {
    Nothing,
    Changes(Untold),
    Last(LastRows),
}

impl BestRank {
    pub(in crate::update_rank) fn try_new(
        spec: &UpdateRankSpec,
        schema: &SchemaRef,
        init: &OperatorInit,
    ) -> Result<Self> {
        Ok(Self {
            schema: Arc::clone(schema),
            with_numbers: spec.name.is_some(),
            tells: spec.tells,
            rows: BestRows::try_new(spec)?,
            state: RankState::new(&spec.input, spec.partition_by.clone(), init),
            output: Output::Nothing,
            queue: ChunkQueue::default(),
            ends_epoch: false,
            telling: Telling::new(spec.emit_interval_ms),
        })
    }

    fn begin(&mut self, ends_epoch: bool, ctx: &mut OperatorContext) -> Result<Progress> {
        self.output = Output::Changes(self.rows.take_untold());
        self.ends_epoch = ends_epoch;
        self.emit(ctx)
    }

    fn emit(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        while !self.queue.has_full_chunk() && self.step()? {}
        match self.queue.emit_one(ctx)? {
            Progress::Done if !matches!(self.output, Output::Nothing) => Ok(Progress::More),
            Progress::More => Ok(Progress::More),
            Progress::Done => {
                self.telling.is_told(ctx.watermark);
                if std::mem::take(&mut self.ends_epoch) {
                    self.rows.expire(ctx.watermark.ms());
                }
                Ok(Progress::Done)
            }
        }
    }

    /// Makes the next results. `false`: there are no more.
    fn step(&mut self) -> Result<bool> {
        let chunks = match &mut self.output {
            Output::Nothing => None,
            Output::Changes(untold) => self.rows.tell(untold, &self.schema)?,
            Output::Last(last) => last.next(&self.schema)?.map(|rows| vec![rows]),
        };
        match chunks {
            Some(chunks) => chunks.into_iter().for_each(|rows| self.queue.push(rows)),
            None if matches!(self.output, Output::Nothing) => return Ok(false),
            None => self.output = Output::Nothing,
        }
        Ok(true)
    }
}

impl Operator for BestRank {
    fn on_batch(&mut self, _input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        self.rows.apply(batch, ctx.watermark.ms())?;
        Ok(Progress::Done)
    }

    fn on_watermark(&mut self, change: WatermarkChange, ctx: &mut OperatorContext) -> Result<Progress> {
        match self.tells {
            Tells::Changes if self.telling.is_last(change.combined, self.rows.has_changes()) => self.begin(false, ctx),
            Tells::TheLast if change.combined == Watermark::MAX => {
                self.output = Output::Last(self.rows.take_last(self.with_numbers));
                self.emit(ctx)
            }
            _ => Ok(Progress::Done),
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
        match self.tells {
            Tells::Changes => self.begin(true, ctx),
            Tells::TheLast => Ok(Progress::Done),
        }
    }

    fn on_epoch_end(&mut self, _epoch: Epoch, _ctx: &mut OperatorContext) -> Result<StateDelta> {
        self.state.delta(&mut self.rows)
    }

    fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        self.state.restore(snapshot, &mut self.rows)
    }

    fn output_watermark(&self, combined: Watermark) -> Watermark {
        match self.tells {
            Tells::Changes => self.telling.output_watermark(combined),
            Tells::TheLast => combined.held_until_the_end(),
        }
    }

    fn wants_clock(&self) -> bool {
        self.tells == Tells::Changes && self.telling.wants_clock()
    }

    fn open_windows(&self) -> u64 {
        u64::from(self.tells == Tells::TheLast && !self.rows.is_empty())
    }

    fn state_size(&self) -> StateSize {
        self.rows.size()
    }
}
