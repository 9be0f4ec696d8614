//! Conditions that guard what may fail: `n <> 0 AND 10 / n > 1`.
//!
//! DataFusion evaluates both sides of AND and OR for all rows of a batch unless one side decides for every row, so the
//! outcome would depend on the batch. Here the second side of a guard sees only the rows for which the first has not
//! decided, and of the conditions of a WHERE those that cannot fail come first.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::{and_kleene, or_kleene};
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Result as DfResult, internal_err};
use datafusion_expr::utils::{conjunction, split_conjunction};
use datafusion_expr::{ColumnarValue, Expr, Operator};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::BinaryExpr;
use rheos_operators::risk;

/// The condition with the parts that cannot fail in front; each kind keeps its order.
pub(crate) fn safest_first(condition: &Expr) -> Expr {
    let (safe, risky): (Vec<_>, Vec<_>) = split_conjunction(condition).into_iter().partition(|e| !may_fail(e));
    match safe.is_empty() || risky.is_empty() {
        true => condition.clone(),
        false => conjunction(safe.into_iter().chain(risky).cloned()).unwrap_or_else(|| condition.clone()),
    }
}

/// Whether the expression can end the job on some row.
fn may_fail(expr: &Expr) -> bool {
    let is_safe = |e: &Expr| match e {
        Expr::BinaryExpr(binary) => risk::is_safe_operator(binary.op),
        Expr::Column(_)
        | Expr::Literal(..)
        | Expr::Alias(_)
        | Expr::Not(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotUnknown(_)
        | Expr::Between(_)
        | Expr::InList(_)
        | Expr::Like(_)
        | Expr::TryCast(_) => true,
        _ => false,
    };
    expr.exists(|e| Ok(!is_safe(e))).unwrap_or(true)
}

/// AND and OR whose second side may fail become guards.
pub(super) fn guarded(expr: Arc<dyn PhysicalExpr>) -> Transformed<Arc<dyn PhysicalExpr>> {
    let guard = match expr.downcast_ref::<BinaryExpr>() {
        Some(e) if matches!(e.op(), Operator::And | Operator::Or) && risk::may_fail(e.right()) => {
            Guard { first: Arc::clone(e.left()), second: Arc::clone(e.right()), is_and: *e.op() == Operator::And }
        }
        _ => return Transformed::no(expr),
    };
    Transformed::yes(Arc::new(guard))
}

/// `first AND second` or `first OR second`, where `second` is evaluated only for the rows that `first` leaves open.
#[derive(Debug)]
struct Guard {
    first: Arc<dyn PhysicalExpr>,
    second: Arc<dyn PhysicalExpr>,
    is_and: bool,
}

impl PartialEq for Guard {
    fn eq(&self, other: &Self) -> bool {
        self.is_and == other.is_and && self.first.eq(&other.first) && self.second.eq(&other.second)
    }
}

impl Eq for Guard {}

impl Hash for Guard {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.first.hash(state);
        self.second.hash(state);
        self.is_and.hash(state);
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.first, if self.is_and { "AND" } else { "OR" }, self.second)
    }
}

impl PhysicalExpr for Guard {
    fn data_type(&self, _: &Schema) -> DfResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, schema: &Schema) -> DfResult<bool> {
        Ok(self.first.nullable(schema)? || self.second.nullable(schema)?)
    }

    fn evaluate(&self, batch: &RecordBatch) -> DfResult<ColumnarValue> {
        let rows = batch.num_rows();
        let first = self.first.evaluate(batch)?.into_array(rows)?;
        let Some(first) = first.as_boolean_opt() else { return internal_err!("{} is no condition", self.first) };
        // Open is what is null, and what the first side alone does not decide.
        let undecided = if self.is_and { first.values().clone() } else { !first.values() };
        let open = BooleanArray::from(match first.nulls() {
            Some(valid) => &undecided | &!valid.inner(),
            None => undecided,
        });
        let second = match open.true_count() {
            0 => return Ok(ColumnarValue::Array(Arc::new(first.clone()))),
            n if n == rows => self.second.evaluate(batch)?,
            _ => self.second.evaluate_selection(batch, &open)?,
        };
        let second = second.into_array(rows)?;
        let Some(second) = second.as_boolean_opt() else { return internal_err!("{} is no condition", self.second) };
        // Rows outside of the selection are null in `second`, and `first` has decided them.
        let both = if self.is_and { and_kleene(first, second)? } else { or_kleene(first, second)? };
        Ok(ColumnarValue::Array(Arc::new(both)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.first, &self.second]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> DfResult<Arc<dyn PhysicalExpr>> {
        match (children.pop(), children.pop()) {
            (Some(second), Some(first)) => Ok(Arc::new(Guard { first, second, is_and: self.is_and })),
            _ => internal_err!("a guard has two sides"),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
