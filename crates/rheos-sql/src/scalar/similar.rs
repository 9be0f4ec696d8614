//! `x SIMILAR TO pattern` by the rules of SQL, as a regular expression over the whole text.
//!
//! ```text
//!   %  any characters     _  one character     | * + ? {2,3} ( ) [ ]  as in a regular expression
//!   a point, ^ and $ stand for themselves, and so does what follows the escape, a backslash unless ESCAPE names another
//! ```

use std::iter::Peekable;
use std::str::Chars;

use regex::Regex;
use rheos_core::error::{Error, Result};
use sqlparser::ast::{BinaryOperator, Expr, Spanned, Value, ValueWithSpan};

use crate::ddl::expr_place;
use crate::dialect::text;
use crate::tokens::place;

/// What `expr [NOT] SIMILAR TO pattern` stands for. Errors: the pattern is no text in the program, or cannot be right.
pub(crate) fn rewritten(negated: bool, expr: &Expr, pattern: &Expr, escape: Option<&ValueWithSpan>) -> Result<Expr> {
    let at = |error: Error| match expr_place(pattern) {
        Some(span) => error.with_span(span),
        None => error,
    };
    let written = match pattern {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(written), .. }) => written,
        Expr::Value(ValueWithSpan { value: Value::Null, .. }) => return Ok(pattern.clone()),
        _ => {
            let error = Error::invalid(142, "SIMILAR TO with a pattern that is computed is not supported yet");
            return Err(at(error.with_hint("write the pattern as a text, or use regexp_like(text, pattern)")));
        }
    };
    let regex = translated(written, escape_of(escape)?).map_err(at)?;
    if let Err(error) = Regex::new(&regex) {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
        let error = Error::invalid(134, format!("'{written}' is not a pattern of SIMILAR TO: {reason}"));
        return Err(at(error.with_hint("check brackets; a backslash before a sign makes it stand for itself")));
    }
    let op = if negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
    let nested = |e: Expr| Box::new(Expr::Nested(Box::new(e)));
    Ok(Expr::Nested(Box::new(Expr::BinaryOp { left: nested(expr.clone()), op, right: Box::new(text(&regex)) })))
}

/// The character that escapes; `None`: there is none, as ESCAPE '' says.
pub(super) fn escape_of(escape: Option<&ValueWithSpan>) -> Result<Option<char>> {
    let Some(escape) = escape else { return Ok(Some('\\')) };
    if let Value::SingleQuotedString(text) = &escape.value {
        let mut chars = text.chars();
        if let (first, None) = (chars.next(), chars.next()) {
            return Ok(first);
        }
    }
    let error = Error::invalid(134, format!("ESCAPE takes one character, and this is {}", escape.value));
    Err(error.with_hint("write it as ESCAPE '!'").with_span(place(escape.span())))
}

/// The pattern as a regular expression that is anchored at both ends.
fn translated(pattern: &str, escape: Option<char>) -> Result<String> {
    let mut regex = String::from("^(?s:");
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            c if Some(c) == escape => match rest.next() {
                Some(escaped) => regex.push_str(&regex::escape(escaped.encode_utf8(&mut [0; 4]))),
                None => {
                    let error = Error::invalid(134, "the pattern of SIMILAR TO ends with its escape");
                    return Err(error.with_hint("write the character that is escaped behind it"));
                }
            },
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            '(' => regex.push_str("(?:"),
            '[' => class(&mut rest, escape, &mut regex),
            '|' | '*' | '+' | '?' | '{' | '}' | ')' => regex.push(c),
            c => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    regex.push_str(")$");
    Ok(regex)
}

/// What stands in brackets, behind the first: signs that mean something else in a regular expression stand for themselves.
fn class(rest: &mut Peekable<Chars<'_>>, escape: Option<char>, regex: &mut String) {
    regex.push('[');
    if rest.next_if_eq(&'^').is_some() {
        regex.push('^');
    }
    // A bracket that comes first is no end.
    let mut first = true;
    while let Some(c) = rest.next() {
        match c {
            ']' if !first => {
                regex.push(']');
                return;
            }
            c if Some(c) == escape => {
                if let Some(escaped) = rest.next() {
                    regex.push_str(&regex::escape(escaped.encode_utf8(&mut [0; 4])));
                }
            }
            // A class by its name, as in [[:digit:]].
            '[' if rest.peek() == Some(&':') => {
                regex.push('[');
                for c in rest.by_ref() {
                    regex.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '[' | ']' | '&' | '~' | '\\' | '^' => {
                regex.push('\\');
                regex.push(c);
            }
            c => regex.push(c),
        }
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand, from the documentation of PostgreSQL (9.7.2).
    #[test]
    fn patterns_match_whole_texts() {
        let cases = [
            ("abc", "abc", true),
            ("abc", "a", false),
            ("abc", "%(b|d)%", true),
            ("abc", "(b|c)%", false),
            ("abc", "a.c", false),
            ("a.c", "a.c", true),
            ("a\nc", "a_c", true),
            ("a\nbc", "a%", true),
            ("aab", "a{2}b", true),
            ("aaab", "a{2}b", false),
            ("", "", true),
            ("", "_", false),
            ("50%", "50\\%", true),
            ("505", "50\\%", false),
            ("b", "[a-c]", true),
            ("d", "[^a-c]", true),
            ("7", "[[:digit:]]", true),
            ("&", "[&&a]", true),
            ("]", "[]]", true),
            ("^x$", "^x$", true),
            ("ab", "a|b", false),
            ("b", "a|b", true),
        ];
        for (text, pattern, expected) in cases {
            let regex = translated(pattern, Some('\\')).unwrap();
            assert_eq!(Regex::new(&regex).unwrap().is_match(text), expected, "{text} {pattern} {regex}");
        }
        assert_eq!(translated("a!%", Some('!')).unwrap(), "^(?s:a%)$");
        assert!(translated("a\\", Some('\\')).is_err());
    }
}
