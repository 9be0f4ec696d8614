//! ROW columns of a Parquet file: which of their fields are read, and as what.
//!
//! ```text
//!   file:    r ROW<a, b ROW<c, d>, e>     leaves 0  1 2  3
//!   wanted:  r ROW<b ROW<d>>              read          2
//! ```
//!
//! Fields match by name as columns do. Where some have other names, but there are as many, they match by position.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StructArray, make_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use rheos_core::Result;

use super::cast::cast_lossless;
use crate::bad::{BadKind, BadRows, Fault};
use crate::names::find_column;

/// For each of the fields `to` its place in `from`; `None` where they do not match.
pub(super) fn match_fields(from: &Fields, to: &Fields) -> Option<Vec<usize>> {
    let names: Vec<String> = from.iter().map(|f| f.name().clone()).collect();
    let by_name = to.iter().map(|f| find_column(f.name(), &names)).collect();
    let by_position = || (from.len() == to.len()).then(|| (0..from.len()).collect());
    Option::or_else(by_name, by_position)
}

/// The type that the Parquet library is told to make: that of the file, but text as it is wanted, so that it is not copied
/// again. Fields that are not wanted are part of it.
pub(super) fn reader_type(file: &DataType, wanted: &DataType) -> DataType {
    use DataType::*;
    match (file, wanted) {
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View) => wanted.clone(),
        (Struct(from), Struct(to)) => {
            let Some(places) = match_fields(from, to) else { return file.clone() };
            let mut fields: Vec<Arc<Field>> = from.iter().cloned().collect();
            for (field, place) in to.iter().zip(places) {
                fields[place] = reader_field(&from[place], field);
            }
            Struct(fields.into())
        }
        (List(from), List(to)) => List(reader_field(from, to)),
        _ => file.clone(),
    }
}

pub(super) fn reader_field(file: &Arc<Field>, wanted: &Field) -> Arc<Field> {
    let data_type = reader_type(file.data_type(), wanted.data_type());
    Arc::new(file.as_ref().clone().with_data_type(data_type))
}

/// Adds the leaves that are read for a column of type `wanted` of the leaves from `next` on, and moves `next` behind those
/// of the column. At least one leaf is read: it tells where the column is NULL.
pub(super) fn wanted_leaves(file: &DataType, wanted: &DataType, next: &mut usize, leaves: &mut Vec<usize>) {
    let first = *next;
    *next += count_leaves(file);
    let matched = match (file, wanted) {
        (DataType::Struct(from), DataType::Struct(to)) => match_fields(from, to).map(|places| (from, to, places)),
        _ => None,
    };
    let Some((from, to, places)) = matched else {
        leaves.extend(first..*next);
        return;
    };
    let before = leaves.len();
    let mut at = first;
    for (n, field) in from.iter().enumerate() {
        match places.iter().position(|place| *place == n) {
            Some(wanted) => wanted_leaves(field.data_type(), to[wanted].data_type(), &mut at, leaves),
            None => at += count_leaves(field.data_type()),
        }
    }
    if leaves.len() == before && first < *next {
        leaves.push(first);
    }
}

/// The columns of a Parquet file that a column of Arrow is made of.
pub(super) fn count_leaves(data_type: &DataType) -> usize {
    use DataType::*;
    match data_type {
        Struct(fields) => fields.iter().map(|f| count_leaves(f.data_type())).sum(),
        List(f) | LargeList(f) | FixedSizeList(f, _) | ListView(f) | LargeListView(f) | Map(f, _) => {
            count_leaves(f.data_type())
        }
        _ => 1,
    }
}

/// The fields at `places` as `fields`; rows of which one does not fit are marked.
pub(super) fn cast_fields(
    array: &StructArray,
    fields: &Fields,
    places: &[usize],
    bad: &mut BadRows,
) -> Result<ArrayRef> {
    let rows = array.len();
    let mut nulls = array.nulls().cloned();
    let mut columns = Vec::with_capacity(fields.len());
    for (field, place) in fields.iter().zip(places) {
        let column = cast_lossless(&masked(array.column(*place), array.nulls())?, field.data_type(), bad)?;
        if let Some(there) = column.nulls().filter(|_| !field.is_nullable()) {
            for row in (0..rows).filter(|row| there.is_null(*row) && array.is_valid(*row)) {
                let reason = || format!("the value of '{}' is missing, but it is NOT NULL", field.name());
                if !bad.is_bad(row) {
                    bad.mark(row, rows, || Fault::new(BadKind::Value, reason(), b""));
                }
            }
            nulls = NullBuffer::union(nulls.as_ref(), Some(there));
        }
        columns.push(column);
    }
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, rows)?))
}

/// `column` without the values of rows in which the ROW around it is NULL: what stands there has no meaning.
fn masked(column: &ArrayRef, around: Option<&NullBuffer>) -> Result<ArrayRef> {
    match around {
        Some(around) if column.null_count() < around.null_count() => {
            let nulls = NullBuffer::union(column.nulls(), Some(around));
            Ok(make_array(column.to_data().into_builder().nulls(nulls).build()?))
        }
        _ => Ok(Arc::clone(column)),
    }
}
