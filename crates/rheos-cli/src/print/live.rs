//! A result that changes, drawn in place: the rows that are there, each time over those from before.
//!
//! The rows are kept as they are shown, and how often each is there. At the end all of them are shown; while the job runs, the
//! first ones.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use anyhow::Result;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rheos::change;
use rheos::text::ColumnText;

use super::RowWriter;
use super::table::{printable, write_table};
use crate::report::Failure;

/// Rows that are drawn while the result still changes: about what a terminal has room for.
const LIVE_ROWS_MAX: usize = 20;

/// See the module.
pub(super) struct LiveTable {
    schema: SchemaRef,
    rows: BTreeMap<Row, i64>,
    /// Lines that are on the terminal.
    lines: usize,
    is_drawn: bool,
}

/// The cells of a row, ordered as numbers where they are numbers.
#[derive(PartialEq, Eq)]
struct Row(Vec<String>);

impl Ord for Row {
    fn cmp(&self, other: &Self) -> Ordering {
        let cell = |(a, b): (&String, &String)| match (a.parse::<f64>(), b.parse::<f64>()) {
            (Ok(x), Ok(y)) => x.total_cmp(&y).then_with(|| a.cmp(b)),
            // Numbers first, so that the order is one.
            (x, y) => x.is_err().cmp(&y.is_err()).then_with(|| a.cmp(b)),
        };
        self.0.iter().zip(&other.0).map(cell).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    }
}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl LiveTable {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { schema: change::without_weights(schema), rows: BTreeMap::new(), lines: 0, is_drawn: false }
    }

    fn draw(&mut self, rows_max: usize, out: &mut Vec<u8>) {
        if self.lines > 0 {
            // Up to where the table begins, and away with what is below.
            out.extend_from_slice(format!("\x1b[{}A\x1b[J", self.lines).as_bytes());
        }
        let start = out.len();
        let times = |count: &i64| usize::try_from(*count).unwrap_or_default();
        let all: usize = self.rows.values().map(times).sum();
        let rows = self.rows.iter().flat_map(|(row, count)| std::iter::repeat_n(row.0.clone(), times(count)));
        write_table(&self.schema, rows.take(rows_max).collect(), out);
        if all > rows_max {
            out.extend_from_slice(format!("... and {} more rows\n", all - rows_max).as_bytes());
        }
        self.lines = out[start..].iter().filter(|b| **b == b'\n').count();
        self.is_drawn = true;
    }
}

impl RowWriter for LiveTable {
    fn rows(&mut self, batch: &RecordBatch, _out: &mut Vec<u8>) -> Result<()> {
        let (rows, weights) = change::split(batch).map_err(Failure::plain)?;
        let columns = rows.columns().iter().map(ColumnText::try_new).collect::<rheos::Result<Vec<_>>>();
        let columns = columns.map_err(Failure::plain)?;
        for row in 0..rows.num_rows() {
            let cell = |c: &ColumnText| if c.is_null(row) { "NULL".to_string() } else { printable(c.text(row)) };
            let row_text = Row(columns.iter().map(cell).collect());
            let weight = weights.as_ref().map_or(1, |weights| weights.value(row));
            let count = self.rows.entry(row_text).or_default();
            *count += weight;
        }
        self.rows.retain(|_, count| *count != 0);
        self.is_drawn = false;
        Ok(())
    }

    fn show(&mut self, out: &mut Vec<u8>) {
        if !self.is_drawn {
            self.draw(LIVE_ROWS_MAX, out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.draw(usize::MAX, out);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn changes(rows: &[(i64, i64, i64)]) -> RecordBatch {
        let fields = ["a", "n"].map(|name| Field::new(name, DataType::Int64, true));
        let column =
            |at: fn(&(i64, i64, i64)) -> i64| Arc::new(rows.iter().map(at).collect::<Int64Array>()) as ArrayRef;
        let weights = rows.iter().map(|row| row.2).collect();
        change::weighted(&Arc::new(Schema::new(fields.to_vec())), vec![column(|r| r.0), column(|r| r.1)], weights)
            .unwrap()
    }

    #[test]
    fn the_rows_that_are_there_are_drawn_over_those_from_before() {
        let first = changes(&[(10, 1, 1), (9, 1, 1)]);
        let mut table = LiveTable::new(&first.schema());
        let mut out = vec![];
        table.rows(&first, &mut out).unwrap();
        table.show(&mut out);
        assert_eq!(String::from_utf8(std::mem::take(&mut out)).unwrap(), "  a | n\n----+---\n  9 | 1\n 10 | 1\n");
        table.show(&mut out);
        assert!(out.is_empty(), "nothing has changed");
        table.rows(&changes(&[(9, 1, -1), (10, 1, -1), (10, 2, 1)]), &mut out).unwrap();
        table.end(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "\x1b[4A\x1b[J  a | n\n----+---\n 10 | 2\n");
    }
}
