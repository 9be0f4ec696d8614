//! Specs and expressions for the other tests.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_expr::{AggregateUDF, Operator};
use datafusion_functions_aggregate::all_default_aggregate_functions;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{binary, col, lit};
use rheos_core::window::WindowSpec;
use rheos_operators::{
    AggregateCall, AggregateMode, AggregateSpec, AggregateTime, AggregateWindow, WindowAggregateFactory, aggregate_call,
};

pub(crate) fn function(name: &str) -> Arc<AggregateUDF> {
    let all = all_default_aggregate_functions();
    all.into_iter().find(|f| f.name() == name).unwrap_or_else(|| panic!("no function {name}"))
}

pub(crate) fn column(schema: &SchemaRef, name: &str) -> Arc<dyn PhysicalExpr> {
    col(name, schema).unwrap()
}

/// `name(args)` over columns.
pub(crate) fn call(schema: &SchemaRef, name: &str, args: &[&str]) -> AggregateCall {
    let args = args.iter().map(|a| column(schema, a)).collect();
    aggregate_call(&function(name), args, false, None, vec![], schema, false).unwrap()
}

/// `name(DISTINCT args)` over columns.
pub(crate) fn distinct(schema: &SchemaRef, name: &str, args: &[&str]) -> AggregateCall {
    let args = args.iter().map(|a| column(schema, a)).collect();
    aggregate_call(&function(name), args, true, None, vec![], schema, false).unwrap()
}

/// `count(*)`.
pub(crate) fn count_all(schema: &SchemaRef) -> AggregateCall {
    aggregate_call(&function("count"), vec![lit(1i64)], false, None, vec![], schema, false).unwrap()
}

/// `column > value`.
pub(crate) fn greater(schema: &SchemaRef, name: &str, value: i64) -> Arc<dyn PhysicalExpr> {
    binary(column(schema, name), Operator::Gt, lit(value), schema).unwrap()
}

pub(crate) fn spec(
    schema: &SchemaRef,
    window: WindowSpec,
    keys: &[&str],
    aggregates: Vec<AggregateCall>,
) -> AggregateSpec {
    AggregateSpec {
        input: Arc::clone(schema),
        window: AggregateWindow::Assign(window),
        time: schema.index_of("ts").ok().map(AggregateTime::Event),
        keys: keys.iter().map(|k| (column(schema, k), k.to_string())).collect(),
        aggregates,
    }
}

pub(crate) fn factory(spec: &AggregateSpec, mode: AggregateMode) -> WindowAggregateFactory {
    WindowAggregateFactory::try_new(spec.clone(), mode).unwrap()
}
