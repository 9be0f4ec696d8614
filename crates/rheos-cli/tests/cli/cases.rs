//! Command lines as data: arguments, exit code, stdout, a part of stderr.

use crate::process::{Outcome, Sandbox};

const FLIGHTS: &[u8] = b"at,origin,delay\n\
    2013-01-01 05:15:00,EWR,2\n\
    2013-01-01 05:29:00,LGA,4\n\
    2013-01-01 06:10:00,EWR,-6\n\
    2013-01-01 06:30:00,JFK,\n";

const TABLE: &str = "CREATE TABLE f (at TIMESTAMP, origin STRING, delay BIGINT, WATERMARK FOR at AS at - INTERVAL '1' HOUR) \
    WITH ('connector' = 'filesystem', 'path' = 'flights.csv', 'format' = 'csv');";

fn sandbox() -> Sandbox {
    let hourly = format!("{TABLE}\nSELECT origin, delay FROM f WHERE delay > 0 ORDER BY delay;\n");
    let failing = |select: &str| format!("{TABLE}\n{select} FROM f;\n");
    let input = "CREATE TABLE f (origin STRING, delay BIGINT) WITH ('connector' = 'filesystem', \
        'path' = '${INPUT}', 'format' = 'csv'); SELECT count(*) AS n FROM f;";
    Sandbox::with(&[
        ("flights.csv", FLIGHTS),
        ("job.sql", hourly.as_bytes()),
        ("input.sql", input.as_bytes()),
        ("zero.sql", failing("SELECT 1 + 10 / (delay - 2)").as_bytes()),
        ("overflow.sql", failing("SELECT abs(delay * 4611686018427387904)").as_bytes()),
        ("cast.sql", failing("SELECT upper(origin) LIKE 'X' OR CAST(origin AS INT) > 1").as_bytes()),
        ("long.sql", failing("SELECT length(repeat(origin, delay * 1000000000))").as_bytes()),
        (
            "null.sql",
            b"CREATE TABLE z (x INT, y INT NOT NULL) WITH ('connector' = 'print');
INSERT INTO z SELECT id, n FROM (VALUES (1, 2), (2, NULL)) AS t(id, n);",
        ),
        (
            "field.sql",
            b"CREATE TABLE z (r ROW<x INT NOT NULL>) WITH ('connector' = 'print');
INSERT INTO z SELECT ROW(n) FROM (VALUES (2), (NULL)) AS t(n);",
        ),
        ("wrong.sql", b"SELECT 1;\nSELECT\n  1 FRM x;\n"),
        ("latin1.sql", b"SELECT '\xe9'"),
        ("bom.sql", b"\xef\xbb\xbfSELECT 1 AS n"),
        ("empty.sql", b""),
    ])
}

/// (arguments, exit code, stdout, part of stderr)
type Case<'a> = (&'a [&'a str], i32, &'a str, &'a str);

const TWO: &str = "{\"origin\":\"EWR\",\"delay\":2}\n{\"origin\":\"LGA\",\"delay\":4}\n";

#[rustfmt::skip]
const CASES: &[Case<'_>] = &[
    // Where a program comes from.
    (&["run", "job.sql"], 0, TWO, "4 records in, 2 out"),
    (&["run", "-c", "SELECT 40 + 2 AS answer"], 0, "{\"answer\":42}\n", ""),
    (&["run", "bom.sql"], 0, "{\"n\":1}\n", ""),
    (&["run"], 2, "", "<FILE|--command <SQL>>"),
    (&["run", "job.sql", "-c", "SELECT 1"], 2, "", "cannot be used with"),
    (&["run", "absent.sql"], 66, "", "error[R0201]: cannot read the program 'absent.sql': it does not exist"),
    (&["run", "."], 66, "", "error[R0201]"),
    (&["run", "latin1.sql"], 65, "", "byte 8 is not UTF-8"),
    (&["run", "empty.sql"], 65, "", "error[R01"),
    // Output formats.
    (&["run", "job.sql", "-o", "jsonl"], 0, TWO, ""),
    (&["run", "job.sql", "-o", "csv"], 0, "origin,delay\nEWR,2\nLGA,4\n", ""),
    (&["run", "job.sql", "-o", "table"], 0, " origin | delay\n--------+-------\n EWR    |     2\n LGA    |     4\n", ""),
    (&["run", "job.sql", "-o", "xml"], 2, "", "possible values: table, jsonl, csv"),
    (&["run", "-c", "SELECT 1 AS a; SELECT 2 AS b"], 0, "{\"a\":1}\n{\"b\":2}\n", ""),
    (&["run", "-o", "csv", "-c", "SELECT 1 AS a; SELECT 2 AS b"], 0, "a\n1\n\nb\n2\n", ""),
    (&["run", "-o", "table", "-c", "SELECT 1 AS a; SELECT NULL AS b"], 0, " a\n---\n 1\n\n b\n------\n NULL\n", ""),
    (&["run", "-c", "SELECT 1.50 AS d, 'a\"b' AS t, DATE '2013-01-02' AS day, 1 AS x, 2 AS x"], 0,
        "{\"d\":1.50,\"t\":\"a\\\"b\",\"day\":\"2013-01-02\",\"x\":1,\"x_1\":2}\n", ""),
    // Variables and settings.
    (&["run", "input.sql", "--var", "INPUT=flights.csv"], 0, "{\"n\":4}\n", ""),
    (&["run", "input.sql"], 65, "", "INPUT"),
    (&["run", "input.sql", "--var", "INPUT"], 2, "", "write it as NAME=VALUE"),
    (&["run", "input.sql", "--var", "INPUT=absent.csv"], 66, "", "absent.csv"),
    (&["run", "job.sql", "--parallelism", "1"], 0, TWO, ""),
    (&["run", "job.sql", "--parallelism", "3"], 0, TWO, ""),
    (&["run", "job.sql", "--parallelism", "0"], 2, "", "0 is not in 1..=1024"),
    (&["run", "job.sql", "--parallelism", "many"], 2, "", "invalid value 'many'"),
    (&["run", "job.sql", "--batch-rows", "1"], 0, TWO, ""),
    (&["run", "job.sql", "--set", "parallelism=2"], 0, TWO, ""),
    (&["run", "job.sql", "--set", "paralelism=2"], 65, "", "did you mean 'parallelism'?"),
    (&["run", "job.sql", "--set", "nope=1"], 65, "",
        "there is no setting 'nope'\n --> --set:1:1\n  |\n1 | nope=1\n  | ^^^^\n"),
    (&["explain", "job.sql", "--set", " parallelism =many"], 65, "", " --> --set:1:13\n  |\n1 | parallelism=many\n  |             ^^^^\n"),
    (&["validate", "job.sql", "--set", "timezone="], 3, "", " --> --set:1:10\n  |\n1 | timezone=\n  |          ^\n"),
    // What is said.
    (&["run", "job.sql", "--quiet"], 0, TWO, ""),
    (&["run", "job.sql", "-v"], 0, TWO, "workers"),
    (&["run", "wrong.sql"], 65, "", " --> wrong.sql:3:"),
    (&["run", "-c", "SELECT nme FROM (SELECT 1 AS name)"], 65, "", "did you mean 'name'?"),
    // What fails on a row.
    (&["run", "zero.sql"], 65, "", "error[R0350]: division by zero in 10 / (delay - 2)\n"),
    (&["run", "overflow.sql"], 65, "", "error[R0350]: 2 * 4611686018427387904 is out of range in delay * 4611686018427387904\n"),
    (&["run", "cast.sql"], 65, "", "error[R0350]: cannot cast 'EWR' to INT in "),
    (&["run", "long.sql"], 65, "", " MiB, and 64 MiB is the most\n"),
    (&["run", "-c", "SELECT length(lpad('x', 2000000000))"], 65, "", "a value would have 1907 MiB, and 64 MiB is the most\n"),
    (&["run", "-c", "SELECT cardinality(range(1, 10000000000))"], 65, "", "and 64 MiB is the most\n"),
    (&["run", "-c", "SELECT array_resize([1], n) FROM (VALUES (1), (-2)) AS t(n)"], 65, "", "a list cannot have -2 elements\n"),
    (&["run", "null.sql"], 65, "", "error[R0356]: 'y' of the table 'z' is NOT NULL, and a row has NULL there: x=2, y=NULL\n"),
    (&["run", "field.sql"], 65, "", "error[R0356]: the field 'x' is NOT NULL, and a value has NULL there\n"),
    (&["run", "-c", "SELECT CAST(ROW(v) AS ROW<x INT>) AS r FROM (VALUES ('a')) AS t(v)"], 65, "",
        "error[R0350]: cannot cast 'a' to INT in "),
    // Looking only.
    (&["validate", "job.sql"], 0, "", "job.sql is valid"),
    (&["validate", "wrong.sql"], 3, "", " --> wrong.sql:3:"),
    (&["validate", "absent.sql"], 66, "", "error[R0201]"),
    (&["explain", "wrong.sql"], 65, "", "error[R01"),
    (&["connectors", "kafak"], 4, "", "error[R0507]: there is no connector 'kafak'"),
    (&["connectors", "filesytem"], 4, "", "did you mean 'filesystem'?"),
    (&["functions", "cuont"], 4, "", "did you mean 'count'?"),
    // Usage.
    (&[], 2, "", "Usage: rheos"),
    (&["rnu", "job.sql"], 2, "", "unrecognized subcommand 'rnu'"),
    (&["run", "job.sql", "--paralelism", "2"], 2, "", "--parallelism"),
];

#[test]
fn command_lines() {
    let sandbox = sandbox();
    for (args, code, stdout, talk) in CASES {
        let outcome = sandbox.run(args);
        let told = || format!("rheos {args:?}\nstdout:\n{}\nstderr:\n{}", outcome.stdout, outcome.stderr);
        assert_eq!(outcome.code, *code, "{}", told());
        assert_eq!(outcome.stdout, *stdout, "{}", told());
        assert!(outcome.stderr.contains(talk), "'{talk}' is missing: {}", told());
        assert!(!outcome.stderr.contains('\x1b'), "colour in a pipe: {}", told());
        assert!(!outcome.stderr.contains("panicked"), "{}", told());
    }
}

#[test]
fn a_quiet_run_says_nothing() {
    assert_eq!(sandbox().run(&["run", "job.sql", "--quiet"]).expect_code(0).stderr, "");
}

#[test]
fn the_version_and_help_go_to_stdout() {
    let sandbox = Sandbox::new();
    let version = sandbox.run(&["--version"]);
    version.expect_code(0).expect_data(concat!("rheos ", env!("CARGO_PKG_VERSION"), "\n"));
    for args in [&["--help"][..], &["run", "--help"], &["explain", "--help"]] {
        let help = sandbox.run(args);
        assert!(help.expect_code(0).stdout.contains("Usage: rheos"), "{}", help.stdout);
    }
}

#[test]
fn a_program_from_stdin() {
    let outcome = sandbox().run_with_input(&["run", "-"], b"SELECT 7 AS n");
    outcome.expect_code(0).expect_data("{\"n\":7}\n");
    let outcome = sandbox().run_with_input(&["run", "-"], b"SELEC 7");
    outcome.expect_code(65).expect_talk(" --> <stdin>:1:1");
}

#[test]
fn a_program_that_begins_with_a_comment() {
    let outcome = sandbox().run(&["run", "-c", "-- seven\nSELECT 7 AS n"]);
    outcome.expect_code(0).expect_data("{\"n\":7}\n");
}

#[test]
fn every_flag_has_an_environment_variable() {
    let sandbox = sandbox();
    let with = |name: &str, value: &str| -> Outcome {
        let mut command = sandbox.command(&["run", "job.sql"]);
        command.env(name, value);
        crate::process::finish(crate::process::start(command), b"")
    };
    with("RHEOS_OUTPUT", "csv").expect_code(0).expect_data("origin,delay\nEWR,2\nLGA,4\n");
    assert_eq!(with("RHEOS_QUIET", "1").expect_code(0).stderr, "");
    assert_eq!(with("RHEOS_QUIET", "0").expect_code(0).stderr.lines().count(), 1);
    with("RHEOS_PARALLELISM", "none").expect_code(2).expect_talk("'none' for 'RHEOS_PARALLELISM'");
    with("RHEOS_VERBOSE", "true").expect_code(0).expect_talk("workers");
}

#[test]
fn explain_shows_exchange_partial_aggregate_and_used_columns() {
    let sql = format!("{TABLE} SELECT origin, count(*) AS n FROM f GROUP BY origin");
    let outcome = sandbox().run(&["explain", "-c", &sql]);
    let text = &outcome.expect_code(0).stdout;
    for word in ["hash", "partial", "origin"] {
        assert!(text.contains(word), "'{word}' is missing:\n{text}");
    }
    assert!(!text.contains("delay"), "a column that nobody uses is read:\n{text}");
    assert_eq!(outcome.stderr, "");
}

#[test]
fn an_explain_statement_prints_among_the_results() {
    let outcome = sandbox().run(&["run", "-c", "SELECT 1 AS a; EXPLAIN SELECT 2 AS b; SELECT 3 AS c"]);
    let lines: Vec<&str> = outcome.expect_code(0).stdout.lines().collect();
    assert_eq!((lines[0], lines[lines.len() - 1]), ("{\"a\":1}", "{\"c\":3}"));
    assert!(lines.len() > 2, "{lines:?}");
}

#[test]
fn lists_name_what_programs_can_name() {
    let sandbox = Sandbox::new();
    let connectors = sandbox.run(&["connectors"]);
    for name in ["filesystem", "stdin", "print", "blackhole", "datagen", "nexmark"] {
        let listed = connectors.expect_code(0).stdout.lines().any(|l| l.starts_with(name));
        assert!(listed, "{name}:\n{}", connectors.stdout);
        let options = sandbox.run(&["connectors", name]);
        assert!(options.expect_code(0).stdout.starts_with(name), "{}", options.stdout);
        let is_read = !["print", "blackhole"].contains(&name);
        assert_eq!(options.stdout.contains("'idle-timeout'"), is_read, "{}", options.stdout);
    }
    let functions = sandbox.run(&["functions"]);
    for name in ["abs", "avg", "count", "date_part", "tumble", "upper"] {
        assert!(functions.expect_code(0).stdout.lines().any(|l| l.starts_with(name)), "{name}");
    }
    assert!(sandbox.run(&["functions", "UPPER"]).expect_code(0).stdout.contains("upper("));
    for args in
        [&["connectors", "-o", "json"][..], &["connectors", "datagen", "-o", "json"], &["functions", "-o", "json"]]
    {
        let outcome = sandbox.run(args);
        let parsed: serde_json::Value = serde_json::from_str(&outcome.expect_code(0).stdout).unwrap();
        assert!(parsed.is_array() || parsed.is_object());
    }
}

#[test]
fn an_existing_output_is_a_conflict_when_it_must_not_be_touched() {
    let sandbox = sandbox();
    let sql = format!(
        "{TABLE} CREATE TABLE out (origin STRING) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv', \
         'sink.if-exists' = 'fail'); INSERT INTO out SELECT origin FROM f;"
    );
    sandbox.run(&["run", "-c", &sql]).expect_code(0).expect_data("");
    sandbox.run(&["run", "-c", &sql]).expect_code(5).expect_talk("out");
}

#[test]
fn late_records_and_null_event_times_are_told() {
    // Enough rows that the watermark has surely passed the first hour before the last row is read.
    let mut rows = String::from("at,n\n,1\n");
    for second in 0..200_000 {
        let (day, hour, minute) = (second / 86_400 + 1, second / 3600 % 24, second / 60 % 60);
        rows.push_str(&format!("2013-01-0{day} {hour:02}:{minute:02}:{:02},1\n", second % 60));
    }
    rows.push_str("2013-01-01 00:30:00,1\n");
    let sandbox = Sandbox::with(&[("t.csv", rows.as_bytes())]);
    let sql = "CREATE TABLE t (at TIMESTAMP, n BIGINT, WATERMARK FOR at AS at) WITH ('connector' = 'filesystem', \
        'path' = 't.csv', 'format' = 'csv'); \
        CREATE VIEW hourly AS SELECT sum(n) AS n FROM TUMBLE(t, at, INTERVAL '1' HOUR) GROUP BY window_start, window_end; \
        SELECT count(*) AS windows, sum(n) AS n FROM hourly;";
    let outcome = sandbox.run(&["run", "-c", sql, "--batch-rows", "100", "-p", "1"]);
    outcome.expect_code(0).expect_data("{\"windows\":56,\"n\":200000}\n");
    outcome.expect_talk("1 record without an event time was in no window");
    // The source's watermark stood at 2013-01-03 07:33:19, 55 hours behind the window's end; that of the window, which
    // counts, may lag by what is on its way. The hint is rounded up by at most an eighth.
    outcome.expect_talk("1 late record; widen the watermark by ");
    let hours = outcome.stderr.split("widen the watermark by ").nth(1).and_then(|t| t.split(' ').next()).unwrap();
    assert!((1..=63).contains(&hours.parse::<u64>().unwrap()), "{}", outcome.stderr);
}
