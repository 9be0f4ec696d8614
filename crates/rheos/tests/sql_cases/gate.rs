//! Counts the batches that all sources of a job give, and holds them up at a given one.
//!
//! ```text
//!   batch ask_at ──► whoever waits for it is told     batch hold_at ──► no source gives any more, and none ends
//! ```

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rheos::arrow::datatypes::SchemaRef;
use rheos::connector::{MetadataKey, TableDefinition};
use rheos::options::OptionDef;
use rheos::sink::Sink;
use rheos::source::{Discovery, Found, ReaderContext, Source, SourcePoll, Split, SplitReader};
use rheos::{Boundedness, Connector, ConnectorRegistry, Result};

#[derive(Debug)]
pub(crate) struct Gate {
    ask_at: usize,
    hold_at: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    over: bool,
}

impl Gate {
    /// One that holds nothing up.
    pub(crate) fn open() -> Arc<Self> {
        Self::new(usize::MAX, usize::MAX)
    }

    pub(crate) fn new(ask_at: usize, hold_at: usize) -> Arc<Self> {
        Arc::new(Self { ask_at, hold_at, state: Mutex::default(), changed: Condvar::new() })
    }

    /// The batches that have come through.
    pub(crate) fn taken(&self) -> usize {
        self.state.lock().unwrap().taken
    }

    /// Waits until the job is over, for no longer than `limit`. Gives whether it is.
    pub(crate) fn wait_for_end(&self, limit: Duration) -> bool {
        self.changed.wait_timeout_while(self.state.lock().unwrap(), limit, |s| !s.over).unwrap().0.over
    }

    /// Waits for batch `ask_at`. `false`: it has not come, and the job is over or `limit` has passed.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let waits = |s: &mut State| s.taken < self.ask_at && !s.over;
        self.changed.wait_timeout_while(self.state.lock().unwrap(), limit, waits).unwrap().0.taken >= self.ask_at
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state.lock().unwrap().over
    }

    /// The job is over.
    pub(crate) fn close(&self) {
        self.state.lock().unwrap().over = true;
        self.changed.notify_all();
    }

    fn is_held(&self) -> bool {
        self.taken() >= self.hold_at
    }

    fn take(&self) {
        self.state.lock().unwrap().taken += 1;
        self.changed.notify_all();
    }

    /// All connectors, with this gate in front of what they read.
    pub(crate) fn registry(self: &Arc<Self>) -> ConnectorRegistry {
        let mut gated = ConnectorRegistry::default();
        for connector in rheos::connectors().iter() {
            gated.register(Arc::new(GatedConnector(Arc::clone(connector), Arc::clone(self))));
        }
        gated
    }

    fn before(self: &Arc<Self>, source: Arc<dyn Source>) -> Arc<dyn Source> {
        Arc::new(GatedSource(source, Arc::clone(self)))
    }
}

struct GatedConnector(Arc<dyn Connector>, Arc<Gate>);

impl Connector for GatedConnector {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn summary(&self) -> &'static str {
        self.0.summary()
    }

    fn options(&self) -> Vec<(&'static str, &'static [OptionDef])> {
        self.0.options()
    }

    fn is_readable(&self) -> bool {
        self.0.is_readable()
    }

    fn has_partitions(&self) -> bool {
        self.0.has_partitions()
    }

    fn metadata(&self) -> Vec<MetadataKey> {
        self.0.metadata()
    }

    fn infer_schema(&self, table: &TableDefinition) -> Result<Option<SchemaRef>> {
        self.0.infer_schema(table)
    }

    fn check_options(&self, table: &TableDefinition) -> Result<()> {
        self.0.check_options(table)
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>> {
        Ok(self.1.before(self.0.source(table)?))
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>> {
        self.0.sink(table)
    }
}

#[derive(Debug)]
struct GatedSource(Arc<dyn Source>, Arc<Gate>);

impl Source for GatedSource {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn boundedness(&self) -> Boundedness {
        self.0.boundedness()
    }

    fn project(&self, columns: &[usize]) -> Result<Arc<dyn Source>> {
        Ok(self.1.before(self.0.project(columns)?))
    }

    fn narrow(&self, schema: &SchemaRef) -> Result<Option<Arc<dyn Source>>> {
        Ok(self.0.narrow(schema)?.map(|source| self.1.before(source)))
    }

    fn discover(&self, time_column: Option<usize>, parallelism: usize) -> Result<Discovery> {
        self.0.discover(time_column, parallelism)
    }

    fn restore(&self, known: &[Split]) -> Result<()> {
        self.0.restore(known)
    }

    fn take_found(&self) -> Option<Found> {
        self.0.take_found()
    }

    fn restore_found(&self, found: &[String]) -> Result<()> {
        self.0.restore_found(found)
    }

    fn open(&self, split: &Split, position: Option<&str>, ctx: ReaderContext) -> Result<Box<dyn SplitReader>> {
        Ok(Box::new(GatedReader(self.0.open(split, position, ctx)?, Arc::clone(&self.1))))
    }

    fn resume(&self, open: &[(Split, Option<String>)]) -> Result<()> {
        self.0.resume(open)
    }

    fn is_replayable(&self) -> bool {
        self.0.is_replayable()
    }

    fn reads_in(&self, folder: &Path) -> bool {
        self.0.reads_in(folder)
    }

    fn follows_in(&self, folder: &Path) -> bool {
        self.0.follows_in(folder)
    }

    fn describe(&self) -> Vec<(String, String)> {
        self.0.describe()
    }
}

struct GatedReader(Box<dyn SplitReader>, Arc<Gate>);

impl SplitReader for GatedReader {
    fn poll(&mut self) -> Result<SourcePoll> {
        // Only the end of the job wakes who waits here, and that needs no wake-up of the reader's.
        if self.1.is_held() {
            return Ok(SourcePoll::Pending);
        }
        let polled = self.0.poll()?;
        if matches!(&polled, SourcePoll::Batch(batch) if batch.num_rows() > 0) {
            self.1.take();
        }
        Ok(polled)
    }

    fn position(&self) -> String {
        self.0.position()
    }
}
