//! Functions of DataFusion that keep little of their rows (bits, sketches), over input that nothing is taken away from: an
//! accumulator a group, which rows are added to as they come.
//!
//! Only for accumulators whose `evaluate` and `state` leave them as they are; the tests ask each of them again and again.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Field, FieldRef};
use datafusion_common::ScalarValue;
use datafusion_expr::Accumulator;
use rheos_core::Result;

use super::Accumulate;
use super::rows::Rows;
use crate::aggregate::AggregateCall;
use crate::evaluation::{coerce, data_error};

/// The functions.
const FUNCTIONS: [&str; 7] = [
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
    "bit_and",
    "bit_or",
    "bit_xor",
];

/// See the module.
#[derive(Debug)]
pub(super) struct Incremental {
    call: AggregateCall,
    state_fields: Vec<FieldRef>,
    /// By group; `None`: no row yet.
    groups: Vec<Option<Box<dyn Accumulator>>>,
}

impl Incremental {
    /// `None` for other functions.
    pub(super) fn of(call: &AggregateCall) -> Result<Option<Self>> {
        if !FUNCTIONS.contains(&call.function().name()) || call.is_distinct() {
            return Ok(None);
        }
        Ok(Some(Self { call: call.clone(), state_fields: call.state_fields()?, groups: vec![] }))
    }

    fn create(&self) -> Result<Box<dyn Accumulator>> {
        self.call.expr().create_accumulator().map_err(data_error)
    }

    /// What `f` gives for each of the groups.
    fn of_each<T>(
        &mut self,
        slots: &[u32],
        mut f: impl FnMut(&mut dyn Accumulator) -> datafusion_common::Result<T>,
    ) -> Result<Vec<T>> {
        let mut nothing = self.create()?;
        let each = slots.iter().map(|slot| match self.groups.get_mut(*slot as usize) {
            Some(Some(group)) => f(group.as_mut()),
            _ => f(nothing.as_mut()),
        });
        each.collect::<Result<_, _>>().map_err(data_error)
    }
}

impl Accumulate for Incremental {
    fn update(&mut self, rows: &Rows) -> Result<()> {
        if self.groups.len() < rows.slots_end {
            self.groups.resize_with(rows.slots_end, || None);
        }
        let mut by_group: Vec<(u32, u32)> = Vec::with_capacity(rows.slots.len());
        rows.each(rows.passed().as_ref(), |row, slot, weight| {
            by_group.extend(std::iter::repeat_n((slot as u32, row as u32), weight.max(0) as usize));
        });
        by_group.sort_unstable();
        let indices = UInt32Array::from_iter_values(by_group.iter().map(|(_, row)| *row));
        let columns =
            rows.arguments.iter().map(|column| Ok(take(column, &indices, None)?)).collect::<Result<Vec<_>>>()?;
        let mut start = 0;
        for group in by_group.chunk_by(|(a, _), (b, _)| a == b) {
            let slot = group[0].0 as usize;
            let part: Vec<ArrayRef> = columns.iter().map(|column| column.slice(start, group.len())).collect();
            start += group.len();
            if self.groups[slot].is_none() {
                self.groups[slot] = Some(self.create()?);
            }
            if let Some(accumulator) = &mut self.groups[slot] {
                accumulator.update_batch(&part).map_err(data_error)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, slots: &[u32]) -> Result<ArrayRef> {
        let data_type = self.call.field().data_type().clone();
        let results = self.of_each(slots, |group| group.evaluate())?;
        match results.is_empty() {
            true => Ok(arrow::array::new_empty_array(&data_type)),
            false => coerce(ScalarValue::iter_to_array(results).map_err(data_error)?, &data_type),
        }
    }

    fn clear(&mut self, slots: &[u32]) {
        for slot in slots {
            if let Some(group) = self.groups.get_mut(*slot as usize) {
                *group = None;
            }
        }
    }

    fn state_fields(&self) -> Vec<Field> {
        self.state_fields.iter().map(|field| Field::clone(field).with_nullable(true)).collect()
    }

    fn state(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let states = self.of_each(slots, |group| group.state())?;
        let column = |(at, field): (usize, &FieldRef)| match states.is_empty() {
            true => Ok(arrow::array::new_empty_array(field.data_type())),
            false => {
                let values = states.iter().map(|state| state[at].clone());
                coerce(ScalarValue::iter_to_array(values).map_err(data_error)?, field.data_type())
            }
        };
        self.state_fields.iter().enumerate().map(column).collect()
    }

    fn restore(&mut self, state: &[ArrayRef], slots: &[u32], slots_end: usize) -> Result<()> {
        self.groups.resize_with(self.groups.len().max(slots_end), || None);
        for (row, slot) in slots.iter().enumerate() {
            let mut group = self.create()?;
            let stored: Vec<ArrayRef> = state.iter().map(|column| column.slice(row, 1)).collect();
            group.merge_batch(&stored).map_err(data_error)?;
            self.groups[*slot as usize] = Some(group);
        }
        Ok(())
    }

    fn size(&self) -> usize {
        let groups = self.groups.iter().flatten().map(|group| group.size());
        self.groups.capacity() * size_of::<Option<Box<dyn Accumulator>>>() + groups.sum::<usize>()
    }
}
