//! The changes of a tape as rows with weights.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use rheos_core::change::with_weights;
use rheos_core::{Error, Result};

use super::scan::{AFTER, BEFORE, OPERATION, Operation};
use crate::bad::{BadKind, BadRows, Fault};
use crate::cell::Tape;
use crate::column::{Rows, decode};

/// Makes rows of changes.
#[derive(Debug)]
pub(crate) struct Changes {
    /// The rows, as they are declared.
    rows: SchemaRef,
    /// The rows with their weights.
    schema: SchemaRef,
    /// Places of the key in the rows.
    key: Option<Vec<usize>>,
}

/// Both sides of the changes of a tape, one column each.
pub(crate) struct Sides {
    operations: Vec<Operation>,
    before: Vec<ArrayRef>,
    after: Vec<ArrayRef>,
}

impl Changes {
    /// `key`: places in `rows`.
    pub(crate) fn new(rows: SchemaRef, key: Option<Vec<usize>>) -> Self {
        // A deletion is sure of its key only.
        let is_sure = |n: &usize| key.as_ref().is_none_or(|key| key.contains(n));
        let fields = rows.fields().iter().enumerate();
        let fields = fields.map(|(n, f)| f.as_ref().clone().with_nullable(f.is_nullable() || !is_sure(&n)));
        let schema = with_weights(&Arc::new(Schema::new(fields.collect::<Vec<Field>>())));
        Self { rows, schema, key }
    }

    /// The rows with their weights.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Decodes the changes of a tape over `data`; what does not fit is marked as bad.
    pub(crate) fn decode(&self, tape: &Tape, data: &[u8], bad: &mut BadRows) -> Result<Sides> {
        let operations = tape.column(data, OPERATION).iter().map(|cell| Operation::of_cell(cell, data));
        let mut sides = Sides { operations: operations.collect(), before: vec![], after: vec![] };
        let rows = tape.rows();
        for (n, field) in self.rows.fields().iter().enumerate() {
            bad.set_column(n);
            let side = |part: usize, bad: &mut BadRows| {
                let cells = tape.column(data, part).field(n);
                decode(&cells, field.data_type(), &mut Rows { owners: None, rows, bad })
            };
            let after = side(AFTER, bad)?;
            let is_key = self.key.as_ref().is_some_and(|key| key.contains(&n));
            let before = match is_key || self.key.is_none() {
                true => side(BEFORE, bad)?,
                false => new_null_array(field.data_type(), rows),
            };
            for (row, operation) in sides.operations.iter().enumerate() {
                let misses_after = operation.has_after() && after.is_null(row);
                let misses_before = match (&self.key, operation) {
                    (_, Operation::Insert) => false,
                    (None, _) => before.is_null(row),
                    (Some(_), Operation::Update) => false,
                    (Some(_), Operation::Delete) => is_key && before.is_null(row),
                };
                if (misses_after || misses_before) && (is_key || !field.is_nullable()) && !bad.is_bad(row) {
                    let what = if is_key { "it is of the primary key" } else { "the column is NOT NULL" };
                    bad.mark(row, rows, || {
                        Fault::new(BadKind::Value, format!("the value is missing, but {what}"), b"")
                    });
                }
            }
            sides.before.push(before);
            sides.after.push(after);
        }
        Ok(sides)
    }

    /// The good changes as rows, in their order; a row that goes stands before the one that comes in its place.
    pub(crate) fn rows(&self, sides: &Sides, bad: &BadRows) -> Result<Option<RecordBatch>> {
        let moved = self.moved(sides)?;
        let (mut places, mut weights) = (vec![], vec![]);
        for (row, operation) in sides.operations.iter().enumerate().filter(|(row, _)| !bad.is_bad(*row)) {
            let goes = match operation {
                Operation::Insert => false,
                Operation::Update => self.key.is_none() || moved.get(row).copied().unwrap_or(false),
                Operation::Delete => true,
            };
            if goes {
                places.push((0, row));
                weights.push(-1);
            }
            if operation.has_after() {
                places.push((1, row));
                weights.push(1);
            }
        }
        if places.is_empty() {
            return Ok(None);
        }
        let sides = sides.before.iter().zip(&sides.after);
        let columns = sides.map(|(before, after)| interleave(&[before.as_ref(), after.as_ref()], &places));
        let mut columns = columns.collect::<Result<Vec<_>, _>>()?;
        columns.push(Arc::new(Int64Array::from(weights)));
        let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options);
        Ok(Some(batch.map_err(|e| Error::internal(format!("decoded changes do not fit their schema: {e}")))?))
    }

    /// The updates that give a row another key, where the key before is known.
    fn moved(&self, sides: &Sides) -> Result<Vec<bool>> {
        let Some(key) = self.key.as_ref().filter(|_| sides.operations.contains(&Operation::Update)) else {
            return Ok(vec![]);
        };
        let columns = |side: &[ArrayRef]| key.iter().map(|n| Arc::clone(&side[*n])).collect::<Vec<_>>();
        let fields = key.iter().map(|n| SortField::new(self.rows.field(*n).data_type().clone())).collect();
        let converter = RowConverter::new(fields)?;
        let (before, after) =
            (converter.convert_columns(&columns(&sides.before))?, converter.convert_columns(&columns(&sides.after))?);
        let is_known = |row: usize| key.iter().all(|n| sides.before[*n].is_valid(row));
        let of_row = |(row, operation): (usize, &Operation)| {
            *operation == Operation::Update && is_known(row) && before.row(row) != after.row(row)
        };
        Ok(sides.operations.iter().enumerate().map(of_row).collect())
    }
}
