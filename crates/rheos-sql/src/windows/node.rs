//! A window in the logical plan.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion_common::{Column, DFSchema, DFSchemaRef, Result as DfResult, internal_err};
use datafusion_expr::logical_plan::UserDefinedLogicalNodeCore;
use datafusion_expr::{Expr, LogicalPlan};
use rheos_core::window::WindowSpec;

use crate::event_time::TimeAttribute;

/// The columns that a window adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum WindowColumn {
    /// First microsecond.
    Start,
    /// Just behind the last one.
    End,
    /// One millisecond before the end: the event time of what the window yields.
    Time,
}

impl WindowColumn {
    /// In the order in which they are added.
    pub(crate) const ALL: [Self; 3] = [Self::Start, Self::End, Self::Time];

    /// The column's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Start => "window_start",
            Self::End => "window_end",
            Self::Time => "window_time",
        }
    }
}

/// Of which rows a session is made. Windows of the other kinds are the same for all rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash)]
pub(crate) enum SessionKey {
    /// Those that agree in these columns; without one, of all rows.
    Columns(Vec<Expr>),
    /// Those of one group of the GROUP BY above: the group function `SESSION(ts, gap)`.
    Group,
}

/// Puts rows into windows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct WindowNode {
    pub(crate) input: LogicalPlan,
    pub(crate) time: TimeAttribute,
    pub(crate) spec: WindowSpec,
    pub(crate) session_key: SessionKey,
    /// The table or view that it reads, if its late rows are read too; all its columns are kept then.
    pub(crate) late: Option<String>,
    /// Of the three new columns.
    time_type: DataType,
    schema: DFSchemaRef,
}

impl WindowNode {
    pub(super) fn try_new(
        input: LogicalPlan,
        time: TimeAttribute,
        time_type: DataType,
        spec: WindowSpec,
        session_key: SessionKey,
    ) -> DfResult<Self> {
        let mut fields: Vec<_> = input.schema().iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
        for column in WindowColumn::ALL {
            // A row without an event time is in no window, so they are never null behind the operator.
            fields.push((None, Arc::new(Field::new(column.name(), time_type.clone(), false))));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, input.schema().metadata().clone())?);
        Ok(Self { input, time, spec, session_key, late: None, time_type, schema })
    }

    /// The same window, whose late rows are read by the name of what it reads.
    pub(crate) fn keeping_late(mut self, name: Option<String>) -> Self {
        self.late = name.filter(|_| self.time != TimeAttribute::Processing);
        self
    }

    /// Where the time column is in the input; `None` in processing time.
    pub(crate) fn time_index(&self) -> DfResult<Option<usize>> {
        match &self.time {
            TimeAttribute::Event(time) => self.index(time).map(Some),
            TimeAttribute::Processing => Ok(None),
        }
    }

    /// Where the columns of the session's key are in the input; `None` for the key of the GROUP BY above.
    pub(crate) fn session_columns(&self) -> DfResult<Option<Vec<usize>>> {
        match &self.session_key {
            SessionKey::Columns(columns) => columns.iter().map(|c| self.index(c)).collect::<DfResult<_>>().map(Some),
            SessionKey::Group => Ok(None),
        }
    }

    fn index(&self, column: &Expr) -> DfResult<usize> {
        match column {
            Expr::Column(column) => self.input.schema().index_of_column(column),
            other => internal_err!("{other} is not a column of the window's input"),
        }
    }

    fn is_session(&self) -> bool {
        matches!(self.spec, WindowSpec::Session { .. })
    }
}

impl PartialOrd for WindowNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.input.partial_cmp(&other.input) {
            Some(Ordering::Equal) if self != other => self.expressions().partial_cmp(&other.expressions()),
            order => order,
        }
    }
}

impl UserDefinedLogicalNodeCore for WindowNode {
    fn name(&self) -> &str {
        "Window"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    /// The session's key, then the time.
    fn expressions(&self) -> Vec<Expr> {
        let mut exprs = match &self.session_key {
            SessionKey::Columns(columns) => columns.clone(),
            SessionKey::Group => vec![],
        };
        if let TimeAttribute::Event(time) = &self.time {
            exprs.push(time.clone());
        }
        exprs
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let mut kept: HashSet<_> = WindowColumn::ALL.iter().map(|c| c.name().to_string()).collect();
        if let (true, SessionKey::Columns(key)) = (self.is_session(), &self.session_key) {
            let is_key = |c: &Column| key.iter().any(|k| matches!(k, Expr::Column(k) if k == c));
            kept.extend(self.input.schema().columns().into_iter().filter(|c| !is_key(c)).map(|c| c.name));
        }
        kept
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.time {
            TimeAttribute::Event(time) => write!(f, "Window: {} on {time}", self.spec),
            TimeAttribute::Processing => write!(f, "Window: {} in processing time", self.spec),
        }
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        let time = match (&self.time, exprs.pop()) {
            (TimeAttribute::Event(_), Some(time)) => TimeAttribute::Event(time),
            (TimeAttribute::Event(_), None) => return internal_err!("a window has a time"),
            (TimeAttribute::Processing, last) => {
                exprs.extend(last);
                TimeAttribute::Processing
            }
        };
        let session_key = match &self.session_key {
            SessionKey::Columns(_) => SessionKey::Columns(exprs),
            SessionKey::Group => SessionKey::Group,
        };
        match inputs.pop() {
            Some(input) => {
                let window = Self::try_new(input, time, self.time_type.clone(), self.spec, session_key)?;
                Ok(window.keeping_late(self.late.clone()))
            }
            None => internal_err!("a window has one input"),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input.schema().fields().len();
        if self.late.is_some() {
            return Some(vec![(0..width).collect()]);
        }
        let mut needed: Vec<_> = output_columns.iter().copied().filter(|c| *c < width).collect();
        needed.extend(self.time_index().ok()?);
        needed.extend(self.session_columns().ok()?.into_iter().flatten());
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}
