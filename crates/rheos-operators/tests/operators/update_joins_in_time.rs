//! Updating joins that let rows go: bounded in time, and with a time to live.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use datafusion_common::{JoinType, NullEquality};
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{Column, binary, cast, lit};
use proptest::prelude::*;
use rheos_core::OperatorFactory;
use rheos_core::operator::Counter;
use rheos_operators::{TimeBounds, UpdateJoinFactory, UpdateJoinInput, UpdateJoinSpec};
use rheos_testkit::{OperatorHarness, batch_of};

use crate::cases::column;
use crate::joins::KINDS;
use crate::update_joins::{Counts, add, fold, routings};

/// A row: its key, its time in ms, its number.
type Row = (Option<i64>, Option<i64>, i64);

fn input(rows: &[Row]) -> RecordBatch {
    let ints = |f: fn(&Row) -> Option<i64>| Arc::new(rows.iter().map(f).collect::<Int64Array>()) as ArrayRef;
    let ts: ArrayRef = Arc::new(rows.iter().map(|r| r.1.map(|ms| ms * 1000)).collect::<TimestampMicrosecondArray>());
    batch_of(vec![("key", ints(|r| r.0)), ("ts", ts), ("n", ints(|r| Some(r.2)))])
}

fn text(row: &Row) -> String {
    rheos_testkit::rows(&[input(&[*row])]).remove(0)
}

fn spec(kind: JoinType, bounds: (i64, i64)) -> UpdateJoinSpec {
    let schema = input(&[]).schema();
    let both = Schema::new([schema.fields().to_vec(), schema.fields().to_vec()].concat());
    let us = |at: usize| cast(Arc::new(Column::new("ts", at)), &both, DataType::Int64).unwrap();
    let apart = || binary(us(1), Operator::Minus, us(4), &both).unwrap();
    let is = |op, ms: i64| -> Arc<dyn PhysicalExpr> { binary(apart(), op, lit(ms * 1000), &both).unwrap() };
    let filter = binary(is(Operator::GtEq, bounds.0), Operator::And, is(Operator::LtEq, bounds.1), &both).unwrap();
    let side = UpdateJoinInput { schema: Arc::clone(&schema), keys: vec![column(&schema, "key")] };
    UpdateJoinSpec {
        left: side.clone(),
        right: side,
        kind,
        filter: Some(filter),
        null_equality: NullEquality::NullEqualsNothing,
        bounds: Some(TimeBounds { columns: [1, 1], min_us: Some(bounds.0 * 1000), max_us: Some(bounds.1 * 1000) }),
        state_ttl_ms: None,
        emit_interval_ms: None,
    }
}

/// The join by its definition.
fn join_of(kind: JoinType, bounds: (i64, i64), [left, right]: &[Vec<Row>; 2]) -> Counts<String> {
    let joins = |a: &Row, b: &Row| {
        let near = matches!((a.1, b.1), (Some(l), Some(r)) if (bounds.0..=bounds.1).contains(&(l - r)));
        a.0.is_some() && a.0 == b.0 && near
    };
    let nulls = "null|null|null";
    let mut out = Counts::new();
    let pairs = matches!(kind, JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full);
    for a in left {
        let partners: Vec<_> = right.iter().filter(|b| joins(a, b)).collect();
        partners.iter().filter(|_| pairs).for_each(|b| add(&mut out, format!("{}|{}", text(a), text(b)), 1));
        match (kind, partners.is_empty()) {
            (JoinType::Left | JoinType::Full, true) => add(&mut out, format!("{}|{nulls}", text(a)), 1),
            (JoinType::LeftSemi, false) | (JoinType::LeftAnti, true) => add(&mut out, text(a), 1),
            (JoinType::LeftMark, alone) => add(&mut out, format!("{}|{}", text(a), !alone), 1),
            _ => {}
        }
    }
    for b in right {
        match (kind, !left.iter().any(|a| joins(a, b))) {
            (JoinType::Right | JoinType::Full, true) => add(&mut out, format!("{nulls}|{}", text(b)), 1),
            (JoinType::RightSemi, false) | (JoinType::RightAnti, true) => add(&mut out, text(b), 1),
            (JoinType::RightMark, alone) => add(&mut out, format!("{}|{}", text(b), !alone), 1),
            _ => {}
        }
    }
    out
}

/// Rows for an input; then how far its watermark rises; then whether the epoch ends, and a restart with so many workers.
type Step = (usize, Vec<(Option<i64>, Option<i64>)>, i64, bool, Option<usize>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (prop::option::weighted(0.9, 0..3_i64), prop::option::weighted(0.95, -20..60_i64));
    let restart = prop_oneof![6 => Just(None), 1 => (1..4_usize).prop_map(Some)];
    let step = (0..2_usize, prop::collection::vec(row, 0..8), 0..40_i64, any::<bool>(), restart);
    prop::collection::vec(step, 1..14)
}

proptest! {
    #![proptest_config(rheos_testkit::cases(300))]

    /// Rows that are in time are joined with all that they are to be joined with, whatever was let go; the others are counted.
    #[test]
    fn what_is_let_go_is_not_missed(
        kind in 0..KINDS.len(),
        (min, length) in (-50..50_i64, 0..60_i64),
        steps in steps(),
        workers in 1..4_usize,
    ) {
        let (kind, bounds) = (KINDS[kind], (min, min + length));
        let factory = UpdateJoinFactory::try_new(spec(kind, bounds)).unwrap();
        let mut harness = OperatorHarness::new(&factory, workers, routings(&factory));
        let (mut there, mut told): ([Vec<Row>; 2], _) = (Default::default(), Counts::new());
        let (mut watermarks, mut late, mut counted, mut number) = ([0_i64; 2], 0, 0, 0);
        for input_at in [0, 1] {
            harness.watermark_from(input_at, 0).unwrap();
        }
        for (side, rows, rise, ends, restart) in steps {
            let rows: Vec<Row> = rows.into_iter().map(|(key, ms)| {
                number += 1;
                (key, ms.map(|ms| watermarks[side] + ms), number)
            }).collect();
            for row in &rows {
                match row.1.is_some_and(|ms| ms < watermarks[side]) {
                    true => late += 1,
                    false => there[side].push(*row),
                }
            }
            harness.batch_to(side, input(&rows)).unwrap();
            watermarks[side] += rise;
            harness.watermark_from(side, watermarks[side]).unwrap();
            if !ends && restart.is_none() {
                continue;
            }
            harness.end_epoch().unwrap();
            fold(&mut told, &harness.take_output());
            prop_assert_eq!(&told, &join_of(kind, bounds, &there));
            if let Some(workers) = restart {
                counted += harness.counter(Counter::LateRecords);
                let snapshot = if workers % 2 == 0 { harness.snapshot() } else { harness.snapshot().merged() };
                harness = OperatorHarness::restored(&factory, workers, routings(&factory), snapshot).unwrap();
                for (side, ms) in watermarks.iter().enumerate() {
                    harness.watermark_from(side, *ms).unwrap();
                }
            }
        }
        counted += harness.counter(Counter::LateRecords);
        prop_assert_eq!(counted, late);
        // Nothing is needed any more of what is far behind both.
        let end = watermarks[0].max(watermarks[1]) + 1_000;
        harness.watermark(end).unwrap();
        harness.end_epoch().unwrap();
        harness.watermark(end + 1).unwrap();
        harness.end_epoch().unwrap();
        let stored: usize = ["left", "right"].iter().map(|table| harness.snapshot().stored_rows(table)).sum();
        prop_assert_eq!(stored, 0);
        fold(&mut told, &harness.take_output());
        prop_assert_eq!(&told, &join_of(kind, bounds, &there));
    }
}

#[test]
fn results_are_no_older_than_the_watermark_behind_the_join() {
    use rheos_core::Watermark;
    use rheos_core::operator::OperatorInit;
    let factory = |bounds| UpdateJoinFactory::try_new(spec(JoinType::Left, bounds)).unwrap();
    // Left rows find right rows from 20 ms before to 5 ms behind them.
    let operator = factory((-5, 20)).create(&OperatorInit::single()).unwrap();
    assert_eq!(operator.output_watermark(Watermark(100)), Watermark(80));
    let operator = factory((-30, -10)).create(&OperatorInit::single()).unwrap();
    assert_eq!(operator.output_watermark(Watermark(100)), Watermark(70));
    assert!(!factory((-5, 20)).holds_watermark());
    assert_eq!(factory((-5, 20)).growth(), None);
    let endless = UpdateJoinSpec { bounds: None, ..spec(JoinType::Inner, (0, 1)) };
    assert!(UpdateJoinFactory::try_new(endless).unwrap().holds_watermark());
}

/// By hand: keys that nothing happens to for 100 ms of event time are forgotten, what was told of them stays.
#[test]
fn a_time_to_live_lets_keys_go_that_are_left_alone() {
    for kind in [JoinType::Inner, JoinType::Left] {
        let spec = UpdateJoinSpec { bounds: None, filter: None, state_ttl_ms: Some(100), ..spec(kind, (0, 0)) };
        let factory = UpdateJoinFactory::try_new(spec).unwrap();
        assert_eq!(factory.growth(), None);
        let mut harness = OperatorHarness::new(&factory, 2, routings(&factory));
        let mut told = Counts::new();
        let (one, two) = ((Some(1), Some(0), 1), (Some(2), Some(0), 2));
        harness.watermark(1000).unwrap();
        harness.batch_to(0, input(&[one, two])).unwrap();
        harness.end_epoch().unwrap();
        harness.watermark(1060).unwrap();
        harness.batch_to(1, input(&[(Some(2), Some(0), 3)])).unwrap();
        harness.end_epoch().unwrap();
        harness.watermark(1100).unwrap();
        harness.end_epoch().unwrap();
        // The row of key 2 and its partner are left of three.
        assert_eq!(["left", "right"].map(|table| harness.snapshot().merged().stored_rows(table)), [1, 1]);
        harness.batch_to(1, input(&[(Some(1), Some(0), 4), (Some(2), Some(0), 5)])).unwrap();
        harness.end_epoch().unwrap();
        fold(&mut told, &harness.take_output());
        let mut expected = Counts::new();
        for right in [3, 5] {
            add(&mut expected, format!("{}|{}", text(&two), text(&(Some(2), Some(0), right))), 1);
        }
        if kind == JoinType::Left {
            add(&mut expected, format!("{}|null|null|null", text(&one)), 1);
        }
        assert_eq!(told, expected);
        // A restart is a touch.
        let mut harness = OperatorHarness::restored(&factory, 1, routings(&factory), harness.snapshot()).unwrap();
        harness.watermark(1250).unwrap();
        harness.end_epoch().unwrap();
        harness.watermark(1349).unwrap();
        harness.end_epoch().unwrap();
        assert_ne!(harness.snapshot().merged().stored_rows("left"), 0);
        harness.watermark(1350).unwrap();
        harness.end_epoch().unwrap();
        assert_eq!(["left", "right"].map(|table| harness.snapshot().merged().stored_rows(table)), [0, 0]);
    }
}

/// By hand: a row without a partner is told at an epoch's end, or by the clock before it.
#[test]
fn rows_without_a_partner_are_told_when_the_interval_is_over() {
    let spec =
        UpdateJoinSpec { bounds: None, filter: None, emit_interval_ms: Some(50), ..spec(JoinType::Left, (0, 0)) };
    let factory = UpdateJoinFactory::try_new(spec).unwrap();
    let mut harness = OperatorHarness::new(&factory, 2, routings(&factory));
    harness.clock(1000).unwrap();
    harness.batch_to(0, input(&[(Some(1), Some(0), 1), (Some(2), Some(0), 2)])).unwrap();
    harness.batch_to(1, input(&[(Some(2), Some(0), 3)])).unwrap();
    assert_eq!(harness.take_rows(), ["2|0|2|2|0|3|1"]);
    harness.clock(1049).unwrap();
    assert_eq!(harness.take_rows(), [""; 0]);
    harness.clock(1050).unwrap();
    assert_eq!(harness.take_rows(), ["1|0|1|null|null|null|1"]);
    harness.batch_to(1, input(&[(Some(1), Some(0), 4)])).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_rows(), ["1|0|1|1|0|4|1", "1|0|1|null|null|null|-1"]);
}
