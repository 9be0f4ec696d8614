//! Evaluates DataFusion expressions over batches, and turns its errors into ours.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::{cast, prep_null_mask_filter};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion_common::DataFusionError;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::utils::collect_columns;
use rheos_core::{Error, ErrorKind, Result};

use crate::row_error;

/// One value a row.
pub(crate) fn evaluate(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef> {
    let value = expr.evaluate(batch).map_err(|error| match data_error_kind(&error) {
        ErrorKind::User => match own_error(&error) {
            Some(told) => told.clone(),
            None => row_error::located(&error, expr, batch),
        },
        _ => data_error(error),
    })?;
    value.into_array(batch.num_rows()).map_err(data_error)
}

/// The rows for which a condition is true: null counts as false.
pub(crate) fn evaluate_condition(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<BooleanArray> {
    let values = evaluate(expr, batch)?;
    let Some(values) = values.as_boolean_opt() else {
        return Err(Error::internal(format!("the condition {expr} has type {}", values.data_type())));
    };
    Ok(if values.null_count() == 0 { values.clone() } else { prep_null_mask_filter(values) })
}

/// Grouping keys: -0.0 is 0.0 and all NaN are one, as in the key hash, so that one group is one group.
pub(crate) fn canonical_key(column: ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float64 => Arc::new(
            column
                .as_primitive::<Float64Type>()
                .unary::<_, Float64Type>(|v| if v.is_nan() { f64::NAN } else { v + 0.0 }),
        ),
        DataType::Float32 => Arc::new(
            column
                .as_primitive::<Float32Type>()
                .unary::<_, Float32Type>(|v| if v.is_nan() { f32::NAN } else { v + 0.0 }),
        ),
        _ => column,
    }
}

/// The column in exactly the type that a schema asks for (DataFusion names the items of lists in more than one way).
pub(crate) fn coerce(column: ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if column.data_type() == data_type { Ok(column) } else { Ok(cast(&column, data_type)?) }
}

/// A batch that keeps its row count even without columns.
pub(crate) fn new_batch(
    schema: &arrow::datatypes::SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|e| Error::internal(format!("an operator made columns that do not fit its schema: {e}")))
}

/// An error of our own with a code of its own, which says all.
fn own_error(error: &DataFusionError) -> Option<&Error> {
    match error.find_root() {
        DataFusionError::External(e) => e.downcast_ref::<Error>().filter(|e| e.code() != "R0350"),
        _ => None,
    }
}

/// An error of an expression or accumulator over data: the row or the function is at fault, unless it says otherwise.
pub(crate) fn data_error(error: DataFusionError) -> Error {
    let root = error.find_root();
    if let DataFusionError::External(e) = root
        && let Some(ours) = e.downcast_ref::<Error>()
    {
        return ours.clone();
    }
    let message = root.message();
    // Backtraces, where they are switched on, are no part of a one-sentence message.
    let message = message.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or_default().trim().to_string();
    match data_error_kind(&error) {
        ErrorKind::Internal => Error::internal(message),
        ErrorKind::Invalid => Error::invalid(351, message),
        _ => row_error::told(&message),
    }
}

/// Who is at fault.
fn data_error_kind(error: &DataFusionError) -> ErrorKind {
    match error.find_root() {
        DataFusionError::Internal(_) => ErrorKind::Internal,
        DataFusionError::NotImplemented(_) | DataFusionError::Plan(_) | DataFusionError::SchemaError(..) => {
            ErrorKind::Invalid
        }
        _ => ErrorKind::User,
    }
}

/// An error while an operator is made: the program is at fault.
pub(crate) fn plan_error(error: DataFusionError) -> Error {
    let error = data_error(error);
    if error.kind() == ErrorKind::Internal { error } else { Error::invalid(351, error.message().to_string()) }
}

/// Refuses an expression over columns that the input does not have, or whose type cannot be told.
pub(crate) fn check_expression(expr: &Arc<dyn PhysicalExpr>, input: &arrow::datatypes::Schema) -> Result<()> {
    if let Some(column) = collect_columns(expr).iter().find(|c| c.index() >= input.fields().len()) {
        return Err(Error::internal(format!(
            "{expr} reads column {column}, but its input has {}",
            input.fields().len()
        )));
    }
    expr.data_type(input).map_err(plan_error).map(drop)
}
