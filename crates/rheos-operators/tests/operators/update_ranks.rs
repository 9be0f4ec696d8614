//! Ranks of rows that change, against sorting all rows that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use arrow::compute::SortOptions;
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalSortExpr;
use proptest::prelude::*;
use rheos_core::{Exchange, OperatorFactory, change};
use rheos_operators::{RankFunction, Tells, UpdateRankFactory, UpdateRankSpec};
use rheos_testkit::{OperatorHarness, Routing, batch_of};

use crate::cases::column;
use crate::changes::{Epoch, Fold, changes, epochs, fold, table};

/// A row: key, value, a column that breaks ties, and one of the floats below.
type Row = (Option<i64>, Option<i64>, i64, usize);

/// Equal ones have one text, since which of them comes out is not said.
const FLOATS: [f64; 4] = [0.0, -0.0, 1.5, f64::NAN];

fn input(rows: &[(Row, i64)], weighted: bool) -> RecordBatch {
    let ints =
        |pick: fn(&Row) -> Option<i64>| Arc::new(rows.iter().map(|(r, _)| pick(r)).collect::<Int64Array>()) as ArrayRef;
    let floats = rows.iter().map(|(r, _)| FLOATS[r.3]).collect::<Vec<_>>();
    let plain = batch_of(vec![
        ("key", ints(|r| r.0)),
        ("value", ints(|r| r.1)),
        ("tie", ints(|r| Some(r.2))),
        ("float", Arc::new(Float64Array::from(floats)) as ArrayRef),
    ]);
    if !weighted {
        return plain;
    }
    let weights = Int64Array::from_iter_values(rows.iter().map(|(_, weight)| *weight));
    change::weighted(&plain.schema(), plain.columns().to_vec(), weights).unwrap()
}

#[derive(Debug, Clone)]
struct Case {
    function: RankFunction,
    keyed: bool,
    limit: Option<u64>,
    options: SortOptions,
    numbered: bool,
    weighted: bool,
}

fn case() -> impl Strategy<Value = Case> {
    let function = prop_oneof![Just(RankFunction::RowNumber), Just(RankFunction::Rank), Just(RankFunction::DenseRank)];
    let limit = prop_oneof![1 => Just(None), 3 => Just(Some(1)), 4 => (0u64..6).prop_map(Some)];
    (function, any::<[bool; 5]>(), limit).prop_map(|(function, flags, limit)| {
        let [keyed, descending, nulls_first, numbered, weighted] = flags;
        Case { function, keyed, limit, options: SortOptions { descending, nulls_first }, numbered, weighted }
    })
}

fn factory(case: &Case, emit_interval_ms: Option<i64>, state_ttl_ms: Option<i64>) -> UpdateRankFactory {
    let schema = input(&[], case.weighted).schema();
    let order = PhysicalSortExpr { expr: column(&schema, "value"), options: case.options };
    UpdateRankFactory::try_new(UpdateRankSpec {
        partition_by: if case.keyed { vec![0] } else { vec![] },
        order_by: vec![order],
        function: case.function,
        limit: case.limit,
        name: case.numbered.then(|| "n".into()),
        input: schema,
        tells: Tells::Changes,
        emit_interval_ms,
        state_ttl_ms,
    })
    .unwrap()
}

fn routing(factory: &UpdateRankFactory) -> Routing {
    match factory.exchange() {
        Exchange::Hash(columns) => Routing::Hash(columns),
        _ => Routing::Single,
    }
}

/// By the definition: one more than the rows (or different values) before it in its partition.
fn oracle(case: &Case, rows: &[Row]) -> Fold {
    // Smaller is earlier; nulls stand where the options put them.
    let place = |value: Option<i64>| match value {
        None => (if case.options.nulls_first { -1 } else { 1 }, 0),
        Some(v) => (0, if case.options.descending { -v } else { v }),
    };
    let mut partitions: BTreeMap<Option<i64>, Vec<Row>> = BTreeMap::new();
    for row in rows {
        partitions.entry(if case.keyed { row.0 } else { None }).or_default().push(*row);
    }
    let mut out = Fold::new();
    for rows in partitions.values_mut() {
        // Ties are broken by the other columns from the left, null first as in an ascending order; the two zeros are one value.
        rows.sort_by_key(|r| (place(r.1), r.0, r.2, r.3.max(1)));
        for (i, row) in rows.iter().enumerate() {
            let before: Vec<_> = rows.iter().map(|r| place(r.1)).filter(|p| *p < place(row.1)).collect();
            let different = before.iter().collect::<BTreeSet<_>>().len();
            let n = 1 + match case.function {
                RankFunction::RowNumber => i,
                RankFunction::Rank => before.len(),
                RankFunction::DenseRank => different,
            };
            if case.limit.is_none_or(|limit| n as u64 <= limit) {
                let text = |v: Option<i64>| v.map_or("null".to_string(), |v| v.to_string());
                let float = ["0.0", "0.0", "1.5", "NaN"][row.3];
                let number = if case.numbered { format!("|{n}") } else { String::new() };
                *out.entry(format!("{}|{}|{}|{float}{number}", text(row.0), text(row.1), row.2)).or_default() += 1;
            }
        }
    }
    out
}

fn rows() -> impl Strategy<Value = Row> + Clone {
    let value = prop::option::weighted(0.9, prop_oneof![0i64..6, 0i64..1000]);
    (prop::option::weighted(0.9, 0i64..3), value, 0i64..4, 0..FLOATS.len())
}

fn cases_and_epochs() -> impl Strategy<Value = (Case, Vec<Epoch<Row>>)> {
    case().prop_flat_map(|case| {
        let only_grows = !case.weighted;
        (Just(case), epochs(rows(), only_grows))
    })
}

proptest! {
    #![proptest_config(rheos_testkit::cases(400))]

    #[test]
    fn the_fold_of_changing_ranks_is_what_sorting_everything_gives(
        (case, epochs) in cases_and_epochs(),
        workers in 1usize..4,
        ticks in any::<bool>(),
    ) {
        let factory = factory(&case, ticks.then_some(1), None);
        let mut harness = OperatorHarness::new(&factory, workers, routing(&factory));
        let (mut all, mut got) = (vec![], Fold::new());
        for (number, epoch) in epochs.iter().enumerate() {
            for (i, batch) in epoch.changes.chunks(epoch.batch_rows).enumerate() {
                harness.batch(input(batch, case.weighted)).unwrap();
                if ticks && i % 3 == 1 {
                    harness.clock((number * 1000 + i) as i64).unwrap();
                }
            }
            harness.end_epoch().unwrap();
            let told = changes(&harness.take_output());
            let different: BTreeSet<&String> = told.iter().map(|(row, _)| row).collect();
            prop_assert!(ticks || different.len() == told.len(), "a row is told twice in an epoch: {told:?}");
            fold(&mut got, &told);
            all.extend(epoch.changes.iter().copied());
            prop_assert_eq!(&got, &oracle(&case, &table(all.iter().copied())), "epoch {}", number);
            if let Some(workers) = epoch.restart {
                let snapshot = if number % 2 == 0 { harness.snapshot() } else { harness.snapshot().merged() };
                harness = OperatorHarness::restored(&factory, workers, routing(&factory), snapshot).unwrap();
            }
        }
    }
}

fn top(case: Case) -> (UpdateRankFactory, OperatorHarness) {
    let factory = factory(&case, None, None);
    let harness = OperatorHarness::new(&factory, 1, routing(&factory));
    (factory, harness)
}

const DOWN: SortOptions = SortOptions { descending: true, nulls_first: false };

fn keyed(function: RankFunction, limit: Option<u64>, numbered: bool, weighted: bool) -> Case {
    Case { function, keyed: true, limit, options: DOWN, numbered, weighted }
}

fn row(key: i64, value: i64) -> Row {
    (Some(key), Some(value), 0, 2)
}

#[test]
fn a_row_that_leaves_stands_before_the_one_that_takes_its_number() {
    let (_, mut harness) = top(keyed(RankFunction::RowNumber, Some(2), true, false));
    harness.batch(input(&[(row(1, 10), 1), (row(2, 5), 1), (row(1, 20), 1)], false)).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_rows(), ["1|20|0|1.5|1|1", "1|10|0|1.5|2|1", "2|5|0|1.5|1|1"]);
    harness.batch(input(&[(row(1, 30), 1), (row(2, 1), 1), (row(2, 0), 1)], false)).unwrap();
    harness.end_epoch().unwrap();
    let expected = ["1|20|0|1.5|1|-1", "1|30|0|1.5|1|1", "1|10|0|1.5|2|-1", "1|20|0|1.5|2|1", "2|1|0|1.5|2|1"];
    assert_eq!(harness.take_rows(), expected);
    // Behind the limit of both partitions.
    harness.batch(input(&[(row(1, 3), 1), (row(2, 0), 1)], false)).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_rows(), [""; 0]);
}

#[test]
fn without_the_number_only_who_enters_and_leaves_is_told() {
    let (_, mut harness) = top(keyed(RankFunction::RowNumber, Some(2), false, true));
    let first: Vec<_> = (0..5).map(|value| (row(1, value * 10), 1)).collect();
    harness.batch(input(&first, true)).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_rows(), ["1|40|0|1.5|1", "1|30|0|1.5|1"]);
    // 35 comes between the two; that 30 and then 40 go brings 20 back.
    harness.batch(input(&[(row(1, 35), 1), (row(1, 30), -1)], true)).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_rows(), ["1|30|0|1.5|-1", "1|35|0|1.5|1"]);
    harness.batch(input(&[(row(1, 40), -1)], true)).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_rows(), ["1|40|0|1.5|-1", "1|20|0|1.5|1"]);
}

#[test]
fn what_comes_and_goes_within_an_epoch_is_not_told() {
    for limit in [Some(1), Some(3), None] {
        let (_, mut harness) = top(keyed(RankFunction::Rank, limit, true, true));
        harness.batch(input(&[(row(1, 10), 1)], true)).unwrap();
        harness.end_epoch().unwrap();
        harness.take_rows();
        harness.batch(input(&[(row(1, 10), -1), (row(2, 7), -1)], true)).unwrap();
        harness.batch(input(&[(row(2, 7), 1), (row(1, 10), 1)], true)).unwrap();
        harness.end_epoch().unwrap();
        assert_eq!(harness.take_rows(), [""; 0]);
    }
}

/// A hundred thousand rows and a limit of two: what is kept, and handed over, is what can be in the answer.
#[test]
fn of_input_that_only_grows_few_rows_are_kept() {
    for limit in [1, 2] {
        let (_, mut harness) = top(keyed(RankFunction::RowNumber, Some(limit), true, false));
        for i in 0..1000i64 {
            let rows: Vec<_> = (0..100).map(|j| (row(j % 3, i * 100 + j), 1)).collect();
            harness.batch(input(&rows, false)).unwrap();
        }
        harness.end_epoch().unwrap();
        assert_eq!(harness.snapshot().stored_rows("rows"), 3 * limit as usize);
        // Three rows come, one of which counts; what it displaces is told to be gone.
        harness.batch(input(&[(row(0, 1_000_000), 1), (row(1, 5), 1), (row(2, 5), 1)], false)).unwrap();
        harness.end_epoch().unwrap();
        let handed_over = if limit == 1 { 1 } else { 2 };
        assert_eq!(harness.snapshot().stored_rows("rows"), 3 * limit as usize + handed_over);
        assert_eq!(harness.snapshot().merged().stored_rows("rows"), 3 * limit as usize);
    }
}

/// Without partitions nothing says whose place the first row takes: it is all that there is.
#[test]
fn the_first_row_of_all_is_stored_alone() {
    let case = Case { keyed: false, ..keyed(RankFunction::RowNumber, Some(1), false, false) };
    let (factory, mut harness) = top(case);
    for (value, expected) in [(5, &["1|5|0|1.5|1"][..]), (3, &[]), (8, &["1|5|0|1.5|-1", "1|8|0|1.5|1"])] {
        harness.batch(input(&[(row(1, value), 1)], false)).unwrap();
        harness.end_epoch().unwrap();
        assert_eq!(harness.take_rows(), expected);
        assert_eq!(harness.snapshot().stored_rows("rows"), 1);
        harness = OperatorHarness::restored(&factory, 2, routing(&factory), harness.snapshot()).unwrap();
    }
}

#[test]
fn a_change_of_a_large_partition_is_handed_over_alone() {
    let case = Case { keyed: false, ..keyed(RankFunction::Rank, Some(3), true, true) };
    let (_, mut harness) = top(case);
    let rows: Vec<_> = (0..5000).map(|value| (row(1, value), 1)).collect();
    harness.batch(input(&rows, true)).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.snapshot().stored_rows("rows"), 5000);
    harness.batch(input(&[(row(1, 77), -1), (row(1, 99), 1), (row(1, 7000), 1)], true)).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.snapshot().stored_rows("rows"), 5003);
}

/// An unlimited rank in which the first row goes: all others move up, in chunks.
#[test]
fn a_long_change_leaves_in_chunks() {
    let case = Case { keyed: false, ..keyed(RankFunction::RowNumber, None, true, true) };
    let (_, mut harness) = top(case);
    let rows: Vec<_> = (0..20_000).map(|value| (row(1, value), 1)).collect();
    harness.batch(input(&rows, true)).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_rows().len(), 20_000);
    harness.batch(input(&[(row(1, 19_999), -1)], true)).unwrap();
    harness.end_epoch().unwrap();
    let told = harness.take_rows();
    assert_eq!(told.len(), 2 * 19_999 + 1);
    assert_eq!(told[..3], ["1|19999|0|1.5|1|-1", "1|19998|0|1.5|1|1", "1|19998|0|1.5|2|-1"]);
    assert_eq!(told[2 * 19_999], "1|0|0|1.5|20000|-1");
}

#[test]
fn a_partition_that_is_not_touched_for_its_time_is_dropped_silently() {
    for (limit, weighted) in [(1, false), (2, false), (2, true)] {
        let case = keyed(RankFunction::RowNumber, Some(limit), false, weighted);
        let factory = factory(&case, None, Some(100));
        let mut harness = OperatorHarness::new(&factory, 1, routing(&factory));
        harness.watermark(1000).unwrap();
        harness.batch(input(&[(row(1, 10), 1), (row(2, 10), 1)], weighted)).unwrap();
        harness.end_epoch().unwrap();
        harness.take_rows();
        harness.watermark(1050).unwrap();
        harness.batch(input(&[(row(2, 3), 1)], weighted)).unwrap();
        harness.end_epoch().unwrap();
        harness.take_rows();
        harness.watermark(1100).unwrap();
        harness.end_epoch().unwrap();
        assert_eq!(harness.take_rows(), [""; 0], "nothing is told");
        // The partition of 1 begins anew, that of 2 is there.
        let mut restored =
            OperatorHarness::restored(&factory, 2, routing(&factory), harness.snapshot().merged()).unwrap();
        for harness in [&mut harness, &mut restored] {
            harness.batch(input(&[(row(1, 5), 1), (row(2, 20), 1)], weighted)).unwrap();
            harness.end_epoch().unwrap();
            let expected: &[&str] = match limit {
                1 => &["1|5|0|1.5|1", "2|10|0|1.5|-1", "2|20|0|1.5|1"],
                _ => &["1|5|0|1.5|1", "2|20|0|1.5|1", "2|3|0|1.5|-1"],
            };
            assert_eq!(harness.take_sorted_rows(), expected);
        }
    }
}

#[test]
fn the_schema_says_what_goes_out() {
    let names = |case: &Case| {
        let schema = factory(case, None, None).schema();
        schema.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>()
    };
    let numbered = keyed(RankFunction::Rank, None, true, true);
    assert_eq!(names(&numbered), ["key", "value", "tie", "float", "n", "$weight"]);
    assert_eq!(
        names(&Case { numbered: false, weighted: false, ..numbered }),
        ["key", "value", "tie", "float", "$weight"]
    );
}
