//! What a window aggregate computes, and the layout of its rows in each stage.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;
use rheos_core::window::WindowSpec;
use rheos_core::{Error, Result};

use super::distinct_counts;
use crate::aggregate::AggregateCall;
use crate::assign_windows::{time_zone, window_fields};
use crate::evaluation::{check_expression, plan_error};

/// How rows are put into windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AggregateWindow {
    /// By [`AggregateSpec::time`] (or all into one: [`WindowSpec::Global`]).
    Assign(WindowSpec),
    /// Every row carries its window, since a filter, a join or another aggregate stands between it and its assigner.
    Columns {
        /// Index of `window_start`.
        start: usize,
        /// Index of `window_end`.
        end: usize,
    },
}

/// Which clock puts rows into windows and fires them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AggregateTime {
    /// The event time in this column of the input: a timestamp in microseconds. Watermarks fire windows.
    Event(usize),
    /// The clock of the operator that keeps the windows, when it takes a batch. It fires windows, also while nothing
    /// arrives; no row is late. The end of bounded input fires what is open. Only with [`AggregateMode::Single`].
    Processing {
        /// The zone of the window columns; `None`: timestamps without a zone, in UTC.
        zone: Option<Arc<str>>,
    },
}

/// Where in the plan the aggregate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AggregateMode {
    /// Rows to results: behind the exchange, with nothing before it.
    Single,
    /// Rows to partial aggregates: before the exchange.
    Partial,
    /// Partial aggregates to results: behind the exchange.
    Final,
}

/// What a window aggregate computes.
#[derive(Debug, Clone)]
pub struct AggregateSpec {
    /// The columns of the rows (in every mode).
    pub input: SchemaRef,
    /// The windows.
    pub window: AggregateWindow,
    /// What windows go by; `None` only for the global window and for windows in columns.
    pub time: Option<AggregateTime>,
    /// GROUP BY, without the windows.
    pub keys: Vec<(Arc<dyn PhysicalExpr>, String)>,
    /// What is computed of each group.
    pub aggregates: Vec<AggregateCall>,
}

impl AggregateSpec {
    /// Whether rows may be aggregated before the exchange. Not where a result depends on the order of rows, or on when
    /// they reach the operator.
    pub fn supports_partial(&self) -> bool {
        !self.is_processing_time() && !self.aggregates.iter().any(AggregateCall::is_order_sensitive)
    }

    pub(crate) fn is_global(&self) -> bool {
        self.window == AggregateWindow::Assign(WindowSpec::Global)
    }

    pub(crate) fn is_processing_time(&self) -> bool {
        let assigned = matches!(self.window, AggregateWindow::Assign(spec) if spec != WindowSpec::Global);
        assigned && matches!(self.time, Some(AggregateTime::Processing { .. }))
    }

    /// The gap, where windows are sessions.
    pub(crate) fn session_gap_ms(&self) -> Option<i64> {
        match self.window {
            AggregateWindow::Assign(WindowSpec::Session { gap_ms }) => Some(gap_ms),
            _ => None,
        }
    }
}

/// The columns in each stage.
///
/// ```text
///   partial and state rows:  slice i64 | keys | hidden keys | state columns of each aggregate
///   the same of sessions:    session_end i64 | keys | session_start i64 | rows i64 | state columns of each aggregate
///   results:                 keys | aggregates | window_start, window_end, window_time
/// ```
/// A session's bounds are in ms.
/// The hidden keys are the window itself where rows carry their window; it is part of a group's key then.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) window: AggregateWindow,
    pub(crate) keys: usize,
    /// Keys and hidden keys.
    pub(crate) group_schema: SchemaRef,
    pub(crate) partial_schema: SchemaRef,
    pub(crate) output_schema: SchemaRef,
    /// State columns of each aggregate.
    pub(crate) state_widths: Vec<usize>,
    /// Calls that count distinct values in one set.
    pub(crate) distinct_sets: Vec<Vec<usize>>,
    pub(crate) zone: Option<Arc<str>>,
    pub(crate) aggregates: Vec<AggregateCall>,
}

impl Layout {
    pub(crate) fn try_new(spec: &AggregateSpec) -> Result<Self> {
        let mut group_fields: Vec<Field> = vec![];
        for (expr, name) in &spec.keys {
            check_expression(expr, &spec.input)?;
            let field = expr.return_field(&spec.input).map_err(plan_error)?;
            group_fields.push(Field::clone(&field).with_name(name));
        }
        let zone = match (spec.window, &spec.time) {
            (AggregateWindow::Assign(WindowSpec::Global), _) => None,
            (AggregateWindow::Assign(_), Some(AggregateTime::Event(column))) => time_zone(&spec.input, *column)?,
            (AggregateWindow::Assign(_), Some(AggregateTime::Processing { zone })) => zone.clone(),
            (AggregateWindow::Assign(_), None) => {
                return Err(Error::internal("a window has no time to go by"));
            }
            (AggregateWindow::Columns { start, end }, _) => {
                let zone = time_zone(&spec.input, start)?;
                if time_zone(&spec.input, end)? != zone {
                    return Err(Error::internal("window_start and window_end have different types"));
                }
                let [start, end, _] = window_fields(&zone);
                group_fields.extend([start, end]);
                zone
            }
        };
        let mut state_widths = vec![];
        let int = |name: &str| Arc::new(Field::new(name, DataType::Int64, false));
        let is_session = spec.session_gap_ms().is_some();
        let mut partial: Vec<FieldRef> = vec![int(if is_session { "session_end" } else { "slice" })];
        partial.extend(group_fields.iter().cloned().map(Arc::new));
        if is_session {
            partial.extend([int("session_start"), int("rows")]);
        }
        for call in &spec.aggregates {
            let fields = call.state_fields()?;
            state_widths.push(fields.len());
            // Nullable, whatever the function says: the state of a group without a row is null for some.
            partial.extend(fields.iter().map(|f| Arc::new(Field::clone(f).with_nullable(true))));
        }
        let keys = spec.keys.len();
        let mut output: Vec<Field> = group_fields[..keys].to_vec();
        output.extend(spec.aggregates.iter().map(AggregateCall::field));
        if !spec.is_global() {
            output.extend(window_fields(&zone));
        }
        Ok(Self {
            window: spec.window,
            keys,
            group_schema: Arc::new(Schema::new(group_fields)),
            partial_schema: Arc::new(Schema::new(partial)),
            output_schema: Arc::new(Schema::new(output)),
            state_widths,
            distinct_sets: distinct_counts::sets(&spec.aggregates),
            zone,
            aggregates: spec.aggregates.clone(),
        })
    }

    /// Keys and hidden keys.
    pub(crate) fn group_width(&self) -> usize {
        self.group_schema.fields().len()
    }
}
