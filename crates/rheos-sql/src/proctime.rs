//! `PROCTIME()`: the clock of the operator that computes it, one value a batch.
//!
//! As the time of a window it is never computed: the window's operator goes by its own clock (see `event_time`).

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{Result as DfResult, ScalarValue};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use rheos_core::clock;

/// Its name.
pub(crate) const PROCTIME: &str = "proctime";

/// See the module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Proctime {
    signature: Signature,
}

impl Proctime {
    pub(crate) fn new() -> Self {
        Self { signature: Signature::nullary(Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for Proctime {
    fn name(&self) -> &str {
        PROCTIME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let micros = clock::now_ms().saturating_mul(1000);
        Ok(ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()))))
    }
}
