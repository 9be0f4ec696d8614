//! What a store has to keep does not grow with the number of epochs, whatever stays open meanwhile; and it is still all
//! that is needed.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray};
use arrow::compute::SortOptions;
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalSortExpr;
use rheos_core::OperatorFactory;
use rheos_core::window::WindowSpec;
use rheos_operators::{
    AggregateMode, AssignSessionsFactory, RankFunction, WindowColumns, WindowRankFactory, WindowRankSpec,
};
use rheos_testkit::{OperatorHarness, Routing, batch_of};

use crate::cases::{call, column, count_all, factory, spec};
use crate::windows::{Row, input};

/// Rows of an operator's table beyond twice those that live, about: what operators let lie, and an epoch's rows.
const SPARE: usize = 3 << 14;

/// Runs so many epochs, each with a batch and a watermark; compares what is stored of `table` at each end with the rows that
/// are needed then; and what comes out at the end with a job that is restored twice on the way.
fn check(
    factory: &dyn OperatorFactory,
    routing: &Routing,
    epochs: i64,
    step: impl Fn(i64) -> (RecordBatch, i64),
    stored_max: impl Fn(i64, &OperatorHarness) -> (usize, usize),
) {
    let run = |restarts: &[i64]| {
        let mut harness = OperatorHarness::new(factory, 2, routing.clone());
        let mut output = vec![];
        for epoch in 0..epochs {
            let (rows, watermark) = step(epoch);
            harness.batch(rows).unwrap();
            harness.watermark(watermark).unwrap();
            harness.end_epoch().unwrap();
            if epoch % 16 == 15 {
                let (stored, needed) = stored_max(epoch, &harness);
                assert!(
                    stored <= 2 * needed + SPARE,
                    "{stored} rows are stored after epoch {epoch}, {needed} are needed"
                );
            }
            if restarts.contains(&epoch) {
                output.extend(harness.take_output());
                let snapshot = if epoch % 2 == 0 { harness.snapshot() } else { harness.snapshot().merged() };
                harness = OperatorHarness::restored(factory, 3, routing.clone(), snapshot).unwrap();
            }
        }
        harness.end().unwrap();
        output.extend(harness.take_output());
        let mut rows = rheos_testkit::rows(&output);
        rows.sort();
        rows
    };
    let expected = run(&[]);
    assert!(!expected.is_empty());
    assert_eq!(run(&[epochs / 3 * 2, epochs / 2 + 2 * (epochs % 2) + 1]), expected);
}

fn stored(harness: &OperatorHarness, tables: &[&str]) -> usize {
    let snapshot = harness.snapshot();
    tables.iter().map(|t| snapshot.stored_rows(t)).sum()
}

/// Key 1 has one session that never ends; the others end, and begin anew.
fn sessions(epoch: i64) -> (RecordBatch, i64) {
    let at = epoch * 100;
    let mut rows: Vec<Row> = (0..600).map(|n| (Some(at + n % 50), 2 + (n % 97) as u8, Some(n))).collect();
    rows.push((Some(at), 1, Some(epoch)));
    (input(&rows), at)
}

#[test]
fn rows_of_sessions_that_have_fired_are_let_go_while_one_stays_open() {
    let schema = input(&[]).schema();
    // The others have 50 ms between 49 and 100.
    let key = column(&schema, "key");
    let factory = AssignSessionsFactory::try_new(schema, 0, vec![key], WindowSpec::try_session(51).unwrap()).unwrap();
    // Key 1 comes every 100 ms, and would have sessions of one row.
    check(&factory, &Routing::Hash(vec![1]), 112, sessions, |_, harness| (stored(harness, &["rows", "closed"]), 1200));
    let schema = input(&[]).schema();
    let key = column(&schema, "key");
    let step = |epoch: i64| {
        let (rows, watermark) = sessions(epoch);
        let at = epoch * 100;
        let between: Vec<Row> = (0..4).map(|n| (Some(at + 25 * n), 1, None)).collect();
        (arrow::compute::concat_batches(&rows.schema(), [&rows, &input(&between)]).unwrap(), watermark)
    };
    let factory = AssignSessionsFactory::try_new(schema, 0, vec![key], WindowSpec::try_session(26).unwrap()).unwrap();
    check(&factory, &Routing::Hash(vec![1]), 112, step, |epoch, harness| {
        (stored(harness, &["rows", "closed"]), 1200 + 5 * epoch as usize)
    });
}

#[test]
fn a_window_that_stays_open_for_many_epochs_is_stored_about_twice() {
    let schema = input(&[]).schema();
    for window in [WindowSpec::try_tumble(1 << 40, 0).unwrap(), WindowSpec::try_hop(1 << 38, 1 << 40, 0).unwrap()] {
        let spec = spec(&schema, window, &["key"], vec![count_all(&schema), call(&schema, "sum", &["value"])]);
        let factory = factory(&spec, AggregateMode::Single);
        let step = |epoch: i64| {
            let rows: Vec<Row> = (0..200).map(|n| (Some(epoch * (1 << 32) + n), (n % 200) as u8, Some(n))).collect();
            (input(&rows), epoch << 32)
        };
        check(&factory, &Routing::Hash(vec![1]), 400, step, |_, harness| (stored(harness, &["slices"]), 200 * 12));
    }
}

#[test]
fn of_a_session_that_grows_a_store_needs_the_last_version() {
    let schema = input(&[]).schema();
    let window = WindowSpec::try_session(1000).unwrap();
    let spec = spec(&schema, window, &["key"], vec![count_all(&schema), call(&schema, "sum", &["value"])]);
    let factory = factory(&spec, AggregateMode::Single);
    let step = |epoch: i64| {
        let rows: Vec<Row> = (0..100).map(|n| (Some(epoch * 10 + n % 7), n as u8, Some(n))).collect();
        (input(&rows), epoch * 10)
    };
    check(&factory, &Routing::Hash(vec![1]), 100, step, |_, harness| {
        let merged = harness.snapshot().merged().stored_rows("sessions");
        assert!(merged <= 200, "{merged} rows of 100 sessions");
        (0, 0)
    });
}

#[test]
fn of_a_top_n_a_store_needs_what_can_still_come_out() {
    let windowed = |rows: i64, epoch: i64| -> RecordBatch {
        let us = |us: i64| Arc::new(TimestampMicrosecondArray::from(vec![us; rows as usize])) as ArrayRef;
        // Each value is larger than all before it.
        let value = |n: i64| epoch * rows + n;
        batch_of(vec![
            ("ws", us(0)),
            ("we", us(1 << 50)),
            ("key", Arc::new((0..rows).map(|n| n % 3).collect::<Int64Array>()) as ArrayRef),
            ("value", Arc::new((0..rows).map(value).collect::<Int64Array>()) as ArrayRef),
        ])
    };
    let schema = windowed(0, 0).schema();
    for window in [None, Some(WindowColumns { start: 0, end: 1 })] {
        let order = PhysicalSortExpr {
            expr: column(&schema, "value"),
            options: SortOptions { descending: true, nulls_first: false },
        };
        let factory = WindowRankFactory::try_new(WindowRankSpec {
            window,
            partition_by: vec![column(&schema, "key")],
            order_by: vec![order],
            function: RankFunction::RowNumber,
            limit: Some(5),
            name: "n".into(),
            input: schema.clone(),
        });
        let step = |epoch: i64| (windowed(600, epoch), epoch);
        check(&factory.unwrap(), &Routing::Hash(vec![2]), 128, step, |_, harness| {
            (stored(harness, &["rows"]), 3 * 2048)
        });
    }
}
