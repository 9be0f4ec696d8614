//! How a generation ends: in order, in time, or because nothing answers any more.

use rheos_core::sink::EpochEnd;
use rheos_core::{Epoch, Error, ErrorKind, WorkerId};

use super::{Attempt, Coordinator, Decision, GenerationEnd, OpenEpoch, Phase, Stall};
use crate::journal::{Committed, Entry, EntryNumber};
use crate::manifest::{JobPhase, Manifest};

/// What is known of the end.
#[derive(Debug)]
pub(super) struct Last {
    /// The last epoch, when it has been cut.
    epoch: Option<Epoch>,
    /// Whether its manifest has been written.
    is_written: bool,
    /// Whether the job's input had ended by then.
    finished: bool,
    /// When a stop was asked for.
    stop_at_ms: Option<u64>,
    checkpoint: Option<EntryNumber>,
    failure: Option<Error>,
    /// Whether the last manifest lists what is to be committed.
    releases: bool,
}

impl Last {
    pub(super) fn new(restored: Option<EntryNumber>) -> Self {
        Self {
            epoch: None,
            is_written: false,
            finished: false,
            stop_at_ms: None,
            checkpoint: restored,
            failure: None,
            releases: false,
        }
    }

    pub(super) fn is_epoch(&self, epoch: Epoch) -> bool {
        self.epoch == Some(epoch)
    }

    pub(super) fn written(&mut self, manifest: &Manifest) {
        self.checkpoint = Some(manifest.entry);
        self.failure = None;
        if self.is_epoch(manifest.epoch) {
            self.is_written = true;
            self.releases = manifest.sinks.iter().any(|s| !s.releases.is_empty());
        }
    }

    pub(super) fn failed(&mut self, error: &Error) {
        self.failure = Some(error.clone());
    }

    /// Whether the last checkpoint need not be tried again: no later one will do better.
    pub(super) fn is_hopeless(error: &Error) -> bool {
        !matches!(error.kind(), ErrorKind::External | ErrorKind::NotAllowed)
    }

    pub(super) fn done(&self) -> GenerationEnd {
        if self.finished { GenerationEnd::Finished } else { GenerationEnd::Stopped }
    }
}

impl Coordinator {
    pub(super) fn on_input_ended(&mut self, now_ms: u64, decisions: &mut Vec<Decision>) {
        if matches!(self.phase, Phase::Running | Phase::Draining) {
            self.last.finished = true;
            self.cut_last(JobPhase::Finished, now_ms, decisions);
        }
    }

    /// Also in a job that is being drained, or waits for room on the disk to finish: nobody waits longer than the limit.
    pub(super) fn on_stop(&mut self, now_ms: u64, decisions: &mut Vec<Decision>) {
        self.last.stop_at_ms.get_or_insert(now_ms);
        match self.phase {
            Phase::Running => self.cut_last(JobPhase::Stopped, now_ms, decisions),
            Phase::Draining => self.cut_last(JobPhase::Draining, now_ms, decisions),
            Phase::Ending | Phase::Over => {}
        }
    }

    fn cut_last(&mut self, phase: JobPhase, now_ms: u64, decisions: &mut Vec<Decision>) {
        let epoch = self.cut(EpochEnd::Last, now_ms, decisions);
        if let Some(open) = self.open.get_mut(&epoch) {
            open.phase = phase;
        }
        self.last.epoch = Some(epoch);
        self.phase = Phase::Ending;
    }

    /// Everything is committed: that is noted, and the generation is over.
    pub(super) fn close(&mut self, now_ms: u64, decisions: &mut Vec<Decision>) {
        if !self.last.is_written || self.writing.is_some() || !self.sinks.all_committed() {
            return;
        }
        match self.last.checkpoint {
            Some(manifest) if self.last.releases => {
                let generation = self.start.claim.generation;
                let committed = Committed { entry: self.next_entry, generation, manifest };
                self.write_entry(Entry::Committed(committed), now_ms, decisions);
            }
            _ => self.end(self.last.done(), decisions),
        }
    }

    pub(super) fn end_if_stuck(&mut self, now_ms: u64, decisions: &mut Vec<Decision>) {
        if self.phase == Phase::Over {
            return;
        }
        // Everything is committed, and what is under way is only the note of it.
        let noting = matches!(self.writing.as_ref().map(|w| &w.entry), Some(Entry::Committed(_)));
        let late = |at_ms: &u64| now_ms.saturating_sub(*at_ms) > self.config.stop_ms_max;
        if self.last.stop_at_ms.as_ref().is_some_and(late) {
            let (last, cause) = (self.last.checkpoint, self.last.failure.clone());
            let end = if noting { self.last.done() } else { GenerationEnd::StopIncomplete { last, cause } };
            return self.end(end, decisions);
        }
        if let Some(stall) = self.stall(now_ms) {
            let end = if noting { self.last.done() } else { GenerationEnd::Stalled(stall) };
            self.end(end, decisions);
        }
    }

    fn stall(&self, now_ms: u64) -> Option<Stall> {
        let late = |since_ms: u64| now_ms.saturating_sub(since_ms) > self.config.answer_ms_max;
        let unreported = |o: &&OpenEpoch| late(o.cut_at_ms) && !self.reported(o);
        if let Some((epoch, open)) = self.open.first_key_value().filter(|(_, o)| unreported(o)) {
            let workers = (0..self.start.parallelism.get()).map(WorkerId);
            let workers = workers.filter(|w| !open.outcomes.contains_key(w)).collect();
            return Some(Stall::Reports { epoch: *epoch, workers });
        }
        match self.writing.as_ref().map(|w| w.attempt) {
            Some(Attempt::UnderWay { since_ms }) if late(since_ms) => Some(Stall::Write(self.next_entry)),
            _ => self.sinks.stalled(now_ms, self.config.answer_ms_max),
        }
    }

    pub(super) fn end(&mut self, end: GenerationEnd, decisions: &mut Vec<Decision>) {
        if matches!(end, GenerationEnd::Finished | GenerationEnd::Stopped) {
            self.held.clear();
        }
        self.phase = Phase::Over;
        decisions.extend(self.savepoints.give_up());
        decisions.push(Decision::EndGeneration(end));
    }
}
