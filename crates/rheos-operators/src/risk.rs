//! Which expressions may fail for a row.

use std::sync::Arc;

use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{
    BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr, TryCastExpr,
};

/// Whether an expression can end the job on some row. `true` for all that is not known.
pub fn may_fail(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let is_safe = match expr.downcast_ref::<BinaryExpr>() {
        Some(binary) => is_safe_operator(*binary.op()),
        None => {
            expr.downcast_ref::<Column>().is_some()
                || expr.downcast_ref::<Literal>().is_some()
                || expr.downcast_ref::<NotExpr>().is_some()
                || expr.downcast_ref::<IsNullExpr>().is_some()
                || expr.downcast_ref::<IsNotNullExpr>().is_some()
                || expr.downcast_ref::<InListExpr>().is_some()
                || expr.downcast_ref::<LikeExpr>().is_some()
                || expr.downcast_ref::<TryCastExpr>().is_some()
        }
    };
    !is_safe || expr.children().into_iter().any(may_fail)
}

/// Whether the operator gives a value for all values.
pub fn is_safe_operator(op: Operator) -> bool {
    use Operator::{And, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq, Or};
    matches!(op, And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}
