//! Values as text: the one place that knows how a value looks in a table, in csv and in JSON lines.
//!
//! Timestamps are `YYYY-MM-DD HH:MM:SS[.ffffff]` with trailing zeros dropped, and `Z` behind those with a zone; intervals are
//! spelled as PostgreSQL does (`rheos_core::temporal`). In JSON,
//! decimals are numbers, NaN and infinities strings, bytes base64, ROW and MAP objects. Nested values look like JSON
//! everywhere.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int64Array,
    IntervalMonthDayNanoArray, LargeStringArray, StringArray, StringViewArray, UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt64Type,
};
use rheos_core::temporal::{write_date, write_duration, write_interval, write_time, write_timestamp};
use rheos_core::{Error, Result};

pub use crate::column::sql_name;
use crate::value::write_bytes;

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// For tables and csv: text as it is.
    Plain,
    /// For JSON: text in quotes.
    Json,
}

/// Writes the values of one column.
#[derive(Debug, Clone)]
pub struct ColumnText {
    values: Values,
    nulls: Option<NullBuffer>,
}

/// A column in the layout that is written: the type is looked at once a column.
#[derive(Debug, Clone)]
enum Values {
    Null,
    Bool(BooleanArray),
    Int(Int64Array),
    UInt(UInt64Array),
    Float32(Float32Array),
    Float64(Float64Array),
    Decimal(Decimal128Array, i8),
    Text(StringArray),
    LargeText(LargeStringArray),
    TextView(StringViewArray),
    Bytes(BinaryViewArray),
    Date(Int64Array),
    Time(Int64Array),
    Timestamp(Int64Array, bool),
    Interval(IntervalMonthDayNanoArray),
    /// Spans of fixed length, and their unit in nanoseconds.
    Duration(Int64Array, i64),
    /// Types without a form of their own (wide decimals), as Arrow shows them.
    Other(StringArray),
    List(OffsetBuffer<i32>, Box<ColumnText>),
    Struct(Vec<(String, ColumnText)>),
    Map(OffsetBuffer<i32>, Box<ColumnText>, Box<ColumnText>),
}

impl ColumnText {
    /// A writer of the values of `array`. Errors: `Internal` for a type that cannot be shown.
    pub fn try_new(array: &ArrayRef) -> Result<Self> {
        use DataType::*;
        let shown = |to: &DataType| cast(array, to).map_err(|e| Error::internal(e.to_string()));
        let ints = |through: &DataType| -> Result<Int64Array> {
            let values = cast(&shown(through)?, &Int64).map_err(|e| Error::internal(e.to_string()))?;
            Ok(values.as_primitive::<Int64Type>().clone())
        };
        let values = match array.data_type() {
            Null => Values::Null,
            Boolean => Values::Bool(array.as_boolean().clone()),
            Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 => Values::Int(ints(&Int64)?),
            UInt64 => Values::UInt(array.as_primitive::<UInt64Type>().clone()),
            Float16 | Float32 => Values::Float32(shown(&Float32)?.as_primitive::<Float32Type>().clone()),
            Float64 => Values::Float64(array.as_primitive::<Float64Type>().clone()),
            Decimal32(p, s) | Decimal64(p, s) => {
                Values::Decimal(shown(&Decimal128(*p, *s))?.as_primitive::<Decimal128Type>().clone(), *s)
            }
            Decimal128(_, s) => Values::Decimal(array.as_primitive::<Decimal128Type>().clone(), *s),
            Utf8 => Values::Text(array.as_string::<i32>().clone()),
            LargeUtf8 => Values::LargeText(array.as_string::<i64>().clone()),
            Utf8View => Values::TextView(array.as_string_view().clone()),
            Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => {
                let array =
                    if matches!(array.data_type(), FixedSizeBinary(_)) { shown(&Binary)? } else { array.clone() };
                let views = cast(&array, &BinaryView).map_err(|e| Error::internal(e.to_string()))?;
                Values::Bytes(views.as_binary_view().clone())
            }
            Date32 | Date64 => {
                let days = cast(&shown(&Date32)?, &Int32)?;
                Values::Date(cast(days.as_primitive::<Int32Type>(), &Int64)?.as_primitive::<Int64Type>().clone())
            }
            Time32(_) | Time64(_) => {
                let us = shown(&Time64(TimeUnit::Microsecond))?;
                Values::Time(us.as_primitive::<Time64MicrosecondType>().reinterpret_cast())
            }
            Timestamp(_, zone) => {
                let us = shown(&Timestamp(TimeUnit::Microsecond, zone.clone()))?;
                Values::Timestamp(us.as_primitive::<TimestampMicrosecondType>().reinterpret_cast(), zone.is_some())
            }
            Interval(_) => {
                let parts = shown(&Interval(IntervalUnit::MonthDayNano))?;
                Values::Interval(parts.as_primitive::<IntervalMonthDayNanoType>().clone())
            }
            Duration(unit) => {
                let unit_ns = match unit {
                    TimeUnit::Second => 1_000_000_000,
                    TimeUnit::Millisecond => 1_000_000,
                    TimeUnit::Microsecond => 1000,
                    TimeUnit::Nanosecond => 1,
                };
                Values::Duration(ints(&Int64)?, unit_ns)
            }
            Dictionary(_, value) => return Self::try_new(&shown(value)?),
            List(_) => {
                let list = array.as_list::<i32>();
                Values::List(list.offsets().clone(), Box::new(Self::try_new(list.values())?))
            }
            LargeList(child) | FixedSizeList(child, _) | ListView(child) => {
                return Self::try_new(&shown(&List(child.clone()))?);
            }
            Struct(fields) => {
                let columns = array.as_struct().columns().iter().zip(fields);
                let children = columns.map(|(c, f)| Ok((f.name().clone(), Self::try_new(c)?)));
                Values::Struct(children.collect::<Result<_>>()?)
            }
            Map(..) => {
                let map = array.as_map();
                let (keys, values) = (Self::try_new(map.keys())?, Self::try_new(map.values())?);
                Values::Map(map.offsets().clone(), Box::new(keys), Box::new(values))
            }
            _ => Values::Other(shown(&Utf8)?.as_string::<i32>().clone()),
        };
        Ok(Self { values, nulls: array.logical_nulls() })
    }

    /// Whether the value of `row` is NULL.
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|n| n.is_null(row))
    }

    /// Whether values are shown to the right in a table.
    pub fn is_number(&self) -> bool {
        matches!(
            self.values,
            Values::Int(_) | Values::UInt(_) | Values::Float32(_) | Values::Float64(_) | Values::Decimal(..)
        )
    }

    /// Appends the value of `row`. NULL is nothing in [`Style::Plain`] and `null` in [`Style::Json`].
    pub fn write(&self, row: usize, style: Style, out: &mut Vec<u8>) {
        if self.is_null(row) {
            if style == Style::Json {
                out.extend_from_slice(b"null");
            }
            return;
        }
        let quoted = |out: &mut Vec<u8>, write: &dyn Fn(&mut Vec<u8>)| {
            let quote: &[u8] = if style == Style::Json { b"\"" } else { b"" };
            out.extend_from_slice(quote);
            write(out);
            out.extend_from_slice(quote);
        };
        let text = |out: &mut Vec<u8>, text: &str| match style {
            Style::Plain => out.extend_from_slice(text.as_bytes()),
            Style::Json => write_json_string(text, out),
        };
        match &self.values {
            Values::Null => {}
            Values::Bool(a) => out.extend_from_slice(if a.value(row) { b"true" } else { b"false" }),
            Values::Int(a) => out.extend_from_slice(itoa::Buffer::new().format(a.value(row)).as_bytes()),
            Values::UInt(a) => out.extend_from_slice(itoa::Buffer::new().format(a.value(row)).as_bytes()),
            Values::Float32(a) => {
                let v = a.value(row);
                write_float(f64::from(v), ryu::Buffer::new().format(v), style, out);
            }
            Values::Float64(a) => {
                let v = a.value(row);
                write_float(v, ryu::Buffer::new().format(v), style, out);
            }
            Values::Decimal(a, scale) => write_decimal(a.value(row), *scale, out),
            Values::Text(a) => text(out, a.value(row)),
            Values::LargeText(a) => text(out, a.value(row)),
            Values::TextView(a) => text(out, a.value(row)),
            Values::Other(a) => text(out, a.value(row)),
            Values::Bytes(a) => quoted(out, &|out| write_bytes(a.value(row), out)),
            Values::Date(a) => quoted(out, &|out| write_date(a.value(row), out)),
            Values::Time(a) => quoted(out, &|out| write_time(a.value(row), out)),
            Values::Timestamp(a, zone) => quoted(out, &|out| {
                write_timestamp(a.value(row), out);
                if *zone {
                    out.push(b'Z');
                }
            }),
            Values::Interval(a) => quoted(out, &|out| {
                let parts = a.value(row);
                write_interval(parts.months, i64::from(parts.days), parts.nanoseconds, out);
            }),
            Values::Duration(a, unit_ns) => {
                quoted(out, &|out| write_duration(i128::from(a.value(row)) * i128::from(*unit_ns), out));
            }
            Values::List(..) | Values::Struct(_) | Values::Map(..) => self.write_nested(row, out),
        }
    }

    fn write_nested(&self, row: usize, out: &mut Vec<u8>) {
        match &self.values {
            Values::List(offsets, child) => {
                out.push(b'[');
                let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
                for n in start..end {
                    if n > start {
                        out.push(b',');
                    }
                    child.write(n, Style::Json, out);
                }
                out.push(b']');
            }
            Values::Struct(children) => {
                out.push(b'{');
                for (n, (name, child)) in children.iter().enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    write_json_string(name, out);
                    out.push(b':');
                    child.write(row, Style::Json, out);
                }
                out.push(b'}');
            }
            Values::Map(offsets, keys, values) => {
                out.push(b'{');
                let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
                let mut key = Vec::new();
                for n in start..end {
                    if n > start {
                        out.push(b',');
                    }
                    key.clear();
                    keys.write(n, Style::Plain, &mut key);
                    write_json_string(&String::from_utf8_lossy(&key), out);
                    out.push(b':');
                    values.write(n, Style::Json, out);
                }
                out.push(b'}');
            }
            _ => {}
        }
    }

    /// The value of `row` as it stands in a table; NULL is empty.
    pub fn text(&self, row: usize) -> String {
        let mut out = Vec::new();
        self.write(row, Style::Plain, &mut out);
        String::from_utf8(out).expect("values are written as UTF-8")
    }
}

fn write_float(value: f64, shortest: &str, style: Style, out: &mut Vec<u8>) {
    if value.is_finite() {
        return out.extend_from_slice(shortest.as_bytes());
    }
    let name = if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    };
    match style {
        Style::Plain => out.extend_from_slice(name.as_bytes()),
        Style::Json => write_json_string(name, out),
    }
}

fn write_decimal(value: i128, scale: i8, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value.unsigned_abs()).as_bytes();
    if value < 0 {
        out.push(b'-');
    }
    let Ok(scale) = usize::try_from(scale) else {
        // A negative scale counts zeros before the point.
        out.extend_from_slice(digits);
        let zeros = if value == 0 { 0 } else { usize::from(scale.unsigned_abs()) };
        return out.resize(out.len() + zeros, b'0');
    };
    if scale == 0 {
        return out.extend_from_slice(digits);
    }
    let whole = digits.len().saturating_sub(scale);
    if whole == 0 {
        out.push(b'0');
    }
    out.extend_from_slice(&digits[..whole]);
    out.push(b'.');
    out.resize(out.len() + scale.saturating_sub(digits.len()), b'0');
    out.extend_from_slice(&digits[whole..]);
}

/// Appends a JSON string with its quotes.
pub fn write_json_string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut kept = 0;
    for (n, b) in bytes.iter().enumerate() {
        if *b >= 0x20 && *b != b'"' && *b != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[kept..n]);
        kept = n + 1;
        match b {
            b'"' | b'\\' => out.extend([b'\\', *b]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            _ => out.extend([b'\\', b'u', b'0', b'0', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]),
        }
    }
    out.extend_from_slice(&bytes[kept..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow::array::{Date32Array, TimestampMicrosecondArray, TimestampNanosecondArray};

    fn both(array: impl Array + 'static) -> Vec<(String, String)> {
        let array: ArrayRef = Arc::new(array);
        let text = ColumnText::try_new(&array).unwrap();
        let json = |row| {
            let mut out = vec![];
            text.write(row, Style::Json, &mut out);
            String::from_utf8(out).unwrap()
        };
        (0..array.len()).map(|row| (text.text(row), json(row))).collect()
    }

    fn pair(a: &str, b: &str) -> (String, String) {
        (a.into(), b.into())
    }

    #[test]
    fn numbers() {
        let floats = both(Float64Array::from(vec![15.0, 0.1, 1e300, f64::NAN, f64::NEG_INFINITY]));
        assert_eq!(floats[0], pair("15.0", "15.0"));
        assert_eq!(floats[1], pair("0.1", "0.1"));
        assert_eq!(floats[2], pair("1e300", "1e300"));
        assert_eq!(floats[3], pair("NaN", "\"NaN\""));
        assert_eq!(floats[4], pair("-Infinity", "\"-Infinity\""));
        assert_eq!(both(Float32Array::from(vec![0.1]))[0], pair("0.1", "0.1"));
        let decimals = Decimal128Array::from(vec![-5, 1234, 0]).with_precision_and_scale(10, 3).unwrap();
        assert_eq!(both(decimals), [pair("-0.005", "-0.005"), pair("1.234", "1.234"), pair("0.000", "0.000")]);
        assert_eq!(both(Int64Array::from(vec![i64::MIN]))[0].0, "-9223372036854775808");
        assert_eq!(both(UInt64Array::from(vec![u64::MAX]))[0].0, "18446744073709551615");
    }

    #[test]
    fn times_and_texts() {
        let zoned = TimestampMicrosecondArray::from(vec![Some(1_500_000), None]).with_timezone("UTC");
        assert_eq!(both(zoned), [pair("1970-01-01 00:00:01.5Z", "\"1970-01-01 00:00:01.5Z\""), pair("", "null")]);
        assert_eq!(both(TimestampNanosecondArray::from(vec![1_000]))[0].0, "1970-01-01 00:00:00.000001");
        assert_eq!(both(Date32Array::from(vec![-1]))[0], pair("1969-12-31", "\"1969-12-31\""));
        assert_eq!(both(StringArray::from(vec!["a\"\\\n\u{1}é"]))[0].1, "\"a\\\"\\\\\\n\\u0001é\"");
        assert_eq!(both(arrow::array::BinaryArray::from(vec![b"\x00\xff".as_slice()]))[0], pair("AP8=", "\"AP8=\""));
    }

    #[test]
    fn nested_values_are_json_objects() {
        use arrow::array::{ListBuilder, MapBuilder, StringBuilder, StructArray};
        use arrow::datatypes::{Field, Int64Type};
        let mut map = MapBuilder::new(None, arrow::array::Int64Builder::new(), StringBuilder::new());
        map.keys().append_value(7);
        map.values().append_value("x");
        map.append(true).unwrap();
        assert_eq!(both(map.finish())[0].0, r#"{"7":"x"}"#);
        let mut list = ListBuilder::new(arrow::array::PrimitiveBuilder::<Int64Type>::new());
        list.append_value([Some(1), None]);
        let list: ArrayRef = Arc::new(list.finish());
        let text: ArrayRef = Arc::new(StringArray::from(vec!["t"]));
        let fields = [("l", list), ("t", text)];
        let fields = fields.map(|(n, a)| (Arc::new(Field::new(n, a.data_type().clone(), true)), a));
        assert_eq!(both(StructArray::from(fields.to_vec()))[0].1, r#"{"l":[1,null],"t":"t"}"#);
    }
}
