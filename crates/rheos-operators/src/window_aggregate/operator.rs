//! The stateful part of a window aggregate: rows (Single) or partial aggregates (Final) in, results out.
//!
//! 1. A batch is cut by slice and added to the slices; late rows are dropped and counted.
//! 2. A watermark (or the clock, where windows go by it) makes windows due. They fire in order, a chunk a call.
//! 3. An epoch's end seals what is active and hands over what is new (`state.rs`).

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use rheos_core::operator::{OperatorInit, WatermarkChange};
use rheos_core::state::{SnapshotReader, StateDelta};
use rheos_core::timer::TimeDomain;
use rheos_core::{Epoch, Operator, OperatorContext, Progress, Result, Watermark};

use super::input::RowInput;
use super::partition::Partition;
use super::slices::{Slices, results};
use super::slicing::Slicing;
use super::spec::{AggregateSpec, Layout};
use super::state::{Restored, StateWriter};
use super::table::TablePool;
use crate::chunk_queue::ChunkQueue;

/// With fewer rows than this in a slice, on average over a batch, rows wait as runs instead of in tables of their own.
const ROWS_PER_SLICE_MIN: usize = 16;

/// See the module.
pub(crate) struct WindowAggregate {
    slicing: Slicing,
    /// `None`: the input is partial aggregates.
    rows: Option<RowInput>,
    slices: Slices,
    /// Restored groups that are behind: their due windows fire first.
    behind: Vec<Slices>,
    pool: TablePool,
    queue: ChunkQueue,
    /// Windows that end by this have fired, once the queue is empty: the watermark, or the time of the clock.
    watermark_ms: i64,
    domain: TimeDomain,
    /// Whether all of the input is one window.
    is_global: bool,
    /// Whether this worker answers for an aggregate over no rows at all.
    answers_for_nothing: bool,
    state: StateWriter,
    /// Few rows of a slice can wait as partial aggregates without a table.
    convertible: bool,
}

impl WindowAggregate {
    /// `rows`: how rows become aggregates; `None`: the input is partial aggregates.
    pub(crate) fn new(layout: Arc<Layout>, spec: &AggregateSpec, rows: Option<RowInput>, init: &OperatorInit) -> Self {
        let is_processing = spec.is_processing_time();
        let slicing = Slicing::new(layout.window);
        Self {
            slicing,
            rows,
            slices: Slices::new(slicing),
            behind: vec![],
            queue: ChunkQueue::default(),
            watermark_ms: i64::MIN,
            domain: if is_processing { TimeDomain::ProcessingTime } else { TimeDomain::EventTime },
            is_global: spec.is_global(),
            answers_for_nothing: spec.is_global() && layout.keys == 0 && init.worker == 0,
            state: StateWriter::new(&layout, init),
            convertible: layout.aggregates.iter().all(|call| call.is_convertible()),
            pool: TablePool::new(layout),
        }
    }

    fn add_rows(&mut self, input: &RowInput, batch: &RecordBatch, ctx: &mut OperatorContext) -> Result<()> {
        let open = self.slices.next_window();
        let Some(rows) = input.prepare(batch, open, self.watermark_ms, ctx)? else { return Ok(()) };
        if let [(slice, _)] = rows.parts.as_slice() {
            return self.slices.update(*slice, &rows.columns, &mut self.pool);
        }
        if self.convertible && rows.columns.rows < ROWS_PER_SLICE_MIN * rows.parts.len() {
            let numbers = rows.parts.iter().flat_map(|(slice, range)| std::iter::repeat_n(*slice, range.len()));
            let numbers = Arc::new(Int64Array::from_iter_values(numbers));
            let mut table = self.pool.take()?;
            let partials = table.convert(&rows.columns, numbers)?;
            self.pool.give(table);
            for (slice, range) in &rows.parts {
                self.slices.push(*slice, partials.slice(range.start, range.len()), &mut self.pool)?;
            }
            return Ok(());
        }
        for (slice, range) in &rows.parts {
            self.slices.update(*slice, &rows.columns.slice(range), &mut self.pool)?;
        }
        Ok(())
    }

    fn add_partials(&mut self, batch: &RecordBatch, ctx: &mut OperatorContext) -> Result<()> {
        let numbers = batch.column(0).as_primitive::<Int64Type>().values();
        let (open, rows) = (self.slices.next_window(), batch.num_rows());
        let partition = match numbers.first() {
            // Mostly a batch is of one slice.
            Some(slice) if self.slicing.last_window(*slice) >= open && numbers.iter().all(|n| n == slice) => {
                Partition::whole(*slice, rows)
            }
            _ => Partition::new(self.slicing, open, rows, |row| Some(numbers[row])),
        };
        // The part before the exchange has counted late rows. A partial that is late here would break the promise of
        // the watermark; it is counted rather than lost without a word.
        partition.count(self.slicing, self.watermark_ms, ctx);
        let taken;
        let batch = match &partition.take {
            Some(indices) => {
                taken = take_record_batch(batch, indices)?;
                &taken
            }
            None => batch,
        };
        let few = partition.rows() < ROWS_PER_SLICE_MIN * partition.parts.len() && partition.parts.len() > 1;
        for (slice, range) in &partition.parts {
            let run = batch.slice(range.start, range.len());
            if few {
                self.slices.push(*slice, run, &mut self.pool)?;
            } else {
                self.slices.merge(*slice, &run, &mut self.pool)?;
            }
        }
        Ok(())
    }

    /// Emits a chunk of what is due.
    fn fire(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        while !self.queue.has_full_chunk() {
            match self.next_results()? {
                Some(results) => self.queue.push(results),
                None => break,
            }
        }
        match self.queue.emit_one(ctx)? {
            Progress::Done if self.is_due() => Ok(Progress::More),
            progress => Ok(progress),
        }
    }

    fn is_due(&self) -> bool {
        self.behind.iter().any(|s| s.is_due(self.watermark_ms)) || self.slices.is_due(self.watermark_ms)
    }

    fn next_results(&mut self) -> Result<Option<RecordBatch>> {
        while let Some(behind) = self.behind.last_mut() {
            let until = self.state.restored_ms();
            if let Some(results) = behind.fire_next(until, &mut self.pool)? {
                return Ok(Some(results));
            }
            behind.drain_into(&mut self.slices, &mut self.pool)?;
            self.behind.pop();
        }
        if let Some(results) = self.slices.fire_next(self.watermark_ms, &mut self.pool)? {
            return Ok(Some(results));
        }
        let open = self.slicing.first_open_window(self.watermark_ms);
        let nothing = self.answers_for_nothing && open > self.slices.next_window();
        self.slices.advance(open);
        if !nothing {
            return Ok(None);
        }
        let mut table = self.pool.take()?;
        table.touch()?;
        let row = results(&mut table, self.slicing, 0, self.pool.layout())?;
        self.pool.give(table);
        Ok(Some(row))
    }
}

impl Operator for WindowAggregate {
    fn on_batch(&mut self, _input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        match self.rows.take() {
            Some(input) => {
                let added = self.add_rows(&input, &batch, ctx);
                self.rows = Some(input);
                added?;
            }
            None => self.add_partials(&batch, ctx)?,
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
        self.watermark_ms = self.watermark_ms.max(change.combined.ms());
        self.fire(ctx)
    }

    fn on_clock(&mut self, now_ms: i64, ctx: &mut OperatorContext) -> Result<Progress> {
        self.watermark_ms = self.watermark_ms.max(now_ms);
        self.fire(ctx)
    }

    fn wants_clock(&self) -> bool {
        self.domain == TimeDomain::ProcessingTime
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.fire(ctx)
    }

    fn on_epoch_end(&mut self, _epoch: Epoch, _ctx: &mut OperatorContext) -> Result<StateDelta> {
        // Groups that are behind have nothing new, and their mark stays as it was.
        let mark = if self.behind.is_empty() { Some(self.watermark_ms) } else { None };
        self.state.delta(&mut self.slices, mark, &mut self.pool)
    }

    fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        let Restored { slices, behind, watermark_ms } = self.state.restore(snapshot, self.slicing, &mut self.pool)?;
        (self.slices, self.behind, self.watermark_ms) = (slices, behind, watermark_ms);
        Ok(())
    }

    fn output_watermark(&self, combined: Watermark) -> Watermark {
        if self.is_global { combined.held_until_the_end() } else { combined }
    }

    fn open_windows(&self) -> u64 {
        self.slices.open_windows() + self.behind.iter().map(Slices::open_windows).sum::<u64>()
    }
}
