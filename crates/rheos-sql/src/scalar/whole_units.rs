//! `FLOOR(ts TO HOUR)` and `CEIL(ts TO HOUR)`, Flink's way of cutting times to whole units.
//!
//! ```text
//!   FLOOR(ts TO HOUR)   date_trunc('hour', ts)
//!   CEIL(ts TO HOUR)    that, and an hour more where it is not ts itself
//! ```

use rheos_core::error::{Error, Result};
use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{BinaryOperator, CaseWhen, CeilFloorKind, DateTimeField, Expr, Interval, Spanned};

use crate::ddl::expr_place;
use crate::dialect::{call_at, text};

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The last whole unit that is not later.
    Floor,
    /// The first whole unit that is not earlier.
    Ceil,
}

/// What the call stands for; `None`: it is one of a number. Errors: a unit that is not known.
pub(crate) fn rewritten(side: Side, expr: &Expr, kind: &CeilFloorKind) -> Result<Option<Expr>> {
    let CeilFloorKind::DateTimeField(field) = kind else { return Ok(None) };
    let (name, length, unit) = match field {
        DateTimeField::NoDateTime => return Ok(None),
        DateTimeField::Year | DateTimeField::Years => ("year", "1", DateTimeField::Year),
        DateTimeField::Quarter => ("quarter", "3", DateTimeField::Month),
        DateTimeField::Month | DateTimeField::Months => ("month", "1", DateTimeField::Month),
        DateTimeField::Day | DateTimeField::Days => ("day", "1", DateTimeField::Day),
        DateTimeField::Hour | DateTimeField::Hours => ("hour", "1", DateTimeField::Hour),
        DateTimeField::Minute | DateTimeField::Minutes => ("minute", "1", DateTimeField::Minute),
        DateTimeField::Second | DateTimeField::Seconds => ("second", "1", DateTimeField::Second),
        // Flink's weeks begin on Sundays and those of PostgreSQL on Mondays, so neither would be right.
        other => {
            let error = Error::invalid(142, format!("FLOOR and CEIL to {other} are not supported yet"));
            let hint =
                "the units are YEAR, QUARTER, MONTH, DAY, HOUR, MINUTE, SECOND; date_trunc('week', ts) gives Mondays";
            let error = error.with_hint(hint);
            return Err(match expr_place(expr) {
                Some(place) => error.with_span(place),
                None => error,
            });
        }
    };
    let floor = date_trunc(name, expr);
    if side == Side::Floor {
        return Ok(Some(floor));
    }
    let step = Expr::Interval(Interval {
        value: Box::new(text(length)),
        leading_field: Some(unit),
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    });
    let operation = |left: &Expr, op, right: &Expr| Expr::BinaryOp {
        left: Box::new(Expr::Nested(Box::new(left.clone()))),
        op,
        right: Box::new(Expr::Nested(Box::new(right.clone()))),
    };
    let whole = CaseWhen { condition: operation(&floor, BinaryOperator::Eq, expr), result: floor.clone() };
    Ok(Some(Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![whole],
        else_result: Some(Box::new(operation(&floor, BinaryOperator::Plus, &step))),
    }))
}

fn date_trunc(unit: &str, time: &Expr) -> Expr {
    call_at("date_trunc", time.span(), vec![text(unit), time.clone()])
}
