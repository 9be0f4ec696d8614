//! The two ends of the measurement: a source that notes when it was first asked, and a sink that notes when rows arrive.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rheos::arrow::array::AsArray;
use rheos::arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use rheos::connector::{Connector, ConnectorRegistry, TableDefinition};
use rheos::options::OptionDef;
use rheos::sink::{Committable, EpochEnd, Sink, SinkWriter, WriterContext};
use rheos::source::{Discovery, Found, ReaderContext, Source, SourcePoll, Split, SplitReader};
use rheos::time::Epoch;
use rheos::{Batch, Boundedness, Error, Result};

use super::Latencies;

/// The connector that takes rows. Their first column tells when they were due.
pub(super) const ARRIVALS: &str = "bench-arrivals";

/// The event time of record 0.
pub(super) const START_TIME: &str = "2025-01-01 00:00:00";
const START_MS: i64 = 1_735_689_600_000;

/// One record in each millisecond of event time, so that a row's event time is its record's number.
pub(super) const RECORDS_PER_EVENT_S: u64 = 1000;

/// Of 50 events of the generator the first four are no bids.
const ROUND: u64 = 50;
const FIRST_BID: u64 = 4;

/// Which record a row waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// The one of that number of milliseconds of event time.
    Record,
    /// The first bid at or after the end of the row's window: with it the watermark could be known. Event time runs as fast
    /// as the clock.
    Window,
}

/// When records are due, and which count.
#[derive(Debug, Clone)]
pub(super) struct Timeline {
    due: Due,
    pub(super) rate_per_s: u64,
    /// Events of all kinds.
    pub(super) records: u64,
    warm_up: Duration,
}

impl Timeline {
    /// `rate_per_s`: at least 1.
    pub(super) fn new(due: Due, rate_per_s: u64, warm_up: Duration, duration: Duration) -> Self {
        let records = (warm_up + duration).as_secs_f64() * rate_per_s as f64;
        Self { due, rate_per_s, records: (records as u64).max(1), warm_up }
    }

    /// How long after the first record a row was due; `None` for one that does not count: of the warm-up, or of a window
    /// that only the end of the input closes.
    fn due(&self, event_time_us: i64) -> Option<Duration> {
        let ms = u64::try_from(event_time_us.div_euclid(1000) - START_MS).ok()?;
        let record = match self.due {
            Due::Record => ms,
            Due::Window => {
                let first = ms.checked_mul(self.rate_per_s)?.div_ceil(1000);
                first + FIRST_BID.saturating_sub(first % ROUND)
            }
        };
        let due = Duration::from_secs_f64(record as f64 / self.rate_per_s as f64);
        (record < self.records && due >= self.warm_up).then_some(due)
    }
}

/// When the first record was due; set by the first reader that is asked.
pub(super) type Start = Arc<OnceLock<Instant>>;

/// The built-in connectors, with `nexmark` setting `start`, and [`ARRIVALS`], which fills `taken`.
pub(super) fn registry(timeline: Timeline, taken: Arc<Mutex<Latencies>>, start: Start) -> Result<ConnectorRegistry> {
    let mut registry = rheos::connectors();
    let generator = Arc::clone(registry.get("nexmark")?);
    registry.register(Arc::new(Timed { generator, start: Arc::clone(&start) }));
    registry.register(Arc::new(Arrivals { timeline, taken, start }));
    Ok(registry)
}

/// A histogram is whole after every call, so its content is good whoever panicked.
pub(super) fn lock(latencies: &Mutex<Latencies>) -> MutexGuard<'_, Latencies> {
    latencies.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The generator, with a note of the first look at it.
struct Timed {
    generator: Arc<dyn Connector>,
    start: Start,
}

impl Connector for Timed {
    fn name(&self) -> &'static str {
        self.generator.name()
    }

    fn summary(&self) -> &'static str {
        self.generator.summary()
    }

    fn options(&self) -> Vec<(&'static str, &'static [OptionDef])> {
        self.generator.options()
    }

    fn infer_schema(&self, table: &TableDefinition) -> Result<Option<SchemaRef>> {
        self.generator.infer_schema(table)
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(TimedSource { source: self.generator.source(table)?, start: Arc::clone(&self.start) }))
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>> {
        self.generator.sink(table)
    }
}

#[derive(Debug)]
struct TimedSource {
    source: Arc<dyn Source>,
    start: Start,
}

impl TimedSource {
    fn with(&self, source: Arc<dyn Source>) -> Arc<dyn Source> {
        Arc::new(Self { source, start: Arc::clone(&self.start) })
    }
}

impl Source for TimedSource {
    fn schema(&self) -> SchemaRef {
        self.source.schema()
    }

    fn boundedness(&self) -> Boundedness {
        self.source.boundedness()
    }

    fn makes_rows(&self) -> bool {
        self.source.makes_rows()
    }

    fn project(&self, columns: &[usize]) -> Result<Arc<dyn Source>> {
        Ok(self.with(self.source.project(columns)?))
    }

    fn narrow(&self, schema: &SchemaRef) -> Result<Option<Arc<dyn Source>>> {
        Ok(self.source.narrow(schema)?.map(|source| self.with(source)))
    }

    fn discover(&self, time_column: Option<usize>, parallelism: usize) -> Result<Discovery> {
        self.source.discover(time_column, parallelism)
    }

    fn take_found(&self) -> Option<Found> {
        self.source.take_found()
    }

    fn restore_found(&self, entries: &[String]) -> Result<()> {
        self.source.restore_found(entries)
    }

    fn restore(&self, known: &[Split]) -> Result<()> {
        self.source.restore(known)
    }

    fn open(&self, split: &Split, position: Option<&str>, ctx: ReaderContext) -> Result<Box<dyn SplitReader>> {
        let reader = self.source.open(split, position, ctx)?;
        Ok(Box::new(TimedReader { reader, start: Arc::clone(&self.start) }))
    }

    fn resume(&self, open: &[(Split, Option<String>)]) -> Result<()> {
        self.source.resume(open)
    }

    fn is_replayable(&self) -> bool {
        self.source.is_replayable()
    }

    fn reads_in(&self, folder: &Path) -> bool {
        self.source.reads_in(folder)
    }

    fn follows_in(&self, folder: &Path) -> bool {
        self.source.follows_in(folder)
    }

    fn describe(&self) -> Vec<(String, String)> {
        self.source.describe()
    }
}

struct TimedReader {
    reader: Box<dyn SplitReader>,
    start: Start,
}

impl SplitReader for TimedReader {
    fn poll(&mut self) -> Result<SourcePoll> {
        // The generator's pace begins with the first row that it is asked for: a moment after this one, so latencies are
        // rather too large than too small.
        self.start.get_or_init(Instant::now);
        self.reader.poll()
    }

    fn position(&self) -> String {
        self.reader.position()
    }
}

/// The connector [`ARRIVALS`].
struct Arrivals {
    timeline: Timeline,
    taken: Arc<Mutex<Latencies>>,
    start: Start,
}

impl Connector for Arrivals {
    fn name(&self) -> &'static str {
        ARRIVALS
    }

    fn summary(&self) -> &'static str {
        "Notes when rows arrive."
    }

    fn options(&self) -> Vec<(&'static str, &'static [OptionDef])> {
        vec![]
    }

    fn source(&self, _table: &TableDefinition) -> Result<Arc<dyn Source>> {
        Err(Error::internal("the arrivals of a benchmark are read"))
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>> {
        Ok(Arc::new(ArrivalSink {
            schema: Arc::clone(&table.schema),
            timeline: self.timeline.clone(),
            taken: Arc::clone(&self.taken),
            start: Arc::clone(&self.start),
        }))
    }
}

struct ArrivalSink {
    schema: SchemaRef,
    timeline: Timeline,
    taken: Arc<Mutex<Latencies>>,
    start: Start,
}

impl fmt::Debug for ArrivalSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ArrivalSink")
    }
}

impl Sink for ArrivalSink {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn open(&self, _ctx: WriterContext) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(ArrivalWriter {
            timeline: self.timeline.clone(),
            taken: Arc::clone(&self.taken),
            start: Arc::clone(&self.start),
        }))
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![("connector".into(), ARRIVALS.into())]
    }
}

struct ArrivalWriter {
    timeline: Timeline,
    taken: Arc<Mutex<Latencies>>,
    start: Start,
}

impl SinkWriter for ArrivalWriter {
    fn ready(&mut self) -> Result<bool> {
        Ok(true)
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        let now = Instant::now();
        let Some(start) = self.start.get() else { return Err(Error::internal("a row came before the first was made")) };
        let times = batch.records.column(0).as_primitive::<TimestampMicrosecondType>();
        let mut taken = lock(&self.taken);
        for due in times.values().iter().filter_map(|us| self.timeline.due(*us)) {
            let latency = now.saturating_duration_since(*start + due);
            taken.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    fn stage(&mut self, _epoch: Epoch, _end: EpochEnd) -> Result<Option<Vec<Committable>>> {
        Ok(Some(vec![]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(due: Due, rate_per_s: u64) -> Timeline {
        Timeline::new(due, rate_per_s, Duration::from_secs(1), Duration::from_secs(2))
    }

    #[test]
    fn a_record_is_due_at_its_number_by_the_rate() {
        let timeline = timeline(Due::Record, 500);
        let due = |record: i64| timeline.due((START_MS + record) * 1000);
        assert_eq!(timeline.records, 1500);
        assert_eq!(due(750), Some(Duration::from_millis(1500)));
        assert_eq!((due(500), due(499)), (Some(Duration::from_secs(1)), None), "the warm-up");
        assert_eq!(due(1500), None, "there is no such record");
        assert_eq!(due(-1), None);
    }

    #[test]
    fn a_window_waits_for_the_first_bid_at_its_end() {
        let timeline = timeline(Due::Window, 100_000);
        let due = |ms: i64| timeline.due((START_MS + ms) * 1000);
        // Record 200,000 opens a round, so the first bid is the fifth: 40 microseconds later.
        assert_eq!(due(2000), Some(Duration::from_micros(2_000_040)));
        assert_eq!(due(3000), None, "only the end of the input closes it");
    }
}
