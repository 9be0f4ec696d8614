//! What one checkpoint consists of: everything that a restore needs, and nothing that is kept elsewhere.
//!
//! ```text
//!   Manifest ── objects ── segments       state: what rows of which object hold which key groups and epochs
//!            ── sources ── splits         where reading goes on
//!            ── sinks ── releases, held   staged output: may be visible already, or waits for a later release
//!            ── owners, program, counters, watermarks
//! ```
//! A manifest is written after the objects that it names have been read back, and never changes. Its text has a version
//! and a checksum ([`text`]); the types here are version 1, and its golden text is kept in the tests.

mod check;
mod groups;
mod schema;
mod sinks;
mod sources;
pub mod text;

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use rheos_core::key::KeyGroupAssignment;
use rheos_core::state::TableKind;
use rheos_core::{Epoch, Generation, OperatorId, Result, WorkerId};
use serde::{Deserialize, Serialize};

pub use groups::{GroupRange, KeyGroupSet};
pub use sinks::{LastRelease, Release, Repeat, SinkState, StagedCommittable};
pub use sources::{SequenceState, SourceState, SplitProgress, SplitState};

use crate::journal::EntryNumber;

/// The version of the manifest's text that this version of Rheos writes.
pub const VERSION: u32 = 1;
/// Longest manifest that is written or read, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 256 << 20;
/// The largest epoch, generation or number of an entry: a damaged or hostile one must not overflow what follows it.
pub const NUMBER_MAX: u64 = 1 << 62;

/// A complete checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its own number in the journal: a copy under another number is no checkpoint.
    pub entry: EntryNumber,
    /// Who wrote it.
    pub generation: Generation,
    /// The epoch that it ends with. Grows along a job's checkpoints, also over generations.
    pub epoch: Epoch,
    /// How the job went on behind the cut.
    pub phase: JobPhase,
    /// Its name, where it is kept as a savepoint.
    pub savepoint: Option<String>,
    /// The clock on the wall at the cut (ms since 1970), for people; nothing is decided by it.
    pub wall_time_ms: i64,
    /// The job's processing time (ms since 1970) when the last worker was through with the epoch; the clock of a restored job
    /// does not begin below it.
    pub processing_time_ms: i64,
    /// The program, as the job's workers agreed on it.
    pub program: Program,
    /// Number of workers.
    pub parallelism: NonZeroU32,
    /// The version of the hash that puts keys into key groups.
    pub key_hash_version: u32,
    /// Which worker owned which key groups: ranges in ascending order without gaps, from 0.
    pub owners: Vec<OwnerRange>,
    /// The objects that hold the state, by name.
    pub objects: Vec<ObjectRef>,
    /// One entry a source, by operator.
    pub sources: Vec<SourceState>,
    /// One entry a sink, by operator.
    pub sinks: Vec<SinkState>,
    /// Totals since the job's first start, by name.
    pub counters: BTreeMap<String, u64>,
    /// By operator the watermark in ms that all workers of it had come to at least: it begins there again, before any row. Left
    /// out where nothing is known, and behind the end of time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub watermarks_ms: BTreeMap<OperatorId, i64>,
}

/// What a manifest says of the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Of the job graph: ids, schemas, expressions.
    pub fingerprint: String,
    /// The plan context: what was resolved once and must not change on restore. Opaque here.
    #[serde(with = "schema::base64_bytes")]
    pub context: Vec<u8>,
    /// Its operators, by id: what a changed program drops can be told by name.
    pub operators: Vec<OperatorInfo>,
}

/// An operator as people know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorInfo {
    /// Its stable id.
    pub id: OperatorId,
    /// Its name, e.g. `window aggregate`.
    pub name: String,
    /// Its meaning as ordered facts, as `explain` shows them.
    pub facts: Vec<(String, String)>,
}

/// How the job went on behind a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobPhase {
    /// It ran on.
    Running,
    /// It was being drained: sources read nothing more and have told the end of time, so windows may have fired that a
    /// later row would belong to. A restore begins with its sources closed.
    Draining,
    /// It was stopped; windows are open, and a restore goes on.
    Stopped,
    /// Its input had ended, or it was drained: all windows have fired, there is nothing to go on with.
    Finished,
}

/// The owner of a range of key groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnerRange {
    /// First key group.
    pub first: u16,
    /// Last key group.
    pub last: u16,
    /// The worker.
    pub worker: WorkerId,
}

/// An object in the checkpoint store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectRef {
    /// Unique in the job's store, also over generations.
    pub name: String,
    /// Its length.
    pub length_bytes: u64,
    /// xxh3-64 of all its bytes.
    pub checksum: Checksum,
    /// What of it is part of this checkpoint, by offset.
    pub segments: Vec<Segment>,
}

/// A stretch of an object: what some epochs changed in one table.
///
/// Who writes: a keyed table's segments come from the workers that own the groups, a split table's from each worker; of a
/// broadcast or a single table worker 0 alone writes, or a restore would apply it once for each copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length_bytes: u64,
    /// xxh3-64 of these bytes.
    pub checksum: Checksum,
    /// The stable id of the operator.
    pub operator: OperatorId,
    /// The table inside of the operator.
    pub table: String,
    /// How the table is spread over workers.
    #[serde(with = "schema::table_kind")]
    pub kind: TableKind,
    /// The layout of the rows, e.g. `window-slices/v1`.
    pub layout: String,
    /// Key groups for which this segment counts; rows of other groups in it have been superseded. Its tombstones reach
    /// these groups and no others. Empty for tables that are not keyed.
    pub groups: KeyGroupSet,
    /// The first epoch whose changes it holds.
    pub first_epoch: Epoch,
    /// The last one.
    pub last_epoch: Epoch,
    /// The worker that held it at the cut. The segments of a split table that one worker held stay together.
    pub holder: WorkerId,
}

/// An xxh3-64, as 16 lower-case hexadecimal digits in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checksum(pub u64);

impl Checksum {
    /// The checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxhash_rust::xxh3::xxh3_64(bytes))
    }
}

impl Manifest {
    /// Whether the manifest fits together: what the types alone cannot say.
    ///
    /// Errors: `Corrupt` (R0603), naming the field.
    pub fn check(&self) -> Result<()> {
        check::check(self)
    }

    /// The assignment of key groups that the checkpoint was made under.
    pub fn assignment(&self) -> KeyGroupAssignment {
        let worker_of = |o: &OwnerRange| (o.first..=o.last).map(|_| o.worker.0).collect::<Vec<_>>();
        KeyGroupAssignment::from_owners(self.owners.iter().flat_map(worker_of).collect())
    }

    /// A sink of the checkpoint.
    pub fn sink(&self, operator: &OperatorId) -> Option<&SinkState> {
        self.sinks.iter().find(|s| s.operator == *operator)
    }
}

/// An assignment as ranges, in ascending order.
pub fn owner_ranges(assignment: &KeyGroupAssignment) -> Vec<OwnerRange> {
    let mut ranges: Vec<OwnerRange> = Vec::new();
    for (group, worker) in assignment.owners().iter().enumerate() {
        let (group, worker) = (group as u16, WorkerId(*worker));
        match ranges.last_mut() {
            Some(range) if range.worker == worker => range.last = group,
            _ => ranges.push(OwnerRange { first: group, last: group, worker }),
        }
    }
    ranges
}
