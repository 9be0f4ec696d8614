//! `SELECT`: each output column is an expression over the input's columns. Names may repeat, and there may be no column
//! at all (`SELECT count(*)` reads none): the row count is kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use rheos_core::operator::OperatorInit;
use rheos_core::{Operator, OperatorContext, OperatorFactory, Port, Progress, Result};

use crate::evaluation::{check_expression, coerce, evaluate, new_batch, plan_error};

/// Makes projections.
///
/// Shape: one column an expression, one row a row, in order. Time: untouched. State: none.
#[derive(Debug, Clone)]
pub struct ProjectFactory {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

impl ProjectFactory {
    /// The columns and their names. Errors: `Invalid` if an expression does not fit `input`.
    pub fn try_new(input: SchemaRef, exprs: Vec<(Arc<dyn PhysicalExpr>, String)>) -> Result<Self> {
        let mut fields = Vec::with_capacity(exprs.len());
        for (expr, name) in &exprs {
            check_expression(expr, &input)?;
            let field = expr.return_field(&input).map_err(plan_error)?;
            fields.push(Field::clone(&field).with_name(name));
        }
        let exprs = exprs.into_iter().map(|(expr, _)| expr).collect();
        Ok(Self { exprs, schema: Arc::new(Schema::new(fields)) })
    }
}

impl OperatorFactory for ProjectFactory {
    fn create(&self, _init: &OperatorInit) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Project { exprs: self.exprs.clone(), schema: Arc::clone(&self.schema) }))
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn describe(&self) -> Vec<(String, String)> {
        let columns = self.exprs.iter().zip(self.schema.fields()).map(|(expr, field)| {
            let expr = expr.to_string();
            // A column is shown as `name@index`; what keeps its name needs no "AS".
            let same = expr.rsplit_once('@').is_some_and(|(name, _)| name == field.name());
            if same { expr } else { format!("{expr} AS {}", field.name()) }
        });
        vec![("select".into(), columns.collect::<Vec<_>>().join(", "))]
    }

    fn only_selects(&self) -> bool {
        let names = self.schema.fields().iter().map(|f| f.name()).collect::<BTreeSet<_>>();
        let is_same = |(expr, field): (&Arc<dyn PhysicalExpr>, &Arc<Field>)| {
            expr.downcast_ref::<Column>().is_some_and(|c| c.name() == field.name())
        };
        // Two columns of one name are told apart by their places only.
        names.len() == self.exprs.len() && self.exprs.iter().zip(self.schema.fields()).all(is_same)
    }
}

struct Project {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

impl Operator for Project {
    fn on_batch(&mut self, _input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        let columns = self.exprs.iter().zip(self.schema.fields());
        let columns = columns.map(|(expr, field)| coerce(evaluate(expr, &batch)?, field.data_type()));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        ctx.emit(Port::MAIN, new_batch(&self.schema, columns, batch.num_rows())?);
        Ok(Progress::Done)
    }
}
