//! How a result changes, a line a change: as aligned columns on a terminal, else as JSON objects.

use std::io::IsTerminal;

use anyhow::Result;
use arrow::record_batch::RecordBatch;
use rheos::{Rows, changelog};

use super::{RowWriter, writer as plain};
use crate::args::RowFormat;
use crate::report::Failure;

/// The writer of a result's changes.
pub(super) fn writer(rows: &Rows, endless: bool) -> Box<dyn RowWriter> {
    let format = if std::io::stdout().is_terminal() { RowFormat::Table } else { RowFormat::Jsonl };
    let lines = plain(format, &changelog::with_op(&rows.schema()), endless);
    Box::new(Changes { lines, key: rows.key().map(<[usize]>::to_vec) })
}

struct Changes {
    lines: Box<dyn RowWriter>,
    key: Option<Vec<usize>>,
}

impl RowWriter for Changes {
    fn begin(&mut self, out: &mut Vec<u8>) {
        self.lines.begin(out);
    }

    fn rows(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let lines = changelog::lines(batch, self.key.as_deref()).map_err(Failure::plain)?;
        self.lines.rows(&lines, out)
    }

    fn show(&mut self, out: &mut Vec<u8>) {
        self.lines.show(out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.lines.end(out);
    }
}
