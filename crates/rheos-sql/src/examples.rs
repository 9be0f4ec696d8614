//! Examples of functions as the library documents them: the head of a table of results is the expression as it is written,
//! without the library's names of types.
//!
//! ```text
//!   | lpad(Utf8("Dolly"),Int64(10)) |     | lpad('Dolly',10) |
//! ```

use crate::explain::without_types;

/// The example for a reader: tables of one column are drawn anew around their shorter heads.
pub(crate) fn readable(example: &str) -> String {
    let lines: Vec<&str> = example.lines().collect();
    let mut out: Vec<String> = Vec::with_capacity(lines.len());
    let mut at = 0;
    while at < lines.len() {
        let rows = lines[at..].iter().take_while(|line| is_of_table(line)).count();
        match rows {
            0 => out.push(lines[at].to_string()),
            _ => out.extend(table(&lines[at..at + rows])),
        }
        at += rows.max(1);
    }
    out.join("\n")
}

fn is_of_table(line: &str) -> bool {
    line.trim_start().starts_with(['+', '|'])
}

fn table(lines: &[&str]) -> Vec<String> {
    let cells: Vec<Option<&str>> = lines.iter().map(|line| cell(line)).collect();
    let is_single = lines.iter().zip(&cells).all(|(line, cell)| cell.is_some() || border(line));
    let Some(head) = cells.get(1).copied().flatten().filter(|_| is_single) else {
        return lines.iter().map(ToString::to_string).collect();
    };
    let written = without_types(&without_lists(head));
    if written == head || cells.iter().flatten().skip(1).any(|cell| without_types(cell) != **cell) {
        return lines.iter().map(ToString::to_string).collect();
    }
    let shown: Vec<Option<&str>> =
        cells.iter().enumerate().map(|(i, c)| if i == 1 { Some(written.as_str()) } else { *c }).collect();
    let width = shown.iter().flatten().map(|cell| cell.chars().count()).max().unwrap_or_default();
    let indent = &lines[0][..lines[0].len() - lines[0].trim_start().len()];
    let line = |cell: &Option<&str>| match cell {
        Some(cell) => format!("{indent}| {cell:width$} |"),
        None => format!("{indent}+{}+", "-".repeat(width + 2)),
    };
    shown.iter().map(line).collect()
}

/// `List([1,2])` becomes `[1,2]`.
fn without_lists(text: &str) -> String {
    let mut parts = text.split("List([");
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |out, part| out + "[" + &part.replacen("])", "]", 1))
}

/// What stands in a row of a single column.
fn cell(line: &str) -> Option<&str> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    (!inner.contains('|')).then(|| inner.trim())
}

fn border(line: &str) -> bool {
    line.trim().chars().all(|c| c == '+' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_examples_have_no_types() {
        let example = "> select f('a', [1, 2]);\n+----------------------------------+\n| f(Utf8(\"a\"),List([1,2]),Int64(7)) |\n+----------------------------------+\n| aa                               |\n+----------------------------------+\ntext";
        let expected = "> select f('a', [1, 2]);\n+----------------+\n| f('a',[1,2],7) |\n+----------------+\n| aa             |\n+----------------+\ntext";
        assert_eq!(readable(example), expected);
        let two = "+---+---+\n| a | b |\n+---+---+\n| 1 | 2 |\n+---+---+";
        assert_eq!(readable(two), two);
    }
}
