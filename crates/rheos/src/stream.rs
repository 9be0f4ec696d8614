//! Streams described in Rust: a tree of steps that nothing runs until it ends in a table or in `collect()`.
//!
//! ```text
//!   Stream::source ─ filter ─ select ─ union ─ key_by ─ window ─ aggregate ─ sink ─► Pipeline ─ job ─► Job
//! ```
//!
//! A stream is cheap to clone, and clones share their steps: what two sinks have in common runs once. Mistakes (an
//! unknown column, a wrong duration) are kept and reported by [`Pipeline::job`] and [`Stream::collect`], so that the
//! description reads without a `?` a line.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion_expr::Expr;
use rheos_core::change::Changes;
use rheos_core::connector::ConnectorRegistry;
use rheos_core::error::{Error, Result};
use rheos_core::source::{Source, WatermarkSpec};
use rheos_core::window::WindowSpec;
use rheos_runtime::RunConfig;

use crate::job::{Job, Planned};
use crate::lower::{Lowering, boundedness};
use crate::results::ResultSink;
use crate::table::Table;
use crate::windowing::IntoWindow;

/// A stream of rows.
#[derive(Debug, Clone)]
#[must_use]
pub struct Stream {
    pub(crate) step: Arc<Step>,
}

/// What a stream does to its inputs.
#[derive(Debug)]
pub(crate) enum Step {
    Table(Table),
    Source { source: Arc<dyn Source>, watermark: Option<WatermarkSpec> },
    Filter { input: Stream, predicate: Expr },
    Select { input: Stream, exprs: Vec<Expr> },
    Union(Vec<Stream>),
    Aggregate { input: Stream, keys: Vec<String>, window: Result<WindowSpec>, aggregates: Vec<Expr> },
}

impl Stream {
    fn new(step: Step) -> Self {
        Self { step: Arc::new(step) }
    }

    /// The rows of a table.
    pub fn source(table: Table) -> Self {
        Self::new(Step::Table(table))
    }

    /// The rows of a source of one's own. `watermark` says which column is the event time.
    pub fn from_source(source: Arc<dyn Source>, watermark: Option<WatermarkSpec>) -> Self {
        Self::new(Step::Source { source, watermark })
    }

    /// The rows for which `predicate` is true.
    pub fn filter(&self, predicate: Expr) -> Self {
        Self::new(Step::Filter { input: self.clone(), predicate })
    }

    /// Rows made of these expressions; `alias` names them.
    ///
    /// Time: the event time is kept if its column is among them.
    pub fn select(&self, exprs: impl IntoIterator<Item = Expr>) -> Self {
        Self::new(Step::Select { input: self.clone(), exprs: exprs.into_iter().collect() })
    }

    /// The rows of both streams, which have the same columns.
    pub fn union(&self, other: &Stream) -> Self {
        Self::new(Step::Union(vec![self.clone(), other.clone()]))
    }

    /// Groups by columns.
    pub fn key_by<K: Into<String>>(&self, columns: impl IntoIterator<Item = K>) -> KeyedStream {
        KeyedStream { input: self.clone(), keys: columns.into_iter().map(Into::into).collect() }
    }

    /// Windows over all rows, without a key.
    pub fn window(&self, window: impl IntoWindow) -> WindowedStream {
        self.key_by::<String>([]).window(window)
    }

    /// Ends the stream in a table. Columns go by position and must have the table's types; a table without columns
    /// takes the stream's.
    pub fn sink(&self, table: Table) -> Pipeline {
        Pipeline { sinks: vec![(self.clone(), table)], options: RunOptions::default() }
    }

    /// Runs the stream to its end and keeps its rows in memory.
    ///
    /// Errors: `Invalid` for a mistake in the description or a source that does not end; those of the job.
    pub fn collect(&self) -> Result<Vec<RecordBatch>> {
        self.collect_with(&RunOptions::default())
    }

    /// As [`collect`](Self::collect), with options.
    pub fn collect_with(&self, options: &RunOptions) -> Result<Vec<RecordBatch>> {
        let mut results = self.job(options)?.run()?.results;
        results.pop().ok_or_else(|| Error::internal("a collected stream has no result"))
    }

    /// The job that makes this stream's rows its one result.
    pub fn job(&self, options: &RunOptions) -> Result<Job> {
        let mut lowering = Lowering::new(&options.registry);
        lowering.require_all(self);
        let built = lowering.build(self)?;
        let sink = ResultSink::new(Arc::clone(&built.schema), Changes::Append);
        lowering.add_sink(&built, Arc::new(sink.clone()));
        let graph = lowering.into_graph();
        let ends = boundedness(&graph);
        let rows = Planned::Rows { sink, schema: built.schema, key: None };
        Ok(Job::new(Some(graph), vec![rows], options.config.clone(), ends))
    }
}

/// A stream with a key.
#[derive(Debug, Clone)]
#[must_use]
pub struct KeyedStream {
    input: Stream,
    keys: Vec<String>,
}

impl KeyedStream {
    /// Windows of event time, each key on its own.
    pub fn window(&self, window: impl IntoWindow) -> WindowedStream {
        WindowedStream { input: self.input.clone(), keys: self.keys.clone(), window: window.into_window() }
    }

    /// One row a key over the whole input, which must end.
    pub fn aggregate(&self, aggregates: impl IntoIterator<Item = Expr>) -> Stream {
        WindowedStream { input: self.input.clone(), keys: self.keys.clone(), window: Ok(WindowSpec::Global) }
            .aggregate(aggregates)
    }
}

/// A stream with windows.
#[derive(Debug, Clone)]
#[must_use]
pub struct WindowedStream {
    input: Stream,
    keys: Vec<String>,
    window: Result<WindowSpec>,
}

impl WindowedStream {
    /// One row a key and window, when the window is complete.
    ///
    /// Shape: the keys, the aggregates, then `window_start`, `window_end`, `window_time` (1 ms before the end).
    /// Time: `window_time` is the event time of the result, so windows can be built on it.
    /// State: partial results a key and slice, dropped when their last window has fired.
    pub fn aggregate(&self, aggregates: impl IntoIterator<Item = Expr>) -> Stream {
        Stream::new(Step::Aggregate {
            input: self.input.clone(),
            keys: self.keys.clone(),
            window: self.window.clone(),
            aggregates: aggregates.into_iter().collect(),
        })
    }
}

/// Streams that end in tables, to be run as one job.
#[derive(Debug, Clone)]
#[must_use]
pub struct Pipeline {
    sinks: Vec<(Stream, Table)>,
    options: RunOptions,
}

impl Pipeline {
    /// Runs both as one job: what they have in common runs once.
    pub fn and(mut self, other: Pipeline) -> Self {
        self.sinks.extend(other.sinks);
        self
    }

    /// How it shall run.
    pub fn with_options(mut self, options: RunOptions) -> Self {
        self.options = options;
        self
    }

    /// Checks the description and builds the job graph.
    ///
    /// Errors: `Invalid` for unknown columns, wrong types, options or durations; `InputMissing`.
    pub fn job(self) -> Result<Job> {
        let mut lowering = Lowering::new(&self.options.registry);
        for (stream, _) in &self.sinks {
            lowering.require_all(stream);
        }
        for (stream, table) in &self.sinks {
            let built = lowering.build(stream)?;
            lowering.add_table_sink(&built, table)?;
        }
        let graph = lowering.into_graph();
        let ends = boundedness(&graph);
        Ok(Job::new(Some(graph), Vec::new(), self.options.config, ends))
    }

    /// Runs the job until its input ends.
    pub fn run(self) -> Result<rheos_runtime::JobReport> {
        let finished = self.job()?.run()?;
        finished.report.ok_or_else(|| Error::internal("a pipeline ran nothing"))
    }
}

/// How a job that was built in Rust runs.
#[derive(Clone)]
pub struct RunOptions {
    /// Workers, batch size, epochs, credit.
    pub config: RunConfig,
    /// The connectors that tables may name.
    pub registry: ConnectorRegistry,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { config: RunConfig::default(), registry: rheos_connectors::registry() }
    }
}

impl std::fmt::Debug for RunOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RunOptions({:?})", self.config)
    }
}
