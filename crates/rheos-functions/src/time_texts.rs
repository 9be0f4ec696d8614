//! `to_char` and `date_format` of timestamps: rows that follow each other within the pattern's finest unit have the same text,
//! so it is made once for all of them.
//!
//! ```text
//!   12:00:59.9  12:01:00.2  12:01:00.7  12:01:31   by '%H:%M'    ──► runs  12:00 | 12:01 12:01 12:01
//! ```
//! The text of a run is DataFusion's of its first row. What is no timestamp, and a pattern that shows parts of a second, is left
//! to it as a whole.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{
    DataType, FieldRef, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use chrono::format::{Fixed, Item, Numeric, StrftimeItems};
use datafusion_common::{Result as DfResult, ScalarValue};
use datafusion_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// Seconds.
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// `function` with texts made once a run, if it is `to_char`; else as it is.
pub fn once_a_run(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    match function.name() {
        "to_char" => Arc::new(ScalarUDF::from(OnceARun { inner: function })),
        _ => function,
    }
}

/// See the module.
#[derive(Debug, PartialEq, Eq)]
struct OnceARun {
    inner: Arc<ScalarUDF>,
}

impl Hash for OnceARun {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl ScalarUDFImpl for OnceARun {
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
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let runs = match args.args.as_slice() {
            [ColumnarValue::Array(times), ColumnarValue::Scalar(ScalarValue::Utf8(Some(pattern)))] => {
                Runs::of(times, pattern)
            }
            _ => None,
        };
        let Some(Runs { first_rows, run_of_row }) = runs else { return self.inner.invoke_with_args(args) };
        args.number_rows = first_rows.len();
        if let Some(ColumnarValue::Array(times)) = args.args.first_mut() {
            *times = take(times, &first_rows, None)?;
        }
        let texts = self.inner.invoke_with_args(args)?.into_array(first_rows.len())?;
        Ok(ColumnarValue::Array(take(&texts, &run_of_row, None)?))
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// Rows that follow each other and have the same text.
struct Runs {
    first_rows: UInt32Array,
    /// Null where the time is.
    run_of_row: UInt32Array,
}

impl Runs {
    /// The runs of a column. `None`: each row is to be formatted by itself.
    fn of(times: &ArrayRef, pattern: &str) -> Option<Self> {
        let DataType::Timestamp(unit, zone) = times.data_type() else { return None };
        // Where the clock of a zone is put is a whole second of UTC, but need not be a whole minute.
        let is_utc = zone.as_deref().is_none_or(|zone| zone == "UTC");
        let seconds = if is_utc { finest_unit(pattern)? } else { finest_unit(pattern)?.min(1) };
        let (values, length) = match unit {
            TimeUnit::Second => (times.as_primitive::<TimestampSecondType>().values(), seconds),
            TimeUnit::Millisecond => (times.as_primitive::<TimestampMillisecondType>().values(), seconds * 1_000),
            TimeUnit::Microsecond => (times.as_primitive::<TimestampMicrosecondType>().values(), seconds * 1_000_000),
            TimeUnit::Nanosecond => (times.as_primitive::<TimestampNanosecondType>().values(), seconds * 1_000_000_000),
        };
        let (mut first_rows, mut run_of_row) = (vec![], Vec::with_capacity(values.len()));
        let mut unit_of_run = None;
        let mut until_next = i64::MIN..i64::MIN;
        for (row, time) in values.iter().enumerate() {
            if !until_next.contains(time) && times.is_valid(row) {
                let start = time.div_euclid(length).saturating_mul(length);
                until_next = start..start.saturating_add(length);
                unit_of_run = Some(first_rows.len() as u32);
                first_rows.push(row as u32);
            }
            run_of_row.push(unit_of_run.unwrap_or_default());
        }
        let run_of_row = UInt32Array::new(run_of_row.into(), times.nulls().cloned());
        Some(Self { first_rows: first_rows.into(), run_of_row })
    }
}

/// The seconds of the longest unit within which a pattern of chrono gives one text. `None`: it shows more than seconds, or
/// something that is not known here.
fn finest_unit(pattern: &str) -> Option<i64> {
    use Numeric::{
        Day, Hour, Hour12, IsoWeek, IsoYear, IsoYearDiv100, IsoYearMod100, Minute, Month, NumDaysFromSun, Ordinal,
        Second, Timestamp, WeekFromMon, WeekFromSun, WeekdayFromMon, Year, YearDiv100, YearMod100,
    };
    let unit = |item: Item<'_>| match item {
        Item::Literal(_) | Item::OwnedLiteral(_) | Item::Space(_) | Item::OwnedSpace(_) => Some(DAY),
        Item::Numeric(
            Year | YearDiv100 | YearMod100 | IsoYear | IsoYearDiv100 | IsoYearMod100 | Month | Day | Ordinal | IsoWeek
            | WeekFromSun | WeekFromMon | NumDaysFromSun | WeekdayFromMon,
            _,
        ) => Some(DAY),
        Item::Numeric(Hour | Hour12, _) => Some(HOUR),
        Item::Numeric(Minute, _) => Some(MINUTE),
        Item::Numeric(Second | Timestamp, _) => Some(1),
        Item::Fixed(
            Fixed::ShortMonthName | Fixed::LongMonthName | Fixed::ShortWeekdayName | Fixed::LongWeekdayName,
        ) => Some(DAY),
        Item::Fixed(Fixed::LowerAmPm | Fixed::UpperAmPm) => Some(HOUR),
        _ => None,
    };
    StrftimeItems::new(pattern).try_fold(DAY, |finest, item| Some(finest.min(unit(item)?)))
}

#[cfg(test)]
mod tests {
    use arrow::array::timezone::Tz;
    use arrow::array::{PrimitiveArray, StringArray};
    use chrono::{DateTime, TimeZone};
    use datafusion_common::config::ConfigOptions;
    use datafusion_expr::Volatility;
    use proptest::prelude::*;

    use super::*;

    /// Formats each row by chrono, as the truth does, and notes how many there were.
    #[derive(Debug, PartialEq, Eq, Hash)]
    struct EachRow {
        signature: Signature,
    }

    fn formatted(times: &ArrayRef, pattern: &str) -> ArrayRef {
        let zone: Option<Tz> = match times.data_type() {
            DataType::Timestamp(_, Some(zone)) => Some(zone.parse().unwrap()),
            _ => None,
        };
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let text = |time: i64| {
            let utc = DateTime::from_timestamp_micros(time).unwrap();
            match &zone {
                Some(zone) => zone.from_utc_datetime(&utc.naive_utc()).format(pattern).to_string(),
                None => utc.naive_utc().format(pattern).to_string(),
            }
        };
        Arc::new(times.iter().map(|time| time.map(text)).collect::<StringArray>())
    }

    impl ScalarUDFImpl for EachRow {
        fn name(&self) -> &str {
            "to_char"
        }

        fn signature(&self) -> &Signature {
            &self.signature
        }

        fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
            Ok(DataType::Utf8)
        }

        fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
            let [ColumnarValue::Array(times), ColumnarValue::Scalar(ScalarValue::Utf8(Some(pattern)))] =
                args.args.as_slice()
            else {
                panic!("a column and a pattern")
            };
            assert_eq!(times.len(), args.number_rows);
            Ok(ColumnarValue::Array(formatted(times, pattern)))
        }
    }

    fn made(times: &ArrayRef, pattern: &str) -> ArrayRef {
        let inner = ScalarUDF::from(EachRow { signature: Signature::any(2, Volatility::Immutable) });
        let args = vec![
            ColumnarValue::Array(Arc::clone(times)),
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(pattern.to_string()))),
        ];
        let field = |t: DataType| Arc::new(arrow::datatypes::Field::new("a", t, true));
        let arg_fields = args.iter().map(|a| field(a.data_type())).collect();
        let call = ScalarFunctionArgs {
            args,
            arg_fields,
            number_rows: times.len(),
            return_field: field(DataType::Utf8),
            config_options: Arc::new(ConfigOptions::default()),
        };
        once_a_run(Arc::new(inner)).invoke_with_args(call).unwrap().into_array(times.len()).unwrap()
    }

    /// Microseconds of times in all years that chrono has, most of them near the one before, and at the edges of units.
    fn times() -> impl Strategy<Value = Vec<Option<i64>>> {
        let anywhere = prop_oneof![
            // Years 1 and before, 9999 and after, and between.
            -70_000_000_000_000_000..-62_000_000_000_000_000_i64,
            253_000_000_000_000_000..254_000_000_000_000_000_i64,
            -4_000_000_000_000_000..4_000_000_000_000_000_i64,
        ];
        let length = prop_oneof![Just(1_i64), Just(MINUTE), Just(HOUR), Just(DAY)];
        let step =
            (length, -2..3_i64, -1..2_i64).prop_map(|(length, units, micros)| (length * 1_000_000, units, micros));
        let rows = proptest::collection::vec((step, proptest::option::weighted(0.9, 0..100_i64)), 0..60);
        (anywhere, rows).prop_map(|(start, rows)| {
            let mut time = start;
            let mut next = |((length, units, micros), shift): ((i64, i64, i64), Option<i64>)| {
                // To the edge of a unit, or a little further.
                time = time.div_euclid(length) * length + units * length + micros;
                shift.map(|shift| time + shift)
            };
            rows.into_iter().map(&mut next).collect()
        })
    }

    const PATTERNS: [&str; 12] = [
        "%Y-%m-%d",
        "%H:%M",
        "%Y-%m-%d %H:%M:%S",
        "%-I %p, %A %d %B",
        "%j %U %V %G %y",
        "%T%.3f",
        "%6f",
        "%s",
        "at %%",
        "",
        "%D %R",
        "%e %b %k",
    ];

    proptest! {
        #[test]
        fn texts_are_those_of_each_row(
            times in times(),
            pattern in proptest::sample::select(PATTERNS.as_slice()),
            // Amsterdam was 19 minutes and 32 seconds ahead until 1937, Liberia's clock was put by 44 minutes and 30 seconds.
            zone in proptest::sample::select(
                [None, Some("UTC"), Some("+05:30"), Some("Europe/Amsterdam"), Some("Africa/Monrovia")].as_slice(),
            ),
        ) {
            let times: PrimitiveArray<TimestampMicrosecondType> = times.into_iter().collect();
            let times: ArrayRef = Arc::new(times.with_timezone_opt(zone));
            let (made, formatted) = (made(&times, pattern), formatted(&times, pattern));
            prop_assert_eq!(made.as_ref(), formatted.as_ref());
        }
    }

    #[test]
    fn rows_of_a_unit_are_formatted_once() {
        let times: Vec<i64> = (0..10_000).map(|i| i * 1_000_000).collect();
        let times: ArrayRef = Arc::new(PrimitiveArray::<TimestampMicrosecondType>::from_iter_values(times));
        let runs = |pattern| Runs::of(&times, pattern).map(|runs| runs.first_rows.len());
        // 10,000 seconds are two hours, 46 minutes and 40 seconds.
        assert_eq!(runs("%Y-%m-%d"), Some(1));
        assert_eq!(runs("%H"), Some(3));
        assert_eq!(runs("%H:%M"), Some(167));
        assert_eq!(runs("%s"), Some(10_000));
        assert_eq!(runs("%H:%M:%S%.3f"), None);
        assert_eq!(runs("%Q"), None);
    }
}
