//! ROW, ARRAY and MAP values: JSON text in one column becomes cells of the columns inside, which are decoded as usual.
//!
//! ```text
//!   {"a":1,"b":[2,3]}      ROW: a = 1        b = [2,3] ──► ARRAY: offsets 0,2   values 2, 3
//! ```
//!
//! A broken value marks the row that it stands in, however deep it is; the arrays inside keep their lengths.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, MapArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields};
use rheos_core::{Error, Result};

use crate::bad::{BadKind, Fault};
use crate::cell::{Cell, CellKind, Cells};
use crate::column::{Rows, Validity, decode};
use crate::json::keys::Keys;
use crate::json::scan;

/// The JSON texts of a column in one buffer, with the range of each value that is not null.
struct Texts {
    data: Vec<u8>,
    ranges: Vec<Option<(usize, usize)>>,
}

fn texts(cells: &Cells<'_>, rows: &mut Rows<'_>) -> Texts {
    let mut texts = Texts { data: Vec::new(), ranges: Vec::with_capacity(cells.rows) };
    let mut scratch = Vec::new();
    for (row, cell) in cells.iter().enumerate() {
        if cell.kind == CellKind::Null {
            texts.ranges.push(None);
            continue;
        }
        let start = texts.data.len();
        match cells.resolve(cell, &mut scratch) {
            Some(text) => texts.data.extend_from_slice(text),
            None => rows.mark(row, || Fault::new(BadKind::Syntax, "broken escape", cell.bytes(cells.data))),
        }
        texts.ranges.push(Some((start, texts.data.len())));
    }
    texts
}

fn not_a(what: &str, text: &[u8]) -> Fault {
    Fault::new(BadKind::Value, format!("the value is not {what}"), text)
}

/// ROW: a JSON object; fields by name, missing ones are null, others are ignored.
pub(crate) fn decode_struct(cells: &Cells<'_>, fields: &Fields, rows: &mut Rows<'_>) -> Result<ArrayRef> {
    if cells.inside.len() == fields.len()
        && cells.iter().all(|cell| matches!(cell.kind, CellKind::Null | CellKind::Object))
    {
        return decode_objects(cells, fields, rows);
    }
    decode_texts(cells, fields, rows)
}

/// A ROW column of objects whose fields have been found already.
fn decode_objects(cells: &Cells<'_>, fields: &Fields, rows: &mut Rows<'_>) -> Result<ArrayRef> {
    let mut arrays = Vec::with_capacity(fields.len());
    for (n, field) in fields.iter().enumerate() {
        arrays.push(decode(&cells.field(n), field.data_type(), rows)?);
    }
    let mut valid = Validity::with_capacity(cells.rows);
    cells.iter().for_each(|cell| valid.push(cell.kind != CellKind::Null));
    struct_array(fields, arrays, valid.finish(), cells.rows)
}

fn struct_array(fields: &Fields, arrays: Vec<ArrayRef>, nulls: Option<NullBuffer>, rows: usize) -> Result<ArrayRef> {
    let nullable: Fields = fields.iter().map(nullable).collect();
    let array = StructArray::try_new_with_length(nullable, arrays, nulls, rows)?;
    restore_fields(Arc::new(array), &DataType::Struct(fields.clone()))
}

/// A ROW column some of whose values are something else: text that holds an object, or nothing of the kind.
fn decode_texts(cells: &Cells<'_>, fields: &Fields, rows: &mut Rows<'_>) -> Result<ArrayRef> {
    let Texts { data, ranges } = texts(cells, rows);
    let mut children = vec![vec![Cell::NULL; ranges.len()]; fields.len()];
    let mut valid = Vec::with_capacity(ranges.len());
    let mut keys = Keys::new(fields.iter().map(|f| f.name().as_str()));
    for (row, range) in ranges.iter().enumerate() {
        valid.push(range.is_some());
        let Some((start, end)) = *range else { continue };
        let found = keys.fill(&data, start, end, &mut |n: usize, cell| children[n][row] = cell);
        if found.is_err() {
            rows.mark(row, || not_a("a JSON object", &data[start..end]));
            children.iter_mut().for_each(|child| child[row] = Cell::NULL);
        }
    }
    let mut arrays = Vec::with_capacity(fields.len());
    for (field, child) in fields.iter().zip(&children) {
        arrays.push(decode(&Cells::dense(&data, child), field.data_type(), rows)?);
    }
    struct_array(fields, arrays, Some(NullBuffer::from(valid)), ranges.len())
}

/// A field that may hold the nulls of bad rows, which are gone before anybody sees the batch.
fn nullable(field: &FieldRef) -> FieldRef {
    Arc::new(field.as_ref().clone().with_nullable(true))
}

/// Declared fields may say NOT NULL; the engine's schemas are checked elsewhere, so the type is all that counts here.
fn restore_fields(array: ArrayRef, declared: &DataType) -> Result<ArrayRef> {
    if array.data_type() == declared {
        return Ok(array);
    }
    arrow::compute::cast(&array, declared).map_err(|e| Error::internal(e.to_string()))
}

/// Cells of elements, and which rows they belong to.
#[derive(Default)]
struct Elements {
    cells: Vec<Cell>,
    owners: Vec<u32>,
    lengths: Vec<usize>,
    valid: Vec<bool>,
}

/// ARRAY: a JSON array.
pub(crate) fn decode_list(cells: &Cells<'_>, child: &FieldRef, rows: &mut Rows<'_>) -> Result<ArrayRef> {
    let Texts { data, ranges } = texts(cells, rows);
    let mut elements = Elements::default();
    for (row, range) in ranges.iter().enumerate() {
        elements.valid.push(range.is_some());
        let before = elements.cells.len();
        if let Some((start, end)) = *range
            && scan::array(&data, start, end, |cell| elements.cells.push(cell)).is_err()
        {
            rows.mark(row, || not_a("a JSON array", &data[start..end]));
            elements.cells.truncate(before);
        }
        elements.lengths.push(elements.cells.len() - before);
        elements.owners.resize(elements.cells.len(), rows.owner(row));
    }
    let mut inner = Rows { owners: Some(&elements.owners), rows: rows.rows, bad: rows.bad };
    let values = decode(&Cells::dense(&data, &elements.cells), child.data_type(), &mut inner)?;
    let offsets = OffsetBuffer::from_lengths(elements.lengths);
    let nulls = NullBuffer::from(elements.valid);
    let array = ListArray::try_new(nullable(child), offsets, values, Some(nulls))?;
    restore_fields(Arc::new(array), &DataType::List(Arc::clone(child)))
}

/// MAP: a JSON object; its keys are text and are cast to the key's type.
pub(crate) fn decode_map(cells: &Cells<'_>, entries: &FieldRef, sorted: bool, rows: &mut Rows<'_>) -> Result<ArrayRef> {
    let DataType::Struct(fields) = entries.data_type() else { return Err(Error::internal("a map without entries")) };
    let [key, value] = fields.as_ref() else { return Err(Error::internal("a map without key and value")) };
    let Texts { data, ranges } = texts(cells, rows);
    let mut keys = Elements::default();
    let mut values: Vec<Cell> = Vec::new();
    for (row, range) in ranges.iter().enumerate() {
        keys.valid.push(range.is_some());
        let before = values.len();
        if let Some((start, end)) = *range {
            let found = scan::object(&data, start, end, |key, cell| {
                keys.cells.push(key);
                values.push(cell);
            });
            if found.is_err() {
                rows.mark(row, || not_a("a JSON object", &data[start..end]));
                keys.cells.truncate(before);
                values.truncate(before);
            }
        }
        keys.lengths.push(values.len() - before);
        keys.owners.resize(values.len(), rows.owner(row));
    }
    let mut inner = Rows { owners: Some(&keys.owners), rows: rows.rows, bad: rows.bad };
    let key_array = decode(&Cells::dense(&data, &keys.cells), key.data_type(), &mut inner)?;
    let value_array = decode(&Cells::dense(&data, &values), value.data_type(), &mut inner)?;
    // A key that does not fit is a null, which a map cannot hold; its row is bad, so any key will do.
    let key_array = if key_array.null_count() > 0 { without_nulls(&key_array)? } else { key_array };
    let inner_fields = Fields::from(vec![Arc::clone(key), nullable(value)]);
    let structs = StructArray::try_new(inner_fields.clone(), vec![key_array, value_array], None)?;
    let field = Arc::new(entries.as_ref().clone().with_data_type(DataType::Struct(inner_fields)).with_nullable(false));
    let offsets = OffsetBuffer::from_lengths(keys.lengths);
    let array = MapArray::try_new(field, offsets, structs, Some(NullBuffer::from(keys.valid)), sorted)?;
    restore_fields(Arc::new(array), &DataType::Map(Arc::clone(entries), sorted))
}

fn without_nulls(array: &ArrayRef) -> Result<ArrayRef> {
    let data = array.to_data().into_builder().nulls(None).null_count(0).build()?;
    Ok(arrow::array::make_array(data))
}
