//! The thread that keeps a job's epochs: it asks the protocol's [`Coordinator`] what to do and does it.
//!
//! ```text
//!   workers ──parts──► ┌────────────────────┐ ──cut──► sources
//!   control ──stop───► │ inbox ─► on(event) │ ──commit──► errands ──► sinks
//!   errands ──done───► └────────────────────┘
//! ```
//!
//! Invariants: what may block (the store, a commit) is done elsewhere, on errands; nothing is committed before the coordinator
//! says so. A job without state keeps its epochs just so, but that nothing is written: a checkpoint is complete when all workers
//! have staged it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rheos_checkpoint::coordinator::{
    Config, Coordinator, Decision, Event, GenerationEnd, Outcome, Report, SinkCommit, SinkConfig, Snapshot, Start,
    WriteOutcome, check_savepoint_name,
};
use rheos_checkpoint::garbage::{self, StoredObject};
use rheos_checkpoint::journal::{Entry, EntryNumber, Journal};
use rheos_checkpoint::manifest::{OperatorInfo, Program, Repeat};
use rheos_core::graph::{Node, NodeKind};
use rheos_core::sink::{EpochEnd, ReleaseNumber, Sink};
use rheos_core::time::Epoch;
use rheos_core::{Error, ErrorKind, NodeId, OperatorId, Result, WorkerId};
use rheos_state::{is_removed, journal};

use crate::beginning::StateConfig;
use crate::control::{StopMode, lock};
use crate::errands::Errands;
use crate::job::{JobShared, wall_ms};
use crate::merges::{LEAVE_WITHIN, Merges};
use crate::savepoints::{AfterSavepoint, Request, UnderWay};
use crate::splits::{SplitCoordinator, found};
use crate::uploads::{Deltas, Uploads};

/// First wait behind a failure, where the interval is longer: a job with one checkpoint an hour does not wait an hour to commit.
const BACKOFF_MS_MIN: NonZeroU64 = NonZeroU64::MIN.saturating_add(999);

/// Longest wait behind a failure, where the job keeps state.
const BACKOFF_MS_MAX: u64 = 60_000;

/// How long a stop may take where the job keeps state.
const STOP_MS_MAX: u64 = 10_000;

/// How late an epoch may be cut, at most, where nothing else happens: rows become visible by so much later.
const TICK_MS_MAX: u64 = 25;

/// How soon behind the start what earlier runs have left is merged; before, a restored job has other things to do.
const FIRST_MERGE: Duration = Duration::from_secs(10);

/// What the thread is told.
pub(crate) enum Message {
    /// A worker's part of an epoch.
    Part { worker: WorkerId, epoch: Epoch, part: Snapshot, deltas: Deltas },
    /// A worker's part has been stored, or could not be.
    Report { worker: WorkerId, epoch: Epoch, outcome: Outcome },
    /// A write to the journal has ended.
    Written { number: EntryNumber, entry: Entry, outcome: WriteOutcome },
    /// What the store holds, to look for garbage.
    Stored(Vec<StoredObject>),
    /// Sources have ended, and sinks have seen the end of time.
    InputEnded,
    /// A commit has been carried out.
    Committed { operator: OperatorId, release: ReleaseNumber },
    /// A commit has failed.
    CommitFailed { operator: OperatorId, release: ReleaseNumber, error: Error },
    /// Something changed that [`crate::JobControl`] tells.
    Look,
    /// The workers are gone.
    WorkersEnded,
}

/// Tells the thread. Cheap to clone; to a thread that is gone it says nothing.
#[derive(Clone)]
pub(crate) struct Checkpoints(mpsc::Sender<Message>);

impl Checkpoints {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Message>) {
        let (sender, inbox) = mpsc::channel();
        (Self(sender), inbox)
    }

    pub(crate) fn tell(&self, message: Message) {
        let _ = self.0.send(message);
    }

    pub(crate) fn part(&self, worker: WorkerId, epoch: Epoch, part: Snapshot, deltas: Deltas) {
        self.tell(Message::Part { worker, epoch, part, deltas });
    }

    pub(crate) fn input_ended(&self) {
        self.tell(Message::InputEnded);
    }
}

/// See the module.
pub(crate) struct CheckpointThread {
    shared: Arc<JobShared>,
    coordinator: Coordinator,
    inbox: mpsc::Receiver<Message>,
    /// Commits.
    commits: Errands,
    /// Where the job keeps state.
    state: Option<StateThreads>,
    started: Instant,
    tick: Duration,
    /// What sources found before an epoch was cut, until worker 0 tells its part of it.
    found: BTreeMap<Epoch, Deltas>,
    /// The stop that the coordinator knows of.
    asked: Option<StopMode>,
    /// Whether the last cut has been announced.
    last_cut: bool,
    /// Savepoints that were asked for.
    savepoints: UnderWay,
}

impl CheckpointThread {
    /// Errors: `External` where no thread can be started.
    pub(crate) fn try_new(shared: Arc<JobShared>, inbox: mpsc::Receiver<Message>) -> Result<Self> {
        let interval_ms = NonZeroU64::new(shared.config.epoch_interval_ms).unwrap_or(NonZeroU64::MIN);
        let keeps_state = shared.config.state.is_some();
        let commit_interval_ms = |sink: &Arc<dyn Sink>| match keeps_state {
            true => u64::try_from(sink.commit_interval().as_millis()).unwrap_or(u64::MAX),
            // Without state a writer stages what is to be committed now.
            false => 0,
        };
        let sinks = shared.sinks().map(|(operator, sink)| SinkConfig {
            operator,
            repeat: Repeat::Duplicates,
            commit_interval_ms: commit_interval_ms(sink),
        });
        let config = Config {
            interval_ms,
            in_flight_max: NonZeroUsize::new(shared.config.epochs_in_flight_max).unwrap_or(NonZeroUsize::MIN),
            backoff_ms_min: interval_ms.min(BACKOFF_MS_MIN),
            backoff_ms_max: BACKOFF_MS_MAX,
            // Threads do not get lost, and a reader of results may take any time.
            answer_ms_max: u64::MAX,
            stop_ms_max: if keeps_state { STOP_MS_MAX } else { u64::MAX },
            sinks: sinks.collect(),
        };
        let beginning = &shared.beginning;
        let info = |node: &Node| OperatorInfo {
            id: OperatorId(node.operator_id.clone()),
            name: node.name.clone(),
            facts: node.describe(),
        };
        let mut operators: Vec<OperatorInfo> = shared.graph.nodes().iter().map(info).collect();
        operators.sort_by(|a, b| a.id.cmp(&b.id));
        let program = Program {
            fingerprint: format!("{:016x}", shared.graph.fingerprint()),
            context: shared.config.state.as_ref().map_or_else(Vec::new, |s| s.context.clone()),
            operators,
        };
        let parallelism = u32::try_from(shared.config.parallelism).ok().and_then(NonZeroU32::new);
        let start = Start {
            claim: beginning.claim.clone(),
            program,
            assignment: shared.assignment.clone(),
            parallelism: parallelism.unwrap_or(NonZeroU32::MIN),
            restored: beginning.restored.clone(),
            savepoints: beginning.journal.savepoints().map(|(_, name, _)| name.to_string()).collect(),
        };
        let state = match &shared.config.state {
            Some(state) => Some(StateThreads::start(state, &shared)?),
            None => None,
        };
        Ok(Self {
            coordinator: Coordinator::try_new(config, start, 0)?,
            inbox,
            commits: Errands::start("rheos-commits")?,
            state,
            started: Instant::now(),
            tick: Duration::from_millis((interval_ms.get() / 4).clamp(1, TICK_MS_MAX)),
            found: BTreeMap::new(),
            asked: None,
            last_cut: false,
            savepoints: UnderWay::default(),
            shared,
        })
    }

    /// Before the workers start: a job without sources has had all its input.
    pub(crate) fn prepare(&mut self) {
        if self.shared.coordinators.is_empty() {
            self.on(Event::InputEnded);
        }
    }

    /// Keeps the epochs until the job has ended, well or not.
    ///
    /// Errors: `Internal` for workers that have ended too early; what went wrong elsewhere is in the job's control.
    pub(crate) fn run(mut self) -> Result<()> {
        let end = self.keep();
        let Self { state, commits, .. } = self;
        match (&end, state) {
            (_, None) => {}
            (Ok(Some(GenerationEnd::Finished | GenerationEnd::Stopped)), Some(state)) => state.end(),
            // Nobody waits any longer for what does not answer. What it may yet do, the next run allows for, as behind a crash.
            (Ok(Some(GenerationEnd::StopIncomplete { .. })), Some(state)) => {
                state.leave();
                commits.leave(Duration::ZERO);
            }
            (_, Some(state)) => state.give_up(),
        }
        end.and_then(|end| end.map_or(Ok(()), ended))
    }

    /// How the generation ended, as the coordinator says; `None` for a failure elsewhere.
    fn keep(&mut self) -> Result<Option<GenerationEnd>> {
        loop {
            let event = match self.inbox.recv_timeout(self.tick) {
                Ok(Message::Part { worker, epoch, part, deltas }) => self.store(worker, epoch, part, deltas),
                Ok(Message::Report { worker, epoch, outcome }) => Some(self.report(worker, epoch, outcome)),
                Ok(Message::Written { number, entry, outcome }) => Some(self.written(number, entry, outcome)),
                Ok(Message::Stored(objects)) => {
                    self.collect(&objects);
                    None
                }
                Ok(Message::CommitFailed { operator, release, error }) => {
                    Some(Event::CommitFailed { operator, release, error })
                }
                Ok(Message::InputEnded) => Some(Event::InputEnded),
                Ok(Message::Committed { operator, release }) => Some(Event::Committed { operator, release }),
                Ok(Message::Look) => None,
                Ok(Message::WorkersEnded) if !self.last_cut && !self.shared.control.failed() => {
                    return Err(Error::internal("the workers have ended before the last epoch"));
                }
                Ok(Message::WorkersEnded) => None,
                Err(mpsc::RecvTimeoutError::Timeout) => Some(Event::Tick),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(None),
            };
            if self.shared.control.failed() {
                return Ok(None);
            }
            if let Some(state) = self.state.as_mut().filter(|s| !s.merged && self.started.elapsed() >= FIRST_MERGE) {
                state.merged = true;
                state.merges.iter().for_each(Merges::ask);
            }
            let requested = self.shared.control.requests().take().then_some(Event::Checkpoint);
            let requests = self.shared.control.savepoints().take();
            let savepoints: Vec<Event> = requests.into_iter().filter_map(|request| self.asked(request)).collect();
            let stop = self.asked_to_stop();
            for event in event.into_iter().chain(requested).chain(savepoints).chain(stop) {
                if let Some(end) = self.on(event) {
                    return Ok(Some(end));
                }
            }
        }
    }

    /// What the coordinator is told of a request, if anything.
    fn asked(&mut self, request: Request) -> Option<Event> {
        if self.state.is_none() {
            let error = Error::invalid(675, "the job keeps no state, so there are no savepoints");
            request.answer(Err(error.with_hint("run it with '--state-dir DIR'")));
            return None;
        }
        if let Err(error) = check_savepoint_name(&request.name) {
            request.answer(Err(error));
            return None;
        }
        if self.coordinator.knows_savepoint(&request.name) || self.savepoints.has(&request.name) {
            let message = format!("there is a savepoint '{}' already", request.name);
            let error = Error::new(ErrorKind::Conflict, 612, message);
            request.answer(Err(error.with_hint("give another name; 'rheos savepoint list' shows them")));
            return None;
        }
        let (name, then) = (request.name.clone(), request.then);
        self.savepoints.add(request);
        match then {
            AfterSavepoint::Stop if self.shared.control.stop_mode() != Some(StopMode::Drain) => {
                // First: operators that see the last cut must see that windows stay open.
                self.shared.control.stop(StopMode::Stop);
                self.asked = self.shared.control.stop_mode();
                Some(Event::SavepointAndStop(name))
            }
            // A job that is being drained ends anyway.
            AfterSavepoint::Stop | AfterSavepoint::GoOn => Some(Event::Savepoint(name)),
        }
    }

    /// The stop that was asked for, once.
    fn asked_to_stop(&mut self) -> Option<Event> {
        let mode = self.shared.control.stop_mode().filter(|_| self.asked.is_none())?;
        self.asked = Some(mode);
        Some(match mode {
            StopMode::Stop => Event::Stop,
            StopMode::Drain => Event::Drain,
        })
    }

    fn on(&mut self, event: Event) -> Option<GenerationEnd> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            for decision in self.coordinator.on(event, now_ms) {
                match decision {
                    Decision::Cut { epoch, end } => events.push_back(self.cut(epoch, end)),
                    Decision::Write { number, entry } => events.extend(self.write(number, entry)),
                    Decision::Commit(commit) => self.commit(commit),
                    Decision::StoreAgain { epoch, workers } => {
                        workers.into_iter().for_each(|worker| self.store_again(worker, epoch));
                    }
                    Decision::CheckpointFailed { error, wait_ms, .. } => self.warn(&error, "a checkpoint", wait_ms),
                    Decision::CommitFailed { error, wait_ms, .. } => self.warn(&error, "a commit", wait_ms),
                    Decision::EndGeneration(end) => return Some(end),
                    Decision::Savepoint { name, result } => self.savepoints.answer(&name, result),
                    Decision::Acknowledge(manifest) => {
                        self.shared.has_checkpoint.store(true, Ordering::SeqCst);
                        self.shared.control.requests().complete(manifest.epoch);
                    }
                    // Sources look at the control.
                    Decision::Drain => {}
                }
            }
        }
        None
    }

    /// Announces the end of an epoch. Gives what the sources looked like at that moment.
    fn cut(&mut self, epoch: Epoch, end: EpochEnd) -> Event {
        self.last_cut |= end == EpochEnd::Last;
        if let Some(state) = self.state.as_ref().filter(|_| self.last_cut) {
            // The last upload has the store for itself.
            state.over.store(true, Ordering::SeqCst);
        }
        let control = &self.shared.control;
        control.requests().cut(epoch);
        let coordinators = self.shared.coordinators.iter().map(|(node, c)| (self.shared.operator(*node), c.as_ref()));
        let looks = SplitCoordinator::look_at_all(coordinators, || control.announce(end));
        control.wake_all();
        let (sources, found): (Vec<_>, Vec<_>) = looks.into_iter().unzip();
        for (source, found) in sources.iter().zip(found).filter_map(|(s, f)| Some((s, f?))) {
            match found::delta(found) {
                Ok(delta) => self.found.entry(epoch).or_default().push((source.operator.clone(), delta)),
                Err(error) => control.fail(error),
            }
        }
        let processing_time_ms = self.shared.clock.now_ms();
        Event::Announced { epoch, wall_time_ms: wall_ms(), processing_time_ms, sources }
    }

    fn commit(&self, SinkCommit { fence, committables }: SinkCommit) {
        let shared = Arc::clone(&self.shared);
        let keeps_state = self.state.is_some();
        self.commits.send(move || {
            let operator = fence.owner.operator.clone();
            let commit = || match shared.sinks().find(|(other, _)| *other == operator) {
                Some((_, sink)) => sink.commit(keeps_state.then_some(&fence), &committables),
                None => Err(Error::internal(format!("there is no sink '{operator}' to commit"))),
            };
            let panicked = |_| Err(Error::internal("committing panicked"));
            let release = fence.release;
            match catch_unwind(AssertUnwindSafe(commit)).unwrap_or_else(panicked) {
                Ok(()) => shared.checkpoints.tell(Message::Committed { operator, release }),
                Err(error) if keeps_state => {
                    shared.checkpoints.tell(Message::CommitFailed { operator, release, error });
                }
                Err(error) => shared.control.fail(error),
            }
        });
    }
}

/// What an end means.
fn ended(end: GenerationEnd) -> Result<()> {
    match end {
        GenerationEnd::Finished | GenerationEnd::Stopped => Ok(()),
        GenerationEnd::Failed(error) | GenerationEnd::Replaced(error) => Err(error),
        GenerationEnd::Defect(what) => Err(Error::internal(what)),
        GenerationEnd::StopIncomplete { last, cause } => {
            let last = last.map_or("the start".to_string(), |n| format!("checkpoint {n}"));
            let hint = match cause.as_ref().is_some_and(is_removed) {
                true => {
                    format!("put back what was removed: then nothing is lost, and the next run goes on from {last}")
                }
                false => format!("nothing is lost: the next run goes on from {last}"),
            };
            let denied = cause.as_ref().is_some_and(|e| e.kind() == ErrorKind::NotAllowed);
            let kind = if denied { ErrorKind::NotAllowed } else { ErrorKind::External };
            let cause = cause.map_or(String::new(), |e| format!(": {}", e.message()));
            let message = format!("the job was stopped, but its last checkpoint could not be written{cause}");
            Err(Error::new(kind, 405, message).with_hint(hint))
        }
        GenerationEnd::Stalled(stall) => Err(Error::internal(format!("the job stood still: {stall:?}"))),
    }
}

/// What only a job that keeps state does.
impl CheckpointThread {
    fn report(&mut self, worker: WorkerId, epoch: Epoch, outcome: Outcome) -> Event {
        if let (Some(state), Outcome::Stored(_)) = (&mut self.state, &outcome) {
            state.merged = true;
            state.merges[worker.0 as usize].ask();
        }
        Event::Report(Report { generation: self.shared.beginning.claim.generation, worker, epoch, outcome })
    }

    /// Stores a worker's part; without state it is told at once.
    fn store(&mut self, worker: WorkerId, epoch: Epoch, mut part: Snapshot, mut deltas: Deltas) -> Option<Event> {
        part.processing_time_ms = self.shared.clock.now_ms();
        if worker == WorkerId(0) {
            deltas.extend(self.found.remove(&epoch).unwrap_or_default());
        }
        match &self.state {
            None => Some(self.report(worker, epoch, Outcome::Stored(Box::new(part)))),
            Some(_) => {
                self.upload(worker, epoch, move |uploads| uploads.store(epoch, part, deltas));
                None
            }
        }
    }

    fn store_again(&self, worker: WorkerId, epoch: Epoch) {
        self.upload(worker, epoch, Uploads::again);
    }

    /// Reports what `store` comes to.
    fn upload(&self, worker: WorkerId, epoch: Epoch, store: impl FnOnce(&mut Uploads) -> Outcome + Send + 'static) {
        let at = worker.0 as usize;
        let (Some(state), Some(uploads)) = (&self.state, self.shared.uploads.get(at)) else { return };
        let (uploads, shared) = (Arc::clone(uploads), Arc::clone(&self.shared));
        state.uploads[at].send(move || {
            let work = || {
                let outcome = store(&mut lock(&uploads));
                shared.checkpoints.tell(Message::Report { worker, epoch, outcome });
            };
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                shared.control.fail(Error::internal("storing state panicked"));
            }
        });
    }

    /// Writes an entry; without state it holds as it was decided.
    fn write(&self, number: EntryNumber, entry: Entry) -> Option<Event> {
        let Some(state) = &self.state else { return Some(Event::Written { number, outcome: WriteOutcome::Written }) };
        let (store, to) = (Arc::clone(&state.config.store), self.shared.checkpoints.clone());
        state.journal_writes.send(move || {
            let outcome = journal::write(store.as_ref(), number, &entry);
            to.tell(Message::Written { number, entry, outcome });
        });
        None
    }

    /// Notes what has been written, and asks what the store holds.
    fn written(&mut self, number: EntryNumber, entry: Entry, outcome: WriteOutcome) -> Event {
        if let (Some(state), WriteOutcome::Written) = (&mut self.state, &outcome) {
            let entries = state.journal.iter().map(|(n, e)| (n, e.clone()));
            state.journal = Journal::new(entries.chain([(number, entry)]), None);
            let (store, to) = (Arc::clone(&state.config.store), self.shared.checkpoints.clone());
            state.journal_writes.send(move || {
                // A store that cannot be listed now can be later.
                if let Ok(objects) = journal::stored_objects(store.as_ref()) {
                    to.tell(Message::Stored(objects.into_iter().map(|(object, _)| object).collect()));
                }
            });
        }
        Event::Written { number, outcome }
    }

    /// Deletes what no checkpoint needs any more.
    fn collect(&mut self, objects: &[StoredObject]) {
        let Some(state) = &mut self.state else { return };
        let generation = self.shared.beginning.claim.generation;
        let garbage = garbage::collect(&state.journal, generation, &self.coordinator.protected(), objects);
        let gone: BTreeSet<EntryNumber> = garbage.entries.iter().copied().collect();
        let retired: BTreeSet<EntryNumber> = garbage.retired.iter().copied().collect();
        let kept = state.journal.iter().filter(|(n, _)| !gone.contains(n));
        let kept = kept.map(|(n, e)| (n, if retired.contains(&n) { Entry::Retired } else { e.clone() }));
        state.journal = Journal::new(kept, None);
        let (store, warn) = (Arc::clone(&state.config.store), Arc::clone(&state.config.warn));
        state.journal_writes.send(move || {
            if let Err(error) = journal::delete(store.as_ref(), &garbage) {
                warn(&error.context("old checkpoints could not be deleted"));
            }
        });
    }

    fn warn(&self, error: &Error, what: &str, wait_ms: u64) {
        if let Some(state) = &self.state {
            (state.config.warn)(
                &error.clone().context(format_args!("{what} failed and is tried again in {wait_ms} ms")),
            );
        }
    }
}

/// The threads of a job that keeps state, and its view of the journal.
struct StateThreads {
    config: StateConfig,
    journal: Journal,
    journal_writes: Errands,
    /// By worker.
    uploads: Vec<Errands>,
    /// By worker.
    merges: Vec<Merges>,
    /// Whether merges have been asked for.
    merged: bool,
    /// No merge is wanted any more.
    over: Arc<AtomicBool>,
}

impl StateThreads {
    fn start(config: &StateConfig, shared: &JobShared) -> Result<Self> {
        let over: Arc<AtomicBool> = Arc::default();
        let uploads = (0..shared.uploads.len()).map(|worker| Errands::start(&format!("rheos-upload-{worker}")));
        let merges = shared.uploads.iter().enumerate().map(|(worker, uploads)| {
            let (uploads, control) = (Arc::clone(uploads), shared.control.clone());
            Merges::start(worker, uploads, control, Arc::clone(&config.warn), Arc::clone(&over))
        });
        Ok(Self {
            config: config.clone(),
            journal: shared.beginning.journal.clone(),
            journal_writes: Errands::start("rheos-journal")?,
            uploads: uploads.collect::<Result<_>>()?,
            merges: merges.collect::<Result<_>>()?,
            merged: false,
            over,
        })
    }

    /// All is stored: merges alone may be in hand.
    fn end(self) {
        leave_merges(self.merges, &self.over);
    }

    /// The generation has failed: what waits is of no use any more.
    fn give_up(self) {
        self.over.store(true, Ordering::SeqCst);
        self.uploads.iter().chain([&self.journal_writes]).for_each(Errands::give_up);
        leave_merges(self.merges, &self.over);
    }

    /// As [`give_up`](Self::give_up), and waits for nothing.
    fn leave(self) {
        self.over.store(true, Ordering::SeqCst);
        let merges = self.merges.into_iter().map(Merges::into_thread);
        let threads = self.uploads.into_iter().chain([self.journal_writes]).chain(merges);
        threads.for_each(|thread| thread.leave(Duration::ZERO));
    }
}

/// Waits for the steps that are in hand, but not for ever.
fn leave_merges(merges: Vec<Merges>, over: &AtomicBool) {
    over.store(true, Ordering::SeqCst);
    let until = Instant::now() + LEAVE_WITHIN;
    merges.into_iter().for_each(|m| m.into_thread().leave(until.saturating_duration_since(Instant::now())));
}

impl JobShared {
    /// The stable id of a node.
    pub(crate) fn operator(&self, node: NodeId) -> OperatorId {
        OperatorId(self.graph.node(node).operator_id.clone())
    }

    /// The job's sinks, also those that no node feeds.
    pub(crate) fn sinks(&self) -> impl Iterator<Item = (OperatorId, &Arc<dyn Sink>)> {
        let fed = self.graph.ids().filter_map(|id| match &self.graph.node(id).kind {
            NodeKind::Sink(sink) => Some((self.operator(id), sink)),
            _ => None,
        });
        fed.chain(self.standing_by.iter().map(|(operator, sink)| (operator.clone(), sink)))
    }
}
