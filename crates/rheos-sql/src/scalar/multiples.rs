//! `n * INTERVAL '1' HOUR`, a stretch of time so many times, which DataFusion does not compute.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit};
use arrow::error::ArrowError;
use datafusion_common::{DFSchema, Result, ScalarValue, internal_err};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast,
};
use sqlparser::ast::BinaryOperator;

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// Plans such products, and leaves all others to the planners behind it.
#[derive(Debug)]
pub(crate) struct Multiples;

impl ExprPlanner for Multiples {
    fn plan_binary_op(&self, product: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        if product.op != BinaryOperator::Multiply {
            return Ok(PlannerResult::Original(product));
        }
        let (Ok(left), Ok(right)) = (product.left.get_type(schema), product.right.get_type(schema)) else {
            return Ok(PlannerResult::Original(product));
        };
        let (interval, number) = match (left, right) {
            (INTERVAL, number) if number.is_integer() => (product.left, product.right),
            (number, INTERVAL) if number.is_integer() => (product.right, product.left),
            _ => return Ok(PlannerResult::Original(product)),
        };
        let function = ScalarUDF::new_from_impl(Multiple { signature: Signature::any(2, Volatility::Immutable) });
        let args = vec![interval, cast(number, DataType::Int64)];
        Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), args))))
    }
}

/// The function; see the module. A program cannot name it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Multiple {
    signature: Signature,
}

impl ScalarUDFImpl for Multiple {
    fn name(&self) -> &str {
        "multiple"
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        match args {
            [interval, number] => Ok(format!("{number} * {interval}")),
            _ => internal_err!("a multiple has two factors"),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(INTERVAL)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [intervals, numbers] = args.args.as_slice() else { return internal_err!("a multiple has two factors") };
        let constant = matches!((intervals, numbers), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let (intervals, numbers) = (intervals.to_array(rows)?, numbers.to_array(rows)?);
        let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
        let numbers = numbers.as_primitive::<Int64Type>();
        let row = |row: usize| {
            let both = intervals.is_valid(row) && numbers.is_valid(row);
            both.then(|| times(intervals.value(row), numbers.value(row))).transpose()
        };
        let values = (0..rows).map(row).collect::<Result<IntervalMonthDayNanoArray, _>>()?;
        let values: ArrayRef = Arc::new(values);
        match constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)),
            false => Ok(ColumnarValue::Array(values)),
        }
    }
}

/// Errors: one of the parts is out of range.
fn times(interval: IntervalMonthDayNano, number: i64) -> std::result::Result<IntervalMonthDayNano, ArrowError> {
    let part = |part: i32| i64::from(part).checked_mul(number).and_then(|part| i32::try_from(part).ok());
    let parts = part(interval.months).zip(part(interval.days)).zip(interval.nanoseconds.checked_mul(number));
    match parts {
        Some(((months, days), nanoseconds)) => Ok(IntervalMonthDayNano::new(months, days, nanoseconds)),
        None => Err(ArrowError::ArithmeticOverflow(format!("Overflow happened on: an interval, {number} times"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_multiplied() {
        let interval = IntervalMonthDayNano::new(1, -2, 3);
        assert_eq!(times(interval, -4).unwrap(), IntervalMonthDayNano::new(-4, 8, -12));
        assert!(times(interval, 1 << 31).is_err());
        assert!(times(IntervalMonthDayNano::new(0, 0, i64::MAX), 2).is_err());
    }
}
