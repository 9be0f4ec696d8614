//! Rows as lines on standard output or standard error. Rows that change have one more column, the first, that says how.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use rheos_core::change::{self, Changes};
use rheos_core::connector::{Connector, TableDefinition};
use rheos_core::options::{OptionDef, OptionType, Options};
use rheos_core::sink::{Committable, EpochEnd, Sink, SinkWriter, WriterContext};
use rheos_core::source::Source;
use rheos_core::{Batch, Epoch, Error, ErrorKind, Result};
use rheos_formats::changelog;
use rheos_formats::csv::{self, CsvOptions};
use rheos_formats::json;
use rheos_formats::text::{ColumnText, Style};

use crate::io::strand::{Handler, Strand};

const OPTIONS: &[OptionDef] = &[
    OptionDef::new(
        "format",
        OptionType::OneOf(&["json", "csv", "line"]),
        "json",
        "How a row is printed: as a JSON object, as csv with a header, or as `a | b | NULL`.",
    ),
    OptionDef::new(
        "standard-error",
        OptionType::Bool,
        "false",
        "Whether rows go to standard error instead of standard output.",
    ),
    OptionDef::new("print-identifier", OptionType::Text, "", "A text before every line, to tell several prints apart."),
];

/// The connector `print`.
pub(crate) fn connector() -> Arc<dyn Connector> {
    Arc::new(Print)
}

struct Print;

impl Connector for Print {
    fn name(&self) -> &'static str {
        "print"
    }

    fn summary(&self) -> &'static str {
        "Prints rows as lines, on standard output unless told otherwise."
    }

    fn is_readable(&self) -> bool {
        false
    }

    fn options(&self) -> Vec<(&'static str, &'static [OptionDef])> {
        vec![("General", OPTIONS)]
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>> {
        Err(Error::invalid(218, format!("table '{}' prints rows and can only be written", table.name))
            .with_hint("read from a table with the connector 'filesystem' or 'stdin'"))
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>> {
        let owner = format!("table '{}' (connector 'print')", table.name);
        let options = Options::try_new(&owner, &table.options, &[OPTIONS])?;
        let format = match options.text("format") {
            "csv" => LineFormat::Csv,
            "line" => LineFormat::Line,
            _ => LineFormat::Json,
        };
        let target = if options.bool("standard-error") { Target::Stderr } else { Target::Stdout };
        let prefix = options.get("print-identifier").unwrap_or("").to_string();
        Ok(Arc::new(PrintSink { schema: Arc::clone(&table.schema), format, target, prefix }))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineFormat {
    Json,
    Csv,
    Line,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Stdout,
    Stderr,
}

/// See the module. All rows go through one writer, so that their order and the header hold.
#[derive(Debug)]
struct PrintSink {
    schema: SchemaRef,
    format: LineFormat,
    target: Target,
    prefix: String,
}

impl Sink for PrintSink {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn accepts(&self) -> Changes {
        Changes::Retract
    }

    fn open(&self, ctx: WriterContext) -> Result<Box<dyn SinkWriter>> {
        let out: Box<dyn Write + Send> = match self.target {
            Target::Stdout => Box::new(io::stdout()),
            Target::Stderr => Box::new(io::stderr()),
        };
        let printer =
            Printer { format: self.format, prefix: self.prefix.clone(), header_done: false, key: ctx.key, out };
        Ok(Box::new(PrintWriter(Strand::new(printer, ctx.wake))))
    }

    fn single_writer(&self) -> bool {
        true
    }

    fn describe(&self) -> Vec<(String, String)> {
        let target = if self.target == Target::Stdout { "standard output" } else { "standard error" };
        vec![
            ("connector".into(), "print".into()),
            ("to".into(), target.into()),
            ("format".into(), format!("{:?}", self.format).to_lowercase()),
            ("print-identifier".into(), self.prefix.clone()),
        ]
    }
}

struct PrintWriter(Strand<Printer>);

impl SinkWriter for PrintWriter {
    fn ready(&mut self) -> Result<bool> {
        self.0.ready()
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        self.0.send(batch)
    }

    fn stage(&mut self, _epoch: Epoch, end: EpochEnd) -> Result<Option<Vec<Committable>>> {
        // At the end of the job every line must be out.
        let done = end == EpochEnd::Running || self.0.idle()?;
        Ok(done.then(Vec::new))
    }
}

struct Printer {
    format: LineFormat,
    prefix: String,
    header_done: bool,
    /// The key of rows that change.
    key: Option<Vec<usize>>,
    out: Box<dyn Write + Send>,
}

impl fmt::Debug for Printer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Printer({:?})", self.format)
    }
}

impl Handler for Printer {
    type Message = Batch;

    fn handle(&mut self, batch: Batch) -> Result<()> {
        let mut text = Vec::new();
        let batch = match change::weights(&batch.records) {
            Some(_) => Batch::new(changelog::lines(&batch.records, self.key.as_deref())?, batch.ticket),
            None => batch,
        };
        match self.format {
            LineFormat::Json => json::write::write_rows(&batch.records, &mut text)?,
            LineFormat::Csv => {
                let options = CsvOptions::default();
                if !std::mem::replace(&mut self.header_done, true) {
                    csv::write::write_header(batch.records.schema_ref(), &options, &mut text);
                }
                csv::write::write_rows(&batch.records, &options, &mut text)?;
            }
            LineFormat::Line => write_lines(&batch, &mut text)?,
        }
        let text = if self.prefix.is_empty() { text } else { prefixed(&self.prefix, &text) };
        self.out.write_all(&text).and_then(|()| self.out.flush()).map_err(|e| match e.kind() {
            io::ErrorKind::BrokenPipe => Error::new(ErrorKind::External, 216, "the reader of the output has gone away"),
            _ => Error::io("write to", "the terminal or pipe", &e),
        })
    }
}

fn write_lines(batch: &Batch, out: &mut Vec<u8>) -> Result<()> {
    let columns = batch.records.columns().iter().map(ColumnText::try_new).collect::<Result<Vec<_>>>()?;
    for row in 0..batch.records.num_rows() {
        for (n, column) in columns.iter().enumerate() {
            if n > 0 {
                out.extend_from_slice(b" | ");
            }
            if column.is_null(row) {
                out.extend_from_slice(b"NULL");
            } else {
                column.write(row, Style::Plain, out);
            }
        }
        out.push(b'\n');
    }
    Ok(())
}

fn prefixed(prefix: &str, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 2);
    for line in text.split_inclusive(|b| *b == b'\n') {
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(b"> ");
        out.extend_from_slice(line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use rheos_core::Ticket;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printed(format: LineFormat, prefix: &str) -> String {
        let a: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let b: ArrayRef = Arc::new(StringArray::from(vec!["x", ""]));
        let batch = RecordBatch::try_from_iter_with_nullable([("a", a, true), ("b", b, true)]).unwrap();
        let out = Shared::default();
        let mut printer =
            Printer { format, prefix: prefix.into(), header_done: false, key: None, out: Box::new(out.clone()) };
        printer.handle(Batch::new(batch, Ticket::none())).unwrap();
        let text = out.0.lock().unwrap().clone();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn every_format() {
        assert_eq!(printed(LineFormat::Json, ""), "{\"a\":1,\"b\":\"x\"}\n{\"a\":null,\"b\":\"\"}\n");
        assert_eq!(printed(LineFormat::Csv, ""), "a,b\n1,x\n,\"\"\n");
        assert_eq!(printed(LineFormat::Line, "p"), "p> 1 | x\np> NULL | \n");
    }
}
