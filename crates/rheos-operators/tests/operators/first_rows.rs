//! The first rows of each partition of input that only grows, told as they change or at the end, against sorting all rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray};
use arrow::compute::SortOptions;
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalSortExpr;
use proptest::prelude::*;
use rheos_core::{Exchange, OperatorFactory};
use rheos_operators::{RankFunction, Tells, UpdateRankFactory, UpdateRankSpec};
use rheos_testkit::{OperatorHarness, Routing, batch_of};

use crate::cases::column;
use crate::changes::{Epoch, Fold, changes, epochs, fold};

/// Key, text, number, flag.
type Row = (i64, Option<usize>, Option<i64>, bool);

/// In their order; most differ behind their first bytes, and some are the beginning of others.
const TEXTS: [&str; 6] =
    ["", "a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "aaaaaaaaaaaaaaaaaaaaaaab", "b\0"];

fn input(rows: &[Row]) -> RecordBatch {
    batch_of(vec![
        ("key", Arc::new(rows.iter().map(|r| Some(r.0)).collect::<Int64Array>()) as ArrayRef),
        ("text", Arc::new(rows.iter().map(|r| r.1.map(|at| TEXTS[at])).collect::<StringArray>())),
        ("number", Arc::new(rows.iter().map(|r| r.2).collect::<Int64Array>())),
        ("flag", Arc::new(rows.iter().map(|r| Some(r.3)).collect::<BooleanArray>())),
    ])
}

#[derive(Debug, Clone)]
struct Case {
    keyed: bool,
    limit: u64,
    order_by: Vec<(&'static str, SortOptions)>,
    numbered: bool,
    tells: Tells,
}

fn case() -> impl Strategy<Value = Case> {
    let orders = prop_oneof![
        Just(vec![]),
        Just(vec!["text"]),
        Just(vec!["number"]),
        Just(vec!["number", "flag", "text"]),
        Just(vec!["flag", "number", "text"]),
        Just(vec!["text", "number"]),
    ];
    let limit = prop_oneof![3 => Just(1u64), 5 => 0u64..5, 1 => Just(40u64)];
    (orders, limit, any::<[bool; 3]>(), any::<[(bool, bool); 3]>()).prop_map(|(names, limit, flags, options)| {
        let options = options.map(|(descending, nulls_first)| SortOptions { descending, nulls_first });
        let [keyed, numbered, last] = flags;
        let tells = if last { Tells::TheLast } else { Tells::Changes };
        Case { keyed, limit, order_by: names.into_iter().zip(options).collect(), numbered, tells }
    })
}

fn factory(case: &Case) -> UpdateRankFactory {
    let schema = input(&[]).schema();
    let sort =
        |(name, options): &(&str, SortOptions)| PhysicalSortExpr { expr: column(&schema, name), options: *options };
    UpdateRankFactory::try_new(UpdateRankSpec {
        partition_by: if case.keyed { vec![0] } else { vec![] },
        order_by: case.order_by.iter().map(sort).collect(),
        function: RankFunction::RowNumber,
        limit: Some(case.limit),
        name: case.numbered.then(|| "n".into()),
        tells: case.tells,
        input: schema,
        emit_interval_ms: None,
        state_ttl_ms: None,
    })
    .unwrap()
}

fn routing(factory: &UpdateRankFactory) -> Routing {
    match factory.exchange() {
        Exchange::Hash(columns) => Routing::Hash(columns),
        _ => Routing::Single,
    }
}

/// A value as one that is smaller where it stands before: nulls as the options say.
fn place(value: Option<i64>, options: SortOptions) -> (i64, i64) {
    match value {
        None => (if options.nulls_first { -1 } else { 1 }, 0),
        Some(v) => (0, if options.descending { -v } else { v }),
    }
}

/// All rows sorted, and the first of each partition.
fn oracle(case: &Case, rows: &[Row]) -> Fold {
    let value = |row: &Row, name: &str| match name {
        "key" => Some(row.0),
        "text" => row.1.map(|at| at as i64),
        "number" => row.2,
        _ => Some(i64::from(row.3)),
    };
    let rest = ["key", "text", "number", "flag"].map(|name| (name, SortOptions::default()));
    let by: Vec<_> = case.order_by.iter().copied().chain(rest).collect();
    let mut partitions: BTreeMap<Option<i64>, Vec<Row>> = BTreeMap::new();
    for row in rows {
        partitions.entry(case.keyed.then_some(row.0)).or_default().push(*row);
    }
    let mut out = Fold::new();
    for rows in partitions.values_mut() {
        rows.sort_by_key(|row| by.iter().map(|(name, options)| place(value(row, name), *options)).collect::<Vec<_>>());
        for (i, row) in rows.iter().take(case.limit as usize).enumerate() {
            let (text, number) = (row.1.map_or("null", |at| TEXTS[at]), row.2.map_or("null".into(), |n| n.to_string()));
            let place = if case.numbered { format!("|{}", i + 1) } else { String::new() };
            *out.entry(format!("{}|{text}|{number}|{}{place}", row.0, row.3)).or_default() += 1;
        }
    }
    out
}

fn rows() -> impl Strategy<Value = Row> + Clone {
    let number = prop::option::weighted(0.9, prop_oneof![0i64..4, -1000i64..1000]);
    (0i64..3, prop::option::weighted(0.9, 0..TEXTS.len()), number, any::<bool>())
}

proptest! {
    #![proptest_config(rheos_testkit::cases(400))]

    #[test]
    fn first_rows_are_what_sorting_everything_gives(
        case in case(),
        epochs in epochs(rows(), true),
        workers in 1usize..4,
    ) {
        let factory = factory(&case);
        let mut harness = OperatorHarness::new(&factory, workers, routing(&factory));
        let (mut all, mut got): (Vec<Row>, _) = (vec![], Fold::new());
        for (number, Epoch { changes: rows, batch_rows, restart }) in epochs.iter().enumerate() {
            let rows: Vec<Row> = rows.iter().map(|(row, _)| *row).collect();
            for batch in rows.chunks(*batch_rows) {
                harness.batch(input(batch)).unwrap();
            }
            all.extend(rows);
            harness.end_epoch().unwrap();
            fold(&mut got, &changes(&harness.take_output()));
            let expected = if case.tells == Tells::Changes { oracle(&case, &all) } else { Fold::new() };
            prop_assert_eq!(&got, &expected, "epoch {}", number);
            if let Some(workers) = *restart {
                let snapshot = if number % 2 == 0 { harness.snapshot() } else { harness.snapshot().merged() };
                harness = OperatorHarness::restored(&factory, workers, routing(&factory), snapshot).unwrap();
            }
        }
        harness.end().unwrap();
        fold(&mut got, &changes(&harness.take_output()));
        prop_assert_eq!(&got, &oracle(&case, &all));
        // What has gone out at the end does not go out again.
        harness.end_epoch().unwrap();
        let mut after = OperatorHarness::restored(&factory, workers, routing(&factory), harness.snapshot()).unwrap();
        after.end().unwrap();
        prop_assert!(after.take_output().iter().all(|rows| rows.num_rows() == 0));
    }
}

/// Many rows, of which each is better than the ones before: only the last of a partition are kept, also in a checkpoint.
#[test]
fn rows_that_fall_behind_are_given_back() {
    for limit in [1, 3] {
        let order_by = vec![("number", SortOptions { descending: true, nulls_first: false })];
        let case = Case { keyed: true, limit, order_by, numbered: true, tells: Tells::TheLast };
        let factory = factory(&case);
        let mut harness = OperatorHarness::new(&factory, 2, routing(&factory));
        let rows: Vec<Row> = (0..30_000).map(|n| (n % 5, Some(1), Some(n), false)).collect();
        for (i, batch) in rows.chunks(1000).enumerate() {
            harness.batch(input(batch)).unwrap();
            if i % 10 == 0 {
                harness.end_epoch().unwrap();
            }
        }
        harness.end_epoch().unwrap();
        assert_eq!(harness.snapshot().merged().stored_rows("rows"), 5 * limit as usize);
        harness.end().unwrap();
        let got: Fold = changes(&harness.take_output()).into_iter().collect();
        assert_eq!(got, oracle(&case, &rows));
        harness.end_epoch().unwrap();
        assert_eq!(harness.snapshot().stored_rows("rows"), 0);
    }
}

#[test]
fn only_row_number_up_to_a_limit_can_be_told_at_the_end() {
    let case = Case { keyed: true, limit: 3, order_by: vec![], numbered: false, tells: Tells::TheLast };
    assert!(factory(&case).schema().field_with_name("$weight").is_err());
    let spec = |function, limit| UpdateRankSpec {
        partition_by: vec![0],
        order_by: vec![],
        function,
        limit,
        name: None,
        tells: Tells::TheLast,
        input: input(&[]).schema(),
        emit_interval_ms: None,
        state_ttl_ms: None,
    };
    assert!(spec(RankFunction::RowNumber, Some(1000)).can_tell_the_last());
    for spec in [
        spec(RankFunction::Rank, Some(3)),
        spec(RankFunction::RowNumber, None),
        spec(RankFunction::RowNumber, Some(1001)),
    ] {
        assert!(!spec.can_tell_the_last());
        assert!(UpdateRankFactory::try_new(spec).is_err());
    }
}
