//! CSV by RFC 4180: header or positions, quoted fields, NULL apart from the empty string.
//!
//! An empty field is NULL, `""` is the empty string. A quote inside an unquoted field is a character like any other (`5" pipe`).

pub(crate) mod scan;
pub mod write;

/// How a csv file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    /// The byte between fields.
    pub delimiter: u8,
    /// The byte around fields.
    pub quote: u8,
    /// Whether the first record names the columns; else they are taken by position.
    pub header: bool,
    /// Another spelling of NULL, unquoted.
    pub null_literal: Option<String>,
    /// Whether quoted fields may hold newlines.
    pub multiline: bool,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { delimiter: b',', quote: b'"', header: true, null_literal: None, multiline: true }
    }
}
