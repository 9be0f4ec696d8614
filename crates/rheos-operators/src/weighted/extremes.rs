//! `min` and `max` of what is kept as a number, of input that nothing is taken away from. NaN is larger than all others.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, AsArray, PrimitiveArray, downcast_primitive};
use arrow::compute::SortOptions;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field};
use rheos_core::Result;

use super::Accumulate;
use super::columns::Pick;
use super::rows::Rows;
use crate::evaluation::canonical_key;

/// The smallest or largest values of a column without nulls; `None` for other columns, and other picks.
pub(super) fn extremes((data_type, options): &(DataType, SortOptions), pick: Pick) -> Option<Box<dyn Accumulate>> {
    let largest = match pick {
        Pick::Smallest if *options == SortOptions::default() => false,
        Pick::Largest if *options == SortOptions::default() => true,
        _ => return None,
    };
    macro_rules! boxed {
        ($t:ty) => {
            Some(Extremes::<$t>::boxed(data_type, largest))
        };
    }
    downcast_primitive! {
        data_type => (boxed),
        _ => None,
    }
}

/// See the module.
#[derive(Debug)]
struct Extremes<T: ArrowPrimitiveType> {
    data_type: DataType,
    largest: bool,
    values: Vec<T::Native>,
    there: Vec<bool>,
}

impl<T: ArrowPrimitiveType + Debug> Extremes<T> {
    fn boxed(data_type: &DataType, largest: bool) -> Box<dyn Accumulate> {
        Box::new(Self { data_type: data_type.clone(), largest, values: vec![], there: vec![] })
    }

    fn resize(&mut self, slots_end: usize) {
        if self.values.len() < slots_end {
            self.values.resize(slots_end, T::Native::default());
            self.there.resize(slots_end, false);
        }
    }
}

impl<T: ArrowPrimitiveType + Debug> Accumulate for Extremes<T> {
    fn update(&mut self, rows: &Rows) -> Result<()> {
        self.resize(rows.slots_end);
        let column = canonical_key(Arc::clone(&rows.arguments[0]));
        let mask = rows.complete([&column]);
        let new = column.as_primitive::<T>().values();
        let (values, there) = (self.values.as_mut_slice(), self.there.as_mut_slice());
        // One loop for each, so that the comparison is no branch in it.
        match self.largest {
            true => rows.each(mask.as_ref(), |row, slot, _| {
                if !std::mem::replace(&mut there[slot], true) || new[row].is_gt(values[slot]) {
                    values[slot] = new[row];
                }
            }),
            false => rows.each(mask.as_ref(), |row, slot, _| {
                if !std::mem::replace(&mut there[slot], true) || new[row].is_lt(values[slot]) {
                    values[slot] = new[row];
                }
            }),
        }
        Ok(())
    }

    fn evaluate(&mut self, slots: &[u32]) -> Result<ArrayRef> {
        Ok(self.state(slots)?.swap_remove(0))
    }

    fn clear(&mut self, slots: &[u32]) {
        for slot in slots {
            if let Some(there) = self.there.get_mut(*slot as usize) {
                *there = false;
            }
        }
    }

    fn state_fields(&self) -> Vec<Field> {
        vec![Field::new("extreme", self.data_type.clone(), true)]
    }

    fn state(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let value = |slot: &u32| self.there.get(*slot as usize)?.then(|| self.values[*slot as usize]);
        let values: PrimitiveArray<T> = slots.iter().map(value).collect();
        Ok(vec![Arc::new(values.with_data_type(self.data_type.clone()))])
    }

    fn restore(&mut self, state: &[ArrayRef], slots: &[u32], slots_end: usize) -> Result<()> {
        self.resize(slots_end);
        let stored = state[0].as_primitive::<T>();
        for (row, slot) in slots.iter().enumerate() {
            self.there[*slot as usize] = stored.is_valid(row);
            self.values[*slot as usize] = stored.value(row);
        }
        Ok(())
    }

    fn size(&self) -> usize {
        self.values.capacity() * size_of::<T::Native>() + self.there.capacity()
    }
}
