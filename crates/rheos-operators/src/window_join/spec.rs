//! What a window join joins, and what follows from the kind of join.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion_common::{JoinType, NullEquality};
use datafusion_physical_expr::PhysicalExpr;
use rheos_core::{Error, Result};

use super::residual::Residual;
use crate::evaluation::{check_expression, plan_error};
use crate::row_keys::has_order;
use crate::windowed_rows::{Distribution, WindowColumns};

/// One input of a window join.
#[derive(Debug, Clone)]
pub struct WindowJoinInput {
    /// Its columns.
    pub schema: SchemaRef,
    /// Where its rows carry their window; `None` on both sides: bounded inputs, joined when both have ended.
    pub window: Option<WindowColumns>,
    /// What must be equal on both sides beside the window, in the same order and types.
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
}

/// What a window join joins.
#[derive(Debug, Clone)]
pub struct WindowJoinSpec {
    /// Input 0.
    pub left: WindowJoinInput,
    /// Input 1.
    pub right: WindowJoinInput,
    /// The kind of join.
    pub kind: JoinType,
    /// A further condition, over the columns of the left and then those of the right.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// Whether null keys join null keys (`IS NOT DISTINCT FROM`, `INTERSECT`) or nothing (`=`).
    pub null_equality: NullEquality,
}

/// Which rows of a side go out by themselves, beside the pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Outer joins: those that joined nothing, with nulls in the columns of the other side.
    Padded,
    /// Semi joins: those that joined something.
    Matched,
    /// Anti joins: those that joined nothing.
    Unmatched,
    /// Mark joins: all, with a column that says whether they joined something.
    Marked,
}

impl Rest {
    /// Whether a row that joins nothing goes out.
    pub(crate) fn wants_unmatched(self) -> bool {
        self != Rest::Matched
    }
}

/// The index of a side; also of its input.
pub(crate) const LEFT: usize = 0;
pub(crate) const RIGHT: usize = 1;

/// What follows from a spec that fits together.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) schema: SchemaRef,
    pub(crate) inputs: [SchemaRef; 2],
    /// Of a pair: the columns of the left, then of the right.
    pub(crate) pairs: SchemaRef,
    pub(crate) distributions: [Distribution; 2],
    pub(crate) rest: [Option<Rest>; 2],
    /// Whether pairs go out: not of semi, anti and mark joins, which only ask whether there is one.
    pub(crate) emits_pairs: bool,
    pub(crate) residual: Option<Residual>,
    pub(crate) null_equality: NullEquality,
}

impl Plan {
    pub(crate) fn try_new(spec: &WindowJoinSpec) -> Result<Self> {
        let (left, right) = (&spec.left, &spec.right);
        check_windows(left, right)?;
        check_keys(left, right)?;
        let rest = rest(spec.kind);
        let both = [fields(left, false), fields(right, false)].concat();
        let residual = spec.filter.as_ref().map(|f| Residual::try_new(f, &both, left.schema.fields().len()));
        Ok(Self {
            schema: Arc::new(Schema::new(output_fields(spec))),
            inputs: [Arc::clone(&left.schema), Arc::clone(&right.schema)],
            distributions: [left, right].map(|side| Distribution::new(&side.keys, side.window, &side.schema)),
            rest,
            emits_pairs: rest.iter().flatten().all(|rest| *rest == Rest::Padded),
            residual: residual.transpose()?,
            pairs: Arc::new(Schema::new(both)),
            null_equality: spec.null_equality,
        })
    }

    /// Whether a row of this side goes out though it joins nothing.
    pub(crate) fn wants_unmatched(&self, side: usize) -> bool {
        self.rest[side].is_some_and(Rest::wants_unmatched)
    }
}

fn rest(kind: JoinType) -> [Option<Rest>; 2] {
    match kind {
        JoinType::Inner => [None, None],
        JoinType::Left => [Some(Rest::Padded), None],
        JoinType::Right => [None, Some(Rest::Padded)],
        JoinType::Full => [Some(Rest::Padded), Some(Rest::Padded)],
        JoinType::LeftSemi => [Some(Rest::Matched), None],
        JoinType::RightSemi => [None, Some(Rest::Matched)],
        JoinType::LeftAnti => [Some(Rest::Unmatched), None],
        JoinType::RightAnti => [None, Some(Rest::Unmatched)],
        JoinType::LeftMark => [Some(Rest::Marked), None],
        JoinType::RightMark => [None, Some(Rest::Marked)],
    }
}

fn fields(side: &WindowJoinInput, nullable: bool) -> Vec<FieldRef> {
    let field = |f: &FieldRef| if nullable { Arc::new(Field::clone(f).with_nullable(true)) } else { Arc::clone(f) };
    side.schema.fields().iter().map(field).collect()
}

/// A side is nullable where the other one is preserved.
fn output_fields(spec: &WindowJoinSpec) -> Vec<FieldRef> {
    let mark = vec![Arc::new(Field::new("mark", DataType::Boolean, false))];
    let (left, right) = (&spec.left, &spec.right);
    match spec.kind {
        JoinType::Inner => [fields(left, false), fields(right, false)].concat(),
        JoinType::Left => [fields(left, false), fields(right, true)].concat(),
        JoinType::Right => [fields(left, true), fields(right, false)].concat(),
        JoinType::Full => [fields(left, true), fields(right, true)].concat(),
        JoinType::LeftSemi | JoinType::LeftAnti => fields(left, false),
        JoinType::RightSemi | JoinType::RightAnti => fields(right, false),
        JoinType::LeftMark => [fields(left, false), mark].concat(),
        JoinType::RightMark => [fields(right, false), mark].concat(),
    }
}

fn check_windows(left: &WindowJoinInput, right: &WindowJoinInput) -> Result<()> {
    if left.window.is_some() != right.window.is_some() {
        return Err(Error::internal("a window join has a window on one side only"));
    }
    for side in [left, right] {
        side.window.map_or(Ok(()), |window| window.check(&side.schema))?;
    }
    Ok(())
}

fn check_keys(left: &WindowJoinInput, right: &WindowJoinInput) -> Result<()> {
    if left.keys.len() != right.keys.len() {
        return Err(Error::internal("a join has more keys on one side than on the other"));
    }
    for (a, b) in left.keys.iter().zip(&right.keys) {
        check_expression(a, &left.schema)?;
        check_expression(b, &right.schema)?;
        let types = (a.data_type(&left.schema).map_err(plan_error)?, b.data_type(&right.schema).map_err(plan_error)?);
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
