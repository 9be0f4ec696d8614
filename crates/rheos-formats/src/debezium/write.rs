//! Writes changes as Debezium does, without an envelope.

use arrow::record_batch::RecordBatch;
use rheos_core::Result;
use rheos_core::change::split;

use crate::changelog::same_key;
use crate::json;

/// Appends the changes of a batch, with or without weights: one line for each time that a row comes or goes. A row that goes
/// directly before one with the same `key` (places of columns) is one line, an update.
pub fn write_rows(batch: &RecordBatch, key: Option<&[usize]>, out: &mut Vec<u8>) -> Result<()> {
    let (rows, weights) = split(batch)?;
    let mut text = vec![];
    json::write::write_rows(&rows, &mut text)?;
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').take(rows.num_rows()).collect();
    let same_key = same_key(&rows, key)?;
    let weight = |row: usize| weights.as_ref().map_or(1, |weights| weights.value(row));
    let mut row = 0;
    while row < lines.len() {
        let next = row + 1;
        let is_update = next < lines.len() && (weight(row), weight(next)) == (-1, 1) && same_key(row, next);
        if is_update {
            write_line(out, Some(lines[row]), Some(lines[next]), b'u');
            row += 2;
            continue;
        }
        for _ in 0..weight(row).unsigned_abs() {
            match weight(row) > 0 {
                true => write_line(out, None, Some(lines[row]), b'c'),
                false => write_line(out, Some(lines[row]), None, b'd'),
            }
        }
        row += 1;
    }
    Ok(())
}

fn write_line(out: &mut Vec<u8>, before: Option<&[u8]>, after: Option<&[u8]>, operation: u8) {
    out.extend_from_slice(b"{\"before\":");
    out.extend_from_slice(before.unwrap_or(b"null"));
    out.extend_from_slice(b",\"after\":");
    out.extend_from_slice(after.unwrap_or(b"null"));
    out.extend_from_slice(b",\"op\":\"");
    out.extend_from_slice(&[operation, b'"', b'}', b'\n']);
}
