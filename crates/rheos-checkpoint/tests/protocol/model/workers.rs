//! The workers of one generation: they read, cut, store and compact, each at its own pace.

use std::collections::{BTreeMap, BTreeSet};

use rheos_checkpoint::coordinator::{Outcome, Report, SinkOutput, Snapshot, SourceCut};
use rheos_checkpoint::manifest::{Checksum, KeyGroupSet, ObjectRef, Segment, SplitProgress, SplitState};
use rheos_checkpoint::rescale::WorkerPlan;
use rheos_core::key::KeyGroupAssignment;
use rheos_core::sink::Committable;
use rheos_core::source::Split;
use rheos_core::{Epoch, Error, ErrorKind, Generation, WorkerId};

use super::sinks::{MERGING, UPSERTING};
use super::tables::{self, Piece, Table};
use super::world::{Record, Stored, World};

/// The source of the modelled job, and the operator that keeps its tables.
pub(super) const SOURCE: &str = "source";
pub(super) const STATEFUL: &str = "stateful";

/// A split of the source as its coordinator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SplitAt {
    /// The discovery has not found it.
    Unknown,
    Waiting(u32),
    Taken(u32),
    Finished,
}

pub(super) fn split_state(split: u32, progress: SplitProgress) -> SplitState {
    let split = Split {
        id: format!("{split:04}"),
        sequence: split,
        not_before_ms: None,
        size_bytes: 0,
        descriptor: "{}".into(),
    };
    SplitState { split, progress, max_event_time_ms: None }
}

pub(super) fn reading(position: u32) -> SplitProgress {
    if position == 0 { SplitProgress::Pending } else { SplitProgress::Reading(position.to_string()) }
}

pub(super) fn disk_full() -> Error {
    Error::new(ErrorKind::External, 203, "disk full")
}

/// What stands still at a cut.
#[derive(Clone)]
struct AtCut {
    split: Option<(u32, u32)>,
    read: u64,
    watermark_ms: i64,
}

pub(super) struct Worker {
    number: WorkerId,
    generation: Generation,
    /// The epoch that it runs in.
    pub(super) epoch: Epoch,
    /// It reads nothing any more: the job is being drained.
    pub(super) is_closed: bool,
    split: Option<(u32, u32)>,
    read: u64,
    cuts: BTreeMap<Epoch, AtCut>,
    /// By epoch: splits read to their end, until a report that was stored.
    finished: Vec<(Epoch, u32)>,
    /// By epoch and table: changes of state, until they are stored.
    delta: BTreeMap<Epoch, BTreeMap<Table, Vec<Record>>>,
    /// All rows of its part of the split table that are stored.
    buffer: Vec<Record>,
    /// The next upload writes the whole split table, and all earlier segments of it are superseded.
    clears_buffer: bool,
    /// The next upload replaces the segments of the split table.
    rewrites: bool,
    /// By epoch: output that has not been staged.
    output: BTreeMap<Epoch, Vec<Record>>,
    staged: Vec<SinkOutput>,
    objects: Vec<ObjectRef>,
    compacted: Option<(ObjectRef, BTreeSet<String>)>,
    compaction_is_done: bool,
    pub(super) next_report: Epoch,
    uploads: u32,
}

impl Worker {
    pub(super) fn new(number: WorkerId, generation: Generation, first_epoch: Epoch) -> Self {
        Self {
            number,
            generation,
            epoch: first_epoch,
            is_closed: false,
            split: None,
            read: 0,
            cuts: BTreeMap::new(),
            finished: Vec::new(),
            delta: BTreeMap::new(),
            buffer: Vec::new(),
            clears_buffer: false,
            rewrites: false,
            output: BTreeMap::new(),
            staged: Vec::new(),
            objects: Vec::new(),
            compacted: None,
            compaction_is_done: false,
            next_report: first_epoch,
            uploads: 0,
        }
    }

    /// Takes over what `plan` names; `buffer` is what was read of the split table.
    pub(super) fn restore(&mut self, plan: &WorkerPlan, buffer: Vec<Record>) {
        for read in plan.reads.iter().filter(|r| r.is_holder) {
            let segment = Segment { groups: read.groups.clone(), ..read.segment.clone() };
            match self.objects.iter_mut().find(|o| o.name == read.object) {
                Some(object) => object.segments.push(segment),
                None => self.objects.push(object(&read.object, vec![segment])),
            }
        }
        self.objects.iter_mut().for_each(|o| o.segments.sort_by_key(|s| s.offset));
        self.buffer = buffer;
        self.rewrites = !plan.rewrites.is_empty();
    }

    pub(super) fn is_idle(&self) -> bool {
        self.split.is_none() || self.is_closed
    }

    /// The next record, or the end of its split.
    pub(super) fn read(&mut self, world: &World, splits: &mut [SplitAt]) -> Option<Record> {
        let (split, index) = match self.split {
            Some(at) => at,
            None => {
                let free = splits.iter().position(|s| matches!(s, SplitAt::Waiting(_)))?;
                let SplitAt::Waiting(position) = splits[free] else { return None };
                splits[free] = SplitAt::Taken(position);
                self.split = Some((free as u32, position));
                return None;
            }
        };
        if index == world.splits[split as usize] {
            splits[split as usize] = SplitAt::Finished;
            self.finished.push((self.epoch, split));
            self.split = None;
            return None;
        }
        assert!(index >= world.forgotten_below(split), "the source has forgotten {index} of split {split}");
        self.split = Some((split, index + 1));
        self.read += 1;
        Some((split, index))
    }

    /// A record of `epoch` has come to where `table` is kept.
    pub(super) fn process(&mut self, epoch: Epoch, table: Table, record: Record) {
        if table.takes(record) {
            self.delta.entry(epoch).or_default().entry(table).or_default().push(record);
        }
    }

    pub(super) fn emit(&mut self, epoch: Epoch, record: Record) {
        self.output.entry(epoch).or_default().push(record);
    }

    pub(super) fn cut(&mut self, watermark_ms: i64) {
        self.cuts.insert(self.epoch, AtCut { split: self.split, read: self.read, watermark_ms });
        self.epoch = self.epoch.next();
    }

    /// Stores the epoch `next_report`, or fails after having written the object.
    pub(super) fn store(&mut self, world: &mut World, assignment: &KeyGroupAssignment, fails: bool) -> Report {
        let epoch = self.next_report;
        self.stage(world, epoch);
        let uploaded = self.upload(world, assignment, epoch);
        let outcome = if fails { Outcome::Failed(disk_full()) } else { self.stored(epoch, uploaded) };
        self.next_report = epoch.next();
        Report { generation: self.generation, worker: self.number, epoch, outcome }
    }

    fn stage(&mut self, world: &mut World, epoch: Epoch) {
        let Some(rows) = self.output.remove(&epoch) else { return };
        for operator in [MERGING, UPSERTING] {
            let id = Committable(format!("g{}-w{}-e{epoch}", self.generation, self.number).into());
            world.target(operator).stage(id.clone(), self.generation, rows.clone());
            self.staged.push(SinkOutput { operator: operator.into(), epoch, committables: vec![id] });
        }
    }

    fn upload(&mut self, world: &mut World, assignment: &KeyGroupAssignment, epoch: Epoch) -> Option<ObjectRef> {
        let first = self.delta.keys().next().copied().filter(|e| *e <= epoch);
        let mut pieces: BTreeMap<Table, Piece> = BTreeMap::new();
        for (table, rows) in self.delta.range(..=epoch).flat_map(|(_, tables)| tables) {
            pieces.entry(*table).or_default().rows.extend(rows);
        }
        if self.clears_buffer || self.rewrites {
            let piece = pieces.entry(Table::Split).or_default();
            piece.clears = true;
            piece.rows.extend(&self.buffer);
        }
        let first = first.unwrap_or(epoch);
        let pieces: Vec<_> = pieces.into_iter().map(|(table, piece)| (table, piece, (first, epoch))).collect();
        (!pieces.is_empty()).then(|| self.write(world, assignment, epoch, pieces))
    }

    fn write(
        &mut self,
        world: &mut World,
        assignment: &KeyGroupAssignment,
        epoch: Epoch,
        pieces: Vec<(Table, Piece, (Epoch, Epoch))>,
    ) -> ObjectRef {
        self.uploads += 1;
        let name = format!("g{}-w{}-n{}", self.generation, self.number, self.uploads);
        let groups: KeyGroupSet = assignment.groups_of(self.number.0 as usize).into_iter().collect();
        let segment = |(i, (table, _, epochs)): (usize, &(Table, Piece, (Epoch, Epoch)))| Segment {
            offset: 10 * i as u64,
            length_bytes: 10,
            checksum: Checksum(i as u64),
            operator: STATEFUL.into(),
            table: table.name().into(),
            kind: table.kind(),
            layout: "records/v1".into(),
            groups: if *table == Table::Keyed { groups.clone() } else { KeyGroupSet::default() },
            first_epoch: epochs.0,
            last_epoch: epochs.1,
            holder: self.number,
        };
        let segments = pieces.iter().enumerate().map(segment).collect();
        let pieces = pieces.into_iter().map(|(_, piece, _)| piece).collect();
        let stored = Stored { generation: self.generation, epoch, pieces, damaged: false };
        assert!(world.objects.insert(name.clone(), stored).is_none(), "two runs wrote the object {name}");
        object(&name, segments)
    }

    fn stored(&mut self, epoch: Epoch, uploaded: Option<ObjectRef>) -> Outcome {
        let rest = self.delta.split_off(&epoch.next());
        let stored = std::mem::replace(&mut self.delta, rest);
        self.buffer.extend(stored.into_values().filter_map(|mut tables| tables.remove(&Table::Split)).flatten());
        if self.rewrites {
            // A tombstone must not reach what another worker has written.
            drop_table(&mut self.objects, Table::Split);
        }
        (self.rewrites, self.clears_buffer) = (false, false);
        self.objects.extend(uploaded);
        let mut holds = BTreeSet::new();
        match self.compacted.take() {
            Some((object, replaced)) if self.compaction_is_done => {
                self.objects.retain(|o| !replaced.contains(&o.name));
                self.objects.push(object);
            }
            Some((object, replaced)) => {
                holds.insert(object.name.clone());
                self.compacted = Some((object, replaced));
            }
            None => {}
        }
        let at = self.cuts.get(&epoch).expect("an epoch is stored after its cut").clone();
        let finished = self.finished.iter().filter(|(e, _)| *e <= epoch);
        let mut splits: Vec<_> = finished.map(|(_, split)| split_state(*split, SplitProgress::Finished)).collect();
        splits.extend(at.split.map(|(split, position)| split_state(split, reading(position))));
        self.finished.retain(|(e, _)| *e > epoch);
        self.cuts = self.cuts.split_off(&epoch);
        Outcome::Stored(Box::new(Snapshot {
            objects: self.objects.clone(),
            sources: vec![SourceCut { operator: SOURCE.into(), watermark_ms: at.watermark_ms, splits }],
            staged: std::mem::take(&mut self.staged),
            counters: [("read".to_string(), at.read)].into(),
            processing_time_ms: 0,
            watermarks_ms: [(SOURCE.into(), at.watermark_ms)].into(),
            holds,
        }))
    }

    /// Begins to merge its objects into one, or declares that done; or has the split table written anew.
    pub(super) fn compact(&mut self, world: &mut World, assignment: &KeyGroupAssignment, how: u8) {
        if how < 100 {
            self.clears_buffer = true;
            return;
        }
        if self.compacted.is_some() {
            self.compaction_is_done = true;
            return;
        }
        if self.objects.len() < 2 || self.rewrites {
            return;
        }
        self.compaction_is_done = false;
        let mut pieces = Vec::new();
        for table in Table::ALL {
            let mut segments = Vec::new();
            for object in &self.objects {
                for segment in object.segments.iter().filter(|s| s.table == table.name()) {
                    // Its successor may have deleted what a replaced generation still reads.
                    let Some(stored) = world.objects.get(&object.name) else { return };
                    let piece = stored.piece(segment.offset);
                    segments.push((self.number, segment.clone(), piece, segment.groups.clone()));
                }
            }
            let first = segments.iter().map(|(_, s, ..)| s.first_epoch).min();
            let last = segments.iter().map(|(_, s, ..)| s.last_epoch).max();
            if let Some(epochs) = first.zip(last) {
                pieces.push((table, Piece { clears: false, rows: tables::apply(table, segments) }, epochs));
            }
        }
        let replaced = self.objects.iter().map(|o| o.name.clone()).collect();
        let merged = self.write(world, assignment, self.next_report, pieces);
        self.compacted = Some((merged, replaced));
    }
}

fn drop_table(objects: &mut Vec<ObjectRef>, table: Table) {
    objects.iter_mut().for_each(|o| o.segments.retain(|s| s.table != table.name()));
    objects.retain(|o| !o.segments.is_empty());
}

pub(super) fn object(name: &str, segments: Vec<Segment>) -> ObjectRef {
    let checksum = Checksum::of(name.as_bytes());
    ObjectRef { name: name.to_string(), length_bytes: 100, checksum, segments }
}
