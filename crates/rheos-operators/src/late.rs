//! Late rows as a relation: what comes after the last of its windows has fired leaves by a port of its own.
//!
//! ```text
//!   rows ──► late_rows ──► rows in time ──► the window's operator
//!                └── LATE ──► some of the columns, window_end, watermark
//! ```
//!
//! Invariant: nothing that passes is late for the operator behind it, whose watermark is never above that of the batches
//! that it gets. Sessions are made of rows, so their own operator tells what is late (see [`LatePort`] there).

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, TimestampMicrosecondArray, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, SchemaRef, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use rheos_core::operator::{Counter, OperatorInit};
use rheos_core::time::micros_to_ms;
use rheos_core::window::WindowSpec;
use rheos_core::{Error, Operator, OperatorContext, OperatorFactory, Port, Progress, Result};

use crate::assign_windows::{check_event_times, time_zone};
use crate::evaluation::{coerce, new_batch};

/// What leaves by [`Port::LATE`].
///
/// Shape: columns of the input, in the types of `schema`, then `window_end`, where the last window of the row ends, and the
/// `watermark` that had passed it.
#[derive(Debug, Clone)]
pub struct LatePort {
    /// For each column of `schema` but the last two its place in the input; `None`: it is null.
    pub columns: Vec<Option<usize>>,
    /// All columns.
    pub schema: SchemaRef,
}

impl LatePort {
    /// The late `rows`, of which each is over at `ends_ms`.
    pub(crate) fn rows(&self, rows: &RecordBatch, ends_ms: Vec<i64>, watermark_ms: i64) -> Result<RecordBatch> {
        let count = rows.num_rows();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.columns.len() + 2);
        for (place, field) in self.columns.iter().zip(self.schema.fields()) {
            columns.push(match place {
                Some(at) => coerce(Arc::clone(rows.column(*at)), field.data_type())?,
                None => new_null_array(field.data_type(), count),
            });
        }
        for (ms, field) in
            [ends_ms, vec![watermark_ms; count]].into_iter().zip(&self.schema.fields()[self.columns.len()..])
        {
            let DataType::Timestamp(_, zone) = field.data_type() else {
                return Err(Error::internal("late rows have no timestamps"));
            };
            let micros = TimestampMicrosecondArray::from_iter_values(ms.into_iter().map(|ms| ms.saturating_mul(1000)));
            columns.push(Arc::new(micros.with_timezone_opt(zone.clone())));
        }
        new_batch(&self.schema, columns, count)
    }
}

/// Makes what takes late rows out.
///
/// Shape: the input's columns; rows keep their order. Time: untouched. State: none. Late rows are counted; rows without an
/// event time pass.
/// Errors: `User` for an event time beyond the years that windows can be computed for.
#[derive(Debug, Clone)]
pub struct LateRowsFactory {
    input: SchemaRef,
    time_column: usize,
    window: WindowSpec,
    port: LatePort,
}

impl LateRowsFactory {
    /// For windows over the event times of column `time_column`. Errors: `Internal` for sessions.
    pub fn try_new(input: SchemaRef, time_column: usize, window: WindowSpec, port: LatePort) -> Result<Self> {
        time_zone(&input, time_column)?;
        if matches!(window, WindowSpec::Global | WindowSpec::Session { .. }) {
            return Err(Error::internal(format!("the windows of a row alone cannot be told: {window}")));
        }
        Ok(Self { input, time_column, window, port })
    }
}

impl OperatorFactory for LateRowsFactory {
    fn create(&self, _init: &OperatorInit) -> Result<Box<dyn Operator>> {
        Ok(Box::new(LateRows { time_column: self.time_column, window: self.window, port: self.port.clone() }))
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.input)
    }

    fn passes_rows(&self) -> bool {
        true
    }

    fn describe(&self) -> Vec<(String, String)> {
        let time = self.input.field(self.time_column).name().clone();
        vec![("late for".into(), self.window.to_string()), ("time".into(), time)]
    }
}

struct LateRows {
    time_column: usize,
    window: WindowSpec,
    port: LatePort,
}

impl Operator for LateRows {
    fn on_batch(&mut self, _input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        let times = batch.column(self.time_column).as_primitive::<TimestampMicrosecondType>();
        let watermark_ms = ctx.watermark.ms();
        let end_ms = |us: i64| {
            let slice = self.window.slice(micros_to_ms(us));
            self.window.window(self.window.last_window(slice)).end_ms
        };
        // Windows end in the order of event times.
        if check_event_times(times)?.is_none_or(|(min, _)| end_ms(min) > watermark_ms) {
            ctx.emit(Port::MAIN, batch);
            return Ok(Progress::Done);
        }
        let is_late: BooleanArray =
            times.iter().map(|us| Some(us.is_some_and(|us| end_ms(us) <= watermark_ms))).collect();
        let late = filter_record_batch(&batch, &is_late)?;
        let ends: Vec<i64> = late
            .column(self.time_column)
            .as_primitive::<TimestampMicrosecondType>()
            .values()
            .iter()
            .copied()
            .map(end_ms)
            .collect();
        ctx.count(Counter::LateRecords, ends.len() as u64);
        for end in &ends {
            ctx.observe_lateness(watermark_ms.saturating_sub(*end).saturating_add(1), 1);
        }
        ctx.emit(Port::LATE, self.port.rows(&late, ends, watermark_ms)?);
        ctx.emit(Port::MAIN, filter_record_batch(&batch, &arrow::compute::not(&is_late)?)?);
        Ok(Progress::Done)
    }
}
