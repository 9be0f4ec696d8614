//! The stored state of one checkpoint as rows, for people and tools.
//!
//! ```text
//!   manifest ──plan for one worker──► segments of a table ──► live rows: less tombstones, the newest where rows replace others
//! ```
//! State: one table at a time is in memory.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt16Array};
use arrow::datatypes::{DataType, Field, Schema};
use rheos_checkpoint::manifest::Manifest;
use rheos_checkpoint::rescale::{self, SegmentRead};
use rheos_core::key::KeyGroupAssignment;
use rheos_core::state::{Run, TableKind};
use rheos_core::{Error, OperatorId, Result};

use crate::compact::newest;
use crate::kept::Kept;
use crate::restore::{Reader, read_table};
use crate::store::CheckpointStore;

/// The column in front of the rows of keyed tables.
const GROUP_COLUMN: &str = "key_group";

/// A table of state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The operator that keeps it.
    pub operator: OperatorId,
    /// Its name inside the operator.
    pub name: String,
    /// How it is spread.
    pub kind: TableKind,
    /// Bytes as stored; some of them may be of rows that are gone.
    pub bytes: u64,
}

/// The tables of a checkpoint, by operator and name.
pub fn tables(manifest: &Manifest) -> Vec<Table> {
    let mut tables: BTreeMap<(&OperatorId, &str), Table> = BTreeMap::new();
    for segment in manifest.objects.iter().flat_map(|o| &o.segments) {
        let table =
            || Table { operator: segment.operator.clone(), name: segment.table.clone(), kind: segment.kind, bytes: 0 };
        tables.entry((&segment.operator, &segment.table)).or_insert_with(table).bytes += segment.length_bytes;
    }
    tables.into_values().collect()
}

/// The rows of a table, of all workers; none if there is no such table.
///
/// Shape: the table's own columns, behind the key group if it is spread by key; oldest first within a key group. Batches of one
/// table may differ in their columns only if versions of Rheos with other layouts have written them.
///
/// Errors: those of the store; `Corrupt` (R0626, R0627) for damage, naming object and operator.
pub fn rows(store: &dyn CheckpointStore, manifest: &Manifest, table: &Table) -> Result<Vec<RecordBatch>> {
    let groups = manifest.owners.last().map_or(0, |o| o.last).saturating_add(1);
    let all = KeyGroupAssignment::even(groups, 1);
    let plan = rescale::plan(manifest, &all, NonZeroU32::MIN);
    let is_wanted = |r: &&SegmentRead| r.segment.operator == table.operator && r.segment.table == table.name;
    let reads: Vec<SegmentRead> = plan.iter().flat_map(|p| &p.reads).filter(is_wanted).cloned().collect();
    let mut batches = Vec::new();
    for unit in reads.chunk_by(|a, b| a.unit == b.unit) {
        let (deltas, _) = read_table(&mut Reader::new(store, &Kept::default()), unit)?;
        let (replaces_by, gone_by) = deltas.last().map_or((vec![], None), |d| (d.replaces_by.clone(), d.gone_by));
        let runs = deltas.into_iter().flat_map(|d| d.runs).collect();
        let wrong = |e| Error::internal(format!("table '{}' of '{}': {e}", table.name, table.operator));
        let newest = newest::of_each(runs, &replaces_by).and_then(|runs| newest::without_gone(runs, gone_by, |_| true));
        for run in newest.map_err(wrong)? {
            batches.push(if table.kind == TableKind::Keyed { with_groups(&run).map_err(wrong)? } else { run.rows });
        }
    }
    Ok(batches)
}

fn with_groups(run: &Run) -> Result<RecordBatch, arrow::error::ArrowError> {
    let mut fields = vec![Arc::new(Field::new(GROUP_COLUMN, DataType::UInt16, false))];
    fields.extend(run.rows.schema_ref().fields().iter().cloned());
    let groups: UInt16Array = run.key_groups.iter().map(|g| g.0).collect();
    let mut columns: Vec<ArrayRef> = vec![Arc::new(groups)];
    columns.extend(run.rows.columns().iter().cloned());
    let options = RecordBatchOptions::new().with_row_count(Some(run.rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}
