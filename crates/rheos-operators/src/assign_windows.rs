//! `TABLE(TUMBLE(...))`, `TABLE(HOP(...))` and `TABLE(CUMULATE(...))` by themselves: every row, once for each window that contains it, with
//! `window_start`, `window_end` and `window_time` behind its own columns.
//!
//! A row of HOP goes out `size / slide` times, one of CUMULATE for each step that is left in its bucket, so one batch may become many; it leaves in chunks, and between two chunks
//! the place is (row, window). Where a GROUP BY follows directly, the planner puts the window into the aggregate instead
//! and no row is copied.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use rheos_core::change::width;
use rheos_core::operator::{CHUNK_ROWS_MAX, Counter, OperatorInit};
use rheos_core::time::micros_to_ms;
use rheos_core::window::{EVENT_TIME_MS_MAX, WindowSpec};
use rheos_core::{Error, ErrorKind, Operator, OperatorContext, OperatorFactory, Port, Progress, Result};

use crate::evaluation::new_batch;

/// Makes window assigners.
///
/// Shape: the input's columns, then three timestamps in the zone of the time column, not null, then the weight, if there is
/// one. `window_time` is `window_end - 1 ms`. Time: untouched; rows without an event time are dropped and counted. State: none.
/// Errors: `User` for an event time beyond the years that windows can be computed for.
#[derive(Debug, Clone)]
pub struct AssignWindowsFactory {
    time_column: usize,
    time_name: String,
    window: WindowSpec,
    schema: SchemaRef,
}

impl AssignWindowsFactory {
    /// Windows over the event times of column `time_column`.
    pub fn try_new(input: SchemaRef, time_column: usize, window: WindowSpec) -> Result<Self> {
        let zone = time_zone(&input, time_column)?;
        if matches!(window, WindowSpec::Global | WindowSpec::Session { .. }) {
            return Err(Error::internal(format!("the windows of a row alone cannot be told: {window}")));
        }
        let rows = &input.fields()[..width(&input)];
        let mut fields: Vec<_> = rows.iter().cloned().chain(window_fields(&zone).map(Arc::new)).collect();
        fields.extend_from_slice(&input.fields()[rows.len()..]);
        let time_name = input.field(time_column).name().clone();
        Ok(Self { time_column, time_name, window, schema: Arc::new(Schema::new(fields)) })
    }
}

impl OperatorFactory for AssignWindowsFactory {
    fn create(&self, _init: &OperatorInit) -> Result<Box<dyn Operator>> {
        Ok(Box::new(AssignWindows {
            time_column: self.time_column,
            window: self.window,
            zone: time_zone(&self.schema, self.time_column)?,
            schema: Arc::clone(&self.schema),
            pending: None,
        }))
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![("window".into(), self.window.to_string()), ("time".into(), self.time_name.clone())]
    }
}

struct AssignWindows {
    time_column: usize,
    window: WindowSpec,
    zone: Option<Arc<str>>,
    schema: SchemaRef,
    pending: Option<Pending>,
}

/// A batch on its way out.
struct Pending {
    batch: RecordBatch,
    times: TimestampMicrosecondArray,
    /// The next row, and the next of its windows (`None`: its first).
    row: usize,
    window: Option<i64>,
}

impl Operator for AssignWindows {
    fn on_batch(&mut self, _input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        let times = batch.column(self.time_column).as_primitive::<TimestampMicrosecondType>().clone();
        check_event_times(&times)?;
        ctx.count(Counter::NullEventTimes, times.null_count() as u64);
        self.pending = Some(Pending { batch, times, row: 0, window: None });
        self.resume(ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        let Some(pending) = &mut self.pending else { return Ok(Progress::Done) };
        let (mut rows, mut starts) = (Vec::with_capacity(CHUNK_ROWS_MAX), Vec::with_capacity(CHUNK_ROWS_MAX));
        let mut ends = Vec::with_capacity(CHUNK_ROWS_MAX);
        while pending.row < pending.times.len() && rows.len() < CHUNK_ROWS_MAX {
            if pending.times.is_null(pending.row) {
                pending.row += 1;
                continue;
            }
            let slice = self.window.slice(micros_to_ms(pending.times.value(pending.row)));
            let last = self.window.last_window(slice);
            let first = pending.window.take().unwrap_or_else(|| self.window.first_window(slice));
            let until = last.min(first + (CHUNK_ROWS_MAX - rows.len()) as i64 - 1);
            for k in first..=until {
                let window = self.window.window(k);
                rows.push(pending.row as u32);
                starts.push(window.start_ms * 1000);
                ends.push(window.end_ms * 1000);
            }
            if until == last {
                pending.row += 1;
            } else {
                pending.window = Some(until + 1);
            }
        }
        let more = pending.row < pending.times.len();
        let count = rows.len();
        let rows = UInt32Array::from(rows);
        // Where every row has one window the columns stay as they are.
        let whole = count == pending.batch.num_rows() && rows.values().windows(2).all(|w| w[0] < w[1]);
        let columns = pending.batch.columns().iter();
        let mut columns = if whole {
            columns.map(Arc::clone).collect()
        } else {
            columns.map(|c| take(c, &rows, None)).collect::<Result<Vec<_>, _>>()?
        };
        let weights = columns.split_off(width(pending.batch.schema_ref()));
        columns.extend(window_columns(starts, ends, &self.zone));
        columns.extend(weights);
        let chunk = new_batch(&self.schema, columns, count)?;
        if !more {
            self.pending = None;
        }
        ctx.emit(Port::MAIN, chunk);
        Ok(if more { Progress::More } else { Progress::Done })
    }
}

/// The zone of an event time column. Errors: `Internal` unless it is a timestamp in microseconds.
pub(crate) fn time_zone(schema: &Schema, column: usize) -> Result<Option<Arc<str>>> {
    match schema.fields().get(column).map(|f| f.data_type()) {
        Some(DataType::Timestamp(TimeUnit::Microsecond, zone)) => Ok(zone.clone()),
        other => Err(Error::internal(format!("an event time column has type {other:?}"))),
    }
}

/// The fields `window_start`, `window_end` and `window_time`.
pub(crate) fn window_fields(zone: &Option<Arc<str>>) -> [Field; 3] {
    ["window_start", "window_end", "window_time"]
        .map(|name| Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, zone.clone()), false))
}

/// The columns of [`window_fields`], from bounds in microseconds.
pub(crate) fn window_columns(starts: Vec<i64>, ends: Vec<i64>, zone: &Option<Arc<str>>) -> [ArrayRef; 3] {
    let times = ends.iter().map(|end| end - 1000).collect();
    [starts, ends, times]
        .map(|us| Arc::new(TimestampMicrosecondArray::from(us).with_timezone_opt(zone.clone())) as ArrayRef)
}

/// Smallest and largest event time in microseconds; `None` if all are null.
///
/// Errors: `User` if one lies so far off that window arithmetic would overflow.
pub(crate) fn check_event_times(times: &TimestampMicrosecondArray) -> Result<Option<(i64, i64)>> {
    let (Some(min), Some(max)) = (arrow::compute::min(times), arrow::compute::max(times)) else { return Ok(None) };
    for us in [min, max] {
        if micros_to_ms(us).abs() > EVENT_TIME_MS_MAX {
            return Err(Error::new(
                ErrorKind::User,
                353,
                format!("an event time of {us} microseconds since 1970 is too far off for windows"),
            )
            .with_hint("filter such rows out before the window, e.g. WHERE ts < TIMESTAMP '9999-12-31 00:00:00'"));
        }
    }
    Ok(Some((min, max)))
}
