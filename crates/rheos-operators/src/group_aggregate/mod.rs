//! GROUP BY and DISTINCT whose results change as rows come and go.
//!
//! ```text
//!   rows, weights ─► keys ─► slots ─► counts and accumulators           per batch
//!                                      │ the old result of a group, at its first touch
//!                                      ▼
//!   touched groups: old result ≠ new result ─► -old, +new               per epoch, or emit.interval
//! ```
//! A group is there as long as its rows' weights add up to more than 0; without keys there is one group, always. What a
//! group's result was is computed from its state when it is touched first, so no result is kept twice. The parts: `groups`
//! (state and results), `operator` (when they are emitted), `state` (checkpoints).

mod groups;
mod operator;
mod state;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;
use rheos_core::change::{has_weights, with_weights};
use rheos_core::operator::OperatorInit;
use rheos_core::window::WindowSpec;
use rheos_core::{Error, Operator, OperatorFactory, Result};

use crate::aggregate::AggregateCall;
use crate::lenient::LenientFactory;
use crate::row_keys::has_order;
use crate::weighted::Calls;
use crate::window_aggregate::input::RowInput;
use crate::window_aggregate::spec::Layout;
use crate::{AggregateSpec, AggregateWindow};

use operator::GroupAggregate;

/// What is emitted of the groups, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupEmits {
    /// Changes of results, with weights.
    Changes,
    /// A group when it comes, at once and without a weight: DISTINCT over rows that only come.
    New,
    /// When the input has ended, each group as often as its weights say, without a weight: the rows that are there then.
    RowsAtEnd,
}

impl GroupEmits {
    /// The name of such a step.
    pub(crate) fn name(self) -> &'static str {
        match self {
            GroupEmits::Changes => "group",
            GroupEmits::New => "distinct",
            GroupEmits::RowsAtEnd => "rows-at-end",
        }
    }
}

/// What a group aggregate computes.
#[derive(Debug, Clone)]
pub struct GroupAggregateSpec {
    /// The columns of the rows, with or without weights.
    pub input: SchemaRef,
    /// GROUP BY.
    pub keys: Vec<(Arc<dyn PhysicalExpr>, String)>,
    /// What is computed of each group; nothing unless [`GroupEmits::Changes`].
    pub aggregates: Vec<AggregateCall>,
    /// What goes out.
    pub emits: GroupEmits,
    /// How often changes are emitted within an epoch; `None`: at its end alone.
    pub emit_interval_ms: Option<i64>,
    /// How long a group lives behind the last row that touched it, in event time; `None`: for ever.
    pub state_ttl_ms: Option<i64>,
}

impl GroupAggregateSpec {
    /// An aggregate that emits at the ends of epochs, of groups that live for ever.
    pub fn new(
        input: SchemaRef,
        keys: Vec<(Arc<dyn PhysicalExpr>, String)>,
        aggregates: Vec<AggregateCall>,
        emits: GroupEmits,
    ) -> Self {
        Self { input, keys, aggregates, emits, emit_interval_ms: None, state_ttl_ms: None }
    }

    /// The same over input that ends: what keys, arguments and filters are evaluated by.
    fn rows(&self) -> AggregateSpec {
        AggregateSpec {
            input: Arc::clone(&self.input),
            window: AggregateWindow::Assign(WindowSpec::Global),
            time: None,
            keys: self.keys.clone(),
            aggregates: self.aggregates.clone(),
        }
    }
}

/// Makes group aggregates.
///
/// Shape: keys, aggregates, and for [`GroupEmits::Changes`] the weight; the old result of a group stands right before the
/// new one. Time: rows that are emitted at an epoch's end hold the watermark back until then. State: for each group the
/// weights of its rows and the states of its aggregates, until its rows are gone or its time to live is over.
#[derive(Debug, Clone)]
pub struct GroupAggregateFactory {
    spec: GroupAggregateSpec,
    /// Keys alone, and keys and aggregates.
    keys: SchemaRef,
    results: SchemaRef,
}

impl GroupAggregateFactory {
    /// Errors: `Invalid` for expressions that do not fit the input, for keys that cannot be compared, and for an aggregate
    /// that cannot take rows back, over input with weights.
    pub fn try_new(spec: GroupAggregateSpec) -> Result<Self> {
        let layout = Layout::try_new(&spec.rows())?;
        let unordered = layout.group_schema.fields().iter().find(|field| !has_order(field.data_type()));
        if let Some(field) = unordered {
            let what = format!("'{}' of type {} cannot be a key of rows that change", field.name(), field.data_type());
            return Err(Error::invalid(150, what).with_hint("group by parts of it"));
        }
        if spec.emits != GroupEmits::Changes && !spec.aggregates.is_empty() {
            return Err(Error::internal("aggregates of groups that are not emitted as changes"));
        }
        Calls::try_new(&spec.aggregates, has_weights(&spec.input))?;
        Ok(Self { spec, keys: Arc::clone(&layout.group_schema), results: Arc::clone(&layout.output_schema) })
    }
}

impl OperatorFactory for GroupAggregateFactory {
    fn create(&self, init: &OperatorInit) -> Result<Box<dyn Operator>> {
        Ok(Box::new(GroupAggregate::try_new(self, init)?))
    }

    fn lenient(&self, operator_id: &str, table: &str) -> Option<Arc<dyn OperatorFactory>> {
        RowInput::new(&self.spec.rows()).may_fail().then(|| {
            Arc::new(LenientFactory::checking(Arc::new(self.clone()), operator_id, table)) as Arc<dyn OperatorFactory>
        })
    }

    fn schema(&self) -> SchemaRef {
        match self.spec.emits {
            GroupEmits::Changes => with_weights(&self.results),
            GroupEmits::New | GroupEmits::RowsAtEnd => Arc::clone(&self.results),
        }
    }

    fn describe(&self) -> Vec<(String, String)> {
        let mut facts = vec![];
        if !self.spec.keys.is_empty() {
            let keys = self.spec.keys.iter().map(|(expr, _)| expr.to_string()).collect::<Vec<_>>();
            facts.push(("group by".into(), keys.join(", ")));
        }
        if !self.spec.aggregates.is_empty() {
            let calls = self.spec.aggregates.iter().map(ToString::to_string).collect::<Vec<_>>();
            facts.push(("aggregates".into(), calls.join(", ")));
        }
        facts
    }

    fn has_time_to_live(&self) -> bool {
        !self.spec.keys.is_empty() && self.spec.emits != GroupEmits::RowsAtEnd
    }

    fn growth(&self) -> Option<String> {
        if self.spec.state_ttl_ms.is_some() || self.spec.keys.is_empty() || self.spec.emits == GroupEmits::RowsAtEnd {
            return None;
        }
        let keys: Vec<_> = self.keys.fields().iter().map(|field| field.name().as_str()).collect();
        Some(format!("a group for each {}", keys.join(", ")))
    }
}
