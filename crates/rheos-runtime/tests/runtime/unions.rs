//! Unions of inputs that differ in what may be null.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, new_null_array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use rheos_core::graph::NodeKind;
use rheos_core::operator::{OperatorInit, WatermarkChange};
use rheos_core::time::Watermark;
use rheos_core::{Error, Exchange, JobGraph, Operator, OperatorContext, OperatorFactory, Port, Progress, Result};
use rheos_runtime::RunConfig;

use crate::support::*;

fn nullable() -> SchemaRef {
    let schema = schema();
    let fields = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Rows without a value.
#[derive(Debug, Clone)]
struct Nulls;

impl OperatorFactory for Nulls {
    fn create(&self, _init: &OperatorInit) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.clone()))
    }

    fn schema(&self) -> SchemaRef {
        nullable()
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![]
    }
}

impl Operator for Nulls {
    fn on_batch(&mut self, _input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        let schema = nullable();
        let columns = schema.fields().iter().map(|f| new_null_array(f.data_type(), batch.num_rows())).collect();
        ctx.emit(Port::MAIN, RecordBatch::try_new(schema, columns).unwrap());
        Ok(Progress::Done)
    }
}

fn count_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("rows", DataType::Int64, false)]))
}

/// Keeps all rows to the end, puts them together as operators do (under the schema of the first batch), and counts them.
#[derive(Debug, Clone, Default)]
struct Together(Vec<RecordBatch>);

impl OperatorFactory for Together {
    fn create(&self, _init: &OperatorInit) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.clone()))
    }

    fn schema(&self) -> SchemaRef {
        count_schema()
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![]
    }
}

impl Operator for Together {
    fn on_batch(&mut self, _input: usize, batch: RecordBatch, _ctx: &mut OperatorContext) -> Result<Progress> {
        self.0.push(batch);
        Ok(Progress::Done)
    }

    fn on_watermark(&mut self, change: WatermarkChange, ctx: &mut OperatorContext) -> Result<Progress> {
        if change.combined == Watermark::MAX && !self.0.is_empty() {
            // The batch without nulls first, whichever has come first.
            self.0.sort_by_key(|batch| batch.column(0).null_count());
            let all = concat_batches(&self.0[0].schema(), &self.0).map_err(|e| Error::internal(e.to_string()))?;
            self.0.clear();
            let rows: ArrayRef = Arc::new(Int64Array::from(vec![all.num_rows() as i64]));
            ctx.emit(Port::MAIN, RecordBatch::try_new(count_schema(), vec![rows]).unwrap());
        }
        Ok(Progress::Done)
    }
}

#[test]
fn a_column_that_is_null_in_one_input_only_may_be_null_in_all() {
    let traffic = Arc::default();
    let source = |n: i64| {
        let splits = vec![(0..n).map(|key| (key, key)).collect()];
        NodeKind::Source { source: Arc::new(TestSource { splits, ..Default::default() }), watermark: None }
    };
    let sink = TestSink::new(count_schema(), &traffic);
    let rows = Arc::clone(&sink.rows);
    let mut graph = JobGraph::default();
    let values = graph.add("values", source(3), vec![]);
    let others = graph.add("others", source(5), vec![]);
    let nulls = graph.add("nulls", NodeKind::Stateless(Arc::new(Nulls)), vec![edge(others, Exchange::Forward)]);
    let union =
        graph.add("union", NodeKind::Union, vec![edge(values, Exchange::Forward), edge(nulls, Exchange::Forward)]);
    let together = NodeKind::Stateful(Arc::new(Together::default()));
    let together = graph.add("together", together, vec![edge(union, Exchange::Single)]);
    graph.add("sink", NodeKind::Sink(Arc::new(sink)), vec![edge(together, Exchange::Forward)]);
    run(graph, RunConfig { parallelism: 1, ..Default::default() }).unwrap();
    assert_eq!(*rows.lock().unwrap(), [[8]]);
}
