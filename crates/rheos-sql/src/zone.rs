//! The session's zone (`SET 'timezone' = 'Europe/Berlin'`): what the clock on the wall says at a TIMESTAMP_LTZ.
//!
//! ```text
//!   CAST(l AS TIMESTAMP | DATE | TIME)   CAST(local(l) AS ..)
//!   CAST(l AS STRING)                    CAST(l in the zone AS STRING): with its offset, ..+02:00
//!   CAST(ts | date AS TIMESTAMP_LTZ)     instant(CAST(.. AS TIMESTAMP))
//!   CAST(text AS TIMESTAMP_LTZ)          a text without an offset is read in the zone
//!   HOUR(l), EXTRACT(DAY FROM l), ..     of local(l); EPOCH of l itself
//!   date_trunc(unit, l)                  the beginning of the unit in the zone
//!   DATE_FORMAT(l, ..), to_char          of l in the zone
//! ```
//!
//! Everywhere else, in rows, states and sinks, a TIMESTAMP_LTZ is an instant in UTC. The two conversions are functions
//! and no casts, because DataFusion takes casts of timestamps out of comparisons as if zones made no difference.
//!
//! Invariant: the types of a plan stay as they are. Runs behind the coercion of types, so that implied casts count too.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{AsArray, PrimitiveArray};
use arrow::compute::cast as cast_array;
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use chrono::{DateTime, Duration, FixedOffset, NaiveDateTime, Offset, TimeZone, Utc};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{DFSchema, Result as DfResult, ScalarValue};
use datafusion_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, cast,
};

use crate::types::{TIMESTAMP, timestamp_ltz};

/// Makes a plan's conversions go by a zone.
pub(crate) fn localize(plan: LogicalPlan, zone: &str) -> DfResult<LogicalPlan> {
    let localized = plan.transform_up_with_subqueries(|node| {
        let mut schema = DFSchema::empty();
        for input in node.inputs() {
            schema.merge(input.schema());
        }
        if let LogicalPlan::TableScan(scan) = &node {
            schema.merge(&scan.projected_schema);
        }
        let names = datafusion_expr::expr_rewriter::NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let new = expr.transform_up(|e| in_zone(e, &schema, zone))?;
            Ok(new.update_data(|e| name.restore(e)))
        })
    });
    localized.data()
}

fn in_zone(expr: Expr, schema: &DFSchema, zone: &str) -> DfResult<Transformed<Expr>> {
    let new = match &expr {
        Expr::Cast(Cast { expr: inner, field }) => converted(inner, field.data_type(), schema, zone, false)?,
        Expr::TryCast(TryCast { expr: inner, field }) => converted(inner, field.data_type(), schema, zone, true)?,
        Expr::ScalarFunction(call) => called(call, schema, zone)?,
        _ => None,
    };
    Ok(new.map_or_else(|| Transformed::no(expr), Transformed::yes))
}

/// The type of a TIMESTAMP_LTZ that knows its zone.
fn zoned(zone: &str) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into()))
}

fn is_ltz(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, Some(zone)) if zone.as_ref() == "UTC")
}

fn converted(inner: &Expr, to: &DataType, schema: &DFSchema, zone: &str, safe: bool) -> DfResult<Option<Expr>> {
    use DataType::{Date32, Date64, LargeUtf8, Time32, Time64, Timestamp, Utf8, Utf8View};
    let from = inner.get_type(schema)?;
    let inner = inner.clone();
    // `AT TIME ZONE` gives a type with a zone of its own.
    let of_type = |name: &str| if name == "UTC" { zone.to_string() } else { name.to_string() };
    Ok(match (&from, to) {
        (Timestamp(_, Some(name)), Timestamp(_, None) | Date32 | Date64 | Time32(_) | Time64(_)) => {
            let zone = of_type(name);
            (zone != "UTC").then(|| cast(local(inner, &zone), to.clone()))
        }
        (Timestamp(_, None) | Date32 | Date64, Timestamp(_, Some(name))) => {
            let zone = of_type(name);
            (zone != "UTC").then(|| cast(instant(cast(inner, TIMESTAMP), &zone), to.clone()))
        }
        (_, _) if zone == "UTC" => None,
        (from, Utf8 | LargeUtf8 | Utf8View) if is_ltz(from) => Some(cast(cast(inner, zoned(zone)), to.clone())),
        (Utf8 | LargeUtf8 | Utf8View, to) if is_ltz(to) => {
            let read = if safe { Conversion::ReadOrNull } else { Conversion::Read };
            Some(cast(conversion(read, zone).call(vec![inner]), to.clone()))
        }
        _ => None,
    })
}

fn called(call: &ScalarFunction, schema: &DFSchema, zone: &str) -> DfResult<Option<Expr>> {
    let at = match call.func.name() {
        _ if zone == "UTC" => return Ok(None),
        "date_part" | "date_trunc" => 1,
        "to_char" => 0,
        _ => return Ok(None),
    };
    let Some(time) = call.args.get(at) else { return Ok(None) };
    if !is_ltz(&time.get_type(schema)?) {
        return Ok(None);
    }
    let unit = match call.args.first() {
        Some(Expr::Literal(value, _)) => value.try_as_str().flatten().unwrap_or_default().to_lowercase(),
        _ => String::new(),
    };
    let with = |time: Expr| {
        let mut call = call.clone();
        call.args[at] = time;
        Expr::ScalarFunction(call)
    };
    let time = time.clone();
    Ok(match call.func.name() {
        "date_part" if unit == "epoch" => None,
        "date_part" => Some(with(local(time, zone))),
        // The second of two hours of the same name begins at itself, which only the instant tells.
        "date_trunc" if ["microsecond", "millisecond", "second", "minute", "hour"].contains(&unit.as_str()) => {
            Some(cast(with(cast(time, zoned(zone))), timestamp_ltz()))
        }
        "date_trunc" => Some(instant(with(local(time, zone)), zone)),
        _ => Some(with(cast(time, zoned(zone)))),
    })
}

fn local(time: Expr, zone: &str) -> Expr {
    conversion(Conversion::Local, zone).call(vec![time])
}

fn instant(time: Expr, zone: &str) -> Expr {
    conversion(Conversion::Instant, zone).call(vec![time])
}

fn conversion(conversion: Conversion, zone: &str) -> ScalarUDF {
    let signature = Signature::any(1, Volatility::Immutable);
    ScalarUDF::new_from_impl(InZone { conversion, zone: zone.to_string(), signature })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Conversion {
    /// An instant to what the wall says.
    Local,
    /// What the wall says to the instant.
    Instant,
    /// A text of either to the instant.
    Read,
    /// The same, and NULL for a text that is neither.
    ReadOrNull,
}

/// See the module.
#[derive(Debug, PartialEq, Eq, Hash)]
struct InZone {
    conversion: Conversion,
    zone: String,
    signature: Signature,
}

impl ScalarUDFImpl for InZone {
    fn name(&self) -> &str {
        match self.conversion {
            Conversion::Local => "local_time",
            Conversion::Instant => "instant",
            Conversion::Read => "read_instant",
            Conversion::ReadOrNull => "try_read_instant",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(match self.conversion {
            Conversion::Local => TIMESTAMP,
            Conversion::Instant | Conversion::Read | Conversion::ReadOrNull => timestamp_ltz(),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let zone: Tz = self.zone.parse()?;
        let is_scalar = matches!(args.args.first(), Some(ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let Some(given) = args.args.first() else {
            return Err(datafusion_common::internal_datafusion_err!("a conversion without an argument"));
        };
        let given = given.to_array(rows)?;
        let micros = |from: DataType| -> DfResult<_> {
            Ok(cast_array(&given, &from)?.as_primitive::<TimestampMicrosecondType>().clone())
        };
        let (times, to): (Micros, _) = match self.conversion {
            Conversion::Local => {
                let times = micros(timestamp_ltz())?;
                (times.iter().map(|t| wall(t?, zone)).collect(), TIMESTAMP)
            }
            Conversion::Instant => {
                let times = micros(TIMESTAMP)?;
                (times.iter().map(|t| moment(t?, zone)).collect(), timestamp_ltz())
            }
            Conversion::Read | Conversion::ReadOrNull => {
                let texts = cast_array(&given, &DataType::Utf8)?;
                let safe = self.conversion == Conversion::ReadOrNull;
                let times = texts.as_string::<i32>().iter().map(|text| match text.map(|t| read(t, zone)) {
                    None => Ok(None),
                    Some(Err(_)) if safe => Ok(None),
                    Some(time) => time,
                });
                (times.collect::<Result<_, ArrowError>>()?, timestamp_ltz())
            }
        };
        let DataType::Timestamp(_, name) = to else {
            return Err(datafusion_common::internal_datafusion_err!("a time of type {to}"));
        };
        let converted = times.with_timezone_opt(name);
        match is_scalar {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&converted, 0)?)),
            false => Ok(ColumnarValue::Array(Arc::new(converted))),
        }
    }
}

type Micros = PrimitiveArray<TimestampMicrosecondType>;

/// The instant that a text names. A text with an offset is the same instant wherever it is read.
fn read(text: &str, zone: Tz) -> Result<Option<i64>, ArrowError> {
    let utc = string_to_datetime(&Utc, text)?;
    let east = string_to_datetime(&FixedOffset::east_opt(3600).unwrap_or(Utc.fix()), text)?;
    match utc.timestamp_micros() == east.timestamp_micros() {
        true => Ok(Some(utc.timestamp_micros())),
        false => Ok(moment(utc.timestamp_micros(), zone)),
    }
}

/// What the wall says at an instant, both in microseconds. `None`: out of the calendar.
fn wall(micros: i64, zone: Tz) -> Option<i64> {
    let utc = DateTime::from_timestamp_micros(micros)?.naive_utc();
    let offset = zone.offset_from_utc_datetime(&utc).fix();
    micros.checked_add(i64::from(offset.local_minus_utc()) * 1_000_000)
}

/// The instant at which the wall says so: the first of two, and where the clock is put forward over it, as if it had not
/// been yet (as Java does).
fn moment(micros: i64, zone: Tz) -> Option<i64> {
    let local = DateTime::from_timestamp_micros(micros)?.naive_utc();
    let known = |t: NaiveDateTime| zone.offset_from_local_datetime(&t).earliest().map(|o| o.fix());
    // No clock was ever put forward by more than a day.
    let before = |hours: i64| local.checked_sub_signed(Duration::hours(hours)).and_then(known);
    let offset = known(local).or_else(|| before(3)).or_else(|| before(25))?;
    micros.checked_sub(i64::from(offset.local_minus_utc()) * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> i64 {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap().and_utc().timestamp_micros()
    }

    #[test]
    fn walls_and_moments() {
        let berlin: Tz = "Europe/Berlin".parse().unwrap();
        // By Python's zoneinfo.
        let both = [
            ("2024-01-15 11:00:00", "2024-01-15 12:00:00"),
            ("2024-03-31 00:59:59", "2024-03-31 01:59:59"),
            ("2024-03-31 01:00:00", "2024-03-31 03:00:00"),
            ("2024-10-27 00:30:00", "2024-10-27 02:30:00"),
            ("2024-10-27 02:00:00", "2024-10-27 03:00:00"),
        ];
        for (utc, local) in both {
            assert_eq!(wall(micros(utc), berlin), Some(micros(local)), "{utc}");
            assert_eq!(moment(micros(local), berlin), Some(micros(utc)), "{local}");
        }
        // Once more half past two, and a time that there was not.
        assert_eq!(wall(micros("2024-10-27 01:30:00"), berlin), Some(micros("2024-10-27 02:30:00")));
        assert_eq!(moment(micros("2024-03-31 02:30:00"), berlin), Some(micros("2024-03-31 01:30:00")));
    }
}
