//! A job that is ready to run, and one that runs.
//!
//! ```text
//!   Job ── start ──► RunningJob ── next_result ──► rows of each bare SELECT, in program order
//!    │                    └────── wait ──► JobReport
//!    └── run ──► Finished (rows in memory, and the report)
//! ```

use std::sync::Arc;
use std::thread::JoinHandle;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rheos_core::error::{Error, Result};
use rheos_core::graph::{Guarantee, JobGraph, NodeId, NodeKind};
use rheos_core::letters::SINK_PREFIX;
use rheos_core::source::Boundedness;
use rheos_runtime::{JobControl, JobReport, RunConfig};
use rheos_sql::PlanFormat;

use crate::results::{ResultSink, Rows};
use crate::savepoints::Desk;

/// One thing that a program prints, in program order.
#[derive(Debug)]
pub enum Output {
    /// The text of an `EXPLAIN`.
    Text(String),
    /// The rows of a bare `SELECT`.
    Rows(Rows),
}

/// A planned output: text, or where the job will put the rows.
#[derive(Debug)]
pub(crate) enum Planned {
    Text(String),
    Rows {
        sink: ResultSink,
        /// The columns, with the weight where rows change.
        schema: SchemaRef,
        key: Option<Vec<usize>>,
    },
}

/// A job that has been planned: nothing runs and nothing has been written yet.
#[derive(Debug)]
pub struct Job {
    graph: Option<Arc<JobGraph>>,
    /// The graph with what `EXPLAIN` statements name, where there are any.
    explained: Option<JobGraph>,
    outputs: Vec<Planned>,
    config: RunConfig,
    boundedness: Boundedness,
    again: Option<Again>,
    warnings: Vec<Error>,
}

/// Plans a job once more, into a graph of its own; bare `SELECT`s keep their sinks.
pub(crate) struct Again(pub(crate) Box<dyn Fn() -> Result<Arc<JobGraph>> + Send + Sync>);

impl std::fmt::Debug for Again {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Again")
    }
}

impl Job {
    pub(crate) fn new(
        graph: Option<JobGraph>,
        outputs: Vec<Planned>,
        config: RunConfig,
        boundedness: Boundedness,
    ) -> Self {
        Self {
            graph: graph.map(Arc::new),
            explained: None,
            outputs,
            config,
            boundedness,
            again: None,
            warnings: vec![],
        }
    }

    /// How it is planned once more, where it may be started again: only a job that keeps state is.
    pub(crate) fn with_again(mut self, again: Again) -> Self {
        self.again = Some(again);
        self
    }

    pub(crate) fn with_explained(mut self, graph: Option<JobGraph>) -> Self {
        self.explained = graph;
        self
    }

    pub(crate) fn with_warnings(mut self, warnings: Vec<Error>) -> Self {
        self.warnings = warnings;
        self
    }

    /// What the program says that is of no effect.
    pub fn warnings(&self) -> &[Error] {
        &self.warnings
    }

    /// What would run: one line a node. Empty for a program that runs nothing.
    pub fn explain(&self) -> String {
        self.graph.as_ref().map(|g| rheos_sql::explain(g)).unwrap_or_default()
    }

    /// The whole program as one plan: what would run, and what its `EXPLAIN` statements name.
    pub fn explain_as(&self, format: PlanFormat) -> String {
        let graph = self.explained.as_ref().or(self.graph.as_deref());
        graph.map(|g| rheos_sql::explain_as(g, format)).unwrap_or_default()
    }

    /// The job graph, if the program runs anything.
    pub fn graph(&self) -> Option<&Arc<JobGraph>> {
        self.graph.as_ref()
    }

    /// Whether the job ends by itself.
    pub fn boundedness(&self) -> Boundedness {
        self.boundedness
    }

    /// Looks for what would end the job before it begins; nothing is started or written. A run does the same.
    ///
    /// Errors: `Invalid` for a parallelism out of range; `Conflict` for a job that would delete what it reads.
    pub fn check(&self) -> Result<()> {
        self.graph.as_ref().map_or(Ok(()), |graph| rheos_runtime::check(graph, &self.config))
    }

    /// Whether rows go anywhere but to who reads the results of bare `SELECT`s.
    pub fn writes_tables(&self) -> bool {
        let sinks = |graph: &JobGraph| graph.nodes().iter().filter(|n| matches!(n.kind, NodeKind::Sink(_))).count();
        let results = self.outputs.iter().filter(|o| o.sink().is_some()).count();
        self.graph.as_ref().is_some_and(|graph| sinks(graph) > results)
    }

    /// Whether the job keeps state.
    pub fn keeps_state(&self) -> bool {
        self.config.state.is_some()
    }

    /// Where the job keeps state, for messages; `None` if it keeps none.
    pub fn state_place(&self) -> Option<String> {
        self.config.state.as_ref().map(|state| state.store.place())
    }

    /// By the name of each sink, those of unread dead letters apart, what holds for its output: rows of a job that keeps no
    /// state are lost or repeated by a crash.
    pub fn guarantees(&self) -> Vec<(String, Guarantee)> {
        let Some(graph) = &self.graph else { return vec![] };
        let is_sink = |id: &NodeId| {
            let node = graph.node(*id);
            matches!(node.kind, NodeKind::Sink(_)) && !node.name.starts_with(SINK_PREFIX)
        };
        graph.ids().filter(is_sink).map(|id| (graph.node(id).name.clone(), graph.guarantee(id))).collect()
    }

    /// By table, the folder of the dead letters that no query reads.
    pub fn letters(&self) -> Vec<(String, String)> {
        let nodes = self.graph.iter().flat_map(|graph| graph.nodes());
        let folder = |node: &rheos_core::graph::Node| {
            let table = node.name.strip_prefix(SINK_PREFIX)?.to_string();
            Some((table, node.describe().into_iter().find(|(fact, _)| fact == "path")?.1))
        };
        nodes.filter_map(folder).collect()
    }

    /// Worker threads that the job will have.
    pub fn parallelism(&self) -> usize {
        self.config.parallelism
    }

    /// What would grow for ever: the steps over endless input whose state nothing ends, each with what they keep and what helps.
    pub fn growth(&self) -> Vec<String> {
        self.graph.as_ref().map(|graph| rheos_sql::growth(graph)).unwrap_or_default()
    }

    /// Starts the job on threads of its own.
    ///
    /// Errors: `External` where no thread can be started. What goes wrong later is the result of [`RunningJob::wait`].
    pub fn start(self) -> Result<RunningJob> {
        let sinks: Vec<ResultSink> = self.outputs.iter().filter_map(Planned::sink).cloned().collect();
        // All results but the first wait for their turn, and must not hold back the sources that they share.
        sinks.iter().skip(1).for_each(ResultSink::spool_until_read);
        let outputs = self.outputs.into_iter().map(|planned| match planned {
            Planned::Text(text) => Output::Text(text),
            Planned::Rows { sink, schema, key } => Output::Rows(sink.rows(schema, key)),
        });
        let outputs = outputs.collect::<Vec<_>>().into_iter();
        let control = JobControl::new();
        let thread = match self.graph {
            None => None,
            Some(graph) => Some(spawn(graph, self.again, self.config, control.clone(), sinks)?),
        };
        Ok(RunningJob { control, outputs, thread })
    }

    /// Runs the job to its end on this thread's time and keeps the results in memory.
    ///
    /// Errors: those of the job; `Invalid` (R0502) for a job that does not end and whose rows would fill the memory.
    pub fn run(self) -> Result<Finished> {
        if self.boundedness == Boundedness::Unbounded && self.outputs.iter().any(|o| o.sink().is_some()) {
            return Err(Error::invalid(502, "the rows of a program that does not end cannot be collected")
                .with_hint("use start() and read the rows as they come, or send them to a table"));
        }
        let mut running = self.start()?;
        let mut results = Vec::new();
        while let Some(output) = running.next_output() {
            if let Output::Rows(rows) = output {
                results.push(rows.collect::<Result<Vec<_>>>()?);
            }
        }
        Ok(Finished { results, report: running.wait()? })
    }
}

impl Planned {
    fn sink(&self) -> Option<&ResultSink> {
        match self {
            Planned::Rows { sink, .. } => Some(sink),
            Planned::Text(_) => None,
        }
    }
}

fn spawn(
    graph: Arc<JobGraph>,
    again: Option<Again>,
    config: RunConfig,
    control: JobControl,
    sinks: Vec<ResultSink>,
) -> Result<JoinHandle<Result<JobReport>>> {
    /// Ends the results however the job ends, so that no reader waits for ever.
    struct CloseAll(Vec<ResultSink>);
    impl Drop for CloseAll {
        fn drop(&mut self) {
            self.0.iter().for_each(ResultSink::close);
        }
    }
    let run = move || {
        let _close = CloseAll(sinks);
        let _desk = Desk::open(&config, &control);
        let anew = || match &again {
            Some(Again(plan)) => plan(),
            None => Err(Error::internal("the job cannot be planned once more")),
        };
        rheos_runtime::run(graph, anew, &config, &control)
    };
    std::thread::Builder::new()
        .name("rheos-job".into())
        .spawn(run)
        .map_err(|e| Error::new(rheos_core::ErrorKind::External, 503, format!("cannot start a thread: {e}")))
}

/// A job on its threads. Dropping it lets the job run on; `control().stop(..)` ends it.
pub struct RunningJob {
    control: JobControl,
    outputs: std::vec::IntoIter<Output>,
    thread: Option<JoinHandle<Result<JobReport>>>,
}

impl RunningJob {
    /// Stops the job, and says how far it is.
    pub fn control(&self) -> JobControl {
        self.control.clone()
    }

    /// The next text or result, in program order. Read a result to its end before asking for the next.
    pub fn next_output(&mut self) -> Option<Output> {
        self.outputs.next()
    }

    /// Waits for the end. `None` for a program that runs nothing.
    pub fn wait(self) -> Result<Option<JobReport>> {
        // Results that nobody took are given away, else the job would wait for their reader.
        drop(self.outputs);
        let Some(thread) = self.thread else { return Ok(None) };
        match thread.join() {
            Ok(result) => result.map(Some),
            Err(panic) => Err(Error::internal(format!("the job's thread panicked: {}", panic_text(&*panic)))),
        }
    }
}

impl std::fmt::Debug for RunningJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RunningJob")
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}

/// What a job that ended has left.
#[derive(Debug)]
pub struct Finished {
    /// The rows of each bare `SELECT`, in program order.
    pub results: Vec<Vec<RecordBatch>>,
    /// The counts; `None` for a program that ran nothing.
    pub report: Option<JobReport>,
}
