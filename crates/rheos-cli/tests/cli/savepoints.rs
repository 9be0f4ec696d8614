//! `rheos savepoint`, and `rheos run --from NAME`.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileTypeExt;
use std::process::{Child, Command};

use crate::process::{Outcome, Sandbox, start};

/// Numbers, in windows of seven by their value: `out` has the start of each window, how many, and their sum. Windows of a
/// thousand days stay open. `seen` prints each hundredth number.
const SQL: &str = "\
    CREATE TABLE n (id BIGINT, at AS to_timestamp_seconds(id), WATERMARK FOR at AS at) WITH ('connector' = 'datagen', \
    'rows-per-second' = '5000/s', 'fields.id.kind' = 'sequence');
    CREATE TABLE o (first BIGINT, n BIGINT, s BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', \
    'format' = 'csv', 'sink.commit-interval' = '1 h');
    CREATE TABLE seen (id BIGINT) WITH ('connector' = 'print');
    INSERT INTO seen SELECT id FROM n WHERE id % 100 = 0;
    INSERT INTO o SELECT min(id), count(*), sum(id) FROM TABLE(TUMBLE(TABLE n, DESCRIPTOR(at), INTERVAL '7' SECOND)) \
    GROUP BY window_start, window_end";

fn run(sandbox: &Sandbox, workers: &str, args: &[&str]) -> Child {
    let all = ["run", "-c", SQL, "--state-dir", "state", "-p", workers, "--set", "checkpoint.interval=20 ms"];
    let mut child = start(sandbox.command(&[&all[..], args].concat()));
    let mut rows = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    (0..5).for_each(|_| assert!(rows.read_line(&mut line).unwrap() > 0, "{line}"));
    // The rest is read by nobody in particular, but the job must not wait for that.
    std::thread::spawn(move || rows.lines().for_each(drop));
    child
}

fn end(mut child: Child) -> Outcome {
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    Outcome { code: child.wait().unwrap().code().unwrap_or(-1), stdout: String::new(), stderr }
}

fn signal(child: &Child, signal: &str) {
    let done = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap();
    assert!(done.success());
}

/// All windows that have been written are there once, without a gap, and right.
fn check_windows(sandbox: &Sandbox) -> u64 {
    let mut rows: Vec<Vec<u64>> = vec![];
    for file in fs::read_dir(sandbox.path("out")).unwrap() {
        let file = file.unwrap();
        if !file.file_name().to_string_lossy().starts_with('.') {
            let text = fs::read_to_string(file.path()).unwrap();
            rows.extend(text.lines().skip(1).map(|line| line.split(',').map(|v| v.parse().unwrap()).collect()));
        }
    }
    rows.sort_unstable();
    let windows = rows.len() as u64;
    let expected: Vec<Vec<u64>> = (0..windows).map(|w| vec![7 * w, 7, (7 * w..7 * w + 7).sum()]).collect();
    assert_eq!(rows, expected);
    windows
}

fn create(sandbox: &Sandbox, args: &[&str]) -> Outcome {
    sandbox.run(&[&["savepoint", "create", "state"], args].concat())
}

#[test]
fn a_job_goes_on_from_a_savepoint_with_other_workers() {
    let sandbox = Sandbox::new();
    let child = run(&sandbox, "1", &[]);
    let made = create(&sandbox, &["first"]);
    let number: u64 = made.expect_code(0).expect_talk("savepoint 'first' is complete").stdout.trim().parse().unwrap();
    let released = check_windows(&sandbox);
    signal(&child, "KILL");
    end(child).expect_code(-1);
    // Since then nothing has become visible: the savepoint loses nothing and repeats nothing.
    let child = run(&sandbox, "3", &["--from", "first"]);
    let taken = create(&sandbox, &["first"]);
    taken.expect_code(5).expect_talk("error[R0612]: there is a savepoint 'first' already");
    create(&sandbox, &["second", "--stop"]).expect_code(0).expect_talk("and the job stops with it");
    end(child).expect_code(0);
    let windows = check_windows(&sandbox);
    assert!(windows > released, "{windows} and {released}");
    let child = run(&sandbox, "2", &["--from", "second"]);
    signal(&child, "INT");
    end(child).expect_code(0);
    assert!(check_windows(&sandbox) > windows);
    // Going back further would show output twice.
    let back = sandbox.run(&["run", "-c", SQL, "--state-dir", "state", "--from", "first"]);
    back.expect_code(65).expect_talk("error[R0609]: the job cannot go back to savepoint 'first'");
    let missing = sandbox.run(&["run", "-c", SQL, "--state-dir", "state", "--from", "third"]);
    missing.expect_code(4).expect_talk("error[R0608]: there is no savepoint 'third'");
    let listed = sandbox.run(&["savepoint", "list", "state", "-o", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.expect_code(0).stdout).unwrap();
    assert_eq!((&listed[0]["name"], &listed[0]["workers"]), (&"second".into(), &3.into()));
    assert_eq!((&listed[1]["name"], &listed[1]["number"]), (&"first".into(), &number.into()));
}

#[test]
fn savepoints_are_kept_until_they_are_deleted() {
    let sandbox = Sandbox::new();
    let child = run(&sandbox, "2", &[]);
    let empty = sandbox.run(&["savepoint", "list", "state"]);
    empty.expect_code(0).expect_data("").expect_talk("there are no savepoints");
    let made = create(&sandbox, &["kept", "-q"]);
    let number: u64 = made.expect_code(0).stdout.trim().parse().unwrap();
    assert_eq!(made.stderr, "");
    // Ten later checkpoints: more than are kept.
    let newest = || {
        let listed = sandbox.run(&["checkpoint", "list", "state", "-o", "json"]);
        let listed: serde_json::Value = serde_json::from_str(&listed.expect_code(0).stdout).unwrap();
        listed[0]["number"].as_u64().unwrap()
    };
    while newest() < number + 10 {
        std::thread::yield_now();
    }
    let inspected = sandbox.run(&["checkpoint", "verify", "state", "kept"]);
    inspected.expect_code(0);
    let busy = sandbox.run(&["savepoint", "delete", "state", "kept"]);
    busy.expect_code(75).expect_talk("error[R0623]");
    signal(&child, "INT");
    end(child).expect_code(0);
    let other = sandbox.run(&["savepoint", "delete", "state", "other"]);
    other.expect_code(4).expect_talk("error[R0608]: there is no savepoint 'other'");
    // A checkpoint without a name is none.
    sandbox.run(&["savepoint", "delete", "state", &newest().to_string()]).expect_code(4);
    let deleted = sandbox.run(&["savepoint", "delete", "state", "kept"]);
    deleted.expect_code(0).expect_talk("savepoint 'kept' is deleted");
    sandbox.run(&["savepoint", "list", "state"]).expect_code(0).expect_data("");
}

#[test]
fn a_job_that_does_not_run_is_not_asked() {
    let sandbox = Sandbox::with(&[("data/a.csv", b"a\n1\n")]);
    create(&sandbox, &["a"]).expect_code(66).expect_talk("error[R0624]");
    sandbox.run(&["savepoint", "create", "data", "a"]).expect_code(66).expect_talk("error[R0624]");
    for name in ["17", "none", "a b", ""] {
        create(&sandbox, &[name]).expect_code(2).expect_talk(&format!("invalid value '{name}' for '<NAME>'"));
    }
    create(&sandbox, &["a", "--timeout", "5"]).expect_code(2).expect_talk("the unit is missing");
    let child = run(&sandbox, "1", &[]);
    signal(&child, "KILL");
    end(child).expect_code(-1);
    // The socket is still there, and nobody listens.
    let socket = sandbox.path("state/control.sock");
    assert!(fs::metadata(&socket).unwrap().file_type().is_socket());
    create(&sandbox, &["a"])
        .expect_code(69)
        .expect_talk("error[R0671]: no job is running on the state directory 'state'");
    let child = run(&sandbox, "2", &[]);
    create(&sandbox, &["a", "--stop"]).expect_code(0);
    end(child).expect_code(0);
    assert!(!socket.exists());
    create(&sandbox, &["b"]).expect_code(69).expect_talk("error[R0671]");
}
