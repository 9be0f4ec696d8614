//! Operators as nodes of a job graph, each with the exchange that it needs: the one place that knows how they are made.
//! SQL and the Rust API both build their graphs with it.
//!
//! ```text
//!   filter, project, assign_windows     input ──► node
//!   aggregate                           input ──► partial ══ hash(keys) ══► final     (or: input ══ hash(keys) ══► single)
//!   sort, limit                         input ══ single ══► node
//!   assign_sessions, rank               input ══ hash(keys) ══► node
//!   window_join                         two inputs, each ══ hash(keys) ══► node
//!   broadcast_join                      two inputs, the one with few rows ══ broadcast ══► node
//!   update_join                         two inputs, each ══ hash(keys) ══► node
//!   multi_join                          two inputs and more, each ══ hash(keys) ══► node
//!   update_rank, keep_first             input ══ hash(keys) ══► node
//!   materialise                         input ══ hash(keys) ══► node
//!   set_operation                       two inputs, each ══ hash(all columns) ══► node
//!   group_aggregate                     input ══ hash(keys) ══► node
//!   union                               inputs ──► node; where some have weights, the others get 1
//! ```
//!
//! Invariant: an expression is over the columns of its input node, `graph.node(input).schema`. Rows with weights keep them, in
//! the last column, which no caller names. Errors, of all of them: `Invalid` for an expression or a column that does not fit those.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_common::ScalarValue;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_physical_expr::expressions::{Column, Literal};
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion_physical_expr_common::physical_expr::is_volatile;
use rheos_core::change::{WEIGHT, has_weights, width};
use rheos_core::graph::{Edge, Exchange, JobGraph, NodeId, NodeKind};
use rheos_core::window::WindowSpec;
use rheos_core::{Error, OperatorFactory, Port, Result};

use crate::evaluation::plan_error;
use crate::{
    AggregateMode, AggregateSpec, AggregateWindow, AssignSessionsFactory, AssignWindowsFactory, BroadcastJoinFactory,
    BroadcastJoinSpec, FilterFactory, GroupAggregateFactory, GroupAggregateSpec, GroupEmits, KeepFirstFactory,
    KeepFirstSpec, KeyedChanges, LatePort, LateRowsFactory, LimitFactory, MaterialiseFactory, MaterialiseSpec,
    MultiJoinFactory, MultiJoinSpec, ProjectFactory, RankFunction, SetOperation, SetOperationFactory, SetOperationSpec,
    SortFactory, SortKey, SortLimit, Tells, UnnestFactory, UnnestSpec, UpdateJoinFactory, UpdateJoinSpec,
    UpdateRankFactory, UpdateRankSpec, WindowAggregateFactory, WindowJoinFactory, WindowJoinSpec, WindowRankFactory,
    WindowRankSpec,
};

/// `WHERE`: the rows for which the predicate is true.
pub fn filter(graph: &mut JobGraph, input: NodeId, predicate: Arc<dyn PhysicalExpr>) -> Result<NodeId> {
    check_repeatable(graph, input, [&predicate])?;
    let factory = FilterFactory::try_new(schema(graph, input), predicate)?;
    let node = stateless(graph, "filter", factory, input);
    graph.set_key(node, graph.node(input).key.clone());
    Ok(node)
}

/// `SELECT`: one column an expression, with its name.
pub fn project(
    graph: &mut JobGraph,
    input: NodeId,
    mut columns: Vec<(Arc<dyn PhysicalExpr>, String)>,
) -> Result<(NodeId, SchemaRef)> {
    check_repeatable(graph, input, columns.iter().map(|(expr, _)| expr))?;
    let rows = schema(graph, input);
    let place = |at: &usize| columns.iter().position(|(expr, _)| column_index(expr) == Some(*at));
    let key = graph.node(input).key.as_ref().and_then(|key| key.iter().map(place).collect());
    if has_weights(&rows) {
        let at = width(&rows);
        columns.push((Arc::new(Column::new(WEIGHT, at)), WEIGHT.into()));
    }
    let factory = ProjectFactory::try_new(rows, columns)?;
    let node = stateless(graph, "project", factory, input);
    graph.set_key(node, key);
    Ok((node, schema(graph, node)))
}

/// The rows of all inputs, whose columns are alike. Where rows of one change, those of the others have the weight 1.
pub fn union(graph: &mut JobGraph, inputs: Vec<NodeId>) -> Result<NodeId> {
    let changes = inputs.iter().any(|input| has_weights(&graph.node(*input).schema));
    let mut edges = vec![];
    for input in inputs {
        let rows = schema(graph, input);
        if !changes || has_weights(&rows) {
            edges.push(edge(input, Exchange::Forward));
            continue;
        }
        let columns = rows.fields().iter().enumerate();
        let columns =
            columns.map(|(at, f)| (Arc::new(Column::new(f.name(), at)) as Arc<dyn PhysicalExpr>, f.name().clone()));
        let once: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(ScalarValue::Int64(Some(1))));
        let factory = ProjectFactory::try_new(Arc::clone(&rows), columns.chain([(once, WEIGHT.into())]).collect())?;
        edges.push(edge(stateless(graph, "project", factory, input), Exchange::Forward));
    }
    Ok(graph.add("union", NodeKind::Union, edges))
}

/// An aggregate whose results change as rows come: behind the exchange by the keys; without keys all rows go to one worker.
///
/// `key_columns` are the places of the spec's keys in the input, in their order. Shape: see [`GroupAggregateFactory`].
pub fn group_aggregate(
    graph: &mut JobGraph,
    input: NodeId,
    mut spec: GroupAggregateSpec,
    key_columns: Vec<usize>,
) -> Result<(NodeId, SchemaRef)> {
    let calls = spec.aggregates.iter().flat_map(|call| call.inputs().into_iter().chain(call.filter().cloned()));
    let exprs: Vec<_> = calls.chain(spec.keys.iter().map(|(expr, _)| Arc::clone(expr))).collect();
    check_repeatable(graph, input, &exprs)?;
    spec.state_ttl_ms = graph.state_ttl_ms();
    let (name, key) = (spec.emits.name(), (0..spec.keys.len()).collect());
    let key = (spec.emits != GroupEmits::RowsAtEnd).then_some(key);
    let factory = GroupAggregateFactory::try_new(spec)?;
    let node = stateful(graph, name, factory, input, by(key_columns));
    graph.set_key(node, key);
    Ok((node, schema(graph, node)))
}

/// The rows that are there when the input ends, each as often as it is there, without weights.
pub fn at_end(graph: &mut JobGraph, input: NodeId) -> Result<(NodeId, SchemaRef)> {
    let rows = schema(graph, input);
    let column = |at: usize| Arc::new(Column::new(rows.field(at).name(), at)) as Arc<dyn PhysicalExpr>;
    let columns: Vec<_> = (0..width(&rows)).collect();
    let keys = columns.iter().map(|at| (column(*at), rows.field(*at).name().clone())).collect();
    let spec = GroupAggregateSpec::new(Arc::clone(&rows), keys, vec![], GroupEmits::RowsAtEnd);
    group_aggregate(graph, input, spec, columns)
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
    let key = graph.node(input).key.clone();
    // A row in many windows needs credit of its own for its copies.
    let node = match window {
        WindowSpec::Tumble { .. } => stateless(graph, name, factory, input),
        _ => stateful(graph, name, factory, input, Exchange::Forward),
    };
    let first = matches!(window, WindowSpec::Tumble { .. }).then_some(key).flatten();
    graph.set_key(node, first);
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
    check_append(graph, input, "late")?;
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
    check_append(graph, input, "session")?;
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
    inputs.iter().try_for_each(|input| check_append(graph, *input, name))?;
    let factory = WindowJoinFactory::try_new(spec)?;
    let exchanges = factory.exchanges().ok_or_else(|| Error::internal("a join key is no column"))?;
    let edges = inputs.into_iter().zip(exchanges).map(|(from, exchange)| edge(from, exchange)).collect();
    let node = graph.add(name, NodeKind::Stateful(Arc::new(factory)), edges);
    Ok((node, schema(graph, node)))
}

/// A join of bounded inputs without windows, of which one has few rows; `None`: it must be made in another way.
pub fn broadcast_join(
    graph: &mut JobGraph,
    inputs: [NodeId; 2],
    spec: BroadcastJoinSpec,
) -> Result<Option<(NodeId, SchemaRef)>> {
    inputs.iter().try_for_each(|input| check_append(graph, *input, "join"))?;
    let Some(factory) = BroadcastJoinFactory::try_new(spec)? else { return Ok(None) };
    let edges = inputs.into_iter().zip(factory.exchanges()).map(|(from, exchange)| edge(from, exchange)).collect();
    let node = graph.add("join", NodeKind::Stateful(Arc::new(factory)), edges);
    Ok(Some((node, schema(graph, node))))
}

/// A join of inputs that need not end, with or without weights. Its results change with them.
///
/// Errors: `Internal` for a key that is no plain column, since rows are exchanged by columns.
pub fn update_join(graph: &mut JobGraph, inputs: [NodeId; 2], mut spec: UpdateJoinSpec) -> Result<(NodeId, SchemaRef)> {
    spec.state_ttl_ms = graph.state_ttl_ms();
    inputs.iter().try_for_each(|input| check_repeatable(graph, *input, spec.filter.iter()))?;
    let known = inputs.map(|input| graph.node(input).key.clone());
    let factory = UpdateJoinFactory::try_new(spec)?;
    let key = factory.key(known);
    let exchanges = factory.exchanges().ok_or_else(|| Error::internal("a join key is no column"))?;
    let edges = inputs.into_iter().zip(exchanges).map(|(from, exchange)| edge(from, exchange)).collect();
    let node = graph.add("join", NodeKind::Stateful(Arc::new(factory)), edges);
    graph.set_key(node, key);
    Ok((node, schema(graph, node)))
}

/// An inner join of several inputs by one key, with or without weights. Its results change with them.
pub fn multi_join(graph: &mut JobGraph, inputs: Vec<NodeId>, mut spec: MultiJoinSpec) -> Result<(NodeId, SchemaRef)> {
    spec.state_ttl_ms = graph.state_ttl_ms();
    let known: Vec<_> = inputs.iter().map(|input| graph.node(*input).key.clone()).collect();
    let factory = MultiJoinFactory::try_new(spec)?;
    let key = factory.key(&known);
    let edges = inputs.into_iter().zip(factory.exchanges()).map(|(from, exchange)| edge(from, exchange)).collect();
    let node = graph.add("join", NodeKind::Stateful(Arc::new(factory)), edges);
    graph.set_key(node, key);
    Ok((node, schema(graph, node)))
}

/// The input's rows with their number in their partition.
///
/// Errors: `Internal` for a partition that is no plain column, since rows are exchanged by columns.
pub fn rank(graph: &mut JobGraph, input: NodeId, spec: WindowRankSpec) -> Result<(NodeId, SchemaRef)> {
    let name = if spec.limit.is_some() { "top-n" } else { "rank" };
    check_append(graph, input, name)?;
    let factory = WindowRankFactory::try_new(spec)?;
    let exchange = factory.exchange().ok_or_else(|| Error::internal("a partition is no column"))?;
    let node = stateful(graph, name, factory, input, exchange);
    Ok((node, schema(graph, node)))
}

/// The ranks of rows that change, or that come for ever. Behind the exchange by the partition; without one all rows go to one worker.
pub fn update_rank(graph: &mut JobGraph, input: NodeId, mut spec: UpdateRankSpec) -> Result<(NodeId, SchemaRef)> {
    check_repeatable(graph, input, spec.order_by.iter().map(|key| &key.expr))?;
    let name = match spec.tells {
        Tells::TheLast => "final-top-n",
        Tells::Changes if spec.limit.is_some() => "changing-top-n",
        Tells::Changes => "changing-rank",
    };
    spec.state_ttl_ms = graph.state_ttl_ms().filter(|_| spec.tells == Tells::Changes);
    let key = rank_key(&spec, graph.node(input).key.as_ref());
    let factory = UpdateRankFactory::try_new(spec)?;
    let exchange = factory.exchange();
    let node = stateful(graph, name, factory, input, exchange);
    graph.set_key(node, key);
    Ok((node, schema(graph, node)))
}

/// The first row that comes with each key. Behind the exchange by the key; without one all rows go to one worker.
pub fn keep_first(graph: &mut JobGraph, input: NodeId, mut spec: KeepFirstSpec) -> Result<(NodeId, SchemaRef)> {
    check_append(graph, input, "keep-first")?;
    spec.state_ttl_ms = graph.state_ttl_ms();
    let key = spec.key.clone();
    let factory = KeepFirstFactory::try_new(spec)?;
    let exchange = factory.exchange();
    let node = stateful(graph, "keep-first", factory, input, exchange);
    graph.set_key(node, Some(key));
    Ok((node, schema(graph, node)))
}

/// What no two rows of a partition have in common: all of it, if there is one row; what none of the input had; the number of the row.
fn rank_key(spec: &UpdateRankSpec, input: Option<&Vec<usize>>) -> Option<Vec<usize>> {
    let is_numbered = spec.function == RankFunction::RowNumber;
    if is_numbered && spec.limit == Some(1) {
        return Some(spec.partition_by.clone());
    }
    let number = (spec.name.is_some() && is_numbered).then(|| width(&spec.input));
    input.cloned().or_else(|| Some(spec.partition_by.iter().copied().chain([number?]).collect()))
}

/// `INTERSECT [ALL]` and `EXCEPT [ALL]` of two inputs of the same columns. Equal rows meet.
pub fn set_operation(
    graph: &mut JobGraph,
    inputs: [NodeId; 2],
    mut spec: SetOperationSpec,
) -> Result<(NodeId, SchemaRef)> {
    spec.state_ttl_ms = graph.state_ttl_ms();
    let is_distinct = matches!(spec.operation, SetOperation::Intersect | SetOperation::Except);
    let all_columns = (0..width(&graph.node(inputs[0]).schema)).collect();
    let factory = SetOperationFactory::try_new(spec)?;
    let columns = |from: NodeId| by((0..width(&graph.node(from).schema)).collect());
    let edges = inputs.into_iter().map(|from| edge(from, columns(from))).collect();
    let node = graph.add("set-operation", NodeKind::Stateful(Arc::new(factory)), edges);
    graph.set_key(node, is_distinct.then_some(all_columns));
    Ok((node, schema(graph, node)))
}

/// One row a key of rows that replace each other, or that come and go. Behind the exchange by the key.
pub fn materialise(graph: &mut JobGraph, input: NodeId, mut spec: MaterialiseSpec) -> Result<(NodeId, SchemaRef)> {
    spec.state_ttl_ms = graph.state_ttl_ms();
    let key = spec.key.clone();
    let name = match spec.changes {
        KeyedChanges::Replace => "materialise",
        KeyedChanges::Pair => "pair",
    };
    let factory = MaterialiseFactory::try_new(spec)?;
    let exchange = factory.exchange();
    let node = stateful(graph, name, factory, input, exchange);
    graph.set_key(node, Some(key));
    Ok((node, schema(graph, node)))
}

/// Lists become rows. With credit of its own, since one row can become many.
pub fn unnest(graph: &mut JobGraph, input: NodeId, spec: UnnestSpec) -> Result<(NodeId, SchemaRef)> {
    check_append(graph, input, "unnest")?;
    let node = stateful(graph, "unnest", UnnestFactory::try_new(spec)?, input, Exchange::Forward);
    Ok((node, schema(graph, node)))
}

/// `ORDER BY`, and how many of the rows are kept; of bounded input.
pub fn sort(graph: &mut JobGraph, input: NodeId, keys: Vec<SortKey>, limit: Option<SortLimit>) -> Result<NodeId> {
    check_append(graph, input, "sort")?;
    let factory = SortFactory::try_new(schema(graph, input), keys, limit)?;
    Ok(stateful(graph, "sort", factory, input, Exchange::Single))
}

/// `LIMIT` and `OFFSET` without an order.
pub fn limit(graph: &mut JobGraph, input: NodeId, skip: usize, fetch: Option<usize>) -> Result<NodeId> {
    check_append(graph, input, "limit")?;
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
    check_append(graph, input, name)?;
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

/// These operators would take a row that goes for one that comes. Errors: `Internal` where the planner lets one pass.
fn check_append(graph: &JobGraph, input: NodeId, name: &str) -> Result<()> {
    match has_weights(&graph.node(input).schema) {
        true => Err(Error::internal(format!("rows that change reach the step '{name}'"))),
        false => Ok(()),
    }
}

/// What gives another value at each call would not take back what it gave: the row that goes would not be the one that came.
fn check_repeatable<'a>(
    graph: &JobGraph,
    input: NodeId,
    exprs: impl IntoIterator<Item = &'a Arc<dyn PhysicalExpr>>,
) -> Result<()> {
    if !has_weights(&graph.node(input).schema) {
        return Ok(());
    }
    let Some(expr) = exprs.into_iter().find(|expr| is_volatile(expr)) else { return Ok(()) };
    let mut name = None;
    let walked = expr.apply(|part| {
        let call = part.downcast_ref::<ScalarFunctionExpr>().filter(|_| part.is_volatile_node() && name.is_none());
        name = name.take().or_else(|| call.map(|call| call.name().to_string()));
        Ok(TreeNodeRecursion::Continue)
    });
    walked.map_err(plan_error)?;
    let what = format!("{}() over rows that change", name.unwrap_or_else(|| expr.to_string()));
    let why = "it gives another value when a row goes than it gave when the row came";
    Err(Error::invalid(702, format!("{what} is not supported: {why}"))
        .with_hint("call it where rows are only added: before the GROUP BY, join or top-N whose results change"))
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

fn column_index(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expr.downcast_ref::<Column>().map(Column::index)
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
