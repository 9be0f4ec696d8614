//! `ROW_NUMBER()`, `RANK()` and `DENSE_RANK()` of the rows of a window, and the first n of each group (Top-N).
//!
//! ```text
//!   rows ─► hash exchange by PARTITION BY ─► wait by window, cut to the first n ─► sorted, numbered when the window ends
//! ```
//! The parts: `operator` (waiting, cutting, firing), `ranking` (sorted rows and their numbers).

mod operator;
mod ranking;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_physical_expr::{PhysicalExpr, PhysicalSortExpr};
use rheos_core::operator::OperatorInit;
use rheos_core::{Error, Exchange, Operator, OperatorFactory, Result};

use crate::evaluation::{check_expression, plan_error};
use crate::row_keys::has_order;
use crate::windowed_rows::{Distribution, WindowColumns};
use operator::WindowRank;

/// How rows of a partition are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RankFunction {
    /// 1, 2, 3, 4. Ties in the order are broken by the remaining columns.
    RowNumber,
    /// 1, 2, 2, 4: ties have one rank, and leave a gap behind them.
    Rank,
    /// 1, 2, 2, 3.
    DenseRank,
}

impl fmt::Display for RankFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RankFunction::RowNumber => "row_number",
            RankFunction::Rank => "rank",
            RankFunction::DenseRank => "dense_rank",
        })
    }
}

/// What is ranked by what.
#[derive(Debug, Clone)]
pub struct WindowRankSpec {
    /// The columns of the rows.
    pub input: SchemaRef,
    /// Where rows carry their window; `None`: bounded input, ranked when it has ended.
    pub window: Option<WindowColumns>,
    /// PARTITION BY, without the window columns.
    pub partition_by: Vec<Arc<dyn PhysicalExpr>>,
    /// ORDER BY. Empty: the order is that of the columns (`RowNumber`), or all rows are ties.
    pub order_by: Vec<PhysicalSortExpr>,
    /// How rows are numbered.
    pub function: RankFunction,
    /// Only rows with a number up to this go out.
    pub limit: Option<u64>,
    /// The name of the column with the numbers.
    pub name: String,
}

/// Makes ranks.
///
/// Shape: the input's columns, then the number as BIGINT, not null. Rows of one window follow each other, windows come
/// in order; within a window rows of a partition follow each other in order. Time: a window fires when the watermark
/// reaches its end; a row is late, dropped and counted, when its window has fired. State: the rows until their window has
/// fired; with a limit about twice those that go out and 1,024 more a window. (A checkpoint keeps a row that was stored
/// before it was cut off until the window has fired.)
#[derive(Debug, Clone)]
pub struct WindowRankFactory {
    spec: WindowRankSpec,
    schema: SchemaRef,
    distribution: Distribution,
}

impl WindowRankFactory {
    /// Errors: `Invalid` for expressions that do not fit the input or whose type has no order.
    pub fn try_new(spec: WindowRankSpec) -> Result<Self> {
        spec.window.map_or(Ok(()), |window| window.check(&spec.input))?;
        for expr in &spec.partition_by {
            check_key(expr, &spec.input, 150, "PARTITION BY")?;
        }
        for key in &spec.order_by {
            check_key(&key.expr, &spec.input, 355, "ORDER BY")?;
        }
        let mut fields: Vec<_> = spec.input.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(&spec.name, DataType::Int64, false)));
        let distribution = Distribution::new(&spec.partition_by, spec.window, &spec.input);
        Ok(Self { schema: Arc::new(Schema::new(fields)), distribution, spec })
    }

    /// How the rows must reach the workers: by the hash of the partition, without one by that of the window, without
    /// either all to one worker. `None`: an expression of PARTITION BY is no plain column; compute it before.
    pub fn exchange(&self) -> Option<Exchange> {
        self.distribution.exchange()
    }
}

/// Refuses an expression that does not fit the input, or whose type cannot be compared.
pub(crate) fn check_key(expr: &Arc<dyn PhysicalExpr>, input: &Schema, code: u16, clause: &str) -> Result<()> {
    check_expression(expr, input)?;
    let data_type = expr.data_type(input).map_err(plan_error)?;
    if has_order(&data_type) {
        return Ok(());
    }
    Err(Error::invalid(code, format!("{expr} in {clause} has type {data_type}, which cannot be compared"))
        .with_hint("use a part of it, e.g. one field or element"))
}

impl OperatorFactory for WindowRankFactory {
    fn create(&self, init: &OperatorInit) -> Result<Box<dyn Operator>> {
        Ok(Box::new(WindowRank::try_new(&self.spec, &self.schema, &self.distribution, init)?))
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn describe(&self) -> Vec<(String, String)> {
        let spec = &self.spec;
        let mut facts = vec![("function".to_string(), format!("{} AS {}", spec.function, spec.name))];
        facts.extend(spec.window.map(|window| ("window".into(), window.describe(&spec.input))));
        let list = |exprs: Vec<String>| exprs.join(", ");
        if !spec.partition_by.is_empty() {
            facts.push(("partition by".into(), list(spec.partition_by.iter().map(ToString::to_string).collect())));
        }
        if !spec.order_by.is_empty() {
            facts.push(("order by".into(), list(spec.order_by.iter().map(ToString::to_string).collect())));
        }
        facts.extend(spec.limit.map(|limit| ("limit".into(), limit.to_string())));
        facts
    }
}
