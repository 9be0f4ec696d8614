//! The last step of every decoder: columns that may have bad rows become a batch that has none.
//!
//! ```text
//!   column, column, ... + BadRows ──► error (fail) | the good rows and how many were left out (skip, dead-letter)
//! ```

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::filter;
use arrow::datatypes::{Field, SchemaRef};
use rheos_core::Error;

use crate::bad::{BadKind, BadRecord, BadRows, DecodeError, Fault, OnError};

/// Where a record stands: line or row of the input, from 1.
pub(crate) struct Place {
    pub(crate) line: u64,
    /// `line` or `row`.
    pub(crate) unit: &'static str,
}

/// What is left of a batch.
pub(crate) struct GoodRows {
    /// `None`: no row is left.
    pub(crate) batch: Option<RecordBatch>,
    pub(crate) skipped: u64,
    /// The first of those that are not in it.
    pub(crate) first_skipped: Option<BadRecord>,
}

/// Nulls of a NOT NULL column are bad records.
pub(crate) fn mark_nulls(field: &Field, column: &ArrayRef, bad: &mut BadRows) {
    if field.is_nullable() || column.null_count() == 0 {
        return;
    }
    let rows = column.len();
    for row in (0..rows).filter(|row| column.is_null(*row)) {
        if !bad.is_bad(row) {
            bad.mark(row, rows, || Fault::new(BadKind::Value, "the value is missing, but the column is NOT NULL", b""));
        }
    }
}

/// What is told of the bad rows alone; `columns` name those that are at fault.
///
/// Errors: the first bad row under [`OnError::Fail`].
pub(crate) fn left_out(
    columns: &SchemaRef,
    mut bad: BadRows,
    on_error: OnError,
    place: impl FnOnce(usize) -> Place,
) -> Result<GoodRows, DecodeError> {
    let skipped = bad.count();
    let mut first_skipped = None;
    if let Some((row, column, fault)) = bad.first.take() {
        let column = Some(columns.field(column).name().clone());
        let Place { line, unit } = place(row);
        let record = BadRecord { fault, column, line, unit };
        if on_error == OnError::Fail {
            return Err(DecodeError::Record(Box::new(record)));
        }
        first_skipped = (on_error == OnError::Skip).then_some(record);
    }
    Ok(GoodRows { batch: None, skipped, first_skipped })
}

/// A batch of the good rows. `place` tells where a row of the batch stands in the input.
///
/// Errors: the first bad row under [`OnError::Fail`].
pub(crate) fn good_rows(
    schema: &SchemaRef,
    mut columns: Vec<ArrayRef>,
    rows: usize,
    bad: BadRows,
    on_error: OnError,
    place: impl FnOnce(usize) -> Place,
) -> Result<GoodRows, DecodeError> {
    let good = (bad.count() > 0).then(|| bad.good());
    let GoodRows { skipped, first_skipped, .. } = left_out(schema, bad, on_error, place)?;
    for column in columns.iter_mut() {
        if let Some(good) = &good {
            *column = filter(column, good).map_err(Error::from)?;
        }
    }
    let rows = rows - skipped as usize;
    if rows == 0 {
        return Ok(GoodRows { batch: None, skipped, first_skipped });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|e| Error::internal(format!("decoded columns do not fit their schema: {e}")))?;
    Ok(GoodRows { batch: Some(batch), skipped, first_skipped })
}
