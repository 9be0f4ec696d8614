//! Raw rows on their way into slices: late rows and rows without an event time leave, the others are put in the order
//! of their slices, then keys, arguments and filters are evaluated, each different expression once.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::take_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr_common::physical_expr::is_volatile;
use rheos_core::operator::Counter;
use rheos_core::time::micros_to_ms;
use rheos_core::window::{EVENT_TIME_MS_MAX, WindowSpec};
use rheos_core::{OperatorContext, Result};

use super::partition::Partition;
use super::slicing::Slicing;
use super::spec::{AggregateSpec, AggregateTime, AggregateWindow};
use super::table::RowColumns;
use crate::aggregate::AggregateCall;
use crate::assign_windows::check_event_times;
use crate::evaluation::{canonical_key, evaluate, evaluate_condition};
use crate::risk::may_fail;

/// Evaluated rows, ordered by slice.
pub(crate) struct SlicedRows {
    pub(crate) columns: RowColumns,
    pub(crate) parts: Vec<(i64, std::ops::Range<usize>)>,
}

/// The clock as the rows of a batch see it: never behind what has fired, so that none of them is late.
pub(crate) fn processing_time_ms(ctx: &OperatorContext, fired_ms: i64) -> i64 {
    ctx.now_ms.max(fired_ms).min(EVENT_TIME_MS_MAX)
}

/// See the module.
pub(crate) struct RowInput {
    window: AggregateWindow,
    time: Option<AggregateTime>,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    /// Indices into `exprs`.
    keys: Vec<usize>,
    arguments: Vec<Vec<usize>>,
    conditions: Vec<Arc<dyn PhysicalExpr>>,
    /// Indices into `conditions`.
    filters: Vec<Option<usize>>,
}

impl RowInput {
    pub(crate) fn new(spec: &AggregateSpec) -> Self {
        let (mut exprs, mut conditions) = (vec![], vec![]);
        let keys = spec.keys.iter().map(|(expr, _)| index(&mut exprs, expr)).collect();
        let inputs = |call: &AggregateCall| call.inputs().iter().map(|expr| index(&mut exprs, expr)).collect();
        let arguments = spec.aggregates.iter().map(inputs).collect();
        let filters = spec.aggregates.iter().map(|call| call.filter().map(|expr| index(&mut conditions, expr)));
        let filters = filters.collect();
        Self { window: spec.window, time: spec.time.clone(), exprs, keys, arguments, conditions, filters }
    }

    /// Whether some row may fail by itself.
    pub(crate) fn may_fail(&self) -> bool {
        self.exprs.iter().chain(&self.conditions).any(may_fail)
    }

    /// What windows go by.
    pub(crate) fn time(&self) -> &Option<AggregateTime> {
        &self.time
    }

    /// The rows of `batch` that are in time. `open` is the first window that has not fired, at `watermark_ms`.
    pub(crate) fn prepare(
        &self,
        batch: &RecordBatch,
        open: i64,
        watermark_ms: i64,
        ctx: &mut OperatorContext,
    ) -> Result<Option<SlicedRows>> {
        let partition = self.partition(batch, open, processing_time_ms(ctx, watermark_ms))?;
        partition.count(Slicing::new(self.window), watermark_ms, ctx);
        let rows = partition.rows();
        if rows == 0 {
            return Ok(None);
        }
        ctx.count(Counter::SliceInserts, rows as u64);
        let taken;
        let batch = match &partition.take {
            Some(indices) => {
                taken = take_record_batch(batch, indices)?;
                &taken
            }
            None => batch,
        };
        Ok(Some(SlicedRows { columns: self.evaluate(batch)?, parts: partition.parts }))
    }

    fn partition(&self, batch: &RecordBatch, open: i64, now_ms: i64) -> Result<Partition> {
        let rows = batch.num_rows();
        let slicing = Slicing::new(self.window);
        match self.window {
            AggregateWindow::Assign(WindowSpec::Global) if open <= 0 => Ok(Partition::whole(0, rows)),
            AggregateWindow::Assign(WindowSpec::Global) => Ok(Partition::new(slicing, open, rows, |_| Some(0))),
            AggregateWindow::Assign(spec) => {
                let Some(AggregateTime::Event(column)) = self.time else {
                    return Ok(Partition::whole(spec.slice(now_ms), rows));
                };
                let times = batch.column(column).as_primitive::<TimestampMicrosecondType>();
                let Some((min, max)) = check_event_times(times)? else {
                    return Ok(Partition::new(slicing, open, rows, |_| None));
                };
                let first = spec.slice(micros_to_ms(min));
                if times.null_count() == 0 && first == spec.slice(micros_to_ms(max)) && spec.last_window(first) >= open
                {
                    return Ok(Partition::whole(first, rows));
                }
                let values = times.values();
                // The slice of the row before and its bounds: mostly the next row is in it too, and needs no division.
                let mut slice = first;
                let mut bounds = (i64::MAX, i64::MIN);
                Ok(Partition::new(slicing, open, rows, |row| {
                    if times.is_null(row) {
                        return None;
                    }
                    let us = values[row];
                    if us < bounds.0 || us >= bounds.1 {
                        slice = spec.slice(micros_to_ms(us));
                        bounds = (spec.slice_end_ms(slice - 1) * 1000, spec.slice_end_ms(slice) * 1000);
                    }
                    Some(slice)
                }))
            }
            AggregateWindow::Columns { start, end } => {
                let starts = batch.column(start);
                let ends = batch.column(end).as_primitive::<TimestampMicrosecondType>();
                check_event_times(ends)?;
                Ok(Partition::new(slicing, open, rows, |row| {
                    let known = !starts.is_null(row) && !ends.is_null(row);
                    // A window that ends within a millisecond fires when that millisecond is over.
                    known.then(|| -micros_to_ms(-ends.value(row)))
                }))
            }
        }
    }

    /// Keys, arguments and filters of all rows.
    pub(crate) fn evaluate(&self, batch: &RecordBatch) -> Result<RowColumns> {
        let values = self.exprs.iter().map(|expr| evaluate(expr, batch)).collect::<Result<Vec<_>>>()?;
        let mut groups: Vec<ArrayRef> = self.keys.iter().map(|i| canonical_key(Arc::clone(&values[*i]))).collect();
        if let AggregateWindow::Columns { start, end } = self.window {
            groups.extend([start, end].map(|i| Arc::clone(batch.column(i))));
        }
        let arguments = self.arguments.iter().map(|a| a.iter().map(|i| Arc::clone(&values[*i])).collect());
        let conditions = self.conditions.iter().map(|c| evaluate_condition(c, batch)).collect::<Result<Vec<_>>>()?;
        Ok(RowColumns {
            groups,
            arguments: arguments.collect(),
            filters: self.filters.iter().map(|at| at.map(|at| conditions[at].clone())).collect(),
            rows: batch.num_rows(),
        })
    }
}

/// The place of an expression, which is computed once however often it is read.
fn index(exprs: &mut Vec<Arc<dyn PhysicalExpr>>, expr: &Arc<dyn PhysicalExpr>) -> usize {
    let known = exprs.iter().position(|e| e.eq(expr) && !is_volatile(expr));
    known.unwrap_or_else(|| {
        exprs.push(Arc::clone(expr));
        exprs.len() - 1
    })
}
