//! `rheos run --state-dir`: jobs that go on where they were.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Command;

use crate::process::{Sandbox, start};

const NUMBERS: &str = "CREATE TABLE n (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '2000/s', \
    'fields.id.kind' = 'sequence');";
const FILES: &str =
    "WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv', 'sink.commit-interval' = '0 s');";

/// The first column of all visible parts.
fn written(sandbox: &Sandbox) -> Vec<u64> {
    let mut ids = vec![];
    for file in fs::read_dir(sandbox.path("out")).unwrap() {
        let file = file.unwrap();
        if !file.file_name().to_string_lossy().starts_with('.') {
            let text = fs::read_to_string(file.path()).unwrap();
            ids.extend(text.lines().skip(1).map(|line| line.split(',').next().unwrap().parse::<u64>().unwrap()));
        }
    }
    ids.sort_unstable();
    ids
}

#[test]
fn a_job_that_is_stopped_or_killed_goes_on_without_a_gap() {
    let sandbox = Sandbox::new();
    let sql = format!(
        "{NUMBERS} CREATE TABLE o (id BIGINT) {FILES} CREATE TABLE seen (id BIGINT) WITH ('connector' = 'print');
         INSERT INTO o SELECT id FROM n; INSERT INTO seen SELECT id FROM n WHERE id % 100 = 0"
    );
    for (workers, signal) in [("1", "INT"), ("3", "KILL"), ("2", "TERM"), ("1", "KILL"), ("3", "INT")] {
        let args = ["run", "-c", &sql, "--state-dir", "state", "-p", workers, "--set", "checkpoint.interval=50 ms"];
        let mut child = start(sandbox.command(&args));
        let mut rows = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..5 {
            rows.next().unwrap().unwrap();
        }
        let done = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap();
        assert!(done.success());
        rows.for_each(drop);
        let mut talk = String::new();
        child.stderr.take().unwrap().read_to_string(&mut talk).unwrap();
        let code = child.wait().unwrap().code();
        assert_eq!(code, (signal != "KILL").then_some(0), "{signal}: {talk}");
        assert!(
            talk.contains("o is written exactly-once\n")
                && talk.contains("seen is written at-least-once")
                && talk.contains("the job is at-least-once\n"),
            "{talk}"
        );
    }
    let ids = written(&sandbox);
    assert!(ids.len() > 1000, "{}", ids.len());
    // Of what was staged when the job was killed, the last commits may be missing, but nothing in between.
    let all: Vec<u64> = (0..ids.len() as u64).collect();
    assert_eq!(ids, all, "each number once, without a gap");
}

#[test]
fn a_finished_job_has_nothing_to_do() {
    let sandbox = Sandbox::with(&[("in.csv", b"id,at\n1,2024-01-01 00:00:00\n2,2024-01-01 00:00:01\n")]);
    let sql = format!(
        "CREATE TABLE t (id BIGINT, at TIMESTAMP(3), WATERMARK FOR at AS at) WITH ('connector' = 'filesystem', 'path' = 'in.csv', \
         'format' = 'csv'); CREATE TABLE o (n BIGINT) {FILES} INSERT INTO o SELECT count(*) FROM TABLE(TUMBLE(TABLE t, \
         DESCRIPTOR(at), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end"
    );
    let args = ["run", "-c", &sql, "--state-dir", "state"];
    sandbox.run(&args).expect_code(0).expect_talk("state in state");
    assert_eq!(written(&sandbox), [2]);
    sandbox.run(&args).expect_code(0).expect_talk("the job had come to its end before: there is nothing to do");
    assert_eq!(written(&sandbox), [2]);
    let list = sandbox.run(&["checkpoint", "list", "state"]);
    assert!(list.expect_code(0).stdout.contains("the job had finished"), "{}", list.stdout);
    // Another start from nothing would show the row twice.
    let fresh = ["run", "-c", &sql, "--state-dir", "state", "--from", "none"];
    sandbox.run(&fresh).expect_code(65).expect_talk("error[R0609]");
    assert_eq!(written(&sandbox), [2]);
    sandbox.run(&[&fresh[..], &["--accept-duplicates"]].concat()).expect_code(0);
    assert_eq!(written(&sandbox), [2, 2]);
}

#[test]
fn a_program_that_lacks_a_step_with_state_is_refused() {
    let sandbox = Sandbox::new();
    let windows = |length: &str| {
        format!(
            "CREATE TABLE n (id BIGINT, at TIMESTAMP, WATERMARK FOR at AS at) WITH ('connector' = 'datagen', \
             'rows-per-second' = '1000/s', 'fields.id.kind' = 'sequence'); CREATE TABLE o (n BIGINT) {FILES} \
             CREATE TABLE seen (id BIGINT) WITH ('connector' = 'print'); INSERT INTO seen SELECT id FROM n; \
             INSERT INTO o SELECT count(*) FROM TABLE(TUMBLE(TABLE n, DESCRIPTOR(at), INTERVAL '{length}' DAY)) \
             GROUP BY window_start, window_end"
        )
    };
    let sql = windows("365000");
    let mut child = start(sandbox.command(&["run", "-c", &sql, "--state-dir", "state"]));
    let mut rows = BufReader::new(child.stdout.take().unwrap()).lines();
    rows.next().unwrap().unwrap();
    // A checkpoint with the window's state.
    let has_state = |list: &str| list.lines().nth(1).is_some_and(|newest| !newest.contains(" 0 B "));
    while !has_state(&sandbox.run(&["checkpoint", "list", "state"]).stdout) {
        rows.next().unwrap().unwrap();
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    rows.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let other = windows("300000");
    let changed = sandbox.run(&["run", "-c", &other, "--state-dir", "state"]);
    changed.expect_code(65).expect_talk("error[R0611]").expect_talk("--allow-dropped-state");
    // What has been let go is not asked for again.
    for accepted in [&["--allow-dropped-state"][..], &[]] {
        let command = [&["run", "-c", &other, "--state-dir", "state"][..], accepted].concat();
        let mut child = start(sandbox.command(&command));
        let mut rows = BufReader::new(child.stdout.take().unwrap()).lines();
        rows.next().unwrap().unwrap();
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        rows.for_each(drop);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{accepted:?}");
    }
}

/// Waits until the state directory holds a newer entry of the journal than `than`; gives the newest.
fn newer_entry(sandbox: &Sandbox, than: &str) -> String {
    loop {
        let entries = fs::read_dir(sandbox.path("state/journal")).into_iter().flatten();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        if let Some(newest) = names.filter(|n| n.ends_with(".json") && n.as_str() > than).max() {
            return newest;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_state_directory_that_is_moved_away_and_back_is_missed_and_nothing_is_lost() {
    let sandbox = Sandbox::new();
    let sql = format!(
        "CREATE TABLE n (id BIGINT, at TIMESTAMP, WATERMARK FOR at AS at) WITH ('connector' = 'datagen', \
         'rows-per-second' = '2000/s', 'fields.id.kind' = 'sequence'); CREATE TABLE o (id BIGINT) {FILES} \
         CREATE TABLE w (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'w', 'format' = 'csv'); \
         INSERT INTO o SELECT id FROM n; INSERT INTO w SELECT count(*) \
         FROM TABLE(TUMBLE(TABLE n, DESCRIPTOR(at), INTERVAL '365000' DAY)) GROUP BY window_start, window_end"
    );
    let args = ["run", "-c", &sql, "--state-dir", "state", "-p", "2", "--set", "checkpoint.interval=50 ms"];
    let run = |meanwhile: &dyn Fn(&mut dyn BufRead)| {
        let mut child = start(sandbox.command(&args));
        let mut talk = BufReader::new(child.stderr.take().unwrap());
        meanwhile(&mut talk);
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let mut rest = String::new();
        talk.read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
    };
    run(&|talk| {
        let first = newer_entry(&sandbox, &newer_entry(&sandbox, ""));
        fs::rename(sandbox.path("state"), sandbox.path("away")).unwrap();
        let mut lines = talk.lines().map(|line| line.unwrap());
        let warned = lines.find(|line| line.contains("has been removed or renamed")).unwrap();
        assert!(warned.starts_with("warning: ") && !sandbox.path("state").exists(), "{warned}");
        fs::rename(sandbox.path("away"), sandbox.path("state")).unwrap();
        newer_entry(&sandbox, &newer_entry(&sandbox, &first));
    });
    sandbox.run(&["checkpoint", "verify", "state"]).expect_code(0);
    let newest = newer_entry(&sandbox, "");
    run(&|_| drop(newer_entry(&sandbox, &newer_entry(&sandbox, &newest))));
    let ids = written(&sandbox);
    let all: Vec<u64> = (0..ids.len() as u64).collect();
    assert_eq!(ids, all, "each number once, without a gap");
}

#[test]
fn what_a_job_writes_is_not_its_input() {
    let sandbox = Sandbox::with(&[("in/a.csv", b"id\n1\n")]);
    let sql = |path: &str, to: &str| {
        format!(
            "CREATE TABLE t (id BIGINT) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'csv', \
             'source.monitor-interval' = '100 ms'); CREATE TABLE o (id BIGINT) WITH ('connector' = 'filesystem', \
             'path' = '{to}', 'format' = 'csv'); INSERT INTO o SELECT id FROM t"
        )
    };
    let below = sandbox.run(&["run", "-c", &sql("in", "out"), "--state-dir", "in/state"]);
    below.expect_code(5).expect_talk("error[R0410]").expect_talk("where the job keeps its state").expect_talk("try: ");
    let copy = ["run", "-c", &sql("in", "out"), "--state-dir", "state", "--copy-dir", "in/copy"];
    sandbox.run(&copy).expect_code(5).expect_talk("error[R0410]");
    for (path, to) in [("in", "in"), ("in", "in/o"), ("in/*.csv", "in"), ("in/**/*.csv", "in/o"), ("in", "new/../in/o")]
    {
        let own = sandbox.run(&["run", "-c", &sql(path, to)]);
        own.expect_code(5).expect_talk("error[R0410]").expect_talk("its own output for ever");
    }
    assert!(!sandbox.path("in/o").exists() && !sandbox.path("out").exists(), "nothing was written");
    let left = ["in/state", "in/copy", "state"].map(|folder| sandbox.path(folder).exists());
    assert_eq!(left, [false; 3], "a refused run leaves no folder of state");
    // Input that ends does not meet its output.
    let reads_once = sql("in", "in/o").replace(", 'source.monitor-interval' = '100 ms'", "");
    sandbox.run(&["run", "-c", &reads_once]).expect_code(0);
}

#[test]
fn a_state_directory_is_for_one_run_and_for_state() {
    let sandbox = Sandbox::with(&[("data/a.csv", b"a\n1\n")]);
    let sql = format!("{NUMBERS} SELECT id FROM n");
    let mut child = start(sandbox.command(&["run", "-c", &sql, "--state-dir", "state"]));
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let second = sandbox.run(&["run", "-c", &sql, "--state-dir", "state"]);
    second.expect_code(75).expect_talk("error[R0623]").expect_talk(&format!("process {}", child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    sandbox.run(&["run", "-c", "SELECT 1", "--state-dir", "data"]).expect_code(65).expect_talk("error[R0625]");
    let of_another = sandbox.run(&["run", "-c", "SELECT 1", "--state-dir", "new", "--from", "other/state"]);
    of_another.expect_code(2).expect_talk("copy that directory while no run uses it, and give the copy as --state-dir");
    sandbox.run(&["run", "-c", "SELECT 1", "--from", "3"]).expect_code(2).expect_talk("--state-dir");
    let names: BTreeSet<_> = fs::read_dir(sandbox.path("data")).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(names.len(), 1, "nothing was put there: {names:?}");
}

#[test]
fn a_named_query_goes_on_with_its_state_when_other_rows_come_to_it() {
    let sandbox = Sandbox::new();
    let sql = |hint: &str, condition: &str| {
        format!(
            "CREATE TABLE n (id BIGINT, at TIMESTAMP, WATERMARK FOR at AS at) WITH ('connector' = 'datagen', \
             'rows-per-second' = '1000/s', 'fields.id.kind' = 'sequence'); CREATE TABLE o (n BIGINT) {FILES} \
             CREATE TABLE seen (id BIGINT) WITH ('connector' = 'print'); INSERT INTO seen SELECT id FROM n; \
             INSERT INTO o SELECT {hint} count(*) FROM TABLE(TUMBLE(TABLE n, DESCRIPTOR(at), INTERVAL '365000' DAY)) \
             WHERE {condition} GROUP BY window_start, window_end"
        )
    };
    // Runs until a row is shown and there is state; gives the count in it.
    let run = |sql: &str| -> i64 {
        let args = ["run", "-c", sql, "--state-dir", "state", "--set", "checkpoint.interval=50 ms"];
        let mut child = start(sandbox.command(&args));
        let mut rows = BufReader::new(child.stdout.take().unwrap()).lines();
        let read = || sandbox.run(&["state", "read", "state", "--operator", "total-tumble", "-o", "jsonl"]);
        while read().stdout.is_empty() {
            rows.next().unwrap().unwrap();
        }
        for _ in 0..50 {
            rows.next().unwrap().unwrap();
        }
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        rows.for_each(drop);
        let mut talk = String::new();
        child.stderr.take().unwrap().read_to_string(&mut talk).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{talk}");
        // Each epoch has handed over what it counted.
        let state = read().expect_code(0).stdout.clone();
        let count = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["count(1)[count]"].as_i64();
        state.lines().map(|line| count(line).unwrap_or_else(|| panic!("{line}"))).sum()
    };
    let first = run(&sql("/*+ id('total') */", "id >= 0"));
    let second = run(&sql("/*+ id('total') */", "id >= 0 AND id % 2 < 5"));
    assert!(first > 0 && second >= first + 50, "{first} rows, then {second}");
    let other = sandbox.run(&["run", "-c", &sql("", "id >= 0"), "--state-dir", "state"]);
    other.expect_code(65).expect_talk("error[R0611]").expect_talk("total-");
    let listed = sandbox.run(&["state", "list", "state"]);
    assert!(listed.expect_code(0).stdout.contains("tumble"), "{}", listed.stdout);
}

#[test]
fn input_that_is_gone_at_the_start_ends_a_job_that_ends_with_its_input() {
    let rows: String = (0..1_000_000).map(|id| format!("{id}\n")).collect();
    let sandbox = Sandbox::with(&[("in.csv", format!("id\n{rows}").as_bytes())]);
    let sql = format!(
        "CREATE TABLE t (id BIGINT) WITH ('connector' = 'filesystem', 'path' = 'in*.csv', 'format' = 'csv'); \
         CREATE TABLE o (id BIGINT) {FILES} CREATE TABLE seen (id BIGINT) WITH ('connector' = 'print'); \
         INSERT INTO o SELECT id FROM t WHERE id % 1000 = 0; INSERT INTO seen SELECT id FROM t"
    );
    let args = ["run", "-c", &sql, "--state-dir", "state", "-p", "1"];
    let mut child = start(sandbox.command(&args));
    let mut shown = BufReader::new(child.stdout.take().unwrap()).lines();
    shown.next().unwrap().unwrap();
    // The pipe is full long before the input has been read.
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert!(shown.count() < 999_999);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    fs::rename(sandbox.path("in.csv"), sandbox.path("away")).unwrap();
    let refused = sandbox.run(&args);
    refused.expect_code(66).expect_talk("error[R0201]").expect_talk("try: look at the path");
    assert!(!refused.stderr.contains("restart"), "{}", refused.stderr);
    fs::rename(sandbox.path("away"), sandbox.path("in.csv")).unwrap();
    sandbox.run(&args).expect_code(0);
    assert_eq!(written(&sandbox), (0..1_000_000).step_by(1000).collect::<Vec<u64>>());
}

#[test]
fn a_table_may_have_a_long_name() {
    let sandbox = Sandbox::with(&[("in.csv", b"id\n1\nx\n")]);
    let table = "t".repeat(300);
    let sql = format!(
        "CREATE TABLE {table} (id BIGINT) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv'); \
         SELECT id FROM {table}"
    );
    sandbox.run(&["run", "-c", &sql, "--state-dir", "state"]).expect_code(0).expect_data("{\"id\":1}\n");
}

#[test]
fn a_stop_says_what_becomes_of_open_windows_and_a_time_to_live_that_it_changes_nothing() {
    let sandbox = Sandbox::new();
    let sql = format!(
        "SET 'state.ttl' = '1 d'; {NUMBERS} CREATE TABLE o (n BIGINT) {FILES} CREATE TABLE seen (id BIGINT) WITH \
         ('connector' = 'print'); INSERT INTO seen SELECT /*+ ttl('2 d') */ id FROM n"
    );
    let validated = sandbox.run(&["validate", "-c", &sql]);
    validated.expect_code(0).expect_talk("warning: setting 'state.ttl' changes nothing here");
    validated.expect_talk("warning: the hint ttl in line 1 changes nothing here");
    assert_eq!(validated.stderr.matches("warning").count(), 2, "{}", validated.stderr);
    let none = sandbox.run(&["validate", "-c", &sql.replace("'1 d'", "'0 s'").replace("/*+ ttl('2 d') */", "")]);
    assert!(!none.expect_code(0).stderr.contains("warning"), "{}", none.stderr);
    let sql = "CREATE TABLE n (id BIGINT, at TIMESTAMP, WATERMARK FOR at AS at) WITH ('connector' = 'datagen', \
         'rows-per-second' = '1000/s', 'fields.id.kind' = 'sequence'); CREATE TABLE seen (id BIGINT) WITH \
         ('connector' = 'print'); CREATE TABLE o (n BIGINT) WITH ('connector' = 'blackhole'); INSERT INTO seen SELECT id \
         FROM n; INSERT INTO o SELECT count(*) FROM TABLE(TUMBLE(TABLE n, DESCRIPTOR(at), INTERVAL '365000' DAY)) \
         GROUP BY window_start, window_end";
    let stopped = |end: &dyn Fn(u32)| {
        let mut child = start(sandbox.command(&["run", "-c", sql, "--state-dir", "state", "-p", "1"]));
        let mut rows = BufReader::new(child.stdout.take().unwrap()).lines();
        rows.next().unwrap().unwrap();
        let reader = std::thread::spawn(move || rows.for_each(drop));
        end(child.id());
        reader.join().unwrap();
        let mut talk = String::new();
        child.stderr.take().unwrap().read_to_string(&mut talk).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{talk}");
        assert!(talk.contains("stopped with an open window; it goes on with the job\n"), "{talk}");
        talk
    };
    let by_signal = stopped(&|id| {
        assert!(Command::new("kill").args(["-INT", &id.to_string()]).status().unwrap().success());
    });
    assert!(!by_signal.contains("savepoint"), "{by_signal}");
    let by_savepoint = stopped(&|_| {
        sandbox.run(&["savepoint", "create", "state", "done", "--stop"]).expect_code(0);
    });
    assert!(by_savepoint.contains("stopped with a savepoint; records that were read behind it"), "{by_savepoint}");
}
