//! Small sources, operators and sinks that share no code with the real ones.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use rheos_core::graph::{Edge, NodeKind};
use rheos_core::operator::{CHUNK_ROWS_MAX, OperatorInit, WatermarkChange};
use rheos_core::sink::{Committable, EpochEnd, Fence, Sink, SinkWriter, WriterContext};
use rheos_core::source::{
    Boundedness, Discovery, MaxJump, ReaderContext, Source, SourcePoll, Split, SplitReader, WatermarkSpec,
};
use rheos_core::{
    Batch, Epoch, Exchange, JobGraph, NodeId, Operator, OperatorContext, OperatorFactory, Port, Progress, Result,
};
use rheos_runtime::{JobControl, JobReport, RunConfig};

pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, false),
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), false),
    ]))
}

pub(crate) fn rows(rows: &[(i64, i64)]) -> RecordBatch {
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0)));
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.1 * 1000)));
    RecordBatch::try_new(schema(), vec![keys, times]).unwrap()
}

/// What the two ends of a job have done; `in_flight_max` is how far they were apart.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) read: AtomicI64,
    pub(crate) accepted: AtomicI64,
    pub(crate) in_flight_max: AtomicI64,
}

impl Traffic {
    fn read(&self, rows: usize) {
        let read = self.read.fetch_add(rows as i64, Ordering::SeqCst) + rows as i64;
        self.in_flight_max.fetch_max(read - self.accepted.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

/// Rows (key, event time in ms) in splits; all splits of one sequence, or each its own.
#[derive(Debug, Default)]
pub(crate) struct TestSource {
    pub(crate) splits: Vec<Vec<(i64, i64)>>,
    pub(crate) own_sequences: bool,
    pub(crate) unbounded: bool,
    /// This split sleeps before each batch: its worker falls behind by epochs.
    pub(crate) slow_split: Option<usize>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) handed_out: AtomicBool,
}

impl Source for TestSource {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn boundedness(&self) -> Boundedness {
        if self.unbounded { Boundedness::Unbounded } else { Boundedness::Bounded }
    }

    fn project(&self, _columns: &[usize]) -> Result<Arc<dyn Source>> {
        unreachable!("the tests read all columns")
    }

    fn discover(&self, _time_column: Option<usize>, _parallelism: usize) -> Result<Discovery> {
        if self.handed_out.swap(true, Ordering::SeqCst) {
            return Ok(Discovery::default());
        }
        let split = |n: usize| Split {
            id: n.to_string(),
            sequence: if self.own_sequences { n as u32 } else { 0 },
            not_before_ms: None,
            size_bytes: 0,
            descriptor: n.to_string(),
        };
        Ok(Discovery { splits: (0..self.splits.len()).map(split).collect(), finished: !self.unbounded })
    }

    fn open(&self, split: &Split, _position: Option<&str>, ctx: ReaderContext) -> Result<Box<dyn SplitReader>> {
        let n: usize = split.descriptor.parse().unwrap();
        Ok(Box::new(TestReader {
            rows: self.splits[n].iter().copied().collect(),
            slow: self.slow_split == Some(n),
            due: Instant::now(),
            ctx,
            traffic: Arc::clone(&self.traffic),
        }))
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![]
    }
}

struct TestReader {
    rows: VecDeque<(i64, i64)>,
    slow: bool,
    due: Instant,
    ctx: ReaderContext,
    traffic: Arc<Traffic>,
}

impl SplitReader for TestReader {
    fn poll(&mut self) -> Result<SourcePoll> {
        if self.slow && Instant::now() < self.due {
            let (wake, due) = (Arc::clone(&self.ctx.wake), self.due);
            std::thread::spawn(move || {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                wake();
            });
            return Ok(SourcePoll::Pending);
        }
        self.due = Instant::now() + Duration::from_millis(20);
        let n = self.ctx.batch_rows.min(self.rows.len());
        if n == 0 {
            return Ok(SourcePoll::Finished);
        }
        self.traffic.read(n);
        Ok(SourcePoll::Batch(rows(&self.rows.drain(..n).collect::<Vec<_>>())))
    }

    fn position(&self) -> String {
        String::new()
    }
}

/// Counts rows a key in tumbling windows; a row behind the watermark of a fired window is dropped.
#[derive(Debug)]
pub(crate) struct CountFactory {
    pub(crate) size_ms: i64,
    pub(crate) misbehave: Option<Misbehave>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Misbehave {
    Panic,
    Fail,
}

pub(crate) fn counts_schema() -> SchemaRef {
    let int = |name| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![int("key"), int("start"), int("n")]))
}

impl OperatorFactory for CountFactory {
    fn create(&self, _init: &OperatorInit) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Count {
            size_ms: self.size_ms,
            misbehave: self.misbehave,
            counts: BTreeMap::new(),
            fired: VecDeque::new(),
        }))
    }

    fn schema(&self) -> SchemaRef {
        counts_schema()
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![("size".into(), self.size_ms.to_string())]
    }
}

struct Count {
    size_ms: i64,
    misbehave: Option<Misbehave>,
    counts: BTreeMap<(i64, i64), i64>,
    fired: VecDeque<(i64, i64, i64)>,
}

impl Operator for Count {
    fn on_batch(&mut self, _input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        match self.misbehave {
            Some(Misbehave::Panic) => panic!("the operator is broken"),
            Some(Misbehave::Fail) => return Err(rheos_core::Error::user("the row is bad")),
            None => {}
        }
        let keys = batch.column(0).as_primitive::<Int64Type>().values();
        let times = batch.column(1).as_primitive::<TimestampMicrosecondType>().values();
        for (key, us) in keys.iter().zip(times) {
            let start = (us / 1000).div_euclid(self.size_ms) * self.size_ms;
            if start + self.size_ms > ctx.watermark.0 {
                *self.counts.entry((start, *key)).or_default() += 1;
            }
        }
        Ok(Progress::Done)
    }

    fn on_watermark(&mut self, change: WatermarkChange, ctx: &mut OperatorContext) -> Result<Progress> {
        while let Some(entry) = self.counts.first_entry() {
            let (start, key) = *entry.key();
            if start + self.size_ms > change.combined.0 {
                break;
            }
            self.fired.push_back((key, start, entry.remove()));
        }
        self.resume(ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        let n = self.fired.len().min(CHUNK_ROWS_MAX.min(3));
        let chunk: Vec<_> = self.fired.drain(..n).collect();
        if !chunk.is_empty() {
            let column = |f: fn(&(i64, i64, i64)) -> i64| -> ArrayRef {
                Arc::new(Int64Array::from_iter_values(chunk.iter().map(f)))
            };
            let columns = vec![column(|r| r.0), column(|r| r.1), column(|r| r.2)];
            ctx.emit(Port::MAIN, RecordBatch::try_new(counts_schema(), columns).unwrap());
        }
        Ok(if self.fired.is_empty() { Progress::Done } else { Progress::More })
    }

    fn open_windows(&self) -> u64 {
        self.counts.keys().map(|(start, _)| *start).collect::<std::collections::BTreeSet<_>>().len() as u64
    }
}

/// Keeps what it gets; may be slow.
#[derive(Debug)]
pub(crate) struct TestSink {
    pub(crate) schema: SchemaRef,
    pub(crate) delay: Duration,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) rows: Arc<Mutex<Vec<Vec<i64>>>>,
    pub(crate) committed: Arc<AtomicU64>,
}

impl TestSink {
    pub(crate) fn new(schema: SchemaRef, traffic: &Arc<Traffic>) -> Self {
        Self {
            schema,
            delay: Duration::ZERO,
            traffic: Arc::clone(traffic),
            rows: Arc::default(),
            committed: Arc::default(),
        }
    }
}

impl Sink for TestSink {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn open(&self, ctx: WriterContext) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(TestWriter {
            delay: self.delay,
            traffic: Arc::clone(&self.traffic),
            rows: Arc::clone(&self.rows),
            busy: Arc::default(),
            staged: 0,
            ctx,
        }))
    }

    fn commit(&self, _fence: Option<&Fence>, committables: &[Committable]) -> Result<()> {
        let rows: u64 = committables.iter().map(|c| std::str::from_utf8(&c.0).unwrap().parse::<u64>().unwrap()).sum();
        self.committed.fetch_add(rows, Ordering::SeqCst);
        Ok(())
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![]
    }
}

struct TestWriter {
    delay: Duration,
    traffic: Arc<Traffic>,
    rows: Arc<Mutex<Vec<Vec<i64>>>>,
    busy: Arc<AtomicBool>,
    staged: usize,
    ctx: WriterContext,
}

impl SinkWriter for TestWriter {
    fn ready(&mut self) -> Result<bool> {
        Ok(!self.busy.load(Ordering::SeqCst))
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        let columns: Vec<_> =
            batch.records.columns().iter().map(|c| arrow::compute::cast(c, &DataType::Int64).unwrap()).collect();
        let n = batch.records.num_rows();
        let row = |i: usize| columns.iter().map(|c| c.as_primitive::<Int64Type>().value(i)).collect();
        self.rows.lock().unwrap().extend((0..n).map(row));
        self.staged += n;
        if self.delay.is_zero() {
            self.traffic.accepted.fetch_add(n as i64, Ordering::SeqCst);
            return Ok(());
        }
        self.busy.store(true, Ordering::SeqCst);
        let (busy, traffic, wake, delay) =
            (Arc::clone(&self.busy), Arc::clone(&self.traffic), Arc::clone(&self.ctx.wake), self.delay);
        std::thread::spawn(move || {
            std::thread::sleep(delay);
            drop(batch);
            traffic.accepted.fetch_add(n as i64, Ordering::SeqCst);
            busy.store(false, Ordering::SeqCst);
            wake();
        });
        Ok(())
    }

    fn stage(&mut self, _epoch: Epoch, _end: EpochEnd) -> Result<Option<Vec<Committable>>> {
        if self.busy.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let staged = std::mem::take(&mut self.staged);
        Ok(Some(if staged > 0 { vec![Committable(staged.to_string().into_bytes())] } else { vec![] }))
    }
}

pub(crate) fn edge(from: NodeId, exchange: Exchange) -> Edge {
    Edge { from, port: Port::MAIN, exchange }
}

pub(crate) fn watermark(delay_ms: i64) -> Option<WatermarkSpec> {
    Some(WatermarkSpec { column: 1, delay_ms, idle_timeout_ms: None, max_jump: MaxJump::Off })
}

/// source -> count by key -> sink
pub(crate) fn counting(
    source: TestSource,
    spec: Option<WatermarkSpec>,
    count: CountFactory,
    sink: TestSink,
) -> JobGraph {
    let mut graph = JobGraph::default();
    let source = graph.add("source", NodeKind::Source { source: Arc::new(source), watermark: spec }, vec![]);
    let inputs = vec![edge(source, Exchange::Hash(vec![0]))];
    let counts = graph.add("count", NodeKind::Stateful(Arc::new(count)), inputs);
    graph.add("sink", NodeKind::Sink(Arc::new(sink)), vec![edge(counts, Exchange::Forward)]);
    graph
}

/// Runs a job that must end by itself; a hang fails the test instead of stopping it for ever.
pub(crate) fn run(graph: JobGraph, config: RunConfig) -> Result<JobReport> {
    run_with(graph, config, JobControl::new())
}

pub(crate) fn run_with(graph: JobGraph, config: RunConfig, control: JobControl) -> Result<JobReport> {
    let (done, finished) = std::sync::mpsc::channel();
    let shared = control.clone();
    std::thread::spawn(move || {
        let _ = done.send(rheos_runtime::run(Arc::new(graph), || unreachable!("it keeps no state"), &config, &shared));
    });
    finished.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| panic!("the job hangs: {:?}", control.snapshot()))
}
