//! Of rows that take each other's place, the newest of each, unless it says that the row is gone.

use std::collections::HashSet;

use arrow::array::{Array, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
use rheos_core::key::KeyGroup;
use rheos_core::state::Run;

/// Reduces runs, oldest first, to the last row of each key. Keys that are alike in meaning but not in bytes (the zeros of
/// floats) count as different, so rows may be left that a restore replaces, and none is missing.
///
/// `replaces_by`: the columns of the key; empty: nothing is replaced. State: the different keys.
pub(crate) fn of_each(runs: Vec<Run>, replaces_by: &[usize]) -> Result<Vec<Run>, ArrowError> {
    let Some(first) = runs.first().filter(|_| !replaces_by.is_empty()) else { return Ok(runs) };
    let field = |column: &usize| SortField::new(first.rows.column(*column).data_type().clone());
    let converter = RowConverter::new(replaces_by.iter().map(field).collect())?;
    let mut seen: HashSet<OwnedRow> = HashSet::new();
    let mut newest = Vec::with_capacity(runs.len());
    for run in runs.into_iter().rev() {
        let keys = run.rows.project(replaces_by)?;
        let keys = converter.convert_columns(keys.columns())?;
        let mut kept: Vec<bool> = keys.iter().rev().map(|key| seen.insert(key.owned())).collect();
        kept.reverse();
        newest.push(if kept.contains(&false) { retain(run, kept)? } else { run });
    }
    newest.reverse();
    newest.retain(|run| run.rows.num_rows() > 0);
    Ok(newest)
}

/// Without the rows whose column `gone_by` says that they are not there, in the key groups that are `whole`: of which no older rows
/// are stored elsewhere. Rows of tables that are not keyed are all of group 0.
pub(crate) fn without_gone(
    runs: Vec<Run>,
    gone_by: Option<usize>,
    is_whole: impl Fn(KeyGroup) -> bool,
) -> Result<Vec<Run>, ArrowError> {
    let Some(column) = gone_by else { return Ok(runs) };
    let mut left = Vec::with_capacity(runs.len());
    for run in runs {
        let Some(counts) = gone_column(&run.rows, column) else {
            return Err(ArrowError::SchemaError("the column that says which rows are gone is no Int64".into()));
        };
        let group = |row: usize| run.key_groups.get(row).copied().unwrap_or(KeyGroup(0));
        let kept: Vec<bool> = (0..counts.len()).map(|row| counts.value(row) != 0 || !is_whole(group(row))).collect();
        left.push(if kept.contains(&false) { retain(run, kept)? } else { run });
    }
    left.retain(|run| run.rows.num_rows() > 0);
    Ok(left)
}

/// The column that says which rows are gone, if it can.
pub(crate) fn gone_column(rows: &RecordBatch, column: usize) -> Option<&Int64Array> {
    let counts = rows.columns().get(column)?.as_primitive_opt::<Int64Type>()?;
    (counts.null_count() == 0).then_some(counts)
}

fn retain(run: Run, kept: Vec<bool>) -> Result<Run, ArrowError> {
    let key_groups = run.key_groups.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(group, _)| *group).collect();
    let rows: RecordBatch = filter_record_batch(&run.rows, &BooleanArray::from(kept))?;
    Ok(Run { key_groups, rows })
}
