//! The condition of a join beside equal keys. Only the columns that it reads are put together for it.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::utils::collect_columns;
use rheos_core::{Error, ErrorKind, Result};

use super::failed::FailedPairs;
use super::{Candidates, LEFT, RIGHT};
use crate::evaluation::{check_expression, evaluate_condition, new_batch, plan_error};
use crate::risk::may_fail;
use crate::row_error::innermost;

/// See the module.
#[derive(Debug)]
pub(crate) struct Residual {
    /// Over `schema`.
    condition: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
    /// Side and index of each of its columns.
    columns: Vec<(usize, usize)>,
}

impl Residual {
    /// `fields` are those of the left, `width` of them, then those of the right. Errors: `Invalid` unless it is a BOOLEAN.
    pub(crate) fn try_new(condition: &Arc<dyn PhysicalExpr>, fields: &[FieldRef], width: usize) -> Result<Self> {
        let whole = Schema::new(fields.to_vec());
        check_expression(condition, &whole)?;
        let data_type = condition.data_type(&whole).map_err(plan_error)?;
        if data_type != DataType::Boolean {
            return Err(Error::invalid(
                352,
                format!("the join condition {condition} has type {data_type}, not BOOLEAN"),
            )
            .with_hint("compare it with something, e.g. `x > 0` or `x IS NOT NULL`"));
        }
        let mut read: Vec<usize> = collect_columns(condition).iter().map(Column::index).collect();
        read.sort_unstable();
        read.dedup();
        let narrow = |expr: Arc<dyn PhysicalExpr>| {
            let Some(column) = expr.downcast_ref::<Column>() else { return Ok(Transformed::no(expr)) };
            let Ok(index) = read.binary_search(&column.index()) else { return Ok(Transformed::no(expr)) };
            Ok(Transformed::yes(Arc::new(Column::new(column.name(), index)) as Arc<dyn PhysicalExpr>))
        };
        Ok(Self {
            condition: Arc::clone(condition).transform(narrow).data().map_err(plan_error)?,
            schema: Arc::new(Schema::new(read.iter().map(|i| Arc::clone(&fields[*i])).collect::<Vec<_>>())),
            columns: read.iter().map(|i| if *i < width { (LEFT, *i) } else { (RIGHT, *i - width) }).collect(),
        })
    }

    /// Whether it may fail for some pair.
    pub(crate) fn may_fail(&self) -> bool {
        may_fail(&self.condition)
    }

    /// What it reads of the pairs.
    pub(crate) fn rows(&self, pairs: &dyn Candidates) -> Result<RecordBatch> {
        let columns = self.columns.iter().map(|(side, column)| pairs.column(*side, *column));
        new_batch(&self.schema, columns.collect::<Result<_>>()?, pairs.len())
    }

    /// For which pairs it is true. `failed`: who takes what cannot be computed with; `None`: that ends the job.
    pub(crate) fn mask(&self, pairs: &dyn Candidates, failed: Option<&mut FailedPairs>) -> Result<BooleanArray> {
        let rows = self.rows(pairs)?;
        match (self.evaluate(&rows), failed) {
            (Err(error), Some(failed)) if error.kind() == ErrorKind::User => failed.mask(self, &rows, error, pairs),
            (mask, _) => mask,
        }
    }

    /// For which of the pairs' [`rows`](Self::rows) it is true.
    pub(crate) fn evaluate(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        evaluate_condition(&self.condition, rows)
    }

    /// Which sides have to do with its failing for a pair: those that the part reads that fails.
    pub(crate) fn sides_at_fault(&self, pair: &RecordBatch) -> [bool; 2] {
        let part = innermost(&self.condition, pair).map(|(part, _)| part);
        let read = collect_columns(part.as_ref().unwrap_or(&self.condition));
        let reads = |side| read.iter().any(|column| self.columns[column.index()].0 == side);
        [reads(LEFT), reads(RIGHT)]
    }
}
