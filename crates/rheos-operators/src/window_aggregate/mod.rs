//! GROUP BY with a window: tumbling, sliding, one that rows carry along, or one over all bounded input.
//!
//! ```text
//!   rows ─► Partial ─► hash exchange ─► Final ─► results        few keys: little to exchange
//!   rows ──────────► hash exchange ─► Single ─► results         order-sensitive functions
//! ```
//! A row enters exactly one *slice*, whatever the number of windows that contain it; a window is the merge of its slices
//! (paired windows, Krishnamurthy et al., SIGMOD 2006). The parts: `spec` (what is computed), `input` and `partition`
//! (rows into slices), `table` (groups and accumulators), `slices` (state and firing), `operator` and `partial` (the two
//! operators), `state` (checkpoints).

mod input;
mod operator;
mod partial;
mod partition;
mod slices;
mod slicing;
mod spec;
mod state;
mod table;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use rheos_core::operator::OperatorInit;
use rheos_core::window::WindowSpec;
use rheos_core::{Error, Operator, OperatorFactory, Result};

use input::RowInput;
use operator::WindowAggregate;
use partial::PartialAggregate;
use spec::Layout;
pub use spec::{AggregateMode, AggregateSpec, AggregateWindow};

/// Makes window aggregates.
///
/// Shape: `Single` and `Final` give keys, aggregates and, where there is a window, `window_start`, `window_end`,
/// `window_time`; rows of one window follow each other, windows come in order. `Partial` gives slice number, keys and
/// state columns, which `Final` of the same spec takes. Time: a window fires when the watermark reaches its end; a row is
/// late when the last of its windows has fired. State: partial aggregates for each key and slice, until the slice's
/// last window has fired; `Partial` has none.
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
                "an aggregate that depends on the order of rows has no part before an exchange",
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
        let is_global = self.spec.is_global();
        Ok(match self.mode {
            AggregateMode::Partial => Box::new(PartialAggregate::new(layout, RowInput::new(&self.spec))),
            AggregateMode::Single => {
                Box::new(WindowAggregate::new(layout, Some(RowInput::new(&self.spec)), is_global, init))
            }
            AggregateMode::Final => Box::new(WindowAggregate::new(layout, None, is_global, init)),
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
        match (self.spec.window, self.spec.time_column) {
            (AggregateWindow::Assign(WindowSpec::Global), _) => {}
            (AggregateWindow::Assign(window), time) => {
                facts.push(("window".into(), window.to_string()));
                facts.extend(time.map(|i| ("time".into(), name(i))));
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
