//! Finds the fields of a csv record.

use memchr::memchr;
use rheos_core::{Error, Result};

use super::CsvOptions;
use crate::bad::{BadKind, Fault};
use crate::cell::{Cell, CellKind};
use crate::names::{find_column, missing_column};
use crate::word::{all_marks, find_byte, first, word};

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

    /// Takes the names of the file's columns. Errors: `Invalid` where a wanted column is not among them, or is there twice.
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
            if let Some(second) = header.iter().skip(field + 1).position(|other| *other == header[field]) {
                let places = (field + 1, field + 2 + second);
                let message =
                    format!("the header names '{}' twice, as columns {} and {}", header[field], places.0, places.1);
                return Err(Error::invalid(205, message).with_hint("give each column of the file a name of its own"));
            }
            self.wanted.push((field, tape));
        }
        self.wanted.sort_unstable();
        self.awaits_header = false;
        Ok(())
    }

    /// Fills `cells`, which are null, with the record `data[start..end]` (without its newline).
    pub(crate) fn scan(&self, data: &[u8], start: usize, end: usize, cells: &mut [Cell]) -> Result<(), Box<Fault>> {
        let fields = match self.scan_unquoted(data, start, end, cells) {
            Some(fields) => fields,
            None => self.scan_any(data, start, end, cells)?,
        };
        if fields == self.fields {
            return Ok(());
        }
        let noun = if fields == 1 { "field" } else { "fields" };
        let reason = format!("the record has {fields} {noun} instead of {}", self.fields);
        Err(Box::new(Fault::new(BadKind::Ragged, reason, &data[start..end])))
    }

    /// The fields of a record without quotes, and their number; `None`: there is a quote, or the buffer ends soon.
    fn scan_unquoted(&self, data: &[u8], start: usize, end: usize, cells: &mut [Cell]) -> Option<usize> {
        let (delimiter, quote) = (self.options.delimiter, self.options.quote);
        let (mut field, mut field_start) = (0, start);
        let mut wanted = self.wanted.iter();
        let mut next = wanted.next();
        let mut at = start;
        while at < end {
            let word = word(data, at)?;
            // What stands behind the record does not count.
            let inside = if end - at < 8 { (1 << (8 * (end - at))) - 1 } else { u64::MAX };
            if all_marks(word, quote) & inside != 0 {
                return None;
            }
            let mut found = all_marks(word, delimiter) & inside;
            while found != 0 {
                let stop = at + first(found);
                found &= found - 1;
                if let Some((_, tape)) = next.filter(|(wanted, _)| *wanted == field) {
                    cells[*tape] = self.unquoted(data, field_start, stop);
                    next = wanted.next();
                }
                field += 1;
                field_start = stop + 1;
            }
            at += 8;
        }
        if let Some((_, tape)) = next.filter(|(wanted, _)| *wanted == field) {
            cells[*tape] = self.unquoted(data, field_start, end);
        }
        Some(field + 1)
    }

    /// The fields of any record, and their number.
    fn scan_any(&self, data: &[u8], start: usize, end: usize, cells: &mut [Cell]) -> Result<usize, Box<Fault>> {
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
        Ok(field)
    }

    /// A field without quotes around it.
    #[inline]
    fn unquoted(&self, data: &[u8], start: usize, end: usize) -> Cell {
        let is_null =
            start == end || self.options.null_literal.as_ref().is_some_and(|n| n.as_bytes() == &data[start..end]);
        if is_null { Cell::NULL } else { Cell::new(start, end, CellKind::Plain) }
    }

    /// The field that begins at `at`.
    #[inline]
    fn field(&self, data: &[u8], at: usize, end: usize) -> FieldEnd {
        if at < end && data[at] == self.options.quote {
            return self.quoted_field(data, at + 1, end);
        }
        let stop = find_byte(self.options.delimiter, data, at, end);
        FieldEnd::At(self.unquoted(data, at, stop), stop)
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
                    Error::invalid(205, "the header is not valid UTF-8").with_hint(
                        "convert the file to UTF-8, as by iconv; if it is no csv at all, correct its 'format'",
                    )
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
    use proptest::prelude::*;

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

    proptest! {
        /// Records without quotes have a way of their own; the other one knows all records.
        #[test]
        fn both_ways_find_the_same_fields(
            record in "[a,é ]{0,40}", behind in "[a,\"\n]{0,20}", fields in 1usize..20,
            columns in prop::collection::vec(0usize..20, 0..5),
        ) {
            let names: Vec<String> = (0..20).map(|n| n.to_string()).collect();
            let options = CsvOptions { header: false, null_literal: Some("aa".into()), ..CsvOptions::default() };
            let mut scanner = CsvScanner::new(options, &names, &columns);
            scanner.fields = fields;
            let data = format!("{record}{behind}");
            let (mut quick, mut slow) = (vec![Cell::NULL; columns.len()], vec![Cell::NULL; columns.len()]);
            let found = scanner.scan_unquoted(data.as_bytes(), 0, record.len(), &mut quick);
            let want = scanner.scan_any(data.as_bytes(), 0, record.len(), &mut slow).unwrap();
            prop_assert!(found.is_some() || data.len() < record.len() + 8);
            if found.is_some() {
                prop_assert_eq!(found, Some(want));
                let place = |cell: &Cell| (cell.start, cell.end, cell.kind);
                let places = |cells: &[Cell]| cells.iter().map(place).collect::<Vec<_>>();
                prop_assert_eq!(places(&quick), places(&slow));
            }
        }
    }

    #[test]
    fn a_column_that_the_header_names_twice_is_refused_where_it_is_read() {
        let options = CsvOptions { header: true, ..CsvOptions::default() };
        let header = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            CsvScanner::new(options.clone(), &names, &[0]).set_header(b"b,a,c,a")
        };
        let error = header(&["a"]).unwrap_err();
        assert_eq!(
            (error.code().as_str(), error.message()),
            ("R0205", "the header names 'a' twice, as columns 2 and 4")
        );
        header(&["c"]).unwrap();
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
