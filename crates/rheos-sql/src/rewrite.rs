//! The walk of rules that replace expressions wherever they stand in a plan.

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{DFSchema, Result as DfResult};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{Expr, LogicalPlan};

/// Offers every expression of a plan and its subqueries to `replace`, from the leaves up, with the columns that it may name. Columns of
/// the plan keep their names.
pub(crate) fn each_expression(
    plan: LogicalPlan,
    replace: impl Fn(Expr, &DFSchema) -> DfResult<Transformed<Expr>>,
) -> DfResult<LogicalPlan> {
    let node = |node: LogicalPlan| {
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(|e| replace(e, &schema))?.update_data(|e| name.restore(e)))
        })
    };
    plan.transform_up_with_subqueries(node).data()
}
