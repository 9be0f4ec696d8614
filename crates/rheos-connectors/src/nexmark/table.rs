//! What a declared table reads: its columns matched by name with what the generator can make.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field as ArrowField, Fields, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use rheos_core::error::did_you_mean;
use rheos_core::{Error, Result};

use super::columns::{Field, Generator, Rows, fields};
use super::event::Kind;

/// Which rows a table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Every event, with a ROW column a kind that is null for events of other kinds.
    Mixed,
    /// The events of one kind.
    Flat(Kind),
}

impl Shape {
    /// By the value of the option `table`.
    pub(super) fn named(name: &str) -> Self {
        match name {
            "person" => Shape::Flat(Kind::Person),
            "auction" => Shape::Flat(Kind::Auction),
            "bid" => Shape::Flat(Kind::Bid),
            _ => Shape::Mixed,
        }
    }
}

/// How one column is made.
#[derive(Debug, Clone, PartialEq)]
enum Column {
    EventType,
    Value(Field),
    Row(Kind, Vec<Field>),
}

/// The columns of a table: what is declared, and how each is made.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) shape: Shape,
    pub(super) schema: SchemaRef,
    columns: Vec<Column>,
}

impl Table {
    /// All columns of a shape, as they are made.
    pub(super) fn full_schema(shape: Shape) -> SchemaRef {
        let all = |kind| -> Fields {
            fields(kind).iter().map(|(name, f)| ArrowField::new(*name, f.data_type(), true)).collect()
        };
        let Shape::Mixed = shape else {
            let Shape::Flat(kind) = shape else { unreachable!("there are two shapes") };
            return Arc::new(Schema::new(all(kind)));
        };
        let mut columns = vec![ArrowField::new("event_type", DataType::Int32, true)];
        for kind in [Kind::Person, Kind::Auction, Kind::Bid] {
            columns.push(ArrowField::new(kind.name(), DataType::Struct(all(kind)), true));
        }
        columns.push(ArrowField::new("dateTime", Field::Time.data_type(), true));
        Arc::new(Schema::new(columns))
    }

    /// Matches the declared columns by name. Errors: `Invalid` for a column that there is not, or of another type.
    pub(super) fn try_new(shape: Shape, declared: &SchemaRef) -> Result<Self> {
        let full = Self::full_schema(shape);
        let columns = declared.fields().iter().map(|field| {
            let made = find(full.fields(), field.name(), "the table")?;
            column(shape, field, made)
        });
        Ok(Self { shape, columns: columns.collect::<Result<_>>()?, schema: Arc::clone(declared) })
    }

    /// The table with some of its columns.
    pub(super) fn project(&self, indices: &[usize]) -> Result<Self> {
        let schema = self.schema.project(indices).map_err(|e| Error::internal(format!("nexmark projection: {e}")))?;
        let columns = indices.iter().map(|i| self.columns[*i].clone()).collect();
        Ok(Self { shape: self.shape, schema: Arc::new(schema), columns })
    }

    /// The table with less in its ROW columns. `schema` has the same columns; a struct may lack fields.
    ///
    /// Errors: `Internal` for a schema that is no such part.
    pub(super) fn narrow(&self, schema: &SchemaRef) -> Result<Self> {
        let no_part = || Error::internal("a nexmark table was to be narrowed to what is no part of it");
        if schema.fields().len() != self.columns.len() {
            return Err(no_part());
        }
        let columns = self.columns.iter().zip(self.schema.fields()).zip(schema.fields()).map(|((column, old), new)| {
            let (Column::Row(kind, values), DataType::Struct(old_parts), DataType::Struct(parts)) =
                (column, old.data_type(), new.data_type())
            else {
                return if old == new { Ok(column.clone()) } else { Err(no_part()) };
            };
            if old.name() != new.name() || old.is_nullable() != new.is_nullable() {
                return Err(no_part());
            }
            let value = |part: &Arc<ArrowField>| {
                let known = old_parts.iter().position(|old| old == part).ok_or_else(no_part)?;
                Ok(values[known])
            };
            Ok(Column::Row(*kind, parts.iter().map(value).collect::<Result<_>>()?))
        });
        Ok(Self { shape: self.shape, columns: columns.collect::<Result<_>>()?, schema: Arc::clone(schema) })
    }

    /// The rows, which are all of the table's kind.
    pub(super) fn batch(&self, generator: &Generator, rows: Rows) -> Result<RecordBatch> {
        let arrays = self.columns.iter().zip(self.schema.fields()).map(|(column, field)| match column {
            Column::EventType => conform(generator.event_types(rows), field.data_type()),
            Column::Value(value) => conform(generator.column(*value, rows, None)?, field.data_type()),
            Column::Row(kind, values) => row(generator, values, field, Rows { of: Some(*kind), ..rows }),
        });
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|e| Error::internal(format!("nexmark batch: {e}")))
    }
}

/// How a declared column is made.
fn column(shape: Shape, declared: &ArrowField, made: &ArrowField) -> Result<Column> {
    let named = |kind: Kind, name: &str| fields(kind).iter().find(|(n, _)| *n == name).map(|(_, field)| *field);
    if let (DataType::Struct(parts), DataType::Struct(made_parts)) = (declared.data_type(), made.data_type()) {
        let kind = [Kind::Person, Kind::Auction].into_iter().find(|k| k.name() == made.name()).unwrap_or(Kind::Bid);
        let values = parts.iter().map(|part| {
            let made_part = find(made_parts, part.name(), made.name())?;
            check_type(part, made_part)?;
            Ok(named(kind, made_part.name()).expect("the full schema is made of the fields"))
        });
        if !declared.is_nullable() {
            return Err(Error::invalid(285, format!("column '{}' is declared NOT NULL", declared.name()))
                .with_hint("each event is of one kind, and the columns of the others are NULL: leave NOT NULL out"));
        }
        return Ok(Column::Row(kind, values.collect::<Result<_>>()?));
    }
    check_type(declared, made)?;
    Ok(match shape {
        Shape::Flat(kind) => Column::Value(named(kind, made.name()).expect("the full schema is made of the fields")),
        Shape::Mixed if made.name() == "event_type" => Column::EventType,
        Shape::Mixed => Column::Value(Field::Time),
    })
}

/// A column by its name: exactly, else without case if only one fits.
fn find<'a>(columns: &'a Fields, name: &str, owner: &str) -> Result<&'a ArrowField> {
    if let Some((_, column)) = columns.find(name) {
        return Ok(column);
    }
    let mut alike = columns.iter().filter(|c| c.name().eq_ignore_ascii_case(name));
    if let (Some(column), None) = (alike.next(), alike.next()) {
        return Ok(column);
    }
    let names = || columns.iter().map(|c| c.name().as_str());
    let list = names().collect::<Vec<_>>().join(", ");
    Err(Error::invalid(284, format!("nexmark does not make a column '{name}' in {owner}")).with_hint(did_you_mean(
        name,
        names(),
        &format!("the columns are: {list}"),
    )))
}

fn check_type(declared: &ArrowField, made: &ArrowField) -> Result<()> {
    use DataType::*;
    let fits = match (declared.data_type(), made.data_type()) {
        (Utf8 | Utf8View | LargeUtf8, Utf8) | (Int32 | Int64, Int32) => true,
        (Timestamp(TimeUnit::Microsecond, _), Timestamp(..)) => true,
        (declared, made) => declared == made,
    };
    if fits {
        return Ok(());
    }
    let sql = match made.data_type() {
        Utf8 => "VARCHAR",
        Int32 => "INT",
        Int64 => "BIGINT",
        Timestamp(..) => "TIMESTAMP(3)",
        _ => "a ROW",
    };
    Err(Error::invalid(285, format!("column '{}' cannot be {}", declared.name(), declared.data_type()))
        .with_hint(format!("nexmark makes it as {sql}")))
}

/// Gives an array the declared type; `check_type` has allowed it.
fn conform(array: ArrayRef, target: &DataType) -> Result<ArrayRef> {
    match target {
        t if t == array.data_type() => Ok(array),
        DataType::Timestamp(_, zone) => {
            let times = array.as_primitive::<TimestampMicrosecondType>().clone();
            Ok(Arc::new(times.with_timezone_opt(zone.clone())))
        }
        t => Ok(cast(&array, t)?),
    }
}

/// The ROW column of a kind.
fn row(generator: &Generator, values: &[Field], declared: &ArrowField, rows: Rows) -> Result<ArrayRef> {
    let DataType::Struct(parts) = declared.data_type() else {
        return Err(Error::internal("a nexmark ROW column is no struct"));
    };
    let present = rows.present();
    let columns = values
        .iter()
        .zip(parts)
        .map(|(value, part)| conform(generator.column(*value, rows, present.clone())?, part.data_type()));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let array = StructArray::try_new_with_length(parts.clone(), columns, present, rows.len);
    array.map(|a| Arc::new(a) as ArrayRef).map_err(|e| Error::internal(format!("nexmark row: {e}")))
}
