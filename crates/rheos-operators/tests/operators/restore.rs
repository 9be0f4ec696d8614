//! State: snapshot at any point, restore at any parallelism, same answer.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rheos_core::window::WindowSpec;
use rheos_operators::AggregateMode;
use rheos_testkit::{OperatorHarness, Routing, sorted_rows};

use crate::cases::{call, count_all, factory, spec};
use crate::pipeline::Pipeline;
use crate::windows::{Row, aggregates, input, oracle, rising, steps};

proptest! {
    #![proptest_config(rheos_testkit::cases(200))]

    #[test]
    fn a_restored_job_gives_the_same_answer(
        steps in steps(-3000..3000).prop_map(rising),
        slide in 1i64..400,
        more in prop_oneof![Just(0i64), 0i64..400, 400i64..20_000],
        epochs in prop::collection::vec(any::<bool>(), 25),
        restarts in prop::collection::vec(prop::option::weighted(0.2, 1usize..4), 25),
    ) {
        let size = slide + more;
        let window = WindowSpec::try_hop(slide, size, 0).unwrap();
        let (expected, late, _) = oracle(&steps, size, slide, 0);
        for two_stages in [false, true] {
            let mut pipeline = Pipeline::new(&aggregates(window), two_stages, 2);
            let mut late_before = 0;
            for (i, step) in steps.iter().enumerate() {
                pipeline.batch(input(&step.rows)).unwrap();
                pipeline.watermark(step.watermark).unwrap();
                if epochs[i] || restarts[i].is_some() {
                    pipeline.end_epoch().unwrap();
                }
                if let Some(workers) = restarts[i] {
                    late_before += pipeline.late();
                    pipeline = pipeline.restart(workers, step.watermark);
                }
            }
            prop_assert_eq!(&sorted_rows(&pipeline.end().unwrap()), &expected);
            prop_assert_eq!(late_before + pipeline.late(), late);
        }
    }

    /// Workers that have come to different watermarks when the epoch ends: no window twice, none left out.
    #[test]
    fn workers_at_different_watermarks(
        keys in prop::collection::vec((0i64..200, 1u8..40), 1..300),
        watermarks in prop::array::uniform3(0i64..200),
        workers in 1usize..5,
    ) {
        let window = WindowSpec::try_hop(7, 30, 0).unwrap();
        let schema = input(&[]).schema();
        let spec = spec(&schema, window, &["key"], vec![count_all(&schema), call(&schema, "sum", &["value"])]);
        let factory = factory(&spec, AggregateMode::Single);
        let rows: Vec<_> = keys.iter().map(|(t, k)| (Some(*t), *k, Some(*t))).collect();
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

/// Slices of thousands of groups that live for many epochs gather in tables instead of runs.
#[test]
fn large_slices_over_many_epochs_and_restarts() {
    const EPOCHS: i64 = 24;
    let schema = input(&[]).schema();
    let rows_of = |epoch: i64| -> Vec<Row> {
        // Each epoch has a third of the groups, and each group comes in three epochs of eight.
        (0..1500)
            .map(|n| (Some(epoch * 100 + n % 100), (n % 7 + 1) as u8, Some((n * 37 + epoch * 500) % 4000)))
            .collect()
    };
    for (slide, size) in [(1000, 1000), (500, 1500), (100, 2000)] {
        let window = WindowSpec::try_hop(slide, size, 0).unwrap();
        let calls = vec![count_all(&schema), call(&schema, "sum", &["value"])];
        let spec = spec(&schema, window, &["key", "value"], calls);
        let mut groups: BTreeMap<(i64, u8, i64), i64> = BTreeMap::new();
        for (ts, key, value) in (0..EPOCHS).flat_map(rows_of) {
            let (ts, value) = (ts.unwrap(), value.unwrap());
            let mut start = ts - ts % slide;
            while ts - start < size {
                *groups.entry((start, key, value)).or_default() += 1;
                start -= slide;
            }
        }
        let mut expected: Vec<String> = groups
            .into_iter()
            .map(|((start, key, value), n)| {
                let end = start + size;
                format!("k{key}|{value}|{n}|{}|{start}|{end}|{}", n * value, end - 1)
            })
            .collect();
        expected.sort();
        for restarts in [&[][..], &[5, 11], &[2, 3, 13, 22]] {
            let mut pipeline = Pipeline::new(&spec, false, 2);
            for epoch in 0..EPOCHS {
                for rows in rows_of(epoch).chunks(400) {
                    pipeline.batch(input(rows)).unwrap();
                }
                pipeline.watermark(epoch * 100).unwrap();
                pipeline.end_epoch().unwrap();
                if restarts.contains(&epoch) {
                    pipeline = pipeline.restart(1 + epoch as usize % 3, epoch * 100);
                }
            }
            let got = sorted_rows(&pipeline.end().unwrap());
            let first = got.iter().zip(&expected).find(|(got, expected)| got != expected);
            assert_eq!((got.len(), first), (expected.len(), None), "{slide} {size} {restarts:?}");
        }
    }
}

#[test]
fn a_layout_from_another_version_is_refused_by_name() {
    use rheos_core::state::{SnapshotReader, TableDelta, TableKind};
    struct Old;
    impl SnapshotReader for Old {
        fn deltas(&self, table: &str) -> Vec<TableDelta> {
            let (table, layout) = (table.to_string(), "window-slices/v0".to_string());
            vec![TableDelta {
                table,
                kind: TableKind::Keyed,
                layout,
                replaces_by: vec![],
                gone_by: None,
                tombstones: vec![],
                runs: vec![],
            }]
        }
    }
    let factory = factory(&aggregates(WindowSpec::Global), AggregateMode::Single);
    let mut operator =
        rheos_core::OperatorFactory::create(&factory, &rheos_core::operator::OperatorInit::single()).unwrap();
    let error = operator.restore(&Old).unwrap_err();
    assert!(error.message().contains("window-slices/v0"), "{error}");
}
