//! Rows that stand in the program itself: `VALUES (...)` and a `SELECT` without `FROM`.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion_common::tree_node::{Transformed, TransformedResult};
use datafusion_common::{Column, Result as DfResult};
use datafusion_expr::{Expr, LogicalPlan, Values};
use rheos_core::Result;
use rheos_core::source::{Boundedness, Discovery, ReaderContext, Source, SourcePoll, Split, SplitReader};

/// Gives the columns of `(VALUES ..) AS t(x, ..)` their names where they are made, so that an error in a row tells of `x`: else
/// the optimizer leaves the planner's names, `column1` and so on.
pub(crate) fn named(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let node = |node: LogicalPlan| {
        let LogicalPlan::Projection(projection) = &node else { return Ok(Transformed::no(node)) };
        let LogicalPlan::Values(values) = projection.input.as_ref() else { return Ok(Transformed::no(node)) };
        let columns = values.schema.columns();
        let renames = |(expr, column): (&Expr, &Column)| matches!(expr, Expr::Alias(alias) if matches!(alias.expr.as_ref(), Expr::Column(c) if c == column));
        if projection.expr.len() != columns.len() || !projection.expr.iter().zip(&columns).all(renames) {
            return Ok(Transformed::no(node));
        }
        let (schema, values) = (Arc::clone(&projection.schema), values.values.clone());
        Ok(Transformed::yes(LogicalPlan::Values(Values { schema, values })))
    };
    plan.transform_up_with_subqueries(node).data()
}

/// A bounded source of a few rows: one split, read by one worker.
#[derive(Debug, Clone)]
pub(crate) struct ValuesSource {
    rows: RecordBatch,
    /// What the rows are, for the source's description.
    text: String,
}

impl ValuesSource {
    pub(crate) fn new(rows: RecordBatch, text: String) -> Self {
        Self { rows, text }
    }
}

impl Source for ValuesSource {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn makes_rows(&self) -> bool {
        true
    }

    fn project(&self, columns: &[usize]) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(Self { rows: self.rows.project(columns)?, text: self.text.clone() }))
    }

    fn discover(&self, _time_column: Option<usize>, _parallelism: usize) -> Result<Discovery> {
        let split =
            Split { id: "values".into(), sequence: 0, not_before_ms: None, size_bytes: 0, descriptor: String::new() };
        Ok(Discovery { splits: vec![split], finished: true })
    }

    fn open(&self, _split: &Split, position: Option<&str>, ctx: ReaderContext) -> Result<Box<dyn SplitReader>> {
        let next = position.and_then(|p| p.parse().ok()).unwrap_or(0);
        Ok(Box::new(ValuesReader { rows: self.rows.clone(), next, ctx }))
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![("rows".into(), self.rows.num_rows().to_string()), ("values".into(), self.text.clone())]
    }
}

struct ValuesReader {
    rows: RecordBatch,
    next: usize,
    ctx: ReaderContext,
}

impl SplitReader for ValuesReader {
    fn poll(&mut self) -> Result<SourcePoll> {
        let left = self.rows.num_rows().saturating_sub(self.next);
        if left == 0 {
            return Ok(SourcePoll::Finished);
        }
        let take = left.min(self.ctx.batch_rows.max(1));
        let batch = self.rows.slice(self.next, take);
        self.next += take;
        self.ctx.counters.add_made(take as u64);
        Ok(SourcePoll::Batch(batch))
    }

    fn position(&self) -> String {
        self.next.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array};

    #[test]
    fn rows_come_in_batches_and_go_on_from_a_position() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5]));
        let rows = RecordBatch::try_from_iter([("a", column)]).unwrap();
        let source = ValuesSource::new(rows, String::new());
        let split = source.discover(None, 1).unwrap().splits.remove(0);
        let mut reader = source.open(&split, None, ReaderContext::detached(2)).unwrap();
        assert!(matches!(reader.poll().unwrap(), SourcePoll::Batch(b) if b.num_rows() == 2));
        let position = reader.position();
        let mut reader = source.open(&split, Some(&position), ReaderContext::detached(9)).unwrap();
        assert!(matches!(reader.poll().unwrap(), SourcePoll::Batch(b) if b.num_rows() == 3));
        assert!(matches!(reader.poll().unwrap(), SourcePoll::Finished));
    }
}
