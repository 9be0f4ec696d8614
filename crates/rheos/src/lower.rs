//! Streams to the job graph, the way SQL goes there: only used columns are read, aggregates run locally first.
//!
//! ```text
//!   source(only used columns) ─ filter ─ project ─► partial ══ hash on keys ══► final ─► sink
//! ```
//!
//! Two passes: [`Lowering::require_all`] goes from the sinks to the sources and notes which columns each needs,
//! [`Lowering::build`] comes back and adds nodes. A step that two streams share is known by its address and built once.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion_common::DFSchema;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::expr::NullTreatment;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{Expr, Operator};
use datafusion_optimizer::analyzer::type_coercion::TypeCoercionRewriter;
use datafusion_physical_expr::expressions::BinaryExpr;
use datafusion_physical_expr::{PhysicalExpr, PhysicalSortExpr, create_physical_expr};
use rheos_core::connector::ConnectorRegistry;
use rheos_core::error::{Error, Result, did_you_mean};
use rheos_core::graph::{Edge, Exchange, JobGraph, NodeId, NodeKind};
use rheos_core::operator::Port;
use rheos_core::sink::Sink;
use rheos_core::source::{Boundedness, Source, WatermarkSpec};
use rheos_core::window::WindowSpec;
use rheos_operators::{AggregateCall, AggregateSpec, AggregateTime, AggregateWindow, aggregate_call, plan};

use crate::stream::{Step, Stream};
use crate::table::Table;

/// A step that is in the graph.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    node: NodeId,
    pub(crate) schema: SchemaRef,
    /// The column of the event time.
    time: Option<usize>,
}

/// Streams on their way into a graph.
pub(crate) struct Lowering<'a> {
    registry: &'a ConnectorRegistry,
    graph: JobGraph,
    /// Columns that a source's readers use; `None`: all.
    required: HashMap<*const Step, Option<BTreeSet<String>>>,
    built: HashMap<*const Step, Built>,
}

impl<'a> Lowering<'a> {
    pub(crate) fn new(registry: &'a ConnectorRegistry) -> Self {
        Self { registry, graph: JobGraph::default(), required: HashMap::new(), built: HashMap::new() }
    }

    /// Notes that all columns of a stream are used.
    pub(crate) fn require_all(&mut self, stream: &Stream) {
        self.require(stream, None);
    }

    fn require(&mut self, stream: &Stream, columns: Option<BTreeSet<String>>) {
        match &*stream.step {
            Step::Table(_) | Step::Source { .. } => {
                let noted = self.required.entry(Arc::as_ptr(&stream.step)).or_insert_with(|| Some(BTreeSet::new()));
                *noted = match (noted.take(), columns) {
                    (Some(a), Some(b)) => Some(a.into_iter().chain(b).collect()),
                    _ => None,
                };
            }
            Step::Filter { input, predicate } => {
                self.require(input, columns.map(|c| c.into_iter().chain(names_of([predicate])).collect()));
            }
            Step::Select { input, exprs } => self.require(input, Some(names_of(exprs))),
            // By position, so a column that one reader does not use must stay for the others.
            Step::Union(inputs) => inputs.iter().for_each(|input| self.require(input, None)),
            Step::Aggregate { input, keys, aggregates, .. } => {
                self.require(input, Some(keys.iter().cloned().chain(names_of(aggregates)).collect()));
            }
        }
    }

    /// Adds a stream's steps to the graph.
    pub(crate) fn build(&mut self, stream: &Stream) -> Result<Built> {
        let step = Arc::as_ptr(&stream.step);
        if let Some(built) = self.built.get(&step) {
            return Ok(built.clone());
        }
        let built = match &*stream.step {
            Step::Table(table) => {
                let (source, watermark) = table.to_source(self.registry)?;
                self.source(step, source, watermark)?
            }
            Step::Source { source, watermark } => self.source(step, Arc::clone(source), watermark.clone())?,
            Step::Filter { input, predicate } => {
                let input = self.build(input)?;
                let predicate = Scope::try_new(&input.schema)?.physical(predicate)?;
                let node = plan::filter(&mut self.graph, input.node, predicate)?;
                self.at(node, input.time)
            }
            Step::Select { input, exprs } => {
                let input = self.build(input)?;
                self.select(&input, exprs)?
            }
            Step::Union(inputs) => {
                let inputs = inputs.iter().map(|i| self.build(i)).collect::<Result<Vec<_>>>()?;
                self.union(&inputs)?
            }
            Step::Aggregate { input, keys, window, aggregates } => {
                let input = self.build(input)?;
                self.aggregate(&input, keys, window.clone()?, aggregates)?
            }
        };
        self.built.insert(step, built.clone());
        Ok(built)
    }

    fn source(
        &mut self,
        step: *const Step,
        source: Arc<dyn Source>,
        watermark: Option<WatermarkSpec>,
    ) -> Result<Built> {
        let schema = source.schema();
        let needed = self.required.get(&step).cloned().flatten();
        let used = |i: usize, name: &String| {
            needed.as_ref().is_none_or(|n| n.contains(name)) || watermark.as_ref().is_some_and(|w| w.column == i)
        };
        let mut columns: Vec<usize> =
            schema.fields().iter().enumerate().filter(|(i, f)| used(*i, f.name())).map(|(i, _)| i).collect();
        if columns.is_empty() && !schema.fields().is_empty() {
            // count(*) alone: rows are counted on some column.
            columns.push(0);
        }
        let source = if columns.len() == schema.fields().len() { source } else { source.project(&columns)? };
        let place = |old: usize| columns.iter().position(|c| *c == old);
        let watermark = watermark.map(|w| WatermarkSpec { column: place(w.column).unwrap_or(w.column), ..w });
        let time = watermark.as_ref().map(|w| w.column);
        let node = self.graph.add("source", NodeKind::Source { source, watermark }, vec![]);
        Ok(self.at(node, time))
    }

    fn select(&mut self, input: &Built, exprs: &[Expr]) -> Result<Built> {
        let scope = Scope::try_new(&input.schema)?;
        let mut outputs = Vec::with_capacity(exprs.len());
        let mut time = None;
        for (i, expr) in exprs.iter().enumerate() {
            let (name, expr) = unalias(expr);
            if let Expr::Column(column) = expr
                && input.time.is_some_and(|t| input.schema.field(t).name() == &column.name)
            {
                time = Some(i);
            }
            outputs.push((scope.physical(expr)?, name));
        }
        let (node, schema) = plan::project(&mut self.graph, input.node, outputs)?;
        Ok(Built { node, schema, time })
    }

    fn union(&mut self, inputs: &[Built]) -> Result<Built> {
        let types = |b: &Built| b.schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<DataType>>();
        if let Some(other) = inputs.iter().find(|b| types(b) != types(&inputs[0])) {
            let message = format!("union of streams with the types {:?} and {:?}", types(&inputs[0]), types(other));
            return Err(Error::invalid(514, message).with_hint("bring both to the same columns with select()"));
        }
        let time = inputs[0].time.filter(|t| inputs.iter().all(|b| b.time == Some(*t)));
        let node =
            self.graph.add("union", NodeKind::Union, inputs.iter().map(|b| edge(b, Exchange::Forward)).collect());
        Ok(self.at(node, time))
    }

    fn aggregate(&mut self, input: &Built, keys: &[String], window: WindowSpec, aggregates: &[Expr]) -> Result<Built> {
        let windowed = window != WindowSpec::Global;
        if windowed && input.time.is_none() {
            return Err(Error::invalid(515, "a window needs an event time, and this stream has none").with_hint(
                "give the source a watermark: Table::watermark(\"ts\", \"5 s\"), and keep its column in select()",
            ));
        }
        if !windowed && boundedness(&self.graph) == Boundedness::Unbounded {
            return Err(Error::invalid(516, "an aggregate without a window over a source that does not end")
                .with_hint("put .window(Tumble::of(\"1 min\")) before .aggregate(..)"));
        }
        let scope = Scope::try_new(&input.schema)?;
        let key_expr = |name: &String| Ok((scope.physical(&datafusion_expr::ident(name))?, name.clone()));
        let spec = AggregateSpec {
            input: Arc::clone(&input.schema),
            window: AggregateWindow::Assign(window),
            time: input.time.filter(|_| windowed).map(AggregateTime::Event),
            keys: keys.iter().map(key_expr).collect::<Result<Vec<_>>>()?,
            aggregates: aggregates.iter().map(|a| scope.aggregate(a)).collect::<Result<Vec<_>>>()?,
        };
        let columns = keys.iter().map(|k| input.schema.index_of(k)).collect::<Result<_, _>>()?;
        let (node, schema) = plan::aggregate(&mut self.graph, input.node, spec, columns)?;
        let time = schema.index_of("window_time").ok().filter(|_| windowed);
        Ok(Built { node, schema, time })
    }

    /// Ends a stream in a sink that takes its rows as they are.
    pub(crate) fn add_sink(&mut self, input: &Built, sink: Arc<dyn Sink>) {
        let exchange = if sink.single_writer() { Exchange::Single } else { Exchange::Forward };
        self.graph.add("sink", NodeKind::Sink(sink), vec![edge(input, exchange)]);
    }

    /// Ends a stream in a table, with casts to the table's types.
    pub(crate) fn add_table_sink(&mut self, input: &Built, table: &Table) -> Result<()> {
        let sink = table.to_sink(self.registry, &input.schema)?;
        let (from, to) = (input.schema.fields(), sink.schema());
        if from.len() != to.fields().len() {
            let message = format!("the stream has {} columns, the table {}", from.len(), to.fields().len());
            return Err(Error::invalid(517, message).with_hint("make them equal with select()"));
        }
        let same = from.iter().zip(to.fields()).all(|(a, b)| a.data_type() == b.data_type());
        if same {
            self.add_sink(input, sink);
            return Ok(());
        }
        let cast = |(from, to): (&Arc<arrow::datatypes::Field>, &Arc<arrow::datatypes::Field>)| {
            let column = datafusion_expr::ident(from.name());
            if from.data_type() == to.data_type() {
                return column.alias(to.name());
            }
            datafusion_expr::cast(column, to.data_type().clone()).alias(to.name())
        };
        let exprs: Vec<Expr> = from.iter().zip(to.fields()).map(cast).collect();
        let cast = self.select(input, &exprs)?;
        self.add_sink(&cast, sink);
        Ok(())
    }

    pub(crate) fn into_graph(self) -> JobGraph {
        self.graph
    }

    fn at(&self, node: NodeId, time: Option<usize>) -> Built {
        Built { node, schema: Arc::clone(&self.graph.node(node).schema), time }
    }
}

fn edge(from: &Built, exchange: Exchange) -> Edge {
    Edge { from: from.node, port: Port::MAIN, exchange }
}

/// Whether every source of a graph ends.
pub(crate) fn boundedness(graph: &JobGraph) -> Boundedness {
    let endless = |kind: &NodeKind| matches!(kind, NodeKind::Source { source, .. } if source.boundedness() == Boundedness::Unbounded);
    let any = graph.nodes().iter().any(|n| endless(&n.kind));
    if any { Boundedness::Unbounded } else { Boundedness::Bounded }
}

/// The columns that expressions can name.
struct Scope {
    schema: SchemaRef,
    named: DFSchema,
    props: ExecutionProps,
}

impl Scope {
    fn try_new(schema: &SchemaRef) -> Result<Self> {
        let named = DFSchema::try_from(Schema::clone(schema)).map_err(refused)?;
        Ok(Self { schema: Arc::clone(schema), named, props: ExecutionProps::new() })
    }

    fn physical(&self, expr: &Expr) -> Result<Arc<dyn PhysicalExpr>> {
        self.plan(&self.coerced(expr)?)
    }

    fn plan(&self, expr: &Expr) -> Result<Arc<dyn PhysicalExpr>> {
        let context = PhysicalPlanningContext::default();
        let physical = create_physical_expr(expr, &self.named, &self.props, &context).map_err(refused)?;
        physical.transform_up(|e| Ok(checked(e))).data().map_err(refused)
    }

    fn aggregate(&self, expr: &Expr) -> Result<AggregateCall> {
        let expr = self.coerced(expr)?;
        let (name, inner) = unalias(&expr);
        let Expr::AggregateFunction(call) = inner else {
            return Err(Error::invalid(518, format!("'{name}' is no aggregate function")).with_hint(
                "use count, sum or another of rheos::functions::aggregate; compute with their results in select()",
            ));
        };
        let physical = |e: &Expr| self.plan(e);
        let args = call.params.args.iter().map(physical).collect::<Result<Vec<_>>>()?;
        let filter = call.params.filter.as_deref().map(physical).transpose()?;
        let order = call.params.order_by.iter().map(|sort| {
            let options = SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first };
            Ok(PhysicalSortExpr { expr: physical(&sort.expr)?, options })
        });
        let order = order.collect::<Result<Vec<_>>>()?;
        let ignore_nulls = call.params.null_treatment == Some(NullTreatment::IgnoreNulls);
        let call = aggregate_call(&call.func, args, call.params.distinct, filter, order, &self.schema, ignore_nulls)?;
        Ok(call.named(name))
    }

    /// Checks the columns, and makes the types of operands agree as SQL does.
    fn coerced(&self, expr: &Expr) -> Result<Expr> {
        for name in names_of([expr]) {
            if self.schema.field_with_name(&name).is_err() {
                let known: Vec<&str> = self.schema.fields().iter().map(|f| f.name().as_str()).collect();
                let list = format!("the columns are: {}", known.join(", "));
                return Err(Error::invalid(519, format!("there is no column '{name}'")).with_hint(did_you_mean(
                    &name,
                    known.iter().copied(),
                    &list,
                )));
            }
        }
        expr.clone().rewrite(&mut TypeCoercionRewriter::new(&self.named)).data().map_err(refused)
    }
}

/// Integer arithmetic fails where the result does not fit, instead of wrapping around: as in SQL.
fn checked(expr: Arc<dyn PhysicalExpr>) -> Transformed<Arc<dyn PhysicalExpr>> {
    match expr.downcast_ref::<BinaryExpr>() {
        Some(binary) if matches!(binary.op(), Operator::Plus | Operator::Minus | Operator::Multiply) => {
            Transformed::yes(Arc::new(BinaryExpr::clone(binary).with_fail_on_overflow(true)))
        }
        _ => Transformed::no(expr),
    }
}

fn refused(error: datafusion_common::DataFusionError) -> Error {
    Error::invalid(520, error.strip_backtrace())
        .with_hint("check the types of the columns and of the functions' arguments")
}

fn names_of<'e>(exprs: impl IntoIterator<Item = &'e Expr>) -> BTreeSet<String> {
    exprs.into_iter().flat_map(|e| e.column_refs()).map(|c| c.name.clone()).collect()
}

/// The name that an expression has in the output, and the expression below its aliases.
fn unalias(expr: &Expr) -> (String, &Expr) {
    let mut inner = expr;
    while let Expr::Alias(alias) = inner {
        inner = &alias.expr;
    }
    let name = match expr {
        Expr::Alias(alias) => alias.name.clone(),
        Expr::Column(column) => column.name.clone(),
        other => other.schema_name().to_string(),
    };
    (name, inner)
}
