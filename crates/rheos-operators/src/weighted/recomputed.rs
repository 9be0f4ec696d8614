//! Every other function: DataFusion's accumulator over the group's multiset of arguments, anew whenever a group that has changed is
//! asked for. The values come in order, so that there is one answer.

use arrow::array::{ArrayRef, BooleanArray, new_null_array};
use datafusion_expr::{EmitTo, GroupsAccumulator};
use rheos_core::Result;
use rheos_core::operator::CHUNK_ROWS_MAX;

use super::columns::Columns;
use super::values::Values;
use crate::aggregate::AggregateCall;
use crate::evaluation::{coerce, data_error};

/// Functions for which it makes no difference how often a value is there.
const SAME_OF_ONE: [&str; 8] =
    ["min", "max", "any_value", "bit_and", "bit_or", "bool_and", "bool_or", "approx_distinct"];

/// See the module.
#[derive(Debug)]
pub(super) struct Recomputed {
    call: AggregateCall,
    columns: Columns,
    /// Columns of the set in front of those.
    skipped: usize,
    once: bool,
}

impl Recomputed {
    /// `skipped`: so many columns of the set come before the call's.
    pub(super) fn new(call: &AggregateCall, columns: Columns, skipped: usize) -> Self {
        Self { call: call.clone(), columns, skipped, once: Self::counts_once(call) }
    }

    /// Whether it makes no difference how often a value is there.
    pub(super) fn counts_once(call: &AggregateCall) -> bool {
        call.is_distinct() || SAME_OF_ONE.contains(&call.function().name())
    }

    /// The results of some groups.
    pub(super) fn evaluate(&self, set: &Values, lane: usize, slots: &[u32]) -> Result<ArrayRef> {
        let mut accumulator = self.call.accumulator()?;
        self.touch(accumulator.as_mut(), slots.len())?;
        let (mut values, mut groups) = (Vec::with_capacity(CHUNK_ROWS_MAX), Vec::with_capacity(CHUNK_ROWS_MAX));
        for (group, slot) in slots.iter().enumerate() {
            for (value, weight) in set.sorted(*slot, lane) {
                let mut times = if self.once { 1 } else { weight as usize };
                while times > 0 {
                    let part = times.min(CHUNK_ROWS_MAX - values.len());
                    values.extend(std::iter::repeat_n(value, part));
                    groups.extend(std::iter::repeat_n(group, part));
                    times -= part;
                    if values.len() == CHUNK_ROWS_MAX {
                        self.feed(accumulator.as_mut(), set, &values, &groups, slots.len())?;
                        values.clear();
                        groups.clear();
                    }
                }
            }
        }
        self.feed(accumulator.as_mut(), set, &values, &groups, slots.len())?;
        let result = accumulator.evaluate(EmitTo::All).map_err(data_error)?;
        coerce(result, self.call.field().data_type())
    }

    /// Makes the groups exist: one row that does not count. An accumulator that has seen nothing at all may answer 0 for null.
    fn touch(&self, accumulator: &mut dyn GroupsAccumulator, groups: usize) -> Result<()> {
        if groups == 0 {
            return Ok(());
        }
        let nulls: Vec<_> = self.call.input_types().iter().map(|t| new_null_array(t, 1)).collect();
        let none = BooleanArray::from(vec![false]);
        accumulator.update_batch(&nulls, &[0], Some(&none), groups).map_err(data_error)
    }

    fn feed(
        &self,
        accumulator: &mut dyn GroupsAccumulator,
        set: &Values,
        values: &[u32],
        groups: &[usize],
        total: usize,
    ) -> Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        let columns = set.columns(values)?;
        let inputs = self.columns.inputs_from(&columns[self.skipped..], values.len())?;
        accumulator.update_batch(&inputs, groups, None, total).map_err(data_error)
    }
}
