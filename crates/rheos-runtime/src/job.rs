//! Builds one dataflow a worker from a job graph, runs the workers, and completes epochs.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rheos_checkpoint::manifest::JobPhase;
use rheos_checkpoint::rescale;
use rheos_checkpoint::restart::RestartPolicy;
use rheos_core::error::Warn;
use rheos_core::graph::{Edge, NodeKind};
use rheos_core::key::{KEY_GROUPS_DEFAULT, KeyGroupAssignment};
use rheos_core::operator::OperatorInit;
use rheos_core::sink::Sink;
use rheos_core::time::Watermark;
use rheos_core::{Error, Exchange, JobGraph, NodeId, Operator, OperatorId, Port, Result, WorkerId};
use rheos_state::holdings::Holdings;
use rheos_state::kept::Kept;
use rheos_state::restore::Restored;
use timely::CommunicationConfig;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Concatenate, Probe, probe};
use timely::dataflow::{Scope, Stream};
use timely::scheduling::Activator;
use timely::worker::Worker;

use crate::beginning::{self, Beginning, SinksById, StateConfig};
use crate::chain::{Chain, Link};
use crate::channel::Packet;
use crate::checkpoints::{CheckpointThread, Checkpoints, Message};
use crate::closings::{Closings, EPOCHS_OPEN_MAX};
use crate::control::{JobControl, StopMode, lock};
use crate::exchange::{BroadcastDistributor, HashDistributor, HashSplit, SingleDistributor};
use crate::metrics::{JobReport, Metrics};
use crate::parts::WorkerParts;
use crate::splits::{SplitCoordinator, found};
use crate::suspects::Suspects;
use crate::time::{EpochTime, frontier_parts};
use crate::uploads::{self, Uploads};
use crate::{adapter, first_rows, folders, order, sink, source, union};

/// The credit of a source worker, and of an operator that emits on its own, unless a job sets another.
///
/// It bounds memory, so it is as small as costs nothing: docs/benchmarks.md has the figures. A batch of 8,192 rows of
/// eight numbers is half a mebibyte; of wide rows (250 bytes) one or two fit, so that a source can read ahead of its reader.
pub const CREDIT_BYTES_DEFAULT: u64 = 2 << 20;

/// Epochs that have ended and are not complete, at most, unless a job sets another number.
const EPOCHS_IN_FLIGHT_MAX_DEFAULT: usize = 4;

/// How a job runs.
#[derive(Debug, Clone)]
pub struct RunConfig {
    /// Workers; each is a thread.
    pub parallelism: usize,
    /// Rows in a batch that a source makes, at most.
    pub batch_rows: usize,
    /// Time between two epochs.
    pub epoch_interval_ms: u64,
    /// Bytes that one source worker, and one operator that emits on its own, may have on their way.
    pub credit_bytes: u64,
    /// Parts of the key space; at least `parallelism`.
    pub key_groups: u16,
    /// Epochs that have ended and are not complete, at most.
    pub epochs_in_flight_max: usize,
    /// How often, and how soon, a job that keeps state is started again.
    pub restart: RestartPolicy,
    /// Where the job keeps its state, if it does.
    pub state: Option<StateConfig>,
    /// Who is told of what goes wrong in sources and sinks and is tried again.
    pub warn: Warn,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            parallelism: std::thread::available_parallelism().map_or(1, |n| n.get()),
            batch_rows: 8192,
            epoch_interval_ms: 1000,
            credit_bytes: CREDIT_BYTES_DEFAULT,
            key_groups: KEY_GROUPS_DEFAULT,
            epochs_in_flight_max: EPOCHS_IN_FLIGHT_MAX_DEFAULT,
            restart: RestartPolicy::default(),
            state: None,
            warn: Warn::default(),
        }
    }
}

impl RunConfig {
    fn check(&self) -> Result<()> {
        let groups = usize::from(self.key_groups);
        if self.parallelism == 0 || self.parallelism > groups {
            return Err(Error::invalid(
                400,
                format!(
                    "the parallelism is {}, but it must be from 1 to the number of key groups, {groups}",
                    self.parallelism
                ),
            )
            .with_hint("set --parallelism to the number of cores"));
        }
        if self.batch_rows == 0 || self.epoch_interval_ms == 0 || self.epochs_in_flight_max == 0 {
            let message = "batch rows, the checkpoint interval and epochs in flight must be more than zero";
            return Err(Error::invalid(401, message));
        }
        if self.epochs_in_flight_max as u64 > EPOCHS_OPEN_MAX {
            let message = format!("there cannot be more than {EPOCHS_OPEN_MAX} epochs in flight");
            return Err(Error::invalid(401, message).with_hint("4 do for most jobs"));
        }
        Ok(())
    }
}

/// Processing time: monotonic for the job's life.
pub(crate) struct JobClock {
    started_ms: i64,
    started: Instant,
}

impl JobClock {
    /// Not before `least_ms`, where an earlier attempt of the job has been.
    fn start(least_ms: i64) -> Self {
        Self { started_ms: wall_ms().max(least_ms), started: Instant::now() }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.started_ms + self.started.elapsed().as_millis() as i64
    }
}

/// The clock on the wall, in ms since 1970.
pub(crate) fn wall_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since_epoch.as_millis() as i64
}

/// What all workers of a job share.
pub(crate) struct JobShared {
    pub(crate) graph: Arc<JobGraph>,
    pub(crate) config: RunConfig,
    pub(crate) control: JobControl,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) coordinators: BTreeMap<NodeId, Arc<SplitCoordinator>>,
    /// For each source that waits: those that are read before it.
    pub(crate) waits: BTreeMap<NodeId, BTreeSet<NodeId>>,
    /// Sinks that no node feeds, and that an earlier program has left output of.
    pub(crate) standing_by: SinksById,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) beginning: Beginning,
    /// By worker: what it has read of the checkpoint, until its operators have taken it.
    restored: Vec<Mutex<Option<Restored>>>,
    /// By worker, where the job keeps state.
    pub(crate) uploads: Vec<Arc<Mutex<Uploads>>>,
    pub(crate) assignment: KeyGroupAssignment,
    pub(crate) clock: JobClock,
    pub(crate) closings: Closings,
    /// Records that have ended earlier generations of this run.
    pub(crate) suspects: Suspects,
    /// Whether this generation has made a checkpoint.
    pub(crate) has_checkpoint: AtomicBool,
}

/// Looks for what would end the job before it begins, without starting or writing anything.
///
/// Errors: `Invalid` for a configuration out of range, `Conflict` (R0235, R0410) and `Invalid` (R0409) for folders that do not
/// go together.
pub fn check(graph: &JobGraph, config: &RunConfig) -> Result<()> {
    config.check()?;
    folders::check(graph, config.state.as_ref())
}

/// One attempt of a job that has failed.
pub(crate) struct Failed {
    pub(crate) error: Error,
    /// Whether it had begun: else nothing has been written.
    pub(crate) had_begun: bool,
    /// Whether it has read a record.
    pub(crate) has_read: bool,
    /// Whether it has made a checkpoint.
    pub(crate) has_checkpoint: bool,
}

/// Runs one generation of a job: to the end of all its input, a stop through `control`, or the first error.
///
/// Blocks. Worker threads are started and joined here.
///
/// Errors: what a source, operator or sink reported first. A panic of an operator ends the generation as `Internal`.
pub(crate) fn run_generation(
    graph: Arc<JobGraph>,
    config: &RunConfig,
    control: &JobControl,
    suspects: &Suspects,
) -> Result<JobReport, Failed> {
    let (checkpoints, inbox) = Checkpoints::new();
    let graph = first_rows::narrowed(graph);
    let prepared = config.check().and_then(|()| prepare(graph, config, control, checkpoints));
    let prepared = prepared.map(|shared| shared.map(|shared| JobShared { suspects: suspects.clone(), ..shared }));
    match prepared {
        Err(error) => Err(Failed { error, had_begun: false, has_read: false, has_checkpoint: false }),
        Ok(None) => Ok(JobReport::of_an_earlier_run()),
        Ok(Some(shared)) => {
            let shared = Arc::new(shared);
            let failed = |error| {
                let has_checkpoint = shared.has_checkpoint.load(Ordering::SeqCst);
                Failed { error, had_begun: true, has_read: shared.metrics.snapshot().records_in > 0, has_checkpoint }
            };
            run_prepared(&shared, inbox).map_err(failed)
        }
    }
}

fn run_prepared(shared: &Arc<JobShared>, inbox: mpsc::Receiver<Message>) -> Result<JobReport> {
    let control = shared.control.clone();
    control.set_metrics(Arc::clone(&shared.metrics));
    let to_checkpoints = shared.checkpoints.clone();
    control.register_wake(Arc::new(move || to_checkpoints.tell(Message::Look)));
    let mut thread = CheckpointThread::try_new(Arc::clone(shared), inbox)?;
    thread.prepare();
    let for_thread = control.clone();
    let keep = move || {
        if let Err(error) = thread.run() {
            for_thread.fail(error);
        }
    };
    let checkpoints = std::thread::Builder::new().name("rheos-checkpoints".into()).spawn(keep);
    let checkpoints =
        checkpoints.map_err(|e| Error::internal(format!("cannot start the thread of checkpoints: {e}")))?;
    let workers = start_workers(shared);
    if let Err(error) = workers {
        control.fail(error);
    }
    shared.checkpoints.tell(Message::WorkersEnded);
    if checkpoints.join().is_err() {
        control.fail(Error::internal("the thread of checkpoints panicked"));
    }
    if let Some(error) = control.take_failure() {
        return Err(error);
    }
    // A job that was stopped and keeps state goes on: its sinks are not finished.
    if shared.config.state.is_none() || control.stop_mode() != Some(StopMode::Stop) {
        shared.sinks().try_for_each(|(_, sink)| sink.finish())?;
    }
    Ok(JobReport {
        snapshot: shared.metrics.snapshot(),
        stopped: control.stop_mode().is_some(),
        finished_before: false,
        restarts: 0,
        skipped: shared.metrics.first_skipped(),
        lateness: shared.metrics.lateness(),
        sources: shared.metrics.source_stats(),
        nodes: shared.metrics.node_stats(),
    })
}

/// `None`: the job keeps state, and had come to its end before.
fn prepare(
    graph: Arc<JobGraph>,
    config: &RunConfig,
    control: &JobControl,
    checkpoints: Checkpoints,
) -> Result<Option<JobShared>> {
    folders::check(&graph, config.state.as_ref())?;
    let mut sinks: SinksById = graph.nodes().iter().filter_map(sink_of).collect();
    let mut standing_by = standing_by(&graph);
    sinks.values().chain(standing_by.values()).for_each(|sink| sink.set_warn(&config.warn));
    let mut beginning = match &config.state {
        None => Beginning::stateless(),
        Some(state) => match beginning::recover(state, &graph, (&sinks, &standing_by))? {
            Some(beginning) => beginning,
            None => return Ok(None),
        },
    };
    let counted = beginning.restored.as_ref().map(|m| m.counters.clone()).unwrap_or_default();
    let metrics = Arc::new(Metrics::new(&graph, config.parallelism, counted));
    let draining = beginning.restored.as_ref().is_some_and(|m| m.phase == JobPhase::Draining);
    let assignment = beginning.assignment(config.key_groups, config.parallelism);
    let (restored, uploads) = match &config.state {
        None => ((0..config.parallelism).map(|_| Mutex::new(None)).collect(), vec![]),
        Some(state) => read_state(&graph, state, &beginning, &assignment, config.parallelism)?,
    };
    beginning.kept = Kept::default();
    let mut coordinators = BTreeMap::new();
    for id in graph.ids() {
        let node = graph.node(id);
        if let NodeKind::Source { source, watermark } = &node.kind {
            let (source, watermark) = (Arc::clone(source), watermark.clone());
            let operator = OperatorId(node.operator_id.clone());
            let coordinator = match beginning.source(&operator) {
                None => SplitCoordinator::try_new(source, watermark, config.parallelism, config.state.is_some())?,
                Some(known) => {
                    let found = found_before(&restored, &operator)?;
                    SplitCoordinator::restored(source, watermark, config.parallelism, known, &found, draining)?
                }
            };
            metrics.add_bytes_total(coordinator.bytes_total());
            coordinators.insert(id, Arc::new(coordinator));
        }
    }
    let known = coordinators.iter().filter_map(|(id, coordinator)| Some((*id, coordinator.bytes_known()?)));
    let bytes_left: BTreeMap<NodeId, u64> = known.collect();
    standing_by.retain(|operator, _| beginning.has_output(operator));
    sinks.extend(standing_by.clone());
    // Sources have been looked at first: a missing input must not leave a sink half prepared.
    beginning.settle(&sinks, config.state.as_ref().map(|state| state.duplicates))?;
    control.begin(beginning.claim.first_epoch);
    let least_ms = beginning.restored.as_ref().map_or(i64::MIN, |m| m.processing_time_ms);
    Ok(Some(JobShared {
        checkpoints,
        beginning,
        restored,
        uploads,
        assignment,
        config: config.clone(),
        control: control.clone(),
        metrics,
        waits: order::waits(&graph, &bytes_left),
        coordinators,
        standing_by,
        closings: Closings::new(&graph),
        graph,
        clock: JobClock::start(least_ms),
        suspects: Suspects::default(),
        has_checkpoint: AtomicBool::new(false),
    }))
}

/// What a source had found: worker 0 has read it.
fn found_before(restored: &[Mutex<Option<Restored>>], operator: &OperatorId) -> Result<Vec<String>> {
    let first = restored.first().map(lock);
    let state = first.and_then(|mut restored| Some(restored.as_mut()?.take(operator)));
    state.map_or(Ok(vec![]), |state| found::read(&state))
}

fn standing_by(graph: &JobGraph) -> SinksById {
    graph.standing_by().iter().map(|(id, sink)| (OperatorId(id.clone()), Arc::clone(sink))).collect()
}

fn sink_of(node: &rheos_core::graph::Node) -> Option<(OperatorId, Arc<dyn Sink>)> {
    match &node.kind {
        NodeKind::Sink(sink) => Some((OperatorId(node.operator_id.clone()), Arc::clone(sink))),
        _ => None,
    }
}

type WorkerState = (Vec<Mutex<Option<Restored>>>, Vec<Arc<Mutex<Uploads>>>);

/// What each worker goes on from, read by all at once.
fn read_state(
    graph: &Arc<JobGraph>,
    state: &StateConfig,
    beginning: &Beginning,
    assignment: &KeyGroupAssignment,
    parallelism: usize,
) -> Result<WorkerState> {
    let workers = u32::try_from(parallelism).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
    let plans = beginning.restored.as_ref().map(|manifest| rescale::plan(manifest, assignment, workers));
    let read = |worker: usize| -> Result<(Option<Restored>, Uploads)> {
        let id = WorkerId(worker as u32);
        let store = Arc::clone(&state.store);
        let groups = assignment.groups_of(worker).into_iter().collect();
        let new = |holdings| {
            let combiners =
                uploads::combiners(graph, OperatorInit { worker, parallelism, assignment: assignment.clone() });
            let begins = (beginning.claim.generation, beginning.claim.first_epoch);
            Uploads::new(Arc::clone(&state.store), begins, id, groups, combiners, holdings)
        };
        let (Some(plans), Some(manifest)) = (&plans, &beginning.restored) else {
            return Ok((None, new(Holdings::new(id))));
        };
        let mut restored =
            rheos_state::restore::restore(store.as_ref(), &beginning.kept, manifest, &plans[worker], id)?;
        forget_dropped(&mut restored, graph);
        let mut uploads = new(std::mem::replace(&mut restored.holdings, Holdings::new(id)));
        uploads.rewrite(&plans[worker].rewrites)?;
        Ok((Some(restored), uploads))
    };
    let all: Vec<Result<_>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..parallelism).map(|worker| scope.spawn(move || read(worker))).collect();
        let panicked = |_| Err(Error::internal("reading a checkpoint panicked"));
        threads.into_iter().map(|t| t.join().unwrap_or_else(panicked)).collect()
    });
    let all = all.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(all.into_iter().map(|(restored, uploads)| (Mutex::new(restored), Arc::new(Mutex::new(uploads)))).unzip())
}

/// Lets go of state that the program has no operator for: the user has accepted it, and later checkpoints do not name it.
fn forget_dropped(restored: &mut Restored, graph: &JobGraph) {
    let is_there = |operator: &OperatorId| graph.nodes().iter().any(|n| n.operator_id == operator.0);
    let dropped: Vec<OperatorId> = restored.left().filter(|operator| !is_there(operator)).cloned().collect();
    for operator in &dropped {
        restored.take(operator);
        restored.holdings.forget(operator);
    }
}

fn start_workers(shared: &Arc<JobShared>) -> Result<()> {
    let communication = match shared.config.parallelism {
        1 => CommunicationConfig::Thread,
        n => CommunicationConfig::Process(n),
    };
    let timely_error = |e: String| Error::internal(format!("cannot start the workers: {e}"));
    let (builders, others) = communication.try_build().map_err(timely_error)?;
    let for_workers = Arc::clone(shared);
    let guards = timely::execute::execute_from(builders, others, timely::WorkerConfig::default(), move |worker| {
        let shared = Arc::clone(&for_workers);
        let control = shared.control.clone();
        // A panic ends the job, not the process: the other workers are told, which Timely itself would not do.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run_worker(worker, shared))) {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            control.fail(Error::internal(format!("a worker panicked: {text}")));
        }
        for dataflow in worker.installed_dataflows() {
            worker.drop_dataflow(dataflow);
        }
    })
    .map_err(timely_error)?;
    for result in guards.join() {
        result.map_err(timely_error)?;
    }
    Ok(())
}

fn run_worker(worker: &mut Worker, shared: Arc<JobShared>) {
    shared.control.register_thread();
    let operators = match create_operators(worker.index(), &shared) {
        Ok(operators) => operators,
        Err(error) => return shared.control.fail(error),
    };
    let probe = probe::Handle::new();
    let parts = {
        let first = shared.beginning.claim.first_epoch;
        WorkerParts::new(WorkerId(worker.index() as u32), first, shared.control.clone(), shared.checkpoints.clone())
    };
    let sources = worker.dataflow::<EpochTime, _, _>(|scope| build(scope, &shared, &parts, operators, &probe));
    let mut seen: Vec<EpochTime> = Vec::new();
    // A source that nobody reads is not seen at the sinks, but owes its part of the last epoch all the same.
    let is_over = || probe.done() && parts.is_over();
    while !is_over() && !shared.control.failed() {
        worker.step_or_park(Some(Duration::from_millis(100)));
        probe.with_frontier(|frontier| {
            if seen.as_slice() == &frontier[..] {
                return;
            }
            seen = frontier.to_vec();
            let Some((_, watermark)) = frontier_parts(frontier) else { return };
            shared.metrics.set_watermark(watermark);
            // Sources that hold the end of time may go once everything behind them has seen it.
            if watermark == Watermark::MAX {
                sources.iter().for_each(Activator::activate);
            }
        });
    }
}

fn create_operators(worker: usize, shared: &JobShared) -> Result<Vec<Option<Box<dyn Operator>>>> {
    let init = OperatorInit { worker, parallelism: shared.config.parallelism, assignment: shared.assignment.clone() };
    let mut restored = lock(&shared.restored[worker]).take();
    let create = |node: &rheos_core::graph::Node| match &node.kind {
        NodeKind::Stateless(f) | NodeKind::Stateful(f) => {
            let mut operator = f.create(&init)?;
            if let Some(restored) = &mut restored {
                operator.restore(&restored.take(&OperatorId(node.operator_id.clone())))?;
            }
            Ok(Some(operator))
        }
        _ => Ok(None),
    };
    shared.graph.nodes().iter().map(create).collect()
}

/// A stream of packets.
pub(crate) type Packets<'scope> = Stream<'scope, EpochTime, Packet>;

/// Takes everything that has arrived at one input.
pub(crate) type Drain = Box<dyn FnMut(&mut dyn FnMut(EpochTime, Packet))>;

fn build<'scope>(
    scope: Scope<'scope, EpochTime>,
    shared: &Arc<JobShared>,
    parts: &Rc<WorkerParts>,
    mut operators: Vec<Option<Box<dyn Operator>>>,
    probe: &probe::Handle<EpochTime>,
) -> Vec<Activator> {
    let graph = Arc::clone(&shared.graph);
    let mut streams: BTreeMap<(NodeId, Port), Packets<'scope>> = BTreeMap::new();
    let mut activators = Vec::new();
    let mut fused = vec![false; graph.nodes().len()];
    for id in graph.ids() {
        let node = graph.node(id);
        if fused[id.0] {
            continue;
        }
        let inputs = || node.inputs.iter().map(|e| (streams[&(e.from, e.port)].clone(), e.exchange.clone()));
        match &node.kind {
            NodeKind::Source { source, watermark } => {
                let (ports, activator) =
                    source::build(scope, id, Arc::clone(source), watermark.clone(), shared, parts, probe.clone());
                activators.push(activator);
                streams.extend(ports.into_iter().map(|(port, stream)| ((id, port), stream)));
            }
            NodeKind::Union => {
                let is_like = |e: &Edge| graph.node(e.from).schema == node.schema;
                let streams_in = node.inputs.iter().zip(inputs()).map(|(e, (stream, _))| match is_like(e) {
                    true => stream,
                    false => union::under(stream, Arc::clone(&node.schema), shared),
                });
                let streams_in: Vec<_> = streams_in.collect();
                streams.insert((id, Port::MAIN), scope.concatenate(streams_in));
            }
            NodeKind::Side(_) => {
                let streams_in: Vec<_> = inputs().map(|(stream, _)| stream).collect();
                streams.insert((id, Port::MAIN), scope.concatenate(streams_in));
            }
            NodeKind::Stateless(_) if node.inputs[0].exchange == Exchange::Forward => {
                let nodes = chain_from(&graph, id);
                nodes.iter().for_each(|n| fused[n.0] = true);
                let link = |n: &NodeId| operators[n.0].take().map(|operator| Link::new(n.0, operator));
                let chain = Chain { links: nodes.iter().filter_map(link).collect() };
                let (stream, _) = inputs().next().expect("a stateless operator has one input");
                streams.extend(adapter::build_stateless(stream, chain, shared, parts));
            }
            NodeKind::Stateless(_) | NodeKind::Stateful(_) => {
                let operator = operators[id.0].take().expect("every operator node got its operator");
                let inputs: Vec<_> = inputs().collect();
                for (port, stream) in adapter::build(scope, id, inputs, operator, shared, parts) {
                    streams.insert((id, port), stream);
                }
            }
            NodeKind::Sink(sink) => {
                let (stream, exchange) = inputs().next().expect("a sink has one input");
                sink::build(scope, id, stream, exchange, Arc::clone(sink), shared, parts).probe_with(probe);
            }
        }
    }
    activators
}

/// The stateless nodes that can run as one from `first` on: each has one reader of its rows, behind a forward edge.
fn chain_from(graph: &JobGraph, first: NodeId) -> Vec<NodeId> {
    let mut chain = vec![first];
    let mut last = first;
    let main = |(node, input): &(NodeId, usize)| graph.node(*node).inputs[*input].port == Port::MAIN;
    while let [(reader, 0)] = graph.readers(last).into_iter().filter(main).collect::<Vec<_>>()[..] {
        let node = graph.node(reader);
        if !matches!(node.kind, NodeKind::Stateless(_)) || node.inputs[0].exchange != Exchange::Forward {
            break;
        }
        chain.push(reader);
        last = reader;
    }
    chain
}

/// Connects an input with the exchange of its edge.
pub(crate) fn connect<'scope>(
    builder: &mut OperatorBuilder<'scope, EpochTime>,
    stream: Packets<'scope>,
    exchange: &Exchange,
    shared: &JobShared,
) -> Drain {
    macro_rules! drain {
        ($pact:expr) => {{
            let mut input = builder.new_input(stream, $pact);
            Box::new(move |take: &mut dyn FnMut(EpochTime, Packet)| {
                input.for_each(|cap, packet| take(*cap.time(), std::mem::take(packet)));
            })
        }};
    }
    match exchange {
        Exchange::Forward => drain!(Pipeline),
        Exchange::Single => drain!(DistributorPact(|_| SingleDistributor)),
        Exchange::Broadcast => drain!(DistributorPact(|_| BroadcastDistributor)),
        Exchange::Hash(columns) => {
            let (columns, assignment) = (columns.clone(), shared.assignment.clone());
            drain!(DistributorPact(move |workers| HashDistributor(HashSplit::new(columns, assignment, workers))))
        }
    }
}

/// Whether a stop that does not fire open windows was asked for.
pub(crate) fn is_stopped(control: &JobControl) -> bool {
    control.stop_mode() == Some(StopMode::Stop)
}
