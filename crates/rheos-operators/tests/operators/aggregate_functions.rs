//! Every aggregate function of DataFusion in a sliding window, plain and DISTINCT: one and two stages give what the
//! function's own accumulator gives over all rows of the window at once. For DISTINCT, and for ORDER BY, the rows are
//! reduced and sorted by a naive loop before the accumulator sees them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
    UInt32Array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, SchemaRef, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use datafusion_common::ScalarValue;
use datafusion_functions_aggregate::all_default_aggregate_functions;
use datafusion_physical_expr::aggregate::AggregateExprBuilder;
use datafusion_physical_expr::expressions::lit;
use datafusion_physical_expr::{PhysicalExpr, PhysicalSortExpr};
use rheos_core::window::WindowSpec;
use rheos_operators::{AggregateCall, aggregate_call};
use rheos_testkit::batch_of;

use crate::cases::{column, function, spec};
use crate::pipeline::Pipeline;

const SIZE: i64 = 200;
const SLIDE: i64 = 10;

/// 600 rows in order of time, few different values and some nulls, so that DISTINCT and ties matter.
fn input() -> RecordBatch {
    let rows = 600i64;
    // A fixed sequence without a pattern (Knuth's multiplicative hash).
    let any = |i: i64, salt: i64, n: i64| ((i * 2_654_435_761 + salt * 40_503) >> 7).rem_euclid(n);
    let null = |i: i64, salt: i64| any(i, salt + 100, 11) == 0;
    let ints = |salt, n| (0..rows).map(move |i| (!null(i, salt)).then(|| any(i, salt, n)));
    let floats = |salt, n| ints(salt, n).map(|v| v.map(|v| v as f64 * 0.75 - 4.0));
    let ts: TimestampMicrosecondArray = (0..rows).map(|i| Some(i * 1000)).collect();
    let key: StringArray = (0..rows).map(|i| Some(format!("k{}", any(i, 1, 3)))).collect();
    let s: StringArray = ints(4, 9).map(|v| v.map(|v| format!("s{v}"))).collect();
    let b: BooleanArray = ints(5, 2).map(|v| v.map(|v| v == 1)).collect();
    let d: Decimal128Array = ints(6, 20).map(|v| v.map(|v| i128::from(v) * 101 - 700)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("ts", Arc::new(ts)),
        ("key", Arc::new(key)),
        ("i", Arc::new(ints(2, 12).collect::<Int64Array>())),
        ("f", Arc::new(floats(3, 12).collect::<Float64Array>())),
        ("g", Arc::new(floats(7, 30).collect::<Float64Array>())),
        ("s", Arc::new(s)),
        ("b", Arc::new(b)),
        ("d", Arc::new(d.with_precision_and_scale(10, 2).unwrap())),
        ("w", Arc::new((0..rows).map(|i| Some(1.0 + any(i, 8, 3) as f64)).collect::<Float64Array>())),
        ("n", Arc::new(Int64Array::from_iter_values(0..rows))),
    ];
    batch_of(columns)
}

type Args = Vec<Arc<dyn PhysicalExpr>>;

/// Arguments that are tried; a function takes some of them.
fn argument_lists(schema: &SchemaRef) -> Vec<Args> {
    let c = |name: &str| column(schema, name);
    let mut lists: Vec<Args> = ["i", "f", "s", "b", "d", "ts"].iter().map(|name| vec![c(name)]).collect();
    lists.extend([
        vec![c("f"), c("g")],
        vec![c("i"), c("s")],
        vec![c("f"), lit(0.25f64)],
        vec![c("f"), c("w"), lit(0.75f64)],
        vec![c("s"), lit(",")],
        vec![c("s"), lit(2i64)],
    ]);
    lists
}

/// The rows of each window and key, in order of time.
fn groups(input: &RecordBatch) -> BTreeMap<(i64, String), Vec<u32>> {
    let ts = input.column(0).as_primitive::<TimestampMicrosecondType>();
    let keys = input.column(1).as_string::<i32>();
    let mut groups: BTreeMap<_, Vec<u32>> = BTreeMap::new();
    for row in 0..input.num_rows() {
        let t = ts.value(row) / 1000;
        for start in (t - SIZE + 1..=t).filter(|s| s.rem_euclid(SLIDE) == 0) {
            groups.entry((start, keys.value(row).to_string())).or_default().push(row as u32);
        }
    }
    groups
}

fn evaluate(exprs: &Args, rows: &RecordBatch) -> Vec<ArrayRef> {
    exprs.iter().map(|e| e.evaluate(rows).unwrap().into_array(rows.num_rows()).unwrap()).collect()
}

fn tuple(columns: &[ArrayRef], row: usize) -> Vec<ScalarValue> {
    columns.iter().map(|c| ScalarValue::try_from_array(c, row).unwrap()).collect()
}

/// The function's own accumulator over rows, all at once.
fn own_result(
    name: &str,
    call: &AggregateCall,
    distinct: bool,
    order: &[PhysicalSortExpr],
    rows: &RecordBatch,
) -> ScalarValue {
    let args: Args = call.expr().expressions();
    let mut kept: Vec<u32> = (0..rows.num_rows() as u32).collect();
    let columns = evaluate(&args, rows);
    if distinct {
        let mut seen: Vec<Vec<ScalarValue>> = vec![];
        kept.retain(|row| {
            let tuple = tuple(&columns, *row as usize);
            let new = !seen.contains(&tuple);
            if new {
                seen.push(tuple);
            }
            new
        });
    }
    if !order.is_empty() {
        let by: Args = order.iter().map(|o| Arc::clone(&o.expr)).collect();
        let keys = evaluate(&by, rows);
        // The tests order by columns without nulls; ties go by the arguments, nulls first as PhysicalSortExpr has it.
        kept.sort_by(|a, b| {
            let (a, b) = (*a as usize, *b as usize);
            let first = tuple(&keys, a).partial_cmp(&tuple(&keys, b)).unwrap();
            let first = if order[0].options.descending { first.reverse() } else { first };
            let nulls_first = |row: usize| (!columns[0].is_null(row), tuple(&columns[..1], row));
            first.then_with(|| nulls_first(a).partial_cmp(&nulls_first(b)).unwrap())
        });
    }
    let rows = take_record_batch(rows, &UInt32Array::from(kept)).unwrap();
    let expr =
        AggregateExprBuilder::new(function(name), args.clone()).schema(rows.schema()).alias("own").build().unwrap();
    let mut accumulator = expr.create_accumulator().unwrap();
    accumulator.update_batch(&evaluate(&args, &rows)).unwrap();
    accumulator.evaluate().unwrap()
}

/// What is left of a list, or of a joined string, where the order means nothing: its sorted items, its sorted letters.
fn items(value: &ScalarValue) -> Vec<String> {
    let mut items: Vec<String> = match value {
        ScalarValue::List(list) => {
            let items = list.value(0);
            (0..items.len()).map(|i| ScalarValue::try_from_array(&items, i).unwrap().to_string()).collect()
        }
        other => other.to_string().chars().map(String::from).collect(),
    };
    items.sort();
    items
}

fn assert_same(what: &str, name: &str, unordered: bool, got: &ScalarValue, expected: &ScalarValue) {
    let (Ok(DataType::Float64), ScalarValue::Float64(Some(a)), ScalarValue::Float64(Some(b))) =
        (Ok::<_, ()>(got.data_type()), got, expected)
    else {
        if unordered {
            assert_eq!(items(got), items(expected), "{what}");
        } else {
            assert_eq!(got, expected, "{what}");
        }
        return;
    };
    // Sketches of percentiles merge to nearly the same; all else to the last bits.
    let tolerance = if name.starts_with("approx_") { 1.0 } else { 1e-9 * b.abs().max(1.0) };
    assert!((a - b).abs() <= tolerance || (a.is_nan() && b.is_nan()), "{what}: {a} instead of {b}");
}

/// What the call gives in each window, over one or two stages; sealed at epochs if `epochs`.
fn run(
    call: &AggregateCall,
    input: &RecordBatch,
    two_stages: bool,
    epochs: bool,
) -> BTreeMap<(i64, String), ScalarValue> {
    let window = WindowSpec::try_hop(SLIDE, SIZE, 0).unwrap();
    let spec = spec(&input.schema(), window, &["key"], vec![call.clone()]);
    let mut pipeline = Pipeline::new(&spec, two_stages, 2);
    for from in (0..input.num_rows()).step_by(50) {
        pipeline.batch(input.slice(from, 50)).unwrap();
        pipeline.watermark(from as i64).unwrap();
        if epochs {
            pipeline.end_epoch().unwrap();
        }
    }
    let mut results = BTreeMap::new();
    for batch in pipeline.end().unwrap() {
        let starts = batch.column(2).as_primitive::<TimestampMicrosecondType>();
        for row in 0..batch.num_rows() {
            let key = (starts.value(row) / 1000, batch.column(0).as_string::<i32>().value(row).to_string());
            let value = ScalarValue::try_from_array(batch.column(1), row).unwrap();
            assert!(results.insert(key, value).is_none(), "a window fired twice");
        }
    }
    results
}

fn check(name: &str, call: &AggregateCall, distinct: bool, order: &[PhysicalSortExpr], input: &RecordBatch) {
    let expected: BTreeMap<_, _> = groups(input)
        .into_iter()
        .map(|(group, rows)| {
            let rows = take_record_batch(input, &UInt32Array::from(rows)).unwrap();
            (group, own_result(name, call, distinct, order, &rows))
        })
        .collect();
    let stages: &[bool] = if call.is_order_sensitive() { &[false] } else { &[false, true] };
    for two_stages in stages {
        for epochs in [false, true] {
            let got = run(call, input, *two_stages, epochs);
            assert!(got.keys().eq(expected.keys()), "{call}: the windows");
            for (group, expected) in &expected {
                let what = format!("{call} in {group:?}, two stages {two_stages}, epochs {epochs}");
                let got = &got[group];
                if name == "any_value" {
                    assert_eq!(got.is_null(), expected.is_null(), "{what}");
                } else {
                    assert_same(&what, name, distinct, got, expected);
                }
            }
        }
    }
}

#[test]
fn every_function_plain_and_distinct() {
    let input = input();
    let schema = input.schema();
    for udaf in all_default_aggregate_functions() {
        let name = udaf.name();
        let mut tried = 0;
        for args in argument_lists(&schema) {
            for distinct in [false, true] {
                let Ok(call) = aggregate_call(&udaf, args.clone(), distinct, None, vec![], &schema, false) else {
                    continue;
                };
                // In a distinct set there is no first or second.
                if distinct && ["first_value", "last_value", "nth_value"].contains(&name) {
                    continue;
                }
                tried += 1;
                check(name, &call, distinct, &[], &input);
            }
        }
        // GROUPING is a matter of the planner and has no accumulator.
        let at_least = match name {
            "grouping" => 0,
            "first_value" | "last_value" | "nth_value" => 1,
            _ => 2,
        };
        assert!(tried >= at_least, "{name} took {tried} of the argument lists");
    }
}

#[test]
fn order_by_inside_a_call_with_ties_broken_by_the_argument() {
    let input = input();
    let schema = input.schema();
    for (name, args) in [
        ("first_value", vec![column(&schema, "s")]),
        ("last_value", vec![column(&schema, "f")]),
        ("nth_value", vec![column(&schema, "s"), lit(2i64)]),
        ("array_agg", vec![column(&schema, "i")]),
        ("string_agg", vec![column(&schema, "s"), lit(",")]),
    ] {
        for (by, descending) in [("n", true), ("n", false), ("w", true), ("w", false)] {
            let options = arrow::compute::SortOptions { descending, nulls_first: descending };
            let order = vec![PhysicalSortExpr::new(column(&schema, by), options)];
            let call =
                aggregate_call(&function(name), args.clone(), false, None, order.clone(), &schema, false).unwrap();
            assert!(call.is_order_sensitive());
            check(name, &call, false, &order, &input);
        }
    }
}

#[test]
fn averages_of_integers_are_doubles_and_percentiles_take_within_group() {
    let schema = input().schema();
    let avg =
        aggregate_call(&function("avg"), vec![column(&schema, "i")], false, None, vec![], &schema, false).unwrap();
    assert_eq!(avg.field().data_type(), &DataType::Float64);
    let order = vec![PhysicalSortExpr::new_default(column(&schema, "f"))];
    let args = vec![column(&schema, "f"), lit(0.25f64)];
    let share = aggregate_call(&function("approx_percentile_cont"), args, false, None, order, &schema, false).unwrap();
    assert!(!share.is_order_sensitive(), "the order is part of what it computes, not of how rows come");
    check("approx_percentile_cont", &share, false, &[], &input());
}
