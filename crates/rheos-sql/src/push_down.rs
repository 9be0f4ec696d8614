//! Conditions pushed towards the sources: DataFusion's rule, but not where a condition would mean something else below.
//!
//! ```text
//!   filter false           over  count(*) of t        an aggregate without keys has its row whatever is below it
//!   filter random() < 0.5  over  count(*) of t by k   groups are drawn, not rows
//! ```
//!
//! Both read no column, and of such a condition DataFusion finds that all its columns are keys.

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_common::tree_node::Transformed;
use datafusion_expr::logical_plan::Filter;
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{Expr, LogicalPlan};
use datafusion_optimizer::optimizer::ApplyOrder;
use datafusion_optimizer::push_down_filter::PushDownFilter;
use datafusion_optimizer::{OptimizerConfig, OptimizerRule};

/// The rule; see the module.
#[derive(Debug, Default)]
pub(crate) struct PushDown(PushDownFilter);

impl OptimizerRule for PushDown {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = &plan else { return self.0.rewrite(plan, config) };
        let (conditions, input) = stacked(filter);
        let (kept, pushed): (Vec<_>, Vec<_>) = conditions.into_iter().partition(|c| stays_above(c, &input));
        let Some(kept) = conjunction(kept) else { return self.0.rewrite(plan, config) };
        let Some(pushed) = conjunction(pushed) else { return Ok(Transformed::no(plan)) };
        let below = self.0.rewrite(LogicalPlan::Filter(Filter::try_new(pushed, input)?), config)?;
        below.map_data(|below| Ok(LogicalPlan::Filter(Filter::try_new(kept, Arc::new(below))?)))
    }
}

/// The conditions of filters that stand on one another, the lowest first, and what is below them.
fn stacked(filter: &Filter) -> (Vec<Expr>, Arc<LogicalPlan>) {
    let (mut conditions, input) = match filter.input.as_ref() {
        LogicalPlan::Filter(below) => stacked(below),
        _ => (vec![], Arc::clone(&filter.input)),
    };
    conditions.extend(split_conjunction_owned(filter.predicate.clone()));
    (conditions, input)
}

/// Whether a condition that reads no column means something else below `input`.
fn stays_above(condition: &Expr, input: &LogicalPlan) -> bool {
    if !condition.column_refs().is_empty() {
        return false;
    }
    match input {
        LogicalPlan::Aggregate(aggregate) => {
            let has_totals = matches!(aggregate.group_expr.as_slice(), [] | [Expr::GroupingSet(_)]);
            has_totals || condition.is_volatile()
        }
        LogicalPlan::Extension(_) => true,
        LogicalPlan::Distinct(_) | LogicalPlan::Window(_) | LogicalPlan::Join(_) | LogicalPlan::Unnest(_) => {
            condition.is_volatile()
        }
        _ => false,
    }
}
