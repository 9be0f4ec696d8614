//! What a worker holds: the segments that make up its state, in the objects of this and of earlier epochs.
//!
//! It grows by an object an epoch and shrinks by compaction; the reports of a worker name all of it. A segment that was
//! restored is held for the key groups that the worker owns, so several workers may hold parts of one.

use std::collections::{BTreeMap, BTreeSet};

use rheos_checkpoint::manifest::{Checksum, KeyGroupSet, ObjectRef, Segment};
use rheos_checkpoint::recovery::SegmentId;
use rheos_core::state::TableKind;
use rheos_core::{OperatorId, WorkerId};

use crate::object::{SegmentHeader, WrittenObject};

/// A segment that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The object that it lies in.
    pub object: String,
    /// What it is; of the key groups, those that the worker holds.
    pub segment: Segment,
    /// What stands before its rows.
    pub header: SegmentHeader,
    /// Split tables: who held it, until what several workers held has been rewritten as one. Tombstones of one unit do not
    /// reach another. Worker 0 for other tables.
    pub unit: WorkerId,
}

impl Held {
    /// The unit of what a worker writes.
    pub(crate) fn unit_of(kind: TableKind, worker: WorkerId) -> WorkerId {
        if kind == TableKind::Split { worker } else { WorkerId(0) }
    }

    /// Where it is.
    pub fn id(&self) -> SegmentId {
        SegmentId { object: self.object.clone(), offset: self.segment.offset }
    }
}

/// All that a worker holds.
#[derive(Debug, Clone)]
pub struct Holdings {
    worker: WorkerId,
    objects: BTreeMap<String, (u64, Checksum)>,
    segments: Vec<Held>,
}

impl Holdings {
    /// Of a worker that holds nothing.
    pub fn new(worker: WorkerId) -> Self {
        Self { worker, objects: BTreeMap::new(), segments: Vec::new() }
    }

    /// Takes in an object that has been stored.
    pub fn add(&mut self, written: &WrittenObject) {
        for (segment, header) in written.object.segments.iter().zip(&written.headers) {
            let unit = Held::unit_of(segment.kind, self.worker);
            let (object, segment, header) = (written.object.name.clone(), segment.clone(), header.clone());
            self.hold(Held { object, segment, header, unit });
        }
        self.know([&written.object]);
    }

    pub(crate) fn hold(&mut self, held: Held) {
        self.segments.push(held);
    }

    /// Length and checksum of the objects, as far as anything of them is held.
    pub(crate) fn know<'a>(&mut self, objects: impl IntoIterator<Item = &'a ObjectRef>) {
        let held: BTreeSet<&str> = self.segments.iter().map(|h| h.object.as_str()).collect();
        let of_mine = objects.into_iter().filter(|o| held.contains(o.name.as_str()));
        self.objects.extend(of_mine.map(|o| (o.name.clone(), (o.length_bytes, o.checksum))));
    }

    /// Lets go of segments.
    pub(crate) fn drop_all(&mut self, gone: &BTreeSet<SegmentId>) {
        self.retain(|h| !gone.contains(&h.id()));
    }

    /// Lets go of what these segments have for some key groups: of all, where the table is not keyed.
    pub(crate) fn drop_groups(&mut self, segments: &BTreeSet<SegmentId>, groups: &KeyGroupSet) {
        let mut gone = BTreeSet::new();
        for held in self.segments.iter_mut().filter(|h| segments.contains(&h.id())) {
            held.segment.groups = held.segment.groups.without(groups);
            if held.segment.groups.is_empty() {
                gone.insert(held.id());
            }
        }
        self.drop_all(&gone);
    }

    /// Lets go of an operator's state: the program has no such operator any more, and the user knows.
    pub fn forget(&mut self, operator: &OperatorId) {
        self.retain(|h| h.segment.operator != *operator);
    }

    fn retain(&mut self, is_kept: impl Fn(&Held) -> bool) {
        self.segments.retain(is_kept);
        let held: BTreeSet<&str> = self.segments.iter().map(|h| h.object.as_str()).collect();
        self.objects.retain(|name, _| held.contains(name.as_str()));
    }

    /// What a report says: each object with the segments that are held of it.
    pub fn objects(&self) -> Vec<ObjectRef> {
        let object = |(name, (length_bytes, checksum)): (&String, &(u64, Checksum))| {
            let of_it = self.segments.iter().filter(|h| h.object == *name);
            let mut segments: Vec<Segment> = of_it.map(|h| h.segment.clone()).collect();
            segments.sort_by_key(|s| s.offset);
            ObjectRef { name: name.clone(), length_bytes: *length_bytes, checksum: *checksum, segments }
        };
        self.objects.iter().map(object).collect()
    }

    /// The segments.
    pub fn segments(&self) -> &[Held] {
        &self.segments
    }

    /// The length of an object of which something is held.
    pub(crate) fn length_bytes(&self, object: &str) -> u64 {
        self.objects.get(object).map_or(0, |(length, _)| *length)
    }

    /// Bytes of all objects of which something is held.
    pub fn stored_bytes(&self) -> u64 {
        self.objects.values().map(|(length, _)| length).sum()
    }
}
