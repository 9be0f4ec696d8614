//! A job graph for people: as text, or as a picture in the language of Mermaid or of Graphviz.
//!
//! ```text
//!              ┌─ text     a tree a sink, for the terminal
//!   JobGraph ──┼─ mermaid  a flowchart, for Markdown pages
//!              └─ dot      a digraph, for Graphviz
//! ```
//!
//! It knows the graph only, so it serves programs in SQL and those that are built by hand.

mod dot;
mod mermaid;
mod picture;
mod text;

pub use text::explain;

use arrow::datatypes::{DataType, Field, Schema};
use rheos_core::graph::{Edge, Exchange, JobGraph};

/// What a plan is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PlanFormat {
    /// One tree a sink, one line a node.
    #[default]
    Text,
    /// A Mermaid flowchart.
    Mermaid,
    /// A Graphviz digraph.
    Dot,
}

/// The plan of a job in a format; ends with a line end.
pub fn explain_as(graph: &JobGraph, format: PlanFormat) -> String {
    match format {
        PlanFormat::Text => explain(graph),
        PlanFormat::Mermaid => mermaid::flowchart(graph),
        PlanFormat::Dot => dot::digraph(graph),
    }
}

/// How the rows of an edge travel: `forward`, `hash(origin)`, `single`.
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

/// The columns that a source is read for; of a ROW its fields.
fn columns(schema: &Schema) -> String {
    fn shown(field: &Field) -> String {
        let DataType::Struct(parts) = field.data_type() else { return field.name().clone() };
        let parts: Vec<_> = parts.iter().map(|p| shown(p)).collect();
        format!("{}({})", field.name(), parts.join(", "))
    }
    schema.fields().iter().map(|f| shown(f)).collect::<Vec<_>>().join(", ")
}
