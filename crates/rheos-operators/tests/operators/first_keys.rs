//! Deduplication by arrival, against a set of the keys that have come.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;
use rheos_core::Exchange;
use rheos_operators::{KeepFirstFactory, KeepFirstSpec};
use rheos_testkit::{OperatorHarness, Routing, batch_of};

/// The two zeros are one key.
const KEYS: [f64; 5] = [0.0, -0.0, 1.0, 2.0, 3.0];

fn input(rows: &[(usize, i64)]) -> RecordBatch {
    batch_of(vec![
        ("v", Arc::new(rows.iter().map(|r| Some(r.1)).collect::<Int64Array>()) as ArrayRef),
        ("k", Arc::new(rows.iter().map(|r| Some(KEYS[r.0])).collect::<Float64Array>()) as ArrayRef),
    ])
}

fn factory(keyed: bool, numbered: bool, state_ttl_ms: Option<i64>) -> KeepFirstFactory {
    let key = if keyed { vec![1] } else { vec![] };
    let name = numbered.then(|| "n".into());
    KeepFirstFactory::try_new(KeepFirstSpec { input: input(&[]).schema(), key, name, state_ttl_ms }).unwrap()
}

fn routing(factory: &KeepFirstFactory) -> Routing {
    match factory.exchange() {
        Exchange::Hash(columns) => Routing::Hash(columns),
        _ => Routing::Single,
    }
}

proptest! {
    #![proptest_config(rheos_testkit::cases(100))]

    #[test]
    fn the_first_row_of_a_key_passes_and_no_other(
        keyed in any::<bool>(),
        epochs in prop::collection::vec((prop::collection::vec((0..KEYS.len(), 0i64..100), 0..12), prop::option::weighted(0.4, 1usize..4)), 1..8),
        workers in 1usize..4,
    ) {
        let factory = factory(keyed, true, None);
        let mut harness = OperatorHarness::new(&factory, workers, routing(&factory));
        let mut seen = BTreeSet::new();
        for (number, (rows, restart)) in epochs.iter().enumerate() {
            let is_first = |row: &&(usize, i64)| seen.insert(if keyed { row.0.max(1) } else { 0 });
            let mut expected: Vec<String> =
                rows.iter().filter(is_first).map(|(k, v)| format!("{v}|{:?}|1", KEYS[*k])).collect();
            expected.sort();
            harness.batch(input(rows)).unwrap();
            prop_assert_eq!(harness.take_sorted_rows(), expected);
            harness.end_epoch().unwrap();
            if let Some(workers) = restart {
                let snapshot = if number % 2 == 0 { harness.snapshot() } else { harness.snapshot().merged() };
                harness = OperatorHarness::restored(&factory, *workers, routing(&factory), snapshot).unwrap();
            }
        }
        prop_assert!(!keyed || harness.snapshot().merged().stored_rows("keys") == seen.len());
    }
}

#[test]
fn a_key_that_does_not_come_for_its_time_is_new_again() {
    let factory = factory(true, false, Some(100));
    let mut harness = OperatorHarness::new(&factory, 1, routing(&factory));
    harness.watermark(1000).unwrap();
    harness.batch(input(&[(2, 1), (3, 1)])).unwrap();
    harness.end_epoch().unwrap();
    harness.watermark(1060).unwrap();
    harness.batch(input(&[(3, 2)])).unwrap();
    harness.watermark(1100).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_rows(), ["1|1.0", "1|2.0"]);
    assert_eq!(harness.snapshot().merged().stored_rows("keys"), 1);
    harness.batch(input(&[(2, 3), (3, 3)])).unwrap();
    assert_eq!(harness.take_rows(), ["3|1.0"]);
}
