//! The parser's errors: where, what was expected, and which mistake it probably is.

use rheos_core::error::{Error, nearest};
use sqlparser::keywords::{ALL_KEYWORDS, Keyword};
use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Location, Span as TokenSpan, Token, TokenWithSpan};

use crate::tokens::place;

/// Words that a misspelled one may have been.
const CLAUSES: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "BY",
    "HAVING",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "UNION",
    "ALL",
    "DISTINCT",
    "AS",
    "AND",
    "OR",
    "NOT",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "INTO",
    "VALUES",
    "WITH",
    "INTERVAL",
    "BETWEEN",
    "LIKE",
    "FILTER",
    "DESCRIPTOR",
    "WATERMARK",
    "CREATE",
    "TABLE",
    "VIEW",
    "INSERT",
    "EXPLAIN",
];

/// A syntax error at a token.
pub(crate) fn syntax_at(message: &str, at: TokenSpan) -> Error {
    Error::invalid(101, message).with_span(place(at))
}

/// What the parser says about a statement's tokens.
pub(crate) fn syntax(error: ParserError, tokens: &[TokenWithSpan]) -> Error {
    let text = match error {
        ParserError::RecursionLimitExceeded => {
            let error = Error::invalid(105, "the statement is too deeply nested").with_hint("split it up with views");
            return match deepest(tokens) {
                Some(token) => error.with_span(place(token.span)),
                None => error,
            };
        }
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
    };
    let (message, location) = split_location(&text);
    let end = tokens.last().map(|t| TokenSpan::new(t.span.end, t.span.end));
    let found = location.and_then(|l| tokens.iter().position(|t| t.span.start == l));
    let at = found.map(|i| tokens[i].span).or(end);
    let error = match (expectation(message), found) {
        (Some(expected), Some(i)) => {
            Error::invalid(101, format!("{expected} is expected here, but this is '{}'", tokens[i].token))
        }
        (Some(expected), None) => Error::invalid(101, format!("the statement ends where {expected} is expected")),
        (None, Some(i)) if message.contains("No infix parser for token") => return not_an_operator(&tokens[i]),
        (None, _) => Error::invalid(101, format!("the statement cannot be read: {}", sentence(message))),
    };
    let (hint, better) = mistake(message, tokens, found);
    let error = error.with_hint(hint);
    match better.or(at) {
        Some(at) => error.with_span(place(at)),
        None => error,
    }
}

/// The token with the most brackets around it; the first one if there are none.
fn deepest(tokens: &[TokenWithSpan]) -> Option<&TokenWithSpan> {
    let (mut depth, mut most, mut found) = (0usize, 0, tokens.first());
    for token in tokens {
        match token.token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > most {
            (most, found) = (depth, Some(token));
        }
    }
    found
}

/// A word or sign behind an expression that the parser takes for an operator, and does not know as one.
fn not_an_operator(token: &TokenWithSpan) -> Error {
    let what = format!("'{}' is not an operator", token.token);
    let hint = match &token.token {
        Token::Word(w) if w.value.eq_ignore_ascii_case("div") => "divide integers with /, which gives an integer",
        Token::ExclamationMark => "factorial(n) is a function; NOT stands before a condition",
        _ => "the operators are + - * / % || = <> < <= > >= AND OR NOT LIKE IN BETWEEN IS, and | & of bits",
    };
    Error::invalid(101, what).with_hint(hint).with_span(place(token.span))
}

/// Takes ` at Line: 1, Column: 5` off.
fn split_location(text: &str) -> (&str, Option<Location>) {
    let Some((message, at)) = text.rsplit_once(" at Line: ") else { return (text, None) };
    let location = at
        .split_once(", Column: ")
        .and_then(|(line, column)| Some(Location::new(line.trim().parse().ok()?, column.trim().parse().ok()?)));
    (message, location)
}

/// The part behind `Expected:`.
fn expectation(message: &str) -> Option<String> {
    let rest = message.strip_prefix("Expected: ").or_else(|| message.strip_prefix("Expected "))?;
    let expected = rest.split(", found: ").next().unwrap_or(rest);
    Some(match expected {
        "an expression" | "an expression:" => "an expression".into(),
        "identifier" => "a name".into(),
        "end of statement" => "the end of the statement".into(),
        "literal string" => "a text in single quotes".into(),
        "joined table" => "a table".into(),
        ":" => "':'".into(),
        other => other.trim_end_matches(':').to_string(),
    })
}

fn sentence(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim_start_matches("sql parser error: ").to_string()
}

/// The likely mistake, and the token that it is at if that is not the one where the parser stopped.
fn mistake(message: &str, tokens: &[TokenWithSpan], found: Option<usize>) -> (String, Option<TokenSpan>) {
    let Some(i) = found else {
        let open = tokens.iter().filter(|t| t.token == Token::LParen).count();
        let closed = tokens.iter().filter(|t| t.token == Token::RParen).count();
        return match open > closed {
            true => ("a ')' is missing".into(), None),
            false => ("the statement is not complete; is there a ';' too early?".into(), None),
        };
    };
    let here = &tokens[i].token;
    // A misspelled keyword is read as a name, so the parser stops at the word behind it.
    for j in [Some(i), i.checked_sub(1)].into_iter().flatten() {
        if let Token::Word(word) = &tokens[j].token
            && word.quote_style.is_none()
            && word.keyword == Keyword::NoKeyword
            && let Some(near) = misspelled(&word.value)
        {
            return (format!("did you mean '{near}' instead of '{}'?", word.value), Some(tokens[j].span));
        }
    }
    let before = i.checked_sub(1).map(|b| &tokens[b].token);
    let hint = match (before, here) {
        (Some(Token::Comma), Token::Word(w)) if ALL_KEYWORDS.contains(&w.value.to_uppercase().as_str()) => {
            return ("there is a ',' too much before it".into(), None);
        }
        (Some(Token::Comma), Token::RParen) => "there is a ',' too much before it",
        (_, Token::RParen) if unbalanced(&tokens[..=i]) => "there is a ')' too much",
        // As an alias the word itself is no mistake.
        (Some(Token::Word(w)), _) | (_, Token::Word(w)) if w.value.eq_ignore_ascii_case("emit") => {
            "at the end of a query stands EMIT CHANGES, EMIT FINAL or EMIT ON WINDOW CLOSE"
        }
        (_, Token::Word(_) | Token::SingleQuotedString(_) | Token::Number(..))
            if message.contains("end of statement") =>
        {
            "a ',' or an operator may be missing before it, or a ';' between two statements"
        }
        (_, Token::Eq) if message.contains("end of statement") => "compare with '=' in WHERE or HAVING",
        (_, Token::Word(_) | Token::SingleQuotedString(_)) => {
            "a ',' may be missing before it; names with special characters need double quotes, texts single ones"
        }
        _ => "look at what stands just before it",
    };
    (hint.to_string(), None)
}

/// The clause that a word is one slip away from. More would take names of columns for keywords.
fn misspelled(word: &str) -> Option<&'static str> {
    let near = nearest(word, CLAUSES.iter().copied())?;
    (word.len() > 2 && strsim::damerau_levenshtein(&word.to_uppercase(), near) == 1).then_some(near)
}

fn unbalanced(tokens: &[TokenWithSpan]) -> bool {
    let count = |token: &Token| tokens.iter().filter(|t| t.token == *token).count();
    count(&Token::RParen) > count(&Token::LParen)
}
