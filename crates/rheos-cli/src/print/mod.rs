//! Rows on stdout.
//!
//! ```text
//!   Rows ─► table (pages of aligned columns) | jsonl | csv | changelog ─► buffer ─► stdout
//!   Rows that change ─► live (the rows that are there, drawn anew in place) ─► terminal
//! ```
//!
//! Invariant: memory is one page of rows, however many there are; but for a live result, which is kept whole. No row is held back for longer than [`HOLD`], whether
//! the job has nothing more to give or gives rows without a pause, so an endless result shows up row by row and a fast
//! one in large writes.

mod changes;
mod live;
mod table;

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Result;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rheos::change::has_weights;
use rheos::csv::CsvOptions;
use rheos::{ResultRows, Rows, RowsPoll, csv, json};

use crate::args::RowFormat;
use crate::print::live::LiveTable;
use crate::print::table::TablePages;
use crate::program::write_failed;
use crate::progress::Progress;
use crate::report::Failure;

/// How long a row may be held back so that it is written together with others.
const HOLD: Duration = Duration::from_millis(20);

/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 64 << 10;

/// Prints the results of a program, one after another.
pub(crate) struct Printer {
    format: RowFormat,
    endless: bool,
    printed: usize,
}

impl Printer {
    /// A printer for the format that was asked for, or the one that suits stdout.
    pub(crate) fn new(format: Option<RowFormat>, endless: bool) -> Self {
        let suited = if std::io::stdout().is_terminal() { RowFormat::Table } else { RowFormat::Jsonl };
        Self { format: format.unwrap_or(suited), endless, printed: 0 }
    }

    /// Prints a result to its end.
    ///
    /// Errors: a broken pipe, or another failure of stdout.
    pub(crate) fn print(&mut self, mut rows: Rows, progress: &Progress) -> Result<()> {
        let mut out = Out { bytes: Vec::with_capacity(BUFFER_BYTES), progress };
        if self.printed > 0 && matches!(self.format, RowFormat::Table | RowFormat::Csv) {
            out.bytes.push(b'\n');
        }
        self.printed += 1;
        let mut writer: Box<dyn RowWriter> = match self.format {
            RowFormat::Table if has_weights(&rows.schema()) => Box::new(LiveTable::new(&rows.schema())),
            RowFormat::Changelog => changes::writer(&rows, self.endless),
            format => writer(format, &rows.schema(), self.endless),
        };
        writer.begin(&mut out.bytes);
        let mut shown = Instant::now();
        loop {
            let waits = match rows.poll(HOLD).map_err(Failure::plain)? {
                RowsPoll::Batch(batch) => {
                    writer.rows(&batch, &mut out.bytes)?;
                    false
                }
                RowsPoll::Waiting => true,
                RowsPoll::End => {
                    writer.end(&mut out.bytes);
                    return out.write();
                }
            };
            if waits || shown.elapsed() >= HOLD {
                writer.show(&mut out.bytes);
                out.write()?;
                shown = Instant::now();
            } else {
                out.write_if_full()?;
            }
        }
    }
}

/// Which rows can be printed where a result changes. Only a terminal can show one that changes for ever in place.
pub(crate) fn taken(format: Option<RowFormat>) -> ResultRows {
    match format {
        Some(RowFormat::Changelog) => ResultRows::Changes,
        Some(RowFormat::Table) | None if std::io::stdout().is_terminal() => ResultRows::ChangesOfEndless,
        _ => ResultRows::Final,
    }
}

/// Prints rows that are all there, of one schema.
///
/// Errors: a broken pipe, or another failure of stdout.
pub(crate) fn print_batches(format: Option<RowFormat>, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<()> {
    let suited = if std::io::stdout().is_terminal() { RowFormat::Table } else { RowFormat::Jsonl };
    let mut writer = writer(format.unwrap_or(suited), schema, false);
    let mut bytes = Vec::with_capacity(BUFFER_BYTES);
    let mut out = std::io::stdout().lock();
    writer.begin(&mut bytes);
    for batch in batches {
        writer.rows(batch, &mut bytes)?;
        if bytes.len() >= BUFFER_BYTES {
            out.write_all(&bytes).map_err(write_failed)?;
            bytes.clear();
        }
    }
    writer.end(&mut bytes);
    out.write_all(&bytes).and_then(|()| out.flush()).map_err(write_failed)
}

/// Turns rows into bytes.
trait RowWriter {
    /// What stands before the first row.
    fn begin(&mut self, out: &mut Vec<u8>) {
        let _ = out;
    }

    /// Some rows.
    fn rows(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()>;

    /// Show what was held back.
    fn show(&mut self, out: &mut Vec<u8>) {
        let _ = out;
    }

    /// What stands behind the last row.
    fn end(&mut self, out: &mut Vec<u8>) {
        let _ = out;
    }
}

fn writer(format: RowFormat, schema: &SchemaRef, endless: bool) -> Box<dyn RowWriter> {
    match format {
        RowFormat::Table => Box::new(TablePages::new(schema, endless)),
        RowFormat::Jsonl | RowFormat::Changelog => Box::new(JsonLines),
        RowFormat::Csv => Box::new(Csv { options: CsvOptions::default(), schema: SchemaRef::clone(schema) }),
    }
}

struct JsonLines;

impl RowWriter for JsonLines {
    fn rows(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        Ok(json::write::write_rows(batch, out).map_err(Failure::plain)?)
    }
}

struct Csv {
    options: CsvOptions,
    schema: SchemaRef,
}

impl RowWriter for Csv {
    fn begin(&mut self, out: &mut Vec<u8>) {
        csv::write::write_header(&self.schema, &self.options, out);
    }

    fn rows(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        Ok(csv::write::write_rows(batch, &self.options, out).map_err(Failure::plain)?)
    }
}

/// Stdout behind a buffer of our own; the live line makes way while it is written to.
struct Out<'a> {
    bytes: Vec<u8>,
    progress: &'a Progress,
}

impl Out<'_> {
    fn write_if_full(&mut self) -> Result<()> {
        if self.bytes.len() >= BUFFER_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.bytes);
        let written = self.progress.suspend(|| {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(&bytes).and_then(|()| stdout.flush())
        });
        self.bytes = bytes;
        self.bytes.clear();
        written.map_err(write_failed)
    }
}
