//! What the coordinator is told and what it decides.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rheos_core::sink::{Committable, EpochEnd, Fence, ReleaseNumber};
use rheos_core::{Epoch, Error, Generation, OperatorId, WorkerId};

use crate::journal::{Entry, EntryNumber};
use crate::manifest::{Manifest, ObjectRef, SequenceState, SplitState};

/// What a worker says of an epoch that was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The worker's generation.
    pub generation: Generation,
    /// The worker.
    pub worker: WorkerId,
    /// The epoch.
    pub epoch: Epoch,
    /// How it went.
    pub outcome: Outcome,
}

/// How a worker's part of a checkpoint went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is stored and has been read back.
    Stored(Box<Snapshot>),
    /// Something could not be stored, and why.
    Failed(Error),
}

/// A worker's part of a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// All objects that hold state of this worker, also of earlier epochs, each with the segments that it holds.
    pub objects: Vec<ObjectRef>,
    /// One entry for every source of the job, also where the worker reads no split of it.
    pub sources: Vec<SourceCut>,
    /// What has been staged since its last stored report.
    pub staged: Vec<SinkOutput>,
    /// Totals since the generation began.
    pub counters: BTreeMap<String, u64>,
    /// The job's processing time when the worker was through with the epoch: its operators have seen none that is later.
    pub processing_time_ms: i64,
    /// The watermarks in ms at which operators have left the epoch.
    pub watermarks_ms: BTreeMap<OperatorId, i64>,
    /// Objects that are whole or under way, and are for a later report.
    pub holds: BTreeSet<String>,
}

/// Where a worker's part of a source stands at its cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceCut {
    /// The source's operator.
    pub operator: OperatorId,
    /// The watermark that its capability stands at, in ms; `i64::MAX` when it has ended.
    pub watermark_ms: i64,
    /// Splits that the worker reads, and those that it has finished since its last stored report.
    pub splits: Vec<SplitState>,
}

/// What a worker has staged for a sink in one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkOutput {
    /// The sink's operator.
    pub operator: OperatorId,
    /// The epoch.
    pub epoch: Epoch,
    /// In the order that the sink's writer gave.
    pub committables: Vec<Committable>,
}

/// A look at a source, taken before any worker took the cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLook {
    /// Its operator.
    pub operator: OperatorId,
    /// Whether no split will be found any more.
    pub enumerated: bool,
    /// What its discovery has handed out, in the connector's own form: all splits that this look, an earlier one, or the
    /// restored manifest tells of, and no others.
    pub enumerator: String,
    /// Of splits that are finished: what must be kept, by sequence.
    pub sequences: Vec<SequenceState>,
    /// Splits that have not been read to their end, as they were when they were last handed out.
    pub splits: Vec<SplitState>,
    /// Ids of the splits that workers hold. Each must be in a report of theirs.
    pub taken: BTreeSet<String>,
    /// Ids of the splits that were read to their end since the look before.
    pub finished: BTreeSet<String>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Time has passed; to be sent at least every interval.
    Tick,
    /// A cut was announced.
    Announced {
        /// The epoch that ends.
        epoch: Epoch,
        /// The clock on the wall, in ms since 1970.
        wall_time_ms: i64,
        /// Processing time of the job, in ms since 1970.
        processing_time_ms: i64,
        /// All sources.
        sources: Vec<SourceLook>,
    },
    /// A worker's part.
    Report(Report),
    /// The conditional write of an entry ended.
    Written {
        /// The entry's number.
        number: EntryNumber,
        /// How.
        outcome: WriteOutcome,
    },
    /// A sink has committed a release.
    Committed {
        /// The sink's operator.
        operator: OperatorId,
        /// The release.
        release: ReleaseNumber,
    },
    /// A sink could not commit a release.
    CommitFailed {
        /// The sink's operator.
        operator: OperatorId,
        /// The release.
        release: ReleaseNumber,
        /// Why. After an `External` error it is tried again; any other ends the generation.
        error: Error,
    },
    /// All sources have ended and sent the end of time.
    InputEnded,
    /// Stop, with windows left open.
    Stop,
    /// Stop reading and close all windows; [`Event::InputEnded`] follows.
    Drain,
    /// Cut without waiting for the interval: the next checkpoint covers this moment.
    Checkpoint,
    /// Keep a checkpoint under this name. [`Decision::Savepoint`] answers.
    Savepoint(String),
    /// Stop, and keep the last checkpoint under this name; a name that exists is refused, and the job goes on.
    SavepointAndStop(String),
}

/// How a conditional write ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The entry is there, and so is its witness. Also, where the number was taken, if what stands there is this very entry.
    Written,
    /// Another entry has this number: what [`crate::journal::Journal::settle_taken`] said.
    Taken(Error),
    /// It was not written.
    Failed(Error),
    /// It may have been written, or may yet be; or it was, and its witness not.
    Unknown(Error),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Look at the sources, tell [`Event::Announced`], and announce the end of the epoch to all workers.
    Cut {
        /// The epoch that ends.
        epoch: Epoch,
        /// Why: sinks stage everything in the last one.
        end: EpochEnd,
    },
    /// Sources stop reading and send the end of time. A worker first takes all cuts that were decided before: their
    /// manifests say that the job runs on.
    Drain,
    /// Write this entry at this number, if the number is free, then its witness; tell [`Event::Written`].
    Write {
        /// The number.
        number: EntryNumber,
        /// A manifest, or at the end `Committed`.
        entry: Entry,
    },
    /// Sources may forget what lies before the positions of this checkpoint.
    Acknowledge(Arc<Manifest>),
    /// Commit once, then tell [`Event::Committed`] or [`Event::CommitFailed`].
    Commit(SinkCommit),
    /// These workers try once more to store an epoch, before the parts of any that is cut later. It was the newest when they
    /// failed.
    StoreAgain {
        /// The epoch.
        epoch: Epoch,
        /// The workers.
        workers: Vec<WorkerId>,
    },
    /// A warning: this epoch has no checkpoint; a later one covers it, or it is tried again.
    CheckpointFailed {
        /// The epoch.
        epoch: Epoch,
        /// Why.
        error: Error,
        /// No cut is taken, and nothing tried again, for so long, in ms.
        wait_ms: u64,
    },
    /// A warning: a sink could not commit; it is tried again.
    CommitFailed {
        /// The sink's operator.
        operator: OperatorId,
        /// Why.
        error: Error,
        /// When, in ms from now.
        wait_ms: u64,
    },
    /// The answer to who asked for a savepoint.
    Savepoint {
        /// Its name.
        name: String,
        /// Its entry. Errors: `Conflict` (R0612) for a name that exists, `External` (R0614) if the job ended before it.
        result: Result<EntryNumber, Error>,
    },
    /// The generation is over. The last decision.
    EndGeneration(GenerationEnd),
}

/// A release that a sink has to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkCommit {
    /// Who asks and which release it is.
    pub fence: Fence,
    /// In the order of epochs and workers.
    pub committables: Vec<Committable>,
}

/// Why a generation is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GenerationEnd {
    /// The input has ended and everything is committed.
    Finished,
    /// As asked for; everything is committed, and the job can go on from here.
    Stopped,
    /// It was asked to stop and could not store or commit everything in time. Nothing is lost: the next generation goes on
    /// from the last checkpoint.
    StopIncomplete {
        /// The last checkpoint; `None` if this generation has written none and restored none.
        last: Option<EntryNumber>,
        /// The last failure, if there was one.
        cause: Option<Error>,
    },
    /// Another generation has taken over: leave without touching anything. R0605, or R0613 if its entry cannot be read.
    Replaced(Error),
    /// Somebody does not answer; the next generation starts from the last checkpoint.
    Stalled(Stall),
    /// What will not succeed by trying again: the last checkpoint or a commit.
    Failed(Error),
    /// Reports that contradict each other (the message).
    Defect(String),
}

/// Who does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stall {
    /// Workers have not reported an epoch.
    Reports {
        /// The epoch that waits.
        epoch: Epoch,
        /// Who has not reported it.
        workers: Vec<WorkerId>,
    },
    /// The write of an entry.
    Write(EntryNumber),
    /// A sink's commit.
    Commit {
        /// The sink's operator.
        operator: OperatorId,
        /// The release.
        release: ReleaseNumber,
    },
}
