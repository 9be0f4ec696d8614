//! Rows for a table with a `PRIMARY KEY`: of each key one is there, at most.
//!
//! | the rows | what the table gets |
//! |---|---|
//! | only come | each takes the place of the one with its key |
//! | change, one for each key | the one that goes and the one that comes, together |
//! | change, several for a key | of those that are there at a time the first in the order of their columns |

use std::sync::Arc;

use rheos_core::NodeId;
use rheos_core::change::{Changes, has_weights};
use rheos_core::error::Result;
use rheos_core::graph::JobGraph;
use rheos_operators::{KeyedChanges, MaterialiseSpec, RankFunction, Tells, UpdateRankSpec, plan};

/// The node of the rows for a table with this key, which takes such changes.
pub(super) fn replaced(graph: &mut JobGraph, input: NodeId, key: &[usize], accepts: Changes) -> Result<NodeId> {
    let node = graph.node(input);
    let (rows, key) = (Arc::clone(&node.schema), key.to_vec());
    let is_unique = node.key.as_ref().is_some_and(|known| known.iter().all(|column| key.contains(column)));
    if has_weights(&rows) && !is_unique {
        let spec = UpdateRankSpec {
            input: rows,
            partition_by: key,
            order_by: vec![],
            function: RankFunction::RowNumber,
            limit: Some(1),
            name: None,
            tells: Tells::Changes,
            emit_interval_ms: None,
            state_ttl_ms: None,
        };
        return Ok(plan::update_rank(graph, input, spec)?.0);
    }
    // What is replaced need not be told to a table that knows it by its key.
    let changes = match has_weights(&rows) || accepts == Changes::Upsert {
        true => KeyedChanges::Pair,
        false => KeyedChanges::Replace,
    };
    Ok(plan::materialise(graph, input, MaterialiseSpec { input: rows, key, changes, state_ttl_ms: None })?.0)
}
