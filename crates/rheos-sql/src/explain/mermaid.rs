//! A job graph as a Mermaid flowchart, which Markdown pages and many editors draw.
//!
//! ```text
//!   flowchart TB
//!     n0[("source:bid<br/>connector: nexmark")]
//!     n1[["sink:result"]]
//!     n0 -->|"single"| n1
//! ```

use rheos_core::graph::JobGraph;

use super::picture::{Shape, arrows, boxes};

/// The flowchart; rows run from top to bottom.
pub(super) fn flowchart(graph: &JobGraph) -> String {
    let mut out = String::from("flowchart TB\n");
    for node in boxes(graph) {
        let (open, close) = match node.shape {
            Shape::Source => ("[(", ")]"),
            Shape::Operator => ("[", "]"),
            Shape::Sink => ("[[", "]]"),
        };
        let lines: Vec<String> = node.lines.iter().map(|line| escaped(line)).collect();
        out.push_str(&format!("  n{}{open}\"{}\"{close}\n", node.id.0, lines.join("<br/>")));
    }
    for arrow in arrows(graph) {
        out.push_str(&format!("  n{} -->|\"{}\"| n{}\n", arrow.from.0, escaped(&arrow.label), arrow.to.0));
    }
    out
}

/// Text within quotes. Mermaid reads `#34;` as a character, and a label as HTML and Markdown: two `count(*)` would be in italics.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '#' | '<' | '>' | '&' | '`' | '*' | '\\' => out.push_str(&format!("#{};", u32::from(c))),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_label_ends_it_or_is_markup() {
        let text = escaped(r##"a <> "b" & #1; `c` \"##);
        assert_eq!(text, "a #60;#62; #34;b#34; #38; #35;1; #96;c#96; #92;");
    }
}
