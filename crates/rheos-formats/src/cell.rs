//! Where the values of a batch stand in the bytes: one cell a projected column and row, before anything is parsed.
//!
//! A scanner fills a [`Tape`] row by row; `column.rs` then decodes it column by column, so that the type is decided once
//! a column and not once a value.

use std::ops::Range;

use arrow::datatypes::{DataType, Fields};

/// How the bytes of a cell are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CellKind {
    /// No value.
    Null,
    /// Bytes as they stand: an unquoted csv field, a JSON number or boolean.
    Plain,
    /// Text between quotes, without escapes.
    Text,
    /// Text between csv quotes with doubled quotes inside.
    CsvEscaped,
    /// A JSON string with backslashes.
    JsonEscaped,
    /// A JSON object or array.
    Json,
    /// A JSON object whose fields have cells of their own: see [`Slot::inside`].
    Object,
}

/// A value's place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) kind: CellKind,
}

impl Cell {
    pub(crate) const NULL: Cell = Cell { start: 0, end: 0, kind: CellKind::Null };

    pub(crate) fn new(start: usize, end: usize, kind: CellKind) -> Self {
        // Buffers stay below 4 GiB: a record's size limit is at most 1 GiB.
        Cell { start: start as u32, end: end as u32, kind }
    }

    /// How many bytes it has, escapes as they stand.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// The bytes between the quotes, escapes as they stand.
    #[inline]
    pub(crate) fn bytes<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        &data[self.start as usize..self.end as usize]
    }
}

/// The place of a column among the cells of a row, and the places of the fields inside of it.
///
/// ```text
///   a BIGINT, r ROW<x, s ROW<y>>, b BIGINT        a  r  b | x  s | y
/// ```
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) at: usize,
    /// Empty where values are not taken apart before they are decoded.
    pub(crate) inside: Vec<Slot>,
    /// The places of everything inside, however deep.
    pub(crate) range: Range<usize>,
}

impl Slot {
    /// Slots of columns whose values are not taken apart.
    pub(crate) fn flat(columns: usize) -> Vec<Slot> {
        (0..columns).map(|at| Slot { at, ..Slot::default() }).collect()
    }

    /// Slots of columns and of all ROW fields inside of them; `next` is the first place that is free.
    pub(crate) fn nested(fields: &Fields, next: &mut usize) -> Vec<Slot> {
        let first = *next;
        *next += fields.len();
        let mut slots = Vec::with_capacity(fields.len());
        for (n, field) in fields.iter().enumerate() {
            let start = *next;
            let inside = match field.data_type() {
                DataType::Struct(children) => Slot::nested(children, next),
                _ => vec![],
            };
            slots.push(Slot { at: first + n, inside, range: start..*next });
        }
        slots
    }
}

/// The cells of a batch, row after row.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    cells: Vec<Cell>,
    slots: Vec<Slot>,
    /// Cells of a row.
    width: usize,
    rows: usize,
    /// The quote character of csv, for doubled quotes.
    pub(crate) quote: u8,
}

impl Tape {
    /// A tape for rows of `width` cells, of which `slots` tell the columns.
    pub(crate) fn new(slots: Vec<Slot>, width: usize, quote: u8) -> Self {
        Self { cells: Vec::new(), slots, width, rows: 0, quote }
    }

    pub(crate) fn clear(&mut self) {
        self.cells.clear();
        self.rows = 0;
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Begins a row of nulls and hands out its cells.
    pub(crate) fn add_row(&mut self) -> &mut [Cell] {
        self.rows += 1;
        let start = self.cells.len();
        self.cells.resize(start + self.width, Cell::NULL);
        &mut self.cells[start..]
    }

    /// Takes back the last row.
    pub(crate) fn drop_row(&mut self) {
        self.rows -= 1;
        self.cells.truncate(self.rows * self.width);
    }

    pub(crate) fn column<'a>(&'a self, data: &'a [u8], column: usize) -> Cells<'a> {
        Cells {
            data,
            cells: &self.cells,
            at: self.slots[column].at,
            inside: &self.slots[column].inside,
            width: self.width,
            rows: self.rows,
            quote: self.quote,
        }
    }
}

/// One column of a tape, with the bytes that it points into.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cells<'a> {
    pub(crate) data: &'a [u8],
    /// The cells of all columns.
    cells: &'a [Cell],
    /// Of this column in a row.
    at: usize,
    /// The slots of the fields inside of it.
    pub(crate) inside: &'a [Slot],
    width: usize,
    pub(crate) rows: usize,
    quote: u8,
}

impl<'a> Cells<'a> {
    /// A column whose cells stand one after another.
    pub(crate) fn dense(data: &'a [u8], cells: &'a [Cell]) -> Self {
        Self { data, cells, at: 0, inside: &[], width: 1, rows: cells.len(), quote: b'"' }
    }

    /// The cells of a field inside of this column.
    pub(crate) fn field(&self, n: usize) -> Cells<'a> {
        Cells { at: self.inside[n].at, inside: &self.inside[n].inside, ..*self }
    }

    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = Cell> + use<'a> {
        let at = self.at;
        self.cells.chunks_exact(self.width.max(1)).take(self.rows).map(move |row| row[at])
    }

    /// The value's bytes with escapes resolved, in `scratch` if there were any. `None`: a broken escape.
    pub(crate) fn resolve<'b>(&self, cell: Cell, scratch: &'b mut Vec<u8>) -> Option<&'b [u8]>
    where
        'a: 'b,
    {
        let raw = cell.bytes(self.data);
        match cell.kind {
            CellKind::CsvEscaped => {
                scratch.clear();
                let mut rest = raw;
                while let Some(n) = memchr::memchr(self.quote, rest) {
                    scratch.extend_from_slice(&rest[..=n]);
                    rest = rest.get(n + 2..).unwrap_or(&[]);
                }
                scratch.extend_from_slice(rest);
                Some(scratch)
            }
            CellKind::JsonEscaped => {
                scratch.clear();
                unescape_json(raw, scratch).then_some(scratch.as_slice())
            }
            _ => Some(raw),
        }
    }
}

/// Resolves the escapes of a JSON string; false if one is broken.
pub(crate) fn unescape_json(mut raw: &[u8], out: &mut Vec<u8>) -> bool {
    while let Some(n) = memchr::memchr(b'\\', raw) {
        out.extend_from_slice(&raw[..n]);
        let Some(c) = raw.get(n + 1) else { return false };
        raw = &raw[n + 2..];
        out.push(match c {
            b'"' | b'\\' | b'/' => *c,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let Some((c, used)) = unicode_escape(raw) else { return false };
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                raw = &raw[used..];
                continue;
            }
            _ => return false,
        });
    }
    out.extend_from_slice(raw);
    true
}

/// The character of `XXXX` or of a surrogate pair `XXXX\uXXXX`, and how many bytes it takes.
fn unicode_escape(raw: &[u8]) -> Option<(char, usize)> {
    let hex = |b: &[u8]| -> Option<u32> { b.iter().try_fold(0, |n, c| Some(n * 16 + char::from(*c).to_digit(16)?)) };
    let first = hex(raw.get(..4)?)?;
    if !(0xD800..0xDC00).contains(&first) {
        return char::from_u32(first).map(|c| (c, 4));
    }
    if raw.get(4..6)? != b"\\u" {
        return None;
    }
    let second = hex(raw.get(6..10)?)?;
    if !(0xDC00..0xE000).contains(&second) {
        return None;
    }
    char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)).map(|c| (c, 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_escapes_are_resolved_and_broken_ones_refused() {
        let resolve = |text: &str| {
            let mut out = vec![];
            unescape_json(text.as_bytes(), &mut out).then(|| String::from_utf8(out).unwrap())
        };
        assert_eq!(resolve(r#"a\"b\\\/\n\u00e9\ud83d\ude00"#).unwrap(), "a\"b\\/\né😀");
        for bad in [r"\", r"\x", r"\u12", r"\u12g4", r"\ud83d", r"\ud83dxx", r"\ud83d\u0041", r"\ude00"] {
            assert_eq!(resolve(bad), None, "{bad}");
        }
    }
}
