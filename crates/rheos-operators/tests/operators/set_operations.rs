//! INTERSECT and EXCEPT against counting all rows of both sides.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;
use rheos_core::{OperatorFactory, change};
use rheos_operators::{SetOperation, SetOperationFactory, SetOperationSpec};
use rheos_testkit::{OperatorHarness, Routing, batch_of, sorted_rows};

use crate::changes::{Epoch, Fold, changes, epochs, fold, table};

/// A row: a number, a text, and one of the floats below.
type Row = (Option<i64>, Option<String>, usize);

/// Equal ones have one text, since which of them comes out is not said.
const FLOATS: [f64; 3] = [0.0, -0.0, f64::NAN];

fn input(rows: &[(Row, i64)], weighted: bool) -> RecordBatch {
    let plain = batch_of(vec![
        ("a", Arc::new(rows.iter().map(|(r, _)| r.0).collect::<Int64Array>()) as ArrayRef),
        ("b", Arc::new(rows.iter().map(|(r, _)| r.1.as_deref()).collect::<StringArray>())),
        ("c", Arc::new(rows.iter().map(|(r, _)| Some(FLOATS[r.2])).collect::<Float64Array>())),
    ]);
    if !weighted {
        return plain;
    }
    let weights = Int64Array::from_iter_values(rows.iter().map(|(_, weight)| *weight));
    change::weighted(&plain.schema(), plain.columns().to_vec(), weights).unwrap()
}

fn row() -> impl Strategy<Value = Row> + Clone {
    let text = prop::option::weighted(0.8, prop_oneof![Just(String::new()), Just("x".to_string())]);
    (prop::option::weighted(0.8, 0i64..3), text, 0..FLOATS.len())
}

fn text((a, b, c): &Row) -> String {
    let a = a.map_or("null".to_string(), |a| a.to_string());
    format!("{a}|{}|{}", b.as_deref().unwrap_or("null"), ["0.0", "0.0", "NaN"][*c])
}

fn counts(rows: &[Row]) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    rows.iter().for_each(|row| *counts.entry(text(row)).or_default() += 1);
    counts
}

fn oracle(operation: SetOperation, left: &[Row], right: &[Row]) -> Fold {
    let right = counts(right);
    let copies = |row: &String, left: i64| match (operation, right.get(row).copied().unwrap_or(0)) {
        (SetOperation::Intersect, right) => i64::from(right > 0),
        (SetOperation::IntersectAll, right) => left.min(right),
        (SetOperation::Except, right) => i64::from(right == 0),
        (SetOperation::ExceptAll, right) => left.saturating_sub(right).max(0),
    };
    let rows = counts(left).into_iter().map(|(row, left)| (row.clone(), copies(&row, left)));
    rows.filter(|(_, copies)| *copies > 0).collect()
}

fn operation() -> impl Strategy<Value = SetOperation> {
    prop_oneof![
        Just(SetOperation::Intersect),
        Just(SetOperation::IntersectAll),
        Just(SetOperation::Except),
        Just(SetOperation::ExceptAll)
    ]
}

fn factory(
    operation: SetOperation,
    weighted: [bool; 2],
    at_end: bool,
    state_ttl_ms: Option<i64>,
) -> SetOperationFactory {
    let inputs = weighted.map(|weighted| input(&[], weighted).schema());
    SetOperationFactory::try_new(SetOperationSpec { inputs, operation, at_end, emit_interval_ms: None, state_ttl_ms })
        .unwrap()
}

fn routings() -> Vec<Routing> {
    vec![Routing::Hash(vec![0, 1, 2]); 2]
}

/// Both sides: whether rows go there, and their epochs.
fn sides() -> impl Strategy<Value = [(bool, Vec<Epoch<Row>>); 2]> {
    let side = any::<bool>().prop_flat_map(|weighted| (Just(weighted), epochs(row(), !weighted)));
    [side.clone(), side]
}

proptest! {
    #![proptest_config(rheos_testkit::cases(200))]

    #[test]
    fn the_fold_of_a_changing_set_is_what_counting_gives(operation in operation(), sides in sides(), workers in 1usize..4) {
        let factory = factory(operation, [sides[0].0, sides[1].0], false, None);
        let mut harness = OperatorHarness::new(&factory, workers, routings());
        let (mut all, mut got) = ([vec![], vec![]], Fold::new());
        for number in 0..sides[0].1.len().max(sides[1].1.len()) {
            let mut restart = None;
            for (side, (weighted, epochs)) in sides.iter().enumerate() {
                let Some(epoch) = epochs.get(number) else { continue };
                for batch in epoch.changes.chunks(epoch.batch_rows) {
                    harness.batch_to(side, input(batch, *weighted)).unwrap();
                }
                all[side].extend(epoch.changes.iter().cloned());
                restart = restart.or(epoch.restart);
            }
            harness.end_epoch().unwrap();
            fold(&mut got, &changes(&harness.take_output()));
            let [left, right] = all.each_ref().map(|side| table(side.iter().cloned()));
            prop_assert_eq!(&got, &oracle(operation, &left, &right), "epoch {}", number);
            if let Some(workers) = restart {
                let snapshot = if number % 2 == 0 { harness.snapshot() } else { harness.snapshot().merged() };
                harness = OperatorHarness::restored(&factory, workers, routings(), snapshot).unwrap();
            }
        }
    }

    #[test]
    fn at_the_end_each_row_comes_out_as_often_as_it_is_there(
        operation in operation(),
        left in epochs(row(), true),
        right in epochs(row(), true),
        workers in 1usize..4,
    ) {
        let factory = factory(operation, [false, false], true, None);
        let mut harness = OperatorHarness::new(&factory, workers, routings());
        for number in 0..left.len().max(right.len()) {
            for (side, epoch) in [left.get(number), right.get(number)].into_iter().enumerate() {
                epoch.into_iter().for_each(|epoch| harness.batch_to(side, input(&epoch.changes, false)).unwrap());
            }
            harness.end_epoch().unwrap();
            if let Some(workers) = left.get(number).and_then(|epoch| epoch.restart) {
                harness = OperatorHarness::restored(&factory, workers, routings(), harness.snapshot()).unwrap();
            }
        }
        prop_assert!(harness.take_rows().is_empty());
        harness.end().unwrap();
        let rows = |epochs: &[Epoch<Row>]| epochs.iter().flat_map(|e| e.changes.iter().map(|c| c.0.clone())).collect::<Vec<_>>();
        let expected = oracle(operation, &rows(&left), &rows(&right)).into_iter();
        let expected: Vec<String> = expected.flat_map(|(row, copies)| std::iter::repeat_n(row, copies as usize)).collect();
        prop_assert_eq!(sorted_rows(&harness.take_output()), expected);
        harness.end_epoch().unwrap();
        prop_assert_eq!(harness.snapshot().stored_rows("rows"), 0);
    }
}

fn once(a: i64) -> (Row, i64) {
    ((Some(a), None, 2), 1)
}

#[test]
fn more_copies_than_a_chunk_holds_leave_in_chunks() {
    for at_end in [true, false] {
        let factory = factory(SetOperation::IntersectAll, [false, false], at_end, None);
        let mut harness = OperatorHarness::new(&factory, 1, routings());
        let rows = vec![once(1); 10_000];
        harness.batch_to(0, input(&rows, false)).unwrap();
        harness.batch_to(1, input(&rows, false)).unwrap();
        harness.batch_to(1, input(&rows, false)).unwrap();
        if at_end {
            harness.end().unwrap();
        } else {
            harness.end_epoch().unwrap();
        }
        assert_eq!(harness.take_rows().len(), 10_000);
    }
}

/// The left side has no nulls and the right one has: rows of both are kept.
#[test]
fn a_null_that_only_the_right_side_may_have_is_stored() {
    let without_nulls = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
    let left = RecordBatch::try_new(without_nulls, vec![Arc::new(Int64Array::from(vec![1, 2]))]).unwrap();
    let right = batch_of(vec![("a", Arc::new(Int64Array::from(vec![Some(2), None])) as ArrayRef)]);
    let inputs = [left.schema(), right.schema()];
    let spec = SetOperationSpec {
        inputs,
        operation: SetOperation::ExceptAll,
        at_end: false,
        emit_interval_ms: None,
        state_ttl_ms: None,
    };
    let factory = SetOperationFactory::try_new(spec).unwrap();
    let routings = || vec![Routing::Hash(vec![0]); 2];
    let mut harness = OperatorHarness::new(&factory, 1, routings());
    harness.batch_to(0, left.clone()).unwrap();
    harness.batch_to(1, right.clone()).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_rows(), ["1|1"]);
    assert_eq!(harness.snapshot().stored_rows("rows"), 3);
    let mut harness = OperatorHarness::restored(&factory, 2, routings(), harness.snapshot()).unwrap();
    harness.batch_to(1, right).unwrap();
    harness.batch_to(0, left).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_rows(), ["1|1"]);
}

/// Rows that only come leave nothing to take back where more of them can only make the result larger.
#[test]
fn only_what_can_leave_has_a_weight() {
    let has_weights = |operation, weighted: [bool; 2], at_end| {
        change::has_weights(&factory(operation, weighted, at_end, None).schema())
    };
    for operation in [SetOperation::Intersect, SetOperation::IntersectAll] {
        assert!(!has_weights(operation, [false, false], false));
        assert!(has_weights(operation, [false, true], false));
    }
    for operation in [SetOperation::Except, SetOperation::ExceptAll] {
        assert!(has_weights(operation, [false, false], false));
        assert!(!has_weights(operation, [false, false], true));
    }
}

#[test]
fn a_row_that_does_not_come_for_its_time_is_forgotten() {
    let factory = factory(SetOperation::Except, [true, false], false, Some(100));
    let mut harness = OperatorHarness::new(&factory, 1, routings());
    harness.watermark(1000).unwrap();
    harness.batch_to(0, input(&[once(1), once(2)], true)).unwrap();
    harness.end_epoch().unwrap();
    harness.watermark(1050).unwrap();
    harness.batch_to(0, input(&[once(2)], true)).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_sorted_rows(), ["1|null|NaN|1", "2|null|NaN|1"]);
    harness.watermark(1100).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.snapshot().merged().stored_rows("rows"), 1);
    harness.batch_to(1, input(&[once(1), once(2)], false)).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_rows(), ["2|null|NaN|-1"]);
}
