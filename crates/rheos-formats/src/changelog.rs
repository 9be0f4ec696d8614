//! Rows that change, as lines that say how: `+I` a row comes, `-U +U` a row takes the place of another, `-D` a row goes.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, UInt32Array, make_comparator};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use rheos_core::Result;
use rheos_core::change;

/// The name of the first column.
pub const OP: &str = "op";

/// The columns of rows, with or without weights, behind one that says how each changes.
pub fn with_op(rows: &SchemaRef) -> SchemaRef {
    let op = Arc::new(Field::new(OP, DataType::Utf8, false));
    let rows = change::without_weights(rows);
    let fields = std::iter::once(op).chain(rows.fields().iter().cloned());
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// One line a row that comes or goes, in the order of the batch. A row that goes right before one with the same `key` comes is
/// the old one of an update.
pub fn lines(batch: &RecordBatch, key: Option<&[usize]>) -> Result<RecordBatch> {
    let (rows, weights) = change::split(batch)?;
    let weight = |row: usize| weights.as_ref().map_or(1, |weights| weights.value(row));
    let same_key = same_key(&rows, key)?;
    let (mut ops, mut places) = (vec![], vec![]);
    let mut row = 0;
    while row < rows.num_rows() {
        let is_update =
            row + 1 < rows.num_rows() && (weight(row), weight(row + 1)) == (-1, 1) && same_key(row, row + 1);
        if is_update {
            ops.extend(["-U", "+U"]);
            places.extend([row as u32, row as u32 + 1]);
            row += 2;
            continue;
        }
        let times = usize::try_from(weight(row).unsigned_abs()).unwrap_or(usize::MAX);
        ops.extend(std::iter::repeat_n(if weight(row) > 0 { "+I" } else { "-D" }, times));
        places.extend(std::iter::repeat_n(row as u32, times));
        row += 1;
    }
    let places = UInt32Array::from(places);
    let mut columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(ops))];
    for column in rows.columns() {
        columns.push(take(column, &places, None)?);
    }
    Ok(RecordBatch::try_new(with_op(batch.schema_ref()), columns)?)
}

/// Tells for two rows whether they agree in the key; without one no two do.
pub(crate) fn same_key(rows: &RecordBatch, key: Option<&[usize]>) -> Result<impl Fn(usize, usize) -> bool> {
    let is_known = key.is_some();
    let columns = key.unwrap_or_default().iter().map(|at| rows.column(*at));
    let compared = columns.map(|column| make_comparator(column, column, SortOptions::default()));
    let compared = compared.collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(move |a: usize, b: usize| is_known && compared.iter().all(|compare| compare(a, b).is_eq()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn changes(rows: &[(i64, i64, i64)]) -> RecordBatch {
        let fields = ["a", "n"].map(|name| Field::new(name, DataType::Int64, true));
        let column =
            |at: fn(&(i64, i64, i64)) -> i64| Arc::new(rows.iter().map(at).collect::<Int64Array>()) as ArrayRef;
        let weights = rows.iter().map(|row| row.2).collect();
        change::weighted(&Arc::new(Schema::new(fields.to_vec())), vec![column(|r| r.0), column(|r| r.1)], weights)
            .unwrap()
    }

    fn told(batch: &RecordBatch, key: Option<&[usize]>) -> Vec<String> {
        let lines = lines(batch, key).unwrap();
        let number = |column: usize, row: usize| lines.column(column).as_primitive::<Int64Type>().value(row);
        let op = |row: usize| lines.column(0).as_string::<i32>().value(row).to_string();
        (0..lines.num_rows()).map(|row| format!("{}{},{}", op(row), number(1, row), number(2, row))).collect()
    }

    #[test]
    fn a_row_takes_the_place_of_the_one_before_it_with_its_key() {
        let batch = changes(&[(7, 1, -1), (7, 2, 1), (8, 1, 1), (9, 4, -1), (5, 4, 1), (6, 0, -1)]);
        assert_eq!(told(&batch, Some(&[0])), ["-U7,1", "+U7,2", "+I8,1", "-D9,4", "+I5,4", "-D6,0"]);
        assert_eq!(told(&batch, None), ["-D7,1", "+I7,2", "+I8,1", "-D9,4", "+I5,4", "-D6,0"]);
        assert_eq!(told(&batch, Some(&[])), ["-U7,1", "+U7,2", "+I8,1", "-U9,4", "+U5,4", "-D6,0"]);
    }

    #[test]
    fn a_row_that_comes_several_times_is_several_lines() {
        let batch = changes(&[(1, 0, 3), (2, 0, -2)]);
        assert_eq!(told(&batch, Some(&[0])), ["+I1,0", "+I1,0", "+I1,0", "-D2,0", "-D2,0"]);
        let plain = change::split(&batch).unwrap().0;
        assert_eq!(told(&plain, None), ["+I1,0", "+I2,0"]);
    }
}
