//! One row a key, against a map.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;
use rheos_core::change;
use rheos_operators::{KeyedChanges, MaterialiseFactory, MaterialiseSpec};
use rheos_testkit::{OperatorHarness, Routing, batch_of};

use crate::changes::{Fold, changes, fold};

/// A key, a value, and the weight.
type Change = (i64, Option<i64>, i64);

fn input(rows: &[Change], weighted: bool) -> RecordBatch {
    let plain = batch_of(vec![
        ("v", Arc::new(rows.iter().map(|r| r.1).collect::<Int64Array>()) as ArrayRef),
        ("k", Arc::new(rows.iter().map(|r| Some(r.0)).collect::<Int64Array>()) as ArrayRef),
    ]);
    if !weighted {
        return plain;
    }
    let weights = Int64Array::from_iter_values(rows.iter().map(|r| r.2));
    change::weighted(&plain.schema(), plain.columns().to_vec(), weights).unwrap()
}

fn factory(changes: KeyedChanges, weighted: bool, state_ttl_ms: Option<i64>) -> MaterialiseFactory {
    let input = input(&[], weighted).schema();
    MaterialiseFactory::try_new(MaterialiseSpec { input, key: vec![1], changes, state_ttl_ms }).unwrap()
}

fn routing() -> Routing {
    Routing::Hash(vec![1])
}

fn text(key: i64, value: Option<i64>) -> String {
    format!("{}|{key}", value.map_or("null".to_string(), |v| v.to_string()))
}

/// Each key tells at most one row that goes, and behind it at most one that comes.
fn check_pairs(told: &[(String, i64)]) {
    let key = |row: &str| row.split('|').next_back().unwrap().to_string();
    let mut seen: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (i, (row, weight)) in told.iter().enumerate() {
        let of_key = seen.entry(key(row)).or_default();
        of_key.push(*weight);
        assert!(of_key.as_slice() == [-1] || of_key.as_slice() == [1] || of_key.as_slice() == [-1, 1], "{told:?}");
        assert!(of_key.len() == 1 || key(&told[i - 1].0) == key(row), "a pair stands together: {told:?}");
    }
}

/// Changes, whether the epoch ends behind them, and with how many workers the job starts again then.
fn steps(goes: bool) -> impl Strategy<Value = Vec<(Vec<Change>, Option<usize>)>> {
    let weight = prop_oneof![2 => Just(1i64), i32::from(goes) as u32 => Just(-1)];
    let change = (0i64..6, prop::option::weighted(0.8, 0i64..4), weight);
    prop::collection::vec((prop::collection::vec(change, 0..20), prop::option::weighted(0.3, 1usize..4)), 1..8)
}

proptest! {
    #![proptest_config(rheos_testkit::cases(200))]

    #[test]
    fn rows_that_replace_each_other_are_rows_that_come_and_go(
        (weighted, steps) in any::<bool>().prop_flat_map(|weighted| (Just(weighted), steps(weighted))),
        workers in 1usize..4,
    ) {
        let factory = factory(KeyedChanges::Replace, weighted, None);
        let mut harness = OperatorHarness::new(&factory, workers, routing());
        let (mut map, mut got): (BTreeMap<i64, Option<i64>>, _) = (BTreeMap::new(), Fold::new());
        for (number, (step, restart)) in steps.iter().enumerate() {
            for (key, value, weight) in step {
                // Of what goes the key is sure, and nothing else.
                if *weight > 0 {
                    map.insert(*key, *value);
                } else {
                    map.remove(key);
                }
            }
            harness.batch(input(step, weighted)).unwrap();
            harness.end_epoch().unwrap();
            let told = changes(&harness.take_output());
            check_pairs(&told);
            fold(&mut got, &told);
            let expected: Fold = map.iter().map(|(key, value)| (text(*key, *value), 1)).collect();
            prop_assert_eq!(&got, &expected);
            prop_assert_eq!(harness.snapshot().merged().stored_rows("rows"), map.len());
            if let Some(workers) = restart {
                let snapshot = if number % 2 == 0 { harness.snapshot() } else { harness.snapshot().merged() };
                harness = OperatorHarness::restored(&factory, *workers, routing(), snapshot).unwrap();
            }
        }
    }

    /// Changes of a map, in any order within an epoch, and with detours.
    #[test]
    fn of_an_epoch_a_pair_is_left(epochs in prop::collection::vec(prop::collection::vec((0i64..5, 0i64..5, any::<bool>(), any::<prop::sample::Index>()), 0..20), 1..6)) {
        let factory = factory(KeyedChanges::Pair, true, None);
        let mut harness = OperatorHarness::new(&factory, 2, routing());
        let (mut map, mut got): (BTreeMap<i64, i64>, _) = (BTreeMap::new(), Fold::new());
        for epoch in epochs {
            let mut told = vec![];
            for (key, value, comes, at) in epoch {
                let old = if comes { map.insert(key, value) } else { map.remove(&key) };
                let put = |told: &mut Vec<Change>, change| told.insert(at.index(told.len() + 1), change);
                old.into_iter().for_each(|old| put(&mut told, (key, Some(old), -1)));
                comes.then(|| put(&mut told, (key, Some(value), 1)));
            }
            told.chunks(3).for_each(|part| harness.batch(input(part, true)).unwrap());
            harness.end_epoch().unwrap();
            let told = changes(&harness.take_output());
            check_pairs(&told);
            fold(&mut got, &told);
            let expected: Fold = map.iter().map(|(key, value)| (text(*key, Some(*value)), 1)).collect();
            prop_assert_eq!(&got, &expected);
        }
        prop_assert_eq!(harness.snapshot().stored_rows("rows"), 0);
    }
}

#[test]
fn of_rows_that_only_come_the_last_of_an_epoch_counts() {
    let factory = factory(KeyedChanges::Pair, false, None);
    let mut harness = OperatorHarness::new(&factory, 1, routing());
    harness.batch(input(&[(1, Some(10), 1), (2, Some(5), 1), (1, Some(30), 1), (1, Some(20), 1)], false)).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_rows(), ["20|1|1", "5|2|1"]);
}

#[test]
fn a_row_whose_key_does_not_come_for_its_time_is_dropped_silently() {
    let factory = factory(KeyedChanges::Replace, true, Some(100));
    let mut harness = OperatorHarness::new(&factory, 1, routing());
    harness.watermark(1000).unwrap();
    harness.batch(input(&[(1, Some(10), 1)], true)).unwrap();
    harness.end_epoch().unwrap();
    harness.take_rows();
    harness.watermark(1100).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.snapshot().merged().stored_rows("rows"), 0);
    // Nothing is known of it any more.
    harness.batch(input(&[(1, None, -1)], true)).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_rows(), [""; 0]);
}
