//! Cells to Arrow arrays: one loop a column, the type decided before it.
//!
//! A value that does not fit its type marks its row as bad and leaves a null; the caller reports or drops such rows.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryBuilder, BinaryViewBuilder, BooleanBuilder, GenericStringArray,
    LargeBinaryBuilder, LargeStringBuilder, NullArray, OffsetSizeTrait, PrimitiveArray, StringBuilder,
    StringViewBuilder,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use rheos_core::{Error, Result};

use crate::bad::{BadKind, BadRows, Fault};
use crate::cell::{CellKind, Cells};
use crate::nested;
use crate::time::{DayCache, parse_date, parse_time, parse_timestamp};
use crate::value::{parse_bool, parse_bytes, parse_decimal, parse_f32, parse_f64, parse_int, short_f64, short_int};

/// The rows that the cells of a column belong to: themselves at the top, their ancestors inside of nested values.
pub(crate) struct Rows<'a> {
    /// The row of each cell; `None`: cell `n` is of row `n`.
    pub(crate) owners: Option<&'a [u32]>,
    /// Rows of the batch.
    pub(crate) rows: usize,
    pub(crate) bad: &'a mut BadRows,
}

impl Rows<'_> {
    pub(crate) fn mark(&mut self, cell: usize, fault: impl FnOnce() -> Fault) {
        let row = self.owners.map_or(cell, |owners| owners[cell] as usize);
        self.bad.mark(row, self.rows, fault);
    }

    pub(crate) fn owner(&self, cell: usize) -> u32 {
        self.owners.map_or(cell as u32, |owners| owners[cell])
    }
}

/// Whether text can be decoded to a type. Errors: `Invalid`, naming the column.
pub(crate) fn check_type(column: &str, data_type: &DataType) -> Result<()> {
    use DataType::*;
    match data_type {
        Null | Boolean | Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 | Float32 | Float64 => Ok(()),
        Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView | Date32 | Decimal128(..) => Ok(()),
        Time64(TimeUnit::Microsecond) | Timestamp(TimeUnit::Microsecond, _) => Ok(()),
        List(child) => check_type(column, child.data_type()),
        Struct(children) => children.iter().try_for_each(|child| check_type(column, child.data_type())),
        Map(entries, _) => match entries.data_type() {
            Struct(children) => children.iter().try_for_each(|child| check_type(column, child.data_type())),
            _ => Err(Error::internal("a map without key and value")),
        },
        other => {
            Err(Error::invalid(308, format!("column '{column}' has type {other}, which text formats cannot hold"))
                .with_hint("declare the column as VARCHAR and cast it in the query"))
        }
    }
}

/// Decodes one column.
pub(crate) fn decode(cells: &Cells<'_>, data_type: &DataType, rows: &mut Rows<'_>) -> Result<ArrayRef> {
    use DataType::*;
    Ok(match data_type {
        Null => Arc::new(NullArray::new(cells.rows)),
        Boolean => boolean(cells, data_type, rows),
        Int8 => int::<Int8Type>(cells, data_type, rows),
        Int16 => int::<Int16Type>(cells, data_type, rows),
        Int32 => int::<Int32Type>(cells, data_type, rows),
        Int64 => int::<Int64Type>(cells, data_type, rows),
        UInt8 => int::<UInt8Type>(cells, data_type, rows),
        UInt16 => int::<UInt16Type>(cells, data_type, rows),
        UInt32 => int::<UInt32Type>(cells, data_type, rows),
        UInt64 => int::<UInt64Type>(cells, data_type, rows),
        Float32 => Arc::new(primitive::<Float32Type>(cells, data_type, rows, no_short, parse_f32)),
        Float64 => Arc::new(primitive::<Float64Type>(cells, data_type, rows, short_f64, parse_f64)),
        Date32 => Arc::new(primitive::<Date32Type>(cells, data_type, rows, no_short, parse_date)),
        Time64(TimeUnit::Microsecond) => {
            Arc::new(primitive::<Time64MicrosecondType>(cells, data_type, rows, no_short, parse_time))
        }
        Timestamp(TimeUnit::Microsecond, zone) => {
            let values = timestamp(cells, data_type, rows);
            Arc::new(values.with_timezone_opt(zone.clone()))
        }
        Decimal128(precision, scale) => {
            let parse = |text: &[u8]| parse_decimal(text, *precision, *scale);
            let values = primitive::<Decimal128Type>(cells, data_type, rows, no_short, parse);
            Arc::new(values.with_precision_and_scale(*precision, *scale)?)
        }
        Utf8 => match joined_text::<i32>(cells) {
            Some(array) => array,
            None => text(cells, rows, StringBuilder::with_capacity(cells.rows, cells.rows * 8)),
        },
        LargeUtf8 => match joined_text::<i64>(cells) {
            Some(array) => array,
            None => text(cells, rows, LargeStringBuilder::with_capacity(cells.rows, cells.rows * 8)),
        },
        Utf8View => text(cells, rows, StringViewBuilder::with_capacity(cells.rows)),
        Binary => bytes(cells, data_type, rows, BinaryBuilder::with_capacity(cells.rows, cells.rows * 8)),
        LargeBinary => bytes(cells, data_type, rows, LargeBinaryBuilder::with_capacity(cells.rows, cells.rows * 8)),
        BinaryView => bytes(cells, data_type, rows, BinaryViewBuilder::with_capacity(cells.rows)),
        Struct(fields) => nested::decode_struct(cells, fields, rows)?,
        List(child) => nested::decode_list(cells, child, rows)?,
        Map(entries, sorted) => nested::decode_map(cells, entries, *sorted, rows)?,
        other => return Err(Error::internal(format!("text cannot be decoded to {other}"))),
    })
}

/// Which values are there, 64 to a word.
pub(crate) struct Validity {
    words: Vec<u64>,
    word: u64,
    rows: usize,
    nulls: usize,
}

impl Validity {
    pub(crate) fn with_capacity(rows: usize) -> Self {
        Self { words: Vec::with_capacity(rows.div_ceil(64)), word: 0, rows: 0, nulls: 0 }
    }

    #[inline]
    pub(crate) fn push(&mut self, is_valid: bool) {
        self.word |= u64::from(is_valid) << (self.rows % 64);
        self.nulls += usize::from(!is_valid);
        self.rows += 1;
        if self.rows.is_multiple_of(64) {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    /// `None`: all of them.
    pub(crate) fn finish(mut self) -> Option<NullBuffer> {
        if self.nulls == 0 {
            return None;
        }
        self.words.push(self.word);
        let bits = BooleanBuffer::new(Buffer::from_vec(self.words), 0, self.rows);
        Some(NullBuffer::new(bits))
    }
}

/// A column of numbers. `short` reads what most values look like, where they stand in the buffer: from this place on, so
/// many bytes; `parse` reads all of them.
#[inline]
fn primitive<T: ArrowPrimitiveType>(
    cells: &Cells<'_>,
    data_type: &DataType,
    rows: &mut Rows<'_>,
    mut short: impl FnMut(&[u8], usize, usize) -> Option<T::Native>,
    parse: impl Fn(&[u8]) -> Option<T::Native>,
) -> PrimitiveArray<T> {
    let mut values: Vec<T::Native> = Vec::with_capacity(cells.rows);
    let mut valid = Validity::with_capacity(cells.rows);
    let mut scratch = Vec::new();
    for (row, cell) in cells.iter().enumerate() {
        let value = match cell.kind {
            CellKind::Null => None,
            CellKind::Plain | CellKind::Text => short(cells.data, cell.start as usize, cell.len()),
            _ => None,
        };
        let value = match value {
            None if cell.kind != CellKind::Null => {
                let value = cells.resolve(cell, &mut scratch).and_then(&parse);
                if value.is_none() {
                    rows.mark(row, || misfit(data_type, cell.bytes(cells.data)));
                }
                value
            }
            value => value,
        };
        valid.push(value.is_some());
        values.push(value.unwrap_or_default());
    }
    PrimitiveArray::new(values.into(), valid.finish())
}

/// For types whose values have no common short form.
fn no_short<T>(_: &[u8], _: usize, _: usize) -> Option<T> {
    None
}

fn int<T>(cells: &Cells<'_>, data_type: &DataType, rows: &mut Rows<'_>) -> ArrayRef
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i128> + TryFrom<i64>,
{
    let short = |data: &[u8], at, n| T::Native::try_from(short_int(data, at, n)?).ok();
    let parse = |text: &[u8]| T::Native::try_from(parse_int(text)?).ok();
    Arc::new(primitive::<T>(cells, data_type, rows, short, parse))
}

fn timestamp(cells: &Cells<'_>, data_type: &DataType, rows: &mut Rows<'_>) -> PrimitiveArray<TimestampMicrosecondType> {
    let mut day = DayCache::default();
    let short = |data: &[u8], at, n| day.parse_timestamp(data, at, n);
    primitive(cells, data_type, rows, short, parse_timestamp)
}

fn boolean(cells: &Cells<'_>, data_type: &DataType, rows: &mut Rows<'_>) -> ArrayRef {
    let mut builder = BooleanBuilder::with_capacity(cells.rows);
    let mut scratch = Vec::new();
    for (row, cell) in cells.iter().enumerate() {
        let value = match cell.kind {
            CellKind::Null => None,
            _ => cells.resolve(cell, &mut scratch).and_then(parse_bool).or_else(|| {
                rows.mark(row, || misfit(data_type, cell.bytes(cells.data)));
                None
            }),
        };
        builder.append_option(value);
    }
    Arc::new(builder.finish())
}

/// What the builders of strings have in common.
trait TextBuilder {
    fn add(&mut self, value: Option<&str>);
    fn build(self) -> ArrayRef;
}

/// What the builders of bytes have in common.
trait BytesBuilder {
    fn add(&mut self, value: Option<&[u8]>);
    fn build(self) -> ArrayRef;
}

macro_rules! value_builder {
    ($contract:ident, $value:ty, $($builder:ty),*) => {$(
        impl $contract for $builder {
            fn add(&mut self, value: Option<$value>) {
                self.append_option(value);
            }
            fn build(mut self) -> ArrayRef {
                Arc::new(self.finish())
            }
        }
    )*};
}
value_builder!(TextBuilder, &str, StringBuilder, LargeStringBuilder, StringViewBuilder);
value_builder!(BytesBuilder, &[u8], BinaryBuilder, LargeBinaryBuilder, BinaryViewBuilder);

/// A column of text that is checked as a whole; `None` where a value is no text, or all are too long for the offsets.
fn joined_text<O: OffsetSizeTrait>(cells: &Cells<'_>) -> Option<ArrayRef> {
    let mut bytes: Vec<u8> = Vec::with_capacity(cells.iter().map(|cell| cell.len()).sum());
    let mut offsets: Vec<O> = Vec::with_capacity(cells.rows + 1);
    let mut valid = Validity::with_capacity(cells.rows);
    let mut scratch = Vec::new();
    offsets.push(O::usize_as(0));
    for cell in cells.iter() {
        valid.push(cell.kind != CellKind::Null);
        if cell.kind != CellKind::Null {
            bytes.extend_from_slice(cells.resolve(cell, &mut scratch)?);
        }
        offsets.push(O::from_usize(bytes.len())?);
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    let array = GenericStringArray::try_new(offsets, Buffer::from_vec(bytes), valid.finish()).ok()?;
    Some(Arc::new(array))
}

fn text(cells: &Cells<'_>, rows: &mut Rows<'_>, mut builder: impl TextBuilder) -> ArrayRef {
    let mut scratch = Vec::new();
    for (row, cell) in cells.iter().enumerate() {
        if cell.kind == CellKind::Null {
            builder.add(None);
            continue;
        }
        let resolved = cells.resolve(cell, &mut scratch);
        let fault = match resolved.map(std::str::from_utf8) {
            Some(Ok(value)) => {
                builder.add(Some(value));
                continue;
            }
            Some(Err(_)) => (BadKind::Utf8, "the text is not valid UTF-8"),
            None => (BadKind::Syntax, "the text has a broken escape"),
        };
        rows.mark(row, || Fault::new(fault.0, fault.1, cell.bytes(cells.data)));
        builder.add(None);
    }
    builder.build()
}

fn bytes(cells: &Cells<'_>, data_type: &DataType, rows: &mut Rows<'_>, mut builder: impl BytesBuilder) -> ArrayRef {
    let (mut scratch, mut decoded) = (Vec::new(), Vec::new());
    for (row, cell) in cells.iter().enumerate() {
        if cell.kind == CellKind::Null {
            builder.add(None);
            continue;
        }
        match cells.resolve(cell, &mut scratch).and_then(|text| parse_bytes(text, &mut decoded)) {
            Some(()) => builder.add(Some(&decoded)),
            None => {
                rows.mark(row, || misfit(data_type, cell.bytes(cells.data)));
                builder.add(None);
            }
        }
    }
    builder.build()
}

pub(crate) fn misfit(data_type: &DataType, text: &[u8]) -> Fault {
    let reason = match data_type {
        DataType::Timestamp(..) => "the value is not a TIMESTAMP (YYYY-MM-DD HH:MM:SS.f)".to_string(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "the value is not base64".to_string(),
        other => format!("the value does not fit {}", sql_name(other)),
    };
    Fault::new(BadKind::Value, reason, text)
}

/// A type by its name in SQL.
pub fn sql_name(data_type: &DataType) -> String {
    use DataType::*;
    match data_type {
        Boolean => "BOOLEAN".into(),
        Int8 => "TINYINT".into(),
        Int16 => "SMALLINT".into(),
        Int32 => "INT".into(),
        Int64 => "BIGINT".into(),
        UInt8 => "UTINYINT".into(),
        UInt16 => "USMALLINT".into(),
        UInt32 => "UINT".into(),
        UInt64 => "UBIGINT".into(),
        Float32 => "FLOAT".into(),
        Float64 => "DOUBLE".into(),
        Utf8 | LargeUtf8 | Utf8View => "VARCHAR".into(),
        Binary | LargeBinary | BinaryView => "BYTES".into(),
        Date32 => "DATE".into(),
        Time64(_) => "TIME".into(),
        Timestamp(_, None) => "TIMESTAMP".into(),
        Timestamp(_, Some(_)) => "TIMESTAMP_LTZ".into(),
        Decimal128(p, s) => format!("DECIMAL({p}, {s})"),
        List(_) => "ARRAY".into(),
        Struct(_) => "ROW".into(),
        Map(..) => "MAP".into(),
        other => other.to_string(),
    }
}
