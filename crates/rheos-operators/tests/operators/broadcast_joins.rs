//! Joins that send the few rows of one side to every worker, against nested loops over the raw rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use datafusion_common::{JoinType, NullEquality};
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{Column, binary};
use proptest::prelude::*;
use rheos_core::OperatorFactory;
use rheos_operators::{BroadcastJoinFactory, BroadcastJoinSpec, Closing, WindowJoinInput, WindowJoinSpec};
use rheos_testkit::{OperatorHarness, Routing, batch_of, sorted_rows};

use crate::cases::column;

const WINDOW_MS: i64 = 1000;

/// A row that looks up: its time in ms, and its key.
type Row = (Option<i64>, Option<i64>);
/// A window, by the ms at which it ends, and its key.
type Window = (i64, Option<i64>);

fn row_batch(rows: &[Row]) -> RecordBatch {
    let times: TimestampMicrosecondArray = rows.iter().map(|row| row.0.map(|ms| ms * 1000)).collect();
    let keys: Int64Array = rows.iter().map(|row| row.1).collect();
    batch_of(vec![("at", Arc::new(times) as ArrayRef), ("key", Arc::new(keys))])
}

fn window_batch(windows: &[Window]) -> RecordBatch {
    let time = |ms: fn(&Window) -> i64| -> ArrayRef {
        Arc::new(windows.iter().map(|w| Some(ms(w) * 1000)).collect::<TimestampMicrosecondArray>())
    };
    let keys: Int64Array = windows.iter().map(|w| w.1).collect();
    batch_of(vec![("start", time(|w| w.0 - WINDOW_MS)), ("end", time(|w| w.0)), ("key", Arc::new(keys))])
}

#[derive(Debug, Clone)]
struct Case {
    /// For the rows on the left; the other way round if the windows are.
    kind: JoinType,
    windows_are_left: bool,
    keyed: bool,
    closes: bool,
}

fn case() -> impl Strategy<Value = Case> {
    let kinds = vec![JoinType::Inner, JoinType::Left, JoinType::LeftSemi, JoinType::LeftAnti, JoinType::LeftMark];
    (prop::sample::select(kinds), any::<[bool; 3]>()).prop_map(|(kind, [windows_are_left, keyed, closes])| Case {
        kind,
        windows_are_left,
        keyed,
        closes,
    })
}

impl Case {
    /// `at >= start AND at < end`, and equal keys.
    fn factory(&self) -> BroadcastJoinFactory {
        let (rows, windows) = (row_batch(&[]).schema(), window_batch(&[]).schema());
        let keys = |schema: &Arc<Schema>| if self.keyed { vec![column(schema, "key")] } else { vec![] };
        let side =
            |schema: &Arc<Schema>| WindowJoinInput { schema: Arc::clone(schema), window: None, keys: keys(schema) };
        let sides = if self.windows_are_left { [&windows, &rows] } else { [&rows, &windows] };
        let both = Schema::new([sides[0].fields().to_vec(), sides[1].fields().to_vec()].concat());
        let (at, start) = if self.windows_are_left { (3, 0) } else { (0, 2) };
        let of = |name: &str, index: usize| Arc::new(Column::new(name, index)) as Arc<dyn PhysicalExpr>;
        let from = binary(of("at", at), Operator::GtEq, of("start", start), &both).unwrap();
        let to = binary(of("at", at), Operator::Lt, of("end", start + 1), &both).unwrap();
        let join = WindowJoinSpec {
            left: side(sides[0]),
            right: side(sides[1]),
            kind: if self.windows_are_left { self.kind.swap() } else { self.kind },
            filter: Some(binary(from, Operator::And, to, &both).unwrap()),
            null_equality: NullEquality::NullEqualsNothing,
        };
        let closing = self.closes.then_some(Closing { column: 0, reach_ms: WINDOW_MS });
        let few = usize::from(!self.windows_are_left);
        BroadcastJoinFactory::try_new(BroadcastJoinSpec { join, few, closing }).unwrap().unwrap()
    }

    fn routings(&self) -> Vec<Routing> {
        let mut routings = vec![Routing::RoundRobin, Routing::Broadcast];
        if self.windows_are_left {
            routings.reverse();
        }
        routings
    }

    /// The input that the windows come from, and the other.
    fn inputs(&self) -> (usize, usize) {
        (usize::from(!self.windows_are_left), usize::from(self.windows_are_left))
    }

    fn nested_loops(&self, rows: &[Row], windows: &[Window]) -> Vec<String> {
        let text = |v: Option<i64>| v.map_or("null".to_string(), |v| v.to_string());
        let row_text = |row: &Row| format!("{}|{}", text(row.0), text(row.1));
        let pair = |row: &Row, window: Option<&Window>| {
            let window = window
                .map_or("null|null|null".to_string(), |(end, key)| format!("{}|{end}|{}", end - WINDOW_MS, text(*key)));
            if self.windows_are_left {
                format!("{window}|{}", row_text(row))
            } else {
                format!("{}|{window}", row_text(row))
            }
        };
        let mut out = vec![];
        for row in rows {
            let joins = |(end, key): &&Window| {
                let is_within = row.0.is_some_and(|at| at >= end - WINDOW_MS && at < *end);
                is_within && (!self.keyed || (row.1.is_some() && row.1 == *key))
            };
            let partners: Vec<&Window> = windows.iter().filter(joins).collect();
            match self.kind {
                JoinType::Inner => out.extend(partners.iter().map(|w| pair(row, Some(w)))),
                JoinType::Left if partners.is_empty() => out.push(pair(row, None)),
                JoinType::Left => out.extend(partners.iter().map(|w| pair(row, Some(w)))),
                JoinType::LeftMark => out.push(format!("{}|{}", row_text(row), !partners.is_empty())),
                kind => out.extend((partners.is_empty() == (kind == JoinType::LeftAnti)).then(|| row_text(row))),
            }
        }
        out.sort();
        out
    }
}

/// Rows in any order of their times; then the next windows end, and are told.
#[derive(Debug, Clone)]
struct Step {
    rows: Vec<Row>,
    windows: Vec<Option<i64>>,
    ends_epoch: bool,
    restart: Option<usize>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || prop::option::weighted(0.9, 0i64..3);
    let row = (prop::option::weighted(0.95, 0i64..6000), key());
    let step = (
        prop::collection::vec(row, 0..12),
        prop::collection::vec(key(), 0..3),
        any::<bool>(),
        prop::option::weighted(0.2, 1usize..4),
    );
    let step = step.prop_map(|(rows, windows, ends_epoch, restart)| Step { rows, windows, ends_epoch, restart });
    prop::collection::vec(step, 1..8)
}

proptest! {
    #![proptest_config(rheos_testkit::cases(400))]

    #[test]
    fn a_join_with_few_rows_against_nested_loops(
        case in case(),
        steps in steps(),
        workers in 1usize..4,
        windows_end_first in any::<bool>(),
    ) {
        let factory = case.factory();
        let (windows_from, rows_from) = case.inputs();
        let mut harness = OperatorHarness::new(&factory, workers, case.routings());
        let (mut rows, mut windows, mut got) = (vec![], vec![], vec![]);
        for (at, step) in steps.iter().enumerate() {
            harness.batch_to(rows_from, row_batch(&step.rows)).unwrap();
            rows.extend(step.rows.iter().copied());
            // Windows end every 700 ms and so overlap; they are told before the watermark that closes them.
            let end = (at as i64 + 1) * 700;
            let told: Vec<Window> = step.windows.iter().map(|key| (end, *key)).collect();
            harness.batch_to(windows_from, window_batch(&told)).unwrap();
            windows.extend(told);
            harness.watermark_from(windows_from, end).unwrap();
            if step.ends_epoch || step.restart.is_some() {
                harness.end_epoch().unwrap();
            }
            if let Some(workers) = step.restart {
                got.extend(harness.take_output());
                harness = OperatorHarness::restored(&factory, workers, case.routings(), harness.snapshot()).unwrap();
            }
        }
        if windows_end_first {
            harness.watermark_from(windows_from, i64::MAX).unwrap();
            harness.batch_to(rows_from, row_batch(&[(Some(10), Some(1)), (None, None)])).unwrap();
            rows.extend([(Some(10), Some(1)), (None, None)]);
        }
        harness.end().unwrap();
        got.extend(harness.take_output());
        prop_assert_eq!(sorted_rows(&got), case.nested_loops(&rows, &windows));
        prop_assert_eq!(harness.open_windows(), 0);
    }

    /// One worker has come to the end of the windows when the epoch ends, and the others have not.
    #[test]
    fn workers_at_different_ends(
        case in case(),
        rows in prop::collection::vec((prop::option::of(0i64..6000), prop::option::of(0i64..3)), 0..40),
        windows in prop::collection::vec((500i64..6000, prop::option::of(0i64..3)), 0..6),
        watermarks in prop::array::uniform3(prop_oneof![Just(i64::MAX), Just(i64::MIN)]),
        workers in 1usize..5,
    ) {
        let factory = case.factory();
        let (windows_from, rows_from) = case.inputs();
        let mut first = OperatorHarness::new(&factory, 3, case.routings());
        for part in rows.chunks(5) {
            first.batch_to(rows_from, row_batch(part)).unwrap();
        }
        first.batch_to(windows_from, window_batch(&windows)).unwrap();
        for (worker, watermark) in watermarks.iter().enumerate() {
            first.watermark_of(worker, *watermark).unwrap();
        }
        first.end_epoch().unwrap();
        let mut got = first.take_output();
        let mut second = OperatorHarness::restored(&factory, workers, case.routings(), first.snapshot()).unwrap();
        second.end_epoch().unwrap();
        second.end().unwrap();
        got.extend(second.take_output());
        prop_assert_eq!(sorted_rows(&got), case.nested_loops(&rows, &windows));
    }
}

#[test]
fn rows_wait_for_their_windows_and_no_longer() {
    let case = Case { kind: JoinType::Inner, windows_are_left: false, keyed: false, closes: true };
    let mut harness = OperatorHarness::new(&case.factory(), 2, case.routings());
    harness.batch_to(0, row_batch(&[(Some(100), None), (Some(1400), None)])).unwrap();
    harness.batch_to(0, row_batch(&[(Some(1600), None)])).unwrap();
    harness.batch_to(1, window_batch(&[(1000, None)])).unwrap();
    harness.watermark_from(1, 1000).unwrap();
    assert_eq!(harness.take_rows(), [""; 0], "a window that ends at 1100 could have the first");
    harness.batch_to(1, window_batch(&[(2000, None)])).unwrap();
    harness.watermark_from(1, 2400).unwrap();
    assert_eq!(harness.take_sorted_rows(), ["100|null|0|1000|null", "1400|null|1000|2000|null"]);
    assert_eq!(harness.open_windows(), 1, "a window that ends at 2600 could have the last");
    harness.end().unwrap();
    assert_eq!(harness.take_rows(), ["1600|null|1000|2000|null"]);
}

#[test]
fn what_it_is_not_for() {
    let case = Case { kind: JoinType::Inner, windows_are_left: false, keyed: true, closes: false };
    let good = case.factory();
    let schema = row_batch(&[]).schema();
    let side = |schema: &Arc<Schema>| WindowJoinInput { schema: Arc::clone(schema), window: None, keys: vec![] };
    let join = |kind, filter| BroadcastJoinSpec {
        join: WindowJoinSpec {
            left: side(&schema),
            right: side(&schema),
            kind,
            filter,
            null_equality: NullEquality::NullEqualsNothing,
        },
        few: 1,
        closing: None,
    };
    assert!(BroadcastJoinFactory::try_new(join(JoinType::Inner, None)).unwrap().is_some());
    // Each worker would give the unmatched rows of the right.
    for kind in [JoinType::Right, JoinType::Full, JoinType::RightSemi] {
        assert!(BroadcastJoinFactory::try_new(join(kind, None)).unwrap().is_none(), "{kind}");
    }
    // Each worker would tell of a sum that overflows.
    let both = Schema::new([schema.fields().to_vec(), schema.fields().to_vec()].concat());
    let key = |index| Arc::new(Column::new("key", index)) as Arc<dyn PhysicalExpr>;
    let sum = binary(key(1), Operator::Plus, key(3), &both).unwrap();
    let filter = binary(sum, Operator::Gt, key(1), &both).unwrap();
    assert!(BroadcastJoinFactory::try_new(join(JoinType::Inner, Some(filter))).unwrap().is_none());
    assert!(good.describe().contains(&("few".into(), "right".into())));
}
