//! The journal in a store.

use std::sync::Arc;

use rheos_checkpoint::coordinator::WriteOutcome;
use rheos_checkpoint::garbage::Garbage;
use rheos_checkpoint::journal::{Entry, EntryNumber, Journal, Witness};
use rheos_checkpoint::manifest::{Checksum, KeyGroupSet, Manifest, ObjectRef, Segment};
use rheos_checkpoint::recovery::{SegmentCheck, SegmentId};
use rheos_core::key::KeyGroupAssignment;
use rheos_core::state::TableKind;
use rheos_core::{Epoch, ErrorKind, WorkerId};
use rheos_state::journal;
use rheos_state::names::{entry_path, witness_path};
use rheos_state::store::{CheckpointStore, Fault, LocalStore, MemoryStore, Operation};

use crate::tables::{self, claim};

/// Entry `number`, of generation 1.
fn manifest(number: u64) -> Entry {
    let manifest = tables::manifest(1, number, &KeyGroupAssignment::even(4, 1), 1, vec![]);
    Entry::Manifest(Arc::new(Manifest { entry: EntryNumber(number), ..manifest }))
}

fn number(n: u64) -> EntryNumber {
    EntryNumber(n)
}

fn witness(n: u64, entry: &Entry) -> Witness {
    Witness::of(number(n), &entry.encode(number(n)).unwrap())
}

/// How a write ended, and the code of its error.
fn outcome(store: &MemoryStore, n: u64, entry: &Entry) -> String {
    match journal::write(store, number(n), entry) {
        WriteOutcome::Written => "written".into(),
        WriteOutcome::Taken(error) => format!("taken {}", error.code()),
        WriteOutcome::Failed(error) => format!("failed {}", error.code()),
        WriteOutcome::Unknown(error) => format!("unknown {}", error.code()),
    }
}

#[test]
fn entries_come_back_and_a_number_is_taken_once() {
    let store = MemoryStore::new();
    assert_eq!(journal::read(&store).unwrap(), Journal::default());
    assert_eq!(outcome(&store, 1, &claim(1, 1)), "written");
    assert_eq!(outcome(&store, 2, &manifest(2)), "written");
    assert_eq!(outcome(&store, 2, &claim(2, 2)), "taken R0605");
    assert_eq!(outcome(&store, 3, &claim(3, 3)), "written");
    assert_eq!(outcome(&store, 3, &claim(3, 4)), "taken R0605");
    // Its writer did not hear of it, and tries again.
    assert_eq!(outcome(&store, 2, &manifest(2)), "written");
    let expected = [(number(1), claim(1, 1)), (number(2), manifest(2)), (number(3), claim(3, 3))];
    assert_eq!(journal::read(&store).unwrap(), Journal::new(expected, Some(witness(3, &claim(3, 3)))));
    let retired = Garbage { retired: vec![number(2)], ..Garbage::default() };
    journal::delete(&store, &retired).unwrap();
    journal::delete(&store, &retired).unwrap();
    assert_eq!(outcome(&store, 2, &manifest(2)), "taken R0605");
    assert_eq!(journal::read(&store).unwrap().get(number(2)), Some(&Entry::Retired));
    store.create("objects/g1-w0-e2", b"").unwrap();
    let all = Garbage { entries: vec![number(2)], objects: vec!["g1-w0-e2".into()], ..Garbage::default() };
    journal::delete(&store, &all).unwrap();
    journal::delete(&store, &all).unwrap();
    assert_eq!(journal::read(&store).unwrap().get(number(2)), None);
    assert!(journal::stored_objects(&store).unwrap().is_empty());
}

#[test]
fn the_newest_entry_has_a_witness() {
    let store = MemoryStore::new();
    for (n, entry) in [(1, claim(1, 1)), (2, manifest(2)), (3, manifest(3))] {
        assert_eq!(outcome(&store, n, &entry), "written");
    }
    let witnesses: Vec<String> = store.list("journal/head-").unwrap().into_iter().map(|l| l.name).collect();
    assert_eq!(witnesses, [witness_path(number(3))]);
    store.lose(&entry_path(number(3)));
    let read = journal::read(&store).unwrap();
    assert!(matches!(read.get(number(3)), Some(Entry::Unreadable(_))), "the newest entry is missed");
    assert_eq!(read.next_number(), number(4));
    // An entry counts as written when its witness is there.
    store.inject(Operation::Write, "journal/head-", 1, Fault::Full);
    assert_eq!(outcome(&store, 4, &manifest(4)), "unknown R0621");
    assert_eq!(outcome(&store, 4, &manifest(4)), "written");
    let contents = store.read(&witness_path(number(4)), 100).unwrap().unwrap();
    assert_eq!(contents, witness(4, &manifest(4)).contents().as_bytes());
    // Another entry that has taken its number is not the one that it saw.
    store.lose(&entry_path(number(4)));
    assert_eq!(outcome(&store, 4, &claim(4, 9)), "taken R0605");
}

#[test]
fn the_outcome_of_a_write_is_what_is_known_of_it() {
    let store = MemoryStore::new();
    for (fault, expected) in [
        (Fault::Full, "failed R0621"),
        (Fault::Unreachable, "failed R0622"),
        (Fault::NotDoneUnknown, "unknown R0622"),
        (Fault::DoneUnknown, "unknown R0622"),
    ] {
        store.inject(Operation::Write, "journal/", 1, fault);
        assert_eq!(outcome(&store, 1, &claim(1, 1)), expected, "{fault:?}");
    }
    // It has been done: the number is taken, and whether by this entry cannot be read.
    store.inject(Operation::Read, "journal/", 1, Fault::Unreachable);
    assert_eq!(outcome(&store, 1, &claim(1, 1)), "unknown R0622");
    assert_eq!(outcome(&store, 1, &claim(1, 1)), "written");
}

#[test]
fn a_damaged_entry_is_unreadable_and_a_later_version_is_refused() {
    let store = MemoryStore::new();
    outcome(&store, 1, &claim(1, 1));
    outcome(&store, 2, &manifest(2));
    store.create("journal/notes.txt", b"not an entry").unwrap();
    store.flip_bit(&entry_path(number(2)), 300, 3);
    let read = journal::read(&store).unwrap();
    assert_eq!(read.iter().count(), 2);
    assert!(matches!(read.get(number(2)), Some(Entry::Unreadable(_))));
    assert_eq!(outcome(&store, 2, &manifest(2)), "taken R0613");
    let sum = Checksum::of(b"claim\n2\n\n{}");
    let newer =
        format!("{{\"rheos\":\"claim\",\"version\":2,\"key\":null,\"length_bytes\":2,\"checksum\":\"{sum}\"}}\n{{}}\n");
    store.create(&entry_path(number(3)), newer.as_bytes()).unwrap();
    let error = journal::read(&store).unwrap_err();
    assert_eq!(error.code(), "R0602");
    assert!(error.message().contains("00000000000000000003.json"), "{error}");
    assert_eq!(outcome(&store, 3, &claim(3, 3)), "taken R0602");
}

#[test]
fn nothing_is_written_behind_an_entry_that_somebody_has_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    let write = |n: u64, entry: &Entry| journal::write(&store, number(n), entry);
    assert_eq!(write(1, &claim(1, 1)), WriteOutcome::Written);
    assert_eq!(write(2, &manifest(2)), WriteOutcome::Written);
    let (path, away) = (folder.path().join(entry_path(number(2))), folder.path().join("away"));
    std::fs::rename(&path, &away).unwrap();
    let WriteOutcome::Failed(error) = write(3, &manifest(3)) else { panic!("it was written") };
    assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::External, "R0647"));
    std::fs::rename(&away, &path).unwrap();
    assert_eq!(write(3, &manifest(3)), WriteOutcome::Written);
    // A start may go on behind what is lost.
    std::fs::remove_file(folder.path().join(entry_path(number(3)))).unwrap();
    assert_eq!(write(4, &claim(4, 1)), WriteOutcome::Written);
}

#[test]
fn segments_are_compared_with_what_the_manifest_says() {
    let store = MemoryStore::new();
    // Longer than what is read at once.
    let long: Vec<u8> = (0..(9 << 20)).map(|n: u32| (n / 7) as u8).collect();
    let object = |name: &str, cuts: &[usize]| {
        let segment = |w: &[usize]| Segment {
            offset: w[0] as u64,
            length_bytes: (w[1] - w[0]) as u64,
            checksum: Checksum::of(&long[w[0]..w[1]]),
            operator: "op-1".into(),
            table: "t".into(),
            kind: TableKind::Single,
            layout: "t/v1".into(),
            groups: KeyGroupSet::default(),
            first_epoch: Epoch(0),
            last_epoch: Epoch(0),
            holder: WorkerId(0),
        };
        let segments = cuts.windows(2).map(segment).collect();
        ObjectRef { name: name.into(), length_bytes: long.len() as u64, checksum: Checksum::of(&long), segments }
    };
    let objects = [
        object("cut", &[0, 10, 20]),
        object("flipped", &[16, 4 << 20, 9 << 20]),
        object("lost", &[0, 10]),
        object("whole", &[0, 9 << 20]),
    ];
    for name in ["cut", "flipped", "whole"] {
        store.create(&format!("objects/{name}"), &long).unwrap();
    }
    store.flip_bit("objects/flipped", 5 << 20, 0);
    // What lies beside the segments does not matter.
    store.flip_bit("objects/flipped", 3, 0);
    store.truncate("objects/cut", 19);
    let checks = journal::verify(&store, &objects).unwrap();
    let of = |object: &str, offset| match &checks[&SegmentId { object: object.into(), offset }] {
        SegmentCheck::Whole => "whole",
        SegmentCheck::Damaged(why) if why == "it is missing" => "missing",
        SegmentCheck::Damaged(why) if why.contains("has 19 bytes") => "short",
        SegmentCheck::Damaged(why) if why.starts_with("its checksum is") => "flipped",
        SegmentCheck::Damaged(_) => "?",
    };
    assert_eq!([of("cut", 0), of("cut", 10)], ["whole", "short"]);
    assert_eq!([of("flipped", 16), of("flipped", 4 << 20)], ["whole", "flipped"]);
    assert_eq!([of("lost", 0), of("whole", 0)], ["missing", "whole"]);
    // A store that does not answer says nothing about segments.
    store.inject(Operation::Read, "objects/", 1, Fault::Unreachable);
    assert_eq!(journal::verify(&store, &objects).unwrap_err().kind(), ErrorKind::External);
}

#[test]
fn only_names_of_objects_are_garbage() {
    let store = MemoryStore::new();
    for name in ["objects/g1-w0-e2", "objects/g3-w1-e17-c4", "objects/readme", "journal/g1-w0-e2"] {
        store.create(name, b"ab").unwrap();
    }
    let stored = journal::stored_objects(&store).unwrap();
    let found: Vec<_> = stored.iter().map(|(o, bytes)| (o.name.as_str(), o.generation.0, o.epoch.0, *bytes)).collect();
    assert_eq!(found, [("g1-w0-e2", 1, 2, 2), ("g3-w1-e17-c4", 3, 17, 2)]);
}
