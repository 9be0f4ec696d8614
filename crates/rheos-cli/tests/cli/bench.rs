//! `rheos bench nexmark`: what it reports, where its events come from, and what a mistake looks like. No figure is
//! judged: they depend on the machine.

use serde_json::Value;

use crate::process::{Outcome, Sandbox};

fn bench(sandbox: &Sandbox, args: &[&str]) -> Outcome {
    let mut all = vec!["bench", "nexmark"];
    for default in [["--events", "20k"], ["--runs", "1"]] {
        all.extend(default.iter().filter(|_| !args.contains(&default[0])));
    }
    all.extend(args);
    sandbox.run(&all)
}

fn figures(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.expect_code(0).stdout).unwrap()
}

fn rows(figures: &Value) -> Vec<(&str, u64)> {
    let queries = figures["queries"].as_array().unwrap();
    queries.iter().map(|q| (q["query"].as_str().unwrap(), q["rows"].as_u64().unwrap())).collect()
}

#[test]
fn each_query_has_its_figures() {
    let outcome = bench(&Sandbox::new(), &["--queries", "q0,Q2", "--runs", "2", "-p", "2", "-o", "json"]);
    let report = figures(&outcome);
    assert_eq!(report["source"], "generator");
    assert_eq!(report["queries"].as_array().unwrap().len(), 2);
    for query in report["queries"].as_array().unwrap() {
        assert_eq!(query["events"], 20_000);
        assert_eq!(query["runs"].as_array().unwrap().len(), 2);
        assert_eq!(query["runs"][0]["parallelism"], 2);
        for name in ["wall_s", "cpu_s", "events_per_s", "cpu_s_per_million_events", "peak_memory_bytes"] {
            assert!(query[name].as_f64().unwrap() > 0.0, "{name}: {query}");
        }
        let (a, b) = (query["runs"][0]["wall_s"].as_f64().unwrap(), query["runs"][1]["wall_s"].as_f64().unwrap());
        // Printed and read again, so the last digit may differ.
        assert!((query["wall_s"].as_f64().unwrap() - a.midpoint(b)).abs() <= 1e-12, "{query}");
    }
    // 46 of 50 events are bids.
    assert_eq!(rows(&report)[0], ("q0", 18_400));
    assert!(outcome.stderr.is_empty(), "progress in a pipe: {}", outcome.stderr);
}

#[test]
fn files_are_written_once_and_hold_the_same_events() {
    let sandbox = Sandbox::new();
    let queries = ["--queries", "q0,q2,q5,q8,q10,q11,q14,q21", "-o", "json", "--data", "data"];
    let made = bench(&sandbox, &queries);
    let made = figures(&made);
    for source in ["parquet", "json"] {
        let args = [&queries[..], &["--source", source]].concat();
        let first = bench(&sandbox, &args);
        assert_eq!(rows(&figures(&first)), rows(&made), "{source}");
        first.expect_talk("writing 20,000 events");
        let folder = sandbox.path(&format!("data/{source}-20000"));
        // Parquet: flat tables, one a kind.
        let tables: &[&str] = if source == "parquet" { &["auction", "bid", "person"] } else { &["."] };
        let files = || {
            let entries = tables.iter().flat_map(|t| std::fs::read_dir(folder.join("data").join(t)).unwrap());
            let mut files: Vec<_> = entries.map(|f| f.unwrap().path()).collect();
            files.sort();
            files
        };
        let (names, written) = (files(), |f: &std::path::PathBuf| std::fs::metadata(f).unwrap().modified().unwrap());
        assert_eq!(names.len(), tables.len(), "one file keeps the events in order: {names:?}");
        let before = written(&names[0]);
        let again = bench(&sandbox, &args);
        assert_eq!(rows(&figures(&again)), rows(&made), "{source}");
        again.expect_talk("reading 20,000 events");
        assert_eq!((files(), written(&names[0])), (names.clone(), before), "{source} was written again");
        // Without a manifest the files are of unknown origin.
        std::fs::write(folder.join("manifest.json"), "{}").unwrap();
        bench(&sandbox, &args).expect_code(0).expect_talk("writing 20,000 events");
    }
}

#[test]
fn lines_and_tables() {
    let sandbox = Sandbox::new();
    let lines = bench(&sandbox, &["--queries", "q1,q22", "-o", "jsonl"]);
    let lines: Vec<Value> =
        lines.expect_code(0).stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = lines.iter().map(|l| (l["query"].as_str().unwrap(), l["source"].as_str().unwrap())).collect();
    assert_eq!(names, [("q1", "generator"), ("q22", "generator")]);
    let table = bench(&sandbox, &["--queries", "q0"]);
    let table: Vec<Vec<&str>> = table.expect_code(0).stdout.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(table[0].join(" "), "QUERY EVENTS ROWS WALL S EVENTS/S CPU S CPU S/M PEAK MIB STATE B/ROW");
    assert_eq!(table[1][..3], ["q0", "20,000", "18,400"]);
}

#[test]
fn mistakes_are_named() {
    let sandbox = Sandbox::new();
    let unknown = bench(&sandbox, &["--queries", "q0,q222"]);
    unknown.expect_code(4).expect_talk("error[R0530]: there is no query 'q222'");
    unknown.expect_talk("did you mean 'q22'?").expect_talk("q0, q1, q2");
    bench(&sandbox, &["--events", "many"]).expect_code(2).expect_talk("such as 500k or 10M");
    bench(&sandbox, &["--source", "kafka"]).expect_code(2).expect_talk("possible values: generator, parquet, json");
    std::fs::write(sandbox.path("file"), "").unwrap();
    let blocked = bench(&sandbox, &["--queries", "q0", "--source", "json", "--data", "file/below"]);
    assert_ne!(blocked.code, 0);
    blocked.expect_talk("name a folder of your own with --data");
    sandbox.run(&["bench"]).expect_code(2).expect_talk("nexmark");
}

#[test]
fn latency_is_told_beside_that_of_a_thread() {
    let sandbox = Sandbox::new();
    for query in ["q1", "tumble"] {
        let options = ["--query", query, "--rate", "1000/s", "--duration", "2 s", "-p", "2", "-o", "json"];
        let found = figures(&sandbox.run(&[&["bench", "latency"], &options[..]].concat()));
        assert_eq!(
            (&found["query"], &found["rate_per_s"], &found["parallelism"]),
            (&query.into(), &1000.into(), &2.into())
        );
        for what in ["latency", "wake_up"] {
            let value = |name: &str| found[what][name].as_f64().unwrap();
            assert!(value("samples") >= 1.0, "{found}");
            assert!(value("p50_ms") > 0.0, "{found}");
            let rising = ["p50_ms", "p90_ms", "p99_ms", "p99.9_ms", "max_ms"].map(value);
            assert!(rising.is_sorted(), "{found}");
        }
        if query == "q1" {
            // 46 of 50 of the 2,000 events that are due after the first second.
            assert_eq!(found["latency"]["samples"], 1840);
        }
    }
    let table = sandbox.run(&["bench", "latency", "--rate", "100/s", "--duration", "1 s", "-q"]);
    let lines: Vec<&str> = table.expect_code(0).stdout.lines().collect();
    assert!(lines[0].starts_with("LATENCY ") && lines[1].starts_with("q1 ") && lines[2].starts_with("thread wake-up "));
}

#[test]
fn the_start_is_measured_to_the_first_row() {
    let outcome = Sandbox::new().run(&["bench", "startup", "--runs", "4", "-o", "json"]);
    let found = figures(&outcome);
    let runs: Vec<f64> = found["runs_ms"].as_array().unwrap().iter().map(|ms| ms.as_f64().unwrap()).collect();
    assert!(runs.len() == 4 && runs.is_sorted() && runs[0] > 0.0, "{found}");
    assert_eq!((&found["least_ms"], &found["most_ms"]), (&runs[0].into(), &runs[3].into()));
    let median = found["median_ms"].as_f64().unwrap();
    // Whole nanoseconds, printed and read again.
    assert!((median - runs[1].midpoint(runs[2])).abs() < 1e-5, "{found}");
}

#[test]
fn mistakes_of_latency_and_startup_are_named() {
    let sandbox = Sandbox::new();
    let refused = |args: &[&str], talk: &str| {
        sandbox.run(&[&["bench"], args].concat()).expect_code(2).expect_data("").expect_talk(talk);
    };
    refused(&["latency", "--rate", "100000"], "write a rate from 1/s to 10000000/s, such as 100000/s");
    refused(&["latency", "--rate", "0/s"], "write a rate from 1/s");
    refused(&["latency", "--duration", "10"], "write a time from 1 s to 1 h, such as '30 s'");
    refused(&["latency", "--query", "q9"], "possible values: q1, tumble");
    refused(&["latency", "-o", "csv"], "possible values: table, json");
    refused(&["startup", "--runs", "0"], "1..=1000");
}

#[test]
fn a_failing_program_ends_the_measurement_with_its_code() {
    let sandbox = Sandbox::new();
    let refused = sandbox.run_with_input(&["bench", "measure"], b"SELECT nothing FROM nowhere");
    refused.expect_code(65).expect_data("").expect_talk(" --> <stdin>:1:");
}
