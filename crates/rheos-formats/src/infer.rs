//! The columns of a text file, from a sample of its beginning.
//!
//! Types are tried from narrow to wide: BOOLEAN (`true`, `false`), BIGINT, DOUBLE, DATE, TIMESTAMP, else VARCHAR. Nested JSON becomes
//! ROW and ARRAY. A column without any value is VARCHAR.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use rheos_core::{Error, Result};
use serde_json::Value;

use crate::cell::{Cell, CellKind, Cells};
use crate::csv::CsvOptions;
use crate::csv::scan::{CsvScanner, header_names};
use crate::decode::TextFormat;
use crate::frame::{Frame, Framer, InputRange};
use crate::time::parse_timestamp;
use crate::value::{parse_f64, parse_int};

/// Records that are looked at.
const SAMPLE_RECORDS: usize = 10_000;

/// What a value could be; `Any` is no value yet.
#[derive(Debug, Clone, PartialEq)]
enum Guess {
    Any,
    Bool,
    Int,
    Float,
    Date,
    Timestamp,
    Text,
    List(Box<Guess>),
    Row(Vec<(String, Guess)>),
}

impl Guess {
    fn of_text(text: &[u8]) -> Self {
        let text = text.trim_ascii();
        if text == b"true" || text == b"false" {
            Guess::Bool
        } else if text.iter().all(|b| b.is_ascii_digit() || *b == b'-') && parse_int(text).is_some_and(is_i64) {
            Guess::Int
        } else if text.first().is_some_and(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.'))
            && parse_f64(text).is_some()
        {
            Guess::Float
        } else if parse_timestamp(text).is_some() {
            if text.len() == 10 { Guess::Date } else { Guess::Timestamp }
        } else {
            Guess::Text
        }
    }

    fn of_json(value: &Value) -> Self {
        match value {
            Value::Null => Guess::Any,
            Value::Bool(_) => Guess::Bool,
            Value::Number(n) if n.is_i64() => Guess::Int,
            Value::Number(_) => Guess::Float,
            Value::String(s) => match Guess::of_text(s.as_bytes()) {
                time @ (Guess::Date | Guess::Timestamp) => time,
                _ => Guess::Text,
            },
            Value::Array(items) => Guess::List(Box::new(items.iter().map(Guess::of_json).fold(Guess::Any, Guess::or))),
            Value::Object(map) => Guess::Row(map.iter().map(|(k, v)| (k.clone(), Guess::of_json(v))).collect()),
        }
    }

    /// The narrowest type for values of both.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Guess::Any, g) | (g, Guess::Any) => g,
            (a, b) if a == b => a,
            (Guess::Int, Guess::Float) | (Guess::Float, Guess::Int) => Guess::Float,
            (Guess::Date, Guess::Timestamp) | (Guess::Timestamp, Guess::Date) => Guess::Timestamp,
            (Guess::List(a), Guess::List(b)) => Guess::List(Box::new(a.or(*b))),
            (Guess::Row(mut a), Guess::Row(b)) => {
                for (name, guess) in b {
                    merge(&mut a, name, guess);
                }
                Guess::Row(a)
            }
            _ => Guess::Text,
        }
    }

    fn data_type(&self) -> DataType {
        match self {
            Guess::Bool => DataType::Boolean,
            Guess::Int => DataType::Int64,
            Guess::Float => DataType::Float64,
            Guess::Date => DataType::Date32,
            Guess::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Guess::Any | Guess::Text => TEXT,
            Guess::List(item) => DataType::new_list(item.data_type(), true),
            Guess::Row(fields) => {
                DataType::Struct(fields.iter().map(|(name, g)| Field::new(name, g.data_type(), true)).collect())
            }
        }
    }
}

/// The type of text columns that are found in files.
pub const TEXT: DataType = DataType::Utf8View;

fn is_i64(n: i128) -> bool {
    i64::try_from(n).is_ok()
}

fn merge(columns: &mut Vec<(String, Guess)>, name: String, guess: Guess) {
    match columns.iter_mut().find(|(n, _)| *n == name) {
        Some((_, known)) => *known = std::mem::replace(known, Guess::Any).or(guess),
        None => columns.push((name, guess)),
    }
}

/// The columns of a text input from its beginning. `complete` says that `sample` is all of it.
///
/// Errors: `Invalid` where the sample shows no columns.
pub fn infer_text_schema(format: &TextFormat, sample: &[u8], complete: bool) -> Result<SchemaRef> {
    let mut framer = Framer::new(format.framing(), usize::MAX, InputRange::default());
    framer.push(sample);
    if complete {
        framer.finish();
    }
    let mut records = Vec::new();
    while records.len() < SAMPLE_RECORDS
        && let Frame::Record { range, .. } = framer.frame()
    {
        let end = range.end - usize::from(framer.data()[range.clone()].ends_with(b"\r"));
        if !framer.data()[range.start..end].trim_ascii().is_empty() {
            records.push(range.start..end);
        }
    }
    let data = framer.data();
    let columns = match format {
        TextFormat::Csv(options) => infer_csv(options, data, &records)?,
        TextFormat::Json => infer_json(data, &records),
        // The rows stand inside of the changes, and say less of their types than their table does.
        TextFormat::Debezium(_) => vec![],
    };
    if columns.is_empty() {
        return Err(
            Error::invalid(206, "no column can be found in it").with_hint("declare the columns in CREATE TABLE")
        );
    }
    Ok(Arc::new(Schema::new(
        columns.iter().map(|(name, guess)| Field::new(name, guess.data_type(), true)).collect::<Vec<_>>(),
    )))
}

fn infer_csv(options: &CsvOptions, data: &[u8], records: &[std::ops::Range<usize>]) -> Result<Vec<(String, Guess)>> {
    let Some(first) = records.first() else { return Ok(vec![]) };
    let mut names = header_names(&data[first.clone()], options)?;
    let rows = if options.header {
        &records[1..]
    } else {
        names = (1..=names.len()).map(|n| format!("column{n}")).collect();
        records
    };
    let mut guesses = vec![Guess::Any; names.len()];
    let all: Vec<usize> = (0..names.len()).collect();
    let scanner = CsvScanner::new(CsvOptions { header: false, ..options.clone() }, &names, &all);
    let mut cells = vec![Cell::NULL; names.len()];
    for row in rows {
        cells.fill(Cell::NULL);
        if scanner.scan(data, row.start, row.end, &mut cells).is_err() {
            continue;
        }
        for (cell, guess) in cells.iter().zip(&mut guesses) {
            if cell.kind == CellKind::Null {
                continue;
            }
            let mut scratch = Vec::new();
            let one = [*cell];
            let text = Cells::dense(data, &one).resolve(*cell, &mut scratch).map_or(Guess::Text, Guess::of_text);
            *guess = std::mem::replace(guess, Guess::Any).or(text);
        }
    }
    Ok(names.into_iter().zip(guesses).collect())
}

fn infer_json(data: &[u8], records: &[std::ops::Range<usize>]) -> Vec<(String, Guess)> {
    let mut columns = vec![];
    for record in records {
        let line = &data[record.clone()];
        // The map of serde_json sorts its keys; the order of the columns is that of the line.
        let Ok(values) = serde_json::from_slice::<serde_json::Map<String, Value>>(line) else { continue };
        let mut names = vec![];
        let mut scratch = vec![];
        let _ = crate::json::scan::object(line, 0, line.len(), |key, _| {
            let key = crate::json::scan::key_bytes(line, key, &mut scratch);
            names.push(String::from_utf8_lossy(key).into_owned());
        });
        for name in names {
            if let Some(value) = values.get(&name) {
                merge(&mut columns, name, Guess::of_json(value));
            }
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(format: &TextFormat, sample: &str) -> Vec<(String, DataType)> {
        let schema = infer_text_schema(format, sample.as_bytes(), true).unwrap();
        schema.fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect()
    }

    #[test]
    fn the_narrowest_type_of_all_values() {
        let csv = TextFormat::Csv(CsvOptions::default());
        let got = types(
            &csv,
            "i,f,b,d,t,s,n,z\n1,1,true,2013-01-01,2013-01-01 05:00,a,,07a\n2,2.5,false,2013-01-02,2013-01-02,2,,1\n",
        );
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let want = [DataType::Int64, DataType::Float64, DataType::Boolean, DataType::Date32, time, TEXT, TEXT, TEXT];
        assert_eq!(got.iter().map(|g| g.1.clone()).collect::<Vec<_>>(), want);
        assert_eq!(got[0].0, "i");
    }

    #[test]
    fn json_columns_in_the_order_of_the_lines() {
        let got = types(&TextFormat::Json, "{\"z\":1,\"a\":{\"x\":[1,2.5]}}\n{\"a\":{\"y\":\"t\"},\"z\":null}\n");
        assert_eq!(got[0], ("z".to_string(), DataType::Int64));
        let x = Field::new("x", DataType::new_list(DataType::Float64, true), true);
        assert_eq!(got[1].1, DataType::Struct(vec![x, Field::new("y", TEXT, true)].into()));
    }

    #[test]
    fn nothing_to_infer_from_is_an_error() {
        assert!(infer_text_schema(&TextFormat::Json, b"", true).is_err());
        assert!(infer_text_schema(&TextFormat::Csv(CsvOptions::default()), b"\n\n", true).is_err());
    }
}
