//! What went wrong with a row, in words of SQL: the cause, and the part of the expression that it happened in.
//!
//! ```text
//!   Arrow error: Divide by zero error     ──►   division by zero in 10 / n
//!   Cast error: Cannot cast string 'a' to value of Int32 type  ──►  cannot cast 'a' to INT in CAST(x AS INT)
//! ```

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion_common::DataFusionError;
use datafusion_expr::Operator;
use datafusion_physical_expr::expressions::{
    BinaryExpr, CastExpr, IsNotNullExpr, IsNullExpr, LikeExpr, NegativeExpr, NotExpr,
};
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion_physical_expr_common::physical_expr::fmt_sql;
use rheos_core::types::in_sql;
use rheos_core::{Error, ErrorKind};

use crate::quotient::Division;

/// Longer expressions are not shown.
const SHOWN_CHARS_MAX: usize = 100;

/// An error of `expr` over `batch`, with the innermost part that fails.
pub(crate) fn located(error: &DataFusionError, expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Error {
    let (part, error) = innermost(expr, batch).unwrap_or_else(|| (Arc::clone(expr), error.to_string()));
    let data_type = part.data_type(batch.schema_ref());
    let mut cause = Cause::of(&error);
    if cause.kind == Kind::Overflow {
        // Decimals are told without their point and times as counts, so their digits would mislead.
        match data_type {
            Ok(data_type) if data_type.is_decimal() => {
                cause.sentence = format!("a number is out of the range of {}", in_sql(&data_type.to_string()));
            }
            Ok(data_type) if data_type.is_temporal() => {
                cause = Cause { kind: Kind::Time, sentence: "the result is out of range".into() };
            }
            _ => {}
        }
    }
    let text = without_places(&in_sql(&fmt_sql(part.as_ref()).to_string()));
    // A name that the planner has made says nothing, and neither does a value as the library keeps it.
    if text.chars().count() <= SHOWN_CHARS_MAX && !text.contains("__") && !text.contains(" { ") {
        cause.sentence = match cause.kind {
            Kind::Other => format!("{text}: {}", cause.sentence),
            // A constant time is a count there.
            Kind::Advised(_) | Kind::Time => cause.sentence,
            _ => format!("{} in {text}", cause.sentence),
        };
    }
    cause.error()
}

/// `n@1` is the column `n`; where it is in the rows is nobody's business.
fn without_places(text: &str) -> String {
    let mut parts = text.split('@');
    let first = parts.next().unwrap_or_default();
    parts.fold(first.to_string(), |out, part| {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let is_place = rest.len() < part.len() && out.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if is_place { out + rest } else { out + "@" + part }
    })
}

/// An error of which nothing is known but its text.
pub(crate) fn told(message: &str) -> Error {
    Cause::of(message).error()
}

/// The first part that fails by itself, and how. Parts that see only some of the rows (those of CASE, the second side of
/// AND) and bodies of lambdas are not looked into.
pub(crate) fn innermost(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Option<(Arc<dyn PhysicalExpr>, String)> {
    let sees_all_rows = match expr.downcast_ref::<BinaryExpr>() {
        Some(binary) => !matches!(binary.op(), Operator::And | Operator::Or),
        None => {
            expr.downcast_ref::<CastExpr>().is_some()
                || expr.downcast_ref::<NegativeExpr>().is_some()
                || expr.downcast_ref::<NotExpr>().is_some()
                || expr.downcast_ref::<IsNullExpr>().is_some()
                || expr.downcast_ref::<IsNotNullExpr>().is_some()
                || expr.downcast_ref::<LikeExpr>().is_some()
                || expr.downcast_ref::<ScalarFunctionExpr>().is_some()
                || expr.downcast_ref::<Division>().is_some()
        }
    };
    let inside = expr.children().into_iter().filter(|_| sees_all_rows).find_map(|child| innermost(child, batch));
    inside.or_else(|| Some((Arc::clone(expr), expr.evaluate(batch).err()?.find_root().to_string())))
}

/// What Arrow says of a timestamp and an interval.
const OVERFLOW_OF_TIMES: &str = "Timestamp out of range";

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    DivisionByZero,
    Overflow,
    /// Of a time or an interval, which has no wider type.
    Time,
    Cast,
    Pattern,
    Format,
    /// The message says itself what to do.
    Advised(String),
    Other,
}

#[derive(Debug)]
struct Cause {
    kind: Kind,
    sentence: String,
}

impl Cause {
    fn of(message: &str) -> Self {
        let message = bare(message);
        // The advice that some messages end with.
        if let Some((what, advice)) = message.split_once(": cast the argument to ") {
            return Self { kind: Kind::Advised(format!("cast the argument to {advice}")), sentence: in_sql(what) };
        }
        let (kind, sentence) = if message.starts_with("Divide by zero") {
            (Kind::DivisionByZero, "division by zero".to_string())
        } else if message == OVERFLOW_OF_TIMES || message.starts_with("Overflow happened on: an interval") {
            (Kind::Time, "the result is out of range".to_string())
        } else if let Some(what) = message.strip_prefix("Overflow happened on: ") {
            (Kind::Overflow, format!("{what} is out of range"))
        } else if let Some((_, what)) = message.split_once("Array overflow on ") {
            (Kind::Overflow, format!("{what} is out of range"))
        } else if let Some(reason) = message.strip_prefix("Regular expression did not compile") {
            // Those before draw the pattern.
            let reason = reason.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or("it cannot be read");
            (Kind::Pattern, format!("a regular expression is wrong: {reason}"))
        } else if message == "Format error" {
            (Kind::Format, "the format of a time is wrong".to_string())
        } else if let Some((value, to)) = cast_of(message) {
            (Kind::Cast, format!("cannot cast {value} to {}", in_sql(to)))
        } else if let Some((value, rest)) = message.split_once(" is too large to store in a Decimal")
            && let Some((_, largest)) = rest.split_once(". Max is ")
        {
            (Kind::Cast, format!("{value} has too many digits: the largest number is {largest}"))
        } else if message.starts_with("Unable to cast to Date32") {
            (Kind::Cast, "cannot read a date".to_string())
        } else if let Some(value) = message.strip_prefix("Error parsing date from ") {
            (Kind::Cast, format!("cannot read a date from {value}"))
        } else if let Some(rest) = message.strip_prefix("Error parsing timestamp from ") {
            let value = rest.rsplit_once("': ").map_or_else(|| rest.to_string(), |(value, _)| format!("{value}'"));
            (Kind::Cast, format!("cannot read a timestamp from {value}"))
        } else {
            (Kind::Other, in_sql(message))
        };
        Self { kind, sentence }
    }

    fn error(self) -> Error {
        let error = Error::new(ErrorKind::User, 350, self.sentence);
        match self.kind {
            Kind::DivisionByZero => error.with_hint("divide by nullif(x, 0), which gives NULL, or take such rows out"),
            Kind::Overflow => error.with_hint("cast one of the numbers to DECIMAL(38, 0) or DOUBLE"),
            Kind::Time => error.with_hint("add less time: leave such rows out with WHERE, or choose with CASE"),
            Kind::Cast => error.with_hint("TRY_CAST gives NULL for what does not fit"),
            Kind::Pattern => error.with_hint("check brackets, backslashes and flags"),
            Kind::Format => error.with_hint("write it as '%Y-%m-%d %H:%M:%S'; DATE_FORMAT takes 'yyyy-MM-dd HH:mm:ss'"),
            Kind::Advised(advice) => error.with_hint(advice),
            Kind::Other => error.with_hint("leave such rows out with WHERE, or choose with CASE"),
        }
    }
}

/// The sentence without the names of the libraries' errors, and without a backtrace.
fn bare(message: &str) -> &str {
    const PREFIXES: [&str; 10] = [
        "Arrow error: ",
        "Execution error: ",
        "Compute error: ",
        "Cast error: ",
        "Parser error: ",
        "Arithmetic overflow: ",
        "Invalid argument error: ",
        "External error: ",
        "External: ",
        "Error during planning: ",
    ];
    let mut message = message.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or_default().trim();
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| message.strip_prefix(prefix)) {
        message = rest;
    }
    message
}

/// The value and the type of a cast that failed.
fn cast_of(message: &str) -> Option<(&str, &str)> {
    if let Some(rest) = message.strip_prefix("Can't cast value ") {
        return rest.split_once(" to type ");
    }
    let rest = message.strip_prefix("Cannot cast string ").or_else(|| message.strip_prefix("Cannot cast value "))?;
    let (value, to) = rest.rsplit_once(" to value of ")?;
    Some((value, to.strip_suffix(" type").unwrap_or(to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_in_words_of_sql() {
        let cases = [
            ("Arrow error: Divide by zero error", "division by zero"),
            ("Arithmetic overflow: Overflow happened on: 1 + 2", "1 + 2 is out of range"),
            (
                "Arrow error: Cast error: Cannot cast string 'a to value of x' to value of Int32 type",
                "cannot cast 'a to value of x' to INT",
            ),
            ("Cast error: Can't cast value 300 to type Int8", "cannot cast 300 to TINYINT"),
            (
                "Invalid argument error: 3000.5 is too large to store in a Decimal128 of precision 3. Max is 99.9",
                "3000.5 has too many digits: the largest number is 99.9",
            ),
            ("Compute error: Int64Array overflow on abs(-9)", "abs(-9) is out of range"),
            (
                "Arrow error: Parser error: Unable to cast to Date32 for converting from i64 to i32 failed",
                "cannot read a date",
            ),
            ("Execution error: Error parsing date from '2024-13-01'", "cannot read a date from '2024-13-01'"),
            ("Cast error: Format error", "the format of a time is wrong"),
            (
                "Regular expression did not compile: Syntax(\n~~\nregex parse error:\n    (?z)A\nerror: unrecognized flag\n~~",
                "a regular expression is wrong: unrecognized flag",
            ),
            ("Execution error: the sum 9 does not fit: cast the argument to DOUBLE", "the sum 9 does not fit"),
            (
                "Compute error: Execution error: cannot take square root of a negative number",
                "cannot take square root of a negative number",
            ),
        ];
        for (message, expected) in cases {
            assert_eq!(told(message).message(), expected);
        }
    }

    #[test]
    fn columns_are_shown_by_their_names() {
        let cases =
            [("n@0 > 0 AND 10 / n_1@12 > 1", "n > 0 AND 10 / n_1 > 1"), ("f(x@1, a @ 3, @4)", "f(x, a @ 3, @4)")];
        for (text, expected) in cases {
            assert_eq!(without_places(text), expected);
        }
    }
}
