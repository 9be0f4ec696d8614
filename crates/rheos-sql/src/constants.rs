//! Integer arithmetic on constants, alone and in lambdas over constants, computed with a check: DataFusion's own folding
//! would wrap around.
//!
//! Runs before the simplification in every pass, since constants meet when projections are merged.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, Volatility};
use datafusion_optimizer::optimizer::ApplyOrder;
use datafusion_optimizer::simplify_expressions::{ExprSimplifier, SimplifyContext};
use datafusion_optimizer::{OptimizerConfig, OptimizerRule};
use datafusion_physical_expr::create_physical_expr;
use rheos_core::error::Error;

use crate::diagnose::external;
use crate::lower::checked_arithmetic;
use crate::types;

const HINT: &str = "cast one of the numbers to DECIMAL(38, 0) or DOUBLE";

/// The rule; see the module.
#[derive(Debug)]
pub(crate) struct CheckedConstants;

impl OptimizerRule for CheckedConstants {
    fn name(&self) -> &str {
        "checked_constants"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(folded)?.update_data(|e| name.restore(e)))
        })
    }
}

/// Arithmetic on integer constants, or a function over a lambda and constants, as its value. Errors: the value is out of the range of its type.
fn folded(expr: Expr) -> Result<Transformed<Expr>> {
    let is_arithmetic = match &expr {
        Expr::Negative(_) | Expr::HigherOrderFunction(_) => true,
        Expr::BinaryExpr(e) => matches!(e.op, Operator::Plus | Operator::Minus | Operator::Multiply),
        _ => false,
    };
    if !is_arithmetic || !is_constant(&expr)? {
        return Ok(Transformed::no(expr));
    }
    let data_type = match expr.get_type(&DFSchema::empty()) {
        Ok(data_type) if data_type.is_integer() || matches!(expr, Expr::HigherOrderFunction(_)) => data_type,
        _ => return Ok(Transformed::no(expr)),
    };
    match evaluate(&expr) {
        Ok(value) => Ok(Transformed::yes(Expr::Literal(value, None))),
        Err(error) if is_overflow(&error) => Err(out_of_range(&expr, &data_type, &error)),
        // What else is wrong with the operands is said by whoever computes them.
        Err(_) => Ok(Transformed::no(expr)),
    }
}

fn is_constant(expr: &Expr) -> Result<bool> {
    let varies = expr.exists(|e| {
        Ok(match e {
            Expr::ScalarFunction(f) => f.func.signature().volatility != Volatility::Immutable,
            Expr::Literal(..)
            | Expr::BinaryExpr(_)
            | Expr::Negative(_)
            | Expr::Cast(_)
            | Expr::TryCast(_)
            | Expr::Case(_)
            | Expr::HigherOrderFunction(_)
            | Expr::Lambda(_)
            | Expr::LambdaVariable(_)
            | Expr::Not(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_) => false,
            _ => true,
        })
    })?;
    Ok(!varies)
}

fn evaluate(expr: &Expr) -> Result<ScalarValue> {
    // Some functions (coalesce) are only there to be simplified away; what is in them is folded already.
    let simplifier = ExprSimplifier::new(SimplifyContext::default());
    let expr = expr.clone().map_children(|e| simplifier.simplify(e).map(Transformed::yes))?.data;
    let props = ExecutionProps::new();
    let physical = create_physical_expr(&expr, &DFSchema::empty(), &props, &PhysicalPlanningContext::default())?;
    let one: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
    let row = RecordBatch::try_from_iter([("row", one)])?;
    match checked_arithmetic(physical, &row.schema())?.evaluate(&row)? {
        ColumnarValue::Scalar(value) => Ok(value),
        ColumnarValue::Array(array) => ScalarValue::try_from_array(&array, 0),
    }
}

fn is_overflow(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ArrowError(e, _) if matches!(**e, ArrowError::ArithmeticOverflow(_)))
}

fn out_of_range(expr: &Expr, data_type: &DataType, cause: &DataFusionError) -> DataFusionError {
    let shown = |e: &Expr| match evaluate(e) {
        Ok(value) => value.to_string(),
        Err(_) => e.to_string(),
    };
    let text = match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => format!("{} {op} {}", shown(left), shown(right)),
        Expr::Negative(inner) => format!("-({})", shown(inner)),
        Expr::HigherOrderFunction(f) => {
            let cause = cause.find_root().message();
            let cause = cause.rsplit(": ").next().unwrap_or_default();
            let what = format!("a number in {} is out of range: {cause}", f.func.name());
            return external(Error::invalid(149, what).with_hint(HINT));
        }
        other => other.to_string(),
    };
    let error = Error::invalid(149, format!("{text} is out of the range of {}", types::display(data_type)));
    external(error.with_hint(HINT))
}
