//! What the operators share about their state: its key groups, the marks of what has fired, and reading it back.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use hashbrown::HashMap;
use rheos_core::key::{KeyGroup, KeyGroupAssignment, hash_keys};
use rheos_core::operator::OperatorInit;
use rheos_core::state::{Run, SnapshotReader, TableDelta, TableKind, Tombstone};
use rheos_core::{Error, ErrorKind, Result};

use crate::evaluation::new_batch;

const FIRED: &str = "fired";
const FIRED_LAYOUT: &str = "window-fired/v1";

/// Rows that a stored table may have beyond twice those that live, before the operator hands it over anew.
const STORED_SPARE_ROWS: usize = 1 << 14;

/// Whether so much of what has been handed over is of no use any more that what lives is to be handed over anew, behind a
/// tombstone. At twice as much, each row is written about once more for each that goes.
pub(crate) fn is_wasteful(stored_rows: usize, live_rows: usize) -> bool {
    stored_rows > live_rows.saturating_mul(2).saturating_add(STORED_SPARE_ROWS)
}

/// How rows that say whose place they take are handed over.
pub(crate) struct Replacing {
    pub(crate) replaces_by: Vec<usize>,
    pub(crate) gone_by: Option<usize>,
    pub(crate) tombstones: Vec<Tombstone>,
}

impl Replacing {
    /// Rows take each other's place by these columns, and `gone_by` says which are gone. Without such columns there is one row at
    /// most, which is all of the table: what was handed over before goes.
    pub(crate) fn by(replaces_by: Vec<usize>, gone_by: usize) -> Self {
        match replaces_by.is_empty() {
            true => Self { replaces_by, gone_by: None, tombstones: vec![Tombstone::All] },
            false => Self { replaces_by, gone_by: Some(gone_by), tombstones: vec![] },
        }
    }
}

/// Refuses, by name, rows in a layout that this version does not read.
pub(crate) fn check_layout(delta: &TableDelta, layout: &str) -> Result<()> {
    if delta.layout == layout {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Corrupt,
        354,
        format!(
            "the stored table '{}' has the layout '{}', but this version reads '{layout}'",
            delta.table, delta.layout
        ),
    )
    .with_hint("restore it with the version that wrote it, or start the job without its state"))
}

/// Key groups of an operator's rows; without keys all is in one table on one worker.
#[derive(Debug, Clone)]
pub(crate) struct StateKeys {
    assignment: KeyGroupAssignment,
    owned: Vec<KeyGroup>,
    kind: TableKind,
    writes: bool,
}

impl StateKeys {
    /// For an operator with so many keys.
    pub(crate) fn new(keys: usize, init: &OperatorInit) -> Self {
        let (owned, kind) = match keys {
            0 => (vec![], TableKind::Single),
            _ => (init.assignment.groups_of(init.worker), TableKind::Keyed),
        };
        let writes = kind == TableKind::Keyed || init.worker == 0;
        Self { assignment: init.assignment.clone(), owned, kind, writes }
    }

    pub(crate) fn kind(&self) -> TableKind {
        self.kind
    }

    /// The key group of each row, as a run of this kind has them.
    pub(crate) fn groups(&self, keys: &[ArrayRef], rows: usize) -> Result<Vec<KeyGroup>> {
        if self.kind != TableKind::Keyed {
            return Ok(vec![]);
        }
        let mut hashes = vec![];
        hash_keys(keys, rows, &mut hashes)?;
        Ok(hashes.iter().map(|hash| self.assignment.group(*hash)).collect())
    }
}

/// How far a worker's windows have fired, in the table `fired`: a row a key group with its watermark, when it rose.
#[derive(Debug)]
pub(crate) struct FiredMarks {
    groups: Vec<KeyGroup>,
    kind: TableKind,
    /// Without keys the marks are worker 0's: another worker has no rows, and its watermark is not theirs.
    writes: bool,
    /// What the last delta said.
    saved_ms: Option<i64>,
}

/// The marks of a snapshot.
#[derive(Debug)]
pub(crate) struct ReadMarks(HashMap<KeyGroup, i64>);

impl FiredMarks {
    pub(crate) fn new(keys: &StateKeys) -> Self {
        Self { groups: keys.owned.clone(), kind: keys.kind, writes: keys.writes, saved_ms: None }
    }

    /// The table's change, if `mark` is news. `None` for what must not be said yet: some groups are behind.
    pub(crate) fn delta(&mut self, mark: Option<i64>) -> Result<Option<TableDelta>> {
        let moved = mark.filter(|mark| self.writes && self.saved_ms != Some(*mark) && *mark > i64::MIN);
        let Some(mark) = moved else { return Ok(None) };
        self.saved_ms = Some(mark);
        let count = if self.kind == TableKind::Keyed { self.groups.len() } else { 1 };
        let schema = Arc::new(Schema::new(vec![Field::new("watermark_ms", DataType::Int64, false)]));
        let rows = new_batch(&schema, vec![Arc::new(Int64Array::from(vec![mark; count]))], count)?;
        let runs = vec![Run { key_groups: self.groups.clone(), rows }];
        let (table, layout) = (FIRED.into(), FIRED_LAYOUT.into());
        // All owned groups are here, so what was said of them before is void.
        Ok(Some(TableDelta {
            table,
            kind: self.kind,
            layout,
            replaces_by: vec![],
            gone_by: None,
            tombstones: vec![Tombstone::All],
            runs,
        }))
    }

    /// The marks of the key groups that a worker owns now.
    pub(crate) fn read(snapshot: &dyn SnapshotReader) -> Result<ReadMarks> {
        let mut marks = HashMap::new();
        for delta in snapshot.deltas(FIRED) {
            check_layout(&delta, FIRED_LAYOUT)?;
            for run in &delta.runs {
                for (row, mark) in run.rows.column(0).as_primitive::<Int64Type>().values().iter().enumerate() {
                    marks.insert(run.key_groups.get(row).copied().unwrap_or(KeyGroup(0)), *mark);
                }
            }
        }
        Ok(ReadMarks(marks))
    }
}

impl ReadMarks {
    /// The mark of a group; the smallest time if nothing is known.
    pub(crate) fn of(&self, group: KeyGroup) -> i64 {
        self.0.get(&group).copied().unwrap_or(i64::MIN)
    }

    /// The mark of the group that is furthest.
    pub(crate) fn highest(&self) -> i64 {
        self.0.values().copied().max().unwrap_or(i64::MIN)
    }
}
