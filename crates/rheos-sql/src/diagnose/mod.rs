//! Errors of the parser and of DataFusion in the words of a user, with a place and a hint.
//!
//! Invariant: no wording of a library reaches the user as it is. What is not known here is shortened to its first
//! sentence, with types as users write them.

mod places;
mod planning;
mod render;
mod syntax;

use datafusion_common::DataFusionError;
use rheos_core::error::{Error, Span};
use sqlparser::tokenizer::{Span as TokenSpan, Token, TokenWithSpan};

pub(crate) use places::call;
pub(crate) use planning::{missing_table, planning};
pub use render::render;
pub(crate) use syntax::{syntax, syntax_at};

use crate::tokens::place;

/// Our error on its way through DataFusion.
pub(crate) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The place that DataFusion gives, if any.
pub(crate) fn diagnostic_span(error: &DataFusionError) -> Option<datafusion_common::Span> {
    error.iter().find_map(|e| e.diagnostic().and_then(|d| d.span))
}

fn from_df(span: datafusion_common::Span) -> Span {
    Span { line: span.start.line, column: span.start.column, end_line: span.end.line, end_column: span.end.column }
}

/// The first token that says `name`.
fn find_word(tokens: &[TokenWithSpan], name: &str) -> Option<Span> {
    let says = |t: &&TokenWithSpan| matches!(&t.token, Token::Word(w) if w.value.eq_ignore_ascii_case(name));
    tokens.iter().find(says).map(|t| place(t.span))
}

/// The first place where the tokens spell `text`, blanks apart.
fn find_text(tokens: &[TokenWithSpan], text: &str) -> Option<Span> {
    let squeeze = |s: &str| s.chars().filter(|c| !c.is_whitespace() && *c != '"').collect::<String>().to_lowercase();
    let wanted = squeeze(text);
    if wanted.is_empty() {
        return None;
    }
    for start in 0..tokens.len() {
        let mut spelled = String::new();
        for end in &tokens[start..] {
            spelled.push_str(&squeeze(&end.token.to_string()));
            if spelled == wanted {
                return Some(place(TokenSpan::new(tokens[start].span.start, end.span.end)));
            }
            if !wanted.starts_with(&spelled) {
                break;
            }
        }
    }
    None
}
