//! Rows as aligned columns, page by page.
//!
//! ```text
//!  origin | window_start        | mean
//! --------+---------------------+------
//!  EWR    | 2013-01-01 05:00:00 | 3.25
//! ```
//!
//! A bounded result of up to 10,000 rows is one page, so its columns are as wide as its widest value. A longer one goes
//! on in pages that are at least as wide as those before; the header is repeated only where the width has changed. An
//! endless result is paged whenever no row comes for a moment.

use anyhow::Result;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width};
use comfy_table::{ContentLineStyle, LineStyle, TableStyle};

use rheos::text::ColumnText;

use super::RowWriter;
use crate::report::Failure;

/// Rows of a page, at most.
const PAGE_ROWS_MAX: usize = 10_000;

/// Rows of a page of an endless result: a fast stream shall not look frozen.
const ENDLESS_PAGE_ROWS_MAX: usize = 1_000;

/// Bytes of a page, at most: rows with large values make shorter pages.
const PAGE_BYTES_MAX: usize = 16 << 20;

const STYLE: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none().junction('|'))
    .header_separator(LineStyle::none().fill('-').junction('+'))
    .content_lines(ContentLineStyle::none().junction('|'));

/// A result on its way into pages.
pub(super) struct TablePages {
    schema: SchemaRef,
    endless: bool,
    page: Vec<Vec<String>>,
    page_bytes: usize,
    widths: Vec<u16>,
    header_shown: bool,
}

impl TablePages {
    pub(super) fn new(schema: &SchemaRef, endless: bool) -> Self {
        Self {
            schema: SchemaRef::clone(schema),
            endless,
            page: Vec::new(),
            page_bytes: 0,
            widths: vec![0; schema.fields().len()],
            header_shown: false,
        }
    }

    fn show_page(&mut self, out: &mut Vec<u8>) {
        if self.widths.is_empty() {
            return;
        }
        let mut table = aligned(&self.schema, self.page.drain(..));
        self.page_bytes = 0;
        let needed = table.column_max_content_widths();
        let widths: Vec<u16> = needed.iter().zip(&self.widths).map(|(a, b)| *a.max(b)).collect();
        table.set_constraints(widths.iter().map(|w| ColumnConstraint::Absolute(Width::Fixed(w.saturating_add(2)))));
        let same = self.header_shown && widths == self.widths;
        for line in table.lines().skip(if same { 2 } else { 0 }) {
            out.extend_from_slice(line.trim_end().as_bytes());
            out.push(b'\n');
        }
        self.widths = widths;
        self.header_shown = true;
    }
}

/// Some rows with their header.
pub(super) fn write_table(schema: &SchemaRef, rows: Vec<Vec<String>>, out: &mut Vec<u8>) {
    let mut table = aligned(schema, rows);
    let widths = table.column_max_content_widths();
    table.set_constraints(widths.iter().map(|w| ColumnConstraint::Absolute(Width::Fixed(w.saturating_add(2)))));
    for line in table.lines() {
        out.extend_from_slice(line.trim_end().as_bytes());
        out.push(b'\n');
    }
}

fn aligned(schema: &SchemaRef, rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(schema.fields().iter().map(|f| Cell::new(printable(f.name().clone()))));
    table.add_rows(rows);
    for (column, field) in table.column_iter_mut().zip(schema.fields()) {
        if is_number(field.data_type()) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

impl RowWriter for TablePages {
    fn rows(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let rows_max = if self.endless { ENDLESS_PAGE_ROWS_MAX } else { PAGE_ROWS_MAX };
        let columns = batch.columns().iter().map(ColumnText::try_new).collect::<rheos::Result<Vec<_>>>();
        let columns = columns.map_err(Failure::plain)?;
        for row in 0..batch.num_rows() {
            let mut cells = Vec::with_capacity(batch.num_columns());
            for column in &columns {
                let text = if column.is_null(row) { "NULL".to_string() } else { printable(column.text(row)) };
                self.page_bytes += text.len();
                cells.push(text);
            }
            self.page.push(cells);
            if self.page.len() >= rows_max || self.page_bytes >= PAGE_BYTES_MAX {
                self.show_page(out);
            }
        }
        Ok(())
    }

    fn show(&mut self, out: &mut Vec<u8>) {
        if self.endless && !self.page.is_empty() {
            self.show_page(out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        // An empty result still shows its columns.
        if !self.page.is_empty() || !self.header_shown {
            self.show_page(out);
        }
    }
}

fn is_number(kind: &DataType) -> bool {
    kind.is_numeric()
}

/// A value on one line: line ends and other control characters, which could also drive the terminal, as escapes.
pub(super) fn printable(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn batch(names: Vec<Option<&str>>) -> RecordBatch {
        let numbers = Int64Array::from_iter_values((0..names.len() as i64).map(|n| n * 10));
        let fields = vec![Field::new("name", DataType::Utf8, true), Field::new("n", DataType::Int64, true)];
        let columns: Vec<arrow::array::ArrayRef> = vec![Arc::new(StringArray::from(names)), Arc::new(numbers)];
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    fn printed(endless: bool, batches: &[RecordBatch]) -> String {
        let mut pages = TablePages::new(&batches[0].schema(), endless);
        let mut out = Vec::new();
        for batch in batches {
            pages.rows(batch, &mut out).unwrap();
            pages.show(&mut out);
        }
        pages.end(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_aligned_and_nulls_are_shown() {
        let want = " name |  n\n------+----\n EWR  |  0\n NULL | 10\n";
        assert_eq!(printed(false, &[batch(vec![Some("EWR"), None])]), want);
    }

    #[test]
    fn a_later_page_repeats_the_header_only_when_it_is_wider() {
        let pages = [batch(vec![Some("EWR")]), batch(vec![Some("JFK")]), batch(vec![Some("longer name")])];
        let text = printed(true, &pages);
        assert_eq!(text.matches("name").count(), 3, "two headers and one value:\n{text}");
        assert_eq!(text.lines().count(), 2 + 1 + 1 + 2 + 1, "{text}");
    }

    #[test]
    fn an_empty_result_shows_its_columns() {
        assert_eq!(printed(false, &[batch(vec![])]).lines().count(), 2);
    }

    #[test]
    fn a_value_cannot_leave_its_line_or_drive_the_terminal() {
        let text = printed(false, &[batch(vec![Some("a\nb\x1b[31m")])]);
        assert!(text.contains("a\\nb\\u{1b}[31m"), "{text}");
    }
}
