//! The targets of the modelled job's sinks: one that merges what is committed together into a file, one that upserts.

use std::collections::{BTreeMap, BTreeSet};

use rheos_checkpoint::coordinator::SinkCommit;
use rheos_checkpoint::manifest::{Manifest, Repeat, SinkState};
use rheos_core::Generation;
use rheos_core::key::KeyGroup;
use rheos_core::sink::{Admission, Committable, FenceRecord, Known, Owner};

use super::world::{Record, assert_each_once, group_of};

pub(super) const MERGING: &str = "merging";
pub(super) const UPSERTING: &str = "upserting";

/// The key of a record where it replaces earlier ones, and its value.
fn upsert(record: Record) -> ((u32, KeyGroup), u32) {
    ((record.0, group_of(record)), record.1)
}

type Rows = BTreeMap<(u32, u16), u32>;

pub(super) struct Target {
    repeat: Repeat,
    record: Option<FenceRecord>,
    /// Of the merging sink they are gone when they are committed or discarded; the upserting one's hold their rows
    /// themselves, so they are always there.
    staged: BTreeMap<Committable, (Generation, Vec<Record>)>,
    /// Of the merging sink: by what was merged into them.
    files: BTreeSet<Vec<Committable>>,
    committed: BTreeSet<Committable>,
    visible: Vec<Record>,
    rows: Rows,
    /// What a written manifest has released.
    released: BTreeSet<Committable>,
}

impl Target {
    fn new(repeat: Repeat) -> Self {
        Self {
            repeat,
            record: None,
            staged: BTreeMap::new(),
            files: BTreeSet::new(),
            committed: BTreeSet::new(),
            visible: Vec::new(),
            rows: BTreeMap::new(),
            released: BTreeSet::new(),
        }
    }

    /// How many records are visible.
    pub(super) fn visible(&self) -> usize {
        self.visible.len()
    }

    pub(super) fn merging() -> Self {
        Self::new(Repeat::Duplicates)
    }

    pub(super) fn upserting() -> Self {
        Self::new(Repeat::Replaces)
    }

    pub(super) fn operator(&self) -> &'static str {
        if self.repeat == Repeat::Duplicates { MERGING } else { UPSERTING }
    }

    pub(super) fn stage(&mut self, id: Committable, generation: Generation, rows: Vec<Record>) {
        assert!(self.staged.insert(id, (generation, rows)).is_none(), "two runs staged under one name");
    }

    /// A manifest has been written.
    pub(super) fn release(&mut self, manifest: &Manifest) {
        let state = manifest.sink(&self.operator().into()).unwrap();
        let released = state.releases.iter().flat_map(|r| &r.committables);
        self.released.extend(released.map(|c| c.committable.clone()));
    }

    /// Takes note of who writes from now on, and discards what others have staged, but for `keep`. Gives whether the state knows
    /// what has been written.
    pub(super) fn resume(&mut self, owner: &Owner, known: &Known, keep: &[Committable]) -> bool {
        let record = FenceRecord::taken_over(self.record, owner, known);
        let accepted = Known { duplicates_accepted: true, ..known.clone() };
        self.record = Some(record.or_else(|_| FenceRecord::taken_over(self.record, owner, &accepted)).unwrap());
        if self.repeat == Repeat::Duplicates {
            self.staged.retain(|id, (by, _)| *by >= owner.generation || keep.contains(id));
        }
        record.is_ok()
    }

    pub(super) fn commit(&mut self, commit: &SinkCommit, crashes: bool, duplicates: bool) {
        if self.record.is_some_and(|r| r.admits(&commit.fence) != Admission::Apply) {
            return;
        }
        for id in &commit.committables {
            assert!(self.released.contains(id), "committed before a manifest released it");
            self.committed.insert(id.clone());
        }
        match self.repeat {
            Repeat::Duplicates if self.files.contains(&commit.committables) => {}
            Repeat::Duplicates => {
                for id in &commit.committables {
                    let (_, rows) = self.staged.remove(id).expect("staged output is there when it is committed");
                    self.visible.extend(rows);
                }
                let distinct: BTreeSet<_> = self.visible.iter().collect();
                assert!(
                    duplicates || distinct.len() == self.visible.len(),
                    "output is there twice: {:?}",
                    self.visible
                );
                self.files.insert(commit.committables.clone());
            }
            Repeat::Replaces => {
                let rows = commit.committables.iter().flat_map(|id| self.staged[id].1.clone());
                write(&mut self.rows, rows.collect());
            }
        }
        if !crashes {
            self.record = Some(FenceRecord::after(self.record, &commit.fence));
        }
    }

    /// What is listed and not visible, together with what is, is what has been read.
    pub(super) fn check_manifest(&self, manifest: &Manifest, read: &BTreeSet<Record>, duplicates: bool) {
        let state: &SinkState = manifest.sink(&self.operator().into()).unwrap();
        let waiting = state.listed().map(|c| &c.committable).filter(|c| !self.committed.contains(*c));
        let waiting = waiting.flat_map(|c| self.staged.get(c).expect("what a manifest lists is staged").1.clone());
        if self.repeat == Repeat::Replaces {
            let mut rows = self.rows.clone();
            write(&mut rows, waiting.collect());
            // Going back leaves later values where they are, until they are written anew.
            assert!(duplicates || rows == upserted(read), "rows: {rows:?}, read: {read:?}");
            return;
        }
        let output: Vec<_> = self.visible.iter().copied().chain(waiting).collect();
        if duplicates {
            assert!(read.iter().all(|r| output.contains(r)), "something was lost");
        } else {
            assert_each_once(output, read, "output");
        }
    }

    /// Everything that this manifest has released is committed.
    pub(super) fn check_all_committed(&self, manifest: &Manifest) {
        let state = manifest.sink(&self.operator().into()).unwrap();
        let released = state.releases.iter().flat_map(|r| &r.committables);
        assert!(released.into_iter().all(|c| self.committed.contains(&c.committable)), "noted before it was committed");
    }

    pub(super) fn check_end(&self, read: &BTreeSet<Record>, duplicates: bool) {
        match self.repeat {
            // A job that was taken back and drained may not have come as far as before.
            Repeat::Replaces if duplicates => {
                assert!(upserted(read).iter().all(|(key, value)| self.rows.get(key) >= Some(value)), "lost or old");
            }
            Repeat::Replaces => assert!(self.rows == upserted(read), "{:?}, read: {read:?}", self.rows),
            Repeat::Duplicates if duplicates => assert!(read.iter().all(|r| self.visible.contains(r)), "lost"),
            Repeat::Duplicates => assert_each_once(self.visible.clone(), read, "output at the end"),
        }
    }
}

fn write(rows: &mut Rows, records: Vec<Record>) {
    for record in records {
        let ((split, group), value) = upsert(record);
        rows.insert((split, group.0), value);
    }
}

/// The newest value of each key.
fn upserted(read: &BTreeSet<Record>) -> Rows {
    let mut rows = Rows::new();
    write(&mut rows, read.iter().copied().collect());
    rows
}
