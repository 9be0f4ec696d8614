//! What a step of a job is, whatever else the job does: the text that its stable id is made of.
//!
//! A query that comes or goes changes which columns of a table are read, and so where a column stands and whether others
//! have to be left out on the way. None of that is meaning: columns go by their names here, and a step that only leaves columns out
//! is looked through.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};

use super::{Edge, Exchange, JobGraph, Node, NodeKind};

/// Facts of a source that say how much of it is read and how fast, not what it is.
const PASSING: [&str; 2] = ["columns", "pace"];

/// The meaning of a node that is not yet in the graph. `is_named`: it goes by a name, whatever it reads its rows from.
pub(super) fn text(graph: &JobGraph, node: &Node, is_named: bool) -> String {
    let mut text = format!("{}\n", node.name);
    for (name, value) in facts(node) {
        text.push_str(&format!("{name}={}\n", by_name(&value, graph, &node.inputs)));
    }
    if let NodeKind::Stateful(_) = &node.kind {
        // Rows of other types, or with other columns, do not fit the state.
        text.push_str(&format!("rows={}\n", types(&node.schema)));
    }
    // A table that is written is one sink, whatever is written into it.
    let inputs = if matches!(node.kind, NodeKind::Sink(_)) { &[][..] } else { &node.inputs };
    for edge in inputs {
        let from = match is_named {
            true => types(&graph.node(edge.from).schema),
            false => origin(graph, edge).meaning.clone(),
        };
        text.push_str(&format!("<- {from} {} {}\n", edge.port.0, exchange(graph, edge)));
    }
    text
}

fn facts(node: &Node) -> Vec<(String, String)> {
    match &node.kind {
        NodeKind::Source { source, watermark } => {
            let mut facts = source.describe();
            facts.retain(|(name, _)| !PASSING.contains(&name.as_str()));
            let schema = source.schema();
            // How long rows may be late may change; restored watermarks are of this column.
            let time = watermark.as_ref().map(|w| ("event time".to_string(), schema.field(w.column).name().clone()));
            facts.extend(time);
            facts
        }
        _ => node.describe(),
    }
}

/// Where the rows of an edge come from, but for steps that only leave columns or rows out that others read.
fn origin<'a>(graph: &'a JobGraph, edge: &Edge) -> &'a Node {
    let mut node = graph.node(edge.from);
    while let (NodeKind::Stateless(factory) | NodeKind::Stateful(factory), [input]) =
        (&node.kind, node.inputs.as_slice())
        && (factory.only_selects() || factory.passes_rows())
    {
        node = graph.node(input.from);
    }
    node
}

fn exchange(graph: &JobGraph, edge: &Edge) -> String {
    let schema = &graph.node(edge.from).schema;
    match &edge.exchange {
        Exchange::Hash(columns) => {
            let names = columns.iter().map(|at| column(schema, *at).unwrap_or_else(|| at.to_string()));
            format!("hash({})", names.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// A column's name; of several with one name, with its number among them.
fn column(schema: &Schema, at: usize) -> Option<String> {
    let name = schema.fields().get(at)?.name();
    match schema.fields()[..at].iter().filter(|f| f.name() == name).count() {
        0 => Some(name.clone()),
        before => Some(format!("{name}#{before}")),
    }
}

/// `price@2`, as expressions show a column of the rows that they read, becomes `price`.
fn by_name(text: &str, graph: &JobGraph, inputs: &[Edge]) -> String {
    let mut parts = text.split('@');
    let mut named = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (index, rest) = part.split_at(digits);
        let is_told = |schema: &Schema| {
            let at: usize = index.parse().ok()?;
            let name = schema.fields().get(at)?.name();
            named.ends_with(name.as_str()).then(|| column(schema, at).map(|c| c[name.len()..].to_string()))?
        };
        match inputs.iter().find_map(|edge| is_told(&graph.node(edge.from).schema)) {
            Some(number) => named.push_str(&number),
            None => named.push_str(&format!("@{index}")),
        }
        named.push_str(rest);
    }
    named
}

/// Names and types of columns.
fn types(schema: &Schema) -> String {
    let field = |f: &Arc<Field>| format!("{}: {:?}", f.name(), f.data_type());
    schema.fields().iter().map(field).collect::<Vec<_>>().join(", ")
}
