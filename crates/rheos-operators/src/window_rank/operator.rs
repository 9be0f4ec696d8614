//! The operator: rows wait by window, cut to those that can still go out; at a window's end they are numbered.

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rheos_core::operator::{CHUNK_ROWS_MAX, OperatorInit, WatermarkChange};
use rheos_core::state::{SnapshotReader, StateDelta};
use rheos_core::{Epoch, Operator, OperatorContext, Progress, Result, Watermark};

use super::WindowRankSpec;
use super::ranking::{Place, RankKeys, Ranking};
use crate::chunk_queue::{ChunkQueue, chunk_rows};
use crate::evaluation::new_batch;
use crate::windowed_rows::{Bucket, Distribution, WindowKey, WindowState, WindowedRows, coalesce, gather};

/// Rows that a window may have beyond twice those that the last cut left: it keeps small groups from being sorted often.
const SPARE_ROWS: usize = 1024;

/// See the module.
pub(crate) struct WindowRank {
    schema: SchemaRef,
    keys: RankKeys,
    is_limited: bool,
    /// One table; a list because a checkpoint takes a list.
    rows: [WindowedRows; 1],
    /// The window that is on its way out.
    output: Option<Output>,
    queue: ChunkQueue,
    /// Windows that end by this have fired, once nothing is on its way out.
    watermark_ms: i64,
    state: WindowState,
}

struct Output {
    batches: Vec<RecordBatch>,
    ranking: Ranking,
    chunk_rows: usize,
}

impl WindowRank {
    pub(crate) fn try_new(
        spec: &WindowRankSpec,
        schema: &SchemaRef,
        distribution: &Distribution,
        init: &OperatorInit,
    ) -> Result<Self> {
        Ok(Self {
            schema: Arc::clone(schema),
            keys: RankKeys::try_new(spec)?,
            is_limited: spec.limit.is_some(),
            rows: [WindowedRows::new("rows", Arc::clone(&spec.input), spec.window, distribution.clone())],
            output: None,
            queue: ChunkQueue::default(),
            watermark_ms: i64::MIN,
            state: WindowState::new(distribution, init),
        })
    }

    /// Cuts a window that has grown to twice what can go out of it.
    fn cut(&mut self, window: WindowKey) -> Result<()> {
        let [rows] = &mut self.rows;
        let schema = Arc::clone(rows.schema());
        match rows.bucket_mut(window) {
            Some(bucket) if bucket.rows() > 2 * bucket.kept() + SPARE_ROWS => cut(bucket, &self.keys, &schema),
            _ => Ok(()),
        }
    }

    /// Emits a chunk of what is due.
    fn fire(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        while !self.queue.has_full_chunk() && self.step()? {}
        match self.queue.emit_one(ctx)? {
            Progress::Done if self.output.is_some() || self.due().is_some() => Ok(Progress::More),
            progress => Ok(progress),
        }
    }

    fn due(&self) -> Option<WindowKey> {
        self.rows[0].first().filter(|window| window.is_due(self.watermark_ms))
    }

    /// Makes the next results. `false`: nothing is due.
    fn step(&mut self) -> Result<bool> {
        let output = match &mut self.output {
            Some(output) => output,
            None => {
                let Some(window) = self.due() else { return Ok(false) };
                let batches = coalesce(self.rows[0].take(window))?;
                let ranking = Ranking::try_new(&self.keys, &batches)?;
                let chunk_rows = batches.iter().map(chunk_rows).min().unwrap_or(CHUNK_ROWS_MAX);
                self.output.insert(Output { batches, ranking, chunk_rows })
            }
        };
        let (places, numbers) = output.ranking.take(output.chunk_rows);
        if places.is_empty() {
            self.output = None;
            return Ok(true);
        }
        let width = self.schema.fields().len() - 1;
        let columns = (0..width).map(|column| gather(&output.batches, column, &places));
        let mut columns = columns.collect::<Result<Vec<_>>>()?;
        columns.push(Arc::new(Int64Array::from_iter_values(numbers.into_iter().map(|number| number as i64))));
        self.queue.push(new_batch(&self.schema, columns, places.len())?);
        Ok(true)
    }
}

/// Keeps the rows whose number is within the limit: more rows can only raise a number.
fn cut(bucket: &mut Bucket, keys: &RankKeys, schema: &SchemaRef) -> Result<()> {
    let (kept, _) = Ranking::try_new(keys, bucket.batches())?.take(usize::MAX);
    let (saved, unsaved): (Vec<Place>, Vec<Place>) = kept.into_iter().partition(|(batch, _)| *batch < bucket.saved());
    let copy = |places: &[Place]| {
        let columns = (0..schema.fields().len()).map(|column| gather(bucket.batches(), column, places));
        new_batch(schema, columns.collect::<Result<_>>()?, places.len())
    };
    let copies = |places: &[Place]| places.chunks(CHUNK_ROWS_MAX).map(copy).collect::<Result<Vec<_>>>();
    let (saved, unsaved) = (copies(&saved)?, copies(&unsaved)?);
    bucket.replace(saved, unsaved);
    Ok(())
}

impl Operator for WindowRank {
    fn on_batch(&mut self, _input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        let windows = self.rows[0].add(batch, self.watermark_ms, ctx)?;
        if self.is_limited {
            windows.into_iter().try_for_each(|window| self.cut(window))?;
        }
        Ok(Progress::Done)
    }

    fn on_watermark(&mut self, change: WatermarkChange, ctx: &mut OperatorContext) -> Result<Progress> {
        self.watermark_ms = self.watermark_ms.max(change.combined.ms());
        self.fire(ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.fire(ctx)
    }

    fn on_epoch_end(&mut self, _epoch: Epoch, _ctx: &mut OperatorContext) -> Result<StateDelta> {
        self.state.delta(&mut self.rows, self.watermark_ms)
    }

    fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        self.watermark_ms = self.state.restore(snapshot, &mut self.rows)?;
        if self.is_limited {
            let windows: Vec<WindowKey> = self.rows[0].windows().collect();
            windows.into_iter().try_for_each(|window| self.cut(window))?;
        }
        Ok(())
    }

    fn output_watermark(&self, combined: Watermark) -> Watermark {
        if self.rows[0].has_windows() { combined } else { combined.held_until_the_end() }
    }

    fn open_windows(&self) -> u64 {
        self.rows[0].windows().count() as u64
    }
}
