//! `WHERE`: keeps the rows for which a condition is true. A null condition drops the row.

use std::sync::Arc;

use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalExpr;
use rheos_core::operator::{Counter, OperatorInit};
use rheos_core::{Error, Operator, OperatorContext, OperatorFactory, Port, Progress, Result};

use crate::evaluation::{check_expression, evaluate_condition, plan_error};

/// Makes filters.
///
/// Shape: the input's columns; rows keep their order. Time: untouched. State: none.
#[derive(Debug, Clone)]
pub struct FilterFactory {
    input: SchemaRef,
    predicate: Arc<dyn PhysicalExpr>,
}

impl FilterFactory {
    /// A filter by `predicate`. Errors: `Invalid` unless it is a BOOLEAN over columns of `input`.
    pub fn try_new(input: SchemaRef, predicate: Arc<dyn PhysicalExpr>) -> Result<Self> {
        check_expression(&predicate, &input)?;
        let data_type = predicate.data_type(&input).map_err(plan_error)?;
        if data_type != DataType::Boolean {
            return Err(Error::invalid(352, format!("the condition {predicate} has type {data_type}, not BOOLEAN"))
                .with_hint("compare it with something, e.g. `x > 0` or `x IS NOT NULL`"));
        }
        Ok(Self { input, predicate })
    }
}

impl OperatorFactory for FilterFactory {
    fn create(&self, _init: &OperatorInit) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Filter { predicate: Arc::clone(&self.predicate) }))
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.input)
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![("where".into(), self.predicate.to_string())]
    }
}

struct Filter {
    predicate: Arc<dyn PhysicalExpr>,
}

impl Operator for Filter {
    fn on_batch(&mut self, _input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        let keep = evaluate_condition(&self.predicate, &batch)?;
        let kept = keep.true_count();
        ctx.count(Counter::FilteredRows, (batch.num_rows() - kept) as u64);
        match kept {
            0 => {}
            n if n == batch.num_rows() => ctx.emit(Port::MAIN, batch),
            _ => ctx.emit(Port::MAIN, filter_record_batch(&batch, &keep)?),
        }
        Ok(Progress::Done)
    }
}
