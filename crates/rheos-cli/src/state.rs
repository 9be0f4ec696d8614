//! `rheos state`: what operators keep, as rows.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Array, ArrayRef, BooleanArray, Scalar, StringArray};
use arrow::compute::kernels::cmp;
use arrow::compute::{CastOptions, and, cast_with_options, filter_record_batch, is_null, or};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use rheos::Error;
use rheos::error::did_you_mean;
use rheos::state::{CheckpointStore, Manifest, Table, rows, tables};
use rheos::text::{ColumnText, Style, sql_name};
use serde_json::{Value, json};

use crate::args::{ListFormat, RowFormat, StateCommand, StateFormat, StateListArgs, StateReadArgs};
use crate::checkpoint::{found, open, size, spread};
use crate::list::{columns, document};
use crate::print::print_batches;
use crate::program::{print_text, write_failed};
use crate::report::{Failure, code};

/// Where operators note how far their windows have fired; rarely what somebody looks for.
const FIRED: &str = "fired";

/// Carries out one of them.
pub(crate) fn run(command: &StateCommand) -> Result<()> {
    match command {
        StateCommand::List(args) => list(args),
        StateCommand::Read(args) => read(args),
    }
}

fn list(args: &StateListArgs) -> Result<()> {
    let (store, journal) = open(&args.place)?;
    let (number, manifest) = found(&journal, args.from.as_deref())?;
    let mut listed = Vec::new();
    for table in tables(manifest) {
        let rows =
            rows(store.as_ref(), manifest, &table).map_err(Failure::plain)?.iter().map(RecordBatch::num_rows).sum();
        listed.push((table, rows));
    }
    print_text(&match args.output.format() {
        ListFormat::Json => document(listed.iter().map(|(table, rows)| table_json(manifest, table, *rows)).collect()),
        ListFormat::Table if listed.is_empty() => {
            eprintln!("no operator keeps state in checkpoint {number}");
            return Ok(());
        }
        ListFormat::Table => {
            let row = |(table, rows): &(Table, usize)| {
                let name = operator_name(manifest, table).to_string();
                let (id, spread) = (table.operator.to_string(), spread(table.kind).to_string());
                vec![id, name, table.name.clone(), rows.to_string(), size(table.bytes), spread]
            };
            columns(listed.iter().map(row), &["OPERATOR", "NAME", "TABLE", "ROWS", "STORED", "SPREAD"])
        }
    })
}

fn table_json(manifest: &Manifest, table: &Table, rows: usize) -> Value {
    json!({
        "operator": table.operator.to_string(), "name": operator_name(manifest, table), "table": table.name, "rows": rows,
        "stored_bytes": table.bytes, "spread": spread(table.kind),
    })
}

fn operator_name<'a>(manifest: &'a Manifest, table: &Table) -> &'a str {
    let operator = manifest.program.operators.iter().find(|o| o.id == table.operator);
    operator.map_or("-", |o| o.name.as_str())
}

fn read(args: &StateReadArgs) -> Result<()> {
    let (store, journal) = open(&args.place)?;
    let (_, manifest) = found(&journal, args.from.as_deref())?;
    let table = chosen(manifest, args)?;
    let batches = read_rows(store.as_ref(), manifest, &table)?;
    let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
    let batches = batches.iter().map(|batch| selected(batch, &args.keys)).collect::<Result<Vec<_>, Error>>();
    let batches = batches.map_err(Failure::plain)?;
    match args.output {
        Some(StateFormat::Arrow) => print_arrow(&schema, &batches),
        Some(StateFormat::Table) => print_batches(Some(RowFormat::Table), &schema, &batches),
        Some(StateFormat::Jsonl) => print_batches(Some(RowFormat::Jsonl), &schema, &batches),
        Some(StateFormat::Csv) => print_batches(Some(RowFormat::Csv), &schema, &batches),
        None => print_batches(None, &schema, &batches),
    }
}

/// The table's rows, all with the same columns.
fn read_rows(store: &dyn CheckpointStore, manifest: &Manifest, table: &Table) -> Result<Vec<RecordBatch>> {
    let batches = rows(store, manifest, table).map_err(Failure::plain)?;
    let Some(first) = batches.first().map(RecordBatch::schema) else { return Ok(batches) };
    if let Some(other) = batches.iter().find(|b| b.schema_ref().fields() != first.fields()) {
        let message = format!(
            "table '{}' was written by versions of Rheos that give it different columns: {} and {}",
            table.name,
            names(&first),
            names(other.schema_ref())
        );
        let error = Error::invalid(681, message).with_hint("let the job run until it has merged its state");
        return Err(Failure::plain(error).into());
    }
    Ok(batches)
}

fn names(schema: &Schema) -> String {
    schema.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>().join(", ")
}

/// The table that is asked for.
fn chosen(manifest: &Manifest, args: &StateReadArgs) -> Result<Table, Failure> {
    let not_found = |error: Error| Failure::Plain { error, code: code::NOT_FOUND };
    let all = tables(manifest);
    let ids: BTreeSet<&str> = all.iter().map(|t| t.operator.0.as_str()).collect();
    let wanted = args.operator.as_str();
    let is_named = |id: &str| manifest.program.operators.iter().any(|o| o.id.0 == id && o.name == wanted);
    let matching: Vec<&str> = match ids.contains(wanted) {
        true => vec![wanted],
        false => ids.iter().copied().filter(|id| id.starts_with(wanted) || is_named(id)).collect(),
    };
    let [operator] = matching[..] else {
        let error = match matching.is_empty() {
            true => Error::invalid(680, format!("no operator '{wanted}' keeps state in this checkpoint"))
                .with_hint(did_you_mean(wanted, ids.iter().copied(), "'rheos state list DIR' shows those that do")),
            false => Error::invalid(680, format!("'{wanted}' may be {}", matching.join(" or ")))
                .with_hint("name one of them in full"),
        };
        return Err(not_found(error));
    };
    let of_it: Vec<Table> = all.iter().filter(|t| t.operator.0 == operator).cloned().collect();
    let known = || of_it.iter().map(|t| t.name.as_str());
    if let Some(name) = &args.table {
        let table = of_it.iter().find(|t| t.name == *name).cloned();
        return table.ok_or_else(|| {
            let fallback = format!("it has {}", known().collect::<Vec<_>>().join(", "));
            let error = Error::invalid(680, format!("operator '{operator}' has no table '{name}' in this checkpoint"));
            not_found(error.with_hint(did_you_mean(name, known(), &fallback)))
        });
    }
    let candidates: Vec<&Table> = of_it.iter().filter(|t| t.name != FIRED || of_it.len() == 1).collect();
    match candidates[..] {
        [table] => Ok(table.clone()),
        _ => {
            let names: Vec<&str> = candidates.iter().map(|t| t.name.as_str()).collect();
            let error = Error::invalid(680, format!("operator '{operator}' has {} tables", names.len()))
                .with_hint(format!("say --table {}", names.join(", or --table ")));
            Err(not_found(error))
        }
    }
}

/// The rows that have these values.
fn selected(batch: &RecordBatch, keys: &[(String, String)]) -> Result<RecordBatch, Error> {
    let mut kept: Option<BooleanArray> = None;
    for (name, value) in keys {
        let schema = batch.schema_ref();
        let known = || schema.fields().iter().map(|f| f.name().as_str());
        let Some((at, field)) = schema.column_with_name(name) else {
            let fallback = format!("its columns are {}", names(schema));
            return Err(Error::invalid(682, format!("the table has no column '{name}'")).with_hint(did_you_mean(
                name,
                known(),
                &fallback,
            )));
        };
        let column = batch.column(at);
        let Some(equal) = equal_to(value, column)? else {
            let message = format!("'{value}' is no {}, as column '{name}' holds them", sql_name(field.data_type()));
            return Err(Error::invalid(682, message).with_hint("write the value as '-o jsonl' prints it"));
        };
        kept = Some(match kept {
            Some(kept) => and(&kept, &equal)?,
            None => equal,
        });
    }
    match kept {
        None => Ok(batch.clone()),
        Some(kept) => Ok(filter_record_batch(batch, &kept).map_err(Error::from)?),
    }
}

/// An empty text, where nothing is NULL.
const EMPTY_TEXT: &str = "\"\"";

/// Which rows of a column hold the value that a text stands for; `None` where it is no value of the column's type.
fn equal_to(text: &str, column: &ArrayRef) -> Result<Option<BooleanArray>, Error> {
    use DataType::*;
    match column.data_type() {
        _ if text.is_empty() => Ok(Some(is_null(column)?)),
        // These have no cast from text: values are compared as they are printed.
        List(_) | LargeList(_) | FixedSizeList(..) | Struct(_) | Map(..) => match serde_json::from_str(text) {
            Ok(wanted) => printed_as(&wanted, column).map(Some),
            Err(_) => Ok(None),
        },
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => match is_base64(text) {
            true => printed_as(&Value::from(text), column).map(Some),
            false => Ok(None),
        },
        Utf8 | LargeUtf8 | Utf8View if text == EMPTY_TEXT => equal_cast("", column),
        Float32 | Float64 => match text.parse::<f64>() {
            // As keys the two zeros are one.
            Ok(0.0) => match (equal_cast("0", column)?, equal_cast("-0", column)?) {
                (Some(zero), Some(negative)) => Ok(Some(or(&zero, &negative)?)),
                _ => Ok(None),
            },
            _ => equal_cast(text, column),
        },
        _ => equal_cast(text, column),
    }
}

/// As `equal_to`, for types that a text can be cast to.
fn equal_cast(text: &str, column: &ArrayRef) -> Result<Option<BooleanArray>, Error> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let text: ArrayRef = Arc::new(StringArray::from(vec![text]));
    match cast_with_options(&text, column.data_type(), &options) {
        Ok(value) => Ok(Some(cmp::not_distinct(column, &Scalar::new(value))?)),
        Err(_) => Ok(None),
    }
}

/// Which rows of a column are printed as this JSON.
fn printed_as(wanted: &Value, column: &ArrayRef) -> Result<BooleanArray, Error> {
    let values = ColumnText::try_new(column)?;
    let mut printed = Vec::new();
    let mut is_wanted = |row: usize| {
        printed.clear();
        values.write(row, Style::Json, &mut printed);
        !column.is_null(row) && serde_json::from_slice::<Value>(&printed).is_ok_and(|value| value == *wanted)
    };
    Ok((0..column.len()).map(|row| Some(is_wanted(row))).collect())
}

/// Whether a text may be bytes as they are printed.
fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let is_digit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    text.len().is_multiple_of(4) && text.len() - digits.len() <= 2 && digits.bytes().all(is_digit)
}

fn print_arrow(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<()> {
    let failed = |e: arrow::error::ArrowError| write_failed(std::io::Error::other(e.to_string()));
    let bytes = || -> Result<Vec<u8>, arrow::error::ArrowError> {
        let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
        batches.iter().try_for_each(|batch| writer.write(batch))?;
        writer.into_inner()
    };
    let bytes = bytes().map_err(failed)?;
    let mut out = std::io::stdout().lock();
    out.write_all(&bytes).and_then(|()| out.flush()).map_err(write_failed)
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, Float64Array, Int64Array, ListArray, StructArray};
    use arrow::datatypes::{Field, Int64Type};

    use super::*;

    fn found(text: &str, column: &ArrayRef) -> Option<Vec<bool>> {
        let equal = equal_to(text, column).unwrap();
        equal.map(|equal| equal.iter().map(|is_equal| is_equal == Some(true)).collect())
    }

    #[test]
    fn values_are_found_as_they_are_printed() {
        let bytes: Vec<Option<&[u8]>> = vec![Some(b"hi"), None, Some(b"ho"), Some(b"")];
        let bytes: ArrayRef = Arc::new(BinaryArray::from_opt_vec(bytes));
        assert_eq!(found("aGk=", &bytes), Some(vec![true, false, false, false]));
        assert_eq!(found("", &bytes), Some(vec![false, true, false, false]));
        assert_eq!(found("hi", &bytes), None, "that is no base64");
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("")]));
        assert_eq!(found("a", &texts), Some(vec![true, false, false]));
        assert_eq!(found("", &texts), Some(vec![false, true, false]));
        assert_eq!(found("\"\"", &texts), Some(vec![false, false, true]));
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, 1.5]));
        for zero in ["0", "-0", "0.0", "-0.0"] {
            assert_eq!(found(zero, &floats), Some(vec![true, true, false]), "{zero}");
        }
        assert_eq!(found("1.5", &floats), Some(vec![false, false, true]));
        assert_eq!(found("one", &floats), None);
    }

    #[test]
    fn rows_and_arrays_are_found_as_json() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
        let field = |name: &str, column: &ArrayRef| Arc::new(Field::new(name, column.data_type().clone(), true));
        let rows: ArrayRef = Arc::new(StructArray::from(vec![
            (field("x", &numbers), numbers.clone()),
            (field("y", &texts), texts.clone()),
        ]));
        assert_eq!(found("{\"y\": \"a\", \"x\": 1}", &rows), Some(vec![true, false]));
        assert_eq!(found("{\"x\":2,\"y\":null}", &rows), Some(vec![false, true]));
        assert_eq!(found("(1, a)", &rows), None);
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1), None]), None]);
        let lists: ArrayRef = Arc::new(lists);
        assert_eq!(found("[1, null]", &lists), Some(vec![true, false]));
        assert_eq!(found("null", &lists), Some(vec![false, false]), "NULL is written as nothing");
    }
}
