//! What keeps a sink's output exact when a run that was taken for dead goes on beside its successor.
//!
//! ```text
//!   generation 9: commit release 9.4 ... paused ................... goes on: 9.4 once more ──► Replaced: nothing happens
//!   generation 13:              takes over ─► 9.4 again ─► 13.0 ─► 13.1
//! ```
//! It is not enough that a commit may be repeated: the late one of generation 9 would write its old values over the new
//! ones of a keyed table. So a sink keeps a [`FenceRecord`] for each owner's job and operator, in its target: the newest
//! generation that it has seen, and the newest release that it has made visible.

use serde::{Deserialize, Serialize};

use crate::ids::{Generation, JobId, OperatorId};

/// Staged output that becomes visible by a commit, in the sink's own form. Manifests hold these bytes, and every later
/// version of the sink reads them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Committable(pub Vec<u8>);

/// For whom a sink works.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The job.
    pub job: JobId,
    /// The sink's operator in it.
    pub operator: OperatorId,
    /// The attempt that asks.
    pub generation: Generation,
}

/// A release of a sink: output that becomes visible together. Ascends along a job's life, also over generations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseNumber {
    /// The generation that released it. Its successor commits it again under the same number.
    pub generation: Generation,
    /// From 0 in each generation.
    pub sequence: u64,
}

/// Who asks for a commit, and which.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fence {
    /// Who asks.
    pub owner: Owner,
    /// What is to become visible.
    pub release: ReleaseNumber,
}

/// What a sink keeps in its target, for each job and operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FenceRecord {
    /// The newest generation that has begun to write.
    pub generation: Generation,
    /// The newest release that is visible.
    pub release: Option<ReleaseNumber>,
}

/// What a sink does with a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// Make it visible and keep the new record.
    Apply,
    /// It is visible already; whatever has become of it since is not the sink's business.
    Done,
    /// A newer generation has taken over: nothing is done, and that is no error.
    Replaced,
}

impl FenceRecord {
    /// Whether the commit that `fence` stands before is carried out. Both are of one job and operator.
    pub fn admits(&self, fence: &Fence) -> Admission {
        if fence.owner.generation < self.generation {
            Admission::Replaced
        } else if Some(fence.release) <= self.release {
            Admission::Done
        } else {
            Admission::Apply
        }
    }

    /// The record when a generation begins to write; `None` if a newer one has begun.
    #[must_use]
    pub fn taken_over(before: Option<Self>, owner: &Owner) -> Option<Self> {
        let release = before.and_then(|b| b.release);
        let is_newest = before.is_none_or(|b| b.generation <= owner.generation);
        is_newest.then_some(Self { generation: owner.generation, release })
    }

    /// The record behind a commit that was carried out.
    #[must_use]
    pub fn after(fence: &Fence) -> Self {
        Self { generation: fence.owner.generation, release: Some(fence.release) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence(generation: u64, released_by: u64, sequence: u64) -> Fence {
        let owner = Owner { job: JobId(1), operator: "sink".into(), generation: Generation(generation) };
        Fence { owner, release: ReleaseNumber { generation: Generation(released_by), sequence } }
    }

    #[test]
    fn a_replaced_run_and_a_repeated_release_change_nothing() {
        let record = FenceRecord::after(&fence(13, 9, 4));
        let cases = [
            (fence(9, 9, 4), Admission::Replaced),
            (fence(9, 9, 5), Admission::Replaced),
            (fence(13, 9, 3), Admission::Done),
            (fence(13, 9, 4), Admission::Done),
            (fence(20, 9, 4), Admission::Done),
            (fence(13, 9, 5), Admission::Apply),
            (fence(13, 13, 0), Admission::Apply),
            (fence(20, 13, 0), Admission::Apply),
        ];
        for (fence, expected) in cases {
            assert_eq!(record.admits(&fence), expected, "{fence:?}");
        }
        let begun = FenceRecord::taken_over(None, &fence(13, 13, 0).owner).unwrap();
        assert_eq!(begun, FenceRecord { generation: Generation(13), release: None });
        let later = FenceRecord::taken_over(Some(record), &fence(20, 20, 0).owner).unwrap();
        assert_eq!(later, FenceRecord { generation: Generation(20), ..record });
        assert_eq!(FenceRecord::taken_over(Some(later), &fence(13, 13, 1).owner), None);
        assert_eq!(begun.admits(&fence(9, 9, 4)), Admission::Replaced);
        assert_eq!(begun.admits(&fence(13, 9, 4)), Admission::Apply);
    }
}
