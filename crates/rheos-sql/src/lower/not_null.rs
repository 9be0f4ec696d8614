//! `NOT NULL` of a table that is written: a row that breaks it ends the job, as Flink's sinks do by default.
//!
//! Rows that are read are held to it by their format; without this a table could be written that cannot be read back.
//! Absent: the items of lists and maps.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion_common::{Result as DfResult, internal_err};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;
use rheos_core::error::{Error, ErrorKind};

use super::column;
use crate::diagnose::external;

/// Characters of the row that the error shows.
const ROW_CHARS_MAX: usize = 200;

/// The columns of rows that have a table's shape, checked. `None`: the table takes NULL everywhere.
pub(super) fn checked(
    rows: &SchemaRef,
    wanted: &SchemaRef,
    table: &str,
) -> Option<Vec<(Arc<dyn PhysicalExpr>, String)>> {
    if !wanted.fields().iter().any(|f| is_strict(f)) {
        return None;
    }
    let checked = |(at, field): (usize, &FieldRef)| {
        let value = column(rows, at);
        let expr: Arc<dyn PhysicalExpr> = match is_strict(field) {
            true => Arc::new(NotNull { value, field: Arc::clone(field), table: table.to_string() }),
            false => value,
        };
        (expr, field.name().clone())
    };
    Some(wanted.fields().iter().enumerate().map(checked).collect())
}

fn is_strict(field: &Field) -> bool {
    !field.is_nullable() || matches!(field.data_type(), DataType::Struct(fields) if fields.iter().any(|f| is_strict(f)))
}

/// A column's values. Errors: NULL where the table has `NOT NULL`.
#[derive(Debug)]
struct NotNull {
    value: Arc<dyn PhysicalExpr>,
    field: FieldRef,
    table: String,
}

impl NotNull {
    fn error(&self, path: &str, row: usize, batch: &RecordBatch) -> Error {
        let shown = shown(row, batch);
        Error::new(
            ErrorKind::User,
            356,
            format!("'{path}' of the table '{}' is NOT NULL, and a row has NULL there: {shown}", self.table),
        )
        .with_hint(format!("filter such rows (WHERE {path} IS NOT NULL), or write COALESCE({path}, ...)"))
    }
}

/// The first NULL in what must not be one: the path of its field and its row. Rows in `absent` have no ROW at all.
fn first_null(field: &Field, path: &str, values: &ArrayRef, absent: Option<&ArrayRef>) -> Option<(String, usize)> {
    if !field.is_nullable() && values.null_count() > 0 {
        let is_there = |row: &usize| absent.is_none_or(|a| a.is_valid(*row));
        if let Some(row) = (0..values.len()).find(|row| values.is_null(*row) && is_there(row)) {
            return Some((path.to_string(), row));
        }
    }
    let (DataType::Struct(fields), Some(row)) = (field.data_type(), values.as_struct_opt()) else { return None };
    let children = fields.iter().zip(row.columns()).filter(|(f, _)| is_strict(f));
    let mut nulls = children.map(|(f, child)| first_null(f, &format!("{path}.{}", f.name()), child, Some(values)));
    nulls.find_map(|found| found)
}

/// A row as `column=value, ..`.
fn shown(row: usize, batch: &RecordBatch) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let value = |(field, column): (&FieldRef, &ArrayRef)| {
        let formatter = ArrayFormatter::try_new(column, &options).ok()?;
        Some(format!("{}={}", field.name(), formatter.value(row).try_to_string().ok()?))
    };
    let schema = batch.schema();
    let text = schema.fields().iter().zip(batch.columns()).filter_map(value).collect::<Vec<_>>().join(", ");
    match text.char_indices().nth(ROW_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

impl PartialEq for NotNull {
    fn eq(&self, other: &Self) -> bool {
        self.value.eq(&other.value) && self.field == other.field && self.table == other.table
    }
}

impl Eq for NotNull {}

impl Hash for NotNull {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value.hash(state);
        self.field.hash(state);
        self.table.hash(state);
    }
}

impl fmt::Display for NotNull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not_null({})", self.value)
    }
}

impl PhysicalExpr for NotNull {
    fn data_type(&self, input: &Schema) -> DfResult<DataType> {
        self.value.data_type(input)
    }

    fn nullable(&self, input: &Schema) -> DfResult<bool> {
        self.value.nullable(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> DfResult<ColumnarValue> {
        let values = self.value.evaluate(batch)?.into_array(batch.num_rows())?;
        match first_null(&self.field, self.field.name(), &values, None) {
            Some((path, row)) => Err(external(self.error(&path, row, batch))),
            None => Ok(ColumnarValue::Array(values)),
        }
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.value]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> DfResult<Arc<dyn PhysicalExpr>> {
        let (Some(value), true) = (children.pop(), children.is_empty()) else {
            return internal_err!("a check has one column");
        };
        Ok(Arc::new(NotNull { value, field: Arc::clone(&self.field), table: self.table.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
