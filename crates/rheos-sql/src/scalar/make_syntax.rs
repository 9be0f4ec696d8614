//! The calls that make JSON and maps, in tokens, made into plain calls before the parser sees them.
//!
//! ```text
//!   JSON_OBJECT(KEY 'a' VALUE x, 'b' : y ABSENT ON NULL)   json_object('absent', 'a', x, 'plain', 'b', y, 'plain')
//!   MAP['a', 1, 'b', 2]                                    MAP(['a', 'b'], [1, 2])
//!   JSON_ARRAY(x, JSON_ARRAY(y) NULL ON NULL)              json_array('null', x, 'plain', json_array(..), 'raw')
//! ```
//!
//! A value that is itself a call that makes JSON, or that is followed by FORMAT JSON, is put in as it is.

use rheos_core::error::{Error, Result};
use rheos_functions::json_make::{ABSENT_ON_NULL, NULL_ON_NULL, PLAIN, RAW};
use sqlparser::tokenizer::{Span as TokenSpan, Token, TokenWithSpan};

use super::syntax::{close_of, nested, word_at};
use crate::tokens::{Tokens, place};

/// Rewrites the call whose name is at `i`, if it is one of these.
pub(super) fn rewrite_call(tokens: &mut Tokens, i: usize) -> Result<()> {
    if word_at(tokens, i) == "MAP" {
        return rewrite_map(tokens, i);
    }
    let with_keys = match word_at(tokens, i).as_str() {
        "JSON_OBJECT" => true,
        "JSON_ARRAY" => false,
        _ => return Ok(()),
    };
    let open = i + 1;
    if tokens.get(open).map(|t| &t.token) != Some(&Token::LParen) {
        return Ok(());
    }
    let Some(close) = close_of(tokens, open) else { return Ok(()) };
    let span = tokens[i].span;
    let mut inner = tokens[open + 1..close].to_vec();
    let clause = on_null(&mut inner).unwrap_or(if with_keys { NULL_ON_NULL } else { ABSENT_ON_NULL });
    let mut args = vec![quoted(clause, span)];
    for part in split(&inner, |t| *t == Token::Comma) {
        args.push(comma(span));
        let value = match with_keys {
            false => part,
            true => {
                let (key, value) = member(part, span)?;
                args.extend_from_slice(key);
                args.push(comma(span));
                value
            }
        };
        let (value, kind) = kind_of(value);
        args.extend_from_slice(value);
        args.push(comma(span));
        args.push(quoted(kind, span));
    }
    tokens.splice(open + 1..close, args);
    Ok(())
}

/// `MAP['a', 1, 'b', 2]`. A single value in the brackets is an index of a column called `map`.
fn rewrite_map(tokens: &mut Tokens, i: usize) -> Result<()> {
    let open = i + 1;
    if tokens.get(open).map(|t| &t.token) != Some(&Token::LBracket) {
        return Ok(());
    }
    let Some(close) = close_of(tokens, open) else { return Ok(()) };
    let inner = tokens[open + 1..close].to_vec();
    let parts = split(&inner, |t| *t == Token::Comma);
    if parts.len() < 2 {
        return Ok(());
    }
    if parts.len() % 2 == 1 || parts.iter().any(|part| part.is_empty()) {
        return Err(Error::invalid(101, "MAP[...] takes keys and values in turn, and a value is missing")
            .with_hint("write MAP['a', 1, 'b', 2]")
            .with_span(place(tokens[i].span)));
    }
    let span = tokens[i].span;
    let put = |token: Token| TokenWithSpan::new(token, span);
    let list = |first: usize| {
        let mut list = vec![put(Token::LBracket)];
        for (n, part) in parts.iter().skip(first).step_by(2).enumerate() {
            list.extend((n > 0).then(|| comma(span)));
            list.extend_from_slice(part);
        }
        list.push(put(Token::RBracket));
        list
    };
    let mut args = vec![put(Token::LParen)];
    args.extend(list(0));
    args.push(comma(span));
    args.extend(list(1));
    args.push(put(Token::RParen));
    tokens.splice(open..=close, args);
    Ok(())
}

fn comma(span: TokenSpan) -> TokenWithSpan {
    TokenWithSpan::new(Token::Comma, span)
}

fn quoted(text: &str, span: TokenSpan) -> TokenWithSpan {
    TokenWithSpan::new(Token::SingleQuotedString(text.into()), span)
}

/// Takes `NULL ON NULL` or `ABSENT ON NULL` off the end.
fn on_null(inner: &mut Tokens) -> Option<&'static str> {
    let at = inner.len().checked_sub(3)?;
    if word_at(inner, at + 1) != "ON" || word_at(inner, at + 2) != "NULL" {
        return None;
    }
    let clause = match word_at(inner, at).as_str() {
        "NULL" => NULL_ON_NULL,
        "ABSENT" => ABSENT_ON_NULL,
        _ => return None,
    };
    inner.truncate(at);
    Some(clause)
}

/// The parts between separators that lie in no parentheses; none of nothing.
fn split(tokens: &[TokenWithSpan], is_separator: impl Fn(&Token) -> bool) -> Vec<&[TokenWithSpan]> {
    let (mut parts, mut depth, mut start) = (vec![], 0, 0);
    for (i, token) in tokens.iter().enumerate() {
        if nested(&token.token, &mut depth) == 0 && is_separator(&token.token) {
            parts.push(&tokens[start..i]);
            start = i + 1;
        }
    }
    if !tokens.is_empty() {
        parts.push(&tokens[start..]);
    }
    parts
}

/// Key and value of `KEY k VALUE v` or `k : v`.
fn member(part: &[TokenWithSpan], call: TokenSpan) -> Result<(&[TokenWithSpan], &[TokenWithSpan])> {
    let mut depth = 0;
    let is_between = |t: &Token| match t {
        Token::Colon => true,
        Token::Word(w) => w.quote_style.is_none() && w.value.eq_ignore_ascii_case("value"),
        _ => false,
    };
    let between =
        (0..part.len()).find(|i| nested(&part[*i].token, &mut depth) == 0 && *i > 0 && is_between(&part[*i].token));
    let start = usize::from(word_at(part, 0) == "KEY" && between.is_some_and(|b| b > 1));
    match between {
        Some(at) if at > start && at + 1 < part.len() => Ok((&part[start..at], &part[at + 1..])),
        _ => Err(Error::invalid(101, "JSON_OBJECT takes keys and values")
            .with_hint("write JSON_OBJECT('a' VALUE x, 'b' VALUE y), or 'a' : x")
            .with_span(place(part.first().map_or(call, |t| t.span)))),
    }
}

/// A value without FORMAT JSON, and whether it is JSON.
fn kind_of(value: &[TokenWithSpan]) -> (&[TokenWithSpan], &'static str) {
    if let Some(at) = value.len().checked_sub(2)
        && at > 0
        && word_at(value, at) == "FORMAT"
        && word_at(value, at + 1) == "JSON"
    {
        return (&value[..at], RAW);
    }
    let makes = ["JSON_OBJECT", "JSON_ARRAY"].contains(&word_at(value, 0).as_str());
    let is_call = makes && value.len() > 2 && close_of(value, 1) == Some(value.len() - 1);
    (value, if is_call { RAW } else { PLAIN })
}
