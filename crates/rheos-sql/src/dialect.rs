//! Functions that PostgreSQL or Flink have and DataFusion calls otherwise: rewritten before planning.
//!
//! ```text
//!   MOD(a, b)                 (a % b)
//!   HOUR(ts), YEAR(ts), ..    date_part('hour', ts), ..
//!   DATE_FORMAT(ts, 'yyyy')   to_char(ts, '%Y')          Java's patterns
//!   CEILING(x), SIGN(x)       ceil(x), signum(x)
//!   CARDINALITY(x), ..        CAST(cardinality(x) AS BIGINT)
//!   1e300                     CAST('1e300' AS DOUBLE)
//! ```

use std::ops::ControlFlow;

use rheos_core::error::{Error, Result};
use sqlparser::ast::{
    AccessExpr, Array, BinaryOperator, CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, Query, Spanned, Value, ValueWithSpan,
    VisitMut, VisitorMut,
};
use sqlparser::tokenizer::Span;

use crate::scalar::whole_units::{self, Side};
use crate::scalar::{like, list_agg, parts, similar, two_units};
use crate::tokens::place;

/// The functions that this module adds: name, call, what it does.
pub(crate) const ADDED: &[(&str, &str, &str)] = &[
    ("mod", "mod(a, b)", "The rest of a division, as a % b."),
    ("ceiling", "ceiling(x)", "The smallest whole number that is not less, as ceil."),
    ("sign", "sign(x)", "-1, 0 or 1: on which side of zero a number is, as signum."),
    ("year", "year(timestamp)", "The year of a date or timestamp."),
    ("quarter", "quarter(timestamp)", "The quarter of a date or timestamp, 1 to 4."),
    ("month", "month(timestamp)", "The month of a date or timestamp, 1 to 12."),
    ("week", "week(timestamp)", "The ISO week of a date or timestamp."),
    ("dayofyear", "dayofyear(timestamp)", "The day of the year, from 1."),
    ("dayofmonth", "dayofmonth(timestamp)", "The day of the month, from 1."),
    ("day", "day(timestamp)", "The day of the month, from 1."),
    ("hour", "hour(timestamp)", "The hour of a timestamp, 0 to 23."),
    ("minute", "minute(timestamp)", "The minute of a timestamp, 0 to 59."),
    ("second", "second(timestamp)", "The second of a timestamp, 0 to 59."),
    ("date_format", "date_format(timestamp, 'yyyy-MM-dd')", "A timestamp as text, by a pattern of Java."),
];

/// Functions of DataFusion that count in UBIGINT, where PostgreSQL and Flink have signed integers: UBIGINT can neither be
/// an index nor be subtracted from.
const UNSIGNED: [&str; 11] = [
    "cardinality",
    "array_length",
    "list_length",
    "array_ndims",
    "list_ndims",
    "array_position",
    "list_position",
    "array_indexof",
    "list_indexof",
    "approx_distinct",
    "regr_count",
];

/// Rewrites every expression of a query.
pub(crate) fn rewrite(query: &mut Query) -> Result<()> {
    struct Rewrite;
    impl VisitorMut for Rewrite {
        type Break = Error;

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
            name_fields(expr);
            match rewritten(expr) {
                Ok(None) => ControlFlow::Continue(()),
                Ok(Some(new)) => {
                    *expr = new;
                    ControlFlow::Continue(())
                }
                Err(error) => ControlFlow::Break(error),
            }
        }
    }
    match query.visit(&mut Rewrite) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// `items[1].sku`: a field behind an element is named by a text, which is how DataFusion reads it.
fn name_fields(expr: &mut Expr) {
    let Expr::CompoundFieldAccess { access_chain, .. } = expr else { return };
    // What stands before the first bracket may be a table and its column.
    let elements = access_chain.iter_mut().skip_while(|access| matches!(access, AccessExpr::Dot(_)));
    for access in elements {
        if let AccessExpr::Dot(Expr::Identifier(field)) = access {
            *access = AccessExpr::Dot(text(&field.value));
        }
    }
}

fn rewritten(expr: &Expr) -> Result<Option<Expr>> {
    if let Expr::Value(value) = expr {
        if let Value::UnicodeStringLiteral(held) = &value.value {
            return Ok(Some(text(held)));
        }
        return with_exponent(value);
    }
    if let Expr::Array(array) = expr {
        return Ok(Some(list(array, expr.span())));
    }
    let function = match expr {
        Expr::Function(function) => function,
        Expr::SimilarTo { negated, expr, pattern, escape_char } => {
            return similar::rewritten(*negated, expr, pattern, escape_char.as_ref()).map(Some);
        }
        Expr::Like { .. } | Expr::ILike { .. } => return like::rewritten(expr),
        Expr::Extract { field, expr, .. } => return parts::check_extract(field, expr).map(|()| None),
        Expr::Interval(interval) => return two_units::rewritten(interval),
        Expr::Floor { expr, field } => return whole_units::rewritten(Side::Floor, expr, field),
        Expr::Ceil { expr, field } => return whole_units::rewritten(Side::Ceil, expr, field),
        _ => return Ok(None),
    };
    if let Some(call) = list_agg::rewritten(function)? {
        return Ok(Some(call));
    }
    if UNSIGNED.contains(&function.name.to_string().to_lowercase().as_str()) {
        return Ok(Some(cast(expr.clone(), DataType::BigInt(None))));
    }
    if matches!(function.args, FunctionArguments::None) {
        return Ok(crate::scalar::rewrite::bare(function));
    }
    let name = function.name.to_string().to_lowercase();
    let Some(args) = plain_args(function) else { return Ok(None) };
    let at = place(function.name.span());
    Ok(match (name.as_str(), args.as_slice()) {
        ("mod", [a, b]) => {
            let nested = |e: &Expr| Box::new(Expr::Nested(Box::new(e.clone())));
            let rest = Expr::BinaryOp { left: nested(a), op: BinaryOperator::Modulo, right: nested(b) };
            Some(Expr::Nested(Box::new(rest)))
        }
        ("sign", [x]) => Some(call(function, "signum", vec![x.clone()])),
        ("ceiling", [x]) => Some(call(function, "ceil", vec![x.clone()])),
        ("year" | "quarter" | "month" | "week" | "hour" | "minute" | "second" | "day", [ts]) => {
            Some(call(function, "date_part", vec![text(&name), ts.clone()]))
        }
        ("dayofmonth", [ts]) => Some(call(function, "date_part", vec![text("day"), ts.clone()])),
        ("dayofyear", [ts]) => Some(call(function, "date_part", vec![text("doy"), ts.clone()])),
        ("date_format", [ts, pattern]) => {
            let Some(java) = literal(pattern) else {
                return Err(Error::invalid(134, "the pattern of date_format must be a text in the program")
                    .with_hint("write it as date_format(ts, 'yyyy-MM-dd')")
                    .with_span(at));
            };
            let chrono = chrono_pattern(java).map_err(|e| e.with_span(at))?;
            Some(call(function, "to_char", vec![ts.clone(), text(&chrono)]))
        }
        _ => return crate::scalar::rewrite::rewritten(function, &name, &args),
    })
}

/// A number with an exponent is DOUBLE, as in DuckDB and Flink. Errors: it is too large for that.
fn with_exponent(value: &ValueWithSpan) -> Result<Option<Expr>> {
    let Value::Number(number, _) = &value.value else { return Ok(None) };
    if !number.contains(['e', 'E']) {
        return Ok(None);
    }
    if number.parse().is_ok_and(f64::is_finite) {
        return Ok(Some(cast(text(number), DataType::Double(ExactNumberInfo::None))));
    }
    Err(Error::invalid(149, format!("the number {number} is out of the range of DOUBLE"))
        .with_hint("the largest DOUBLE is about 1.8e308")
        .with_span(place(value.span)))
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

/// A list that is written out, as a call: DataFusion plans the elements of such a list without the tables around it.
fn list(array: &Array, span: Span) -> Expr {
    call_at("make_array", span, array.elem.clone())
}

/// A plain call of a function; `span` is where it stands in the program.
pub(crate) fn call_at(name: &str, span: Span, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident { value: name.into(), quote_style: None, span }]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

/// The arguments of a call that is nothing but a call.
fn plain_args(function: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    if list.duplicate_treatment.is_some() || !list.clauses.is_empty() || function.over.is_some() {
        return None;
    }
    let arg = |a: &FunctionArg| match a {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
        _ => None,
    };
    list.args.iter().map(arg).collect()
}

/// The same call under another name; the name keeps its place.
pub(crate) fn call(function: &Function, name: &str, args: Vec<Expr>) -> Expr {
    let mut new = function.clone();
    new.name = ObjectName::from(vec![Ident { value: name.to_string(), quote_style: None, span: function.name.span() }]);
    if let FunctionArguments::List(list) = &mut new.args {
        list.args = args.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    }
    Expr::Function(new)
}

pub(crate) fn text(value: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(value.to_string()))
}

pub(crate) fn literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// A pattern of Java's `DateTimeFormatter` as one of chrono's.
pub(crate) fn chrono_pattern(java: &str) -> Result<String> {
    let mut out = String::new();
    let mut rest = java;
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            // A quoted part stands for itself; two quotes are one.
            let inner = &rest[1..];
            let Some(end) = inner.find('\'') else {
                return Err(
                    Error::invalid(134, "a quote in the pattern is not closed").with_hint("write '' for a quote")
                );
            };
            let quoted = if end == 0 { "'" } else { &inner[..end] };
            out.push_str(&quoted.replace('%', "%%"));
            rest = &inner[end + 1..];
            continue;
        }
        let length = rest.chars().take_while(|c| *c == first).count();
        let run = &rest[..length * first.len_utf8()];
        if first.is_ascii_alphabetic() {
            out.push_str(directive(run)?);
        } else {
            out.push_str(&run.replace('%', "%%"));
        }
        rest = &rest[run.len()..];
    }
    Ok(out)
}

fn directive(run: &str) -> Result<&'static str> {
    Ok(match run {
        "yyyy" | "uuuu" | "y" | "u" => "%Y",
        "yy" | "uu" => "%y",
        "MM" => "%m",
        "M" => "%-m",
        "MMM" => "%b",
        "MMMM" => "%B",
        "dd" => "%d",
        "d" => "%-d",
        "DDD" => "%j",
        "E" | "EE" | "EEE" => "%a",
        "EEEE" => "%A",
        "HH" => "%H",
        "H" => "%-H",
        "hh" => "%I",
        "h" => "%-I",
        "a" => "%p",
        "mm" => "%M",
        "m" => "%-M",
        "ss" => "%S",
        "s" => "%-S",
        "SSS" => "%3f",
        "SSSSSS" => "%6f",
        "SSSSSSSSS" => "%9f",
        other => {
            return Err(Error::invalid(134, format!("the pattern '{other}' is not known")).with_hint(
                "yyyy MM dd HH mm ss SSS and their short forms are known; to_char takes patterns as %Y-%m-%d",
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_java_become_chronos() {
        // Checked by hand against the documentation of both.
        let cases = [
            ("yyyy-MM-dd HH:mm:ss.SSS", "%Y-%m-%d %H:%M:%S.%3f"),
            ("yyyy-MM-dd'T'HH:mm", "%Y-%m-%dT%H:%M"),
            ("d.M.yy ''h a''", "%-d.%-m.%y '%-I %p'"),
            ("100% dd", "100%% %d"),
        ];
        for (java, chrono) in cases {
            assert_eq!(chrono_pattern(java).unwrap(), chrono);
        }
        for bad in ["VV", "yyyyy", "'open"] {
            assert!(chrono_pattern(bad).is_err(), "{bad}");
        }
    }
}
