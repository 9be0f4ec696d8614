//! A source that waits for its watermark: what is late then follows from the rows alone, at every parallelism.
//!
//! ```text
//!   batch 0 ─► the whole job has the watermark of batch 0 ─► batch 1 ─► ... ─► end
//! ```
//! Several tables take turns, so a script is one order over all of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rheos::arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use rheos::arrow::datatypes::SchemaRef;
use rheos::arrow::record_batch::RecordBatch;
use rheos::connector::TableDefinition;
use rheos::options::{OptionDef, OptionType};
use rheos::sink::Sink;
use rheos::source::{Discovery, ReaderContext, Source, SourcePoll, Split, SplitReader};
use rheos::{Boundedness, Connector, Error, JobControl, JobReport, Output, Result};

use crate::engine::cells;
use crate::input::Row;

/// Batches in the order in which they are read.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// `a` or `b`
    pub(crate) table: &'static str,
    pub(crate) rows: Vec<Row>,
    /// The watermark of the job once the batch has been read: the smallest of its tables'. `None` while it has none.
    pub(crate) watermark_ms: Option<i64>,
    /// That of its table alone.
    pub(crate) own_ms: Option<i64>,
}

/// Cuts rows into batches and tells the watermark behind each.
///
/// `tables` are all that the program reads: one without a row yet holds the watermark back.
pub(crate) fn script(tables: usize, batches: Vec<(&'static str, Vec<Row>)>, delay_ms: i64) -> Vec<Step> {
    let mut furthest = std::collections::BTreeMap::new();
    let step = |(table, rows): (&'static str, Vec<Row>)| {
        if let Some(ms) = rows.iter().filter_map(Row::ms).max() {
            let entry = furthest.entry(table).or_insert(ms);
            *entry = ms.max(*entry);
        }
        let known = furthest.len() == tables;
        let watermark_ms = furthest.values().min().filter(|_| known).map(|ms| ms - delay_ms);
        let own_ms = furthest.get(table).map(|ms| ms - delay_ms);
        Step { table, rows, watermark_ms, own_ms }
    };
    batches.into_iter().map(step).collect()
}

/// `CREATE TABLE` of one table of a script.
pub(crate) fn table(name: &str, delay: &str) -> String {
    format!(
        "CREATE TABLE {name} (id BIGINT, ts TIMESTAMP(6), k STRING, g INT, v BIGINT, d DOUBLE, s STRING,
             WATERMARK FOR ts AS ts - {delay}) WITH ('connector' = 'paced', 'script' = '{name}');\n"
    )
}

/// Runs a program over a script. `behind_ms` is how far the watermark at the sink stays behind that of the source.
pub(crate) fn run(
    program: &str,
    steps: &[Step],
    behind_ms: i64,
    parallelism: usize,
) -> std::result::Result<(Vec<String>, JobReport), String> {
    let shared =
        Arc::new(Shared { steps: steps.to_vec(), behind_ms, turn: AtomicUsize::new(0), control: OnceLock::new() });
    let mut registry = rheos::connectors();
    registry.register(Arc::new(Paced(Arc::clone(&shared))));
    let told = |e: Error| format!("{} {} ({:?})", e.code(), e.message(), e.hint());
    let program = rheos::sql(program).connectors(registry).parallelism(parallelism);
    let mut running = program.set("checkpoint.interval", "2 ms").plan().and_then(|job| job.start()).map_err(told)?;
    let _ = shared.control.set(running.control());
    let mut rows = vec![];
    while let Some(output) = running.next_output() {
        if let Output::Rows(batches) = output {
            for batch in batches {
                rows.extend(cells(&batch.map_err(told)?));
            }
        }
    }
    rows.sort();
    Ok((rows, running.wait().map_err(told)?.unwrap()))
}

#[derive(Debug)]
struct Paced(Arc<Shared>);

struct Shared {
    steps: Vec<Step>,
    behind_ms: i64,
    /// The next step.
    turn: AtomicUsize,
    control: OnceLock<JobControl>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl Shared {
    /// Whether the job has the watermark of the step before the next.
    fn is_settled(&self, turn: usize) -> bool {
        let Some(control) = self.control.get() else { return false };
        let before = self.steps[..turn].last().and_then(|step| step.watermark_ms);
        before.is_none_or(|ms| control.snapshot().watermark.ms() >= ms - self.behind_ms)
    }
}

/// A test that hangs is worse than one that fails.
const HANGS_AFTER: Duration = Duration::from_secs(60);

const OPTIONS: &[OptionDef] = &[OptionDef::new("script", OptionType::Text, "", "Whose steps it reads.")];

impl Connector for Paced {
    fn name(&self) -> &'static str {
        "paced"
    }

    fn summary(&self) -> &'static str {
        "A script."
    }

    fn options(&self) -> Vec<(&'static str, &'static [OptionDef])> {
        vec![("Options", OPTIONS)]
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>> {
        let columns = (0..table.schema.fields().len()).collect();
        let script = table.options["script"].clone();
        Ok(Arc::new(PacedSource { shared: Arc::clone(&self.0), script, schema: table.read_schema(), columns }))
    }

    fn sink(&self, _table: &TableDefinition) -> Result<Arc<dyn Sink>> {
        Err(Error::internal("it is only read"))
    }
}

#[derive(Debug, Clone)]
struct PacedSource {
    shared: Arc<Shared>,
    script: String,
    schema: SchemaRef,
    columns: Vec<usize>,
}

impl Source for PacedSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn project(&self, columns: &[usize]) -> Result<Arc<dyn Source>> {
        let schema = Arc::new(self.schema.project(columns)?);
        let columns = columns.iter().map(|c| self.columns[*c]).collect();
        Ok(Arc::new(Self { schema, columns, ..self.clone() }))
    }

    fn discover(&self, _: Option<usize>, _: usize) -> Result<Discovery> {
        let split = Split {
            id: self.script.clone(),
            sequence: 0,
            not_before_ms: None,
            size_bytes: 0,
            descriptor: String::new(),
        };
        Ok(Discovery { splits: vec![split], finished: true })
    }

    fn open(&self, _: &Split, _: Option<&str>, ctx: ReaderContext) -> Result<Box<dyn SplitReader>> {
        Ok(Box::new(PacedReader { source: self.clone(), ctx, since: Instant::now() }))
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![("script".into(), self.script.clone())]
    }
}

struct PacedReader {
    source: PacedSource,
    ctx: ReaderContext,
    since: Instant,
}

impl SplitReader for PacedReader {
    fn poll(&mut self) -> Result<SourcePoll> {
        let shared = &self.source.shared;
        let turn = shared.turn.load(Ordering::SeqCst);
        if !shared.is_settled(turn) {
            if self.since.elapsed() > HANGS_AFTER {
                return Err(Error::internal(format!("the watermark behind batch {turn} never comes")));
            }
            (self.ctx.wake)();
            return Ok(SourcePoll::Pending);
        }
        match shared.steps.get(turn) {
            None => Ok(SourcePoll::Finished),
            Some(step) if step.table == self.source.script => {
                shared.turn.store(turn + 1, Ordering::SeqCst);
                Ok(SourcePoll::Batch(batch(&step.rows, &self.source)?))
            }
            Some(_) => {
                (self.ctx.wake)();
                Ok(SourcePoll::Pending)
            }
        }
    }

    fn position(&self) -> String {
        String::new()
    }
}

fn batch(rows: &[Row], source: &PacedSource) -> Result<RecordBatch> {
    let column = |c: &usize| -> ArrayRef {
        match c {
            0 => Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.id))),
            1 => Arc::new(rows.iter().map(|r| r.ts).collect::<TimestampMicrosecondArray>()),
            2 => Arc::new(rows.iter().map(|r| r.k).collect::<StringArray>()),
            3 => Arc::new(rows.iter().map(|r| r.g.map(|g| g as i32)).collect::<Int32Array>()),
            4 => Arc::new(rows.iter().map(|r| r.v).collect::<Int64Array>()),
            5 => Arc::new(rows.iter().map(|r| r.d).collect::<Float64Array>()),
            _ => Arc::new(rows.iter().map(|r| r.s).collect::<StringArray>()),
        }
    };
    Ok(RecordBatch::try_new(Arc::clone(&source.schema), source.columns.iter().map(column).collect())?)
}
