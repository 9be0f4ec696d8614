//! Where in a statement's tokens something stands that an error tells of without a place.
//!
//! Invariant: with several candidates there is no place; a caret under the wrong one is worse than none.

use rheos_core::error::Span;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span as TokenSpan, Token, TokenWithSpan};

use crate::tokens::place;

fn says(token: &TokenWithSpan, name: &str) -> bool {
    matches!(&token.token, Token::Word(w) if w.value.eq_ignore_ascii_case(name))
}

fn is(token: &TokenWithSpan, keyword: Keyword) -> bool {
    matches!(&token.token, Token::Word(w) if w.keyword == keyword && w.quote_style.is_none())
}

/// The last part of a qualified name.
fn bare(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name).trim_matches('"')
}

/// The only one.
fn only<T>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let first = all.next()?;
    all.next().is_none().then_some(first)
}

/// The tokens between the parenthesis at `open` and the one that closes it.
fn inside(tokens: &[TokenWithSpan], open: usize) -> &[TokenWithSpan] {
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth <= 1 => return tokens.get(open + 1..i).unwrap_or_default(),
            Token::RParen => depth -= 1,
            _ => {}
        }
    }
    tokens.get(open + 1..).unwrap_or_default()
}

/// `name.*`, where it stands once.
pub(super) fn all_of(tokens: &[TokenWithSpan], name: &str) -> Option<Span> {
    let is_all = |three: &&[TokenWithSpan]| {
        says(&three[0], bare(name)) && three[1].token == Token::Period && three[2].token == Token::Mul
    };
    only(tokens.windows(3).filter(is_all)).map(|three| place(TokenSpan::new(three[0].span.start, three[2].span.end)))
}

/// The only CASE, IF or IFNULL.
pub(super) fn conditional(tokens: &[TokenWithSpan]) -> Option<Span> {
    let is_one = |t: &&TokenWithSpan| ["case", "if", "ifnull", "nvl", "nvl2"].iter().any(|word| says(t, word));
    only(tokens.iter().filter(is_one)).map(|t| place(t.span))
}

/// The names of the tables in FROM and JOIN, by which their columns are named.
pub(super) fn tables(tokens: &[TokenWithSpan]) -> Vec<&str> {
    let word = |i: usize| match tokens.get(i).map(|t| &t.token) {
        Some(Token::Word(w)) => Some(w),
        _ => None,
    };
    let mut names = vec![];
    for (i, token) in tokens.iter().enumerate().filter(|(_, t)| is(t, Keyword::FROM) || is(t, Keyword::JOIN)) {
        let Some(table) = word(i + 1).filter(|_| token.span.start.line > 0) else { continue };
        let behind = if word(i + 2).is_some_and(|w| w.keyword == Keyword::AS) { i + 3 } else { i + 2 };
        let alias = word(behind).filter(|w| w.keyword == Keyword::NoKeyword || w.quote_style.is_some());
        // A call is no table by its name.
        if tokens.get(i + 2).is_none_or(|t| t.token != Token::LParen) {
            names.push(alias.unwrap_or(table).value.as_str());
        }
    }
    names
}

/// What stands in the parentheses behind each `word`.
fn behind<'t>(tokens: &'t [TokenWithSpan], word: &'t str) -> impl Iterator<Item = &'t [TokenWithSpan]> {
    let opens = |pair: &[TokenWithSpan]| says(&pair[0], word) && pair[1].token == Token::LParen;
    let calls = tokens.windows(2).enumerate().filter(move |(_, pair)| opens(pair));
    calls.map(|(i, _)| inside(tokens, i + 1))
}

/// A column that `USING (..)` names.
pub(super) fn in_using(tokens: &[TokenWithSpan], name: &str) -> Option<Span> {
    only(behind(tokens, "using").flatten().filter(|t| says(t, name))).map(|t| place(t.span))
}

/// A column among the arguments of a function.
pub(super) fn in_call(tokens: &[TokenWithSpan], function: &str, column: &str) -> Option<Span> {
    only(behind(tokens, function).flatten().filter(|t| says(t, bare(column)))).map(|t| place(t.span))
}

/// All arguments of the only call of a function.
pub(super) fn arguments(tokens: &[TokenWithSpan], function: &str) -> Option<Span> {
    let all = only(behind(tokens, function))?;
    let (first, last) = (all.first()?, all.last()?);
    Some(place(TokenSpan::new(first.span.start, last.span.end)))
}

/// The first word of the condition of WHERE or HAVING that is `predicate`.
pub(super) fn condition(tokens: &[TokenWithSpan], predicate: &str) -> Option<Span> {
    let begins = |pair: &[TokenWithSpan]| is(&pair[0], Keyword::WHERE) || is(&pair[0], Keyword::HAVING);
    let all: Vec<_> = tokens.windows(2).filter(|pair| begins(pair)).map(|pair| &pair[1]).collect();
    let first = match all.as_slice() {
        [only] => Some(*only),
        several => only(several.iter().copied().filter(|t| says(t, bare(predicate)))),
    };
    first.map(|t| place(t.span))
}

/// The second part of the only UNION, INTERSECT or EXCEPT.
pub(super) fn behind_union(tokens: &[TokenWithSpan]) -> Option<Span> {
    let combines = |t: &TokenWithSpan| is(t, Keyword::UNION) || is(t, Keyword::INTERSECT) || is(t, Keyword::EXCEPT);
    let at = only(tokens.iter().enumerate().filter(|(_, t)| combines(t)))?.0;
    let skipped = |t: &&TokenWithSpan| is(t, Keyword::ALL) || is(t, Keyword::DISTINCT);
    tokens.iter().skip(at + 1).find(|t| !skipped(t)).map(|t| place(t.span))
}

/// `v(a, b)` behind a table with another number of columns: the first name too many, or `v` if some are missing.
pub(super) fn alias_list(tokens: &[TokenWithSpan], columns: usize, names: usize) -> Option<Span> {
    let list = |i: usize| {
        if !matches!(tokens[i].token, Token::Word(_)) || tokens.get(i + 1)?.token != Token::LParen {
            return None;
        }
        let inner = inside(tokens, i + 1);
        let fits = inner.len() + 1 == 2 * names
            && inner.iter().step_by(2).all(|t| matches!(t.token, Token::Word(_)))
            && inner.iter().skip(1).step_by(2).all(|t| t.token == Token::Comma);
        let before = i.checked_sub(1).map(|b| &tokens[b]);
        let names_table = before.is_some_and(|t| is(t, Keyword::AS) || t.token == Token::RParen)
            || tokens.get(i + 3 + inner.len()).is_some_and(|t| is(t, Keyword::AS));
        (fits && names_table).then_some((&tokens[i], inner))
    };
    let (name, inner) = only((0..tokens.len()).filter_map(list))?;
    let wrong = if names > columns { inner.get(2 * columns) } else { None };
    Some(place(wrong.unwrap_or(name).span))
}

/// The field that a message of `fields` tells of: itself, or what has no fields.
pub(super) fn field(tokens: &[TokenWithSpan], message: &str) -> Option<Span> {
    let quoted: Vec<_> = message.split('\'').skip(1).step_by(2).collect();
    let (owner, name, is_owner) = match quoted.as_slice() {
        [name, rest @ ..] if message.starts_with("there is no field") => (rest.first(), *name, false),
        [owner, name] if message.contains("so it has no field") => (Some(owner), *name, true),
        [name] if message.contains("so it has no field") => (None, *name, false),
        _ => return None,
    };
    let at = (2..tokens.len()).find(|i| {
        says(&tokens[*i], name)
            && tokens[i - 1].token == Token::Period
            && owner.is_none_or(|owner| says(&tokens[i - 2], owner))
    })?;
    Some(place(tokens[if is_owner { at - 2 } else { at }].span))
}

/// The arithmetic, or the function, that a message of `constants` tells of.
pub(super) fn computed(tokens: &[TokenWithSpan], message: &str) -> Option<Span> {
    if let Some((text, _)) = message.split_once(" is out of the range of ") {
        return super::find_text(tokens, text);
    }
    let (function, _) = message.strip_prefix("a number in ")?.split_once(" is out of range: ")?;
    call(tokens, function)
}

/// The name in the only call of a function.
pub(crate) fn call(tokens: &[TokenWithSpan], function: &str) -> Option<Span> {
    let calls = |pair: &&[TokenWithSpan]| says(&pair[0], function) && pair[1].token == Token::LParen;
    only(tokens.windows(2).filter(calls)).map(|pair| place(pair[0].span))
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::GenericDialect;
    use sqlparser::tokenizer::Tokenizer;

    use super::*;

    fn column(text: &str, columns: usize, names: usize) -> Option<u64> {
        let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location().unwrap();
        let tokens: Vec<_> = tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
        alias_list(&tokens, columns, names).map(|at| at.column)
    }

    #[test]
    fn a_list_of_names_is_found_behind_its_table_only() {
        let cases = [
            ("SELECT f(x, y) FROM UNNEST(n.items) AS u(x, y)", 1, 2, Some(45)),
            ("SELECT f(x, y) FROM (VALUES (1, 'a', 2)) v(x, y)", 3, 2, Some(42)),
            ("WITH v(x, y) AS (SELECT 1) SELECT f(x, y) FROM v", 1, 2, Some(11)),
            ("FROM (SELECT 1) AS a(x, y), (SELECT 1) AS b(x, y)", 1, 2, None),
            ("SELECT ) FROM t AS u(", 1, 2, None),
        ];
        for (text, columns, names, expected) in cases {
            assert_eq!(column(text, columns, names), expected, "{text}");
        }
    }
}
