//! An error as the command line shows it.
//!
//! ```text
//!   error[R0130]: there is no table or view 'flihgts'
//!    --> delays.sql:3:15
//!     |
//!   3 | SELECT * FROM flihgts
//!     |               ^^^^^^^
//!   try: did you mean 'flights'?
//! ```

use rheos_core::error::{Error, Span};

/// Columns of a line that are shown; the rest of a very long line is cut away around the place.
const LINE_WIDTH_MAX: usize = 160;

/// The error with the line that it is about. `file` is what the program is called, e.g. its path.
pub fn render(error: &Error, text: &str, file: &str) -> String {
    let mut out = format!("error[{}]: {}\n", error.code(), error.message());
    if let Some(span) = error.span() {
        let Span { line, column, .. } = span;
        out.push_str(&format!(" --> {file}:{line}:{column}\n"));
        if let Some(source) = text.split('\n').nth(line.saturating_sub(1) as usize) {
            out.push_str(&underlined(source.trim_end_matches('\r'), span));
        }
    }
    if let Some(hint) = error.hint() {
        out.push_str(&format!("try: {hint}\n"));
    }
    out
}

fn underlined(source: &str, span: Span) -> String {
    // A tab takes one column in the span, so it must take one on the screen.
    let chars: Vec<char> = source.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let start = (span.column.saturating_sub(1) as usize).min(chars.len());
    let end = match span.end_line == span.line {
        true => (span.end_column.saturating_sub(1) as usize).clamp(start, chars.len()),
        false => chars.len(),
    };
    let from = if start > LINE_WIDTH_MAX / 2 && chars.len() > LINE_WIDTH_MAX { start - LINE_WIDTH_MAX / 2 } else { 0 };
    let shown: String = chars.iter().skip(from).take(LINE_WIDTH_MAX).collect();
    let carets = (end - start).clamp(1, LINE_WIDTH_MAX - (start - from).min(LINE_WIDTH_MAX - 1));
    let number = span.line.to_string();
    let margin = " ".repeat(number.len());
    let blank = " ".repeat(start - from);
    format!("{margin} |\n{number} | {}\n{margin} | {blank}{}\n", shown.trim_end(), "^".repeat(carets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_points_at_its_place() {
        let error = Error::invalid(130, "there is no table 'x'").with_hint("did you mean 'y'?").with_span(Span {
            line: 2,
            column: 6,
            end_line: 2,
            end_column: 7,
        });
        let shown = render(&error, "SELECT 1\nFROM x", "a.sql");
        let expected = "error[R0130]: there is no table 'x'\n --> a.sql:2:6\n  |\n2 | FROM x\n  |      ^\ntry: did you mean 'y'?\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn places_outside_of_the_text_do_no_harm() {
        for (column, end_column) in [(1, 1), (900, 2), (3, 9999)] {
            let span = Span { line: 1, column, end_line: 1, end_column };
            let error = Error::invalid(130, "x").with_span(span);
            assert!(render(&error, "abc", "f").contains('^'));
            assert!(render(&error, &"é".repeat(5000), "f").lines().all(|l| l.chars().count() < 200));
        }
    }
}
