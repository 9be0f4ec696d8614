//! Ranked rows in a checkpoint: the table `rows`, one row for each different row that is kept, with how often it is there.
//!
//! A row takes the place of an equal one; where a partition has one row only, of the one before in its partition. 0 copies: it is gone.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rheos_core::operator::{CHUNK_ROWS_MAX, OperatorInit};
use rheos_core::state::{Run, SnapshotReader, StateDelta, TableDelta, Tombstone};
use rheos_core::{Error, Result, change};

use super::partitions::{Partitions, Stored};
use crate::evaluation::new_batch;
use crate::state::{Replacing, StateKeys, check_layout};

const TABLE: &str = "rows";
const LAYOUT: &str = "rank-rows/v1";

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
    pub(super) fn delta(&self, partitions: &mut Partitions) -> Result<StateDelta> {
        let stored = partitions.take_unsaved();
        if stored.is_empty() {
            return Ok(StateDelta::default());
        }
        let (table, layout) = (TABLE.to_string(), LAYOUT.to_string());
        let width = self.schema.fields().len() - 1;
        let by = if partitions.has_one_row() { self.partition_by.clone() } else { (0..width).collect() };
        let Replacing { replaces_by, gone_by, tombstones } = Replacing::by(by, width);
        let runs = stored.chunks(CHUNK_ROWS_MAX).map(|rows| self.run(partitions, rows)).collect::<Result<_>>()?;
        let kind = self.keys.kind();
        Ok(StateDelta { tables: vec![TableDelta { table, kind, layout, replaces_by, gone_by, tombstones, runs }] })
    }

    fn run(&self, partitions: &Partitions, stored: &[Stored]) -> Result<Run> {
        let keys = stored.iter().map(|(key, _, _)| key.as_ref());
        let mut columns = partitions.codec.columns(keys, stored.iter().map(|(_, row, _)| row))?;
        columns.push(Arc::new(Int64Array::from_iter_values(stored.iter().map(|(_, _, copies)| *copies))) as ArrayRef);
        let rows = new_batch(&self.schema, columns, stored.len())?;
        Ok(Run { key_groups: self.keys.groups(&self.partitions_of(&rows), rows.num_rows())?, rows })
    }

    fn partitions_of(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        self.partition_by.iter().map(|at| Arc::clone(rows.column(*at))).collect()
    }

    pub(super) fn restore(&self, snapshot: &dyn SnapshotReader, partitions: &mut Partitions) -> Result<()> {
        for delta in snapshot.deltas(TABLE) {
            check_layout(&delta, LAYOUT)?;
            if delta.tombstones.contains(&Tombstone::All) {
                partitions.clear();
            }
            for run in &delta.runs {
                let (rows, copies) = change::split(&run.rows)?;
                let copies =
                    copies.ok_or_else(|| Error::internal("stored rows do not say how often they are there"))?;
                partitions.restore(&rows, &copies)?;
            }
        }
        Ok(())
    }
}
