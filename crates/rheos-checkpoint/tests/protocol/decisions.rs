//! The decisions one by one, with expectations worked out by hand.

mod coordinator;
mod ending;
mod garbage;
mod journal;
mod lease;
mod output;
mod recovery;
mod rescale;
mod restart;
mod sources;

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use rheos_checkpoint::journal::{Claim, Entry, EntryNumber, Journal, Nonce, Restored, Witness};
use rheos_checkpoint::manifest::{
    Checksum, JobPhase, KeyGroupSet, LastRelease, Manifest, ObjectRef, OperatorInfo, OwnerRange, Program, Release,
    Repeat, Segment, SinkState, StagedCommittable,
};
use rheos_core::sink::{Committable, ReleaseNumber};
use rheos_core::state::TableKind;
use rheos_core::{Epoch, Generation, JobId, WorkerId};

const JOB: JobId = JobId(0x70b);

/// An object with one segment of a keyed table, for all of four key groups.
fn object(name: &str, first_epoch: u64, last_epoch: u64) -> ObjectRef {
    let segment = Segment {
        offset: 0,
        length_bytes: 10,
        checksum: Checksum(1),
        operator: "tumble-1".into(),
        table: "slices".into(),
        kind: TableKind::Keyed,
        layout: "slices/v1".into(),
        groups: KeyGroupSet::range(0, 3),
        first_epoch: Epoch(first_epoch),
        last_epoch: Epoch(last_epoch),
        holder: WorkerId(0),
    };
    ObjectRef { name: name.into(), length_bytes: 10, checksum: Checksum(2), segments: vec![segment] }
}

fn number(generation: u64, sequence: u64) -> ReleaseNumber {
    ReleaseNumber { generation: Generation(generation), sequence }
}

fn staged(generation: u64, epoch: u64, worker: u32, text: &str) -> StagedCommittable {
    StagedCommittable {
        generation: Generation(generation),
        epoch: Epoch(epoch),
        worker: WorkerId(worker),
        committable: Committable(text.into()),
    }
}

/// A manifest of one worker with one sink that duplicates. The output of its epoch, `part-<epoch>`, is released if
/// `released_through` is that epoch, else held; the release has the epoch as its number.
fn manifest(generation: u64, epoch: u64, objects: &[(&str, u64)], released_through: Option<u64>) -> Manifest {
    let output = vec![staged(generation, epoch, 0, &format!("part-{epoch}"))];
    let last_release =
        released_through.map(|through| LastRelease { number: number(generation, through), through: Epoch(through) });
    let (releases, held) = match released_through == Some(epoch) {
        true => (vec![Release { number: number(generation, epoch), committables: output }], Vec::new()),
        false => (Vec::new(), output),
    };
    let info = |id: &str, name: &str| OperatorInfo { id: id.into(), name: name.into(), facts: Vec::new() };
    Manifest {
        entry: EntryNumber(0),
        generation: Generation(generation),
        epoch: Epoch(epoch),
        phase: JobPhase::Running,
        savepoint: None,
        wall_time_ms: 0,
        processing_time_ms: 0,
        program: Program {
            fingerprint: "p".into(),
            context: Vec::new(),
            operators: vec![info("sink-2", "filesystem"), info("tumble-1", "window aggregate")],
        },
        parallelism: NonZeroU32::MIN,
        key_hash_version: 1,
        owners: vec![OwnerRange { first: 0, last: 3, worker: WorkerId(0) }],
        objects: objects.iter().map(|(name, epoch)| object(name, *epoch, *epoch)).collect(),
        sources: Vec::new(),
        sinks: vec![SinkState { operator: "sink-2".into(), repeat: Repeat::Duplicates, last_release, releases, held }],
        counters: BTreeMap::new(),
        watermarks_ms: BTreeMap::new(),
    }
}

fn claim(number: u64, restored: Option<(u64, u64)>) -> Claim {
    let restored = restored.map(|(entry, of)| Restored { entry: EntryNumber(entry), generation: Generation(of) });
    Claim {
        generation: Generation(number),
        nonce: Nonce(u128::from(number)),
        job: JOB,
        restored,
        first_epoch: Epoch(0),
        checkpoints_kept: NonZeroU32::new(3).unwrap(),
        damaged: Vec::new(),
    }
}

/// A claim that keeps three checkpoints.
fn claimed(number: u64, restored: Option<(u64, u64)>) -> Entry {
    Entry::Claim(claim(number, restored))
}

fn entry(manifest: Manifest) -> Entry {
    Entry::Manifest(manifest.into())
}

/// Entries from number 1 on, with the newest one's witness. Manifests learn their numbers.
fn journal(entries: Vec<Entry>) -> Journal {
    let entries = numbered(entries);
    let witness = entries.last().and_then(|(n, e)| Some(Witness::of(*n, &e.encode(*n).ok()?)));
    Journal::new(entries, witness)
}

/// A witness of an entry that is not there any more.
fn witness(number: u64) -> Witness {
    Witness::of(EntryNumber(number), b"what was there")
}

fn numbered(entries: Vec<Entry>) -> Vec<(EntryNumber, Entry)> {
    let numbered = |(number, entry)| match entry {
        Entry::Manifest(manifest) => {
            let manifest = Manifest { entry: number, ..Manifest::clone(&manifest) };
            (number, Entry::Manifest(manifest.into()))
        }
        other => (number, other),
    };
    (1..).map(EntryNumber).zip(entries).map(numbered).collect()
}

/// `count` workers.
fn workers(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

fn text(committable: &Committable) -> String {
    String::from_utf8(committable.0.clone()).unwrap()
}

/// Output is held back from epoch 6 on: what epoch 5 has released may be visible. Entries 2, 3 and 4.
fn held_back() -> Vec<Entry> {
    let entries =
        [("a", 5), ("b", 6), ("c", 7)].map(|(name, epoch)| entry(manifest(1, epoch, &[(name, epoch)], Some(5))));
    [claimed(1, None)].into_iter().chain(entries).collect()
}
