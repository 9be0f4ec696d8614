//! Times and intervals that become texts, by a CAST or by `||`, look as they do where rows are printed. DataFusion's CAST
//! writes a `T` between date and time and intervals in a style of its own.
//!
//! ```text
//!   CAST(ts AS STRING)    ──►    spelled(ts)    ──►    2013-01-01 05:15:00.25
//! ```
//!
//! Runs behind the coercion of types, which puts in the casts that nobody wrote. Rows, lists and maps become JSON, as they
//! are printed; of those only a CAST makes texts, which `nested_casts` finds before the coercion.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, DurationMicrosecondType, Int64Type, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType,
};
use chrono::{DateTime, Offset, TimeZone};
use datafusion_common::tree_node::Transformed;
use datafusion_common::{DFSchema, Result, ScalarValue, internal_err};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TryCast, Volatility,
};
use rheos_core::temporal::{write_duration, write_interval, write_time, write_timestamp};
use rheos_functions::json_make::json_texts;

use crate::rewrite::each_expression;

/// Spells the times that the plan casts to texts.
pub(crate) fn spell_times(plan: LogicalPlan) -> Result<LogicalPlan> {
    each_expression(plan, spelled)
}

fn spelled(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (inner, to) = match &expr {
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => (expr, field.data_type()),
        _ => return Ok(Transformed::no(expr)),
    };
    if !is_text(to) || !inner.get_type(schema).is_ok_and(|t| has_spelling(&t)) {
        return Ok(Transformed::no(expr));
    }
    Ok(Transformed::yes(as_text(inner.as_ref().clone(), to)))
}

/// A time, a row, a list or a map as a text of the type `to`.
pub(crate) fn as_text(value: Expr, to: &DataType) -> Expr {
    let function = ScalarUDF::new_from_impl(Spelled { signature: Signature::any(1, Volatility::Immutable) });
    let text = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), vec![value]));
    match to {
        DataType::Utf8 => text,
        other => Expr::Cast(Cast::new(Box::new(text), other.clone())),
    }
}

pub(crate) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Whether the texts of a type are made here.
pub(crate) fn has_spelling(data_type: &DataType) -> bool {
    use DataType::{Duration, Interval, Time32, Time64, Timestamp};
    matches!(data_type, Timestamp(..) | Time32(_) | Time64(_) | Interval(_) | Duration(_))
}

/// The function that the casts become; it is not one that a program can name.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Spelled {
    signature: Signature,
}

impl ScalarUDFImpl for Spelled {
    fn name(&self) -> &str {
        "spelled"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Scalar(value)] => {
                let text = texts(&value.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&text, 0)?))
            }
            [ColumnarValue::Array(values)] => Ok(ColumnarValue::Array(texts(values)?)),
            _ => internal_err!("spelled takes one argument"),
        }
    }
}

/// Each value as its text. Errors: a value that is out of the range of microseconds.
pub(crate) fn texts(values: &ArrayRef) -> Result<ArrayRef> {
    use DataType::{Duration, Int64, Interval, Time32, Time64, Timestamp};
    let to = |data_type: &DataType| {
        cast_with_options(values, data_type, &CastOptions { safe: false, ..CastOptions::default() })
    };
    Ok(match values.data_type() {
        Timestamp(_, zone) => {
            let us = to(&Timestamp(TimeUnit::Microsecond, zone.clone()))?;
            let us = us.as_primitive::<TimestampMicrosecondType>();
            match zone.as_deref() {
                None => written(us, |row, out| write_timestamp(us.value(row), out)),
                Some("UTC") => written(us, |row, out| {
                    write_timestamp(us.value(row), out);
                    out.push(b'Z');
                }),
                Some(zone) => {
                    let zone: Tz = zone.parse()?;
                    written(us, |row, out| write_in_zone(us.value(row), &zone, out))
                }
            }
        }
        Time32(_) | Time64(_) => {
            let us = to(&Time64(TimeUnit::Microsecond))?;
            let us = us.as_primitive::<Time64MicrosecondType>();
            written(us, |row, out| write_time(us.value(row), out))
        }
        Interval(_) => {
            let parts = to(&Interval(IntervalUnit::MonthDayNano))?;
            let parts = parts.as_primitive::<IntervalMonthDayNanoType>();
            written(parts, |row, out| {
                let parts = parts.value(row);
                write_interval(parts.months, i64::from(parts.days), parts.nanoseconds, out);
            })
        }
        Duration(TimeUnit::Nanosecond) => {
            let ns = to(&Int64)?;
            let ns = ns.as_primitive::<Int64Type>();
            written(ns, |row, out| write_duration(i128::from(ns.value(row)), out))
        }
        Duration(_) => {
            let us = to(&Duration(TimeUnit::Microsecond))?;
            let us = us.as_primitive::<DurationMicrosecondType>();
            written(us, |row, out| write_duration(i128::from(us.value(row)) * 1000, out))
        }
        nested if nested.is_nested() => json_texts(values)?,
        other => return internal_err!("{other} has no spelling"),
    })
}

/// What the clock on the wall says, and how far it is from UTC: `2024-07-01 14:30:00+02:00`.
fn write_in_zone(us: i64, zone: &Tz, out: &mut Vec<u8>) {
    // Out of chrono's range a zone has no offset.
    let utc = DateTime::from_timestamp_micros(us).unwrap_or_default().naive_utc();
    let offset_s = zone.offset_from_utc_datetime(&utc).fix().local_minus_utc();
    write_timestamp(us.saturating_add(i64::from(offset_s) * 1_000_000), out);
    let (sign, minutes) = (if offset_s < 0 { '-' } else { '+' }, offset_s.abs() / 60);
    out.extend(format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60).bytes());
}

fn written(values: &impl Array, write: impl Fn(usize, &mut Vec<u8>)) -> ArrayRef {
    let mut texts = StringBuilder::new();
    let mut text = Vec::new();
    for row in 0..values.len() {
        if values.is_null(row) {
            texts.append_null();
            continue;
        }
        text.clear();
        write(row, &mut text);
        texts.append_value(String::from_utf8_lossy(&text));
    }
    Arc::new(texts.finish())
}
