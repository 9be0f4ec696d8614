//! Divisions of decimals become calls of a function that rounds and keeps enough digits (see `rheos_operators::quotient`).
//!
//! Runs before the coercion of types. Whole numbers next to a decimal become decimals; what has a float in it is one.

use arrow::datatypes::DataType;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{Cast, Expr, ExprSchemable, LogicalPlan, Operator};
use rheos_operators::quotient::{operand_type, quotient};

/// Replaces the divisions of a plan.
pub(crate) fn round_quotients(plan: LogicalPlan) -> Result<LogicalPlan> {
    let node = |node: LogicalPlan| {
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(|e| rounded(e, &schema))?.update_data(|e| name.restore(e)))
        })?;
        // Types below may have changed too.
        node.map_data(LogicalPlan::recompute_schema)
    };
    plan.transform_up_with_subqueries(node).data()
}

fn rounded(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::BinaryExpr(binary) = &expr else { return Ok(Transformed::no(expr)) };
    if binary.op != Operator::Divide {
        return Ok(Transformed::no(expr));
    }
    // A type that is not known yet is left to the coercion, which knows how to complain.
    let (Ok(left), Ok(right)) = (binary.left.get_type(schema), binary.right.get_type(schema)) else {
        return Ok(Transformed::no(expr));
    };
    let (Some(to_left), Some(to_right)) = (exact_type(&binary.left, &left), exact_type(&binary.right, &right)) else {
        return Ok(Transformed::no(expr));
    };
    if !left.is_decimal() && !right.is_decimal() {
        return Ok(Transformed::no(expr));
    }
    let cast = |side: &Expr, from, to| match from == to {
        true => side.clone(),
        false => Expr::Cast(Cast::new(Box::new(side.clone()), to)),
    };
    let (left, right) = (cast(&binary.left, left, to_left), cast(&binary.right, right, to_right));
    Ok(Transformed::yes(quotient(left, right)))
}

/// The decimal type of one side: a whole number that is written out has as many digits as it has.
fn exact_type(side: &Expr, data_type: &DataType) -> Option<DataType> {
    match side {
        Expr::Literal(ScalarValue::Int64(Some(number)), _) => {
            let digits = number.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1);
            Some(DataType::Decimal128(u8::try_from(digits).ok()?, 0))
        }
        _ => operand_type(data_type),
    }
}
