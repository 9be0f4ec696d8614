//! Input that does not end, output that nobody reads any more, and signals.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command};

use crate::process::{Sandbox, start};

const ENDLESS: &str = "CREATE TABLE n (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100/s', \
    'fields.id.kind' = 'sequence');";

/// Reads rows until `n` have come: then the job surely runs.
fn read_rows(child: &mut Child, n: usize) -> Vec<String> {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    (0..n).map(|_| lines.next().unwrap().unwrap()).collect()
}

fn signal(child: &Child, name: &str) {
    let done = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap();
    assert!(done.success());
}

fn rest_of_stderr(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn an_endless_select_streams_and_stops_in_order() {
    for name in ["INT", "TERM"] {
        let sandbox = Sandbox::new();
        let mut child = start(sandbox.command(&["run", "-c", &format!("{ENDLESS} SELECT id FROM n")]));
        let rows = read_rows(&mut child, 3);
        assert!(rows[0].starts_with("{\"id\":"), "{rows:?}");
        signal(&child, name);
        // The pipe must not fill up while the process ends.
        let mut rest = String::new();
        child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
        let talk = rest_of_stderr(&mut child);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{name}: {talk}");
        assert!(talk.contains("records in"), "{name}: {talk}");
    }
}

#[test]
fn rows_that_come_without_a_pause_are_not_held_back() {
    // A row each millisecond: there is never a moment without one. The first write must not wait for a full buffer.
    let sql = ENDLESS.replace("100/s", "1000/s");
    let sandbox = Sandbox::new();
    let mut child = start(sandbox.command(&["run", "-c", &format!("{sql} SELECT id FROM n")]));
    let mut bytes = vec![0; 64 << 10];
    let length = child.stdout.as_mut().unwrap().read(&mut bytes).unwrap();
    assert!(length > 0 && length < bytes.len(), "{length} bytes at once");
    signal(&child, "INT");
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn open_windows_are_counted_at_a_stop_and_fire_at_a_drain() {
    // Windows of a thousand years: none is complete when the job is stopped.
    let sql = "CREATE TABLE n (id BIGINT, at TIMESTAMP, WATERMARK FOR at AS at) WITH ('connector' = 'datagen', \
        'rows-per-second' = '100/s', 'fields.id.kind' = 'sequence'); \
        CREATE TABLE seen (id BIGINT) WITH ('connector' = 'print', 'standard-error' = 'true'); \
        INSERT INTO seen SELECT id FROM n; \
        SELECT count(*) > 0 AS some FROM TUMBLE(n, at, INTERVAL '365000' DAY) GROUP BY window_start, window_end;";
    for (drain, rows) in [(false, ""), (true, "{\"some\":true}\n")] {
        let sandbox = Sandbox::new();
        let args = ["run", "-c", sql, "--drain"];
        let mut child = start(sandbox.command(&args[..if drain { 4 } else { 3 }]));
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut talk = String::new();
        while !talk.contains("{\"id\":") {
            assert!(stderr.read_line(&mut talk).unwrap() > 0, "{talk}");
        }
        signal(&child, "INT");
        stderr.read_to_string(&mut talk).unwrap();
        let mut stdout = String::new();
        child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{talk}");
        assert_eq!(stdout, rows, "{talk}");
        assert_eq!(talk.contains("stopped with an open window; --drain fires it\n"), !drain, "{talk}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_job_quietly() {
    let bounded = "CREATE TABLE n (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '5000000', \
        'fields.id.kind' = 'sequence'); SELECT id FROM n";
    let print = format!(
        "{ENDLESS} CREATE TABLE out (id BIGINT) WITH ('connector' = 'print'); INSERT INTO out SELECT id FROM n"
    );
    for sql in [bounded, &format!("{ENDLESS} SELECT id FROM n"), &print] {
        for output in ["jsonl", "table", "csv"] {
            let sandbox = Sandbox::new();
            let mut child = start(sandbox.command(&["run", "-c", sql, "-o", output]));
            read_rows(&mut child, 1);
            drop(child.stdout.take());
            let talk = rest_of_stderr(&mut child);
            assert_eq!(child.wait().unwrap().code(), Some(0), "{sql} {output}: {talk}");
            assert!(!talk.contains("error"), "{sql} {output}: {talk}");
        }
    }
}

#[test]
fn several_endless_results_are_refused_with_a_way_out() {
    let outcome = Sandbox::new().run(&["run", "-c", &format!("{ENDLESS} SELECT id FROM n; SELECT id + 1 FROM n")]);
    outcome.expect_code(65).expect_data("").expect_talk("'print'").expect_talk("INSERT INTO");
}

#[test]
fn several_results_print_one_after_another_whatever_their_size() {
    // The second result is complete long before the first has been printed: it must wait without stopping the source.
    let sql = "CREATE TABLE n (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '300000', \
        'fields.id.kind' = 'sequence'); SELECT id FROM n; SELECT -id AS m FROM n;";
    let outcome = Sandbox::new().run(&["run", "-c", sql]);
    let lines: Vec<&str> = outcome.expect_code(0).stdout.lines().collect();
    assert_eq!(lines.len(), 600_000);
    assert!(lines[..300_000].iter().all(|l| l.starts_with("{\"id\":")));
    assert!(lines[300_000..].iter().all(|l| l.starts_with("{\"m\":")));
}

#[test]
fn rows_from_stdin() {
    let sql = "CREATE TABLE t (origin STRING, n BIGINT) WITH ('connector' = 'stdin', 'format' = 'csv'); \
        SELECT origin, sum(n) AS n FROM t GROUP BY origin ORDER BY origin;";
    let outcome = Sandbox::new().run_with_input(&["run", "-c", sql], b"origin,n\nJFK,1\nEWR,2\nJFK,3\n");
    outcome.expect_code(0).expect_data("{\"origin\":\"EWR\",\"n\":2}\n{\"origin\":\"JFK\",\"n\":4}\n");
}

#[test]
fn a_program_and_a_table_cannot_share_stdin() {
    let sql = b"CREATE TABLE t (n BIGINT) WITH ('connector' = 'stdin', 'format' = 'csv'); SELECT n FROM t;";
    let outcome = Sandbox::new().run_with_input(&["run", "-"], sql);
    outcome.expect_code(65).expect_data("").expect_talk("error[R0501]");
}
