//! One row a key: for rows that replace each other by a key, and for tables that are written by one.
//!
//! ```text
//!   rows that replace each other   (7, a) +1, (7, b) +1, (7, ?) -1     ─► replace ─►  (7, a) +1 │ (7, a) -1, (7, b) +1 │ (7, b) -1
//!   rows that come and go          (7, b) +1, (7, a) -1, (8, c) ±1     ─► pair    ─►  (7, a) -1, (7, b) +1
//! ```
//! To *replace* keeps the row of each key, and takes back the whole of it when another takes its place or the key goes. To *pair* keeps
//! nothing over an epoch: what came and went within it is left out, and what is left of a key stands together, the row that goes first.

mod keyed_rows;
mod operator;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::expressions::Column;
use rheos_core::change::{with_weights, without_weights};
use rheos_core::operator::OperatorInit;
use rheos_core::{Error, Exchange, Operator, OperatorFactory, Result};

use crate::keyed::row_codec::RowCodec;
use crate::window_rank::check_key;
use operator::Materialise;

/// What rows with one key do to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyedChanges {
    /// A row takes the place of the one before it, and one that goes takes away whatever is there: of it only the key is sure.
    Replace,
    /// Rows come and go by themselves, and at the end of an epoch one of a key is there, at most. Of several that come the last counts.
    Pair,
}

/// What is made of which rows.
#[derive(Debug, Clone)]
pub struct MaterialiseSpec {
    /// The columns of the rows, with or without weights.
    pub input: SchemaRef,
    /// The columns of the key.
    pub key: Vec<usize>,
    /// What rows with one key do to each other.
    pub changes: KeyedChanges,
    /// How long a row is kept behind the last one of its key, in ms of event time.
    pub state_ttl_ms: Option<i64>,
}

/// Makes materialisers.
///
/// Shape: the input's columns, and the weight, which is 1 or -1; of a key at most one row goes and one comes in an epoch, that which goes
/// first. Rows of one key that replace each other must come in their order. Time: changes go out at the end of an epoch. State: to replace
/// one row a key, else nothing.
#[derive(Debug, Clone)]
pub struct MaterialiseFactory {
    spec: MaterialiseSpec,
    rows: SchemaRef,
}

impl MaterialiseFactory {
    /// Errors: `Invalid` for a column that cannot be compared; `Internal` for a key that is not there.
    pub fn try_new(spec: MaterialiseSpec) -> Result<Self> {
        let rows = without_weights(&spec.input);
        if spec.key.is_empty() || spec.key.iter().any(|at| *at >= rows.fields().len()) {
            return Err(Error::internal("a key of no columns, or of some that are not there"));
        }
        for at in &spec.key {
            check_key(&(Arc::new(Column::new(rows.field(*at).name(), *at)) as _), &rows, 150, "PRIMARY KEY")?;
        }
        RowCodec::try_new(&rows, &spec.key, &[])?;
        Ok(Self { spec, rows })
    }

    /// How the rows must reach the workers.
    pub fn exchange(&self) -> Exchange {
        Exchange::Hash(self.spec.key.clone())
    }
}

impl OperatorFactory for MaterialiseFactory {
    fn create(&self, init: &OperatorInit) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Materialise::try_new(&self.spec, &self.rows, init)?))
    }

    fn schema(&self) -> SchemaRef {
        with_weights(&self.rows)
    }

    fn describe(&self) -> Vec<(String, String)> {
        let column = |at: &usize| format!("{}@{at}", self.rows.field(*at).name());
        let changes = match self.spec.changes {
            KeyedChanges::Replace => "replace each other",
            KeyedChanges::Pair => "come and go",
        };
        vec![
            ("key".into(), self.spec.key.iter().map(column).collect::<Vec<_>>().join(", ")),
            ("rows".into(), changes.into()),
        ]
    }

    fn has_time_to_live(&self) -> bool {
        self.spec.changes == KeyedChanges::Replace
    }

    fn growth(&self) -> Option<String> {
        let columns = self.spec.key.iter().map(|at| self.rows.field(*at).name().clone()).collect::<Vec<_>>();
        let grows = self.spec.changes == KeyedChanges::Replace && self.spec.state_ttl_ms.is_none();
        grows.then(|| format!("a row for each {}", columns.join(", ")))
    }
}
