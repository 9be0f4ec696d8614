//! Finds the fields of a csv record.

use memchr::memchr;
use rheos_core::{Error, Result};

use super::CsvOptions;
use crate::bad::{BadKind, Fault};
use crate::cell::{Cell, CellKind};
use crate::names::{find_column, missing_column};

/// Puts the fields of csv records into the columns of a tape.
#[derive(Debug)]
pub(crate) struct CsvScanner {
    options: CsvOptions,
    /// The wanted columns' names, in the order of the tape.
    names: Vec<String>,
    /// (field of the file, column of the tape), by field.
    wanted: Vec<(usize, usize)>,
    /// Fields of a record.
    fields: usize,
    awaits_header: bool,
}

/// What a field's end looks like.
enum FieldEnd {
    /// At this byte: a delimiter or the record's end.
    At(Cell, usize),
    Bad(BadKind, &'static str),
}

impl CsvScanner {
    /// `names` are all declared columns, `columns` the wanted ones.
    pub(crate) fn new(options: CsvOptions, names: &[String], columns: &[usize]) -> Self {
        let wanted = if options.header {
            vec![]
        } else {
            let mut wanted: Vec<_> = columns.iter().enumerate().map(|(tape, field)| (*field, tape)).collect();
            wanted.sort_unstable();
            wanted
        };
        let awaits_header = options.header;
        let chosen = columns.iter().map(|c| names[*c].clone()).collect();
        Self { options, names: chosen, wanted, fields: names.len(), awaits_header }
    }

    pub(crate) fn awaits_header(&self) -> bool {
        self.awaits_header
    }

    /// Fields of a record. Blank lines are passed over unless records have one field, which is NULL then.
    pub(crate) fn fields(&self) -> usize {
        self.fields
    }

    /// Takes the names of the file's columns. Errors: `Invalid` where a wanted column is not among them.
    pub(crate) fn set_header(&mut self, record: &[u8]) -> Result<()> {
        let header = header_names(record, &self.options)?;
        if header.iter().all(String::is_empty) {
            return Err(Error::invalid(205, "the first line is empty, but it should name the columns")
                .with_hint("remove it, or set 'csv.header' = 'false' if no line names the columns"));
        }
        self.fields = header.len();
        self.wanted.clear();
        for (tape, name) in self.names.iter().enumerate() {
            let Some(field) = find_column(name, &header) else {
                let hint = missing_column(name, &header, "the header names");
                return Err(Error::invalid(204, format!("the header has no column '{name}'")).with_hint(hint));
            };
            self.wanted.push((field, tape));
        }
        self.wanted.sort_unstable();
        self.awaits_header = false;
        Ok(())
    }

    /// Fills `cells` with the record `data[start..end]` (without its newline).
    pub(crate) fn scan(&self, data: &[u8], start: usize, end: usize, cells: &mut [Cell]) -> Result<(), Box<Fault>> {
        let delimiter = self.options.delimiter;
        let (mut at, mut field, mut next) = (start, 0, 0);
        loop {
            let (cell, stop) = match self.field(data, at, end) {
                FieldEnd::At(cell, stop) => (cell, stop),
                FieldEnd::Bad(kind, reason) => return Err(Box::new(Fault::new(kind, reason, &data[start..end]))),
            };
            if let Some((wanted, tape)) = self.wanted.get(next)
                && *wanted == field
            {
                cells[*tape] = cell;
                next += 1;
            }
            field += 1;
            if stop == end {
                break;
            }
            at = stop + 1;
            // Behind the last wanted field only the number of fields counts.
            if next == self.wanted.len() && memchr(self.options.quote, &data[at..end]).is_none() {
                field += memchr::memchr_iter(delimiter, &data[at..end]).count() + 1;
                break;
            }
        }
        if field == self.fields {
            return Ok(());
        }
        let noun = if field == 1 { "field" } else { "fields" };
        let reason = format!("the record has {field} {noun} instead of {}", self.fields);
        Err(Box::new(Fault::new(BadKind::Ragged, reason, &data[start..end])))
    }

    /// The field that begins at `at`.
    #[inline]
    fn field(&self, data: &[u8], at: usize, end: usize) -> FieldEnd {
        if at < end && data[at] == self.options.quote {
            return self.quoted_field(data, at + 1, end);
        }
        let stop = find_byte(self.options.delimiter, data, at, end);
        let text = &data[at..stop];
        let is_null = text.is_empty() || self.options.null_literal.as_ref().is_some_and(|n| n.as_bytes() == text);
        FieldEnd::At(if is_null { Cell::NULL } else { Cell::new(at, stop, CellKind::Plain) }, stop)
    }

    fn quoted_field(&self, data: &[u8], start: usize, end: usize) -> FieldEnd {
        let quote = self.options.quote;
        let mut kind = CellKind::Text;
        let mut at = start;
        loop {
            let Some(n) = memchr(quote, &data[at..end]) else {
                return if self.options.multiline {
                    FieldEnd::Bad(BadKind::Syntax, "a quoted field is not closed")
                } else {
                    FieldEnd::Bad(BadKind::Multiline, "a quoted field goes on behind the end of the line")
                };
            };
            let close = at + n;
            if close + 1 < end && data[close + 1] == quote {
                kind = CellKind::CsvEscaped;
                at = close + 2;
                continue;
            }
            if close + 1 < end && data[close + 1] != self.options.delimiter {
                return FieldEnd::Bad(BadKind::Syntax, "there is text between a closing quote and the delimiter");
            }
            return FieldEnd::At(Cell::new(start, close, kind), close + 1);
        }
    }
}

/// The first `byte` in `data[at..end]`, or `end`. Fields are short, so the first bytes are looked at one by one.
#[inline]
fn find_byte(byte: u8, data: &[u8], at: usize, end: usize) -> usize {
    const SHORT: usize = 16;
    let near = (at + SHORT).min(end);
    for (n, b) in data[at..near].iter().enumerate() {
        if *b == byte {
            return at + n;
        }
    }
    memchr(byte, &data[near..end]).map_or(end, |n| near + n)
}

/// The fields of a record as text. Errors: `Invalid` where they are no UTF-8 or a quote is not closed.
pub(crate) fn header_names(record: &[u8], options: &CsvOptions) -> Result<Vec<String>> {
    let record = record.strip_suffix(b"\r").unwrap_or(record);
    let scanner = CsvScanner::new(CsvOptions { header: false, ..options.clone() }, &[], &[]);
    let mut names = vec![];
    let mut at = 0;
    loop {
        match scanner.field(record, at, record.len()) {
            FieldEnd::At(cell, stop) => {
                let text = cell.bytes(record).to_vec();
                let text = String::from_utf8(text).map_err(|_| {
                    Error::invalid(205, "the header is not valid UTF-8").with_hint("check the 'format' of the file")
                })?;
                let quote = char::from(options.quote).to_string();
                names.push(text.replace(&quote.repeat(2), &quote).trim().to_string());
                if stop == record.len() {
                    return Ok(names);
                }
                at = stop + 1;
            }
            FieldEnd::Bad(_, reason) => {
                return Err(Error::invalid(205, format!("the header is broken: {reason}"))
                    .with_hint("set 'csv.header' = 'false' if the first line is data"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(options: CsvOptions, fields: usize, record: &str) -> Result<Vec<(CellKind, String)>, BadKind> {
        let names: Vec<String> = (0..fields).map(|n| n.to_string()).collect();
        let columns: Vec<usize> = (0..fields).collect();
        let scanner = CsvScanner::new(CsvOptions { header: false, ..options }, &names, &columns);
        let mut cells = vec![Cell::NULL; fields];
        let data = record.as_bytes();
        scanner.scan(data, 0, data.len(), &mut cells).map_err(|f| f.kind)?;
        Ok(cells.iter().map(|c| (c.kind, String::from_utf8_lossy(c.bytes(data)).into())).collect())
    }

    #[test]
    fn null_and_the_empty_string_differ() {
        let options = CsvOptions { null_literal: Some("NA".into()), ..CsvOptions::default() };
        let got = scan(options, 5, r#",""," ",NA,"NA""#).unwrap();
        let kinds: Vec<_> = got.iter().map(|g| g.0).collect();
        use CellKind::*;
        assert_eq!(kinds, [Null, Text, Text, Null, Text]);
    }

    #[test]
    fn quotes_delimiters_and_counts() {
        let default = CsvOptions::default;
        let got = scan(default(), 3, r#""a,""b""",5" pipe,"#).unwrap();
        assert_eq!(got[0], (CellKind::CsvEscaped, r#"a,""b"""#.to_string()));
        assert_eq!(got[1].1, "5\" pipe");
        assert_eq!(got[2].0, CellKind::Null);
        assert_eq!(scan(default(), 2, "a"), Err(BadKind::Ragged));
        assert_eq!(scan(default(), 2, "a,b,c"), Err(BadKind::Ragged));
        assert_eq!(scan(default(), 2, "\"a\"x,b"), Err(BadKind::Syntax));
        assert_eq!(scan(default(), 2, "a,\"b"), Err(BadKind::Syntax));
        let lines = CsvOptions { multiline: false, ..default() };
        assert_eq!(scan(lines, 2, "a,\"b"), Err(BadKind::Multiline));
    }

    #[test]
    fn an_empty_first_line_is_no_header() {
        let names = ["a".to_string()];
        let error = CsvScanner::new(CsvOptions::default(), &names, &[0]).set_header(b"\r").unwrap_err();
        assert_eq!(error.code(), "R0205");
        assert!(error.message().contains("the first line is empty"), "{error}");
    }

    #[test]
    fn a_column_that_the_header_lacks_is_named_with_its_nearest() {
        let names = ["origin".to_string(), "carrier".to_string()];
        let mut scanner = CsvScanner::new(CsvOptions::default(), &names, &[0, 1]);
        let error = scanner.set_header(b"orgin,\"carrier\",x\r").unwrap_err();
        assert!(error.message().contains("'origin'"), "{error}");
        assert!(error.hint().unwrap().contains("did you mean 'orgin'? the header names: orgin, carrier, x"), "{error}");
    }
}
