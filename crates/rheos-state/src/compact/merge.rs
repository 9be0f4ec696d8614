//! Carries out one step: reads segments, drops what is gone, writes one object.

use std::collections::VecDeque;
use std::sync::Arc;

use rheos_checkpoint::manifest::KeyGroupSet;
use rheos_core::state::{Combine, Run, TableKind};
use rheos_core::{Error, OperatorId, Result};

use super::{Part, Step, newest};
use crate::groups::{self, counted};
use crate::kept::Kept;
use crate::names::ObjectName;
use crate::object::{Compression, Contents, ObjectBuilder, StoredTombstone, WrittenObject};
use crate::reach::Horizon;
use crate::restore::read_segment;
use crate::store::CheckpointStore;

/// By operator and table: how its rows are put together.
pub type Combiners<'a> = &'a dyn Fn(&OperatorId, &str) -> Option<Arc<dyn Combine>>;

/// The merged object; `None` if nothing is left. It is not stored yet.
///
/// State: the rows of the step are in memory meanwhile, about twice.
///
/// Errors: those of the store; `Corrupt` for damage, naming object and operator.
pub fn merge(
    store: &dyn CheckpointStore,
    step: &Step,
    name: ObjectName,
    compression: Compression,
    combiners: Combiners<'_>,
) -> Result<Option<WrittenObject>> {
    let mut builder = ObjectBuilder::new(name, compression);
    for part in &step.parts {
        builder.push(contents(store, part, combiners)?)?;
    }
    builder.finish()
}

fn contents(store: &dyn CheckpointStore, part: &Part, combiners: Combiners<'_>) -> Result<Contents> {
    let keyed = part.kind == TableKind::Keyed;
    let wanted = groups::of(part.kind, &part.groups);
    let (mut own, mut runs): (Horizon, Vec<Run>) = (Horizon::default(), Vec::new());
    for unit in part.inputs.chunk_by(|a, b| a.unit == b.unit) {
        let (mut horizon, mut of_unit): (Horizon, VecDeque<Run>) = (part.newer.clone(), VecDeque::new());
        for held in unit.iter().rev() {
            if held.segment.layout != part.layout {
                let (table, operator) = (&part.table, &part.operator);
                return Err(Error::internal(format!("table '{table}' of '{operator}' is merged over two layouts")));
            }
            let groups = wanted.intersection(counted(&held.segment));
            let (header, found) =
                read_segment(store, &Kept::default(), &held.object, &held.segment, &groups, &horizon)?;
            found.into_iter().rev().for_each(|run| of_unit.push_front(run));
            horizon.add(&header.tombstones, &groups);
            own.add(&header.tombstones, &groups);
        }
        runs.extend(of_unit);
    }
    // A table is of one kind, but versions of Rheos may differ: where the newest segment says nothing, rows add up.
    let newest = part.inputs.iter().max_by_key(|h| h.segment.last_epoch);
    let replaces_by = newest.map_or_else(Vec::new, |h| h.header.replaces_by.clone());
    let runs = newest::of_each(runs, &replaces_by).map_err(|e| {
        let (table, operator) = (&part.table, &part.operator);
        Error::internal(format!("table '{table}' of '{operator}' cannot be merged: {e}"))
    })?;
    let runs = match combiners(&part.operator, &part.table).filter(|c| c.layout() == part.layout) {
        Some(combiner) => combiner.combine(runs)?,
        None => runs,
    };
    let mut tombstones = own.tombstones(&wanted.intersection(&part.older));
    if !keyed {
        let everywhere = |t: StoredTombstone| StoredTombstone { groups: KeyGroupSet::default(), up_to: t.up_to };
        tombstones = tombstones.into_iter().map(everywhere).collect();
    }
    Ok(Contents {
        operator: part.operator.clone(),
        table: part.table.clone(),
        kind: part.kind,
        layout: part.layout.clone(),
        replaces_by,
        groups: part.groups.clone(),
        first_epoch: part.first_epoch,
        last_epoch: part.last_epoch,
        tombstones,
        runs,
    })
}
