//! Session aggregates: when they fire, in which order, what is late, and what the part before the exchange holds.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalSortExpr;
use datafusion_physical_expr::expressions::lit;
use proptest::prelude::*;
use rheos_core::operator::{Counter, OperatorInit};
use rheos_core::window::WindowSpec;
use rheos_core::{OperatorFactory, Watermark};
use rheos_operators::{AggregateMode, AggregateSpec, aggregate_call};
use rheos_testkit::{OperatorHarness, Routing, batch, batch_of, rows, sorted_rows};

use crate::cases::{call, column, count_all, factory, function, spec};
use crate::pipeline::Pipeline;
use crate::windows::input;

fn counts(gap: i64) -> AggregateSpec {
    let schema = input(&[]).schema();
    let calls = vec![count_all(&schema), call(&schema, "sum", &["value"])];
    spec(&schema, WindowSpec::try_session(gap).unwrap(), &["key"], calls)
}

fn single(spec: &AggregateSpec) -> OperatorHarness {
    OperatorHarness::new(&factory(spec, AggregateMode::Single), 1, Routing::Single)
}

#[test]
fn sessions_fire_beyond_their_end_in_the_order_of_ends_then_keys() {
    let mut harness = single(&counts(10));
    let rows = [
        (Some(5), 2, Some(1)),
        (Some(1), 3, Some(2)),
        (Some(0), 1, Some(3)),
        (Some(5), 1, Some(4)),
        (Some(15), 1, Some(5)),
    ];
    harness.batch(input(&rows)).unwrap();
    assert_eq!(harness.open_windows(), 3);
    // [1, 11) and [5, 15): at 15 a row at 15 may still come and join.
    harness.watermark(15).unwrap();
    assert_eq!(harness.take_rows(), ["k3|1|2|1|11|10"]);
    harness.batch(input(&[(Some(15), 2, Some(6))])).unwrap();
    harness.watermark(16).unwrap();
    assert_eq!(harness.take_rows(), [""; 0]);
    harness.end().unwrap();
    assert_eq!(harness.take_rows(), ["k1|3|12|0|25|24", "k2|2|7|5|25|24"]);
    assert_eq!(harness.counter(Counter::LateRecords), 0);
}

#[test]
fn what_is_behind_a_session_window_is_one_ms_behind() {
    let operator = factory(&counts(10), AggregateMode::Final).create(&OperatorInit::single()).unwrap();
    assert_eq!(operator.output_watermark(Watermark(15)), Watermark(14));
    assert_eq!(operator.output_watermark(Watermark::MIN), Watermark::MIN);
    assert_eq!(operator.output_watermark(Watermark::MAX), Watermark::MAX);
    let partial = factory(&counts(10), AggregateMode::Partial).create(&OperatorInit::single()).unwrap();
    assert_eq!(partial.output_watermark(Watermark(15)), Watermark(15));
}

#[test]
fn a_row_is_late_unless_it_meets_an_open_session_before_the_watermark_rises() {
    for two_stages in [false, true] {
        let mut pipeline = Pipeline::new(&counts(10), two_stages, 1);
        pipeline.batch(input(&[(Some(100), 1, Some(1)), (Some(130), 2, Some(1))])).unwrap();
        pipeline.watermark(125).unwrap();
        // Key 1 has fired. 112 would end at 122, and is late; 118 opens a session, and 109 reaches it.
        pipeline.batch(input(&[(Some(112), 3, Some(1)), (Some(109), 1, Some(2))])).unwrap();
        pipeline.batch(input(&[(Some(118), 1, Some(4)), (Some(119), 2, Some(1)), (Some(90), 2, Some(1))])).unwrap();
        pipeline.watermark(126).unwrap();
        pipeline.batch(input(&[(Some(120), 2, Some(8))])).unwrap();
        let got = sorted_rows(&pipeline.end().unwrap());
        assert_eq!(got, ["k1|1|1|100|110|109", "k1|2|6|109|128|127", "k2|3|10|119|140|139"]);
        assert_eq!(pipeline.late(), 2);
        // At watermark 125 the row at 112 was 3 ms late, the one at 90 was 25.
        let lateness = pipeline.last.lateness();
        assert_eq!((lateness.rows(), lateness.quantile_ms(0.5)), (2, Some(3)));
        assert!((25..29).contains(&lateness.quantile_ms(1.0).unwrap()));
    }
}

#[test]
fn a_row_between_two_sessions_makes_them_one() {
    for two_stages in [false, true] {
        for epochs in [false, true] {
            let mut pipeline = Pipeline::new(&counts(10), two_stages, 2);
            for t in [0, 20, 40, 30, 10, 61] {
                pipeline.batch(input(&[(Some(t), 0, Some(t))])).unwrap();
                if epochs {
                    pipeline.end_epoch().unwrap();
                    pipeline = pipeline.restart(1 + t as usize % 3, i64::MIN);
                }
            }
            assert_eq!(sorted_rows(&pipeline.end().unwrap()), ["null|1|61|61|71|70", "null|5|100|0|50|49"]);
        }
    }
}

#[test]
fn without_keys_there_is_one_sequence_of_sessions_and_without_rows_none() {
    let schema = input(&[]).schema();
    let spec = spec(&schema, WindowSpec::try_session(5).unwrap(), &[], vec![count_all(&schema)]);
    for two_stages in [false, true] {
        let mut pipeline = Pipeline::new(&spec, two_stages, 3);
        pipeline
            .batch(input(&[(Some(1), 1, None), (Some(5), 2, None), (Some(-20), 1, None), (None, 1, None)]))
            .unwrap();
        pipeline.end_epoch().unwrap();
        let mut pipeline = pipeline.restart(2, i64::MIN);
        assert_eq!(sorted_rows(&pipeline.end().unwrap()), ["1|-20|-15|-16", "2|1|10|9"]);
        let mut nothing = Pipeline::new(&spec, two_stages, 3);
        assert_eq!(sorted_rows(&nothing.end().unwrap()), [""; 0]);
    }
    // SELECT DISTINCT in sessions: keys and no aggregates.
    let spec = crate::cases::spec(&schema, WindowSpec::try_session(5).unwrap(), &["key", "value"], vec![]);
    let mut harness = single(&spec);
    harness.batch(input(&[(Some(1), 1, Some(7)), (Some(2), 1, None), (Some(3), 1, Some(7))])).unwrap();
    harness.end().unwrap();
    assert_eq!(harness.take_sorted_rows(), ["k1|7|1|8|7", "k1|null|2|7|6"]);
}

#[test]
fn many_sessions_leave_in_chunks() {
    let n = 30_000;
    let ts: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0; n]));
    let key: ArrayRef = Arc::new((0..n).map(|i| Some(format!("key number {:05}", n - i))).collect::<StringArray>());
    let all = batch_of(vec![("ts", ts), ("key", key)]);
    let window = WindowSpec::try_session(10).unwrap();
    let spec = spec(&all.schema(), window, &["key"], vec![count_all(&all.schema())]);
    let mut harness = single(&spec);
    for from in (0..n).step_by(8000) {
        harness.batch(all.slice(from, 8000.min(n - from))).unwrap();
    }
    harness.end().unwrap();
    let output = harness.take_output();
    assert!(output.len() >= 4 && output.iter().map(RecordBatch::num_rows).sum::<usize>() == n);
    let rows = rows(&output);
    assert!(rows.is_sorted(), "one end, so in the order of keys");
}

#[test]
fn the_partial_part_lets_the_watermark_pass_only_behind_what_starts_before_it() {
    let spec = counts(10);
    let mut partial = OperatorHarness::new(&factory(&spec, AggregateMode::Partial), 1, Routing::Single);
    partial.batch(input(&[(Some(100), 1, Some(1)), (Some(105), 1, Some(2)), (Some(50), 2, Some(4))])).unwrap();
    assert_eq!(partial.take_rows(), [""; 0]);
    partial.watermark(100).unwrap();
    // End, key, start, rows, states (a sum keeps a second column).
    let out = partial.take_rows();
    assert!(out.len() == 1 && out[0].starts_with("60|k2|50|1|1|"), "{out:?}");
    partial.batch(input(&[(Some(107), 1, Some(8))])).unwrap();
    partial.watermark(101).unwrap();
    let out = partial.take_rows();
    assert!(out.len() == 1 && out[0].starts_with("117|k1|100|3|3|"), "{out:?}");
    partial.batch(input(&[(Some(300), 1, Some(8))])).unwrap();
    partial.flush().unwrap();
    assert_eq!(partial.take_output().len(), 1);
    assert_eq!(partial.counter(Counter::PartialRowsOut), 3);
}

#[test]
fn the_partial_part_gives_way_where_keys_do_not_repeat() {
    let schema = input(&[]).schema();
    let calls = vec![count_all(&schema), call(&schema, "sum", &["value"])];
    let spec = spec(&schema, WindowSpec::try_session(1_000_000).unwrap(), &["value"], calls);
    let mut pipeline = Pipeline::new(&spec, true, 1);
    for batch in 0..100i64 {
        let rows: Vec<_> = (0..1000).map(|i| (Some(i), 1, Some(batch * 1000 + i))).collect();
        pipeline.batch(input(&rows)).unwrap();
    }
    assert_eq!(pipeline.end().unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 100_000);
    assert_eq!(pipeline.partial.unwrap().counter(Counter::PartialRowsOut), 100_000);
}

/// `first_value`, `last_value`, `array_agg` and `string_agg` with ORDER BY, in windows whose parts come in any order.
#[test]
fn order_by_inside_a_call_in_sessions_and_cumulating_windows() {
    let input = batch! {
        "ts": ts_ms[7, 3, 12, 4, 9, 30],
        "key": Utf8["a", "a", "a", "b", "a", "a"],
        "n": Int64[Some(5), Some(1), Some(4), Some(1), Some(5), None],
        "s": Utf8["e", "a", "d", "x", "c", "z"],
    };
    let schema = input.schema();
    let options = |descending| arrow::compute::SortOptions { descending, nulls_first: false };
    let by_n = |descending| vec![PhysicalSortExpr::new(column(&schema, "n"), options(descending))];
    let of_s = |name: &str, descending| {
        let mut args = vec![column(&schema, "s")];
        args.extend((name == "string_agg").then(|| lit(",")));
        aggregate_call(&function(name), args, false, None, by_n(descending), &schema, false).unwrap()
    };
    let calls = || {
        vec![of_s("array_agg", false), of_s("first_value", true), of_s("last_value", true), of_s("string_agg", true)]
    };
    let cases = [
        // Ties in n (c and e) go by the argument.
        (
            WindowSpec::try_session(10).unwrap(),
            vec!["a|[a, d, c, e]|c|a|c,e,d,a|3|22|21", "a|[z]|z|z|z|30|40|39", "b|[x]|x|x|x|4|14|13"],
        ),
        (
            WindowSpec::try_cumulate(10, 20, 0).unwrap(),
            vec![
                "a|[a, c, e]|c|a|c,e,a|0|10|9",
                "a|[a, d, c, e]|c|a|c,e,d,a|0|20|19",
                "a|[z]|z|z|z|20|40|39",
                "b|[x]|x|x|x|0|10|9",
                "b|[x]|x|x|x|0|20|19",
            ],
        ),
    ];
    for (window, expected) in cases {
        let spec = spec(&schema, window, &["key"], calls());
        assert!(!spec.supports_partial());
        for batch_rows in [1, 2, 6] {
            for epochs in [false, true] {
                let mut pipeline = Pipeline::new(&spec, false, 2);
                for from in (0..6).step_by(batch_rows) {
                    pipeline.batch(input.slice(from, batch_rows.min(6 - from))).unwrap();
                    if epochs {
                        pipeline.end_epoch().unwrap();
                        pipeline = pipeline.restart(1, i64::MIN);
                    }
                }
                assert_eq!(sorted_rows(&pipeline.end().unwrap()), expected, "{window}, batches of {batch_rows}");
            }
        }
    }
}

proptest! {
    #![proptest_config(rheos_testkit::cases(100))]

    /// Workers that have come to different watermarks when the epoch ends: no session twice, none left out.
    #[test]
    fn workers_at_different_watermarks(
        rows in prop::collection::vec((0i64..200, 1u8..40), 1..300),
        watermarks in prop::array::uniform3(0i64..200),
        workers in 1usize..5,
    ) {
        let factory = factory(&counts(7), AggregateMode::Single);
        let rows: Vec<_> = rows.iter().map(|(t, k)| (Some(*t), *k, Some(*t))).collect();
        let routing = Routing::Hash(vec![1]);
        let mut whole = OperatorHarness::new(&factory, 1, routing.clone());
        whole.batch(input(&rows)).unwrap();
        whole.end().unwrap();
        let expected = whole.take_sorted_rows();

        let mut first = OperatorHarness::new(&factory, 3, routing.clone());
        first.batch(input(&rows)).unwrap();
        for (worker, watermark) in watermarks.iter().enumerate() {
            first.watermark_of(worker, *watermark).unwrap();
        }
        first.end_epoch().unwrap();
        let mut got = first.take_output();
        let mut second = OperatorHarness::restored(&factory, workers, routing.clone(), first.snapshot()).unwrap();
        second.end_epoch().unwrap();
        second.watermark(3).unwrap();
        second.end_epoch().unwrap();
        got.extend(second.take_output());
        let mut third = OperatorHarness::restored(&factory, 2, routing, second.snapshot()).unwrap();
        third.end().unwrap();
        got.extend(third.take_output());
        prop_assert_eq!(sorted_rows(&got), expected);
    }
}

#[test]
fn keys_of_many_types() {
    let input = batch! {
        "ts": ts_ms[0, 3, 8, 2],
        "i": Int64[Some(1), Some(1), Some(1), None],
        "f": Float64[0.0, -0.0, 0.0, f64::NAN],
        "b": Boolean[true, true, true, false],
        "s": Utf8["x", "x", "x", ""],
    };
    let schema = input.schema();
    let keys = ["i", "f", "b", "s"];
    let spec = spec(&schema, WindowSpec::try_session(5).unwrap(), &keys, vec![count_all(&schema)]);
    let mut pipeline = Pipeline::new(&spec, true, 2);
    pipeline.batch(input).unwrap();
    pipeline.end_epoch().unwrap();
    let mut pipeline = pipeline.restart(3, i64::MIN);
    assert_eq!(sorted_rows(&pipeline.end().unwrap()), ["1|0.0|true|x|3|0|13|12", "null|NaN|false||1|2|7|6"]);
}

#[test]
fn int_values_that_overflow_are_the_users_error() {
    let ts: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0, 0]));
    let value: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 1]));
    let all = batch_of(vec![("ts", ts), ("value", value)]);
    let schema = all.schema();
    let spec = spec(&schema, WindowSpec::try_session(5).unwrap(), &[], vec![call(&schema, "sum", &["value"])]);
    let mut pipeline = Pipeline::new(&spec, true, 1);
    pipeline.batch(all).unwrap();
    assert_eq!(pipeline.end().unwrap_err().kind(), rheos_core::ErrorKind::User);
}
