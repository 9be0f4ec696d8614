//! Results that change, as they are printed.

use std::io::{BufRead, BufReader, Read};
use std::process::Command;

use crate::process::{Sandbox, start};

const BIDS: &[u8] = b"auction,price\n1,10\n2,20\n1,5\n";
const TABLE: &str = "CREATE TABLE bid (auction BIGINT, price BIGINT) WITH ('connector' = 'filesystem', 'path' = 'in.csv', \
    'format' = 'csv');";
const SUMS: &str = "SELECT auction, sum(price) AS total FROM bid GROUP BY auction";

fn sandbox() -> Sandbox {
    Sandbox::with(&[("in.csv", BIDS)])
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_changelog_says_how_each_row_changes() {
    let sandbox = sandbox();
    let outcome = sandbox.run(&["run", "-q", "-o", "changelog", "-c", &format!("{TABLE}{SUMS}")]);
    outcome.expect_code(0);
    let expected = [r#"{"op":"+I","auction":1,"total":15}"#, r#"{"op":"+I","auction":2,"total":20}"#];
    assert_eq!(sorted(&outcome.stdout), expected);
    // What does not change is added.
    let outcome =
        sandbox.run(&["run", "-q", "-o", "changelog", "-c", &format!("{TABLE} SELECT price FROM bid WHERE price > 9")]);
    assert_eq!(sorted(&outcome.stdout), [r#"{"op":"+I","price":10}"#, r#"{"op":"+I","price":20}"#]);
}

#[test]
fn other_formats_print_the_final_rows_of_input_that_ends() {
    let sandbox = sandbox();
    let run = |format: &str, query: &str| {
        let sql = format!("{TABLE}{query}");
        let outcome = sandbox.run(&["run", "-q", "--set", "emit.mode=changes", "-o", format, "-c", &sql]);
        outcome.expect_code(0);
        outcome.stdout
    };
    let ordered = format!("{SUMS} ORDER BY total DESC");
    assert_eq!(run("jsonl", &ordered), "{\"auction\":2,\"total\":20}\n{\"auction\":1,\"total\":15}\n");
    assert_eq!(run("csv", &format!("{SUMS} HAVING sum(price) > 15")), "auction,total\n2,20\n");
    assert_eq!(run("table", &format!("SELECT max(total) AS m FROM ({SUMS})")), "  m\n----\n 20\n");
    assert_eq!(run("jsonl", "SELECT count(*) AS n FROM bid WHERE price > 100"), "{\"n\":0}\n");
}

#[test]
fn an_endless_result_that_changes_needs_a_place_that_shows_it() {
    let endless = "CREATE TABLE n (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000/s', \
        'fields.id.kind' = 'sequence');";
    let query = format!(
        "SET 'checkpoint.interval' = '20 ms'; {endless} SELECT id % 2 AS k, count(*) AS n FROM n GROUP BY id % 2"
    );
    let sandbox = Sandbox::new();
    sandbox.run(&["run", "-c", &query]).expect_code(65).expect_talk("R0700").expect_talk("--output changelog");
    sandbox.run(&["validate", "-c", &query]).expect_code(0);
    let mut child = start(sandbox.command(&["run", "-o", "changelog", "-c", &query]));
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    // Until a row has taken the place of another.
    let mut totals = std::collections::BTreeMap::new();
    let mut updates = 0;
    while updates < 4 {
        let line = lines.next().unwrap().unwrap();
        let (op, row) = line.strip_prefix("{\"op\":\"").unwrap().split_once("\",").unwrap();
        let (key, count) = row.split_once(",\"n\":").unwrap();
        let count: i64 = count.trim_end_matches('}').parse().unwrap();
        let before = match op {
            "+I" | "+U" => totals.insert(key.to_string(), count),
            _ => totals.remove(key),
        };
        match op {
            "+I" | "+U" => assert_eq!(before, None, "{line}: the one before it is not gone"),
            "-U" => assert_eq!(before, Some(count), "{line}: another one was there"),
            _ => panic!("{line}: no group goes"),
        }
        updates += usize::from(op == "+U");
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    let mut talk = String::new();
    child.stderr.take().unwrap().read_to_string(&mut talk).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{talk}");
    assert!(talk.contains("state grows for ever in group: a group for each"), "{talk}");
}

#[test]
fn tables_take_changes_or_final_rows() {
    let sandbox = sandbox();
    let sql = format!(
        "{TABLE} CREATE TABLE p (auction BIGINT, total BIGINT) WITH ('connector' = 'print', 'format' = 'csv'); \
         CREATE TABLE f (auction BIGINT, total BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv'); \
         INSERT INTO p {SUMS}; INSERT INTO f {SUMS};"
    );
    let outcome = sandbox.run(&["run", "-q", "--set", "emit.mode=changes", "-c", &sql]);
    outcome.expect_code(0);
    assert_eq!(sorted(&outcome.stdout), ["+I,1,15", "+I,2,20", "op,auction,total"]);
    let written: Vec<String> = std::fs::read_dir(sandbox.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "csv"))
        .flat_map(|path| std::fs::read_to_string(path).unwrap().lines().skip(1).map(str::to_string).collect::<Vec<_>>())
        .collect();
    assert_eq!(sorted(&written.join("\n")), ["1,15", "2,20"]);
}
