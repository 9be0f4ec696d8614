//! The tables of the modelled job, one of each kind, and what of them is restored.

use std::collections::{BTreeMap, BTreeSet};

use rheos_checkpoint::manifest::{KeyGroupSet, Segment};
use rheos_core::WorkerId;
use rheos_core::state::TableKind;

use super::world::{Record, group_of};

/// A table and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    /// Every record, at the owner of its key group.
    Keyed,
    /// Every record, at the worker that read it.
    Split,
    /// Every fourth record of a split, at all workers.
    Broadcast,
    /// Every third record of a split, at worker 0.
    Single,
}

/// What an epoch changed in a table.
#[derive(Debug, Clone, Default)]
pub(super) struct Piece {
    /// Whether all rows of earlier epochs are gone: `rows` is all there is then.
    pub(super) clears: bool,
    pub(super) rows: Vec<Record>,
}

impl Table {
    pub(super) const ALL: [Table; 4] = [Table::Keyed, Table::Split, Table::Broadcast, Table::Single];

    pub(super) fn name(self) -> &'static str {
        match self {
            Table::Keyed => "keyed",
            Table::Split => "split",
            Table::Broadcast => "broadcast",
            Table::Single => "single",
        }
    }

    pub(super) fn kind(self) -> TableKind {
        match self {
            Table::Keyed => TableKind::Keyed,
            Table::Split => TableKind::Split,
            Table::Broadcast => TableKind::Broadcast,
            Table::Single => TableKind::Single,
        }
    }

    pub(super) fn takes(self, (_, index): Record) -> bool {
        match self {
            Table::Keyed | Table::Split => true,
            Table::Broadcast => index.is_multiple_of(4),
            Table::Single => index.is_multiple_of(3),
        }
    }

    /// Of the records that were read.
    pub(super) fn expected(self, read: &BTreeSet<Record>) -> BTreeSet<Record> {
        read.iter().copied().filter(|r| self.takes(*r)).collect()
    }
}

/// The rows of a table, from its segments: unit, segment, what it holds, and the groups for which it counts.
pub(super) fn apply(table: Table, mut segments: Vec<(WorkerId, Segment, Piece, KeyGroupSet)>) -> Vec<Record> {
    segments.sort_by_key(|(unit, segment, ..)| (*unit, segment.last_epoch, segment.first_epoch));
    let mut units: BTreeMap<WorkerId, Vec<Record>> = BTreeMap::new();
    for (unit, _, piece, groups) in segments {
        let rows = units.entry(unit).or_default();
        let counts = |r: &Record| table != Table::Keyed || groups.contains(group_of(*r));
        if piece.clears {
            rows.retain(|r| !counts(r));
        }
        rows.extend(piece.rows.into_iter().filter(counts));
    }
    units.into_values().flatten().collect()
}
