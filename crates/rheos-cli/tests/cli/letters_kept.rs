//! Dead letters that no query reads, over kills: they wait in the state directory until they become visible, wherever it is by then
//! and whatever the program has become; and event times that make a record a dead letter.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::process::{Outcome, Sandbox, start};

const TABLES: &str = "CREATE TABLE t (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'csv', \
    'source.monitor-interval' = '10 ms'); CREATE TABLE o (n BIGINT) WITH ('connector' = 'print'); INSERT INTO o SELECT n FROM t;";
const READ: &str = "CREATE TABLE bad (\"table\" STRING, split STRING, position BIGINT, received_at TIMESTAMP_LTZ(3), \
    reason STRING, raw BYTES) WITH ('connector' = 'filesystem', 'path' = 'bad', 'format' = 'json'); \
    INSERT INTO bad SELECT * FROM t$errors;";

fn put(sandbox: &Sandbox, name: &str, text: &str) {
    fs::create_dir_all(sandbox.path("in")).unwrap();
    fs::write(sandbox.path("new"), text).unwrap();
    fs::rename(sandbox.path("new"), sandbox.path("in").join(name)).unwrap();
}

fn run(sandbox: &Sandbox, sql: &str, args: &[&str]) -> Child {
    let set = ["run", "-c", sql, "-p", "2", "--set", "checkpoint.interval=20 ms"];
    start(sandbox.command(&[&set[..], args].concat()))
}

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap().success());
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).map_or(vec![], |files| files.map(|f| f.unwrap().path()).collect())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The raw bytes of the visible letters in a folder, as base64.
fn letters(folder: &Path) -> Vec<String> {
    let visible = files(folder).into_iter().filter(|f| !name(f).starts_with('.'));
    let text: String = visible.map(|f| fs::read_to_string(f).unwrap()).collect();
    let raw = |line: &str| line.split_once("\"raw\":\"").unwrap().1.split('"').next().unwrap().to_string();
    let mut raws: Vec<_> = text.lines().map(raw).collect();
    raws.sort_unstable();
    raws
}

/// Runs a job until the letter of a bad record is staged and listed by a checkpoint, and kills it.
fn killed_with_a_letter_that_waits(args: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    put(&sandbox, "a.csv", "n\n1\nx\n2\n");
    let mut child = run(&sandbox, TABLES, args);
    let hidden = |f: &PathBuf| name(f).starts_with(".part-") && fs::metadata(f).is_ok_and(|m| m.len() > 0);
    wait("no letter is staged", || files(&sandbox.path("state/errors/t")).iter().any(hidden));
    let newest =
        || files(&sandbox.path("state/journal")).iter().map(|f| name(f)).filter(|n| n.ends_with(".json")).max();
    for _ in 0..4 {
        let before = newest();
        wait("no checkpoint is made", || newest() > before);
    }
    child.kill().unwrap();
    let mut rows = String::new();
    child.stdout.take().unwrap().read_to_string(&mut rows).unwrap();
    assert_eq!(rows, "{\"n\":1}\n{\"n\":2}\n");
    child.wait().unwrap();
    assert_eq!(letters(&sandbox.path("state/errors/t")), [""; 0], "it is not visible yet");
    sandbox
}

/// Runs a job until it has printed this row, and stops it.
fn stopped_behind(sandbox: &Sandbox, sql: &str, args: &[&str], row: &str) -> Outcome {
    let mut child = run(sandbox, sql, args);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let seen = lines.any(|line| line.unwrap() == row);
    if seen {
        signal(&child, "INT");
    }
    let outcome = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&outcome.stderr).into_owned();
    assert!(seen, "'{row}' is not printed:\n{stderr}");
    Outcome { code: outcome.status.code().unwrap_or(-1), stdout: String::new(), stderr }
}

#[test]
fn a_state_directory_may_be_moved_while_letters_wait() {
    let sandbox = killed_with_a_letter_that_waits(&["--state-dir", "state"]);
    fs::rename(sandbox.path("state"), sandbox.path("moved")).unwrap();
    put(&sandbox, "b.csv", "n\ny\n3\n");
    stopped_behind(&sandbox, TABLES, &["--state-dir", "moved"], "{\"n\":3}").expect_code(0);
    // "x" and "y".
    assert_eq!(letters(&sandbox.path("moved/errors/t")), ["eA==", "eQ=="]);
}

#[test]
fn letters_that_wait_become_visible_though_a_query_reads_those_that_follow() {
    let sandbox = killed_with_a_letter_that_waits(&["--state-dir", "state"]);
    put(&sandbox, "b.csv", "n\ny\n3\n");
    let sql = format!("{TABLES}{READ}");
    stopped_behind(&sandbox, &sql, &["--state-dir", "state"], "{\"n\":3}").expect_code(0);
    assert_eq!(letters(&sandbox.path("state/errors/t")), ["eA=="]);
    assert_eq!(letters(&sandbox.path("bad")), ["eQ=="]);
    // And the other way round.
    put(&sandbox, "c.csv", "n\nz\n4\n");
    stopped_behind(&sandbox, TABLES, &["--state-dir", "state"], "{\"n\":4}").expect_code(0);
    assert_eq!(letters(&sandbox.path("state/errors/t")), ["eA==", "eg=="]);
}

#[test]
fn a_job_goes_on_from_its_copy_without_the_letters_that_waited() {
    let args = ["--state-dir", "state", "--copy-dir", "copy"];
    let sandbox = killed_with_a_letter_that_waits(&args);
    fs::remove_dir_all(sandbox.path("state")).unwrap();
    put(&sandbox, "b.csv", "n\ny\n3\n");
    let outcome = stopped_behind(&sandbox, TABLES, &args, "{\"n\":3}");
    outcome.expect_code(0).expect_talk("1 files of dead letters have gone from ");
    assert_eq!(letters(&sandbox.path("state/errors/t")), ["eQ=="]);
}

#[test]
fn records_with_impossible_event_times_are_dead_letters() {
    // Microseconds for milliseconds: the years 55,840 and, beyond what a timestamp of windows can be, 160,423.
    let text = "ms\n1700000000000\n1700000000000000\n5000000000000000\n1700000001000\n";
    let sandbox = Sandbox::with(&[("t.csv", text.as_bytes())]);
    let sql = |options: &str| {
        format!(
            "CREATE TABLE t (ms BIGINT, at AS to_timestamp_millis(ms), WATERMARK FOR at AS at) WITH ('connector' = 'filesystem', \
             'path' = 't.csv', 'format' = 'csv'{options}); \
             SELECT window_start, count(*) AS n FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(at), INTERVAL '1' DAY)) \
             GROUP BY window_start, window_end;"
        )
    };
    let day = "{\"window_start\":\"2023-11-14 00:00:00\",\"n\":2}\n";
    sandbox.run(&["run", "-c", &sql("")]).expect_code(65).expect_talk("error[R0357]");
    let outcome = sandbox.run(&["run", "-c", &sql(", 'on-error' = 'skip', 'watermark.max-jump' = '1 d'")]);
    outcome.expect_code(0).expect_data(day).expect_talk("t: 4 read = 2 decoded + 0 dead-lettered + 2 skipped");
    let args = ["run", "--state-dir", "state", "-c", &sql(", 'watermark.max-jump' = '1 d'")];
    let outcome = sandbox.run(&args);
    outcome.expect_code(0).expect_data(day).expect_talk("t: 4 read = 2 decoded + 2 dead-lettered + 0 skipped");
    let text: String = files(&sandbox.path("state/errors/t"))
        .iter()
        .filter(|f| !name(f).starts_with('.'))
        .map(|f| fs::read_to_string(f).unwrap())
        .collect();
    assert!(text.contains("is too far off for windows") && text.contains("further ahead of the clock"), "{text}");
    // A far one that is not too far may be, where the input ends.
    let one = "ms\n1700000000000\n1700000000000000\n";
    fs::write(sandbox.path("t.csv"), one).unwrap();
    let outcome = sandbox.run(&["run", "-c", &sql("")]);
    assert_eq!(outcome.expect_code(0).stdout.lines().count(), 2, "{}", outcome.stdout);
    sandbox.run(&["run", "-c", &sql(", 'watermark.max-jump' = '1 d'")]).expect_code(65).expect_talk("error[R0358]");
}

#[test]
fn where_the_input_does_not_end_a_record_a_day_ahead_is_a_dead_letter() {
    let sandbox = Sandbox::new();
    put(&sandbox, "a.csv", "n,at\n1,2024-01-01 00:00:00\n2,2999-01-01 00:00:00\n3,2024-01-01 00:00:01\n");
    let sql = |options: &str| {
        format!(
            "CREATE TABLE t (n BIGINT, at TIMESTAMP(3), WATERMARK FOR at AS at) WITH ('connector' = 'filesystem', \
             'path' = 'in', 'format' = 'csv', 'source.monitor-interval' = '10 ms'{options}); \
             CREATE TABLE o (n BIGINT) WITH ('connector' = 'print'); INSERT INTO o SELECT n FROM t;"
        )
    };
    stopped_behind(&sandbox, &sql(""), &["--state-dir", "state"], "{\"n\":3}").expect_code(0);
    // {"n":2,"at":"2999-01-01 00:00:00"}
    let raw = "eyJuIjoyLCJhdCI6IjI5OTktMDEtMDEgMDA6MDA6MDAifQ==";
    assert_eq!(letters(&sandbox.path("state/errors/t")), [raw]);
    let off = sql(", 'watermark.max-jump' = 'off'");
    stopped_behind(&sandbox, &off, &["--state-dir", "other"], "{\"n\":2}").expect_code(0);
    for (value, what) in [("0 s", "more than zero"), ("soon", "watermark.max-jump")] {
        let refused = sandbox.run(&["validate", "-c", &sql(&format!(", 'watermark.max-jump' = '{value}'"))]);
        refused.expect_talk(what);
        assert_ne!(refused.code, 0);
    }
}

#[test]
fn rows_that_are_made_are_counted_as_read() {
    let sql = "CREATE TABLE g (n BIGINT, ts AS TIMESTAMP '2024-01-01 00:00:00' + INTERVAL '1' SECOND * (10 / (n % 3)), \
        WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen', 'number-of-rows' = '30', 'fields.n.kind' = 'sequence', \
        'fields.n.start' = '0', 'fields.n.end' = '29'); SELECT count(ts) AS good FROM g; SELECT count(*) AS bad FROM g$errors;";
    let outcome = Sandbox::new().run(&["run", "-c", sql]);
    outcome.expect_code(0).expect_data("{\"good\":20}\n{\"bad\":10}\n");
    outcome.expect_talk("g: 30 read = 20 decoded + 10 dead-lettered + 0 skipped");
}

#[test]
fn a_file_that_is_not_what_its_table_says_does_not_end_a_job_that_follows_a_folder() {
    let sandbox = Sandbox::new();
    put(&sandbox, "a.csv", "n\n1\n");
    stopped_behind(&sandbox, TABLES, &["--state-dir", "state"], "{\"n\":1}").expect_code(0);
    put(&sandbox, "b.csv", "m\n2\n");
    put(&sandbox, "c.csv", "n\n3\n");
    let outcome = stopped_behind(&sandbox, TABLES, &["--state-dir", "state"], "{\"n\":3}");
    outcome.expect_code(0).expect_talk("t: 3 read = 2 decoded + 1 dead-lettered + 0 skipped");
    assert_eq!(letters(&sandbox.path("state/errors/t")), [""]);
    // Where a job begins, the table is rather the one that is wrong.
    let begun = sandbox.run(&["run", "--state-dir", "other", "-c", TABLES]);
    begun.expect_talk("in/b.csv");
    assert_ne!(begun.code, 0);
}
