//! `INTERSECT` and `EXCEPT`: those that count copies, and those whose result changes as rows come. What ends and counts none is a join.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::{DFSchema, JoinType, NullEquality};
use datafusion_expr::logical_plan::Join;
use datafusion_expr::{Distinct, Expr, LogicalPlan};
use rheos_core::NodeId;
use rheos_core::error::Result;
use rheos_operators::{SetOperation, SetOperationSpec, plan};
use sqlparser::keywords::Keyword;

use super::Lowering;
use super::changes::Changing;
use super::stream::{Stream, unique};

impl Lowering<'_> {
    /// The operation that a join stands for, if its result changes: `INTERSECT` and `EXCEPT` are planned as joins by all columns, of
    /// different rows.
    pub(super) fn changing_set(&self, join: &Join) -> Result<Option<SetOperation>> {
        let operation = match join.join_type {
            JoinType::LeftSemi => SetOperation::Intersect,
            JoinType::LeftAnti => SetOperation::Except,
            _ => return Ok(None),
        };
        let is_set = matches!(join.left.as_ref(), LogicalPlan::Distinct(Distinct::All(_)))
            && join.null_equality == NullEquality::NullEqualsNull
            && join.filter.is_none()
            && is_by_all_columns(join);
        // Rows of a window are compared when it ends.
        let has_windows = join.left.schema().fields().iter().any(|field| field.name() == "window_end");
        let changes = is_set && !has_windows && (self.wants_changes(&join.left)? || self.wants_changes(&join.right)?);
        Ok(changes.then_some(operation))
    }

    /// The rows of both sides, counted. `output`: the columns.
    pub(super) fn counted(
        &mut self,
        operation: SetOperation,
        left: &LogicalPlan,
        right: &LogicalPlan,
        output: &DFSchema,
    ) -> Result<Stream> {
        // They are counted here, once for all.
        let all = |plan: &LogicalPlan| match plan {
            LogicalPlan::Distinct(Distinct::All(input)) => input.as_ref().clone(),
            other => other.clone(),
        };
        let (left, right) = match operation {
            SetOperation::Intersect | SetOperation::Except => (all(left), all(right)),
            SetOperation::IntersectAll | SetOperation::ExceptAll => (left.clone(), right.clone()),
        };
        let changes = self.wants_changes(&left)? || self.wants_changes(&right)?;
        if changes {
            let (what, keyword) = match operation {
                SetOperation::Intersect | SetOperation::IntersectAll => ("INTERSECT", Keyword::INTERSECT),
                SetOperation::Except | SetOperation::ExceptAll => ("EXCEPT", Keyword::EXCEPT),
            };
            self.note_change(Changing { what, keyword, hint: "read input that ends" });
        }
        let wanted = columns(output);
        let inputs = [self.side(&left, &wanted, changes)?, self.side(&right, &wanted, changes)?];
        let spec = SetOperationSpec {
            inputs: inputs.map(|node| Arc::clone(&self.graph.node(node).schema)),
            operation,
            at_end: !changes,
            emit_interval_ms: self.emit.interval_ms,
            state_ttl_ms: None,
        };
        let (node, schema) = plan::set_operation(self.graph, inputs, spec)?;
        Ok(Stream::plain(node, schema))
    }

    fn side(&mut self, plan: &LogicalPlan, wanted: &SchemaRef, changes: bool) -> Result<NodeId> {
        let stream = self.lower(plan)?;
        let stream = self.assigned(stream)?;
        let stream = if changes { stream } else { self.at_end(stream)? };
        self.shaped(stream, wanted)
    }
}

/// The columns of both sides: their names are those of the left one.
fn columns(output: &DFSchema) -> SchemaRef {
    let names = unique(output.fields().iter().map(|f| f.name().clone()));
    let types = output.fields().iter().map(|f| f.data_type().clone());
    let field = |(name, data_type): (String, DataType)| Field::new(name, data_type, true);
    Arc::new(Schema::new(names.into_iter().zip(types).map(field).collect::<Vec<_>>()))
}

fn is_by_all_columns(join: &Join) -> bool {
    let (left, right) = (join.left.schema(), join.right.schema());
    let place = |expr: &Expr, schema: &DFSchema| match expr {
        Expr::Column(column) => schema.index_of_column(column).ok(),
        _ => None,
    };
    let same_types = || left.fields().iter().zip(right.fields()).all(|(a, b)| a.data_type() == b.data_type());
    join.on.len() == left.fields().len()
        && join.on.len() == right.fields().len()
        && join.on.iter().enumerate().all(|(at, (a, b))| place(a, left) == Some(at) && place(b, right) == Some(at))
        && same_types()
}
