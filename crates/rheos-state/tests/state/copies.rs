//! Stores that keep a copy: faults of either.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use rheos_checkpoint::coordinator::WriteOutcome;
use rheos_checkpoint::journal::{Entry, EntryNumber};
use rheos_checkpoint::manifest::{Checksum, ObjectRef, Segment};
use rheos_checkpoint::recovery::SegmentCheck;
use rheos_checkpoint::rescale;
use rheos_core::key::KeyGroupAssignment;
use rheos_core::{Error, ErrorKind, Generation, WorkerId};
use rheos_state::kept::Kept;
use rheos_state::names::{entry_path, witness_path};
use rheos_state::restore::restore;
use rheos_state::store::{
    CheckpointStore, CopiedStore, Creation, Fault, KeyRing, LocalStore, MemoryStore, Note, Operation, SealedStore,
    StoreOptions, WriteFailure, put,
};
use rheos_state::{journal, object};

use crate::tables;

struct Pair {
    first: Arc<MemoryStore>,
    second: Arc<MemoryStore>,
    store: CopiedStore,
    notes: Arc<Mutex<Vec<String>>>,
}

fn noting() -> (Note, Arc<Mutex<Vec<String>>>) {
    let notes: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&notes);
    (Arc::new(move |error: &Error| seen.lock().unwrap().push(format!("{} {error}", error.code()))), notes)
}

impl Pair {
    fn new() -> Self {
        let (first, second) = (Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()));
        let (note, notes) = noting();
        let store = CopiedStore::new(Arc::clone(&first) as _, Arc::clone(&second) as _, note);
        Self { first, second, store, notes }
    }

    /// What was noted since, each with its code.
    fn notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().unwrap())
    }

    /// What both hold under a name.
    fn both(&self, name: &str) -> [Option<Vec<u8>>; 2] {
        [&self.first, &self.second].map(|store| store.read(name, u64::MAX).unwrap())
    }

    fn is_same(&self, name: &str, bytes: &[u8]) {
        assert_eq!(self.both(name), [Some(bytes.to_vec()), Some(bytes.to_vec())], "{name}");
    }
}

#[test]
fn what_is_written_is_in_both_and_what_is_deleted_in_none() {
    let pair = Pair::new();
    assert_eq!(pair.store.create("objects/a", b"one").unwrap(), Creation::Created);
    assert_eq!(pair.store.create("objects/a", b"two").unwrap(), Creation::Exists);
    pair.is_same("objects/a", b"one");
    pair.store.replace("objects/a", b"three").unwrap();
    pair.is_same("objects/a", b"three");
    put(&pair.store, "objects/b", b"four").unwrap();
    pair.is_same("objects/b", b"four");
    pair.store.delete("objects/a").unwrap();
    assert_eq!(pair.both("objects/a"), [None, None]);
    assert_eq!(pair.notes(), [""; 0]);
}

#[test]
fn a_write_counts_when_the_copy_has_it_too() {
    for fault in [Fault::Unreachable, Fault::Full, Fault::NotDoneUnknown, Fault::DoneUnknown] {
        let pair = Pair::new();
        pair.second.inject(Operation::Write, "objects/", 1, fault);
        let failure = pair.store.create("objects/a", b"one").unwrap_err();
        assert!(matches!(&failure, WriteFailure::Unknown(e) if e.kind() == ErrorKind::External), "{fault:?}");
        assert!(failure.error().message().contains("the copy"), "{failure:?}");
        // The next try finds the name taken by the first, and completes the copy.
        put(&pair.store, "objects/a", b"one").unwrap();
        pair.is_same("objects/a", b"one");
        assert_eq!(pair.notes(), [""; 0]);
    }
    let pair = Pair::new();
    pair.first.inject(Operation::Write, "objects/", 1, Fault::Unreachable);
    assert!(matches!(pair.store.create("objects/a", b"one").unwrap_err(), WriteFailure::NotWritten(_)));
    assert_eq!(pair.both("objects/a"), [None, None]);
    // What goes, goes from the copy first: nothing comes back from there.
    put(&pair.store, "objects/a", b"one").unwrap();
    pair.second.inject(Operation::Delete, "", 1, Fault::Unreachable);
    pair.store.delete("objects/a").unwrap_err();
    pair.is_same("objects/a", b"one");
    pair.first.inject(Operation::Delete, "", 1, Fault::Unreachable);
    pair.store.delete("objects/a").unwrap_err();
    assert_eq!(pair.both("objects/a"), [Some(b"one".to_vec()), None]);
}

#[test]
fn a_copy_that_was_torn_is_written_again() {
    let pair = Pair::new();
    pair.second.inject(Operation::Write, "objects/", 1, Fault::Torn(3));
    put(&pair.store, "objects/a", b"0123456789").unwrap();
    pair.is_same("objects/a", b"0123456789");
    assert_eq!(pair.second.read("damaged/objects/a", 99).unwrap().unwrap(), b"012");
    // By a crash, which an earlier try of the same write did not survive.
    pair.second.truncate("objects/a", 5);
    assert_eq!(pair.store.create("objects/a", b"0123456789").unwrap(), Creation::Exists);
    pair.is_same("objects/a", b"0123456789");
    assert_eq!(pair.notes(), [""; 0]);
    // It stays torn: the write does not count.
    pair.second.inject(Operation::Write, "objects/", 2, Fault::Torn(3));
    assert!(matches!(pair.store.create("objects/b", b"0123456789").unwrap_err(), WriteFailure::Unknown(_)));
}

#[test]
fn what_is_lost_is_put_back() {
    for how in 0..4 {
        let pair = Pair::new();
        put(&pair.store, "objects/a", b"0123456789").unwrap();
        pair.first.lose("objects/a");
        assert_eq!(pair.store.list("objects/").unwrap().len(), 1, "what only the copy has is listed");
        match how {
            0 => assert_eq!(pair.store.read("objects/a", 10).unwrap().unwrap(), b"0123456789"),
            1 => assert_eq!(pair.store.read_range("objects/a", 3..5).unwrap().unwrap(), b"34"),
            2 => assert_eq!(pair.store.length_bytes("objects/a").unwrap(), Some(10)),
            // A name that the first has lost is still taken.
            _ => assert_eq!(pair.store.create("objects/a", b"other").unwrap(), Creation::Exists),
        }
        pair.is_same("objects/a", b"0123456789");
        let notes = pair.notes();
        assert!(
            notes.len() == 1 && notes[0].starts_with("R0643") && notes[0].contains("'objects/a' was missing"),
            "{notes:?}"
        );
    }
    let pair = Pair::new();
    assert_eq!(pair.store.read("objects/a", 10).unwrap(), None);
    // A copy that was lost is no reason to refuse what is whole.
    put(&pair.store, "objects/a", b"one").unwrap();
    pair.second.lose("objects/a");
    assert_eq!(pair.store.read("objects/a", 10).unwrap().unwrap(), b"one");
    assert_eq!(pair.store.create("objects/a", b"one").unwrap(), Creation::Exists);
    pair.is_same("objects/a", b"one");
}

#[test]
fn what_is_damaged_is_taken_from_the_copy_and_kept() {
    let pair = Pair::new();
    put(&pair.store, "objects/a", b"0123456789").unwrap();
    let is_whole = |bytes: &[u8]| bytes == b"0123456789";
    assert!(pair.store.repair("objects/a", None, &is_whole).unwrap(), "another has mended it: it can be read now");
    assert!(!pair.store.repair("objects/a", None, &|_| false).unwrap(), "the copy is no better");
    assert_eq!(pair.notes(), [""; 0]);
    pair.first.flip_bit("objects/a", 0, 0);
    assert!(pair.store.repair("objects/a", None, &is_whole).unwrap());
    pair.is_same("objects/a", b"0123456789");
    assert_eq!(pair.first.read("damaged/objects/a", 99).unwrap().unwrap(), b"1123456789");
    let notes = pair.notes();
    assert!(notes.len() == 1 && notes[0].contains("damaged/objects/a"), "{notes:?}");
    // Shorter than its reader knows: found without being told.
    pair.first.truncate("objects/a", 3);
    assert_eq!(pair.store.read_range("objects/a", 3..5).unwrap().unwrap(), b"34");
    assert_eq!(pair.notes().len(), 1);
    // In both: nothing helps.
    pair.first.truncate("objects/a", 3);
    pair.second.lose("objects/a");
    assert_eq!(pair.store.read_range("objects/a", 3..5).unwrap_err().code(), "R0626");
    assert!(!pair.store.repair("objects/a", None, &is_whole).unwrap());
    // The copy cannot be reached: that is no damage, and nothing may be decided over it.
    pair.second.inject(Operation::Read, "", 9, Fault::Unreachable);
    assert_eq!(pair.store.read_range("objects/a", 3..5).unwrap_err().kind(), ErrorKind::External);
}

#[test]
fn damage_of_encrypted_files_is_found_and_each_store_has_salts_of_its_own() {
    let (first, second) = (Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()));
    let keys = KeyRing::parse("k:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    let seal = |store: &Arc<MemoryStore>| Arc::new(SealedStore::new(Arc::clone(store) as _, keys.clone()));
    let (note, notes) = noting();
    let store = CopiedStore::new(seal(&first), seal(&second), note);
    let plain = vec![7; 200_000];
    second.inject(Operation::Write, "", 1, Fault::Unreachable);
    put(&store, "objects/a", &plain).unwrap_err();
    put(&store, "objects/a", &plain).unwrap();
    assert_ne!(first.read("objects/a", u64::MAX).unwrap(), second.read("objects/a", u64::MAX).unwrap());
    first.flip_bit("objects/a", 150_000, 3);
    assert_eq!(store.read_range("objects/a", 0..10).unwrap().unwrap(), [7; 10]);
    assert_eq!(store.read_range("objects/a", 140_000..199_000).unwrap().unwrap(), [7; 59_000]);
    assert_eq!(store.read("objects/a", 200_000).unwrap().unwrap(), plain);
    assert_eq!(notes.lock().unwrap().len(), 1);
    assert!(first.read("damaged/objects/a", u64::MAX).unwrap().is_some());
}

#[test]
fn the_journal_is_read_from_the_copy_where_it_is_damaged() {
    let pair = Pair::new();
    let entries: Vec<Entry> = (1..4).map(|n| tables::claim(n, 7)).collect();
    for (n, entry) in (1..).zip(&entries) {
        assert!(matches!(journal::write(&pair.store, EntryNumber(n), entry), WriteOutcome::Written));
    }
    let whole = journal::read(&pair.store).unwrap();
    assert_eq!(whole.owner(), Some(Generation(3)));
    let path = |n| entry_path(EntryNumber(n));
    pair.first.flip_bit(&path(1), 200, 1);
    pair.first.lose(&path(3));
    pair.first.truncate(&path(2), 10);
    pair.first.flip_bit(&witness_path(EntryNumber(3)), 2, 0);
    assert_eq!(journal::read(&pair.store).unwrap(), whole);
    assert_eq!(pair.notes().len(), 4);
    assert_eq!(journal::read(&pair.store).unwrap(), whole);
    assert_eq!(pair.notes(), [""; 0]);
    for n in 1..4 {
        let [first, second] = pair.both(&path(n));
        assert!(first.is_some() && first == second);
    }
    // All of the first is gone: the copy is the journal.
    for file in pair.first.list("").unwrap() {
        pair.first.lose(&file.name);
    }
    assert_eq!(journal::read(&pair.store).unwrap(), whole);
}

/// What the manifest says of the golden object.
fn golden_object() -> ObjectRef {
    let segments = object::read_index(&golden(), "g1-w0-e17").unwrap().unwrap();
    let (length_bytes, checksum) = (GOLDEN.len() as u64, Checksum::of(GOLDEN));
    ObjectRef { name: "g1-w0-e17".into(), length_bytes, checksum, segments }
}

/// How many of its segments are damaged.
fn damaged(store: &dyn CheckpointStore) -> usize {
    let checks = journal::verify(store, &[golden_object()]).unwrap();
    checks.values().filter(|c| **c != SegmentCheck::Whole).count()
}

/// What a restore of it gives.
fn restored(store: &dyn CheckpointStore) -> rheos_core::Result<String> {
    let assignment = KeyGroupAssignment::even(512, 1);
    let manifest = tables::manifest(1, 17, &assignment, 2, vec![golden_object()]);
    let plans = rescale::plan(&manifest, &assignment, NonZeroU32::MIN);
    restore(store, &Kept::default(), &manifest, &plans[0], WorkerId(0)).map(|restored| format!("{restored:?}"))
}

/// See `objects.rs`.
const GOLDEN: &[u8] = include_bytes!("golden/object-v1.bin");

fn golden() -> MemoryStore {
    let store = MemoryStore::new();
    store.create("objects/g1-w0-e17", GOLDEN).unwrap();
    store
}

#[test]
fn a_restore_reads_the_copy_of_what_is_damaged_or_missing() {
    let rows = restored(&golden()).unwrap();
    type Break = fn(&MemoryStore);
    let break_it: [(&str, Break); 4] = [
        ("a bit of a row", |store| assert!(store.flip_bit("objects/g1-w0-e17", GOLDEN.len() / 2, 1))),
        ("a bit of the first header", |store| assert!(store.flip_bit("objects/g1-w0-e17", 30, 1))),
        ("the end", |store| assert!(store.truncate("objects/g1-w0-e17", 100))),
        ("all", |store| assert!(store.lose("objects/g1-w0-e17").is_some())),
    ];
    for (what, break_it) in break_it {
        let alone = golden();
        break_it(&alone);
        assert!(damaged(&alone) > 0, "{what}: alone it is damaged");
        // At a start segments are verified first; a merge reads them without.
        for verifies in [true, false] {
            let pair = Pair::new();
            put(&pair.store, "objects/g1-w0-e17", GOLDEN).unwrap();
            break_it(&pair.first);
            assert!(!verifies || damaged(&pair.store) == 0, "{what}");
            assert_eq!(restored(&pair.store).as_ref(), Ok(&rows), "{what}");
            assert_eq!(pair.notes().len(), 1, "{what}");
            pair.is_same("objects/g1-w0-e17", GOLDEN);
        }
    }
}

#[test]
fn of_two_disks_each_may_have_lost_another_part() {
    let rows = restored(&golden()).unwrap();
    let segments = golden_object().segments;
    let (x, y) = (&segments[0], &segments[segments.len() - 1]);
    assert!(x.offset + x.length_bytes <= y.offset);
    let middle = |s: &Segment| (s.offset + s.length_bytes / 2) as usize;
    for verifies in [true, false] {
        let pair = Pair::new();
        put(&pair.store, "objects/g1-w0-e17", GOLDEN).unwrap();
        pair.first.flip_bit("objects/g1-w0-e17", middle(x), 1);
        pair.second.flip_bit("objects/g1-w0-e17", middle(y), 1);
        assert!(!verifies || damaged(&pair.store) == 0);
        assert_eq!(restored(&pair.store).as_ref(), Ok(&rows));
        assert_eq!(
            pair.first.read("objects/g1-w0-e17", u64::MAX).unwrap().unwrap(),
            GOLDEN,
            "only the bad part is replaced"
        );
        assert_eq!(pair.notes().len(), 1);
    }
    // One part is bad in both: it stays so, and the rest whole.
    let pair = Pair::new();
    put(&pair.store, "objects/g1-w0-e17", GOLDEN).unwrap();
    pair.first.flip_bit("objects/g1-w0-e17", middle(x), 1);
    pair.second.flip_bit("objects/g1-w0-e17", middle(x), 2);
    pair.second.flip_bit("objects/g1-w0-e17", middle(y), 1);
    assert_eq!((damaged(&pair.store), pair.notes().len()), (1, 0));
}

#[test]
fn of_two_encrypted_files_each_may_have_lost_another_frame() {
    let keys = KeyRing::parse("k:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    let seal = |store: &Arc<MemoryStore>| Arc::new(SealedStore::new(Arc::clone(store) as _, keys.clone()));
    let (first, second) = (Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()));
    let (note, notes) = noting();
    let store = CopiedStore::new(seal(&first), seal(&second), note);
    let plain: Vec<u8> = (0..500_000_u32).map(|i| (i / 7) as u8).collect();
    put(&store, "objects/a", &plain).unwrap();
    let part = |range: std::ops::Range<u64>| plain[range.start as usize..range.end as usize].to_vec();
    // Frames of 64 KiB: the first is bad here, the third and the last there.
    first.flip_bit("objects/a", 1000, 3);
    second.flip_bit("objects/a", 150_000, 3);
    second.truncate("objects/a", 480_000);
    for range in [0..10, 140_000..150_000, 480_000..500_000, 0..65_536, 0..500_000] {
        assert_eq!(store.read_range("objects/a", range.clone()).unwrap().unwrap(), part(range.clone()), "{range:?}");
    }
    assert_eq!(notes.lock().unwrap().len(), 1);
}

#[test]
fn a_first_store_that_cannot_be_written_is_read_from_the_copy() {
    let rows = restored(&golden()).unwrap();
    for is_lost in [true, false] {
        let pair = Pair::new();
        put(&pair.store, "objects/g1-w0-e17", GOLDEN).unwrap();
        match is_lost {
            true => drop(pair.first.lose("objects/g1-w0-e17")),
            false => assert!(pair.first.truncate("objects/g1-w0-e17", 100)),
        }
        pair.first.inject(Operation::Write, "", 99, Fault::Full);
        assert_eq!((damaged(&pair.store), restored(&pair.store).as_ref()), (0, Ok(&rows)));
        let notes = pair.notes();
        assert!(notes.len() == 1 && notes[0].contains("could not be put back: "), "{notes:?}");
        assert!(notes[0].starts_with("R0643"), "{notes:?}");
        // Written anew, it is the first's again.
        pair.first.heal();
        pair.store.replace("objects/g1-w0-e17", b"other").unwrap();
        pair.second.lose("objects/g1-w0-e17");
        assert_eq!(pair.store.read("objects/g1-w0-e17", 99).unwrap().unwrap(), b"other");
    }
}

#[test]
fn what_somebody_has_removed_of_one_is_put_back_from_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (note, notes) = noting();
    let options = StoreOptions { copy: Some(at("second")), ..StoreOptions::at(at("first")) };
    let store = options.open(&note).unwrap();
    assert_eq!(store.folders().len(), 2);
    store.create("objects/a", b"1").unwrap();
    for removed in ["first/objects/a", "second/objects/a"] {
        std::fs::remove_file(at(removed)).unwrap();
        assert_eq!(store.missing(&["objects/a"]).unwrap(), None);
        assert_eq!(std::fs::read(at(removed)).unwrap(), b"1");
    }
    assert_eq!(notes.lock().unwrap().len(), 1);
    for removed in ["first/objects/a", "second/objects/a"] {
        std::fs::remove_file(at(removed)).unwrap();
    }
    assert_eq!(store.missing(&["objects/a"]).unwrap().as_deref(), Some("objects/a"));
    // A copy on a disk that has been taken away is not begun anew where it was mounted.
    std::fs::rename(at("second"), at("away")).unwrap();
    let failure = store.create("objects/b", b"2").unwrap_err();
    assert!(matches!(&failure, WriteFailure::Unknown(e) if e.code() == "R0647"), "{failure:?}");
    assert!(!at("second").exists());
    std::fs::rename(at("away"), at("second")).unwrap();
    put(store.as_ref(), "objects/b", b"2").unwrap();
    assert_eq!(std::fs::read(at("second/objects/b")).unwrap(), b"2");
}

#[test]
fn a_copy_that_cannot_be_listed_says_how_to_do_without() {
    let pair = Pair::new();
    pair.second.inject(Operation::List, "", 1, Fault::Unreachable);
    let error = pair.store.list("journal/").unwrap_err();
    assert!(
        error.message().contains("the copy") && error.hint().unwrap().contains("'checkpoint.copies' = '1'"),
        "{error:?}"
    );
}

#[test]
fn a_copy_that_is_half_begun_does_not_look_like_a_journal() {
    let pair = Pair::new();
    for n in 1..5 {
        let entry = tables::claim(n, 7);
        assert!(matches!(journal::write(pair.first.as_ref(), EntryNumber(n), &entry), WriteOutcome::Written));
    }
    for entries in 0..4 {
        let path = entry_path(EntryNumber(entries + 1));
        pair.second.inject(Operation::Write, &path, 1, Fault::Unreachable);
        pair.store.catch_up().unwrap_err();
        let copy = journal::read(pair.second.as_ref()).unwrap();
        assert_eq!(copy.iter().count() as u64, entries + 1);
        assert!(matches!(copy.get(EntryNumber(4)), Some(Entry::Unreadable(_))), "the newest is known to be missing");
    }
    pair.store.catch_up().unwrap();
    assert_eq!(journal::read(pair.second.as_ref()).unwrap(), journal::read(pair.first.as_ref()).unwrap());
}

/// What opening a folder and its copy says that hold these entries: a number, and what tells a claim from another; 0: damaged.
fn opened(ours: &[(u64, u128)], theirs: &[(u64, u128)]) -> Result<Vec<u64>, String> {
    let folder = tempfile::tempdir().unwrap();
    let (place, copy) = (folder.path().join("a"), folder.path().join("b"));
    for (path, entries) in [(&place, ours), (&copy, theirs)] {
        let store = LocalStore::open(path).unwrap();
        for (number, nonce) in entries {
            let bytes = tables::claim(*number, *nonce).encode(EntryNumber(*number)).unwrap();
            let kept = if *nonce == 0 { bytes.len() / 2 } else { bytes.len() };
            store.create(&entry_path(EntryNumber(*number)), &bytes[..kept]).unwrap();
        }
    }
    let options = StoreOptions { copy: Some(copy), ..StoreOptions::at(place) };
    let store = options.open(&noting().0).map_err(|e| e.code())?;
    let journal = journal::read(store.as_ref()).unwrap();
    Ok(journal.iter().filter(|(_, e)| matches!(e, Entry::Claim(_))).map(|(n, _)| n.0).collect())
}

#[test]
fn stores_that_went_separate_ways_are_not_put_together() {
    // One of them is behind, or has lost something.
    assert_eq!(opened(&[(1, 7), (2, 7), (5, 7)], &[(1, 7), (2, 7)]).unwrap(), [1, 2, 5]);
    assert_eq!(opened(&[(1, 7), (2, 7)], &[(1, 7), (2, 7), (5, 7)]).unwrap(), [1, 2, 5]);
    assert_eq!(opened(&[(1, 7), (5, 7)], &[(1, 7), (3, 7)]).unwrap(), [1, 3, 5]);
    assert_eq!(opened(&[], &[(1, 7), (3, 7)]).unwrap(), [1, 3]);
    assert_eq!(opened(&[(1, 7), (3, 0)], &[(1, 7), (3, 7)]).unwrap(), [1, 3]);
    assert_eq!(opened(&[(1, 0), (2, 7)], &[(1, 7), (2, 7)]).unwrap(), [1, 2]);
    // All of one is damaged.
    assert_eq!(opened(&[(1, 0), (2, 0)], &[(1, 7), (2, 7)]).unwrap(), [1, 2]);
    // Each was used without the other: by the same number, ...
    assert_eq!(opened(&[(1, 7), (2, 7), (3, 8)], &[(1, 7), (2, 7), (3, 9)]).unwrap_err(), "R0646");
    assert_eq!(opened(&[(1, 0), (3, 8), (4, 8)], &[(1, 7), (3, 9)]).unwrap_err(), "R0646");
    // ... by other numbers, ...
    assert_eq!(opened(&[(1, 7), (3, 8), (9, 8)], &[(1, 7), (4, 9), (5, 9)]).unwrap_err(), "R0646");
    // ... or nothing tells.
    assert_eq!(opened(&[(1, 0), (3, 8)], &[(1, 7)]).unwrap_err(), "R0646");
}

#[test]
fn of_two_that_write_one_number_one_wins_also_where_the_first_store_lost_it() {
    let pair = Pair::new();
    let (mine, other) = (tables::claim(1, 7), tables::claim(1, 8));
    assert!(matches!(journal::write(&pair.store, EntryNumber(1), &other), WriteOutcome::Written));
    pair.first.lose(&entry_path(EntryNumber(1)));
    let WriteOutcome::Taken(error) = journal::write(&pair.store, EntryNumber(1), &mine) else { panic!() };
    assert_eq!(error.code(), "R0605");
    pair.is_same(&entry_path(EntryNumber(1)), &other.encode(EntryNumber(1)).unwrap());
}

#[test]
fn a_copy_has_a_place_and_a_job_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (note, _) = noting();
    let open = |place: &str, copy: Option<&str>| {
        StoreOptions { copy: copy.map(path), ..StoreOptions::at(path(place)) }.open(&note)
    };
    for (place, copy) in [("a", "a"), ("a", "./a"), ("a", "a/copy"), ("a/b", "a")] {
        assert_eq!(open(place, Some(copy)).unwrap_err().code(), "R0644", "{place} {copy}");
    }
    for (place, copy) in [("s3://b/p", "s3://b/p/"), ("s3://b/p", "s3://b/p/q"), ("s3://b", "s3://b/p")] {
        let options = StoreOptions { copy: Some(copy.into()), ..StoreOptions::at(place) };
        assert_eq!(options.open(&note).unwrap_err().code(), "R0644", "{place} {copy}");
    }
    assert!(!path("a").exists(), "nothing was made");
    for (place, job) in [("a", 7), ("b", 8)] {
        let store = open(place, Some(&format!("copy-of-{place}"))).unwrap();
        let claim = tables::claim_of(1, 1, job);
        assert!(matches!(journal::write(store.as_ref(), EntryNumber(1), &claim), WriteOutcome::Written));
        drop(store);
    }
    assert_eq!(open("a", Some("copy-of-b")).unwrap_err().code(), "R0642");
    open("a", Some("copy-of-a")).unwrap();
    open("a", Some("new-copy")).unwrap();
    let new = open("new-copy", None).unwrap();
    assert_eq!(journal::read(new.as_ref()).unwrap().owner(), Some(Generation(1)), "a new copy is brought up to date");
    drop(new);
    // The copy is a state directory by itself, held by the run as the first is.
    let held = open("a", Some("copy-of-a")).unwrap();
    assert_eq!(LocalStore::open(&path("copy-of-a")).unwrap_err().code(), "R0623");
    drop(held);
    let copy = open("copy-of-a", None).unwrap();
    assert_eq!(journal::read(copy.as_ref()).unwrap().owner(), Some(Generation(1)));
}
