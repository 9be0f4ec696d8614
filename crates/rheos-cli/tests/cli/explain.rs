//! `rheos explain --format`: the structure of the pictures, worked out by hand from the programs.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::process::Sandbox;

const TABLES: &str = "\
CREATE TABLE trips (at TIMESTAMP, origin STRING, n BIGINT, WATERMARK FOR at AS at) \
WITH ('connector' = 'filesystem', 'path' = 'trips.csv', 'format' = 'csv');
CREATE TABLE few (origin STRING, n BIGINT) WITH ('connector' = 'blackhole');
CREATE TABLE many (n BIGINT) WITH ('connector' = 'blackhole');
";

/// Two inserts that share a source, and a query that is only explained. The text has everything that could end a label.
fn inserts() -> String {
    format!(
        "{TABLES}INSERT INTO few SELECT origin, count(*) FROM trips WHERE origin <> 'a \"b\" \\ #1; & `c` <i>' GROUP BY origin;
         INSERT INTO many SELECT n FROM trips;
         EXPLAIN SELECT max(n) AS m FROM trips;"
    )
}

fn hourly() -> String {
    format!(
        "{TABLES}SELECT window_start, origin, sum(n) AS n FROM TUMBLE(trips, at, INTERVAL '1' HOUR) GROUP BY window_start, window_end, origin;"
    )
}

fn explained(sql: &str, format: &str) -> String {
    let sandbox =
        Sandbox::with(&[("trips.csv", b"at,origin,n\n2013-01-01 05:00:00,EWR,1\n"), ("job.sql", sql.as_bytes())]);
    sandbox.run(&["explain", "--format", format, "job.sql"]).expect_code(0).stdout.clone()
}

#[test]
fn the_promise_for_each_output_and_for_the_job_is_told() {
    let text = explained(&inserts(), "text");
    let promised =
        "with --state-dir:\n  few is written exactly-once\n  many is written exactly-once\n  the job is exactly-once\n";
    assert!(text.ends_with(promised), "{text}");
    let result = explained(&hourly(), "text");
    let again = "with --state-dir:\n  result is written at-least-once: after a crash, rows may show again\n";
    assert!(result.ends_with(again), "{result}");
    assert!(!explained(&inserts(), "mermaid").contains("exactly-once"));
}

/// The node names, and the edges as `from -> to: exchange`.
type Picture = (BTreeSet<String>, BTreeSet<String>);

/// Reads a picture back: `node` finds the id and the name in a line, `edge` both ids and the label.
fn read(
    text: &str,
    node: impl Fn(&str) -> Option<(String, String)>,
    edge: impl Fn(&str) -> Option<(String, String, String)>,
) -> Picture {
    let names: std::collections::BTreeMap<String, String> = text.lines().filter_map(node).collect();
    let line = |l| edge(l).map(|(from, to, label)| format!("{} -> {}: {label}", names[&from], names[&to]));
    (names.values().cloned().collect(), text.lines().filter_map(line).collect())
}

fn read_mermaid(text: &str) -> Picture {
    assert_eq!(text.lines().next(), Some("flowchart TB"));
    let node = |line: &str| {
        let (id, rest) = line.trim().split_once('[')?;
        let label = rest.split('"').nth(1)?;
        assert_eq!(line.matches('"').count(), 2, "a quote ends the label: {line}");
        Some((id.to_string(), label.split("<br/>").next()?.to_string()))
    };
    let edge = |line: &str| {
        let (from, rest) = line.trim().split_once(" -->|\"")?;
        let (label, to) = rest.split_once("\"| ")?;
        Some((from.to_string(), to.to_string(), label.to_string()))
    };
    read(text, |l| if l.contains("-->") { None } else { node(l) }, edge)
}

fn read_dot(text: &str) -> Picture {
    assert!(text.starts_with("digraph job {\n") && text.ends_with("}\n"), "{text}");
    let label = |rest: &str| rest.split_once("label=\"").map(|(_, l)| l.to_string());
    let node = |line: &str| {
        let (id, rest) = line.trim().split_once(' ')?;
        id.strip_prefix('n')?.parse::<u32>().ok()?;
        Some((id.to_string(), label(rest)?.split("\\l").next()?.to_string()))
    };
    let edge = |line: &str| {
        let (from, rest) = line.trim().split_once(" -> ")?;
        let (to, rest) = rest.split_once(' ')?;
        Some((from.to_string(), to.to_string(), label(rest)?.split('"').next()?.to_string()))
    };
    read(text, |l| if l.contains(" -> ") { None } else { node(l) }, edge)
}

fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|i| (*i).to_string()).collect()
}

#[test]
fn a_window_is_drawn_with_its_exchanges() {
    let nodes = set(&["source:trips", "partial-tumble", "tumble", "project", "sink:result"]);
    let edges = set(&[
        "source:trips -> partial-tumble: forward",
        "partial-tumble -> tumble: hash(origin)",
        "tumble -> project: forward",
        "project -> sink:result: single",
    ]);
    assert_eq!(read_mermaid(&explained(&hourly(), "mermaid")), (nodes.clone(), edges.clone()));
    assert_eq!(read_dot(&explained(&hourly(), "dot")), (nodes, edges));
}

#[test]
fn a_program_with_several_inserts_and_explain_is_one_graph() {
    for (nodes, edges) in [read_mermaid(&explained(&inserts(), "mermaid")), read_dot(&explained(&inserts(), "dot"))] {
        let sources = nodes.iter().filter(|n| n.starts_with("source:")).count();
        assert_eq!(sources, 1, "the inserts share their source: {nodes:?}");
        for sink in ["sink:few", "sink:many", "sink:explained-1"] {
            assert!(nodes.contains(sink), "{sink}: {nodes:?}");
        }
        for exchange in [": hash(origin)", ": single", ": forward"] {
            assert!(edges.iter().any(|e| e.ends_with(exchange)), "{exchange}: {edges:?}");
        }
    }
    let text = explained(&inserts(), "text");
    assert_eq!(text.lines().filter(|l| l.starts_with("sink:")).count(), 3, "{text}");
}

#[test]
fn a_program_of_explain_statements_alone_is_drawn_too() {
    let text = explained("EXPLAIN SELECT 1 AS a; EXPLAIN SELECT 'x' AS b;", "mermaid");
    let (nodes, _) = read_mermaid(&text);
    assert!(nodes.contains("sink:explained-1") && nodes.contains("sink:explained-2"), "{text}");
}

#[test]
fn an_unknown_format_is_a_mistake_of_usage() {
    let outcome = Sandbox::new().run(&["explain", "--format", "svg", "-c", "SELECT 1 AS a"]);
    outcome.expect_code(2).expect_talk("possible values: text, mermaid, dot");
}

#[test]
fn graphviz_draws_the_picture() {
    let Ok(mut dot) =
        Command::new("dot").arg("-Tplain").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    else {
        crate::process::say("skipped: there is no `dot` (Debian: apt-get install graphviz)");
        return;
    };
    let text = explained(&inserts(), "dot");
    dot.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = dot.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    let plain = String::from_utf8(output.stdout).unwrap();
    let (nodes, _) = read_dot(&text);
    assert_eq!(
        plain.lines().filter(|l| l.starts_with("node ")).count(),
        text.matches(" [label=").count() - text.matches(" -> ").count()
    );
    assert!(nodes.iter().all(|name| plain.contains(name.as_str())), "{plain}");
}
