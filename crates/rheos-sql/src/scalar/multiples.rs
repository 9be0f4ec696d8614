//! `n * INTERVAL '1' HOUR`, a stretch of time so many times, which DataFusion does not compute.
//!
//! With a fraction as PostgreSQL does it: what is left of a month becomes days, 30 a month, and what is left of a day
//! becomes time, to the microsecond.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{
    DataType, Float64Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
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
            (INTERVAL, number) if number.is_numeric() => (product.left, (product.right, number)),
            (number, INTERVAL) if number.is_numeric() => (product.right, (product.left, number)),
            _ => return Ok(PlannerResult::Original(product)),
        };
        let function = ScalarUDF::new_from_impl(Multiple { signature: Signature::any(2, Volatility::Immutable) });
        let (number, data_type) = number;
        let number = cast(number, if data_type.is_integer() { DataType::Int64 } else { DataType::Float64 });
        let args = vec![interval, number];
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
        let row = |row: usize| {
            let both = intervals.is_valid(row) && numbers.is_valid(row);
            let multiple = both.then(|| match numbers.as_primitive_opt::<Float64Type>() {
                Some(fractions) => times_fraction(intervals.value(row), fractions.value(row)),
                None => times(intervals.value(row), numbers.as_primitive::<Int64Type>().value(row)),
            });
            multiple.transpose()
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

const DAY_US: f64 = 86_400e6;

/// Errors: one of the parts is out of range, or the number is none.
fn times_fraction(
    interval: IntervalMonthDayNano,
    number: f64,
) -> std::result::Result<IntervalMonthDayNano, ArrowError> {
    let (months, days) = (f64::from(interval.months) * number, f64::from(interval.days) * number);
    // Rounded as PostgreSQL does: 0.1 month is 3 days, whatever 0.1 is in binary.
    let rounded = |days: f64| (days * 1e6).round() / 1e6;
    let month_days = rounded(months.fract() * 30.0);
    let day_us = (rounded(days.fract() + month_days.fract()) * DAY_US).round();
    let all_days = days.trunc() + month_days.trunc() + (day_us / DAY_US).trunc();
    let us = (interval.nanoseconds as f64 * number / 1e3 + day_us % DAY_US).round();
    let whole = |part: f64| (part.abs() <= f64::from(i32::MAX)).then_some(part as i32);
    // A NaN is in no range.
    let fits = us.abs() < i64::MAX as f64 / 1e3;
    let nanoseconds = fits.then_some(us as i64).and_then(|us| us.checked_mul(1000));
    match whole(months.trunc()).zip(whole(all_days)).zip(nanoseconds) {
        Some(((months, days), nanoseconds)) => Ok(IntervalMonthDayNano::new(months, days, nanoseconds)),
        None => Err(ArrowError::ArithmeticOverflow(format!("Overflow happened on: an interval, {number} times"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_of_months_become_days_and_those_of_days_become_time() {
        // By hand, with 30 days a month; PostgreSQL says the same.
        let hour = 3_600_000_000_000;
        let cases = [
            ((0, 0, hour), 1.5, (0, 0, hour / 2 * 3)),
            ((1, 0, 0), 0.1, (0, 3, 0)),
            ((1, 0, 0), 1.55, (1, 16, 12 * hour)),
            ((0, 1, 0), 0.5, (0, 0, 12 * hour)),
            ((0, 3, hour), -0.5, (0, -1, -12 * hour - hour / 2)),
            ((12, 0, 0), 0.5, (6, 0, 0)),
        ];
        for ((months, days, ns), number, (m, d, n)) in cases {
            let product = times_fraction(IntervalMonthDayNano::new(months, days, ns), number);
            assert_eq!(product.unwrap(), IntervalMonthDayNano::new(m, d, n), "{months} {days} {ns} times {number}");
        }
        for number in [f64::NAN, f64::INFINITY, 1e300] {
            assert!(times_fraction(IntervalMonthDayNano::new(1, 0, 0), number).is_err());
        }
    }

    #[test]
    fn each_part_is_multiplied() {
        let interval = IntervalMonthDayNano::new(1, -2, 3);
        assert_eq!(times(interval, -4).unwrap(), IntervalMonthDayNano::new(-4, 8, -12));
        assert!(times(interval, 1 << 31).is_err());
        assert!(times(IntervalMonthDayNano::new(0, 0, i64::MAX), 2).is_err());
    }
}
