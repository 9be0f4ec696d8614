//! What a new generation does with output that earlier ones have staged.

use std::collections::{BTreeMap, BTreeSet};

use rheos_core::sink::{Committable, Fence, Known, Owner, ReleaseNumber};
use rheos_core::{Generation, JobId, OperatorId};

use super::SinkStaged;
use crate::coordinator::SinkCommit;
use crate::garbage;
use crate::journal::{Entry, EntryNumber, Journal};
use crate::manifest::{LastRelease, Manifest, SinkState};

/// The manifest as a restore takes it: what it held back may have been released since, by checkpoints that are not gone on
/// from now. Such output is visible, or is made so: its staged form may be gone, and it cannot become part of another release.
pub(super) fn with_later_releases(journal: &Journal, manifest: &Manifest, generation: Generation) -> Manifest {
    let mut settled = manifest.clone();
    let later: Vec<&Manifest> =
        journal.manifests().map(|(_, m)| m).filter(|later| journal.descends(later, manifest)).collect();
    for sink in &mut settled.sinks {
        let states: Vec<&SinkState> = later.iter().rev().filter_map(|m| m.sink(&sink.operator)).collect();
        let through = states.iter().filter_map(|s| s.last_release).map(|r| r.through).max();
        if through <= sink.last_release.map(|r| r.through) {
            continue;
        }
        let (released, held) = std::mem::take(&mut sink.held).into_iter().partition(|c| Some(c.epoch) <= through);
        sink.held = held;
        for committable in Vec::from_iter::<Vec<_>>(released) {
            let knows = |s: &&&SinkState| s.last_release.is_some_and(|r| r.through >= committable.epoch);
            let listed = |s: &SinkState| s.releases.iter().find(|r| r.committables.contains(&committable)).cloned();
            // Who knows of the release and does not list it has seen it committed.
            let releases: Option<Vec<_>> = states.iter().filter(knows).map(|s| listed(s)).collect();
            let release = releases.and_then(|r| r.into_iter().next());
            sink.releases.extend(release.filter(|r| sink.releases.iter().all(|known| known.number != r.number)));
        }
        let sequence = sink.releases.len() as u64;
        let number = ReleaseNumber { generation, sequence };
        sink.last_release = through.map(|through| LastRelease { number, through });
    }
    settled
}

/// What `manifest` has released and is not known to be committed, release by release. Of sinks that the program has.
pub(super) fn commits(
    journal: &Journal,
    manifest: &Manifest,
    (job, generation): (JobId, Generation),
    operators: &BTreeSet<OperatorId>,
) -> Vec<SinkCommit> {
    if journal.is_committed(manifest.entry) {
        return Vec::new();
    }
    let mut commits = Vec::new();
    let passed_over = is_passed_over(journal, manifest);
    for sink in manifest.sinks.iter().filter(|s| operators.contains(&s.operator)) {
        for (release, sequence) in sink.releases.iter().zip(0..) {
            let number = if passed_over { ReleaseNumber { generation, sequence } } else { release.number };
            let owner = Owner { job, operator: sink.operator.clone(), generation };
            let committables = release.committables.iter().map(|c| c.committable.clone()).collect();
            commits.push(SinkCommit { fence: Fence { owner, release: number }, committables });
        }
    }
    commits
}

/// Whether a sink may have seen a later release than those of `manifest`: one of a checkpoint that is not gone on from. It would
/// take ours as done, so they get new numbers.
///
/// None, if all that followed are generations that went on from this very manifest and wrote nothing: they have committed what it
/// released, under its numbers. What the others did is not asked: their manifests may be gone, and with them what they released.
/// That there was one is seen for good, for the entry before a claim keeps its number.
fn is_passed_over(journal: &Journal, manifest: &Manifest) -> bool {
    let goes_on = |entry: &Entry| {
        let Entry::Claim(claim) = entry else { return false };
        claim.restored.is_some_and(|restored| restored.entry == manifest.entry)
    };
    journal.iter().any(|(number, entry)| number > manifest.entry && !goes_on(entry))
}

/// What the journal knows of what the job's runs have done to the target of a sink.
pub fn known(journal: &Journal, sink: &OperatorId, duplicates_accepted: bool) -> Known {
    let generation = |(number, entry): (EntryNumber, &Entry)| match entry {
        Entry::Claim(claim) => Some((claim.generation, Some(claim.nonce))),
        Entry::Unreadable(_) => Some((Generation(number.0), None)),
        Entry::Manifest(_) | Entry::Committed(_) | Entry::Retired => None,
    };
    // A generation commits again what it has restored, perhaps under numbers of its own, before it has a manifest.
    let again = |(_, entry): (EntryNumber, &Entry)| {
        let Entry::Claim(claim) = entry else { return None };
        let Some(Entry::Manifest(manifest)) = journal.get(claim.restored?.entry) else { return None };
        let settled = with_later_releases(journal, manifest, claim.generation);
        let sequence = (settled.sink(sink)?.releases.len() as u64).checked_sub(1)?;
        Some(ReleaseNumber { generation: claim.generation, sequence })
    };
    let releases = journal.manifests().filter_map(|(_, m)| Some(m.sink(sink)?.last_release?.number));
    Known {
        generations: journal.iter().filter_map(generation).collect(),
        released: releases.chain(journal.iter().filter_map(again)).max(),
        duplicates_accepted,
    }
}

/// What must stay staged: what the restored manifest lists, and savepoints; before a job that was started without state has
/// a checkpoint of its own, also what it could go back to. Nobody else's output can still be asked for.
pub(super) fn keep_staged(journal: &Journal, restored: Option<&Manifest>) -> Vec<SinkStaged> {
    let mut keep: BTreeMap<&OperatorId, Vec<Committable>> = BTreeMap::new();
    let savepoints = journal.savepoints().map(|(.., m)| m);
    let candidates = garbage::candidates(journal);
    let set_aside = journal.manifests().filter(|(n, _)| restored.is_none() && candidates.contains(n)).map(|(_, m)| m);
    for sink in savepoints.chain(set_aside).chain(restored).flat_map(|m| &m.sinks) {
        let kept = keep.entry(&sink.operator).or_default();
        kept.extend(sink.listed().map(|c| c.committable.clone()));
    }
    let staged = |(operator, committables): (&OperatorId, Vec<Committable>)| {
        let mut seen = BTreeSet::new();
        let committables = committables.into_iter().filter(|c| seen.insert(c.clone())).collect();
        SinkStaged { operator: operator.clone(), committables }
    };
    keep.into_iter().map(staged).filter(|s| !s.committables.is_empty()).collect()
}
