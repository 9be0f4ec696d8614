//! The contract of a checkpoint store, on each store; then what is particular to a folder.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rheos_core::ErrorKind;
use rheos_state::store::{
    CheckpointStore, CopiedStore, Creation, Fault, KeyRing, LocalStore, MemoryStore, Note, Operation, RemoteStore,
    SealedStore, WriteFailure, put,
};
use rheos_state::{is_full, is_removed};

/// Every store, empty.
fn each(check: impl Fn(Arc<dyn CheckpointStore>)) {
    let folder = tempfile::tempdir().unwrap();
    check(Arc::new(LocalStore::open(&folder.path().join("state")).unwrap()));
    check(Arc::new(MemoryStore::new()));
    let note: Note = Arc::new(|_| ());
    for prefix in ["", "jobs/a"] {
        let bucket = Arc::new(object_store::memory::InMemory::new());
        check(Arc::new(RemoteStore::take(bucket, prefix, "memory", Duration::from_secs(6), &note).unwrap()));
    }
    let keys = KeyRing::parse("k:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    let memory = || Arc::new(MemoryStore::new());
    check(Arc::new(SealedStore::new(memory(), keys.clone())));
    check(Arc::new(SealedStore::new(memory(), KeyRing::empty())));
    check(Arc::new(CopiedStore::new(memory(), Arc::new(SealedStore::new(memory(), keys)), note)));
}

fn names(store: &dyn CheckpointStore, prefix: &str) -> Vec<String> {
    store.list(prefix).unwrap().into_iter().map(|l| l.name).collect()
}

#[test]
fn a_name_is_taken_once() {
    each(|store| {
        assert_eq!(store.create("objects/a", b"one").unwrap(), Creation::Created);
        assert_eq!(store.create("objects/a", b"two").unwrap(), Creation::Exists);
        assert_eq!(store.read("objects/a", 3).unwrap().unwrap(), b"one");
        store.replace("objects/a", b"three").unwrap();
        store.replace("objects/b", b"").unwrap();
        assert_eq!(store.read("objects/a", 5).unwrap().unwrap(), b"three");
        assert_eq!(store.length_bytes("objects/a").unwrap(), Some(5));
        store.delete("objects/a").unwrap();
        store.delete("objects/a").unwrap();
        assert_eq!(store.create("objects/a", b"").unwrap(), Creation::Created);
        assert_eq!(store.length_bytes("objects/a").unwrap(), Some(0));
    });
}

#[test]
fn of_many_writers_one_wins() {
    each(|store| {
        let won = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let (store, won) = (&store, &won);
                scope.spawn(move || {
                    for entry in 0..10 {
                        let created = store.create(&format!("journal/{entry}"), &[writer]).unwrap();
                        won.fetch_add(usize::from(created == Creation::Created), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(won.into_inner(), 10);
        assert_eq!(names(&*store, "").len(), 10);
    });
}

#[test]
fn what_is_missing_is_told_apart_from_what_is_damaged() {
    each(|store| {
        assert_eq!(store.read("objects/a", 10).unwrap(), None);
        assert_eq!(store.read_range("objects/a", 0..10).unwrap(), None);
        assert_eq!(store.length_bytes("objects/a").unwrap(), None);
        store.create("objects/a", b"0123456789").unwrap();
        assert_eq!(store.read_range("objects/a", 3..6).unwrap().unwrap(), b"345");
        assert_eq!(store.read_range("objects/a", 10..10).unwrap().unwrap(), b"");
        #[allow(clippy::reversed_empty_ranges, reason = "a manifest may say so")]
        for range in [3..11, 11..11, 0..u64::MAX, 6..3] {
            let error = store.read_range("objects/a", range.clone()).unwrap_err();
            assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Corrupt, "R0626"), "{range:?}");
        }
        let error = store.read("objects/a", 9).unwrap_err();
        assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Corrupt, "R0626"));
    });
}

#[test]
fn names_are_listed_by_prefix_in_order() {
    each(|store| {
        for name in ["objects/g2-w0-e1", "objects/g1-w0-e1", "journal/1.json", "errors/a/b/1.json", "objectsx"] {
            store.create(name, name.as_bytes()).unwrap();
        }
        assert_eq!(names(&*store, "objects/"), ["objects/g1-w0-e1", "objects/g2-w0-e1"]);
        assert_eq!(names(&*store, "objects/g2"), ["objects/g2-w0-e1"]);
        assert_eq!(names(&*store, "errors/a/"), ["errors/a/b/1.json"]);
        assert_eq!(names(&*store, "nothing/"), [""; 0]);
        assert_eq!(names(&*store, "").len(), 5);
        let listed = store.list("objectsx").unwrap();
        assert!(listed[0].length_bytes >= 8);
        assert!(listed[0].age.is_none_or(|age| age < Duration::from_secs(600)));
    });
}

#[test]
fn names_that_lead_out_of_the_store_are_refused() {
    each(|store| {
        for name in ["../a", "/a", "objects/../../a", ".hidden", ""] {
            let codes = [
                store.create(name, b"").unwrap_err().error().code(),
                store.replace(name, b"").unwrap_err().error().code(),
                store.read(name, 1).unwrap_err().code(),
                store.read_range(name, 0..0).unwrap_err().code(),
                store.delete(name).unwrap_err().code(),
            ];
            assert_eq!(codes, ["R0620"; 5], "{name}");
        }
    });
}

#[test]
fn a_write_that_was_reported_as_failed_may_be_repeated() {
    each(|store| {
        put(&*store, "objects/a", b"one").unwrap();
        put(&*store, "objects/a", b"one").unwrap();
        assert_eq!(put(&*store, "objects/a", b"two").unwrap_err().code(), "R0628");
        assert_eq!(put(&*store, "objects/a", b"on").unwrap_err().code(), "R0628");
    });
}

#[test]
fn faults_do_what_they_are_named_after() {
    let store = MemoryStore::new();
    let fault = |fault| store.inject(Operation::Write, "objects/", 1, fault);
    fault(Fault::Full);
    let failure = store.create("objects/a", b"1").unwrap_err();
    assert!(matches!(&failure, WriteFailure::NotWritten(e) if is_full(e)));
    fault(Fault::Unreachable);
    assert!(matches!(store.create("objects/a", b"1").unwrap_err(), WriteFailure::NotWritten(e) if !is_full(&e)));
    fault(Fault::NotDoneUnknown);
    assert!(matches!(store.create("objects/a", b"1").unwrap_err(), WriteFailure::Unknown(_)));
    assert_eq!(store.read("objects/a", 9).unwrap(), None);
    fault(Fault::DoneUnknown);
    assert!(matches!(store.create("objects/a", b"1").unwrap_err(), WriteFailure::Unknown(_)));
    assert_eq!(store.create("objects/a", b"1").unwrap(), Creation::Exists);
    fault(Fault::Torn(2));
    let error = put(&store, "objects/b", b"1234").unwrap_err();
    assert_eq!((error.kind(), store.read("objects/b", 9).unwrap().unwrap()), (ErrorKind::Corrupt, b"12".to_vec()));
    fault(Fault::Slow(Duration::from_millis(1)));
    store.create("journal/a", b"").unwrap();
    store.create("objects/c", b"1").unwrap();
    store.inject(Operation::Read, "", 1, Fault::Unreachable);
    store.inject(Operation::List, "", 1, Fault::Unreachable);
    store.inject(Operation::Delete, "", 2, Fault::Unreachable);
    let errors = [store.read("objects/c", 9).unwrap_err(), store.list("").unwrap_err(), store.delete("a").unwrap_err()];
    assert!(errors.iter().all(|e| e.kind() == ErrorKind::External));
    store.heal();
    store.delete("a").unwrap();
    assert!(store.flip_bit("objects/c", 0, 0) && !store.flip_bit("objects/c", 1, 0));
    assert_eq!(store.read("objects/c", 9).unwrap().unwrap(), b"0");
    assert!(store.truncate("objects/c", 0) && !store.truncate("objects/c", 0));
    assert_eq!((store.lose("objects/c"), store.lose("objects/c")), (Some(vec![]), None));
}

#[test]
fn a_folder_has_one_run_and_any_number_of_looks() {
    let folder = tempfile::tempdir().unwrap();
    let first = LocalStore::open(folder.path()).unwrap();
    first.create("journal/1.json", b"entry").unwrap();
    let error = LocalStore::open(folder.path()).unwrap_err();
    assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::InUse, "R0623"));
    let pid = format!("process {}", std::process::id());
    let shown = fs::canonicalize(folder.path()).unwrap();
    let told = error.message();
    assert!(told.contains(&pid) && told.contains(shown.to_str().unwrap()) && error.hint().is_some(), "{told}");
    let view = LocalStore::view(folder.path()).unwrap();
    assert_eq!(view.read("journal/1.json", 9).unwrap().unwrap(), b"entry");
    assert_eq!(view.create("journal/2.json", b"").unwrap_err().error().kind(), ErrorKind::Internal);
    assert_eq!(view.delete("journal/1.json").unwrap_err().kind(), ErrorKind::Internal);
    drop(first);
    LocalStore::open(folder.path()).unwrap().delete("journal/1.json").unwrap();
}

#[test]
fn what_an_unfinished_write_left_goes_when_the_next_run_opens_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    drop(LocalStore::open(folder.path()).unwrap());
    let left = [folder.path().join("objects/.tmp-4711-0"), folder.path().join("journal/.tmp-4711-1")];
    left.iter().for_each(|path| fs::write(path, b"half").unwrap());
    // A look removes nothing: the file may be a write of the run that uses the folder.
    assert_eq!(names(&LocalStore::view(folder.path()).unwrap(), ""), [""; 0]);
    assert!(left[0].exists());
    let store = LocalStore::open(folder.path()).unwrap();
    assert!(left.iter().all(|path| !path.exists()));
    store.create("objects/a", b"1").unwrap();
    store.replace("objects/a", b"2").unwrap();
    let files = fs::read_dir(folder.path().join("objects")).unwrap().count();
    assert_eq!(files, 1, "writes leave nothing behind");
}

#[test]
fn a_folder_with_other_things_in_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = |path: &Path| LocalStore::view(path).unwrap_err();
    for path in [folder.path().join("missing"), folder.path().to_path_buf()] {
        let error = refusal(&path);
        assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::InputMissing, "R0624"));
    }
    fs::write(folder.path().join("thesis.txt"), b"years of work").unwrap();
    assert_eq!(refusal(&folder.path().join("thesis.txt")).code(), "R0624");
    let error = LocalStore::open(folder.path()).unwrap_err();
    assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Invalid, "R0625"));
    assert!(error.message().contains("thesis.txt"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was made in it");
    // A run that ended before it had made the journal.
    let half = folder.path().join("half");
    fs::create_dir_all(half.join("objects")).unwrap();
    fs::write(half.join("lock"), b"").unwrap();
    LocalStore::open(&half).unwrap();
}

#[test]
fn a_path_that_is_no_folder_is_named_for_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("notes"), folder.path().join("dangling"));
    fs::write(&file, b"").unwrap();
    std::os::unix::fs::symlink("/nowhere/state", &link).unwrap();
    for (path, why) in [(file, "is a file"), (link, "is a link to '/nowhere/state', where there is nothing")] {
        let error = LocalStore::open(&path).unwrap_err();
        assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Invalid, "R0625"));
        assert!(error.message().contains(why) && error.hint().is_some(), "{error}");
    }
    // What a run has left beside its journal is no work of others: that the journal is gone is for its reader to say.
    let left = folder.path().join("left");
    fs::create_dir_all(left.join("objects")).unwrap();
    fs::create_dir_all(left.join("errors/t")).unwrap();
    fs::write(left.join("control.sock"), b"").unwrap();
    LocalStore::open(&left).unwrap();
}

#[test]
fn a_folder_that_is_removed_or_renamed_is_missed_and_not_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let store = LocalStore::open(&at("state")).unwrap();
    store.create("objects/a", b"1").unwrap();
    let expect_removed = |what: &str| {
        let write = store.create("objects/b", b"2").unwrap_err();
        assert!(
            matches!(&write, WriteFailure::NotWritten(e) if is_removed(e) && e.hint().is_some()),
            "{what}: {write:?}"
        );
        let errors = [
            store.replace("objects/a", b"2").unwrap_err().error().clone(),
            store.list("").unwrap_err(),
            store.read("objects/c", 9).unwrap_err(),
            store.length_bytes("objects/c").unwrap_err(),
            store.delete("objects/a").unwrap_err(),
            store.missing(&["objects/a"]).unwrap_err(),
        ];
        assert!(errors.iter().all(is_removed), "{what}: {errors:?}");
    };
    fs::rename(at("state"), at("away")).unwrap();
    expect_removed("renamed");
    assert!(!at("state").exists());
    let other = LocalStore::open(&at("state")).unwrap();
    expect_removed("another in its place");
    assert_eq!(names(&other, ""), [""; 0]);
    // Who has stored nothing leaves nothing, but does not touch the folder of another.
    let moved = LocalStore::open(&at("moved")).unwrap();
    fs::rename(at("moved"), at("moved away")).unwrap();
    let in_its_place = LocalStore::open(&at("moved")).unwrap();
    drop(moved);
    in_its_place.create("objects/a", b"1").unwrap();
    drop(in_its_place);
    assert!(at("moved/journal").exists());
    drop(other);
    assert!(!at("state").exists());
    fs::rename(at("away"), at("state")).unwrap();
    store.create("objects/b", b"2").unwrap();
    assert_eq!(store.missing(&["objects/a", "objects/b"]).unwrap(), None);
    fs::remove_file(at("state/objects/a")).unwrap();
    assert_eq!(store.missing(&["objects/b", "objects/a"]).unwrap().as_deref(), Some("objects/a"));
    fs::remove_dir_all(at("state/objects")).unwrap();
    expect_removed("a folder inside");
    fs::create_dir(at("state/objects")).unwrap();
    expect_removed("another folder inside");
}

#[test]
fn where_nothing_may_be_written_the_error_says_so() {
    // `proc` refuses everybody, also root.
    let error = LocalStore::open(Path::new("/proc/rheos-state")).unwrap_err();
    assert_eq!(error.code(), "R0622");
    assert!(error.message().contains("/proc/rheos-state") && error.hint().is_some(), "{error}");
    let error = LocalStore::open(Path::new("/dev/null/state")).unwrap_err();
    assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::External, "R0622"));
}
