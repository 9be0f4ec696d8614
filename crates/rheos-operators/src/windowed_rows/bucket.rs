//! The batches of one window, kept few, and what is done with lists of batches.

use std::borrow::Borrow;

use arrow::array::{Array, ArrayRef, UInt64Array};
use arrow::compute::{concat_batches, interleave, take};
use arrow::record_batch::RecordBatch;
use rheos_core::Result;
use rheos_core::operator::CHUNK_ROWS_MAX;

/// Small batches that may wait at the end of a bucket before they are put together.
const LOOSE_MAX: usize = 32;

/// The rows of one window, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    batches: Vec<RecordBatch>,
    rows: usize,
    /// Batches at the front that an earlier epoch has handed over.
    saved: usize,
    /// Small batches at the end that have not been put together. They may be parts of large ones, and hold these.
    loose: usize,
    /// Rows that the last [`replace`](Self::replace) left.
    kept: usize,
    /// Rows that epochs have handed over, also those that have been [replaced](Self::replace) since.
    stored: usize,
}

impl Bucket {
    pub(crate) fn push(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows += batch.num_rows();
        self.loose = if batch.num_rows() < CHUNK_ROWS_MAX / 2 { self.loose + 1 } else { 0 };
        self.batches.push(batch);
        if self.loose >= LOOSE_MAX {
            let first = self.saved.max(self.batches.len() - self.loose);
            let loose = self.batches.split_off(first);
            self.batches.extend(coalesce(loose)?);
            self.loose = 0;
        }
        Ok(())
    }

    /// Adds rows that are part of a checkpoint. Only before any others.
    pub(crate) fn push_saved(&mut self, batch: RecordBatch) {
        self.rows += batch.num_rows();
        self.stored += batch.num_rows();
        self.batches.push(batch);
        self.saved = self.batches.len();
    }

    /// What has not been handed over; it counts as handed over from now on.
    pub(crate) fn take_unsaved(&mut self) -> Vec<RecordBatch> {
        let unsaved = self.batches[self.saved..].to_vec();
        (self.saved, self.loose) = (self.batches.len(), 0);
        self.stored += unsaved.iter().map(RecordBatch::num_rows).sum::<usize>();
        unsaved
    }

    /// Rows that have been handed over, and how many of them still wait.
    pub(crate) fn stored_rows(&self) -> (usize, usize) {
        (self.stored, self.batches[..self.saved].iter().map(RecordBatch::num_rows).sum())
    }

    /// Nothing counts as handed over any more.
    pub(crate) fn take_back(&mut self) {
        (self.saved, self.stored) = (0, 0);
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Rows that the last [`replace`](Self::replace) left.
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    pub(crate) fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// How many of the [`batches`](Self::batches), from the front, have been handed over.
    pub(crate) fn saved(&self) -> usize {
        self.saved
    }

    /// Puts a part of the rows in the place of all: what of them has been handed over, and what has not.
    pub(crate) fn replace(&mut self, saved: Vec<RecordBatch>, unsaved: Vec<RecordBatch>) {
        self.saved = saved.len();
        self.batches = saved;
        self.batches.extend(unsaved);
        self.rows = self.batches.iter().map(RecordBatch::num_rows).sum();
        (self.kept, self.loose) = (self.rows, 0);
    }

    pub(crate) fn into_batches(self) -> Vec<RecordBatch> {
        self.batches
    }
}

/// Puts neighbours together as long as they fit into a chunk; larger batches stay as they are.
pub(crate) fn coalesce(batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
    let mut whole = vec![];
    let mut parts: Vec<RecordBatch> = vec![];
    let mut rows = 0;
    for batch in batches.into_iter().filter(|b| b.num_rows() > 0) {
        if rows + batch.num_rows() > CHUNK_ROWS_MAX && !parts.is_empty() {
            whole.push(concat(&mut parts)?);
            rows = 0;
        }
        rows += batch.num_rows();
        parts.push(batch);
    }
    if !parts.is_empty() {
        whole.push(concat(&mut parts)?);
    }
    Ok(whole)
}

fn concat(parts: &mut Vec<RecordBatch>) -> Result<RecordBatch> {
    let whole = match parts.as_slice() {
        [only] => only.clone(),
        several => concat_batches(&several[0].schema(), several)?,
    };
    parts.clear();
    Ok(whole)
}

/// The values of one column at these places, as (batch, row).
pub(crate) fn gather(batches: &[RecordBatch], column: usize, places: &[(usize, usize)]) -> Result<ArrayRef> {
    Ok(gather_columns(batches, [column], places)?.remove(0))
}

/// The values of some columns at these places, as (batch, row).
pub(crate) fn gather_columns<B: Borrow<RecordBatch>>(
    batches: &[B],
    columns: impl IntoIterator<Item = usize>,
    places: &[(usize, usize)],
) -> Result<Vec<ArrayRef>> {
    // Places in one and the same batch, as those of a small side or of rows in their order mostly are, cost much less.
    let only = places.first().map(|(batch, _)| *batch).filter(|first| places.iter().all(|(batch, _)| batch == first));
    if let Some(batch) = only {
        let rows = UInt64Array::from_iter_values(places.iter().map(|(_, row)| *row as u64));
        return columns.into_iter().map(|c| Ok(take(batches[batch].borrow().column(c), &rows, None)?)).collect();
    }
    let (used, places) = used(batches.len(), places);
    let values = columns.into_iter().map(|column| {
        let arrays: Vec<&dyn Array> = used.iter().map(|at| batches[*at].borrow().column(column).as_ref()).collect();
        Ok(interleave(&arrays, &places)?)
    });
    values.collect()
}

/// The batches that places are in, and the places by these: what is put together of thousands of batches looks at all of them.
fn used(batches: usize, places: &[(usize, usize)]) -> (Vec<usize>, Vec<(usize, usize)>) {
    let (mut used, mut numbers) = (vec![], vec![usize::MAX; batches]);
    let places = places.iter().map(|(batch, row)| {
        let number = &mut numbers[*batch];
        if *number == usize::MAX {
            *number = used.len();
            used.push(*batch);
        }
        (*number, *row)
    });
    let places = places.collect();
    if used.is_empty() {
        // What has no values is of the columns' types all the same.
        used.extend((batches > 0).then_some(0));
    }
    (used, places)
}

#[cfg(test)]
mod tests {
    use rheos_testkit::{batch, batch_of, rows};

    use super::*;

    #[test]
    fn rows_are_gathered_from_one_batch_and_from_several() {
        let batches =
            [batch! { "a": Int64[1, None, 3], "b": Utf8["x", "y", None] }, batch! { "a": Int64[4], "b": Utf8["z"] }];
        let gathered = |places: &[(usize, usize)]| {
            let mut columns = gather_columns(&batches, [1, 0], places).unwrap().into_iter();
            rows(&[batch_of(vec![("b", columns.next().unwrap()), ("a", columns.next().unwrap())])])
        };
        assert_eq!(gathered(&[(0, 2), (0, 0), (0, 1), (0, 0)]), ["null|3", "x|1", "y|null", "x|1"]);
        assert_eq!(gathered(&[(1, 0), (1, 0)]), ["z|4", "z|4"]);
        assert_eq!(gathered(&[(0, 1), (1, 0), (0, 0)]), ["y|null", "z|4", "x|1"]);
        assert!(gathered(&[]).is_empty());
    }
}
