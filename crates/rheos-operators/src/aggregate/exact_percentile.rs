//! `percentile_cont` by exact linear interpolation, as PostgreSQL defines it: with `n` sorted values and share `p` the
//! result lies at `p * (n - 1)`, between two neighbours in proportion to the fraction.
//!
//! DataFusion rounds that fraction to a millionth, so that the answer is off by up to a millionth of the distance between
//! the neighbours. Values of DOUBLE, to which all other numbers are coerced, are ours; the rest stays DataFusion's.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion_common::utils::SingleRowListArrayBuilder;
use datafusion_common::{Result, ScalarValue, exec_datafusion_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::format_state_name;
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Signature};
use datafusion_physical_expr::expressions::Literal;

/// `udaf`, or the exact function in its place.
pub fn replace(udaf: &Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    if udaf.name() == "percentile_cont" && !udaf.inner().is::<ExactPercentile>() {
        return Arc::new(AggregateUDF::from(ExactPercentile { inner: Arc::clone(udaf) }));
    }
    Arc::clone(udaf)
}

/// The function; see the module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ExactPercentile {
    inner: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for ExactPercentile {
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
        if args.input_fields[0].data_type() != &DataType::Float64 {
            return self.inner.state_fields(args);
        }
        let item = Field::new_list_field(DataType::Float64, true);
        Ok(vec![Arc::new(Field::new_list(format_state_name(args.name, "values"), item, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.expr_fields[0].data_type() != &DataType::Float64 {
            return self.inner.accumulator(args);
        }
        let share = args.exprs.get(1).and_then(|e| e.downcast_ref::<Literal>()).map(|l| l.value());
        let share = share.map(|value| value.cast_to(&DataType::Float64)).transpose()?;
        let Some(ScalarValue::Float64(Some(share))) = share else {
            return Err(exec_datafusion_err!("the share of percentile_cont must be a number from 0 to 1"));
        };
        let descending = args.order_bys.first().is_some_and(|o| o.options.descending);
        Ok(Box::new(PercentileAccumulator { share: if descending { 1.0 - share } else { share }, values: vec![] }))
    }

    fn supports_within_group_clause(&self) -> bool {
        self.inner.supports_within_group_clause()
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

#[derive(Debug)]
struct PercentileAccumulator {
    share: f64,
    values: Vec<f64>,
}

impl PercentileAccumulator {
    fn add(&mut self, values: &ArrayRef) {
        self.values.extend(values.as_primitive::<Float64Type>().iter().flatten());
    }
}

impl Accumulator for PercentileAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[0]);
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        states[0].as_list::<i32>().iter().flatten().for_each(|list| self.add(&list));
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let Some(last) = self.values.len().checked_sub(1) else { return Ok(ScalarValue::Float64(None)) };
        let position = self.share * last as f64;
        let below = position.floor() as usize;
        let (_, lower, rest) = self.values.select_nth_unstable_by(below, f64::total_cmp);
        let lower = *lower;
        let upper = rest.iter().copied().min_by(f64::total_cmp).unwrap_or(lower);
        Ok(ScalarValue::Float64(Some(lower + (upper - lower) * (position - below as f64))))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: ArrayRef = Arc::new(Float64Array::from(std::mem::take(&mut self.values)));
        Ok(vec![SingleRowListArrayBuilder::new(values).build_list_scalar()])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three values 0, 3, 30 at a share of 0.95: 1.9 of 2 steps, so 3 + 0.9 * 27.
    #[test]
    fn interpolation_is_exact_and_merges() {
        let column = |values: Vec<f64>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
        let mut other = PercentileAccumulator { share: 0.95, values: vec![] };
        other.update_batch(&[column(vec![30.0, 0.0])]).unwrap();
        let state = other.state().unwrap()[0].to_array().unwrap();
        let mut one = PercentileAccumulator { share: 0.95, values: vec![] };
        assert_eq!(one.evaluate().unwrap(), ScalarValue::Float64(None));
        one.update_batch(&[column(vec![3.0])]).unwrap();
        one.merge_batch(&[state]).unwrap();
        let ScalarValue::Float64(Some(result)) = one.evaluate().unwrap() else { panic!("there are values") };
        assert!((result - 27.3).abs() < 1e-12, "{result}");
    }
}
