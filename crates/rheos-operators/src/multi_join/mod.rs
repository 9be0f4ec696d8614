//! Inner joins of several inputs by one key, whose result changes with them: what a chain of joins of two inputs computes, without
//! the rows of its inner joins.
//!
//! ```text
//!   input 0 ─► hash exchange by key ─┐   ┌ rows of input 0 ┐
//!   input 1 ─► hash exchange by key ─┼───┤ rows of input 1 ├─►  change of one input x rows of its key in all others, at once
//!   input 2 ─► hash exchange by key ─┘   └ rows of input 2 ┘
//! ```
//! A change of an input is joined with the others as they are then: so each combination of rows is told once, with the product of the
//! weights of its rows (the delta query of a join; Budiu et al., "DBSP", VLDB 2023).
//!
//! The parts: `spec` (what is joined), `product` (what comes of the changes of a batch: a cursor, never the whole product),
//! `operator`. The rows lie in the `inputs` of [`update_join`](crate::update_join). A further condition is a filter above.

mod operator;
mod product;
mod spec;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_common::NullEquality;
use rheos_core::operator::OperatorInit;
use rheos_core::{Exchange, Operator, OperatorFactory, Result};

use operator::MultiJoin;
use spec::Plan;
pub use spec::{MultiJoinInput, MultiJoinSpec};

/// Makes joins of several inputs.
///
/// Shape: two inputs or more, with or without weights. Gives the columns of input 0, then of input 1, and so on; with weights, except
/// where no input has them and no time to live is set: then rows only come.
/// Time: rows go out at once, and can be older than any watermark. State: the rows of all inputs, for ever, unless a time to live lets
/// them go. Rows that cannot join (a null key) are not kept.
#[derive(Debug, Clone)]
pub struct MultiJoinFactory {
    spec: MultiJoinSpec,
    plan: Arc<Plan>,
}

impl MultiJoinFactory {
    /// A join. Errors: `Invalid` for columns that cannot be compared where they have to be; `Internal` for fewer than two inputs, and
    /// for keys that are no columns or were not brought to one type.
    pub fn try_new(spec: MultiJoinSpec) -> Result<Self> {
        let plan = Arc::new(Plan::try_new(&spec)?);
        Ok(Self { spec, plan })
    }

    /// How the rows of each input must reach the workers: by the hash of the keys, without keys all to one worker.
    pub fn exchanges(&self) -> Vec<Exchange> {
        let exchange = |input: &MultiJoinInput| match input.keys.as_slice() {
            [] => Exchange::Single,
            keys => Exchange::Hash(keys.to_vec()),
        };
        self.spec.inputs.iter().map(exchange).collect()
    }

    /// Columns of the results that no two of them agree in, where such columns of the inputs are known.
    pub(crate) fn key(&self, known: &[Option<Vec<usize>>]) -> Option<Vec<usize>> {
        let mut key = vec![];
        for (at, known) in known.iter().enumerate() {
            let known = known.as_ref()?;
            // A row of another input finds one row of this at most where the columns of the join are such a key: then those of the others do.
            let is_found_once = known.iter().all(|column| self.spec.inputs[at].keys.contains(column));
            let is_needed = !is_found_once || (key.is_empty() && at + 1 == self.spec.inputs.len());
            if is_needed {
                key.extend(known.iter().map(|column| self.plan.offsets[at] + column));
            }
        }
        Some(key)
    }
}

impl OperatorFactory for MultiJoinFactory {
    fn create(&self, init: &OperatorInit) -> Result<Box<dyn Operator>> {
        Ok(Box::new(MultiJoin::try_new(&self.spec, Arc::clone(&self.plan), init)?))
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.plan.schema)
    }

    fn holds_watermark(&self) -> bool {
        true
    }

    fn growth(&self) -> Option<String> {
        let inputs = self.spec.inputs.len();
        self.spec.state_ttl_ms.is_none().then(|| format!("every row of its {inputs} inputs"))
    }

    fn has_time_to_live(&self) -> bool {
        true
    }

    fn describe(&self) -> Vec<(String, String)> {
        let equals = match self.spec.null_equality {
            NullEquality::NullEqualsNull => " is not distinct from ",
            NullEquality::NullEqualsNothing => " = ",
        };
        let name = |input: &MultiJoinInput, key: usize| {
            let column = input.keys[key];
            format!("{}@{column}", input.schema.field(column).name())
        };
        let keys = (0..self.plan.key_columns).map(|key| {
            let columns: Vec<_> = self.spec.inputs.iter().map(|input| name(input, key)).collect();
            columns.join(equals)
        });
        vec![("join".into(), "inner".into()), ("on".into(), keys.collect::<Vec<_>>().join(", "))]
    }
}
