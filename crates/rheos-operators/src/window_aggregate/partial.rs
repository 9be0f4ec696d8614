//! The part of a window aggregate before the exchange: it makes few partial aggregates out of many rows.
//!
//! It holds open slices, emits those that end by the watermark before it lets the watermark pass, everything at an
//! epoch's end (so it has no state), and everything when it holds too much. Where keys hardly repeat it only costs: it
//! then passes rows on in the layout of partial aggregates, one each, and tries again later.
//!
//! Lateness is decided and counted here, in rows; partial aggregates are never late.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::record_batch::RecordBatch;
use rheos_core::operator::{Counter, WatermarkChange};
use rheos_core::{Operator, OperatorContext, Progress, Result};

use super::input::{RowInput, SlicedRows};
use super::slicing::Slicing;
use super::spec::Layout;
use super::table::{RunUse, Table, TablePool};
use crate::chunk_queue::ChunkQueue;

/// Bytes held before everything is emitted.
pub(crate) const HELD_BYTES_MAX: usize = 2 << 20;

/// Batches over which the use of aggregating is judged, and for which it then stays off.
const TRIAL_BATCHES: u64 = 64;
const OFF_BATCHES: u64 = 2048;

/// See the module.
pub(crate) struct PartialAggregate {
    slicing: Slicing,
    input: RowInput,
    /// Open slices with their size in bytes.
    slices: BTreeMap<i64, (Table, usize)>,
    held_bytes: usize,
    held_rows: u64,
    pool: TablePool,
    queue: ChunkQueue,
    watermark_ms: i64,
    usefulness: Usefulness,
    /// Where aggregating is off, rows can be turned into partial aggregates without a table.
    convertible: bool,
}

impl PartialAggregate {
    pub(crate) fn new(layout: Arc<Layout>, input: RowInput) -> Self {
        Self {
            slicing: Slicing::new(layout.window),
            input,
            slices: BTreeMap::new(),
            held_bytes: 0,
            held_rows: 0,
            queue: ChunkQueue::default(),
            watermark_ms: i64::MIN,
            usefulness: Usefulness::default(),
            convertible: layout.aggregates.iter().all(|call| call.is_convertible()),
            pool: TablePool::new(layout),
        }
    }

    fn aggregate(&mut self, rows: &SlicedRows) -> Result<()> {
        for (slice, range) in &rows.parts {
            if !self.slices.contains_key(slice) {
                let table = self.pool.take()?;
                let size = table.size();
                self.held_bytes += size;
                self.slices.insert(*slice, (table, size));
            }
            let (table, size) = self.slices.get_mut(slice).expect("it was just made");
            let before = table.len();
            if range.len() == rows.columns.rows {
                table.update(&rows.columns)?;
            } else {
                table.update(&rows.columns.slice(range))?;
            }
            self.held_rows += (table.len() - before) as u64;
            let now = table.size();
            self.held_bytes = (self.held_bytes + now).saturating_sub(*size);
            *size = now;
        }
        Ok(())
    }

    /// Rows as partial aggregates of one row each.
    fn pass(&mut self, rows: &SlicedRows) -> Result<()> {
        let numbers = rows.parts.iter().flat_map(|(slice, range)| std::iter::repeat_n(*slice, range.len()));
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
        let mut table = self.pool.take()?;
        let partials = table.convert(&rows.columns, numbers)?;
        self.pool.give(table);
        self.queue.push(partials);
        Ok(())
    }

    /// Moves slices to the output: all, or those that end by a watermark.
    fn release(&mut self, until_ms: i64, ctx: &mut OperatorContext) -> Result<()> {
        while let Some(entry) = self.slices.first_entry()
            && self.slicing.slice_end_ms(*entry.key()) <= until_ms
        {
            let (slice, (mut table, size)) = entry.remove_entry();
            self.held_bytes = self.held_bytes.saturating_sub(size);
            self.held_rows -= table.len() as u64;
            self.usefulness.released(table.len() as u64);
            ctx.count(Counter::PartialRowsOut, table.len() as u64);
            let run = table.take_run(slice, RunUse::Passing)?;
            self.queue.push(run);
            self.pool.give(table);
        }
        Ok(())
    }
}

impl Operator for PartialAggregate {
    fn on_batch(&mut self, _input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        let open = self.slicing.first_open_window(self.watermark_ms);
        let Some(rows) = self.input.prepare(&batch, open, self.watermark_ms, ctx)? else { return Ok(Progress::Done) };
        if self.usefulness.is_off() {
            self.usefulness.skip();
            if self.convertible {
                ctx.count(Counter::PartialRowsOut, rows.columns.rows as u64);
                self.pass(&rows)?;
            } else {
                // One object a group: a batch still is aggregated, since that costs no more than turning each row.
                self.aggregate(&rows)?;
                self.release(i64::MAX, ctx)?;
            }
            return self.queue.emit_one(ctx);
        }
        self.aggregate(&rows)?;
        self.usefulness.judge(rows.columns.rows as u64, self.held_rows);
        if self.held_bytes > HELD_BYTES_MAX || self.usefulness.is_off() {
            self.release(i64::MAX, ctx)?;
        }
        self.queue.emit_one(ctx)
    }

    fn check_rows(&self, _input: usize, batch: &RecordBatch) -> Result<()> {
        self.input.evaluate(batch).map(drop)
    }

    fn on_watermark(&mut self, change: WatermarkChange, ctx: &mut OperatorContext) -> Result<Progress> {
        self.watermark_ms = self.watermark_ms.max(change.combined.ms());
        self.release(self.watermark_ms, ctx)?;
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

/// Whether aggregating here makes fewer rows.
#[derive(Debug, Default)]
pub(crate) struct Usefulness {
    batches: u64,
    rows_in: u64,
    rows_out: u64,
    /// Held when the trial began.
    held_before: u64,
    off_batches: u64,
}

impl Usefulness {
    pub(crate) fn is_off(&self) -> bool {
        self.off_batches > 0
    }

    /// A batch went by while it was off.
    pub(crate) fn skip(&mut self) {
        self.off_batches -= 1;
        if self.off_batches == 0 {
            *self = Self::default();
        }
    }

    /// Groups went out.
    pub(crate) fn released(&mut self, rows: u64) {
        self.rows_out += rows;
    }

    /// A batch was aggregated, and so many groups are held now.
    pub(crate) fn judge(&mut self, rows: u64, held_rows: u64) {
        self.batches += 1;
        self.rows_in += rows;
        if self.batches < TRIAL_BATCHES {
            return;
        }
        // What is still held goes out too, unless it was there before the trial.
        let made = (self.rows_out + held_rows).saturating_sub(self.held_before);
        let off_batches = if made * 2 > self.rows_in { OFF_BATCHES } else { 0 };
        *self = Self { held_before: held_rows, off_batches, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aggregating_goes_off_where_keys_do_not_repeat_and_comes_back() {
        let mut usefulness = Usefulness::default();
        for batch in 1..=TRIAL_BATCHES {
            assert!(!usefulness.is_off());
            usefulness.judge(100, batch * 60);
        }
        assert!(usefulness.is_off());
        (0..OFF_BATCHES).for_each(|_| usefulness.skip());
        for _ in 0..3 * TRIAL_BATCHES {
            usefulness.judge(100, 5_000);
            usefulness.rows_out += 1;
        }
        assert!(!usefulness.is_off());
    }
}
