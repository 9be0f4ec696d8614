//! Ranks against sorting all rows of a window.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field};
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalSortExpr;
use proptest::prelude::*;
use rheos_core::operator::{Counter, OperatorInit};
use rheos_core::{ErrorKind, Exchange, OperatorFactory, Watermark};
use rheos_operators::{RankFunction, WindowColumns, WindowRankFactory, WindowRankSpec};
use rheos_testkit::{OperatorHarness, Routing, batch_of, sorted_rows};

use crate::cases::column;
use crate::joins::{FIRES_AT, WINDOWS};

/// A row: window, key, value, and a column that breaks ties.
type Row = (usize, Option<i64>, Option<i64>, i64);

fn input(rows: &[Row]) -> RecordBatch {
    let us = |pick: fn((i64, i64)) -> i64| {
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| pick(WINDOWS[r.0])))) as ArrayRef
    };
    let ints = |values: Vec<Option<i64>>| Arc::new(Int64Array::from(values)) as ArrayRef;
    batch_of(vec![
        ("ws", us(|w| w.0)),
        ("we", us(|w| w.1)),
        ("key", ints(rows.iter().map(|r| r.1).collect())),
        ("value", ints(rows.iter().map(|r| r.2).collect())),
        ("tie", ints(rows.iter().map(|r| Some(r.3)).collect())),
    ])
}

#[derive(Debug, Clone)]
struct Case {
    function: RankFunction,
    windowed: bool,
    keyed: bool,
    limit: Option<u64>,
    options: SortOptions,
}

fn case() -> impl Strategy<Value = Case> {
    let function = prop_oneof![Just(RankFunction::RowNumber), Just(RankFunction::Rank), Just(RankFunction::DenseRank)];
    (function, any::<[bool; 4]>(), prop::option::weighted(0.8, 0u64..6)).prop_map(|(function, flags, limit)| {
        let [windowed, keyed, descending, nulls_first] = flags;
        Case { function, windowed, keyed, limit, options: SortOptions { descending, nulls_first } }
    })
}

fn factory(case: &Case) -> WindowRankFactory {
    let schema = input(&[]).schema();
    let order = PhysicalSortExpr { expr: column(&schema, "value"), options: case.options };
    WindowRankFactory::try_new(WindowRankSpec {
        window: case.windowed.then_some(WindowColumns { start: 0, end: 1 }),
        partition_by: if case.keyed { vec![column(&schema, "key")] } else { vec![] },
        order_by: vec![order],
        function: case.function,
        limit: case.limit,
        name: "n".into(),
        input: schema,
    })
    .unwrap()
}

fn routing(factory: &WindowRankFactory) -> Routing {
    match factory.exchange().unwrap() {
        Exchange::Hash(columns) => Routing::Hash(columns),
        Exchange::Single => Routing::Single,
        Exchange::Forward | Exchange::Broadcast => panic!("rows of one partition must meet"),
    }
}

/// By the definition: one more than the rows (or different values) before it in its partition.
fn oracle(case: &Case, rows: &[Row]) -> Vec<String> {
    // Smaller is earlier; nulls stand where the options put them.
    let place = |value: Option<i64>| match value {
        None => (if case.options.nulls_first { -1 } else { 1 }, 0),
        Some(v) => (0, if case.options.descending { -v } else { v }),
    };
    let mut partitions: BTreeMap<(usize, Option<i64>), Vec<Row>> = BTreeMap::new();
    for row in rows {
        let window = if case.windowed { row.0 } else { 0 };
        partitions.entry((window, if case.keyed { row.1 } else { None })).or_default().push(*row);
    }
    let mut out = vec![];
    for rows in partitions.values_mut() {
        // Ties are broken by the other columns from the left, null first as in an ascending order.
        rows.sort_by_key(|r| (place(r.2), WINDOWS[r.0], r.1, r.3));
        for (i, row) in rows.iter().enumerate() {
            let before: Vec<_> = rows.iter().map(|r| place(r.2)).filter(|p| *p < place(row.2)).collect();
            let different = before.iter().collect::<std::collections::BTreeSet<_>>().len();
            let n = 1 + match case.function {
                RankFunction::RowNumber => i,
                RankFunction::Rank => before.len(),
                RankFunction::DenseRank => different,
            };
            if case.limit.is_none_or(|limit| n as u64 <= limit) {
                let text = |v: Option<i64>| v.map_or("null".to_string(), |v| v.to_string());
                let (start, end) = WINDOWS[row.0];
                let (start, end) = (start.div_euclid(1000), end.div_euclid(1000));
                out.push(format!("{start}|{end}|{}|{}|{}|{n}", text(row.1), text(row.2), row.3));
            }
        }
    }
    out.sort();
    out
}

#[derive(Debug, Clone)]
struct Step {
    rows: Vec<Row>,
    watermark: i64,
    ends_epoch: bool,
    restart: Option<usize>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (0..WINDOWS.len(), prop::option::weighted(0.9, 0i64..3), prop::option::weighted(0.9, 0i64..8), 0i64..100);
    let step = (
        prop::collection::vec(row, 0..80),
        // So often that windows with a limit are cut.
        prop_oneof![3 => Just(1usize), 1 => 1usize..40],
        prop_oneof![Just(i64::MIN), -3000i64..4000],
        any::<bool>(),
        prop::option::weighted(0.15, 1usize..4),
    );
    let step = step.prop_map(|(rows, repeat, watermark, ends_epoch, restart)| Step {
        rows: rows.iter().cycle().take(rows.len() * repeat).copied().collect(),
        watermark,
        ends_epoch,
        restart,
    });
    prop::collection::vec(step, 1..10).prop_map(|mut steps| {
        let mut marks: Vec<i64> = steps.iter().map(|s| s.watermark).collect();
        marks.sort_unstable();
        steps.iter_mut().zip(marks).for_each(|(step, mark)| step.watermark = mark);
        steps
    })
}

proptest! {
    #![proptest_config(rheos_testkit::cases(200))]

    #[test]
    fn ranks_against_sorting_everything(case in case(), steps in steps(), workers in 1usize..4) {
        let factory = factory(&case);
        let mut harness = OperatorHarness::new(&factory, workers, routing(&factory));
        let (mut rows, mut got) = (vec![], vec![]);
        let (mut late, mut counted_late, mut watermark) = (0, 0, i64::MIN);
        for step in &steps {
            harness.batch(input(&step.rows)).unwrap();
            for row in &step.rows {
                if case.windowed && FIRES_AT[row.0] <= watermark {
                    late += 1;
                } else {
                    rows.push(*row);
                }
            }
            harness.watermark(step.watermark).unwrap();
            watermark = step.watermark;
            if step.ends_epoch || step.restart.is_some() {
                harness.end_epoch().unwrap();
            }
            if let Some(workers) = step.restart {
                got.extend(harness.take_output());
                counted_late += harness.counter(Counter::LateRecords);
                harness = OperatorHarness::restored(&factory, workers, routing(&factory), harness.snapshot()).unwrap();
                harness.watermark(step.watermark).unwrap();
            }
        }
        harness.end().unwrap();
        got.extend(harness.take_output());
        prop_assert_eq!(sorted_rows(&got), oracle(&case, &rows));
        prop_assert_eq!(counted_late + harness.counter(Counter::LateRecords), late);
        prop_assert_eq!(harness.open_windows(), 0);
    }
}

#[test]
fn the_three_functions_by_hand() {
    let rows: Vec<Row> = vec![
        (0, Some(1), Some(5), 1),
        (4, Some(1), Some(9), 0),
        (0, Some(1), Some(7), 2),
        (0, Some(1), Some(7), 1),
        (0, Some(1), None, 0),
        (0, Some(2), Some(3), 0),
    ];
    let expected = |[a, b, c, d]: [u64; 4]| {
        vec![
            format!("0|1000|1|7|1|{a}"),
            format!("0|1000|1|7|2|{b}"),
            format!("0|1000|1|5|1|{c}"),
            format!("0|1000|1|null|0|{d}"),
            "0|1000|2|3|0|1".to_string(),
            "1000|3000|1|9|0|1".to_string(),
        ]
    };
    for (function, numbers) in [
        (RankFunction::RowNumber, [1, 2, 3, 4]),
        (RankFunction::Rank, [1, 1, 3, 4]),
        (RankFunction::DenseRank, [1, 1, 2, 3]),
    ] {
        let options = SortOptions { descending: true, nulls_first: false };
        let factory = factory(&Case { function, windowed: true, keyed: true, limit: None, options });
        assert_eq!(factory.schema().field(5), &Field::new("n", DataType::Int64, false));
        let mut harness = OperatorHarness::new(&factory, 1, routing(&factory));
        harness.batch(input(&rows)).unwrap();
        harness.watermark(999).unwrap();
        assert_eq!(harness.take_rows(), [""; 0]);
        harness.watermark(3000).unwrap();
        assert_eq!(harness.take_rows(), expected(numbers), "{function}");
    }
}

/// A hundred thousand rows and a limit of two: what is kept is small, which the size of the snapshot shows.
#[test]
fn with_a_limit_few_rows_are_kept() {
    let options = SortOptions { descending: true, nulls_first: false };
    let factory =
        factory(&Case { function: RankFunction::RowNumber, windowed: false, keyed: true, limit: Some(2), options });
    let mut harness = OperatorHarness::new(&factory, 1, routing(&factory));
    for i in 0..1000i64 {
        let rows: Vec<Row> = (0..100).map(|j| (0, Some(j % 3), Some(i * 100 + j), 0)).collect();
        harness.batch(input(&rows)).unwrap();
    }
    harness.end_epoch().unwrap();
    let assignment = rheos_core::key::KeyGroupAssignment::even(rheos_core::key::KEY_GROUPS_DEFAULT, 1);
    let snapshot = harness.snapshot();
    let deltas = rheos_core::state::SnapshotReader::deltas(&snapshot.reader(0, &assignment), "rows");
    let kept: usize = deltas.iter().flat_map(|d| &d.runs).map(|run| run.rows.num_rows()).sum();
    assert!(kept <= 6 * 2 + 1024 + 100, "{kept} rows");
    harness.end().unwrap();
    assert_eq!(
        harness.take_rows(),
        [
            "0|1000|0|99999|0|1",
            "0|1000|0|99996|0|2",
            "0|1000|1|99997|0|1",
            "0|1000|1|99994|0|2",
            "0|1000|2|99998|0|1",
            "0|1000|2|99995|0|2"
        ]
    );
}

/// The two zeros are ties, and yet one of them is always the first.
#[test]
fn of_equal_floats_the_bits_decide() {
    for floats in [[0.0, -0.0, 0.0], [-0.0, 0.0, 0.0], [0.0, 0.0, -0.0]] {
        let rows = batch_of(vec![("x", Arc::new(arrow::array::Float64Array::from(floats.to_vec())) as ArrayRef)]);
        let schema = rows.schema();
        let order_by = vec![PhysicalSortExpr { expr: column(&schema, "x"), options: SortOptions::default() }];
        let factory = WindowRankFactory::try_new(WindowRankSpec {
            window: None,
            partition_by: vec![],
            order_by,
            function: RankFunction::RowNumber,
            limit: Some(1),
            name: "n".into(),
            input: schema,
        });
        let mut harness = OperatorHarness::new(&factory.unwrap(), 1, Routing::Single);
        harness.batch(rows).unwrap();
        harness.end().unwrap();
        assert_eq!(harness.take_rows(), ["-0.0|1"]);
    }
}

#[test]
fn without_a_window_no_watermark_passes_before_the_end() {
    for windowed in [true, false] {
        let options = SortOptions::default();
        let case = Case { function: RankFunction::Rank, windowed, keyed: true, limit: None, options };
        let operator = factory(&case).create(&OperatorInit::single()).unwrap();
        let expected = if windowed { Watermark(15) } else { Watermark::MIN };
        assert_eq!(operator.output_watermark(Watermark(15)), expected);
        assert_eq!(operator.output_watermark(Watermark::MAX), Watermark::MAX);
    }
}

#[test]
fn a_column_without_an_order_is_refused() {
    let items = DataType::new_list(DataType::Int64, true);
    let column_type = DataType::Dictionary(Box::new(DataType::Int32), Box::new(items));
    let schema = Arc::new(arrow::datatypes::Schema::new(vec![Field::new("m", column_type, true)]));
    let error = WindowRankFactory::try_new(WindowRankSpec {
        window: None,
        partition_by: vec![],
        order_by: vec![PhysicalSortExpr { expr: column(&schema, "m"), options: SortOptions::default() }],
        function: RankFunction::Rank,
        limit: None,
        name: "n".into(),
        input: schema,
    })
    .unwrap_err();
    assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Invalid, "R0355"));
}
