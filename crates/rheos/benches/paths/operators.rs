//! Batches through an exchange and through operators: those of Nexmark's q5 (bids by auction in sliding windows) and of
//! a join of auctions with their bids.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::max;
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use datafusion_common::{JoinType, NullEquality};
use datafusion_functions_aggregate::{count::count_udaf, min_max::max_udaf};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{Column, lit};
use rheos_core::key::{KEY_GROUPS_DEFAULT, KeyGroupAssignment};
use rheos_core::operator::{OperatorInit, WatermarkChange};
use rheos_core::window::WindowSpec;
use rheos_core::{Operator, OperatorContext, OperatorFactory, Progress, Watermark};
use rheos_operators::{
    AggregateMode, AggregateSpec, AggregateTime, AggregateWindow, AssignWindowsFactory, WindowAggregateFactory,
    WindowColumns, WindowJoinFactory, WindowJoinInput, WindowJoinSpec, aggregate_call,
};
use rheos_runtime::HashSplit;

use crate::Run;
use crate::input::{NUMBERS, count, rows};

/// Workers that an exchange splits rows for.
const WORKERS: usize = 4;

/// By how much the watermark stays behind the newest bid.
const DELAY_MS: i64 = 1000;

pub(crate) fn hash_split(bids: usize) -> Run {
    let bids = rows("bid", bids, &NUMBERS);
    let expected = count(&bids);
    let mut split = HashSplit::new(vec![1], KeyGroupAssignment::even(KEY_GROUPS_DEFAULT, WORKERS), WORKERS);
    Box::new(move || {
        let mut rows = 0;
        for batch in &bids {
            split.split(batch, |_, part| rows += part.num_rows());
        }
        assert_eq!(rows, expected);
        rows
    })
}

pub(crate) fn partial_aggregate(bids: usize) -> Run {
    let bids = rows("bid", bids, &NUMBERS);
    let mut partial = Driven::new(&aggregate(&bids[0].schema(), AggregateMode::Partial));
    Box::new(move || {
        for batch in &bids {
            partial.batch(0, batch.clone());
            partial.watermark(newest_ms(batch) - DELAY_MS);
        }
        partial.watermark(i64::MAX);
        count(&bids)
    })
}

/// What the partial aggregates of four workers give for every batch.
fn partials(bids: usize) -> (SchemaRef, Vec<RecordBatch>) {
    let bids = rows("bid", bids, &NUMBERS);
    let mut partial = Driven::new(&aggregate(&bids[0].schema(), AggregateMode::Partial));
    for batch in &bids {
        for part in 0..WORKERS {
            let rows = batch.num_rows() / WORKERS;
            partial.batch(0, batch.slice(part * rows, rows));
            partial.flush();
        }
    }
    (bids[0].schema(), partial.emitted)
}

pub(crate) fn merge(bids: usize) -> Run {
    let (schema, partials) = partials(bids);
    let mut last = Driven::new(&aggregate(&schema, AggregateMode::Final));
    Box::new(move || {
        partials.iter().for_each(|batch| last.batch(0, batch.clone()));
        count(&partials)
    })
}

pub(crate) fn window_emit(bids: usize) -> Run {
    let (schema, partials) = partials(bids);
    let mut last = Driven::new(&aggregate(&schema, AggregateMode::Final));
    partials.into_iter().for_each(|batch| last.batch(0, batch));
    Box::new(move || {
        last.watermark(i64::MAX);
        let results = count(&last.emitted);
        assert!(results > 0);
        results
    })
}

/// Auctions and bids of the same ten seconds.
pub(crate) fn join_probe(bids: usize) -> Run {
    // Of 50 events 3 are auctions and 46 are bids.
    let auctions = windowed(rows("auction", (bids * 3).div_ceil(46), &["id", "seller", "dateTime"]));
    let bids = windowed(rows("bid", bids, &NUMBERS));
    let input = |batches: &[RecordBatch]| {
        let schema = batches[0].schema();
        let window = WindowColumns {
            start: schema.index_of("window_start").unwrap(),
            end: schema.index_of("window_end").unwrap(),
        };
        WindowJoinInput { keys: vec![column(&schema, 0)], window: Some(window), schema }
    };
    let factory = WindowJoinFactory::try_new(WindowJoinSpec {
        left: input(&auctions),
        right: input(&bids),
        kind: JoinType::Inner,
        filter: None,
        null_equality: NullEquality::NullEqualsNothing,
    });
    let mut join = Driven::new(&factory.unwrap());
    let records = count(&bids);
    auctions.into_iter().for_each(|batch| join.batch(0, batch));
    bids.into_iter().for_each(|batch| join.batch(1, batch));
    Box::new(move || {
        join.watermark(i64::MAX);
        assert!(count(&join.emitted) > records / 2, "most bids are for an auction of their window");
        records
    })
}

fn windowed(batches: Vec<RecordBatch>) -> Vec<RecordBatch> {
    let schema = batches[0].schema();
    let window = WindowSpec::try_tumble(10_000, 0).unwrap();
    let factory = AssignWindowsFactory::try_new(Arc::clone(&schema), schema.index_of("dateTime").unwrap(), window);
    let mut assign = Driven::new(&factory.unwrap());
    batches.into_iter().for_each(|batch| assign.batch(0, batch));
    assign.emitted
}

/// `COUNT(*), MAX(price)` by auction, over ten seconds every two.
fn aggregate(schema: &SchemaRef, mode: AggregateMode) -> WindowAggregateFactory {
    let count = aggregate_call(&count_udaf(), vec![lit(1i64)], false, None, vec![], schema, false);
    let max = aggregate_call(&max_udaf(), vec![column(schema, 2)], false, None, vec![], schema, false);
    let spec = AggregateSpec {
        input: Arc::clone(schema),
        window: AggregateWindow::Assign(WindowSpec::try_hop(2000, 10_000, 0).unwrap()),
        time: Some(AggregateTime::Event(3)),
        keys: vec![(column(schema, 0), "auction".into())],
        aggregates: vec![count.unwrap(), max.unwrap()],
    };
    WindowAggregateFactory::try_new(spec, mode).unwrap()
}

pub(crate) fn column(schema: &SchemaRef, index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(schema.field(index).name(), index))
}

fn newest_ms(batch: &RecordBatch) -> i64 {
    max(batch.column(3).as_primitive::<TimestampMicrosecondType>()).unwrap() / 1000
}

/// An operator that owns everything, and what it has emitted.
pub(crate) struct Driven {
    operator: Box<dyn Operator>,
    context: OperatorContext,
    pub(crate) emitted: Vec<RecordBatch>,
}

impl Driven {
    pub(crate) fn new(factory: &dyn OperatorFactory) -> Self {
        let operator = factory.create(&OperatorInit::single()).unwrap();
        Self { operator, context: OperatorContext::default(), emitted: vec![] }
    }

    pub(crate) fn batch(&mut self, input: usize, batch: RecordBatch) {
        let progress = self.operator.on_batch(input, batch, &mut self.context).unwrap();
        self.finish(progress);
    }

    /// Of all inputs.
    fn watermark(&mut self, ms: i64) {
        let watermark = Watermark(ms);
        for input in 0..2 {
            let combined = if input == 0 { self.context.watermark } else { watermark };
            let change = WatermarkChange { input, watermark, combined };
            let progress = self.operator.on_watermark(change, &mut self.context).unwrap();
            self.finish(progress);
        }
        self.context.watermark = watermark;
    }

    pub(crate) fn flush(&mut self) {
        let progress = self.operator.flush(&mut self.context).unwrap();
        self.finish(progress);
    }

    fn finish(&mut self, mut progress: Progress) {
        loop {
            self.emitted.extend(self.context.take_emitted().into_iter().map(|(_, batch)| batch));
            if progress == Progress::Done {
                return;
            }
            progress = self.operator.resume(&mut self.context).unwrap();
        }
    }
}
