//! UNNEST against the definition, and by hand.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, FixedSizeListArray, Int64Array, Int64Builder, LargeListArray, ListArray, ListBuilder, MapBuilder,
    StringBuilder, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Int64Type};
use arrow::record_batch::RecordBatch;
use datafusion_common::NullHandling;
use proptest::prelude::*;
use rheos_core::{ErrorKind, OperatorFactory};
use rheos_operators::{UnnestFactory, UnnestOutput, UnnestSpec};
use rheos_testkit::{OperatorHarness, Routing, batch, batch_of};

type List = Option<Vec<Option<i64>>>;
type Lists = Option<Vec<List>>;

fn list(values: &[List]) -> ArrayRef {
    Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(values.iter().cloned()))
}

fn lists(values: &[Lists]) -> ArrayRef {
    let mut builder = ListBuilder::new(ListBuilder::new(Int64Builder::new()));
    for outer in values {
        for inner in outer.iter().flatten() {
            for item in inner.iter().flatten() {
                builder.values().values().append_option(*item);
            }
            builder.values().append(inner.is_some());
        }
        builder.append(outer.is_some());
    }
    Arc::new(builder.finish())
}

fn item(column: usize, depth: usize, name: &str) -> UnnestOutput {
    UnnestOutput::List { column, depth, name: name.into() }
}

fn run(input: &RecordBatch, outputs: Vec<UnnestOutput>, null_handling: NullHandling, ordinality: bool) -> Vec<String> {
    let ordinality = ordinality.then(|| "n".to_string());
    let factory = UnnestFactory::try_new(UnnestSpec { input: input.schema(), outputs, null_handling, ordinality });
    let mut harness = OperatorHarness::new(&factory.unwrap(), 1, Routing::Single);
    harness.batch(input.clone()).unwrap();
    harness.take_rows()
}

/// A value of any depth.
#[derive(Debug, Clone)]
enum Value {
    Null,
    Int(i64),
    List(Vec<Value>),
}

impl From<&List> for Value {
    fn from(list: &List) -> Self {
        let item = |i: &Option<i64>| i.map_or(Value::Null, Value::Int);
        list.as_ref().map_or(Value::Null, |items| Value::List(items.iter().map(item).collect()))
    }
}

impl From<&Lists> for Value {
    fn from(lists: &Lists) -> Self {
        lists.as_ref().map_or(Value::Null, |items| Value::List(items.iter().map(Value::from).collect()))
    }
}

/// One level after the other, from the deepest: the lists of that depth, and what is left of deeper ones, are zipped.
fn expand(values: &[(Value, usize)], level: usize, nulls: NullHandling) -> Vec<Vec<Value>> {
    if level == 0 {
        return vec![values.iter().map(|(value, _)| value.clone()).collect()];
    }
    let len = |value: &Value| match value {
        Value::List(items) if items.is_empty() => usize::from(nulls == NullHandling::PreserveAndExpandEmpty),
        Value::List(items) => items.len(),
        _ => usize::from(nulls != NullHandling::Drop),
    };
    let longest = values.iter().filter(|(_, depth)| *depth >= level).map(|(value, _)| len(value)).max().unwrap_or(0);
    let mut out = vec![];
    for i in 0..longest {
        let step = |(value, depth): &(Value, usize)| match value {
            _ if *depth < level => (value.clone(), *depth),
            Value::List(items) => (items.get(i).cloned().unwrap_or(Value::Null), *depth),
            _ => (Value::Null, *depth),
        };
        out.extend(expand(&values.iter().map(step).collect::<Vec<_>>(), level - 1, nulls));
    }
    out
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Int(i) => i.to_string(),
        Value::List(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(", ")),
    }
}

fn handling() -> impl Strategy<Value = NullHandling> {
    prop_oneof![Just(NullHandling::Drop), Just(NullHandling::Preserve), Just(NullHandling::PreserveAndExpandEmpty)]
}

fn any_list(len: usize) -> impl Strategy<Value = List> {
    prop::option::weighted(0.85, prop::collection::vec(prop::option::weighted(0.9, 0i64..100), 0..len))
}

proptest! {
    #![proptest_config(rheos_testkit::cases(200))]

    #[test]
    fn lists_against_the_definition(
        input in prop::collection::vec((any_list(6), any_list(4), prop::option::weighted(0.85, prop::collection::vec(any_list(4), 0..4))), 1..40),
        depths in prop::sample::subsequence(vec![0usize, 1, 2, 3], 1..4),
        nulls in handling(),
        skip in 0usize..10,
    ) {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..input.len() as i64));
        let (a, b, c): (Vec<_>, Vec<_>, Vec<_>) = columns(&input);
        let batch = batch_of(vec![("id", ids), ("a", list(&a)), ("b", list(&b)), ("c", lists(&c))]);
        // A slice: offsets do not begin at 0.
        let skip = skip.min(input.len() - 1);
        let batch = batch.slice(skip, input.len() - skip);
        let all = [item(1, 1, "a"), item(2, 1, "b"), item(3, 1, "c1"), item(3, 2, "c2")];
        let mut outputs = vec![UnnestOutput::Column(0)];
        outputs.extend(depths.iter().map(|i| all[*i].clone()));
        let mut expected = vec![];
        for (id, (a, b, c)) in input.iter().enumerate().skip(skip) {
            let all = [(Value::from(a), 1), (Value::from(b), 1), (Value::from(c), 1), (Value::from(c), 2)];
            let values: Vec<_> = depths.iter().map(|i| all[*i].clone()).collect();
            let deepest = values.iter().map(|(_, depth)| *depth).max().unwrap();
            for row in expand(&values, deepest, nulls) {
                let row: Vec<_> = row.iter().map(text).collect();
                expected.push(format!("{id}|{}", row.join("|")));
            }
        }
        prop_assert_eq!(run(&batch, outputs, nulls, false), expected);
    }
}

type Row = (List, List, Lists);

fn columns(rows: &[Row]) -> (Vec<List>, Vec<List>, Vec<Lists>) {
    let (mut a, mut b, mut c) = (vec![], vec![], vec![]);
    for row in rows {
        a.push(row.0.clone());
        b.push(row.1.clone());
        c.push(row.2.clone());
    }
    (a, b, c)
}

#[test]
fn null_and_empty_lists_by_hand() {
    let some = |items: &[i64]| Some(items.iter().copied().map(Some).collect::<Vec<_>>());
    let tags = list(&[some(&[1, 2]), None, some(&[]), Some(vec![Some(3), None])]);
    let ids = batch! { "id": Utf8["A", "B", "D", "E"] };
    let input = batch_of(vec![("id", Arc::clone(ids.column(0))), ("tags", tags)]);
    let outputs = || vec![UnnestOutput::Column(0), item(1, 1, "tag")];
    let cases: [(NullHandling, &[&str]); 3] = [
        (NullHandling::Drop, &["A|1|1", "A|2|2", "E|3|1", "E|null|2"]),
        (NullHandling::Preserve, &["A|1|1", "A|2|2", "B|null|null", "E|3|1", "E|null|2"]),
        (NullHandling::PreserveAndExpandEmpty, &["A|1|1", "A|2|2", "B|null|null", "D|null|null", "E|3|1", "E|null|2"]),
    ];
    for (nulls, expected) in cases {
        assert_eq!(run(&input, outputs(), nulls, true), expected, "{nulls:?}");
    }
}

/// The answer is DuckDB's (`select unnest(i, recursive := true), unnest(j)`).
#[test]
fn lists_of_different_depth_align_at_the_innermost() {
    let inner = |items: [i64; 2]| Some(items.map(Some).to_vec());
    let i = lists(&[Some(vec![inner([1, 2]), inner([3, 4]), inner([5, 6]), inner([7, 8])])]);
    let input = batch_of(vec![("i", i), ("j", list(&[inner([1, 2])]))]);
    let got = run(&input, vec![item(0, 2, "i"), item(1, 1, "j")], NullHandling::Preserve, true);
    assert_eq!(got, ["1|1|1", "2|2|2", "3|1|3", "4|2|4", "5|1|5", "6|2|6", "7|1|7", "8|2|8"]);
}

#[test]
fn one_row_becomes_many_chunks() {
    let long: List = Some((0..30_000).map(Some).collect());
    let short: List = Some(vec![Some(-1)]);
    let input = batch_of(vec![("a", list(&[short.clone(), long])), ("b", list(&[None, short]))]);
    let got = run(&input, vec![item(0, 1, "a"), item(1, 1, "b")], NullHandling::Drop, true);
    assert_eq!(got.len(), 30_001);
    assert_eq!(got[..3], ["-1|null|1", "0|-1|1", "1|null|2"]);
    assert_eq!(got[30_000], "29999|null|30000");
}

#[test]
fn a_wide_row_is_not_repeated_thousands_of_times_in_one_chunk() {
    let wide: ArrayRef = Arc::new(arrow::array::StringArray::from(vec!["x".repeat(100_000)]));
    let input = batch_of(vec![("wide", wide), ("a", list(&[Some((0..100).map(Some).collect())]))]);
    let spec = UnnestSpec {
        input: input.schema(),
        outputs: vec![UnnestOutput::Column(0), item(1, 1, "a")],
        null_handling: NullHandling::Drop,
        ordinality: None,
    };
    let mut harness = OperatorHarness::new(&UnnestFactory::try_new(spec).unwrap(), 1, Routing::Single);
    harness.batch(input).unwrap();
    let output = harness.take_output();
    assert_eq!(output.iter().map(RecordBatch::num_rows).sum::<usize>(), 100);
    assert!(output.iter().all(|chunk| chunk.num_rows() <= 10), "a chunk is about 1 MiB");
}

#[test]
fn other_kinds_of_lists() {
    let rows_of =
        |array: ArrayRef| run(&batch_of(vec![("a", array)]), vec![item(0, 1, "item")], NullHandling::Preserve, false);
    let values = vec![Some(vec![Some(1), None]), None, Some(vec![Some(2), Some(3)])];
    let large = LargeListArray::from_iter_primitive::<Int64Type, _, _>(values.clone());
    assert_eq!(rows_of(Arc::new(large)), ["1", "null", "null", "2", "3"]);
    let fixed: ArrayRef = Arc::new(FixedSizeListArray::from_iter_primitive::<Int64Type, _, _>(values, 2));
    assert_eq!(rows_of(Arc::clone(&fixed)), ["1", "null", "null", "2", "3"]);
    assert_eq!(rows_of(fixed.slice(1, 2)), ["null", "2", "3"]);
}

#[test]
fn maps_and_structs() {
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for entries in [Some(vec![("a", 1), ("b", 2)]), None, Some(vec![]), Some(vec![("c", 3)])] {
        for (key, value) in entries.iter().flatten() {
            maps.keys().append_value(key);
            maps.values().append_value(*value);
        }
        maps.append(entries.is_some()).unwrap();
    }
    let x: ArrayRef = Arc::new(Int64Array::from(vec![10, 20, 30, 40]));
    let fields = vec![Field::new("x", DataType::Int64, false)].into();
    // The third struct is null, whatever lies under it.
    let nulls = NullBuffer::from(vec![true, true, false, true]);
    let structs: ArrayRef = Arc::new(StructArray::new(fields, vec![x], Some(nulls)));
    let input = batch_of(vec![("m", Arc::new(maps.finish()) as ArrayRef), ("s", structs)]);
    let outputs = vec![
        UnnestOutput::Map { column: 0, key: "k".into(), value: "v".into() },
        UnnestOutput::Struct { column: 1, names: vec!["s.x".into()] },
    ];
    assert_eq!(run(&input, outputs.clone(), NullHandling::Drop, false), ["a|1|10", "b|2|10", "c|3|40"]);
    let got = run(&input, outputs.clone(), NullHandling::PreserveAndExpandEmpty, true);
    assert_eq!(got, ["a|1|10|1", "b|2|10|2", "null|null|20|null", "null|null|null|null", "c|3|40|1"]);
    // Structs alone: a row stays a row.
    assert_eq!(run(&input, outputs[1..].to_vec(), NullHandling::Drop, true), ["10|1", "20|1", "null|1", "40|1"]);
    let schema = UnnestFactory::try_new(UnnestSpec {
        input: input.schema(),
        outputs,
        null_handling: NullHandling::Drop,
        ordinality: Some("n".into()),
    });
    let schema = schema.unwrap().schema();
    let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["k", "v", "s.x", "n"]);
    assert!(schema.fields().iter().all(|f| f.is_nullable()));
}

#[test]
fn what_is_no_list_is_refused() {
    let input = batch! { "x": Int64[1] };
    for (output, kind) in [
        (item(0, 1, "y"), ErrorKind::Invalid),
        (UnnestOutput::Map { column: 0, key: "k".into(), value: "v".into() }, ErrorKind::Invalid),
        (UnnestOutput::Struct { column: 0, names: vec![] }, ErrorKind::Invalid),
        (item(1, 1, "y"), ErrorKind::Internal),
    ] {
        let spec = UnnestSpec {
            input: input.schema(),
            outputs: vec![output],
            null_handling: NullHandling::Drop,
            ordinality: None,
        };
        assert_eq!(UnnestFactory::try_new(spec).unwrap_err().kind(), kind);
    }
}
