//! What of a checkpoint a changed program has no place for.
//!
//! Operators are matched by their stable ids. New operators begin empty, and that is fine; state, positions or staged output
//! of an operator that is gone would be lost, so it is named, and dropped only if the user says so. Whether the state of an
//! operator that is there still has its layout, its reader decides.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rheos_core::OperatorId;

use crate::manifest::Manifest;

/// What a checkpoint holds for an operator that the program does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The operator.
    pub operator: OperatorId,
    /// Its name and facts, as the program that wrote the checkpoint had them; empty if it did not know it either.
    pub name: String,
    /// See `name`.
    pub facts: Vec<(String, String)>,
    /// What there is of it.
    pub contents: BTreeSet<Contents>,
}

/// What a checkpoint holds for an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contents {
    /// Tables of state.
    State,
    /// Positions of a source.
    Positions,
    /// Output of a sink that has not become visible, or not for certain.
    Output,
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Contents::State => "state",
            Contents::Positions => "positions",
            Contents::Output => "output that is not visible yet",
        })
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contents = self.contents.iter().map(Contents::to_string).collect::<Vec<_>>().join(", ");
        let name = if self.name.is_empty() { String::new() } else { format!(" ({})", self.name) };
        write!(f, "operator '{}'{name}: {contents}", self.operator)
    }
}

/// What `manifest` holds for operators that are not among `operators`, by id. `is_committed`: everything that the manifest
/// has released is known to be visible.
pub fn dropped(manifest: &Manifest, operators: &BTreeSet<OperatorId>, is_committed: bool) -> Vec<Dropped> {
    let segments = manifest.objects.iter().flat_map(|o| &o.segments);
    let state = segments.map(|s| (&s.operator, Contents::State));
    let positions = manifest.sources.iter().map(|s| (&s.operator, Contents::Positions));
    let pending = |s: &&crate::manifest::SinkState| !s.held.is_empty() || (!is_committed && !s.releases.is_empty());
    let output = manifest.sinks.iter().filter(pending).map(|s| (&s.operator, Contents::Output));
    let mut gone: BTreeMap<&OperatorId, BTreeSet<Contents>> = BTreeMap::new();
    for (operator, contents) in state.chain(positions).chain(output).filter(|(o, _)| !operators.contains(*o)) {
        gone.entry(operator).or_default().insert(contents);
    }
    let dropped = |(operator, contents): (&OperatorId, _)| {
        let known = manifest.program.operators.iter().find(|o| o.id == *operator);
        let (name, facts) = known.map(|o| (o.name.clone(), o.facts.clone())).unwrap_or_default();
        Dropped { operator: operator.clone(), name, facts, contents }
    };
    gone.into_iter().map(dropped).collect()
}
