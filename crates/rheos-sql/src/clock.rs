//! `now()`, `current_date` and `current_time`: the time of the query where the input ends, one value for all rows; the
//! clock of the operator that computes them, one value a batch, where it does not. A job that runs for a month would
//! else live on the day on which it was planned.
//!
//! In microseconds: DataFusion's count nanoseconds, which no plan and no table has.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::datatypes::{DataType, FieldRef, TimeUnit};
use chrono::{DateTime, Datelike, NaiveDateTime, TimeZone, Timelike};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Result, ScalarValue, internal_err};
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{
    ColumnarValue, Documentation, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use rheos_core::clock;

use crate::types::timestamp_ltz;

/// `function` in microseconds, if it tells a time of the query; else as it is.
pub(crate) fn in_micros(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    match function.name() {
        "now" | "current_time" => Arc::new(ScalarUDF::from(QueryTime { inner: function })),
        _ => function,
    }
}

/// A function that the optimizer replaces by the time of the query.
#[derive(Debug, PartialEq, Eq, Hash)]
struct QueryTime {
    inner: Arc<ScalarUDF>,
}

fn micros(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        other => other.clone(),
    }
}

impl ScalarUDFImpl for QueryTime {
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
        self.inner.return_type(arg_types).map(|t| micros(&t))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = self.inner.return_field_from_args(args)?;
        let data_type = micros(field.data_type());
        Ok(Arc::new(field.as_ref().clone().with_data_type(data_type)))
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match self.inner.simplify(args, info)? {
            ExprSimplifyResult::Simplified(Expr::Literal(value, metadata)) => {
                let value = value.cast_to(&micros(&value.data_type()))?;
                Ok(ExprSimplifyResult::Simplified(Expr::Literal(value, metadata)))
            }
            other => Ok(other),
        }
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("{} was not replaced by the query's time", self.name())
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

// ---- the operator's clock ----

/// Puts the operators' clock in place of the query's time; dates and times of day are those of `zone`.
pub(crate) fn on_operators(plan: LogicalPlan, zone: Tz) -> Result<LogicalPlan> {
    let on_clock = |expr: Expr| {
        let Expr::ScalarFunction(call) = &expr else { return Ok(Transformed::no(expr)) };
        let name = match call.func.name() {
            "now" => "now",
            "current_date" => "current_date",
            "current_time" => "current_time",
            _ => return Ok(Transformed::no(expr)),
        };
        let signature = Signature::nullary(Volatility::Volatile);
        let function = OperatorTime { name, zone: zone.to_string(), signature };
        Ok(Transformed::yes(ScalarUDF::new_from_impl(function).call(vec![])))
    };
    plan.transform_up_with_subqueries(|node| node.map_expressions(|expr| expr.transform_up(on_clock))).data()
}

/// A function that reads the clock of its operator.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OperatorTime {
    name: &'static str,
    zone: String,
    signature: Signature,
}

impl ScalarUDFImpl for OperatorTime {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.name {
            "current_date" => DataType::Date32,
            "current_time" => DataType::Time64(TimeUnit::Microsecond),
            _ => timestamp_ltz(),
        })
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let now_ms = clock::now_ms();
        let local = || local_time(now_ms, &self.zone);
        Ok(ColumnarValue::Scalar(match self.name {
            "current_date" => ScalarValue::Date32(local().map(|t| t.num_days_from_ce() - DAYS_TO_1970)),
            "current_time" => ScalarValue::Time64Microsecond(
                local()
                    .map(|t| i64::from(t.num_seconds_from_midnight()) * 1_000_000 + i64::from(t.nanosecond() / 1000)),
            ),
            _ => ScalarValue::TimestampMicrosecond(Some(now_ms.saturating_mul(1000)), Some("UTC".into())),
        }))
    }
}

/// 1970-01-01, counted from the first day of year 1 as 1.
const DAYS_TO_1970: i32 = 719_163;

fn local_time(now_ms: i64, zone: &str) -> Option<NaiveDateTime> {
    let zone: Tz = zone.parse().ok()?;
    Some(zone.from_utc_datetime(&DateTime::from_timestamp_millis(now_ms)?.naive_utc()).naive_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_zone() {
        // 2024-03-31 22:30:00.25 UTC, half an hour into April in Berlin (summer time, by Python's zoneinfo).
        let now_ms = 1_711_924_200_250;
        let berlin = local_time(now_ms, "Europe/Berlin").unwrap();
        assert_eq!(berlin.to_string(), "2024-04-01 00:30:00.250");
        // 2024-04-01 is day 19814 since 1970.
        assert_eq!(berlin.num_days_from_ce() - DAYS_TO_1970, 19_814);
        assert_eq!(local_time(now_ms, "UTC").unwrap().to_string(), "2024-03-31 22:30:00.250");
    }
}
