//! Dead letters: of a million records one in a thousand is garbage, at places that are known, and each of them is found, also when
//! the job is killed on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::process::{Sandbox, start};

const RECORDS: u64 = 250_000;

/// Files with garbage, and what is to be found in them.
#[derive(Default)]
struct Made {
    text: Vec<u8>,
    /// By the byte at which it begins: a bad record, of one that is too long its beginning.
    bad: BTreeMap<u64, Vec<u8>>,
    sum: i64,
}

impl Made {
    /// One record in a thousand is bad, in one of five ways.
    fn new(json: bool, seed: u64) -> Self {
        let mut made = Self::default();
        // xorshift64: any fixed sequence will do.
        let mut state = seed;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        if !json {
            made.text.extend(b"n,s,at\n");
        }
        for n in 0..RECORDS {
            let kind = random() % 5000;
            let at = "2024-01-01 00:00:00";
            let record: Vec<u8> = match (kind, json) {
                (0, false) => format!("many,x,{at}").into(),
                (0, true) => format!("{{\"n\":\"many\",\"s\":\"x\",\"at\":\"{at}\"}}").into(),
                (1, false) => [format!("{n},").as_bytes(), b"\xff\xfe,", at.as_bytes()].concat(),
                (1, true) => [format!("{{\"n\":{n},\"at\":\"{at}\",\"s\":\"").as_bytes(), b"\xc3\"}"].concat(),
                (2, false) => format!("{n},{},{at}", "y".repeat(3000)).into(),
                (2, true) => format!("{{\"n\":{n},\"s\":\"{}\"}}", "y".repeat(3000)).into(),
                (3, false) => format!("NaN,x,{at}").into(),
                (3, true) => format!("{{\"n\":NaN,\"s\":\"x\",\"at\":\"{at}\"}}").into(),
                (4, false) => format!("{n},x,292277026596-12-04 15:30:08").into(),
                (4, true) => format!("{{\"n\":{n},\"s\":\"x\",\"at\":\"292277026596-12-04 15:30:08\"}}").into(),
                (_, false) => format!("{n},s{kind},{at}").into(),
                (_, true) => format!("{{\"n\":{n},\"s\":\"s{kind}\",\"at\":\"{at}\"}}").into(),
            };
            if kind < 5 {
                made.bad.insert(made.text.len() as u64, record[..record.len().min(256)].to_vec());
            } else {
                made.sum += n as i64;
            }
            made.text.extend(&record);
            made.text.push(b'\n');
        }
        made
    }
}

/// As two members of gzip, of which the second is cut off right behind its first bytes.
fn cut_off(text: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = gzip.stdin.take().unwrap();
    let (text, head) = (text.to_vec(), b"\x1f\x8b\x08\0\0\0\0\0\0\x03");
    let writer = std::thread::spawn(move || input.write_all(&text).unwrap());
    let packed = gzip.wait_with_output().unwrap();
    writer.join().unwrap();
    [packed.stdout, head.to_vec()].concat()
}

fn decoded(base64: &str) -> Vec<u8> {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = base64.bytes().filter(|b| *b != b'=').map(|b| digits.iter().position(|d| *d == b).unwrap() as u32);
    let (mut bits, mut held, mut bytes) = (0, 0, vec![]);
    for digit in digits {
        (bits, held) = (bits << 6 | digit, held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let (_, rest) = line.split_once(&format!("\"{name}\":")).unwrap();
    match rest.strip_prefix('"') {
        Some(text) => &text[..text.find('"').unwrap()],
        None => &rest[..rest.find([',', '}']).unwrap()],
    }
}

/// Table, position and bytes of the lines of all visible files of a folder.
fn letters(folder: &std::path::Path) -> BTreeMap<(String, u64), Vec<u8>> {
    let mut all = BTreeMap::new();
    for file in fs::read_dir(folder).unwrap().map(|f| f.unwrap()) {
        if file.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        for line in fs::read_to_string(file.path()).unwrap().lines() {
            let key = (field(line, "table").to_string(), field(line, "position").parse().unwrap());
            let before = all.insert(key, decoded(field(line, "raw")));
            assert!(before.is_none(), "{line} is there twice");
        }
    }
    all
}

#[test]
fn each_of_a_thousand_bad_records_is_found_and_every_record_is_counted_once() {
    let sandbox = Sandbox::new();
    let (mut sql, mut wanted, mut counts, mut sums) = (String::new(), BTreeMap::new(), BTreeSet::new(), String::new());
    for (seed, (table, format, packed)) in
        [("a", "csv", false), ("b", "json", false), ("c", "csv", true), ("d", "json", true)].into_iter().enumerate()
    {
        let made = Made::new(format == "json", 0x9e37_79b9_7f4a_7c15 + seed as u64);
        assert!((100..500).contains(&made.bad.len()));
        let mut bad = made.bad.clone();
        let file = format!("{table}.{format}{}", if packed { ".gz" } else { "" });
        if packed {
            fs::write(sandbox.path(&file), cut_off(&made.text)).unwrap();
            bad.insert(made.text.len() as u64, vec![]);
        } else {
            fs::write(sandbox.path(&file), &made.text).unwrap();
        }
        let good = RECORDS - made.bad.len() as u64;
        sums += &format!("{{\"n\":{good},\"sum\":{}}}\n", made.sum);
        let grouped = |n: u64| if n < 1000 { n.to_string() } else { format!("{},{:03}", n / 1000, n % 1000) };
        let (read, dead) = (RECORDS + u64::from(packed), bad.len() as u64);
        counts.insert(format!(
            "{table}: {} read = {} decoded + {} dead-lettered + 0 skipped",
            grouped(read),
            grouped(good),
            grouped(dead)
        ));
        wanted.extend(bad.into_iter().map(|(at, raw)| ((table.to_string(), at), raw)));
        sql += &format!(
            "CREATE TABLE {table} (n BIGINT, s STRING, at TIMESTAMP) WITH ('connector' = 'filesystem', 'path' = '{file}', \
             'format' = '{format}', 'record.size-max' = '2 KiB'{}); ",
            if format == "csv" { ", 'csv.multiline' = 'false'" } else { "" }
        );
    }
    let queries: String = ["a", "b", "c", "d"]
        .map(|t| format!("SELECT count(s) AS n, sum(n) AS sum FROM {t} WHERE at IS NOT NULL;"))
        .concat();
    let check = |talk: &str| counts.iter().for_each(|count| assert!(talk.contains(count), "{count} in {talk}"));
    // They are read by a query.
    let bad = "CREATE TABLE bad (\"table\" STRING, split STRING, position BIGINT, received_at TIMESTAMP_LTZ(3), reason STRING, \
        raw BYTES) WITH ('connector' = 'filesystem', 'path' = 'bad', 'format' = 'json');";
    let inserts = ["a", "b", "c", "d"].map(|t| format!("INSERT INTO bad SELECT * FROM {t}$errors;")).concat();
    let outcome = sandbox.run(&["run", "-p", "3", "-c", &format!("{sql}{bad}{inserts}{queries}")]);
    check(&outcome.expect_code(0).expect_data(&sums).stderr);
    assert_eq!(letters(&sandbox.path("bad")), wanted);
    // Or by none, in a job that keeps state.
    let kept = |folder: &str| {
        let mut kept = BTreeMap::new();
        ["a", "b", "c", "d"].iter().for_each(|t| kept.extend(letters(&sandbox.path(&format!("{folder}/errors/{t}")))));
        kept
    };
    let outcome = sandbox.run(&["run", "-p", "2", "--state-dir", "state", "-c", &format!("{sql}{queries}")]);
    check(&outcome.expect_code(0).expect_data(&sums).stderr);
    outcome.expect_talk("dead letters of a are in ").expect_talk("state/errors/a\n");
    assert_eq!(kept("state"), wanted);
    // And when it is killed between two of its checkpoints, and goes on with other workers. Another try, if it was faster.
    let program = format!("{sql}{queries}");
    let folder = (0..10).map(|n| format!("killed-{n}")).find(|folder| is_killed(&sandbox, folder, &program));
    let folder = folder.expect("one of ten runs can be killed before its end");
    let outcome = sandbox.run(&["run", "-p", "3", "--state-dir", &folder, "-c", &program]);
    check(&outcome.expect_code(0).expect_data(&sums).stderr);
    assert_eq!(kept(&folder), wanted);
}

/// Runs a program with state in `folder`, and kills it when its second checkpoint is there. False: it had ended before.
fn is_killed(sandbox: &Sandbox, folder: &str, program: &str) -> bool {
    let interval = "checkpoint.interval=10 ms";
    let args = ["run", "-p", "2", "--state-dir", folder, "--set", interval, "-c", program];
    let mut child =
        sandbox.command(&args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // The first entry claims the journal.
    let second = sandbox.path(folder).join("journal/00000000000000000003.json");
    while !second.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap().code().is_none()
}

/// What a program computes with its rows fails for some of them, in several steps and for several reasons.
#[test]
fn rows_that_cannot_be_computed_with_fail_alone_and_are_counted() {
    // Of 0..3000: n % 10 = 3 divides by zero, 5 does not pass, 7 is no number, 9 is NULL for a column that must not be.
    let rows: String = (0..3000).map(|n| format!("{n},{},{}\n", n % 10, if n % 10 == 7 { "x" } else { "1" })).collect();
    let sandbox = Sandbox::with(&[("t.csv", format!("n,d,s\n{rows}").as_bytes())]);
    let sql = "CREATE TABLE t (n BIGINT, d BIGINT, s STRING) WITH ('connector' = 'filesystem', 'path' = 't.csv', 'format' = 'csv', \
         'csv.multiline' = 'false', 'source.split-size' = '5 KiB'); \
         CREATE TABLE o (n BIGINT, q BIGINT NOT NULL, s INT) WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'csv'); \
         INSERT INTO o SELECT n, nullif(1000 / (d - 3) + d, 175), CAST(s AS INT) FROM t WHERE d <> 5;";
    // 1000 / (9 - 3) + 9 = 175 is made NULL.
    let failed = sandbox.run(&["run", "-c", sql]);
    failed.expect_code(65).expect_talk("error[R0350]");
    assert!(
        !sandbox.path("o").exists() || shows_nothing(&sandbox.path("o")),
        "nothing is visible of a job that failed"
    );
    let outcome = sandbox.run(&["run", "-v", "-p", "2", "--batch-rows", "100", "--state-dir", "state", "-c", sql]);
    let talk = &outcome.expect_code(0).stderr;
    let mut kept: Vec<i64> = vec![];
    for file in fs::read_dir(sandbox.path("o")).unwrap().map(|f| f.unwrap()) {
        if !file.file_name().to_string_lossy().starts_with('.') {
            let text = fs::read_to_string(file.path()).unwrap();
            kept.extend(text.lines().skip(1).map(|line| line.split(',').next().unwrap().parse::<i64>().unwrap()));
        }
    }
    kept.sort_unstable();
    let wanted: Vec<i64> = (0..3000).filter(|n| ![3, 5, 7, 9].contains(&(n % 10))).collect();
    assert_eq!(kept, wanted);
    let mut reasons = BTreeMap::new();
    for file in fs::read_dir(sandbox.path("state/errors/t")).unwrap().map(|f| f.unwrap()) {
        if file.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        for line in fs::read_to_string(file.path()).unwrap().lines() {
            let raw = String::from_utf8(decoded(field(line, "raw"))).unwrap();
            assert_eq!(field(line, "position"), "null");
            let n: i64 = field(&raw, "n").parse().unwrap();
            assert!(reasons.insert(n, field(line, "reason").to_string()).is_none(), "{n} is there twice");
        }
    }
    assert_eq!(reasons.len(), 900);
    for (n, reason) in &reasons {
        let why = match n % 10 {
            3 => "division by zero",
            7 => "cannot cast 'x' to INT",
            9 => "NOT NULL",
            _ => panic!("{n}: {reason}"),
        };
        assert!(reason.contains(why), "{n}: {reason}");
    }
    // Of each step: what went in is what went on, what was left out and what failed.
    let number = |text: &str| text.replace(',', "").parse::<u64>().unwrap();
    let mut failed = 0;
    for line in talk.lines().filter(|l| l.starts_with("project ") || l.starts_with("filter ")) {
        let words: Vec<_> = line.split_whitespace().collect();
        let counter = |name| words.iter().position(|w| *w == name).map_or(0, |at| number(words[at + 1]));
        let (seen, out) = (number(words[1]), number(words[3]));
        assert_eq!(seen, out + counter("FilteredRows") + counter("DeadLetters"), "{line}");
        failed += counter("DeadLetters");
    }
    assert_eq!(failed, 900, "{talk}");
}

/// The numbers of the visible csv files of a folder.
fn numbers(folder: &std::path::Path) -> Vec<i64> {
    let mut all = vec![];
    for file in fs::read_dir(folder).into_iter().flatten().map(|f| f.unwrap()) {
        if !file.file_name().to_string_lossy().starts_with('.') {
            let text = fs::read_to_string(file.path()).unwrap();
            all.extend(text.lines().skip(1).map(|line| line.parse::<i64>().unwrap()));
        }
    }
    all.sort_unstable();
    all
}

/// From a restart on, each row is late for a window that fired before it.
#[test]
fn rows_that_are_late_right_behind_a_restart_are_told() {
    let sandbox = Sandbox::new();
    let sql = "CREATE TABLE t (n BIGINT, ts AS to_timestamp_millis(CASE WHEN n < 1000 THEN n * 1000 ELSE 0 END), \
         WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen', 'rows-per-second' = '20000/s', 'fields.n.kind' = 'sequence'); \
         CREATE TABLE counts (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'counts', 'format' = 'csv'); \
         CREATE TABLE late (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'late', 'format' = 'csv', \
         'sink.commit-interval' = '10 ms'); \
         INSERT INTO counts SELECT count(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) \
         GROUP BY window_start, window_end; \
         INSERT INTO late SELECT n FROM t$late;";
    let mut told = 0;
    for workers in ["1", "2", "1"] {
        let args = ["run", "-p", workers, "--state-dir", "state", "--set", "checkpoint.interval=20 ms", "-c", sql];
        let mut child = start(sandbox.command(&args));
        while numbers(&sandbox.path("late")).last().copied().unwrap_or_default() <= told {
            assert!(child.try_wait().unwrap().is_none(), "it goes on without end");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        interrupt(child);
        let late = numbers(&sandbox.path("late"));
        let all: Vec<i64> = (late[0]..=late[late.len() - 1]).collect();
        assert_eq!(late.len(), all.len(), "none is missing: they are late from {} on", late[0]);
        assert_eq!(late, all);
        told = late[late.len() - 1];
    }
}

/// Stops a job that goes on another time.
fn interrupt(mut child: std::process::Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// What is held back of a table when a job dies is its own, whatever the query says by then.
#[test]
fn a_job_that_died_goes_on_with_another_condition_and_with_queries_that_were_added() {
    let sandbox = Sandbox::new();
    let sql = |condition: &str, more: &str| {
        format!(
            "CREATE TABLE g (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '20000/s', \
             'number-of-rows' = '100000000', 'fields.n.kind' = 'sequence'); \
             CREATE TABLE o (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'csv', \
             'sink.commit-interval' = '1 h'); \
             INSERT INTO o SELECT /*+ id('keep') */ n FROM g /*+ id('g') */ WHERE n % 2 = {condition}; {more}"
        )
    };
    let run = |sql: &str| {
        start(sandbox.command(&[
            "run",
            "-p",
            "1",
            "--state-dir",
            "state",
            "--set",
            "checkpoint.interval=20 ms",
            "-c",
            sql,
        ]))
    };
    let mut child = run(&sql("0", ""));
    let staged = || {
        let files = fs::read_dir(sandbox.path("o")).into_iter().flatten();
        files.filter(|f| f.as_ref().unwrap().metadata().is_ok_and(|m| m.len() > 0)).count()
    };
    let checkpoints = || sandbox.run(&["checkpoint", "list", "state", "-o", "json"]).stdout.lines().count();
    while staged() == 0 || checkpoints() < 4 {
        assert!(child.try_wait().unwrap().is_none(), "it goes on without end");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let added = "CREATE TABLE p (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'p', 'format' = 'csv', \
         'sink.commit-interval' = '10 ms'); INSERT INTO p SELECT n FROM g WHERE n % 1000 = 7;";
    let mut child = run(&sql("1", added));
    while numbers(&sandbox.path("p")).is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "it is not refused");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    interrupt(child);
    let kept = numbers(&sandbox.path("o"));
    // Up to the place where the first reading stood, and from there on.
    let last_even =
        kept.iter().copied().filter(|n| n % 2 == 0).max().expect("what was held back when it died is visible");
    let first_odd = kept.iter().copied().find(|n| n % 2 == 1).unwrap();
    assert!([1, 3].contains(&(first_odd - last_even)), "{last_even} and {first_odd} stand beside the same place");
    let odd = (first_odd..=kept[kept.len() - 1]).step_by(2);
    let wanted: Vec<i64> = (0..=last_even).step_by(2).chain(odd).collect();
    assert!(kept == wanted, "nothing is lost or twice: {} rows, not {}", kept.len(), wanted.len());
}

/// Whether a folder shows nothing.
fn shows_nothing(folder: &std::path::Path) -> bool {
    fs::read_dir(folder).unwrap().all(|f| f.unwrap().file_name().to_string_lossy().starts_with('.'))
}
