//! Puts the reports of all workers together as one manifest.

use std::collections::BTreeMap;

use rheos_core::key::KEY_HASH_VERSION;
use rheos_core::state::TableKind;
use rheos_core::{Epoch, Error, OperatorId, Result, WorkerId};

use super::{Snapshot, Start};
use crate::journal::EntryNumber;
use crate::manifest::{JobPhase, Manifest, ObjectRef, Segment, SinkState, SourceState, owner_ranges};

/// What is known of an epoch that all workers have stored.
pub(super) struct Parts {
    pub(super) entry: EntryNumber,
    pub(super) epoch: Epoch,
    pub(super) phase: JobPhase,
    pub(super) savepoint: Option<String>,
    pub(super) wall_time_ms: i64,
    pub(super) processing_time_ms: i64,
    pub(super) sources: Vec<SourceState>,
    pub(super) sinks: Vec<SinkState>,
    pub(super) snapshots: Vec<(WorkerId, Snapshot)>,
}

/// Errors: `Internal` for reports that contradict each other.
pub(super) fn manifest(start: &Start, parts: Parts) -> Result<Manifest> {
    let counters = merge_counters(start, &parts.snapshots);
    // Operators stay in an epoch behind its announcement, and go by the clock.
    let seen_ms = parts.snapshots.iter().map(|(_, s)| s.processing_time_ms).max();
    let watermarks_ms = lowest_watermarks(&parts.snapshots);
    let manifest = Manifest {
        entry: parts.entry,
        generation: start.claim.generation,
        epoch: parts.epoch,
        phase: parts.phase,
        savepoint: parts.savepoint,
        wall_time_ms: parts.wall_time_ms,
        processing_time_ms: seen_ms.map_or(parts.processing_time_ms, |ms| ms.max(parts.processing_time_ms)),
        program: start.program.clone(),
        parallelism: start.parallelism,
        key_hash_version: KEY_HASH_VERSION,
        owners: owner_ranges(&start.assignment),
        objects: merge_objects(parts.snapshots)?,
        sources: parts.sources,
        sinks: parts.sinks,
        counters,
        watermarks_ms,
    };
    manifest.check().map_err(|e| Error::internal(e.message()))?;
    Ok(manifest)
}

/// The totals of earlier generations and of this one.
fn merge_counters(start: &Start, snapshots: &[(WorkerId, Snapshot)]) -> BTreeMap<String, u64> {
    let mut counters = start.restored.as_ref().map(|m| m.counters.clone()).unwrap_or_default();
    for (name, n) in snapshots.iter().flat_map(|(_, s)| &s.counters) {
        let total = counters.entry(name.clone()).or_default();
        *total = total.saturating_add(*n);
    }
    counters
}

/// Those of the operators of which every worker tells one.
fn lowest_watermarks(snapshots: &[(WorkerId, Snapshot)]) -> BTreeMap<OperatorId, i64> {
    let Some(((_, first), others)) = snapshots.split_first() else { return BTreeMap::new() };
    let lowest = |(operator, ms): (&OperatorId, &i64)| {
        let mut others = others.iter().map(|(_, other)| other.watermarks_ms.get(operator).copied());
        let lowest = others.try_fold(*ms, |lowest, other| Some(lowest.min(other?)))?;
        Some((operator.clone(), lowest))
    };
    first.watermarks_ms.iter().filter_map(lowest).collect()
}

/// After a rescale, several workers hold parts of one object, and even of one segment.
fn merge_objects(snapshots: Vec<(WorkerId, Snapshot)>) -> Result<Vec<ObjectRef>> {
    let mut objects: BTreeMap<String, (ObjectRef, BTreeMap<u64, Segment>)> = BTreeMap::new();
    for (worker, snapshot) in snapshots {
        for mut object in snapshot.objects {
            let parts = std::mem::take(&mut object.segments);
            let name = object.name.clone();
            let (known, segments) = objects.entry(name).or_insert_with(|| (object.clone(), BTreeMap::new()));
            if *known != object {
                return Err(Error::internal(format!("workers differ over the object '{}'", object.name)));
            }
            for mut segment in parts {
                let alone = matches!(segment.kind, TableKind::Broadcast | TableKind::Single);
                if alone && worker != WorkerId(0) {
                    let Segment { operator, table, .. } = segment;
                    let message = format!("worker {worker} holds table '{table}' of '{operator}', which is worker 0's");
                    return Err(Error::internal(message));
                }
                segment.holder = worker;
                match segments.get_mut(&segment.offset) {
                    None => _ = segments.insert(segment.offset, segment),
                    Some(known) => join(known, segment, &object.name)?,
                }
            }
        }
    }
    let whole = |(mut object, segments): (ObjectRef, BTreeMap<u64, Segment>)| {
        object.segments = segments.into_values().collect();
        object
    };
    Ok(objects.into_values().map(whole).collect())
}

/// Two workers hold one segment: it counts for the key groups of both.
fn join(known: &mut Segment, other: Segment, object: &str) -> Result<()> {
    let alike = Segment { groups: known.groups.clone(), holder: known.holder, ..other.clone() };
    if *known != alike {
        return Err(Error::internal(format!("workers differ over a segment of the object '{object}'")));
    }
    if known.kind != TableKind::Keyed {
        let message = format!("workers {} and {} both hold one segment of '{object}'", known.holder, other.holder);
        return Err(Error::internal(message));
    }
    if let Some(group) = known.groups.intersection(&other.groups).iter().next() {
        return Err(Error::internal(format!("key group {} of '{object}' has two holders", group.0)));
    }
    known.holder = known.holder.min(other.holder);
    known.groups = known.groups.union(&other.groups);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_begins_where_the_last_of_its_workers_was() {
        let told = |marks: &[(&str, i64)]| Snapshot {
            watermarks_ms: marks.iter().map(|(operator, ms)| (OperatorId::from(*operator), *ms)).collect(),
            ..Snapshot::default()
        };
        let workers = |all: Vec<Snapshot>| (0..).map(WorkerId).zip(all).collect::<Vec<_>>();
        let lowest = |all| lowest_watermarks(&workers(all));
        assert_eq!(lowest(vec![]), BTreeMap::new());
        assert_eq!(lowest(vec![told(&[("a", 5)])]), [("a".into(), 5)].into());
        // Of b and c nothing is known of a worker: it may be at the beginning.
        let all =
            vec![told(&[("a", 5), ("b", 7)]), told(&[("a", -3), ("c", 1)]), told(&[("a", 9), ("b", 2), ("c", 1)])];
        assert_eq!(lowest(all), [("a".into(), -3)].into());
    }
}
