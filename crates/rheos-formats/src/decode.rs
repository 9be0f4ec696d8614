//! The decoder of text formats: bytes in, batches out.
//!
//! ```text
//!   push(chunk) ──► framer ──► record ──► scanner ──► cells ──(batch full, or no more bytes)──► columns ──► batch
//! ```
//!
//! Rows, faults and counts do not depend on where the chunks were cut. One bad record never costs another.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use rheos_core::letters::DeadLetter;
use rheos_core::{Error, Result};

use crate::bad::{BadKind, BadRecord, BadRows, DecodeError, Fault, FirstSkipped, OnError, looks_like_null};
use crate::cell::{CellKind, Slot, Tape};
use crate::column::{Rows, check_type, decode};
use crate::csv::CsvOptions;
use crate::csv::scan::CsvScanner;
use crate::debezium::DebeziumOptions;
use crate::debezium::changes::Changes;
use crate::debezium::scan::{DebeziumScanner, Scanned, parts};
use crate::frame::{Frame, Framer, Framing, InputRange};
use crate::good_rows::{Place, good_rows, left_out, mark_nulls};
use crate::json::rows::JsonScanner;

/// A format of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextFormat {
    /// See [`crate::csv`].
    Csv(CsvOptions),
    /// See [`crate::json`].
    Json,
    /// Changes, see [`crate::debezium`]: batches have a column of weights.
    Debezium(DebeziumOptions),
}

impl TextFormat {
    /// Whether the first record of an input names its columns.
    pub fn has_header(&self) -> bool {
        matches!(self, TextFormat::Csv(options) if options.header)
    }

    /// Whether every newline ends a record and records stand for themselves, so that an input can be read in byte ranges.
    pub fn is_lines(&self) -> bool {
        !matches!(self, TextFormat::Csv(CsvOptions { multiline: true, .. }) | TextFormat::Debezium(_))
    }

    pub(crate) fn framing(&self) -> Framing {
        match self {
            TextFormat::Csv(o) if o.multiline => Framing::Quoted { delimiter: o.delimiter, quote: o.quote },
            _ => Framing::Lines,
        }
    }
}

/// The limits of a decoder, and what bad records do.
#[derive(Debug, Clone, Copy)]
pub struct DecodeLimits {
    /// Records of a batch, at most: rows, but that an update of a changelog is two.
    pub batch_rows: usize,
    /// Bytes of a record, at most; above is a bad record.
    pub record_bytes_max: usize,
    /// What bad records do.
    pub on_error: OnError,
}

/// One step of a decoder.
#[derive(Debug)]
pub enum Decoded {
    /// Rows: at least one, of at most `batch_rows` records.
    Batch(RecordBatch),
    /// Call `push` or `finish`.
    NeedInput,
    /// The input is at its end.
    End,
}

#[derive(Debug)]
enum Scanner {
    Csv(CsvScanner),
    Json(JsonScanner),
    Debezium(DebeziumScanner),
}

/// See the module.
#[derive(Debug)]
pub struct TextDecoder {
    schema: SchemaRef,
    limits: DecodeLimits,
    framer: Framer,
    scanner: Scanner,
    /// Makes rows of changes, where records are changes.
    changes: Option<Changes>,
    tape: Tape,
    /// The line of each row of the tape, from 0.
    lines: Vec<u64>,
    /// The bytes of each row of the tape, where bad ones are wanted.
    records: Vec<Range<usize>>,
    read: u64,
    skipped: u64,
    first_skipped: FirstSkipped,
    letters: Vec<DeadLetter>,
    /// A bad record behind the rows of the tape, to be reported when those are found to be good.
    pending: Option<Box<BadRecord>>,
}

impl TextDecoder {
    /// A decoder of the `columns` (indices into `declared`, which is the whole table).
    ///
    /// Errors: `Invalid` for a type that text cannot hold.
    pub fn try_new(
        format: &TextFormat,
        declared: &SchemaRef,
        columns: &[usize],
        limits: DecodeLimits,
        range: InputRange,
    ) -> Result<Self> {
        for column in columns {
            let field = declared.field(*column);
            check_type(field.name(), field.data_type())?;
        }
        let schema = Arc::new(declared.project(columns)?);
        let mut width = columns.len();
        let mut slots = Slot::flat(width);
        let mut changes = None;
        let (scanner, quote) = match format {
            TextFormat::Csv(options) => {
                let names: Vec<String> = declared.fields().iter().map(|f| f.name().clone()).collect();
                (Scanner::Csv(CsvScanner::new(options.clone(), &names, columns)), options.quote)
            }
            TextFormat::Json => {
                width = 0;
                slots = Slot::nested(schema.fields(), &mut width);
                (Scanner::Json(JsonScanner::new(schema.fields(), &slots)), b'"')
            }
            TextFormat::Debezium(options) => {
                let parts = parts(schema.fields());
                width = 0;
                slots = Slot::nested(&parts, &mut width);
                let found = changes.insert(Changes::new(Arc::clone(&schema), places(options, columns)?));
                (Scanner::Debezium(DebeziumScanner::new(&parts, &slots, !found.has_key())), b'"')
            }
        };
        Ok(Self {
            tape: Tape::new(slots, width, quote),
            framer: Framer::new(format.framing(), limits.record_bytes_max, range),
            schema,
            limits,
            scanner,
            changes,
            lines: Vec::new(),
            records: Vec::new(),
            read: 0,
            skipped: 0,
            first_skipped: FirstSkipped::default(),
            letters: Vec::new(),
            pending: None,
        })
    }

    /// The columns of the batches.
    pub fn schema(&self) -> &SchemaRef {
        self.changes.as_ref().map_or(&self.schema, Changes::schema)
    }

    /// Tells the names of the columns, for an input that does not begin with its header.
    ///
    /// Errors: `Invalid` where a wanted column is missing.
    pub fn set_header(&mut self, record: &[u8]) -> Result<()> {
        match &mut self.scanner {
            Scanner::Csv(scanner) => scanner.set_header(record),
            Scanner::Json(_) | Scanner::Debezium(_) => Ok(()),
        }
    }

    /// Adds bytes. Call it when `decode` has asked for it.
    pub fn push(&mut self, bytes: &[u8]) {
        self.framer.push(bytes);
    }

    /// [`TextDecoder::push`] of the bytes of `buffer` behind its first `room` bytes, which are not copied as long as the
    /// beginning of a record that waits fits into the room. Gives back a buffer to fill again.
    ///
    /// Panics where `buffer` is shorter than `room`.
    pub fn push_buffer(&mut self, buffer: Vec<u8>, room: usize) -> Vec<u8> {
        self.framer.push_buffer(buffer, room)
    }

    /// The buffer of a decoder that is at its end.
    pub fn take_buffer(&mut self) -> Vec<u8> {
        self.framer.take_buffer()
    }

    /// No bytes follow.
    pub fn finish(&mut self) {
        self.framer.finish();
    }

    /// Where a decoder of the rest begins: behind all records that a batch holds or that were left out. Valid after every
    /// [`Decoded`].
    pub fn rest(&self) -> InputRange {
        self.framer.rest()
    }

    /// Memory of the bytes that wait to be decoded.
    pub fn buffered_bytes(&self) -> usize {
        self.framer.buffered_bytes()
    }

    /// Records that were found since the last call, bad ones among them.
    pub fn take_read(&mut self) -> u64 {
        std::mem::take(&mut self.read)
    }

    /// Bad records under [`OnError::DeadLetter`] since the last call. They stand before [`TextDecoder::rest`]. What waits
    /// here is never more than the bytes that were pushed last, and one record.
    pub fn take_letters(&mut self) -> Vec<DeadLetter> {
        let mut letters = std::mem::take(&mut self.letters);
        // Values are looked at later than the shape of records.
        letters.sort_by_key(|letter| letter.position);
        letters
    }

    /// The rest of the input cannot be read, and why: it is one bad record with the bytes that wait, and the input ends
    /// here. Not for [`OnError::Fail`].
    pub fn abandon(&mut self, reason: &str) {
        let (offset, raw) = self.framer.abandon();
        self.read += 1;
        match self.limits.on_error {
            OnError::DeadLetter => {
                self.letters.push(DeadLetter { position: Some(offset), reason: reason.into(), raw });
            }
            OnError::Skip | OnError::Fail => self.skipped += 1,
        }
    }

    /// Bad records that were left out since the last call.
    pub fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }

    /// The first bad record that was left out, once.
    pub fn take_first_skipped(&mut self) -> Option<Box<BadRecord>> {
        self.first_skipped.take()
    }

    /// The next batch.
    ///
    /// Errors: the first bad record under [`OnError::Fail`], or a header without a wanted column.
    pub fn decode(&mut self) -> Result<Decoded, DecodeError> {
        loop {
            if let Some(record) = self.pending.take() {
                return Err(DecodeError::Record(record));
            }
            let end = self.fill()?;
            if self.tape.rows() > 0
                && let Some(batch) = self.flush()?
            {
                return Ok(Decoded::Batch(batch));
            }
            match end {
                // All rows were bad, or one bad record waits to be reported.
                Filled::Full | Filled::Bad => {}
                Filled::NeedInput => return Ok(Decoded::NeedInput),
                Filled::End => return Ok(Decoded::End),
            }
        }
    }

    /// Scans records until the tape is full.
    fn fill(&mut self) -> Result<Filled, DecodeError> {
        while self.tape.rows() < self.limits.batch_rows {
            let (fault, line, range) = match self.framer.frame() {
                Frame::Record { range, line } => match self.scan(range.clone(), line)? {
                    None => continue,
                    Some(fault) => (fault, line, range),
                },
                Frame::TooLong { range, line } => {
                    let reason = format!("the record is longer than {} bytes", self.limits.record_bytes_max);
                    let fault = Fault::new(BadKind::TooLong, reason, &self.framer.data()[range.clone()]);
                    (Box::new(fault), line, range)
                }
                Frame::NeedInput => return Ok(Filled::NeedInput),
                Frame::End => return Ok(Filled::End),
            };
            self.read += 1;
            let record = || BadRecord { fault: *fault.clone(), column: None, line: line + 1, unit: "line" };
            match self.limits.on_error {
                OnError::DeadLetter => {
                    let letter = self.letter(range, fault.to_string());
                    self.letters.push(letter);
                }
                OnError::Skip => {
                    self.skipped += 1;
                    self.first_skipped.note(record);
                }
                OnError::Fail => {
                    self.pending = Some(Box::new(record()));
                    return Ok(Filled::Bad);
                }
            }
        }
        Ok(Filled::Full)
    }

    /// Adds a record to the tape; gives its fault if it has one.
    fn scan(&mut self, range: Range<usize>, line: u64) -> Result<Option<Box<Fault>>, DecodeError> {
        let data = self.framer.data();
        let (start, mut end) = (range.start, range.end);
        if end > start && data[end - 1] == b'\r' {
            end -= 1;
        }
        let scanned = match &mut self.scanner {
            Scanner::Csv(scanner) => {
                if scanner.awaits_header() {
                    scanner.set_header(&data[start..end])?;
                    return Ok(None);
                }
                if start == end && scanner.fields() != 1 {
                    return Ok(None);
                }
                scanner.scan(data, start, end, self.tape.add_row())
            }
            Scanner::Json(scanner) => {
                if data[start..end].trim_ascii().is_empty() {
                    return Ok(None);
                }
                scanner.scan(data, start, end, self.tape.add_row())
            }
            Scanner::Debezium(scanner) => {
                if data[start..end].trim_ascii().is_empty() {
                    return Ok(None);
                }
                match scanner.scan(data, start, end, self.tape.add_row()) {
                    Ok(Scanned::Nothing) => {
                        self.tape.drop_row();
                        return Ok(None);
                    }
                    Ok(Scanned::Change) => Ok(()),
                    Err(fault) => Err(fault),
                }
            }
        };
        match scanned {
            Ok(()) => {
                self.lines.push(line);
                if self.limits.on_error == OnError::DeadLetter {
                    self.records.push(range);
                }
                Ok(None)
            }
            Err(fault) => {
                self.tape.drop_row();
                Ok(Some(fault))
            }
        }
    }

    fn letter(&self, record: Range<usize>, reason: String) -> DeadLetter {
        let data = &self.framer.data()[record.clone()];
        let raw = data.strip_suffix(b"\r").unwrap_or(data).to_vec();
        DeadLetter { position: Some(self.framer.offset_of(record.start)), reason, raw }
    }

    /// A csv field such as `NA` that does not fit its column gets a hint of its own.
    fn explain_null(&self, bad: &mut BadRows) {
        if let (Scanner::Csv(_), Some((row, column, fault))) = (&self.scanner, &mut bad.first)
            && fault.kind == BadKind::Value
            && looks_like_null(&fault.text)
            && self.tape.column(self.framer.data(), *column).iter().nth(*row).is_some_and(|c| c.kind == CellKind::Plain)
        {
            fault.kind = BadKind::NullText;
        }
    }

    /// The rows of the tape as a batch; `None` if all were bad.
    fn flush(&mut self) -> Result<Option<RecordBatch>, DecodeError> {
        let rows = self.tape.rows();
        self.read += rows as u64;
        let mut bad = BadRows::new(self.limits.on_error);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        let mut changed = None;
        if let Some(changes) = &self.changes {
            let sides = changes.decode(&self.tape, self.framer.data(), &mut bad)?;
            changed = changes.rows(&sides, &bad)?;
        } else {
            for (n, field) in self.schema.fields().iter().enumerate() {
                bad.set_column(n);
                let cells = self.tape.column(self.framer.data(), n);
                let column = decode(&cells, field.data_type(), &mut Rows { owners: None, rows, bad: &mut bad })?;
                mark_nulls(field, &column, &mut bad);
                columns.push(column);
            }
            self.explain_null(&mut bad);
        }
        self.tape.clear();
        for (row, (column, fault)) in bad.take_all() {
            let reason = format!("column '{}': {fault}", self.schema.field(column).name());
            let letter = self.letter(self.records[row].clone(), reason);
            self.letters.push(letter);
        }
        self.records.clear();
        let lines = &self.lines;
        let place = |row: usize| Place { line: lines[row] + 1, unit: "line" };
        let result = match &self.changes {
            Some(_) => left_out(&self.schema, bad, self.limits.on_error, place),
            None => good_rows(&self.schema, columns, rows, bad, self.limits.on_error, place),
        };
        self.lines.clear();
        let good = result?;
        if self.limits.on_error == OnError::Skip {
            self.skipped += good.skipped;
        }
        if let Some(record) = good.first_skipped {
            self.first_skipped.note(|| record);
        }
        Ok(good.batch.or(changed))
    }
}

/// The places of the key among the columns that are read. Errors: `Internal` where it is not read as a whole.
fn places(options: &DebeziumOptions, columns: &[usize]) -> Result<Option<Vec<usize>>> {
    let place = |key: &usize| columns.iter().position(|column| column == key);
    let places = options.key.as_ref().map(|key| key.iter().map(place).collect::<Option<Vec<_>>>());
    match places {
        Some(None) => Err(Error::internal("a column of the primary key is not read")),
        places => Ok(places.flatten()),
    }
}

/// Why filling stopped.
enum Filled {
    Full,
    Bad,
    NeedInput,
    End,
}

/// The first record of an input, without its newline and byte order mark: what `set_header` takes. `None`: `input` ends
/// before the record does. `complete` says that nothing follows `input`.
pub fn first_record(format: &TextFormat, input: &[u8], complete: bool) -> Option<Vec<u8>> {
    let mut framer = Framer::new(format.framing(), usize::MAX, InputRange::default());
    framer.push(input);
    if complete {
        framer.finish();
    }
    match framer.frame() {
        Frame::Record { range, .. } => {
            let record = &framer.data()[range];
            Some(record.strip_suffix(b"\r").unwrap_or(record).to_vec())
        }
        _ => None,
    }
}
