//! Exact sums of integers, decimals and durations, by group: added up in a wider type, as `aggregate::checked_sum` has it.
//! Only what comes out must fit into the type of the result.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowNativeTypeOp, AsArray, Decimal128Array, PrimitiveArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType, Field, Int64Type,
    TimeUnit, UInt64Type, i256,
};
use rheos_core::{Error, Result};

use super::at_slots;
use super::rows::Rows;
use super::summed::Sums;
use crate::aggregate::checked_sum::{Summand, narrow, overflow_error, wide_type};
use crate::aggregate::decimal_average::average;
use crate::evaluation::data_error;

/// Sums of values of type `input`; `None` where there is no wider type to add up in. `result`: the type of what comes out.
pub(super) fn wide_sums(input: &DataType, result: &DataType) -> Option<Box<dyn Sums>> {
    use DataType::{Decimal32, Decimal64, Decimal128, Decimal256, Duration, Int64, UInt64};
    let wide = wide_type(input)?;
    let is_128 = matches!(wide, Decimal128(..));
    Some(match input {
        Int64 => WideSums::<Int64Type, Decimal128Type>::boxed(wide, result),
        UInt64 => WideSums::<UInt64Type, Decimal128Type>::boxed(wide, result),
        Duration(TimeUnit::Second) => WideSums::<DurationSecondType, Decimal128Type>::boxed(wide, result),
        Duration(TimeUnit::Millisecond) => WideSums::<DurationMillisecondType, Decimal128Type>::boxed(wide, result),
        Duration(TimeUnit::Microsecond) => WideSums::<DurationMicrosecondType, Decimal128Type>::boxed(wide, result),
        Duration(TimeUnit::Nanosecond) => WideSums::<DurationNanosecondType, Decimal128Type>::boxed(wide, result),
        Decimal32(..) => WideSums::<Decimal32Type, Decimal128Type>::boxed(wide, result),
        Decimal64(..) => WideSums::<Decimal64Type, Decimal128Type>::boxed(wide, result),
        Decimal128(..) if is_128 => WideSums::<Decimal128Type, Decimal128Type>::boxed(wide, result),
        Decimal128(..) => WideSums::<Decimal128Type, Decimal256Type>::boxed(wide, result),
        Decimal256(..) => WideSums::<Decimal256Type, Decimal256Type>::boxed(wide, result),
        _ => return None,
    })
}

/// Sums of `T`, added up as `W`.
#[derive(Debug)]
struct WideSums<T: ArrowPrimitiveType, W: DecimalType> {
    sums: Vec<W::Native>,
    wide: DataType,
    result: DataType,
    input: PhantomData<fn(T)>,
}

/// A type in which sums are added up.
trait Wide: Copy + ArrowNativeTypeOp {
    fn from_weight(weight: i64) -> Self;
    fn widened(self) -> i256;
}

impl Wide for i128 {
    fn from_weight(weight: i64) -> Self {
        weight.into()
    }

    fn widened(self) -> i256 {
        i256::from_i128(self)
    }
}

impl Wide for i256 {
    fn from_weight(weight: i64) -> Self {
        i256::from_i128(weight.into())
    }

    fn widened(self) -> i256 {
        self
    }
}

impl<T, W> WideSums<T, W>
where
    T: ArrowPrimitiveType + Debug,
    T::Native: Summand<W::Native>,
    W: DecimalType + Debug,
    W::Native: Wide,
{
    fn boxed(wide: DataType, result: &DataType) -> Box<dyn Sums> {
        Box::new(Self { sums: vec![], wide, result: result.clone(), input: PhantomData })
    }

    fn resize(&mut self, slots_end: usize) {
        if self.sums.len() < slots_end {
            self.sums.resize(slots_end, W::Native::ZERO);
        }
    }
}

impl<T, W> Sums for WideSums<T, W>
where
    T: ArrowPrimitiveType + Debug,
    T::Native: Summand<W::Native>,
    W: DecimalType + Debug,
    W::Native: Wide,
{
    fn add(&mut self, values: &ArrayRef, rows: &Rows, mask: Option<&BooleanBuffer>) -> Result<()> {
        self.resize(rows.slots_end);
        let values = values.as_primitive::<T>().values();
        let sums = self.sums.as_mut_slice();
        let mut overflow = false;
        match rows.weights {
            None => rows.each(mask, |row, slot, _| match sums[slot].add_checked(values[row].widen()) {
                Ok(sum) => sums[slot] = sum,
                Err(_) => overflow = true,
            }),
            Some(_) => rows.each(mask, |row, slot, weight| {
                let value = values[row].widen().mul_checked(W::Native::from_weight(weight));
                match value.and_then(|value| sums[slot].add_checked(value)) {
                    Ok(sum) => sums[slot] = sum,
                    Err(_) => overflow = true,
                }
            }),
        }
        if overflow { overflow_error(&self.result, "the sum").map_err(data_error) } else { Ok(()) }
    }

    fn sums(&self, slots: &[u32], counts: &[i64]) -> Result<ArrayRef> {
        let sum = |(slot, count): (&u32, &i64)| match *count > 0 {
            true => narrow::<T, W>(self.sums[*slot as usize], &self.result).map(Some),
            false => Ok(None),
        };
        let sums = slots.iter().zip(counts).map(sum).collect::<Result<Vec<_>, _>>().map_err(data_error)?;
        Ok(Arc::new(sums.into_iter().collect::<PrimitiveArray<T>>().with_data_type(self.result.clone())))
    }

    fn averages(&self, slots: &[u32], counts: &[i64]) -> Result<ArrayRef> {
        let each =
            slots.iter().zip(counts).map(|(slot, count)| (*count > 0).then(|| (self.sums[*slot as usize], *count)));
        match (&self.result, &self.wide) {
            (DataType::Decimal128(p, s), DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale)) => {
                let of = |(sum, count): (W::Native, i64)| average((sum.widened(), *scale), count.into(), (*p, *s));
                let averages = each.map(|group| group.map(of).transpose()).collect::<Result<Decimal128Array, _>>();
                Ok(Arc::new(averages.map_err(data_error)?.with_precision_and_scale(*p, *s)?))
            }
            // Durations: without the fraction. An average lies between its values, so it fits.
            (DataType::Duration(_), _) => {
                let of =
                    |(sum, count): (W::Native, i64)| T::Native::narrow(sum.div_wrapping(W::Native::from_weight(count)));
                let averages = each.map(|group| group.and_then(of)).collect::<PrimitiveArray<T>>();
                Ok(Arc::new(averages.with_data_type(self.result.clone())))
            }
            (other, _) => Err(Error::internal(format!("there is no average of type {other}"))),
        }
    }

    fn clear(&mut self, slots: &[u32]) {
        for slot in slots {
            if let Some(sum) = self.sums.get_mut(*slot as usize) {
                *sum = W::Native::ZERO;
            }
        }
    }

    fn state_fields(&self) -> Vec<Field> {
        vec![Field::new("sum", self.wide.clone(), false)]
    }

    fn state(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let sums = PrimitiveArray::<W>::new(at_slots(&self.sums, slots).into(), None);
        Ok(vec![Arc::new(sums.with_data_type(self.wide.clone()))])
    }

    fn restore(&mut self, state: &[ArrayRef], slots: &[u32], slots_end: usize) -> Result<()> {
        self.resize(slots_end);
        for (slot, sum) in slots.iter().zip(state[0].as_primitive::<W>().values()) {
            self.sums[*slot as usize] = *sum;
        }
        Ok(())
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<W::Native>()
    }
}
