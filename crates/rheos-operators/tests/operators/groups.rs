//! Aggregates whose results change: the fold of all changes is the naive aggregate at each epoch's end, at any parallelism and
//! over restarts.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::expressions::lit;
use proptest::prelude::*;
use rheos_core::change;
use rheos_core::operator::CHUNK_ROWS_MAX;
use rheos_core::{OperatorFactory, Result};
use rheos_operators::{AggregateCall, GroupAggregateFactory, GroupAggregateSpec, GroupEmits, aggregate_call};
use rheos_testkit::{OperatorHarness, Routing, batch, rows, sorted_rows};

use crate::cases::{call, column, count_all, distinct, function};

/// Key, value, and how often more the row is there.
type Change = (Option<i64>, Option<i64>, i64);

fn input(changes: &[Change], weighted: bool) -> RecordBatch {
    let column = |at: fn(&Change) -> Option<i64>| Arc::new(changes.iter().map(at).collect::<Int64Array>()) as ArrayRef;
    let plain = rheos_testkit::batch_of(vec![("key", column(|c| c.0)), ("value", column(|c| c.1))]);
    if !weighted {
        return plain;
    }
    let weights = changes.iter().map(|c| c.2).collect();
    change::weighted(&plain.schema(), plain.columns().to_vec(), weights).unwrap()
}

fn schema(weighted: bool) -> SchemaRef {
    input(&[], weighted).schema()
}

fn factory(weighted: bool, keys: &[&str], emits: GroupEmits, ttl_ms: Option<i64>) -> GroupAggregateFactory {
    let schema = schema(weighted);
    let calls: Vec<AggregateCall> = match emits {
        GroupEmits::Changes => vec![
            count_all(&schema),
            call(&schema, "sum", &["value"]),
            call(&schema, "max", &["value"]),
            distinct(&schema, "count", &["value"]),
            call(&schema, "median", &["value"]),
        ],
        _ => vec![],
    };
    let keys = keys.iter().map(|key| (column(&schema, key), key.to_string())).collect();
    let mut spec = GroupAggregateSpec::new(schema, keys, calls, emits);
    spec.state_ttl_ms = ttl_ms;
    GroupAggregateFactory::try_new(spec).unwrap()
}

/// What is there, as text, and how often.
#[derive(Debug, Default, Clone, PartialEq)]
struct Fold(BTreeMap<String, i64>);

impl Fold {
    fn add(&mut self, batches: &[RecordBatch]) {
        for batch in batches {
            let (plain, weights) = change::split(batch).unwrap();
            for (row, text) in rows(&[plain]).into_iter().enumerate() {
                let weight = weights.as_ref().map_or(1, |weights| weights.value(row));
                assert_ne!(weight, 0, "no change has no weight");
                *self.0.entry(text).or_default() += weight;
            }
        }
        self.0.retain(|_, times| *times != 0);
    }

    fn rows(&self) -> Vec<String> {
        self.0.iter().flat_map(|(row, times)| vec![row.clone(); usize::try_from(*times).unwrap()]).collect()
    }
}

/// The results over a table, recomputed.
fn naive(table: &BTreeMap<(Option<i64>, Option<i64>), i64>, keyed: bool) -> Vec<String> {
    let mut groups: BTreeMap<Option<i64>, Vec<Option<i64>>> = BTreeMap::new();
    if !keyed {
        groups.insert(None, vec![]);
    }
    for ((key, value), times) in table {
        let group = groups.entry(if keyed { *key } else { None }).or_default();
        group.extend(vec![*value; usize::try_from(*times).unwrap()]);
    }
    let text = |n: Option<i64>| n.map_or("null".to_string(), |n| n.to_string());
    let mut rows = vec![];
    for (key, group) in groups {
        let mut values: Vec<i64> = group.iter().flatten().copied().collect();
        values.sort_unstable();
        let sum = (!values.is_empty()).then(|| values.iter().sum());
        let max = values.last().copied();
        let middle = values.len() / 2;
        let median = match values.len() {
            0 => "null".to_string(),
            n if n % 2 == 1 => format!("{}.0", values[middle]),
            _ => format!("{:?}", (values[middle - 1] + values[middle]) as f64 / 2.0),
        };
        values.dedup();
        let results = [Some(group.len() as i64), sum, max, Some(values.len() as i64)].map(text).join("|");
        let results = format!("{results}|{median}");
        rows.push(if keyed { format!("{}|{results}", text(key)) } else { results });
    }
    rows.sort();
    rows
}

/// Of each epoch: which groups have a pair, and that old and new differ.
fn check_pairs(batches: &[RecordBatch], keyed: bool) {
    let mut seen: BTreeMap<(String, i64), u32> = BTreeMap::new();
    for batch in batches {
        let (plain, weights) = change::split(batch).unwrap();
        let texts = rows(&[plain]);
        for (row, text) in texts.iter().enumerate() {
            let weight = weights.as_ref().unwrap().value(row);
            let key = if keyed { text.split('|').next().unwrap().to_string() } else { String::new() };
            let times = seen.entry((key, weight)).or_default();
            *times += 1;
            assert_eq!(*times, 1, "a group changes once an epoch: {text}");
            if weight == -1
                && texts.get(row + 1).is_some_and(|next| {
                    weights.as_ref().unwrap().value(row + 1) == 1
                        && next.split('|').next() == text.split('|').next()
                        && keyed
                })
            {
                assert_ne!(text, &texts[row + 1], "an update that changes nothing is not sent");
            }
        }
    }
}

fn changes() -> impl Strategy<Value = Vec<Vec<Vec<Change>>>> {
    let key = prop_oneof![9 => (0i64..6).prop_map(Some), 1 => Just(None)];
    let value = prop_oneof![9 => (-3i64..9).prop_map(Some), 1 => Just(None)];
    let change = (key, value, -2i64..4).prop_map(|(k, v, w)| (k, v, if w == 0 { 1 } else { w }));
    let batch = prop::collection::vec(change, 0..12);
    prop::collection::vec(prop::collection::vec(batch, 0..4), 1..7)
}

/// Adds changes to a table, without those that would take away what is not there.
fn apply(table: &mut BTreeMap<(Option<i64>, Option<i64>), i64>, epoch: &mut [Vec<Change>], weighted: bool) {
    for batch in epoch {
        batch.retain_mut(|(key, value, weight)| {
            if !weighted {
                *weight = 1;
            }
            let times = table.entry((*key, *value)).or_default();
            let is_possible = *times + *weight >= 0;
            if is_possible {
                *times += *weight;
            }
            is_possible
        });
    }
    table.retain(|_, times| *times != 0);
}

fn routing(keyed: bool) -> Routing {
    if keyed { Routing::Hash(vec![0]) } else { Routing::Single }
}

proptest! {
    #![proptest_config(rheos_testkit::cases(200))]

    #[test]
    fn the_changes_add_up_to_the_aggregate_at_every_epochs_end(
        epochs in changes(),
        weighted in any::<bool>(),
        keyed in any::<bool>(),
        restarts in prop::collection::vec(prop::option::weighted(0.3, 1usize..4), 7),
        stored in 0usize..3,
    ) {
        let keys: &[&str] = if keyed { &["key"] } else { &[] };
        let factory = factory(weighted, keys, GroupEmits::Changes, None);
        let mut harness = OperatorHarness::new(&factory, 2, routing(keyed));
        let (mut table, mut fold) = (BTreeMap::new(), Fold::default());
        for (number, mut epoch) in epochs.into_iter().enumerate() {
            apply(&mut table, &mut epoch, weighted);
            // Within an epoch, rows may go before they come.
            if number % 2 == 1 {
                epoch.reverse();
            }
            for batch in &epoch {
                harness.batch(input(batch, weighted)).unwrap();
            }
            harness.end_epoch().unwrap();
            let output = harness.take_output();
            check_pairs(&output, keyed);
            fold.add(&output);
            prop_assert_eq!(fold.rows(), naive(&table, keyed), "after epoch {}", number);
            if let Some(workers) = restarts[number] {
                let assignment = rheos_core::key::KeyGroupAssignment::even(rheos_core::key::KEY_GROUPS_DEFAULT, 1);
                let snapshot = match stored {
                    0 => harness.snapshot(),
                    1 => harness.snapshot().merged(),
                    _ => harness.snapshot().combined(&factory, &assignment),
                };
                harness = OperatorHarness::restored(&factory, workers, routing(keyed), snapshot).unwrap();
            }
        }
        // What is gone is not kept.
        if keyed {
            let groups = table.keys().map(|(key, _)| key).collect::<std::collections::BTreeSet<_>>().len();
            prop_assert_eq!(harness.snapshot().merged().stored_rows("groups"), groups);
        }
        harness.end().unwrap();
        prop_assert!(harness.take_output().is_empty(), "nothing has changed since");
    }

    /// `INTERSECT`, `UNION` and `SELECT DISTINCT` over rows that change, and over rows that only come.
    #[test]
    fn distinct_rows(
        epochs in changes(), weighted in any::<bool>(), restarts in prop::collection::vec(prop::option::weighted(0.3, 1usize..4), 7),
    ) {
        let emits = if weighted { GroupEmits::Changes } else { GroupEmits::New };
        let schema = schema(weighted);
        let keys = vec![(column(&schema, "value"), "value".to_string())];
        let factory = GroupAggregateFactory::try_new(GroupAggregateSpec::new(schema, keys, vec![], emits)).unwrap();
        prop_assert_eq!(change::has_weights(&factory.schema()), weighted);
        let mut harness = OperatorHarness::new(&factory, 2, Routing::Hash(vec![1]));
        let (mut table, mut fold) = (BTreeMap::new(), Fold::default());
        for (number, mut epoch) in epochs.into_iter().enumerate() {
            apply(&mut table, &mut epoch, weighted);
            for batch in &epoch {
                harness.batch(input(batch, weighted)).unwrap();
                if !weighted {
                    // At once: nothing of them changes later.
                    fold.add(&harness.take_output());
                }
            }
            let before = fold.clone();
            harness.end_epoch().unwrap();
            fold.add(&harness.take_output());
            prop_assert!(weighted || before == fold);
            let mut expected: Vec<String> =
                table.keys().map(|(_, v)| v.map_or("null".into(), |v| v.to_string())).collect();
            expected.sort();
            expected.dedup();
            prop_assert_eq!(fold.rows(), expected);
            if let Some(workers) = restarts[number] {
                harness =
                    OperatorHarness::restored(&factory, workers, Routing::Hash(vec![1]), harness.snapshot()).unwrap();
            }
        }
    }

    /// The rows that are there when the input ends, each as often as it is there.
    #[test]
    fn rows_at_the_end(
        epochs in changes(), restarts in prop::collection::vec(prop::option::weighted(0.3, 1usize..4), 7),
    ) {
        let factory = factory(true, &["key", "value"], GroupEmits::RowsAtEnd, Some(1));
        let routing = Routing::Hash(vec![0, 1]);
        let mut harness = OperatorHarness::new(&factory, 2, routing.clone());
        let mut table = BTreeMap::new();
        for (number, mut epoch) in epochs.into_iter().enumerate() {
            apply(&mut table, &mut epoch, true);
            for batch in &epoch {
                harness.batch(input(batch, true)).unwrap();
            }
            harness.watermark(number as i64 * 1000).unwrap();
            harness.end_epoch().unwrap();
            prop_assert!(harness.take_output().is_empty());
            if let Some(workers) = restarts[number] {
                harness = OperatorHarness::restored(&factory, workers, routing.clone(), harness.snapshot()).unwrap();
            }
        }
        harness.end().unwrap();
        let text = |n: &Option<i64>| n.map_or("null".to_string(), |n| n.to_string());
        let mut expected: Vec<String> = table
            .iter()
            .flat_map(|((key, value), times)| vec![format!("{}|{}", text(key), text(value)); *times as usize])
            .collect();
        expected.sort();
        prop_assert_eq!(sorted_rows(&harness.take_output()), expected);
        // A job that dies behind the epoch in which they were told, and goes on from its end, does not tell them again.
        harness.end_epoch().unwrap();
        let mut harness = OperatorHarness::restored(&factory, 2, routing, harness.snapshot()).unwrap();
        harness.end().unwrap();
        prop_assert!(harness.take_output().is_empty());
    }
}

fn sum_by_key(weighted: bool, edit: impl FnOnce(&mut GroupAggregateSpec)) -> GroupAggregateFactory {
    let schema = schema(weighted);
    let keys = vec![(column(&schema, "key"), "key".to_string())];
    let calls = vec![call(&schema, "sum", &["value"])];
    let mut spec = GroupAggregateSpec::new(schema, keys, calls, GroupEmits::Changes);
    edit(&mut spec);
    GroupAggregateFactory::try_new(spec).unwrap()
}

fn one(key: i64, value: i64) -> RecordBatch {
    input(&[(Some(key), Some(value), 1)], false)
}

#[test]
fn the_old_result_stands_before_the_new_one_and_none_is_sent_for_nothing() {
    let mut harness = OperatorHarness::new(&sum_by_key(false, |_| ()), 1, routing(true));
    harness.batch(input(&[(Some(1), Some(5), 1), (Some(2), Some(0), 1), (Some(1), Some(2), 1)], false)).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_rows(), ["1|7|1", "2|0|1"]);
    harness
        .batch(input(
            &[(Some(2), Some(0), 1), (Some(1), Some(-2), 1), (Some(1), Some(2), 1), (Some(1), Some(1), 1)],
            false,
        ))
        .unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_rows(), ["1|7|-1", "1|8|1"]);
}

#[test]
fn an_aggregate_of_nothing_has_a_result_which_one_worker_gives() {
    let factory = factory(false, &[], GroupEmits::Changes, None);
    let mut harness = OperatorHarness::new(&factory, 3, Routing::Single);
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_rows(), ["0|null|null|0|null|1"]);
    let mut restored = OperatorHarness::restored(&factory, 2, Routing::Single, harness.snapshot()).unwrap();
    restored.end_epoch().unwrap();
    assert!(restored.take_rows().is_empty(), "it is out already");
    restored.batch(one(1, 4)).unwrap();
    restored.end().unwrap();
    assert_eq!(restored.take_rows(), ["0|null|null|0|null|-1", "1|4|4|1|4.0|1"]);
}

#[test]
fn between_epochs_changes_go_out_by_the_clock() {
    let factory = sum_by_key(false, |spec| spec.emit_interval_ms = Some(100));
    let mut harness = OperatorHarness::new(&factory, 1, routing(true));
    harness.clock(1000).unwrap();
    harness.batch(one(1, 5)).unwrap();
    harness.clock(1050).unwrap();
    assert!(harness.take_rows().is_empty(), "the interval is not over");
    harness.batch(one(1, 5)).unwrap();
    harness.clock(1100).unwrap();
    assert_eq!(harness.take_rows(), ["1|10|1"]);
    harness.batch(one(1, 1)).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_rows(), ["1|10|-1", "1|11|1"]);
    let mut restored = OperatorHarness::restored(&factory, 1, routing(true), harness.snapshot()).unwrap();
    restored.batch(one(1, 1)).unwrap();
    restored.end_epoch().unwrap();
    assert_eq!(restored.take_rows(), ["1|11|-1", "1|12|1"], "what went out by the clock is known, too");
}

#[test]
fn groups_that_nothing_touches_are_forgotten_without_a_word() {
    let factory = sum_by_key(false, |spec| spec.state_ttl_ms = Some(1000));
    let mut harness = OperatorHarness::new(&factory, 1, routing(true));
    harness.watermark(0).unwrap();
    harness.batch(input(&[(Some(1), Some(5), 1), (Some(2), Some(6), 1)], false)).unwrap();
    harness.end_epoch().unwrap();
    harness.watermark(900).unwrap();
    harness.batch(one(2, 1)).unwrap();
    harness.end_epoch().unwrap();
    harness.take_rows();
    let mut harness = OperatorHarness::restored(&factory, 2, routing(true), harness.snapshot()).unwrap();
    harness.watermark(1000).unwrap();
    harness.end_epoch().unwrap();
    assert!(harness.take_rows().is_empty());
    harness.batch(input(&[(Some(1), Some(5), 1), (Some(2), Some(6), 1)], false)).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_sorted_rows(), ["1|5|1", "2|13|1", "2|7|-1"], "1 begins anew, 2 goes on");
    assert_eq!(harness.snapshot().merged().stored_rows("groups"), 2);
}

#[test]
fn many_groups_leave_in_chunks() -> Result<()> {
    let groups = 3 * CHUNK_ROWS_MAX as i64;
    let all: Vec<Change> = (1..=groups).map(|key| (Some(key), Some(key), 1)).collect();
    let mut harness = OperatorHarness::new(&sum_by_key(false, |_| ()), 1, routing(true));
    harness.batch(input(&all, false))?;
    harness.end_epoch()?;
    assert_eq!(harness.take_rows().len() as i64, groups);
    harness.batch(input(&all, false))?;
    harness.end_epoch()?;
    let output = harness.take_output();
    let mut expected = vec![];
    for batch in &output {
        let weights = change::weights(batch).unwrap().values();
        assert!(weights.chunks(2).all(|pair| pair == [-1, 1]), "the two rows of a group stay together");
        expected.extend(batch.column(0).as_primitive::<Int64Type>().values().iter().step_by(2).copied());
    }
    expected.sort_unstable();
    assert_eq!(expected, (1..=groups).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn a_row_that_goes_and_never_came_is_an_error_at_the_end() {
    let factory = factory(true, &["key", "value"], GroupEmits::RowsAtEnd, None);
    let mut harness = OperatorHarness::new(&factory, 1, Routing::Hash(vec![0, 1]));
    harness.batch(input(&[(Some(1), Some(5), -2)], true)).unwrap();
    harness.end_epoch().unwrap();
    let error = harness.end().unwrap_err();
    assert_eq!(error.code(), "R0703");
    assert!(error.message().contains("key=1, value=5"), "{}", error.message());
}

/// The sums of a group that has no rows for a while are those of the rows that are there then.
#[test]
fn a_group_that_is_empty_within_an_epoch_keeps_what_it_knows() {
    let mut harness = OperatorHarness::new(&sum_by_key(true, |_| ()), 1, routing(true));
    harness.batch(input(&[(Some(1), Some(7), 1), (Some(1), Some(5), -1)], true)).unwrap();
    harness.batch(input(&[(Some(1), Some(5), 1)], true)).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_rows(), ["1|7|1"]);
    let batch = batch! { "key": Int64[1], "value": Int64[7] };
    let gone = change::weighted(&batch.schema(), batch.columns().to_vec(), Int64Array::from(vec![-1])).unwrap();
    harness.batch(gone).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.take_rows(), ["1|7|-1"]);
}

/// Of a constant there is one value at most, and without keys nothing says whose place it takes.
#[test]
fn the_values_of_a_constant_without_keys_are_stored_and_taken_back() {
    let schema = schema(true);
    let of_constant = |name: &str, is_distinct| {
        aggregate_call(&function(name), vec![lit(3_i64)], is_distinct, None, vec![], &schema, false).unwrap()
    };
    let calls = vec![of_constant("max", false), of_constant("count", true)];
    let spec = GroupAggregateSpec::new(schema.clone(), vec![], calls, GroupEmits::Changes);
    let factory = GroupAggregateFactory::try_new(spec).unwrap();
    let mut harness = OperatorHarness::new(&factory, 1, routing(false));
    let mut told = Fold::default();
    let rows = [(Some(1), Some(7), 1), (Some(2), Some(8), 1)];
    let gone = rows.map(|(key, value, _)| (key, value, -1));
    for (changes, merged, expected) in [
        (&rows[..], false, "3|1"),
        (&gone[..1], true, "3|1"),
        (&gone[1..], false, "null|0"),
        (&rows[..1], true, "3|1"),
        (&gone[..1], true, "null|0"),
    ] {
        harness.batch(input(changes, true)).unwrap();
        harness.end_epoch().unwrap();
        told.add(&harness.take_output());
        assert_eq!(told.rows(), [expected]);
        assert!(harness.snapshot().stored_rows("values0") <= 1);
        let snapshot = if merged { harness.snapshot().merged() } else { harness.snapshot() };
        harness = OperatorHarness::restored(&factory, 2, routing(false), snapshot).unwrap();
    }
}
