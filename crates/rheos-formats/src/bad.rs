//! Records that cannot be decoded: how they are described and counted.
//!
//! Invariant: a bad record never takes its neighbours with it. Under [`OnError::Skip`] it alone is left out and counted;
//! under [`OnError::DeadLetter`] it is left out and given with its reason and its bytes; under [`OnError::Fail`] it is
//! reported with its line, column, reason and text.

use std::collections::BTreeMap;
use std::fmt;

use rheos_core::{Error, ErrorKind};

/// What a record that cannot be decoded does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// It ends the job with an error.
    Fail,
    /// It is left out and counted.
    Skip,
    /// It is left out and given to the dead letters with its bytes.
    DeadLetter,
}

/// Why a record cannot be decoded. Each has its error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadKind {
    /// A value does not fit the declared type (R0301).
    Value,
    /// A csv field does not fit the declared type and looks like a spelling of NULL (R0301).
    NullText,
    /// A csv record has too few or too many fields (R0302).
    Ragged,
    /// Text is not UTF-8 (R0303).
    Utf8,
    /// The record is longer than `record.size-max` (R0304).
    TooLong,
    /// The record does not follow its format (R0305).
    Syntax,
    /// A quoted csv field goes over a line's end although `csv.multiline` is false (R0306).
    Multiline,
    /// The record is no change, or none that can be used (R0307).
    Change,
}

impl BadKind {
    fn code(self) -> u16 {
        match self {
            BadKind::Value | BadKind::NullText => 301,
            BadKind::Ragged => 302,
            BadKind::Utf8 => 303,
            BadKind::TooLong => 304,
            BadKind::Syntax => 305,
            BadKind::Multiline => 306,
            BadKind::Change => 307,
        }
    }

    /// What to try.
    fn advice(self) -> String {
        match self {
            BadKind::Multiline => self.hint().into(),
            _ => format!(
                "{}, or set 'on-error' = 'skip', or keep bad records: a run whose --state-dir is a folder does, and so does a \
                 query of <table>$errors",
                self.hint()
            ),
        }
    }

    fn hint(self) -> &'static str {
        match self {
            BadKind::Value => "declare the column with a type that holds it",
            BadKind::NullText => "set 'csv.null-literal' to this text if it means NULL",
            BadKind::Ragged => "check 'csv.delimiter' and the quoting of the line",
            BadKind::Utf8 => "convert the file to UTF-8",
            BadKind::TooLong => "raise 'record.size-max'",
            BadKind::Syntax => "check the 'format' option against the file",
            BadKind::Multiline => "set 'csv.multiline' = 'true' (the file is then read by one worker)",
            BadKind::Change => {
                "declare PRIMARY KEY (...) NOT ENFORCED, or have the database write whole rows before a change (in PostgreSQL \
                 ALTER TABLE ... REPLICA IDENTITY FULL)"
            }
        }
    }
}

/// Why and with which text a record is bad; where it stands is added later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The kind, which decides code and hint.
    pub kind: BadKind,
    /// The cause, as the end of a sentence.
    pub reason: String,
    /// The offending text, already cut.
    pub text: String,
}

impl Fault {
    /// A fault in `text`, which is cut to 80 characters.
    pub fn new(kind: BadKind, reason: impl Into<String>, text: &[u8]) -> Self {
        Self { kind, reason: reason.into(), text: excerpt(text) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.text.is_empty() { "" } else { ": " };
        write!(f, "{}{colon}{}", self.reason, self.text)
    }
}

/// A record that could not be decoded, with its place in the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRecord {
    /// What is wrong.
    pub fault: Fault,
    /// The column, if one is at fault.
    pub column: Option<String>,
    /// Line, or row for formats without lines, from 1, counted from where the decoder began.
    pub line: u64,
    /// `line` or `row`.
    pub unit: &'static str,
}

impl BadRecord {
    /// The error for users. `lines_before` are the lines of the input before the place where the decoder began.
    pub fn into_error(self, input: &str, lines_before: u64) -> Error {
        Error::new(ErrorKind::User, self.fault.kind.code(), self.message(input, lines_before))
            .with_hint(self.fault.kind.advice())
    }

    /// Place, column, reason and text; see [`BadRecord::into_error`].
    pub fn message(&self, input: &str, lines_before: u64) -> String {
        let column = self.column.as_ref().map(|c| format!(", column '{c}'")).unwrap_or_default();
        format!("{input}, {} {}{column}: {}", self.unit, self.line + lines_before, self.fault)
    }
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message("input", 0))
    }
}

/// Keeps the first record that a decoder leaves out.
#[derive(Debug, Default)]
pub(crate) struct FirstSkipped {
    record: Option<Box<BadRecord>>,
    told: bool,
}

impl FirstSkipped {
    /// `record` is only made where it may be the first.
    pub(crate) fn note(&mut self, record: impl FnOnce() -> BadRecord) {
        if self.told {
            return;
        }
        let record = record();
        if self.record.as_ref().is_none_or(|known| record.line < known.line) {
            self.record = Some(Box::new(record));
        }
    }

    /// The first record, once.
    pub(crate) fn take(&mut self) -> Option<Box<BadRecord>> {
        self.told |= self.record.is_some();
        self.record.take()
    }
}

/// Why a decoder stopped.
#[derive(Debug, Clone)]
pub enum DecodeError {
    /// A bad record under [`OnError::Fail`].
    Record(Box<BadRecord>),
    /// Something else, such as a header without a declared column.
    Other(Error),
}

impl From<Error> for DecodeError {
    fn from(error: Error) -> Self {
        DecodeError::Other(error)
    }
}

impl DecodeError {
    /// The error for users; see [`BadRecord::into_error`]. `lines_before` is only asked where a line is reported.
    pub fn into_error(self, input: &str, lines_before: impl FnOnce() -> u64) -> Error {
        match self {
            DecodeError::Record(record) => record.into_error(input, lines_before()),
            DecodeError::Other(error) => error.context(input),
        }
    }
}

/// Whether other systems write NULL like this.
pub(crate) fn looks_like_null(text: &str) -> bool {
    let spellings = ["na", "n/a", "#n/a", "nan", "nil", "none", "null", "\\n", "-", "--", ".", "?"];
    spellings.iter().any(|s| text.trim().eq_ignore_ascii_case(s))
}

/// The first 80 characters, with what cannot be printed as escapes.
pub(crate) fn excerpt(text: &[u8]) -> String {
    const CHARS_MAX: usize = 80;
    let head = &text[..text.len().min(CHARS_MAX * 4)];
    let head = String::from_utf8_lossy(head);
    let mut out = String::new();
    for (n, c) in head.chars().enumerate() {
        if n == CHARS_MAX {
            out.push('…');
            break;
        }
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// The bad rows of one batch while its columns are decoded.
#[derive(Debug, Default)]
pub(crate) struct BadRows {
    /// Row, column, fault of the first bad row; on ties the first column.
    pub(crate) first: Option<(usize, usize, Fault)>,
    /// Column and fault of every bad row, where all are wanted.
    all: Option<BTreeMap<usize, (usize, Fault)>>,
    flags: Vec<bool>,
    column: usize,
}

impl BadRows {
    /// None yet.
    pub(crate) fn new(on_error: OnError) -> Self {
        Self { all: (on_error == OnError::DeadLetter).then(BTreeMap::new), ..Self::default() }
    }

    /// Every bad row with its column and fault, by row; empty unless all are wanted.
    pub(crate) fn take_all(&mut self) -> BTreeMap<usize, (usize, Fault)> {
        self.all.take().unwrap_or_default()
    }

    /// The faults that follow are those of `column`.
    pub(crate) fn set_column(&mut self, column: usize) {
        self.column = column;
    }

    /// Marks a row of a batch of `rows` rows; the fault is only made where it is the first.
    pub(crate) fn mark(&mut self, row: usize, rows: usize, fault: impl FnOnce() -> Fault) {
        let is_first = self.first.as_ref().is_none_or(|(first, ..)| row < *first);
        let is_new = self.all.is_some() && !self.is_bad(row);
        if is_first || is_new {
            let fault = fault();
            if let Some(all) = self.all.as_mut().filter(|_| is_new) {
                all.insert(row, (self.column, fault.clone()));
            }
            if is_first {
                self.first = Some((row, self.column, fault));
            }
        }
        self.flags.resize(rows.max(self.flags.len()), false);
        self.flags[row] = true;
    }

    /// Which rows are good.
    pub(crate) fn good(&self) -> arrow::array::BooleanArray {
        self.flags.iter().map(|bad| Some(!bad)).collect()
    }

    pub(crate) fn count(&self) -> u64 {
        self.flags.iter().filter(|bad| **bad).count() as u64
    }

    pub(crate) fn is_bad(&self, row: usize) -> bool {
        self.flags.get(row).copied().unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_printable() {
        assert_eq!(excerpt(b"a\tb\xff"), "a\\tb\u{fffd}");
        assert_eq!(excerpt("é".repeat(500).as_bytes()).chars().count(), 81);
    }

    #[test]
    fn the_message_names_place_column_reason_and_text() {
        let fault = Fault::new(BadKind::Value, "it is not a BIGINT", b"abc");
        let record = BadRecord { fault, column: Some("price".into()), line: 2, unit: "line" };
        let error = record.into_error("'x.csv'", 40);
        assert_eq!(error.message(), "'x.csv', line 42, column 'price': it is not a BIGINT: abc");
        assert_eq!((error.code().as_str(), error.kind()), ("R0301", ErrorKind::User));
    }
}
