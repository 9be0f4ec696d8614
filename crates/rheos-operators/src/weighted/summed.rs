//! `sum` and `avg`: exact sums by group, and how many values each is of.

use std::fmt::Debug;

use arrow::array::ArrayRef;
use arrow::array::PrimitiveArray;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, Int64Type};
use rheos_core::Result;
use std::sync::Arc;

use super::count::{self, add_weights};
use super::float_sums::FloatSums;
use super::rows::Rows;
use super::wide_sums::wide_sums;
use super::{Accumulate, at_slots};

/// Sums by group, in a type that does not lose anything.
pub(super) trait Sums: Debug {
    /// Adds the values of the rows of the mask, each as often as it weighs.
    fn add(&mut self, values: &ArrayRef, rows: &Rows, mask: Option<&BooleanBuffer>) -> Result<()>;
    /// The sums of these groups, in the type of the result; null where there are no values.
    fn sums(&self, slots: &[u32], counts: &[i64]) -> Result<ArrayRef>;
    /// The averages of these groups.
    fn averages(&self, slots: &[u32], counts: &[i64]) -> Result<ArrayRef>;
    /// As of [`Accumulate`], like those below.
    fn clear(&mut self, slots: &[u32]);
    fn state_fields(&self) -> Vec<Field>;
    fn state(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>>;
    fn restore(&mut self, state: &[ArrayRef], slots: &[u32], slots_end: usize) -> Result<()>;
    fn size(&self) -> usize;
}

/// What is made of a sum and a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Sum,
    Average,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Summed {
    sums: Box<dyn Sums>,
    counts: Vec<i64>,
    outcome: Outcome,
}

impl Summed {
    /// `None` for values that are not added up here.
    pub(super) fn of(input: &DataType, result: &DataType, outcome: Outcome) -> Option<Self> {
        let sums = match (input, result) {
            (DataType::Float64, DataType::Float64) => Box::new(FloatSums::default()) as Box<dyn Sums>,
            _ => wide_sums(input, result)?,
        };
        Some(Self { sums, counts: vec![], outcome })
    }
}

impl Accumulate for Summed {
    fn update(&mut self, rows: &Rows) -> Result<()> {
        let mask = rows.complete(rows.arguments);
        add_weights(&mut self.counts, rows, mask.as_ref());
        self.sums.add(&rows.arguments[0], rows, mask.as_ref())
    }

    fn evaluate(&mut self, slots: &[u32]) -> Result<ArrayRef> {
        let counts = at_slots(&self.counts, slots);
        match self.outcome {
            Outcome::Sum => self.sums.sums(slots, &counts),
            Outcome::Average => self.sums.averages(slots, &counts),
        }
    }

    fn clear(&mut self, slots: &[u32]) {
        count::clear(&mut self.counts, slots);
        self.sums.clear(slots);
    }

    fn state_fields(&self) -> Vec<Field> {
        let mut fields = self.sums.state_fields();
        fields.push(Field::new("count", DataType::Int64, false));
        fields
    }

    fn state(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut state = self.sums.state(slots)?;
        state.push(Arc::new(PrimitiveArray::<Int64Type>::from(at_slots(&self.counts, slots))));
        Ok(state)
    }

    fn restore(&mut self, state: &[ArrayRef], slots: &[u32], slots_end: usize) -> Result<()> {
        let counts = state.len() - 1;
        count::restore(&mut self.counts, &state[counts], slots, slots_end);
        self.sums.restore(&state[..counts], slots, slots_end)
    }

    fn size(&self) -> usize {
        self.sums.size() + self.counts.capacity() * size_of::<i64>()
    }
}
