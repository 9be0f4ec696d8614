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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parquet::read::{ParquetDecoder, ParquetFooter, ParquetStep, check_columns};
    use crate::{BadRecord, DecodeError, OnError};
    use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
    use arrow::datatypes::{Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
    use bytes::Bytes;
    use parquet::arrow::ArrowWriter;

    fn field(name: &str, data_type: DataType) -> Field {
        Field::new(name, data_type, true)
    }

    fn row(fields: &[Field]) -> DataType {
        DataType::Struct(fields.to_vec().into())
    }

    fn schema(fields: &[Field]) -> SchemaRef {
        Arc::new(Schema::new(fields.to_vec()))
    }

    const MS: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);
    const US: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

    /// `k BIGINT, r ROW<a BIGINT, b ROW<c TEXT, d TIMESTAMP(3)>, l ARRAY<BIGINT>, e TEXT>`: three rows, the second has no
    /// `r` and the third no `b`.
    fn file() -> Bytes {
        let inner = vec![field("c", DataType::Utf8), field("d", MS)];
        let list = DataType::new_list(DataType::Int64, true);
        let outer =
            [field("a", DataType::Int64), field("b", row(&inner)), field("l", list), field("e", DataType::Utf8)];
        let b = StructArray::try_new(
            inner.into(),
            vec![
                Arc::new(StringArray::from(vec![Some("c0"), None, None])),
                Arc::new(TimestampMillisecondArray::from(vec![Some(5), None, None])),
            ],
            Some(vec![true, false, false].into()),
        );
        let list = arrow::array::ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some(vec![Some(1), Some(2)]),
            None,
            Some(vec![]),
        ]);
        let r = StructArray::try_new(
            outer.to_vec().into(),
            vec![
                Arc::new(Int64Array::from(vec![Some(10), None, Some(300)])),
                Arc::new(b.unwrap()),
                Arc::new(list),
                Arc::new(StringArray::from(vec![Some("7"), None, Some("x")])),
            ],
            Some(vec![true, false, true].into()),
        );
        let schema = schema(&[field("k", DataType::Int64), field("r", row(&outer))]);
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![0, 1, 2])), Arc::new(r.unwrap())];
        let mut bytes = vec![];
        let mut writer = ArrowWriter::try_new(&mut bytes, Arc::clone(&schema), None).unwrap();
        writer.write(&RecordBatch::try_new(schema, columns).unwrap()).unwrap();
        writer.close().unwrap();
        bytes.into()
    }

    /// The rows, the bytes that were asked for, and what is said of the first bad row.
    fn read(schema: &SchemaRef, on_error: OnError) -> Result<(RecordBatch, u64, Option<Box<BadRecord>>), DecodeError> {
        let bytes = file();
        let footer = ParquetFooter::read(&bytes).unwrap();
        let mut decoder = ParquetDecoder::try_new(&footer, 0, schema, 0, 100, on_error).unwrap();
        let mut size = 0;
        loop {
            match decoder.decode()? {
                ParquetStep::NeedsData(ranges) => {
                    size += ranges.iter().map(|r| r.end - r.start).sum::<u64>();
                    let parts = ranges.iter().map(|r| bytes.slice(r.start as usize..r.end as usize)).collect();
                    decoder.push(ranges, parts).unwrap();
                }
                ParquetStep::Batch(batch) => return Ok((batch, size, decoder.take_first_skipped())),
                ParquetStep::End => panic!("there are rows"),
            }
        }
    }

    #[test]
    fn only_the_wanted_fields_are_read_by_their_names() {
        let inner = row(&[field("D", US)]);
        let part =
            schema(&[field("r", row(&[field("b", inner), field("A", DataType::Int64)])), field("k", DataType::Int64)]);
        let (batch, size, _) = read(&part, OnError::Fail).unwrap();
        assert_eq!(batch.schema(), part);
        let r = batch.column(0).as_struct();
        assert_eq!((r.is_null(0), r.is_null(1), r.is_null(2)), (false, true, false));
        assert_eq!(r.column(1).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(10), None, Some(300)]);
        let b = r.column(0).as_struct();
        assert_eq!((b.is_null(0), b.is_null(2)), (false, true));
        assert_eq!(b.column(0).as_primitive::<TimestampMicrosecondType>().value(0), 5000);
        let (_, one, _) = read(&schema(&[field("r", row(&[]))]), OnError::Fail).unwrap();
        let text = DataType::Utf8View;
        let all = [
            field("a", DataType::Int64),
            field("b", row(&[field("c", text.clone()), field("d", US)])),
            field("l", DataType::new_list(DataType::Int64, true)),
            field("e", text),
        ];
        let (batch, whole, _) = read(&schema(&[field("r", row(&all))]), OnError::Fail).unwrap();
        assert_eq!(batch.column(0).as_struct().column(3).as_string_view().value(0), "7");
        assert!(one < size && size < whole, "{one} {size} {whole}");
    }

    #[test]
    fn a_row_without_fields_still_tells_where_it_is_null() {
        let (batch, ..) = read(&schema(&[field("r", row(&[field("b", row(&[]))]))]), OnError::Fail).unwrap();
        let r = batch.column(0).as_struct();
        let nulls = |array: &dyn Array| (0..3).map(|n| array.is_null(n)).collect::<Vec<_>>();
        assert_eq!(nulls(r), [false, true, false]);
        assert_eq!(nulls(r.column(0)), [false, true, true]);
    }

    #[test]
    fn a_field_that_does_not_fit_spoils_its_row_alone() {
        let small = schema(&[field("k", DataType::Int64), field("r", row(&[field("a", DataType::Int8)]))]);
        let (batch, _, bad) = read(&small, OnError::Skip).unwrap();
        assert_eq!(batch.column(0).as_primitive::<Int64Type>().values().as_ref(), [0, 1]);
        assert_eq!(bad.unwrap().message("x", 0), "x, row 3, column 'r': the value does not fit TINYINT: 300");
        let text = schema(&[field("k", DataType::Int64), field("r", row(&[field("e", DataType::Int64)]))]);
        let (batch, ..) = read(&text, OnError::Skip).unwrap();
        assert_eq!(batch.column(1).as_struct().column(0).as_primitive::<Int64Type>().value(0), 7);
        let required = Field::new("c", DataType::Utf8, false);
        let required = schema(&[field("r", row(&[field("b", row(&[required])), field("a", DataType::Int64)]))]);
        let (batch, _, bad) = read(&required, OnError::Skip).unwrap();
        assert_eq!((batch.num_rows(), bad), (3, None), "what is missing with its ROW is not missing in it");
    }

    #[test]
    fn a_field_that_the_file_lacks_is_named() {
        let footer = ParquetFooter::read(&file()).unwrap();
        let wanted = schema(&[field("r", row(&[field("b", row(&[field("cc", DataType::Utf8)]))]))]);
        let error = check_columns(&footer, &wanted).unwrap_err();
        assert_eq!(error.message(), "column 'r.b' has no field 'cc' in the file");
        assert!(error.hint().unwrap().contains("did you mean 'c'? it has: c, d"), "{error}");
        let wanted = schema(&[field("r", row(&[field("a", US)]))]);
        let error = check_columns(&footer, &wanted).unwrap_err();
        assert!(error.message().starts_with("column 'r.a' is BIGINT in the file"), "{error}");
    }
}
