//! What a part of the logical plan has become: a node of the graph, and where each logical column is in its rows.
//!
//! Columns are renamed and reordered by bookkeeping only; a projection node is made where something is computed. A
//! window is kept *pending*: an aggregate by its window takes it over and never copies a row into several windows, and
//! everything else lets [`super::Lowering::assigned`] put the three columns into the rows.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Column, DFSchema, DataFusionError, Result as DfResult, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{Expr, Operator};
use datafusion_physical_expr::expressions::{BinaryExpr, Literal, NegativeExpr};
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use rheos_core::NodeId;
use rheos_core::change;
use rheos_core::window::WindowSpec;
use rheos_operators::choice::looked_up;
use rheos_operators::quotient::exact_quotients;
use rheos_operators::scaled_integer::scaled_integers;

use super::column;
use super::guards::guarded;
use crate::windows::WindowColumn;

/// Where a logical column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// In the rows, at this index.
    Column(usize),
    /// In the pending window.
    Window(WindowColumn),
}

/// A window that no row has been put into yet.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) spec: WindowSpec,
    /// The time column in the rows; `None` in processing time.
    pub(crate) time: Option<usize>,
    /// The columns of the rows that are a session's key; `None`: the key of the GROUP BY above.
    pub(crate) session_key: Option<Vec<usize>>,
    /// Conditions on window columns alone, under the names of [`WindowColumn`]: whole windows pass or do not.
    pub(crate) conditions: Vec<Expr>,
}

impl Pending {
    /// Whether the windows depend on the rows that are there, so that rows must not be taken out before.
    pub(crate) fn is_session(&self) -> bool {
        matches!(self.spec, WindowSpec::Session { .. })
    }

    /// How many ms the windows have, if all have the same length.
    pub(crate) fn length(&self) -> Option<i64> {
        match self.spec {
            WindowSpec::Tumble { size_ms, .. } | WindowSpec::Hop { size_ms, .. } => Some(size_ms),
            WindowSpec::Cumulate { .. } | WindowSpec::Session { .. } | WindowSpec::Global => None,
        }
    }

    /// The columns of the rows that the window reads.
    pub(crate) fn reads(&self) -> impl Iterator<Item = usize> + '_ {
        self.time.into_iter().chain(self.session_key.iter().flatten().copied())
    }

    /// The window over rows whose columns have moved.
    pub(crate) fn moved(mut self, to: impl Fn(usize) -> usize) -> Self {
        self.time = self.time.map(&to);
        self.session_key = self.session_key.map(|key| key.into_iter().map(&to).collect());
        self
    }
}

/// The rows of one part of the plan.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) node: NodeId,
    /// The rows as the node gives them.
    pub(crate) schema: SchemaRef,
    /// One for each column of the logical plan.
    pub(crate) slots: Vec<Slot>,
    /// Columns of the rows that are a window's: the rows of one window agree in them.
    pub(crate) window_columns: Vec<(usize, WindowColumn)>,
    /// How many ms the windows in the rows have, where all have the same length: one end tells the other then.
    pub(crate) window_length: Option<i64>,
    pub(crate) pending: Option<Pending>,
}

impl Stream {
    /// Rows whose columns are those of the logical plan.
    pub(crate) fn plain(node: NodeId, schema: SchemaRef) -> Self {
        let slots = (0..change::width(&schema)).map(Slot::Column).collect();
        Self { node, schema, slots, window_columns: vec![], window_length: None, pending: None }
    }

    /// Whether rows go as well as come: then the last column is their weight, which no slot leads to.
    pub(crate) fn has_weights(&self) -> bool {
        change::has_weights(&self.schema)
    }

    /// The columns of the rows but for their weight.
    pub(crate) fn width(&self) -> usize {
        change::width(&self.schema)
    }

    /// All columns but the weight, each with a name of its own.
    pub(crate) fn columns(&self) -> Vec<(Arc<dyn PhysicalExpr>, String)> {
        let names = self.names().into_iter().take(self.width()).enumerate();
        names.map(|(at, name)| (column(&self.schema, at), name)).collect()
    }

    /// The columns' names, each made unique, so that a name finds its column.
    pub(crate) fn names(&self) -> Vec<String> {
        unique(self.schema.fields().iter().map(|f| f.name().clone()))
    }

    /// What window column a logical column is, if it is one.
    pub(crate) fn window_column(&self, logical: usize) -> Option<WindowColumn> {
        match self.slots[logical] {
            Slot::Window(column) => Some(column),
            Slot::Column(at) => self.window_columns.iter().find(|(c, _)| *c == at).map(|(_, w)| *w),
        }
    }

    /// Whether an expression over the logical columns needs a column of the pending window.
    pub(crate) fn needs_window(&self, expr: &Expr, logical: &DFSchema) -> DfResult<bool> {
        let mut needs = false;
        for column in expr.column_refs() {
            needs |= matches!(self.slots[logical.index_of_column(column)?], Slot::Window(_));
        }
        Ok(needs)
    }

    /// The columns of the rows that an expression reads.
    pub(crate) fn reads(&self, expr: &Expr, logical: &DFSchema) -> DfResult<Vec<usize>> {
        let mut reads = vec![];
        for column in expr.column_refs() {
            if let Slot::Column(at) = self.slots[logical.index_of_column(column)?] {
                reads.push(at);
            }
        }
        Ok(reads)
    }

    /// An expression over the logical columns as one over the rows. Errors: it needs a pending window's column.
    pub(crate) fn compile(
        &self,
        expr: &Expr,
        logical: &DFSchema,
        props: &ExecutionProps,
    ) -> DfResult<Arc<dyn PhysicalExpr>> {
        let names = self.names();
        let rename = |e: Expr| match &e {
            Expr::Column(column) => match self.slots[logical.index_of_column(column)?] {
                Slot::Column(at) => Ok(Transformed::yes(Expr::Column(Column::new_unqualified(&names[at])))),
                Slot::Window(w) => Err(DataFusionError::Internal(format!("{} is not in the rows", w.name()))),
            },
            _ => Ok(Transformed::no(e)),
        };
        let expr = expr.clone().transform_up(rename).data()?;
        self.compile_renamed(&expr, &names, props)
    }

    /// An expression whose columns are already the rows' own.
    pub(crate) fn compile_renamed(
        &self,
        expr: &Expr,
        names: &[String],
        props: &ExecutionProps,
    ) -> DfResult<Arc<dyn PhysicalExpr>> {
        let fields = self.schema.fields().iter().zip(names).map(|(f, n)| f.as_ref().clone().with_name(n));
        let rows = DFSchema::try_from(Schema::new(fields.collect::<Vec<_>>()))?;
        let physical = create_physical_expr(expr, &rows, props, &PhysicalPlanningContext::default())?;
        let physical = exact_quotients(checked_arithmetic(physical, rows.as_arrow())?)?;
        let physical = scaled_integers(physical, rows.as_arrow())?;
        looked_up(physical.transform_up(|e| Ok(guarded(e))).data()?, rows.as_arrow())
    }
}

/// The expression over rows of `schema` with integer arithmetic that fails where it does not fit, instead of wrapping
/// around.
pub(crate) fn checked_arithmetic(expr: Arc<dyn PhysicalExpr>, schema: &Schema) -> DfResult<Arc<dyn PhysicalExpr>> {
    expr.transform_up(|e| checked(e, schema)).data()
}

fn checked(expr: Arc<dyn PhysicalExpr>, schema: &Schema) -> DfResult<Transformed<Arc<dyn PhysicalExpr>>> {
    let checked = |e: BinaryExpr| Ok(Transformed::yes(Arc::new(e.with_fail_on_overflow(true)) as _));
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>()
        && matches!(binary.op(), Operator::Plus | Operator::Minus | Operator::Multiply)
    {
        return checked(binary.clone());
    }
    // The negation has no check of its own: -x is 0 - x.
    if let Some(negative) = expr.downcast_ref::<NegativeExpr>() {
        let data_type = negative.data_type(schema)?;
        if data_type.is_signed_integer() {
            let zero = Arc::new(Literal::new(ScalarValue::new_zero(&data_type)?));
            return checked(BinaryExpr::new(zero, Operator::Minus, Arc::clone(negative.arg())));
        }
    }
    Ok(Transformed::no(expr))
}

/// Names with `_1`, `_2`, ... behind the repeated ones.
pub(crate) fn unique(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut unique = vec![];
    for name in names {
        let mut candidate = name.clone();
        let mut n = 0;
        while !seen.insert(candidate.clone()) {
            n += 1;
            candidate = format!("{name}_{n}");
        }
        unique.push(candidate);
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int8Array;
    use arrow::datatypes::{DataType, Field};
    use arrow::record_batch::RecordBatch;
    use datafusion_physical_expr::expressions::Column as PhysicalColumn;

    #[test]
    fn the_smallest_value_has_no_negative() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int8, true)]));
        let negative = Arc::new(NegativeExpr::new(Arc::new(PhysicalColumn::new("a", 0))));
        let negative = checked_arithmetic(negative, &schema).unwrap();
        let over = |values: Vec<Option<i8>>| {
            let rows = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int8Array::from(values))]).unwrap();
            negative.evaluate(&rows).and_then(|v| v.into_array(rows.num_rows()))
        };
        let expected = Int8Array::from(vec![Some(-127), Some(127), None]);
        assert_eq!(over(vec![Some(127), Some(-127), None]).unwrap().as_ref(), &expected as &dyn arrow::array::Array);
        assert!(over(vec![Some(-128)]).unwrap_err().to_string().contains("verflow"));
    }
}
