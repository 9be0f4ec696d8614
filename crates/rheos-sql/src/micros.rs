//! Times in microseconds all over a plan. DataFusion's coercion makes nanoseconds of a timestamp next to a text or a date, and of a
//! text that a function takes for a time; those reach from 1677 to 2262 only, and what is beyond would fail.
//!
//! ```text
//!   ts > '2500-01-01'     CAST(ts AS nanoseconds) > CAST(.. AS nanoseconds)   ──►   ts > CAST(.. AS TIMESTAMP)
//!   HOUR(text)            date_part('hour', CAST(text AS nanoseconds))        ──►   date_part('hour', CAST(text AS TIMESTAMP))
//! ```
//!
//! Invariant: behind this no expression is a timestamp in nanoseconds. Runs behind the coercion of types.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{Cast, Expr, ExprSchemable, LogicalPlan, TryCast, Union};

/// Takes the nanoseconds out of a plan.
pub(crate) fn in_micros(plan: LogicalPlan) -> Result<LogicalPlan> {
    let node = |node: LogicalPlan| {
        // Its columns have the types that they were planned with; whoever reads them converts them.
        if matches!(node, LogicalPlan::Values(_)) {
            return Ok(Transformed::no(node));
        }
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(|e| converted(e, &schema))?.update_data(|e| name.restore(e)))
        })?;
        // Types below may have changed too.
        node.map_data(recomputed)
    };
    plan.transform_up_with_subqueries(node).data()
}

fn recomputed(node: LogicalPlan) -> Result<LogicalPlan> {
    match node {
        // It would keep the types of before.
        LogicalPlan::Union(union) => Union::try_new_with_loose_types(union.inputs).map(LogicalPlan::Union),
        LogicalPlan::Extension(_) => {
            let inputs = node.inputs().into_iter().cloned().collect();
            node.with_new_exprs(node.expressions(), inputs)
        }
        _ => node.recompute_schema(),
    }
}

fn converted(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::Cast(Cast { expr, field }) => match coarser(field.data_type()) {
            Some(to) if expr.get_type(schema).is_ok_and(|from| from == to) => Transformed::yes(*expr),
            // A number may be what it is made of.
            Some(to @ DataType::Duration(_)) => {
                Transformed::yes(Expr::Cast(Cast::new(Box::new(Expr::Cast(Cast { expr, field })), to)))
            }
            Some(to) => Transformed::yes(Expr::Cast(Cast::new(expr, to))),
            None => Transformed::no(Expr::Cast(Cast { expr, field })),
        },
        Expr::TryCast(TryCast { expr, field }) => match coarser(field.data_type()) {
            Some(to) => Transformed::yes(Expr::TryCast(TryCast::new(expr, to))),
            None => Transformed::no(Expr::TryCast(TryCast { expr, field })),
        },
        Expr::Literal(ScalarValue::TimestampNanosecond(time, zone), metadata) => {
            let time = ScalarValue::TimestampMicrosecond(time.map(|ns| ns.div_euclid(1000)), zone);
            Transformed::yes(Expr::Literal(time, metadata))
        }
        // Columns of functions that make them, such as a series of times.
        Expr::Column(_) | Expr::ScalarFunction(_) => match expr.get_type(schema).ok().as_ref().and_then(coarser) {
            Some(to) => Transformed::yes(Expr::Cast(Cast::new(Box::new(expr), to))),
            None => Transformed::no(expr),
        },
        other => Transformed::no(other),
    })
}

/// The same in microseconds; `None`: it is not in nanoseconds.
fn coarser(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
        }
        DataType::Duration(TimeUnit::Nanosecond) => Some(DataType::Duration(TimeUnit::Microsecond)),
        _ => None,
    }
}
