//! Window joins against nested loops over the raw rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::compute::{SortOptions, concat_batches};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion_common::{JoinType, NullEquality};
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{Column, binary};
use proptest::prelude::*;
use rheos_core::operator::{Counter, FirstBy, OperatorInit};
use rheos_core::{ErrorKind, Exchange, OperatorFactory, Watermark};
use rheos_operators::{WindowColumns, WindowJoinFactory, WindowJoinInput, WindowJoinSpec};
use rheos_testkit::{OperatorHarness, Routing, batch_of, sorted_rows};

use crate::cases::column;

/// Start and end in microseconds: one end with two starts, and two ends within one millisecond.
pub(crate) const WINDOWS: [(i64, i64); 5] =
    [(0, 1_000_000), (500_000, 1_000_000), (0, 1_000_500), (-2_000_000, -1_000_000), (1_000_000, 3_000_000)];

/// At which watermark a window fires: its end, rounded up to the millisecond. Written down rather than computed.
pub(crate) const FIRES_AT: [i64; 5] = [1000, 1000, 1001, -1000, 3000];

/// A row: its window, key, value.
type Row = (Option<usize>, Option<u8>, Option<i64>);

fn input(rows: &[Row]) -> RecordBatch {
    let us = |pick: fn((i64, i64)) -> i64| {
        Arc::new(rows.iter().map(|r| r.0.map(|w| pick(WINDOWS[w]))).collect::<TimestampMicrosecondArray>()) as ArrayRef
    };
    let key: ArrayRef = Arc::new(rows.iter().map(|r| r.1.map(|k| format!("k{k}"))).collect::<StringArray>());
    let value: ArrayRef = Arc::new(rows.iter().map(|r| r.2).collect::<Int64Array>());
    batch_of(vec![("ws", us(|w| w.0)), ("we", us(|w| w.1)), ("key", key), ("value", value)])
}

fn text(row: &Row) -> String {
    let window = row.0.map_or("null|null".to_string(), |w| {
        format!("{}|{}", WINDOWS[w].0.div_euclid(1000), WINDOWS[w].1.div_euclid(1000))
    });
    let key = row.1.map_or("null".to_string(), |k| format!("k{k}"));
    format!("{window}|{key}|{}", row.2.map_or("null".to_string(), |v| v.to_string()))
}

pub(crate) const KINDS: [JoinType; 10] = [
    JoinType::Inner,
    JoinType::Left,
    JoinType::Right,
    JoinType::Full,
    JoinType::LeftSemi,
    JoinType::RightSemi,
    JoinType::LeftAnti,
    JoinType::RightAnti,
    JoinType::LeftMark,
    JoinType::RightMark,
];

/// What the cases differ in.
#[derive(Debug, Clone)]
struct Case {
    kind: JoinType,
    windowed: bool,
    keyed: bool,
    /// `left.value < right.value`.
    filtered: bool,
    nulls_are_equal: bool,
}

fn case() -> impl Strategy<Value = Case> {
    (0..KINDS.len(), any::<[bool; 4]>()).prop_map(|(kind, [windowed, keyed, filtered, nulls_are_equal])| Case {
        kind: KINDS[kind],
        windowed,
        keyed,
        filtered,
        nulls_are_equal,
    })
}

fn spec(case: &Case) -> WindowJoinSpec {
    let schema = input(&[]).schema();
    let window = case.windowed.then_some(WindowColumns { start: 0, end: 1 });
    let keys = if case.keyed { vec![column(&schema, "key")] } else { vec![] };
    let side = WindowJoinInput { schema: Arc::clone(&schema), window, keys };
    let both = Schema::new([schema.fields().to_vec(), schema.fields().to_vec()].concat());
    let value = |i: usize| Arc::new(Column::new("value", i)) as Arc<dyn PhysicalExpr>;
    let filter = case.filtered.then(|| binary(value(3), Operator::Lt, value(7), &both).unwrap());
    let null_equality =
        if case.nulls_are_equal { NullEquality::NullEqualsNull } else { NullEquality::NullEqualsNothing };
    WindowJoinSpec { left: side.clone(), right: side, kind: case.kind, filter, null_equality }
}

/// The routing that the factory asks for.
fn routings(factory: &WindowJoinFactory) -> Vec<Routing> {
    let routing = |exchange| match exchange {
        Exchange::Hash(columns) => Routing::Hash(columns),
        Exchange::Single => Routing::Single,
        other => panic!("rows of one key must meet, not {other}"),
    };
    factory.exchanges().unwrap().map(routing).to_vec()
}

/// The join by its definition.
fn nested_loops(case: &Case, left: &[Row], right: &[Row]) -> Vec<String> {
    let joins = |a: &Row, b: &Row| {
        let keys = !case.keyed || (a.1 == b.1 && (case.nulls_are_equal || a.1.is_some()));
        let filter = !case.filtered || matches!((a.2, b.2), (Some(x), Some(y)) if x < y);
        (!case.windowed || a.0 == b.0) && keys && filter
    };
    let nulls = "null|null|null|null";
    let mut out = vec![];
    let pairs = matches!(case.kind, JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full);
    for a in left {
        let partners: Vec<&Row> = right.iter().filter(|b| joins(a, b)).collect();
        if pairs {
            out.extend(partners.iter().map(|b| format!("{}|{}", text(a), text(b))));
        }
        match (case.kind, partners.is_empty()) {
            (JoinType::Left | JoinType::Full, true) => out.push(format!("{}|{nulls}", text(a))),
            (JoinType::LeftSemi, false) | (JoinType::LeftAnti, true) => out.push(text(a)),
            (JoinType::LeftMark, alone) => out.push(format!("{}|{}", text(a), !alone)),
            _ => {}
        }
    }
    for b in right {
        let alone = !left.iter().any(|a| joins(a, b));
        match (case.kind, alone) {
            (JoinType::Right | JoinType::Full, true) => out.push(format!("{nulls}|{}", text(b))),
            (JoinType::RightSemi, false) | (JoinType::RightAnti, true) => out.push(text(b)),
            (JoinType::RightMark, alone) => out.push(format!("{}|{}", text(b), !alone)),
            _ => {}
        }
    }
    out.sort();
    out
}

/// Rows for an input, then watermarks of both.
#[derive(Debug, Clone)]
struct Step {
    input: usize,
    rows: Vec<Row>,
    watermarks: [i64; 2],
    ends_epoch: bool,
    restart: Option<usize>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let window = prop_oneof![30 => (0..WINDOWS.len()).prop_map(Some), 1 => Just(None)];
    let row = (window, prop::option::weighted(0.8, 0u8..5), prop::option::weighted(0.9, 0i64..6));
    let mark = prop_oneof![Just(i64::MIN), -3000i64..4000];
    let step = (
        0usize..2,
        prop::collection::vec(row, 0..30),
        prop::array::uniform2(mark),
        any::<bool>(),
        prop::option::weighted(0.15, 1usize..4),
    );
    let step = step.prop_map(|(input, rows, watermarks, ends_epoch, restart)| Step {
        input,
        rows,
        watermarks,
        ends_epoch,
        restart,
    });
    prop::collection::vec(step, 1..14).prop_map(|mut steps| {
        for input in 0..2 {
            let mut marks: Vec<i64> = steps.iter().map(|s| s.watermarks[input]).collect();
            marks.sort_unstable();
            steps.iter_mut().zip(marks).for_each(|(step, mark)| step.watermarks[input] = mark);
        }
        steps
    })
}

/// Lets an input end before the other one, behind a step.
fn end_input(steps: &mut [Step], input: usize, at: usize) {
    for (number, step) in steps.iter_mut().enumerate().skip(at) {
        step.watermarks[input] = i64::MAX;
        if number > at && step.input == input {
            step.rows.clear();
        }
    }
}

proptest! {
    #![proptest_config(rheos_testkit::cases(400))]

    #[test]
    fn a_join_against_nested_loops(
        case in case(),
        mut steps in steps(),
        workers in 1usize..4,
        ended in prop::option::of((0usize..2, 0usize..8)),
    ) {
        if let Some((input, at)) = ended {
            end_input(&mut steps, input, at);
        }
        let factory = WindowJoinFactory::try_new(spec(&case)).unwrap();
        let mut harness = OperatorHarness::new(&factory, workers, routings(&factory));
        let mut sides: [Vec<Row>; 2] = [vec![], vec![]];
        let (mut late, mut counted_late, mut without_window, mut counted_without) = (0, 0, 0, 0);
        let mut got = vec![];
        let mut combined = i64::MIN;
        for step in &steps {
            harness.batch_to(step.input, input(&step.rows)).unwrap();
            for row in &step.rows {
                match row.0 {
                    None if case.windowed => without_window += 1,
                    Some(w) if case.windowed && FIRES_AT[w] <= combined => late += 1,
                    _ => sides[step.input].push(*row),
                }
            }
            for (input, mark) in step.watermarks.iter().enumerate() {
                harness.watermark_from(input, *mark).unwrap();
            }
            combined = step.watermarks[0].min(step.watermarks[1]);
            if step.ends_epoch || step.restart.is_some() {
                harness.end_epoch().unwrap();
            }
            if let Some(workers) = step.restart {
                got.extend(harness.take_output());
                counted_late += harness.counter(Counter::LateRecords);
                counted_without += harness.counter(Counter::NullEventTimes);
                harness = OperatorHarness::restored(&factory, workers, routings(&factory), harness.snapshot()).unwrap();
                for (input, mark) in step.watermarks.iter().enumerate() {
                    harness.watermark_from(input, *mark).unwrap();
                }
            }
        }
        harness.end().unwrap();
        got.extend(harness.take_output());
        prop_assert_eq!(sorted_rows(&got), nested_loops(&case, &sides[0], &sides[1]));
        counted_late += harness.counter(Counter::LateRecords);
        counted_without += harness.counter(Counter::NullEventTimes);
        // Rows that cannot join for their null key are dropped before anything is asked of their window.
        let all_count = !case.keyed || case.nulls_are_equal || case.kind == JoinType::Full;
        prop_assert!(counted_late == late || (!all_count && counted_late < late), "{counted_late} of {late} late rows");
        prop_assert!(counted_without == without_window || (!all_count && counted_without < without_window));
        prop_assert_eq!(harness.open_windows(), 0);
    }

    /// Readers that want the first pairs of each row of one side, by the value of the other: those come all, and none that there is not.
    #[test]
    fn a_join_for_the_first_pairs(
        case in case(),
        mut steps in steps(),
        workers in 1usize..4,
        ended in prop::option::of((0usize..2, 0usize..8)),
        (looks_up, by_key) in (0usize..2, any::<bool>()),
        (descending, nulls_first) in any::<(bool, bool)>(),
    ) {
        if let Some((input, at)) = ended {
            end_input(&mut steps, input, at);
        }
        let case = Case { kind: JoinType::Inner, windowed: false, ..case };
        let by_key = by_key && case.keyed;
        // Of a side the key is column 2, and the value column 3.
        let partition_by = if by_key { vec![4 * looks_up + 2] } else { (0..4).map(|at| 4 * (1 - looks_up) + at).collect() };
        let first = FirstBy { partition_by, column: 4 * looks_up + 3, options: SortOptions { descending, nulls_first } };
        let join = WindowJoinFactory::try_new(spec(&case)).unwrap();
        let factory = join.giving_first(&first).unwrap();
        let mut harness = OperatorHarness::new(factory.as_ref(), workers, routings(&join));
        let mut sides: [Vec<Row>; 2] = [vec![], vec![]];
        let mut got = vec![];
        for step in &steps {
            harness.batch_to(step.input, input(&step.rows)).unwrap();
            sides[step.input].extend(&step.rows);
            let bring_to = |harness: &mut OperatorHarness| {
                step.watermarks.iter().enumerate().try_for_each(|(input, mark)| harness.watermark_from(input, *mark))
            };
            bring_to(&mut harness).unwrap();
            if step.ends_epoch || step.restart.is_some() {
                harness.end_epoch().unwrap();
            }
            if let Some(workers) = step.restart {
                got.extend(harness.take_output());
                let snapshot = harness.snapshot();
                harness = OperatorHarness::restored(factory.as_ref(), workers, routings(&join), snapshot).unwrap();
                bring_to(&mut harness).unwrap();
            }
        }
        harness.end().unwrap();
        got.extend(harness.take_output());
        let mut left_out = nested_loops(&case, &sides[0], &sides[1]);
        for pair in sorted_rows(&got) {
            let at = left_out.iter().position(|other| *other == pair);
            prop_assert!(at.is_some(), "{pair} is no pair, or came twice");
            left_out.remove(at.unwrap());
        }
        let place = |pair: &String| {
            let fields: Vec<&str> = pair.split('|').collect();
            let value: Option<i64> = fields[first.column].parse().ok();
            let order = (value.is_none() != nulls_first, value.map(|v| if descending { -v } else { v }));
            (first.partition_by.iter().map(|at| fields[*at].to_string()).collect::<Vec<_>>(), order)
        };
        let given: Vec<_> = sorted_rows(&got).iter().map(place).collect();
        for pair in &left_out {
            let (partition, order) = place(pair);
            let is_behind = given.iter().any(|(other, before)| *other == partition && *before < order);
            prop_assert!(is_behind, "{pair} may be the first of its partition, and is missing");
        }
    }

    /// Workers that have come to different watermarks when the epoch ends: no window twice, none left out.
    #[test]
    fn workers_at_different_watermarks(
        case in case(),
        left in prop::collection::vec((0..WINDOWS.len(), prop::option::of(0u8..20), Just(Some(1))), 0..60),
        right in prop::collection::vec((0..WINDOWS.len(), prop::option::of(0u8..20), Just(Some(2))), 0..60),
        watermarks in prop::array::uniform3(-3000i64..4000),
        workers in 1usize..5,
    ) {
        let case = Case { windowed: true, ..case };
        let factory = WindowJoinFactory::try_new(spec(&case)).unwrap();
        let some = |rows: &[(usize, Option<u8>, Option<i64>)]| -> Vec<Row> {
            rows.iter().map(|r| (Some(r.0), r.1, r.2)).collect()
        };
        let (left, right) = (some(&left), some(&right));
        let mut first = OperatorHarness::new(&factory, 3, routings(&factory));
        first.batch_to(0, input(&left)).unwrap();
        first.batch_to(1, input(&right)).unwrap();
        for (worker, watermark) in watermarks.iter().enumerate() {
            first.watermark_of(worker, *watermark).unwrap();
        }
        first.end_epoch().unwrap();
        let mut got = first.take_output();
        let mut second = OperatorHarness::restored(&factory, workers, routings(&factory), first.snapshot()).unwrap();
        second.end_epoch().unwrap();
        second.watermark(-2999).unwrap();
        second.end_epoch().unwrap();
        got.extend(second.take_output());
        let mut third = OperatorHarness::restored(&factory, 2, routings(&factory), second.snapshot()).unwrap();
        third.end().unwrap();
        got.extend(third.take_output());
        prop_assert_eq!(sorted_rows(&got), nested_loops(&case, &left, &right));
    }
}

fn plain_case(kind: JoinType) -> Case {
    Case { kind, windowed: true, keyed: true, filtered: false, nulls_are_equal: false }
}

#[test]
fn a_product_leaves_in_chunks_and_windows_in_order() {
    for (kind, filtered) in [(JoinType::Inner, false), (JoinType::Full, false), (JoinType::LeftSemi, true)] {
        let factory = WindowJoinFactory::try_new(spec(&Case { filtered, ..plain_case(kind) })).unwrap();
        let mut harness = OperatorHarness::new(&factory, 1, routings(&factory));
        // The window that ends first comes last.
        let rows = |n: usize, value: i64| -> Vec<Row> {
            [4, 2, 1, 0, 3].iter().flat_map(|w| vec![(Some(*w), Some(1), Some(value)); n]).collect()
        };
        for part in rows(300, 1).chunks(7) {
            harness.batch_to(0, input(part)).unwrap();
        }
        harness.batch_to(1, input(&rows(200, 2))).unwrap();
        harness.watermark_from(0, 5000).unwrap();
        assert_eq!(harness.take_rows(), [""; 0], "the other input may still have rows");
        assert_eq!(harness.open_windows(), 5);
        harness.watermark_from(1, 5000).unwrap();
        let output = harness.take_output();
        let all = concat_batches(&factory.schema(), &output).unwrap();
        let each = if kind == JoinType::LeftSemi { 300 } else { 300 * 200 };
        assert_eq!(all.num_rows(), 5 * each);
        let windows = rheos_testkit::rows(&[all.project(&[0, 1]).unwrap()]);
        for (window, expected) in ["-2000|-1000", "0|1000", "500|1000", "0|1000", "1000|3000"].iter().enumerate() {
            assert!(windows[window * each..(window + 1) * each].iter().all(|w| w == expected), "window {window}");
        }
    }
}

/// The inputs' rows in hand-written form, and each kind's answer by hand.
#[test]
fn pairs_behind_the_first_stay_away() {
    let case = Case { windowed: false, ..plain_case(JoinType::Inner) };
    let join = |case: &Case| WindowJoinFactory::try_new(spec(case)).unwrap();
    let by = |partition_by: &[usize], column| {
        let options = SortOptions { descending: true, nulls_first: false };
        FirstBy { partition_by: partition_by.to_vec(), column, options }
    };
    let rows = |values: &[i64]| input(&values.iter().map(|v| (None, Some(1), Some(*v))).collect::<Vec<_>>());
    let factory = join(&case).giving_first(&by(&[3], 7)).unwrap();
    let mut harness = OperatorHarness::new(factory.as_ref(), 1, routings(&join(&case)));
    harness.batch_to(0, rows(&[1])).unwrap();
    harness.watermark_from(0, i64::MAX).unwrap();
    let mut given = |values: &[i64]| {
        harness.batch_to(1, rows(values)).unwrap();
        sorted_rows(&harness.take_output())
    };
    let pair = |value: i64| format!("null|null|k1|1|null|null|k1|{value}");
    assert_eq!(given(&[3, 5, 4, 5]), [pair(5), pair(5)]);
    assert_eq!(given(&[4, 2]), Vec::<String>::new());
    assert_eq!(given(&[5, 7, 6]), [pair(7)]);
    // The value of the side that looks up is the order; the partition is of the other side, or the key.
    for (partition_by, is_possible) in [(vec![3], true), (vec![2, 6], true), (vec![7], false), (vec![3, 5], false)] {
        assert_eq!(join(&case).giving_first(&by(&partition_by, 7)).is_some(), is_possible, "{partition_by:?}");
    }
    let others = [Case { windowed: true, ..case.clone() }, Case { kind: JoinType::Left, ..case.clone() }];
    assert!(others.iter().all(|case| join(case).giving_first(&by(&[3], 7)).is_none()));
}

#[test]
fn kinds_by_hand() {
    let left: [Row; 3] = [(Some(0), Some(1), Some(10)), (Some(0), Some(2), Some(20)), (Some(0), None, Some(30))];
    let right: [Row; 3] = [(Some(0), Some(1), Some(11)), (Some(1), Some(2), Some(21)), (Some(0), None, Some(31))];
    let expected: [(JoinType, &[&str]); 5] = [
        (JoinType::Inner, &["0|1000|k1|10|0|1000|k1|11"]),
        (
            JoinType::Left,
            &["0|1000|k1|10|0|1000|k1|11", "0|1000|k2|20|null|null|null|null", "0|1000|null|30|null|null|null|null"],
        ),
        (JoinType::LeftAnti, &["0|1000|k2|20", "0|1000|null|30"]),
        (JoinType::RightSemi, &["0|1000|k1|11"]),
        (JoinType::RightMark, &["0|1000|k1|11|true", "0|1000|null|31|false", "500|1000|k2|21|false"]),
    ];
    for (kind, expected) in expected {
        let factory = WindowJoinFactory::try_new(spec(&plain_case(kind))).unwrap();
        let mut harness = OperatorHarness::new(&factory, 2, routings(&factory));
        harness.batch_to(0, input(&left)).unwrap();
        harness.batch_to(1, input(&right)).unwrap();
        harness.watermark(999).unwrap();
        assert_eq!(harness.take_rows(), [""; 0]);
        harness.watermark(1000).unwrap();
        assert_eq!(harness.take_sorted_rows(), expected, "{kind}");
        harness.batch_to(0, input(&left)).unwrap();
        harness.end().unwrap();
        assert_eq!(harness.take_rows(), [""; 0], "late rows are dropped");
    }
}

#[test]
fn zeros_and_nans_join_as_they_group() {
    let values = |v: &[f64]| batch_of(vec![("x", Arc::new(arrow::array::Float64Array::from(v.to_vec())) as ArrayRef)]);
    let schema = values(&[]).schema();
    let side = |schema: &SchemaRef| WindowJoinInput {
        schema: Arc::clone(schema),
        window: None,
        keys: vec![column(schema, "x")],
    };
    let factory = WindowJoinFactory::try_new(WindowJoinSpec {
        left: side(&schema),
        right: side(&schema),
        kind: JoinType::Inner,
        filter: None,
        null_equality: NullEquality::NullEqualsNothing,
    });
    let factory = factory.unwrap();
    let operator = factory.create(&OperatorInit::single()).unwrap();
    let behind = [15, i64::MAX].map(|ms| operator.output_watermark(Watermark(ms)));
    assert_eq!(behind, [Watermark::MIN, Watermark::MAX], "rows come at the end");
    let mut harness = OperatorHarness::new(&factory, 3, routings(&factory));
    harness.batch_to(0, values(&[-0.0, f64::NAN])).unwrap();
    harness.batch_to(1, values(&[0.0, -f64::NAN, 1.0])).unwrap();
    harness.end().unwrap();
    assert_eq!(harness.take_sorted_rows(), ["-0.0|0.0", "NaN|NaN"]);
}

#[test]
fn nullability_follows_the_kind() {
    let nullable = |kind| -> Vec<bool> {
        let mut spec = spec(&plain_case(kind));
        let strict = |f: &arrow::datatypes::FieldRef| f.as_ref().clone().with_nullable(false);
        let strict = Schema::new(spec.left.schema.fields().iter().map(strict).collect::<Vec<_>>());
        (spec.left.schema, spec.right.schema) = (Arc::new(strict.clone()), Arc::new(strict));
        let schema = WindowJoinFactory::try_new(spec).unwrap().schema();
        schema.fields().iter().map(|f| f.is_nullable()).collect()
    };
    assert_eq!(nullable(JoinType::Inner), [false; 8]);
    assert_eq!(nullable(JoinType::Left), [[false; 4], [true; 4]].concat());
    assert_eq!(nullable(JoinType::Right), [[true; 4], [false; 4]].concat());
    assert_eq!(nullable(JoinType::Full), [true; 8]);
    assert_eq!(nullable(JoinType::RightAnti), [false; 4]);
    assert_eq!(nullable(JoinType::LeftMark), [false; 5]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let good = spec(&plain_case(JoinType::Inner));
    let schema = Arc::clone(&good.left.schema);
    let no_boolean = WindowJoinSpec { filter: Some(column(&schema, "value")), ..good.clone() };
    let error = WindowJoinFactory::try_new(no_boolean).unwrap_err();
    assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Invalid, "R0352"));
    let mut other_type = good.clone();
    other_type.right.keys = vec![column(&schema, "value")];
    assert_eq!(WindowJoinFactory::try_new(other_type).unwrap_err().kind(), ErrorKind::Internal);
    let mut one_window = good.clone();
    one_window.right.window = None;
    assert_eq!(WindowJoinFactory::try_new(one_window).unwrap_err().kind(), ErrorKind::Internal);
    let mut computed = good;
    let (a, b) = (column(&schema, "value"), column(&schema, "value"));
    let sum = binary(Arc::clone(&a), Operator::Plus, b, &schema).unwrap();
    (computed.left.keys, computed.right.keys) = (vec![sum], vec![a]);
    assert_eq!(WindowJoinFactory::try_new(computed).unwrap().exchanges(), None);
}
