//! What a join of several inputs joins, and what follows from it.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion_common::NullEquality;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use rheos_core::change::{has_weights, with_weights, without_weights};
use rheos_core::{Error, Result};

use crate::joining::keys;
use crate::update_join::side::SideSpec;
use crate::update_join::spec::check_rows_compare;

/// One input of a join of several.
#[derive(Debug, Clone)]
pub struct MultiJoinInput {
    /// Its columns; with weights if its rows may go.
    pub schema: SchemaRef,
    /// The columns that must be equal in all inputs, in the same order and types.
    pub keys: Vec<usize>,
}

/// What a join of several inputs joins.
#[derive(Debug, Clone)]
pub struct MultiJoinSpec {
    /// Two or more.
    pub inputs: Vec<MultiJoinInput>,
    /// Whether null keys join null keys (`IS NOT DISTINCT FROM`) or nothing (`=`).
    pub null_equality: NullEquality,
    /// Rows of a key that nothing has happened to for so long, in event time, are let go. `None`: never.
    pub state_ttl_ms: Option<i64>,
}

/// What follows from a spec that fits together.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Of the results, with weights unless rows only come.
    pub(crate) schema: SchemaRef,
    /// Of the inputs, without weights.
    pub(crate) inputs: Vec<SchemaRef>,
    /// By input: where its columns begin in the results.
    pub(crate) offsets: Vec<usize>,
    pub(crate) key_columns: usize,
    /// By input, whether equal rows are kept as one row with a weight: where rows may go.
    merges: Vec<bool>,
    pub(crate) null_equality: NullEquality,
}

impl Plan {
    pub(crate) fn try_new(spec: &MultiJoinSpec) -> Result<Self> {
        let [first, others @ ..] = spec.inputs.as_slice() else {
            return Err(Error::internal("a join has no inputs"));
        };
        if others.is_empty() {
            return Err(Error::internal("a join has one input"));
        }
        let inputs: Vec<SchemaRef> = spec.inputs.iter().map(|input| without_weights(&input.schema)).collect();
        for (other, schema) in others.iter().zip(&inputs[1..]) {
            keys::check((&inputs[0], &key_columns(&inputs[0], first)?), (schema, &key_columns(schema, other)?))?;
        }
        // What a time to live takes has to be named.
        let merges = |input: &MultiJoinInput| has_weights(&input.schema) || spec.state_ttl_ms.is_some();
        let merges: Vec<bool> = spec.inputs.iter().map(merges).collect();
        for (input, _) in inputs.iter().zip(&merges).filter(|(_, merges)| **merges) {
            check_rows_compare(input)?;
        }
        let fields: Vec<FieldRef> = inputs.iter().flat_map(|input| input.fields().iter().cloned()).collect();
        let rows: SchemaRef = Arc::new(Schema::new(fields));
        let schema = if merges.contains(&true) { with_weights(&rows) } else { rows };
        let mut offsets = vec![];
        let mut width = 0;
        for input in &inputs {
            offsets.push(width);
            width += input.fields().len();
        }
        let null_equality = spec.null_equality;
        Ok(Self { schema, inputs, offsets, key_columns: first.keys.len(), merges, null_equality })
    }

    /// What is kept of an input.
    pub(crate) fn side(&self, input: usize) -> SideSpec {
        SideSpec {
            schema: Arc::clone(&self.inputs[input]),
            merges: self.merges[input],
            counts_by_row: false,
            counts_by_key: false,
            expiry: None,
        }
    }

    /// Whether rows of the results may go.
    pub(crate) fn emits_weights(&self) -> bool {
        has_weights(&self.schema)
    }
}

/// The keys of an input. Errors: `Internal` for columns that it does not have.
pub(crate) fn key_columns(schema: &SchemaRef, input: &MultiJoinInput) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
    let column = |at: &usize| {
        let field = schema.fields().get(*at).ok_or_else(|| Error::internal("a key of a join is no column"))?;
        Ok(Arc::new(Column::new(field.name(), *at)) as Arc<dyn PhysicalExpr>)
    };
    input.keys.iter().map(column).collect()
}
