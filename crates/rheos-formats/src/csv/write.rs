//! Writes csv records.

use arrow::record_batch::RecordBatch;
use rheos_core::Result;

use super::CsvOptions;
use crate::names::unique_names;
use crate::text::{ColumnText, Style};

/// Appends the header of `schema`, if the options ask for one.
pub fn write_header(schema: &arrow::datatypes::Schema, options: &CsvOptions, out: &mut Vec<u8>) {
    if !options.header {
        return;
    }
    let names = unique_names(schema.fields().iter().map(|f| f.name().as_str()));
    for (n, name) in names.iter().enumerate() {
        if n > 0 {
            out.push(options.delimiter);
        }
        let start = out.len();
        out.extend_from_slice(name.as_bytes());
        quote_from(start, options, out);
    }
    out.push(b'\n');
}

/// Appends the rows of `batch`: NULL as an empty field (or the null literal), the empty string as two quotes.
pub fn write_rows(batch: &RecordBatch, options: &CsvOptions, out: &mut Vec<u8>) -> Result<()> {
    let columns = batch.columns().iter().map(ColumnText::try_new).collect::<Result<Vec<_>>>()?;
    for row in 0..batch.num_rows() {
        for (n, column) in columns.iter().enumerate() {
            if n > 0 {
                out.push(options.delimiter);
            }
            if column.is_null(row) {
                let literal = options.null_literal.as_deref().unwrap_or("");
                out.extend_from_slice(literal.as_bytes());
                continue;
            }
            let start = out.len();
            column.write(row, Style::Plain, out);
            quote_from(start, options, out);
        }
        out.push(b'\n');
    }
    Ok(())
}

/// Puts quotes around the field that begins at `start`, if it needs them.
fn quote_from(start: usize, options: &CsvOptions, out: &mut Vec<u8>) {
    let field = &out[start..];
    let special = |b: &u8| *b == options.delimiter || *b == options.quote || *b == b'\n' || *b == b'\r';
    let is_literal = options.null_literal.as_ref().is_some_and(|n| n.as_bytes() == field);
    // A byte order mark at the beginning of a file would be dropped, so it goes into quotes as well.
    if !field.is_empty() && !field.iter().any(special) && !is_literal && field[0] != 0xef {
        return;
    }
    let field = out.split_off(start);
    out.push(options.quote);
    for b in field {
        if b == options.quote {
            out.push(b);
        }
        out.push(b);
    }
    out.push(options.quote);
}
