//! A whole program: its statements one after another, then all of its inserts and queries as one job.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_expr::LogicalPlan;
use rheos_core::change::{Changes, with_weights};
use rheos_core::connector::ConnectorRegistry;
use rheos_core::error::{Error, Result, Span};
use rheos_core::graph::{JobGraph, Node, NodeKind};
use rheos_core::letters;
use rheos_core::sink::{Sink, SinkWriter, WriterContext};
use rheos_core::source::Boundedness;

use crate::catalog::Catalog;
use crate::explain::explain;
use crate::hints::Hints;
use crate::lower::{Takes, Target, Task, lower, result_type};
use crate::settings::{Emit, EmitMode, Settings, StateSettings, own_name};
use crate::side::{self, TablesRead};
use crate::statement::{InsertInto, Statement, parse};
use crate::tokens::{Tokens, place, statements, whole};
use crate::{diagnose, emit, event_time, insert, optimize, query};

mod declarations;

/// Makes the sink of the n-th bare `SELECT` for rows of a schema.
pub type ResultSink = Arc<dyn Fn(usize, SchemaRef) -> Arc<dyn Sink> + Send + Sync>;

/// Which rows a bare `SELECT` gives out where its result changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ResultRows {
    /// Final rows; a result that changes for ever is refused.
    #[default]
    Final,
    /// Changes where the input has no end, else final rows.
    ChangesOfEndless,
    /// Changes, of all that can change.
    Changes,
}

/// What a program is planned with.
#[derive(Clone)]
pub struct PlanOptions {
    /// The values of `${NAME}`.
    pub variables: BTreeMap<String, String>,
    /// Settings from outside; they win over the program's own `SET`.
    pub settings: BTreeMap<String, String>,
    /// What `now()` is in this program, in ms since 1970.
    pub query_time_ms: i64,
    /// The sink of the n-th bare `SELECT`.
    pub result_sink: ResultSink,
    /// What it takes.
    pub results: ResultRows,
    /// The folder for the dead letters that no query reads; `None`: the job keeps none.
    pub letters: Option<PathBuf>,
}

/// A planned program.
#[derive(Debug)]
pub struct Program {
    /// All inserts and queries as one job; `None` where the program has none.
    pub graph: Option<JobGraph>,
    /// Where the program has an `EXPLAIN`: the job with what is explained beside what runs, to be looked at only.
    pub explained: Option<JobGraph>,
    /// What the program shows, in its order.
    pub outputs: Vec<Output>,
    /// What holds for the job.
    pub settings: Settings,
    /// Whether the job ends by itself.
    pub boundedness: Boundedness,
    /// What the program says that is of no effect.
    pub warnings: Vec<Error>,
}

/// Something that a program shows.
#[derive(Debug, Clone)]
pub enum Output {
    /// The rows of a bare `SELECT`.
    Rows {
        /// Its number among them, from 0: what `result_sink` was called with.
        index: usize,
        /// The columns, with the weight where the rows change.
        schema: SchemaRef,
        /// Columns that no two rows which are there at a time agree in, where some are known.
        key: Option<Vec<usize>>,
    },
    /// The plan of an `EXPLAIN`.
    Explain {
        /// The text.
        text: String,
    },
}

/// Plans a program. See [`crate::plan`].
pub(crate) fn plan(text: &str, options: &PlanOptions, registry: &ConnectorRegistry) -> Result<Program> {
    let mut planner = Planner {
        options,
        registry,
        catalog: Catalog::new(),
        settings: Settings::default(),
        tasks: vec![],
        explained: vec![],
        sinks: BTreeMap::new(),
        outputs: vec![],
        endless: 0,
        interval_at: None,
    };
    *planner.catalog.hints_mut() = Hints::find(text, &options.variables)?;
    let statements = statements(text, &options.variables)?;
    if statements.is_empty() {
        return Err(Error::invalid(108, "the program is empty").with_hint("begin with CREATE TABLE or SELECT"));
    }
    planner.catalog.set_late(side::late_names(statements.iter().flatten().map(|t| &t.token)));
    let statements = statements.into_iter().map(|tokens| Ok((whole(&tokens), parse(tokens)?)));
    let statements = statements.collect::<Result<Vec<_>>>()?;
    planner.zone(statements.iter().map(|s| &s.1))?;
    for (at, statement) in statements {
        planner.statement(statement).map_err(|e| match (e.span(), at) {
            (None, Some(at)) => e.with_span(at),
            _ => e,
        })?;
    }
    planner.finish()
}

/// The settings of a program that say where state lies. See [`crate::state_settings`].
pub(crate) fn state_settings(
    text: &str,
    variables: &BTreeMap<String, String>,
    outside: &BTreeMap<String, String>,
) -> Result<StateSettings> {
    let mut settings = Settings::default();
    let is_of_state = |name: &str| own_name(name).starts_with("checkpoint.");
    for tokens in statements(text, variables)? {
        if let Statement::Set { name, value, value_at } = parse(tokens)?
            && is_of_state(&name.value)
        {
            let at = if Settings::knows(&name.value) { value_at } else { place(name.span) };
            settings.set(&name.value, &value).map_err(|e| e.with_span(at))?;
        }
    }
    outside.iter().filter(|(name, _)| is_of_state(name)).try_for_each(|(name, value)| settings.set(name, value))?;
    Ok(settings.state)
}

struct Planner<'a> {
    options: &'a PlanOptions,
    registry: &'a ConnectorRegistry,
    catalog: Catalog,
    settings: Settings,
    tasks: Vec<Task>,
    /// What `EXPLAIN` names: planned, not run.
    explained: Vec<Task>,
    /// One sink a table, however many inserts it has.
    sinks: BTreeMap<String, Arc<dyn Sink>>,
    outputs: Vec<Output>,
    /// Bare queries without an end.
    endless: usize,
    /// Where `emit.interval` is set.
    interval_at: Option<Span>,
}

impl Planner<'_> {
    /// Finds the zone of the whole program, wherever it is set: a view has the same days before and behind the SET.
    fn zone<'s>(&mut self, statements: impl Iterator<Item = &'s Statement>) -> Result<()> {
        let mut settings = Settings::default();
        for statement in statements {
            if let Statement::Set { name, value, value_at } = statement
                && own_name(&name.value) == "timezone"
            {
                settings.set(&name.value, value).map_err(|e| e.with_span(*value_at))?;
            }
        }
        for (name, zone) in self.options.settings.iter().filter(|(name, _)| own_name(name) == "timezone") {
            settings.set(name, zone)?;
        }
        self.catalog.set_zone(&settings.timezone);
        Ok(())
    }

    fn statement(&mut self, statement: Statement) -> Result<()> {
        match statement {
            Statement::CreateTable(table) => self.create_table(table),
            Statement::CreateView(view) => self.create_view(view),
            Statement::Nothing => Ok(()),
            Statement::Set { name, value, value_at } => {
                let at = if Settings::knows(&name.value) { value_at } else { place(name.span) };
                self.settings.set(&name.value, &value).map_err(|e| e.with_span(at))?;
                if own_name(&name.value) == "emit.interval" {
                    self.interval_at = Some(at);
                }
                self.catalog.hints_mut().state_ttl_ms = self.settings.state_ttl_ms;
                Ok(())
            }
            Statement::Insert(insert) => {
                let task = self.insert(insert)?;
                self.tasks.push(task);
                Ok(())
            }
            Statement::Query(tokens) => self.select(tokens),
            Statement::Explain(inner) => {
                let mut task = match *inner {
                    Statement::Insert(insert) => self.insert(insert)?,
                    Statement::Query(mut tokens) => {
                        let emit = self.result_emit(emit::take(&mut tokens))?;
                        let (plan, aliases, schema) = self.result(&tokens)?;
                        let sink: Arc<dyn Sink> = Arc::new(ExplainedSink { schema });
                        // What only the printing of changes could refuse is explained.
                        let takes = match self.takes() {
                            Takes::Final => Takes::ChangesOfEndless,
                            other => other,
                        };
                        let target = Target { name: EXPLAINED.into(), table: None, sink, takes, key: None };
                        Task { plan, tokens, aliases, emit, target }
                    }
                    _ => return Err(Error::internal("EXPLAIN of a statement without a plan")),
                };
                let graph = lower(std::slice::from_ref(&task), &self.catalog)?;
                self.outputs.push(Output::Explain { text: explain(&graph) });
                if task.target.name == EXPLAINED {
                    // Tasks of one name share a sink, but each query has columns of its own.
                    task.target.name = format!("sink:explained-{}", self.explained.len() + 1);
                }
                self.explained.push(task);
                Ok(())
            }
        }
    }

    fn finish(mut self) -> Result<Program> {
        for (name, value) in &self.options.settings {
            self.settings.set(name, value)?;
        }
        if self.settings.emit.interval_ms.is_some_and(|ms| ms > self.settings.checkpoint_interval_ms) {
            let what =
                "setting 'emit.interval' is longer than 'checkpoint.interval', and changes are told with each of those";
            let error = Error::invalid(104, what).with_hint("set 'checkpoint.interval' to as much, or take it away");
            return Err(match self.interval_at {
                Some(at) => error.with_span(at),
                None => error,
            });
        }
        self.catalog.hints_mut().state_ttl_ms = self.settings.state_ttl_ms;
        self.catalog.hints().check(self.catalog.names())?;
        let standing_by = self.keep_letters()?;
        let graph = match self.tasks.is_empty() {
            true => None,
            false => {
                let mut graph = lower(&self.tasks, &self.catalog)?;
                standing_by.into_iter().for_each(|(id, sink)| graph.stand_by(id, sink));
                self.outputs.iter_mut().for_each(|output| tell_rows(output, &graph));
                Some(graph)
            }
        };
        let explained = match self.explained.is_empty() {
            true => None,
            false => {
                self.tasks.append(&mut self.explained);
                Some(lower(&self.tasks, &self.catalog)?)
            }
        };
        let endless = |g: &JobGraph| {
            g.nodes().iter().any(|n| {
                matches!(&n.kind, NodeKind::Source { source, .. } if source.boundedness() == Boundedness::Unbounded)
            })
        };
        let boundedness = match graph.as_ref().is_some_and(endless) {
            true => Boundedness::Unbounded,
            false => Boundedness::Bounded,
        };
        let warnings = self.warnings(graph.as_ref());
        Ok(Program { graph, explained, outputs: self.outputs, settings: self.settings, boundedness, warnings })
    }

    /// What is said of a time to live where no step heeds it.
    fn warnings(&self, graph: Option<&JobGraph>) -> Vec<Error> {
        let heeds = |node: &Node| matches!(&node.kind, NodeKind::Stateful(step) if step.has_time_to_live());
        if graph.is_some_and(|graph| graph.nodes().iter().any(heeds)) {
            return vec![];
        }
        let no_effect = |what: String| {
            Error::invalid(686, format!("{what} changes nothing here: no step keeps state that only it would end"))
                .with_hint("take it away")
        };
        let set = self.settings.state_ttl_ms.map(|_| no_effect("setting 'state.ttl'".into()));
        let hints = self.catalog.hints().times_to_live();
        set.into_iter().chain(hints.map(|at| no_effect(format!("the hint ttl in line {}", at.line)))).collect()
    }

    /// Adds what writes the dead letters that no query reads, where the job keeps them. Gives the writers, by operator id, of the
    /// other tables: an earlier program may have left letters that are not visible yet.
    fn keep_letters(&mut self) -> Result<Vec<(String, Arc<dyn Sink>)>> {
        let mut read = TablesRead::default();
        self.tasks.iter().for_each(|task| read.add(&task.plan));
        let unread = read.unread(self.options.letters.is_some())?;
        let Some(folder) = &self.options.letters else { return Ok(vec![]) };
        let mut standing_by = vec![];
        for name in read.others(&unread) {
            if let Some(sink) = side::letters_sink(name, folder, self.registry)? {
                standing_by.push((letters::sink_id(&side::sink_name(name)), sink));
            }
        }
        for table in unread {
            let name = &table.definition.name;
            if let Some(sink) = side::letters_sink(name, folder, self.registry)? {
                let target = Target { name: side::sink_name(name), table: None, sink, takes: Takes::Final, key: None };
                let (plan, aliases) = (side::errors_plan(table)?, BTreeSet::new());
                self.tasks.push(Task { plan, tokens: vec![], aliases, emit: Emit::default(), target });
            }
        }
        Ok(standing_by)
    }

    fn optimized(&self, plan: LogicalPlan, tokens: &Tokens) -> Result<LogicalPlan> {
        optimize::optimize(plan, self.catalog.config(), self.options.query_time_ms)
            .map_err(|e| diagnose::planning(e, tokens, &self.catalog))
    }

    fn insert(&mut self, mut insert: InsertInto) -> Result<Task> {
        let emit = self.emit(emit::take(&mut insert.query))?;
        let at = place(insert.table.span);
        let table = Arc::clone(self.catalog.table(&insert.table.value).map_err(|e| e.with_span(at))?);
        let name = &table.definition.name;
        let plan = query::plan(&insert.query, &self.catalog)?;
        let schema = &table.definition.schema;
        let plan = insert::shape(plan, &insert.columns, name, schema, &insert.query, &self.catalog)?;
        let aliases = self.catalog.aliases_like_views(&plan);
        let plan = self.optimized(plan, &insert.query)?;
        let sink = match self.sinks.get(name) {
            Some(sink) => Arc::clone(sink),
            None => {
                let sink = table.sink()?;
                self.sinks.insert(name.clone(), Arc::clone(&sink));
                sink
            }
        };
        let takes = match sink.accepts() {
            Changes::Append => Takes::Final,
            Changes::Upsert | Changes::Retract => Takes::Changes,
        };
        if table.primary_key.is_some() && takes == Takes::Final {
            let connector = table.connector.name();
            let what =
                format!("a PRIMARY KEY has rows replaced, and what is written to '{name}' by '{connector}' stays");
            return Err(Error::invalid(701, what)
                .with_hint("take the PRIMARY KEY away: rows are appended")
                .with_span(at));
        }
        let key = table.key_columns()?;
        Ok(Task {
            plan,
            tokens: insert.query,
            aliases,
            emit,
            target: Target { name: format!("sink:{name}"), table: Some(name.clone()), sink, takes, key },
        })
    }

    /// What the next query gives: as it says itself, as it is set here, or from outside.
    fn emit(&self, own: Option<EmitMode>) -> Result<Emit> {
        let mut settings = Settings { emit: self.settings.emit, ..Settings::default() };
        let outside = self.options.settings.iter().filter(|(name, _)| name.starts_with("emit."));
        outside.into_iter().try_for_each(|(name, value)| settings.set(name, value))?;
        let Emit { mode, interval_ms } = settings.emit;
        Ok(Emit { mode: own.unwrap_or(mode), interval_ms })
    }

    /// The same of a bare query: who shows changes wants them.
    fn result_emit(&self, own: Option<EmitMode>) -> Result<Emit> {
        let emit = self.emit(own)?;
        let mode = match (emit.mode, self.options.results) {
            (EmitMode::Auto, ResultRows::Changes) => EmitMode::Changes,
            (mode, _) => mode,
        };
        Ok(Emit { mode, ..emit })
    }

    fn takes(&self) -> Takes {
        match self.options.results {
            ResultRows::Final => Takes::Final,
            ResultRows::ChangesOfEndless => Takes::ChangesOfEndless,
            ResultRows::Changes => Takes::Changes,
        }
    }

    /// The plan of a bare query, the views' names in it that stand for something else, and its columns.
    fn result(&self, tokens: &Tokens) -> Result<(LogicalPlan, BTreeSet<String>, SchemaRef)> {
        let plan = query::plan(tokens, &self.catalog)?;
        let aliases = self.catalog.aliases_like_views(&plan);
        let plan = self.optimized(plan, tokens)?;
        let field = |f: &Arc<Field>| f.as_ref().clone().with_data_type(result_type(f.data_type()));
        let fields: Vec<_> = plan.schema().fields().iter().map(field).collect();
        Ok((plan, aliases, Arc::new(Schema::new(fields))))
    }

    fn select(&mut self, mut tokens: Tokens) -> Result<()> {
        let emit = self.result_emit(emit::take(&mut tokens))?;
        let (plan, aliases, schema) = self.result(&tokens)?;
        let index = self.outputs.iter().filter(|o| matches!(o, Output::Rows { .. })).count();
        self.endless += usize::from(event_time::boundedness(&plan)? == Boundedness::Unbounded);
        if index > 0 && self.endless > 0 {
            return Err(Error::invalid(109, "several queries are shown, and one of them has no end")
                .with_hint("write INSERT INTO a table WITH ('connector' = 'print') for all but one of them"));
        }
        let sink = (self.options.result_sink)(index, Arc::clone(&schema));
        let name = result_name(index);
        let target = Target { name, table: None, sink, takes: self.takes(), key: None };
        self.tasks.push(Task { plan, tokens, aliases, emit, target });
        self.outputs.push(Output::Rows { index, schema, key: None });
        Ok(())
    }
}

/// The node of the n-th result.
fn result_name(index: usize) -> String {
    if index == 0 { "sink:result".into() } else { format!("sink:result-{}", index + 1) }
}

/// What the graph knows of a result's rows: whether they change, and their key.
fn tell_rows(output: &mut Output, graph: &JobGraph) {
    let Output::Rows { index, schema, key } = output else { return };
    let name = result_name(*index);
    let input = graph.nodes().iter().find(|node| node.name == name).and_then(|node| node.inputs.first());
    let Some(rows) = input.map(|edge| graph.node(edge.from)) else { return };
    if rows.changes() != Changes::Append {
        *schema = with_weights(schema);
    }
    *key = rows.key.clone();
}

/// The sink of an explained query in its text plan, as if it were the program's only one.
const EXPLAINED: &str = "sink:result";

/// Where the rows of an explained query would go.
#[derive(Debug)]
struct ExplainedSink {
    schema: SchemaRef,
}

impl Sink for ExplainedSink {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn open(&self, _ctx: WriterContext) -> Result<Box<dyn SinkWriter>> {
        Err(Error::internal("an explained query was run"))
    }

    fn single_writer(&self) -> bool {
        true
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![]
    }
}
