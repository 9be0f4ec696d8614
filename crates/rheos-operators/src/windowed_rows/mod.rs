//! Rows that wait for the end of the window which they carry in two columns.
//!
//! ```text
//!   batch ─► cut by window (late rows leave) ─► buckets, ordered by end, then start ─► taken when the watermark is there
//! ```
//! What a worker keeps of its buckets over a restart, and how, says `state`.

mod bucket;
mod state;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Schema, SchemaRef, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use rheos_core::operator::Counter;
use rheos_core::time::micros_to_ms;
use rheos_core::{Error, Exchange, OperatorContext, Result};

use crate::assign_windows::{check_event_times, time_zone};
pub(crate) use bucket::{Bucket, coalesce, gather, gather_columns};
pub(crate) use state::WindowState;

/// The columns in which rows carry their window: timestamps in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowColumns {
    /// Index of `window_start`.
    pub start: usize,
    /// Index of `window_end`.
    pub end: usize,
}

impl WindowColumns {
    /// Errors: `Internal` unless both are timestamps in microseconds.
    pub(crate) fn check(self, input: &Schema) -> Result<()> {
        time_zone(input, self.start)?;
        time_zone(input, self.end).map(drop)
    }

    /// `window_start to window_end`.
    pub(crate) fn describe(self, input: &Schema) -> String {
        format!("{} to {}", input.field(self.start).name(), input.field(self.end).name())
    }
}

/// Which rows must meet on one worker: those of one key or, without keys, of one window.
#[derive(Debug, Clone)]
pub(crate) struct Distribution(Vec<Arc<dyn PhysicalExpr>>);

impl Distribution {
    pub(crate) fn new(keys: &[Arc<dyn PhysicalExpr>], window: Option<WindowColumns>, input: &Schema) -> Self {
        match window {
            Some(WindowColumns { start, end }) if keys.is_empty() => {
                let column = |i: usize| Arc::new(Column::new(input.field(i).name(), i)) as Arc<dyn PhysicalExpr>;
                Self(vec![column(start), column(end)])
            }
            _ => Self(keys.to_vec()),
        }
    }

    /// The exchange that brings it about; `None` if a key is no plain column, so that no exchange can hash it.
    pub(crate) fn exchange(&self) -> Option<Exchange> {
        if self.0.is_empty() {
            return Some(Exchange::Single);
        }
        let columns = self.0.iter().map(|key| key.downcast_ref::<Column>().map(Column::index));
        columns.collect::<Option<Vec<_>>>().map(Exchange::Hash)
    }
}

/// One window; windows are ordered by end, then start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WindowKey {
    end_us: i64,
    start_us: i64,
}

impl WindowKey {
    /// The one window of bounded input: it ends when the input does.
    const ALL: Self = Self { end_us: i64::MAX, start_us: i64::MIN };

    /// The watermark at which it is complete. A window that ends within a millisecond is complete when that is over.
    fn end_ms(self) -> i64 {
        if self == Self::ALL { i64::MAX } else { -micros_to_ms(-self.end_us) }
    }

    pub(crate) fn is_due(self, watermark_ms: i64) -> bool {
        self.end_ms() <= watermark_ms
    }
}

/// The rows of one input that wait, by window.
#[derive(Debug)]
pub(crate) struct WindowedRows {
    /// The name of its table in a checkpoint.
    table: &'static str,
    schema: SchemaRef,
    window: Option<WindowColumns>,
    distribution: Distribution,
    buckets: BTreeMap<WindowKey, Bucket>,
    /// Rows that epochs have handed over have been [drained](Self::drain) since the last.
    is_drained: bool,
}

impl WindowedRows {
    pub(crate) fn new(
        table: &'static str,
        schema: SchemaRef,
        window: Option<WindowColumns>,
        distribution: Distribution,
    ) -> Self {
        Self { table, schema, window, distribution, buckets: BTreeMap::new(), is_drained: false }
    }

    /// Adds the rows whose windows have not fired at `watermark_ms`, and counts the others. Returns the windows that
    /// have got rows.
    pub(crate) fn add(
        &mut self,
        batch: RecordBatch,
        watermark_ms: i64,
        ctx: &mut OperatorContext,
    ) -> Result<Vec<WindowKey>> {
        let Cut { parts, nulls } = self.cut(batch)?;
        ctx.count(Counter::NullEventTimes, nulls);
        let mut windows = Vec::with_capacity(parts.len());
        for (window, rows) in parts {
            if window.is_due(watermark_ms) {
                let late = rows.num_rows() as u64;
                ctx.count(Counter::LateRecords, late);
                ctx.observe_lateness(watermark_ms.saturating_sub(window.end_ms()).saturating_add(1), late);
            } else {
                self.buckets.entry(window).or_default().push(rows)?;
                windows.push(window);
            }
        }
        Ok(windows)
    }

    fn cut(&self, batch: RecordBatch) -> Result<Cut> {
        if batch.num_rows() == 0 {
            return Ok(Cut::default());
        }
        let Some(WindowColumns { start, end }) = self.window else {
            return Ok(Cut { parts: vec![(WindowKey::ALL, batch)], nulls: 0 });
        };
        let starts = batch.column(start).as_primitive::<TimestampMicrosecondType>().clone();
        let ends = batch.column(end).as_primitive::<TimestampMicrosecondType>().clone();
        check_event_times(&ends)?;
        cut_by_window(batch, &starts, &ends)
    }

    /// The windows that have rows, first the one that ends first.
    pub(crate) fn windows(&self) -> impl Iterator<Item = WindowKey> + '_ {
        self.buckets.keys().copied()
    }

    /// Whether the rows are in windows; else they wait for the end of the input.
    pub(crate) fn has_windows(&self) -> bool {
        self.window.is_some()
    }

    pub(crate) fn first(&self) -> Option<WindowKey> {
        self.windows().next()
    }

    pub(crate) fn bucket_mut(&mut self, window: WindowKey) -> Option<&mut Bucket> {
        self.buckets.get_mut(&window)
    }

    /// The rows of a window, which is closed then.
    pub(crate) fn take(&mut self, window: WindowKey) -> Vec<RecordBatch> {
        self.buckets.remove(&window).map_or_else(Vec::new, Bucket::into_batches)
    }

    /// How many rows of bounded input wait.
    pub(crate) fn rows(&self) -> usize {
        self.buckets.get(&WindowKey::ALL).map_or(0, Bucket::rows)
    }

    /// The rows of bounded input, which wait on.
    pub(crate) fn all(&self) -> Vec<RecordBatch> {
        self.buckets.get(&WindowKey::ALL).map_or_else(Vec::new, |bucket| bucket.batches().to_vec())
    }

    /// The rows of bounded input, which wait no more; nor does the next checkpoint have them.
    pub(crate) fn drain(&mut self) -> Vec<RecordBatch> {
        self.is_drained |= self.buckets.get(&WindowKey::ALL).is_some_and(|bucket| bucket.stored_rows().0 > 0);
        self.take(WindowKey::ALL)
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

/// A batch by window.
#[derive(Default)]
struct Cut {
    parts: Vec<(WindowKey, RecordBatch)>,
    /// Rows without a window, which can never fire.
    nulls: u64,
}

/// Rows of a window keep their order. Rows that stand in the order of their windows are not copied.
fn cut_by_window(
    batch: RecordBatch,
    starts: &TimestampMicrosecondArray,
    ends: &TimestampMicrosecondArray,
) -> Result<Cut> {
    let rows = u32::try_from(batch.num_rows()).map_err(|_| Error::internal("a batch has more than 2^32 rows"))?;
    let window = |row: u32| {
        let row = row as usize;
        WindowKey { end_us: ends.value(row), start_us: starts.value(row) }
    };
    let whole = starts.null_count() == 0 && ends.null_count() == 0;
    if whole && (1..rows).all(|row| window(row) == window(0)) {
        return Ok(Cut { parts: vec![(window(0), batch)], nulls: 0 });
    }
    let known = |row: &u32| starts.is_valid(*row as usize) && ends.is_valid(*row as usize);
    let mut order: Vec<u32> = (0..rows).filter(known).collect();
    let nulls = u64::from(rows) - order.len() as u64;
    order.sort_by_key(|row| window(*row));
    let in_place = nulls == 0 && order.windows(2).all(|pair| pair[0] < pair[1]);
    let mut parts = vec![];
    let mut from = 0;
    for same in order.chunk_by(|a, b| window(*a) == window(*b)) {
        parts.push((window(same[0]), from..from + same.len()));
        from += same.len();
    }
    let ordered = if in_place { batch } else { take_record_batch(&batch, &UInt32Array::from(order))? };
    let parts = parts.into_iter().map(|(window, range)| (window, ordered.slice(range.start, range.len())));
    Ok(Cut { parts: parts.collect(), nulls })
}
