//! Random histories of a job: epochs of several workers, compactions, restores at other parallelism. What is read is compared
//! with a model that keeps all rows in a list and takes tombstones at their word.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use proptest::prelude::*;
use rheos_checkpoint::manifest::{KeyGroupSet, Manifest, ObjectRef, Segment};
use rheos_checkpoint::recovery::SegmentCheck;
use rheos_checkpoint::rescale;
use rheos_core::key::{KeyGroup, KeyGroupAssignment};
use rheos_core::state::{SnapshotReader, StateDelta, TableDelta, TableKind, Tombstone};
use rheos_core::{Epoch, Generation, OperatorId, WorkerId};
use rheos_state::compact::{self, Policy, Step, Unmerged};
use rheos_state::holdings::Holdings;
use rheos_state::journal;
use rheos_state::kept::Kept;
use rheos_state::names::ObjectName;
use rheos_state::object::{self, Compression, WriteContext};
use rheos_state::restore::restore;
use rheos_state::spare::Spare;
use rheos_state::store::{CheckpointStore, MemoryStore};

use crate::tables::{Row, delta, manifest, row, rows};

const GROUPS: u16 = 12;
const TABLES: [(&str, &str, TableKind); 7] = [
    ("aggregate-1", "fired", TableKind::Keyed),
    ("aggregate-1", "slices", TableKind::Keyed),
    ("join-2", "left", TableKind::Keyed),
    ("log-3", "splits", TableKind::Split),
    ("sort-4", "rows", TableKind::Single),
    ("session-5", "sessions", TableKind::Keyed),
    ("join-6", "rows", TableKind::Keyed),
];
/// These tables' rows take the place of earlier ones with the same namespace, which is in one key group only.
const UPSERTS: [usize; 2] = [5, CHANGES];
/// Here some rows say that the earlier one is gone: those with id 0.
const CHANGES: usize = 6;
/// Keys from here on go in every second epoch.
const PASSING: i64 = 1000;

/// One worker's change of one table in one epoch.
#[derive(Debug, Clone)]
struct Change {
    table: usize,
    worker: u32,
    tombstone: Option<Tombstone>,
    rows: Vec<(u16, i64)>,
}

#[derive(Debug, Clone)]
struct EpochOf {
    changes: Vec<Change>,
    compacted: bool,
    /// Steps of a compaction that was chosen before the epoch and is carried out so far behind it; the others never are.
    steps: usize,
}

#[derive(Debug, Clone)]
struct GenerationOf {
    workers: u32,
    /// Whether key groups stay where they were, as far as they can.
    moved: bool,
    epochs: Vec<EpochOf>,
}

fn histories() -> impl Strategy<Value = Vec<GenerationOf>> {
    let tombstone = prop_oneof![
        3 => Just(None),
        3 => (0..20_i64).prop_map(|n| Some(Tombstone::NamespacesUpTo(n))),
        1 => Just(Some(Tombstone::All)),
    ];
    let new_rows = prop::collection::vec((0..GROUPS, 0..25_i64), 0..8);
    let change = (0..TABLES.len(), 0..4_u32, tombstone, new_rows).prop_map(|(table, worker, tombstone, rows)| Change {
        table,
        worker,
        tombstone,
        rows,
    });
    let steps = prop_oneof![2 => Just(0_usize), 1 => 1..4_usize];
    let epoch = (prop::collection::vec(change, 0..8), prop::bool::weighted(0.3), steps)
        .prop_map(|(changes, compacted, steps)| EpochOf { changes, compacted, steps });
    let generation = (1..5_u32, any::<bool>(), prop::collection::vec(epoch, 1..7))
        .prop_map(|(workers, moved, epochs)| GenerationOf { workers, moved, epochs });
    prop::collection::vec(generation, 1..5)
}

/// The job, and beside it the model.
struct Job {
    store: MemoryStore,
    policy: Policy,
    /// Of epochs, in turn.
    compressions: Vec<Compression>,
    assignment: KeyGroupAssignment,
    generation: u64,
    workers: Vec<Holdings>,
    epoch: u64,
    next_id: i64,
    merges: u32,
    /// By table: who holds a row (of split tables), and the row; in the order of epochs.
    model: BTreeMap<usize, Vec<(u32, Row)>>,
}

impl Job {
    fn new(workers: u32) -> Self {
        Self {
            store: MemoryStore::new(),
            policy: Policy {
                runs_max: 3,
                merge_min: 2,
                merge_some_min: 2,
                merge_all_min: 2,
                merge_all_growth: 1,
                run_bytes_min: 600,
                dead_bytes_free: 30_000,
                step_bytes: 3_000,
            },
            compressions: vec![Compression::None, Compression::Lz4, Compression::Zstd],
            assignment: KeyGroupAssignment::even(GROUPS, workers as usize),
            generation: 1,
            workers: (0..workers).map(|w| Holdings::new(WorkerId(w))).collect(),
            epoch: 0,
            next_id: 0,
            merges: 0,
            model: BTreeMap::new(),
        }
    }

    fn owned(&self, worker: u32) -> KeyGroupSet {
        self.assignment.groups_of(worker as usize).into_iter().collect()
    }

    fn name(&self, worker: u32, merge: Option<u32>) -> ObjectName {
        ObjectName {
            generation: Generation(self.generation),
            worker: WorkerId(worker),
            epoch: Epoch(self.epoch),
            merge,
        }
    }

    fn run_epoch(&mut self, changes: &[Change]) {
        // By worker and table: tombstones, rows.
        let mut of_epoch: BTreeMap<(u32, usize), (Vec<Tombstone>, Vec<Row>)> = BTreeMap::new();
        for change in changes {
            let kind = TABLES[change.table].2;
            let writer = if kind == TableKind::Single { 0 } else { change.worker % self.workers.len() as u32 };
            of_epoch.entry((writer, change.table)).or_default().0.extend(change.tombstone);
            for (group, namespace) in &change.rows {
                let (group, worker) = match kind {
                    TableKind::Keyed => (*group, self.assignment.owners()[usize::from(*group)]),
                    _ => (0, writer),
                };
                self.next_id += 1;
                if UPSERTS.contains(&change.table) {
                    let group = (namespace % i64::from(GROUPS)) as u16;
                    let worker = self.assignment.owners()[usize::from(group)];
                    let new = &mut of_epoch.entry((worker, change.table)).or_default().1;
                    // A key comes once in an epoch.
                    new.retain(|r| r.namespace != *namespace);
                    let goes = if *namespace < PASSING { self.next_id % 3 == 0 } else { self.epoch % 2 == 1 };
                    let is_gone = change.table == CHANGES && goes;
                    new.push(row(group, *namespace, if is_gone { 0 } else { self.next_id }));
                    continue;
                }
                of_epoch.entry((worker, change.table)).or_default().1.push(row(group, *namespace, self.next_id));
            }
        }
        for ((worker, table), (tombstones, new)) in &of_epoch {
            self.change_model(*worker, *table, tombstones, new);
        }
        for worker in 0..self.workers.len() as u32 {
            let mut deltas: BTreeMap<&str, StateDelta> = BTreeMap::new();
            for ((_, table), (tombstones, new)) in of_epoch.iter().filter(|((w, _), _)| *w == worker) {
                let (operator, name, kind) = TABLES[*table];
                let (a, b) = new.split_at(new.len() / 2);
                let replaces_by = if UPSERTS.contains(table) { vec![0] } else { vec![] };
                let gone_by = (*table == CHANGES).then_some(1);
                let delta = TableDelta { replaces_by, gone_by, ..delta(name, kind, tombstones, &[a, b]) };
                deltas.entry(operator).or_default().tables.push(delta);
            }
            let deltas: Vec<(OperatorId, StateDelta)> = deltas.into_iter().rev().map(|(o, d)| (o.into(), d)).collect();
            let compression = self.compressions[self.epoch as usize % self.compressions.len()];
            let context = WriteContext { name: self.name(worker, None), groups: self.owned(worker), compression };
            if let Some(written) = object::write(&context, &deltas).unwrap() {
                written.store(&self.store).unwrap();
                assert_eq!(
                    object::read_index(&self.store, &written.object.name).unwrap().unwrap(),
                    written.object.segments
                );
                self.workers[worker as usize].add(&written);
            }
        }
        self.epoch += 1;
    }

    fn change_model(&mut self, worker: u32, table: usize, tombstones: &[Tombstone], new: &[Row]) {
        let kind = TABLES[table].2;
        let held = self.model.entry(table).or_default();
        let reached = |holder: u32, row: &Row| match kind {
            TableKind::Keyed => self.assignment.owns(worker as usize, KeyGroup(row.group)),
            TableKind::Split => holder == worker,
            _ => true,
        };
        for tombstone in tombstones {
            held.retain(|(holder, row)| {
                let takes = match tombstone {
                    Tombstone::All => true,
                    Tombstone::NamespacesUpTo(bound) => row.namespace <= *bound,
                };
                !(takes && reached(*holder, row))
            });
        }
        if UPSERTS.contains(&table) {
            held.retain(|(_, old)| new.iter().all(|new| new.namespace != old.namespace));
        }
        held.extend(new.iter().filter(|row| row.id != 0).map(|row| (worker, *row)));
    }

    fn compact(&mut self, worker: u32, rewrites: &BTreeSet<(OperatorId, String)>) -> bool {
        let compaction =
            compact::choose(&self.workers[worker as usize], &self.policy, rewrites, &BTreeSet::new(), &|_, _| None);
        compaction.drop_dead(&mut self.workers[worker as usize]);
        compaction.steps.iter().for_each(|step| self.merge(worker, step));
        !compaction.is_empty()
    }

    fn merge(&mut self, worker: u32, step: &Step) {
        let name = self.name(worker, Some(self.merges));
        self.merges += 1;
        let merged =
            compact::merge(&self.store, step, name, Compression::Lz4, &|_, _| None, &|| false, &mut Spare::default())
                .unwrap();
        merged.iter().for_each(|object| object.store(&self.store).unwrap());
        step.install(&mut self.workers[worker as usize], merged.as_ref());
    }

    /// An epoch ends while merges that were chosen before are under way.
    fn run_epoch_beside_merges(&mut self, changes: &[Change], steps: usize) {
        let choose = |holdings: &mut Holdings| {
            let compaction = compact::choose(holdings, &self.policy, &BTreeSet::new(), &BTreeSet::new(), &|_, _| None);
            compaction.drop_dead(holdings);
            compaction.steps
        };
        let chosen: Vec<Vec<Step>> = self.workers.iter_mut().map(choose).collect();
        self.run_epoch(changes);
        for (worker, chosen) in chosen.iter().enumerate() {
            chosen.iter().take(steps).for_each(|step| self.merge(worker as u32, step));
        }
    }

    /// Until nothing is left to do; then few runs are left, and little that is dead.
    fn compact_all(&mut self) {
        for worker in 0..self.workers.len() as u32 {
            let mut rounds = 0;
            while self.compact(worker, &BTreeSet::new()) {
                rounds += 1;
                assert!(rounds < 50, "compaction does not come to an end");
            }
            let holdings = &self.workers[worker as usize];
            let mut runs: BTreeMap<(&OperatorId, &str, u16), usize> = BTreeMap::new();
            for held in holdings.segments() {
                let one = KeyGroupSet::range(0, 0);
                let groups = if held.segment.groups.is_empty() { &one } else { &held.segment.groups };
                for group in groups.iter() {
                    *runs.entry((&held.segment.operator, &held.segment.table, group.0)).or_default() += 1;
                }
            }
            assert!(runs.values().all(|n| *n <= self.policy.runs_max), "{runs:?}");
            let live: u64 = holdings.segments().iter().map(|h| h.segment.length_bytes).sum();
            assert!(holdings.stored_bytes() <= 2 * live + self.policy.dead_bytes_free);
        }
    }

    /// As the coordinator puts reports together.
    fn manifest(&self) -> Manifest {
        let mut objects: BTreeMap<String, (ObjectRef, BTreeMap<u64, Segment>)> = BTreeMap::new();
        for (worker, holdings) in self.workers.iter().enumerate() {
            for mut object in holdings.objects() {
                let segments = std::mem::take(&mut object.segments);
                let (known, all) =
                    objects.entry(object.name.clone()).or_insert_with(|| (object.clone(), BTreeMap::new()));
                assert_eq!(*known, object);
                for segment in segments {
                    let none = Segment { groups: KeyGroupSet::default(), ..segment.clone() };
                    let part = all.entry(segment.offset).or_insert(none);
                    part.holder = WorkerId(worker as u32);
                    part.groups = part.groups.union(&segment.groups);
                }
            }
        }
        let whole = |(mut object, segments): (ObjectRef, BTreeMap<u64, Segment>)| {
            object.segments = segments.into_values().collect();
            object
        };
        let objects = objects.into_values().map(whole).collect();
        manifest(self.generation, self.epoch, &self.assignment, self.workers.len() as u32, objects)
    }

    /// Reads the checkpoint with so many workers, compares, and goes on from there.
    fn restore(&mut self, workers: u32, moved: bool) {
        let manifest = self.manifest();
        let checks = journal::verify(&self.store, &manifest.objects).unwrap();
        assert!(checks.values().all(|c| *c == SegmentCheck::Whole));
        self.delete_unnamed(&manifest);
        self.assignment = match moved {
            true => KeyGroupAssignment::from_owners((0..u32::from(GROUPS)).map(|g| g % workers).collect()),
            false => rescale::assign(&self.assignment, &rescale::even(NonZeroU32::new(workers).unwrap())),
        };
        self.generation += 1;
        for (holder, _) in self.model.values_mut().flatten() {
            *holder %= workers;
        }
        self.workers = vec![];
        let plans = rescale::plan(&manifest, &self.assignment, NonZeroU32::new(workers).unwrap());
        for (worker, plan) in plans.iter().enumerate() {
            let mut restored =
                restore(&self.store, &Kept::default(), &manifest, plan, WorkerId(worker as u32)).unwrap();
            self.workers.push(restored.holdings.clone());
            for operator in TABLES.iter().map(|t| t.0).collect::<BTreeSet<_>>() {
                let state = restored.take(&operator.into());
                for (at, (_, table, kind)) in TABLES.iter().enumerate().filter(|(_, t)| t.0 == operator) {
                    self.compare(worker as u32, at, *kind, &rows(&state.deltas(table)));
                }
            }
            assert_eq!(restored.left().count(), 0);
            if !plan.rewrites.is_empty() {
                self.compact(worker as u32, &plan.rewrites);
            }
        }
    }

    fn compare(&self, worker: u32, table: usize, kind: TableKind, read: &[Row]) {
        let expected = self.model.get(&table).into_iter().flatten();
        let mine = expected.filter(|(holder, row)| match kind {
            TableKind::Keyed => self.assignment.owns(worker as usize, KeyGroup(row.group)),
            TableKind::Split => *holder == worker,
            _ => worker == 0,
        });
        let mut mine: Vec<Row> = mine.map(|(_, row)| *row).collect();
        let mut read = read.to_vec();
        if UPSERTS.contains(&table) {
            // What was replaced may still be there, before what replaced it or said that it is gone.
            let last = |at: &usize| read[at + 1..].iter().all(|later| later.namespace != read[*at].namespace);
            let kept: Vec<Row> = (0..read.len()).filter(last).map(|at| read[at]).collect();
            read = kept.into_iter().filter(|row| row.id != 0).collect();
        }
        // Between key groups, and between units of a split table, there is no order.
        match kind {
            TableKind::Split => {
                mine.sort_by_key(|r| r.id);
                read.sort_by_key(|r| r.id);
            }
            _ => {
                mine.sort_by_key(|r| r.group);
                read.sort_by_key(|r| r.group);
            }
        }
        assert_eq!(read, mine, "table {:?} of worker {worker}", TABLES[table]);
    }

    /// What no manifest names must not be needed.
    fn delete_unnamed(&self, manifest: &Manifest) {
        let named: BTreeSet<&str> = manifest.objects.iter().map(|o| o.name.as_str()).collect();
        for (stored, _) in journal::stored_objects(&self.store).unwrap() {
            if !named.contains(stored.name.as_str()) {
                self.store.delete(&format!("objects/{}", stored.name)).unwrap();
            }
        }
    }
}

#[test]
fn a_damaged_segment_is_left_out_and_the_others_are_merged() {
    let mut job = Job::new(1);
    let rows = |n: i64| Change { table: 1, worker: 0, tombstone: None, rows: vec![(3, n), (7, n)] };
    for n in 0..3 {
        job.run_epoch(&[rows(n)]);
    }
    let bad = job.workers[0].segments()[1].id();
    assert!(job.store.flip_bit(&format!("objects/{}", bad.object), bad.offset as usize + 50, 0));
    let choose = |job: &Job, stuck: &BTreeSet<_>| {
        compact::choose(&job.workers[0], &job.policy, &BTreeSet::new(), stuck, &|_, _| None).steps
    };
    let step = choose(&job, &BTreeSet::new()).remove(0);
    let name = job.name(0, Some(99));
    match compact::merge(&job.store, &step, name, Compression::Lz4, &|_, _| None, &|| false, &mut Spare::default()) {
        Err(Unmerged::Stuck(error, segments)) => {
            assert!(error.message().contains(&bad.object), "{}", error.message());
            assert_eq!((segments.len(), segments.first()), (1, Some(&bad)));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        compact::merge(&job.store, &step, name, Compression::Lz4, &|_, _| None, &|| true, &mut Spare::default()),
        Err(Unmerged::Over)
    ));
    let stuck = BTreeSet::from([bad.clone()]);
    for n in 3..100 {
        job.run_epoch(&[rows(n)]);
        while let Some(step) = choose(&job, &stuck).first().cloned() {
            assert!(!step.reads(&stuck));
            job.merge(0, &step);
        }
        let segments = job.workers[0].segments();
        // One older, the damaged one, and what is newer.
        assert!(segments.len() <= 2 + job.policy.runs_max, "{} segments", segments.len());
        assert!(segments.iter().any(|held| held.id() == bad));
    }
    assert!(job.store.flip_bit(&format!("objects/{}", bad.object), bad.offset as usize + 50, 0));
    job.compact_all();
    job.restore(2, true);
}

/// 100 keys that are written in each of 200 epochs.
#[test]
fn a_merge_keeps_the_newest_of_rows_that_take_each_others_place() {
    let mut job = Job::new(1);
    let keys: Vec<(u16, i64)> = (0..100).map(|n| (0, n)).collect();
    for _ in 0..200 {
        job.run_epoch(&[Change { table: UPSERTS[0], worker: 0, tombstone: None, rows: keys.clone() }]);
        job.compact_all();
        let rows: u64 = job.workers[0].segments().iter().map(|h| h.header.rows).sum();
        assert!(rows <= 100 * (job.policy.runs_max as u64 + 1), "{rows} rows of 100 keys");
    }
    job.restore(3, true);
}

/// 10,000 keys, each of which comes in one epoch and goes in the next: what says so does not gather.
///
/// Runs are like each other by their bytes, so they are written here as merges write them, and are one segment each: a segment
/// of few rows is little but its header, and a merged run in twelve of those would wait for as many bytes as they have.
#[test]
fn a_merge_drops_what_says_that_rows_are_gone() {
    let mut job = Job::new(1);
    job.policy.step_bytes = 1 << 20;
    job.compressions = vec![Compression::Lz4];
    let mut most = 0;
    for epoch in 0..200 {
        let keys: Vec<(u16, i64)> = (0..100).map(|n| (0, PASSING + 100 * (epoch / 2) + n)).collect();
        job.run_epoch(&[Change { table: CHANGES, worker: 0, tombstone: None, rows: keys }]);
        job.compact_all();
        let rows: u64 = job.workers[0].segments().iter().map(|h| h.header.rows).sum();
        most = most.max(rows);
    }
    // Of the 20,000 that are written in all: what came, what says that it is gone, and the next to come.
    assert!(most <= 300, "{most} rows of 100 keys at most");
    assert!(job.model[&CHANGES].is_empty());
    job.restore(3, true);
}

proptest! {
    #![proptest_config(rheos_testkit::cases(200))]

    #[test]
    fn what_is_restored_is_what_the_model_holds(history in histories(), end in 1..5_u32) {
        let mut job = Job::new(history[0].workers);
        for (at, generation) in history.iter().enumerate() {
            if at > 0 {
                job.restore(generation.workers, generation.moved);
            }
            for epoch in &generation.epochs {
                match epoch.steps {
                    0 => job.run_epoch(&epoch.changes),
                    steps => job.run_epoch_beside_merges(&epoch.changes, steps),
                }
                if epoch.compacted {
                    job.compact_all();
                }
            }
        }
        // Twice: the second restore reads what the first one holds, and rewrites.
        job.restore(end, false);
        job.compact_all();
        job.restore(5 - end, true);
    }
}
