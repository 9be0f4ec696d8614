//! `sum(v)` and `sum(CAST(v AS DOUBLE))` are two columns. DataFusion leaves casts out of a column's name, so it takes both
//! for `sum(v)` and refuses the query; here what is cast gets a name with the cast in it.

use datafusion_common::Result as DfResult;
use datafusion_common::tree_node::TreeNode;
use datafusion_expr::Expr;
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawAggregateExpr};

/// Names the arguments and the filter of an aggregate; the lowering takes the names off again.
#[derive(Debug)]
pub(crate) struct CastNames;

impl ExprPlanner for CastNames {
    fn plan_aggregate(&self, mut call: RawAggregateExpr) -> DfResult<PlannerResult<RawAggregateExpr>> {
        call.args = call.args.into_iter().map(named).collect();
        call.filter = call.filter.map(|filter| Box::new(named(*filter)));
        for sort in &mut call.order_by {
            sort.expr = named(std::mem::take(&mut sort.expr));
        }
        Ok(PlannerResult::Original(call))
    }
}

fn named(expr: Expr) -> Expr {
    // The walk fails only where the closure does.
    let has_cast = expr.exists(|e| Ok(matches!(e, Expr::Cast(_) | Expr::TryCast(_)))).unwrap_or(false);
    if !has_cast {
        return expr;
    }
    let name = expr.to_string();
    expr.alias(name)
}
