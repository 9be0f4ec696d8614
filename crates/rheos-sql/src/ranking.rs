//! The functions that rank rows, as the planner knows them; the operator computes them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result as DfResult, internal_err};
use datafusion_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion_expr::{PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl};

/// Their names.
pub(crate) const RANKING: [&str; 3] = ["row_number", "rank", "dense_rank"];

/// The function of a name.
pub(crate) fn function(name: &str) -> Option<Arc<WindowUDF>> {
    let name = RANKING.into_iter().find(|n| n.eq_ignore_ascii_case(name))?;
    Some(Arc::new(WindowUDF::new_from_impl(Ranking { name, signature: Signature::nullary(Volatility::Immutable) })))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Ranking {
    name: &'static str,
    signature: Signature,
}

impl WindowUDFImpl for Ranking {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, _: PartitionEvaluatorArgs) -> DfResult<Box<dyn PartitionEvaluator>> {
        internal_err!("{} is computed by its operator", self.name)
    }

    /// A BIGINT, as in DuckDB and Flink: it may be negated, and subtracted from.
    fn field(&self, args: WindowUDFFieldArgs) -> DfResult<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::Int64, false)))
    }
}
