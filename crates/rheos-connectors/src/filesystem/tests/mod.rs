//! Files as a whole: every row once, every mistake named, every part committed once. Here: what the tests share.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;
use rheos_core::connector::TableDefinition;
use rheos_core::letters::LetterBox;
use rheos_core::sink::{Committable, EpochEnd, Sink, SinkWriter, Staging, WriterContext};
use rheos_core::source::{ReaderContext, Source, SourcePoll, Split};
use rheos_core::{Batch, CreditPool, Epoch, Error, ErrorKind, Result, Ticket};

mod exactly_once;
mod following;
mod metadata;
mod partitions;
mod positions;
mod reading;
mod remembered;
mod restoring;
mod rotated;
mod writing;

use super::sink::FileSink;
use super::source::{FileSource, infer_schema};
use super::staged::Staged;

const TS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>()))
}

fn table(path: &Path, schema: &SchemaRef, options: &[(&str, &str)]) -> TableDefinition {
    let mut given: BTreeMap<String, String> = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    given.insert("path".into(), path.to_str().unwrap().into());
    let (schema, partitioned_by, metadata) = (Arc::clone(schema), vec![], vec![]);
    TableDefinition { name: "t".into(), schema, options: given, partitioned_by, primary_key: vec![], metadata }
}

/// Rows of one split from a position; with the position behind each batch.
fn read_split(
    source: &dyn Source,
    split: &Split,
    position: Option<&str>,
    ctx: &ReaderContext,
) -> Result<Vec<(RecordBatch, String)>> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut reader = source.open(split, position, ctx.clone())?;
    let mut batches = vec![];
    loop {
        match reader.poll()? {
            // That letters are taken.
            SourcePoll::Batch(batch) if batch.num_rows() == 0 && ctx.letters.is_some() => {}
            SourcePoll::Batch(batch) => {
                assert!((1..=ctx.batch_rows).contains(&batch.num_rows()));
                batches.push((batch, reader.position()));
            }
            SourcePoll::Finished => return Ok(batches),
            SourcePoll::Pending => {
                assert!(Instant::now() < deadline, "the reader hangs");
                std::thread::yield_now();
            }
        }
    }
}

struct Read {
    batches: Vec<RecordBatch>,
    splits: Vec<Split>,
    skipped: u64,
}

impl Read {
    fn ints(&self) -> Vec<Option<i64>> {
        self.batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>()).collect()
    }

    fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

fn read_source(source: &dyn Source) -> Result<Read> {
    let found = source.discover(None, 2)?;
    assert!(found.finished);
    let ctx = ReaderContext::detached(100);
    let mut batches = vec![];
    for split in &found.splits {
        batches.extend(read_split(source, split, None, &ctx)?.into_iter().map(|(b, _)| b));
    }
    let total: u64 = found.splits.iter().map(|s| s.size_bytes).sum();
    assert_eq!(ctx.counters.bytes.load(Ordering::Relaxed), total, "the progress bar ends at 100 %");
    let skipped = ctx.counters.skipped.load(Ordering::Relaxed);
    Ok(Read { batches, splits: found.splits, skipped })
}

fn read(path: &Path, schema: &SchemaRef, options: &[(&str, &str)]) -> Result<Read> {
    read_source(&FileSource::try_new(&table(path, schema, options))?)
}

fn fail(path: &Path, schema: &SchemaRef, options: &[(&str, &str)]) -> Error {
    read(path, schema, options).err().expect("it is refused")
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

const CSV: (&str, &str) = ("format", "csv");
const JSON: (&str, &str) = ("format", "json");
const PARQUET: (&str, &str) = ("format", "parquet");
const LINES: (&str, &str) = ("multiline", "false");
const SKIP: (&str, &str) = ("on-error", "skip");
const LETTERS: (&str, &str) = ("on-error", "dead-letter");

fn rows(range: std::ops::Range<i64>) -> RecordBatch {
    let a: ArrayRef = Arc::new(Int64Array::from_iter_values(range));
    RecordBatch::try_from_iter_with_nullable([("a", a, true)]).unwrap()
}

fn sink(path: &Path, options: &[(&str, &str)]) -> Result<FileSink> {
    FileSink::try_new(&table(path, &schema(&[("a", DataType::Int64)]), options))
}

/// The context of one of several workers.
fn worker(worker: usize, workers: usize) -> WriterContext {
    WriterContext { worker, workers, ..WriterContext::detached() }
}

/// The parts that are staged in committables.
fn parts(staged: &[Committable]) -> usize {
    staged.iter().map(|c| Staged::parse(c).unwrap().parts.len()).sum()
}

fn stage(writer: &mut dyn SinkWriter, end: EpochEnd) -> Vec<Committable> {
    stage_epoch(writer, 1, end)
}

fn stage_epoch(writer: &mut dyn SinkWriter, epoch: u64, end: EpochEnd) -> Vec<Committable> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(staged) = writer.stage(Epoch(epoch), end).unwrap() {
            return staged;
        }
        assert!(Instant::now() < deadline, "the writer hangs");
        std::thread::yield_now();
    }
}

fn put(writer: &mut dyn SinkWriter, batch: RecordBatch, ticket: Ticket) {
    while !writer.ready().unwrap() {
        std::thread::yield_now();
    }
    writer.write(Batch::new(batch, ticket)).unwrap();
}

fn run_job(sink: &FileSink, workers: usize, batches: usize) -> Vec<Committable> {
    sink.begin().unwrap();
    let mut staged = vec![];
    for n in 0..workers {
        let mut writer = sink.open(worker(n, workers)).unwrap();
        for n in 0..batches as i64 {
            put(writer.as_mut(), rows(n * 100..(n + 1) * 100), Ticket::none());
        }
        staged.extend(stage(writer.as_mut(), EpochEnd::Last));
    }
    sink.commit(None, &staged).unwrap();
    staged
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn write_parquet(folder: &Path) -> std::path::PathBuf {
    let a: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
    let t: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values((0..1000).map(|n| n * 1_000_000)));
    let s: ArrayRef = Arc::new(StringViewArray::from_iter_values((0..1000).map(|n| format!("text {n}"))));
    let batch = RecordBatch::try_from_iter([("s", s), ("t", t), ("a", a)]).unwrap();
    let path = folder.join("x.parquet");
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(300)).build();
    let mut writer = ArrowWriter::try_new(fs::File::create(&path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path
}

/// Rows and skipped records of one split: up to some poll, and from the position that is taken there.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    rows: Vec<i64>,
    skipped: u64,
}

impl Seen {
    fn add(&mut self, batch: &RecordBatch) {
        self.rows.extend_from_slice(batch.column(0).as_primitive::<Int64Type>().values());
    }

    fn join(&mut self, more: Seen) {
        self.rows.extend(more.rows);
        self.skipped += more.skipped;
    }
}

/// Asks a reader `polls` times, or to the end; gives the position there.
fn read_some(
    source: &dyn Source,
    split: &Split,
    position: Option<&str>,
    batch_rows: usize,
    mut polls: usize,
) -> (Seen, Option<String>) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let letters = Arc::new(LetterBox::default());
    let ctx = ReaderContext { letters: Some(Arc::clone(&letters)), ..ReaderContext::detached(batch_rows) };
    let mut reader = source.open(split, position, ctx.clone()).unwrap();
    let mut seen = Seen::default();
    // The box is emptied before the position is asked for.
    let skipped = || ctx.counters.skipped.load(Ordering::Relaxed) + letters.take().len() as u64;
    while polls > 0 {
        match reader.poll().unwrap() {
            SourcePoll::Batch(batch) => seen.add(&batch),
            SourcePoll::Finished => return (Seen { skipped: skipped(), ..seen }, None),
            SourcePoll::Pending => std::thread::yield_now(),
        }
        assert!(Instant::now() < deadline, "the reader hangs");
        polls = polls.saturating_sub(1);
    }
    (Seen { skipped: skipped(), ..seen }, Some(reader.position()))
}

/// Sets when a file was changed, in seconds since 1970.
fn touch(path: &Path, seconds: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
}
