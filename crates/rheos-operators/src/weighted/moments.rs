//! Variances, deviations, covariances, correlation and regression, of numbers that weights are added to: the sums of x, y, x², xy
//! and y², all of them exact, and how many pairs there are.
//!
//! ```text
//!   n Σxy - Σx Σy  is computed exactly, too, and rounded once: so it is 0 where all values are equal, whatever came and went
//! ```
//! Absent: the pairs. DataFusion's are moving averages, from which nothing can be taken away without loss.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, UInt64Array};
use arrow::datatypes::{DataType, Field, Float64Type};
use rheos_core::Result;

use super::count::{self, add_weights};
use super::expansion::{grow, product, rounded, times_power};
use super::float_sums::FloatSums;
use super::rows::Rows;
use super::summed::Sums;
use super::{Accumulate, at_slots};

/// What is made of the sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Variance { sample: bool },
    Deviation { sample: bool },
    Covariance { sample: bool },
    Correlation,
    Slope,
    Intercept,
    Count,
    R2,
    AverageX,
    AverageY,
    SumXX,
    SumYY,
    SumXY,
}

impl Moment {
    fn of(function: &str) -> Option<Self> {
        Some(match function {
            "var" => Self::Variance { sample: true },
            "var_pop" => Self::Variance { sample: false },
            "stddev" => Self::Deviation { sample: true },
            "stddev_pop" => Self::Deviation { sample: false },
            "covar_samp" => Self::Covariance { sample: true },
            "covar_pop" => Self::Covariance { sample: false },
            "corr" => Self::Correlation,
            "regr_slope" => Self::Slope,
            "regr_intercept" => Self::Intercept,
            "regr_count" => Self::Count,
            "regr_r2" => Self::R2,
            "regr_avgx" => Self::AverageX,
            "regr_avgy" => Self::AverageY,
            "regr_sxx" => Self::SumXX,
            "regr_syy" => Self::SumYY,
            "regr_sxy" => Self::SumXY,
            _ => return None,
        })
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Moments {
    moment: Moment,
    counts: Vec<i64>,
    x: FloatSums,
    xx: FloatSums,
    /// y, yy and xy; not of functions of one argument.
    pairs: Option<[FloatSums; 3]>,
}

impl Moments {
    /// `None` for other functions.
    pub(super) fn of(function: &str, inputs: &[DataType]) -> Option<Self> {
        let moment = Moment::of(function)?;
        if inputs.iter().any(|input| input != &DataType::Float64) {
            return None;
        }
        let sums = FloatSums::default;
        let pairs = (inputs.len() == 2).then(|| [sums(), sums(), sums()]);
        Some(Self { moment, counts: vec![], x: sums(), xx: sums(), pairs })
    }

    fn sums(&mut self) -> impl Iterator<Item = &mut FloatSums> {
        [&mut self.x, &mut self.xx].into_iter().chain(self.pairs.iter_mut().flatten())
    }

    /// The result of a group. Which of them are null is DataFusion's choice.
    fn result(&self, slot: u32, pairs: i64) -> Option<f64> {
        let x = Variable::of(&self.x, &self.xx, slot, pairs);
        let y = self.pairs.as_ref().map_or_else(Variable::default, |[y, yy, _]| Variable::of(y, yy, slot, pairs));
        let n = pairs as f64;
        let xy = || {
            let [_, _, xy] = self.pairs.as_ref()?;
            Some(x.scaled_covariance(&y, xy, slot, n))
        };
        let divisor = |sample: bool| if sample { n - 1.0 } else { n };
        match self.moment {
            Moment::Count => None,
            _ if pairs < 1 => None,
            Moment::Variance { sample } => (pairs > i64::from(sample)).then(|| x.squares() / divisor(sample)),
            Moment::Deviation { sample } => {
                (pairs > i64::from(sample)).then(|| times_power((x.scaled_squares / divisor(sample)).sqrt(), x.power))
            }
            Moment::Covariance { sample } => (pairs > i64::from(sample))
                .then_some(())
                .and_then(|()| Some(times_power(xy()? / divisor(sample), x.power + y.power))),
            Moment::AverageX => Some(x.average(n)),
            Moment::AverageY => Some(y.average(n)),
            Moment::SumXX => Some(x.squares()),
            Moment::SumYY => Some(y.squares()),
            Moment::SumXY => Some(times_power(xy()?, x.power + y.power)),
            _ if pairs < 2 || x.scaled_squares == 0.0 => None,
            Moment::Slope => Some(times_power(xy()? / x.scaled_squares, y.power - x.power)),
            Moment::Intercept => {
                let slope = xy()? / x.scaled_squares;
                Some(times_power((y.scaled_sum - slope * x.scaled_sum) / n, y.power))
            }
            _ if y.scaled_squares == 0.0 => None,
            Moment::Correlation => Some(xy()? / (x.scaled_squares * y.scaled_squares).sqrt()),
            Moment::R2 => Some(xy()?.powi(2) / (x.scaled_squares * y.scaled_squares)),
        }
    }
}

/// The sum and the squares of the distances from the average, of a variable in units of 2^power: so no product overflows.
#[derive(Debug, Default)]
struct Variable {
    power: i32,
    /// The sum, exactly; NaN if it has no value.
    parts: Vec<f64>,
    scaled_sum: f64,
    scaled_squares: f64,
}

impl Variable {
    fn of(sums: &FloatSums, squares: &FloatSums, slot: u32, count: i64) -> Self {
        // Of a number about as large as the root of the sum of squares.
        let power = squares.exponent(slot).div_euclid(2);
        let (Some(parts), Some(squares)) = (sums.parts(slot, power), squares.parts(slot, 2 * power)) else {
            return Self { power: 0, parts: vec![f64::NAN], scaled_sum: f64::NAN, scaled_squares: f64::NAN };
        };
        let n = count.max(1) as f64;
        let scaled_squares = difference(&squares, &parts, &parts, n).max(0.0) / n;
        Self { power, scaled_sum: rounded(&parts), parts, scaled_squares }
    }

    fn squares(&self) -> f64 {
        times_power(self.scaled_squares, 2 * self.power)
    }

    fn average(&self, n: f64) -> f64 {
        times_power(self.scaled_sum / n, self.power)
    }

    /// The sum of the products of the distances from both averages, in units of 2^(power of one + power of the other).
    fn scaled_covariance(&self, other: &Self, products: &FloatSums, slot: u32, n: f64) -> f64 {
        match products.parts(slot, self.power + other.power) {
            Some(products) if !self.scaled_sum.is_nan() && !other.scaled_sum.is_nan() => {
                difference(&products, &self.parts, &other.parts, n) / n
            }
            _ => f64::NAN,
        }
    }
}

/// `n * products - x * y`, exactly, then rounded.
fn difference(products: &[f64], x: &[f64], y: &[f64], n: f64) -> f64 {
    let mut parts = vec![];
    let mut add = |a: f64, b: f64| {
        let (high, low) = product(a, b);
        grow(&mut parts, low);
        grow(&mut parts, high);
    };
    products.iter().for_each(|part| add(*part, n));
    x.iter().for_each(|a| y.iter().for_each(|b| add(-a, *b)));
    rounded(&parts)
}

impl Accumulate for Moments {
    fn update(&mut self, rows: &Rows) -> Result<()> {
        let mask = rows.complete(rows.arguments);
        add_weights(&mut self.counts, rows, mask.as_ref());
        // Regression has y in front; for all others it is the same.
        let values = |at: usize| rows.arguments[at].as_primitive::<Float64Type>().values();
        self.sums().for_each(|sums| sums.resize(rows.slots_end));
        let Some([sum_y, sum_yy, sum_xy]) = &mut self.pairs else {
            let x = values(0);
            rows.each(mask.as_ref(), |row, slot, weight| {
                self.x.add_weighted(slot, x[row], weight);
                self.xx.add_product(slot, x[row], x[row], weight);
            });
            return Ok(());
        };
        let (y, x) = (values(0), values(1));
        rows.each(mask.as_ref(), |row, slot, weight| {
            self.x.add_weighted(slot, x[row], weight);
            self.xx.add_product(slot, x[row], x[row], weight);
            sum_y.add_weighted(slot, y[row], weight);
            sum_yy.add_product(slot, y[row], y[row], weight);
            sum_xy.add_product(slot, x[row], y[row], weight);
        });
        Ok(())
    }

    fn evaluate(&mut self, slots: &[u32]) -> Result<ArrayRef> {
        let counts = at_slots(&self.counts, slots);
        if self.moment == Moment::Count {
            return Ok(Arc::new(UInt64Array::from_iter_values(counts.iter().map(|count| (*count).max(0) as u64))));
        }
        let results = slots.iter().zip(&counts).map(|(slot, count)| self.result(*slot, *count));
        Ok(Arc::new(results.collect::<Float64Array>()))
    }

    fn clear(&mut self, slots: &[u32]) {
        count::clear(&mut self.counts, slots);
        self.sums().for_each(|sums| sums.clear(slots));
    }

    fn state_fields(&self) -> Vec<Field> {
        let sums = 2 + self.pairs.as_ref().map_or(0, |pairs| pairs.len());
        let mut fields: Vec<Field> = (0..sums).flat_map(|_| self.x.state_fields()).collect();
        fields.push(Field::new("count", DataType::Int64, false));
        fields
    }

    fn state(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut columns = vec![];
        for sums in self.sums() {
            columns.extend(sums.state(slots)?);
        }
        columns.push(Arc::new(Int64Array::from(at_slots(&self.counts, slots))));
        Ok(columns)
    }

    fn restore(&mut self, state: &[ArrayRef], slots: &[u32], slots_end: usize) -> Result<()> {
        let width = self.x.state_fields().len();
        for (sums, columns) in self.sums().zip(state.chunks_exact(width)) {
            sums.restore(columns, slots, slots_end)?;
        }
        count::restore(&mut self.counts, &state[state.len() - 1], slots, slots_end);
        Ok(())
    }

    fn size(&self) -> usize {
        let pairs = self.pairs.iter().flatten().map(Sums::size).sum::<usize>();
        self.x.size() + self.xx.size() + pairs + self.counts.capacity() * size_of::<i64>()
    }
}
