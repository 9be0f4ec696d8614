//! Where in the input the values of all groups lie; the input stays in memory until they leave.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, GenericByteArray, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::ByteArrayType;
use datafusion_common::{Result, exec_err};
use datafusion_expr::{EmitTo, GroupsAccumulator};

use super::{Extreme, counts, states};

/// Input and row.
type Place = (u32, u32);

/// No value has come.
const NOWHERE: Place = (u32::MAX, 0);

/// See the module.
#[derive(Debug)]
pub(super) struct Referred<T: ByteArrayType> {
    extreme: Extreme,
    inputs: Vec<GenericByteArray<T>>,
    /// By group.
    places: Vec<Place>,
}

impl<T: ByteArrayType> Referred<T> {
    pub(super) fn new(extreme: Extreme) -> Self {
        Self { extreme, inputs: vec![], places: vec![] }
    }

    fn value(&self, (input, row): Place) -> &[u8] {
        self.inputs[input as usize].value(row as usize).as_ref()
    }

    /// The values of the first groups, which leave.
    fn take(&mut self, groups: usize) -> Result<ArrayRef> {
        let rest = self.places.split_off(groups.min(self.places.len()));
        let places = std::mem::replace(&mut self.places, rest);
        // Behind the inputs stands one that has nothing but a null, if it is needed.
        let nothing = places.contains(&NOWHERE).then(|| new_null_array(&T::DATA_TYPE, 1));
        let inputs = self.inputs.iter().map(|input| input as &dyn Array).chain(nothing.as_deref()).collect::<Vec<_>>();
        let at = |(input, row): &Place| match (*input, *row) {
            NOWHERE => (inputs.len() - 1, 0),
            (input, row) => (input as usize, row as usize),
        };
        let taken = match places.is_empty() {
            true => new_null_array(&T::DATA_TYPE, 0),
            false => interleave(&inputs, &places.iter().map(at).collect::<Vec<_>>())?,
        };
        if self.places.is_empty() {
            self.inputs.clear();
        }
        Ok(taken)
    }
}

impl<T: ByteArrayType> GroupsAccumulator for Referred<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let values = values[0].as_bytes::<T>();
        self.places.resize(total_num_groups.max(self.places.len()), NOWHERE);
        let (Ok(input), Ok(_)) = (u32::try_from(self.inputs.len()), u32::try_from(values.len())) else {
            return exec_err!("min or max of more batches, or more rows in one, than can be counted");
        };
        self.inputs.push(values.clone());
        for (row, group) in group_indices.iter().enumerate() {
            if counts(values, opt_filter, row) {
                let (new, place): (&[u8], Place) = (values.value(row).as_ref(), self.places[*group]);
                if place == NOWHERE || self.extreme.is_beyond(new, self.value(place)) {
                    self.places[*group] = (input, row as u32);
                }
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.update_batch(values, group_indices, None, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        match emit_to {
            EmitTo::All => self.take(self.places.len()),
            EmitTo::First(groups) => self.take(groups),
        }
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit_to)?])
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        states(&values[0], opt_filter)
    }

    fn size(&self) -> usize {
        self.places.len() * size_of::<Place>()
    }
}
