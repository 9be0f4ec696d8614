//! Joins of inputs that need not end, whose result changes with them: inner, outer, semi, anti and mark, with equal keys and any
//! further condition.
//!
//! ```text
//!   left  ─► hash exchange by key ─┐   ┌ rows of the left  ┐   change of one side x rows of the other ─► pairs, at once
//!   right ─► hash exchange by key ─┴───┤ rows of the right ├─►
//!                                      └ by key            ┘   rows that are joined, or are not any more ─► at a flush
//! ```
//! A change of the left is joined with the right as it is, then one of the right with the left as it has become: so each pair is
//! told once, with the product of the weights of its rows.
//!
//! The parts: `spec` (what is joined), `inputs` (both sides, by one table of keys), `side` (the rows of one side), `pairs` (the pairs of
//! a batch: a cursor, never the whole product), `rest` (rows that go out by themselves), `expiry` (rows that are let go), `operator`,
//! `state`. Joins of more inputs share `inputs`, `side` and `state`.

mod expiry;
pub(crate) mod inputs;
mod operator;
mod pairs;
mod rest;
pub(crate) mod side;
pub(crate) mod spec;
mod state;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_common::JoinType;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use rheos_core::operator::OperatorInit;
use rheos_core::{Exchange, Operator, OperatorFactory, Result};

use crate::joining::{LEFT, Letters, keys, kind};
pub use expiry::TimeBounds;
use operator::UpdateJoin;
use spec::Plan;
pub use spec::{UpdateJoinInput, UpdateJoinSpec};

/// Makes updating joins.
///
/// Shape: two inputs, 0 is left and 1 is right, with or without weights. Inner and outer joins give the columns of the left, then
/// of the right; semi and anti joins those of one side; mark joins those of one side, then `mark`; all with weights, except where
/// rows only come: inner joins, and semi joins without a further condition, of inputs without weights.
/// Time: pairs go out at once; rows that go out by themselves at a flush, if something has changed. Results can be older than any
/// watermark; where the times of joined rows are bounded, as much older as they are apart, and rows that come behind the watermark
/// of their input are late, dropped and counted. State: the rows of both inputs, for ever, unless bounds or a time to live let them
/// go. Rows that cannot join (a null key) are not kept.
#[derive(Debug, Clone)]
pub struct UpdateJoinFactory {
    spec: UpdateJoinSpec,
    plan: Arc<Plan>,
    letters: Option<Letters>,
}

impl UpdateJoinFactory {
    /// A join. Errors: `Invalid` for expressions that do not fit, a filter that is no BOOLEAN, and for columns that cannot be
    /// compared where they have to be; `Internal` for keys that were not brought to one type.
    pub fn try_new(spec: UpdateJoinSpec) -> Result<Self> {
        let plan = Arc::new(Plan::try_new(&spec)?);
        Ok(Self { spec, plan, letters: None })
    }

    /// How the rows of the left and of the right must reach the workers: by the hash of the keys, without keys all to one worker.
    /// `None`: a key is no plain column; compute it before.
    pub fn exchanges(&self) -> Option<[Exchange; 2]> {
        Some([exchange(&self.spec.left.keys)?, exchange(&self.spec.right.keys)?])
    }

    /// Columns of the results that no two of them agree in, where such columns of the inputs are known.
    pub(crate) fn key(&self, known: [Option<Vec<usize>>; 2]) -> Option<Vec<usize>> {
        let [left, right] = known;
        // A row of the other side finds one row at most where the columns of the join are such a key.
        let is_found_once = |key: &Option<Vec<usize>>, columns: &[Arc<dyn PhysicalExpr>]| {
            let joined: Vec<usize> = columns.iter().filter_map(|c| Some(c.downcast_ref::<Column>()?.index())).collect();
            key.as_ref().is_some_and(|key| key.iter().all(|column| joined.contains(column)))
        };
        let width = self.plan.inputs[LEFT].fields().len();
        let moved = |key: Vec<usize>| key.into_iter().map(|column| column + width).collect::<Vec<_>>();
        match self.spec.kind {
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left,
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right,
            JoinType::Full => None,
            JoinType::Inner | JoinType::Left if is_found_once(&right, &self.spec.right.keys) => left,
            JoinType::Inner | JoinType::Right if is_found_once(&left, &self.spec.left.keys) => right.map(moved),
            JoinType::Inner | JoinType::Left | JoinType::Right => Some([left?, moved(right?)].concat()),
        }
    }
}

fn exchange(keys: &[Arc<dyn PhysicalExpr>]) -> Option<Exchange> {
    if keys.is_empty() {
        return Some(Exchange::Single);
    }
    let columns = keys.iter().map(|key| key.downcast_ref::<Column>().map(Column::index));
    columns.collect::<Option<Vec<_>>>().map(Exchange::Hash)
}

impl OperatorFactory for UpdateJoinFactory {
    fn create(&self, init: &OperatorInit) -> Result<Box<dyn Operator>> {
        Ok(Box::new(UpdateJoin::try_new(&self.spec, Arc::clone(&self.plan), self.letters.clone(), init)?))
    }

    fn lenient(&self, operator_id: &str, table: &str) -> Option<Arc<dyn OperatorFactory>> {
        self.plan.residual.as_ref().filter(|residual| residual.may_fail())?;
        let letters = Letters { operator_id: operator_id.into(), table: table.into() };
        Some(Arc::new(Self { letters: Some(letters), ..self.clone() }))
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.plan.schema)
    }

    fn holds_watermark(&self) -> bool {
        self.spec.bounds.as_ref().is_none_or(TimeBounds::holds_watermark)
    }

    fn growth(&self) -> Option<String> {
        let what = match self.spec.bounds {
            _ if self.spec.state_ttl_ms.is_some() => return None,
            None => "every row of both inputs",
            Some(TimeBounds { min_us: None, .. }) => "every row of the left input",
            Some(TimeBounds { max_us: None, .. }) => "every row of the right input",
            Some(_) => return None,
        };
        Some(what.into())
    }

    fn has_time_to_live(&self) -> bool {
        true
    }

    fn describe(&self) -> Vec<(String, String)> {
        let UpdateJoinSpec { left, right, kind, filter, null_equality, bounds, .. } = &self.spec;
        let mut facts = vec![("join".to_string(), kind::name(*kind).to_string())];
        if !left.keys.is_empty() {
            facts.push(("on".into(), keys::describe(&left.keys, &right.keys, *null_equality)));
        }
        if let Some(filter) = filter {
            facts.push(("filter".into(), filter.to_string()));
        }
        if let Some(bounds) = bounds {
            facts.push(("times".into(), bounds.describe(&left.schema, &right.schema)));
        }
        facts
    }
}
