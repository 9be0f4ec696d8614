//! Who reads what when a checkpoint is restored at any parallelism.
//!
//! Keyed tables go by key group, so a segment may be read in parts by several workers; a split table goes whole by the
//! worker that held it; a broadcast table goes to every worker, a single one to worker 0.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use rheos_core::key::KeyGroupAssignment;
use rheos_core::state::TableKind;
use rheos_core::{Epoch, OperatorId, WorkerId};

use crate::manifest::{KeyGroupSet, Manifest, Segment};

/// What one worker reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerPlan {
    /// In the order of operators, tables, units and epochs: the order in which they are applied.
    pub reads: Vec<SegmentRead>,
    /// Operator and table of split tables that come from more than one unit. Tombstones of one unit must not reach
    /// another, so the worker's first report replaces all of their segments by new ones.
    pub rewrites: BTreeSet<(OperatorId, String)>,
}

/// A segment to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentRead {
    /// The object.
    pub object: String,
    /// The segment, as in the manifest.
    pub segment: Segment,
    /// Keyed tables: the rows of these key groups are taken, and tombstones reach these and no others.
    pub groups: KeyGroupSet,
    /// Split tables: who held it; segments are applied a unit at a time.
    pub unit: WorkerId,
    /// Whether the worker's reports name the segment from now on. A broadcast table is read by all and named by worker 0.
    pub is_holder: bool,
}

/// What each of `workers` workers reads of a checkpoint, under `assignment`.
pub fn plan(manifest: &Manifest, assignment: &KeyGroupAssignment, workers: NonZeroU32) -> Vec<WorkerPlan> {
    let groups_of = |w| assignment.groups_of(w as usize).into_iter().collect();
    let owned: Vec<KeyGroupSet> = (0..workers.get()).map(groups_of).collect();
    let mut plans = vec![WorkerPlan::default(); owned.len()];
    let mut units: BTreeMap<(u32, &OperatorId, &str), BTreeSet<WorkerId>> = BTreeMap::new();
    for object in &manifest.objects {
        for segment in &object.segments {
            let read = |groups, unit, is_holder| SegmentRead {
                object: object.name.clone(),
                segment: segment.clone(),
                groups,
                unit,
                is_holder,
            };
            let whole = |is_holder| read(KeyGroupSet::default(), WorkerId(0), is_holder);
            match segment.kind {
                TableKind::Keyed => {
                    for (plan, owned) in plans.iter_mut().zip(&owned) {
                        let groups = segment.groups.intersection(owned);
                        if !groups.is_empty() {
                            plan.reads.push(read(groups, WorkerId(0), true));
                        }
                    }
                }
                TableKind::Split => {
                    let worker = segment.holder.0 % workers;
                    units.entry((worker, &segment.operator, &segment.table)).or_default().insert(segment.holder);
                    plans[worker as usize].reads.push(read(KeyGroupSet::default(), segment.holder, true));
                }
                TableKind::Broadcast => {
                    plans.iter_mut().zip(0..).for_each(|(p, worker): (_, u32)| p.reads.push(whole(worker == 0)));
                }
                TableKind::Single => plans[0].reads.push(whole(true)),
            }
        }
    }
    for ((worker, operator, table), _) in units.into_iter().filter(|(_, units)| units.len() > 1) {
        plans[worker as usize].rewrites.insert((operator.clone(), table.to_string()));
    }
    for plan in &mut plans {
        plan.reads.sort_by(|a, b| order(a).cmp(&order(b)));
    }
    plans
}

fn order(read: &SegmentRead) -> (&OperatorId, &str, WorkerId, Epoch, &str, u64) {
    let s = &read.segment;
    (&s.operator, &s.table, read.unit, s.last_epoch, &read.object, s.offset)
}

/// An assignment that gives each worker its share by capacity and moves few key groups.
///
/// Worker `w` has the capacity `capacities[w]`, in any unit; equal ones for an even assignment. Shares are rounded down, and
/// what is left goes to the workers with the largest remainders, the first of them where they are equal. Groups stay where
/// they are as long as their owner is there and below its share; the others go, in ascending order, to the first worker that
/// has room.
pub fn assign(previous: &KeyGroupAssignment, capacities: &[NonZeroU32]) -> KeyGroupAssignment {
    let mut room = shares(previous.owners().len(), capacities);
    let stays = |worker: &u32| {
        let free = room.get_mut(*worker as usize)?;
        *free = free.checked_sub(1)?;
        Some(*worker)
    };
    let kept: Vec<Option<u32>> = previous.owners().iter().map(stays).collect();
    let mut next = 0;
    let fill = |owner: Option<u32>| {
        owner.unwrap_or_else(|| {
            while room.get(next) == Some(&0) {
                next += 1;
            }
            if let Some(free) = room.get_mut(next) {
                *free -= 1;
            }
            next as u32
        })
    };
    KeyGroupAssignment::from_owners(kept.into_iter().map(fill).collect())
}

/// Equal capacities for `workers` workers.
pub fn even(workers: NonZeroU32) -> Vec<NonZeroU32> {
    vec![NonZeroU32::MIN; workers.get() as usize]
}

/// How many of `groups` each worker gets; no worker is left without one while there are enough. No capacities are one worker.
fn shares(groups: usize, capacities: &[NonZeroU32]) -> Vec<usize> {
    let total: u64 = capacities.iter().map(|c| u64::from(c.get())).sum();
    if total == 0 {
        return vec![groups];
    }
    let exact = |c: &NonZeroU32| groups as u64 * u64::from(c.get());
    let mut shares: Vec<usize> = capacities.iter().map(|c| (exact(c) / total) as usize).collect();
    let mut by_remainder: Vec<usize> = (0..capacities.len()).collect();
    by_remainder.sort_by_key(|w| std::cmp::Reverse(exact(&capacities[*w]) % total));
    let left = groups - shares.iter().sum::<usize>();
    by_remainder.iter().take(left).for_each(|w| shares[*w] += 1);
    // A worker without key groups would be one too many.
    while let Some(empty) = shares.iter().position(|n| *n == 0) {
        let Some(largest) = (0..shares.len()).rev().max_by_key(|w| shares[*w]).filter(|w| shares[*w] > 1) else {
            break;
        };
        shares[largest] -= 1;
        shares[empty] += 1;
    }
    shares
}
