//! The checkpoints of a test: the deltas of all epochs and workers, and what one worker reads of them.

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use rheos_core::key::KeyGroupAssignment;
use rheos_core::state::{Run, SnapshotReader, StateDelta, TableDelta, TableKind};

/// The deltas of one operator, of all workers, in the order of their epochs.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    epochs: Vec<Vec<StateDelta>>,
}

impl Snapshot {
    /// Adds an epoch: one delta a worker.
    pub fn push(&mut self, deltas: Vec<StateDelta>) {
        for delta in deltas.iter().flat_map(|d| &d.tables) {
            for run in &delta.runs {
                let expected = if delta.kind == TableKind::Keyed { run.rows.num_rows() } else { 0 };
                assert_eq!(run.key_groups.len(), expected, "a keyed run has a key group a row, others have none");
            }
        }
        self.epochs.push(deltas);
    }

    /// What `worker` reads under `assignment`.
    pub fn reader<'a>(&'a self, worker: usize, assignment: &'a KeyGroupAssignment) -> impl SnapshotReader + 'a {
        Reader { snapshot: self, worker, assignment }
    }
}

struct Reader<'a> {
    snapshot: &'a Snapshot,
    worker: usize,
    assignment: &'a KeyGroupAssignment,
}

impl Reader<'_> {
    fn owned(&self, delta: &TableDelta) -> Option<TableDelta> {
        let runs = match delta.kind {
            TableKind::Keyed => delta.runs.iter().map(|run| self.owned_rows(run)).collect(),
            TableKind::Broadcast => delta.runs.clone(),
            // All to one worker is one way to spread a list.
            TableKind::Single | TableKind::Split if self.worker == 0 => delta.runs.clone(),
            TableKind::Single | TableKind::Split => return None,
        };
        Some(TableDelta { runs, ..delta.clone() })
    }

    fn owned_rows(&self, run: &Run) -> Run {
        let owned = |g: &&rheos_core::key::KeyGroup| self.assignment.owns(self.worker, **g);
        let mask: BooleanArray = run.key_groups.iter().map(|g| Some(owned(&g))).collect();
        Run {
            key_groups: run.key_groups.iter().filter(owned).copied().collect(),
            rows: filter_record_batch(&run.rows, &mask).expect("the mask is as long as the run"),
        }
    }
}

impl SnapshotReader for Reader<'_> {
    fn deltas(&self, table: &str) -> Vec<TableDelta> {
        let tables = self.snapshot.epochs.iter().flatten().flat_map(|delta| &delta.tables);
        tables.filter(|delta| delta.table == table).filter_map(|delta| self.owned(delta)).collect()
    }
}
