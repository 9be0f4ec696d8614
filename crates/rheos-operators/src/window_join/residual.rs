//! The condition of a join beside equal keys. Only the columns that it reads are put together for it.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::utils::collect_columns;
use rheos_core::{Error, Result};

use super::side::{Pairs, Side};
use super::spec::{LEFT, RIGHT};
use crate::evaluation::{check_expression, evaluate_condition, new_batch, plan_error};

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

    /// For which pairs it is true.
    pub(crate) fn evaluate(&self, sides: &[Side; 2], pairs: &Pairs) -> Result<BooleanArray> {
        let columns = self.columns.iter().map(|(side, column)| sides[*side].gather(*column, &pairs.places[*side]));
        let batch = new_batch(&self.schema, columns.collect::<Result<_>>()?, pairs.len())?;
        evaluate_condition(&self.condition, &batch)
    }
}
