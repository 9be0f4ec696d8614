//! Exact sums of floats, by group ([`expansion`](super::expansion)).
//!
//! ```text
//!   sum of a group = high + low + rest         of most groups there is no rest: 106 bits do
//!   rest           = small parts, huge parts (of summands from 2^960, scaled down), how many inf, -inf and NaN there are
//! ```

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Float64Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, Float64Type};
use hashbrown::HashMap;
use rheos_core::{Error, ErrorKind, Result};

use super::at_slots;
use super::expansion::{grow, product, rounded, times_power, two_sum};
use super::rows::Rows;
use super::summed::Sums;

/// Summands from here on are huge.
const HUGE: f64 = f64::from_bits((1023 + 960) << 52);

/// By which huge ones are scaled down: 2^-256.
const SCALE: f64 = f64::from_bits((1023 - 256) << 52);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct FloatSums {
    high: Vec<f64>,
    low: Vec<f64>,
    rest: HashMap<u32, Rest>,
}

/// What two floats cannot hold of a sum.
#[derive(Debug, Default, Clone, PartialEq)]
struct Rest {
    small: Vec<f64>,
    huge: Vec<f64>,
    infinite: i64,
    negative_infinite: i64,
    nan: i64,
}

impl FloatSums {
    /// Makes room for groups.
    pub(super) fn resize(&mut self, slots_end: usize) {
        if self.high.len() < slots_end {
            self.high.resize(slots_end, 0.0);
            self.low.resize(slots_end, 0.0);
        }
    }

    /// Adds the product of two values so many times, exactly.
    #[inline]
    pub(super) fn add_product(&mut self, slot: usize, a: f64, b: f64, weight: i64) {
        let (high, low) = product(a, b);
        if high.abs() < HUGE && a.abs().max(b.abs()) < HUGE {
            self.add_weighted(slot, high, weight);
            self.add_weighted(slot, low, weight);
        } else {
            self.add_huge_product(slot, a, b, weight);
        }
    }

    #[cold]
    fn add_huge_product(&mut self, slot: usize, a: f64, b: f64, weight: i64) {
        if !a.is_finite() || !b.is_finite() {
            return self.add_rarely(slot, f64::NAN, weight);
        }
        let (large, small) = if a.abs() < b.abs() { (b, a) } else { (a, b) };
        let (high, low) = product(large * SCALE, small);
        if !high.is_finite() || high.abs() >= HUGE {
            return self.add_rarely(slot, f64::NAN, weight);
        }
        let mut bits = weight.unsigned_abs();
        let sign = if weight < 0 { -1.0 } else { 1.0 };
        while bits != 0 {
            let times = (1_u64 << bits.trailing_zeros()) as f64 * sign;
            self.add_huge(slot, high * times);
            self.add_huge(slot, low * times);
            bits &= bits - 1;
        }
    }

    /// About the power of two of the sum.
    pub(super) fn exponent(&self, slot: u32) -> i32 {
        let exponent = |value: f64| ((value.to_bits() >> 52) & 0x7FF) as i32 - 1023;
        match self.rest.get(&slot).and_then(|rest| rest.huge.last()) {
            Some(huge) => exponent(*huge) + 256,
            None => exponent(self.high.get(slot as usize).copied().unwrap_or_default()),
        }
    }

    /// The sum in units of 2^power, small parts first. `None`: it has no value.
    pub(super) fn parts(&self, slot: u32, power: i32) -> Option<Vec<f64>> {
        let at = slot as usize;
        let nothing = Rest::default();
        let rest = self.rest.get(&slot).unwrap_or(&nothing);
        if rest.nan > 0 || rest.infinite > 0 || rest.negative_infinite > 0 {
            return None;
        }
        let mut parts = vec![];
        let small = rest.small.iter().copied().chain([self.low.get(at).copied()?, self.high[at]]);
        small.for_each(|part| grow(&mut parts, times_power(part, -power)));
        rest.huge.iter().for_each(|part| grow(&mut parts, times_power(*part, 256 - power)));
        Some(parts)
    }

    /// Adds a value so many times: exactly, as one summand for each bit of the weight.
    #[inline]
    pub(super) fn add_weighted(&mut self, slot: usize, value: f64, weight: i64) {
        if weight == 1 {
            return self.add(slot, value, 1);
        }
        let mut bits = weight.unsigned_abs();
        let sign = if weight < 0 { -1 } else { 1 };
        if !value.is_finite() {
            return self.add_rarely(slot, value, weight);
        }
        while bits != 0 {
            let power = bits.trailing_zeros();
            // Below HUGE this is exact, and above it the scale is put in first.
            match value.abs() < HUGE {
                true => self.add(slot, value * (1_u64 << power) as f64 * f64::from(sign), 1),
                false => self.add_huge(slot, value * SCALE * (1_u64 << power) as f64 * f64::from(sign)),
            }
            bits &= bits - 1;
        }
    }

    #[inline]
    fn add(&mut self, slot: usize, value: f64, weight: i64) {
        if value.abs() < HUGE {
            let (sum, error) = two_sum(self.high[slot], value);
            let (low, rest) = two_sum(self.low[slot], error);
            (self.high[slot], self.low[slot]) = two_sum(sum, low);
            if rest != 0.0 {
                grow(&mut self.rest.entry(slot as u32).or_default().small, rest);
            }
        } else {
            self.add_rarely(slot, value, weight);
        }
    }

    #[cold]
    fn add_rarely(&mut self, slot: usize, value: f64, weight: i64) {
        if value.is_finite() {
            return self.add_huge(slot, value * SCALE);
        }
        let rest = self.rest.entry(slot as u32).or_default();
        let count = match value {
            f64::INFINITY => &mut rest.infinite,
            f64::NEG_INFINITY => &mut rest.negative_infinite,
            _ => &mut rest.nan,
        };
        *count = count.wrapping_add(weight);
    }

    #[cold]
    fn add_huge(&mut self, slot: usize, scaled: f64) {
        grow(&mut self.rest.entry(slot as u32).or_default().huge, scaled);
    }

    /// The sum, divided by `count`, rounded.
    fn quotient(&self, slot: u32, count: f64) -> f64 {
        let at = slot as usize;
        let Some(rest) = self.rest.get(&slot) else { return (self.high[at] + self.low[at]) / count };
        match (rest.nan > 0, rest.infinite > 0, rest.negative_infinite > 0) {
            (true, _, _) | (_, true, true) => return f64::NAN,
            (_, true, _) => return f64::INFINITY,
            (_, _, true) => return f64::NEG_INFINITY,
            _ => {}
        }
        let mut parts = rest.small.clone();
        grow(&mut parts, self.low[at]);
        grow(&mut parts, self.high[at]);
        if rest.huge.is_empty() {
            return rounded(&parts) / count;
        }
        let mut scaled = rest.huge.clone();
        parts.iter().for_each(|part| grow(&mut scaled, part * SCALE));
        rounded(&scaled) / count / SCALE
    }
}

impl Sums for FloatSums {
    fn add(&mut self, values: &ArrayRef, rows: &Rows, mask: Option<&BooleanBuffer>) -> Result<()> {
        self.resize(rows.slots_end);
        let values = values.as_primitive::<Float64Type>().values();
        rows.each(mask, |row, slot, weight| self.add_weighted(slot, values[row], weight));
        Ok(())
    }

    fn sums(&self, slots: &[u32], counts: &[i64]) -> Result<ArrayRef> {
        let sums = slots.iter().zip(counts).map(|(slot, count)| (*count > 0).then(|| self.quotient(*slot, 1.0)));
        Ok(Arc::new(sums.collect::<Float64Array>()))
    }

    fn averages(&self, slots: &[u32], counts: &[i64]) -> Result<ArrayRef> {
        let average = |(slot, count): (&u32, &i64)| (*count > 0).then(|| self.quotient(*slot, *count as f64));
        Ok(Arc::new(slots.iter().zip(counts).map(average).collect::<Float64Array>()))
    }

    fn clear(&mut self, slots: &[u32]) {
        for slot in slots {
            if let Some(high) = self.high.get_mut(*slot as usize) {
                *high = 0.0;
                self.low[*slot as usize] = 0.0;
                self.rest.remove(slot);
            }
        }
    }

    fn state_fields(&self) -> Vec<Field> {
        vec![
            Field::new("high", DataType::Float64, false),
            Field::new("low", DataType::Float64, false),
            Field::new("rest", DataType::Binary, true),
        ]
    }

    fn state(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let rest = slots.iter().map(|slot| self.rest.get(slot).filter(|rest| !rest.is_nothing()).map(Rest::encoded));
        Ok(vec![
            Arc::new(Float64Array::from(at_slots(&self.high, slots))),
            Arc::new(Float64Array::from(at_slots(&self.low, slots))),
            Arc::new(rest.collect::<BinaryArray>()),
        ])
    }

    fn restore(&mut self, state: &[ArrayRef], slots: &[u32], slots_end: usize) -> Result<()> {
        self.resize(slots_end);
        let (high, low) = (state[0].as_primitive::<Float64Type>(), state[1].as_primitive::<Float64Type>());
        let rest = state[2].as_binary::<i32>();
        for (row, slot) in slots.iter().enumerate() {
            self.high[*slot as usize] = high.value(row);
            self.low[*slot as usize] = low.value(row);
            self.rest.remove(slot);
            if rest.is_valid(row) {
                self.rest.insert(*slot, Rest::decoded(rest.value(row))?);
            }
        }
        Ok(())
    }

    fn size(&self) -> usize {
        let rest = |rest: &Rest| size_of::<Rest>() + (rest.small.capacity() + rest.huge.capacity()) * size_of::<f64>();
        (self.high.capacity() + self.low.capacity()) * size_of::<f64>() + self.rest.values().map(rest).sum::<usize>()
    }
}

impl Rest {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Words of eight bytes, the lowest first: the three counts, the number of small parts, the small parts, the huge parts.
    fn encoded(&self) -> Vec<u8> {
        let counts = [self.infinite, self.negative_infinite, self.nan, self.small.len() as i64];
        let parts = self.small.iter().chain(&self.huge).flat_map(|part| part.to_le_bytes());
        counts.iter().flat_map(|count| count.to_le_bytes()).chain(parts).collect()
    }

    fn decoded(bytes: &[u8]) -> Result<Self> {
        let words: Vec<[u8; 8]> = bytes.chunks_exact(8).filter_map(|word| word.try_into().ok()).collect();
        let damaged = || Error::new(ErrorKind::Corrupt, 626, "the stored sum of a group is damaged");
        let [infinite, negative_infinite, nan, small, parts @ ..] = words.as_slice() else { return Err(damaged()) };
        let [infinite, negative_infinite, nan, small] =
            [infinite, negative_infinite, nan, small].map(|word| i64::from_le_bytes(*word));
        let parts: Vec<f64> = parts.iter().map(|word| f64::from_le_bytes(*word)).collect();
        let split = usize::try_from(small).ok().and_then(|at| parts.split_at_checked(at));
        let (small, huge) = split.ok_or_else(damaged)?;
        Ok(Self { small: small.to_vec(), huge: huge.to_vec(), infinite, negative_infinite, nan })
    }
}
