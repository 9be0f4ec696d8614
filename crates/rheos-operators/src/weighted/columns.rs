//! Which columns a call keeps of its rows: what it is ordered by, then its arguments, each once; what is written out in the
//! program (`','` in `string_agg(x, ',')`) is kept nowhere.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Literal;
use datafusion_physical_expr_common::physical_expr::is_volatile;

use rheos_core::Result;

use crate::aggregate::AggregateCall;
use crate::evaluation::{canonical_key, data_error};

/// Which row of a group is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    /// The first that came.
    First,
    /// The last that came.
    Last,
    /// The first in order.
    Smallest,
    /// The last in order.
    Largest,
}

/// Where an input of the function is found again.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Column(usize),
    Constant(ScalarValue),
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    /// Of each column: which of the call's inputs it is.
    inputs: Vec<usize>,
    /// Types, and how rows are ordered by them.
    pub(super) types: Vec<(DataType, SortOptions)>,
    /// Columns whose nulls leave the row out.
    pub(super) complete: Vec<usize>,
    /// Of each input of the function.
    pub(super) sources: Vec<Source>,
}

impl PartialEq for Columns {
    /// Whether the same rows are kept.
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&Arc<dyn PhysicalExpr>, &Arc<dyn PhysicalExpr>)| a.eq(b) && !is_volatile(a);
        self.types == other.types
            && self.complete == other.complete
            && self.exprs.len() == other.exprs.len()
            && self.exprs.iter().zip(&other.exprs).all(same)
    }
}

impl Columns {
    /// The columns of a call. `ordered`: rows are in the order that the call asks for; else in that of its arguments.
    pub(super) fn of_call(call: &AggregateCall, ordered: bool) -> Self {
        let mut inputs = call.inputs();
        let order = call.expr().order_bys();
        let arguments = inputs.len() - order.len();
        if !ordered {
            inputs.truncate(arguments);
        }
        let by_order = (arguments..inputs.len()).map(|at| (at, order[at - arguments].options));
        let mut columns = Self { exprs: vec![], inputs: vec![], types: vec![], complete: vec![], sources: vec![] };
        for (at, options) in by_order.chain((0..arguments).map(|at| (at, SortOptions::default()))) {
            if columns.column(&inputs[at]).is_none() && !inputs[at].is::<Literal>() {
                columns.exprs.push(Arc::clone(&inputs[at]));
                columns.inputs.push(at);
                columns.types.push((call.input_types()[at].clone(), options));
            }
        }
        columns.sources = inputs.iter().enumerate().map(|(at, input)| columns.source(at, input)).collect();
        columns
    }

    /// Rows with a null in any of the columns do not count.
    pub(super) fn without_nulls(mut self) -> Self {
        self.complete = (0..self.types.len()).collect();
        self
    }

    fn column(&self, expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
        self.exprs.iter().position(|known| known.eq(expr) && !is_volatile(expr))
    }

    fn source(&self, at: usize, input: &Arc<dyn PhysicalExpr>) -> Source {
        if let Some(literal) = input.downcast_ref::<Literal>() {
            return Source::Constant(literal.value().clone());
        }
        let own = self.inputs.iter().position(|known| *known == at);
        Source::Column(own.or_else(|| self.column(input)).unwrap_or_default())
    }

    /// The column that the first argument is.
    pub(super) fn first_argument(&self) -> Option<usize> {
        match self.sources.first() {
            Some(Source::Column(at)) => Some(*at),
            _ => None,
        }
    }

    /// What the function reads, from the columns that are kept.
    pub(super) fn inputs_from(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<ArrayRef>> {
        let input = |source: &Source| match source {
            Source::Column(at) => Ok(Arc::clone(&columns[*at])),
            Source::Constant(value) => value.to_array_of_size(rows).map_err(data_error),
        };
        self.sources.iter().map(input).collect()
    }

    /// The columns of a batch, of the call's inputs: -0.0 is 0.0 and all NaN are one.
    pub(super) fn of(&self, inputs: &[ArrayRef]) -> Vec<ArrayRef> {
        self.inputs.iter().map(|at| canonical_key(Arc::clone(&inputs[*at]))).collect()
    }
}
