//! The parts of a time that EXTRACT, `date_part` and `date_trunc` know, where they are written out.

use arrow::compute::kernels::cast_utils::IntervalUnit;
use rheos_core::error::{Error, Result, did_you_mean};
use sqlparser::ast::{DateTimeField, Expr, Spanned};

use crate::ddl::expr_place;
use crate::tokens::place;

/// Units that EXTRACT takes besides those of intervals.
const MORE: [&str; 7] = ["isoyear", "qtr", "quarter", "doy", "dow", "isodow", "epoch"];

const SHOWN: [&str; 13] = [
    "year",
    "isoyear",
    "quarter",
    "month",
    "week",
    "day",
    "hour",
    "minute",
    "second",
    "millisecond",
    "dow",
    "doy",
    "epoch",
];

const CUT: [&str; 10] =
    ["microsecond", "millisecond", "second", "minute", "hour", "day", "week", "month", "quarter", "year"];

/// Errors: there is no such part to take from a time.
pub(crate) fn check_extract(field: &DateTimeField, expr: &Expr) -> Result<()> {
    let at = match field {
        DateTimeField::Custom(name) => Some(place(name.span)).filter(|at| at.line > 0),
        _ => expr_place(expr),
    };
    check("EXTRACT", &field.to_string(), &SHOWN, is_part).map_err(|error| match at {
        Some(at) => error.with_span(at),
        None => error,
    })
}

/// Errors: `name` is `date_part` or `date_trunc`, and its unit is a text that it does not know.
pub(crate) fn check_call(name: &str, unit: &str, written: &Expr) -> Result<()> {
    let checked = match name {
        "date_trunc" | "datetrunc" => check(name, unit, &CUT, |unit| CUT.contains(&unit)),
        _ => check(name, unit, &SHOWN, is_part),
    };
    checked.map_err(|error| match expr_place(written) {
        Some(at) => error.with_span(at),
        None => error.with_span(place(written.span())),
    })
}

fn check(name: &str, unit: &str, known: &[&str], is_known: impl Fn(&str) -> bool) -> Result<()> {
    let lower = unit.trim_matches(['\'', '"']).to_lowercase();
    if is_known(&lower) {
        return Ok(());
    }
    let list = format!("the units are {}", known.join(", "));
    let error = Error::invalid(134, format!("{name} does not know the unit '{unit}'"));
    Err(error.with_hint(did_you_mean(&lower, known.iter().copied(), &list)))
}

fn is_part(unit: &str) -> bool {
    MORE.contains(&unit) || unit.parse::<IntervalUnit>().is_ok()
}
