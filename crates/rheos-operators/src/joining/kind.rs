//! What follows from the kind of a join: the columns of its results, and which rows go out by themselves.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, new_null_array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion_common::JoinType;

use super::LEFT;

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

    /// Rows of `side` as results. `marks`: which of them joined something; `other`: the columns of the other side.
    pub(crate) fn columns(
        self,
        side: usize,
        rows: Vec<ArrayRef>,
        marks: BooleanArray,
        other: &Schema,
    ) -> Vec<ArrayRef> {
        match self {
            Rest::Matched | Rest::Unmatched => rows,
            Rest::Marked => {
                let marks: ArrayRef = Arc::new(marks);
                rows.into_iter().chain([marks]).collect()
            }
            Rest::Padded => {
                let nulls = other.fields().iter().map(|field| new_null_array(field.data_type(), marks.len()));
                if side == LEFT { rows.into_iter().chain(nulls).collect() } else { nulls.chain(rows).collect() }
            }
        }
    }
}

/// The rest of either side.
pub(crate) fn rest(kind: JoinType) -> [Option<Rest>; 2] {
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

/// Whether pairs go out: not of semi, anti and mark joins, which only ask whether there is one.
pub(crate) fn emits_pairs(rest: [Option<Rest>; 2]) -> bool {
    rest.iter().flatten().all(|rest| *rest == Rest::Padded)
}

/// The columns of a pair: those of the left, then of the right.
pub(crate) fn pair_fields(left: &Schema, right: &Schema) -> Vec<FieldRef> {
    [fields(left, false), fields(right, false)].concat()
}

/// The columns of the results. A side is nullable where the other one is preserved.
pub(crate) fn output_fields(kind: JoinType, left: &Schema, right: &Schema) -> Vec<FieldRef> {
    let mark = vec![Arc::new(Field::new("mark", DataType::Boolean, false))];
    match kind {
        JoinType::Inner => pair_fields(left, right),
        JoinType::Left => [fields(left, false), fields(right, true)].concat(),
        JoinType::Right => [fields(left, true), fields(right, false)].concat(),
        JoinType::Full => [fields(left, true), fields(right, true)].concat(),
        JoinType::LeftSemi | JoinType::LeftAnti => fields(left, false),
        JoinType::RightSemi | JoinType::RightAnti => fields(right, false),
        JoinType::LeftMark => [fields(left, false), mark].concat(),
        JoinType::RightMark => [fields(right, false), mark].concat(),
    }
}

fn fields(side: &Schema, nullable: bool) -> Vec<FieldRef> {
    let field = |f: &FieldRef| if nullable { Arc::new(Field::clone(f).with_nullable(true)) } else { Arc::clone(f) };
    side.fields().iter().map(field).collect()
}

/// The kind in words.
pub(crate) fn name(kind: JoinType) -> &'static str {
    match kind {
        JoinType::Inner => "inner",
        JoinType::Left => "left",
        JoinType::Right => "right",
        JoinType::Full => "full",
        JoinType::LeftSemi => "left semi",
        JoinType::RightSemi => "right semi",
        JoinType::LeftAnti => "left anti",
        JoinType::RightAnti => "right anti",
        JoinType::LeftMark => "left mark",
        JoinType::RightMark => "right mark",
    }
}
