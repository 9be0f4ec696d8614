//! Window aggregates against recomputation from the raw rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;
use rheos_core::ErrorKind;
use rheos_core::operator::Counter;
use rheos_core::window::WindowSpec;
use rheos_operators::{AggregateMode, AggregateSpec, AggregateWindow, AssignWindowsFactory};
use rheos_testkit::{OperatorHarness, Routing, batch, batch_of, sorted_rows};

use crate::cases::{call, count_all, distinct, factory, greater, spec};
use crate::pipeline::Pipeline;

/// A row: event time (ms), key, value.
pub(crate) type Row = (Option<i64>, u8, Option<i64>);

pub(crate) fn input(rows: &[Row]) -> RecordBatch {
    let us = rows.iter().map(|r| r.0.map(|ms| ms * 1000));
    let ts: ArrayRef = Arc::new(us.collect::<TimestampMicrosecondArray>());
    let key: ArrayRef = Arc::new(rows.iter().map(|r| (r.1 > 0).then(|| format!("k{}", r.1))).collect::<StringArray>());
    let value: ArrayRef = Arc::new(rows.iter().map(|r| r.2).collect::<Int64Array>());
    batch_of(vec![("ts", ts), ("key", key), ("value", value)])
}

/// count(*), sum, min, avg, count(DISTINCT), and of values above 0 sum and count(DISTINCT), by key.
pub(crate) fn aggregates(window: WindowSpec) -> AggregateSpec {
    let schema = input(&[]).schema();
    let filtered = |name: &str, distinct: bool| {
        rheos_operators::aggregate_call(
            &crate::cases::function(name),
            vec![crate::cases::column(&schema, "value")],
            distinct,
            Some(greater(&schema, "value", 0)),
            vec![],
            &schema,
            false,
        )
    };
    let calls = vec![
        count_all(&schema),
        call(&schema, "sum", &["value"]),
        call(&schema, "min", &["value"]),
        call(&schema, "avg", &["value"]),
        distinct(&schema, "count", &["value"]),
        filtered("sum", false).unwrap(),
        filtered("count", true).unwrap(),
    ];
    spec(&schema, window, &["key"], calls)
}

/// What a stream does: rows, then a watermark.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) rows: Vec<Row>,
    pub(crate) watermark: i64,
}

/// The answer by the definition: each row to each window that contains it and has not fired. Returns rows as text, and
/// how many were late and without a time.
pub(crate) fn oracle(steps: &[Step], size: i64, slide: i64, offset: i64) -> (Vec<String>, u64, u64) {
    let mut windows: BTreeMap<(i64, u8), Vec<Option<i64>>> = BTreeMap::new();
    let (mut watermark, mut late, mut nulls) = (i64::MIN, 0, 0);
    for step in steps {
        for (ts, key, value) in &step.rows {
            let Some(ts) = ts else {
                nulls += 1;
                continue;
            };
            let mut start = (ts - offset).div_euclid(slide) * slide + offset;
            if start + size <= watermark {
                late += 1;
            }
            while ts - start < size {
                if start + size > watermark {
                    windows.entry((start, *key)).or_default().push(*value);
                }
                start -= slide;
            }
        }
        watermark = watermark.max(step.watermark);
    }
    let mut answer: Vec<_> = windows
        .into_iter()
        .map(|((start, key), values)| {
            let known: Vec<i64> = values.iter().flatten().copied().collect();
            let text = |value: Option<i64>| value.map_or("null".to_string(), |v| v.to_string());
            let sum = (!known.is_empty()).then(|| known.iter().sum::<i64>());
            let avg = sum.map_or("null".to_string(), |sum| format!("{:?}", sum as f64 / known.len() as f64));
            let different = known.iter().collect::<std::collections::BTreeSet<_>>().len();
            let positive: Vec<i64> = known.iter().copied().filter(|v| *v > 0).collect();
            let different_positive = positive.iter().collect::<std::collections::BTreeSet<_>>().len();
            let positive = (!positive.is_empty()).then(|| positive.iter().sum::<i64>());
            let key = if key > 0 { format!("k{key}") } else { "null".to_string() };
            let (n, sum, min, positive) = (values.len(), text(sum), text(known.iter().min().copied()), text(positive));
            let end = start + size;
            let distinct = format!("{different}|{positive}|{different_positive}");
            format!("{key}|{n}|{sum}|{min}|{avg}|{distinct}|{start}|{end}|{}", end - 1)
        })
        .collect();
    answer.sort();
    (answer, late, nulls)
}

pub(crate) fn steps(times: std::ops::Range<i64>) -> impl Strategy<Value = Vec<Step>> {
    let time = prop_oneof![20 => times.clone().prop_map(Some), 1 => Just(None)];
    let row = (time, 0u8..6, prop::option::of(-5i64..50));
    let step = (prop::collection::vec(row, 0..60), times).prop_map(|(rows, watermark)| Step { rows, watermark });
    prop::collection::vec(step, 1..25)
}

/// Watermarks rise; beside them anything goes: rows in time, late, and far ahead.
pub(crate) fn rising(mut steps: Vec<Step>) -> Vec<Step> {
    let mut watermarks: Vec<_> = steps.iter().map(|s| s.watermark).collect();
    watermarks.sort_unstable();
    for (step, watermark) in steps.iter_mut().zip(watermarks) {
        step.watermark = watermark;
    }
    steps
}

fn run(pipeline: &mut Pipeline, steps: &[Step], batch_rows: usize) -> Vec<String> {
    for step in steps {
        for rows in step.rows.chunks(batch_rows) {
            pipeline.batch(input(rows)).unwrap();
        }
        pipeline.watermark(step.watermark).unwrap();
    }
    sorted_rows(&pipeline.end().unwrap())
}

proptest! {
    #![proptest_config(rheos_testkit::cases(300))]

    #[test]
    fn windows_against_recomputation(
        steps in steps(-3000..3000).prop_map(rising),
        slide in 1i64..400,
        more in prop_oneof![Just(0i64), 0i64..400, 400i64..20_000],
        offset in -500i64..500,
        batch_rows in 1usize..80,
        workers in 1usize..4,
    ) {
        let size = slide + more;
        let window = if more == 0 {
            WindowSpec::try_tumble(size, offset).unwrap()
        } else {
            WindowSpec::try_hop(slide, size, offset).unwrap()
        };
        let (expected, late, nulls) = oracle(&steps, size, slide, offset);
        let rows: u64 = steps.iter().map(|s| s.rows.len() as u64).sum();
        for two_stages in [false, true] {
            let mut pipeline = Pipeline::new(&aggregates(window), two_stages, workers);
            let got = run(&mut pipeline, &steps, batch_rows);
            prop_assert_eq!(&got, &expected, "two stages: {}", two_stages);
            prop_assert_eq!(pipeline.late(), late);
            let first = pipeline.partial.as_ref().unwrap_or(&pipeline.last);
            prop_assert_eq!(first.counter(Counter::NullEventTimes), nulls);
            prop_assert_eq!(first.counter(Counter::SliceInserts), rows - late - nulls);
            prop_assert_eq!(first.lateness().rows(), late);
            prop_assert_eq!(pipeline.last.open_windows(), 0);
        }
    }

    /// Windows that rows carry along give what windows by event time give.
    #[test]
    fn windows_in_columns(
        steps in steps(-3000..3000).prop_map(rising),
        slide in 1i64..400,
        more in 0i64..1000,
        workers in 1usize..4,
    ) {
        let size = slide + more;
        let window = WindowSpec::try_hop(slide, size, 0).unwrap();
        let (expected, _, _) = oracle(&steps, size, slide, 0);
        let by_time = aggregates(window);
        let assign = AssignWindowsFactory::try_new(Arc::clone(&by_time.input), 0, window).unwrap();
        let carried = rheos_core::OperatorFactory::schema(&assign);
        let by_columns = AggregateSpec {
            input: Arc::clone(&carried),
            window: AggregateWindow::Columns { start: 3, end: 4 },
            time: None,
            ..by_time
        };
        for two_stages in [false, true] {
            let mut assigner = OperatorHarness::new(&assign, 1, Routing::Single);
            let mut pipeline = Pipeline::new(&by_columns, two_stages, workers);
            for step in &steps {
                assigner.batch(input(&step.rows)).unwrap();
                for batch in assigner.take_output() {
                    pipeline.batch(batch).unwrap();
                }
                pipeline.watermark(step.watermark).unwrap();
            }
            prop_assert_eq!(&sorted_rows(&pipeline.end().unwrap()), &expected);
        }
    }
}

#[test]
fn a_sliding_window_of_60_slices_takes_each_row_once() {
    let window = WindowSpec::try_hop(1_000, 60_000, 0).unwrap();
    let rows: Vec<Row> = (0..20_000).map(|i| (Some(i * 7), (i % 5) as u8, Some(i))).collect();
    let steps: Vec<_> = rows.chunks(1000).map(|c| Step { rows: c.to_vec(), watermark: c[0].0.unwrap() }).collect();
    let mut pipeline = Pipeline::new(&aggregates(window), false, 1);
    let got = run(&mut pipeline, &steps, 1000);
    assert_eq!(got, oracle(&steps, 60_000, 1_000, 0).0);
    assert_eq!(pipeline.last.counter(Counter::SliceInserts), 20_000);
}

#[test]
fn windows_fire_in_order_when_the_watermark_reaches_their_end() {
    let spec = aggregates(WindowSpec::try_tumble(10, 0).unwrap());
    let mut harness = OperatorHarness::new(&factory(&spec, AggregateMode::Single), 1, Routing::Single);
    harness.batch(input(&[(Some(25), 1, Some(1)), (Some(5), 1, Some(2)), (Some(19), 1, Some(3))])).unwrap();
    harness.watermark(9).unwrap();
    assert_eq!(harness.take_rows().len(), 0);
    assert_eq!(harness.open_windows(), 3);
    harness.watermark(10).unwrap();
    assert_eq!(harness.take_rows(), ["k1|1|2|2|2.0|1|2|1|0|10|9"]);
    harness.batch(input(&[(Some(9), 1, Some(1)), (Some(10), 1, Some(4))])).unwrap();
    assert_eq!(harness.counter(Counter::LateRecords), 1);
    // At watermark 10 a row of [0, 10) is one ms late.
    assert_eq!(harness.lateness().quantile_ms(1.0), Some(1));
    harness.end().unwrap();
    assert_eq!(harness.take_rows(), ["k1|2|7|3|3.5|2|7|2|10|20|19", "k1|1|1|1|1.0|1|1|1|20|30|29"]);
}

#[test]
fn a_window_with_many_keys_leaves_in_chunks() {
    let rows = 30_000;
    let ts: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0; rows]));
    let key: ArrayRef = Arc::new((0..rows).map(|i| Some(format!("key number {i}"))).collect::<StringArray>());
    let all = batch_of(vec![("ts", ts), ("key", key)]);
    let spec = spec(&all.schema(), WindowSpec::try_tumble(10, 0).unwrap(), &["key"], vec![count_all(&all.schema())]);
    let mut harness = OperatorHarness::new(&factory(&spec, AggregateMode::Single), 1, Routing::Single);
    for from in (0..rows).step_by(8000) {
        harness.batch(all.slice(from, 8000.min(rows - from))).unwrap();
    }
    harness.end().unwrap();
    let chunks: Vec<_> = harness.take_output().iter().map(RecordBatch::num_rows).collect();
    assert_eq!(chunks.iter().sum::<usize>(), rows);
    assert!(chunks.len() >= 4, "{chunks:?}");
}

#[test]
fn small_windows_leave_together() {
    let spec = aggregates(WindowSpec::try_tumble(1, 0).unwrap());
    let mut harness = OperatorHarness::new(&factory(&spec, AggregateMode::Single), 1, Routing::Single);
    harness.batch(input(&(0..5000).map(|i| (Some(i), 1, Some(i))).collect::<Vec<_>>())).unwrap();
    harness.end().unwrap();
    assert_eq!(harness.take_output().iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [5000]);
}

#[test]
fn without_windows_everything_is_one_group_set() {
    let schema = input(&[]).schema();
    let rows = input(&[(None, 1, Some(1)), (Some(7), 2, Some(2)), (Some(3), 1, None)]);
    for (keys, expected) in [(vec!["key"], vec!["k1|2|1", "k2|1|2"]), (vec![], vec!["3|3"])] {
        let calls = vec![count_all(&schema), call(&schema, "sum", &["value"])];
        let spec = spec(&schema, WindowSpec::Global, &keys, calls);
        for two_stages in [false, true] {
            let mut pipeline = Pipeline::new(&spec, two_stages, 2);
            pipeline.batch(rows.clone()).unwrap();
            pipeline.watermark(1_000_000).unwrap();
            assert_eq!(sorted_rows(&pipeline.end().unwrap()), expected);
        }
    }
}

#[test]
fn an_aggregate_over_no_rows_has_one_row_without_keys_and_none_with_them() {
    let schema = input(&[]).schema();
    let calls = || vec![count_all(&schema), call(&schema, "sum", &["value"]), distinct(&schema, "sum", &["value"])];
    for two_stages in [false, true] {
        let run = |window, keys: &[&str]| {
            let mut pipeline = Pipeline::new(&spec(&schema, window, keys, calls()), two_stages, 2);
            pipeline.watermark(5).unwrap();
            sorted_rows(&pipeline.end().unwrap())
        };
        assert_eq!(run(WindowSpec::Global, &[]), ["0|null|null"]);
        assert_eq!(run(WindowSpec::Global, &["key"]), [""; 0]);
        assert_eq!(run(WindowSpec::try_tumble(5, 0).unwrap(), &[]), [""; 0]);
    }
}

#[test]
fn select_distinct_is_an_aggregate_without_aggregates() {
    let schema = input(&[]).schema();
    let mut pipeline = Pipeline::new(&spec(&schema, WindowSpec::Global, &["key"], vec![]), true, 3);
    pipeline.batch(input(&[(None, 1, None), (None, 2, None), (None, 1, None), (None, 0, None)])).unwrap();
    assert_eq!(sorted_rows(&pipeline.end().unwrap()), ["k1", "k2", "null"]);
}

#[test]
fn a_sum_that_does_not_fit_is_an_error() {
    let rows = input(&[(Some(1), 1, Some(i64::MAX)), (Some(1), 1, Some(1))]);
    let schema = rows.schema();
    for call in [call(&schema, "sum", &["value"]), distinct(&schema, "sum", &["value"])] {
        for two_stages in [false, true] {
            let spec = spec(&schema, WindowSpec::try_tumble(10, 0).unwrap(), &["key"], vec![call.clone()]);
            let mut pipeline = Pipeline::new(&spec, two_stages, 1);
            pipeline.batch(rows.clone()).unwrap();
            let error = pipeline.end().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::User);
            assert!(error.message().contains("9223372036854775808"), "{error}");
        }
    }
    // Only the result counts, not the way to it.
    let rows = input(&[(Some(1), 1, Some(i64::MAX)), (Some(1), 1, Some(1)), (Some(1), 1, Some(-2))]);
    let spec = spec(&schema, WindowSpec::Global, &["key"], vec![call(&schema, "sum", &["value"])]);
    let mut pipeline = Pipeline::new(&spec, true, 1);
    pipeline.batch(rows).unwrap();
    assert_eq!(sorted_rows(&pipeline.end().unwrap()), ["k1|9223372036854775806"]);
}

#[test]
fn minus_zero_and_all_nan_are_one_group_each() {
    let minus_nan = -f64::NAN;
    let rows = batch! { "ts": ts_ms[0, 0, 0, 0], "x": Float64[0.0, -0.0, f64::NAN, minus_nan] };
    let schema = rows.schema();
    let spec = spec(&schema, WindowSpec::Global, &["x"], vec![count_all(&schema)]);
    let mut pipeline = Pipeline::new(&spec, true, 2);
    pipeline.batch(rows).unwrap();
    assert_eq!(sorted_rows(&pipeline.end().unwrap()), ["0.0|2", "NaN|2"]);
}

#[test]
fn the_partial_part_holds_little_and_gives_way_where_keys_do_not_repeat() {
    let spec = aggregates(WindowSpec::try_tumble(1_000_000, 0).unwrap());
    let schema = Arc::clone(&spec.input);
    let spec = crate::cases::spec(
        &schema,
        WindowSpec::try_tumble(1_000_000, 0).unwrap(),
        &["value"],
        vec![count_all(&schema), call(&schema, "sum", &["value"])],
    );
    let mut partial = OperatorHarness::new(&factory(&spec, AggregateMode::Partial), 1, Routing::Single);
    let mut early = 0;
    for batch in 0..200i64 {
        let rows: Vec<Row> = (0..1000).map(|i| (Some(i), 1, Some(batch * 1000 + i))).collect();
        partial.batch(input(&rows)).unwrap();
        let rows: usize = partial.take_output().iter().map(RecordBatch::num_rows).sum();
        if batch == 150 {
            assert_eq!(rows, 1000, "by now rows pass one by one");
        }
        early += rows;
    }
    partial.flush().unwrap();
    let rest: usize = partial.take_output().iter().map(RecordBatch::num_rows).sum();
    assert_eq!(early + rest, 200_000);
    assert_eq!(partial.counter(Counter::PartialRowsOut), 200_000);
}
