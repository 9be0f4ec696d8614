//! Features of SQL that are known by their words alone: many of them the parser cannot read, and would call a slip of the
//! pen. Told by name, at the words, before anything is parsed.
//!
//! Absent: what the parser reads and `refuse` finds in its tree, where a word alone could be a name.

use rheos_core::error::{Error, Result};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::tokens::{place, whole};

/// One thing in a row of tokens.
#[derive(Clone, Copy)]
enum Part {
    /// A word without quotes, in upper case.
    Is(&'static str),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A name, or a word that could be one.
    Name,
    /// A text in single quotes.
    Text,
    Open,
    Close,
    Star,
    /// `<` or `>`.
    Order,
}

use Part::{Close, Is, Name, OneOf, Open, Order, Star, Text};

/// A feature: its tokens, how many of them in front are not its own, its name, and what to do instead.
struct Feature(&'static [Part], usize, &'static str, &'static str);

const WINDOWS: &str = "it comes later; until then join windows, or inputs that end";

const FEATURES: &[Feature] = &[
    Feature(
        &[Is("FOR"), OneOf(&["SYSTEM_TIME", "SYSTEM_VERSION"])],
        0,
        "a temporal join (FOR SYSTEM_TIME AS OF)",
        WINDOWS,
    ),
    Feature(&[Is("VERSION"), Is("AS"), Is("OF")], 0, "VERSION AS OF", "read the table as it is"),
    Feature(
        &[Is("AS"), Is("OF"), Is("TIMESTAMP"), Text],
        0,
        "AS OF",
        "read the table as it is, and filter by its time",
    ),
    Feature(
        &[Is("MATCH_RECOGNIZE"), Open],
        0,
        "MATCH_RECOGNIZE",
        "it comes later; group by windows or sessions, or join windows",
    ),
    Feature(&[Is("PIVOT"), Open], 0, "PIVOT", "use aggregates with FILTER (WHERE ...)"),
    Feature(&[Is("UNPIVOT"), Open], 0, "UNPIVOT", "write CROSS JOIN UNNEST(ARRAY[a, b]) AS u(x)"),
    Feature(&[Is("TABLESAMPLE"), OneOf(&["BERNOULLI", "SYSTEM"])], 0, "TABLESAMPLE", "filter by random() < 0.1"),
    Feature(&[Is("TABLESAMPLE"), Open], 0, "TABLESAMPLE", "filter by random() < 0.1"),
    Feature(
        &[Is("LATERAL"), Is("TABLE"), Open],
        0,
        "LATERAL TABLE(f(...)), a table function",
        "CROSS JOIN UNNEST(...) opens lists, and those that functions compute; functions of one's own come later",
    ),
    Feature(
        &[Is("LATERAL"), Open],
        0,
        "LATERAL",
        "write the subquery without a reference to the other table, or CROSS JOIN UNNEST(t.list)",
    ),
    Feature(
        &[Is("EMIT"), OneOf(&["CHANGES", "FINAL", "STREAM", "AFTER", "ON", "WITHIN", "WITH", "WITHOUT"])],
        0,
        "EMIT",
        "take it away: a window gives its result once, when it is complete",
    ),
    Feature(&[Is("WITH"), Is("TIES")], 0, "WITH TIES", "filter by RANK() OVER (...) <= n"),
    Feature(&[Is("ROWS"), Is("FROM"), Open], 0, "ROWS FROM", "write FROM UNNEST(a, b)"),
    Feature(&[Is("FROM"), Is("ONLY"), Name], 1, "ONLY", "take it away: tables have no children"),
    Feature(&[Is("GROUP"), Is("BY"), Is("DISTINCT")], 2, "GROUP BY DISTINCT", "name each grouping once"),
    Feature(
        &[Is("AS"), Is("MATERIALIZED"), Open],
        1,
        "MATERIALIZED",
        "take it away; equal parts are computed once anyway",
    ),
    Feature(&[Is("NOT"), Is("MATERIALIZED"), Open], 0, "NOT MATERIALIZED", "take it away"),
    Feature(
        &[Close, Is("SEARCH"), OneOf(&["DEPTH", "BREADTH"])],
        1,
        "SEARCH of a recursive query",
        "write the levels out",
    ),
    Feature(
        &[Is("ON"), Is("CONFLICT")],
        0,
        "ON CONFLICT",
        "rows are appended; keep one row a key with ROW_NUMBER() first",
    ),
    Feature(&[Is("RETURNING"), Name], 0, "RETURNING", "write a second query for what is to be shown"),
    Feature(&[Is("RETURNING"), Star], 0, "RETURNING", "write a second query for what is to be shown"),
    Feature(&[Is("DEFAULT"), Close], 0, "DEFAULT as a value", "write the value, or NULL"),
    Feature(&[Is("DEFAULT"), Is("FROM")], 0, "DEFAULT as a value", "write the value, or NULL"),
    Feature(
        &[Is("BETWEEN"), Is("SYMMETRIC")],
        1,
        "BETWEEN SYMMETRIC",
        "order the bounds with least(a, b) and greatest(a, b)",
    ),
    Feature(&[Is("BETWEEN"), Is("ASYMMETRIC")], 1, "BETWEEN ASYMMETRIC", "take the word away, it is the default"),
    Feature(&[Is("IS"), Is("JSON")], 0, "IS JSON", "write JSON_EXISTS(text, '$'), which is false for what is no JSON"),
    Feature(
        &[Is("IS"), Is("NOT"), Is("JSON")],
        0,
        "IS NOT JSON",
        "write NOT JSON_EXISTS(text, '$'), which is true for what is no JSON",
    ),
    Feature(&[Is("IS"), Is("NORMALIZED")], 0, "IS NORMALIZED", "prepare the texts outside"),
    Feature(&[Is("IS"), Is("DOCUMENT")], 0, "IS DOCUMENT", "there are no functions of XML"),
    Feature(&[Close, Is("OVERLAPS"), Open], 1, "OVERLAPS", "write a_start < b_end AND b_start < a_end"),
    Feature(&[Is("COLLATE"), Name], 0, "COLLATE", "texts are compared by their bytes; compare lower(x) to ignore case"),
    Feature(
        &[Is("FORMAT"), Text, Close],
        0,
        "CAST ... FORMAT",
        "use DATE_FORMAT(ts, 'yyyy-MM-dd') or to_timestamp(text, pattern)",
    ),
    Feature(&[Is("USING"), Order], 0, "ORDER BY ... USING", "write ASC or DESC"),
    Feature(&[Is("SORT"), Is("BY")], 0, "SORT BY", "write ORDER BY"),
    Feature(&[Is("SELECT"), Is("TRANSFORM"), Open], 1, "TRANSFORM", "use the built-in functions"),
    Feature(
        &[Is("SELECT"), Is("STREAM"), Name],
        1,
        "SELECT STREAM",
        "take STREAM away: every query reads its input as it comes",
    ),
    Feature(&[Is("ARRAY"), Open, Is("SELECT")], 0, "ARRAY of a subquery", "write (SELECT array_agg(x) FROM ...)"),
    Feature(&[Is("JSON_TABLE"), Open], 0, "JSON_TABLE", "use JSON_VALUE and JSON_QUERY for each column"),
    Feature(&[Is("XMLTABLE"), Open], 0, "XMLTABLE", "there are no functions of XML"),
    Feature(
        &[OneOf(&["JSON_OBJECTAGG", "JSON_ARRAYAGG"]), Open],
        0,
        "an aggregate that makes JSON",
        "array_agg(x) makes a list, which is written as JSON by sinks with 'format' = 'json'",
    ),
    Feature(
        &[OneOf(&["XMLELEMENT", "XMLFOREST", "XMLPARSE", "XMLAGG"]), Open],
        0,
        "a function of XML",
        "prepare the data outside",
    ),
    Feature(&[Star, Is("RENAME")], 1, "* RENAME", "name the columns: a AS b"),
    Feature(
        &[OneOf(&["ML_PREDICT", "ML_EVALUATE", "ML_DETECT_ANOMALIES", "ML_FORECAST", "VECTOR_SEARCH"]), Open],
        0,
        "a model",
        "compute it outside of the program",
    ),
    Feature(
        &[Is("CURRENT_WATERMARK"), Open],
        0,
        "CURRENT_WATERMARK",
        "late rows are counted by their window; the summary shows them",
    ),
];

/// Looks through a query's tokens. Errors: `Invalid` for the first feature that is absent.
pub(crate) fn check(tokens: &[TokenWithSpan]) -> Result<()> {
    for at in 0..tokens.len() {
        let found = FEATURES.iter().find(|f| f.0.iter().enumerate().all(|(i, part)| fits(*part, tokens.get(at + i))));
        if let Some(Feature(parts, skipped, what, hint)) = found {
            let own = &tokens[at + skipped..at + parts.len()];
            // What opens or names the next thing is no part of the feature.
            let own = match own.split_last() {
                Some((last, before)) if !before.is_empty() && !matches!(last.token, Token::Word(_)) => before,
                _ => own,
            };
            let error = Error::invalid(142, format!("{what} is not supported yet")).with_hint(*hint);
            return Err(match whole(own) {
                Some(span) => error.with_span(span),
                None => error.with_span(place(tokens[at].span)),
            });
        }
        operator(&tokens[at])?;
    }
    Ok(())
}

/// `/*+ text */`. Without the hint some programs would give other rows; those are told what to write. Without a place.
pub(crate) fn hint(text: &str) -> Error {
    if text.to_lowercase().contains("lateness") {
        return Error::invalid(107, "allowed lateness (the hint lateness) is not supported yet").with_hint(
            "rows behind the watermark are dropped: widen it by the lateness, as in WATERMARK FOR ts AS ts - INTERVAL '1' HOUR",
        );
    }
    Error::invalid(107, "this hint is not supported yet")
        .with_hint("take the hint away; 'parallelism' can be given with SET or on the command line")
}

/// Operators that PostgreSQL has. `^` in particular means its power there and exclusive OR elsewhere.
fn operator(token: &TokenWithSpan) -> Result<()> {
    let hint = match token.token {
        Token::Caret => "write power(a, b); of bits, (a | b) - (a & b) are those that one of the two has",
        Token::Sharp => "of bits, (a | b) - (a & b) are those that one of the two has",
        Token::Overlap => "write array_has_any(a, b) for lists, and AND between conditions",
        Token::AtArrow | Token::ArrowAt => "write array_has_all(a, b) for lists: all of b are in a",
        Token::PGSquareRoot => "write sqrt(x)",
        Token::PGCubeRoot => "write cbrt(x)",
        Token::DuckIntDiv => "divide integers with /, which gives an integer",
        _ => return Ok(()),
    };
    let error = Error::invalid(142, format!("the operator {} is not supported yet", token.token));
    Err(error.with_hint(hint).with_span(place(token.span)))
}

fn fits(part: Part, token: Option<&TokenWithSpan>) -> bool {
    let Some(token) = token.map(|t| &t.token) else { return false };
    let word = match token {
        Token::Word(w) if w.quote_style.is_none() => Some(w.value.as_str()),
        _ => None,
    };
    match part {
        Is(wanted) => word.is_some_and(|w| w.eq_ignore_ascii_case(wanted)),
        OneOf(wanted) => word.is_some_and(|w| wanted.iter().any(|x| w.eq_ignore_ascii_case(x))),
        Name => match token {
            Token::Word(w) if w.quote_style.is_some() => true,
            _ => word
                .is_some_and(|w| !["FROM", "AS", "WHERE", "JOIN", "GROUP", "ON"].contains(&w.to_uppercase().as_str())),
        },
        Text => matches!(token, Token::SingleQuotedString(_)),
        Open => *token == Token::LParen,
        Close => *token == Token::RParen,
        Star => *token == Token::Mul,
        Order => matches!(token, Token::Lt | Token::Gt),
    }
}
