//! Reading: splits are ranges of row numbers, all in one ordered sequence.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use rheos_core::source::{Boundedness, Discovery, Found, ReaderContext, Source, SourcePoll, Split, SplitReader};
use rheos_core::{Error, Result};

use super::spec::ColumnSpec;
use super::words;
use crate::numbers;
use crate::pace::{self, Pace};

/// Rows in a split: small, so that workers stay close in event time.
const SPLIT_ROWS: u64 = 100_000;

/// Splits of a bounded table, at most: longer tables have larger splits.
const SPLITS_MAX: u64 = 10_000;

/// Splits that one look gives of a table without end.
const SPLITS_PER_LOOK: u64 = 64;

/// Bytes of text in a batch, at most, so that it fits into 32-bit offsets with room.
const BATCH_TEXT_BYTES_MAX: usize = 64 << 20;

/// A generated table.
#[derive(Debug)]
pub(super) struct DatagenSource {
    table: Arc<Columns>,
    /// Rows; `None`: without end.
    rows: Option<u64>,
    seed: u64,
    pace: Option<Arc<Pace>>,
    /// What each column is made by, in words, for `describe`.
    rules: Vec<String>,
    /// The first row that no split covers; only of a table without end, whose splits are found bit by bit.
    next_row: AtomicU64,
}

/// The columns with how each is made.
#[derive(Debug)]
struct Columns {
    schema: SchemaRef,
    specs: Vec<ColumnSpec>,
    text_bytes: usize,
}

impl DatagenSource {
    pub(super) fn new(
        schema: SchemaRef,
        specs: Vec<ColumnSpec>,
        rows: Option<u64>,
        seed: u64,
        rate: Option<f64>,
    ) -> Self {
        let rules = specs.iter().zip(schema.fields()).map(|(spec, field)| words::told(field, &spec.rule));
        Self {
            rules: rules.collect(),
            table: Arc::new(Columns::new(schema, specs)),
            rows,
            seed,
            pace: rate.map(|rate| Arc::new(Pace::new(rate))),
            next_row: AtomicU64::new(0),
        }
    }

    fn split(first: u64, end: u64) -> Split {
        let descriptor = format!("[{first},{end}]");
        Split { id: format!("rows-{first}"), sequence: 0, not_before_ms: None, size_bytes: 0, descriptor }
    }
}

impl Columns {
    fn new(schema: SchemaRef, specs: Vec<ColumnSpec>) -> Self {
        let text_bytes = specs.iter().map(ColumnSpec::text_bytes).max().unwrap_or(0);
        Self { schema, specs, text_bytes }
    }

    fn batch(&self, rows: Range<u64>) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some((rows.end - rows.start) as usize));
        let columns = self.specs.iter().zip(self.schema.fields());
        let arrays = columns.map(|(spec, field)| spec.array(field, rows.clone())).collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|e| Error::internal(format!("datagen batch: {e}")))
    }
}

/// The rows of a split: from the first, before the second.
fn range(split: &Split) -> Result<[u64; 2]> {
    let damaged = |_| Error::internal(format!("a datagen split has the descriptor {}", split.descriptor));
    serde_json::from_str(&split.descriptor).map_err(damaged)
}

impl Source for DatagenSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.table.schema)
    }

    fn boundedness(&self) -> Boundedness {
        if self.rows.is_some() { Boundedness::Bounded } else { Boundedness::Unbounded }
    }

    fn makes_rows(&self) -> bool {
        true
    }

    fn project(&self, columns: &[usize]) -> Result<Arc<dyn Source>> {
        let fields: Vec<_> = columns.iter().map(|i| Arc::clone(&self.table.schema.fields()[*i])).collect();
        let specs = columns.iter().map(|i| self.table.specs[*i].clone()).collect();
        let schema = Arc::new(Schema::new(fields));
        let rate = self.pace.as_ref().map(|p| p.rows_per_s());
        Ok(Arc::new(Self::new(schema, specs, self.rows, self.seed, rate)))
    }

    fn discover(&self, _time_column: Option<usize>, _parallelism: usize) -> Result<Discovery> {
        let Some(rows) = self.rows else {
            let first = self.next_row.fetch_add(SPLITS_PER_LOOK * SPLIT_ROWS, Ordering::SeqCst);
            let starts = (0..SPLITS_PER_LOOK).map(|k| first + k * SPLIT_ROWS);
            let splits = starts.map(|first| Self::split(first, first + SPLIT_ROWS)).collect();
            return Ok(Discovery { splits, finished: false });
        };
        let step = SPLIT_ROWS.max(rows.div_ceil(SPLITS_MAX));
        let starts = (0..rows).step_by(usize::try_from(step).unwrap_or(usize::MAX));
        let splits = starts.map(|first| Self::split(first, first.saturating_add(step).min(rows))).collect();
        Ok(Discovery { splits, finished: true })
    }

    fn take_found(&self) -> Option<Found> {
        Some(numbers::found(&self.next_row))
    }

    fn restore_found(&self, entries: &[String]) -> Result<()> {
        numbers::restore(&self.next_row, entries)
    }

    fn restore(&self, known: &[Split]) -> Result<()> {
        for split in known {
            let [_, end] = range(split)?;
            self.next_row.fetch_max(end, Ordering::SeqCst);
        }
        Ok(())
    }

    fn resume(&self, open: &[(Split, Option<String>)]) -> Result<()> {
        let next = |(split, position): &(Split, Option<String>)| match position {
            Some(position) => Ok(position.parse().unwrap_or(u64::MAX)),
            None => Ok(range(split)?[0]),
        };
        let lowest = open.iter().map(next).collect::<Result<Vec<u64>>>()?.into_iter().min();
        if let (Some(pace), Some(lowest)) = (&self.pace, lowest) {
            pace.begin_at(lowest);
        }
        Ok(())
    }

    fn open(&self, split: &Split, position: Option<&str>, ctx: ReaderContext) -> Result<Box<dyn SplitReader>> {
        let damaged = |what: &str| Error::internal(format!("a datagen split has the {what}"));
        let [first, end] = range(split)?;
        let next = match position {
            None => first,
            Some(p) => p.parse().map_err(|_| damaged(&format!("position {p}")))?,
        };
        let (table, pace) = (Arc::clone(&self.table), self.pace.clone());
        Ok(Box::new(DatagenReader { table, pace, next, end, ctx }))
    }

    fn describe(&self) -> Vec<(String, String)> {
        let columns: Vec<&str> = self.table.schema.fields().iter().map(|f| f.name().as_str()).collect();
        let mut facts = vec![
            ("connector".to_string(), "datagen".to_string()),
            ("columns".to_string(), columns.join(", ")),
            ("rows".to_string(), self.rows.map_or("without end".into(), |n| n.to_string())),
            ("seed".to_string(), self.seed.to_string()),
            ("rules".to_string(), self.rules.join("; ")),
        ];
        if let Some(pace) = &self.pace {
            facts.push(("pace".to_string(), format!("{}/s", pace.rows_per_s())));
        }
        facts
    }
}

/// Reads a range of rows.
struct DatagenReader {
    table: Arc<Columns>,
    pace: Option<Arc<Pace>>,
    next: u64,
    end: u64,
    ctx: ReaderContext,
}

impl SplitReader for DatagenReader {
    fn poll(&mut self) -> Result<SourcePoll> {
        if self.next >= self.end {
            return Ok(SourcePoll::Finished);
        }
        let Some(limit) = pace::due_end(self.pace.as_deref(), self.next..self.end, &self.ctx.wake)? else {
            return Ok(SourcePoll::Pending);
        };
        let room = BATCH_TEXT_BYTES_MAX / self.table.text_bytes.max(1);
        let end = limit.min(self.next.saturating_add(self.ctx.batch_rows.min(room).max(1) as u64));
        let batch = self.table.batch(self.next..end)?;
        self.next = end;
        self.ctx.counters.add_made(batch.num_rows() as u64);
        Ok(SourcePoll::Batch(batch))
    }

    fn position(&self) -> String {
        self.next.to_string()
    }
}
