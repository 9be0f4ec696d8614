//! What a job counts, and the report at its end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rheos_core::graph::NodeKind;
use rheos_core::lateness::Lateness;
use rheos_core::letters::SINK_PREFIX;
use rheos_core::operator::{Counter, OperatorContext, StateSize};
use rheos_core::source::SourceCounters;
use rheos_core::time::Watermark;
use rheos_core::{JobGraph, NodeId};

use crate::control::lock;

/// The counts of one node over all workers.
#[derive(Default)]
pub(crate) struct NodeMetrics {
    pub(crate) rows_in: AtomicU64,
    pub(crate) rows_out: AtomicU64,
    counters: Mutex<BTreeMap<Counter, u64>>,
    lateness: Mutex<Lateness>,
    state: Mutex<StateSize>,
}

impl NodeMetrics {
    /// What one worker's operator has kept to the end.
    pub(crate) fn add_state(&self, size: StateSize) {
        let mut sum = lock(&self.state);
        *sum = *sum + size;
    }

    pub(crate) fn add_in(&self, rows: usize) {
        self.rows_in.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_out(&self, rows: usize) {
        self.rows_out.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Takes over what an operator has counted since the last call, and gives it.
    pub(crate) fn absorb(&self, ctx: &mut OperatorContext) -> BTreeMap<Counter, u64> {
        let counters = ctx.take_counters();
        if counters.is_empty() {
            return counters;
        }
        let mut sums = lock(&self.counters);
        for (counter, n) in &counters {
            *sums.entry(*counter).or_default() += n;
        }
        drop(sums);
        lock(&self.lateness).merge(&ctx.take_lateness());
        counters
    }
}

/// The counts of a job.
pub(crate) struct Metrics {
    started: Instant,
    names: Vec<(String, String)>,
    /// By node, one a worker.
    sources: Vec<(usize, Vec<Arc<SourceCounters>>)>,
    /// What earlier runs of the job have counted up to the checkpoint that it goes on from.
    counted_before: BTreeMap<String, u64>,
    sinks: Vec<usize>,
    bytes_total: AtomicU64,
    watermark: AtomicI64,
    pub(crate) nodes: Vec<NodeMetrics>,
}

impl Metrics {
    pub(crate) fn new(graph: &JobGraph, workers: usize, counted_before: BTreeMap<String, u64>) -> Self {
        let of = |wanted: fn(&NodeKind) -> bool| -> Vec<usize> {
            graph.ids().filter(|id| wanted(&graph.node(*id).kind)).map(|id| id.0).collect()
        };
        Self {
            started: Instant::now(),
            names: graph.nodes().iter().map(|n| (n.name.clone(), n.operator_id.clone())).collect(),
            sources: of(|k| matches!(k, NodeKind::Source { .. }))
                .into_iter()
                .map(|n| (n, (0..workers).map(|_| Arc::default()).collect()))
                .collect(),
            counted_before,
            // What goes beside the results is none of them.
            sinks: of(|k| matches!(k, NodeKind::Sink(_)))
                .into_iter()
                .filter(|n| !graph.node(NodeId(*n)).name.starts_with(SINK_PREFIX))
                .collect(),
            bytes_total: AtomicU64::new(0),
            watermark: AtomicI64::new(Watermark::MIN.0),
            nodes: graph.nodes().iter().map(|_| NodeMetrics::default()).collect(),
        }
    }

    pub(crate) fn source_counters(&self, node: usize, worker: usize) -> Arc<SourceCounters> {
        let found = self.sources.iter().find(|(n, _)| *n == node).and_then(|(_, counters)| counters.get(worker));
        found.cloned().unwrap_or_default()
    }

    /// What each source has counted, earlier runs of the job included.
    pub(crate) fn source_stats(&self) -> Vec<SourceStats> {
        let stats = |(node, workers): &(usize, Vec<Arc<SourceCounters>>)| {
            let (name, operator) = &self.names[*node];
            let before = SourceCounts::restored(operator, &self.counted_before);
            let counts = workers.iter().map(|c| SourceCounts::of(c)).fold(before, |sum, c| sum.plus(&c));
            let SourceCounts([read, decoded, dead_lettered, skipped]) = counts;
            let table = name.strip_prefix("source:").unwrap_or(name).to_string();
            SourceStats { table, read, decoded, dead_lettered, skipped }
        };
        self.sources.iter().map(stats).collect()
    }

    pub(crate) fn add_bytes_total(&self, bytes: u64) {
        self.bytes_total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The smallest watermark that all sinks have seen.
    pub(crate) fn set_watermark(&self, watermark: Watermark) {
        self.watermark.fetch_max(watermark.0, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let sum = |nodes: &[usize], f: fn(&NodeMetrics) -> &AtomicU64| -> u64 {
            nodes.iter().map(|n| f(&self.nodes[*n]).load(Ordering::Relaxed)).sum()
        };
        let sources: Vec<usize> = self.sources.iter().map(|(n, _)| *n).collect();
        let of_sources = |f: fn(&SourceCounters) -> &AtomicU64| {
            self.sources.iter().flat_map(|(_, c)| c).map(|c| f(c).load(Ordering::Relaxed)).sum()
        };
        let bytes_total = self.bytes_total.load(Ordering::Relaxed);
        let mut counters = BTreeMap::new();
        for node in &self.nodes {
            for (counter, n) in lock(&node.counters).iter() {
                *counters.entry(*counter).or_default() += n;
            }
        }
        Snapshot {
            records_in: sum(&sources, |n| &n.rows_out),
            records_out: sum(&self.sinks, |n| &n.rows_in),
            skipped: of_sources(|c| &c.skipped),
            dead_lettered: of_sources(|c| &c.dead_lettered),
            bytes_done: of_sources(|c| &c.bytes),
            bytes_total: (bytes_total > 0).then_some(bytes_total),
            watermark: Watermark(self.watermark.load(Ordering::Relaxed)),
            elapsed: self.started.elapsed(),
            counters,
        }
    }

    /// For each table with skipped records the first of them.
    pub(crate) fn first_skipped(&self) -> Vec<String> {
        let first = |(_, workers): &(usize, Vec<Arc<SourceCounters>>)| workers.iter().find_map(|c| c.first_skipped());
        let mut found: Vec<String> = self.sources.iter().filter_map(first).collect();
        // A table that is read twice has the same one twice.
        found.sort();
        found.dedup();
        found
    }

    /// How late the late rows of all operators were.
    pub(crate) fn lateness(&self) -> Lateness {
        let mut sum = Lateness::default();
        self.nodes.iter().for_each(|node| sum.merge(&lock(&node.lateness)));
        sum
    }

    pub(crate) fn node_stats(&self) -> Vec<NodeStats> {
        let stats = |(node, (name, operator_id)): (&NodeMetrics, &(String, String))| {
            let before =
                |counter: &str| self.counted_before.get(&counter_name(operator_id, counter)).copied().unwrap_or(0);
            let mut counters = lock(&node.counters).clone();
            for counter in Counter::SUMS {
                let n = before(&format!("{counter:?}"));
                if n > 0 {
                    *counters.entry(counter).or_default() += n;
                }
            }
            NodeStats {
                name: name.clone(),
                operator_id: operator_id.clone(),
                rows_in: node.rows_in.load(Ordering::Relaxed) + before(ROWS_IN),
                rows_out: node.rows_out.load(Ordering::Relaxed) + before(ROWS_OUT),
                counters,
                state: *lock(&node.state),
            }
        };
        self.nodes.iter().zip(&self.names).map(stats).collect()
    }
}

/// A job's counts at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Records that sources have read.
    pub records_in: u64,
    /// Records that sinks have received.
    pub records_out: u64,
    /// Records that could not be decoded and were skipped.
    pub skipped: u64,
    /// Records that could not be decoded and went to the dead letters.
    pub dead_lettered: u64,
    /// Bytes of finished input.
    pub bytes_done: u64,
    /// Bytes of all input, where the size is known.
    pub bytes_total: Option<u64>,
    /// The smallest watermark that has reached the sinks.
    pub watermark: Watermark,
    /// Time since the start.
    pub elapsed: Duration,
    /// Operators' counters, summed.
    pub counters: BTreeMap<Counter, u64>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            records_in: 0,
            records_out: 0,
            skipped: 0,
            dead_lettered: 0,
            bytes_done: 0,
            bytes_total: None,
            watermark: Watermark::MIN,
            elapsed: Duration::ZERO,
            counters: BTreeMap::new(),
        }
    }
}

/// The counts of one node; of operators of a job that keeps state from the start of its input on.
#[derive(Debug, Clone)]
pub struct NodeStats {
    /// Its name.
    pub name: String,
    /// Its stable id.
    pub operator_id: String,
    /// Rows that came in.
    pub rows_in: u64,
    /// Rows that went out.
    pub rows_out: u64,
    /// Its counters.
    pub counters: BTreeMap<Counter, u64>,
    /// What it keeps at the end.
    pub state: StateSize,
}

/// What the workers of one source have counted: records read, decoded, dead-lettered, skipped.
///
/// Taken at a cut it belongs to the position there, since a worker counts what it decodes itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SourceCounts([u64; 4]);

impl SourceCounts {
    /// Their names in checkpoints.
    pub(crate) const NAMES: [&str; 4] = ["read", "decoded", "dead-lettered", "skipped"];

    pub(crate) fn of(counters: &SourceCounters) -> Self {
        let all = [&counters.read, &counters.records, &counters.dead_lettered, &counters.skipped];
        Self(all.map(|n| n.load(Ordering::Relaxed)))
    }

    fn restored(operator: &str, counted: &BTreeMap<String, u64>) -> Self {
        Self(Self::NAMES.map(|name| counted.get(&counter_name(operator, name)).copied().unwrap_or(0)))
    }

    fn plus(self, other: &Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }

    /// What has been added since `before`.
    pub(crate) fn since(self, before: &Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] - before.0[i]))
    }

    /// In the order of their names.
    pub(crate) fn numbers(self) -> [u64; Self::NAMES.len()] {
        self.0
    }
}

/// The names in checkpoints of what goes in and out of an operator; its own counters go by theirs.
pub(crate) const ROWS_IN: &str = "in";
pub(crate) const ROWS_OUT: &str = "out";

/// The name of a counter in checkpoints.
pub(crate) fn counter_name(operator: &str, counter: &str) -> String {
    format!("{operator}/{counter}")
}

/// What a job has counted of the records of one table, from the start of its input on: `read` is the sum of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStats {
    /// The table.
    pub table: String,
    /// Records that were found in the input, or made.
    pub read: u64,
    /// Records that became rows.
    pub decoded: u64,
    /// Records that went to the dead letters.
    pub dead_lettered: u64,
    /// Records that were left out.
    pub skipped: u64,
}

/// What a job did.
#[derive(Debug, Clone)]
pub struct JobReport {
    /// The final counts.
    pub snapshot: Snapshot,
    /// Whether it was stopped from outside before its input ended.
    pub stopped: bool,
    /// Whether there was nothing to do: the job keeps state, and had come to its end in an earlier run.
    pub finished_before: bool,
    /// How often it was started again in this run; the counts are those since the last start.
    pub restarts: u32,
    /// For each table with skipped records one of them: its place, reason and text.
    pub skipped: Vec<String>,
    /// How late the late rows were.
    pub lateness: Lateness,
    /// The counts of each source.
    pub sources: Vec<SourceStats>,
    /// The counts of each node, in the order of the graph.
    pub nodes: Vec<NodeStats>,
}

impl JobReport {
    /// Of a job that had come to its end in an earlier run.
    pub(crate) fn of_an_earlier_run() -> Self {
        Self {
            snapshot: Snapshot::default(),
            stopped: false,
            finished_before: true,
            restarts: 0,
            skipped: vec![],
            lateness: Lateness::default(),
            sources: vec![],
            nodes: vec![],
        }
    }
}
