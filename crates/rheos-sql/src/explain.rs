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
use rheos_core::graph::{Edge, Exchange, JobGraph, NodeKind};

/// The text plan of a job.
pub fn explain(graph: &JobGraph) -> String {
    let mut out = String::new();
    let mut seen = BTreeSet::new();
    for id in graph.ids().filter(|id| matches!(graph.node(*id).kind, NodeKind::Sink(_))) {
        node(graph, id, None, 0, &mut seen, &mut out);
    }
    out
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
    // All edges carry plain rows until there are updating results.
    let travels = edge.map(|e| format!("[{}, append] ", exchange(graph, e))).unwrap_or_default();
    if !seen.insert(id) {
        out.push_str(&format!("{indent}{travels}{} (the one above)\n", node_here.name));
        return;
    }
    let mut facts: Vec<_> = node_here.describe().iter().map(|(k, v)| format!("{k}: {}", without_indexes(v))).collect();
    if matches!(node_here.kind, NodeKind::Source { .. }) {
        let columns: Vec<_> = node_here.schema.fields().iter().map(|f| f.name().as_str()).collect();
        facts.insert(0, format!("columns: {}", columns.join(", ")));
    }
    let facts = if facts.is_empty() { String::new() } else { format!("  {}", facts.join("; ")) };
    out.push_str(&format!("{indent}{travels}{}{facts}\n", node_here.name));
    for input in &node_here.inputs {
        node(graph, input.from, Some(input), depth + 1, seen, out);
    }
}

fn exchange(graph: &JobGraph, edge: &Edge) -> String {
    match &edge.exchange {
        Exchange::Hash(columns) => {
            let schema = &graph.node(edge.from).schema;
            let names: Vec<_> = columns.iter().map(|c| schema.field(*c).name().as_str()).collect();
            format!("hash({})", names.join(", "))
        }
        other => other.to_string(),
    }
}

/// `origin@2` becomes `origin`: the index says nothing to a reader.
fn without_indexes(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let digits = chars[i + 1..].iter().take_while(|c| c.is_ascii_digit()).count();
        let behind = chars.get(i + 1 + digits);
        let is_index = chars[i] == '@'
            && digits > 0
            && i > 0
            && !chars[i - 1].is_whitespace()
            && !behind.is_some_and(|c| c.is_alphanumeric() || *c == '_' || *c == '.');
        if is_index {
            i += 1 + digits;
        } else {
            out.push(chars[i]);
            i += 1;
        }
    }
    out
}
