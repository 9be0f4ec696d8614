//! Timers, the processing-time clock, and sources that fall silent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rheos_core::graph::NodeKind;
use rheos_core::operator::OperatorInit;
use rheos_core::source::{MaxJump, WatermarkSpec};
use rheos_core::timer::TimeDomain;
use rheos_core::window::WindowSpec;
use rheos_core::{Exchange, JobGraph, Operator, OperatorContext, OperatorFactory, Port, Progress, Result};
use rheos_operators::{AggregateMode, AggregateSpec, AggregateTime, AggregateWindow, WindowAggregateFactory};
use rheos_runtime::{JobControl, RunConfig, StopMode};

use crate::support::*;

/// Emits (what, when, 0) for each timer and, once, for the clock: 1 = event-time timer, 2 = processing-time, 3 = clock.
#[derive(Debug)]
struct AlarmFactory;

impl OperatorFactory for AlarmFactory {
    fn create(&self, _init: &OperatorInit) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Alarm { ticked: false }))
    }

    fn schema(&self) -> SchemaRef {
        counts_schema()
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![]
    }
}

struct Alarm {
    ticked: bool,
}

fn say(what: i64, when: i64, ctx: &mut OperatorContext) {
    let column = |v: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![v])) };
    let row = vec![column(what), column(when), column(0)];
    ctx.emit(Port::MAIN, RecordBatch::try_new(counts_schema(), row).unwrap());
}

impl Operator for Alarm {
    fn on_batch(&mut self, _input: usize, _batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        ctx.timers.set(TimeDomain::EventTime, b"k", 150);
        ctx.timers.set(TimeDomain::EventTime, b"k", 1_000_000);
        ctx.timers.set(TimeDomain::ProcessingTime, b"k", ctx.now_ms + 30);
        Ok(Progress::Done)
    }

    fn on_timer(
        &mut self,
        domain: TimeDomain,
        key: &[u8],
        time_ms: i64,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        assert_eq!(key, b"k");
        match domain {
            TimeDomain::EventTime => {
                assert!(ctx.watermark.0 >= time_ms);
                say(1, time_ms, ctx);
            }
            TimeDomain::ProcessingTime => {
                assert!(ctx.now_ms >= time_ms);
                say(2, 0, ctx);
            }
        }
        Ok(Progress::Done)
    }

    fn on_clock(&mut self, _now_ms: i64, ctx: &mut OperatorContext) -> Result<Progress> {
        if !std::mem::replace(&mut self.ticked, true) {
            say(3, 0, ctx);
        }
        Ok(Progress::Done)
    }

    fn wants_clock(&self) -> bool {
        true
    }
}

/// Stops the job when `done` holds, or after 30 s.
fn stop_when(control: &JobControl, done: impl Fn() -> bool + Send + 'static) {
    let control = control.clone();
    std::thread::spawn(move || {
        let until = Instant::now() + Duration::from_secs(30);
        while !done() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        control.stop(StopMode::Stop);
    });
}

#[test]
fn timers_and_the_clock_fire_while_no_input_arrives() {
    let traffic = Arc::default();
    let source = TestSource {
        splits: vec![vec![(1, 100), (1, 200)]],
        traffic: Arc::clone(&traffic),
        unbounded: true,
        ..Default::default()
    };
    let sink = TestSink::new(counts_schema(), &traffic);
    let rows = Arc::clone(&sink.rows);
    let mut graph = JobGraph::default();
    let from = graph.add("source", NodeKind::Source { source: Arc::new(source), watermark: watermark(0) }, vec![]);
    let inputs = vec![edge(from, Exchange::Single)];
    let alarm = graph.add("alarm", NodeKind::Stateful(Arc::new(AlarmFactory)), inputs);
    graph.add("sink", NodeKind::Sink(Arc::new(sink)), vec![edge(alarm, Exchange::Single)]);
    let control = JobControl::new();
    let seen = Arc::clone(&rows);
    // One clock tick a worker, one timer of each kind.
    stop_when(&control, move || seen.lock().unwrap().len() >= 4);
    run_with(graph, RunConfig { parallelism: 2, ..Default::default() }, control).unwrap();
    let mut got = rows.lock().unwrap().clone();
    got.sort();
    assert_eq!(got, [[1, 150, 0], [2, 0, 0], [3, 0, 0], [3, 0, 0]], "the timer at 1,000,000 ms is not due");
}

/// A window by processing time fires though no row follows the ones in it.
#[test]
fn a_window_by_the_clock_fires_while_no_input_arrives() {
    let traffic = Arc::default();
    let source = TestSource {
        splits: vec![vec![(1, 100), (1, 200)]],
        traffic: Arc::clone(&traffic),
        unbounded: true,
        ..Default::default()
    };
    let spec = AggregateSpec {
        input: schema(),
        window: AggregateWindow::Assign(WindowSpec::try_tumble(40, 0).unwrap()),
        time: Some(AggregateTime::Processing { zone: None }),
        keys: vec![],
        aggregates: vec![],
    };
    let windows = WindowAggregateFactory::try_new(spec, AggregateMode::Single).unwrap();
    let sink = TestSink::new(windows.schema(), &traffic);
    let rows = Arc::clone(&sink.rows);
    let mut graph = JobGraph::default();
    let from = graph.add("source", NodeKind::Source { source: Arc::new(source), watermark: watermark(0) }, vec![]);
    let windows = NodeKind::Stateful(Arc::new(windows));
    let windows = graph.add("windows", windows, vec![edge(from, Exchange::Single)]);
    graph.add("sink", NodeKind::Sink(Arc::new(sink)), vec![edge(windows, Exchange::Single)]);
    let control = JobControl::new();
    let seen = Arc::clone(&rows);
    stop_when(&control, move || !seen.lock().unwrap().is_empty());
    run_with(graph, RunConfig { parallelism: 2, ..Default::default() }, control).unwrap();
    let got = rows.lock().unwrap().clone();
    // One window, in microseconds; two if the clock went over an edge between the rows.
    assert!((1..=2).contains(&got.len()), "{got:?}");
    assert!(got.iter().all(|row| row[1] - row[0] == 40_000 && row[0] % 40_000 == 0), "{got:?}");
}

#[test]
fn a_split_that_falls_silent_holds_windows_back_only_until_its_idle_timeout() {
    let silent = vec![(1, 0)];
    let busy = (0..10).map(|n| (2, n * 100)).collect();
    for idle_timeout_ms in [None, Some(20)] {
        let traffic = Arc::default();
        // Unbounded: when the splits are read nothing says that no more will come.
        let source = Arc::new(SilentSource(TestSource {
            splits: vec![Vec::clone(&silent), Vec::clone(&busy)],
            own_sequences: true,
            unbounded: true,
            traffic: Arc::clone(&traffic),
            ..Default::default()
        }));
        let sink = TestSink::new(counts_schema(), &traffic);
        let rows = Arc::clone(&sink.rows);
        let spec = WatermarkSpec { column: 1, delay_ms: 0, idle_timeout_ms, max_jump: MaxJump::Off };
        let mut graph = JobGraph::default();
        let from = graph.add("source", NodeKind::Source { source, watermark: Some(spec) }, vec![]);
        let count = NodeKind::Stateful(Arc::new(CountFactory { size_ms: 500, misbehave: None }));
        let count = graph.add("count", count, vec![edge(from, Exchange::Hash(vec![0]))]);
        graph.add("sink", NodeKind::Sink(Arc::new(sink)), vec![edge(count, Exchange::Forward)]);
        let control = JobControl::new();
        let (seen, started) = (Arc::clone(&rows), Instant::now());
        let held_back = idle_timeout_ms.is_none();
        stop_when(&control, move || {
            seen.lock().unwrap().len() >= 2 || held_back && started.elapsed() > Duration::from_millis(300)
        });
        run_with(graph, RunConfig { parallelism: 2, ..Default::default() }, control).unwrap();
        let mut got = rows.lock().unwrap().clone();
        got.sort();
        let expected: &[[i64; 3]] = if held_back { &[] } else { &[[1, 0, 1], [2, 0, 5]] };
        assert_eq!(got, expected, "idle timeout {idle_timeout_ms:?}");
    }
}

/// Its splits never end: after their rows they stay open and silent.
#[derive(Debug)]
struct SilentSource(TestSource);

impl rheos_core::source::Source for SilentSource {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn boundedness(&self) -> rheos_core::source::Boundedness {
        self.0.boundedness()
    }

    fn project(&self, columns: &[usize]) -> Result<Arc<dyn rheos_core::source::Source>> {
        self.0.project(columns)
    }

    fn discover(&self, column: Option<usize>, parallelism: usize) -> Result<rheos_core::source::Discovery> {
        self.0.discover(column, parallelism)
    }

    fn open(
        &self,
        split: &rheos_core::source::Split,
        position: Option<&str>,
        ctx: rheos_core::source::ReaderContext,
    ) -> Result<Box<dyn rheos_core::source::SplitReader>> {
        Ok(Box::new(SilentReader(self.0.open(split, position, ctx)?)))
    }

    fn describe(&self) -> Vec<(String, String)> {
        self.0.describe()
    }
}

struct SilentReader(Box<dyn rheos_core::source::SplitReader>);

impl rheos_core::source::SplitReader for SilentReader {
    fn poll(&mut self) -> Result<rheos_core::source::SourcePoll> {
        match self.0.poll()? {
            rheos_core::source::SourcePoll::Finished => Ok(rheos_core::source::SourcePoll::Pending),
            other => Ok(other),
        }
    }

    fn position(&self) -> String {
        self.0.position()
    }
}
