//! N workers of one operator, driven by hand.

use std::collections::BTreeMap;

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;
use rheos_core::key::{KEY_GROUPS_DEFAULT, KeyGroupAssignment, hash_keys};
use rheos_core::lateness::Lateness;
use rheos_core::operator::{CHUNK_ROWS_MAX, Counter, OperatorInit, WatermarkChange};
use rheos_core::timer::TimeDomain;
use rheos_core::{Epoch, Operator, OperatorContext, OperatorFactory, Port, Progress, Result, Watermark};

use crate::snapshot::Snapshot;

/// Calls of `resume` in a row, at most: more is an operator that never comes to an end.
const RESUMES_MAX: usize = 1_000_000;

/// How batches reach the workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Routing {
    /// In turn, each batch whole.
    RoundRobin,
    /// By the hash of these columns.
    Hash(Vec<usize>),
    /// All to worker 0.
    Single,
    /// All to every worker.
    Broadcast,
}

impl From<Routing> for Vec<Routing> {
    fn from(routing: Routing) -> Self {
        vec![routing]
    }
}

struct Worker {
    operator: Box<dyn Operator>,
    context: OperatorContext,
    /// The watermark of each input.
    watermarks: Vec<Watermark>,
}

/// N workers of one operator: routes batches, follows `Progress::More`, keeps what is emitted, counted and handed over as
/// state. An operator with several inputs takes one routing each.
///
/// ```
/// # use rheos_testkit::{OperatorHarness, Routing, batch, rows};
/// # #[derive(Debug)] struct Pass(arrow::datatypes::SchemaRef);
/// # struct PassOperator;
/// # impl rheos_core::Operator for PassOperator {
/// #     fn on_batch(&mut self, _: usize, batch: arrow::record_batch::RecordBatch, ctx: &mut rheos_core::OperatorContext)
/// #         -> rheos_core::Result<rheos_core::Progress> {
/// #         ctx.emit(rheos_core::Port::MAIN, batch);
/// #         Ok(rheos_core::Progress::Done)
/// #     }
/// # }
/// # impl rheos_core::OperatorFactory for Pass {
/// #     fn create(&self, _: &rheos_core::operator::OperatorInit) -> rheos_core::Result<Box<dyn rheos_core::Operator>> {
/// #         Ok(Box::new(PassOperator))
/// #     }
/// #     fn schema(&self) -> arrow::datatypes::SchemaRef { self.0.clone() }
/// #     fn describe(&self) -> Vec<(String, String)> { vec![] }
/// # }
/// let batch = batch! { "x": Int64[1, 2] };
/// let mut harness = OperatorHarness::new(&Pass(batch.schema()), 2, Routing::Hash(vec![0]));
/// harness.batch(batch)?;
/// assert_eq!(harness.take_sorted_rows(), ["1", "2"]);
/// # Ok::<(), rheos_core::Error>(())
/// ```
pub struct OperatorHarness {
    workers: Vec<Worker>,
    assignment: KeyGroupAssignment,
    schema: arrow::datatypes::SchemaRef,
    routings: Vec<Routing>,
    turn: usize,
    epoch: Epoch,
    emitted: Vec<(Port, RecordBatch)>,
    counters: BTreeMap<Counter, u64>,
    lateness: Lateness,
    snapshot: Snapshot,
}

impl OperatorHarness {
    /// New workers without state. Panics if the operator cannot be made.
    pub fn new(factory: &dyn OperatorFactory, parallelism: usize, routings: impl Into<Vec<Routing>>) -> Self {
        Self::restored(factory, parallelism, routings, Snapshot::default()).expect("nothing is restored")
    }

    /// New workers that take back the state of a snapshot, at any parallelism. They go on adding to it.
    pub fn restored(
        factory: &dyn OperatorFactory,
        parallelism: usize,
        routings: impl Into<Vec<Routing>>,
        snapshot: Snapshot,
    ) -> Result<Self> {
        let routings = routings.into();
        let assignment = KeyGroupAssignment::even(KEY_GROUPS_DEFAULT, parallelism);
        let mut workers = vec![];
        for worker in 0..parallelism {
            let init = OperatorInit { worker, parallelism, assignment: assignment.clone() };
            let mut operator = factory.create(&init)?;
            operator.restore(&snapshot.reader(worker, &assignment))?;
            let watermarks = vec![Watermark::MIN; routings.len()];
            workers.push(Worker { operator, context: OperatorContext::default(), watermarks });
        }
        Ok(Self {
            workers,
            assignment,
            schema: factory.schema(),
            routings,
            turn: 0,
            epoch: Epoch::default(),
            emitted: vec![],
            counters: BTreeMap::new(),
            lateness: Lateness::default(),
            snapshot: snapshot.taken_over(),
        })
    }

    /// Sends rows to the first input.
    pub fn batch(&mut self, batch: RecordBatch) -> Result<()> {
        self.batch_to(0, batch)
    }

    /// Sends rows to an input.
    pub fn batch_to(&mut self, input: usize, batch: RecordBatch) -> Result<()> {
        for (worker, part) in self.route(input, batch)? {
            self.call(worker, |operator, ctx| operator.on_batch(input, part, ctx))?;
        }
        Ok(())
    }

    fn route(&mut self, input: usize, batch: RecordBatch) -> Result<Vec<(usize, RecordBatch)>> {
        match &self.routings[input] {
            Routing::Single => Ok(vec![(0, batch)]),
            Routing::Broadcast => Ok((0..self.workers.len()).map(|worker| (worker, batch.clone())).collect()),
            Routing::RoundRobin => {
                self.turn = (self.turn + 1) % self.workers.len();
                Ok(vec![(self.turn, batch)])
            }
            Routing::Hash(columns) => {
                let keys: Vec<_> = columns.iter().map(|i| batch.column(*i).clone()).collect();
                let mut hashes = vec![];
                hash_keys(&keys, batch.num_rows(), &mut hashes)?;
                hashes.resize(batch.num_rows(), 0);
                let mut parts = vec![];
                for worker in 0..self.workers.len() {
                    let of_worker = |(_, hash): &(usize, &u64)| self.assignment.worker(**hash) == worker;
                    let rows = hashes.iter().enumerate().filter(of_worker).map(|(row, _)| row as u32);
                    let rows = UInt32Array::from_iter_values(rows);
                    if !rows.values().is_empty() {
                        parts.push((worker, take_record_batch(&batch, &rows)?));
                    }
                }
                Ok(parts)
            }
        }
    }

    /// Raises the watermark of all inputs of all workers; a lower one than before is ignored, as in the runtime.
    pub fn watermark(&mut self, ms: i64) -> Result<()> {
        (0..self.workers.len()).try_for_each(|worker| self.watermark_of(worker, ms))
    }

    /// Raises the watermark of one worker: workers see it at different times.
    pub fn watermark_of(&mut self, worker: usize, ms: i64) -> Result<()> {
        (0..self.routings.len()).try_for_each(|input| self.raise(worker, input, ms))
    }

    /// Raises the watermark of one input at all workers.
    pub fn watermark_from(&mut self, input: usize, ms: i64) -> Result<()> {
        (0..self.workers.len()).try_for_each(|worker| self.raise(worker, input, ms))
    }

    fn raise(&mut self, worker: usize, input: usize, ms: i64) -> Result<()> {
        let watermark = Watermark(ms);
        let watermarks = &mut self.workers[worker].watermarks;
        if watermark <= watermarks[input] {
            return Ok(());
        }
        watermarks[input] = watermark;
        let combined = watermarks.iter().copied().min().unwrap_or(Watermark::MAX);
        let change = WatermarkChange { input, watermark, combined };
        self.call(worker, |operator, ctx| operator.on_watermark(change, ctx))?;
        self.workers[worker].context.watermark = combined;
        let ms = combined.ms();
        while let Some((time, key)) = self.workers[worker].context.timers.pop_due(TimeDomain::EventTime, ms) {
            self.call(worker, |operator, ctx| operator.on_timer(TimeDomain::EventTime, &key, time, ctx))?;
        }
        Ok(())
    }

    /// Ends the input.
    pub fn end(&mut self) -> Result<()> {
        self.watermark(i64::MAX)
    }

    /// Moves the clock of all workers.
    pub fn clock(&mut self, now_ms: i64) -> Result<()> {
        for worker in 0..self.workers.len() {
            self.workers[worker].context.now_ms = now_ms;
            rheos_core::clock::set(now_ms);
            if self.workers[worker].operator.wants_clock() {
                self.call(worker, |operator, ctx| operator.on_clock(now_ms, ctx))?;
            }
            while let Some((time, key)) =
                self.workers[worker].context.timers.pop_due(TimeDomain::ProcessingTime, now_ms)
            {
                self.call(worker, |operator, ctx| operator.on_timer(TimeDomain::ProcessingTime, &key, time, ctx))?;
            }
        }
        Ok(())
    }

    /// Lets all workers emit what may not outlive the epoch.
    pub fn flush(&mut self) -> Result<()> {
        (0..self.workers.len()).try_for_each(|worker| self.call(worker, |operator, ctx| operator.flush(ctx)))
    }

    /// Ends the epoch: flushes, and keeps the state that changed.
    pub fn end_epoch(&mut self) -> Result<()> {
        self.flush()?;
        let epoch = self.epoch;
        let deltas = self.workers.iter_mut().map(|w| w.operator.on_epoch_end(epoch, &mut w.context));
        let deltas = deltas.collect::<Result<Vec<_>>>()?;
        self.snapshot.push(deltas, &self.assignment);
        self.epoch = epoch.next();
        for worker in 0..self.workers.len() {
            self.workers[worker].context.epoch = self.epoch;
            let emitted = self.workers[worker].context.take_emitted();
            assert!(emitted.is_empty(), "rows were emitted at an epoch's end, when the epoch is closed");
        }
        Ok(())
    }

    /// The state of all epochs that have ended.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.clone()
    }

    fn call(
        &mut self,
        worker: usize,
        f: impl FnOnce(&mut dyn Operator, &mut OperatorContext) -> Result<Progress>,
    ) -> Result<()> {
        let Worker { operator, context, .. } = &mut self.workers[worker];
        let mut progress = f(operator.as_mut(), context)?;
        for _ in 0..RESUMES_MAX {
            let emitted = context.take_emitted();
            for (port, chunk) in &emitted {
                assert!(chunk.num_rows() <= CHUNK_ROWS_MAX, "a chunk has {} rows", chunk.num_rows());
                if *port == Port::MAIN {
                    assert_eq!(chunk.schema(), self.schema, "a chunk has another schema than the factory says");
                }
            }
            let rows: usize = emitted.iter().map(|(_, chunk)| chunk.num_rows()).sum();
            assert!(rows <= CHUNK_ROWS_MAX, "one call emitted {rows} rows");
            self.emitted.extend(emitted);
            for (counter, n) in context.take_counters() {
                *self.counters.entry(counter).or_default() += n;
            }
            self.lateness.merge(&context.take_lateness());
            if progress == Progress::Done {
                return Ok(());
            }
            progress = operator.resume(context)?;
        }
        panic!("an operator asked to be resumed {RESUMES_MAX} times in a row");
    }

    /// What port 0 emitted since the last call.
    pub fn take_output(&mut self) -> Vec<RecordBatch> {
        let main = std::mem::take(&mut self.emitted).into_iter().filter(|(port, _)| *port == Port::MAIN);
        main.map(|(_, batch)| batch).collect()
    }

    /// [`take_output`](Self::take_output) as text, in the order of emission.
    pub fn take_rows(&mut self) -> Vec<String> {
        crate::rows(&self.take_output())
    }

    /// [`take_output`](Self::take_output) as sorted text.
    pub fn take_sorted_rows(&mut self) -> Vec<String> {
        crate::sorted_rows(&self.take_output())
    }

    /// A counter, summed over workers and calls.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters.get(&counter).copied().unwrap_or(0)
    }

    /// How late the late rows were.
    pub fn lateness(&self) -> &Lateness {
        &self.lateness
    }

    /// Windows that are still open, over all workers.
    pub fn open_windows(&self) -> u64 {
        self.workers.iter().map(|w| w.operator.open_windows()).sum()
    }
}
