//! The checkpoints of a test: the deltas of all epochs and workers, and what one worker reads of them.
//!
//! As in a store, tombstones take rows of earlier epochs, of the key groups that the worker owned; and what is read may be as
//! it was handed over, or merged.

use std::collections::HashSet;

use arrow::array::{AsArray, BooleanArray, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use rheos_core::OperatorFactory;
use rheos_core::key::{KeyGroup, KeyGroupAssignment};
use rheos_core::operator::OperatorInit;
use rheos_core::state::{Run, SnapshotReader, StateDelta, TableDelta, TableKind, Tombstone};

/// The deltas of one operator, of all workers, in the order of their epochs.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    deltas: Vec<Kept>,
}

#[derive(Debug, Clone)]
struct Kept {
    /// Who holds it, of a split table: the tombstones of a worker take what that one holds.
    holder: usize,
    delta: TableDelta,
}

impl Kept {
    fn is_reached(&self, worker: usize, by: &TableDelta) -> bool {
        self.delta.table == by.table && (by.kind != TableKind::Split || self.holder == worker)
    }
}

impl Snapshot {
    /// Adds an epoch: one delta a worker, each of which owns key groups as `assignment` says.
    pub fn push(&mut self, deltas: Vec<StateDelta>, assignment: &KeyGroupAssignment) {
        for (worker, delta) in deltas.iter().enumerate().flat_map(|(w, d)| d.tables.iter().map(move |t| (w, t))) {
            let keyed = delta.kind == TableKind::Keyed;
            for run in &delta.runs {
                let expected = if keyed { run.rows.num_rows() } else { 0 };
                assert_eq!(run.key_groups.len(), expected, "a keyed run has a key group a row, others have none");
            }
            assert!(delta.kind != TableKind::Single || worker == 0, "a table of one worker is worker 0's");
            assert!(delta.gone_by.is_none() || !delta.replaces_by.is_empty(), "a row that is gone takes a row's place");
            for tombstone in &delta.tombstones {
                let is_gone = |group: Option<KeyGroup>, namespace: Option<i64>| {
                    group.is_none_or(|g| assignment.owns(worker, g))
                        && match tombstone {
                            Tombstone::All => true,
                            Tombstone::NamespacesUpTo(bound) => {
                                namespace.expect("rows that tombstones take by namespace have one") <= *bound
                            }
                        }
                };
                let reached = self.deltas.iter_mut().filter(|kept| kept.is_reached(worker, delta));
                for run in reached.flat_map(|kept| &mut kept.delta.runs) {
                    *run = retain(run, is_gone);
                }
            }
        }
        // Behind all tombstones: they do not reach rows of their own epoch.
        let of_worker =
            |(holder, d): (usize, StateDelta)| d.tables.into_iter().map(move |delta| Kept { holder, delta });
        self.deltas.extend(deltas.into_iter().enumerate().flat_map(of_worker));
        self.deltas.iter_mut().for_each(|kept| kept.delta.runs.retain(|r| r.rows.num_rows() > 0));
    }

    /// The same state in the hands of workers that have read it: worker 0 holds what was split.
    #[must_use]
    pub(crate) fn taken_over(mut self) -> Self {
        self.deltas.iter_mut().for_each(|kept| kept.holder = 0);
        self
    }

    /// What `worker` reads under `assignment`.
    pub fn reader<'a>(&'a self, worker: usize, assignment: &'a KeyGroupAssignment) -> impl SnapshotReader + 'a {
        Reader { snapshot: self, worker, assignment }
    }

    /// The same state as a store has it when all runs of each table were merged.
    #[must_use]
    pub fn merged(&self) -> Self {
        let mut tables: Vec<TableDelta> = vec![];
        for Kept { delta, .. } in &self.deltas {
            match tables.iter_mut().find(|t| t.table == delta.table) {
                Some(table) => table.runs.extend(delta.runs.iter().cloned()),
                None => tables.push(delta.clone()),
            }
        }
        for table in &mut tables {
            table.runs = merged(&table.runs, &table.replaces_by).into_iter().collect();
            if let Some(column) = table.gone_by {
                let is_gone =
                    |run: &Run, row: usize| run.rows.column(column).as_primitive::<Int64Type>().value(row) == 0;
                table.runs.iter_mut().for_each(|run| *run = keep(run, |row| !is_gone(run, row)));
            }
        }
        Self { deltas: tables.into_iter().map(|delta| Kept { holder: 0, delta }).collect() }
    }

    /// The same state as a store has it when it has merged all runs, and the operator has put their rows together.
    #[must_use]
    pub fn combined(&self, factory: &dyn OperatorFactory, assignment: &KeyGroupAssignment) -> Self {
        let mut snapshot = self.merged();
        let init = OperatorInit { worker: 0, parallelism: 1, assignment: assignment.clone() };
        for Kept { delta, .. } in &mut snapshot.deltas {
            if let Some(combiner) = factory.combiner(&delta.table, &init).filter(|c| c.layout() == delta.layout) {
                delta.runs = combiner.combine(std::mem::take(&mut delta.runs)).expect("rows of one table add up");
            }
        }
        snapshot
    }

    /// Rows that a store would have to keep of a table.
    pub fn stored_rows(&self, table: &str) -> usize {
        let runs = self.deltas.iter().map(|kept| &kept.delta).filter(|d| d.table == table).flat_map(|d| &d.runs);
        runs.map(|r| r.rows.num_rows()).sum()
    }
}

/// Without the rows that are gone, by key group and namespace.
fn retain(run: &Run, is_gone: impl Fn(Option<KeyGroup>, Option<i64>) -> bool) -> Run {
    let namespaces = run.rows.columns().first().and_then(|c| c.as_primitive_opt::<Int64Type>());
    keep(run, |row| !is_gone(run.key_groups.get(row).copied(), namespaces.map(|n| n.value(row))))
}

fn keep(run: &Run, is_kept: impl Fn(usize) -> bool) -> Run {
    let kept: Vec<bool> = (0..run.rows.num_rows()).map(is_kept).collect();
    let key_groups = run.key_groups.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(g, _)| *g);
    let rows = filter_record_batch(&run.rows, &BooleanArray::from(kept.clone()));
    Run { key_groups: key_groups.collect(), rows: rows.expect("the mask is as long as the run") }
}

/// All runs as one, by key group; of rows that take each other's place, the last.
fn merged(runs: &[Run], replaces_by: &[usize]) -> Option<Run> {
    let schema = runs.first()?.rows.schema();
    let rows = concat_batches(&schema, runs.iter().map(|r| &r.rows)).expect("runs of a table are alike");
    let key_groups: Vec<KeyGroup> = runs.iter().flat_map(|r| r.key_groups.iter().copied()).collect();
    let mut order: Vec<u32> = newest(&rows, replaces_by);
    order.sort_by_key(|row| key_groups.get(*row as usize));
    let key_groups = order.iter().filter_map(|row| key_groups.get(*row as usize).copied()).collect();
    let rows = take_record_batch(&rows, &UInt32Array::from(order)).expect("the rows are there");
    Some(Run { key_groups, rows })
}

fn newest(rows: &RecordBatch, replaces_by: &[usize]) -> Vec<u32> {
    let all = 0..rows.num_rows() as u32;
    if replaces_by.is_empty() {
        return all.collect();
    }
    let keys: Vec<_> = replaces_by.iter().map(|c| rows.column(*c).clone()).collect();
    let fields = keys.iter().map(|k| SortField::new(k.data_type().clone())).collect();
    let converter = RowConverter::new(fields).expect("keys have an order");
    let keys = converter.convert_columns(&keys).expect("keys have an order");
    let mut seen = HashSet::new();
    let mut newest: Vec<u32> = all.rev().filter(|row| seen.insert(keys.row(*row as usize).owned())).collect();
    newest.reverse();
    newest
}

struct Reader<'a> {
    snapshot: &'a Snapshot,
    worker: usize,
    assignment: &'a KeyGroupAssignment,
}

impl Reader<'_> {
    fn owned(&self, delta: &TableDelta) -> Option<TableDelta> {
        let runs = match delta.kind {
            TableKind::Keyed => {
                let is_foreign =
                    |group: Option<KeyGroup>, _| group.is_some_and(|g| !self.assignment.owns(self.worker, g));
                delta.runs.iter().map(|run| retain(run, is_foreign)).collect()
            }
            TableKind::Broadcast => delta.runs.clone(),
            // All to one worker is one way to spread a list.
            TableKind::Single | TableKind::Split if self.worker == 0 => delta.runs.clone(),
            TableKind::Single | TableKind::Split => return None,
        };
        Some(TableDelta { runs, tombstones: vec![], ..delta.clone() })
    }
}

impl SnapshotReader for Reader<'_> {
    fn deltas(&self, table: &str) -> Vec<TableDelta> {
        let deltas = self.snapshot.deltas.iter().map(|kept| &kept.delta);
        deltas.filter(|d| d.table == table).filter_map(|delta| self.owned(delta)).collect()
    }
}
