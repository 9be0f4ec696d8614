//! Key groups of tables of all kinds.

use std::sync::LazyLock;

use rheos_checkpoint::manifest::{KeyGroupSet, Segment};
use rheos_core::state::TableKind;

/// Tables that are not keyed are treated as if all their rows were of key group 0.
pub(crate) static UNKEYED: LazyLock<KeyGroupSet> = LazyLock::new(|| KeyGroupSet::range(0, 0));

/// The key groups for which a segment counts.
pub(crate) fn counted(segment: &Segment) -> &KeyGroupSet {
    of(segment.kind, &segment.groups)
}

/// `groups`, or what stands for them in a table that is not keyed.
pub(crate) fn of(kind: TableKind, groups: &KeyGroupSet) -> &KeyGroupSet {
    if kind == TableKind::Keyed { groups } else { &UNKEYED }
}
