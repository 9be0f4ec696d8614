//! Joins of bounded inputs one of which has one row a window, or one row in all: those rows go to every worker, and the others stay
//! where they are.
//!
//! ```text
//!   aggregate of each window, of all rows ── broadcast ──┐
//!                                                        ├──► join ──► left columns, right columns
//!   any rows                              ── forward ────┘
//! ```

use datafusion_expr::logical_plan::Join;
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use rheos_core::error::Result;
use rheos_operators::{BroadcastJoinSpec, Closing, WindowJoinSpec, plan};

use super::Lowering;
use super::join::joined;
use super::stream::{Slot, Stream};
use crate::event_time::is_at_watermark;
use crate::windows::{WindowColumn, WindowNode};

impl Lowering<'_> {
    /// The join, if it can be made so. `spec`: as a join of all rows, whose nodes the sides are.
    pub(super) fn broadcast_join(
        &mut self,
        join: &Join,
        [left, right]: [&Stream; 2],
        spec: &WindowJoinSpec,
    ) -> Result<Option<Stream>> {
        let plans = [&*join.left, &*join.right];
        // The right one is the one that subqueries become.
        for few in [1, 0].into_iter().filter(|few| has_few_rows(plans[*few])) {
            let streams = [left, right];
            let other = 1 - few;
            let closing = closing(join, (plans[few], streams[few]), (plans[other], streams[other]));
            let spec = BroadcastJoinSpec { join: spec.clone(), few, closing };
            if let Some((node, schema)) = plan::broadcast_join(self.graph, [left.node, right.node], spec)? {
                return Ok(Some(joined(join.join_type, false, left, right, Stream::plain(node, schema))));
            }
        }
        Ok(None)
    }
}

/// Whether a relation has one row a window, or one row, at most.
fn has_few_rows(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => has_few_rows(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_few_rows(&alias.input),
        LogicalPlan::Filter(filter) => has_few_rows(&filter.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.iter().all(|key| match key {
            Expr::Column(column) => {
                aggregate.input.schema().index_of_column(column).is_ok_and(|at| is_of_window(&aggregate.input, at))
            }
            _ => false,
        }),
        _ => false,
    }
}

/// Whether a column of a relation is one that a window has added.
fn is_of_window(plan: &LogicalPlan, index: usize) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => match projection.expr[index].clone().unalias() {
            Expr::Column(column) => {
                projection.input.schema().index_of_column(&column).is_ok_and(|at| is_of_window(&projection.input, at))
            }
            _ => false,
        },
        LogicalPlan::SubqueryAlias(alias) => is_of_window(&alias.input, index),
        LogicalPlan::Filter(filter) => is_of_window(&filter.input, index),
        LogicalPlan::Extension(extension) => extension
            .node
            .as_any()
            .downcast_ref::<WindowNode>()
            .is_some_and(|window| index >= window.input.schema().fields().len()),
        _ => false,
    }
}

/// Until when rows wait for those of closed windows, told by conditions such as `window_start <= t`, which stand beside others in
/// an AND. `None`: nothing bounds it.
fn closing(join: &Join, windows: (&LogicalPlan, &Stream), rows: (&LogicalPlan, &Stream)) -> Option<Closing> {
    let ends = |at: usize| matches!(windows.1.window_column(at), Some(WindowColumn::End | WindowColumn::Time));
    let mut columns = 0..windows.0.schema().fields().len();
    if !columns.any(|at| ends(at) && is_at_watermark(windows.0, at)) {
        return None;
    }
    let mut found: Option<Closing> = None;
    let equal = join.on.iter().flat_map(|(a, b)| [(a, b), (b, a)]);
    let others = join.filter.iter().flat_map(split_conjunction).flat_map(ordered);
    for (lesser, greater) in equal.chain(others) {
        let Some(closing) = bound(lesser, greater, windows, rows) else { continue };
        if found.is_none_or(|old| old.column != closing.column || closing.reach_ms < old.reach_ms) {
            found = Some(closing);
        }
    }
    found
}

/// What a condition says to be no greater than what.
fn ordered(condition: &Expr) -> Vec<(&Expr, &Expr)> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::Lt | Operator::LtEq => vec![(left, right)],
            Operator::Gt | Operator::GtEq => vec![(right, left)],
            Operator::Eq => vec![(left, right), (right, left)],
            _ => vec![],
        },
        Expr::Between(between) if !between.negated => {
            vec![(&between.low, &between.expr), (&between.expr, &between.high)]
        }
        _ => vec![],
    }
}

/// What `lesser <= greater` says, if the one is a window's and the other a time of the rows. Times that are computed may fail, and such joins
/// are made in another way.
fn bound(
    lesser: &Expr,
    greater: &Expr,
    (window_plan, windows): (&LogicalPlan, &Stream),
    (row_plan, rows): (&LogicalPlan, &Stream),
) -> Option<Closing> {
    let (Expr::Column(window), Expr::Column(time)) = (lesser, greater) else { return None };
    let window = windows.window_column(window_plan.schema().index_of_column(window).ok()?)?;
    let Slot::Column(column) = rows.slots[row_plan.schema().index_of_column(time).ok()?] else { return None };
    // From this column of the window to its end.
    let reach_ms = match window {
        WindowColumn::Start => windows.window_length?,
        WindowColumn::Time => 1,
        WindowColumn::End => 0,
    };
    Some(Closing { column, reach_ms })
}
