//! What all pictures of a job graph share: boxes with a few short lines, and arrows with a word.

use rheos_core::NodeId;
use rheos_core::graph::{JobGraph, NodeKind};

use super::words::readable;
use super::{columns, exchange};

/// Characters of a line in a box, at most: a long expression would make the box wider than the page.
const LINE_CHARS_MAX: usize = 72;

/// What kind of box it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Source,
    Operator,
    Sink,
}

/// A node as a box: its name, then a line a fact.
#[derive(Debug)]
pub(super) struct NodeBox {
    pub(super) id: NodeId,
    pub(super) shape: Shape,
    pub(super) lines: Vec<String>,
}

/// An edge as an arrow in the direction of the rows.
#[derive(Debug)]
pub(super) struct Arrow {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) label: String,
}

/// The boxes, sources first.
pub(super) fn boxes(graph: &JobGraph) -> Vec<NodeBox> {
    graph.ids().map(|id| node_box(graph, id)).collect()
}

fn node_box(graph: &JobGraph, id: NodeId) -> NodeBox {
    let node = graph.node(id);
    let mut facts = node.describe();
    let is_source = matches!(node.kind, NodeKind::Source { .. });
    if is_source && facts.iter().all(|(name, _)| name != "columns") {
        facts.push(("columns".into(), columns(&node.schema)));
    }
    let facts = facts.iter().map(|(name, value)| format!("{name}: {}", readable(value)));
    let lines = std::iter::once(node.name.clone()).chain(facts).map(|line| short(&line)).collect();
    let shape = match node.kind {
        NodeKind::Source { .. } => Shape::Source,
        NodeKind::Sink(_) => Shape::Sink,
        _ => Shape::Operator,
    };
    NodeBox { id, shape, lines }
}

/// The arrows, in the order of the boxes that they lead to.
pub(super) fn arrows(graph: &JobGraph) -> Vec<Arrow> {
    let into = |to: NodeId| {
        graph.node(to).inputs.iter().map(move |edge| {
            // Results leave by output 0; only the others are worth a word.
            let output = if edge.port.0 == 0 { String::new() } else { format!(", output {}", edge.port.0) };
            Arrow { from: edge.from, to, label: short(&format!("{}{output}", exchange(graph, edge))) }
        })
    };
    graph.ids().flat_map(into).collect()
}

/// One line of bounded length: control characters as escapes, the rest of a long one as `…`.
fn short(line: &str) -> String {
    let mut text = String::with_capacity(line.len().min(4 * LINE_CHARS_MAX));
    for (n, c) in line.chars().enumerate() {
        if n == LINE_CHARS_MAX {
            text.push('…');
            break;
        }
        if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_short_and_cannot_be_broken() {
        assert_eq!(short("where: a = 'x\ny'"), "where: a = 'x\\ny'");
        assert_eq!(short(&"é".repeat(LINE_CHARS_MAX)), "é".repeat(LINE_CHARS_MAX));
        assert_eq!(short(&"é".repeat(LINE_CHARS_MAX + 1)), format!("{}…", "é".repeat(LINE_CHARS_MAX)));
    }
}
