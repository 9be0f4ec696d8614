//! `avg` of decimals with six digits more than the values have, rounded half away from zero: DataFusion gives four and cuts
//! the rest off. Where that makes more than 38 digits, those behind the point make way, down to six.
//!
//! ```text
//!   rows ──► sum (as sum adds up), count ──► sum / count, rounded
//! ```
//!
//! The type of the result is known while a query is planned, so this stands in for `avg` from there on. Averages of other
//! types are those of the function inside.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, UInt64Array};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, DecimalType, Field, FieldRef, UInt64Type, i256};
use datafusion_common::{Result, ScalarValue, exec_err, internal_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, Signature,
};
use rheos_core::types::display;

use super::checked_sum::{wide_sum, wide_type};
use super::one_group::one_group;
use crate::quotient::{limited, power_of_ten, rounded};

/// Digits that the average has more than the values.
const MORE_DIGITS: i16 = 6;

/// The rounding function for DataFusion's `avg`; every other function as it is.
pub fn replace(udaf: Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    match udaf.name() {
        "avg" => Arc::new(AggregateUDF::from(DecimalAverage { inner: udaf })),
        _ => udaf,
    }
}

/// The function; see the module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct DecimalAverage {
    inner: Arc<AggregateUDF>,
}

/// The type of the average of such values. `None`: it is the inner function's.
fn average_type(values: &DataType) -> Option<(u8, i8)> {
    match values {
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) if *s >= 0 => {
            limited(i16::from(*p) - i16::from(*s), i16::from(*s) + MORE_DIGITS)
        }
        _ => None,
    }
}

impl AggregateUDFImpl for DecimalAverage {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types.first().and_then(average_type) {
            Some((precision, scale)) => Ok(DataType::Decimal128(precision, scale)),
            None => self.inner.return_type(arg_types),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match average_type(args.expr_fields[0].data_type()) {
            Some(_) => Ok(one_group("DecimalAverage", self.create_groups_accumulator(args)?)),
            None => self.inner.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let values = args.input_fields[0].data_type();
        let (Some(_), Some(wide)) = (average_type(values), wide_type(values)) else {
            return self.inner.state_fields(args);
        };
        let field = |part: &str, data_type| Arc::new(Field::new(format_state_name(args.name, part), data_type, true));
        Ok(vec![field("sum", wide), field("count", DataType::UInt64)])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        average_type(args.expr_fields[0].data_type()).is_some() || self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let values = args.expr_fields[0].data_type();
        let (Some((precision, scale)), Some(wide)) = (average_type(values), wide_type(values)) else {
            return self.inner.create_groups_accumulator(args);
        };
        // What the sum gives out is not asked for.
        let Some(sums) = wide_sum(values, wide)? else { return internal_err!("there is no sum of {values}") };
        Ok(Box::new(Averages { sums, counts: vec![], precision, scale }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

struct Averages {
    sums: Box<dyn GroupsAccumulator>,
    /// Values of each group.
    counts: Vec<u64>,
    precision: u8,
    scale: i8,
}

impl Averages {
    /// The sums as numbers of so many digits behind the point; null where there was no value.
    fn sums(&mut self, emit_to: EmitTo) -> Result<(Vec<Option<i256>>, i8)> {
        let sums = self.sums.state(emit_to)?.remove(0);
        Ok(match sums.data_type() {
            DataType::Decimal128(_, scale) => {
                (sums.as_primitive::<Decimal128Type>().iter().map(|s| s.map(i256::from_i128)).collect(), *scale)
            }
            DataType::Decimal256(_, scale) => (sums.as_primitive::<Decimal256Type>().iter().collect(), *scale),
            other => return internal_err!("a sum cannot be {other}"),
        })
    }

    fn average(&self, sum: i256, scale: i8, count: u64) -> Result<i128> {
        average((sum, scale), i128::from(count), (self.precision, self.scale))
    }
}

/// The average of so many values, whose sum has so many digits behind the point, as a decimal of this type.
pub(crate) fn average((sum, scale): (i256, i8), count: i128, (precision, digits): (u8, i8)) -> Result<i128> {
    let shift = i16::from(digits) - i16::from(scale);
    let count = i256::from_i128(count);
    let average = match shift {
        0.. => power_of_ten(shift).and_then(|f| sum.checked_mul(f)).and_then(|s| rounded(s, count)),
        // Fewer digits than the values have: of one division, so that nothing is rounded twice.
        _ => power_of_ten(-shift).and_then(|f| count.checked_mul(f)).and_then(|c| rounded(sum, c)),
    };
    let average = average.and_then(|a| a.to_i128());
    match average.filter(|a| Decimal128Type::is_valid_decimal_precision(*a, precision)) {
        Some(average) => Ok(average),
        None => exec_err!(
            "the average does not fit into {}: cast the argument to fewer digits, e.g. avg(CAST(x AS DOUBLE))",
            display(&DataType::Decimal128(precision, digits))
        ),
    }
}

impl GroupsAccumulator for Averages {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.sums.update_batch(values, groups, filter, total)?;
        self.counts.resize(total, 0);
        for (row, group) in groups.iter().enumerate() {
            let counts = filter.is_none_or(|f| f.is_valid(row) && f.value(row)) && values[0].is_valid(row);
            self.counts[*group] += u64::from(counts);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.sums.merge_batch(&states[..1], groups, total)?;
        self.counts.resize(total, 0);
        for (count, group) in states[1].as_primitive::<UInt64Type>().iter().zip(groups) {
            self.counts[*group] += count.unwrap_or(0);
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let counts = emit_to.take_needed(&mut self.counts);
        let (sums, scale) = self.sums(emit_to)?;
        let average = |(sum, count): (Option<i256>, u64)| sum.map(|s| self.average(s, scale, count)).transpose();
        let averages = sums.into_iter().zip(counts).map(average).collect::<Result<Decimal128Array>>()?;
        Ok(Arc::new(averages.with_precision_and_scale(self.precision, self.scale)?))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let mut state = self.sums.state(emit_to)?;
        state.push(Arc::new(UInt64Array::from(emit_to.take_needed(&mut self.counts))));
        Ok(state)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut state = self.sums.convert_to_state(values, filter)?;
        let sums = &state[0];
        let counts: UInt64Array = (0..sums.len()).map(|row| Some(u64::from(sums.is_valid(row)))).collect();
        state.push(Arc::new(counts));
        Ok(state)
    }

    fn size(&self) -> usize {
        self.sums.size() + self.counts.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion_functions_aggregate::average::avg_udaf;

    /// By hand: six digits more, until 38 are full; never fewer than six behind the point where the values have some.
    #[test]
    fn types_have_six_digits_more() {
        let cases =
            [((3, 2), (9, 8)), ((38, 10), (38, 10)), ((38, 0), (38, 6)), ((36, 2), (38, 6)), ((5, 5), (11, 11))];
        for ((p, s), expected) in cases {
            assert_eq!(average_type(&DataType::Decimal128(p, s)), Some(expected), "DECIMAL({p}, {s})");
        }
        assert_eq!(average_type(&DataType::Float64), None);
        assert_eq!(replace(avg_udaf()).name(), "avg");
    }

    /// 0.10 + 0.10 + 3.33 = 3.53, a third of which is 1.17666..; the part of another worker and rows that are states.
    #[test]
    fn averages_are_rounded_and_merge() {
        let values = |values: Vec<Option<i128>>| -> ArrayRef {
            Arc::new(Decimal128Array::from(values).with_precision_and_scale(5, 2).unwrap())
        };
        let data_type = DataType::Decimal128(5, 2);
        let averages = || {
            let wide = wide_type(&data_type).unwrap();
            let sums = wide_sum(&data_type, wide).unwrap().unwrap();
            Averages { sums, counts: vec![], precision: 11, scale: 8 }
        };
        let (mut one, mut other) = (averages(), averages());
        one.update_batch(&[values(vec![Some(10), None, Some(-1)])], &[0, 0, 1], None, 2).unwrap();
        let only_first = BooleanArray::from(vec![Some(true), Some(false), None]);
        other.update_batch(&[values(vec![Some(10), Some(99), Some(99)])], &[0, 0, 0], Some(&only_first), 1).unwrap();
        one.merge_batch(&other.state(EmitTo::All).unwrap(), &[0], 3).unwrap();
        let converted = one.convert_to_state(&[values(vec![Some(333), None])], None).unwrap();
        one.merge_batch(&converted, &[0, 2], 3).unwrap();
        let result = one.evaluate(EmitTo::All).unwrap();
        let expected = Decimal128Array::from(vec![Some(117_666_667), Some(-1_000_000), None]);
        assert_eq!(result.as_primitive::<Decimal128Type>(), &expected.with_precision_and_scale(11, 8).unwrap());
    }
}
