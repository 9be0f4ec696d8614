//! Joins of rows that are in the same window: inner, outer, semi, anti and mark, with equal keys and any further
//! condition. Without a window it joins bounded inputs.
//!
//! ```text
//!   left  ─► hash exchange by key ─┐ rows wait by window   ┌ hash table of one side ─► pairs ─► filter ─► results
//!   right ─► hash exchange by key ─┴───────────────────────┴ when both watermarks are at the window's end
//! ```
//! The parts: `spec` (what is joined, and the shape of the result), `operator` (waiting and firing), `key_table` (rows by
//! key), `matching` (one window on its way out: a cursor, never the whole product), `side` (its rows, and pairs of them),
//! `first_pairs` (pairs that need not go out, where readers want the first alone).

mod first_pairs;
mod key_table;
pub(crate) mod matching;
mod operator;
mod side;
pub(crate) mod spec;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use rheos_core::operator::{FirstBy, OperatorInit};
use rheos_core::{Exchange, Operator, OperatorFactory, Result};

use crate::joining::{Letters, keys, kind};
use operator::WindowJoin;
use spec::Plan;
pub use spec::{WindowJoinInput, WindowJoinSpec};

/// Makes window joins.
///
/// Shape: two inputs, 0 is left and 1 is right. Inner and outer joins give the columns of the left, then of the right; semi
/// and anti joins those of one side; mark joins those of one side, then `mark`. Rows of one window follow each other,
/// windows come in order. Time: a window fires when the combined watermark reaches its end; a row is late, dropped and
/// counted, when its window has fired; so is a row without a window, which counts as one without an event time.
/// State: the rows of both inputs, until their window has fired. Rows that cannot contribute to a result (a null key in
/// an inner join) are not kept.
#[derive(Debug, Clone)]
pub struct WindowJoinFactory {
    spec: WindowJoinSpec,
    plan: Arc<Plan>,
    letters: Option<Letters>,
}

impl WindowJoinFactory {
    /// A join. Errors: `Invalid` for expressions that do not fit, a filter that is no BOOLEAN, and keys whose type cannot
    /// be compared; `Internal` for keys that were not brought to one type and for a window on one side only.
    pub fn try_new(spec: WindowJoinSpec) -> Result<Self> {
        let plan = Arc::new(Plan::try_new(&spec)?);
        Ok(Self { spec, plan, letters: None })
    }

    /// How the rows of the left and of the right must reach the workers: by the hash of the keys, without keys by that
    /// of the window, without either all to one worker. `None`: a key is no plain column; compute it before.
    pub fn exchanges(&self) -> Option<[Exchange; 2]> {
        let [left, right] = &self.plan.distributions;
        Some([left.exchange()?, right.exchange()?])
    }
}

impl OperatorFactory for WindowJoinFactory {
    fn create(&self, init: &OperatorInit) -> Result<Box<dyn Operator>> {
        Ok(Box::new(WindowJoin::try_new(&self.spec, Arc::clone(&self.plan), self.letters.clone(), init)?))
    }

    fn lenient(&self, operator_id: &str, table: &str) -> Option<Arc<dyn OperatorFactory>> {
        self.plan.residual.as_ref().filter(|residual| residual.may_fail())?;
        let letters = Letters { operator_id: operator_id.into(), table: table.into() };
        Some(Arc::new(Self { letters: Some(letters), ..self.clone() }))
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.plan.schema)
    }

    fn giving_first(&self, first: &FirstBy) -> Option<Arc<dyn OperatorFactory>> {
        let plan = Plan::giving_first(&self.spec, first).filter(|_| self.letters.is_none())?;
        Some(Arc::new(Self { plan: Arc::new(plan), ..self.clone() }))
    }

    fn keeps_until_an_end(&self) -> bool {
        self.spec.left.window.is_none()
    }

    fn describe(&self) -> Vec<(String, String)> {
        let WindowJoinSpec { left, right, kind, filter, null_equality } = &self.spec;
        let mut facts = vec![("join".to_string(), kind::name(*kind).to_string())];
        if let (Some(a), Some(b)) = (left.window, right.window) {
            facts.push(("window".into(), format!("{} = {}", a.describe(&left.schema), b.describe(&right.schema))));
        }
        if !left.keys.is_empty() {
            facts.push(("on".into(), keys::describe(&left.keys, &right.keys, *null_equality)));
        }
        if let Some(filter) = filter {
            facts.push(("filter".into(), filter.to_string()));
        }
        facts
    }
}
