//! Dead letters: records of a table that could not be read or computed with, each with its place, its reason and its bytes.
//!
//! ```text
//!   reader ──► LetterBox ──┐
//!                          ├──► Side node of the graph: the relation `<table>$errors`
//!   operator ── ERRORS ────┘
//! ```
//!
//! Invariant: what a reader has put into its box belongs to the rows before its position, so the engine empties the box
//! before it asks for the position: a record is either read again after a crash, or its letter is in the checkpoint.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{BinaryBuilder, Int64Array, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use xxhash_rust::xxh3::xxh3_64;

use crate::error::Result;
use crate::types::timestamp_ltz;

/// What stands behind a table's name for the relation of its dead letters.
pub const ERRORS_SUFFIX: &str = "$errors";

/// What the names of nodes begin with that write letters which no query reads.
pub const SINK_PREFIX: &str = "letters:";

/// The stable id of the node of such a name: of the name alone. What is staged must be found again wherever the state directory
/// lies by then, and also by a program in which a query reads the letters now.
pub fn sink_id(name: &str) -> String {
    format!("{name}-{:016x}", xxh3_64(name.as_bytes()))
}

/// Bytes of a folder's name that are those of a table's: file systems take 255 at most.
const FOLDER_NAME_BYTES_MAX: usize = 200;

/// The folder of a table's letters, beside those of other tables: its name, with what is no letter, digit, `_` or `-` as
/// `%` and two digits a byte; of a long one its beginning and a number.
pub fn folder_name(table: &str) -> String {
    let mut name = String::new();
    for c in table.chars() {
        if c.is_alphanumeric() || c == '_' || c == '-' {
            name.push(c);
        } else {
            let mut bytes = [0; 4];
            name.extend(c.encode_utf8(&mut bytes).bytes().map(|b| format!("%{b:02X}")));
        }
    }
    if name.len() > FOLDER_NAME_BYTES_MAX {
        name.truncate(name.floor_char_boundary(FOLDER_NAME_BYTES_MAX));
        name.push_str(&format!("-{:016x}", xxh3_64(table.as_bytes())));
    }
    name
}

/// Bytes of letters in a box above which a reader lets the engine empty it.
const BOX_BYTES_MAX: usize = 1 << 20;

/// What a record that cannot be read or computed with does, as its table declares it (`on-error`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// Nothing is declared: it is a dead letter where somebody reads those, else it ends the job.
    #[default]
    Unset,
    /// It ends the job with an error.
    Fail,
    /// It is left out and counted.
    Skip,
    /// It goes to the dead letters of its table.
    DeadLetter,
}

/// A record that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it begins in its split's input: what the connector counts by (bytes of a file, rows of a row group).
    pub position: Option<u64>,
    /// The cause, in words.
    pub reason: String,
    /// Its bytes; of a record that is too long its beginning.
    pub raw: Vec<u8>,
}

/// The letters of one reader, until the engine takes them.
#[derive(Debug, Default)]
pub struct LetterBox {
    letters: Mutex<(Vec<DeadLetter>, usize)>,
}

impl LetterBox {
    /// Adds letters.
    pub fn put(&self, letters: Vec<DeadLetter>) {
        let mut held = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        held.1 += letters.iter().map(|l| l.raw.len() + l.reason.len()).sum::<usize>();
        held.0.extend(letters);
    }

    /// Whether the reader is to give an empty batch, so that the engine looks.
    pub fn is_full(&self) -> bool {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).1 >= BOX_BYTES_MAX
    }

    /// All letters since the last call.
    pub fn take(&self) -> Vec<DeadLetter> {
        std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner)).0
    }
}

/// The columns of `<table>$errors`.
///
/// `table`; `split`: where the record was read, or the id of the operator that could not compute with it; `position` in
/// the split; `received_at`: when, by the clock; `reason`; `raw`: its bytes, or the row as JSON.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("table", DataType::Utf8, false),
        Field::new("split", DataType::Utf8, true),
        Field::new("position", DataType::Int64, true),
        Field::new("received_at", timestamp_ltz(), false),
        Field::new("reason", DataType::Utf8, false),
        Field::new("raw", DataType::Binary, true),
    ]))
}

/// Letters as rows of [`schema`]. `received_ms`: in ms since 1970.
///
/// Errors: `Internal` for what cannot be.
pub fn rows(table: &str, split: &str, received_ms: i64, letters: &[DeadLetter]) -> Result<RecordBatch> {
    let n = letters.len();
    let position = |letter: &DeadLetter| letter.position.and_then(|at| i64::try_from(at).ok());
    let (mut reasons, mut raws) = (StringBuilder::new(), BinaryBuilder::new());
    for letter in letters {
        reasons.append_value(&letter.reason);
        raws.append_value(&letter.raw);
    }
    let received = TimestampMicrosecondArray::from_value(received_ms.saturating_mul(1000), n).with_timezone("UTC");
    Ok(RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(table, n))),
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(split, n))),
            Arc::new(letters.iter().map(position).collect::<Int64Array>()),
            Arc::new(received),
            Arc::new(reasons.finish()),
            Arc::new(raws.finish()),
        ],
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_a_folder_of_its_own() {
        assert_eq!(folder_name("flights_2-ä"), "flights_2-ä");
        assert_eq!(folder_name("../a b%"), "%2E%2E%2Fa%20b%25");
        assert_eq!(folder_name(&"x".repeat(200)), "x".repeat(200));
        let long = ["x", "y"].map(|end| folder_name(&format!("{}{end}", "ä".repeat(300))));
        assert!(long.iter().all(|name| name.len() < 255 && name.starts_with("ää")) && long[0] != long[1], "{long:?}");
    }

    #[test]
    fn letters_become_rows_and_leave_the_box_once() {
        let letter = |at, raw: &[u8]| DeadLetter { position: at, reason: "it is bad".into(), raw: raw.to_vec() };
        let held = LetterBox::default();
        held.put(vec![letter(Some(7), b"\xff"), letter(None, b"")]);
        assert!(!held.is_full());
        let letters = held.take();
        assert!(held.take().is_empty());
        let rows = rows("t", "a.csv", 1, &letters).unwrap();
        assert_eq!((rows.num_rows(), rows.schema()), (2, schema()));
        held.put(vec![letter(None, &vec![0; BOX_BYTES_MAX])]);
        assert!(held.is_full());
    }
}
