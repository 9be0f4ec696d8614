//! Calls that Flink's users write and that are others in disguise, and checks of what a call has as literals.
//!
//! ```text
//!   IF(c, a, b)               CASE WHEN c THEN a ELSE b END
//!   TRUNCATE(x, n)            trunc(x, n)
//!   LOCATE(part, text, n)     strpos(text, part), from place n on
//!   REGEXP(text, pattern)     regexp_like(text, pattern)
//!   FROM_UNIXTIME(s, 'yyyy')  to_char(to_timestamp_seconds(s), '%Y')
//!   TIMESTAMPDIFF(DAY, a, b)  timestampdiff('DAY', a, b)
//! ```

use regex::Regex;
use rheos_core::error::{Error, Result, did_you_mean};
use rheos_functions::json_path::Path;
use rheos_functions::{time, url};
use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, DataType, Expr, Function, Ident, ObjectName, Spanned, TimezoneInfo, Value,
};

use super::parts;
use crate::ddl::expr_place;
use crate::dialect::{call, chrono_pattern, literal, text};

/// The functions that exist by being rewritten: name, call, what it does.
pub(crate) const ADDED: &[(&str, &str, &str)] = &[
    ("if", "if(condition, a, b)", "a where the condition holds, else b."),
    ("truncate", "truncate(x [, digits])", "A number without the digits behind a place, as trunc."),
    ("locate", "locate(part, text [, from])", "The place of a part in a text, from 1; 0 where it is not in there."),
    ("regexp", "regexp(text, pattern)", "Whether a regular expression matches anywhere, as regexp_like."),
    (
        "from_unixtime",
        "from_unixtime(seconds [, 'yyyy-MM-dd HH:mm:ss'])",
        "Seconds since 1970 as text, by a pattern of Java; to_timestamp_seconds gives a TIMESTAMP.",
    ),
];

/// The pattern of a time where a call gives none.
const DATE_TIME: &str = "yyyy-MM-dd HH:mm:ss";

/// What a call stands for, if it is one of this module's. Errors: a literal that cannot be right.
pub(crate) fn rewritten(function: &Function, name: &str, args: &[Expr]) -> Result<Option<Expr>> {
    check_literals(name, args)?;
    Ok(match (name, args) {
        ("if", [condition, yes, no]) => Some(case(condition.clone(), yes.clone(), no.clone())),
        ("truncate", [_] | [_, _]) => Some(call(function, "trunc", args.to_vec())),
        ("regexp", [_, _]) => Some(call(function, "regexp_like", args.to_vec())),
        ("locate", [part, whole]) => Some(call(function, "strpos", vec![whole.clone(), part.clone()])),
        ("locate", [part, whole, from]) => Some(locate_from(function, part, whole, from)),
        ("from_unixtime", [seconds]) => Some(from_unixtime(function, seconds, DATE_TIME)?),
        ("from_unixtime", [seconds, pattern]) => {
            Some(from_unixtime(function, seconds, literal_pattern(name, pattern)?).map_err(|e| at(e, pattern))?)
        }
        ("unix_timestamp", []) => {
            let seconds = call(function, "to_unixtime", vec![call(function, "now", vec![])]);
            Some(seconds)
        }
        ("unix_timestamp", [value]) => {
            Some(call(function, name, vec![value.clone(), text(&chrono_pattern(DATE_TIME)?)]))
        }
        ("unix_timestamp", [value, pattern]) => {
            let chrono = chrono_pattern(literal_pattern(name, pattern)?).map_err(|e| at(e, pattern))?;
            Some(call(function, name, vec![value.clone(), text(&chrono)]))
        }
        // DataFusion's own patterns have a '%'; those of Java never do.
        ("to_timestamp" | "to_date", [value, pattern]) => match literal(pattern) {
            Some(java) if !java.contains('%') => {
                let chrono = chrono_pattern(java).map_err(|e| at(e, pattern))?;
                Some(call(function, name, vec![value.clone(), text(&chrono)]))
            }
            _ => None,
        },
        ("timestampdiff" | "timestampadd", [unit, rest @ ..]) => {
            let mut args = vec![text(&unit_name(name, unit)?)];
            args.extend_from_slice(rest);
            Some(call(function, name, args))
        }
        ("current_row_timestamp", []) => Some(call(function, "now", vec![])),
        _ => None,
    })
}

/// `LOCALTIMESTAMP` and `LOCALTIME`, which stand without parentheses.
pub(crate) fn bare(function: &Function) -> Option<Expr> {
    let name = function.name.to_string().to_lowercase();
    let now = |name: &str| {
        let mut new = function.clone();
        new.name = ObjectName::from(vec![Ident { value: name.into(), quote_style: None, span: function.name.span() }]);
        Expr::Function(new)
    };
    match name.as_str() {
        "localtimestamp" => Some(Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(now("current_timestamp")),
            data_type: DataType::Timestamp(None, TimezoneInfo::None),
            array: false,
            format: None,
        }),
        "localtime" => Some(now("current_time")),
        _ => None,
    }
}

fn at(error: Error, expr: &Expr) -> Error {
    match expr_place(expr) {
        Some(place) if error.span().is_none() => error.with_span(place),
        _ => error,
    }
}

fn case(condition: Expr, yes: Expr, no: Expr) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result: yes }],
        else_result: Some(Box::new(no)),
    }
}

/// The first place not before `from`: found in the rest, and counted from the start again.
fn locate_from(function: &Function, part: &Expr, whole: &Expr, from: &Expr) -> Expr {
    let operation = |left: &Expr, op, right: &Expr| {
        let nested = |e: &Expr| Box::new(Expr::Nested(Box::new(e.clone())));
        Expr::Nested(Box::new(Expr::BinaryOp { left: nested(left), op, right: nested(right) }))
    };
    let number = |n: &str| Expr::value(Value::Number(n.into(), false));
    let rest = call(function, "substr", vec![whole.clone(), from.clone()]);
    let found = call(function, "strpos", vec![rest, part.clone()]);
    let before = operation(from, BinaryOperator::Minus, &number("1"));
    let zero = number("0");
    case(operation(&found, BinaryOperator::Eq, &zero), zero.clone(), operation(&found, BinaryOperator::Plus, &before))
}

fn from_unixtime(function: &Function, seconds: &Expr, pattern: &str) -> Result<Expr> {
    let time = call(function, "to_timestamp_seconds", vec![seconds.clone()]);
    Ok(call(function, "to_char", vec![time, text(&chrono_pattern(pattern)?)]))
}

fn literal_pattern<'e>(name: &str, pattern: &'e Expr) -> Result<&'e str> {
    literal(pattern).ok_or_else(|| {
        let error = Error::invalid(134, format!("the pattern of {name} must be a text in the program"));
        at(error.with_hint("write it as 'yyyy-MM-dd HH:mm:ss'"), pattern)
    })
}

fn unit_name(function: &str, unit: &Expr) -> Result<String> {
    let word = match unit {
        Expr::Identifier(ident) => ident.value.clone(),
        other => literal(other).map_or_else(|| other.to_string(), str::to_string),
    };
    match time::unit(&word) {
        Some(_) => Ok(word),
        None => {
            let units: Vec<_> = time::unit_names().collect();
            let list = format!("the units are {}; it is called as {function}(DAY, ...)", units.join(", "));
            let hint = did_you_mean(&word.to_uppercase(), units.iter().copied(), &list);
            Err(at(Error::invalid(134, format!("{function} does not know the unit '{word}'")).with_hint(hint), unit))
        }
    }
}

// ---- literals ----

/// Refuses patterns, paths and names that are wrong for every row.
fn check_literals(name: &str, args: &[Expr]) -> Result<()> {
    match (name, args) {
        (
            "regexp" | "regexp_like" | "regexp_extract" | "regexp_replace" | "regexp_match" | "regexp_count"
            | "regexp_instr",
            [_, pattern, rest @ ..],
        ) => {
            let Some(written) = literal(pattern) else { return Ok(()) };
            let regex = Regex::new(written).map_err(|e| at(wrong_pattern(written, &e), pattern))?;
            match (name, rest) {
                ("regexp_extract", [group]) => check_group(&regex, group),
                ("regexp_like" | "regexp_match", [flags]) | ("regexp_replace", [_, flags]) => check_flags(flags),
                _ => Ok(()),
            }
        }
        ("date_part" | "datepart" | "date_trunc" | "datetrunc", [unit, _]) => match literal(unit) {
            Some(written) => parts::check_call(name, written, unit),
            None => Ok(()),
        },
        ("json_value" | "json_query" | "json_exists", [_, path, ..]) => {
            let Some(written) = literal(path) else {
                let error = Error::invalid(134, format!("the path of {name} must be a text in the program"));
                return Err(at(error.with_hint("write it as '$.name[0]'"), path));
            };
            check_path(written, path)
        }
        ("json_extract_string", [_, path]) => match literal(path) {
            Some(written) if written.starts_with('$') => check_path(written, path),
            _ => Ok(()),
        },
        ("encode" | "decode", [_, format]) => match literal(format) {
            Some(written) if !ENCODINGS.contains(&written) => Err(wrong_encoding(name, written, format)),
            _ => Ok(()),
        },
        ("parse_url", [_, part, ..]) => match literal(part) {
            Some(written) if !url::PARTS.contains(&written) => {
                let list = format!("the parts are {}", url::PARTS.join(", "));
                let hint = did_you_mean(&written.to_uppercase(), url::PARTS.iter().copied(), &list);
                Err(at(Error::invalid(134, format!("a URL has no part '{written}'")).with_hint(hint), part))
            }
            _ => Ok(()),
        },
        ("to_timestamp_ltz", [_, precision]) => {
            let known = ["0", "3", "6", "9"].contains(&precision.to_string().as_str());
            let error = || Error::invalid(134, "the precision of to_timestamp_ltz is 0, 3, 6 or 9");
            let hint = "0 for seconds, 3 for milliseconds, 6 for microseconds, 9 for nanoseconds";
            if known { Ok(()) } else { Err(at(error().with_hint(hint), precision)) }
        }
        _ => Ok(()),
    }
}

/// What `encode` and `decode` know.
const ENCODINGS: [&str; 3] = ["base64", "base64pad", "hex"];

/// Flink's functions of the same name take a charset.
fn wrong_encoding(name: &str, written: &str, format: &Expr) -> Error {
    let known = format!("the formats are {}", ENCODINGS.join(", "));
    let is_charset = ["utf", "ascii", "iso", "latin"].iter().any(|c| written.to_lowercase().contains(c));
    let hint = match (is_charset, name) {
        (true, "decode") => format!("{known}; CAST(x AS STRING) reads bytes as UTF-8"),
        (true, _) => format!("{known}; CAST(x AS BYTES) gives the UTF-8 of a text"),
        (false, _) => did_you_mean(&written.to_lowercase(), ENCODINGS, &known),
    };
    at(Error::invalid(134, format!("{name} does not know the format '{written}'")).with_hint(hint), format)
}

fn check_path(written: &str, path: &Expr) -> Result<()> {
    Path::parse(written).map(drop).map_err(|what| {
        at(Error::invalid(134, what).with_hint("a path is like $.name, $['a name'], $[0] or $.list[*].name"), path)
    })
}

fn check_flags(flags: &Expr) -> Result<()> {
    let Some(unknown) = literal(flags).and_then(|flags| flags.chars().find(|c| !"gimsUuxR".contains(*c))) else {
        return Ok(());
    };
    let error = Error::invalid(134, format!("a regular expression has no flag '{unknown}'"));
    let hint = "i: letters large or small, m: ^ and $ at lines, s: a point is also a line end, x: blanks mean nothing";
    Err(at(error.with_hint(hint), flags))
}

fn check_group(regex: &Regex, group: &Expr) -> Result<()> {
    let Ok(number) = group.to_string().parse::<usize>() else { return Ok(()) };
    let last = regex.captures_len() - 1;
    if number <= last {
        return Ok(());
    }
    let error = Error::invalid(134, format!("the pattern has no group {number}"));
    Err(at(error.with_hint(format!("its groups are 0 to {last}; 0 is the whole match")), group))
}

fn wrong_pattern(pattern: &str, error: &regex::Error) -> Error {
    let reason = error.to_string();
    // The last line says what is wrong; those before draw the pattern.
    let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
    let hint = match reason.contains("look-around") || reason.contains("backreference") {
        true => "write it with groups; patterns have no look-ahead, look-behind and references back",
        false => "check brackets and backslashes; \\( stands for a parenthesis",
    };
    Error::invalid(134, format!("'{pattern}' is not a regular expression: {reason}")).with_hint(hint)
}
