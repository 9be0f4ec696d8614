//! `JSON_OBJECT` and `JSON_ARRAY`: JSON texts made of values. What stands in the call as clauses has become arguments:
//! see `make_syntax`.
//!
//! Numbers and booleans stay what they are, rows and maps become objects, lists arrays; all else is text as it is printed.
//! NaN and infinities are texts, as in rows that are printed.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion_common::{DataFusionError, Result as DfResult};
use datafusion_expr::{Signature, Volatility};

use super::{Builtin, Call, texts};

pub(super) fn functions() -> Vec<Builtin> {
    let any = |name, run, doc| {
        let mut function = Builtin::new(name, vec![], texts, run, doc);
        function.signature = Signature::variadic_any(Volatility::Immutable);
        function
    };
    vec![
        any(
            "json_object",
            json_object as fn(&Call<'_>) -> DfResult<ArrayRef>,
            (
                "json_object([KEY] key VALUE value, ... [NULL | ABSENT ON NULL])",
                "A JSON object of keys and values, also as key : value; NULL becomes null unless ABSENT ON NULL is said.",
            ),
        ),
        any(
            "json_array",
            json_array,
            (
                "json_array(value, ... [NULL | ABSENT ON NULL])",
                "A JSON array of values; those that are NULL are left out unless NULL ON NULL is said.",
            ),
        ),
    ]
}

/// Values as JSON texts; NULL stays NULL.
pub fn json_texts(values: &ArrayRef) -> DfResult<ArrayRef> {
    let json = |row: usize| -> DfResult<Option<String>> {
        if is_null(values, row) {
            return Ok(None);
        }
        let mut out = String::new();
        put_value(&mut out, values, row)?;
        Ok(Some(out))
    };
    Ok(Arc::new((0..values.len()).map(json).collect::<DfResult<StringArray>>()?))
}

/// The clause as it reaches the functions, as first argument.
pub const NULL_ON_NULL: &str = "null";
/// Its opposite.
pub const ABSENT_ON_NULL: &str = "absent";

/// What follows each value: whether it is JSON already.
pub const RAW: &str = "raw";
/// Its opposite.
pub const PLAIN: &str = "plain";

/// One value of the call.
struct Given {
    key: Option<ArrayRef>,
    value: ArrayRef,
    is_raw: bool,
}

fn word(call: &Call<'_>, index: usize) -> DfResult<String> {
    let text = call.texts(index)?.get(0).map(str::to_string);
    text.ok_or_else(|| DataFusionError::Internal("a clause of a JSON function got lost".into()))
}

/// The values behind the clause: `key, value, kind` or `value, kind` each.
fn given(call: &Call<'_>, with_keys: bool) -> DfResult<(bool, Vec<Given>)> {
    let keeps_nulls = word(call, 0)? == NULL_ON_NULL;
    let width = if with_keys { 3 } else { 2 };
    let mut all = vec![];
    for first in (1..call.args.len()).step_by(width) {
        let key = if with_keys { Some(call.column(first, &DataType::Utf8)?) } else { None };
        let value = call.arg(first + width - 2)?.to_array(call.rows)?;
        all.push(Given { key, value, is_raw: word(call, first + width - 1)? == RAW });
    }
    Ok((keeps_nulls, all))
}

fn json_object(call: &Call<'_>) -> DfResult<ArrayRef> {
    let (keeps_nulls, given) = given(call, true)?;
    let row = |row: usize| -> DfResult<Option<String>> {
        let mut out = String::from("{");
        for Given { key, value, is_raw } in &given {
            let Some(key) = key.as_ref().map(|k| k.as_string::<i32>()) else { continue };
            if key.is_null(row) {
                return Ok(None);
            }
            if is_null(value, row) && !keeps_nulls {
                continue;
            }
            comma(&mut out);
            text(&mut out, key.value(row));
            out.push(':');
            put(&mut out, value, row, *is_raw)?;
        }
        out.push('}');
        Ok(Some(out))
    };
    Ok(Arc::new((0..call.rows).map(row).collect::<DfResult<StringArray>>()?))
}

fn json_array(call: &Call<'_>) -> DfResult<ArrayRef> {
    let (keeps_nulls, given) = given(call, false)?;
    let row = |row: usize| -> DfResult<Option<String>> {
        let mut out = String::from("[");
        for Given { value, is_raw, .. } in given.iter().filter(|g| keeps_nulls || !is_null(&g.value, row)) {
            comma(&mut out);
            put(&mut out, value, row, *is_raw)?;
        }
        out.push(']');
        Ok(Some(out))
    };
    Ok(Arc::new((0..call.rows).map(row).collect::<DfResult<StringArray>>()?))
}

/// Also of a column that is NULL in all rows, which has no mask.
fn is_null(value: &ArrayRef, row: usize) -> bool {
    value.is_null(row) || value.data_type() == &DataType::Null
}

fn comma(out: &mut String) {
    if !out.ends_with(['{', '[']) {
        out.push(',');
    }
}

fn text(out: &mut String, value: &str) {
    out.push_str(&serde_json::Value::from(value).to_string());
}

fn put(out: &mut String, value: &ArrayRef, row: usize, is_raw: bool) -> DfResult<()> {
    match is_raw && value.is_valid(row) && value.data_type() == &DataType::Utf8 {
        true => out.push_str(value.as_string::<i32>().value(row)),
        false => put_value(out, value, row)?,
    }
    Ok(())
}

fn put_value(out: &mut String, value: &ArrayRef, row: usize) -> DfResult<()> {
    if is_null(value, row) {
        out.push_str("null");
        return Ok(());
    }
    let items = |out: &mut String, list: ArrayRef| -> DfResult<()> {
        out.push('[');
        for item in 0..list.len() {
            comma(out);
            put_value(out, &list, item)?;
        }
        out.push(']');
        Ok(())
    };
    match value.data_type() {
        DataType::List(_) => items(out, value.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => items(out, value.as_list::<i64>().value(row))?,
        DataType::FixedSizeList(..) => items(out, value.as_fixed_size_list().value(row))?,
        DataType::Struct(fields) => {
            out.push('{');
            for (field, column) in fields.iter().zip(value.as_struct().columns()) {
                comma(out);
                text(out, field.name());
                out.push(':');
                put_value(out, column, row)?;
            }
            out.push('}');
        }
        DataType::Map(..) => {
            let entries = value.as_map().value(row);
            let keys = ArrayFormatter::try_new(entries.column(0), &FormatOptions::default())?;
            out.push('{');
            for entry in 0..entries.len() {
                comma(out);
                text(out, &keys.value(entry).to_string());
                out.push(':');
                put_value(out, entries.column(1), entry)?;
            }
            out.push('}');
        }
        data_type => {
            let is_number = match data_type {
                DataType::Float32 => value.as_primitive::<Float32Type>().value(row).is_finite(),
                DataType::Float64 => value.as_primitive::<Float64Type>().value(row).is_finite(),
                other => other.is_numeric() || *other == DataType::Boolean,
            };
            let options = FormatOptions::default().with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"));
            let options = options.with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.fZ"));
            let shown = ArrayFormatter::try_new(value, &options)?.value(row).to_string();
            match is_number {
                true => write!(out, "{shown}").map_err(|e| DataFusionError::Internal(e.to_string()))?,
                false if matches!(data_type, DataType::Timestamp(..)) => text(out, &without_zeros(&shown)),
                false => text(out, &shown),
            }
        }
    }
    Ok(())
}

/// A timestamp without the zeros that end its fraction.
fn without_zeros(shown: &str) -> String {
    let (time, zone) = shown.strip_suffix('Z').map_or((shown, ""), |time| (time, "Z"));
    let time = if time.contains('.') { time.trim_end_matches('0').trim_end_matches('.') } else { time };
    format!("{time}{zone}")
}
