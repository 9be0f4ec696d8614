//! Rows, deltas and manifests of tests.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use rheos_checkpoint::journal::{Claim, Entry, EntryNumber, Nonce};
use rheos_checkpoint::manifest::{JobPhase, Manifest, ObjectRef, Program, owner_ranges};
use rheos_core::key::{KEY_HASH_VERSION, KeyGroup, KeyGroupAssignment};
use rheos_core::state::{Run, StateDelta, TableDelta, TableKind, Tombstone};
use rheos_core::{Epoch, Generation, JobId};

/// A row of a test: its key group, its namespace, and a number that no other row has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) group: u16,
    pub(crate) namespace: i64,
    pub(crate) id: i64,
}

pub(crate) fn row(group: u16, namespace: i64, id: i64) -> Row {
    Row { group, namespace, id }
}

/// Longer than what a view holds by itself.
fn text(id: i64) -> String {
    format!("the text of row number {id}")
}

pub(crate) fn run(kind: TableKind, rows: &[Row]) -> Run {
    let schema = Schema::new(vec![
        Field::new("namespace", DataType::Int64, false),
        Field::new("id", DataType::Int64, false),
        Field::new("text", DataType::Utf8View, true),
    ]);
    let ints = |f: fn(&Row) -> i64| Arc::new(rows.iter().map(f).collect::<Int64Array>());
    let texts: StringViewArray = rows.iter().map(|r| (r.id % 5 != 0).then(|| text(r.id))).collect();
    let rows_of = RecordBatch::try_new(Arc::new(schema), vec![ints(|r| r.namespace), ints(|r| r.id), Arc::new(texts)]);
    let keyed = kind == TableKind::Keyed;
    let key_groups = if keyed { rows.iter().map(|r| KeyGroup(r.group)).collect() } else { vec![] };
    Run { key_groups, rows: rows_of.unwrap() }
}

pub(crate) fn delta(table: &str, kind: TableKind, tombstones: &[Tombstone], runs: &[&[Row]]) -> TableDelta {
    TableDelta {
        table: table.into(),
        kind,
        layout: "test/v1".into(),
        replaces_by: vec![],
        gone_by: None,
        tombstones: tombstones.to_vec(),
        runs: runs.iter().map(|r| run(kind, r)).collect(),
    }
}

pub(crate) fn of(tables: Vec<TableDelta>) -> StateDelta {
    StateDelta { tables }
}

/// The rows of deltas, in their order. Checks that the texts are those of the rows.
pub(crate) fn rows(deltas: &[TableDelta]) -> Vec<Row> {
    let mut found = vec![];
    for run in deltas.iter().flat_map(|d| &d.runs) {
        let int = |c: usize| run.rows.column(c).as_primitive::<Int64Type>();
        let texts = run.rows.column(2).as_string_view();
        for at in 0..run.rows.num_rows() {
            let id = int(1).value(at);
            let expected = (id % 5 != 0).then(|| text(id));
            assert_eq!(texts.is_valid(at).then(|| texts.value(at).to_string()), expected);
            let group = run.key_groups.get(at).map_or(0, |g| g.0);
            found.push(row(group, int(0).value(at), id));
        }
    }
    found
}

/// A manifest of state alone; checks that it fits together.
pub(crate) fn manifest(
    generation: u64,
    epoch: u64,
    assignment: &KeyGroupAssignment,
    workers: u32,
    objects: Vec<ObjectRef>,
) -> Manifest {
    let manifest = Manifest {
        entry: EntryNumber(generation + 1),
        generation: Generation(generation),
        epoch: Epoch(epoch),
        phase: JobPhase::Running,
        savepoint: None,
        wall_time_ms: 0,
        processing_time_ms: 0,
        program: Program { fingerprint: "f".into(), context: vec![], operators: vec![] },
        parallelism: NonZeroU32::new(workers).unwrap(),
        key_hash_version: KEY_HASH_VERSION,
        owners: owner_ranges(assignment),
        objects,
        sources: vec![],
        sinks: vec![],
        counters: BTreeMap::new(),
        watermarks_ms: BTreeMap::new(),
    };
    manifest.check().unwrap();
    manifest
}

/// Claims of several starters for the same number differ in their nonce.
pub(crate) fn claim(generation: u64, nonce: u128) -> Entry {
    claim_of(generation, nonce, 7)
}

pub(crate) fn claim_of(generation: u64, nonce: u128, job: u128) -> Entry {
    Entry::Claim(Claim {
        generation: Generation(generation),
        nonce: Nonce(nonce),
        job: JobId(job),
        restored: None,
        first_epoch: Epoch(0),
        checkpoints_kept: NonZeroU32::MIN,
        damaged: vec![],
    })
}
