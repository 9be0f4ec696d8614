//! `rheos checkpoint`: on a directory that is put together here, with the golden object as its state.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::sync::Arc;

use rheos_checkpoint::coordinator::WriteOutcome;
use rheos_checkpoint::journal::{Claim, Entry, EntryNumber, Nonce};
use rheos_checkpoint::manifest::{
    Checksum, JobPhase, LastRelease, Manifest, ObjectRef, OwnerRange, Program, Repeat, Segment, SinkState, SourceState,
    SplitProgress, SplitState,
};
use rheos_core::sink::ReleaseNumber;
use rheos_core::source::Split;
use rheos_core::{Epoch, Generation, JobId, WorkerId};
use rheos_state::store::{CheckpointStore, LocalStore};
use rheos_state::{journal, object};

use crate::process::Sandbox;

/// `aggregate-1` with `fired` (576 bytes) and `slices`, and `sort-4` with a segment without rows; epochs up to 17.
const OBJECT: &[u8] = include_bytes!("../../../rheos-state/tests/state/golden/object-v1.bin");
const NEWEST: &str = "state/objects/g1-w0-e17";
const EARLIER: &str = "state/objects/g1-w0-e18";

fn object(name: &str, segments: Vec<Segment>) -> ObjectRef {
    let (length_bytes, checksum) = (OBJECT.len() as u64, Checksum::of(OBJECT));
    ObjectRef { name: name.into(), length_bytes, checksum, segments }
}

fn split(id: &str, progress: SplitProgress) -> SplitState {
    let split = Split { id: id.into(), sequence: 0, not_before_ms: None, size_bytes: 0, descriptor: String::new() };
    SplitState { split, progress, max_event_time_ms: None }
}

fn manifest(entry: u64, epoch: u64, object: ObjectRef) -> Manifest {
    let splits =
        vec![split("a.csv:0", SplitProgress::Reading("4711".into())), split("b.csv:0", SplitProgress::Pending)];
    let source = SourceState {
        operator: "source-0".into(),
        watermark_ms: 1_357_000_200_000,
        enumerated: true,
        enumerator: String::new(),
        sequences: vec![],
        splits,
    };
    let number = ReleaseNumber { generation: Generation(1), sequence: 0 };
    let sink = |operator: &str, last_release| SinkState {
        operator: operator.into(),
        repeat: Repeat::Duplicates,
        last_release,
        releases: vec![],
        held: vec![],
    };
    Manifest {
        entry: EntryNumber(entry),
        generation: Generation(1),
        epoch: Epoch(epoch),
        phase: JobPhase::Running,
        savepoint: None,
        wall_time_ms: 1_700_000_000_123,
        processing_time_ms: 0,
        program: Program { fingerprint: "f00dfeed00000001".into(), context: vec![], operators: vec![] },
        parallelism: NonZeroU32::MIN,
        key_hash_version: 1,
        owners: vec![OwnerRange { first: 0, last: 1023, worker: WorkerId(0) }],
        objects: vec![object],
        sources: vec![source],
        sinks: vec![sink("sink-5", Some(LastRelease { number, through: Epoch(epoch) })), sink("sink-6", None)],
        counters: BTreeMap::from([("source-0/decoded".into(), u64::MAX), ("source-0/skipped".into(), 2)]),
        watermarks_ms: BTreeMap::new(),
    }
}

/// A claim, a savepoint of epoch 18 with a file of its own, and two checkpoints with another file; one of three is kept.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let store = LocalStore::open(&sandbox.path("state")).unwrap();
    store.create("objects/g1-w0-e17", OBJECT).unwrap();
    store.create("objects/g1-w0-e18", OBJECT).unwrap();
    let segments = object::read_index(&store, "g1-w0-e17").unwrap().unwrap();
    let savepoint = Manifest {
        savepoint: Some("before-upgrade".into()),
        phase: JobPhase::Draining,
        ..manifest(2, 18, object("g1-w0-e18", segments.clone()))
    };
    let claim = Claim {
        generation: Generation(1),
        nonce: Nonce(1),
        job: JobId(1),
        restored: None,
        first_epoch: Epoch(0),
        checkpoints_kept: NonZeroU32::MIN,
        damaged: vec![],
    };
    let with_segments = |entry, epoch| manifest(entry, epoch, object("g1-w0-e17", segments.clone()));
    let manifests = [savepoint, with_segments(3, 19), with_segments(4, 20)];
    let entries = manifests.into_iter().map(|m| Entry::Manifest(Arc::new(m)));
    for (number, entry) in (1..).zip([Entry::Claim(claim)].into_iter().chain(entries)) {
        assert_eq!(journal::write(&store, EntryNumber(number), &entry), WriteOutcome::Written);
    }
    sandbox
}

#[test]
fn checkpoints_are_listed_newest_first() {
    let sandbox = sandbox();
    let table = "\
NUMBER  TAKEN                     EPOCH  RUN   WORKERS  STATE    WHAT IT IS
4       2023-11-14 22:13:20.123Z  20     1     1        2.4 KiB  newest
3       2023-11-14 22:13:20.123Z  19     1     1        2.4 KiB  dropped
2       2023-11-14 22:13:20.123Z  18     1     1        2.4 KiB  kept, the job was being drained, savepoint 'before-upgrade'
";
    sandbox.run(&["checkpoint", "list", "state"]).expect_code(0).expect_data(table);
    let listed = sandbox.run(&["checkpoint", "list", "state", "-o", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.expect_code(0).stdout).unwrap();
    assert_eq!(listed[0]["number"], 4);
    assert_eq!(listed[0]["state_bytes"], OBJECT.len());
    assert_eq!((&listed[2]["savepoint"], &listed[2]["standing"]), (&"before-upgrade".into(), &"kept".into()));
}

#[test]
fn a_checkpoint_is_shown_with_what_it_holds() {
    let sandbox = sandbox();
    let text = "\
checkpoint  4
taken       2023-11-14 22:13:20.123Z
epoch       20
run         1
the job     ran on
savepoint   -
program     f00dfeed00000001
workers     1, over 1024 key groups
state       2.4 KiB in 1 files

SOURCE    WATERMARK            READING  PENDING
source-0  2013-01-01 00:30:00  1        1

OPERATOR     TABLE   LAYOUT            SPREAD      STATE    PARTS
aggregate-1  fired   window-fired/v1   by key      576 B    1
aggregate-1  slices  window-slices/v1  by key      1.1 KiB  1
sort-4       rows    sort-rows/v1      one worker  128 B    1

SINK    RELEASED THROUGH  TO COMMIT  HELD BACK
sink-5  epoch 20          0          0
sink-6  -                 0          0

COUNTER           TOTAL
source-0/decoded  18446744073709551615
source-0/skipped  2
";
    sandbox.run(&["checkpoint", "inspect", "state"]).expect_code(0).expect_data(text);
    let shown = sandbox.run(&["checkpoint", "inspect", "state", "before-upgrade", "-o", "json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown.expect_code(0).stdout).unwrap();
    assert_eq!((&shown["number"], &shown["manifest"]["epoch"]), (&2.into(), &18.into()));
    let missing = sandbox.run(&["checkpoint", "inspect", "state", "17"]);
    missing.expect_code(4).expect_talk("error[R0608]: there is no checkpoint or savepoint '17'");
}

#[test]
fn state_is_shown_as_rows() {
    let sandbox = sandbox();
    let list = "\
OPERATOR     NAME  TABLE   ROWS  STORED   SPREAD
aggregate-1  -     fired   2     576 B    by key
aggregate-1  -     slices  3     1.1 KiB  by key
sort-4       -     rows    0     128 B    one worker
";
    sandbox.run(&["state", "list", "state"]).expect_code(0).expect_data(list);
    let listed = sandbox.run(&["state", "list", "state", "--from", "before-upgrade", "-o", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.expect_code(0).stdout).unwrap();
    assert_eq!((&listed[1]["table"], &listed[1]["rows"]), (&"slices".into(), &3.into()));
    let read = |args: &[&str]| sandbox.run(&[&["state", "read", "state", "--operator"], args].concat());
    // The rows of golden/object-v1.py.
    let all = "\
{\"key_group\":3,\"slice\":6,\"origin\":\"ü\",\"sum\":0.5}
{\"key_group\":3,\"slice\":8,\"origin\":null,\"sum\":-0.0}
{\"key_group\":7,\"slice\":7,\"origin\":\"a text that is longer than a view\",\"sum\":null}
";
    read(&["aggregate-1"]).expect_code(0).expect_data(all);
    read(&["agg", "--table", "slices", "-o", "jsonl"]).expect_code(0).expect_data(all);
    let one = "key_group,slice,origin,sum\n3,6,ü,0.5\n";
    read(&["aggregate-1", "--key", "origin=ü", "-o", "csv"]).expect_code(0).expect_data(one);
    let none = "key_group,slice,origin,sum\n3,8,,-0.0\n";
    read(&["aggregate-1", "--key", "origin=", "--key", "slice=8", "-o", "csv"]).expect_code(0).expect_data(none);
    let marks =
        " key_group | watermark_ms\n-----------+--------------\n         0 |         1000\n       511 |         2000\n";
    read(&["aggregate-1", "--table", "fired", "-o", "table"]).expect_code(0).expect_data(marks);
    read(&["sort-4"]).expect_code(0).expect_data("");
    let missing = read(&["agregate-1"]);
    missing.expect_code(4).expect_talk("error[R0680]").expect_talk("did you mean 'aggregate-1'?");
    read(&["aggregate-1", "--table", "slice"]).expect_code(4).expect_talk("did you mean 'slices'?");
    read(&["aggregate-1", "--key", "orign=a"]).expect_code(65).expect_talk("error[R0682]").expect_talk("'origin'");
    read(&["aggregate-1", "--key", "slice=a"]).expect_code(65).expect_talk("'a' is no BIGINT, as column 'slice' holds");
}

#[test]
fn damage_is_found_and_named() {
    let sandbox = sandbox();
    let whole = "NUMBER  FILE  RESULT\n4       -     whole\n3       -     whole\n2       -     whole\n";
    sandbox.run(&["checkpoint", "verify", "state"]).expect_code(0).expect_data(whole);
    let mut bytes = fs::read(sandbox.path(NEWEST)).unwrap();
    bytes[1000] ^= 4;
    fs::write(sandbox.path(NEWEST), bytes).unwrap();
    let damaged = sandbox.run(&["checkpoint", "verify", "state"]);
    damaged.expect_code(3).expect_talk("error[R0626]: 2 of 3 checkpoints are damaged");
    damaged.expect_talk("going back to an older checkpoint is refused where output would show twice");
    assert!(damaged.stdout.contains("4       g1-w0-e17  damaged: its checksum is"), "{}", damaged.stdout);
    sandbox.run(&["checkpoint", "verify", "state", "2"]).expect_code(0);
    fs::remove_file(sandbox.path(EARLIER)).unwrap();
    let lost = sandbox.run(&["checkpoint", "verify", "state", "before-upgrade", "-o", "json"]);
    let lost: serde_json::Value = serde_json::from_str(&lost.expect_code(3).stdout).unwrap();
    assert_eq!(lost[0]["damaged"][0], serde_json::json!({ "file": "g1-w0-e18", "error": "it is missing" }));
    // A manifest that cannot be read, and one that has gone.
    fs::write(sandbox.path("state/journal/00000000000000000003.json"), b"{}").unwrap();
    fs::remove_file(sandbox.path("state/journal/00000000000000000004.json")).unwrap();
    let listed = sandbox.run(&["checkpoint", "list", "state"]);
    assert!(listed.expect_code(0).stdout.contains("cannot be read: it is missing"), "{}", listed.stdout);
    sandbox.run(&["checkpoint", "verify", "state"]).expect_code(3).expect_talk("3 of 3");
}

#[test]
fn what_cannot_be_read_is_told_for_what_it_is() {
    let sandbox = sandbox();
    let path = |number: u64| sandbox.path(&format!("state/journal/{number:020}.json"));
    let damage = |number: u64| {
        let whole = fs::read(path(number)).unwrap();
        fs::write(path(number), &whole[..whole.len() / 2]).unwrap();
        whole
    };
    // The claim: no checkpoint needs it.
    let claim = damage(1);
    let verified = sandbox.run(&["checkpoint", "verify", "state"]);
    verified
        .expect_code(3)
        .expect_talk("no checkpoint is damaged; of the records of when runs began, 1 cannot be read");
    assert!(verified.stdout.contains("damaged, and needed by no checkpoint"), "{}", verified.stdout);
    let listed = sandbox.run(&["checkpoint", "list", "state"]);
    assert!(!listed.expect_code(0).stdout.contains("cannot be read"), "{}", listed.stdout);
    sandbox.run(&["checkpoint", "verify", "state", "4"]).expect_code(0);
    fs::write(path(1), claim).unwrap();
    // The newest.
    damage(4);
    let newest = sandbox.run(&["checkpoint", "inspect", "state", "4"]);
    newest.expect_code(65).expect_talk("error[R0626]: checkpoint 4 cannot be read");
    sandbox.run(&["checkpoint", "verify", "state", "4"]).expect_code(3).expect_talk("1 of 1 checkpoints");
    let older = sandbox.run(&["checkpoint", "inspect", "state"]);
    older.expect_talk("warning: checkpoint 4 is newer than ").expect_talk("cannot be read");
    sandbox.run(&["checkpoint", "inspect", "state", "5"]).expect_code(4);
}

#[test]
fn the_copy_is_verified_too() {
    let sandbox = sandbox();
    for name in ["journal", "objects"] {
        fs::create_dir_all(sandbox.path("copy").join(name)).unwrap();
        for file in fs::read_dir(sandbox.path("state").join(name)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), sandbox.path("copy").join(name).join(file.file_name())).unwrap();
        }
    }
    let verify = ["checkpoint", "verify", "state", "4", "--copy-dir", "copy"];
    let whole = "STORE  NUMBER  FILE  RESULT\nfirst  4       -     whole\ncopy   4       -     whole\n";
    sandbox.run(&verify).expect_code(0).expect_data(whole);
    fs::write(sandbox.path("copy/objects/g1-w0-e17"), &OBJECT[..100]).unwrap();
    sandbox.run(&["checkpoint", "verify", "state", "4"]).expect_code(0);
    let damaged = sandbox.run(&verify);
    damaged.expect_code(3).expect_talk("1 of 2 checkpoints is damaged").expect_talk("each what the other has lost");
    assert!(damaged.stdout.contains("copy   4       g1-w0-e17  damaged: "), "{}", damaged.stdout);
    let json = sandbox.run(&[&verify[..], &["-o", "json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&json.expect_code(3).stdout).unwrap();
    let facts = |n: usize| (json[n]["store"].as_str().unwrap(), json[n]["whole"].as_bool().unwrap());
    assert_eq!([facts(0), facts(1)], [("first", true), ("copy", false)]);
}

#[test]
fn what_is_not_needed_can_be_deleted() {
    let sandbox = sandbox();
    let newest = sandbox.run(&["checkpoint", "delete", "state", "4"]);
    newest.expect_code(5).expect_talk("error[R0616]: checkpoint 4 is what the job goes on from");
    let run = LocalStore::open(&sandbox.path("state")).unwrap();
    let in_use = sandbox.run(&["checkpoint", "delete", "state", "before-upgrade"]);
    in_use.expect_code(75).expect_talk(&format!("is in use by process {}", std::process::id()));
    sandbox.run(&["checkpoint", "list", "state"]).expect_code(0);
    drop(run);
    // A process that another test starts in this moment may hold a copy of the lock until it runs its own program.
    let mut tries =
        std::iter::repeat_with(|| sandbox.run(&["checkpoint", "delete", "state", "before-upgrade"])).take(100);
    let deleted = tries.find(|outcome| outcome.code != 75).expect("the lock is free");
    deleted.expect_code(0).expect_data("").expect_talk("checkpoint 2 is deleted, with 1 files of state (2.4 KiB)");
    assert!(!sandbox.path(EARLIER).exists() && sandbox.path(NEWEST).exists());
    sandbox.run(&["checkpoint", "verify", "state"]).expect_code(0);
    sandbox.run(&["checkpoint", "delete", "state", "before-upgrade"]).expect_code(4);
}

#[test]
fn a_folder_that_is_no_state_directory_is_named_and_left_alone() {
    let sandbox = Sandbox::with(&[("data/flights.csv", b"origin\n"), ("empty/state/lock", b"")]);
    for (folder, why) in [
        ("absent", "error[R0624]: 'absent' is no state directory: it does not exist"),
        ("data", "it has no folder 'journal'"),
        ("data/flights.csv", "it is a file"),
    ] {
        for command in [&["list"][..], &["inspect"], &["verify"], &["delete", "1"]] {
            let args = ["checkpoint", command[0], folder].iter().chain(&command[1..]).copied().collect::<Vec<_>>();
            sandbox.run(&args).expect_code(66).expect_talk(why).expect_talk("try: ");
        }
    }
    assert!(!sandbox.path("absent").exists());
    fs::create_dir(sandbox.path("empty/state/journal")).unwrap();
    sandbox.run(&["checkpoint", "list", "empty/state"]).expect_code(0).expect_talk("there are no checkpoints yet");
    sandbox.run(&["checkpoint", "inspect", "empty/state"]).expect_code(4).expect_talk("there is no checkpoint");
    sandbox.run(&["checkpoint"]).expect_code(2);
    sandbox.run(&["checkpoint", "list"]).expect_code(2).expect_talk("<DIR>");
}
