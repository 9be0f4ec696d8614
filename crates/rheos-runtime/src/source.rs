//! The Timely operator of a source: one a worker.
//!
//! Each activation: take the epoch's cut, move the capability to the source's watermark, then read while there is
//! credit. Every worker holds its capability at the published watermark, also while it has no split, so that no worker's
//! frontier runs ahead of a split that another will still read. At the end of the input the capability stands at
//! (epoch, end of time) until the sinks have seen it; then the last cut is asked for. The last cut drops the capability,
//! at a stop as it is, so operators can tell a stop from an end.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use rheos_checkpoint::manifest::{SplitProgress, SplitState};
use rheos_checkpoint::restart::Place;
use rheos_core::credit::Wake;
use rheos_core::letters::{DeadLetter, OnError};
use rheos_core::source::{ReaderContext, Source, SourceCounters, SourcePoll, SplitReader, WatermarkSpec};
use rheos_core::time::{Epoch, Watermark};
use rheos_core::{Batch, CreditPool, Error, ErrorKind, NodeId, Port, Result};
use timely::container::NoopBuilder;
use timely::dataflow::Scope;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::{OutputBuilder, OutputBuilderSession};
use timely::dataflow::operators::{Capability, probe};
use timely::scheduling::Activator;

use crate::channel::{Packet, batch_bytes};
use crate::control::StopMode;
use crate::event_times::EventTimes;
use crate::job::{JobShared, Packets};
use crate::letters::LettersOut;
use crate::metrics::SourceCounts;
use crate::parts::{CounterId, WorkerParts};
use crate::splits::{Handout, SplitCoordinator};
use crate::suspects::{Careful, Stretch};
use crate::time::{EpochTime, frontier_parts};

/// How long one activation may read before other operators get their turn.
const QUANTUM: Duration = Duration::from_millis(2);
/// How soon a worker without a split asks again while more may be found.
const RETRY: Duration = Duration::from_millis(50);

/// How soon a source looks again whether those are over that are read before it.
const TURN: Duration = Duration::from_millis(1);

type Output = OutputBuilder<EpochTime, NoopBuilder<Packet>>;
type Session<'a> = OutputBuilderSession<'a, EpochTime, NoopBuilder<Packet>>;

pub(crate) fn build<'scope>(
    scope: Scope<'scope, EpochTime>,
    node: NodeId,
    table: Arc<dyn Source>,
    watermark: Option<WatermarkSpec>,
    shared: &Arc<JobShared>,
    parts: &Rc<WorkerParts>,
    probe: probe::Handle<EpochTime>,
) -> (Vec<(Port, Packets<'scope>)>, Activator) {
    let worker = scope.index();
    let mut builder = OperatorBuilder::new(format!("source-{}", node.0), scope);
    let address = builder.operator_info().address;
    let (output, stream) = builder.new_output::<Packet>();
    let mut output = Output::from(output);
    let mut streams = vec![(Port::MAIN, stream)];
    let letters = shared.graph.is_read(node, Port::ERRORS).then(|| {
        let (output, stream) = builder.new_output::<Packet>();
        streams.push((Port::ERRORS, stream));
        Output::from(output)
    });
    let activator = scope.activator_for(Rc::clone(&address));
    activator.activate();
    let own = activator.clone();
    builder.build(move |mut capabilities| {
        parts.register(node, shared.operator(node));
        let letters = letters.and_then(|output| {
            let table = shared.graph.node(node).name.clone();
            Some(LettersOut::new(table, output, capabilities.pop()?))
        });
        let sync = scope.worker().sync_activator_for(address.to_vec());
        // A worker that is gone needs no waking.
        let wake: Wake = Arc::new(move || {
            let _ = sync.activate();
        });
        shared.control.register_wake(Arc::clone(&wake));
        let coordinator = Arc::clone(&shared.coordinators[&node]);
        coordinator.register_wake(worker, Arc::clone(&wake));
        let mut operator = SourceOperator {
            node,
            worker,
            event_times: watermark.as_ref().map(|spec| EventTimes::new(spec, table.as_ref())),
            table,
            watermark,
            reading: None,
            finished: Vec::new(),
            epoch: shared.beginning.claim.first_epoch,
            capability: capabilities.pop(),
            letters,
            counters: shared.metrics.source_counters(node.0, worker),
            told: SourceCounts::default(),
            counter_ids: SourceCounts::NAMES.map(|name| parts.counter(&shared.graph.node(node).operator_id, name)),
            credit: CreditPool::new(shared.config.credit_bytes, Arc::clone(&wake)),
            wake,
            coordinator,
            probe,
            activator: own,
            shared: Arc::clone(shared),
            parts: Rc::clone(parts),
        };
        move |_| {
            if let Err(error) = operator.activate(&mut output.activate()) {
                operator.shared.control.fail(error);
                (operator.capability, operator.letters) = (None, None);
            }
        }
    });
    (streams, activator)
}

struct SourceOperator {
    node: NodeId,
    worker: usize,
    table: Arc<dyn Source>,
    watermark: Option<WatermarkSpec>,
    event_times: Option<EventTimes>,
    reading: Option<Reading>,
    /// Splits that were read to their end since the last cut.
    finished: Vec<SplitState>,
    /// The epoch that is open here.
    epoch: Epoch,
    capability: Option<Capability<EpochTime>>,
    letters: Option<LettersOut>,
    /// What this worker has counted, and what of it the cuts have told.
    counters: Arc<SourceCounters>,
    told: SourceCounts,
    counter_ids: [CounterId; SourceCounts::NAMES.len()],
    credit: Arc<CreditPool>,
    wake: Wake,
    coordinator: Arc<SplitCoordinator>,
    probe: probe::Handle<EpochTime>,
    activator: Activator,
    shared: Arc<JobShared>,
    parts: Rc<WorkerParts>,
}

/// A split that is being read.
struct Reading {
    state: SplitState,
    reader: Box<dyn SplitReader>,
    /// Where the next batch begins, in a job that keeps state.
    from: Option<String>,
    /// Row by row, where a row of the split has ended earlier generations.
    careful: Option<Careful>,
}

impl Reading {
    /// What a checkpoint says of it now.
    fn at(&self, progress: SplitProgress) -> SplitState {
        SplitState { progress, ..self.state.clone() }
    }
}

/// What follows an activation.
enum Next {
    /// There is more to read.
    Again,
    /// Something will wake the operator.
    Sleep,
    /// Look again after a while.
    After(Duration),
}

impl SourceOperator {
    fn activate(&mut self, output: &mut Session<'_>) -> Result<()> {
        if self.capability.is_none() {
            return Ok(());
        }
        if self.shared.control.failed() {
            self.end();
            return Ok(());
        }
        self.advance();
        if self.shared.control.is_behind_the_last(self.epoch) {
            self.end();
            return Ok(());
        }
        if self.shared.control.stop_mode() == Some(StopMode::Drain) {
            self.reading = None;
            self.coordinator.close();
            self.advance();
        }
        // Not what is published by now: another worker may have ended the source since the capability was moved.
        if self.has_come_to_the_end() {
            if self.sinks_saw_the_end() {
                self.shared.checkpoints.input_ended();
            }
            return Ok(());
        }
        match self.read(output)? {
            Next::Again => self.activator.activate(),
            Next::Sleep => self.sleep(),
            Next::After(delay) => {
                self.activator.activate_after(delay);
                self.sleep();
            }
        }
        Ok(())
    }

    /// Nothing is read any more.
    fn end(&mut self) {
        self.parts.close_all(self.node);
        self.reading = None;
        (self.capability, self.letters) = (None, None);
    }

    /// Moves the capability to the published watermark, and to the announced epoch behind a cut.
    fn advance(&mut self) {
        let Some(capability) = &mut self.capability else { return };
        if self.coordinator.is_idle() {
            let others = self.shared.coordinators.values();
            let others = others.filter(|c| !Arc::ptr_eq(c, &self.coordinator) && !c.is_idle());
            if let Some(lowest) = others.map(|c| c.published()).filter(|w| *w != Watermark::MAX).min() {
                self.coordinator.follow(lowest);
            }
        }
        // In this order: see `SplitCoordinator::look_at_all`.
        let watermark = self.coordinator.published();
        let epoch = self.shared.control.epoch();
        if self.epoch < epoch {
            let reading = self.reading.as_ref().map(|r| r.at(SplitProgress::Reading(r.reader.position())));
            let splits = self.finished.drain(..).chain(reading).collect();
            let counts = SourceCounts::of(&self.counters);
            let new = counts.since(&std::mem::replace(&mut self.told, counts));
            for (counter, n) in self.counter_ids.iter().zip(new.numbers()) {
                self.parts.count(self.epoch, *counter, n);
            }
            if self.shared.config.state.is_some() {
                self.shared.closings.close(self.node, self.epoch, epoch, watermark);
            }
            self.parts.cut(self.node, self.epoch, epoch, watermark, splits);
            self.epoch = epoch;
        }
        let time = EpochTime::new(epoch, watermark);
        if capability.time() != &time {
            capability.downgrade(&time);
            if let Some(letters) = &mut self.letters {
                letters.capability.downgrade(&time);
            }
        }
    }

    /// Lets the capability follow the watermark that other workers raise while this one sleeps.
    fn sleep(&mut self) {
        let Some(capability) = &self.capability else { return };
        if !self.coordinator.park(self.worker, Watermark(capability.time().event_time)) {
            self.activator.activate();
        }
    }

    /// Whether the capability stands at the end of time.
    fn has_come_to_the_end(&self) -> bool {
        self.capability.as_ref().is_some_and(|capability| Watermark(capability.time().event_time) == Watermark::MAX)
    }

    fn sinks_saw_the_end(&self) -> bool {
        self.probe.with_frontier(|f| frontier_parts(f).is_none_or(|(_, watermark)| watermark == Watermark::MAX))
    }

    fn read(&mut self, output: &mut Session<'_>) -> Result<Next> {
        let until = Instant::now() + QUANTUM;
        while Instant::now() < until {
            if !self.credit.has_credit() {
                return Ok(Next::Sleep);
            }
            let Some(Reading { state, reader, .. }) = &mut self.reading else {
                if self.has_to_wait() {
                    return Ok(Next::After(TURN));
                }
                let (control, epoch) = (&self.shared.control, self.epoch);
                match self.coordinator.next_split(|| control.epoch() == epoch)? {
                    Handout::CutFirst => self.advance(),
                    Handout::Split(state) => self.open(state)?,
                    Handout::Wait => {
                        if self.watermark.as_ref().is_some_and(|w| w.idle_timeout_ms.is_some()) {
                            self.coordinator.tick();
                        }
                        return Ok(Next::After(RETRY));
                    }
                    // Other workers still read; the watermark of the end will wake this one.
                    Handout::Finished => return Ok(Next::Sleep),
                }
                continue;
            };
            let polled = reader.poll()?;
            if let Some(letters) = &mut self.letters {
                letters.send(&state.split.id, self.shared.clock.now_ms(), &self.credit)?;
            }
            match polled {
                SourcePoll::Batch(records) if records.num_rows() == 0 => {}
                SourcePoll::Batch(records) => {
                    self.emit(records, output)?;
                    self.advance();
                }
                SourcePoll::Pending => return Ok(self.pending()),
                SourcePoll::Finished => {
                    self.coordinator.finish(&state.split);
                    self.finished.extend(self.reading.take().map(|r| r.at(SplitProgress::Finished)));
                    self.advance();
                    if self.coordinator.published() == Watermark::MAX {
                        return Ok(Next::Again);
                    }
                }
            }
        }
        Ok(Next::Again)
    }

    /// Whether another source is to be read first, see [`order`](crate::order).
    fn has_to_wait(&self) -> bool {
        let before = self.shared.waits.get(&self.node);
        before.into_iter().flatten().any(|source| self.shared.coordinators[source].published() != Watermark::MAX)
    }

    /// Sends rows on their way, but for those that are to be put aside.
    fn emit(&mut self, records: RecordBatch, output: &mut Session<'_>) -> Result<()> {
        let rows_read = records.num_rows();
        let (records, max_ms) = self.without_impossible_times(records)?;
        let rows = records.num_rows();
        let Some(Reading { state, reader, from, careful }) = &mut self.reading else { return Ok(()) };
        let stretch = from.take().map(|position| {
            let (source, split) = (self.shared.operator(self.node), state.split.id.clone());
            Stretch { first: Place { source, split, position }, end: reader.position(), rows: rows_read }
        });
        *from = stretch.as_ref().map(|s| s.end.clone());
        let is_over = careful.as_mut().zip(stretch.as_ref());
        let is_over = is_over.is_some_and(|(careful, s)| careful.is_over(&s.first.position, &s.end));
        let shared = Arc::clone(&self.shared);
        if rows == 0 {
            // All of them are dead letters.
        } else if let Some(stretch) = stretch.as_ref().filter(|s| s.rows == 1)
            && let Some(cause) = shared.suspects.of(&stretch.first)
        {
            self.put_aside(&stretch.first, cause, &records)?;
        } else {
            let bytes = batch_bytes(&records);
            let ticket = match stretch {
                Some(stretch) => {
                    let control = shared.control.clone();
                    self.credit.take_noted(bytes, Arc::new(move || control.suspect(&stretch)))
                }
                None => self.credit.take(bytes),
            };
            let mut packet = Packet::new(Batch::new(records, ticket));
            let capability = self.capability.as_ref().expect("checked at the activation's start");
            output.session_with_builder(capability).give_container(&mut packet);
            shared.metrics.nodes[self.node.0].add_out(rows);
            state.max_event_time_ms = state.max_event_time_ms.max(max_ms);
            self.coordinator.observe(&state.split, max_ms);
        }
        if is_over { self.read_on() } else { Ok(()) }
    }

    /// Puts a record aside that has ended generations, as its table would have a bad one.
    fn put_aside(&mut self, place: &Place, cause: &str, record: &RecordBatch) -> Result<()> {
        let mut raw = Vec::new();
        rheos_formats::json::write::write_rows(record, &mut raw)?;
        raw.truncate(raw.trim_ascii_end().len());
        let reason = format!("it has ended the job three times: {cause}");
        let letter = DeadLetter { position: place.number(), reason, raw };
        self.take_out(&place.split, vec![letter], || aside(place, cause))
    }

    /// The rows whose event times can be, and the largest of these times in ms. The others are bad records.
    fn without_impossible_times(&mut self, records: RecordBatch) -> Result<(RecordBatch, Option<i64>)> {
        let Some(times) = &self.event_times else { return Ok((records, None)) };
        let sorted = times.sort(records, self.shared.clock.now_ms())?;
        if let (Some(error), Some(reading)) = (sorted.error, &self.reading) {
            let split = reading.state.split.id.clone();
            self.take_out(&split, sorted.bad, || error.context(format!("'{split}'")))?;
        }
        Ok((sorted.rows, sorted.max_ms))
    }

    /// Does with rows what their table does with bad records. `or`: what they are where they end the job.
    fn take_out(&mut self, split: &str, bad: Vec<DeadLetter>, or: impl FnOnce() -> Error) -> Result<()> {
        let rows = bad.len() as u64;
        match (self.table.on_error(), &mut self.letters) {
            (OnError::Skip, _) => {
                let at = |letter: &DeadLetter| letter.position.map(|at| format!(", position {at}")).unwrap_or_default();
                let note = bad.first().map(|l| format!("'{split}'{}: {}", at(l), l.reason)).unwrap_or_default();
                self.counters.add_skipped(rows);
                self.counters.note_skipped(move || note.clone());
            }
            (OnError::Unset | OnError::DeadLetter, Some(letters)) => {
                letters.letter_box.put(bad);
                self.counters.dead_lettered.fetch_add(rows, Ordering::Relaxed);
                letters.send(split, self.shared.clock.now_ms(), &self.credit)?;
            }
            (OnError::Fail, _) | (_, None) => return Err(or()),
        }
        // Their reader has counted them among its rows.
        self.counters.records.fetch_sub(rows, Ordering::Relaxed);
        Ok(())
    }

    fn open(&mut self, state: SplitState) -> Result<()> {
        let careful = self.shared.suspects.careful(&self.shared.operator(self.node), &state.split.id);
        self.open_at(state, careful)
    }

    /// Opens the split anew where it stands: what had to be read row by row lies behind.
    fn read_on(&mut self) -> Result<()> {
        let Some(reading) = self.reading.take() else { return Ok(()) };
        let state = reading.at(SplitProgress::Reading(reading.reader.position()));
        drop(reading);
        self.open_at(state, None)
    }

    fn open_at(&mut self, state: SplitState, careful: Option<Careful>) -> Result<()> {
        let context = ReaderContext {
            wake: Arc::clone(&self.wake),
            batch_rows: if careful.is_some() { 1 } else { self.shared.config.batch_rows },
            counters: Arc::clone(&self.counters),
            letters: self.letters.as_ref().map(|l| Arc::clone(&l.letter_box)),
            warn: self.shared.config.warn.clone(),
        };
        let position = match &state.progress {
            SplitProgress::Reading(position) => Some(position.as_str()),
            SplitProgress::Pending | SplitProgress::Finished => None,
        };
        let reader = self.table.open(&state.split, position, context)?;
        let from = self.shared.config.state.is_some().then(|| reader.position());
        self.reading = Some(Reading { state, reader, from, careful });
        Ok(())
    }

    /// The reader will wake the operator; an idle timeout must be noticed without it.
    fn pending(&self) -> Next {
        match self.watermark.as_ref().and_then(|w| w.idle_timeout_ms) {
            Some(timeout_ms) => {
                self.coordinator.tick();
                Next::After(Duration::from_millis(timeout_ms.unsigned_abs().max(1)))
            }
            None => Next::Sleep,
        }
    }
}

/// A record that is put aside, and that nothing takes.
fn aside(place: &Place, cause: &str) -> Error {
    let message = format!(
        "the record at {} of '{}' has ended the job three times, and is not tried again: {cause}",
        place.position, place.split
    );
    Error::new(ErrorKind::User, 676, message)
        .with_hint("take the record out of the input, or keep dead letters: let a query read <table>$errors, or keep state in a folder")
}
