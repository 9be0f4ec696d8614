//! Writes JSON lines.

use arrow::record_batch::RecordBatch;
use rheos_core::Result;

use crate::names::unique_names;
use crate::text::{ColumnText, Style, write_json_string};

/// Appends one object a row: keys in column order, a second column of a name as `name_1`.
pub fn write_rows(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
    let columns = batch.columns().iter().map(ColumnText::try_new).collect::<Result<Vec<_>>>()?;
    let names = unique_names(batch.schema_ref().fields().iter().map(|f| f.name().as_str()));
    let keys: Vec<Vec<u8>> = names
        .iter()
        .enumerate()
        .map(|(n, name)| {
            let mut key = vec![if n == 0 { b'{' } else { b',' }];
            write_json_string(name, &mut key);
            key.push(b':');
            key
        })
        .collect();
    for row in 0..batch.num_rows() {
        if columns.is_empty() {
            out.push(b'{');
        }
        for (key, column) in keys.iter().zip(&columns) {
            out.extend_from_slice(key);
            column.write(row, Style::Json, out);
        }
        out.extend_from_slice(b"}\n");
    }
    Ok(())
}
