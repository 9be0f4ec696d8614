//! The state of a window aggregate in a checkpoint: two tables.
//!
//! | table | row | changes in an epoch |
//! |---|---|---|
//! | `slices` | partial aggregates of one group in one slice (the partial layout) | new runs; a tombstone for dropped slices |
//! | `fired` | a key group and the watermark up to which its windows have fired | the owned groups, when the watermark rose |
//!
//! Both are by key group, so they go with the groups to other workers. Workers may have come to different watermarks
//! when an epoch ended; a worker that inherits groups from several of them takes the highest. Windows of the groups that
//! were behind fire before anything else, up to that watermark. So no window fires twice and none is left out.
//!
//! Which windows have fired a restore sees by the watermarks, not by the tombstones: those of one worker say nothing about rows
//! of another.
//!
//! A slice that stays open hands over a group again in each epoch that changes it, and only what was added. The store puts
//! these rows together when it merges runs ([`CombineSlices`]), beside the data path: an epoch costs what it changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use rheos_core::Result;
use rheos_core::key::KeyGroup;
use rheos_core::operator::OperatorInit;
use rheos_core::state::{Combine, Run, SnapshotReader, StateDelta, TableDelta, Tombstone};

use super::partition::Partition;
use super::slices::Slices;
use super::slicing::Slicing;
use super::spec::Layout;
use super::table::TablePool;
use crate::state::{FiredMarks, StateKeys, check_layout};

pub(crate) const SLICES: &str = "slices";
const SLICES_LAYOUT: &str = "window-slices/v1";

/// Turns slices into deltas and back.
pub(crate) struct StateWriter {
    layout: Arc<Layout>,
    keys: StateKeys,
    marks: FiredMarks,
    restored_ms: i64,
}

/// What a restore found.
pub(crate) struct Restored {
    pub(crate) slices: Slices,
    pub(crate) behind: Vec<Slices>,
    pub(crate) watermark_ms: i64,
}

impl StateWriter {
    pub(crate) fn new(layout: &Arc<Layout>, init: &OperatorInit) -> Self {
        let keys = StateKeys::new(layout.keys, init);
        Self { layout: Arc::clone(layout), marks: FiredMarks::new(&keys), keys, restored_ms: i64::MIN }
    }

    /// The watermark that the furthest of the restored groups had come to.
    pub(crate) fn restored_ms(&self) -> i64 {
        self.restored_ms
    }

    /// What changed since the last delta. `mark`: the windows that end by then have fired.
    pub(crate) fn delta(&mut self, slices: &mut Slices, mark: Option<i64>, pool: &mut TablePool) -> Result<StateDelta> {
        let mut delta = StateDelta::default();
        let moved = self.marks.delta(mark)?;
        let unsaved = slices.take_unsaved(pool)?;
        let runs = if unsaved.is_empty() { vec![] } else { vec![self.run(&unsaved)?] };
        let dropped = Slicing::new(self.layout.window).slices(slices.next_window()).start.saturating_sub(1);
        let tombstones = if moved.is_some() { vec![Tombstone::NamespacesUpTo(dropped)] } else { vec![] };
        if !runs.is_empty() || !tombstones.is_empty() {
            let (table, layout, kind) = (SLICES.into(), SLICES_LAYOUT.into(), self.keys.kind());
            delta.tables.push(TableDelta { table, kind, layout, replaces_by: vec![], gone_by: None, tombstones, runs });
        }
        delta.tables.extend(moved);
        Ok(delta)
    }

    fn run(&self, batches: &[RecordBatch]) -> Result<Run> {
        let rows = concat_batches(&self.layout.partial_schema, batches)?;
        // The hidden keys are no part of it: rows were exchanged by the keys of the user.
        let key_groups = self.keys.groups(&rows.columns()[1..=self.layout.keys], rows.num_rows())?;
        Ok(Run { key_groups, rows })
    }

    pub(crate) fn restore(
        &mut self,
        snapshot: &dyn SnapshotReader,
        slicing: Slicing,
        pool: &mut TablePool,
    ) -> Result<Restored> {
        let marks = FiredMarks::read(snapshot)?;
        let highest = marks.highest();
        let mut by_mark: BTreeMap<i64, Slices> = BTreeMap::new();
        for delta in snapshot.deltas(SLICES) {
            check_layout(&delta, SLICES_LAYOUT)?;
            for run in &delta.runs {
                let group = |row: usize| run.key_groups.get(row).copied().unwrap_or(KeyGroup(0));
                let mark = |row: usize| marks.of(group(row));
                let mut row_marks: Vec<i64> = (0..run.rows.num_rows()).map(mark).collect();
                let all = row_marks.clone();
                row_marks.sort_unstable();
                row_marks.dedup();
                for mark in row_marks {
                    let of_mark: BooleanArray = all.iter().map(|m| Some(*m == mark)).collect();
                    let rows = filter_record_batch(&run.rows, &of_mark)?;
                    let slices = by_mark.entry(mark).or_insert_with(|| {
                        let mut slices = Slices::new(slicing);
                        slices.advance(slicing.first_open_window(mark));
                        slices
                    });
                    add_saved(slices, slicing, &rows, pool)?;
                }
            }
        }
        let slices = by_mark.remove(&highest).unwrap_or_else(|| {
            let mut slices = Slices::new(slicing);
            slices.advance(slicing.first_open_window(highest));
            slices
        });
        // All groups, also those without rows, have come to the highest mark now; the next delta says so.
        self.restored_ms = highest;
        let behind = by_mark.into_values().filter(|s| !s.is_empty()).collect();
        Ok(Restored { slices, behind, watermark_ms: highest })
    }
}

/// Adds up the stored partial aggregates of each group and slice.
pub(crate) struct CombineSlices {
    layout: Arc<Layout>,
    keys: StateKeys,
}

impl CombineSlices {
    pub(crate) fn new(layout: &Arc<Layout>, init: &OperatorInit) -> Self {
        Self { layout: Arc::clone(layout), keys: StateKeys::new(layout.keys, init) }
    }
}

impl Combine for CombineSlices {
    fn layout(&self) -> &str {
        SLICES_LAYOUT
    }

    fn combine(&self, runs: Vec<Run>) -> Result<Vec<Run>> {
        let mut pool = TablePool::of_staying_runs(Arc::clone(&self.layout));
        let slicing = Slicing::new(self.layout.window);
        let mut slices = Slices::new(slicing);
        for run in runs {
            add_saved(&mut slices, slicing, &run.rows, &mut pool)?;
        }
        let with_groups = |rows: RecordBatch| {
            let key_groups = self.keys.groups(&rows.columns()[1..=self.layout.keys], rows.num_rows())?;
            Ok(Run { key_groups, rows })
        };
        slices.into_runs(&mut pool)?.into_iter().map(with_groups).collect()
    }
}

/// Adds stored rows to their slices; rows of dropped slices are past.
fn add_saved(slices: &mut Slices, slicing: Slicing, rows: &RecordBatch, pool: &mut TablePool) -> Result<()> {
    let numbers = rows.column(0).as_primitive::<Int64Type>().values();
    let partition = Partition::new(slicing, slices.next_window(), rows.num_rows(), |row| Some(numbers[row]));
    let rows = match &partition.take {
        Some(indices) => take_record_batch(rows, indices)?,
        None => rows.clone(),
    };
    for (slice, range) in &partition.parts {
        slices.push_saved(*slice, rows.slice(range.start, range.len()), pool)?;
    }
    Ok(())
}
