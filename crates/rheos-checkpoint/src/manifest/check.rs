//! What must hold in a manifest beyond its types.

use std::collections::BTreeMap;

use rheos_core::key::{KEY_GROUPS_MAX, KEY_HASH_VERSION};
use rheos_core::state::TableKind;
use rheos_core::{Epoch, Error, ErrorKind, Result, WorkerId};

use super::{KeyGroupSet, Manifest, NUMBER_MAX, ObjectRef, Segment, SinkState, SourceState};

pub(super) fn wrong(place: &str, what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, 603, format!("the manifest does not fit together: {place}: {what}"))
        .with_hint("restore from another checkpoint; 'rheos checkpoint list' shows them")
}

pub(super) fn check(manifest: &Manifest) -> Result<()> {
    check_numbers(manifest)?;
    check_owners(manifest)?;
    let groups = manifest.owners.last().map_or(0, |o| u32::from(o.last) + 1);
    ascending("operators", manifest.program.operators.iter().map(|o| &o.id))?;
    ascending("objects", manifest.objects.iter().map(|o| &o.name))?;
    for object in &manifest.objects {
        check_object(object, manifest, groups)?;
    }
    check_overlaps(manifest)?;
    ascending("sources", manifest.sources.iter().map(|s| &s.operator))?;
    manifest.sources.iter().try_for_each(check_source)?;
    ascending("sinks", manifest.sinks.iter().map(|s| &s.operator))?;
    manifest.sinks.iter().try_for_each(|s| check_sink(s, manifest))
}

/// Numbers are far from where adding one would overflow, and in their order.
fn check_numbers(manifest: &Manifest) -> Result<()> {
    let (entry, generation) = (manifest.entry.0, manifest.generation.0);
    if entry > NUMBER_MAX || generation >= entry {
        return Err(wrong("entry", format_args!("{entry} is no number for one of generation {generation}")));
    }
    if manifest.epoch.0 > NUMBER_MAX {
        return Err(wrong("epoch", format_args!("{} is too large", manifest.epoch)));
    }
    if manifest.key_hash_version != KEY_HASH_VERSION {
        return Err(wrong("key_hash_version", format_args!("{} is not known", manifest.key_hash_version)));
    }
    Ok(())
}

fn check_owners(manifest: &Manifest) -> Result<()> {
    let mut next = 0;
    for range in &manifest.owners {
        if u32::from(range.first) != next || range.last < range.first {
            return Err(wrong("owners", "the ranges of key groups have gaps or overlap"));
        }
        if !is_worker(range.worker, manifest) {
            return Err(wrong("owners", format_args!("there is no worker {}", range.worker)));
        }
        next = u32::from(range.last) + 1;
    }
    match next {
        0 => Err(wrong("owners", "there are no key groups")),
        n if n > u32::from(KEY_GROUPS_MAX) => Err(wrong("owners", format_args!("there are {n} key groups"))),
        _ => Ok(()),
    }
}

fn is_worker(worker: WorkerId, manifest: &Manifest) -> bool {
    worker.0 < manifest.parallelism.get()
}

fn ascending<T: Ord + std::fmt::Display>(place: &str, ids: impl Iterator<Item = T>) -> Result<()> {
    let mut before: Option<T> = None;
    for id in ids {
        if before.as_ref().is_some_and(|b| *b >= id) {
            return Err(wrong(place, format_args!("'{id}' is out of order or there twice")));
        }
        before = Some(id);
    }
    Ok(())
}

fn check_object(object: &ObjectRef, manifest: &Manifest, groups: u32) -> Result<()> {
    let place = format!("object '{}'", object.name);
    let mut end = 0;
    for segment in &object.segments {
        let behind = segment.offset.checked_add(segment.length_bytes).filter(|b| *b <= object.length_bytes);
        let Some(behind) = behind else {
            return Err(wrong(&place, format_args!("a segment of '{}' ends behind its end", segment.operator)));
        };
        if segment.offset < end {
            return Err(wrong(&place, format_args!("segments overlap at byte {}", segment.offset)));
        }
        end = behind;
        check_segment(segment, &place, manifest, groups)?;
    }
    Ok(())
}

fn check_segment(segment: &Segment, place: &str, manifest: &Manifest, groups: u32) -> Result<()> {
    let at = format!("{place}, table '{}' of operator '{}'", segment.table, segment.operator);
    if segment.first_epoch > segment.last_epoch || segment.last_epoch > manifest.epoch {
        return Err(wrong(&at, format_args!("epochs {} to {}", segment.first_epoch, segment.last_epoch)));
    }
    if !is_worker(segment.holder, manifest) {
        return Err(wrong(&at, format_args!("there is no worker {}", segment.holder)));
    }
    if (segment.kind == TableKind::Keyed) == segment.groups.is_empty() {
        return Err(wrong(&at, "keyed tables, and only those, have key groups"));
    }
    match segment.groups.iter().last() {
        Some(last) if u32::from(last.0) >= groups => Err(wrong(&at, format_args!("there is no key group {}", last.0))),
        _ => Ok(()),
    }
}

/// A part of a table in which no epoch may be held twice: a restore would apply it twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Share {
    /// Apart by key groups.
    Keyed,
    /// The segments of one holder.
    HeldBy(WorkerId),
    /// All there is.
    Whole,
}

fn check_overlaps(manifest: &Manifest) -> Result<()> {
    type Part<'a> = (Epoch, Epoch, &'a KeyGroupSet);
    let mut tables: BTreeMap<(&str, &str, Share), Vec<Part>> = BTreeMap::new();
    for segment in manifest.objects.iter().flat_map(|o| &o.segments) {
        let share = match segment.kind {
            TableKind::Keyed => Share::Keyed,
            TableKind::Split => Share::HeldBy(segment.holder),
            TableKind::Broadcast | TableKind::Single => Share::Whole,
        };
        let parts = tables.entry((&segment.operator.0, &segment.table, share)).or_default();
        parts.push((segment.first_epoch, segment.last_epoch, &segment.groups));
    }
    for ((operator, table, share), mut parts) in tables {
        parts.sort_unstable();
        // Sweep over the epochs: those parts that reach the current one are open.
        let mut open: Vec<Part> = Vec::new();
        for (first, last, groups) in parts {
            open.retain(|(_, until, _)| *until >= first);
            for (_, until, others) in &open {
                let both = groups.intersection(others);
                if share == Share::Keyed && both.is_empty() {
                    continue;
                }
                let until = last.min(*until);
                let of = both.iter().next().map_or(String::new(), |g| format!(" of key group {}", g.0));
                let place = format!("table '{table}' of operator '{operator}'");
                return Err(wrong(&place, format_args!("two segments hold epochs {first} to {until}{of}")));
            }
            open.push((first, last, groups));
        }
    }
    Ok(())
}

fn check_source(source: &SourceState) -> Result<()> {
    ascending(&format!("splits of source '{}'", source.operator), source.splits.iter().map(|s| s.id()))?;
    ascending(&format!("sequences of source '{}'", source.operator), source.sequences.iter().map(|s| s.sequence))
}

fn check_sink(sink: &SinkState, manifest: &Manifest) -> Result<()> {
    let place = format!("sink '{}'", sink.operator);
    if sink.listed().any(|c| c.epoch > manifest.epoch) {
        return Err(wrong(&place, format_args!("a committable is of an epoch after {}", manifest.epoch)));
    }
    let in_order = |list: &[super::StagedCommittable]| list.is_sorted_by_key(|c| (c.epoch, c.worker));
    if !sink.releases.iter().map(|r| &r.committables).chain([&sink.held]).all(|list| in_order(list)) {
        return Err(wrong(&place, "committables are not in order"));
    }
    if sink.last_release.is_some_and(|r| r.through > manifest.epoch || r.number.generation > manifest.generation) {
        return Err(wrong(&place, format_args!("it has released more than epoch {}", manifest.epoch)));
    }
    let through = sink.last_release.map(|r| r.through);
    if sink.held.iter().any(|c| Some(c.epoch) <= through) {
        return Err(wrong(&place, "it holds back what it has released"));
    }
    let newest = sink.last_release.map(|r| r.number);
    let numbers = sink.releases.iter().map(|r| r.number);
    if !numbers.clone().is_sorted_by(|a, b| a < b) || numbers.max() > newest {
        return Err(wrong(&place, "the releases are not in order"));
    }
    Ok(())
}
