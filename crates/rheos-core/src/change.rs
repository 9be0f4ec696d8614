//! Changelogs: rows that come and go, as rows with a weight.
//!
//! ```text
//!   auction │ bids │ $weight
//!         7 │    3 │ -1          the row (7, 3) is gone,
//!         7 │    4 │  1          and (7, 4) is there
//! ```
//!
//! The weight is one more column, the last, so that it moves no other: an Int64 without nulls that says how many times
//! more (or less) the row is there. Any number but 0 is a weight (a Z-set: Budiu et al., "DBSP", VLDB 2023); joins multiply weights,
//! sums and counts scale by them, and nothing assumes 1. A stream without the column is append-only: each of its rows comes once
//! more, and none goes.
//!
//! Invariant: folding all changes up to the end of an epoch gives the rows that are there then, each at least once. In between
//! a row may be gone before it has come.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use crate::error::Result;

/// What the rows of an edge say, and what a sink takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Changes {
    /// Each row comes once more, and none goes.
    Append,
    /// Rows with weights and a key: one that comes takes the place of the one with its key, and of one that goes only the key
    /// is sure.
    Upsert,
    /// Rows with weights: each that goes is whole, and has come before.
    Retract,
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Changes::Append => "append",
            Changes::Upsert => "upsert",
            Changes::Retract => "retract",
        })
    }
}

/// The name of the column of weights. No column of a program has it: names with `$` are refused there.
pub const WEIGHT: &str = "$weight";

/// The column of weights.
pub fn weight_field() -> Field {
    Field::new(WEIGHT, DataType::Int64, false)
}

/// Whether rows of this schema have weights.
pub fn has_weights(schema: &Schema) -> bool {
    schema.fields().last().is_some_and(|field| field.name() == WEIGHT)
}

/// The schema with a column of weights; as it is where it has one.
pub fn with_weights(schema: &SchemaRef) -> SchemaRef {
    if has_weights(schema) {
        return Arc::clone(schema);
    }
    let fields = schema.fields().iter().cloned().chain([Arc::new(weight_field())]);
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
}

/// The schema of the rows alone.
pub fn without_weights(schema: &SchemaRef) -> SchemaRef {
    if !has_weights(schema) {
        return Arc::clone(schema);
    }
    let fields = schema.fields()[..width(schema)].to_vec();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The number of columns but for the weights.
pub fn width(schema: &Schema) -> usize {
    schema.fields().len() - usize::from(has_weights(schema))
}

/// The weights of the rows; `None`: each is 1.
pub fn weights(batch: &RecordBatch) -> Option<&Int64Array> {
    has_weights(batch.schema_ref()).then(|| batch.columns().last()?.as_primitive_opt::<Int64Type>()).flatten()
}

/// The rows alone, and their weights. Copies nothing.
pub fn split(batch: &RecordBatch) -> Result<(RecordBatch, Option<Int64Array>)> {
    let Some(weights) = weights(batch) else { return Ok((batch.clone(), None)) };
    let columns = batch.columns()[..batch.num_columns() - 1].to_vec();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let rows = RecordBatch::try_new_with_options(without_weights(batch.schema_ref()), columns, &options)?;
    Ok((rows, Some(weights.clone())))
}

/// Rows with weights. `schema` is that of the rows, with or without the column of weights.
pub fn weighted(schema: &SchemaRef, mut columns: Vec<ArrayRef>, weights: Int64Array) -> Result<RecordBatch> {
    debug_assert_eq!(weights.null_count(), 0, "every row has a weight");
    columns.push(Arc::new(weights));
    Ok(RecordBatch::try_new(with_weights(schema), columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_the_last_column_and_leave_the_others_in_their_places() {
        let plain: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let changes = with_weights(&plain);
        assert_eq!((has_weights(&plain), has_weights(&changes)), (false, true));
        assert_eq!((width(&plain), width(&changes)), (1, 1));
        assert_eq!((with_weights(&changes), without_weights(&changes)), (Arc::clone(&changes), Arc::clone(&plain)));
        let values: ArrayRef = Arc::new(Int64Array::from(vec![7, 8]));
        let batch = weighted(&plain, vec![Arc::clone(&values)], Int64Array::from(vec![-1, 2])).unwrap();
        let (rows, weights) = split(&batch).unwrap();
        assert_eq!(rows, RecordBatch::try_new(plain, vec![values]).unwrap());
        assert_eq!(weights, Some(Int64Array::from(vec![-1, 2])));
        assert_eq!(split(&rows).unwrap(), (rows, None));
    }
}
