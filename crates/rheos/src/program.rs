//! SQL text to a [`Job`].

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rheos_core::change::Changes;
use rheos_core::connector::ConnectorRegistry;
use rheos_core::error::{Error, Result};
use rheos_core::sink::Sink;
use rheos_runtime::{RestartPolicy, RunConfig};
use rheos_sql::{PlanOptions, RestartSettings, ResultRows, Settings};

use crate::job::{Again, Finished, Job, Planned};
use crate::results::ResultSink;
use crate::state_options::{OpenState, StateOptions};

/// A SQL program that has not been looked at yet.
///
/// ```
/// let batches = rheos::sql("SELECT 40 + 2 AS answer").collect()?;
/// assert_eq!(batches[0].num_rows(), 1);
/// # Ok::<(), rheos::Error>(())
/// ```
pub fn sql(text: impl Into<String>) -> SqlProgram {
    SqlProgram {
        text: text.into(),
        variables: BTreeMap::new(),
        settings: BTreeMap::new(),
        registry: rheos_connectors::registry(),
        batch_rows: None,
        query_time_ms: None,
        results_to: None,
        results: ResultRows::Final,
        state: None,
    }
}

/// A SQL program and how it shall run.
#[must_use]
pub struct SqlProgram {
    text: String,
    variables: BTreeMap<String, String>,
    settings: BTreeMap<String, String>,
    registry: ConnectorRegistry,
    batch_rows: Option<usize>,
    query_time_ms: Option<i64>,
    results_to: Option<ResultsTo>,
    results: ResultRows,
    state: Option<StateOptions>,
}

/// Makes the sink of the n-th bare `SELECT`.
type ResultsTo = Box<dyn Fn(usize, SchemaRef) -> Arc<dyn Sink> + Send + Sync>;

impl SqlProgram {
    /// Gives `${name}` in the text a value.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// As `SET 'name' = 'value'`, and stronger than a `SET` in the text.
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    /// Worker threads. Default: one a core.
    pub fn parallelism(self, workers: usize) -> Self {
        self.set("parallelism", workers.to_string())
    }

    /// Rows in a batch that a source makes, at most.
    pub fn batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = Some(rows.max(1));
        self
    }

    /// The connectors that the program may name, instead of the built-in ones.
    pub fn connectors(mut self, registry: ConnectorRegistry) -> Self {
        self.registry = registry;
        self
    }

    /// What `now()` is while the program is planned, in ms since 1970. Default: the clock.
    pub fn query_time_ms(mut self, ms: i64) -> Self {
        self.query_time_ms = Some(ms);
        self
    }

    /// Keeps state, and goes on from what is there. See [`StateOptions`].
    pub fn state(mut self, state: StateOptions) -> Self {
        self.state = Some(state);
        self
    }

    /// Computes the rows of bare `SELECT`s on all workers and forgets them, as the connector `blackhole` does: for
    /// measuring. The job then has no results.
    pub fn discard_rows(self) -> Self {
        self.results(ResultRows::ChangesOfEndless).results_to(|_, schema| rheos_connectors::discard(schema))
    }

    /// Which rows bare `SELECT`s give out where their results change. Default: final ones, and a result that changes for ever
    /// is refused.
    pub fn results(mut self, rows: ResultRows) -> Self {
        self.results = rows;
        self
    }

    /// Writes the rows of bare `SELECT`s to sinks of one's own: `make` is called with the number of each, from 0, and its
    /// columns. The job then has no results.
    pub fn results_to(mut self, make: impl Fn(usize, SchemaRef) -> Arc<dyn Sink> + Send + Sync + 'static) -> Self {
        self.results_to = Some(Box::new(make));
        self
    }

    /// Checks and plans the program. Input files are looked at, nothing is written.
    ///
    /// Errors: `Invalid` with line and column; `InputMissing` for a file that is not there.
    pub fn plan(self) -> Result<Job> {
        let sinks: Arc<Mutex<BTreeMap<usize, ResultSink>>> = Arc::default();
        let made = Arc::clone(&sinks);
        let results_to = self.results_to;
        let has_results = results_to.is_none();
        let changes = match self.results {
            ResultRows::Final => Changes::Append,
            ResultRows::ChangesOfEndless | ResultRows::Changes => Changes::Retract,
        };
        let set = rheos_sql::state_settings(&self.text, &self.variables, &self.settings)?;
        let state = self.state.unwrap_or_else(StateOptions::as_set);
        let warn = state.warn();
        let mut state = state.open(&set)?;
        // A job that goes on is planned as it was at first.
        let planned_ms = state.as_ref().and_then(|s| s.context.query_time_ms);
        let query_time_ms = planned_ms.or(self.query_time_ms).unwrap_or_else(now_ms);
        if let Some(state) = &mut state {
            state.context.query_time_ms = Some(query_time_ms);
        }
        let options = PlanOptions {
            variables: self.variables,
            settings: self.settings,
            query_time_ms,
            results: self.results,
            letters: state.as_ref().and_then(OpenState::letters),
            result_sink: Arc::new(move |index, schema| {
                if let Some(make) = &results_to {
                    return make(index, schema);
                }
                // A program that is planned once more goes on with the sinks that it has.
                let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
                let sink = made.entry(index).or_insert_with(|| ResultSink::new(schema, changes));
                Arc::new(sink.clone()) as Arc<dyn Sink>
            }),
        };
        let program = rheos_sql::plan(&self.text, &options, &self.registry)?;
        if let (Some(state), Some(graph)) = (&state, &program.graph) {
            state.check_apart(graph)?;
        }
        let mut sinks = sinks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut outputs = Vec::new();
        for output in program.outputs {
            outputs.push(match output {
                rheos_sql::Output::Explain { text } => Planned::Text(text),
                rheos_sql::Output::Rows { .. } if !has_results => continue,
                rheos_sql::Output::Rows { index, schema, key } => {
                    let sink = sinks.remove(&index);
                    let sink = sink.ok_or_else(|| Error::internal(format!("result {index} has no sink")))?;
                    Planned::Rows { sink, schema, key }
                }
            });
        }
        let mut config =
            RunConfig { state: state.map(OpenState::into_config).transpose()?, warn, ..RunConfig::default() };
        if let Some(rows) = self.batch_rows {
            config.batch_rows = rows;
        }
        apply(&program.settings, &mut config);
        let keeps_state = config.state.is_some();
        let job = Job::new(program.graph, outputs, config, program.boundedness).with_explained(program.explained);
        let job = job.with_warnings(program.warnings);
        if !keeps_state {
            return Ok(job);
        }
        let (text, registry) = (self.text, self.registry);
        Ok(job.with_again(Again(Box::new(move || {
            let graph = rheos_sql::plan(&text, &options, &registry)?.graph;
            graph.map(Arc::new).ok_or_else(|| Error::internal("a program that ran something runs nothing now"))
        }))))
    }

    /// Plans the program, runs it to its end and keeps the results in memory.
    pub fn run(self) -> Result<Finished> {
        self.plan()?.run()
    }

    /// The rows of a program with one bare `SELECT`.
    ///
    /// Errors: `Invalid` (R0504) for a program without, or with more than one.
    pub fn collect(self) -> Result<Vec<RecordBatch>> {
        let mut results = self.run()?.results;
        match (results.pop(), results.is_empty()) {
            (Some(rows), true) => Ok(rows),
            _ => Err(Error::invalid(504, "collect() needs a program with exactly one bare SELECT")
                .with_hint("use run(), which gives all results")),
        }
    }
}

impl std::fmt::Debug for SqlProgram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlProgram").field("text", &self.text).finish_non_exhaustive()
    }
}

/// What the program says about its run.
fn apply(settings: &Settings, config: &mut RunConfig) {
    if let Some(parallelism) = settings.parallelism {
        config.parallelism = parallelism;
    }
    if let Ok(interval) = u64::try_from(settings.checkpoint_interval_ms) {
        config.epoch_interval_ms = interval.max(1);
    }
    config.epochs_in_flight_max = settings.checkpoint_max_in_flight;
    let RestartSettings { attempts_max, backoff_ms, backoff_ms_max, window_ms } = settings.restart;
    config.restart = RestartPolicy {
        attempts_max,
        backoff_ms_min: NonZeroU64::new(backoff_ms).unwrap_or(NonZeroU64::MIN),
        backoff_ms_max,
        window_ms,
        ..RestartPolicy::default()
    };
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
