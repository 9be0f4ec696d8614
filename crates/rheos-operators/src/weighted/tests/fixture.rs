//! Rows and calls.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, DurationMicrosecondArray, Float64Array, Int64Array, ListArray,
    StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion_expr::{AggregateUDF, Operator};
use datafusion_functions_aggregate::all_default_aggregate_functions;
use datafusion_physical_expr::expressions::{binary, col, lit};
use datafusion_physical_expr::{PhysicalExpr, PhysicalSortExpr};
use rheos_testkit::batch_of;

use crate::aggregate::decimal_average;
use crate::{AggregateCall, aggregate_call};

/// 40 rows with few different values and some nulls.
pub(super) fn pool() -> RecordBatch {
    let any = |i: i64, salt: i64, n: i64| ((i * 2_654_435_761 + salt * 40_503) >> 7).rem_euclid(n);
    let ints = |salt, n| (0..40).map(move |i| (any(i, salt + 100, 7) != 0).then(|| any(i, salt, n)));
    let floats = |salt, n| ints(salt, n).map(|v| v.map(|v| v as f64 * 0.7 - 4.0));
    let decimals = |salt, by: i128| ints(salt, 20).map(move |v| v.map(|v| i128::from(v) * by - 7));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i", Arc::new(ints(2, 8).collect::<Int64Array>())),
        ("j", Arc::new(ints(9, 6).map(|v| v.map(|v| v - 3)).collect::<Int64Array>())),
        ("u", Arc::new(ints(10, 6).map(|v| v.map(|v| v as u64)).collect::<UInt64Array>())),
        ("f", Arc::new(floats(3, 12).collect::<Float64Array>())),
        ("g", Arc::new(floats(7, 30).collect::<Float64Array>())),
        ("s", Arc::new(ints(4, 9).map(|v| v.map(|v| format!("s{v}"))).collect::<StringArray>())),
        ("b", Arc::new(ints(5, 2).map(|v| v.map(|v| v == 1)).collect::<BooleanArray>())),
        ("d", Arc::new(decimals(6, 101).collect::<Decimal128Array>().with_precision_and_scale(10, 2).unwrap())),
        ("e", Arc::new(decimals(8, 1 << 70).collect::<Decimal128Array>().with_precision_and_scale(28, 3).unwrap())),
        ("ts", Arc::new(ints(11, 9).map(|v| v.map(|v| v * 1_000_000)).collect::<TimestampMicrosecondArray>())),
        ("dur", Arc::new(ints(12, 9).map(|v| v.map(|v| v * 777)).collect::<DurationMicrosecondArray>())),
        (
            "l",
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(
                ints(13, 4).map(|v| v.map(|v| (0..v).map(Some).collect::<Vec<_>>())),
            )),
        ),
        ("w", Arc::new((0..40).map(|i| Some(1.0 + any(i, 14, 3) as f64)).collect::<Float64Array>())),
        ("n", Arc::new(Int64Array::from_iter_values((0..40).map(|i| any(i, 15, 10))))),
    ];
    batch_of(columns)
}

type Args = Vec<Arc<dyn PhysicalExpr>>;

pub(super) fn function(name: &str) -> Arc<AggregateUDF> {
    let all = all_default_aggregate_functions();
    decimal_average::replace(all.into_iter().find(|f| f.name() == name).unwrap_or_else(|| panic!("no function {name}")))
}

/// Arguments that are tried; a function takes some of them.
fn argument_lists(schema: &SchemaRef) -> Vec<Args> {
    let c = |name: &str| col(name, schema).unwrap();
    let single = ["i", "u", "f", "s", "b", "d", "e", "ts", "dur", "l"];
    let mut lists: Vec<Args> = single.iter().map(|name| vec![c(name)]).collect();
    lists.extend([
        vec![lit(1i64)],
        vec![c("f"), c("g")],
        vec![c("i"), c("s")],
        vec![c("f"), lit(0.25f64)],
        vec![c("f"), c("w"), lit(0.75f64)],
        vec![c("s"), lit(",")],
        vec![c("s"), lit(2i64)],
    ]);
    lists
}

/// All functions with all arguments that they take, plain and DISTINCT, every third with a filter; those with an order too.
pub(super) fn all_calls(retracts: bool) -> Vec<AggregateCall> {
    let schema = pool().schema();
    let filter = || binary(col("n", &schema).unwrap(), Operator::Gt, lit(3i64), &schema).unwrap();
    let mut calls = vec![];
    for udaf in all_default_aggregate_functions() {
        let udaf = decimal_average::replace(udaf);
        for args in argument_lists(&schema) {
            for distinct in [false, true] {
                let filter = (calls.len() % 3 == 2).then(filter);
                let by_arrival = ["first_value", "last_value", "nth_value"].contains(&udaf.name());
                if by_arrival && (retracts || distinct) {
                    continue;
                }
                calls.extend(aggregate_call(&udaf, args.clone(), distinct, filter, vec![], &schema, false).ok());
            }
        }
    }
    for (name, args) in [
        ("first_value", vec!["s"]),
        ("last_value", vec!["f"]),
        ("first_value", vec!["n"]),
        ("array_agg", vec!["i"]),
        ("nth_value", vec!["s"]),
        ("string_agg", vec!["s"]),
    ] {
        calls.extend([false, true].map(|descending| ordered(&schema, name, &args, descending, false)));
        calls.push(ordered(&schema, name, &args, true, name.ends_with("t_value")));
    }
    calls
}

/// `name(args ORDER BY n)`, the order said twice.
fn ordered(schema: &SchemaRef, name: &str, args: &[&str], descending: bool, ignore_nulls: bool) -> AggregateCall {
    let mut args: Args = args.iter().map(|name| col(name, schema).unwrap()).collect();
    args.extend((name == "nth_value").then(|| lit(2i64)));
    args.extend((name == "string_agg").then(|| lit(",")));
    let options = arrow::compute::SortOptions { descending, nulls_first: descending };
    let by = PhysicalSortExpr::new(col("n", schema).unwrap(), options);
    aggregate_call(&function(name), args, false, None, vec![by.clone(), by], schema, ignore_nulls).unwrap()
}

/// A dozen calls as queries have them: the same values with several filters, and all that is not recomputed.
pub(super) fn calls_like_nexmark(retracts: bool) -> Vec<AggregateCall> {
    let schema = pool().schema();
    let greater = |n: i64| binary(col("n", &schema).unwrap(), Operator::Gt, lit(n), &schema).unwrap();
    let call = |name: &str, arg: &str, distinct: bool, filter: Option<i64>| {
        let args = if arg == "*" { vec![lit(1i64)] } else { vec![col(arg, &schema).unwrap()] };
        aggregate_call(&function(name), args, distinct, filter.map(greater), vec![], &schema, false).unwrap()
    };
    let mut calls = vec![
        call("count", "*", false, None),
        call("count", "*", false, Some(5)),
        call("count", "i", true, None),
        call("count", "i", true, Some(2)),
        call("count", "i", true, Some(5)),
        call("sum", "i", true, Some(5)),
        call("avg", "i", false, None),
        call("avg", "d", true, None),
        call("sum", "f", false, Some(2)),
        call("min", "f", false, None),
        call("max", "s", false, Some(5)),
        call("max", "i", false, None),
        call("median", "i", false, Some(5)),
        ordered(&schema, "last_value", &["s"], true, false),
    ];
    calls.extend((!retracts).then(|| call("first_value", "s", false, None)));
    calls
}
