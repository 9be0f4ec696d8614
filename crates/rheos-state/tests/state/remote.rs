//! Object stores, with one in memory: the lease, the probe, looks. Requests are tried against a server by `tests/s3`.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use rheos_core::{Error, ErrorKind};
use rheos_state::store::{CheckpointStore, Creation, Note, RemoteStore};

const VALID: Duration = Duration::from_millis(300);

fn noting() -> (Note, Arc<Mutex<Vec<String>>>) {
    let notes: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&notes);
    (Arc::new(move |error: &Error| seen.lock().unwrap().push(error.message().to_string())), notes)
}

fn take(bucket: &Arc<InMemory>, prefix: &str) -> rheos_core::Result<RemoteStore> {
    let shown = format!("mem://bucket/{prefix}");
    RemoteStore::take(Arc::clone(bucket) as Arc<dyn ObjectStore>, prefix, &shown, VALID, &noting().0)
}

/// An object in the bucket, as others see it.
fn raw(bucket: &InMemory, path: &str) -> Option<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let read = async { bucket.get(&Path::from(path)).await.ok()?.bytes().await.ok() };
    runtime.block_on(read).map(|b| b.to_vec())
}

fn put_raw(bucket: &InMemory, path: &str, bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(bucket.put(&Path::from(path), bytes.to_vec().into())).unwrap();
}

#[test]
fn a_prefix_has_one_run() {
    let bucket = Arc::new(InMemory::new());
    let first = take(&bucket, "jobs/a").unwrap();
    first.create("journal/1.json", b"entry").unwrap();
    assert_eq!(raw(&bucket, "jobs/a/journal/1.json").unwrap(), b"entry");
    let error = take(&bucket, "jobs/a").unwrap_err();
    assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::InUse, "R0623"));
    let told = error.message();
    assert!(
        told.contains(&format!("process {}", std::process::id())) && told.contains("mem://bucket/jobs/a"),
        "{told}"
    );
    // Another prefix, also one that begins alike, is another job's.
    let other = take(&bucket, "jobs/ab").unwrap();
    assert_eq!(other.list("").unwrap(), []);
    drop(first);
    assert_eq!(raw(&bucket, "jobs/a/lease"), None, "a run that ends takes its lease with it");
    let second = take(&bucket, "jobs/a").unwrap();
    assert_eq!(second.read("journal/1.json", 9).unwrap().unwrap(), b"entry");
    let names: Vec<String> = second.list("").unwrap().into_iter().map(|l| l.name).collect();
    assert_eq!(names, ["journal/1.json"], "what the store needs for itself is not listed");
}

#[test]
fn a_lease_runs_out() {
    let bucket = Arc::new(InMemory::new());
    let gone =
        r#"{"holder":"process 1 on host 'gone'","nonce":"0000000000000000000000000000000a","beat":7,"process":null}"#;
    for lease in [gone.as_bytes(), b"what a later version may write"] {
        put_raw(&bucket, "p/lease", lease);
        let (note, notes) = noting();
        let store = RemoteStore::take(Arc::clone(&bucket) as _, "p", "mem://b/p", VALID, &note).unwrap();
        assert_eq!(notes.lock().unwrap().len(), 1, "who waits is told");
        assert_ne!(raw(&bucket, "p/lease").unwrap(), lease);
        drop(store);
    }
}

#[test]
fn a_run_that_was_taken_for_dead_gives_its_lease_up() {
    let bucket = Arc::new(InMemory::new());
    let store = take(&bucket, "p").unwrap();
    let other = br#"{"holder":"another","nonce":"0000000000000000000000000000000b","beat":1,"process":null}"#;
    put_raw(&bucket, "p/lease", other);
    drop(store);
    assert_eq!(raw(&bucket, "p/lease").unwrap(), other, "the other's lease stays");
}

#[test]
fn a_look_writes_nothing_and_a_bucket_with_other_things_is_refused() {
    let bucket = Arc::new(InMemory::new());
    put_raw(&bucket, "p/thesis.txt", b"years of work");
    let error = take(&bucket, "p").unwrap_err();
    assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Invalid, "R0625"));
    assert!(error.message().contains("thesis.txt"), "{error}");
    assert_eq!(take(&bucket, "").unwrap_err().code(), "R0625");
    assert_eq!(raw(&bucket, "p/probe"), None);
    take(&bucket, "q").unwrap();
}

#[test]
fn long_objects_go_in_parts_and_come_back_in_stretches() {
    let bucket = Arc::new(InMemory::new());
    let store = take(&bucket, "p").unwrap();
    // Above a part of 16 MiB, and no multiple of one.
    let long: Vec<u8> = (0..(40_u32 << 20) + 17).map(|i| (i >> 3) as u8).collect();
    assert_eq!(store.create("objects/long", &long).unwrap(), Creation::Created);
    assert_eq!(store.create("objects/long", &long[1..]).unwrap(), Creation::Exists);
    let all = long.len() as u64;
    for range in [0..all, 1..all, (16 << 20) - 1..(16 << 20) + 1, (32 << 20)..all, all - 1..all] {
        let Range { start, end } = range;
        let read = store.read_range("objects/long", start..end).unwrap().unwrap();
        assert!(read == long[start as usize..end as usize], "{start}..{end}");
    }
    assert_eq!(store.read_range("objects/long", all - 1..all + 1).unwrap_err().code(), "R0626");
    store.replace("objects/long", &long[..17 << 20]).unwrap();
    assert_eq!(store.length_bytes("objects/long").unwrap(), Some(17 << 20));
    store.keep("objects/long").unwrap();
    assert_eq!(store.length_bytes("damaged/objects/long").unwrap(), Some(17 << 20));
}

#[test]
fn stores_are_used_on_threads_of_an_async_runtime_too() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    runtime.block_on(async {
        let bucket = Arc::new(InMemory::new());
        let store = take(&bucket, "p").unwrap();
        store.create("objects/a", b"one").unwrap();
        assert_eq!(store.read("objects/a", 9).unwrap().unwrap(), b"one");
    });
}
