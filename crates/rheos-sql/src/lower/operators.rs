//! The one place that knows how operators are made: everything above it speaks of nodes and schemas.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;
use rheos_core::error::Result;
use rheos_core::graph::{Exchange, JobGraph, NodeKind};
use rheos_core::window::WindowSpec;
use rheos_core::{NodeId, OperatorFactory};
use rheos_operators::{
    AggregateMode, AggregateSpec, AggregateWindow, AssignWindowsFactory, FilterFactory, LimitFactory, ProjectFactory,
    SortFactory, SortKey, SortLimit, WindowAggregateFactory,
};

use super::edge;

pub(super) fn filter(
    graph: &mut JobGraph,
    input: NodeId,
    schema: &SchemaRef,
    predicate: Arc<dyn PhysicalExpr>,
) -> Result<NodeId> {
    let factory = FilterFactory::try_new(Arc::clone(schema), predicate)?;
    Ok(stateless(graph, "filter", factory, input))
}

pub(super) fn project(
    graph: &mut JobGraph,
    input: NodeId,
    schema: &SchemaRef,
    columns: Vec<(Arc<dyn PhysicalExpr>, String)>,
) -> Result<(NodeId, SchemaRef)> {
    let factory = ProjectFactory::try_new(Arc::clone(schema), columns)?;
    let schema = factory.schema();
    Ok((stateless(graph, "project", factory, input), schema))
}

pub(super) fn assign_windows(
    graph: &mut JobGraph,
    input: NodeId,
    schema: &SchemaRef,
    time: usize,
    window: WindowSpec,
) -> Result<(NodeId, SchemaRef)> {
    let factory = AssignWindowsFactory::try_new(Arc::clone(schema), time, window)?;
    let schema = factory.schema();
    Ok((stateless(graph, window_name(AggregateWindow::Assign(window)), factory, input), schema))
}

pub(super) fn sort(
    graph: &mut JobGraph,
    input: NodeId,
    schema: &SchemaRef,
    keys: Vec<SortKey>,
    limit: Option<SortLimit>,
) -> Result<NodeId> {
    let factory = SortFactory::try_new(Arc::clone(schema), keys, limit)?;
    Ok(stateful(graph, "sort", factory, input, Exchange::Single))
}

pub(super) fn limit(
    graph: &mut JobGraph,
    input: NodeId,
    schema: &SchemaRef,
    skip: usize,
    fetch: Option<usize>,
) -> Result<NodeId> {
    let factory = LimitFactory::try_new(Arc::clone(schema), skip, fetch)?;
    Ok(stateful(graph, "limit", factory, input, Exchange::Single))
}

/// An aggregate: local and final part around the exchange where its functions allow it, else behind the exchange only.
///
/// Every key is a column of the input. Shape: keys, aggregates, and the three window columns unless the window is global.
pub(super) fn aggregate(
    graph: &mut JobGraph,
    input: NodeId,
    spec: AggregateSpec,
    key_columns: Vec<usize>,
) -> Result<(NodeId, SchemaRef)> {
    let name = window_name(spec.window);
    let keys = key_columns.len();
    let by = |columns: Vec<usize>| if columns.is_empty() { Exchange::Single } else { Exchange::Hash(columns) };
    if !spec.supports_partial() {
        let factory = WindowAggregateFactory::try_new(spec, AggregateMode::Single)?;
        let schema = factory.schema();
        return Ok((stateful(graph, name, factory, input, by(key_columns)), schema));
    }
    let partial = WindowAggregateFactory::try_new(spec.clone(), AggregateMode::Partial)?;
    let local = stateful(graph, &format!("partial-{name}"), partial, input, Exchange::Forward);
    let last = WindowAggregateFactory::try_new(spec, AggregateMode::Final)?;
    let schema = last.schema();
    // A partial row is: slice, keys, states.
    Ok((stateful(graph, name, last, local, by((1..=keys).collect())), schema))
}

fn window_name(window: AggregateWindow) -> &'static str {
    match window {
        AggregateWindow::Assign(WindowSpec::Tumble { .. }) => "tumble",
        AggregateWindow::Assign(WindowSpec::Hop { .. }) => "hop",
        AggregateWindow::Assign(WindowSpec::Global) => "aggregate",
        AggregateWindow::Columns { .. } => "window-aggregate",
    }
}

fn stateless(graph: &mut JobGraph, name: &str, factory: impl OperatorFactory + 'static, input: NodeId) -> NodeId {
    graph.add(name, NodeKind::Stateless(Arc::new(factory)), vec![edge(input, Exchange::Forward)])
}

fn stateful(
    graph: &mut JobGraph,
    name: &str,
    factory: impl OperatorFactory + 'static,
    input: NodeId,
    exchange: Exchange,
) -> NodeId {
    graph.add(name, NodeKind::Stateful(Arc::new(factory)), vec![edge(input, exchange)])
}
