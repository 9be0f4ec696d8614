//! A job graph in the language of Graphviz: `rheos explain --format dot job.sql | dot -Tsvg > job.svg`.

use rheos_core::graph::JobGraph;

use super::picture::{Shape, arrows, boxes};

/// The digraph; rows run from top to bottom.
pub(super) fn digraph(graph: &JobGraph) -> String {
    let mut out = String::from(
        "digraph job {\n  node [shape=box, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\"];\n",
    );
    for node in boxes(graph) {
        let shape = match node.shape {
            Shape::Source => ", style=rounded",
            Shape::Operator => "",
            Shape::Sink => ", peripheries=2",
        };
        // `\l` ends a line that is set flush left.
        let lines: String = node.lines.iter().map(|line| format!("{}\\l", escaped(line))).collect();
        out.push_str(&format!("  n{} [label=\"{lines}\"{shape}];\n", node.id.0));
    }
    for arrow in arrows(graph) {
        out.push_str(&format!("  n{} -> n{} [label=\"{}\"];\n", arrow.from.0, arrow.to.0, escaped(&arrow.label)));
    }
    out.push_str("}\n");
    out
}

/// Text within quotes: a backslash would begin an escape, and `&` an entity of HTML.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('&', "&amp;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_label_ends_it() {
        assert_eq!(escaped(r#"a "b" \N &lt;"#), r#"a \"b\" \\N &amp;lt;"#);
    }
}
