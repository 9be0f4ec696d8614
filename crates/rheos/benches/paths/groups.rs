//! Groups whose results change: bids by auction, one function at a time, over bids that only come and over those of which each
//! goes again when the next 8,192 have come.

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use datafusion_expr::AggregateUDF;
use datafusion_functions_aggregate::{count::count_udaf, min_max::min_udaf, sum::sum_udaf};
use datafusion_physical_expr::expressions::lit;
use rheos_core::change::{weighted, with_weights};
use rheos_operators::{GroupAggregateFactory, GroupAggregateSpec, GroupEmits, aggregate_call};

use crate::Run;
use crate::input::{NUMBERS, count, rows};
use crate::operators::{Driven, column};

/// Batches of an epoch.
const EPOCH: usize = 4;

/// `COUNT(*)`.
pub(crate) fn counted(bids: usize) -> Run {
    run(rows("bid", bids, &NUMBERS), &count_udaf(), None, false)
}

/// `SUM(price)` of changes.
pub(crate) fn summed(bids: usize) -> Run {
    run(changes(rows("bid", bids, &NUMBERS)), &sum_udaf(), Some(2), false)
}

/// `MIN(price)` of changes.
pub(crate) fn minimum(bids: usize) -> Run {
    run(changes(rows("bid", bids, &NUMBERS)), &min_udaf(), Some(2), false)
}

/// `COUNT(DISTINCT bidder)`.
pub(crate) fn distinct(bids: usize) -> Run {
    run(rows("bid", bids, &NUMBERS), &count_udaf(), Some(1), true)
}

/// Each batch with the one before it, whose rows go.
fn changes(bids: Vec<RecordBatch>) -> Vec<RecordBatch> {
    let schema = with_weights(&bids[0].schema());
    let with = |batch: &RecordBatch, weight: i64| {
        weighted(&schema, batch.columns().to_vec(), Int64Array::from(vec![weight; batch.num_rows()])).unwrap()
    };
    let pairs = bids.windows(2).map(|pair| [with(&pair[0], -1), with(&pair[1], 1)]);
    let first = with(&bids[0], 1);
    std::iter::once(first.clone()).chain(pairs.map(|pair| concat_batches(&schema, &pair).unwrap())).collect()
}

fn run(batches: Vec<RecordBatch>, function: &Arc<AggregateUDF>, argument: Option<usize>, distinct: bool) -> Run {
    let schema = batches[0].schema();
    let argument = argument.map_or_else(|| lit(1i64), |at| column(&schema, at));
    let call = aggregate_call(function, vec![argument], distinct, None, vec![], &schema, false).unwrap();
    let keys = vec![(column(&schema, 0), "auction".to_string())];
    let spec = GroupAggregateSpec::new(schema, keys, vec![call], GroupEmits::Changes);
    let mut groups = Driven::new(&GroupAggregateFactory::try_new(spec).unwrap());
    Box::new(move || {
        for epoch in batches.chunks(EPOCH) {
            epoch.iter().for_each(|batch| groups.batch(0, batch.clone()));
            groups.flush();
        }
        assert!(count(&groups.emitted) > 0);
        count(&batches)
    })
}
