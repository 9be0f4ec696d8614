//! Logical plans to one job graph.
//!
//! ```text
//!   all plans ──► columns used of each table ──► one source a table ──► each plan's operators ──► sinks
//! ```
//!
//! What several queries, or several parts of one, compute alike is computed once: see [`shared`].
//!
//! Invariant: what cannot be answered on the given input is refused here by its name; nothing is answered wrongly.

mod aggregate;
mod broadcast_join;
mod changes;
mod fields_used;
mod grouping;
mod guards;
mod join;
mod keyed_table;
mod late;
mod lenient;
mod multi_join;
mod not_null;
mod rank;
mod rows;
mod scan;
mod set_operation;
mod shared;
mod stream;
mod time_bounds;
mod unnest;
mod update_join;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DFSchema, DataFusionError};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::{Distinct, Expr, LogicalPlan};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{Column as PhysicalColumn, cast};
use rheos_core::error::{Error, Result, Span};
use rheos_core::graph::{Edge, Exchange, JobGraph, Naming, NodeKind};
use rheos_core::letters::ERRORS_SUFFIX;
use rheos_core::sink::Sink;
use rheos_core::source::Boundedness;
use rheos_core::{NodeId, Port};
use rheos_operators::plan;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::catalog::{Catalog, scanned_table};
use crate::diagnose;
use crate::event_time;
use crate::sets::SetNode;
use crate::settings::Emit;
use crate::side::errors_of;
use crate::tokens::{Tokens, place, whole};
use crate::windows::{self, WindowColumn, WindowNode};
use fields_used::ColumnsUsed;
pub(crate) use fields_used::Use;
pub(crate) use guards::safest_first;
pub(crate) use stream::checked_arithmetic;
use stream::{Pending, Slot, Stream, unique};

/// One query of a program and where its rows go.
pub(crate) struct Task {
    pub(crate) plan: LogicalPlan,
    /// The statement, for the places of errors.
    pub(crate) tokens: Tokens,
    /// Names of views that stand for something else here.
    pub(crate) aliases: BTreeSet<String>,
    pub(crate) emit: Emit,
    pub(crate) target: Target,
}

/// Where rows go. Tasks with the same name share one sink.
pub(crate) struct Target {
    /// The sink node's name.
    pub(crate) name: String,
    /// The declared table, where it is one.
    pub(crate) table: Option<String>,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) takes: Takes,
    /// The columns of its PRIMARY KEY.
    pub(crate) key: Option<Vec<usize>>,
}

/// Which rows a target takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Rows that only come: of input that ends, those that are there at its end.
    Final,
    /// Changes where the input has no end.
    ChangesOfEndless,
    /// Changes.
    Changes,
}

/// Builds the graph of all tasks.
pub(crate) fn lower(tasks: &[Task], catalog: &Catalog) -> Result<JobGraph> {
    let mut used = BTreeMap::new();
    for task in tasks {
        fields_used::collect(&task.plan, &mut used)?;
    }
    let mut reads_errors = BTreeSet::new();
    for task in tasks {
        event_time::visit(&task.plan, &mut |part| {
            if let LogicalPlan::TableScan(scan) = part {
                reads_errors.extend(errors_of(&scan.source).map(|table| table.definition.name.clone()));
            }
        });
    }
    check_outputs(tasks, &reads_errors)?;
    let mut graph = JobGraph::default();
    let mut sources = BTreeMap::new();
    let mut shared = shared::SharedParts::default();
    let mut sides = vec![];
    let mut constants = BTreeSet::new();
    let mut late = late::LateParts::default();
    let mut targets: Vec<(&Target, Vec<NodeId>)> = vec![];
    for task in tasks {
        let mut lowering = Lowering {
            graph: &mut graph,
            sources: &mut sources,
            sides: &mut sides,
            constants: &mut constants,
            late: &mut late,
            shared: &mut shared,
            used: &used,
            reads_errors: &reads_errors,
            tokens: &task.tokens,
            aliases: &task.aliases,
            catalog,
            emit: task.emit,
            changing: None,
            takes: task.target.takes,
            props: props(catalog.config()),
        };
        let naming = catalog.hints().or_default(catalog.hints().of_query(&task.tokens)?);
        let end = lowering.named(naming, |l| l.task(task)).map_err(|e| located(e, &task.tokens))?;
        match targets.iter_mut().find(|(t, _)| t.name == task.target.name) {
            Some((_, ends)) => ends.push(end),
            None => targets.push((&task.target, vec![end])),
        }
    }
    for (target, ends) in targets {
        let input = match ends.as_slice() {
            [only] => *only,
            many => plan::union(&mut graph, many.to_vec())?,
        };
        let input = match &target.key {
            Some(key) => keyed_table::replaced(&mut graph, input, key, target.sink.accepts())?,
            None => input,
        };
        let exchange = if target.sink.single_writer() { Exchange::Single } else { Exchange::Forward };
        graph.add(target.name.clone(), NodeKind::Sink(Arc::clone(&target.sink)), vec![edge(input, exchange)]);
    }
    let mut edges = lenient::wire(&mut graph, &sides, &constants);
    edges.extend(late.edges()?);
    graph.feed(edges);
    Ok(graph)
}

/// Refuses the dead letters of a table that is written and not read. Errors: `Invalid` (R0665).
fn check_outputs(tasks: &[Task], reads_errors: &BTreeSet<String>) -> Result<()> {
    let mut read = BTreeSet::new();
    for task in tasks {
        event_time::visit(&task.plan, &mut |part| {
            if let LogicalPlan::TableScan(scan) = part {
                read.extend(scanned_table(&scan.source).map(|table| table.definition.name.as_str().to_string()));
            }
        });
    }
    let written = |name: &&String| tasks.iter().any(|task| task.target.table.as_ref() == Some(name));
    let Some(name) = reads_errors.iter().filter(|name| !read.contains(*name)).find(written) else { return Ok(()) };
    let errors = format!("{name}{ERRORS_SUFFIX}");
    let what = format!("'{name}' is only written here, so nothing comes into '{errors}'");
    let hint = "read the dead letters of the tables that are read: rows that do not fit are letters of the table that they come from";
    let error = Error::invalid(665, what).with_hint(hint);
    let is_name = |t: &&TokenWithSpan| matches!(&t.token, Token::Word(w) if w.value.eq_ignore_ascii_case(&errors));
    let at = tasks.iter().flat_map(|task| &task.tokens).find(is_name).map(|t| place(t.span));
    Err(match at {
        Some(at) => error.with_span(at),
        None => error,
    })
}

/// An expression over the columns of a table, for the rows of its source.
pub(crate) fn stored_expression(
    expr: &Expr,
    stored: &SchemaRef,
    logical: &DFSchema,
    data_type: &DataType,
    catalog: &Catalog,
) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
    // A source has no node yet; the rows are all that is compiled against.
    let rows = Stream::plain(NodeId(0), Arc::clone(stored));
    cast(rows.compile(expr, logical, &props(catalog.config()))?, stored, data_type.clone())
}

fn props(config: &ConfigOptions) -> ExecutionProps {
    let mut props = ExecutionProps::new();
    props.config_options = Some(Arc::new(config.clone()));
    props
}

fn located(error: Error, tokens: &Tokens) -> Error {
    match (error.span(), whole(tokens)) {
        (None, Some(span)) => error.with_span(span),
        _ => error,
    }
}

fn edge(from: NodeId, exchange: Exchange) -> Edge {
    Edge { from, port: Port::MAIN, exchange }
}

/// The lowering of one task into the shared graph.
struct Lowering<'a> {
    graph: &'a mut JobGraph,
    sources: &'a mut BTreeMap<String, scan::SharedSource>,
    sides: &'a mut Vec<scan::Side>,
    /// Sources of rows that stand in the program.
    constants: &'a mut BTreeSet<NodeId>,
    late: &'a mut late::LateParts,
    shared: &'a mut shared::SharedParts,
    used: &'a BTreeMap<String, ColumnsUsed>,
    /// The tables whose dead letters are read.
    reads_errors: &'a BTreeSet<String>,
    tokens: &'a Tokens,
    aliases: &'a BTreeSet<String>,
    catalog: &'a Catalog,
    emit: Emit,
    changing: Option<changes::Changing>,
    /// What the target of the task takes.
    takes: Takes,
    props: ExecutionProps,
}

impl Lowering<'_> {
    /// The node whose rows are exactly what the sink takes.
    fn task(&mut self, task: &Task) -> Result<NodeId> {
        let stream = self.lower(&task.plan)?;
        let stream = self.assigned(stream)?;
        let stream = self.for_target(stream, task)?;
        let wanted = task.target.sink.schema();
        let node = self.shaped(stream, &wanted)?;
        // A result that is shown has no declaration to be held to.
        let Some(table) = &task.target.table else { return Ok(node) };
        match not_null::checked(&self.graph.node(node).schema, &wanted, table) {
            Some(columns) => Ok(plan::project(self.graph, node, columns)?.0),
            None => Ok(node),
        }
    }

    /// What the user says of a view's steps.
    fn view_naming(&self, name: &str) -> Option<Naming> {
        let hints = self.catalog.hints();
        let naming = hints.of_view(name).filter(|_| self.catalog.is_view(name) && !self.aliases.contains(name))?;
        Some(hints.or_default(Some(naming)))
    }

    /// Lowers a part whose steps have a name.
    fn named<T>(&mut self, naming: Naming, lower: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let before = self.graph.name_next(naming);
        let lowered = lower(self);
        self.graph.name_next(before);
        lowered
    }

    fn df(&self, error: DataFusionError) -> Error {
        diagnose::planning(error, self.tokens, self.catalog)
    }

    /// The rows of `plan`; those that are there already if an equal part was lowered before.
    fn lower(&mut self, plan: &LogicalPlan) -> Result<Stream> {
        if let Some(stream) = self.shared.find(plan, self.emit) {
            return Ok(stream);
        }
        let stream = self.lower_anew(plan)?;
        self.shared.keep(plan, self.emit, &stream)?;
        Ok(stream)
    }

    fn lower_anew(&mut self, plan: &LogicalPlan) -> Result<Stream> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => match self.view_naming(alias.alias.table()) {
                Some(naming) => self.named(naming, |l| l.lower(&alias.input)),
                None => self.lower(&alias.input),
            },
            LogicalPlan::Filter(filter) => match rank::right_above_rank(filter).map_err(|e| self.df(e))? {
                Some(plan) => self.lower(&plan),
                None => self.filter(&filter.predicate, &filter.input),
            },
            LogicalPlan::Projection(projection) => self.project(&projection.expr, &projection.input),
            LogicalPlan::Aggregate(a) => self.aggregate(&a.group_expr, &a.aggr_expr, &a.input, &a.schema, "GROUP BY"),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let columns: Vec<_> = input.schema().columns().into_iter().map(Expr::Column).collect();
                self.aggregate(&columns, &[], input, input.schema(), "SELECT DISTINCT")
            }
            LogicalPlan::Union(union) => self.union(&union.inputs, union.schema.inner()),
            LogicalPlan::Sort(sort) => self.sort(&sort.expr, &sort.input, sort.fetch.map(|fetch| (0, fetch))),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Values(values) => self.values(values),
            LogicalPlan::EmptyRelation(empty) => self.empty(empty),
            LogicalPlan::Extension(extension) => {
                let node = extension.node.as_any();
                match (node.downcast_ref::<WindowNode>(), node.downcast_ref::<SetNode>()) {
                    (Some(window), _) => self.window(window),
                    (_, Some(set)) => self.counted(set.operation, &set.left, &set.right, plan.schema()),
                    _ => Err(Error::internal("an unknown node is in the plan")),
                }
            }
            LogicalPlan::Join(join) => match self.changing_set(join)? {
                Some(operation) => self.counted(operation, &join.left, &join.right, &join.schema),
                None => self.join(join),
            },
            LogicalPlan::Window(window) => self.rank(window, None, true),
            LogicalPlan::Distinct(_) => Err(self.refused("DISTINCT ON", Keyword::DISTINCT, "use FIRST_VALUE")),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest),
            LogicalPlan::Subquery(_) => Err(self.refused("a subquery here", Keyword::SELECT, "use a view")),
            other => {
                let kind = other.display().to_string();
                let kind = kind.split([':', ' ']).next().unwrap_or_default().to_string();
                Err(self.refused(&format!("this kind of statement ({kind})"), Keyword::NoKeyword, "write a SELECT"))
            }
        }
    }

    /// "X is not supported yet", at the keyword.
    fn refused(&self, what: &str, keyword: Keyword, hint: &str) -> Error {
        self.at_keyword(Error::invalid(142, format!("{what} is not supported yet")).with_hint(hint), keyword)
    }

    /// The first call of a window function.
    fn window_call(&self) -> Option<Span> {
        let is_window =
            |t: &Token| matches!(t, Token::Word(w) if windows::FUNCTIONS.contains(&w.value.to_lowercase().as_str()));
        let calls = |pair: &&[TokenWithSpan]| is_window(&pair[0].token) && pair[1].token == Token::LParen;
        self.tokens.windows(2).find(calls).map(|pair| place(pair[0].span))
    }

    fn at_keyword(&self, error: Error, keyword: Keyword) -> Error {
        match self.keyword(keyword).or_else(|| whole(self.tokens)) {
            Some(span) => error.with_span(span),
            None => error,
        }
    }

    fn keyword(&self, keyword: Keyword) -> Option<Span> {
        let says = |t: &Token| matches!(t, Token::Word(w) if w.keyword == keyword && w.quote_style.is_none());
        self.tokens.iter().find(|t| keyword != Keyword::NoKeyword && says(&t.token)).map(|t| place(t.span))
    }

    /// What a DISTINCT that nobody has written comes from.
    fn set_operation(&self) -> Option<(&'static str, Keyword)> {
        let word = |i: usize| match self.tokens.get(i).map(|t| &t.token) {
            Some(Token::Word(w)) if w.quote_style.is_none() => w.keyword,
            _ => Keyword::NoKeyword,
        };
        let mut places = 0..self.tokens.len();
        if places.clone().any(|i| word(i) == Keyword::SELECT && word(i + 1) == Keyword::DISTINCT) {
            return None;
        }
        let all = [("UNION", Keyword::UNION), ("INTERSECT", Keyword::INTERSECT), ("EXCEPT", Keyword::EXCEPT)];
        places.find_map(|i| all.into_iter().find(|(_, k)| word(i) == *k && word(i + 1) != Keyword::ALL))
    }

    /// Refuses what needs the end of the input, unless it comes.
    fn needs_end(&self, plan: &LogicalPlan, what: &str, keyword: Keyword, hint: &str) -> Result<()> {
        match event_time::boundedness(plan)? {
            Boundedness::Bounded => Ok(()),
            Boundedness::Unbounded => {
                let code = if keyword == Keyword::GROUP { 145 } else { 146 };
                let error = Error::invalid(code, format!("{what} on an endless stream has no final result"));
                Err(self.at_keyword(error.with_hint(hint), keyword))
            }
        }
    }

    fn filter(&mut self, predicate: &Expr, input: &LogicalPlan) -> Result<Stream> {
        let stream = match input {
            LogicalPlan::Window(window) => self.rank(window, Some(predicate), true)?,
            _ => self.lower(input)?,
        };
        self.filtered(stream, predicate, input.schema())
    }

    /// The rows of a stream that fulfil a condition.
    fn filtered(&mut self, mut stream: Stream, predicate: &Expr, schema: &DFSchema) -> Result<Stream> {
        let needs = stream.needs_window(predicate, schema).map_err(|e| self.df(e))?;
        if needs && stream.reads(predicate, schema).map_err(|e| self.df(e))?.is_empty() {
            let renamed = self.window_condition(predicate, &stream, schema)?;
            if let Some(pending) = &mut stream.pending {
                pending.conditions.push(renamed);
            }
            return Ok(stream);
        }
        let reads = stream.reads(predicate, schema).map_err(|e| self.df(e))?;
        // A session is made of all rows of its key: only a whole key may be taken out before.
        let breaks_session = stream.pending.as_ref().is_some_and(|p| {
            let key = p.session_key.as_deref();
            p.is_session() && key.is_some_and(|key| reads.iter().any(|at| !key.contains(at)))
        });
        if needs || breaks_session {
            stream = self.assigned(stream)?;
        }
        let predicate = guards::safest_first(predicate);
        let compiled = stream.compile(&predicate, schema, &self.props).map_err(|e| self.df(e))?;
        let node = plan::filter(self.graph, stream.node, compiled)?;
        Ok(Stream { node, ..stream })
    }

    fn project(&mut self, exprs: &[Expr], input: &LogicalPlan) -> Result<Stream> {
        let mut stream = match rank::unnumbered(exprs, input) {
            Some((filter, window)) => self.first_rows(filter, window)?,
            None => self.lower(input)?,
        };
        let schema = input.schema();
        let plain = |e: &Expr| match e.clone().unalias() {
            Expr::Column(c) => schema.index_of_column(&c).ok(),
            _ => None,
        };
        for expr in exprs {
            if plain(expr).is_none() && stream.needs_window(expr, schema).map_err(|e| self.df(e))? {
                stream = self.assigned(stream)?;
            }
        }
        if exprs.iter().all(|e| plain(e).is_some()) {
            let slots = exprs.iter().filter_map(plain).map(|i| stream.slots[i]).collect();
            return Ok(Stream { slots, ..stream });
        }
        let mut columns: Vec<(Arc<dyn PhysicalExpr>, String)> = vec![];
        let mut slots = vec![];
        let mut window_columns = vec![];
        for expr in exprs {
            let name = expr.schema_name().to_string();
            if let Some(i) = plain(expr) {
                if let Slot::Window(w) = stream.slots[i] {
                    slots.push(Slot::Window(w));
                    continue;
                }
                window_columns.extend(stream.window_column(i).map(|w| (columns.len(), w)));
            }
            slots.push(Slot::Column(columns.len()));
            let name = match expr {
                Expr::Column(c) => c.name.clone(),
                Expr::Alias(alias) => alias.name.clone(),
                _ => name,
            };
            columns.push((stream.compile(expr, schema, &self.props).map_err(|e| self.df(e))?, name));
        }
        let mut moved = BTreeMap::new();
        for at in stream.pending.iter().flat_map(Pending::reads) {
            let kept = columns.iter().position(|(e, _)| column_index(e) == Some(at));
            let to = kept.unwrap_or_else(|| {
                columns.push((column(&stream.schema, at), stream.schema.field(at).name().clone()));
                columns.len() - 1
            });
            moved.insert(at, to);
        }
        let pending = stream.pending.clone().map(|p| p.moved(|at| moved.get(&at).copied().unwrap_or(at)));
        let names = unique(columns.iter().map(|(_, n)| n.clone()));
        let columns = columns.into_iter().zip(names).map(|((e, _), n)| (e, n)).collect();
        let (node, schema) = plan::project(self.graph, stream.node, columns)?;
        Ok(Stream { node, schema, slots, window_columns, window_length: stream.window_length, pending })
    }

    fn window(&mut self, window: &WindowNode) -> Result<Stream> {
        let stream = self.lower(&window.input)?;
        let mut stream = self.assigned(stream)?;
        let slot = |index: usize| match stream.slots[index] {
            Slot::Column(at) => Ok(at),
            Slot::Window(_) => Err(Error::internal("a column of the window's input is not in the rows")),
        };
        let time = window.time_index().map_err(|e| self.df(e))?.map(slot).transpose()?;
        let never_closes = self.graph.is_endless(stream.node) && self.graph.holds_watermark(stream.node);
        if time.is_some() && !stream.has_weights() && never_closes {
            let hint = "window both inputs and join the windows, or bound the times of the join, as in l.ts BETWEEN r.ts - INTERVAL '1' HOUR AND r.ts";
            let what =
                "a window over a join of endless streams without a bound in time, whose rows can be of any time,";
            return Err(self.refused(what, Keyword::JOIN, hint));
        }
        let key = window.session_columns().map_err(|e| self.df(e))?;
        let session_key = key.map(|key| key.into_iter().map(slot).collect::<Result<_>>()).transpose()?;
        // Window columns of a window below are plain columns from here on.
        stream.window_columns.clear();
        stream.window_length = None;
        stream.slots.extend(crate::windows::WindowColumn::ALL.map(Slot::Window));
        stream.pending = Some(Pending { spec: window.spec, time, session_key, conditions: vec![] });
        self.without_late(window, stream)
    }

    fn union(&mut self, inputs: &[Arc<LogicalPlan>], schema: &SchemaRef) -> Result<Stream> {
        let mut nodes = vec![];
        let mut windows: Option<Vec<Option<WindowColumn>>> = None;
        let mut lengths = vec![];
        for input in inputs {
            let stream = self.lower(input)?;
            let stream = self.assigned(stream)?;
            lengths.push(stream.window_length);
            let of_input: Vec<_> = (0..stream.slots.len()).map(|i| stream.window_column(i)).collect();
            // Only what is a window's column in every input is one in all.
            windows = Some(match windows {
                None => of_input,
                Some(all) => all.iter().zip(&of_input).map(|(a, b)| a.filter(|a| Some(*a) == *b)).collect(),
            });
            let names = unique(schema.fields().iter().map(|f| f.name().clone()));
            let fields = schema.fields().iter().zip(names).map(|(f, n)| f.as_ref().clone().with_name(n));
            let shape = Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()));
            nodes.push(self.shaped(stream, &shape)?);
        }
        let node = plan::union(self.graph, nodes)?;
        let windows = windows.into_iter().flatten().enumerate();
        let window_columns = windows.filter_map(|(i, w)| Some((i, w?))).collect();
        let window_length = lengths.first().copied().flatten().filter(|l| lengths.iter().all(|of| *of == Some(*l)));
        let rows = Stream::plain(node, Arc::clone(&self.graph.node(node).schema));
        Ok(Stream { window_columns, window_length, ..rows })
    }

    /// Rows with exactly these columns: order, names and types. Nothing is added where they are already so.
    fn shaped(&mut self, stream: Stream, wanted: &SchemaRef) -> Result<NodeId> {
        let mut columns = vec![];
        let mut same = stream.width() == wanted.fields().len();
        for (i, (slot, field)) in stream.slots.iter().zip(wanted.fields()).enumerate() {
            let Slot::Column(at) = *slot else { return Err(Error::internal("a window column is not in the rows")) };
            let given = stream.schema.field(at);
            let mut expr = column(&stream.schema, at);
            if given.data_type() != field.data_type() {
                expr = cast(expr, &stream.schema, field.data_type().clone()).map_err(|e| self.df(e))?;
            }
            same &= at == i && given.name() == field.name() && given.data_type() == field.data_type();
            columns.push((expr, field.name().clone()));
        }
        if same {
            return Ok(stream.node);
        }
        Ok(plan::project(self.graph, stream.node, columns)?.0)
    }
}

/// A column of the rows as an expression.
pub(crate) fn column(schema: &SchemaRef, at: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(PhysicalColumn::new(schema.field(at).name(), at))
}

fn column_index(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expr.downcast_ref::<PhysicalColumn>().map(PhysicalColumn::index)
}

/// The type in which a column of a bare SELECT is given out: there are no nanoseconds outside of a plan.
pub(crate) fn result_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        other => other.clone(),
    }
}
