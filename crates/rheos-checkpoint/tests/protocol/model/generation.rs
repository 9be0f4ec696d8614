//! One generation: the edge that carries decisions out, at any pace and in any order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;

use rheos_checkpoint::coordinator::{
    Config, Coordinator, Decision, Event, GenerationEnd, SinkConfig, SourceLook, Start, WriteOutcome,
};
use rheos_checkpoint::garbage::{self, StoredObject};
use rheos_checkpoint::journal::{Claim, Entry, EntryNumber, Journal};
use rheos_checkpoint::manifest::{Manifest, OperatorInfo, Program, Repeat, SplitProgress};
use rheos_checkpoint::rescale;
use rheos_core::key::KeyGroupAssignment;
use rheos_core::sink::EpochEnd;
use rheos_core::{Epoch, Error, ErrorKind, Generation, WorkerId};

use super::recovering::Setup;
use super::sinks::{MERGING, UPSERTING};
use super::tables::{self, Table};
use super::workers::{SOURCE, STATEFUL, SplitAt, Worker, disk_full, reading, split_state};
use super::world::{GROUPS, Record, World, assert_each_once, group_of, parse};

/// How a write or a commit goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Works,
    Fails,
    /// Done, but nobody hears of it.
    AnswerLost,
    /// Nobody knows; it is done later, perhaps.
    Delayed,
}

enum Deletion {
    Entry(EntryNumber),
    Retire(EntryNumber),
    Object(String),
}

pub(super) struct Running {
    pub(super) generation: Generation,
    pub(super) over: Option<GenerationEnd>,
    coordinator: Coordinator,
    assignment: KeyGroupAssignment,
    /// The journal as this generation knows it: nobody else writes.
    view: BTreeMap<EntryNumber, Entry>,
    pub(super) workers: Vec<Worker>,
    splits: Vec<SplitAt>,
    /// Splits that the discovery has handed out: the enumerator.
    found: BTreeSet<u32>,
    /// Finished splits that a look has told of.
    told_finished: BTreeSet<u32>,
    cuts: Vec<(Epoch, EpochEnd)>,
    /// Workers stop reading when they have taken the cut of this epoch.
    drains_after: Option<Epoch>,
    /// All windows of the restored state have fired: what is read now is too late.
    has_fired: bool,
    pub(super) todo: Vec<Decision>,
    pub(super) events: Vec<Event>,
    deletions: VecDeque<Deletion>,
    input_ended: bool,
}

impl Running {
    /// With the state of what was restored, read by `rescale`'s plan.
    pub(super) fn start(world: &World, setup: &Setup, n: u32, claim: &Claim, restored: Option<Arc<Manifest>>) -> Self {
        let parallelism = n.try_into().unwrap();
        let before = restored.as_ref().map(|m| m.assignment());
        let before = before.unwrap_or_else(|| KeyGroupAssignment::even(GROUPS, n as usize));
        let assignment = rescale::assign(&before, &rescale::even(parallelism));
        let worker = |w| Worker::new(WorkerId(w), claim.generation, claim.first_epoch);
        let mut workers: Vec<Worker> = (0..n).map(worker).collect();
        let mut splits = vec![SplitAt::Unknown; world.splits.len()];
        let mut found = BTreeSet::new();
        if let Some(manifest) = &restored {
            restore_tables(world, manifest, &assignment, &mut workers);
            let source = &manifest.sources[0];
            found.extend(parse(&source.enumerator));
            found.iter().for_each(|split| splits[*split as usize] = SplitAt::Finished);
            for split in &source.splits {
                let number: u32 = split.id().parse().unwrap();
                found.insert(number);
                splits[number as usize] = match &split.progress {
                    SplitProgress::Pending => SplitAt::Waiting(0),
                    SplitProgress::Reading(position) => SplitAt::Waiting(position.parse().unwrap()),
                    SplitProgress::Finished => SplitAt::Finished,
                };
            }
        }
        let finished = splits.iter().zip(0..).filter(|(at, _)| **at == SplitAt::Finished);
        let told_finished = finished.map(|(_, split)| split).collect();
        let start = Start {
            claim: claim.clone(),
            program: program(),
            assignment: assignment.clone(),
            parallelism,
            restored: restored.clone(),
            savepoints: world.journal().savepoints().map(|(_, name, _)| name.to_string()).collect(),
        };
        workers.iter_mut().for_each(|w| w.is_closed = start.is_draining());
        Self {
            generation: claim.generation,
            over: None,
            coordinator: Coordinator::try_new(config(setup), start, world.now_ms).unwrap(),
            assignment,
            view: world.journal.clone(),
            workers,
            splits,
            found,
            told_finished,
            cuts: Vec::new(),
            drains_after: None,
            has_fired: restored.is_some_and(|m| m.sources[0].watermark_ms == i64::MAX),
            todo: Vec::new(),
            events: Vec::new(),
            deletions: VecDeque::new(),
            input_ended: false,
        }
    }

    /// Tells the coordinator. Cuts are announced at once and in order; everything else waits in `todo`.
    pub(super) fn tell(&mut self, world: &mut World, event: Event) {
        for decision in self.coordinator.on(event, world.now_ms) {
            assert_eq!(self.over, None, "a decision after the end: {decision:?}");
            match decision {
                Decision::Cut { epoch, end } => {
                    self.cuts.push((epoch, end));
                    let announced = self.announced(epoch);
                    self.events.push(announced);
                }
                // Before any part of a later epoch: a worker does one after another.
                Decision::StoreAgain { epoch, workers } => {
                    workers.iter().for_each(|w| self.workers[w.0 as usize].next_report = epoch);
                }
                Decision::Drain => {
                    world.drained = true;
                    let last = self.cuts.last().map(|(epoch, _)| *epoch);
                    self.drains_after = Some(last.unwrap_or(Epoch(0)));
                }
                Decision::EndGeneration(end) => {
                    let defect = matches!(
                        end,
                        GenerationEnd::Defect(_)
                            | GenerationEnd::Stalled(_)
                            | GenerationEnd::StopIncomplete { .. }
                            | GenerationEnd::Failed(_)
                    );
                    assert!(!defect, "{end:?}");
                    self.over = Some(end);
                }
                other => self.todo.push(other),
            }
        }
    }

    fn announced(&mut self, epoch: Epoch) -> Event {
        let numbered = || (0_u32..).zip(&self.splits);
        let open = |(split, at): (u32, &SplitAt)| match at {
            SplitAt::Waiting(position) | SplitAt::Taken(position) => Some(split_state(split, reading(*position))),
            SplitAt::Unknown | SplitAt::Finished => None,
        };
        let name = |split: u32| format!("{split:04}");
        let taken = numbered().filter(|(_, at)| matches!(at, SplitAt::Taken(_))).map(|(split, _)| name(split));
        let finished = numbered().filter(|(s, at)| **at == SplitAt::Finished && !self.told_finished.contains(s));
        let finished: Vec<u32> = finished.map(|(split, _)| split).collect();
        let look = SourceLook {
            operator: SOURCE.into(),
            enumerated: self.found.len() == self.splits.len(),
            enumerator: self.found.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
            sequences: Vec::new(),
            splits: numbered().filter_map(open).collect(),
            taken: taken.collect(),
            finished: finished.iter().copied().map(name).collect(),
        };
        self.told_finished.extend(finished);
        Event::Announced { epoch, wall_time_ms: 0, processing_time_ms: 0, sources: vec![look] }
    }

    /// The cut that a worker has not taken yet.
    fn next_cut(&self, worker: usize) -> Option<(Epoch, EpochEnd)> {
        self.cuts.iter().find(|(epoch, _)| *epoch >= self.workers[worker].epoch).copied()
    }

    fn has_ended(&self, worker: usize) -> bool {
        self.cuts.last().is_some_and(|(epoch, end)| *end == EpochEnd::Last && *epoch < self.workers[worker].epoch)
    }

    /// A worker reads a record, or looks for more to read.
    pub(super) fn read(&mut self, world: &World, worker: usize) {
        // The source may have forgotten what a replaced generation would read.
        if !world.belongs_to(self.generation) || self.has_ended(worker) || self.input_ended {
            return;
        }
        if self.drains_after.is_some_and(|epoch| epoch < self.workers[worker].epoch) {
            self.workers[worker].is_closed = true;
        }
        if !self.workers[worker].is_closed {
            self.discover(worker);
            if let Some(record) = self.workers[worker].read(world, &mut self.splits) {
                assert!(!self.has_fired, "{record:?} is read behind the end of time: it is late and lost");
                self.process(worker, record);
            }
        }
        let all_closed = self.workers.iter().all(|w| w.is_closed);
        let all_read = self.splits.iter().all(|s| *s == SplitAt::Finished);
        if all_closed || (all_read && self.workers.iter().all(Worker::is_idle)) {
            self.input_ended = true;
            self.events.push(Event::InputEnded);
        }
    }

    /// The next split is found when there is none to hand out, or a little before.
    fn discover(&mut self, worker: usize) {
        let waiting = self.splits.iter().any(|s| matches!(s, SplitAt::Waiting(_)));
        let next = self.splits.iter().position(|s| *s == SplitAt::Unknown);
        if let Some(next) = next.filter(|n| !waiting || (n + worker).is_multiple_of(5)) {
            self.splits[next] = SplitAt::Waiting(0);
            self.found.insert(next as u32);
        }
    }

    fn process(&mut self, reader: usize, record: Record) {
        let epoch = self.workers[reader].epoch;
        let owner = (0..self.workers.len()).find(|w| self.assignment.owns(*w, group_of(record))).unwrap();
        self.workers[reader].process(epoch, Table::Split, record);
        self.workers[owner].process(epoch, Table::Keyed, record);
        self.workers[owner].emit(epoch, record);
        self.workers[0].process(epoch, Table::Single, record);
        self.workers[0].process(epoch, Table::Broadcast, record);
    }

    pub(super) fn cut(&mut self, worker: usize) {
        if self.next_cut(worker).is_some() {
            let all_read = self.splits.iter().all(|s| *s == SplitAt::Finished);
            let ended = self.workers[worker].is_closed || all_read;
            self.workers[worker].cut(if ended { i64::MAX } else { 0 });
        }
    }

    /// Stores an epoch once no worker can add to it.
    pub(super) fn store(&mut self, world: &mut World, worker: usize, fails: bool) {
        let closed = self.workers.iter().map(|w| w.epoch).min().unwrap_or_default();
        if self.workers[worker].next_report < closed {
            let report = self.workers[worker].store(world, &self.assignment, fails);
            self.events.push(Event::Report(report));
        }
    }

    pub(super) fn compact(&mut self, world: &mut World, worker: usize, how: u8) {
        self.workers[worker].compact(world, &self.assignment, how);
    }

    pub(super) fn deliver(&mut self, world: &mut World, at: usize) {
        if !self.events.is_empty() {
            let event = self.events.remove(at % self.events.len());
            self.tell(world, event);
        }
    }

    /// Carries out one decision.
    pub(super) fn carry_out(&mut self, world: &mut World, at: usize, fate: Fate) {
        if self.todo.is_empty() {
            return;
        }
        match self.todo.remove(at % self.todo.len()) {
            Decision::Write { number, entry } => {
                let outcome = self.write(world, number, entry, fate);
                self.events.push(Event::Written { number, outcome });
            }
            Decision::Commit(commit) => {
                let (operator, release) = (commit.fence.owner.operator.clone(), commit.fence.release);
                if fate != Fate::Fails {
                    world.commit(&commit, fate != Fate::Works);
                }
                self.events.push(match fate {
                    Fate::Works => Event::Committed { operator, release },
                    _ => Event::CommitFailed { operator, release, error: disk_full() },
                });
            }
            Decision::Acknowledge(manifest) => world.acknowledge(&manifest),
            Decision::CheckpointFailed { .. } | Decision::CommitFailed { .. } => {}
            Decision::Savepoint { result, .. } => {
                if let Ok(number) = result {
                    let kept = matches!(self.view.get(&number), Some(Entry::Manifest(m)) if m.savepoint.is_some());
                    assert!(kept, "a savepoint that is not there");
                }
            }
            Decision::Cut { .. } | Decision::StoreAgain { .. } | Decision::Drain | Decision::EndGeneration(_) => {
                unreachable!("dealt with at once")
            }
        }
    }

    fn write(&mut self, world: &mut World, number: EntryNumber, entry: Entry, fate: Fate) -> WriteOutcome {
        let lost = || Error::new(ErrorKind::External, 203, "connection lost");
        if fate == Fate::Fails {
            return WriteOutcome::Failed(disk_full());
        }
        if fate == Fate::Delayed {
            world.delayed.push((number, entry));
            return WriteOutcome::Unknown(lost());
        }
        let found = world.put(number, &entry);
        if fate == Fate::AnswerLost {
            return WriteOutcome::Unknown(lost());
        }
        if let Err(found) = found
            && let Err(error) = Journal::settle_taken(number, &found, &entry)
        {
            assert!(["R0605", "R0613"].contains(&error.code().as_str()));
            return WriteOutcome::Taken(error);
        }
        if !world.bear_witness(number, &entry) {
            return WriteOutcome::Taken(lost());
        }
        self.view.insert(number, entry);
        WriteOutcome::Written
    }

    pub(super) fn collect(&mut self, world: &World) {
        let listed = world.objects.iter();
        let listed: Vec<_> = listed
            .map(|(name, o)| StoredObject { name: name.clone(), generation: o.generation, epoch: o.epoch })
            .collect();
        let view = Journal::new(self.view.iter().map(|(n, e)| (*n, e.clone())), None);
        let garbage = garbage::collect(&view, self.generation, &self.coordinator.protected(), &listed);
        self.deletions.extend(garbage.entries.into_iter().map(Deletion::Entry));
        self.deletions.extend(garbage.retired.into_iter().map(Deletion::Retire));
        self.deletions.extend(garbage.objects.into_iter().map(Deletion::Object));
    }

    pub(super) fn delete(&mut self, world: &mut World) -> bool {
        match self.deletions.pop_front() {
            Some(Deletion::Entry(number)) => {
                world.delete_entry(number);
                self.view.remove(&number);
            }
            Some(Deletion::Retire(number)) => {
                world.retire_entry(number);
                self.view.insert(number, Entry::Retired);
            }
            Some(Deletion::Object(name)) => world.delete_object(&name),
            None => return false,
        }
        true
    }
}

fn program() -> Program {
    let info = |id: &str| OperatorInfo { id: id.into(), name: id.into(), facts: Vec::new() };
    let operators = [MERGING, SOURCE, STATEFUL, UPSERTING].map(info).into();
    Program { fingerprint: "model".into(), context: Vec::new(), operators }
}

fn config(setup: &Setup) -> Config {
    let sink = |operator: &str, repeat| SinkConfig {
        operator: operator.into(),
        repeat,
        commit_interval_ms: setup.commit_interval_ms,
    };
    Config {
        interval_ms: NonZeroU64::new(100).unwrap(),
        in_flight_max: NonZeroUsize::new(setup.in_flight_max).unwrap(),
        backoff_ms_min: NonZeroU64::new(50).unwrap(),
        backoff_ms_max: 400,
        answer_ms_max: u64::MAX,
        stop_ms_max: u64::MAX,
        sinks: vec![sink(MERGING, Repeat::Duplicates), sink(UPSERTING, Repeat::Replaces)],
    }
}

/// Hands the state out by `rescale`'s plan, and checks that each worker got its share.
fn restore_tables(world: &World, manifest: &Manifest, assignment: &KeyGroupAssignment, workers: &mut [Worker]) {
    let read = world.read_before(manifest);
    let plans = rescale::plan(manifest, assignment, (workers.len() as u32).try_into().unwrap());
    let mut together: BTreeMap<Table, Vec<Record>> = BTreeMap::new();
    for ((worker, plan), number) in workers.iter_mut().zip(&plans).zip(0..) {
        let mut buffer = Vec::new();
        for table in Table::ALL {
            let mut segments = Vec::new();
            for read in plan.reads.iter().filter(|r| r.segment.table == table.name()) {
                let stored = &world.objects[&read.object];
                assert!(!stored.damaged, "restored from the damaged object {}", read.object);
                segments.push((
                    read.unit,
                    read.segment.clone(),
                    stored.piece(read.segment.offset),
                    read.groups.clone(),
                ));
            }
            let rows = tables::apply(table, segments);
            match table {
                Table::Broadcast => assert_each_once(rows, &table.expected(&read), "restored rules of each worker"),
                Table::Single => assert!(number == 0 || rows.is_empty(), "worker {number} has what is worker 0's"),
                Table::Keyed => {
                    let mine = |r: &Record| assignment.owns(number, group_of(*r));
                    assert!(rows.iter().all(mine), "rows of another worker's groups");
                    together.entry(table).or_default().extend(rows);
                    continue;
                }
                Table::Split => {
                    together.entry(table).or_default().extend(&rows);
                    buffer = rows;
                    continue;
                }
            }
            if table == Table::Single && number == 0 {
                let single = plan.reads.iter().filter(|r| r.segment.table == table.name());
                let rows = single.flat_map(|r| world.objects[&r.object].piece(r.segment.offset).rows).collect();
                assert_each_once(rows, &table.expected(&read), "restored single table");
            }
        }
        worker.restore(plan, buffer);
    }
    for (table, rows) in together {
        assert_each_once(rows, &table.expected(&read), &format!("restored table {}", table.name()));
    }
}
