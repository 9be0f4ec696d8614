//! Integer arithmetic on constants, alone and in lambdas over constants, computed with a check: DataFusion's own folding
//! would wrap around.
//!
//! Runs before the simplification in every pass, since constants meet when projections are merged.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Column, DFSchema, DataFusionError, Result, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, Volatility};
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

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let names = NamePreserver::new(&plan);
        let evaluator = Evaluator::new(config);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(|e| evaluator.folded(e))?.update_data(|e| name.restore(e)))
        })
    }
}

/// Gives the keys of grouping sets the names that they have: what is folded in a set would have another one, and the set as a
/// whole cannot be named.
pub(crate) fn named_in_sets(plan: LogicalPlan) -> Result<LogicalPlan> {
    let named = |plan: LogicalPlan| {
        let is_set = |expr: &Expr| matches!(expr, Expr::GroupingSet(_));
        if !matches!(&plan, LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.iter().any(is_set)) {
            return Ok(Transformed::no(plan));
        }
        plan.map_expressions(|expr| match is_set(&expr) {
            true => expr.map_children(|key| match key {
                Expr::Column(_) | Expr::Alias(_) => Ok(Transformed::no(key)),
                key => {
                    let name = key.schema_name().to_string();
                    Ok(Transformed::yes(key.alias(name)))
                }
            }),
            false => Ok(Transformed::no(expr)),
        })
    };
    plan.transform_up_with_subqueries(named).data()
}

/// Computes constants as the rows are computed.
struct Evaluator {
    simplifier: ExprSimplifier,
    props: ExecutionProps,
}

impl Evaluator {
    fn new(config: &dyn OptimizerConfig) -> Self {
        let time = config.query_execution_start_time();
        let context = SimplifyContext::builder().with_config_options(config.options());
        let mut props = ExecutionProps::new();
        props.config_options = Some(config.options());
        props.query_execution_start_time = time;
        let context = context.with_query_execution_start_time(time).build();
        Self { simplifier: ExprSimplifier::new(context), props }
    }

    /// Arithmetic on integer constants, or a function over a lambda and constants, as its value. Errors: the value is
    /// out of the range of its type.
    fn folded(&self, expr: Expr) -> Result<Transformed<Expr>> {
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
        match self.evaluate(&expr) {
            Ok(value) => Ok(Transformed::yes(Expr::Literal(value, None))),
            Err(error) if is_overflow(&error) => Err(out_of_range(&expr, &data_type, &error)),
            // What else is wrong with the operands is said by whoever computes them. The parameters of a lambda have no
            // value here; its whole call is looked at later.
            Err(_) => Ok(Transformed::no(expr)),
        }
    }

    fn evaluate(&self, expr: &Expr) -> Result<ScalarValue> {
        // Some functions (coalesce) are only there to be simplified away; what is in them is folded already.
        let expr = expr.clone().map_children(|e| self.simplifier.simplify(e).map(Transformed::yes))?.data;
        // A list that has become a value says otherwise than before which of its elements may be NULL.
        let expr = expr.resolve_lambda_variables(&DFSchema::empty())?.data;
        // The parameters of a lambda are columns behind those of the rows, so one schema for planning and running.
        let one: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
        let row = RecordBatch::try_from_iter([("row", one)])?;
        let schema = DFSchema::try_from(row.schema())?;
        let physical = create_physical_expr(&expr, &schema, &self.props, &PhysicalPlanningContext::default())?;
        match checked_arithmetic(physical, &row.schema())?.evaluate(&row)? {
            ColumnarValue::Scalar(value) => Ok(value),
            ColumnarValue::Array(array) => ScalarValue::try_from_array(&array, 0),
        }
    }
}

/// Whether the optimizer would compute the expression: all that it does not name reads something, or is a query.
fn is_constant(expr: &Expr) -> Result<bool> {
    let varies = expr.exists(|e| {
        Ok(match e {
            Expr::ScalarFunction(f) => f.func.signature().volatility == Volatility::Volatile,
            Expr::Literal(..)
            | Expr::Alias(_)
            | Expr::BinaryExpr(_)
            | Expr::Negative(_)
            | Expr::Cast(_)
            | Expr::TryCast(_)
            | Expr::Case(_)
            | Expr::HigherOrderFunction(_)
            | Expr::Lambda(_)
            | Expr::LambdaVariable(_)
            | Expr::Not(_)
            | Expr::Between(_)
            | Expr::InList(_)
            | Expr::Like(_)
            | Expr::SimilarTo(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotUnknown(_) => false,
            _ => true,
        })
    })?;
    Ok(!varies)
}

fn is_overflow(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ArrowError(e, _) if matches!(**e, ArrowError::ArithmeticOverflow(_)))
}

/// The error tells the expression as it is written where it can, so that its place is found.
fn out_of_range(expr: &Expr, data_type: &DataType, cause: &DataFusionError) -> DataFusionError {
    let of = types::display(data_type);
    let what = match expr {
        Expr::HigherOrderFunction(f) => {
            let cause = cause.find_root().message();
            let cause = cause.rsplit(": ").next().unwrap_or_default();
            format!("a number in {} is out of range: {cause}", f.func.name())
        }
        Expr::Negative(inner) => format!("-({}) is out of the range of {of}", written(inner)),
        other => format!("{} is out of the range of {of}", written(other)),
    };
    external(Error::invalid(149, what).with_hint(HINT))
}

/// The expression without the types that DataFusion shows literals with.
fn written(expr: &Expr) -> String {
    let plain = |e| {
        Ok(match e {
            Expr::Literal(ScalarValue::Utf8(Some(text)), _) => {
                Transformed::yes(Expr::Column(Column::new_unqualified(format!("'{text}'"))))
            }
            Expr::Literal(value, _) => Transformed::yes(Expr::Column(Column::new_unqualified(value.to_string()))),
            other => Transformed::no(other),
        })
    };
    expr.clone().transform_down(plain).map_or_else(|_| expr.to_string(), |plain| plain.data.human_display().to_string())
}
