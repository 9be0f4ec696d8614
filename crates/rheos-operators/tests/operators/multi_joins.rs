//! Joins of several inputs by one key against the product of what is there, epoch by epoch.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use datafusion_common::NullEquality;
use proptest::prelude::*;
use rheos_core::change::with_weights;
use rheos_core::{ErrorKind, Exchange, OperatorFactory};
use rheos_operators::{MultiJoinFactory, MultiJoinInput, MultiJoinSpec};
use rheos_testkit::{OperatorHarness, Routing, batch_of};

use crate::update_joins::{Counts, add, fold};

/// A row: its key and value.
type Row = (Option<u8>, Option<i64>);

/// The rows of an input; those of every second have their key behind the value.
fn input(at: usize, changes: &[(Row, i64)], weighted: bool) -> RecordBatch {
    let key: ArrayRef = Arc::new(changes.iter().map(|c| c.0.0.map(|k| format!("k{k}"))).collect::<StringArray>());
    let value: ArrayRef = Arc::new(changes.iter().map(|c| c.0.1).collect::<Int64Array>());
    let mut columns = vec![("key", key), ("value", value)];
    if at % 2 == 1 {
        columns.reverse();
    }
    let rows = batch_of(columns);
    if !weighted {
        return rows;
    }
    let weights: ArrayRef = Arc::new(changes.iter().map(|c| c.1).collect::<Int64Array>());
    let columns = rows.columns().iter().cloned().chain([weights]).collect();
    RecordBatch::try_new(with_weights(&rows.schema()), columns).unwrap()
}

fn text(at: usize, row: &Row) -> String {
    let show = |v: Option<String>| v.unwrap_or("null".into());
    let (key, value) = (show(row.0.map(|k| format!("k{k}"))), show(row.1.map(|v| v.to_string())));
    if at % 2 == 1 { format!("{value}|{key}") } else { format!("{key}|{value}") }
}

/// What the cases differ in.
#[derive(Debug, Clone)]
struct Case {
    /// By input: whether it has weights.
    weighted: Vec<bool>,
    /// None; the key; the key and the value.
    keys: usize,
    nulls_are_equal: bool,
}

fn case() -> impl Strategy<Value = Case> {
    let keys = prop_oneof![1 => Just(0_usize), 8 => Just(1), 2 => Just(2)];
    (prop::collection::vec(any::<bool>(), 2..5), keys, any::<bool>())
        .prop_map(|(weighted, keys, nulls_are_equal)| Case { weighted, keys, nulls_are_equal })
}

fn spec(case: &Case) -> MultiJoinSpec {
    let of_input = |(at, weighted): (usize, &bool)| {
        let columns = if at % 2 == 1 { [1, 0] } else { [0, 1] };
        MultiJoinInput { schema: input(at, &[], *weighted).schema(), keys: columns[..case.keys].to_vec() }
    };
    let null_equality =
        if case.nulls_are_equal { NullEquality::NullEqualsNull } else { NullEquality::NullEqualsNothing };
    let inputs = case.weighted.iter().enumerate().map(of_input).collect();
    MultiJoinSpec { inputs, null_equality, state_ttl_ms: None }
}

/// Three inputs by one key.
fn three(weighted: bool) -> Case {
    Case { weighted: vec![weighted; 3], keys: 1, nulls_are_equal: false }
}

fn routings(factory: &MultiJoinFactory) -> Vec<Routing> {
    let routing = |exchange| match exchange {
        Exchange::Hash(columns) => Routing::Hash(columns),
        Exchange::Single => Routing::Single,
        Exchange::Forward | Exchange::Broadcast => panic!("rows of one key must meet"),
    };
    factory.exchanges().into_iter().map(routing).collect()
}

fn stored(harness: &OperatorHarness) -> usize {
    let snapshot = harness.snapshot().merged();
    (0..4).map(|at| snapshot.stored_rows(&format!("input-{at}"))).sum()
}

/// The join by its definition: of all combinations of rows those that agree.
fn join_of(case: &Case, there: &[Counts<Row>]) -> Counts<String> {
    let mut found: Vec<(Option<Row>, String, i64)> = vec![(None, String::new(), 1)];
    for (at, rows) in there.iter().enumerate() {
        let mut longer = vec![];
        for (first, line, weight) in &found {
            for (row, n) in rows {
                let has_null = (case.keys > 0 && row.0.is_none()) || (case.keys > 1 && row.1.is_none());
                let agrees = first
                    .is_none_or(|first| (case.keys < 1 || first.0 == row.0) && (case.keys < 2 || first.1 == row.1));
                if agrees && (case.nulls_are_equal || !has_null) {
                    let line = if at == 0 { text(at, row) } else { format!("{line}|{}", text(at, row)) };
                    longer.push((first.or(Some(*row)), line, weight * n));
                }
            }
        }
        found = longer;
    }
    let mut out = Counts::new();
    found.into_iter().for_each(|(_, line, weight)| add(&mut out, line, weight));
    out
}

/// Rows for an input: a row, how often more or less; the last is brought to 0 at least by the test.
type Step = (usize, Vec<(Row, i64)>);

fn steps() -> impl Strategy<Value = Vec<(Vec<Step>, Option<usize>)>> {
    // The key 0 is a hot one.
    let key = prop::option::weighted(0.9, prop_oneof![2 => Just(0_u8), 2 => 0..4_u8]);
    let row = (key, prop::option::weighted(0.9, 0..4_i64));
    let change = (row, prop_oneof![3 => Just(1_i64), 3 => Just(-1), 1 => Just(2), 1 => Just(-3)]);
    let step = (0..4_usize, prop::collection::vec(change, 1..10));
    let restart = prop_oneof![3 => Just(None), 1 => (1..4_usize).prop_map(Some)];
    prop::collection::vec((prop::collection::vec(step, 0..7), restart), 1..6)
}

/// What has to be added so that no row is there less than 0 times.
fn missing(there: &Counts<Row>) -> Vec<(Row, i64)> {
    there.iter().filter(|(_, n)| **n < 0).map(|(row, n)| (*row, -n)).collect()
}

proptest! {
    #![proptest_config(rheos_testkit::cases(300))]

    /// At every epoch's end what was emitted adds up to the join of what is there, also after restarts with other parallelism.
    #[test]
    fn what_is_told_adds_up_to_the_product(case in case(), epochs in steps(), workers in 1..4_usize, keeps_state in any::<bool>()) {
        let factory = MultiJoinFactory::try_new(spec(&case)).unwrap();
        let inputs = case.weighted.len();
        let mut harness = OperatorHarness::new(&factory, workers, routings(&factory));
        let mut there: Vec<Counts<Row>> = vec![Counts::new(); inputs];
        let mut told = Counts::new();
        for (steps, restart) in epochs {
            let send = |harness: &mut OperatorHarness, there: &mut [Counts<Row>], (at, changes): Step| {
                let at = at % inputs;
                let changes: Vec<_> = changes.into_iter().filter(|c| case.weighted[at] || c.1 > 0)
                    .map(|(row, n)| (row, if case.weighted[at] { n } else { 1 })).collect();
                changes.iter().for_each(|(row, n)| add(&mut there[at], *row, *n));
                harness.batch_to(at, input(at, &changes, case.weighted[at])).unwrap();
            };
            for step in steps {
                send(&mut harness, &mut there, step);
            }
            for at in 0..inputs {
                let missing = missing(&there[at]);
                send(&mut harness, &mut there, (at, missing));
            }
            if keeps_state || restart.is_some() {
                harness.end_epoch().unwrap();
            } else {
                harness.flush().unwrap();
            }
            there.iter_mut().for_each(|counts| counts.retain(|_, n| *n != 0));
            fold(&mut told, &harness.take_output());
            prop_assert_eq!(&told, &join_of(&case, &there));
            if let (Some(workers), true) = (restart, keeps_state) {
                if case.weighted.iter().all(|weighted| *weighted) {
                    let rows: usize = there.iter().map(Counts::len).sum();
                    prop_assert!(stored(&harness) <= rows, "{} rows are stored for {rows}", stored(&harness));
                }
                let snapshot = if workers % 2 == 0 { harness.snapshot() } else { harness.snapshot().merged() };
                harness = OperatorHarness::restored(&factory, workers, routings(&factory), snapshot).unwrap();
            }
        }
    }
}

fn values(at: usize, n: i64, weight: i64) -> RecordBatch {
    input(at, &(0..n).map(|v| ((Some(1), Some(v)), weight)).collect::<Vec<_>>(), true)
}

/// 100 x 40 x 25 rows of one key: the product leaves in chunks, and is taken back so.
#[test]
fn a_product_comes_and_goes_in_chunks() {
    let factory = MultiJoinFactory::try_new(spec(&three(true))).unwrap();
    let mut harness = OperatorHarness::new(&factory, 2, routings(&factory));
    let mut told = Counts::new();
    harness.batch_to(0, values(0, 100, 1)).unwrap();
    harness.batch_to(2, values(2, 25, 2)).unwrap();
    assert!(harness.take_output().is_empty(), "nothing has come of input 1");
    // The harness holds every call to a chunk.
    harness.batch_to(1, values(1, 40, 3)).unwrap();
    harness.end_epoch().unwrap();
    fold(&mut told, &harness.take_output());
    assert_eq!((told.len(), told.values().sum::<i64>()), (100_000, 600_000));
    assert_eq!(stored(&harness), 165);
    harness.batch_to(2, values(2, 24, -2)).unwrap();
    harness.end_epoch().unwrap();
    fold(&mut told, &harness.take_output());
    assert_eq!((told.len(), told.values().sum::<i64>()), (4_000, 24_000));
    assert!(told.keys().all(|row| row.ends_with("|k1|24")));
    harness.batch_to(0, values(0, 100, -1)).unwrap();
    harness.end_epoch().unwrap();
    fold(&mut told, &harness.take_output());
    assert!(told.is_empty());
    assert_eq!(stored(&harness), 41);
}

/// Rows of 2 kB: a chunk has a megabyte of them at most.
#[test]
fn wide_rows_leave_in_small_chunks() {
    let case = three(false);
    let mut spec = spec(&case);
    let wide = |n: usize| {
        let keys: ArrayRef = Arc::new((0..n).map(|_| Some("k1")).collect::<StringArray>());
        let texts: ArrayRef = Arc::new((0..n).map(|i| Some(format!("{i:2000}"))).collect::<StringArray>());
        batch_of(vec![("key", keys), ("text", texts)])
    };
    spec.inputs[2].schema = wide(0).schema();
    let factory = MultiJoinFactory::try_new(spec).unwrap();
    let mut harness = OperatorHarness::new(&factory, 1, routings(&factory));
    let rows = |at: usize, n: i64| input(at, &(0..n).map(|v| ((Some(1), Some(v)), 1)).collect::<Vec<_>>(), false);
    harness.batch_to(2, wide(10)).unwrap();
    harness.batch_to(0, rows(0, 30)).unwrap();
    harness.batch_to(1, rows(1, 20)).unwrap();
    let chunks = harness.take_output();
    assert_eq!(chunks.iter().map(RecordBatch::num_rows).sum::<usize>(), 6_000);
    let largest = chunks.iter().map(RecordBatch::num_rows).max().unwrap();
    assert!(largest <= (1 << 20) / 2000, "a chunk has {largest} rows");
}

/// More rows than a step looks at have come and gone within the epoch.
#[test]
fn rows_that_are_gone_are_passed_by() {
    let factory = MultiJoinFactory::try_new(spec(&three(true))).unwrap();
    let mut harness = OperatorHarness::new(&factory, 1, routings(&factory));
    for weight in [1, -1] {
        harness.batch_to(1, values(1, 70_000, weight)).unwrap();
    }
    let one = |at: usize, value: i64| input(at, &[((Some(1), Some(value)), 1)], true);
    harness.batch_to(2, one(2, 5)).unwrap();
    harness.batch_to(0, one(0, 6)).unwrap();
    assert_eq!(harness.take_rows(), [""; 0]);
    harness.batch_to(1, one(1, 69_999)).unwrap();
    assert_eq!(harness.take_rows(), ["k1|6|69999|k1|k1|5|1"]);
    harness.batch_to(0, one(0, 7)).unwrap();
    assert_eq!(harness.take_rows(), ["k1|7|69999|k1|k1|5|1"]);
    harness.end_epoch().unwrap();
    assert_eq!(stored(&harness), 4);
}

/// An epoch hands over what it changed, however much is there.
#[test]
fn a_checkpoint_has_the_rows_that_changed() {
    let factory = MultiJoinFactory::try_new(spec(&three(true))).unwrap();
    let mut harness = OperatorHarness::new(&factory, 2, routings(&factory));
    let handed_over = |harness: &OperatorHarness| -> [usize; 3] {
        [0, 1, 2].map(|at| harness.snapshot().stored_rows(&format!("input-{at}")))
    };
    (0..3).for_each(|at| harness.batch_to(at, values(at, 20, 1)).unwrap());
    harness.end_epoch().unwrap();
    assert_eq!(handed_over(&harness), [20, 20, 20]);
    harness.batch_to(1, input(1, &[((Some(1), Some(3)), -1), ((Some(2), Some(3)), 1)], true)).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(handed_over(&harness), [20, 22, 20]);
    harness.end_epoch().unwrap();
    assert_eq!(handed_over(&harness), [20, 22, 20]);
}

/// By hand: keys that nothing happens to for 100 ms of event time are forgotten, what was told of them stays.
#[test]
fn a_time_to_live_lets_keys_go_that_are_left_alone() {
    let factory = |ttl| MultiJoinFactory::try_new(MultiJoinSpec { state_ttl_ms: ttl, ..spec(&three(false)) }).unwrap();
    assert_eq!(factory(None).growth(), Some("every row of its 3 inputs".into()));
    let factory = factory(Some(100));
    assert_eq!(factory.growth(), None);
    let rows = |at: usize, rows: &[(u8, i64)]| {
        input(at, &rows.iter().map(|(k, v)| ((Some(*k), Some(*v)), 1)).collect::<Vec<_>>(), false)
    };
    let mut harness = OperatorHarness::new(&factory, 2, routings(&factory));
    harness.watermark(1000).unwrap();
    harness.batch_to(0, rows(0, &[(1, 0), (2, 0)])).unwrap();
    harness.batch_to(1, rows(1, &[(1, 1), (2, 1)])).unwrap();
    harness.end_epoch().unwrap();
    harness.watermark(1060).unwrap();
    harness.batch_to(2, rows(2, &[(2, 2)])).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_rows(), ["k2|0|1|k2|k2|2|1"]);
    harness.watermark(1100).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(stored(&harness), 3, "the rows of key 2 are left");
    harness.batch_to(2, rows(2, &[(1, 3), (2, 3)])).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_rows(), ["k2|0|1|k2|k2|3|1"]);
    // A restart is a touch.
    let mut harness = OperatorHarness::restored(&factory, 1, routings(&factory), harness.snapshot()).unwrap();
    harness.watermark(1250).unwrap();
    harness.end_epoch().unwrap();
    harness.watermark(1349).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(stored(&harness), 5);
    harness.watermark(1350).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(stored(&harness), 0);
}

#[test]
fn rows_only_come_where_those_of_all_inputs_do() {
    let weights = |weighted: [bool; 3]| {
        let spec = spec(&Case { weighted: weighted.to_vec(), ..three(false) });
        MultiJoinFactory::try_new(spec).unwrap().schema().fields().len() == 7
    };
    let expected = [([false; 3], false), ([false, true, false], true), ([true; 3], true)];
    assert_eq!(expected.map(|(inputs, _)| weights(inputs)), expected.map(|(_, outputs)| outputs));
}

#[test]
fn keys_of_other_types_and_single_inputs_are_refused() {
    let mut spec = spec(&three(false));
    spec.inputs[2].keys = vec![1];
    let error = MultiJoinFactory::try_new(spec.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    spec.inputs.truncate(1);
    assert_eq!(MultiJoinFactory::try_new(spec).unwrap_err().kind(), ErrorKind::Internal);
}

/// By hand: more than fits into 64 bits is an error, no wrong number.
#[test]
fn a_product_of_weights_that_is_too_large_fails() {
    let factory = MultiJoinFactory::try_new(spec(&three(true))).unwrap();
    let mut harness = OperatorHarness::new(&factory, 1, routings(&factory));
    let often = |at: usize| input(at, &[((Some(1), Some(1)), 1 << 31)], true);
    harness.batch_to(0, often(0)).unwrap();
    harness.batch_to(1, often(1)).unwrap();
    assert_eq!(harness.batch_to(2, often(2)).unwrap_err().kind(), ErrorKind::User);
}
