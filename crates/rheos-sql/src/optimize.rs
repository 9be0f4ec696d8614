//! The logical plan made cheap: types coerced, constants folded, filters and projections pushed to the sources.
//!
//! Only rules that hold for a stream: nothing that turns a query into joins, nothing that splits an aggregate in two.
//! What a stream cannot do is refused when the plan is lowered, so the plan keeps the shape in which it was written.

use std::sync::Arc;

use chrono::DateTime;
use datafusion_common::DataFusionError;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Result as DfResult, ScalarValue};
use datafusion_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion_optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion_optimizer::{Analyzer, Optimizer, OptimizerContext, OptimizerRule};
use rheos_core::error::Error;

use crate::diagnose::external;

/// Analyses and optimizes a plan; `now_ms` is what `now()` means in it.
pub(crate) fn optimize(plan: LogicalPlan, config: &ConfigOptions, now_ms: i64) -> DfResult<LogicalPlan> {
    let analyzer = Analyzer::with_rules(vec![Arc::new(TypeCoercion::new())]);
    let plan = analyzer.execute_and_check(plan, config, |_, _| {})?;
    let plan = checked_constants(plan)?;
    let mut context = OptimizerContext::new_with_config_options(Arc::new(config.clone()))
        .with_skip_failing_rules(false)
        .with_max_passes(8);
    match DateTime::from_timestamp_millis(now_ms) {
        Some(now) => context = context.with_query_execution_start_time(now),
        None => {
            return Err(DataFusionError::External(Box::new(Error::internal("the query's time is out of range"))));
        }
    }
    Optimizer::with_rules(rules()).optimize(plan, &context, |_, _| {})
}

fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    use datafusion_optimizer::{
        common_subexpr_eliminate::CommonSubexprEliminate, eliminate_duplicated_expr::EliminateDuplicatedExpr,
        eliminate_filter::EliminateFilter, eliminate_limit::EliminateLimit, optimize_projections::OptimizeProjections,
        optimize_unions::OptimizeUnions, propagate_empty_relation::PropagateEmptyRelation,
        push_down_filter::PushDownFilter, simplify_expressions::SimplifyExpressions,
    };
    vec![
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(EliminateFilter::new()),
        Arc::new(EliminateLimit::new()),
        Arc::new(PropagateEmptyRelation::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(OptimizeProjections::new()),
    ]
}

/// Folds integer arithmetic on literals with a check; the optimizer's own folding would wrap around.
fn checked_constants(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    plan.transform_up(|node| node.map_expressions(|e| e.transform_up(|e| Ok(Transformed::no(checked(e)?))))).data()
}

fn checked(expr: Expr) -> DfResult<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = &expr else { return Ok(expr) };
    let (Some(a), Some(b)) = (integer(left), integer(right)) else { return Ok(expr) };
    let value = match op {
        Operator::Plus => a.checked_add(b),
        Operator::Minus => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        _ => return Ok(expr),
    };
    if value.is_some_and(|v| i64::try_from(v).is_ok()) {
        return Ok(expr);
    }
    let error = Error::invalid(149, format!("{a} {op} {b} is out of the range of BIGINT"))
        .with_hint("cast one of the numbers to DECIMAL(38, 0) or DOUBLE");
    Err(external(error))
}

/// The value of a BIGINT literal, or of arithmetic on such.
fn integer(expr: &Expr) -> Option<i128> {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(v)), _) => Some(i128::from(*v)),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (a, b) = (integer(left)?, integer(right)?);
            match op {
                Operator::Plus => a.checked_add(b),
                Operator::Minus => a.checked_sub(b),
                Operator::Multiply => a.checked_mul(b),
                _ => None,
            }
        }
        _ => None,
    }
}
