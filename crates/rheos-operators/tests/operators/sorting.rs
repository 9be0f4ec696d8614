//! Sort and limit.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;
use rheos_operators::{LimitFactory, SortFactory, SortKey, SortLimit};
use rheos_testkit::{OperatorHarness, Routing, batch, batch_of, rows};

fn key(column: usize, descending: bool, nulls_first: bool) -> SortKey {
    SortKey { column, descending, nulls_first }
}

#[test]
fn orders() {
    let input = batch! { "a": Int64[2, None, 1, 2], "b": Utf8["x", "y", "z", "a"] };
    let cases: [(Vec<SortKey>, [&str; 4]); 4] = [
        (vec![key(0, false, false)], ["1|z", "2|a", "2|x", "null|y"]),
        (vec![key(0, true, true)], ["null|y", "2|a", "2|x", "1|z"]),
        (vec![key(0, true, false), key(1, true, false)], ["2|x", "2|a", "1|z", "null|y"]),
        (vec![key(1, false, false)], ["2|a", "2|x", "null|y", "1|z"]),
    ];
    for (order, expected) in cases {
        let factory = SortFactory::try_new(input.schema(), order.clone(), None).unwrap();
        let mut harness = OperatorHarness::new(&factory, 1, Routing::Single);
        harness.batch(input.slice(0, 1)).unwrap();
        harness.batch(input.slice(1, 3)).unwrap();
        harness.watermark(1_000).unwrap();
        assert_eq!(harness.take_rows(), [""; 0], "nothing before the end");
        harness.end().unwrap();
        assert_eq!(harness.take_rows(), expected, "{order:?}");
    }
}

#[test]
fn limits() {
    let input = batch! { "a": Int64[1, 2, 3, 4, 5, 6, 7] };
    for (skip, fetch, expected) in [
        (0, Some(3), vec!["1", "2", "3"]),
        (2, Some(2), vec!["3", "4"]),
        (5, None, vec!["6", "7"]),
        (9, Some(1), vec![]),
    ] {
        for cut in 0..7 {
            let factory = LimitFactory::try_new(input.schema(), skip, fetch).unwrap();
            let mut harness = OperatorHarness::new(&factory, 1, Routing::Single);
            harness.batch(input.slice(0, cut)).unwrap();
            harness.end_epoch().unwrap();
            let mut rows = harness.take_rows();
            let snapshot = harness.snapshot();
            let mut harness = OperatorHarness::restored(&factory, 1, Routing::Single, snapshot).unwrap();
            harness.batch(input.slice(cut, 7 - cut)).unwrap();
            harness.end().unwrap();
            rows.extend(harness.take_rows());
            assert_eq!(rows, expected, "skip {skip} fetch {fetch:?} cut {cut}");
        }
    }
}

fn input(values: &[(Option<i64>, u8)]) -> RecordBatch {
    let a: ArrayRef = Arc::new(Int64Array::from_iter(values.iter().map(|v| v.0)));
    let b: ArrayRef = Arc::new(StringArray::from_iter_values(values.iter().map(|v| v.1.to_string())));
    batch_of(vec![("a", a), ("b", b)])
}

proptest! {
    #![proptest_config(rheos_testkit::cases(48))]

    /// The answer is that of sorting everything at once, whatever the batches, the limit and a restore in the middle.
    #[test]
    fn sort_against_sorting_a_vector(
        mut values in prop::collection::vec((prop::option::of(-20i64..20), 0u8..5), 1..400),
        repeat in 1usize..60,
        limit in prop::option::of((0usize..50, 0usize..50)),
        batch_rows in 1usize..3000,
        restart_at in 0usize..10,
    ) {
        values = values.iter().cycle().take(values.len() * repeat).copied().collect();
        let all = input(&values);
        let limit = limit.map(|(skip, fetch)| SortLimit { skip, fetch });
        let factory = SortFactory::try_new(all.schema(), vec![key(0, true, true)], limit).unwrap();
        let mut harness = OperatorHarness::new(&factory, 1, Routing::Single);
        for (i, from) in (0..all.num_rows()).step_by(batch_rows).enumerate() {
            harness.batch(all.slice(from, batch_rows.min(all.num_rows() - from))).unwrap();
            if i % 3 == 0 {
                harness.end_epoch().unwrap();
            }
            if i == restart_at * 3 {
                harness = OperatorHarness::restored(&factory, 1, Routing::Single, harness.snapshot()).unwrap();
            }
        }
        harness.end().unwrap();
        values.sort_by_key(|(a, b)| (a.is_some(), std::cmp::Reverse(*a), b.to_string()));
        let (skip, fetch) = limit.map_or((0, usize::MAX), |l| (l.skip, l.fetch));
        let expected: Vec<_> = values.into_iter().skip(skip).take(fetch).collect();
        prop_assert_eq!(harness.take_rows(), rows(&[input(&expected)]));
    }
}
