//! Joins of bounded inputs one of which is known to have few rows: what is computed of each window, or of all rows.
//!
//! ```text
//!   few rows ─► broadcast: each worker has all ─► hash table ─┐
//!   rows     ─► stay where they are, and wait until all their partners have come ─► look up ─► results
//! ```
//! Rows that look up are neither hashed nor sent. Where the condition bounds the ends of the windows that a row can be joined with
//! ([`Closing`]), it waits for these only; else for the end of the other input.
//!
//! The parts: `operator`, `state` (the rows of both inputs, and how a checkpoint has them). The rest is that of `window_join`.

mod operator;
mod state;

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::max;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use rheos_core::operator::OperatorInit;
use rheos_core::time::micros_to_ms;
use rheos_core::{Error, Exchange, Operator, OperatorFactory, Result};

use crate::joining::{LEFT, RIGHT};
use crate::window_join::spec::Plan;
use crate::window_join::{WindowJoinFactory, WindowJoinSpec};
use operator::BroadcastJoin;

/// What is joined, and how.
#[derive(Debug, Clone)]
pub struct BroadcastJoinSpec {
    /// The join, without windows.
    pub join: WindowJoinSpec,
    /// The input that has few rows: 0 is left, 1 is right.
    pub few: usize,
    /// When rows of the other input need not wait any more; `None`: when the one with few rows has ended.
    pub closing: Option<Closing>,
}

/// A row can be joined with windows only that end no later than this behind its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// Its time, a column of microseconds.
    pub column: usize,
    /// How much later they may end, in ms.
    pub reach_ms: i64,
}

impl Closing {
    /// By which watermark of the other input all partners of these rows have come. Rows without a time have none.
    fn closes_ms(self, rows: &RecordBatch) -> i64 {
        let latest = max(rows.column(self.column).as_primitive::<TimestampMicrosecondType>());
        latest.map_or(i64::MIN, |us| micros_to_ms(us).saturating_add(self.reach_ms))
    }
}

/// Makes broadcast joins.
///
/// Shape, time: as of joins of bounded inputs by [`WindowJoinFactory`]. State: the few rows; the others until they are joined.
/// Conditions that may fail for single rows are not for it: each worker would tell of them.
#[derive(Debug, Clone)]
pub struct BroadcastJoinFactory {
    spec: BroadcastJoinSpec,
    plan: Arc<Plan>,
    /// What it is in other words.
    join: WindowJoinFactory,
}

impl BroadcastJoinFactory {
    /// A join; `None` if it is none that can be made so. Errors: those of [`WindowJoinFactory::try_new`]; `Internal` for a closing
    /// column that is no time.
    pub fn try_new(spec: BroadcastJoinSpec) -> Result<Option<Self>> {
        let plan = Arc::new(Plan::try_new(&spec.join)?);
        let goes_alone = plan.rest[spec.few].is_some();
        let is_windowed = spec.join.left.window.is_some();
        if goes_alone || is_windowed || plan.residual.as_ref().is_some_and(|residual| residual.may_fail()) {
            return Ok(None);
        }
        if let Some(closing) = spec.closing {
            let time = plan.inputs[1 - spec.few].field(closing.column).data_type();
            if !matches!(time, DataType::Timestamp(TimeUnit::Microsecond, _)) {
                return Err(Error::internal(format!("a join waits by a column of the type {time}")));
            }
        }
        let join = WindowJoinFactory::try_new(spec.join.clone())?;
        Ok(Some(Self { spec, plan, join }))
    }

    /// How the rows of the left and of the right must reach the workers.
    pub fn exchanges(&self) -> [Exchange; 2] {
        match self.spec.few {
            LEFT => [Exchange::Broadcast, Exchange::Forward],
            _ => [Exchange::Forward, Exchange::Broadcast],
        }
    }
}

impl OperatorFactory for BroadcastJoinFactory {
    fn create(&self, init: &OperatorInit) -> Result<Box<dyn Operator>> {
        Ok(Box::new(BroadcastJoin::try_new(&self.spec, Arc::clone(&self.plan), init)?))
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.plan.schema)
    }

    fn describe(&self) -> Vec<(String, String)> {
        let mut facts = self.join.describe();
        let few = self.spec.few;
        facts.push(("few".into(), if few == RIGHT { "right" } else { "left" }.into()));
        if let Some(Closing { column, reach_ms }) = self.spec.closing {
            let name = self.plan.inputs[1 - few].field(column).name();
            facts.push(("joined".into(), format!("{name} + {reach_ms} ms")));
        }
        facts
    }
}
