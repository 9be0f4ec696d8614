//! Functions of times. Everything is counted in microseconds of UTC; months and years follow the calendar.
//!
//! A month later than the 31st is the last day of a shorter month, and the months between two times are the most that can
//! be added to the first without passing the second (as Flink and DuckDB count them).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Months, NaiveDateTime};
use datafusion_common::{DataFusionError, Result as DfResult, ScalarValue};
use datafusion_expr::{ColumnarValue, ReturnFieldArgs};
use rheos_core::error::Error;
use rheos_core::types::{TIMESTAMP, display, timestamp_ltz};

use super::calendar::by_pattern;
use super::{Builtin, Call, a_text, an_integer, anything, bigint};

/// A unit of `TIMESTAMPDIFF` and `TIMESTAMPADD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// So many microseconds.
    Fixed(i64),
    /// So many months.
    Months(i64),
}

const DAY_US: i64 = 86_400_000_000;

/// The units by name.
const UNITS: &[(&str, Unit)] = &[
    ("MICROSECOND", Unit::Fixed(1)),
    ("MILLISECOND", Unit::Fixed(1000)),
    ("SECOND", Unit::Fixed(1_000_000)),
    ("MINUTE", Unit::Fixed(60_000_000)),
    ("HOUR", Unit::Fixed(3_600_000_000)),
    ("DAY", Unit::Fixed(DAY_US)),
    ("WEEK", Unit::Fixed(7 * DAY_US)),
    ("MONTH", Unit::Months(1)),
    ("QUARTER", Unit::Months(3)),
    ("YEAR", Unit::Months(12)),
];

/// The names of the units, for hints.
pub fn unit_names() -> impl Iterator<Item = &'static str> {
    UNITS.iter().map(|u| u.0)
}

/// The unit of a name, also with the prefix of Flink's `SQL_TSI_DAY`.
pub fn unit(name: &str) -> Option<Unit> {
    let name = name.to_uppercase();
    let name = name.strip_prefix("SQL_TSI_").unwrap_or(&name);
    UNITS.iter().find(|u| u.0 == name).map(|u| u.1)
}

pub(super) fn functions() -> Vec<Builtin> {
    vec![
        Builtin::new(
            "timestampdiff",
            vec![vec![a_text(), anything(), anything()]],
            |args| {
                times(args, "timestampdiff", &[1, 2])?;
                bigint(args)
            },
            timestampdiff,
            (
                "timestampdiff(unit, from, to)",
                "The whole units from one time to another; units are MICROSECOND, MILLISECOND, SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, QUARTER and YEAR.",
            ),
        ),
        Builtin::new(
            "timestampadd",
            vec![vec![a_text(), an_integer(), anything()]],
            timestampadd_type,
            timestampadd,
            ("timestampadd(unit, number, time)", "A time so many units later; the units are those of timestampdiff."),
        ),
        Builtin::new(
            "to_timestamp_ltz",
            vec![vec![an_integer()], vec![an_integer(), an_integer()]],
            |_| Ok(timestamp_ltz()),
            to_timestamp_ltz,
            (
                "to_timestamp_ltz(number [, precision])",
                "The time that is so many seconds (precision 0), milliseconds (3, the default), microseconds (6) or nanoseconds (9) after 1970.",
            ),
        ),
        Builtin::new(
            "unix_timestamp",
            vec![vec![a_text(), a_text()]],
            bigint,
            |call| Ok(Arc::new(call.map_texts(|[text, pattern]| seconds(text, pattern))?)),
            (
                "unix_timestamp([text [, 'yyyy-MM-dd HH:mm:ss']])",
                "The seconds since 1970 of a text, by a pattern of Java; without arguments those of now(). NULL for a text that does not fit.",
            ),
        ),
    ]
}

/// Refuses arguments that are not dates or timestamps.
fn times(args: &ReturnFieldArgs<'_>, name: &str, places: &[usize]) -> DfResult<()> {
    for place in places {
        let Some(field) = args.arg_fields.get(*place) else { continue };
        if !matches!(field.data_type(), DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 | DataType::Null)
        {
            let given = display(field.data_type());
            return Err(DataFusionError::External(Box::new(
                Error::invalid(134, format!("'{name}' takes times, and argument {} is {given}", place + 1))
                    .with_hint("cast it, as in CAST(x AS TIMESTAMP)"),
            )));
        }
    }
    Ok(())
}

fn unit_argument(call: &Call<'_>) -> DfResult<Unit> {
    let name = match call.arg(0)? {
        ColumnarValue::Scalar(value) => value.try_as_str().flatten().map(str::to_string),
        ColumnarValue::Array(_) => None,
    };
    name.and_then(|n| unit(&n)).ok_or_else(|| DataFusionError::Internal("a unit of time got lost".into()))
}

type Micros = PrimitiveArray<TimestampMicrosecondType>;

/// An argument in microseconds since 1970.
fn micros(call: &Call<'_>, index: usize) -> DfResult<Micros> {
    let utc = call.column(index, &DataType::Timestamp(TimeUnit::Microsecond, zone(&call.arg(index)?.data_type())))?;
    Ok(utc.as_primitive::<TimestampMicrosecondType>().clone().with_timezone_opt(None::<Arc<str>>))
}

fn zone(data_type: &DataType) -> Option<Arc<str>> {
    match data_type {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    }
}

fn timestampdiff(call: &Call<'_>) -> DfResult<ArrayRef> {
    let (unit, from, to) = (unit_argument(call)?, micros(call, 1)?, micros(call, 2)?);
    let row = |row: usize| match from.is_valid(row) && to.is_valid(row) {
        true => between(unit, from.value(row), to.value(row)),
        false => None,
    };
    Ok(Arc::new((0..call.rows).map(row).collect::<Int64Array>()))
}

/// Whole units from one time to another, towards zero. `None`: out of range.
fn between(unit: Unit, from: i64, to: i64) -> Option<i64> {
    match unit {
        Unit::Fixed(length) => i64::try_from((i128::from(to) - i128::from(from)) / i128::from(length)).ok(),
        Unit::Months(length) if from <= to => Some(months(from, to)? / length),
        Unit::Months(length) => Some(-(months(to, from)? / length)),
    }
}

fn months(from: i64, to: i64) -> Option<i64> {
    use chrono::Datelike;
    let count = |t: NaiveDateTime| i64::from(t.year()) * 12 + i64::from(t.month0());
    let months = count(civil(to)?) - count(civil(from)?);
    let passed = add_months(from, months)? > to;
    Some(months - i64::from(passed))
}

fn civil(micros: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_micros(micros).map(|t| t.naive_utc())
}

fn add_months(micros: i64, months: i64) -> Option<i64> {
    let (start, count) = (civil(micros)?, Months::new(u32::try_from(months.unsigned_abs()).ok()?));
    let end = if months < 0 { start.checked_sub_months(count) } else { start.checked_add_months(count) };
    Some(end?.and_utc().timestamp_micros())
}

/// A date stays a date where the unit is a day or longer.
fn timestampadd_type(args: &ReturnFieldArgs<'_>) -> DfResult<DataType> {
    times(args, "timestampadd", &[2])?;
    let name = args.scalar_arguments.first().copied().flatten().and_then(ScalarValue::try_as_str).flatten();
    let whole_days = match name.and_then(unit) {
        Some(Unit::Fixed(length)) => length % DAY_US == 0,
        Some(Unit::Months(_)) => true,
        None => return Err(DataFusionError::Internal("a unit of time got lost".into())),
    };
    Ok(match args.arg_fields.get(2).map(|f| f.data_type()) {
        Some(DataType::Date32 | DataType::Date64) if whole_days => DataType::Date32,
        Some(DataType::Timestamp(_, Some(_))) => timestamp_ltz(),
        _ => TIMESTAMP,
    })
}

fn timestampadd(call: &Call<'_>) -> DfResult<ArrayRef> {
    let (unit, counts, times) = (unit_argument(call)?, call.integers(1)?, micros(call, 2)?);
    let row = |row: usize| {
        let (count, time) = match counts.is_valid(row) && times.is_valid(row) {
            true => (counts.value(row), times.value(row)),
            false => return None,
        };
        match unit {
            Unit::Fixed(length) => time.checked_add(count.checked_mul(length)?),
            Unit::Months(length) => add_months(time, count.checked_mul(length)?),
        }
    };
    finished((0..call.rows).map(row).collect(), call.returns)
}

/// Microseconds as the type that a call returns.
fn finished(times: Micros, returns: &DataType) -> DfResult<ArrayRef> {
    match returns {
        DataType::Timestamp(..) => Ok(Arc::new(times.with_timezone_opt(zone(returns)))),
        other => Ok(cast(&times, other)?),
    }
}

fn to_timestamp_ltz(call: &Call<'_>) -> DfResult<ArrayRef> {
    let numbers = call.integers(0)?;
    let precisions = if call.args.len() > 1 { Some(call.integers(1)?) } else { None };
    let row = |row: usize| {
        let number = numbers.is_valid(row).then(|| numbers.value(row))?;
        match precisions.as_ref().map_or(Some(3), |p| p.is_valid(row).then(|| p.value(row)))? {
            0 => number.checked_mul(1_000_000),
            3 => number.checked_mul(1000),
            6 => Some(number),
            9 => Some(number.div_euclid(1000)),
            _ => None,
        }
    };
    finished((0..call.rows).map(row).collect(), call.returns)
}

/// The seconds since 1970 of a text; midnight where the pattern has no time. `None`: the text does not fit.
fn seconds(text: &str, pattern: &str) -> Option<i64> {
    by_pattern(text, pattern).map(|micros| micros.div_euclid(1_000_000))
}
