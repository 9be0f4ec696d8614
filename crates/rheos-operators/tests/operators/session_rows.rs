//! Rows with their session, against the definition.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use proptest::prelude::*;
use rheos_core::operator::Counter;
use rheos_core::window::WindowSpec;
use rheos_core::{OperatorFactory, Watermark};
use rheos_operators::AssignSessionsFactory;
use rheos_testkit::{OperatorHarness, Routing, rows, sorted_rows};

use crate::cases::column;
use crate::window_kinds::{Expected, Kind, expected, streams};
use crate::windows::{Row, Step, input};

fn factory(gap: i64) -> AssignSessionsFactory {
    let schema = input(&[]).schema();
    let key = column(&schema, "key");
    AssignSessionsFactory::try_new(schema, 0, vec![key], WindowSpec::try_session(gap).unwrap()).unwrap()
}

fn text(expected: &Expected) -> Vec<String> {
    let mut text = vec![];
    for ((key, start, end), rows) in &expected.windows {
        let key = if *key > 0 { format!("k{key}") } else { "null".to_string() };
        for (t, value) in rows {
            let value = value.map_or("null".to_string(), |v| v.to_string());
            text.push(format!("{t}|{key}|{value}|{start}|{end}|{}", end - 1));
        }
    }
    text.sort();
    text
}

proptest! {
    #![proptest_config(rheos_testkit::cases(300))]

    #[test]
    fn rows_with_their_session(
        steps in streams(),
        gap in prop_oneof![1i64..20, 20i64..600],
        batch_rows in 1usize..50,
        workers in 1usize..4,
        epochs in prop::collection::vec(any::<bool>(), 20),
        restarts in prop::collection::vec(prop::option::weighted(0.3, 1usize..4), 20),
    ) {
        let expected = expected(&steps, Kind::Session { gap });
        let factory = factory(gap);
        let routing = Routing::Hash(vec![1]);
        for with_restarts in [false, true] {
            let mut harness = OperatorHarness::new(&factory, workers, routing.clone());
            let (mut got, mut late, mut used, mut nulls) = (vec![], 0, 0, 0);
            let mut steps: Vec<Step> = steps.clone();
            steps.push(Step { rows: vec![], watermark: i64::MAX });
            for (i, step) in steps.iter().enumerate() {
                for rows in step.rows.chunks(batch_rows) {
                    harness.batch(input(rows)).unwrap();
                }
                harness.watermark(step.watermark).unwrap();
                let restart = restarts.get(i).copied().flatten();
                if with_restarts && (epochs.get(i) == Some(&true) || restart.is_some()) {
                    harness.end_epoch().unwrap();
                }
                let ends = i + 1 == steps.len();
                if with_restarts && restart.is_some() || ends {
                    got.extend(harness.take_output());
                    late += harness.counter(Counter::LateRecords);
                    used += harness.counter(Counter::SliceInserts);
                    nulls += harness.counter(Counter::NullEventTimes);
                }
                if with_restarts && !ends && let Some(workers) = restart {
                    let snapshot = harness.snapshot();
                    let snapshot = if workers == 2 { snapshot.merged() } else { snapshot };
                    harness = OperatorHarness::restored(&factory, workers, routing.clone(), snapshot).unwrap();
                }
            }
            prop_assert_eq!(sorted_rows(&got), text(&expected), "with restarts: {}", with_restarts);
            prop_assert_eq!((late, used, nulls), (expected.late, expected.used, expected.nulls));
            prop_assert_eq!(harness.open_windows(), 0);
        }
    }
}

#[test]
fn rows_leave_by_session_in_the_order_of_ends_and_keep_their_columns() {
    let factory = factory(10);
    let fields = factory.schema();
    let names: Vec<_> = fields.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["ts", "key", "value", "window_start", "window_end", "window_time"]);
    let mut harness = OperatorHarness::new(&factory, 1, Routing::Single);
    harness.batch(input(&[(Some(20), 1, Some(1)), (Some(3), 2, None), (Some(0), 1, Some(3))])).unwrap();
    harness.batch(input(&[(None, 1, Some(1)), (Some(10), 1, Some(4)), (Some(3), 1, Some(5))])).unwrap();
    assert_eq!(harness.open_windows(), 2);
    harness.watermark(13).unwrap();
    assert_eq!(harness.take_rows(), [""; 0]);
    harness.watermark(14).unwrap();
    assert_eq!(harness.take_rows(), ["3|k2|null|3|13|12"]);
    harness.end().unwrap();
    let rows = harness.take_rows();
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().all(|row| row.ends_with("|0|30|29")), "{rows:?}");
    assert_eq!(harness.counter(Counter::NullEventTimes), 1);
    let operator = factory.create(&rheos_core::operator::OperatorInit::single()).unwrap();
    assert_eq!(operator.output_watermark(Watermark(14)), Watermark(13));
}

/// A session of more rows than a chunk, and so many rows in all that what has left is cleared away on the way.
#[test]
fn long_streams_of_rows() {
    let factory = factory(100);
    let rows_of =
        |from: i64| -> Vec<Row> { (from..from + 5000).map(|i| (Some(i * 3), (i % 2) as u8, Some(i))).collect() };
    let mut harness = OperatorHarness::new(&factory, 1, Routing::Single);
    // Keys 0 and 1 have one long session each; from row 20,000 on key 2 has short ones.
    harness.batch(input(&rows_of(0))).unwrap();
    harness.batch(input(&rows_of(5000))).unwrap();
    let mut expected = 10_000;
    for n in 0..60i64 {
        let start = 100_000 + n * 10_000;
        let short: Vec<Row> = (0..4000).map(|i| (Some(start + i / 2), 2, Some(n))).collect();
        harness.batch(input(&short)).unwrap();
        harness.watermark(start).unwrap();
        if n % 7 == 0 {
            harness.end_epoch().unwrap();
        }
        if n % 20 == 19 {
            harness.end_epoch().unwrap();
            expected -= harness.take_output().iter().map(RecordBatch::num_rows).sum::<usize>();
            harness = OperatorHarness::restored(&factory, 1, Routing::Single, harness.snapshot()).unwrap();
        }
        expected += 4000;
    }
    harness.end().unwrap();
    let output = harness.take_output();
    assert_eq!(output.iter().map(RecordBatch::num_rows).sum::<usize>(), expected);
    let all = rows(&output);
    let last = all.last().unwrap();
    assert_eq!(last, "691999|k2|59|690000|692099|692098");
}

#[test]
fn only_sessions_are_taken() {
    let schema = input(&[]).schema();
    let tumble = WindowSpec::try_tumble(5, 0).unwrap();
    assert!(AssignSessionsFactory::try_new(Arc::clone(&schema), 0, vec![], tumble).is_err());
    let session = WindowSpec::try_session(5).unwrap();
    assert!(rheos_operators::AssignWindowsFactory::try_new(Arc::clone(&schema), 0, session).is_err());
    // Without keys all rows are one sequence.
    let factory = AssignSessionsFactory::try_new(schema, 0, vec![], session).unwrap();
    let mut harness = OperatorHarness::new(&factory, 1, Routing::Single);
    harness.batch(input(&[(Some(0), 1, None), (Some(5), 2, None)])).unwrap();
    harness.end_epoch().unwrap();
    let mut harness = OperatorHarness::restored(&factory, 2, Routing::Single, harness.snapshot()).unwrap();
    harness.end().unwrap();
    assert_eq!(harness.take_sorted_rows(), ["0|k1|null|0|10|9", "5|k2|null|0|10|9"]);
}
