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
mod words;

pub use text::{explain, growth};
pub(crate) use words::without_types;

use arrow::datatypes::{DataType, Field, Schema};
use rheos_core::change::Changes;
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
            let names: Vec<_> = columns.iter().map(|c| words::readable(schema.field(*c).name())).collect();
            format!("hash({})", names.join(", "))
        }
        other => other.to_string(),
    }
}

/// What the rows of an edge say: `append`, `retract [key a, b]`.
fn changes(graph: &JobGraph, edge: &Edge) -> String {
    let node = graph.node(edge.from);
    let name = |at: &usize| words::readable(node.schema.field(*at).name());
    match (node.changes(), &node.key) {
        (Changes::Append, _) => "append".into(),
        (changes, Some(key)) if key.is_empty() => format!("{changes} [one row]"),
        (changes, Some(key)) => format!("{changes} [key {}]", key.iter().map(name).collect::<Vec<_>>().join(", ")),
        (changes, None) => changes.to_string(),
    }
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
