//! What a manifest says of sinks: output that is staged and has not been seen to be committed.

use rheos_core::sink::{Committable, ReleaseNumber};
use rheos_core::{Epoch, Generation, OperatorId, WorkerId};
use serde::{Deserialize, Serialize};

use super::schema;

/// What a sink has staged and not been seen to commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkState {
    /// The stable id of its operator.
    pub operator: OperatorId,
    /// What output that is written a second time does to the target.
    pub repeat: Repeat,
    /// The newest release, also if it has been committed and is not listed any more.
    pub last_release: Option<LastRelease>,
    /// Output that may be visible already, oldest release first. A restore commits it again, release by release: a sink
    /// that merges what is committed together must find the very same committables.
    pub releases: Vec<Release>,
    /// Output that waits for a later release, in the order of epochs and workers.
    pub held: Vec<StagedCommittable>,
}

/// The newest release of a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastRelease {
    /// Its number.
    pub number: ReleaseNumber,
    /// The output of all epochs through this one is released: a restore of an earlier one would show it twice.
    pub through: Epoch,
}

/// Output that becomes visible together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Its place in the order of releases. It stays the same however often the release is committed.
    pub number: ReleaseNumber,
    /// In the order of epochs and workers.
    pub committables: Vec<StagedCommittable>,
}

/// What output that is written a second time does to a sink's target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeat {
    /// It shows twice.
    Duplicates,
    /// It replaces itself: the sink upserts by key.
    Replaces,
}

/// A committable and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StagedCommittable {
    /// The generation that staged it.
    pub generation: Generation,
    /// The epoch that it was staged for.
    pub epoch: Epoch,
    /// The worker that staged it.
    pub worker: WorkerId,
    /// What the sink's writer gave.
    #[serde(with = "schema::committable")]
    pub committable: Committable,
}

impl SinkState {
    /// Everything that is listed, released first.
    pub fn listed(&self) -> impl Iterator<Item = &StagedCommittable> {
        self.releases.iter().flat_map(|r| &r.committables).chain(&self.held)
    }
}
