//! The part of a session aggregate before the exchange: it makes few partial sessions out of many rows.
//!
//! It holds partial sessions as long as the watermark has not passed their start: before it lets the watermark pass w it
//! sends those that start before w, since each of them may extend a session that closes then. At an epoch's end it sends
//! everything (so it has no state), and when it holds too much. Where keys hardly repeat it passes rows on in the layout
//! of partial sessions, one each.
//!
//! Whether a row is late only the other part can tell, which knows the sessions; the number of rows goes along.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::record_batch::RecordBatch;
use rheos_core::operator::{Counter, WatermarkChange};
use rheos_core::{Error, Operator, OperatorContext, Progress, Result};

use super::table::{Counting, SessionTable};
use super::timed_rows;
use crate::chunk_queue::ChunkQueue;
use crate::evaluation::new_batch;
use crate::window_aggregate::AggregateTime;
use crate::window_aggregate::input::RowInput;
use crate::window_aggregate::partial::{HELD_BYTES_MAX, Usefulness};
use crate::window_aggregate::spec::Layout;
use crate::window_aggregate::table::RowColumns;

/// See the module.
pub(crate) struct SessionPartial {
    gap_ms: i64,
    input: RowInput,
    time_column: usize,
    table: SessionTable,
    /// No session that is held starts before this.
    first_start_ms: i64,
    queue: ChunkQueue,
    usefulness: Usefulness,
    /// Where aggregating is off, rows can be turned into partial aggregates without a table.
    convertible: bool,
}

impl SessionPartial {
    pub(crate) fn try_new(layout: Arc<Layout>, gap_ms: i64, input: RowInput) -> Result<Self> {
        let Some(AggregateTime::Event(time_column)) = *input.time() else {
            return Err(Error::internal("sessions by the clock have no part before an exchange"));
        };
        Ok(Self {
            gap_ms,
            input,
            time_column,
            convertible: layout.aggregates.iter().all(|call| call.is_convertible()),
            table: SessionTable::try_new(layout)?,
            first_start_ms: i64::MAX,
            queue: ChunkQueue::default(),
            usefulness: Usefulness::default(),
        })
    }

    fn aggregate(&mut self, columns: &RowColumns, times: &[i64], ctx: &mut OperatorContext) -> Result<()> {
        let first = times.iter().copied().min().unwrap_or(i64::MAX);
        self.first_start_ms = self.first_start_ms.min(first);
        self.table.add_rows(columns, times, self.gap_ms, Counting::Later, ctx)
    }

    /// Rows as partial sessions of one row each.
    fn pass(&mut self, columns: &RowColumns, times: &[i64], ctx: &mut OperatorContext) -> Result<()> {
        ctx.count(Counter::PartialRowsOut, columns.rows as u64);
        let int =
            |values: &mut dyn Iterator<Item = i64>| -> ArrayRef { Arc::new(Int64Array::from_iter_values(values)) };
        let mut partials = vec![int(&mut times.iter().map(|t| t + self.gap_ms))];
        partials.extend(columns.groups.iter().cloned());
        partials.push(int(&mut times.iter().copied()));
        partials.push(int(&mut std::iter::repeat_n(1, times.len())));
        partials.extend(self.table.states.convert(columns)?);
        self.queue.push(new_batch(&self.table.layout.partial_schema, partials, columns.rows)?);
        Ok(())
    }

    /// Moves the sessions that start before `until_ms` to the output.
    fn release(&mut self, until_ms: i64, ctx: &mut OperatorContext) -> Result<()> {
        if self.first_start_ms >= until_ms {
            return Ok(());
        }
        let starts_before = |id: &u32| self.table.sessions.get(*id).start_ms < until_ms;
        let ids: Vec<u32> = self.table.sessions.ids().filter(starts_before).collect();
        if !ids.is_empty() {
            let partials = self.table.partials(&ids)?;
            self.queue.push(partials);
        }
        for id in &ids {
            self.table.sessions.detach(*id);
            self.table.sessions.remove(*id);
        }
        self.usefulness.released(ids.len() as u64);
        ctx.count(Counter::PartialRowsOut, ids.len() as u64);
        let starts = self.table.sessions.ids().map(|id| self.table.sessions.get(id).start_ms);
        self.first_start_ms = starts.min().unwrap_or(i64::MAX);
        self.table.compact()
    }
}

impl Operator for SessionPartial {
    fn on_batch(&mut self, _input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        let (batch, times) = timed_rows(batch, self.time_column, ctx)?;
        if times.is_empty() {
            return Ok(Progress::Done);
        }
        let columns = self.input.evaluate(&batch)?;
        if self.usefulness.is_off() {
            self.usefulness.skip();
            if self.convertible {
                self.pass(&columns, &times, ctx)?;
            } else {
                self.aggregate(&columns, &times, ctx)?;
                self.release(i64::MAX, ctx)?;
            }
            return self.queue.emit_one(ctx);
        }
        self.aggregate(&columns, &times, ctx)?;
        self.usefulness.judge(columns.rows as u64, self.table.sessions.len() as u64);
        if self.table.size() > HELD_BYTES_MAX || self.usefulness.is_off() {
            self.release(i64::MAX, ctx)?;
        }
        self.queue.emit_one(ctx)
    }

    fn check_rows(&self, _input: usize, batch: &RecordBatch) -> Result<()> {
        self.input.evaluate(batch).map(drop)
    }

    fn on_watermark(&mut self, change: WatermarkChange, ctx: &mut OperatorContext) -> Result<Progress> {
        self.release(change.combined.ms(), ctx)?;
        self.queue.emit_one(ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.queue.emit_one(ctx)
    }

    fn flush(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.release(i64::MAX, ctx)?;
        self.queue.emit_one(ctx)
    }
}
