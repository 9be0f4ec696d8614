//! `x LIKE pattern ESCAPE '!'`: DataFusion knows the backslash as an escape and no other, so the pattern is written with it.
//!
//! ```text
//!   x LIKE '50!%' ESCAPE '!'    x LIKE '50\%'
//! ```

use rheos_core::error::{Error, Result};
use sqlparser::ast::{Expr, Spanned, Value, ValueWithSpan};

use super::similar::escape_of;
use crate::ddl::expr_place;
use crate::dialect::text;
use crate::tokens::place;

/// The condition without its ESCAPE, if it is a LIKE or ILIKE that has one. Errors: the pattern is no text in the program,
/// or the escape is no character.
pub(crate) fn rewritten(condition: &Expr) -> Result<Option<Expr>> {
    let mut condition = condition.clone();
    let (Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. }) = &mut condition else {
        return Ok(None);
    };
    let Some(escape) = escape_char.take() else { return Ok(None) };
    let sign = escape_of(Some(&escape))?;
    if sign == Some('\\') {
        return Ok(Some(condition));
    }
    let with_backslashes = match pattern.as_ref() {
        Expr::Value(ValueWithSpan { value: Value::Null, .. }) => return Ok(Some(condition)),
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(written), .. }) => with_backslashes(written, sign),
        _ => {
            let error =
                Error::invalid(142, format!("ESCAPE {escape} for a pattern that is computed is not supported yet"));
            return Err(error.with_hint("escape with a backslash, as in LIKE '50\\%'").with_span(place(escape.span())));
        }
    };
    let Some(with_backslashes) = with_backslashes else {
        let error = Error::invalid(134, "the pattern of LIKE ends with its escape");
        let error = error.with_hint("write the character that is escaped behind it");
        return Err(error.with_span(expr_place(pattern).unwrap_or_else(|| place(escape.span()))));
    };
    **pattern = text(&with_backslashes);
    Ok(Some(condition))
}

/// The pattern with backslashes for the escapes. `None`: an escape comes last.
fn with_backslashes(pattern: &str, escape: Option<char>) -> Option<String> {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        let escaped = if Some(c) == escape { Some(rest.next()?) } else { None };
        let plain = escaped.unwrap_or(c);
        if plain == '\\' || escaped.is_some_and(|c| c == '%' || c == '_') {
            out.push('\\');
        }
        out.push(plain);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_become_backslashes() {
        let cases = [
            ("50!%%", Some('!'), Some("50\\%%")),
            ("a!!b", Some('!'), Some("a!b")),
            ("a\\%", Some('!'), Some("a\\\\%")),
            ("%%%", Some('%'), None),
            ("%%%_", Some('%'), Some("\\%\\_")),
            ("a!", None, Some("a!")),
        ];
        for (pattern, escape, expected) in cases {
            assert_eq!(with_backslashes(pattern, escape).as_deref(), expected, "{pattern}");
        }
    }
}
