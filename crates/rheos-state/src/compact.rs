//! Compaction: few runs a table, and little that is dead.
//!
//! ```text
//!   Holdings ──choose──► Compaction ──merge a step──► object ──store──► install: the next report names it ──► next step
//!    (pure)               steps of bounded size       (beside the data path)
//! ```
//! * Each step is installed for itself, whether or not the others ever are; meanwhile segments may be taken in.
//! * A segment whose rows are all gone is dropped unread.
//! * Where rows take the place of earlier ones, a merge keeps the newest of each; where they add up and the operator says how
//!   ([`Combine`](rheos_core::state::Combine)), it adds them up.
//! * Runs of like size are merged (size-tiered), so that a table has at most [`Policy::runs_max`] of them, and a row is
//!   rewritten about once each time its table has grown by [`Policy::merge_min`].
//! * Where rows are put together, a merge of all runs makes the table smaller: it is made when what has come since the last one is
//!   [`Policy::merge_all_growth`] times what that one left. Smaller merges before would write rows that are replaced soon after.
//! * Objects that are mostly dead are emptied: what lives in them is written anew, so that the objects together have at most
//!   twice the bytes that live, by estimate: where a tombstone cuts through a segment, namespaces count as evenly spread.
//!
//! A merge covers, for each of its key groups, all epochs from its first to its last. What is dropped under a tombstone is
//! dropped for good, so the result may be reported only together with the tombstones that were held at the choice, that is,
//! in epochs that were not reported yet when it was made. All that is held at the choice, and is not merged by the step itself,
//! stays held until the step is installed, or other steps have put what it says into what takes its place.

mod choose;
mod merge;
pub(crate) mod newest;
mod tiers;

use std::collections::BTreeSet;

use rheos_checkpoint::manifest::KeyGroupSet;
use rheos_checkpoint::recovery::SegmentId;
use rheos_core::state::TableKind;
use rheos_core::{Epoch, OperatorId};

use crate::holdings::{Held, Holdings};
use crate::object::WrittenObject;
use crate::reach::Horizon;

pub use choose::choose;
pub use merge::{Combiners, Unmerged, merge};

/// How much is merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Runs of a table, at most.
    pub runs_max: usize,
    /// Runs of like size that are merged, at least.
    pub merge_min: usize,
    /// The same in a table whose rows are put together.
    pub merge_some_min: usize,
    /// Runs of a table whose rows are put together, that are merged when they are all of its runs, at least.
    pub merge_all_min: usize,
    /// How large what has come since the last merge of all runs is, beside what that one left, when the next is made.
    pub merge_all_growth: u64,
    /// Runs below this size are alike, in bytes.
    pub run_bytes_min: u64,
    /// What may be dead beside as much as lives, in bytes.
    pub dead_bytes_free: u64,
    /// What one step reads, about, in bytes as stored.
    pub step_bytes: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            runs_max: 32,
            merge_min: 12,
            merge_some_min: 24,
            merge_all_min: 4,
            merge_all_growth: 2,
            run_bytes_min: 64 << 10,
            dead_bytes_free: 4 << 20,
            step_bytes: 64 << 20,
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, Default)]
pub struct Compaction {
    /// Merges, each giving one object.
    pub steps: Vec<Step>,
    /// Segments of which nothing is needed.
    dead: BTreeSet<SegmentId>,
}

/// What is written as one object.
#[derive(Debug, Clone)]
pub struct Step {
    parts: Vec<Part>,
}

/// Segments of one table that become one run, for some key groups.
#[derive(Debug, Clone)]
struct Part {
    operator: OperatorId,
    table: String,
    kind: TableKind,
    layout: String,
    /// Keyed tables: of which key groups the rows are taken.
    groups: KeyGroupSet,
    first_epoch: Epoch,
    last_epoch: Epoch,
    /// By unit, then oldest first.
    inputs: Vec<Held>,
    /// The tombstones of newer segments.
    newer: Horizon,
    /// Key groups of which older segments are held: for these, tombstones are still needed.
    older: KeyGroupSet,
    bytes: u64,
}

impl Compaction {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.dead.is_empty() && self.steps.is_empty()
    }

    /// Lets go of what is dead: what needs no step.
    pub fn drop_dead(&self, holdings: &mut Holdings) {
        holdings.drop_all(&self.dead);
    }
}

impl Step {
    /// Puts the result in the place of what it was made of. `written`: has been stored; `None` if nothing was left.
    pub fn install(&self, holdings: &mut Holdings, written: Option<&WrittenObject>) {
        for part in &self.parts {
            holdings.drop_groups(&part.inputs.iter().map(Held::id).collect(), &part.groups);
        }
        written.into_iter().for_each(|w| holdings.add(w));
    }

    /// Whether it reads one of these segments.
    pub fn reads(&self, segments: &BTreeSet<SegmentId>) -> bool {
        self.parts.iter().flat_map(|p| &p.inputs).any(|h| segments.contains(&h.id()))
    }
}
