//! What a window join joins, and what follows from the kind of join.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion_common::{JoinType, NullEquality};
use datafusion_physical_expr::PhysicalExpr;
use rheos_core::{Error, Result};

use crate::joining::keys;
use crate::joining::kind::{self, Rest};
use crate::joining::residual::Residual;
use crate::row_keys::RowKeys;
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

/// What follows from a spec that fits together.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) schema: SchemaRef,
    pub(crate) inputs: [SchemaRef; 2],
    /// Of a pair: the columns of the left, then of the right.
    pub(crate) pairs: SchemaRef,
    pub(crate) distributions: [Distribution; 2],
    pub(crate) rest: [Option<Rest>; 2],
    /// Whether pairs go out.
    pub(crate) emits_pairs: bool,
    pub(crate) residual: Option<Residual>,
    pub(crate) null_equality: NullEquality,
}

impl Plan {
    pub(crate) fn try_new(spec: &WindowJoinSpec) -> Result<Self> {
        let (left, right) = (&spec.left, &spec.right);
        check_windows(left, right)?;
        keys::check((&left.schema, &left.keys), (&right.schema, &right.keys))?;
        let rest = kind::rest(spec.kind);
        let both = kind::pair_fields(&left.schema, &right.schema);
        let residual = spec.filter.as_ref().map(|f| Residual::try_new(f, &both, left.schema.fields().len()));
        Ok(Self {
            schema: Arc::new(Schema::new(kind::output_fields(spec.kind, &left.schema, &right.schema))),
            inputs: [Arc::clone(&left.schema), Arc::clone(&right.schema)],
            distributions: [left, right].map(|side| Distribution::new(&side.keys, side.window, &side.schema)),
            rest,
            emits_pairs: kind::emits_pairs(rest),
            residual: residual.transpose()?,
            pairs: Arc::new(Schema::new(both)),
            null_equality: spec.null_equality,
        })
    }

    /// The rows of an input but for those that can neither join nor go out by themselves: these need not wait.
    pub(crate) fn useful(&self, input: usize, keys: &RowKeys, batch: RecordBatch) -> Result<RecordBatch> {
        if self.wants_unmatched(input) {
            return Ok(batch);
        }
        match keys::joinable_rows(self.null_equality, &keys.values(&batch)?) {
            Some(joinable) => Ok(filter_record_batch(&batch, &BooleanArray::new(joinable.into_inner(), None))?),
            None => Ok(batch),
        }
    }

    /// Whether a row of this side goes out though it joins nothing.
    pub(crate) fn wants_unmatched(&self, side: usize) -> bool {
        self.rest[side].is_some_and(Rest::wants_unmatched)
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
