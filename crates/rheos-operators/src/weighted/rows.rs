//! What one call sees of a batch: its arguments, the rows that count for it, the group and the weight of each.

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};

/// See the module. All slices are as long as the batch.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) arguments: &'a [ArrayRef],
    /// The rows that count; never null.
    pub(super) filter: Option<&'a BooleanArray>,
    pub(super) slots: &'a [u32],
    /// `None`: each is 1.
    pub(super) weights: Option<&'a [i64]>,
    /// One more than the largest slot there is.
    pub(super) slots_end: usize,
}

impl<'a> Rows<'a> {
    /// The rows that pass the filter; `None`: all.
    pub(super) fn passed(&self) -> Option<BooleanBuffer> {
        self.filter.map(|filter| filter.values().clone())
    }

    /// The rows that pass the filter and have no null among these columns; `None`: all.
    pub(super) fn complete<'c>(&self, columns: impl IntoIterator<Item = &'c ArrayRef>) -> Option<BooleanBuffer> {
        let valid = columns.into_iter().fold(None, |all, column| {
            let nulls = column.logical_nulls().filter(|nulls| nulls.null_count() > 0);
            NullBuffer::union(all.as_ref(), nulls.as_ref())
        });
        both(self.passed().as_ref(), valid.as_ref().map(NullBuffer::inner))
    }

    /// Calls `add` with the row, the slot and the weight of each row of the mask.
    #[inline]
    pub(super) fn each(&self, mask: Option<&BooleanBuffer>, mut add: impl FnMut(usize, usize, i64)) {
        let slots = self.slots;
        match (mask, self.weights) {
            (None, None) => slots.iter().enumerate().for_each(|(row, slot)| add(row, *slot as usize, 1)),
            (None, Some(weights)) => {
                let rows = slots.iter().zip(weights).enumerate();
                rows.for_each(|(row, (slot, weight))| add(row, *slot as usize, *weight));
            }
            (Some(mask), None) => mask.set_indices().for_each(|row| add(row, slots[row] as usize, 1)),
            (Some(mask), Some(weights)) => {
                mask.set_indices().for_each(|row| add(row, slots[row] as usize, weights[row]));
            }
        }
    }
}

/// The rows of both masks.
pub(super) fn both(a: Option<&BooleanBuffer>, b: Option<&BooleanBuffer>) -> Option<BooleanBuffer> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a & b),
        (a, b) => a.or(b).cloned(),
    }
}
