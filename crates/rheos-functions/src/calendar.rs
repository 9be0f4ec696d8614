//! DataFusion's functions of times that count in nanoseconds, in microseconds here: a nanosecond is known from 1677 to 2262 only,
//! and beyond that they fail, or give NULL.
//!
//! Each is asked first in microseconds; what is none of ours (times of day, other units, a text that is no time) is left to
//! DataFusion's, with its errors.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Int64Array, PrimitiveArray};
use arrow::compute::cast;
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::datatypes::{DataType, FieldRef, IntervalMonthDayNano, TimeUnit, TimestampMicrosecondType};
use chrono::format::{Parsed, StrftimeItems, parse};
use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, Offset, TimeZone, Utc};
use datafusion_common::{DataFusionError, Result as DfResult, ScalarValue};
use datafusion_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::Call;

const SECOND_US: i64 = 1_000_000;
const HOUR_US: i64 = 3600 * SECOND_US;
const DAY_US: i64 = 24 * HOUR_US;

type Micros = PrimitiveArray<TimestampMicrosecondType>;
type Run = fn(&OverAllYears, &ScalarFunctionArgs) -> DfResult<Option<ArrayRef>>;

/// `function` over all years, if it is one of DataFusion's that is not; else as it is.
pub fn over_all_years(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    let run: Run = match function.name() {
        "date_trunc" => |_, args| date_trunc(args),
        "date_bin" => |_, args| date_bin(args),
        "to_timestamp" | "to_timestamp_seconds" | "to_timestamp_millis" | "to_timestamp_micros" => {
            OverAllYears::to_timestamp
        }
        "to_unixtime" => OverAllYears::to_unixtime,
        "to_date" => OverAllYears::to_date,
        _ => return function,
    };
    Arc::new(ScalarUDF::from(OverAllYears { inner: function, run }))
}

/// See the module.
#[derive(Debug)]
struct OverAllYears {
    inner: Arc<ScalarUDF>,
    run: Run,
}

impl PartialEq for OverAllYears {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for OverAllYears {}

impl Hash for OverAllYears {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl ScalarUDFImpl for OverAllYears {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> DfResult<DataType> {
        self.inner.return_type(arg_types).map(in_micros)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let field = self.inner.return_field_from_args(args)?;
        let data_type = in_micros(field.data_type().clone());
        Ok(Arc::new(field.as_ref().clone().with_data_type(data_type)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let is_constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let returns = args.return_field.data_type().clone();
        match (self.run)(self, &args)? {
            Some(result) if is_constant => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)),
            Some(result) => Ok(ColumnarValue::Array(result)),
            None => self.inner(args)?.cast_to(&returns, None),
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

impl OverAllYears {
    /// What DataFusion's function gives.
    fn inner(&self, mut args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        // It takes an origin in nanoseconds only.
        if self.name() == "date_bin"
            && let Some(origin) = args.args.get_mut(2)
            && let DataType::Timestamp(_, zone) = origin.data_type()
        {
            *origin = origin.cast_to(&DataType::Timestamp(TimeUnit::Nanosecond, zone), None)?;
        }
        self.inner.invoke_with_args(args)
    }

    /// `to_timestamp(text [, pattern, ..])` and its like of coarser units.
    fn to_timestamp(&self, args: &ScalarFunctionArgs) -> DfResult<Option<ArrayRef>> {
        let Some(times) = self.read(args)? else { return Ok(None) };
        let DataType::Timestamp(_, zone) = args.return_field.data_type() else { return Ok(None) };
        Ok(Some(cast(&times.with_timezone_opt(zone.clone()), args.return_field.data_type())?))
    }

    /// `to_unixtime(text [, pattern, ..])`.
    fn to_unixtime(&self, args: &ScalarFunctionArgs) -> DfResult<Option<ArrayRef>> {
        let seconds = |times: Micros| times.iter().map(|t| Some(t?.div_euclid(SECOND_US))).collect::<Int64Array>();
        Ok(self.read(args)?.map(|times| Arc::new(seconds(times)) as _))
    }

    /// `to_date(text [, pattern, ..])`.
    fn to_date(&self, args: &ScalarFunctionArgs) -> DfResult<Option<ArrayRef>> {
        let day = |t: i64| i32::try_from(t.div_euclid(DAY_US)).ok();
        let days = |times: Micros| times.iter().map(|t| day(t?)).collect::<Date32Array>();
        Ok(self.read(args)?.map(|times| Arc::new(days(times)) as _))
    }

    /// The times of texts. `None`: the first argument is no text. Errors: those of DataFusion's function.
    fn read(&self, args: &ScalarFunctionArgs) -> DfResult<Option<Micros>> {
        use DataType::{LargeUtf8, Utf8, Utf8View};
        let is_text = |a: &ColumnarValue| matches!(a.data_type(), Utf8 | LargeUtf8 | Utf8View);
        if !args.args.iter().all(is_text) {
            return Ok(None);
        }
        let is_constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let call = Call { args: &args.args, rows, returns: args.return_field.data_type() };
        let columns = (0..args.args.len()).map(|i| call.texts(i)).collect::<DfResult<Vec<_>>>()?;
        let Some((texts, patterns)) = columns.split_first() else { return Ok(None) };
        let time = |row: usize| -> DfResult<Option<i64>> {
            let Some(text) = texts.get(row) else { return Ok(None) };
            let known: Vec<&str> = patterns.iter().filter_map(|p| p.get(row)).collect();
            let read = match patterns.is_empty() {
                true => string_to_datetime(&Utc, text).ok().map(|t| t.timestamp_micros()),
                false if known.is_empty() => return Ok(None),
                false => known.iter().find_map(|pattern| by_pattern(text, pattern)),
            };
            read.map_or_else(|| self.read_inner(args, row), |t| Ok(Some(t)))
        };
        (0..rows).map(time).collect::<DfResult<Micros>>().map(Some)
    }

    /// The time of one row's text as DataFusion reads it.
    fn read_inner(&self, args: &ScalarFunctionArgs, row: usize) -> DfResult<Option<i64>> {
        let mut one = args.clone();
        for arg in &mut one.args {
            if let ColumnarValue::Array(array) = arg {
                *arg = ColumnarValue::Scalar(ScalarValue::try_from_array(array, row)?);
            }
        }
        one.number_rows = 1;
        let value = match (self.name(), one.args.first()) {
            // It does not say which text it cannot read.
            ("to_date", Some(ColumnarValue::Scalar(text))) => {
                let text = text.try_as_str().flatten().unwrap_or_default().to_string();
                let unread = |_| DataFusionError::Execution(format!("Error parsing date from '{text}'"));
                self.inner(one).map_err(unread)?
            }
            _ => self.inner(one)?,
        };
        let micros = match value.data_type() {
            DataType::Int64 => value.cast_to(&DataType::Timestamp(TimeUnit::Second, None), None)?,
            _ => value,
        };
        let micros = micros.cast_to(&DataType::Timestamp(TimeUnit::Microsecond, None), None)?.to_array(1)?;
        let micros = micros.as_primitive::<TimestampMicrosecondType>();
        Ok(micros.is_valid(0).then(|| micros.value(0)))
    }
}

/// There are no nanoseconds in a plan.
fn in_micros(data_type: DataType) -> DataType {
    match data_type {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone),
        other => other,
    }
}

/// The time of a text by a pattern of chrono; midnight where that has no time, the whole hour where it has no more. `None`: the
/// text does not fit.
pub(super) fn by_pattern(text: &str, pattern: &str) -> Option<i64> {
    let mut parsed = Parsed::new();
    parse(&mut parsed, text, StrftimeItems::new(pattern)).ok()?;
    if parsed.hour_mod_12().is_some() && parsed.minute().is_none() {
        parsed.set_minute(0).ok()?;
    }
    if let Ok(instant) = parsed.to_datetime() {
        return Some(instant.timestamp_micros());
    }
    let local = parsed.to_naive_datetime_with_offset(0);
    let local = local.or_else(|_| parsed.to_naive_date().map(|day| day.and_time(NaiveTime::MIN)));
    Some(local.ok()?.and_utc().timestamp_micros())
}

/// The argument at `index` as microseconds. `None`: it is something else.
fn micros(args: &ScalarFunctionArgs, index: usize) -> DfResult<Option<Micros>> {
    let Some(value) = args.args.get(index) else { return Ok(None) };
    if !matches!(value.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _)) {
        return Ok(None);
    }
    let is_constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
    let array = value.to_array(if is_constant { 1 } else { args.number_rows })?;
    Ok(Some(array.as_primitive::<TimestampMicrosecondType>().clone()))
}

// ---- date_trunc ----

/// What `date_trunc` cuts to.
enum Cut {
    /// So many microseconds; the beginnings of weeks are Mondays.
    Fixed { length_us: i64, shift_us: i64 },
    /// So many months.
    Months(u32),
}

fn cut(unit: &str) -> Option<Cut> {
    let fixed = |length_us| Some(Cut::Fixed { length_us, shift_us: 0 });
    match unit {
        "microsecond" => fixed(1),
        "millisecond" => fixed(1000),
        "second" => fixed(SECOND_US),
        "minute" => fixed(60 * SECOND_US),
        "hour" => fixed(HOUR_US),
        "day" => fixed(DAY_US),
        // 1970 began on a Thursday.
        "week" => Some(Cut::Fixed { length_us: 7 * DAY_US, shift_us: 3 * DAY_US }),
        "month" => Some(Cut::Months(1)),
        "quarter" => Some(Cut::Months(3)),
        "year" => Some(Cut::Months(12)),
        _ => None,
    }
}

/// `date_trunc(unit, timestamp)`; of a zone that is not UTC to hours and finer units only.
fn date_trunc(args: &ScalarFunctionArgs) -> DfResult<Option<ArrayRef>> {
    let Some(ColumnarValue::Scalar(unit)) = args.args.first() else { return Ok(None) };
    let unit = unit.try_as_str().flatten().unwrap_or_default().to_lowercase();
    let (Some(cut), Some(times)) = (cut(&unit), micros(args, 1)?) else { return Ok(None) };
    let DataType::Timestamp(_, zone) = times.data_type().clone() else { return Ok(None) };
    let far_zone = match zone.as_deref() {
        None | Some("UTC" | "Z" | "+00:00" | "+00") => None,
        Some(name) => Some(name.parse::<Tz>()?),
    };
    let truncated: Micros = match (cut, far_zone) {
        (Cut::Fixed { length_us, shift_us }, None) => {
            times.unary(|t| t.saturating_sub(t.saturating_add(shift_us).rem_euclid(length_us)))
        }
        (Cut::Fixed { length_us, .. }, Some(zone)) if length_us <= HOUR_US => {
            times.unary_opt(|t| cut_in_zone(t, length_us, zone))
        }
        (Cut::Months(months), None) => times.unary_opt(|t| cut_months(t, months)),
        _ => return Ok(None),
    };
    Ok(Some(Arc::new(truncated.with_timezone_opt(zone))))
}

/// The beginning of an hour, or less, of a zone. The second of two hours of the same name begins at itself.
fn cut_in_zone(t: i64, length_us: i64, zone: Tz) -> Option<i64> {
    let utc = DateTime::from_timestamp_micros(t)?.naive_utc();
    let offset_us = i64::from(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc()) * SECOND_US;
    t.checked_sub(t.checked_add(offset_us)?.rem_euclid(length_us))
}

fn cut_months(t: i64, months: u32) -> Option<i64> {
    let day = DateTime::from_timestamp_micros(t)?.date_naive();
    let month = day.month0() / months * months + 1;
    Some(NaiveDate::from_ymd_opt(day.year(), month, 1)?.and_time(NaiveTime::MIN).and_utc().timestamp_micros())
}

// ---- date_bin ----

/// `date_bin(stride, timestamp [, origin])`; of a stride of whole microseconds, or of months alone, that goes forward.
fn date_bin(args: &ScalarFunctionArgs) -> DfResult<Option<ArrayRef>> {
    let Some(ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(Some(stride)))) = args.args.first() else {
        return Ok(None);
    };
    let origin = match args.args.get(2) {
        None => Some(0),
        Some(ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(origin, _))) => *origin,
        Some(_) => None,
    };
    let (Some(origin), Some(times)) = (origin, micros(args, 1)?) else { return Ok(None) };
    let DataType::Timestamp(_, zone) = times.data_type().clone() else { return Ok(None) };
    let IntervalMonthDayNano { months, days, nanoseconds } = *stride;
    let fixed_us = i64::from(days) * DAY_US + nanoseconds / 1000;
    let binned: Micros = match (months, fixed_us) {
        (0, 1..) if nanoseconds % 1000 == 0 => times.unary_opt(|t| {
            let into = t.checked_sub(origin)?.rem_euclid(fixed_us);
            t.checked_sub(into)
        }),
        (1.., 0) if nanoseconds == 0 => times.unary_opt(|t| bin_months(t, origin, i64::from(months))),
        _ => return Ok(None),
    };
    Ok(Some(Arc::new(binned.with_timezone_opt(zone))))
}

/// The last of the times that are `stride` months apart, with `origin` among them, that is not later than `t`.
fn bin_months(t: i64, origin: i64, stride: i64) -> Option<i64> {
    let (time, start) = (DateTime::from_timestamp_micros(t)?, DateTime::from_timestamp_micros(origin)?);
    let months = |t: DateTime<Utc>| i64::from(t.year()) * 12 + i64::from(t.month0());
    let later = |months: i64| {
        let count = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
        if months < 0 { start.checked_sub_months(count) } else { start.checked_add_months(count) }
    };
    let whole = (months(time) - months(start)).div_euclid(stride) * stride;
    let bin = later(whole)?;
    let bin = if bin > time { later(whole - stride)? } else { bin };
    Some(bin.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        string_to_datetime(&Utc, text).unwrap().timestamp_micros()
    }

    #[test]
    fn times_are_cut_in_every_year() {
        // By the calendar: 9999-12-31 is a Friday, 1600-02-29 a Tuesday.
        let cases = [
            ("9999-12-31T23:59:59.999999", "week", "9999-12-27T00:00:00"),
            ("9999-12-31T23:59:59.999999", "year", "9999-01-01T00:00:00"),
            ("9999-12-31T23:59:59.999999", "quarter", "9999-10-01T00:00:00"),
            ("1600-02-29T05:06:07", "week", "1600-02-28T00:00:00"),
            ("1600-02-29T05:06:07", "month", "1600-02-01T00:00:00"),
            ("1600-02-29T05:06:07.5", "second", "1600-02-29T05:06:07"),
            ("0001-01-01T00:30:00", "hour", "0001-01-01T00:00:00"),
        ];
        for (time, unit, expected) in cases {
            let made = match cut(unit).unwrap() {
                Cut::Fixed { length_us, shift_us } => at(time) - (at(time) + shift_us).rem_euclid(length_us),
                Cut::Months(months) => cut_months(at(time), months).unwrap(),
            };
            assert_eq!(made, at(expected), "{time} to {unit}");
        }
    }

    #[test]
    fn hours_of_a_zone_begin_at_its_clock() {
        let cases = [
            // Half past two in Kolkata, five and a half hours ahead.
            ("2300-01-01T21:10:00", "Asia/Kolkata", "2300-01-01T20:30:00"),
            // The second hour between two and three in Berlin.
            ("2024-10-27T01:40:00", "Europe/Berlin", "2024-10-27T01:00:00"),
        ];
        for (time, zone, expected) in cases {
            assert_eq!(cut_in_zone(at(time), HOUR_US, zone.parse().unwrap()), Some(at(expected)), "{time}");
        }
    }

    #[test]
    fn bins_of_months_end_before_the_time() {
        let cases = [
            ("2024-01-30T00:00:00", "1970-01-31T00:00:00", 1, "2023-12-31T00:00:00"),
            ("2024-02-29T00:00:00", "1970-01-31T00:00:00", 1, "2024-02-29T00:00:00"),
            ("1969-12-15T00:00:00", "1970-01-01T00:00:00", 12, "1969-01-01T00:00:00"),
            ("2300-05-01T00:00:00", "1970-01-01T00:00:00", 3, "2300-04-01T00:00:00"),
        ];
        for (time, origin, stride, expected) in cases {
            assert_eq!(bin_months(at(time), at(origin), stride), Some(at(expected)), "{time}");
        }
    }
}
