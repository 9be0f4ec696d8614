//! A job graph as text: one tree a sink, one line a node, inputs indented below their reader.
//!
//! ```text
//!   sink:out  connector: print
//!     <- forward, append
//!     tumble  window: tumble 3600000 ms; group by: origin; ...
//!       <- hash(origin), append
//!       partial-tumble  ...
//! ```

use std::collections::BTreeSet;

use rheos_core::NodeId;
use rheos_core::graph::{Edge, JobGraph, NodeKind};

use super::words::readable;
use super::{changes, columns, exchange};

/// The text plan of a job.
pub fn explain(graph: &JobGraph) -> String {
    let mut out = String::new();
    let mut seen = BTreeSet::new();
    for id in graph.ids().filter(|id| matches!(graph.node(*id).kind, NodeKind::Sink(_))) {
        node(graph, id, None, 0, &mut seen, &mut out);
    }
    let growing = growth(graph);
    if !growing.is_empty() {
        out.push_str("state that grows for ever:\n");
        growing.iter().for_each(|line| out.push_str(&format!("  {line}\n")));
    }
    out
}

/// The steps over endless input whose state grows for ever: what they keep more and more of, and what helps.
pub fn growth(graph: &JobGraph) -> Vec<String> {
    let endless = graph.ids().filter(|id| graph.is_endless(*id)).map(|id| graph.node(id));
    let growing = endless.filter_map(|node| match &node.kind {
        NodeKind::Stateful(factory) => {
            Some(format!("{}: {}; set 'state.ttl', or use a window", node.name, factory.growth()?))
        }
        _ => None,
    });
    growing.collect()
}

fn node(
    graph: &JobGraph,
    id: NodeId,
    edge: Option<&Edge>,
    depth: usize,
    seen: &mut BTreeSet<NodeId>,
    out: &mut String,
) {
    let node_here = graph.node(id);
    let indent = "  ".repeat(depth);
    let travels = edge.map(|e| format!("[{}, {}] ", exchange(graph, e), changes(graph, e))).unwrap_or_default();
    if !seen.insert(id) {
        out.push_str(&format!("{indent}{travels}{} (the one above)\n", node_here.name));
        return;
    }
    let mut facts: Vec<_> = node_here.describe().iter().map(|(k, v)| format!("{k}: {}", readable(v))).collect();
    if matches!(node_here.kind, NodeKind::Source { .. }) {
        // A source may name its columns too.
        facts.retain(|f| !f.starts_with("columns: "));
        facts.insert(0, format!("columns: {}", columns(&node_here.schema)));
    }
    let facts = if facts.is_empty() { String::new() } else { format!("  {}", facts.join("; ")) };
    out.push_str(&format!("{indent}{travels}{}{facts}\n", node_here.name));
    for input in &node_here.inputs {
        node(graph, input.from, Some(input), depth + 1, seen, out);
    }
}
