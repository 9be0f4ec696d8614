//! Waiting rows in a checkpoint: one table for each input, and one for how far the windows have fired.
//!
//! | table | row | changes in an epoch |
//! |---|---|---|
//! | of an input | the end of the window in ms, then the input's columns | new rows; a tombstone for windows that fired; all anew when most have become needless, or have been drained |
//! | `fired` | a key group and the watermark up to which its windows have fired | the owned groups, when it rose |
//!
//! All are by key group, or of worker 0 where all rows meet there. Workers may have come to different watermarks when an
//! epoch ended: a worker that inherits groups from several of them goes on from the highest, and the rows of the groups
//! that were behind are due at once. What has fired a restore sees by the watermarks, not by the tombstones: those of one
//! worker say nothing about the rows of another.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use hashbrown::HashMap;
use rheos_core::Result;
use rheos_core::key::{KeyGroup, KeyGroupAssignment, hash_keys};
use rheos_core::operator::OperatorInit;
use rheos_core::state::{Run, SnapshotReader, StateDelta, TableDelta, TableKind, Tombstone};

use super::{Bucket, Distribution, WindowedRows, coalesce};
use crate::evaluation::{evaluate, new_batch};
use crate::state::{check_layout, is_wasteful};

const ROWS_LAYOUT: &str = "windowed-rows/v1";
const FIRED: &str = "fired";
const FIRED_LAYOUT: &str = "window-fired/v1";

/// Turns waiting rows into deltas and back.
#[derive(Debug)]
pub(crate) struct WindowState {
    assignment: KeyGroupAssignment,
    owned: Vec<KeyGroup>,
    kind: TableKind,
    /// Tables that are not by key group are worker 0's: another worker has no rows, and its watermark is not theirs.
    writes: bool,
    /// What the last delta said.
    saved_ms: Option<i64>,
}

impl WindowState {
    pub(crate) fn new(distribution: &Distribution, init: &OperatorInit) -> Self {
        let keyed = !distribution.0.is_empty();
        Self {
            assignment: init.assignment.clone(),
            owned: if keyed { init.assignment.groups_of(init.worker) } else { vec![] },
            kind: if keyed { TableKind::Keyed } else { TableKind::Single },
            writes: keyed || init.worker == 0,
            saved_ms: None,
        }
    }

    /// What changed since the last delta. Windows that end by `watermark_ms` have fired, unless they are still here.
    pub(crate) fn delta(&mut self, tables: &mut [WindowedRows], watermark_ms: i64) -> Result<StateDelta> {
        let mut delta = StateDelta::default();
        if !self.writes {
            return Ok(delta);
        }
        // Restored groups that are behind keep their mark until they have fired.
        let behind = tables.iter().any(|t| t.first().is_some_and(|window| window.is_due(watermark_ms)));
        let moved = !behind && watermark_ms > i64::MIN && self.saved_ms != Some(watermark_ms);
        for table in tables {
            let tombstones = match take_back(table) | std::mem::take(&mut table.is_drained) {
                true => vec![Tombstone::All],
                false if moved => vec![Tombstone::NamespacesUpTo(watermark_ms)],
                false => vec![],
            };
            let runs = self.unsaved(table)?;
            if !runs.is_empty() || !tombstones.is_empty() {
                let (table, kind, layout) = (table.table.to_string(), self.kind, ROWS_LAYOUT.to_string());
                delta.tables.push(TableDelta {
                    table,
                    kind,
                    layout,
                    replaces_by: vec![],
                    gone_by: None,
                    tombstones,
                    runs,
                });
            }
        }
        if moved {
            delta.tables.push(self.fired(watermark_ms)?);
            self.saved_ms = Some(watermark_ms);
        }
        Ok(delta)
    }

    fn unsaved(&self, table: &mut WindowedRows) -> Result<Vec<Run>> {
        let schema = stored_schema(&table.schema);
        let mut rows = vec![];
        for (window, bucket) in &mut table.buckets {
            for batch in bucket.take_unsaved() {
                let mut columns: Vec<ArrayRef> =
                    vec![Arc::new(Int64Array::from_value(window.end_ms(), batch.num_rows()))];
                columns.extend(batch.columns().iter().cloned());
                rows.push(new_batch(&schema, columns, batch.num_rows())?);
            }
        }
        let run = |rows: RecordBatch| {
            let key_groups = match self.kind {
                TableKind::Keyed => self.key_groups(table, &input_rows(table, &rows)?)?,
                _ => vec![],
            };
            Ok(Run { key_groups, rows })
        };
        coalesce(rows)?.into_iter().map(run).collect()
    }

    fn key_groups(&self, table: &WindowedRows, rows: &RecordBatch) -> Result<Vec<KeyGroup>> {
        let keys = table.distribution.0.iter().map(|key| evaluate(key, rows)).collect::<Result<Vec<_>>>()?;
        let mut hashes = vec![];
        hash_keys(&keys, rows.num_rows(), &mut hashes)?;
        Ok(hashes.iter().map(|hash| self.assignment.group(*hash)).collect())
    }

    fn fired(&self, watermark_ms: i64) -> Result<TableDelta> {
        let count = if self.kind == TableKind::Keyed { self.owned.len() } else { 1 };
        let schema = Arc::new(Schema::new(vec![Field::new("watermark_ms", DataType::Int64, false)]));
        let rows = new_batch(&schema, vec![Arc::new(Int64Array::from_value(watermark_ms, count))], count)?;
        let (table, layout) = (FIRED.to_string(), FIRED_LAYOUT.to_string());
        let runs = vec![Run { key_groups: self.owned.clone(), rows }];
        // All owned groups are here, so what was said of them before is void.
        Ok(TableDelta {
            table,
            kind: self.kind,
            layout,
            replaces_by: vec![],
            gone_by: None,
            tombstones: vec![Tombstone::All],
            runs,
        })
    }

    /// Puts the rows of a checkpoint into `tables`. Returns the watermark that the furthest group had come to; windows
    /// that end by it and are here all the same have not fired.
    pub(crate) fn restore(&self, snapshot: &dyn SnapshotReader, tables: &mut [WindowedRows]) -> Result<i64> {
        let marks = read_marks(snapshot)?;
        for table in tables {
            for delta in snapshot.deltas(table.table) {
                check_layout(&delta, ROWS_LAYOUT)?;
                for run in &delta.runs {
                    add_saved(table, run, &marks)?;
                }
            }
        }
        Ok(marks.values().copied().max().unwrap_or(i64::MIN))
    }
}

/// Whether all rows are to be handed over anew: of those that were, most are not needed any more.
fn take_back(table: &mut WindowedRows) -> bool {
    let counts = table.buckets.values().map(Bucket::stored_rows);
    let (stored, live) = counts.fold((0, 0), |sum, bucket| (sum.0 + bucket.0, sum.1 + bucket.1));
    let wasteful = is_wasteful(stored, live);
    if wasteful {
        table.buckets.values_mut().for_each(Bucket::take_back);
    }
    wasteful
}

fn stored_schema(input: &SchemaRef) -> SchemaRef {
    let mut fields = vec![Arc::new(Field::new("window_end_ms", DataType::Int64, false))];
    fields.extend(input.fields().iter().cloned());
    Arc::new(Schema::new(fields))
}

/// Stored rows as they came from the input.
fn input_rows(table: &WindowedRows, stored: &RecordBatch) -> Result<RecordBatch> {
    new_batch(&table.schema, stored.columns()[1..].to_vec(), stored.num_rows())
}

fn read_marks(snapshot: &dyn SnapshotReader) -> Result<HashMap<KeyGroup, i64>> {
    let mut marks = HashMap::new();
    for delta in snapshot.deltas(FIRED) {
        check_layout(&delta, FIRED_LAYOUT)?;
        for run in &delta.runs {
            for (row, mark) in run.rows.column(0).as_primitive::<Int64Type>().values().iter().enumerate() {
                marks.insert(group(run, row), *mark);
            }
        }
    }
    Ok(marks)
}

fn group(run: &Run, row: usize) -> KeyGroup {
    run.key_groups.get(row).copied().unwrap_or(KeyGroup(0))
}

/// Adds the stored rows whose windows had not fired.
fn add_saved(table: &mut WindowedRows, run: &Run, marks: &HashMap<KeyGroup, i64>) -> Result<()> {
    let ends = run.rows.column(0).as_primitive::<Int64Type>().values();
    let open = |(row, end): (usize, &i64)| Some(marks.get(&group(run, row)).is_none_or(|mark| end > mark));
    let open: BooleanArray = ends.iter().enumerate().map(open).collect();
    let rows = filter_record_batch(&run.rows, &open)?;
    for (window, rows) in table.cut(input_rows(table, &rows)?)?.parts {
        table.buckets.entry(window).or_default().push_saved(rows);
    }
    Ok(())
}
