//! Casts of columns to their declared types, losslessly: a value that does not fit is a bad row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, TimestampMicrosecondArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    ArrowPrimitiveType, ArrowTimestampType, DataType, Fields, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use rheos_core::{Error, Result};

use super::nested::{cast_fields, match_fields};
use crate::bad::BadRows;
use crate::cell::{Cell, CellKind, Cells};
use crate::column::{Rows, check_type, decode, misfit, sql_name};
use crate::names::{find_column, missing_column};
use crate::text::ColumnText;

/// Whether values of type `from` can be cast to `to`, at least some of them. Errors: `Invalid`, naming the column.
pub(crate) fn check_cast(column: &str, from: &DataType, to: &DataType) -> Result<()> {
    let text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let number = |t: &DataType| t.is_numeric();
    let possible = match (value_type(from), to) {
        (from, to) if from == to => true,
        (DataType::Struct(from), DataType::Struct(to))
            if from.len() != to.len() || match_fields(from, to).is_some() =>
        {
            return check_fields(column, from, to);
        }
        (DataType::Null, _) => true,
        (from, to) if text(from) && !text(to) => check_type(column, to).is_ok(),
        (DataType::Timestamp(..) | DataType::Date32 | DataType::Date64, to) if number(to) => false,
        (from, DataType::Timestamp(..) | DataType::Date32) if number(from) => false,
        (DataType::Boolean, to) if number(to) => false,
        (from, DataType::Boolean) if number(from) => false,
        (from, to) => arrow::compute::can_cast_types(from, to),
    };
    if possible { Ok(()) } else { Err(impossible(column, from, to)) }
}

/// [`check_cast`] of the fields of a ROW.
fn check_fields(column: &str, from: &Fields, to: &Fields) -> Result<()> {
    let Some(places) = match_fields(from, to) else {
        let names: Vec<String> = from.iter().map(|f| f.name().clone()).collect();
        let missing = to.iter().find(|f| find_column(f.name(), &names).is_none()).map_or("", |f| f.name());
        return Err(Error::invalid(204, format!("column '{column}' has no field '{missing}' in the file"))
            .with_hint(missing_column(missing, &names, "it has")));
    };
    to.iter().zip(places).try_for_each(|(field, place)| {
        check_cast(&format!("{column}.{}", field.name()), from[place].data_type(), field.data_type())
    })
}

fn impossible(column: &str, from: &DataType, to: &DataType) -> Error {
    let message = format!("column '{column}' is {} in the file and cannot be read as {}", sql_name(from), sql_name(to));
    Error::invalid(207, message).with_hint(format!("declare it as {} and cast it in the query", sql_name(from)))
}

fn value_type(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, value) => value,
        other => other,
    }
}

/// Casts a column; rows that do not fit are marked and null.
pub(crate) fn cast_lossless(array: &ArrayRef, to: &DataType, bad: &mut BadRows) -> Result<ArrayRef> {
    use DataType::*;
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    match (array.data_type(), to) {
        (Null, _) => Ok(arrow::array::new_null_array(to, array.len())),
        (Dictionary(_, value), _) => cast_lossless(&plain_cast(array, value)?, to, bad),
        (Timestamp(unit, _), Timestamp(TimeUnit::Microsecond, zone)) => {
            let us = to_micros(array, *unit, bad);
            Ok(Arc::new(us.with_timezone_opt(zone.clone())))
        }
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View) => plain_cast(array, to),
        (Utf8 | LargeUtf8 | Utf8View, _) => from_text(array, to, bad),
        (Struct(from), Struct(fields)) if let Some(places) = match_fields(from, fields) => {
            cast_fields(array.as_struct(), fields, &places, bad)
        }
        (Struct(_) | List(_) | LargeList(_) | FixedSizeList(..) | Map(..), _) => cast_nested(array, to, bad),
        (from, _) => {
            let out = plain_cast(array, to)?;
            // Arrow rounds where it must; casting back shows it. Text and widening casts lose nothing.
            let back = if from.is_numeric() && to.is_numeric() { Some(plain_cast(&out, from)?) } else { None };
            let lost = lost_rows(array, &out, back.as_ref())?;
            Ok(mark_lost(array, out, &lost, to, bad)?)
        }
    }
}

fn plain_cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: true, ..CastOptions::default() };
    Ok(cast_with_options(array, to, &options)?)
}

/// Rows that had a value and have none now, or another one after the way back.
fn lost_rows(before: &ArrayRef, after: &ArrayRef, back: Option<&ArrayRef>) -> Result<Vec<usize>> {
    let mut lost: Vec<usize> = vec![];
    if after.null_count() > before.null_count() {
        lost.extend((0..before.len()).filter(|row| before.is_valid(*row) && after.is_null(*row)));
    }
    if let Some(back) = back {
        // An f64 that becomes an f32 is the nearest one: that is what the declared type can hold.
        let narrowing_float = before.data_type().is_floating() && after.data_type().is_floating();
        let different: BooleanArray = arrow::compute::kernels::cmp::distinct(before, back)?;
        if !narrowing_float && different.true_count() > 0 {
            lost.extend((0..before.len()).filter(|row| different.value(*row) && after.is_valid(*row)));
        }
    }
    Ok(lost)
}

fn mark_lost(before: &ArrayRef, after: ArrayRef, lost: &[usize], to: &DataType, bad: &mut BadRows) -> Result<ArrayRef> {
    if lost.is_empty() {
        return Ok(after);
    }
    let text = ColumnText::try_new(before)?;
    for row in lost {
        bad.mark(*row, before.len(), || misfit(to, text.text(*row).as_bytes()));
    }
    Ok(after)
}

/// Any unit to microseconds, floored.
fn to_micros(array: &ArrayRef, unit: TimeUnit, bad: &mut BadRows) -> TimestampMicrosecondArray {
    fn convert<T: ArrowTimestampType>(
        array: &ArrayRef,
        bad: &mut BadRows,
        f: impl Fn(i64) -> Option<i64>,
    ) -> TimestampMicrosecondArray {
        let values = array.as_primitive::<T>();
        let out: PrimitiveArray<TimestampMicrosecondType> = values.unary_opt(f);
        if out.null_count() > values.null_count() {
            let to = <TimestampMicrosecondType as ArrowPrimitiveType>::DATA_TYPE;
            for row in (0..values.len()).filter(|row| values.is_valid(*row) && out.is_null(*row)) {
                bad.mark(row, values.len(), || misfit(&to, values.value(row).to_string().as_bytes()));
            }
        }
        out
    }
    match unit {
        TimeUnit::Second => convert::<TimestampSecondType>(array, bad, |v| v.checked_mul(1_000_000)),
        TimeUnit::Millisecond => convert::<TimestampMillisecondType>(array, bad, |v| v.checked_mul(1000)),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().clone(),
        TimeUnit::Nanosecond => convert::<TimestampNanosecondType>(array, bad, |v| Some(v.div_euclid(1000))),
    }
}

/// Text to any type, by the rules of the text formats.
fn from_text(array: &ArrayRef, to: &DataType, bad: &mut BadRows) -> Result<ArrayRef> {
    let views = plain_cast(array, &DataType::Utf8View)?;
    let views = views.as_string_view();
    let mut data = Vec::new();
    let mut cells = Vec::with_capacity(views.len());
    for value in views {
        cells.push(match value {
            None => Cell::NULL,
            Some(text) => {
                let start = data.len();
                data.extend_from_slice(text.as_bytes());
                Cell::new(start, data.len(), CellKind::Text)
            }
        });
    }
    decode(&Cells::dense(&data, &cells), to, &mut Rows { owners: None, rows: views.len(), bad })
}

/// Nested values are cast as a whole; where that fails, row by row.
fn cast_nested(array: &ArrayRef, to: &DataType, bad: &mut BadRows) -> Result<ArrayRef> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    if let Ok(out) = cast_with_options(array, to, &strict) {
        return Ok(out);
    }
    let mut rows = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        let one = array.slice(row, 1);
        rows.push(cast_with_options(&one, to, &strict).unwrap_or_else(|e| {
            bad.mark(row, array.len(), || crate::bad::Fault::new(crate::bad::BadKind::Value, e.to_string(), b""));
            arrow::array::new_null_array(to, 1)
        }));
    }
    let rows: Vec<&dyn Array> = rows.iter().map(AsRef::as_ref).collect();
    Ok(arrow::compute::concat(&rows)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        Float64Array, Int64Array, StringArray, TimestampMillisecondArray, TimestampNanosecondArray, UInt64Array,
    };

    fn cast(array: impl Array + 'static, to: &DataType) -> (ArrayRef, u64) {
        let array: ArrayRef = Arc::new(array);
        let mut bad = BadRows::default();
        let out = cast_lossless(&array, to, &mut bad).unwrap();
        (out, bad.count())
    }

    #[test]
    fn numbers_fit_or_are_bad() {
        assert_eq!(cast(UInt64Array::from(vec![1, u64::MAX]), &DataType::Int64).1, 1);
        assert_eq!(cast(Int64Array::from(vec![Some(300), Some(-128), None]), &DataType::Int8).1, 1);
        assert_eq!(cast(Float64Array::from(vec![1.0, 1.5, f64::NAN, 1e300]), &DataType::Int64).1, 3);
        assert_eq!(cast(Int64Array::from(vec![1 << 53, (1 << 53) + 1]), &DataType::Float64).1, 1);
        assert_eq!(cast(Float64Array::from(vec![0.1, f64::NAN]), &DataType::Float32).1, 0);
        assert_eq!(cast(Int64Array::from(vec![5, 1000]), &DataType::Decimal128(5, 2)).1, 1);
        assert_eq!(cast(StringArray::from(vec!["5", "x"]), &DataType::Int64).1, 1);
    }

    #[test]
    fn timestamps_are_floored_and_those_out_of_range_are_bad() {
        let us = DataType::Timestamp(TimeUnit::Microsecond, None);
        let (out, bad) = cast(TimestampNanosecondArray::from(vec![-1, 1999]), &us);
        assert_eq!((out.as_primitive::<TimestampMicrosecondType>().values().as_ref(), bad), ([-1, 1].as_slice(), 0));
        assert_eq!(cast(TimestampMillisecondArray::from(vec![i64::MAX, 0]), &us).1, 1);
        let paris = TimestampMillisecondArray::from(vec![5]).with_timezone("Europe/Paris");
        assert_eq!(cast(paris, &us).0.as_primitive::<TimestampMicrosecondType>().value(0), 5000);
    }

    #[test]
    fn types_that_have_nothing_in_common_are_refused_by_name() {
        let us = DataType::Timestamp(TimeUnit::Microsecond, None);
        let error = check_cast("ts", &DataType::Int64, &us).unwrap_err();
        assert!(error.message().contains("'ts' is BIGINT in the file and cannot be read as TIMESTAMP"), "{error}");
        assert!(check_cast("a", &DataType::UInt64, &DataType::Int64).is_ok());
        assert!(check_cast("a", &DataType::Utf8, &us).is_ok());
    }
}
