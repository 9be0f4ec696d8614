//! Flink's statement sets: the words around the inserts are taken away.
//!
//! ```text
//!   EXECUTE STATEMENT SET BEGIN INSERT ..; INSERT ..; END;
//!   BEGIN STATEMENT SET; INSERT ..; INSERT ..; END;
//! ```
//!
//! All inserts of a program are one job anyway, so a set says nothing more.

use rheos_core::error::{Error, Result};
use sqlparser::tokenizer::{Span as TokenSpan, Token};

use crate::tokens::{Tokens, place};

/// The statements without the words of statement sets. Errors: a set that is not closed, or holds anything but inserts.
pub(crate) fn unwrap(statements: Vec<Tokens>) -> Result<Vec<Tokens>> {
    let mut kept = Vec::with_capacity(statements.len());
    let mut set: Option<Set> = None;
    for mut tokens in statements {
        if let Some(length) = opening(&tokens) {
            let span = TokenSpan::new(tokens[0].span.start, tokens[length - 1].span.end);
            if set.is_some() {
                return Err(wrong("a statement set inside of another", "write END; before it", span));
            }
            set = Some(Set { span, inserts: 0 });
            tokens.drain(..length);
            if tokens.is_empty() {
                continue;
            }
        }
        if ["EXECUTE", "STATEMENT", "SET"].iter().enumerate().all(|(i, w)| is(&tokens, i, w)) {
            let at = tokens.get(3).unwrap_or(&tokens[2]).span;
            return Err(wrong("BEGIN is missing here", "write EXECUTE STATEMENT SET BEGIN INSERT ...; END;", at));
        }
        if is(&tokens, 0, "EXPLAIN") && is(&tokens, 1, "STATEMENT") && is(&tokens, 2, "SET") {
            let hint = "write EXPLAIN before each INSERT, or use `rheos explain` for the whole program";
            return Err(wrong("EXPLAIN of a statement set is not supported", hint, tokens[0].span));
        }
        if tokens.len() == 1 && is(&tokens, 0, "END") {
            match set.take() {
                Some(Set { inserts: 0, span }) => {
                    return Err(wrong("this statement set is empty", "write INSERT INTO statements in it", span));
                }
                Some(_) => continue,
                None => {
                    let hint = "a set begins with EXECUTE STATEMENT SET BEGIN; elsewhere END is not needed";
                    return Err(wrong("this END closes nothing", hint, tokens[0].span));
                }
            }
        }
        if let Some(set) = &mut set {
            check_member(&tokens, set)?;
        }
        kept.push(tokens);
    }
    match set {
        None => Ok(kept),
        Some(set) => Err(wrong("this statement set is not closed", "write END; behind its last INSERT", set.span)),
    }
}

/// A set that is open.
struct Set {
    span: TokenSpan,
    inserts: usize,
}

/// How many tokens open a set here.
fn opening(tokens: &Tokens) -> Option<usize> {
    let words = |words: &[&str]| words.iter().enumerate().all(|(i, w)| is(tokens, i, w)).then_some(words.len());
    words(&["EXECUTE", "STATEMENT", "SET", "BEGIN"]).or_else(|| words(&["BEGIN", "STATEMENT", "SET"]))
}

fn check_member(tokens: &Tokens, set: &mut Set) -> Result<()> {
    let Some(first) = tokens.first() else { return Ok(()) };
    if !is(tokens, 0, "INSERT") {
        let what = format!("a statement set takes INSERT INTO only, and this is '{}'", first.token);
        let hint = match is(tokens, 0, "WITH") {
            true => "write INSERT INTO t WITH x AS (...) SELECT ..., or make x a view before the set",
            false => "put it before the set; is END; missing?",
        };
        return Err(wrong(&what, hint, first.span));
    }
    // Without its own ';' the END would be read as a name.
    let count = |word: &str| (0..tokens.len()).filter(|i| is(tokens, *i, word)).count();
    if let Some(last) = tokens.last().filter(|_| is(tokens, tokens.len() - 1, "END") && count("END") > count("CASE")) {
        return Err(wrong("a ';' is missing before this END", "each INSERT of a set ends with ';'", last.span));
    }
    set.inserts += 1;
    Ok(())
}

fn is(tokens: &Tokens, i: usize, word: &str) -> bool {
    matches!(tokens.get(i).map(|t| &t.token), Some(Token::Word(w)) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

fn wrong(message: &str, hint: &str, span: TokenSpan) -> Error {
    Error::invalid(103, message).with_hint(hint).with_span(place(span))
}
