//! GROUP BY with a window: tumbling, sliding, cumulating, one that rows carry along, or one over all bounded input.
//!
//! ```text
//!   rows ─► Partial ─► hash exchange ─► Final ─► results        few keys: little to exchange
//!   rows ──────────► hash exchange ─► Single ─► results         order-sensitive functions
//! ```
//! A row enters exactly one *slice*, whatever the number of windows that contain it; a window is the merge of its slices
//! (paired windows, Krishnamurthy et al., SIGMOD 2006). The parts: `spec` (what is computed), `input` and `partition`
//! (rows into slices), `table` (groups and accumulators), `distinct_counts` (one set for
//! several of them), `slices` (state and firing), `operator` and `partial` (the two
//! operators), `state` (checkpoints). Sessions have no slices; their operators are in [`crate::sessions`], behind the same
//! factory.

mod distinct_counts;
mod distinct_values;
pub(crate) mod input;
mod operator;
pub(crate) mod partial;
mod partition;
mod slices;
mod slicing;
pub(crate) mod spec;
mod state;
pub(crate) mod table;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use rheos_core::operator::OperatorInit;
use rheos_core::state::Combine;
use rheos_core::window::WindowSpec;
use rheos_core::{Error, Operator, OperatorFactory, Result};

use input::RowInput;
use operator::WindowAggregate;
use partial::PartialAggregate;
use spec::Layout;
pub use spec::{AggregateMode, AggregateSpec, AggregateTime, AggregateWindow};
use state::{CombineSlices, SLICES};

use crate::lenient::LenientFactory;
use crate::sessions::{SessionAggregate, SessionPartial};

/// Makes window aggregates.
///
/// Shape: `Single` and `Final` give keys, aggregates and, where there is a window, `window_start`, `window_end`,
/// `window_time`; rows of one window follow each other, windows come in order. `Partial` gives slice number, keys and
/// state columns, which `Final` of the same spec takes; its keys are columns 1, 2, ... Time: a window fires when the
/// watermark (or the clock, for [`AggregateTime::Processing`]) reaches its end; a row is late when the last of its windows
/// has fired. A session fires when the watermark is beyond its end, and a row is late if the session that it would form
/// or join has fired. State: partial aggregates for each key and slice (or session), until the slice's last window has
/// fired; `Partial` has none.
#[derive(Debug, Clone)]
pub struct WindowAggregateFactory {
    spec: AggregateSpec,
    mode: AggregateMode,
    layout: Arc<Layout>,
}

impl WindowAggregateFactory {
    /// An aggregate in one of its stages. Errors: `Invalid` for expressions that do not fit the input.
    pub fn try_new(spec: AggregateSpec, mode: AggregateMode) -> Result<Self> {
        if mode != AggregateMode::Single && !spec.supports_partial() {
            return Err(Error::internal(
                "an aggregate that depends on the order or the arrival of rows has no part before an exchange",
            ));
        }
        let layout = Arc::new(Layout::try_new(&spec)?);
        Ok(Self { spec, mode, layout })
    }

    /// The columns of this stage's output (`Partial`) that the exchange behind it hashes: the keys.
    pub fn exchange_columns(&self) -> Vec<usize> {
        let first = usize::from(self.mode == AggregateMode::Partial);
        (first..first + self.layout.keys).collect()
    }
}

impl OperatorFactory for WindowAggregateFactory {
    fn create(&self, init: &OperatorInit) -> Result<Box<dyn Operator>> {
        let layout = Arc::clone(&self.layout);
        let rows = RowInput::new(&self.spec);
        let rows = if self.mode == AggregateMode::Final { None } else { Some(rows) };
        Ok(match (self.spec.session_gap_ms(), self.mode, rows) {
            (None, AggregateMode::Partial, Some(rows)) => Box::new(PartialAggregate::new(layout, rows)),
            (None, _, rows) => Box::new(WindowAggregate::new(layout, &self.spec, rows, init)),
            (Some(gap_ms), AggregateMode::Partial, Some(rows)) => {
                Box::new(SessionPartial::try_new(layout, gap_ms, rows)?)
            }
            (Some(gap_ms), _, rows) => Box::new(SessionAggregate::try_new(layout, &self.spec, gap_ms, rows, init)?),
        })
    }

    fn combiner(&self, table: &str, init: &OperatorInit) -> Option<Arc<dyn Combine>> {
        let has_slices = self.mode != AggregateMode::Partial && self.spec.session_gap_ms().is_none();
        (has_slices && table == SLICES).then(|| Arc::new(CombineSlices::new(&self.layout, init)) as Arc<dyn Combine>)
    }

    fn lenient(&self, operator_id: &str, table: &str) -> Option<Arc<dyn OperatorFactory>> {
        let may_fail = self.mode != AggregateMode::Final && RowInput::new(&self.spec).may_fail();
        may_fail.then(|| {
            Arc::new(LenientFactory::checking(Arc::new(self.clone()), operator_id, table)) as Arc<dyn OperatorFactory>
        })
    }

    fn schema(&self) -> SchemaRef {
        match self.mode {
            AggregateMode::Partial => Arc::clone(&self.layout.partial_schema),
            AggregateMode::Single | AggregateMode::Final => Arc::clone(&self.layout.output_schema),
        }
    }

    fn describe(&self) -> Vec<(String, String)> {
        let name = |i: usize| self.spec.input.field(i).name().clone();
        let mut facts = vec![];
        match (self.spec.window, &self.spec.time) {
            (AggregateWindow::Assign(WindowSpec::Global), _) => {}
            (AggregateWindow::Assign(window), time) => {
                facts.push(("window".into(), window.to_string()));
                let time = time.as_ref().map(|time| match time {
                    AggregateTime::Event(column) => name(*column),
                    AggregateTime::Processing { .. } => "processing time".into(),
                });
                facts.extend(time.map(|time| ("time".into(), time)));
            }
            (AggregateWindow::Columns { start, end }, _) => {
                facts.push(("window".into(), format!("{} to {}", name(start), name(end))));
            }
        }
        if !self.spec.keys.is_empty() {
            let keys = self.spec.keys.iter().map(|(expr, _)| expr.to_string()).collect::<Vec<_>>();
            facts.push(("group by".into(), keys.join(", ")));
        }
        if !self.spec.aggregates.is_empty() {
            let calls = self.spec.aggregates.iter().map(ToString::to_string).collect::<Vec<_>>();
            facts.push(("aggregates".into(), calls.join(", ")));
        }
        match self.mode {
            AggregateMode::Single => {}
            AggregateMode::Partial => facts.push(("stage".into(), "partial".into())),
            AggregateMode::Final => facts.push(("stage".into(), "final".into())),
        }
        facts
    }
}
