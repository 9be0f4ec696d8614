//! The rows at the end of the input: as they lie in the store, chunk by chunk, since nobody asked for an order.

use std::sync::Arc;

use arrow::array::{Int64Array, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rheos_core::Result;

use super::{BestRows, Mark};
use crate::evaluation::new_batch;
use crate::keyed::row_store::RowStore;

/// What is on its way out.
#[derive(Debug)]
pub(super) struct LastRows {
    /// Rows, and the slot of each that is there.
    chunks: std::vec::IntoIter<(RecordBatch, Vec<Option<u32>>)>,
    marks: Vec<Mark>,
    /// By row: the number of its first copy. Empty where all have 1, or nobody reads it.
    numbers: Vec<u16>,
    with_numbers: bool,
}

impl BestRows {
    /// Takes all rows out. A checkpoint will know.
    pub(super) fn take_last(&mut self, with_numbers: bool) -> LastRows {
        let mut numbers = vec![];
        if with_numbers && self.limit > 1 {
            numbers = vec![0; self.store.end()];
            for slot in self.slots.iter() {
                let mut number = 1;
                for (row, copies) in self.lists.copies(slot) {
                    numbers[row as usize] = number;
                    number += copies;
                }
            }
        }
        let store = std::mem::replace(&mut self.store, RowStore::new(SchemaRef::clone(&self.schema)));
        let marks = std::mem::take(&mut self.marks);
        self.is_cleared = !self.is_empty();
        self.clear();
        LastRows { chunks: store.into_chunks().into_iter(), marks, numbers, with_numbers }
    }
}

impl LastRows {
    /// The next rows. `None`: that was all.
    pub(super) fn next(&mut self, schema: &SchemaRef) -> Result<Option<RecordBatch>> {
        let Some((rows, slots)) = self.chunks.next() else { return Ok(None) };
        let (mut places, mut numbers) = (Vec::with_capacity(slots.len()), vec![]);
        for (place, slot) in slots.iter().enumerate() {
            let Some(slot) = slot.map(|slot| slot as usize) else { continue };
            for copy in 0..self.marks[slot].listed {
                places.push(place as u32);
                if self.with_numbers {
                    numbers.push(i64::from(self.numbers.get(slot).copied().unwrap_or(1) + copy));
                }
            }
        }
        let is_whole = places.iter().copied().eq(0..rows.num_rows() as u32);
        let rows = if is_whole { rows } else { take_record_batch(&rows, &UInt32Array::from(places))? };
        let count = rows.num_rows();
        let mut columns = rows.columns().to_vec();
        if self.with_numbers {
            columns.push(Arc::new(Int64Array::from(numbers)));
        }
        new_batch(schema, columns, count).map(Some)
    }
}
