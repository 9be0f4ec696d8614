//! The stateful part of a session aggregate: rows (Single) or partial aggregates (Final) in, results out.
//!
//! 1. Rows join the sessions of their keys.
//! 2. When the watermark (or the clock) rises, what was late is dropped and counted; then the sessions that are complete
//!    fire, by end and key, a chunk a call.
//! 3. An epoch's end hands over the sessions that have changed (`checkpoint`).

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use rheos_core::operator::{CHUNK_ROWS_MAX, OperatorInit, WatermarkChange};
use rheos_core::state::{SnapshotReader, StateDelta};
use rheos_core::timer::TimeDomain;
use rheos_core::{Epoch, Operator, OperatorContext, Progress, Result, Watermark};

use super::checkpoint::SessionState;
use super::table::{Counting, SessionTable};
use super::{timed_rows, watermark_behind};
use crate::chunk_queue::ChunkQueue;
use crate::window_aggregate::AggregateTime;
use crate::window_aggregate::input::{RowInput, processing_time_ms};
use crate::window_aggregate::spec::{AggregateSpec, Layout};

/// See the module.
pub(crate) struct SessionAggregate {
    gap_ms: i64,
    /// `None`: the input is partial aggregates.
    rows: Option<RowInput>,
    /// `None`: rows go by the clock.
    time_column: Option<usize>,
    domain: TimeDomain,
    table: SessionTable,
    queue: ChunkQueue,
    /// Sessions that end before this have fired: the watermark, or the time of the clock.
    watermark_ms: i64,
    state: SessionState,
}

impl SessionAggregate {
    pub(crate) fn try_new(
        layout: Arc<Layout>,
        spec: &AggregateSpec,
        gap_ms: i64,
        rows: Option<RowInput>,
        init: &OperatorInit,
    ) -> Result<Self> {
        let (time_column, domain) = match spec.time {
            Some(AggregateTime::Event(column)) => (Some(column), TimeDomain::EventTime),
            _ => (None, TimeDomain::ProcessingTime),
        };
        Ok(Self {
            gap_ms,
            rows,
            time_column,
            domain,
            state: SessionState::new(layout.keys, init),
            table: SessionTable::try_new(layout)?,
            queue: ChunkQueue::default(),
            watermark_ms: i64::MIN,
        })
    }

    fn add_rows(&mut self, input: &RowInput, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<()> {
        let (batch, times) = match self.time_column {
            Some(column) => timed_rows(batch, column, ctx)?,
            None => {
                let times = vec![processing_time_ms(ctx, self.watermark_ms); batch.num_rows()];
                (batch, times)
            }
        };
        if times.is_empty() {
            return Ok(());
        }
        let counting = Counting::InTime(self.watermark_ms);
        self.table.add_rows(&input.evaluate(&batch)?, &times, self.gap_ms, counting, ctx)
    }

    fn rise(&mut self, to_ms: i64, ctx: &mut OperatorContext) -> Result<Progress> {
        if to_ms > self.watermark_ms {
            self.table.sessions.drop_late(self.watermark_ms, ctx);
            self.watermark_ms = to_ms;
        }
        self.table.sessions.close(self.watermark_ms);
        self.fire(ctx)
    }

    /// Emits a chunk of what is due.
    fn fire(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        while !self.queue.has_full_chunk() && self.table.sessions.has_due() {
            let due = self.table.sessions.take_due(CHUNK_ROWS_MAX);
            let results = self.table.take_results(&due)?;
            self.queue.push(results);
        }
        match self.queue.emit_one(ctx)? {
            Progress::Done if self.table.sessions.has_due() => Ok(Progress::More),
            progress => Ok(progress),
        }
    }
}

impl Operator for SessionAggregate {
    fn on_batch(&mut self, _input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        match self.rows.take() {
            Some(input) => {
                let added = self.add_rows(&input, batch, ctx);
                self.rows = Some(input);
                added?;
            }
            None => self.table.add_partials(&batch, Counting::InTime(self.watermark_ms), ctx)?,
        }
        Ok(Progress::Done)
    }

    fn check_rows(&self, _input: usize, batch: &RecordBatch) -> Result<()> {
        self.rows.as_ref().map_or(Ok(()), |input| input.evaluate(batch).map(drop))
    }

    fn on_watermark(&mut self, change: WatermarkChange, ctx: &mut OperatorContext) -> Result<Progress> {
        if self.domain == TimeDomain::ProcessingTime && change.combined != Watermark::MAX {
            return Ok(Progress::Done);
        }
        self.rise(change.combined.ms(), ctx)
    }

    fn on_clock(&mut self, now_ms: i64, ctx: &mut OperatorContext) -> Result<Progress> {
        self.rise(now_ms, ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.fire(ctx)
    }

    fn flush(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.table.sessions.drop_late(self.watermark_ms, ctx);
        Ok(Progress::Done)
    }

    fn on_epoch_end(&mut self, _epoch: Epoch, _ctx: &mut OperatorContext) -> Result<StateDelta> {
        self.state.delta(&mut self.table, self.watermark_ms)
    }

    fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        self.watermark_ms = self.state.restore(snapshot, &mut self.table)?;
        Ok(())
    }

    fn output_watermark(&self, combined: Watermark) -> Watermark {
        match self.domain {
            TimeDomain::EventTime => watermark_behind(combined),
            TimeDomain::ProcessingTime => combined,
        }
    }

    fn wants_clock(&self) -> bool {
        self.domain == TimeDomain::ProcessingTime
    }

    fn open_windows(&self) -> u64 {
        self.table.sessions.len() as u64
    }
}
