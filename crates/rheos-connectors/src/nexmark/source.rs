//! Reading: splits are ranges of event numbers, all in one ordered sequence.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use rheos_core::source::{Boundedness, Discovery, Found, ReaderContext, Source, SourcePoll, Split, SplitReader};
use rheos_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::columns::{Generator, Rows};
use super::config::Config;
use super::event::{Event, Run};
use super::spare::Spare;
use super::table::{Shape, Table};
use crate::numbers;
use crate::pace::{self, Pace};

/// Events in a split: small, so that workers stay close in event time.
const SPLIT_EVENTS: u64 = 100_000;

/// Splits of a bounded table, at most: longer tables have larger splits.
const SPLITS_MAX: u64 = 10_000;

/// Splits that one look gives of a table without end.
const SPLITS_PER_LOOK: u64 = 64;

/// Rows in a batch, at most, so that the text of one batch fits into 32-bit offsets.
const BATCH_ROWS_MAX: usize = 8192;

/// A generated table.
#[derive(Debug)]
pub(super) struct NexmarkSource {
    table: Arc<Table>,
    generator: Arc<Generator>,
    pace: Option<Arc<Pace>>,
    /// The first event that no split covers; only of a table without end, whose splits are found bit by bit.
    next_event: AtomicU64,
}

/// The range of a split.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Range {
    first: u64,
    end: u64,
}

impl NexmarkSource {
    pub(super) fn new(config: Config, table: Table) -> Self {
        let pace = config.rows_per_s.map(|rate| Arc::new(Pace::new(rate)));
        Self::with(table, Arc::new(Generator::new(config)), pace)
    }

    fn with(table: Table, generator: Arc<Generator>, pace: Option<Arc<Pace>>) -> Self {
        Self { table: Arc::new(table), generator, pace, next_event: AtomicU64::new(0) }
    }

    fn reduced(&self, table: Table) -> Arc<dyn Source> {
        // A pace of its own: two readers of one table must not share a start.
        let pace = self.pace.as_ref().map(|p| Arc::new(Pace::new(p.rows_per_s())));
        Arc::new(Self::with(table, Arc::clone(&self.generator), pace))
    }

    fn config(&self) -> &Config {
        &self.generator.config
    }

    fn split_events(&self) -> u64 {
        match self.config().events {
            Some(events) => SPLIT_EVENTS.max(events.div_ceil(SPLITS_MAX)),
            None => SPLIT_EVENTS,
        }
    }

    fn split(&self, first: u64, end: u64) -> Result<Split> {
        let config = self.config();
        let descriptor = serde_json::to_string(&Range { first, end });
        Ok(Split {
            id: format!("events-{first}"),
            sequence: 0,
            not_before_ms: Some(config.time_ms(first)),
            size_bytes: config.bytes_of(end) - config.bytes_of(first),
            descriptor: descriptor.map_err(|e| Error::internal(format!("nexmark split: {e}")))?,
        })
    }
}

impl Range {
    fn of(split: &Split) -> Result<Self> {
        let damaged = |_| Error::internal(format!("a nexmark split has the descriptor {}", split.descriptor));
        serde_json::from_str(&split.descriptor).map_err(damaged)
    }
}

impl Source for NexmarkSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.table.schema)
    }

    fn boundedness(&self) -> Boundedness {
        match self.config().events {
            Some(_) if !self.config().keep_alive => Boundedness::Bounded,
            _ => Boundedness::Unbounded,
        }
    }

    fn makes_rows(&self) -> bool {
        true
    }

    fn project(&self, columns: &[usize]) -> Result<Arc<dyn Source>> {
        Ok(self.reduced(self.table.project(columns)?))
    }

    fn narrow(&self, schema: &SchemaRef) -> Result<Option<Arc<dyn Source>>> {
        Ok(Some(self.reduced(self.table.narrow(schema)?)))
    }

    fn discover(&self, _time_column: Option<usize>, _parallelism: usize) -> Result<Discovery> {
        let step = self.split_events();
        let Some(events) = self.config().events else {
            let first = self.next_event.fetch_add(SPLITS_PER_LOOK * step, Ordering::SeqCst);
            let starts = (0..SPLITS_PER_LOOK).map(|k| first + k * step);
            let splits = starts.map(|first| self.split(first, first + step)).collect::<Result<_>>()?;
            return Ok(Discovery { splits, finished: false });
        };
        if self.config().keep_alive && self.next_event.swap(events, Ordering::SeqCst) == events {
            return Ok(Discovery::default());
        }
        let starts = (0..events).step_by(usize::try_from(step).unwrap_or(usize::MAX));
        let splits = starts.map(|first| self.split(first, (first + step).min(events))).collect::<Result<_>>()?;
        Ok(Discovery { splits, finished: !self.config().keep_alive })
    }

    fn take_found(&self) -> Option<Found> {
        Some(numbers::found(&self.next_event))
    }

    fn restore_found(&self, entries: &[String]) -> Result<()> {
        numbers::restore(&self.next_event, entries)
    }

    fn restore(&self, known: &[Split]) -> Result<()> {
        for split in known {
            self.next_event.fetch_max(Range::of(split)?.end, Ordering::SeqCst);
        }
        Ok(())
    }

    fn resume(&self, open: &[(Split, Option<String>)]) -> Result<()> {
        let next = |(split, position): &(Split, Option<String>)| match position {
            Some(position) => Ok(position.parse().unwrap_or(u64::MAX)),
            None => Ok(Range::of(split)?.first),
        };
        let lowest = open.iter().map(next).collect::<Result<Vec<u64>>>()?.into_iter().min();
        if let (Some(pace), Some(lowest)) = (&self.pace, lowest) {
            pace.begin_at(lowest);
        }
        Ok(())
    }

    fn open(&self, split: &Split, position: Option<&str>, ctx: ReaderContext) -> Result<Box<dyn SplitReader>> {
        let damaged = |what: &str| Error::internal(format!("a nexmark split has the {what}"));
        let range = Range::of(split)?;
        let next = match position {
            None => range.first,
            Some(p) => p.parse().map_err(|_| damaged(&format!("position {p}")))?,
        };
        Ok(Box::new(NexmarkReader {
            table: Arc::clone(&self.table),
            generator: Arc::clone(&self.generator),
            pace: self.pace.clone(),
            next,
            end: range.end,
            runs: Vec::new(),
            rows: 0,
            spare: Spare::default(),
            ctx,
        }))
    }

    fn describe(&self) -> Vec<(String, String)> {
        let config = self.config();
        let columns: Vec<&str> = self.table.schema.fields().iter().map(|f| f.name().as_str()).collect();
        let rows = match self.table.shape {
            Shape::Mixed => "events",
            Shape::Flat(kind) => kind.name(),
        };
        let mut facts = vec![
            ("connector".to_string(), "nexmark".to_string()),
            ("table".to_string(), rows.to_string()),
            ("columns".to_string(), columns.join(", ")),
            ("events".to_string(), config.events.map_or("without end".into(), |n| n.to_string())),
            ("proportions".to_string(), format!("{}:{}:{}", config.persons, config.auctions, config.bids)),
            ("rate".to_string(), format!("{}/s of event time", config.rate)),
            ("seed".to_string(), config.seed.to_string()),
        ];
        if let Some(rate) = config.rows_per_s {
            facts.push(("pace".to_string(), format!("{rate}/s")));
        }
        facts
    }
}

/// Reads a range of event numbers.
struct NexmarkReader {
    table: Arc<Table>,
    generator: Arc<Generator>,
    pace: Option<Arc<Pace>>,
    next: u64,
    end: u64,
    runs: Vec<Run>,
    rows: usize,
    spare: Spare,
    ctx: ReaderContext,
}

impl NexmarkReader {
    /// Puts up to a batch of events of the table's kind from `next..limit` into `runs`.
    fn collect(&mut self, limit: u64) {
        let config = &self.generator.config;
        let round = config.round();
        let wanted = match self.table.shape {
            Shape::Mixed => 0..round,
            Shape::Flat(kind) => kind.offsets(config),
        };
        let rows_max = self.ctx.batch_rows.clamp(1, BATCH_ROWS_MAX);
        let first = self.next;
        self.runs.clear();
        self.rows = 0;
        let mut at = Event { n: first, round: first / round, offset: first % round };
        while at.n < limit && self.rows < rows_max {
            if at.offset < wanted.start {
                at = Event { n: at.n + wanted.start - at.offset, offset: wanted.start, ..at };
            } else if at.offset >= wanted.end {
                at = Event { n: at.n + round - at.offset, round: at.round + 1, offset: 0 };
            } else {
                let (kind, end) = config.kind(at.offset);
                let len = (end - at.offset).min(limit - at.n).min((rows_max - self.rows) as u64);
                self.runs.push(Run { first: at, kind, len: len as usize });
                self.rows += len as usize;
                at = Event { n: at.n + len, offset: at.offset + len, ..at };
            }
        }
        self.next = at.n.min(limit);
        let config = &self.generator.config;
        self.ctx.counters.add_bytes(config.bytes_of(self.next) - config.bytes_of(first));
        self.ctx.counters.add_made(self.rows as u64);
    }
}

impl NexmarkReader {
    fn batch(&self) -> Result<RecordBatch> {
        let rows = Rows { runs: &self.runs, of: None, len: self.rows, spare: &self.spare };
        self.table.batch(&self.generator, rows)
    }
}

impl SplitReader for NexmarkReader {
    fn poll(&mut self) -> Result<SourcePoll> {
        while self.next < self.end {
            let Some(limit) = pace::due_end(self.pace.as_deref(), self.next..self.end, &self.ctx.wake)? else {
                return Ok(SourcePoll::Pending);
            };
            self.collect(limit);
            if self.rows > 0 {
                return Ok(SourcePoll::Batch(self.batch()?));
            }
        }
        Ok(SourcePoll::Finished)
    }

    fn position(&self) -> String {
        self.next.to_string()
    }
}
