//! What an updating join joins, and what follows from it.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::{JoinType, NullEquality};
use datafusion_physical_expr::PhysicalExpr;
use rheos_core::change::{has_weights, with_weights, without_weights};
use rheos_core::{Error, Result};

use super::expiry::{Expiry, TimeBounds};
use super::side::SideSpec;
use crate::joining::kind::{self, Rest};
use crate::joining::residual::Residual;
use crate::joining::{LEFT, RIGHT, keys};
use crate::row_keys::has_order;

/// One input of an updating join.
#[derive(Debug, Clone)]
pub struct UpdateJoinInput {
    /// Its columns; with weights if its rows may go.
    pub schema: SchemaRef,
    /// What must be equal on both sides, in the same order and types.
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
}

/// What an updating join joins.
#[derive(Debug, Clone)]
pub struct UpdateJoinSpec {
    /// Input 0.
    pub left: UpdateJoinInput,
    /// Input 1.
    pub right: UpdateJoinInput,
    /// The kind of join.
    pub kind: JoinType,
    /// A further condition, over the columns of the left and then those of the right, both without weights.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// Whether null keys join null keys (`IS NOT DISTINCT FROM`, `INTERSECT`) or nothing (`=`).
    pub null_equality: NullEquality,
    /// How far apart the times of joined rows are, where the filter says so and no input has weights: then rows are let go in time,
    /// and those that come behind the watermark are late.
    pub bounds: Option<TimeBounds>,
    /// Rows of a key that nothing has happened to for so long, in event time, are let go. `None`: never.
    pub state_ttl_ms: Option<i64>,
    /// How often rows that go out by themselves are told within an epoch. `None`: at its end.
    pub emit_interval_ms: Option<i64>,
}

/// What follows from a spec that fits together.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Of the results, with weights unless rows only come.
    pub(crate) schema: SchemaRef,
    /// Of the inputs, without weights.
    pub(crate) inputs: [SchemaRef; 2],
    /// Of a pair: the columns of the left, then of the right.
    pub(crate) pairs: SchemaRef,
    pub(crate) rest: [Option<Rest>; 2],
    /// Whether pairs go out.
    pub(crate) emits_pairs: bool,
    /// Whether equal rows of a side are kept as one row with a weight: where rows may go, where each has a count of what it is
    /// joined with, and where only their existence is asked for.
    pub(crate) merges: [bool; 2],
    pub(crate) residual: Option<Residual>,
    pub(crate) null_equality: NullEquality,
    pub(crate) bounds: Option<TimeBounds>,
    pub(crate) state_ttl_ms: Option<i64>,
    pub(crate) emit_interval_ms: Option<i64>,
}

impl Plan {
    pub(crate) fn try_new(spec: &UpdateJoinSpec) -> Result<Self> {
        let inputs = [&spec.left, &spec.right].map(|side| without_weights(&side.schema));
        let [left, right] = &inputs;
        keys::check((left, &spec.left.keys), (right, &spec.right.keys))?;
        let rest = kind::rest(spec.kind);
        let emits_pairs = kind::emits_pairs(rest);
        let pairs = kind::pair_fields(left, right);
        let residual = spec.filter.as_ref().map(|f| Residual::try_new(f, &pairs, left.fields().len())).transpose()?;
        let changes = [&spec.left, &spec.right].map(|side| has_weights(&side.schema));
        let merges = [LEFT, RIGHT].map(|side| {
            let is_counted = rest[side].is_some() && residual.is_some();
            let only_exists = rest[side].is_none() && !emits_pairs && all_have_order(&inputs[side]);
            // What a time to live takes has to be named.
            changes[side] || is_counted || only_exists || spec.state_ttl_ms.is_some()
        });
        for side in [LEFT, RIGHT].into_iter().filter(|side| merges[*side]) {
            check_rows_compare(&inputs[side])?;
        }
        let rows: SchemaRef = Arc::new(Schema::new(kind::output_fields(spec.kind, left, right)));
        let only_comes = match spec.kind {
            JoinType::Inner => changes == [false, false] && merges == [false, false],
            // What has once joined something goes on doing so.
            JoinType::LeftSemi => changes == [false, false] && !merges[LEFT],
            JoinType::RightSemi => changes == [false, false] && !merges[RIGHT],
            _ => false,
        };
        let schema = if only_comes { rows } else { with_weights(&rows) };
        if let Some(bounds) = &spec.bounds {
            bounds.check([left, right])?;
            if residual.is_none() || changes != [false, false] {
                return Err(Error::internal("a join is bounded in time that has no condition, or whose rows change"));
            }
        }
        let pairs = Arc::new(Schema::new(pairs));
        let UpdateJoinSpec { null_equality, bounds, state_ttl_ms, .. } = *spec;
        // Pairs go out at once.
        let emit_interval_ms = spec.emit_interval_ms.filter(|_| rest != [None, None]);
        Ok(Self {
            schema,
            inputs,
            pairs,
            rest,
            emits_pairs,
            merges,
            residual,
            null_equality,
            bounds,
            state_ttl_ms,
            emit_interval_ms,
        })
    }

    /// What is kept of an input.
    pub(crate) fn side(&self, side: usize) -> SideSpec {
        SideSpec {
            schema: Arc::clone(&self.inputs[side]),
            merges: self.merges[side],
            counts_by_row: self.counts_by_row(side),
            counts_by_key: self.counts_by_key(side),
            expiry: self.bounds.as_ref().map(|bounds| Expiry::new(side, bounds)),
        }
    }

    /// Of the results, without weights.
    pub(crate) fn schema_of_rows(&self) -> SchemaRef {
        without_weights(&self.schema)
    }

    /// Whether a row of this side goes out though it joins nothing.
    pub(crate) fn wants_unmatched(&self, side: usize) -> bool {
        self.rest[side].is_some_and(Rest::wants_unmatched)
    }

    /// Whether rows of the results may go.
    pub(crate) fn emits_weights(&self) -> bool {
        has_weights(&self.schema)
    }

    /// Whether each row of this side has a count of the rows that it is joined with. Else it goes by its key.
    fn counts_by_row(&self, side: usize) -> bool {
        self.rest[side].is_some() && self.residual.is_some()
    }

    /// Whether each key has a count of this side's rows, for the rest of the other side.
    fn counts_by_key(&self, side: usize) -> bool {
        self.rest[1 - side].is_some() && self.residual.is_none()
    }

    /// Whether each pair is looked at, and not only whether there is one.
    pub(crate) fn forms_pairs(&self) -> bool {
        self.emits_pairs || self.residual.is_some()
    }
}

fn all_have_order(schema: &Schema) -> bool {
    schema.fields().iter().all(|field| has_order(field.data_type()))
}

/// Errors: `Invalid` where equal rows cannot be told.
pub(crate) fn check_rows_compare(schema: &Schema) -> Result<()> {
    let wrong = schema.fields().iter().find(|field| !has_order(field.data_type()));
    let Some(field) = wrong else { return Ok(()) };
    let (name, data_type) = (field.name(), field.data_type());
    let cause =
        format!("'{name}' has type {data_type}, which cannot be compared, so a join cannot tell which of its rows go");
    Err(Error::invalid(150, cause).with_hint("leave the column out, or join a part of it, e.g. one field or element"))
}
