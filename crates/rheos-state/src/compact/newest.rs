//! Of rows that take each other's place, the newest of each.

use std::collections::HashSet;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
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

fn retain(run: Run, kept: Vec<bool>) -> Result<Run, ArrowError> {
    let key_groups = run.key_groups.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(group, _)| *group).collect();
    let rows: RecordBatch = filter_record_batch(&run.rows, &BooleanArray::from(kept))?;
    Ok(Run { key_groups, rows })
}
