//! What to drop, to merge and to move, from what is held. Pure.

use std::collections::{BTreeMap, BTreeSet};

use rheos_checkpoint::manifest::KeyGroupSet;
use rheos_checkpoint::recovery::SegmentId;
use rheos_core::key::KeyGroup;
use rheos_core::state::TableKind;
use rheos_core::{Epoch, OperatorId, WorkerId};

use super::tiers::{self, Tier};
use super::{Combiners, Compaction, Part, Policy, Step};
use crate::groups::counted;
use crate::holdings::{Held, Holdings};
use crate::reach::{Horizon, Reach};
use crate::restore::is_gone;

/// What compaction should do now.
///
/// `rewrites`: operator and table of split tables that came from several workers, as [`rheos_checkpoint::rescale::plan`] says;
/// their units become one. With rewrites, the compaction is installed before anything else is taken in, so that the worker's
/// first report has them: its tombstones reach all units. `stuck`: segments that cannot be merged, as one that is damaged; what
/// is older is merged for itself then, and so is what is newer. `combiners`: as of [`merge`](super::merge()).
pub fn choose(
    holdings: &Holdings,
    policy: &Policy,
    rewrites: &BTreeSet<(OperatorId, String)>,
    stuck: &BTreeSet<SegmentId>,
    combiners: Combiners<'_>,
) -> Compaction {
    let mut tables: BTreeMap<(&OperatorId, &str, WorkerId), Vec<&Held>> = BTreeMap::new();
    for held in holdings.segments() {
        tables.entry((&held.segment.operator, &held.segment.table, held.unit)).or_default().push(held);
    }
    let tables: Vec<Table> = tables.into_values().map(|segments| Table::new(segments, stuck)).collect();
    let dead = tables.iter().flat_map(|t| &t.entries).filter(|e| e.dead).map(|e| e.held.id()).collect();
    let (mut gone, mut parts) = (BTreeSet::new(), Vec::new());
    for units in tables.chunk_by(|a, b| a.name() == b.name()) {
        let (operator, table) = units[0].name();
        if rewrites.contains(&(operator.clone(), table.to_string())) {
            let all: Vec<&Entry> = units.iter().flat_map(Table::live).collect();
            take(&all, None, &KeyGroupSet::default(), &mut gone, &mut parts);
            continue;
        }
        for table in units {
            let shrinks = table.is_upserted() || combiners(operator, table.name().1).is_some();
            table.merge(&table.like_runs(policy, shrinks), &mut gone, &mut parts);
        }
    }
    empty_objects(holdings, policy, &tables, &mut gone, &mut parts);
    let parts = parts.into_iter().flat_map(|p| split(p, policy.step_bytes));
    Compaction { steps: pack(parts.collect(), policy.step_bytes), dead }
}

/// Makes a part of these segments of a table, for `groups` or all that they have; `older`: key groups of which older segments
/// stay. `gone`: segments that the parts take the place of.
fn take(
    merged: &[&Entry],
    groups: Option<KeyGroupSet>,
    older: &KeyGroupSet,
    gone: &mut BTreeSet<SegmentId>,
    parts: &mut Vec<Part>,
) {
    let Some(newest) = merged.last() else { return };
    gone.extend(merged.iter().map(|e| e.held.id()));
    let segments = || merged.iter().map(|e| &e.held.segment);
    let segment = &newest.held.segment;
    parts.push(Part {
        operator: segment.operator.clone(),
        table: segment.table.clone(),
        kind: segment.kind,
        layout: segment.layout.clone(),
        groups: groups.unwrap_or_else(|| union(segments().map(|s| &s.groups))),
        first_epoch: segments().map(|s| s.first_epoch).min().unwrap_or(segment.first_epoch),
        last_epoch: segments().map(|s| s.last_epoch).max().unwrap_or(segment.last_epoch),
        newer: newest.newer.clone(),
        older: older.clone(),
        bytes: segments().map(|s| s.length_bytes).sum(),
        inputs: merged.iter().map(|e| e.held.clone()).collect(),
    });
}

fn union<'a>(sets: impl Iterator<Item = &'a KeyGroupSet>) -> KeyGroupSet {
    sets.fold(KeyGroupSet::default(), |all, set| all.union(set))
}

/// A segment and what is known of it.
struct Entry<'a> {
    held: &'a Held,
    /// The tombstones of newer segments.
    newer: Horizon,
    /// Nothing of it is needed.
    dead: bool,
    /// It cannot be merged.
    stuck: bool,
    live_bytes: u64,
}

/// The segments of one table (of one unit), in the order of their epochs.
struct Table<'a> {
    entries: Vec<Entry<'a>>,
}

impl<'a> Table<'a> {
    fn new(mut segments: Vec<&'a Held>, stuck: &BTreeSet<SegmentId>) -> Self {
        segments.sort_by_key(|h| (h.segment.last_epoch, h.segment.first_epoch));
        let mut horizon = Horizon::default();
        let mut entries: Vec<Entry> = Vec::new();
        for held in segments.into_iter().rev() {
            let newer = horizon.clone();
            horizon.add(&held.header.tombstones, counted(&held.segment));
            let live_bytes = live_bytes(held, &newer);
            let stuck = !stuck.is_empty() && stuck.contains(&held.id());
            entries.push(Entry { held, newer, dead: false, stuck, live_bytes });
        }
        entries.reverse();
        let mut table = Self { entries };
        table.find_dead();
        table
    }

    /// From the oldest: dead is what has no rows left and no tombstone that an older segment still needs.
    fn find_dead(&mut self) {
        let mut older = KeyGroupSet::default();
        for entry in &mut self.entries {
            let groups = counted(&entry.held.segment);
            let mut own = Horizon::default();
            own.add(&entry.held.header.tombstones, groups);
            let needed = groups.intersection(&older).iter().any(|g| own.at(g) > entry.newer.at(g));
            entry.dead = !needed && is_gone(&entry.held.header, entry.newer.least(groups));
            if !entry.dead {
                older = older.union(groups);
            }
        }
    }

    /// Operator and table.
    fn name(&self) -> (&'a OperatorId, &'a str) {
        let segment = &self.entries[0].held.segment;
        (&segment.operator, &segment.table)
    }

    fn live(&self) -> impl Iterator<Item = &Entry<'a>> {
        self.entries.iter().filter(|e| !e.dead)
    }

    /// Makes a part of these entries, which are in the order of their epochs: of the key groups that several of them have. Where
    /// only some steps of an earlier merge have been carried out, one has the others alone, and nothing is won by it. If they share
    /// none they become one run all the same: else they would be chosen again and again, and others never.
    fn merge(&self, merged: &[usize], gone: &mut BTreeSet<SegmentId>, parts: &mut Vec<Part>) {
        let several = |depths: BTreeMap<KeyGroup, usize>| -> KeyGroupSet {
            depths.into_iter().filter(|(_, depth)| *depth > 1).map(|(group, _)| group).collect()
        };
        let several = several(self.depths(merged));
        if several.is_empty() {
            return self.take(merged, None, gone, parts);
        }
        let has = |at: &&usize| !counted(&self.entries[**at].held.segment).intersection(&several).is_empty();
        let merged: Vec<usize> = merged.iter().filter(has).copied().collect();
        let keyed = merged.first().is_some_and(|at| self.entries[*at].held.segment.kind == TableKind::Keyed);
        self.take(&merged, keyed.then_some(several), gone, parts);
    }

    /// Makes a part of these entries, which are in the order of their epochs.
    fn take(
        &self,
        merged: &[usize],
        groups: Option<KeyGroupSet>,
        gone: &mut BTreeSet<SegmentId>,
        parts: &mut Vec<Part>,
    ) {
        let entries: Vec<&Entry> = merged.iter().map(|at| &self.entries[*at]).collect();
        let first = entries.iter().map(|e| e.held.segment.first_epoch).min();
        let older = self.live().filter(|e| Some(e.held.segment.last_epoch) < first);
        let older = union(older.map(|e| counted(&e.held.segment)));
        take(&entries, groups, &older, gone, parts);
    }

    /// Whether rows take the place of earlier ones.
    fn is_upserted(&self) -> bool {
        self.entries.last().is_some_and(|newest| !newest.held.header.replaces_by.is_empty())
    }

    /// The entries of a stretch of like runs. `shrinks`: whether a merge puts rows together.
    fn like_runs(&self, policy: &Policy, shrinks: bool) -> Vec<usize> {
        let entangled = self.entangled();
        let tiers: Vec<Tier> = entangled.iter().map(|e| self.tier(e)).collect();
        tiers::choose(&tiers, policy, shrinks).map_or(Vec::new(), |range| entangled[range].concat())
    }

    /// The living entries in stretches whose epochs do not overlap, oldest first. A merge takes whole stretches, so that
    /// nothing that is left lies between the epochs that it covers.
    fn entangled(&self) -> Vec<Vec<usize>> {
        let mut by_first: Vec<usize> = (0..self.entries.len()).filter(|at| !self.entries[*at].dead).collect();
        by_first.sort_by_key(|at| self.entries[*at].held.segment.first_epoch);
        let mut stretches: Vec<(Epoch, Vec<usize>)> = Vec::new();
        for at in by_first {
            let segment = &self.entries[at].held.segment;
            match stretches.last_mut() {
                Some((last_epoch, stretch)) if segment.first_epoch <= *last_epoch => {
                    stretch.push(at);
                    *last_epoch = segment.last_epoch.max(*last_epoch);
                }
                _ => stretches.push((segment.last_epoch, vec![at])),
            }
        }
        let in_order = |(_, mut stretch): (Epoch, Vec<usize>)| {
            stretch.sort_unstable();
            stretch
        };
        stretches.into_iter().map(in_order).collect()
    }

    fn tier(&self, stretch: &[usize]) -> Tier {
        let layout = &self.entries[stretch[0]].held.segment.layout;
        let fits = |entry: &Entry| entry.held.segment.layout == *layout && !entry.stuck;
        let alike = stretch.iter().all(|at| fits(&self.entries[*at]));
        Tier {
            bytes: stretch.iter().map(|at| self.entries[*at].live_bytes).sum(),
            depth: self.depth(stretch),
            layout: alike.then(|| layout.clone()),
        }
    }

    /// The most segments that one key group has.
    fn depth(&self, stretch: &[usize]) -> usize {
        match stretch {
            [_] => 1,
            _ => self.depths(stretch).into_values().max().unwrap_or(0),
        }
    }

    /// By key group: how many of these segments it has.
    fn depths(&self, stretch: &[usize]) -> BTreeMap<KeyGroup, usize> {
        let mut depths: BTreeMap<KeyGroup, usize> = BTreeMap::new();
        for group in stretch.iter().flat_map(|at| counted(&self.entries[*at].held.segment).iter()) {
            *depths.entry(group).or_default() += 1;
        }
        depths
    }
}

/// About how many bytes of a segment are still needed.
fn live_bytes(held: &Held, newer: &Horizon) -> u64 {
    let bytes = held.segment.length_bytes;
    let groups = counted(&held.segment);
    // A segment that has only tombstones is here because they are needed.
    if held.header.rows == 0 || groups.is_empty() {
        return bytes;
    }
    let share = |group: KeyGroup| match (newer.at(group), held.header.namespaces) {
        (Reach::Nothing, _) | (Reach::UpTo(_), None) => 1.0,
        (Reach::All, _) => 0.0,
        (Reach::UpTo(bound), Some(n)) => {
            let (above, all) = (n.last as f64 - bound as f64, n.last as f64 - n.first as f64 + 1.0);
            (above / all).clamp(0.0, 1.0)
        }
    };
    let shares: f64 = groups.iter().map(share).sum();
    (bytes as f64 * shares / groups.len() as f64) as u64
}

/// Moves what lives out of objects that are mostly dead, until the objects are at most twice what lives.
fn empty_objects(
    holdings: &Holdings,
    policy: &Policy,
    tables: &[Table],
    gone: &mut BTreeSet<SegmentId>,
    parts: &mut Vec<Part>,
) {
    /// Bytes that live, and where they are.
    type Living<'a> = (u64, Vec<(&'a Table<'a>, usize)>);
    let mut objects: BTreeMap<&str, Living> = BTreeMap::new();
    let mut live = 0;
    for table in tables {
        for (at, entry) in table.entries.iter().enumerate().filter(|(_, e)| !e.dead) {
            live += entry.live_bytes;
            if !gone.contains(&entry.held.id()) {
                let (bytes, places) = objects.entry(&entry.held.object).or_default();
                *bytes += entry.live_bytes;
                places.push((table, at));
            }
        }
    }
    let kept: u64 = objects.values().map(|(bytes, _)| bytes).sum();
    // What is merged anyway will be about as long as what lives in it.
    let mut stored = objects.keys().map(|o| holdings.length_bytes(o)).sum::<u64>() + (live - kept);
    let mut worst: Vec<(&str, Living)> = objects.into_iter().collect();
    let share = |(object, (bytes, _)): &(&str, Living)| *bytes as f64 / holdings.length_bytes(object).max(1) as f64;
    worst.sort_by(|a, b| share(a).total_cmp(&share(b)));
    for (object, (bytes, places)) in worst {
        if places.iter().any(|(table, at)| table.entries[*at].stuck) {
            continue;
        }
        let length = holdings.length_bytes(object);
        if stored <= live.saturating_mul(2).saturating_add(policy.dead_bytes_free) || bytes >= length {
            return;
        }
        places.into_iter().for_each(|(table, at)| table.take(&[at], None, gone, parts));
        stored = stored - length + bytes;
    }
}

/// Cuts a part at key groups, so that each reads about `step_bytes`.
fn split(part: Part, step_bytes: u64) -> Vec<Part> {
    if part.kind != TableKind::Keyed || part.bytes <= step_bytes {
        return vec![part];
    }
    // If the bytes of a segment are evenly spread over its key groups.
    let each: Vec<(&KeyGroupSet, u64)> = part
        .inputs
        .iter()
        .map(|h| (&h.segment.groups, h.segment.length_bytes / h.segment.groups.len().max(1) as u64))
        .collect();
    let bytes_of =
        |group| each.iter().filter(|(groups, _)| groups.contains(group)).map(|(_, bytes)| bytes).sum::<u64>();
    let mut sets: Vec<(KeyGroupSet, u64)> = Vec::new();
    for group in part.groups.iter() {
        let here = bytes_of(group);
        match sets.last_mut() {
            Some((set, bytes)) if bytes.saturating_add(here) <= step_bytes => {
                set.insert(group);
                *bytes += here;
            }
            _ => sets.push((KeyGroupSet::range(group.0, group.0), here)),
        }
    }
    let piece = |(groups, bytes): (KeyGroupSet, u64)| {
        let touches = |h: &&Held| !h.segment.groups.intersection(&groups).is_empty();
        let inputs = part.inputs.iter().filter(touches).cloned().collect();
        Part { groups, inputs, bytes, ..part.clone() }
    };
    sets.into_iter().map(piece).collect()
}

/// Puts small parts together.
fn pack(mut parts: Vec<Part>, step_bytes: u64) -> Vec<Step> {
    // As in objects of an epoch: by operator, table, key groups.
    parts.sort_by(|a, b| {
        let key = |p: &Part| (p.groups.iter().next(), p.first_epoch);
        (&a.operator, &a.table, key(a)).cmp(&(&b.operator, &b.table, key(b)))
    });
    let (mut steps, mut bytes): (Vec<Step>, u64) = (Vec::new(), 0);
    for part in parts {
        bytes = bytes.saturating_add(part.bytes);
        match steps.last_mut() {
            Some(step) if bytes <= step_bytes => step.parts.push(part),
            _ => {
                bytes = part.bytes;
                steps.push(Step { parts: vec![part] });
            }
        }
    }
    steps
}
