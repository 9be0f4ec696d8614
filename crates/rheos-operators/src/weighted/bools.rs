//! `bool_and` and `bool_or`: how many values there are, and how many of them are true.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Field};
use rheos_core::Result;

use super::count::{self, add_weights};
use super::rows::{Rows, both};
use super::{Accumulate, at_slots};

/// See the module.
#[derive(Debug)]
pub(super) struct Bools {
    /// Whether all have to be true; else one is enough.
    all: bool,
    counts: Vec<i64>,
    trues: Vec<i64>,
}

impl Bools {
    pub(super) fn new(all: bool) -> Self {
        Self { all, counts: vec![], trues: vec![] }
    }
}

impl Accumulate for Bools {
    fn update(&mut self, rows: &Rows) -> Result<()> {
        let mask = rows.complete(rows.arguments);
        let is_true = both(mask.as_ref(), Some(rows.arguments[0].as_boolean().values()));
        add_weights(&mut self.counts, rows, mask.as_ref());
        add_weights(&mut self.trues, rows, is_true.as_ref());
        Ok(())
    }

    fn evaluate(&mut self, slots: &[u32]) -> Result<ArrayRef> {
        let groups = at_slots(&self.counts, slots).into_iter().zip(at_slots(&self.trues, slots));
        let result = |(count, trues): (i64, i64)| {
            let result = if self.all { trues >= count } else { trues > 0 };
            (count > 0).then_some(result)
        };
        Ok(Arc::new(groups.map(result).collect::<BooleanArray>()))
    }

    fn clear(&mut self, slots: &[u32]) {
        count::clear(&mut self.counts, slots);
        count::clear(&mut self.trues, slots);
    }

    fn state_fields(&self) -> Vec<Field> {
        ["count", "trues"].map(|name| Field::new(name, DataType::Int64, false)).into()
    }

    fn state(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let column = |counts: &[i64]| Arc::new(Int64Array::from(at_slots(counts, slots))) as ArrayRef;
        Ok(vec![column(&self.counts), column(&self.trues)])
    }

    fn restore(&mut self, state: &[ArrayRef], slots: &[u32], slots_end: usize) -> Result<()> {
        count::restore(&mut self.counts, &state[0], slots, slots_end);
        count::restore(&mut self.trues, &state[1], slots, slots_end);
        Ok(())
    }

    fn size(&self) -> usize {
        (self.counts.capacity() + self.trues.capacity()) * size_of::<i64>()
    }
}
