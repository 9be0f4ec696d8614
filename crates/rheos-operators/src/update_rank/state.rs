//! Ranked rows in a checkpoint: the table `rows`, one row for each different row that is kept, with how often it is there.
//!
//! A row takes the place of an equal one; where a partition has one row only, of the one before in its partition. 0 copies: it is gone.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rheos_core::operator::OperatorInit;
use rheos_core::state::{Run, SnapshotReader, StateDelta, TableDelta, Tombstone};
use rheos_core::{Error, Result, change};

use crate::state::{Replacing, StateKeys, check_layout};

const TABLE: &str = "rows";
const LAYOUT: &str = "rank-rows/v1";

/// Rows that a checkpoint has, or is to have.
pub(super) trait SavedRows {
    /// Whether a partition has one row at most, so that a stored row takes the place of the one before.
    fn has_one_row(&self) -> bool;

    /// What the last checkpoint does not have as it is; from now on it has it. Of one row the last word counts.
    fn take_unsaved(&mut self) -> Result<Unsaved>;

    /// Takes rows of a checkpoint, which are there so many times. Only before any input.
    fn restore(&mut self, rows: &RecordBatch, copies: &Int64Array) -> Result<()>;

    /// All rows of the checkpoint are there.
    fn end_restore(&mut self) {}
}

/// See [`SavedRows::take_unsaved`].
pub(super) struct Unsaved {
    /// Rows by column, and how often each is there, 0 for one that is gone, as the last column.
    pub(super) rows: Vec<Vec<ArrayRef>>,
    /// All that the checkpoint has is gone before that.
    pub(super) is_cleared: bool,
}

/// Turns rows into deltas and back.
#[derive(Debug)]
pub(super) struct RankState {
    schema: SchemaRef,
    partition_by: Vec<usize>,
    keys: StateKeys,
}

impl RankState {
    /// Of rows without weights.
    pub(super) fn new(rows: &SchemaRef, partition_by: Vec<usize>, init: &OperatorInit) -> Self {
        let keys = StateKeys::new(partition_by.len(), init);
        Self { schema: change::with_weights(rows), partition_by, keys }
    }

    /// What changed since the last delta.
    pub(super) fn delta(&self, saved: &mut impl SavedRows) -> Result<StateDelta> {
        let Unsaved { rows, is_cleared } = saved.take_unsaved()?;
        if rows.is_empty() && !is_cleared {
            return Ok(StateDelta::default());
        }
        let (table, layout) = (TABLE.to_string(), LAYOUT.to_string());
        let width = self.schema.fields().len() - 1;
        let by = if saved.has_one_row() { self.partition_by.clone() } else { (0..width).collect() };
        let Replacing { replaces_by, gone_by, mut tombstones } = Replacing::by(by, width);
        if is_cleared && tombstones.is_empty() {
            tombstones.push(Tombstone::All);
        }
        let runs = rows.into_iter().map(|rows| self.run(rows)).collect::<Result<_>>()?;
        let kind = self.keys.kind();
        Ok(StateDelta { tables: vec![TableDelta { table, kind, layout, replaces_by, gone_by, tombstones, runs }] })
    }

    fn run(&self, columns: Vec<ArrayRef>) -> Result<Run> {
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        Ok(Run { key_groups: self.keys.groups(&self.partitions_of(&rows), rows.num_rows())?, rows })
    }

    fn partitions_of(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        self.partition_by.iter().map(|at| Arc::clone(rows.column(*at))).collect()
    }

    /// Gives back what was saved. (Whoever reads a checkpoint applies its tombstones.)
    pub(super) fn restore(&self, snapshot: &dyn SnapshotReader, saved: &mut impl SavedRows) -> Result<()> {
        for delta in snapshot.deltas(TABLE) {
            check_layout(&delta, LAYOUT)?;
            for run in &delta.runs {
                let (rows, copies) = change::split(&run.rows)?;
                let copies =
                    copies.ok_or_else(|| Error::internal("stored rows do not say how often they are there"))?;
                saved.restore(&rows, &copies)?;
            }
        }
        saved.end_restore();
        Ok(())
    }
}
