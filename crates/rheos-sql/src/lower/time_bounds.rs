//! How far apart in time the rows of a join are, told from its condition: `l.ts BETWEEN r.ts - INTERVAL '1' HOUR AND r.ts`.
//!
//! Read are comparisons of two event times (or ends of windows), each with or without a constant time added, that stand beside others in an AND. The
//! condition stays as it is; what is told here only says which rows the join can let go.

use datafusion_common::{Column, ScalarValue};
use datafusion_expr::logical_plan::Join;
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use rheos_operators::TimeBounds;

use super::stream::{Slot, Stream};
use crate::event_time;

/// The bounds that the condition of a join sets for the event times of its sides. `None`: none.
pub(super) fn of(join: &Join, left: &Stream, right: &Stream) -> Option<TimeBounds> {
    found(join, [&|column| in_rows(column, &join.left, left), &|column| in_rows(column, &join.right, right)])
}

/// Whether the condition of a join sets any.
pub(super) fn are_set(join: &Join) -> bool {
    found(join, [&|column| time(column, &join.left), &|column| time(column, &join.right)]).is_some()
}

/// Where a column of each side is, if it is a time that follows the watermark.
type Times<'a> = [&'a dyn Fn(&Column) -> Option<usize>; 2];

fn found(join: &Join, times: Times<'_>) -> Option<TimeBounds> {
    let mut bounds: Option<TimeBounds> = None;
    for condition in split_conjunction(join.filter.as_ref()?) {
        for (columns, end) in ends(condition, times) {
            let found = bounds.get_or_insert(TimeBounds { columns, min_us: None, max_us: None });
            if found.columns != columns {
                continue;
            }
            match end {
                End::Min(us) => found.min_us = Some(found.min_us.map_or(us, |old| old.max(us))),
                End::Max(us) => found.max_us = Some(found.max_us.map_or(us, |old| old.min(us))),
            }
        }
    }
    bounds
}

/// Of the time of the left minus that of the right.
enum End {
    Min(i64),
    Max(i64),
}

fn ends(condition: &Expr, [left, right]: Times<'_>) -> Vec<([usize; 2], End)> {
    let compared = |a: &Expr, op: Operator, b: &Expr| -> Option<([usize; 2], End)> {
        let ((a, plus_a), (b, plus_b)) = (shifted(a)?, shifted(b)?);
        // left + x op right + y: left - right op y - x.
        if let (Some(l), Some(r)) = (left(a), right(b)) {
            let apart = plus_b.checked_sub(plus_a)?;
            return Some(([l, r], if is_less(op)? { End::Max(apart) } else { End::Min(apart) }));
        }
        let (r, l) = (right(a)?, left(b)?);
        let apart = plus_a.checked_sub(plus_b)?;
        Some(([l, r], if is_less(op)? { End::Min(apart) } else { End::Max(apart) }))
    };
    let found = match condition {
        Expr::BinaryExpr(BinaryExpr { left: a, op, right: b }) => vec![compared(a, *op, b)],
        Expr::Between(between) if !between.negated => vec![
            compared(&between.expr, Operator::GtEq, &between.low),
            compared(&between.expr, Operator::LtEq, &between.high),
        ],
        _ => vec![],
    };
    found.into_iter().flatten().collect()
}

fn is_less(op: Operator) -> Option<bool> {
    match op {
        Operator::Lt | Operator::LtEq => Some(true),
        Operator::Gt | Operator::GtEq => Some(false),
        _ => None,
    }
}

/// A column and the microseconds that are added to it.
fn shifted(expr: &Expr) -> Option<(&Column, i64)> {
    match expr {
        Expr::Column(column) => Some((column, 0)),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => {
            let (time, constant) = if matches!(**left, Expr::Literal(..)) { (right, left) } else { (left, right) };
            let (column, us) = shifted(time)?;
            Some((column, us.checked_add(constant_us(constant)?)?))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => {
            let (column, us) = shifted(left)?;
            Some((column, us.checked_sub(constant_us(right)?)?))
        }
        _ => None,
    }
}

/// An interval whose length does not depend on where it begins.
fn constant_us(expr: &Expr) -> Option<i64> {
    const DAY_MS: i64 = 86_400_000;
    let Expr::Literal(value, _) = expr else { return None };
    match value {
        ScalarValue::IntervalDayTime(Some(v)) => {
            (i64::from(v.days) * DAY_MS).checked_add(i64::from(v.milliseconds))?.checked_mul(1000)
        }
        ScalarValue::IntervalMonthDayNano(Some(v)) if v.months == 0 && v.nanoseconds % 1000 == 0 => {
            (i64::from(v.days) * DAY_MS * 1000).checked_add(v.nanoseconds / 1000)
        }
        ScalarValue::DurationMicrosecond(us) => *us,
        ScalarValue::DurationMillisecond(Some(ms)) => ms.checked_mul(1000),
        ScalarValue::DurationSecond(Some(s)) => s.checked_mul(1_000_000),
        _ => None,
    }
}

/// Where a time that follows the watermark is among the columns of a side, if the column is one.
fn time(column: &Column, plan: &LogicalPlan) -> Option<usize> {
    let at = plan.schema().index_of_column(column).ok()?;
    event_time::is_at_watermark(plan, at).then_some(at)
}

/// The same in the rows of the side.
fn in_rows(column: &Column, plan: &LogicalPlan, stream: &Stream) -> Option<usize> {
    match stream.slots[time(column, plan)?] {
        Slot::Column(row) => Some(row),
        Slot::Window(_) => None,
    }
}
