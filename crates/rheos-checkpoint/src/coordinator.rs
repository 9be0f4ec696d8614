//! The coordinator of one generation: when to cut an epoch, when a checkpoint is complete, what happens then.
//!
//! ```text
//!   Cut e ──► Announced e, a Report of each worker ──► Write manifest ──► Written ──► Acknowledge, Commit ──► Committed
//!                        │ one Failed                       │ Failed                     │ ▲ CommitFailed
//!                        ╰──────► CheckpointFailed ◄────────╯                            ╰─╯ again, later
//!                                 the job goes on; the newest epoch is stored again after a wait, longer each time (StoreAgain)
//!   at the end:  Cut (last) ──► ... ──► all committed ──► Write `committed` ──► EndGeneration
//! ```
//! Invariants, which the model test checks:
//! * Nothing is committed, nothing acknowledged, before the manifest that releases it has been written.
//! * Manifests are written one at a time, in the order of epochs, at the number behind the last.
//! * What a worker staged for an epoch whose checkpoint failed is part of the next manifest: its input lies before that
//!   manifest's positions.
//! * Releases of a sink are committed one at a time, in order, and never change.
//! * Epochs in flight are bounded, and so is what is remembered of them: while checkpoints fail no epoch is cut, so that
//!   workers hold back the changes of few epochs, however long the store has no room.
//! * Nothing is waited for without end: reports, writes, commits and a stop have a limit.
//!
//! Contract of a worker: it reports every epoch that was cut once, in any order, and a stored report covers everything
//! since its last stored one (splits, committables, state), so that a failed epoch leaves no hole. It tells its watermark of
//! every source as it is at its cut: an operator may have fired what lies below it.

mod assemble;
mod config;
mod ending;
mod messages;
mod pace;
mod savepoints;
mod sinks;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rheos_core::sink::EpochEnd;
use rheos_core::{Epoch, Error, Result, WorkerId};

use crate::journal::{Entry, EntryNumber};
use crate::manifest::{JobPhase, Manifest};
pub use config::{Config, SinkConfig, Start};
use ending::Last;
pub use messages::{
    Decision, Event, GenerationEnd, Outcome, Report, SinkCommit, SinkOutput, Snapshot, SourceCut, SourceLook, Stall,
    WriteOutcome,
};
use pace::Pace;
use savepoints::Savepoints;
pub use savepoints::{SAVEPOINT_NAME_BYTES_MAX, check_savepoint_name};
use sinks::{ReleaseWhen, Sinks};
use sources::FinishedSplits;

/// What [`Event::Announced`] told.
#[derive(Debug)]
struct Announcement {
    wall_time_ms: i64,
    processing_time_ms: i64,
    sources: Vec<SourceLook>,
}

/// An epoch that has been cut.
#[derive(Debug)]
struct OpenEpoch {
    phase: JobPhase,
    end: EpochEnd,
    cut_at_ms: u64,
    savepoint: Option<String>,
    announced: Option<Announcement>,
    outcomes: BTreeMap<WorkerId, Outcome>,
    /// When workers that failed are asked again; only for the newest epoch.
    again_at_ms: Option<u64>,
}

/// An entry on its way to the journal.
#[derive(Debug)]
struct Writing {
    entry: Entry,
    attempt: Attempt,
    /// Whether an earlier try may yet succeed: then no other entry may take the number.
    unsure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    UnderWay { since_ms: u64 },
    Again { at_ms: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Draining,
    /// The last epoch has been cut.
    Ending,
    Over,
}

/// The protocol's state in one generation. See the module.
#[derive(Debug)]
pub struct Coordinator {
    config: Config,
    start: Start,
    phase: Phase,
    pace: Pace,
    next_epoch: Epoch,
    next_entry: EntryNumber,
    open: BTreeMap<Epoch, OpenEpoch>,
    writing: Option<Writing>,
    sinks: Sinks,
    savepoints: Savepoints,
    finished: FinishedSplits,
    last: Last,
    /// Per worker: what its newest stored report names and holds back.
    held: BTreeMap<WorkerId, (Epoch, BTreeSet<String>)>,
}

impl Coordinator {
    /// A coordinator at the beginning of its generation.
    ///
    /// Errors: `Invalid` (R0615) for a configuration that does not fit together, `Internal` for a start that does not.
    pub fn try_new(config: Config, start: Start, now_ms: u64) -> Result<Self> {
        config.check()?;
        start.check()?;
        let of = (start.claim.job, start.claim.generation);
        Ok(Self {
            phase: if start.is_draining() { Phase::Draining } else { Phase::Running },
            pace: Pace::new(&config, now_ms),
            next_epoch: start.claim.first_epoch,
            next_entry: start.claim.entry().next(),
            open: BTreeMap::new(),
            writing: None,
            sinks: Sinks::new(&config, of, start.restored.as_deref(), now_ms),
            savepoints: Savepoints::new(start.savepoints.clone()),
            finished: FinishedSplits::default(),
            last: Last::new(start.restored.as_ref().map(|m| m.entry)),
            held: BTreeMap::new(),
            config,
            start,
        })
    }

    /// Takes an event and says what is to be done, in this order.
    pub fn on(&mut self, event: Event, now_ms: u64) -> Vec<Decision> {
        let mut decisions = Vec::new();
        if self.phase == Phase::Over {
            return decisions;
        }
        match event {
            Event::Tick => {}
            Event::Announced { epoch, wall_time_ms, processing_time_ms, sources } => {
                if let Some(open) = self.open.get_mut(&epoch).filter(|o| o.announced.is_none()) {
                    self.finished.looked(epoch, &sources);
                    open.announced = Some(Announcement { wall_time_ms, processing_time_ms, sources });
                }
            }
            Event::Report(report) => self.on_report(report, &mut decisions),
            Event::Written { number, outcome } => self.on_written(number, outcome, now_ms, &mut decisions),
            Event::Committed { operator, release } => self.sinks.committed(&operator, release),
            Event::CommitFailed { operator, release, error } => {
                match self.sinks.commit_failed(&operator, release, &error, now_ms) {
                    Err(error) => self.end(GenerationEnd::Failed(error), &mut decisions),
                    Ok(None) => {}
                    Ok(Some(wait_ms)) => {
                        self.last.failed(&error);
                        decisions.push(Decision::CommitFailed { operator, error, wait_ms });
                    }
                }
            }
            Event::InputEnded => self.on_input_ended(now_ms, &mut decisions),
            Event::Stop => self.on_stop(now_ms, &mut decisions),
            Event::Drain => {
                if self.phase == Phase::Running {
                    self.phase = Phase::Draining;
                    decisions.push(Decision::Drain);
                }
            }
            Event::Savepoint(name) => decisions.extend(self.savepoints.ask(name)),
            Event::Checkpoint => self.pace.ask(),
            Event::SavepointAndStop(name) => match self.savepoints.ask_first(name) {
                Some(refused) => decisions.push(refused),
                None => self.on_stop(now_ms, &mut decisions),
            },
        }
        self.settle(now_ms, &mut decisions);
        decisions
    }

    /// Whether a savepoint of this name exists, is being made or waits to be made.
    pub fn knows_savepoint(&self, name: &str) -> bool {
        self.savepoints.is_known(name)
    }

    /// Objects that no manifest names yet and that must not be collected: of epochs in flight, and those that workers
    /// hold back for later. None when the generation has ended in order.
    pub fn protected(&self) -> BTreeSet<String> {
        let stored = self.open.values().flat_map(|o| o.outcomes.values()).flat_map(|outcome| match outcome {
            Outcome::Stored(snapshot) => snapshot.objects.as_slice(),
            Outcome::Failed(_) => &[],
        });
        let writing = self.writing.iter().flat_map(|w| match &w.entry {
            Entry::Manifest(manifest) => manifest.objects.as_slice(),
            _ => &[],
        });
        let held = self.held.values().flat_map(|(_, names)| names.iter().cloned());
        stored.chain(writing).map(|o| o.name.clone()).chain(held).collect()
    }

    /// A report of another generation, of an epoch that is not open, or given twice changes nothing.
    fn on_report(&mut self, report: Report, decisions: &mut Vec<Decision>) {
        let Report { generation, worker, epoch, outcome } = report;
        if generation != self.start.claim.generation || worker.0 >= self.start.parallelism.get() {
            return;
        }
        let Some(open) = self.open.get_mut(&epoch).filter(|o| !o.outcomes.contains_key(&worker)) else { return };
        if let Outcome::Stored(snapshot) = &outcome {
            if let Err(error) = snapshot.staged.iter().try_for_each(|output| self.sinks.staged(worker, output)) {
                return self.end(GenerationEnd::Defect(error.message().to_string()), decisions);
            }
            self.finished.reported(epoch, &snapshot.sources);
            let held = self.held.entry(worker).or_default();
            if epoch >= held.0 {
                // Also what it named: if this checkpoint fails for another worker's sake, the next report names it again.
                let named = snapshot.objects.iter().map(|o| &o.name);
                *held = (epoch, snapshot.holds.iter().chain(named).cloned().collect());
            }
        }
        open.outcomes.insert(worker, outcome);
    }

    fn on_written(&mut self, number: EntryNumber, outcome: WriteOutcome, now_ms: u64, decisions: &mut Vec<Decision>) {
        let asked = |w: &mut Writing| matches!(w.attempt, Attempt::UnderWay { .. });
        if number != self.next_entry {
            return;
        }
        let Some(writing) = self.writing.take_if(asked) else { return };
        if let WriteOutcome::Taken(error) = outcome {
            return self.end(GenerationEnd::Replaced(error), decisions);
        }
        match (&writing.entry, outcome) {
            (Entry::Manifest(manifest), WriteOutcome::Written) => {
                let manifest = Arc::clone(manifest);
                self.on_manifest_written(manifest, now_ms, decisions);
            }
            (Entry::Manifest(manifest), WriteOutcome::Failed(error)) if !writing.unsure => {
                let manifest = Arc::clone(manifest);
                self.on_manifest_failed(&manifest, error, now_ms, decisions);
            }
            (Entry::Manifest(manifest), WriteOutcome::Failed(error) | WriteOutcome::Unknown(error)) => {
                self.last.failed(&error);
                let (epoch, wait_ms) = (manifest.epoch, self.pace.failed(now_ms));
                decisions.push(Decision::CheckpointFailed { epoch, error, wait_ms });
                let at_ms = now_ms.saturating_add(wait_ms);
                self.writing = Some(Writing { attempt: Attempt::Again { at_ms }, unsure: true, ..writing });
            }
            // It only saves the next start from looking whether everything is committed.
            _ => self.end(self.last.done(), decisions),
        }
    }

    fn on_manifest_written(&mut self, manifest: Arc<Manifest>, now_ms: u64, decisions: &mut Vec<Decision>) {
        self.next_entry = manifest.entry.next();
        self.pace.succeeded();
        self.sinks.released(&manifest, now_ms);
        decisions.extend(self.savepoints.written(&manifest));
        self.last.written(&manifest);
        decisions.push(Decision::Acknowledge(manifest));
    }

    fn on_manifest_failed(
        &mut self,
        manifest: &Arc<Manifest>,
        error: Error,
        now_ms: u64,
        decisions: &mut Vec<Decision>,
    ) {
        let epoch = manifest.epoch;
        let wait_ms = self.pace.failed(now_ms);
        if self.last.is_epoch(epoch) {
            if Last::is_hopeless(&error) {
                return self.end(GenerationEnd::Failed(error), decisions);
            }
            let attempt = Attempt::Again { at_ms: now_ms.saturating_add(wait_ms) };
            self.writing = Some(Writing { entry: Entry::Manifest(Arc::clone(manifest)), attempt, unsure: false });
        } else {
            self.savepoints.put_back(manifest.savepoint.clone());
        }
        self.last.failed(&error);
        decisions.push(Decision::CheckpointFailed { epoch, error, wait_ms });
    }

    /// Everything that follows from the state and the time.
    fn settle(&mut self, now_ms: u64, decisions: &mut Vec<Decision>) {
        if self.phase != Phase::Over {
            self.drop_failed(now_ms, decisions);
        }
        if self.phase != Phase::Over {
            self.write(now_ms, decisions);
        }
        if self.phase == Phase::Over {
            return;
        }
        decisions.extend(self.sinks.commits(now_ms));
        self.close(now_ms, decisions);
        self.end_if_stuck(now_ms, decisions);
        let in_flight = self.open.len() + usize::from(self.writing.is_some()) + self.sinks.releases_waiting();
        let wanted = self.pace.due(now_ms) || (self.savepoints.are_waiting() && self.pace.may(now_ms));
        let held_up = self.pace.is_failing() && !self.open.is_empty();
        let may = matches!(self.phase, Phase::Running | Phase::Draining)
            && in_flight < self.config.in_flight_max.get()
            && !held_up;
        if wanted && may {
            self.cut(EpochEnd::Running, now_ms, decisions);
        }
    }

    fn cut(&mut self, end: EpochEnd, now_ms: u64, decisions: &mut Vec<Decision>) -> Epoch {
        let epoch = self.next_epoch;
        self.next_epoch = epoch.next();
        self.pace.cut(now_ms);
        let phase = match self.phase {
            Phase::Draining => JobPhase::Draining,
            _ => JobPhase::Running,
        };
        let open = OpenEpoch {
            phase,
            end,
            cut_at_ms: now_ms,
            savepoint: self.savepoints.next(),
            announced: None,
            outcomes: BTreeMap::new(),
            again_at_ms: None,
        };
        self.open.insert(epoch, open);
        decisions.push(Decision::Cut { epoch, end });
        epoch
    }

    fn reported(&self, open: &OpenEpoch) -> bool {
        open.announced.is_some() && open.outcomes.len() == self.start.parallelism.get() as usize
    }

    /// Epochs that all have reported and at least one could not store.
    fn drop_failed(&mut self, now_ms: u64, decisions: &mut Vec<Decision>) {
        let failure = |o: &OpenEpoch| {
            o.outcomes.iter().find_map(|(worker, outcome)| match outcome {
                Outcome::Failed(error) => Some(error.clone().context(format_args!("worker {worker}"))),
                Outcome::Stored(_) => None,
            })
        };
        let epochs: Vec<Epoch> = self.open.iter().filter(|(_, o)| self.reported(o)).map(|(e, _)| *e).collect();
        let newest = self.open.last_key_value().map(|(epoch, _)| *epoch);
        for epoch in epochs {
            let Some(open) = self.open.get_mut(&epoch) else { continue };
            let Some(error) = failure(open) else { continue };
            match (open.end, open.again_at_ms) {
                // Workers tell what they held back with a later epoch's part.
                (EpochEnd::Running, again) if Some(epoch) != newest => {
                    let name = open.savepoint.take();
                    self.open.remove(&epoch);
                    self.savepoints.put_back(name);
                    if again.is_some() {
                        continue;
                    }
                }
                (EpochEnd::Last, None) if Last::is_hopeless(&error) => {
                    return self.end(GenerationEnd::Failed(error), decisions);
                }
                (_, None) => {}
                (_, Some(at_ms)) if now_ms >= at_ms => {
                    decisions.push(store_again(epoch, open, now_ms));
                    continue;
                }
                (_, Some(_)) => continue,
            }
            let wait_ms = self.pace.failed(now_ms);
            if let Some(open) = self.open.get_mut(&epoch) {
                open.again_at_ms = Some(now_ms.saturating_add(wait_ms));
            }
            self.last.failed(&error);
            decisions.push(Decision::CheckpointFailed { epoch, error, wait_ms });
        }
    }

    /// Writes the newest manifest that can be written, or tries once more.
    fn write(&mut self, now_ms: u64, decisions: &mut Vec<Decision>) {
        if let Some(writing) = &mut self.writing {
            if matches!(writing.attempt, Attempt::Again { at_ms } if now_ms >= at_ms) {
                writing.attempt = Attempt::UnderWay { since_ms: now_ms };
                decisions.push(Decision::Write { number: self.next_entry, entry: writing.entry.clone() });
            }
            return;
        }
        // A manifest covers all epochs before it, so each of them must have told what it staged.
        let mut newest = None;
        for (epoch, open) in &self.open {
            if !self.reported(open) || open.again_at_ms.is_some() {
                break;
            }
            newest = Some(*epoch);
            if open.savepoint.is_some() {
                break;
            }
        }
        let Some(epoch) = newest else { return };
        let later = self.open.split_off(&epoch.next());
        let mut covered = std::mem::replace(&mut self.open, later);
        let Some(open) = covered.remove(&epoch) else { return };
        match self.assemble(epoch, open, now_ms) {
            Ok(manifest) => self.write_entry(Entry::Manifest(Arc::new(manifest)), now_ms, decisions),
            Err(error) => self.end(GenerationEnd::Defect(error.message().to_string()), decisions),
        }
    }

    fn write_entry(&mut self, entry: Entry, now_ms: u64, decisions: &mut Vec<Decision>) {
        decisions.push(Decision::Write { number: self.next_entry, entry: entry.clone() });
        self.writing = Some(Writing { entry, attempt: Attempt::UnderWay { since_ms: now_ms }, unsure: false });
    }

    fn assemble(&mut self, epoch: Epoch, open: OpenEpoch, now_ms: u64) -> Result<Manifest> {
        let Some(Announcement { wall_time_ms, processing_time_ms, sources }) = open.announced else {
            return Err(Error::internal(format!("epoch {epoch} was not announced")));
        };
        let snapshots = open.outcomes.into_iter().filter_map(|(worker, outcome)| match outcome {
            Outcome::Stored(snapshot) => Some((worker, *snapshot)),
            Outcome::Failed(_) => None,
        });
        let snapshots: Vec<_> = snapshots.collect();
        // The last checkpoint can still have a name that was asked for, or put back, after its cut.
        let savepoint = match open.end {
            EpochEnd::Running => open.savepoint,
            EpochEnd::Last => open.savepoint.or_else(|| self.savepoints.next()),
        };
        let release = ReleaseWhen::of(open.end, savepoint.as_ref());
        let parts = assemble::Parts {
            entry: self.next_entry,
            epoch,
            phase: open.phase,
            savepoint,
            wall_time_ms,
            processing_time_ms,
            sources: self.finished.states(epoch, sources, &snapshots)?,
            sinks: self.sinks.states(epoch, release, now_ms),
            snapshots,
        };
        assemble::manifest(&self.start, parts)
    }
}

/// Asks those that failed once more.
fn store_again(epoch: Epoch, open: &mut OpenEpoch, now_ms: u64) -> Decision {
    let failed = |(worker, outcome): (&WorkerId, &Outcome)| matches!(outcome, Outcome::Failed(_)).then_some(*worker);
    let workers = open.outcomes.iter().filter_map(failed).collect();
    open.outcomes.retain(|_, outcome| matches!(outcome, Outcome::Stored(_)));
    open.again_at_ms = None;
    open.cut_at_ms = now_ms;
    Decision::StoreAgain { epoch, workers }
}
