//! Credit by ownership: in none of these may a job stall, and what is on its way stays bounded.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rheos_core::graph::NodeKind;
use rheos_core::source::WatermarkSpec;
use rheos_core::{Exchange, JobGraph};
use rheos_runtime::RunConfig;

use crate::support::*;

const ROWS: usize = 60_000;
const BATCH: usize = 100;
/// 16 bytes a row: the credit of one source worker is forty batches.
const CREDIT: u64 = 40 * 16 * BATCH as u64;

struct Case {
    name: &'static str,
    splits: Vec<Vec<(i64, i64)>>,
    own_sequences: bool,
    spec: Option<WatermarkSpec>,
    slow_split: Option<usize>,
}

fn split(rows: usize, time: impl Fn(usize) -> i64) -> Vec<(i64, i64)> {
    (0..rows).map(|n| (n as i64 % 17, time(n))).collect()
}

fn cases() -> Vec<Case> {
    let whole = || vec![split(ROWS, |n| n as i64)];
    let halves = || vec![split(ROWS / 2, |n| n as i64), split(ROWS / 2, |n| n as i64 + 30_000)];
    let far = vec![split(1000, |n| n as i64), split(ROWS - 1000, |n| n as i64 + 3_600_000)];
    let case = |name, splits, own_sequences, spec, slow_split| Case { name, splits, own_sequences, spec, slow_split };
    vec![
        case("no watermark at all", halves(), false, None, None),
        case("all timestamps equal", vec![split(ROWS, |_| 5)], false, watermark(0), None),
        case("an idle worker", whole(), false, watermark(0), None),
        case("a watermark that stands still behind an unread split", far, true, watermark(0), Some(0)),
        case("one worker epochs ahead", halves(), true, watermark(0), Some(1)),
    ]
}

#[test]
fn rows_on_their_way_to_a_slow_sink_stay_bounded() {
    for case in cases() {
        // A slow split of 30,000 rows at 20 ms a batch would take long; a small one shows the same.
        let slow_rows = case.slow_split.map_or(0, |n| case.splits[n].len());
        let batch_rows = if slow_rows > 10_000 { 1000 } else { BATCH };
        let credit_bytes = CREDIT * batch_rows as u64 / BATCH as u64;
        let rows: usize = case.splits.iter().map(Vec::len).sum();
        let traffic: Arc<Traffic> = Arc::default();
        let source = TestSource {
            splits: case.splits,
            own_sequences: case.own_sequences,
            slow_split: case.slow_split,
            traffic: Arc::clone(&traffic),
            ..Default::default()
        };
        let sink = TestSink { delay: Duration::from_millis(1), ..TestSink::new(schema(), &traffic) };
        let mut graph = JobGraph::default();
        let from = graph.add("source", NodeKind::Source { source: Arc::new(source), watermark: case.spec }, vec![]);
        graph.add("sink", NodeKind::Sink(Arc::new(sink)), vec![edge(from, Exchange::Hash(vec![0]))]);
        let config = RunConfig { parallelism: 2, batch_rows, credit_bytes, epoch_interval_ms: 5, ..Default::default() };
        let report = run(graph, config).unwrap();
        assert_eq!(report.snapshot.records_out, rows as u64, "{}", case.name);
        let bound = 2 * (credit_bytes / 16) as i64 + 2 * batch_rows as i64;
        let seen = traffic.in_flight_max.load(Ordering::SeqCst);
        assert!(seen <= bound, "{}: {seen} rows were on their way, at most {bound} may be", case.name);
        assert!(seen > batch_rows as i64, "{}: the sink was never behind, so nothing was tested", case.name);
    }
}

#[test]
fn a_window_that_fires_many_rows_waits_for_the_sink() {
    // 17 keys in 10 windows leave in chunks of three rows, each with a ticket of the operator's own small pool.
    let traffic: Arc<Traffic> = Arc::default();
    let source =
        TestSource { splits: vec![split(1000, |n| n as i64)], traffic: Arc::clone(&traffic), ..Default::default() };
    let sink = TestSink { delay: Duration::from_millis(1), ..TestSink::new(counts_schema(), &traffic) };
    let rows = Arc::clone(&sink.rows);
    let count = CountFactory { size_ms: 100, misbehave: None };
    let config = RunConfig { parallelism: 2, credit_bytes: 1, epoch_interval_ms: 5, ..Default::default() };
    run(counting(source, watermark(0), count, sink), config).unwrap();
    assert_eq!(rows.lock().unwrap().len(), 170);
}

/// Workers come to a source at about the moment at which another one ends it. Between two epochs nothing else would wake them.
#[test]
fn no_worker_sleeps_through_the_end_of_a_source() {
    for _ in 0..rheos_testkit::cases(100).cases {
        let traffic: Arc<Traffic> = Arc::default();
        let mut graph = JobGraph::default();
        for n in 0..16 {
            let source = TestSource { splits: vec![vec![]], traffic: Arc::clone(&traffic), ..Default::default() };
            let kind = NodeKind::Source { source: Arc::new(source), watermark: watermark(0) };
            let from = graph.add(format!("source {n}"), kind, vec![]);
            let sink = NodeKind::Sink(Arc::new(TestSink::new(schema(), &traffic)));
            graph.add(format!("sink {n}"), sink, vec![edge(from, Exchange::Hash(vec![0]))]);
        }
        let config = RunConfig { parallelism: 4, epoch_interval_ms: 3_600_000, ..Default::default() };
        run(graph, config).unwrap();
    }
}
