//! Windows by processing time: the clock is moved by hand.

use rheos_core::operator::Counter;
use rheos_core::window::WindowSpec;
use rheos_operators::{AggregateMode, AggregateSpec, AggregateTime, WindowAggregateFactory};
use rheos_testkit::{OperatorHarness, Routing};

use crate::cases::{call, count_all, factory, spec};
use crate::windows::input;

fn by_clock(window: WindowSpec) -> AggregateSpec {
    let schema = input(&[]).schema();
    let calls = vec![count_all(&schema), call(&schema, "sum", &["value"])];
    AggregateSpec { time: Some(AggregateTime::Processing { zone: None }), ..spec(&schema, window, &["key"], calls) }
}

fn harness(window: WindowSpec) -> OperatorHarness {
    OperatorHarness::new(&factory(&by_clock(window), AggregateMode::Single), 1, Routing::Single)
}

/// Event times mean nothing: a row is (key, value).
fn send(harness: &mut OperatorHarness, rows: &[(u8, i64)]) {
    let rows: Vec<_> = rows.iter().map(|(key, value)| (None, *key, Some(*value))).collect();
    harness.batch(input(&rows)).unwrap();
}

#[test]
fn the_clock_fires_windows_and_no_row_is_late() {
    let mut harness = harness(WindowSpec::try_tumble(100, 0).unwrap());
    harness.clock(1030).unwrap();
    send(&mut harness, &[(1, 1), (2, 2)]);
    harness.clock(1099).unwrap();
    send(&mut harness, &[(1, 4)]);
    harness.watermark(1_000_000).unwrap();
    assert_eq!(harness.take_rows(), [""; 0], "the watermark of event time is nothing to it");
    harness.clock(1100).unwrap();
    assert_eq!(harness.take_sorted_rows(), ["k1|2|5|1000|1100|1099", "k2|1|2|1000|1100|1099"]);
    send(&mut harness, &[(1, 8)]);
    // A clock that goes back does not make rows late.
    harness.clock(1050).unwrap();
    send(&mut harness, &[(1, 16)]);
    harness.end().unwrap();
    assert_eq!(harness.take_rows(), ["k1|2|24|1100|1200|1199"]);
    assert_eq!(harness.counter(Counter::LateRecords) + harness.counter(Counter::NullEventTimes), 0);
}

#[test]
fn sliding_and_cumulating_windows_by_the_clock() {
    for (window, expected) in [
        (
            WindowSpec::try_hop(50, 100, 0).unwrap(),
            vec!["k1|1|1|950|1050|1049", "k1|2|3|1000|1100|1099", "k1|1|2|1050|1150|1149"],
        ),
        (
            WindowSpec::try_cumulate(50, 150, 100).unwrap(),
            // Buckets begin at 1000 = 100 + 6 * 150.
            vec!["k1|1|1|1000|1050|1049", "k1|2|3|1000|1100|1099", "k1|2|3|1000|1150|1149"],
        ),
    ] {
        let mut harness = harness(window);
        for (now, value) in [(1010, 1), (1060, 2)] {
            harness.clock(now).unwrap();
            send(&mut harness, &[(1, value)]);
        }
        let mut got = harness.take_rows();
        for now in [1099, 1100, 1150, 2000] {
            harness.clock(now).unwrap();
            got.extend(harness.take_rows());
        }
        assert_eq!(got, expected, "{window}");
        assert_eq!(harness.open_windows(), 0);
    }
}

#[test]
fn sessions_by_the_clock_and_across_a_restore() {
    let window = WindowSpec::try_session(100).unwrap();
    let mut first = harness(window);
    first.clock(1000).unwrap();
    send(&mut first, &[(1, 1), (2, 2), (1, 4)]);
    first.clock(1090).unwrap();
    send(&mut first, &[(1, 8)]);
    first.clock(1101).unwrap();
    assert_eq!(first.take_rows(), ["k2|1|2|1000|1100|1099"]);
    first.end_epoch().unwrap();
    let factory = factory(&by_clock(window), AggregateMode::Single);
    let mut second = OperatorHarness::restored(&factory, 2, Routing::Hash(vec![1]), first.snapshot()).unwrap();
    // The new clock is behind, for a moment.
    second.clock(500).unwrap();
    send(&mut second, &[(1, 16)]);
    second.clock(1201).unwrap();
    assert_eq!(second.take_rows(), [""; 0]);
    send(&mut second, &[(3, 1)]);
    second.clock(1202).unwrap();
    assert_eq!(second.take_rows(), ["k1|4|29|1000|1201|1200"]);
    second.end().unwrap();
    assert_eq!(second.take_rows(), ["k3|1|1|1201|1301|1300"]);
}

#[test]
fn windows_by_the_clock_have_no_part_before_the_exchange() {
    let spec = by_clock(WindowSpec::try_tumble(100, 0).unwrap());
    assert!(!spec.supports_partial());
    assert!(WindowAggregateFactory::try_new(spec, AggregateMode::Partial).is_err());
}
