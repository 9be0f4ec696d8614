//! What feeds `t$errors`: the source of `t`, and the operators that compute with its rows.
//!
//! A row that fails behind several tables (a join) is a letter of the first of them. If one of the tables keeps no letters,
//! it ends the job, and so does one that comes from letters or late rows itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use rheos_core::graph::{Edge, Exchange, JobGraph, NodeKind};
use rheos_core::{NodeId, OperatorFactory, Port};
use rheos_operators::LenientFactory;

use super::edge;
use super::scan::Side;

/// Lets the rows of operators fail one by one where their tables keep letters. Gives what feeds the relations. `constants` are
/// sources of rows that stand in the program.
pub(super) fn wire(graph: &mut JobGraph, sides: &[Side], constants: &BTreeSet<NodeId>) -> Vec<(NodeId, Edge)> {
    let errors = |from: NodeId| Edge { port: Port::ERRORS, ..edge(from, Exchange::Forward) };
    let mut edges: Vec<_> = sides.iter().map(|side| (side.node, errors(side.source))).collect();
    // By node: the sources of its rows; `None` where some come from what could not be used.
    let mut sources: Vec<Option<BTreeSet<NodeId>>> = vec![];
    for id in graph.ids() {
        let node = graph.node(id);
        let of_node = match &node.kind {
            // Rows that stand in the program are of no table.
            NodeKind::Source { .. } if constants.contains(&id) => Some(BTreeSet::new()),
            NodeKind::Source { .. } => Some(BTreeSet::from([id])),
            NodeKind::Side(_) => None,
            _ => {
                node.inputs.iter().map(|e| sources[e.from.0].clone()).try_fold(BTreeSet::new(), |mut all, of_input| {
                    all.extend(of_input?);
                    Some(all)
                })
            }
        };
        let side = |source: &NodeId| sides.iter().find(|side| side.source == *source);
        if let Some(tables) = &of_node
            && tables.iter().all(|source| side(source).is_some())
            && let Some(first) = tables.first().and_then(side)
        {
            let table = &graph.node(first.source).name;
            let table = table.strip_prefix("source:").unwrap_or(table);
            let id_of_node = &node.operator_id;
            let lenient: Option<Arc<dyn OperatorFactory>> = match &node.kind {
                NodeKind::Stateless(inner) => {
                    Some(Arc::new(LenientFactory::new(Arc::clone(inner), id_of_node.clone(), table.to_string())))
                }
                NodeKind::Stateful(inner) => inner.lenient(id_of_node, table),
                _ => None,
            };
            if let Some(lenient) = lenient {
                edges.push((first.node, errors(id)));
                graph.replace_operator(id, lenient);
            }
        }
        sources.push(of_node);
    }
    edges
}
