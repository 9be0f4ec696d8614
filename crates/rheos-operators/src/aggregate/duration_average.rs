//! `avg` of durations that never wraps: the sum is kept in an `i128`, and an average lies between its values, so it always
//! fits. DataFusion adds up in an `i64`. All other averages are DataFusion's.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Int64Type, UInt64Type};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Signature};

/// Wide enough for the sum of any number of durations.
const SUM: DataType = DataType::Decimal128(38, 0);

/// The checked function for `avg` of durations; every other call as it is.
pub fn replace(udaf: &Arc<AggregateUDF>, argument: Option<&DataType>) -> Arc<AggregateUDF> {
    if udaf.name() == "avg" && matches!(argument, Some(DataType::Duration(_))) {
        return Arc::new(AggregateUDF::from(DurationAverage { inner: Arc::clone(udaf) }));
    }
    Arc::clone(udaf)
}

/// The function; see the module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct DurationAverage {
    inner: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for DurationAverage {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |part: &str, data_type| Arc::new(Field::new(format_state_name(args.name, part), data_type, true));
        Ok(vec![field("sum", SUM), field("count", DataType::UInt64)])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Average { sum: 0, count: 0, result: args.return_field.data_type().clone() }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

#[derive(Debug)]
struct Average {
    sum: i128,
    count: u64,
    result: DataType,
}

impl Accumulator for Average {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = cast(&values[0], &DataType::Int64)?;
        let values = values.as_primitive::<Int64Type>();
        self.sum += values.iter().flatten().map(i128::from).sum::<i128>();
        self.count += (values.len() - values.null_count()) as u64;
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.sum += states[0].as_primitive::<Decimal128Type>().iter().flatten().sum::<i128>();
        self.count += states[1].as_primitive::<UInt64Type>().iter().flatten().sum::<u64>();
        Ok(())
    }

    /// The average without its fraction, null of no values.
    fn evaluate(&mut self) -> Result<ScalarValue> {
        let average = self.sum.checked_div(i128::from(self.count)).and_then(|a| i64::try_from(a).ok());
        ScalarValue::Int64(average).cast_to(&self.result)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Decimal128(Some(self.sum), 38, 0), ScalarValue::UInt64(Some(self.count))])
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::DurationMicrosecondArray;
    use arrow::datatypes::TimeUnit;

    /// The average of the largest value with itself is itself, though the sum fits no BIGINT.
    #[test]
    fn averages_of_large_durations_fit_and_merge() {
        let result = DataType::Duration(TimeUnit::Microsecond);
        let average = |values: Vec<Option<i64>>| {
            let mut average = Average { sum: 0, count: 0, result: result.clone() };
            average.update_batch(&[Arc::new(DurationMicrosecondArray::from(values)) as ArrayRef]).unwrap();
            average
        };
        let mut one = average(vec![Some(i64::MAX), None, Some(i64::MAX)]);
        let states: Vec<_> = one.state().unwrap().iter().map(|s| s.to_array().unwrap()).collect();
        let mut other = average(vec![Some(i64::MAX)]);
        other.merge_batch(&states).unwrap();
        assert_eq!(other.evaluate().unwrap(), ScalarValue::DurationMicrosecond(Some(i64::MAX)));
        assert_eq!(average(vec![Some(-7), Some(4)]).evaluate().unwrap(), ScalarValue::DurationMicrosecond(Some(-1)));
        assert_eq!(average(vec![None]).evaluate().unwrap(), ScalarValue::DurationMicrosecond(None));
    }
}
