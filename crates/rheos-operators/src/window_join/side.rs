//! The rows of one side in a window that fires, and pairs of them.

use arrow::array::{ArrayRef, BooleanBufferBuilder};
use arrow::record_batch::RecordBatch;
use rheos_core::Result;

use super::first_pairs::Rank;
use crate::chunk_queue::chunk_rows;
use crate::joining::Candidates;
use crate::windowed_rows::{coalesce, gather, gather_columns};

/// A row as (batch, row).
pub(crate) type Place = (usize, usize);

/// See the module. Rows are also numbered through, from 0.
pub(crate) struct Side {
    batches: Vec<RecordBatch>,
    /// The number of each batch's first row, and of all rows.
    starts: Vec<usize>,
    matched: BooleanBufferBuilder,
}

impl Side {
    pub(crate) fn new(batches: Vec<RecordBatch>) -> Result<Self> {
        let batches = coalesce(batches)?;
        let mut starts = vec![0];
        let mut rows = 0;
        for batch in &batches {
            rows += batch.num_rows();
            starts.push(rows);
        }
        let mut matched = BooleanBufferBuilder::new(rows);
        matched.append_n(rows, false);
        Ok(Self { batches, starts, matched })
    }

    /// The number of a row.
    pub(crate) fn number(&self, (batch, row): Place) -> usize {
        self.starts[batch] + row
    }

    pub(crate) fn rows(&self) -> usize {
        self.matched.len()
    }

    pub(crate) fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// Rows of this side that make a chunk, by their size.
    pub(crate) fn chunk_rows(&self) -> Option<usize> {
        self.batches.iter().map(chunk_rows).min()
    }

    pub(crate) fn place(&self, number: usize) -> Place {
        let batch = self.starts.partition_point(|start| *start <= number) - 1;
        (batch, number - self.starts[batch])
    }

    pub(crate) fn is_matched(&self, number: usize) -> bool {
        self.matched.get_bit(number)
    }

    pub(crate) fn is_matched_at(&self, place: Place) -> bool {
        self.is_matched(self.number(place))
    }

    /// Notes that these rows have joined something.
    pub(crate) fn mark(&mut self, places: &[Place]) {
        for place in places {
            self.matched.set_bit(self.number(*place), true);
        }
    }

    pub(crate) fn gather(&self, column: usize, places: &[Place]) -> Result<ArrayRef> {
        gather(&self.batches, column, places)
    }

    pub(crate) fn gather_all(&self, columns: usize, places: &[Place]) -> Result<Vec<ArrayRef>> {
        gather_columns(&self.batches, 0..columns, places)
    }
}

/// Pairs of rows: at one index, the row of the left and the row of the right.
#[derive(Default)]
pub(crate) struct Pairs {
    pub(crate) places: [Vec<Place>; 2],
    /// Of each pair, where only the first count; else none.
    pub(crate) ranks: Vec<Rank>,
}

impl Pairs {
    pub(crate) fn len(&self) -> usize {
        self.places[0].len()
    }

    /// Those at whose places `keeps` says so.
    pub(crate) fn retain(&mut self, keeps: impl Fn(usize) -> bool) {
        retain(&mut self.ranks, &keeps);
        self.places.iter_mut().for_each(|places| retain(places, &keeps));
    }
}

fn retain<T>(values: &mut Vec<T>, keeps: impl Fn(usize) -> bool) {
    let mut at = 0;
    values.retain(|_| {
        at += 1;
        keeps(at - 1)
    });
}

/// Pairs, with the rows that they are of.
pub(crate) struct PairsOf<'a>(pub(crate) &'a Pairs, pub(crate) &'a [Side; 2]);

impl Candidates for PairsOf<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn column(&self, side: usize, column: usize) -> Result<ArrayRef> {
        self.1[side].gather(column, &self.0.places[side])
    }

    fn row(&self, side: usize, at: usize) -> Result<Vec<ArrayRef>> {
        let columns = self.1[side].batches().first().map_or(0, RecordBatch::num_columns);
        self.1[side].gather_all(columns, &[self.0.places[side][at]])
    }

    fn number(&self, side: usize, at: usize) -> usize {
        self.1[side].number(self.0.places[side][at])
    }

    fn comes(&self, _at: usize) -> bool {
        true
    }
}
