//! Folders that grow while a job reads them, and folders that it writes by partitions.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::process::{Sandbox, start};

/// All files below a folder but unfinished ones, relative to it.
fn tree(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, before: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let (path, name) = entry.map(|e| (e.path(), e.file_name().to_string_lossy().into_owned())).unwrap();
            if path.is_dir() {
                walk(&path, &format!("{before}{name}/"), found);
            } else if !name.starts_with('.') {
                found.push(format!("{before}{name}"));
            }
        }
    }
    let mut found = vec![];
    walk(folder, "", &mut found);
    found.sort();
    found
}

/// The lines of the csv parts of a partition, without their headers.
fn lines(folder: &Path) -> Vec<String> {
    let parts = tree(folder).into_iter().filter(|name| name.ends_with(".csv"));
    let text = |name: String| std::fs::read_to_string(folder.join(name)).unwrap();
    let mut lines: Vec<_> =
        parts.map(text).flat_map(|t| t.lines().skip(1).map(String::from).collect::<Vec<_>>()).collect();
    lines.sort();
    lines
}

/// Waits until something is so, for as long as the job runs.
#[track_caller]
fn wait_for(child: &mut Child, what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        if let Some(status) = child.try_wait().unwrap() {
            let mut talk = String::new();
            child.stderr.take().unwrap().read_to_string(&mut talk).unwrap();
            panic!("the job has ended ({status}) and {what} has not come: {talk}");
        }
        assert!(Instant::now() < deadline, "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asks a job to stop, and waits for its end.
fn stop(mut child: Child) -> String {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    drop(child.stdout.take());
    let mut talk = String::new();
    child.stderr.take().unwrap().read_to_string(&mut talk).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{talk}");
    talk
}

/// Puts a whole file into a folder that somebody follows.
fn rename_in(sandbox: &Sandbox, name: &str, text: &str) {
    let hidden = sandbox.path(&format!("in/.{name}.tmp"));
    std::fs::write(&hidden, text).unwrap();
    std::fs::rename(hidden, sandbox.path(&format!("in/{name}"))).unwrap();
}

const READ: &str = "CREATE TABLE out (n BIGINT, day DATE, hour INT) PARTITIONED BY (day, hour) \
    WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv'); \
    SELECT day, hour, count(*) AS c, sum(n) AS n FROM out GROUP BY day, hour ORDER BY day, hour;";

#[test]
fn partitions_are_written_and_read_back() {
    let events =
        "at,n\n2024-05-01 05:10:00,1\n2024-05-01 05:59:00,2\n2024-05-02 05:00:00,4\n,8\n2024-05-01 06:00:00,16\n";
    for format in ["csv", "json", "parquet"] {
        let sandbox = Sandbox::with(&[("events.csv", events.as_bytes())]);
        let sql = format!(
            "CREATE TABLE e (at TIMESTAMP, n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'events.csv', 'format' = 'csv'); \
             CREATE TABLE out (n BIGINT, day DATE, hour INT) PARTITIONED BY (day, hour) WITH ('connector' = 'filesystem', \
             'path' = 'out', 'format' = '{format}', 'sink.partition-commit.policy.kind' = 'success-file'); \
             INSERT INTO out SELECT n, CAST(at AS DATE), CAST(date_part('hour', at) AS INT) FROM e;"
        );
        sandbox.run(&["run", "-c", &sql, "-p", "2"]).expect_code(0);
        let folders: Vec<_> = tree(&sandbox.path("out"))
            .into_iter()
            .filter_map(|n| n.strip_suffix("/_SUCCESS").map(String::from))
            .collect();
        let null = "__HIVE_DEFAULT_PARTITION__";
        let want = ["day=2024-05-01/hour=5", "day=2024-05-01/hour=6", "day=2024-05-02/hour=5"].map(String::from);
        assert_eq!(folders, [&want[..], &[format!("day={null}/hour={null}")]].concat());
        if format == "csv" {
            assert_eq!(lines(&sandbox.path("out/day=2024-05-01/hour=5")), ["1", "2"]);
        }
        let read = READ.replace("'csv'", &format!("'{format}'"));
        sandbox.run(&["run", "-c", &read]).expect_code(0).expect_data(
            "{\"day\":\"2024-05-01\",\"hour\":5,\"c\":2,\"n\":3}\n{\"day\":\"2024-05-01\",\"hour\":6,\"c\":1,\"n\":16}\n\
             {\"day\":\"2024-05-02\",\"hour\":5,\"c\":1,\"n\":4}\n{\"day\":null,\"hour\":null,\"c\":1,\"n\":8}\n",
        );
    }
}

#[test]
fn parts_roll_by_size() {
    let sql = "CREATE TABLE n (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '400000', \
        'fields.id.kind' = 'sequence'); \
        CREATE TABLE out (id BIGINT, half BIGINT) PARTITIONED BY (half) WITH ('connector' = 'filesystem', 'path' = 'out', \
        'format' = 'csv', 'sink.rolling-policy.file-size' = '100 KB'); \
        INSERT INTO out SELECT id, id % 2 FROM n;";
    let sandbox = Sandbox::new();
    sandbox.run(&["run", "-c", sql, "-p", "1"]).expect_code(0);
    let parts = tree(&sandbox.path("out"));
    let sizes = parts.iter().map(|name| std::fs::metadata(sandbox.path("out").join(name)).unwrap().len());
    let (total, largest) = sizes.fold((0, 0), |(sum, max), size| (sum + size, size.max(max)));
    // 400,000 ids take about 2.7 MB; a part exceeds its size by one batch and one buffer at most.
    assert!(total > 2_500_000 && parts.len() > 10, "{parts:?}");
    assert!(largest < 250_000, "{largest}");
    let ids = lines(&sandbox.path("out/half=1"));
    assert_eq!(ids.len(), 200_000);
    assert!(ids.iter().all(|id| id.parse::<u64>().unwrap() % 2 == 1));
}

#[test]
fn a_partition_is_declared_complete_when_the_watermark_has_passed_it() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("in")).unwrap();
    rename_in(&sandbox, "1.csv", "at,n\n2024-05-01 05:10:00,1\n2024-05-01 05:59:00,2\n");
    let sql = "SET 'checkpoint.interval' = '20 ms'; \
        CREATE TABLE e (at TIMESTAMP, n BIGINT, WATERMARK FOR at AS at) WITH ('connector' = 'filesystem', 'path' = 'in', \
        'format' = 'csv', 'file-order' = 'name', 'source.monitor-interval' = '10 ms'); \
        CREATE TABLE out (n BIGINT, day DATE, hour INT) PARTITIONED BY (day, hour) WITH ('connector' = 'filesystem', \
        'path' = 'out', 'format' = 'csv', 'sink.commit-interval' = '0 s', \
        'sink.partition-commit.policy.kind' = 'success-file', 'sink.partition-commit.trigger' = 'partition-time', \
        'sink.partition-commit.delay' = '1 h', 'partition.time-extractor.timestamp-pattern' = '$day $hour:00:00'); \
        INSERT INTO out SELECT n, CAST(at AS DATE), CAST(date_part('hour', at) AS INT) FROM e;";
    let mut child = start(sandbox.command(&["run", "-c", sql, "-p", "2"]));
    let (five, six) = (sandbox.path("out/day=2024-05-01/hour=5"), sandbox.path("out/day=2024-05-01/hour=6"));
    let success = five.join("_SUCCESS");
    wait_for(&mut child, "the first file", || lines(&five) == ["1", "2"]);
    // The watermark stands at 05:59:59 now, however long it is waited.
    rename_in(&sandbox, "2.csv", "at,n\n2024-05-01 05:59:59,4\n");
    wait_for(&mut child, "the second file", || lines(&five) == ["1", "2", "4"]);
    assert!(!success.exists());
    rename_in(&sandbox, "3.csv", "at,n\n2024-05-01 06:00:00,8\n");
    wait_for(&mut child, "_SUCCESS", || success.exists());
    assert_eq!(lines(&five), ["1", "2", "4"], "all parts are there before _SUCCESS is");
    // A late row is added, and the partition declared complete again.
    std::fs::remove_file(&success).unwrap();
    rename_in(&sandbox, "4.csv", "at,n\n2024-05-01 05:30:00,16\n");
    wait_for(&mut child, "_SUCCESS again", || success.exists());
    assert_eq!(lines(&five), ["1", "16", "2", "4"]);
    stop(child);
    assert_eq!(
        (lines(&six), six.join("_SUCCESS").exists()),
        (vec!["8".to_string()], false),
        "a stop completes nothing"
    );
}

#[test]
fn files_that_are_renamed_in_are_read_once_while_the_job_runs() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("in")).unwrap();
    let sql = "CREATE TABLE t (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'json', \
        'source.monitor-interval' = '10 ms'); SELECT n FROM t;";
    let mut child = start(sandbox.command(&["run", "-c", sql, "-p", "3"]));
    let mut rows = BufReader::new(child.stdout.take().unwrap()).lines();
    for n in 0..20 {
        rename_in(&sandbox, &format!("{n}.json"), &format!("{{\"n\":{n}}}\n"));
        if n % 3 == 0 {
            std::fs::write(sandbox.path(&format!("in/_{n}")), "no json").unwrap();
        }
        assert_eq!(rows.next().unwrap().unwrap(), format!("{{\"n\":{n}}}"));
    }
    drop(rows);
    let talk = stop(child);
    assert!(talk.contains("20 records in"), "{talk}");
}

#[test]
fn lines_of_a_growing_file_come_when_they_are_complete() {
    let sandbox = Sandbox::with(&[("log.csv", b"n\n1\n2\n3")]);
    let sql = "CREATE TABLE t (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'log.csv', 'format' = 'csv', \
        'source.follow' = 'true', 'source.monitor-interval' = '10 ms'); SELECT n FROM t;";
    let mut child = start(sandbox.command(&["run", "-c", sql, "-p", "2"]));
    let mut rows = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut expect = |n: u32| assert_eq!(rows.next().unwrap().unwrap(), format!("{{\"n\":{n}}}"));
    let append = |text: &str| {
        let mut file = std::fs::OpenOptions::new().append(true).open(sandbox.path("log.csv")).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    (1..3).for_each(&mut expect);
    append("0\n4");
    expect(30);
    append("\n");
    expect(4);
    std::fs::rename(sandbox.path("log.csv"), sandbox.path("log.csv.1")).unwrap();
    std::fs::write(sandbox.path("log.new"), "n\n5\n").unwrap();
    std::fs::rename(sandbox.path("log.new"), sandbox.path("log.csv")).unwrap();
    expect(5);
    let talk = stop(child);
    assert!(talk.contains("5 records in"), "{talk}");
}

#[test]
fn a_job_never_deletes_what_it_reads() {
    let sandbox = Sandbox::with(&[("first.csv", b"n\n1\n2\n")]);
    let table = |name: &str, path: &str| {
        format!(
            "CREATE TABLE {name} (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'csv', \
             'sink.if-exists' = 'replace'); "
        )
    };
    // One worker: its number is in the name of the part.
    let run = |sql: String| sandbox.run(&["run", "-p", "1", "-c", &sql]);
    let fill = table("f", "first.csv") + &table("o", "out") + "INSERT INTO o SELECT n FROM f;";
    run(fill.clone()).expect_code(0);
    for (source, path) in [("o", "out"), ("i", "./out"), ("i", "out/*.csv"), ("i", "out/part-0-0.csv")] {
        let other = if source == "o" { String::new() } else { table(source, path) };
        let sql = format!("{}{other}INSERT INTO o SELECT n + 1 FROM {source};", table("o", "out"));
        sandbox.run(&["validate", "-c", &sql]).expect_code(5).expect_talk("error[R0235]");
        run(sql).expect_code(5).expect_talk("error[R0235]");
        assert_eq!(lines(&sandbox.path("out")), ["1", "2"], "{path}");
    }
    run(fill).expect_code(0);
    assert_eq!(lines(&sandbox.path("out")), ["1", "2"], "replaced by another job");
}

#[test]
fn two_tables_on_standard_input_are_refused() {
    let table = |name: &str| format!("CREATE TABLE {name} (n BIGINT) WITH ('connector' = 'stdin', 'format' = 'csv'); ");
    let sql = table("a") + &table("b") + "SELECT count(*) AS a FROM a; SELECT count(*) AS b FROM b;";
    let outcome = Sandbox::new().run_with_input(&["run", "-c", &sql], b"n\n1\n");
    outcome.expect_talk("error[R0220]").expect_code(65);
    Sandbox::new().run(&["validate", "-c", &sql]).expect_talk("error[R0220]").expect_code(3);
}
