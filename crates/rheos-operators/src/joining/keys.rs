//! What must be equal on both sides of a join.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use arrow::datatypes::Schema;
use datafusion_common::NullEquality;
use datafusion_physical_expr::PhysicalExpr;
use rheos_core::{Error, Result};

use crate::evaluation::{check_expression, plan_error};
use crate::row_keys::{complete_rows, has_order};

/// One side: its columns, and its keys over them.
pub(crate) type KeyedSide<'a> = (&'a Schema, &'a [Arc<dyn PhysicalExpr>]);

/// Errors: `Invalid` for expressions that do not fit their input and for types that cannot be compared; `Internal` for sides
/// that differ in the number or the types of their keys.
pub(crate) fn check((left, left_keys): KeyedSide<'_>, (right, right_keys): KeyedSide<'_>) -> Result<()> {
    if left_keys.len() != right_keys.len() {
        return Err(Error::internal("a join has more keys on one side than on the other"));
    }
    for (a, b) in left_keys.iter().zip(right_keys) {
        check_expression(a, left)?;
        check_expression(b, right)?;
        let types = (a.data_type(left).map_err(plan_error)?, b.data_type(right).map_err(plan_error)?);
        if types.0 != types.1 {
            return Err(Error::internal(format!("the join keys {a} and {b} have types {} and {}", types.0, types.1)));
        }
        if !has_order(&types.0) {
            return Err(Error::invalid(
                150,
                format!("the join key {a} has type {}, which cannot be compared", types.0),
            )
            .with_hint("join by a part of it, e.g. one field or element"));
        }
    }
    Ok(())
}

/// Which rows with these keys can join at all; `None`: every one.
pub(crate) fn joinable_rows(null_equality: NullEquality, keys: &[ArrayRef]) -> Option<NullBuffer> {
    match null_equality {
        NullEquality::NullEqualsNothing => complete_rows(keys),
        NullEquality::NullEqualsNull => None,
    }
}

/// `a = b, c = d`.
pub(crate) fn describe(
    left: &[Arc<dyn PhysicalExpr>],
    right: &[Arc<dyn PhysicalExpr>],
    null_equality: NullEquality,
) -> String {
    let equals = if null_equality == NullEquality::NullEqualsNull { "is not distinct from" } else { "=" };
    let keys = left.iter().zip(right).map(|(a, b)| format!("{a} {equals} {b}"));
    keys.collect::<Vec<_>>().join(", ")
}
