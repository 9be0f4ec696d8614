//! What keeps a sink's output exact when a run that was taken for dead goes on beside its successor.
//!
//! ```text
//!   generation 9: commit release 9.4 ... paused ................... goes on: 9.4 once more ──► Replaced: nothing happens
//!   generation 13:              takes over ─► 9.4 again ─► 13.0 ─► 13.1
//! ```
//! It is not enough that a commit may be repeated: the late one of generation 9 would write its old values over the new
//! ones of a keyed table. So a sink keeps a [`FenceRecord`] for each owner's job and operator, in its target: the newest
//! generation that it has seen, and the newest release that it has made visible.
//!
//! A state that was put back from a backup knows less than the target: its next generation has a number that another run has had.
//! So the record has the run's own random number as well, and a state says which runs and releases it knows ([`Known`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{Generation, JobId, Nonce, OperatorId};

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
    /// That of the generation; absent in records of early versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<Nonce>,
}

/// What the state of a job knows of what its runs have done to a target.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Its generations, the asking one among them, with their random numbers; `None` where one cannot be read any more.
    pub generations: BTreeMap<Generation, Option<Nonce>>,
    /// The newest release.
    pub released: Option<ReleaseNumber>,
    /// Whether output may show twice: then a target that knows more is no reason to end.
    pub duplicates_accepted: bool,
}

/// Why a generation may not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A newer generation does.
    Replaced,
    /// A run has written that the state does not know: the state is an old copy.
    Unknown,
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

    /// The record when a generation begins to write.
    pub fn taken_over(before: Option<Self>, owner: &Owner, known: &Known) -> Result<Self, Refusal> {
        let nonce = known.generations.get(&owner.generation).copied().flatten();
        let begun = Self { generation: owner.generation, release: None, nonce };
        let Some(before) = before else { return Ok(begun) };
        let refusal = match before.generation > owner.generation {
            true => Some(Refusal::Replaced),
            false => (!before.is_known(known)).then_some(Refusal::Unknown),
        };
        match refusal {
            None => Ok(Self { release: before.release, ..begun }),
            // What it has released would be taken for releases of this run.
            Some(_) if known.duplicates_accepted => Ok(begun),
            Some(refusal) => Err(refusal),
        }
    }

    fn is_known(&self, known: &Known) -> bool {
        let is_known_run = match (self.nonce, known.generations.get(&self.generation)) {
            (Some(nonce), Some(Some(other))) => nonce == *other,
            (_, Some(_)) | (None, None) => true,
            (Some(_), None) => false,
        };
        // What is of a generation before has been looked at when this one took over.
        let newest = self.release.filter(|release| release.generation == self.generation);
        is_known_run && newest.is_none_or(|release| Some(release) <= known.released)
    }

    /// The record behind a commit that was carried out. `before`: the record that has admitted it.
    #[must_use]
    pub fn after(before: Option<Self>, fence: &Fence) -> Self {
        let nonce = before.filter(|b| b.generation == fence.owner.generation).and_then(|b| b.nonce);
        Self { generation: fence.owner.generation, release: Some(fence.release), nonce }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence(generation: u64, released_by: u64, sequence: u64) -> Fence {
        let owner = Owner { job: JobId(1), operator: "sink".into(), generation: Generation(generation) };
        Fence { owner, release: ReleaseNumber { generation: Generation(released_by), sequence } }
    }

    /// A state that knows these generations, each with its number as its random number.
    fn known(generations: &[u64], released: Option<ReleaseNumber>) -> Known {
        let generations = generations.iter().map(|g| (Generation(*g), Some(Nonce(u128::from(*g))))).collect();
        Known { generations, released, duplicates_accepted: false }
    }

    #[test]
    fn a_replaced_run_and_a_repeated_release_change_nothing() {
        let record = FenceRecord::after(None, &fence(13, 9, 4));
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
        let known = known(&[9, 13, 20], Some(fence(9, 9, 4).release));
        let begun = FenceRecord::taken_over(None, &fence(13, 13, 0).owner, &known).unwrap();
        assert_eq!(begun, FenceRecord { generation: Generation(13), release: None, nonce: Some(Nonce(13)) });
        let later = FenceRecord::taken_over(Some(record), &fence(20, 20, 0).owner, &known).unwrap();
        assert_eq!(later, FenceRecord { generation: Generation(20), nonce: Some(Nonce(20)), ..record });
        let replaced = FenceRecord::taken_over(Some(later), &fence(13, 13, 1).owner, &known);
        assert_eq!(replaced, Err(Refusal::Replaced));
        assert_eq!(begun.admits(&fence(9, 9, 4)), Admission::Replaced);
        assert_eq!(begun.admits(&fence(13, 9, 4)), Admission::Apply);
        assert_eq!(FenceRecord::after(Some(begun), &fence(13, 13, 0)).nonce, begun.nonce);
    }

    #[test]
    fn a_state_that_knows_less_than_its_target_is_told_from_one_that_goes_on() {
        let owner = |generation| fence(generation, generation, 0).owner;
        let written = FenceRecord { nonce: Some(Nonce(3)), ..FenceRecord::after(None, &fence(3, 3, 5)) };
        let take_over = |generation, known: &Known| FenceRecord::taken_over(Some(written), &owner(generation), known);
        let release = |sequence| Some(fence(3, 3, sequence).release);
        // It goes on behind the release, with later ones that died before their commit, and with a claim that cannot be read.
        for known in [known(&[1, 3, 9], release(5)), known(&[1, 3, 9], release(7))] {
            assert_eq!(take_over(9, &known).unwrap().release, release(5));
            let unreadable = Known { generations: known.generations.keys().map(|g| (*g, None)).collect(), ..known };
            assert!(take_over(9, &unreadable).is_ok());
        }
        // A backup: its generation 3 is another one, then it has none; or it lacks the last releases of the same.
        let other = Known { generations: [(Generation(3), Some(Nonce(77)))].into(), ..known(&[], release(5)) };
        assert_eq!(take_over(3, &other), Err(Refusal::Unknown));
        assert_eq!(take_over(4, &known(&[1, 4], release(5))), Err(Refusal::Unknown));
        assert_eq!(take_over(9, &known(&[1, 3, 9], release(4))), Err(Refusal::Unknown));
        assert_eq!(take_over(9, &known(&[1, 3, 9], None)), Err(Refusal::Unknown));
        let accepted = take_over(3, &Known { duplicates_accepted: true, ..other }).unwrap();
        assert_eq!(accepted, FenceRecord { generation: Generation(3), release: None, nonce: Some(Nonce(77)) });
        // A run that took over and released nothing has looked at what was there before.
        let begun = FenceRecord { generation: Generation(6), nonce: Some(Nonce(6)), ..written };
        assert!(FenceRecord::taken_over(Some(begun), &owner(9), &known(&[3, 6, 9], None)).is_ok());
    }
}
