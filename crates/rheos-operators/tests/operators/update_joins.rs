//! Updating joins against the join of what is there, epoch by epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use datafusion_common::{JoinType, NullEquality};
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{Column, binary, lit};
use proptest::prelude::*;
use rheos_core::change::{split, with_weights};
use rheos_core::operator::Counter;
use rheos_core::{ErrorKind, Exchange, OperatorFactory};
use rheos_operators::{UpdateJoinFactory, UpdateJoinInput, UpdateJoinSpec};
use rheos_testkit::{OperatorHarness, Routing, batch_of};

use crate::cases::column;
use crate::joins::KINDS;

/// A row: its key and value.
type Row = (Option<u8>, Option<i64>);

fn rows_of(rows: &[Row]) -> RecordBatch {
    let key: ArrayRef = Arc::new(rows.iter().map(|r| r.0.map(|k| format!("k{k}"))).collect::<StringArray>());
    let value: ArrayRef = Arc::new(rows.iter().map(|r| r.1).collect::<Int64Array>());
    batch_of(vec![("key", key), ("value", value)])
}

fn input(changes: &[(Row, i64)], weighted: bool) -> RecordBatch {
    let rows = rows_of(&changes.iter().map(|c| c.0).collect::<Vec<_>>());
    if !weighted {
        return rows;
    }
    let weights: ArrayRef = Arc::new(changes.iter().map(|c| c.1).collect::<Int64Array>());
    let columns = rows.columns().iter().cloned().chain([weights]).collect();
    RecordBatch::try_new(with_weights(&rows.schema()), columns).unwrap()
}

fn text(row: &Row) -> String {
    let show = |v: Option<String>| v.unwrap_or("null".into());
    format!("{}|{}", show(row.0.map(|k| format!("k{k}"))), show(row.1.map(|v| v.to_string())))
}

/// What the cases differ in.
#[derive(Debug, Clone)]
struct Case {
    kind: JoinType,
    /// Which inputs have weights.
    weighted: [bool; 2],
    keyed: bool,
    /// `left.value < right.value`.
    filtered: bool,
    nulls_are_equal: bool,
}

fn case() -> impl Strategy<Value = Case> {
    (0..KINDS.len(), any::<[bool; 2]>(), any::<[bool; 2]>(), prop::bool::weighted(0.8)).prop_map(
        |(kind, weighted, [filtered, nulls_are_equal], keyed)| Case {
            kind: KINDS[kind],
            weighted,
            keyed,
            filtered,
            nulls_are_equal,
        },
    )
}

fn spec(case: &Case) -> UpdateJoinSpec {
    let side = |weighted: bool| {
        let schema = input(&[], weighted).schema();
        let keys = if case.keyed { vec![column(&schema, "key")] } else { vec![] };
        UpdateJoinInput { schema, keys }
    };
    let plain = input(&[], false).schema();
    let both = Schema::new([plain.fields().to_vec(), plain.fields().to_vec()].concat());
    let value = |i: usize| Arc::new(Column::new("value", i)) as Arc<dyn PhysicalExpr>;
    let filter = case.filtered.then(|| binary(value(1), Operator::Lt, value(3), &both).unwrap());
    let null_equality =
        if case.nulls_are_equal { NullEquality::NullEqualsNull } else { NullEquality::NullEqualsNothing };
    let [left, right] = case.weighted.map(side);
    UpdateJoinSpec {
        left,
        right,
        kind: case.kind,
        filter,
        null_equality,
        bounds: None,
        state_ttl_ms: None,
        emit_interval_ms: None,
    }
}

pub(crate) fn routings(factory: &UpdateJoinFactory) -> Vec<Routing> {
    let routing = |exchange| match exchange {
        Exchange::Hash(columns) => Routing::Hash(columns),
        Exchange::Single => Routing::Single,
        Exchange::Forward | Exchange::Broadcast => panic!("rows of one key must meet"),
    };
    factory.exchanges().unwrap().map(routing).to_vec()
}

/// Rows, and how often each is there.
pub(crate) type Counts<T> = BTreeMap<T, i64>;

pub(crate) fn add<T: Ord>(counts: &mut Counts<T>, row: T, weight: i64) {
    let count = counts.entry(row).or_default();
    *count += weight;
}

/// Adds what was emitted.
pub(crate) fn fold(counts: &mut Counts<String>, output: &[RecordBatch]) {
    for batch in output {
        let (rows, weights) = split(batch).unwrap();
        for (at, row) in rheos_testkit::rows(&[rows]).into_iter().enumerate() {
            let weight = weights.as_ref().map_or(1, |w| w.value(at));
            assert_ne!(weight, 0);
            add(counts, row, weight);
        }
    }
    counts.retain(|_, count| *count != 0);
}

/// The join by its definition, of rows that are there as often as is said.
fn join_of(case: &Case, left: &Counts<Row>, right: &Counts<Row>) -> Counts<String> {
    let joins = |a: &Row, b: &Row| {
        let keys = !case.keyed || (a.0 == b.0 && (case.nulls_are_equal || a.0.is_some()));
        keys && (!case.filtered || matches!((a.1, b.1), (Some(x), Some(y)) if x < y))
    };
    let nulls = "null|null";
    let mut out = Counts::new();
    let pairs = matches!(case.kind, JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full);
    for (a, n) in left {
        let partners: Vec<_> = right.iter().filter(|(b, _)| joins(a, b)).collect();
        for (b, m) in partners.iter().filter(|_| pairs) {
            add(&mut out, format!("{}|{}", text(a), text(b)), n * **m);
        }
        match (case.kind, partners.is_empty()) {
            (JoinType::Left | JoinType::Full, true) => add(&mut out, format!("{}|{nulls}", text(a)), *n),
            (JoinType::LeftSemi, false) | (JoinType::LeftAnti, true) => add(&mut out, text(a), *n),
            (JoinType::LeftMark, alone) => add(&mut out, format!("{}|{}", text(a), !alone), *n),
            _ => {}
        }
    }
    for (b, n) in right {
        let alone = !left.keys().any(|a| joins(a, b));
        match (case.kind, alone) {
            (JoinType::Right | JoinType::Full, true) => add(&mut out, format!("{nulls}|{}", text(b)), *n),
            (JoinType::RightSemi, false) | (JoinType::RightAnti, true) => add(&mut out, text(b), *n),
            (JoinType::RightMark, alone) => add(&mut out, format!("{}|{}", text(b), !alone), *n),
            _ => {}
        }
    }
    out
}

/// Rows for an input: a row, how often more or less; the last is brought to 0 at least by the test.
type Step = (usize, Vec<(Row, i64)>);

fn steps() -> impl Strategy<Value = Vec<(Vec<Step>, Option<usize>)>> {
    let row = (prop::option::weighted(0.9, 0..4_u8), prop::option::weighted(0.9, 0..4_i64));
    let change = (row, prop_oneof![3 => Just(1_i64), 3 => Just(-1), 1 => Just(2), 1 => Just(-3)]);
    let step = (0..2_usize, prop::collection::vec(change, 1..12));
    let restart = prop_oneof![3 => Just(None), 1 => (1..4_usize).prop_map(Some)];
    prop::collection::vec((prop::collection::vec(step, 0..6), restart), 1..6)
}

/// What has to be added so that no row is there less than 0 times.
fn missing(there: &Counts<Row>) -> Vec<(Row, i64)> {
    there.iter().filter(|(_, n)| **n < 0).map(|(row, n)| (*row, -n)).collect()
}

proptest! {
    #![proptest_config(rheos_testkit::cases(400))]

    /// At every epoch's end what was emitted adds up to the join of what is there, also after restarts with other parallelism.
    #[test]
    fn what_is_told_adds_up_to_the_join(case in case(), epochs in steps(), workers in 1..4_usize, keeps_state in any::<bool>()) {
        let factory = UpdateJoinFactory::try_new(spec(&case)).unwrap();
        let mut harness = OperatorHarness::new(&factory, workers, routings(&factory));
        let mut there: [Counts<Row>; 2] = Default::default();
        let mut told = Counts::new();
        for (steps, restart) in epochs {
            let send = |harness: &mut OperatorHarness, there: &mut [Counts<Row>; 2], (side, changes): Step| {
                let changes: Vec<_> = changes.into_iter().filter(|c| case.weighted[side] || c.1 > 0)
                    .map(|(row, n)| (row, if case.weighted[side] { n } else { 1 })).collect();
                changes.iter().for_each(|(row, n)| add(&mut there[side], *row, *n));
                harness.batch_to(side, input(&changes, case.weighted[side])).unwrap();
            };
            for step in steps {
                send(&mut harness, &mut there, step);
            }
            for side in [0, 1] {
                let missing = missing(&there[side]);
                send(&mut harness, &mut there, (side, missing));
            }
            if keeps_state || restart.is_some() {
                harness.end_epoch().unwrap();
            } else {
                harness.flush().unwrap();
            }
            there.iter_mut().for_each(|counts| counts.retain(|_, n| *n != 0));
            fold(&mut told, &harness.take_output());
            prop_assert_eq!(&told, &join_of(&case, &there[0], &there[1]));
            if let (Some(workers), true) = (restart, keeps_state) {
                let snapshot = if workers % 2 == 0 { harness.snapshot() } else { harness.snapshot().merged() };
                let stored: usize = ["left", "right"].iter().map(|table| snapshot.stored_rows(table)).sum();
                if workers % 2 == 1 && case.weighted == [true, true] {
                    prop_assert!(stored <= there.iter().map(Counts::len).sum(), "{} rows are stored", stored);
                }
                harness = OperatorHarness::restored(&factory, workers, routings(&factory), snapshot).unwrap();
            }
        }
    }
}

/// By hand: a row that the condition cannot be computed for is one letter while it is there, and joins nothing.
#[test]
fn a_row_that_cannot_be_computed_with_is_told_once() {
    let case =
        Case { kind: JoinType::Left, weighted: [true, true], keyed: true, filtered: false, nulls_are_equal: false };
    let plain = input(&[], false).schema();
    let both = Schema::new([plain.fields().to_vec(), plain.fields().to_vec()].concat());
    let value = |i: usize| Arc::new(Column::new("value", i)) as Arc<dyn PhysicalExpr>;
    let ratio = binary(lit(10_i64), Operator::Divide, value(1), &both).unwrap();
    let filter = Some(binary(ratio, Operator::Gt, value(3), &both).unwrap());
    let strict = UpdateJoinFactory::try_new(UpdateJoinSpec { filter, ..spec(&case) }).unwrap();
    let mut harness = OperatorHarness::new(&strict, 1, routings(&strict));
    harness.batch_to(0, input(&[((Some(1), Some(0)), 1)], true)).unwrap();
    let error = harness.batch_to(1, input(&[((Some(1), Some(1)), 1)], true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User);

    let lenient = strict.lenient("join-1", "t").unwrap();
    let mut harness = OperatorHarness::new(lenient.as_ref(), 1, routings(&strict));
    let mut told = Counts::new();
    harness.batch_to(0, input(&[((Some(1), Some(0)), 1), ((Some(1), Some(5)), 1)], true)).unwrap();
    for value in [1, 2] {
        harness.batch_to(1, input(&[((Some(1), Some(value)), 1)], true)).unwrap();
    }
    harness.end_epoch().unwrap();
    assert_eq!(harness.counter(Counter::DeadLetters), 1);
    fold(&mut told, &harness.take_output());
    let expected = [("k1|0|null|null", 1), ("k1|5|k1|1", 1)].map(|(row, n)| (row.to_string(), n));
    assert_eq!(told, Counts::from(expected));
    harness.batch_to(0, input(&[((Some(1), Some(0)), -1)], true)).unwrap();
    harness.end_epoch().unwrap();
    assert_eq!(harness.counter(Counter::DeadLetters), 1, "a row that goes is no letter");
    fold(&mut told, &harness.take_output());
    assert_eq!(told.keys().collect::<Vec<_>>(), ["k1|5|k1|1"]);
    harness.batch_to(0, input(&[((Some(1), Some(0)), 1)], true)).unwrap();
    assert_eq!(harness.counter(Counter::DeadLetters), 2, "it has come anew");
}

/// By hand: what a row is joined with is counted on while the row is away, if it comes back before the epoch ends.
#[test]
fn a_row_that_goes_and_comes_back_within_an_epoch_keeps_what_it_is_joined_with() {
    let case =
        Case { kind: JoinType::Full, weighted: [true, true], keyed: true, filtered: true, nulls_are_equal: false };
    let factory = UpdateJoinFactory::try_new(spec(&case)).unwrap();
    for away in [0, 1] {
        let mut harness = OperatorHarness::new(&factory, 1, routings(&factory));
        // Left is less than right, so both of the other side join it.
        let row = (Some(1), Some(5));
        let others = [[7, 8], [1, 2]][away].map(|value| (Some(1), Some(value)));
        let mut told = Counts::new();
        let mut epoch = |steps: &[(usize, Row, i64)]| {
            for (side, row, weight) in steps {
                harness.batch_to(*side, input(&[(*row, *weight)], true)).unwrap();
            }
            harness.end_epoch().unwrap();
            fold(&mut told, &harness.take_output());
            told.clone()
        };
        let joined = |other: Row| if away == 0 { [row, other] } else { [other, row] }.map(|r| text(&r)).join("|");
        let alone = if away == 0 { format!("{}|null|null", text(&row)) } else { format!("null|null|{}", text(&row)) };

        assert_eq!(epoch(&[(away, row, 1)]), Counts::from([(alone.clone(), 1)]));
        // What it joins comes while it is away.
        let came = epoch(&[(away, row, -1), (1 - away, others[0], 1), (away, row, 1)]);
        assert_eq!(came, Counts::from([(joined(others[0]), 1)]));
        // One takes the place of the other while it is away.
        let changed = epoch(&[(away, row, -1), (1 - away, others[0], -1), (1 - away, others[1], 1), (away, row, 1)]);
        assert_eq!(changed, Counts::from([(joined(others[1]), 1)]));
        // What it joins goes while it is away.
        let went = epoch(&[(away, row, -1), (1 - away, others[1], -1), (away, row, 1)]);
        assert_eq!(went, Counts::from([(alone, 1)]));
        // It does not come back, and who came meanwhile is alone.
        let left = epoch(&[(away, row, -1), (1 - away, others[0], 1)]);
        assert_eq!(left.values().sum::<i64>(), 1);
        assert!(left.keys().all(|r| r.contains("null|null") && r.contains(&text(&others[0]))), "{left:?}");
    }
}

/// 300 rows of one key meet 200: the product leaves in chunks, and is taken back so.
#[test]
fn a_product_comes_and_goes_in_chunks() {
    let case =
        Case { kind: JoinType::Full, weighted: [true, true], keyed: true, filtered: false, nulls_are_equal: false };
    let factory = UpdateJoinFactory::try_new(spec(&case)).unwrap();
    let mut harness = OperatorHarness::new(&factory, 2, routings(&factory));
    let rows = |n: i64, weight: i64| input(&(0..n).map(|v| ((Some(1), Some(v)), weight)).collect::<Vec<_>>(), true);
    let mut told = Counts::new();
    harness.batch_to(0, rows(300, 1)).unwrap();
    // The harness holds every call to a chunk.
    harness.batch_to(1, rows(200, 2)).unwrap();
    harness.end_epoch().unwrap();
    fold(&mut told, &harness.take_output());
    assert_eq!((told.len(), told.values().sum::<i64>()), (60_000, 120_000));
    harness.batch_to(1, rows(200, -2)).unwrap();
    harness.end_epoch().unwrap();
    fold(&mut told, &harness.take_output());
    assert_eq!((told.len(), told.keys().all(|row| row.ends_with("|null|null"))), (300, true));
    harness.batch_to(0, rows(300, -1)).unwrap();
    harness.end_epoch().unwrap();
    fold(&mut told, &harness.take_output());
    assert!(told.is_empty());
    let stored: usize = ["left", "right"].iter().map(|table| harness.snapshot().merged().stored_rows(table)).sum();
    assert_eq!(stored, 0);
}
