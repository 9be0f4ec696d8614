//! What a window join joins, and what follows from the kind of join.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::{SortOptions, filter_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion_common::{JoinType, NullEquality};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use rheos_core::operator::FirstBy;
use rheos_core::{Error, Result};

use crate::joining::keys;
use crate::joining::kind::{self, Rest};
use crate::joining::residual::Residual;
use crate::joining::{LEFT, RIGHT};
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
    /// Keys that are plain columns of each side.
    key_columns: [Vec<usize>; 2],
    /// Which results count, where not all do.
    first: Option<FirstBy>,
}

impl Plan {
    pub(crate) fn try_new(spec: &WindowJoinSpec) -> Result<Self> {
        let (left, right) = (&spec.left, &spec.right);
        check_windows(left, right)?;
        keys::check((&left.schema, &left.keys), (&right.schema, &right.keys))?;
        let rest = kind::rest(spec.kind);
        let both = kind::pair_fields(&left.schema, &right.schema);
        let column = |key: &Arc<dyn PhysicalExpr>| Some(key.downcast_ref::<Column>()?.index());
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
            key_columns: [left, right].map(|side| side.keys.iter().filter_map(column).collect()),
            first: None,
        })
    }

    /// The same for readers to whom only the `first` results count. `None`: these cannot be told from the others here.
    pub(crate) fn giving_first(spec: &WindowJoinSpec, first: &FirstBy) -> Option<Self> {
        let plan = Self { first: Some(first.clone()), ..Self::try_new(spec).ok()? };
        // A pair that fails ends the job, whether it would have been the first or not.
        let never_fails = plan.residual.as_ref().is_none_or(|residual| !residual.may_fail());
        let is_plain = spec.kind == JoinType::Inner && spec.left.window.is_none() && never_fails;
        (is_plain && [LEFT, RIGHT].iter().any(|probe| plan.first_by(*probe).is_some())).then_some(plan)
    }

    /// The column of the rows of `probe` by which a pair stands before others of the same row of the other side: all of these are in
    /// one partition.
    pub(crate) fn first_by(&self, probe: usize) -> Option<(usize, SortOptions)> {
        let first = self.first.as_ref()?;
        let width = self.inputs[LEFT].fields().len();
        let place = |at: usize| if at < width { (LEFT, at) } else { (RIGHT, at - width) };
        let is_shared = |at: &usize| {
            let (side, column) = place(*at);
            side != probe || self.key_columns[side].contains(&column)
        };
        let (side, column) = place(first.column);
        (side == probe && first.partition_by.iter().all(is_shared)).then_some((column, first.options))
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
