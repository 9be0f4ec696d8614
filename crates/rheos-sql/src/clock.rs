//! `now()` and `current_time()` in microseconds: DataFusion's count nanoseconds, which no plan and no table has.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, TimeUnit};
use datafusion_common::{Result, internal_err};
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

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
