//! `count`: the weights of the rows without a null among the arguments, added up.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type};
use rheos_core::Result;

use super::rows::Rows;
use super::{Accumulate, at_slots};

/// One count a group.
#[derive(Debug, Default)]
pub(super) struct Count {
    counts: Vec<i64>,
}

impl Accumulate for Count {
    fn update(&mut self, rows: &Rows) -> Result<()> {
        add_weights(&mut self.counts, rows, rows.complete(rows.arguments).as_ref());
        Ok(())
    }

    fn evaluate(&mut self, slots: &[u32]) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from(at_slots(&self.counts, slots))))
    }

    fn clear(&mut self, slots: &[u32]) {
        clear(&mut self.counts, slots);
    }

    fn state_fields(&self) -> Vec<Field> {
        vec![Field::new("count", DataType::Int64, false)]
    }

    fn state(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(Int64Array::from(at_slots(&self.counts, slots)))])
    }

    fn restore(&mut self, state: &[ArrayRef], slots: &[u32], slots_end: usize) -> Result<()> {
        restore(&mut self.counts, &state[0], slots, slots_end);
        Ok(())
    }

    fn size(&self) -> usize {
        self.counts.capacity() * size_of::<i64>()
    }
}

/// Adds the weights of the rows of the mask to the counts of their groups. What overflows on the way, where weights are
/// enormous, comes right again if the count itself fits.
pub(super) fn add_weights(counts: &mut Vec<i64>, rows: &Rows, mask: Option<&arrow::buffer::BooleanBuffer>) {
    if counts.len() < rows.slots_end {
        counts.resize(rows.slots_end, 0);
    }
    let counts = counts.as_mut_slice();
    rows.each(mask, |_, slot, weight| counts[slot] = counts[slot].wrapping_add(weight));
}

/// Sets counts to 0.
pub(super) fn clear(counts: &mut [i64], slots: &[u32]) {
    for slot in slots {
        if let Some(count) = counts.get_mut(*slot as usize) {
            *count = 0;
        }
    }
}

/// Sets counts to those of a state column.
pub(super) fn restore(counts: &mut Vec<i64>, state: &ArrayRef, slots: &[u32], slots_end: usize) {
    if counts.len() < slots_end {
        counts.resize(slots_end, 0);
    }
    for (slot, count) in slots.iter().zip(state.as_primitive::<Int64Type>().values()) {
        counts[*slot as usize] = *count;
    }
}
