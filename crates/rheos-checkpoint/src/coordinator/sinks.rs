//! What has been staged, released and committed, per sink.
//!
//! ```text
//!   staged ──► held ── a manifest releases it ──► released, as one release ── committed ──► forgotten
//! ```
//! A release never changes once a manifest lists it, and releases of a sink are committed in their order, one at a time.

use std::collections::{BTreeMap, VecDeque};

use rheos_core::sink::{EpochEnd, Fence, Owner, ReleaseNumber};
use rheos_core::{Epoch, Error, ErrorKind, Generation, JobId, OperatorId, WorkerId};

use super::pace::Backoff;
use super::{Config, Decision, SinkCommit, SinkConfig, SinkOutput, Stall};
use crate::manifest::{LastRelease, Manifest, Release, SinkState, StagedCommittable};

/// How far the oldest release is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Commit {
    /// Nobody has been asked.
    Due,
    /// Asked at this time.
    UnderWay { since_ms: u64 },
    /// It has failed; asked again at this time.
    Again { at_ms: u64 },
}

#[derive(Debug)]
struct Progress {
    config: SinkConfig,
    held: BTreeMap<(Epoch, WorkerId), Vec<StagedCommittable>>,
    /// Oldest first.
    releases: VecDeque<Release>,
    last_release: Option<LastRelease>,
    released_at_ms: u64,
    commit: Commit,
    backoff: Backoff,
}

#[derive(Debug)]
pub(super) struct Sinks {
    job: JobId,
    generation: Generation,
    sinks: BTreeMap<OperatorId, Progress>,
    /// Of the next release.
    sequence: u64,
}

impl Sinks {
    pub(super) fn new(
        config: &Config,
        (job, generation): (JobId, Generation),
        restored: Option<&Manifest>,
        now_ms: u64,
    ) -> Self {
        let progress = |c: &SinkConfig| (c.operator.clone(), Progress::new(c, config, restored, now_ms));
        // What was restored may have been committed again under the first numbers of this generation.
        let behind = |s: &SinkState| {
            let told = s.last_release.map(|r| r.number).filter(|n| n.generation == generation);
            (s.releases.len() as u64).max(told.map_or(0, |n| n.sequence + 1))
        };
        let renumbered = restored.iter().flat_map(|m| &m.sinks).map(behind).max();
        let sinks = config.sinks.iter().map(progress).collect();
        Self { job, generation, sinks, sequence: renumbered.unwrap_or(0) }
    }

    /// Errors: `Internal` for output of a sink that the job does not have.
    pub(super) fn staged(&mut self, worker: WorkerId, output: &SinkOutput) -> Result<(), Error> {
        let Some(sink) = self.sinks.get_mut(&output.operator) else {
            let message = format!("worker {worker} stages output of '{}', which is no sink", output.operator);
            return Err(Error::internal(message));
        };
        let staged = |committable: &_| StagedCommittable {
            generation: self.generation,
            epoch: output.epoch,
            worker,
            committable: Clone::clone(committable),
        };
        let held = sink.held.entry((output.epoch, worker)).or_default();
        held.extend(output.committables.iter().map(staged));
        Ok(())
    }

    /// What the manifest of `epoch` says of the sinks, if it is written now.
    pub(super) fn states(&self, epoch: Epoch, release: ReleaseWhen, now_ms: u64) -> Vec<SinkState> {
        let number = ReleaseNumber { generation: self.generation, sequence: self.sequence };
        self.sinks.values().map(|s| s.state(epoch, release, number, now_ms)).collect()
    }

    /// The manifest has been written: what it releases may become visible.
    pub(super) fn released(&mut self, manifest: &Manifest, now_ms: u64) {
        self.sequence += 1;
        for sink in self.sinks.values_mut() {
            let Some(state) = manifest.sink(&sink.config.operator) else { continue };
            if state.last_release != sink.last_release {
                sink.last_release = state.last_release;
                sink.released_at_ms = now_ms;
                sink.releases.extend(state.releases.last().cloned());
                sink.held.retain(|(epoch, _), _| *epoch > manifest.epoch);
            }
        }
    }

    /// Commits that can be made: of each sink the oldest release.
    pub(super) fn commits(&mut self, now_ms: u64) -> Vec<Decision> {
        let (job, generation) = (self.job, self.generation);
        let commit = |(operator, sink): (&OperatorId, &mut Progress)| {
            let release = sink.releases.front()?;
            match sink.commit {
                Commit::Due => {}
                Commit::Again { at_ms } if at_ms <= now_ms => {}
                Commit::Again { .. } | Commit::UnderWay { .. } => return None,
            }
            sink.commit = Commit::UnderWay { since_ms: now_ms };
            let owner = Owner { job, operator: operator.clone(), generation };
            let committables = release.committables.iter().map(|c| c.committable.clone()).collect();
            Some(Decision::Commit(SinkCommit { fence: Fence { owner, release: release.number }, committables }))
        };
        self.sinks.iter_mut().filter_map(commit).collect()
    }

    pub(super) fn committed(&mut self, operator: &OperatorId, release: ReleaseNumber) {
        if let Some(sink) = self.under_way(operator, release) {
            sink.releases.pop_front();
            sink.commit = Commit::Due;
            sink.backoff.succeeded();
        }
    }

    /// The wait until it is tried again, in ms; `None` for an answer that nobody waits for.
    ///
    /// Errors: `error`, if trying again is of no use.
    pub(super) fn commit_failed(
        &mut self,
        operator: &OperatorId,
        release: ReleaseNumber,
        error: &Error,
        now_ms: u64,
    ) -> Result<Option<u64>, Error> {
        let Some(sink) = self.under_way(operator, release) else { return Ok(None) };
        if error.kind() != ErrorKind::External {
            return Err(error.clone());
        }
        let wait_ms = sink.backoff.failed();
        sink.commit = Commit::Again { at_ms: now_ms.saturating_add(wait_ms) };
        Ok(Some(wait_ms))
    }

    fn under_way(&mut self, operator: &OperatorId, release: ReleaseNumber) -> Option<&mut Progress> {
        let asked = |s: &Progress| {
            matches!(s.commit, Commit::UnderWay { .. }) && s.releases.front().is_some_and(|r| r.number == release)
        };
        self.sinks.get_mut(operator).filter(|s| asked(s))
    }

    /// The commit that has not been answered for longer than `answer_ms_max`.
    pub(super) fn stalled(&self, now_ms: u64, answer_ms_max: u64) -> Option<Stall> {
        self.sinks.iter().find_map(|(operator, sink)| match sink.commit {
            Commit::UnderWay { since_ms } if now_ms.saturating_sub(since_ms) > answer_ms_max => {
                Some(Stall::Commit { operator: operator.clone(), release: sink.releases.front()?.number })
            }
            _ => None,
        })
    }

    pub(super) fn releases_waiting(&self) -> usize {
        self.sinks.values().map(|s| s.releases.len()).max().unwrap_or(0)
    }

    pub(super) fn all_committed(&self) -> bool {
        self.releases_waiting() == 0
    }
}

/// Whether a manifest releases what sinks would hold back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReleaseWhen {
    /// As the sinks' commit intervals have it.
    Due,
    /// Now: the job ends, or what is written is a savepoint.
    Now,
}

impl ReleaseWhen {
    pub(super) fn of(end: EpochEnd, savepoint: Option<&String>) -> Self {
        if end == EpochEnd::Last || savepoint.is_some() { Self::Now } else { Self::Due }
    }
}

impl Progress {
    /// What the restored manifest held back is still waiting; what it released has been committed again.
    fn new(sink: &SinkConfig, config: &Config, restored: Option<&Manifest>, now_ms: u64) -> Self {
        let state = restored.and_then(|m| m.sink(&sink.operator));
        let mut held: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for committable in state.map_or(&[][..], |s| &s.held) {
            held.entry((committable.epoch, committable.worker)).or_default().push(committable.clone());
        }
        Self {
            config: sink.clone(),
            held,
            releases: VecDeque::new(),
            last_release: state.and_then(|s| s.last_release),
            released_at_ms: now_ms,
            commit: Commit::Due,
            backoff: Backoff::new(config),
        }
    }

    fn state(&self, epoch: Epoch, release: ReleaseWhen, number: ReleaseNumber, now_ms: u64) -> SinkState {
        let mut state = SinkState {
            operator: self.config.operator.clone(),
            repeat: self.config.repeat,
            last_release: self.last_release,
            releases: self.releases.iter().cloned().collect(),
            held: self.held.iter().filter(|((e, _), _)| *e <= epoch).flat_map(|(_, c)| c.clone()).collect(),
        };
        let due = now_ms.saturating_sub(self.released_at_ms) >= self.config.commit_interval_ms;
        // Nothing to release leaves the way back open.
        if (due || release == ReleaseWhen::Now) && !state.held.is_empty() {
            state.last_release = Some(LastRelease { number, through: epoch });
            state.releases.push(Release { number, committables: std::mem::take(&mut state.held) });
        }
        state
    }
}
