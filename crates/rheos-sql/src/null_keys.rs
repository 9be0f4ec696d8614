//! Joins whose null keys meet, `ON a.k IS NOT DISTINCT FROM b.k`: DataFusion's rule, but as the last of all.
//!
//! Such a join has one flag for all of its keys. Rules that put joins together, or conditions of a `WHERE` into a join, do not heed it:
//! `a.k IS NOT DISTINCT FROM b.k` and `b.j = c.j` become keys of joins that all have the flag of one of them. So as long as they
//! run, only `=` makes keys, and the others are conditions.

use datafusion_common::tree_node::Transformed;
use datafusion_common::{NullEquality, Result};
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{BinaryExpr, Expr, Join, LogicalPlan, Operator};
use datafusion_optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion_optimizer::optimizer::ApplyOrder;
use datafusion_optimizer::{OptimizerConfig, OptimizerRule};

/// The rule that makes keys of conditions with `=` only.
#[derive(Debug, Default)]
pub(crate) struct EqualKeys(ExtractEquijoinPredicate);

impl OptimizerRule for EqualKeys {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let before = match &plan {
            LogicalPlan::Join(join) if may_let_nulls_meet(join) => Some(plan.clone()),
            _ => None,
        };
        let rewritten = self.0.rewrite(plan, config)?;
        let lets_nulls_meet =
            matches!(&rewritten.data, LogicalPlan::Join(join) if join.null_equality == NullEquality::NullEqualsNull);
        Ok(match before.filter(|_| lets_nulls_meet) {
            Some(before) => Transformed::no(before),
            None => rewritten,
        })
    }
}

/// Whether the rule could let null keys meet that do not yet.
fn may_let_nulls_meet(join: &Join) -> bool {
    let is_such = |part: &&Expr| matches!(part, Expr::BinaryExpr(BinaryExpr { op: Operator::IsNotDistinctFrom, .. }));
    join.on.is_empty() && join.filter.as_ref().is_some_and(|filter| split_conjunction(filter).iter().any(is_such))
}
