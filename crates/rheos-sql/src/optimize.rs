//! The logical plan made cheap: types coerced, times in microseconds, constants folded, filters and projections pushed to the sources.
//!
//! Only rules that hold for a stream: subqueries in conditions become joins, but nothing splits an aggregate in two. What
//! a stream cannot do is refused when the plan is lowered.

use std::sync::Arc;

use chrono::DateTime;
use datafusion_common::DataFusionError;
use datafusion_common::Result as DfResult;
use datafusion_common::config::ConfigOptions;
use datafusion_expr::LogicalPlan;
use datafusion_optimizer::analyzer::resolve_grouping_function::ResolveGroupingFunction;
use datafusion_optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion_optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion_optimizer::{Analyzer, Optimizer, OptimizerContext, OptimizerRule};
use rheos_core::error::Error;
use rheos_core::source::Boundedness;

use crate::constants::{CheckedConstants, named_in_sets};
use crate::diagnose::external;
use crate::first_match::without_lists;
use crate::floats::prefer_floats;
use crate::micros::in_micros;
use crate::not_in::answerable;
use crate::null_keys::EqualKeys;
use crate::push_down::PushDown;
use crate::quotients::round_quotients;
use crate::reuse::reuse;
use crate::spelling::spell_times;
use crate::{clock, event_time, lateral, zone};

/// Analyses and optimizes a plan; `now_ms` is what `now()` means in it where the input ends.
pub(crate) fn optimize(plan: LogicalPlan, config: &ConfigOptions, now_ms: i64) -> DfResult<LogicalPlan> {
    lateral::check_values(&plan)?;
    let plan = round_quotients(prefer_floats(lateral::flatten(plan)?)?)?;
    let analyzer = Analyzer::with_rules(vec![Arc::new(ResolveGroupingFunction::new()), Arc::new(TypeCoercion::new())]);
    let plan = answerable(in_micros(analyzer.execute_and_check(plan, config, |_, _| {})?)?)?;
    let zone = config.execution.time_zone.as_deref().unwrap_or("UTC");
    let plan = match event_time::boundedness(&plan).map_err(external)? {
        Boundedness::Unbounded => clock::on_operators(plan, zone.parse()?)?,
        Boundedness::Bounded => plan,
    };
    let plan = named_in_sets(spell_times(zone::localize(plan, zone)?)?)?;
    let mut context = OptimizerContext::new_with_config_options(Arc::new(config.clone()))
        .with_skip_failing_rules(false)
        .with_max_passes(8);
    match DateTime::from_timestamp_millis(now_ms) {
        Some(now) => context = context.with_query_execution_start_time(now),
        None => {
            return Err(DataFusionError::External(Box::new(Error::internal("the query's time is out of range"))));
        }
    }
    let plan = Optimizer::with_rules(rules()).optimize(plan, &context, |_, _| {})?;
    let last = Optimizer::with_rules(vec![Arc::new(ExtractEquijoinPredicate::new())]);
    let plan = last.optimize(plan, &context.with_max_passes(1), |_, _| {})?;
    reuse(without_lists(plan)?)
}

/// The plan with its types coerced, its times in the session's zone, and nothing else.
pub(crate) fn coerced(plan: LogicalPlan, config: &ConfigOptions) -> DfResult<LogicalPlan> {
    let analyzer = Analyzer::with_rules(vec![Arc::new(TypeCoercion::new())]);
    let plan = in_micros(analyzer.execute_and_check(round_quotients(prefer_floats(plan)?)?, config, |_, _| {})?)?;
    let zone = config.execution.time_zone.as_deref().unwrap_or("UTC");
    spell_times(zone::localize(clock::on_operators(plan, zone.parse()?)?, zone)?)
}

fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    use datafusion_optimizer::{
        common_subexpr_eliminate::CommonSubexprEliminate, decorrelate_predicate_subquery::DecorrelatePredicateSubquery,
        eliminate_cross_join::EliminateCrossJoin, eliminate_duplicated_expr::EliminateDuplicatedExpr,
        eliminate_filter::EliminateFilter, eliminate_limit::EliminateLimit, eliminate_outer_join::EliminateOuterJoin,
        optimize_projections::OptimizeProjections, optimize_unions::OptimizeUnions,
        propagate_empty_relation::PropagateEmptyRelation, scalar_subquery_to_join::ScalarSubqueryToJoin,
        simplify_expressions::SimplifyExpressions,
    };
    vec![
        Arc::new(OptimizeUnions::new()),
        Arc::new(CheckedConstants),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(EqualKeys::default()),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(EliminateFilter::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(EliminateLimit::new()),
        Arc::new(PropagateEmptyRelation::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDown::default()),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(OptimizeProjections::new()),
    ]
}
