//! First rows that change, and tables that are written by their key, as a user sees them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::Command;

use crate::process::{Sandbox, start};

const BIDS: &[u8] = b"auction,price\n1,10\n2,20\n1,5\n1,30\n";
const TABLE: &str = "CREATE TABLE bid (auction BIGINT, price BIGINT) WITH ('connector' = 'filesystem', 'path' = 'in.csv', \
    'format' = 'csv');";
const ENDLESS: &str = "SET 'checkpoint.interval' = '20 ms'; CREATE TABLE n (id BIGINT) WITH ('connector' = 'datagen', \
    'rows-per-second' = '1000/s', 'fields.id.kind' = 'sequence');";

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// Runs a query whose lines are `{"op":..,"n":..,"id":..}` until some rows have taken the place of others, and what is there, the id of each
/// n, is whole. Whatever goes must have been there. Gives what was said beside the rows.
fn follow(query: &str, updates: usize, is_whole: impl Fn(&BTreeMap<i64, i64>) -> bool) -> String {
    let sandbox = Sandbox::new();
    let mut child = start(sandbox.command(&["run", "-o", "changelog", "-c", &format!("{ENDLESS}{query}")]));
    let process = child.id().to_string();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut there, mut updated, mut read) = (BTreeMap::new(), 0, 0);
    while updated < updates || !is_whole(&there) {
        let line: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let (n, id) = (line["n"].as_i64().unwrap(), line["id"].as_i64().unwrap());
        match line["op"].as_str().unwrap() {
            "+I" | "+U" => assert_eq!(there.insert(n, id), None, "{line}: the one before it is not gone"),
            _ => assert_eq!(there.remove(&n), Some(id), "{line}: another one was there"),
        }
        updated += usize::from(line["op"] == "+U");
        read += 1;
        assert!(read < 10_000, "after {updated} updates there is {there:?}");
    }
    assert!(Command::new("kill").args(["-INT", &process]).status().unwrap().success());
    lines.for_each(drop);
    let mut talk = String::new();
    child.stderr.take().unwrap().read_to_string(&mut talk).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{talk}");
    talk
}

#[test]
fn the_first_rows_of_endless_input_follow_it() {
    let query = "SELECT n, id FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY id DESC) AS n FROM n) WHERE n <= 3";
    let talk =
        follow(query, 9, |there| there.keys().copied().eq([1, 2, 3]) && there[&1] > there[&2] && there[&2] > there[&3]);
    assert!(!talk.contains("grows for ever"), "{talk}");
}

#[test]
fn the_last_row_of_each_key_follows_it() {
    let query = "SELECT n, id FROM (SELECT id, n, ROW_NUMBER() OVER (PARTITION BY n ORDER BY id DESC) AS r \
        FROM (SELECT id, id % 4 AS n FROM n)) WHERE r = 1";
    let talk = follow(query, 8, |there| there.keys().copied().eq(0..4) && there.iter().all(|(n, id)| id % 4 == *n));
    assert!(talk.contains("state grows for ever in changing-top-n: a row for each"), "{talk}");
}

#[test]
fn order_and_limit_are_first_rows() {
    let sandbox = Sandbox::with(&[("in.csv", BIDS)]);
    let run = |flags: &[&str], query: &str| {
        let sql = format!("{TABLE}{query}");
        let outcome = sandbox.run(&[&["run", "-q"], flags, &["-c", &sql]].concat());
        outcome.expect_code(0);
        outcome.stdout
    };
    let changes = ["--set", "emit.mode=changes"];
    let query = "SELECT auction, price FROM bid ORDER BY price DESC LIMIT 2 OFFSET 1";
    let expected = [r#"{"op":"+I","auction":1,"price":10}"#, r#"{"op":"+I","auction":2,"price":20}"#];
    assert_eq!(sorted(&run(&["-o", "changelog"], query)), expected);
    // Where the final rows are printed they have their order.
    let ordered = "{\"auction\":2,\"price\":20}\n{\"auction\":1,\"price\":10}\n";
    assert_eq!(run(&[&changes[..], &["-o", "jsonl"]].concat(), query), ordered);
    let endless = format!("{ENDLESS} SELECT id FROM n ORDER BY id LIMIT 2");
    sandbox.run(&["validate", "-c", &endless]).expect_code(0);
    sandbox.run(&["run", "-c", &endless]).expect_code(65).expect_talk("R0700").expect_talk("ORDER BY with LIMIT");
}

#[test]
fn a_table_with_a_key_has_one_row_of_each() {
    let sandbox = Sandbox::with(&[("in.csv", BIDS)]);
    let table = |options: &str| {
        format!("CREATE TABLE p (auction BIGINT, price BIGINT, PRIMARY KEY (Auction) NOT ENFORCED) WITH ({options});")
    };
    let print = table("'connector' = 'print', 'format' = 'csv'");
    let run = |flags: &[&str], query: &str| {
        let sql = format!("{TABLE}{print} INSERT INTO p {query}");
        let outcome = sandbox.run(&[&["run", "-q"], flags, &["-c", &sql]].concat());
        outcome.expect_code(0);
        outcome.stdout
    };
    // Of rows that come the last; of those that change, and of which several have a key, the first in the order of their columns.
    assert_eq!(sorted(&run(&[], "SELECT * FROM bid")), ["+I,1,30", "+I,2,20", "op,auction,price"]);
    let changes = ["--set", "emit.mode=changes"];
    let sums = "SELECT auction, sum(price) FROM bid GROUP BY auction";
    assert_eq!(sorted(&run(&changes, sums)), ["+I,1,45", "+I,2,20", "op,auction,price"]);
    let several = "SELECT auction, price FROM bid GROUP BY auction, price HAVING count(*) > 0";
    assert_eq!(sorted(&run(&changes, several)), ["+I,1,5", "+I,2,20", "op,auction,price"]);
    let file = table("'connector' = 'filesystem', 'path' = 'out', 'format' = 'csv'");
    let refused = sandbox.run(&["run", "-c", &format!("{TABLE}{file} INSERT INTO p SELECT * FROM bid")]);
    refused.expect_code(65).expect_talk("R0701").expect_talk("PRIMARY KEY");
}

/// What came first stays first: rows that are told once and stay can take it.
#[test]
fn the_first_row_to_come_is_never_taken_back() {
    let query = "SELECT n FROM (SELECT id % 4 AS n, ROW_NUMBER() OVER (PARTITION BY id % 4 ORDER BY p) AS r \
        FROM (SELECT id, PROCTIME() AS p FROM n)) WHERE r = 1";
    let sandbox = Sandbox::new();
    let explained = sandbox.run(&["explain", "-c", &format!("{ENDLESS}{query}")]);
    explained.expect_code(0);
    assert!(explained.stdout.contains("keep-first"), "{}", explained.stdout);
    assert!(!explained.stdout.contains("retract"), "{}", explained.stdout);
}
