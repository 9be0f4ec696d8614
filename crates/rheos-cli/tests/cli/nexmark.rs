//! The programs of `examples/nexmark`, compared with a recomputation row by row from the raw events.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::process::{Sandbox, say};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/nexmark").canonicalize().unwrap()
}

/// What a query makes of one bid.
type RowOf = fn(&Value) -> Option<Value>;

fn path(name: &str) -> String {
    examples().join(format!("{name}.sql")).display().to_string()
}

/// The rows that a program prints.
fn run(sandbox: &Sandbox, args: &[&str]) -> Vec<Value> {
    let outcome = sandbox.run(&[&["run", "-o", "jsonl"], args].concat());
    outcome.expect_code(0).stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The rows of an example, in any order.
fn example(name: &str) -> Vec<String> {
    sorted(run(&Sandbox::new(), &[&*path(name), "-p", "2"]))
}

fn sorted(rows: Vec<Value>) -> Vec<String> {
    let mut rows: Vec<String> = rows.iter().map(Value::to_string).collect();
    rows.sort();
    rows
}

/// The events of a kind, of those that the examples declare.
fn events(kind: &str) -> Vec<Value> {
    let sql = format!(
        "CREATE TABLE raw WITH ('connector' = 'nexmark', 'table' = '{kind}', 'events.num' = '5000', \
         'first-event.rate' = '100'); SELECT * FROM raw"
    );
    run(&Sandbox::new(), &["-c", &sql])
}

/// A price in thousandths of a euro.
fn euros(bid: &Value) -> i64 {
    bid["price"].as_i64().unwrap() * 908
}

/// A decimal number as it is printed, but for its trailing zeros, which a number in JSON does not keep.
fn decimal(thousandths: i64) -> Value {
    serde_json::from_str(&format!("{}.{:03}", thousandths / 1000, thousandths % 1000)).unwrap()
}

fn text<'a>(bid: &'a Value, name: &str) -> &'a str {
    bid[name].as_str().unwrap()
}

fn q0(bid: &Value) -> Option<Value> {
    Some(json!({ "auction": bid["auction"], "bidder": bid["bidder"], "price": bid["price"],
                 "dateTime": bid["dateTime"], "extra": bid["extra"] }))
}

fn q1(bid: &Value) -> Option<Value> {
    let mut row = q0(bid)?;
    row["price"] = decimal(euros(bid));
    Some(row)
}

fn q2(bid: &Value) -> Option<Value> {
    let picked = bid["auction"].as_i64().unwrap() % 123 == 0;
    picked.then(|| json!({ "auction": bid["auction"], "price": bid["price"] }))
}

fn q14(bid: &Value) -> Option<Value> {
    let mut row = q1(bid)?;
    let hour: u32 = text(bid, "dateTime")[11..13].parse().unwrap();
    row["part_of_day"] = match hour {
        8..=18 => "day",
        7 | 19 => "twilight",
        _ => "night",
    }
    .into();
    row["c_count"] = text(bid, "extra").chars().filter(|c| *c == 'c').count().into();
    (1_000_000_001..50_000_000_000).contains(&euros(bid)).then_some(row)
}

fn q21(bid: &Value) -> Option<Value> {
    let channel = text(bid, "channel").to_lowercase();
    let known = ["apple", "google", "facebook", "baidu"].iter().position(|name| *name == channel);
    let number = match known {
        Some(n) => n.to_string(),
        None => text(bid, "url").split('&').find_map(|part| part.strip_prefix("channel_id="))?.to_string(),
    };
    Some(json!({ "auction": bid["auction"], "bidder": bid["bidder"], "price": bid["price"],
                 "channel": bid["channel"], "channel_id": number }))
}

fn q22(bid: &Value) -> Option<Value> {
    let parts: Vec<&str> = text(bid, "url").split('/').collect();
    let folder = |n: usize| parts.get(n).copied().unwrap_or_default();
    Some(json!({ "auction": bid["auction"], "bidder": bid["bidder"], "price": bid["price"], "channel": bid["channel"],
                 "folder_1": folder(3), "folder_2": folder(4), "folder_3": folder(5) }))
}

/// Whether an example prints these rows, in any order.
fn compare(name: &str, want: Vec<Value>) {
    let (got, want) = (example(name), sorted(want));
    assert!(!want.is_empty(), "{name} has no rows to compare");
    // Not assert_eq: thousands of rows would be printed.
    let differs = got.iter().zip(&want).find(|(got, want)| got != want);
    let (rows, wanted) = (got.len(), want.len());
    assert!(rows == wanted && differs.is_none(), "{name}: {rows} rows, not {wanted}; {differs:?}");
}

#[test]
fn queries_of_single_bids_are_right() {
    let bids = events("bid");
    assert_eq!(bids.len(), 4600);
    let cases: [(&str, RowOf); 6] = [("q0", q0), ("q1", q1), ("q2", q2), ("q14", q14), ("q21", q21), ("q22", q22)];
    for (name, of) in cases {
        compare(name, bids.iter().filter_map(of).collect());
    }
}

/// Event time in ms since the first of the events; all are of the same minute.
fn time_ms(event: &Value) -> i64 {
    let seconds = text(event, "dateTime").strip_prefix("2025-01-01 00:00:").unwrap();
    let (whole, part) = seconds.split_once('.').unwrap_or((seconds, ""));
    whole.parse::<i64>().unwrap() * 1000 + format!("{part:0<3}").parse::<i64>().unwrap()
}

/// The same as it is printed, within two minutes.
fn time_text(ms: i64) -> String {
    let text = format!("2025-01-01 00:{:02}:{:02}.{:03}", ms / 60_000, ms / 1000 % 60, ms % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

fn id(event: &Value, name: &str) -> i64 {
    event[name].as_i64().unwrap()
}

#[test]
fn the_hottest_auctions_are_right() {
    let bids = events("bid");
    let mut want = Vec::new();
    // A window that begins before the first event has its first part.
    for start in (-8_000..50_000).step_by(2_000) {
        let mut counts = BTreeMap::new();
        for bid in bids.iter().filter(|b| (start..start + 10_000).contains(&time_ms(b))) {
            *counts.entry(id(bid, "auction")).or_insert(0) += 1;
        }
        let most = counts.values().copied().max().unwrap_or(0);
        want.extend(
            counts.iter().filter(|(_, n)| **n == most).map(|(auction, n)| json!({ "auction": auction, "bids": n })),
        );
    }
    compare("q5", want);
}

#[test]
fn the_newcomers_who_sell_are_right() {
    let window = |event: &Value| time_ms(event) / 10_000 * 10_000;
    let sellers: BTreeSet<(i64, i64)> = events("auction").iter().map(|a| (id(a, "seller"), window(a))).collect();
    let sells = |person: &&Value| sellers.contains(&(id(person, "id"), window(person)));
    let row = |person: &Value| json!({ "id": person["id"], "name": person["name"], "window_start": time_text(window(person)) });
    compare("q8", events("person").iter().filter(sells).map(row).collect());
}

/// The times of the bids of each bidder, in order.
fn bids_by_bidder() -> BTreeMap<i64, Vec<i64>> {
    let mut times: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for bid in events("bid") {
        times.entry(id(&bid, "bidder")).or_default().push(time_ms(&bid));
    }
    times.values_mut().for_each(|t| t.sort_unstable());
    times
}

#[test]
fn the_sessions_of_bidders_are_right() {
    let mut want = Vec::new();
    for (bidder, times) in bids_by_bidder() {
        for session in times.chunk_by(|a, b| b - a <= 10_000) {
            let (first, last) = (session[0], session[session.len() - 1]);
            want.push(json!({ "bidder": bidder, "bids": session.len(), "window_start": time_text(first),
                              "window_end": time_text(last + 10_000) }));
        }
    }
    compare("q11", want);
}

#[test]
fn the_bids_of_windows_of_the_clock_add_up() {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    for row in run(&Sandbox::new(), &[&*path("q12"), "-p", "2"]) {
        *counts.entry(id(&row, "bidder")).or_default() += row["bids"].as_u64().unwrap() as usize;
    }
    let want: BTreeMap<i64, usize> =
        bids_by_bidder().into_iter().map(|(bidder, times)| (bidder, times.len())).collect();
    assert_eq!(counts, want);
}

#[test]
fn the_archive_has_every_bid() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run", &path("q10"), "-p", "2"]).expect_code(0).expect_data("");
    let files = files_below(&sandbox.path("examples/out/nexmark-archive"));
    // Each has a header line, and no text of the generator has a line break.
    let rows: usize = files.iter().map(|file| std::fs::read_to_string(file).unwrap().lines().count() - 1).sum();
    assert_eq!(rows, 4600, "{files:?}");
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| if path.is_dir() { files_below(&path) } else { vec![path] };
    entries.flat_map(below).filter(|path| path.extension().is_some_and(|e| e == "csv")).collect()
}

#[test]
fn every_example_runs() {
    let mut programs: Vec<PathBuf> = std::fs::read_dir(examples()).unwrap().map(|f| f.unwrap().path()).collect();
    programs.retain(|path| path.extension().is_some_and(|e| e == "sql"));
    assert_eq!(programs.len(), 22);
    for path in programs {
        Sandbox::new().run(&["run", &path.display().to_string()]).expect_code(0);
    }
}

/// The texts are not part of the project; `NEXMARK_QUERIES` names their folder.
#[test]
fn the_official_texts_give_duckdbs_answers() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/nexmark_official.py");
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let run = std::process::Command::new(python)
        .arg(script)
        .args(["--binary", env!("CARGO_BIN_EXE_rheos"), "--events", "20000"])
        .output();
    match run {
        Ok(done) => {
            let said = String::from_utf8_lossy(&done.stdout);
            say(&format!("official Nexmark texts: {said}"));
            assert!(done.status.success(), "{said}\n{}", String::from_utf8_lossy(&done.stderr));
        }
        Err(error) => say(&format!("skipped: the official Nexmark texts need Python: {error}")),
    }
}
