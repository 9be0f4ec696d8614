//! What a coordinator begins with.

use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::sync::Arc;

use rheos_core::key::KeyGroupAssignment;
use rheos_core::{Error, OperatorId, Result};

use crate::journal::Claim;
use crate::manifest::{JobPhase, Manifest, Program, Repeat};

/// How often and how fast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// From one cut to the next, in ms.
    pub interval_ms: NonZeroU64,
    /// Epochs that have been cut and are not complete, failed, or, where they release output, committed.
    pub in_flight_max: NonZeroUsize,
    /// Wait after a failed checkpoint or commit, in ms; doubles with each failure in a row.
    pub backoff_ms_min: NonZeroU64,
    /// Longest such wait, in ms.
    pub backoff_ms_max: u64,
    /// The generation ends if a report, a write or a commit has not been answered for so long, in ms.
    pub answer_ms_max: u64,
    /// How long a stop may take, in ms, before the generation ends with what it has.
    pub stop_ms_max: u64,
    /// The job's sinks.
    pub sinks: Vec<SinkConfig>,
}

/// What the protocol needs to know of a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkConfig {
    /// The stable id of its operator.
    pub operator: OperatorId,
    /// What output that is written a second time does.
    pub repeat: Repeat,
    /// Output is released at most this often, in ms, and when the job ends; 0: with every checkpoint.
    pub commit_interval_ms: u64,
}

/// What a generation begins with.
#[derive(Debug, Clone)]
pub struct Start {
    /// Its claim, which is the newest entry of the journal.
    pub claim: Claim,
    /// The program.
    pub program: Program,
    /// Which worker owns which key groups.
    pub assignment: KeyGroupAssignment,
    /// Number of workers.
    pub parallelism: NonZeroU32,
    /// What was restored; its released output has been committed again.
    pub restored: Option<Arc<Manifest>>,
    /// Names of savepoints that exist.
    pub savepoints: BTreeSet<String>,
}

impl Config {
    /// Errors: `Invalid` (R0615) for numbers that do not fit together, and a sink that is there twice (`Internal`).
    pub fn check(&self) -> Result<()> {
        if self.backoff_ms_max < self.backoff_ms_min.get() {
            let message = format!("the longest wait ({} ms) is below the shortest", self.backoff_ms_max);
            return Err(Error::invalid(615, message).with_hint("give a longest wait of at least the shortest one"));
        }
        let operators: BTreeSet<_> = self.sinks.iter().map(|s| &s.operator).collect();
        match operators.len() == self.sinks.len() {
            true => Ok(()),
            false => Err(Error::internal("two sinks have one operator id")),
        }
    }
}

impl Start {
    /// Whether the job was being drained: then its sources begin closed, at the end of time, and read nothing.
    pub fn is_draining(&self) -> bool {
        self.restored.as_ref().is_some_and(|m| m.phase == JobPhase::Draining)
    }

    /// Errors: `Internal` if the parts do not fit together.
    pub(super) fn check(&self) -> Result<()> {
        let owners = self.assignment.owners();
        if owners.is_empty() || owners.iter().any(|w| *w >= self.parallelism.get()) {
            return Err(Error::internal("key groups belong to workers that are not there"));
        }
        let claimed = self.claim.restored.map(|r| r.entry);
        match claimed == self.restored.as_ref().map(|m| m.entry) {
            true => Ok(()),
            false => Err(Error::internal("the claim names another checkpoint than the one that was restored")),
        }
    }
}
