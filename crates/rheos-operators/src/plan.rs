//! Operators as nodes of a job graph, each with the exchange that it needs: the one place that knows how they are made.
//! SQL and the Rust API both build their graphs with it.
//!
//! ```text
//!   filter, project, assign_windows     input ──► node
//!   aggregate                           input ──► partial ══ hash(keys) ══► final     (or: input ══ hash(keys) ══► single)
//!   sort, limit                         input ══ single ══► node
//!   assign_sessions, rank               input ══ hash(keys) ══► node
//!   window_join                         two inputs, each ══ hash(keys) ══► node
//!   update_rank, materialise            input ══ hash(keys) ══► node
//!   set_operation                       two inputs, each ══ hash(all columns) ══► node
//! ```
//!
//! Invariant: an expression is over the columns of its input node, `graph.node(input).schema`. Errors, of all of them:
//! `Invalid` for an expression or a column that does not fit those.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use rheos_core::change::width;
use rheos_core::graph::{Edge, Exchange, JobGraph, NodeId, NodeKind};
use rheos_core::window::WindowSpec;
use rheos_core::{Error, OperatorFactory, Port, Result};

use crate::{
    AggregateMode, AggregateSpec, AggregateWindow, AssignSessionsFactory, AssignWindowsFactory, FilterFactory,
    KeyedChanges, LatePort, LateRowsFactory, LimitFactory, MaterialiseFactory, MaterialiseSpec, ProjectFactory,
    SetOperationFactory, SetOperationSpec, SortFactory, SortKey, SortLimit, UnnestFactory, UnnestSpec,
    UpdateRankFactory, UpdateRankSpec, WindowAggregateFactory, WindowJoinFactory, WindowJoinSpec, WindowRankFactory,
    WindowRankSpec,
};

/// `WHERE`: the rows for which the predicate is true.
pub fn filter(graph: &mut JobGraph, input: NodeId, predicate: Arc<dyn PhysicalExpr>) -> Result<NodeId> {
    let factory = FilterFactory::try_new(schema(graph, input), predicate)?;
    Ok(stateless(graph, "filter", factory, input))
}

/// `SELECT`: one column an expression, with its name.
pub fn project(
    graph: &mut JobGraph,
    input: NodeId,
    columns: Vec<(Arc<dyn PhysicalExpr>, String)>,
) -> Result<(NodeId, SchemaRef)> {
    let factory = ProjectFactory::try_new(schema(graph, input), columns)?;
    let node = stateless(graph, "project", factory, input);
    Ok((node, schema(graph, node)))
}

/// One row for each window that a row is in. Shape: the input's columns, then the window's three.
pub fn assign_windows(
    graph: &mut JobGraph,
    input: NodeId,
    time: usize,
    window: WindowSpec,
) -> Result<(NodeId, SchemaRef)> {
    let factory = AssignWindowsFactory::try_new(schema(graph, input), time, window)?;
    let name = window_name(AggregateWindow::Assign(window));
    // A row in many windows needs credit of its own for its copies.
    let node = match window {
        WindowSpec::Tumble { .. } => stateless(graph, name, factory, input),
        _ => stateful(graph, name, factory, input, Exchange::Forward),
    };
    Ok((node, schema(graph, node)))
}

/// The rows that are in time for windows that are the same for all rows; the others leave by [`Port::LATE`].
pub fn late_rows(
    graph: &mut JobGraph,
    input: NodeId,
    time: usize,
    window: WindowSpec,
    port: LatePort,
) -> Result<NodeId> {
    let factory = LateRowsFactory::try_new(schema(graph, input), time, window, port)?;
    Ok(stateful(graph, "late", factory, input, Exchange::Forward))
}

/// One row for each row, with its session. `keys`: the columns that the rows of a session agree in. `late`: late rows leave
/// by [`Port::LATE`] and are not only counted.
pub fn assign_sessions(
    graph: &mut JobGraph,
    input: NodeId,
    time: usize,
    window: WindowSpec,
    keys: Vec<usize>,
    late: Option<LatePort>,
) -> Result<(NodeId, SchemaRef)> {
    let rows = schema(graph, input);
    let column = |at: &usize| Arc::new(Column::new(rows.field(*at).name(), *at)) as Arc<dyn PhysicalExpr>;
    let factory = AssignSessionsFactory::try_new(Arc::clone(&rows), time, keys.iter().map(column).collect(), window)?;
    let factory = factory.with_late(late);
    let node = stateful(graph, "session", factory, input, by(keys));
    Ok((node, schema(graph, node)))
}

/// Rows of two inputs that are in one window, or of two bounded inputs.
///
/// Errors: `Internal` for a key that is no plain column, since rows are exchanged by columns.
pub fn window_join(graph: &mut JobGraph, inputs: [NodeId; 2], spec: WindowJoinSpec) -> Result<(NodeId, SchemaRef)> {
    let name = if spec.left.window.is_some() { "window-join" } else { "join" };
    let factory = WindowJoinFactory::try_new(spec)?;
    let exchanges = factory.exchanges().ok_or_else(|| Error::internal("a join key is no column"))?;
    let edges = inputs.into_iter().zip(exchanges).map(|(from, exchange)| edge(from, exchange)).collect();
    let node = graph.add(name, NodeKind::Stateful(Arc::new(factory)), edges);
    Ok((node, schema(graph, node)))
}

/// The input's rows with their number in their partition.
///
/// Errors: `Internal` for a partition that is no plain column, since rows are exchanged by columns.
pub fn rank(graph: &mut JobGraph, input: NodeId, spec: WindowRankSpec) -> Result<(NodeId, SchemaRef)> {
    let name = if spec.limit.is_some() { "top-n" } else { "rank" };
    let factory = WindowRankFactory::try_new(spec)?;
    let exchange = factory.exchange().ok_or_else(|| Error::internal("a partition is no column"))?;
    let node = stateful(graph, name, factory, input, exchange);
    Ok((node, schema(graph, node)))
}

/// The ranks of rows that change, or that come for ever. Behind the exchange by the partition; without one all rows go to one worker.
pub fn update_rank(graph: &mut JobGraph, input: NodeId, spec: UpdateRankSpec) -> Result<(NodeId, SchemaRef)> {
    let name = if spec.limit.is_some() { "changing-top-n" } else { "changing-rank" };
    let factory = UpdateRankFactory::try_new(spec)?;
    let exchange = factory.exchange();
    let node = stateful(graph, name, factory, input, exchange);
    Ok((node, schema(graph, node)))
}

/// `INTERSECT [ALL]` and `EXCEPT [ALL]` of two inputs of the same columns. Equal rows meet.
pub fn set_operation(graph: &mut JobGraph, inputs: [NodeId; 2], spec: SetOperationSpec) -> Result<(NodeId, SchemaRef)> {
    let factory = SetOperationFactory::try_new(spec)?;
    let columns = |from: NodeId| by((0..width(&graph.node(from).schema)).collect());
    let edges = inputs.into_iter().map(|from| edge(from, columns(from))).collect();
    let node = graph.add("set-operation", NodeKind::Stateful(Arc::new(factory)), edges);
    Ok((node, schema(graph, node)))
}

/// One row a key of rows that replace each other, or that come and go. Behind the exchange by the key.
pub fn materialise(graph: &mut JobGraph, input: NodeId, spec: MaterialiseSpec) -> Result<(NodeId, SchemaRef)> {
    let name = match spec.changes {
        KeyedChanges::Replace => "materialise",
        KeyedChanges::Pair => "pair",
    };
    let factory = MaterialiseFactory::try_new(spec)?;
    let exchange = factory.exchange();
    let node = stateful(graph, name, factory, input, exchange);
    Ok((node, schema(graph, node)))
}

/// Lists become rows. With credit of its own, since one row can become many.
pub fn unnest(graph: &mut JobGraph, input: NodeId, spec: UnnestSpec) -> Result<(NodeId, SchemaRef)> {
    let node = stateful(graph, "unnest", UnnestFactory::try_new(spec)?, input, Exchange::Forward);
    Ok((node, schema(graph, node)))
}

/// `ORDER BY`, and how many of the rows are kept; of bounded input.
pub fn sort(graph: &mut JobGraph, input: NodeId, keys: Vec<SortKey>, limit: Option<SortLimit>) -> Result<NodeId> {
    let factory = SortFactory::try_new(schema(graph, input), keys, limit)?;
    Ok(stateful(graph, "sort", factory, input, Exchange::Single))
}

/// `LIMIT` and `OFFSET` without an order.
pub fn limit(graph: &mut JobGraph, input: NodeId, skip: usize, fetch: Option<usize>) -> Result<NodeId> {
    let factory = LimitFactory::try_new(schema(graph, input), skip, fetch)?;
    Ok(stateful(graph, "limit", factory, input, Exchange::Single))
}

/// An aggregate: local and final part around the exchange where its functions allow it, else behind the exchange only.
///
/// `key_columns` are the places of the spec's keys in the input, in their order; without keys all rows go to one worker.
/// Shape: keys, aggregates, and the three window columns unless the window is global.
pub fn aggregate(
    graph: &mut JobGraph,
    input: NodeId,
    spec: AggregateSpec,
    key_columns: Vec<usize>,
) -> Result<(NodeId, SchemaRef)> {
    let name = window_name(spec.window);
    let node = if spec.supports_partial() {
        let partial = WindowAggregateFactory::try_new(spec.clone(), AggregateMode::Partial)?;
        let columns = partial.exchange_columns();
        let partial = stateful(graph, &format!("partial-{name}"), partial, input, Exchange::Forward);
        let last = WindowAggregateFactory::try_new(spec, AggregateMode::Final)?;
        stateful(graph, name, last, partial, by(columns))
    } else {
        let single = WindowAggregateFactory::try_new(spec, AggregateMode::Single)?;
        stateful(graph, name, single, input, by(key_columns))
    };
    Ok((node, schema(graph, node)))
}

fn by(columns: Vec<usize>) -> Exchange {
    if columns.is_empty() { Exchange::Single } else { Exchange::Hash(columns) }
}

fn window_name(window: AggregateWindow) -> &'static str {
    match window {
        AggregateWindow::Assign(WindowSpec::Tumble { .. }) => "tumble",
        AggregateWindow::Assign(WindowSpec::Hop { .. }) => "hop",
        AggregateWindow::Assign(WindowSpec::Cumulate { .. }) => "cumulate",
        AggregateWindow::Assign(WindowSpec::Session { .. }) => "session",
        AggregateWindow::Assign(WindowSpec::Global) => "aggregate",
        AggregateWindow::Columns { .. } => "window-aggregate",
    }
}

fn schema(graph: &JobGraph, node: NodeId) -> SchemaRef {
    Arc::clone(&graph.node(node).schema)
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

fn edge(from: NodeId, exchange: Exchange) -> Edge {
    Edge { from, port: Port::MAIN, exchange }
}
