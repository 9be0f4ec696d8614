//! Results do not depend on parallelism, batch size or epochs; stops and failures end a job in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rheos_core::ErrorKind;
use rheos_core::operator::Counter;
use rheos_runtime::{JobControl, RunConfig, StopMode};

use crate::support::*;

/// Rows in `splits` splits of one sequence, out of order by less than 50 ms.
fn disordered(splits: usize, rows_each: usize) -> Vec<Vec<(i64, i64)>> {
    let row = |n: usize| ((n * 7919 % 23) as i64, n as i64 * 3 + (n * 31 % 50) as i64 - 25);
    (0..splits).map(|s| (s * rows_each..(s + 1) * rows_each).map(row).collect()).collect()
}

fn naive_counts(splits: &[Vec<(i64, i64)>], size: i64) -> Vec<Vec<i64>> {
    let mut counts = BTreeMap::new();
    for (key, ts) in splits.iter().flatten() {
        *counts.entry((*key, ts.div_euclid(size) * size)).or_insert(0) += 1;
    }
    counts.into_iter().map(|((key, start), n)| vec![key, start, n]).collect()
}

#[test]
fn windows_are_the_same_at_every_parallelism_batch_size_and_epoch_length() {
    let splits = disordered(12, 400);
    let expected = naive_counts(&splits, 100);
    for parallelism in [1, 2, 3] {
        for batch_rows in [1, 7, 8192] {
            let traffic = Arc::default();
            let source = TestSource { splits: splits.clone(), traffic: Arc::clone(&traffic), ..Default::default() };
            let sink = TestSink::new(counts_schema(), &traffic);
            let (rows, committed) = (Arc::clone(&sink.rows), Arc::clone(&sink.committed));
            let count = CountFactory { size_ms: 100, misbehave: None };
            let config = RunConfig { parallelism, batch_rows, epoch_interval_ms: 3, ..Default::default() };
            let report = run(counting(source, watermark(100), count, sink), config).unwrap();
            let mut got = rows.lock().unwrap().clone();
            got.sort();
            assert_eq!(got, expected, "parallelism {parallelism}, {batch_rows} rows a batch");
            assert_eq!(committed.load(Ordering::SeqCst), expected.len() as u64);
            assert_eq!((report.snapshot.records_in, report.snapshot.records_out), (4800, expected.len() as u64));
            assert!(!report.stopped);
        }
    }
}

#[test]
fn windows_fire_while_the_input_goes_on() {
    // The last split is slow; what lies before it must not wait for its end.
    let mut splits = disordered(6, 400);
    splits.push(vec![(1, 1_000_000), (1, 1_000_001)]);
    let traffic = Arc::default();
    let source = TestSource { splits, traffic: Arc::clone(&traffic), unbounded: true, ..Default::default() };
    let sink = TestSink::new(counts_schema(), &traffic);
    let rows = Arc::clone(&sink.rows);
    let count = CountFactory { size_ms: 100, misbehave: None };
    let control = JobControl::new();
    let stopper = control.clone();
    std::thread::spawn(move || {
        let until = Instant::now() + Duration::from_secs(30);
        while stopper.snapshot().watermark.0 < 900_000 && Instant::now() < until {
            std::thread::yield_now();
        }
        stopper.stop(StopMode::Stop);
    });
    let config = RunConfig { parallelism: 2, batch_rows: 64, ..Default::default() };
    let report = run_with(counting(source, watermark(100), count, sink), config, control).unwrap();
    assert!(report.stopped);
    assert_eq!(report.snapshot.counters.get(&Counter::OpenWindows), Some(&1), "the window of the last two rows");
    assert!(rows.lock().unwrap().iter().all(|r| r[1] < 900_000), "a stop does not fire open windows");
    assert_eq!(rows.lock().unwrap().iter().map(|r| r[2]).sum::<i64>(), 2400);
}

#[test]
fn a_drain_fires_open_windows() {
    let traffic = Arc::default();
    let splits = vec![vec![(1, 10), (2, 20)]];
    let source = TestSource { splits, traffic: Arc::clone(&traffic), unbounded: true, ..Default::default() };
    let sink = TestSink::new(counts_schema(), &traffic);
    let rows = Arc::clone(&sink.rows);
    let control = JobControl::new();
    let stopper = control.clone();
    std::thread::spawn(move || {
        while stopper.snapshot().records_in < 2 {
            std::thread::yield_now();
        }
        stopper.stop(StopMode::Drain);
    });
    let config = RunConfig { parallelism: 3, ..Default::default() };
    let count = CountFactory { size_ms: 100, misbehave: None };
    run_with(counting(source, watermark(0), count, sink), config, control).unwrap();
    let mut got = rows.lock().unwrap().clone();
    got.sort();
    assert_eq!(got, [[1, 0, 1], [2, 0, 1]]);
}

#[test]
fn an_empty_source_ends_at_once() {
    let traffic = Arc::default();
    let source = TestSource { traffic: Arc::clone(&traffic), ..Default::default() };
    let count = CountFactory { size_ms: 100, misbehave: None };
    let graph = counting(source, watermark(0), count, TestSink::new(counts_schema(), &traffic));
    let report = run(graph, RunConfig { parallelism: 3, ..Default::default() }).unwrap();
    assert_eq!(report.snapshot.records_out, 0);
}

#[test]
fn an_error_or_a_panic_of_one_worker_ends_the_job_with_its_cause() {
    for (misbehave, kind, text) in
        [(Misbehave::Fail, ErrorKind::User, "the row is bad"), (Misbehave::Panic, ErrorKind::Internal, "is broken")]
    {
        for parallelism in [1, 3] {
            let traffic = Arc::default();
            // One key, so one worker alone is hit.
            let source =
                TestSource { splits: vec![vec![(1, 1); 100]], traffic: Arc::clone(&traffic), ..Default::default() };
            let count = CountFactory { size_ms: 100, misbehave: Some(misbehave) };
            let graph = counting(source, watermark(0), count, TestSink::new(counts_schema(), &traffic));
            let error = run(graph, RunConfig { parallelism, ..Default::default() }).unwrap_err();
            assert_eq!(error.kind(), kind);
            assert!(error.message().contains(text), "{error}");
        }
    }
}

#[test]
fn a_parallelism_that_cannot_be_is_refused() {
    for parallelism in [0, 2000] {
        let error = run(Default::default(), RunConfig { parallelism, ..Default::default() }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}
