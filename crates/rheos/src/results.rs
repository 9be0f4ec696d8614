//! The rows of a bare SELECT on their way from the job to the one who reads them.
//!
//! ```text
//!   worker ── write ──► queue (bounded, keeps the tickets) ──────────► Rows (an iterator)
//!                  └──► spool (memory, then a temporary file) ──┘   while an earlier result is being read
//! ```
//!
//! Invariant: rows come out in the order in which they went in. The queue is what bounds memory: a batch in it keeps its
//! ticket, so a slow reader slows the sources. Results that are read later may not do that (all results of a program
//! share their sources, so holding one back would hold all back); they are spooled without tickets instead.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, BufWriter, Seek, SeekFrom};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use rheos_core::change::Changes;
use rheos_core::credit::{Batch, Wake};
use rheos_core::error::{Error, Result};
use rheos_core::sink::{Committable, EpochEnd, Sink, SinkWriter, WriterContext};
use rheos_core::time::Epoch;

/// Batches that wait for the reader, at most.
const QUEUE_BATCHES_MAX: usize = 16;

/// Rows of a result that is not read yet stay in memory up to this size; the rest goes to a temporary file.
const SPOOL_MEMORY_BYTES_MAX: usize = 64 << 20;

/// The rows of one result, batch by batch, as the job makes them. Where they change, the last column is their weight
/// (see [`rheos_core::change`]).
///
/// The iterator ends when the job ends, also when it failed: the job's own result says why. Dropping it gives the rest
/// of the rows away without stopping the job.
#[derive(Debug)]
pub struct Rows {
    schema: SchemaRef,
    key: Option<Vec<usize>>,
    queue: Arc<Queue>,
    spooled: Option<Box<SpoolReader>>,
}

/// What a bounded wait for rows came to.
#[derive(Debug)]
pub enum RowsPoll {
    /// The next rows.
    Batch(RecordBatch),
    /// None came in time.
    Waiting,
    /// All rows have been read.
    End,
}

impl Rows {
    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Columns that no two rows which are there at a time agree in, where some are known.
    pub fn key(&self) -> Option<&[usize]> {
        self.key.as_deref()
    }

    /// Waits for rows, but no longer than `timeout`.
    ///
    /// Errors: `External` where a temporary file cannot be read.
    pub fn poll(&mut self, timeout: Duration) -> Result<RowsPoll> {
        let mut state = self.queue.lock();
        if let Some(spool) = state.spool.take() {
            drop(state);
            self.spooled = Some(Box::new(spool.into_reader()?));
        } else {
            drop(state);
        }
        if let Some(spooled) = &mut self.spooled {
            match spooled.next()? {
                Some(batch) => return Ok(RowsPoll::Batch(batch)),
                None => self.spooled = None,
            }
        }
        state = self.queue.lock();
        if state.batches.is_empty() && !state.closed {
            let waited = self.queue.changed.wait_timeout_while(state, timeout, |s| s.batches.is_empty() && !s.closed);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        match state.batches.pop_front() {
            Some(batch) => {
                let wakes = std::mem::take(&mut state.wakes);
                drop(state);
                wakes.iter().for_each(|wake| wake());
                Ok(RowsPoll::Batch(batch.records))
            }
            None if state.closed => Ok(RowsPoll::End),
            None => Ok(RowsPoll::Waiting),
        }
    }

    /// Reads the rest into memory.
    pub fn collect_all(&mut self) -> Result<Vec<RecordBatch>> {
        self.collect()
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        loop {
            match self.poll(Duration::from_secs(3600)) {
                Ok(RowsPoll::Batch(batch)) => return Some(Ok(batch)),
                Ok(RowsPoll::Waiting) => {}
                Ok(RowsPoll::End) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.unread = true;
        state.batches.clear();
        state.spool = None;
        let wakes = std::mem::take(&mut state.wakes);
        drop(state);
        wakes.iter().for_each(|wake| wake());
    }
}

#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    batches: VecDeque<Batch>,
    /// Taken by the reader when it begins; from then on rows go to `batches`.
    spool: Option<Spool>,
    /// Writers that wait for room.
    wakes: Vec<Wake>,
    closed: bool,
    unread: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} batches, closed: {}", self.batches.len(), self.closed)
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A writer that panicked leaves a queue that is still whole: every change is a single push or pop.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the job puts the rows of one result.
#[derive(Debug, Clone)]
pub(crate) struct ResultSink {
    schema: SchemaRef,
    changes: Changes,
    queue: Arc<Queue>,
}

impl ResultSink {
    /// A sink for rows of `schema`, without their weights.
    pub(crate) fn new(schema: SchemaRef, changes: Changes) -> Self {
        let state = State { batches: VecDeque::new(), spool: None, wakes: Vec::new(), closed: false, unread: false };
        Self { schema, changes, queue: Arc::new(Queue { state: Mutex::new(state), changed: Condvar::new() }) }
    }

    /// The reader of rows, of `schema` with their weights. Call it once.
    pub(crate) fn rows(&self, schema: SchemaRef, key: Option<Vec<usize>>) -> Rows {
        Rows { schema, key, queue: Arc::clone(&self.queue), spooled: None }
    }

    /// Rows are spooled until the reader begins, instead of holding the job back.
    pub(crate) fn spool_until_read(&self) {
        self.queue.lock().spool = Some(Spool::default());
    }

    /// No more rows will come.
    pub(crate) fn close(&self) {
        self.queue.lock().closed = true;
        self.queue.changed.notify_all();
    }
}

impl Sink for ResultSink {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn accepts(&self) -> Changes {
        self.changes
    }

    fn open(&self, ctx: WriterContext) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(ResultWriter { queue: Arc::clone(&self.queue), wake: ctx.wake }))
    }

    fn single_writer(&self) -> bool {
        true
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![("connector".into(), "result".into())]
    }
}

struct ResultWriter {
    queue: Arc<Queue>,
    wake: Wake,
}

impl SinkWriter for ResultWriter {
    fn ready(&mut self) -> Result<bool> {
        let mut state = self.queue.lock();
        let room = state.unread || state.spool.is_some() || state.batches.len() < QUEUE_BATCHES_MAX;
        if !room {
            state.wakes.push(Arc::clone(&self.wake));
        }
        Ok(room)
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        let mut state = self.queue.lock();
        if state.unread {
            return Ok(());
        }
        match &mut state.spool {
            // A full memory spool writes to a file here, on the worker's thread: the page cache takes it, and the
            // case (a second large result) is rare enough not to deserve a thread of its own.
            Some(spool) => spool.push(batch.records)?,
            None => {
                state.batches.push_back(batch);
                drop(state);
                self.queue.changed.notify_all();
            }
        }
        Ok(())
    }

    fn stage(&mut self, _epoch: Epoch, _end: EpochEnd) -> Result<Option<Vec<Committable>>> {
        Ok(Some(Vec::new()))
    }
}

/// Rows that wait for their turn: in memory first, behind them in a file without a name.
#[derive(Default)]
struct Spool {
    memory: VecDeque<RecordBatch>,
    memory_bytes: usize,
    file: Option<StreamWriter<BufWriter<File>>>,
}

impl Spool {
    fn push(&mut self, batch: RecordBatch) -> Result<()> {
        let bytes = batch.get_array_memory_size();
        if self.file.is_none() && self.memory_bytes + bytes <= SPOOL_MEMORY_BYTES_MAX {
            self.memory_bytes += bytes;
            self.memory.push_back(batch);
            return Ok(());
        }
        if self.file.is_none() {
            let file = tempfile::tempfile().map_err(|e| Error::io("create", "a temporary file for results", &e))?;
            self.file = Some(StreamWriter::try_new_buffered(file, batch.schema_ref())?);
        }
        if let Some(writer) = &mut self.file {
            writer.write(&batch)?;
        }
        Ok(())
    }

    fn into_reader(self) -> Result<SpoolReader> {
        let io = |e: &std::io::Error| Error::io("read", "a temporary file of results", e);
        let file = match self.file {
            None => None,
            Some(writer) => {
                let buffered = writer.into_inner()?;
                let mut file = buffered.into_inner().map_err(|e| io(e.error()))?;
                file.seek(SeekFrom::Start(0)).map_err(|e| io(&e))?;
                Some(StreamReader::try_new_buffered(file, None)?)
            }
        };
        Ok(SpoolReader { memory: self.memory, file })
    }
}

#[derive(Debug)]
struct SpoolReader {
    memory: VecDeque<RecordBatch>,
    file: Option<StreamReader<BufReader<File>>>,
}

impl SpoolReader {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(batch) = self.memory.pop_front() {
            return Ok(Some(batch));
        }
        match &mut self.file {
            Some(reader) => Ok(reader.next().transpose()?),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use rheos_core::credit::{CreditPool, Ticket};

    use super::*;

    fn batch(from: i64, rows: i64) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from_iter_values(from..from + rows))]).unwrap()
    }

    fn writer(sink: &ResultSink) -> Box<dyn SinkWriter> {
        sink.open(WriterContext::detached()).unwrap()
    }

    fn reader(sink: &ResultSink) -> Rows {
        sink.rows(sink.schema(), None)
    }

    fn numbers(rows: Rows) -> Vec<i64> {
        rows.flat_map(|b| b.unwrap().column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    #[test]
    fn a_full_queue_is_not_ready_and_holds_its_tickets_until_read() {
        let sink = ResultSink::new(batch(0, 1).schema(), Changes::Append);
        let (mut writer, mut rows) = (writer(&sink), reader(&sink));
        let pool = CreditPool::new(u64::MAX, Arc::new(|| ()));
        for n in 0..QUEUE_BATCHES_MAX as i64 {
            assert!(writer.ready().unwrap());
            writer.write(Batch::new(batch(n, 1), pool.take(1))).unwrap();
        }
        assert!(!writer.ready().unwrap());
        assert_eq!(pool.outstanding_bytes(), QUEUE_BATCHES_MAX as u64);
        assert!(matches!(rows.poll(Duration::ZERO), Ok(RowsPoll::Batch(_))));
        assert!(writer.ready().unwrap());
        assert_eq!(pool.outstanding_bytes(), QUEUE_BATCHES_MAX as u64 - 1);
        sink.close();
        assert_eq!(numbers(rows).len(), QUEUE_BATCHES_MAX - 1);
    }

    #[test]
    fn a_spooled_result_comes_back_in_order_from_memory_and_file() {
        let sink = ResultSink::new(batch(0, 1).schema(), Changes::Append);
        sink.spool_until_read();
        let (mut writer, mut rows) = (writer(&sink), reader(&sink));
        // Three batches of 32 MiB: the last does not fit into memory any more.
        let size = 4 << 20;
        for n in 0..3 {
            assert!(writer.ready().unwrap());
            writer.write(Batch::new(batch(n * size, size), Ticket::none())).unwrap();
        }
        assert!(sink.queue.lock().spool.as_ref().unwrap().file.is_some());
        let Ok(RowsPoll::Batch(first)) = rows.poll(Duration::ZERO) else { panic!("the first batch is there") };
        writer.write(Batch::new(batch(3 * size, 1), Ticket::none())).unwrap();
        sink.close();
        assert_eq!(first.num_rows() as i64, size);
        assert_eq!(numbers(rows), (size..3 * size + 1).collect::<Vec<_>>());
    }

    #[test]
    fn dropping_the_reader_lets_the_job_go_on() {
        let sink = ResultSink::new(batch(0, 1).schema(), Changes::Append);
        let mut writer = writer(&sink);
        for n in 0..QUEUE_BATCHES_MAX as i64 {
            writer.write(Batch::new(batch(n, 1), Ticket::none())).unwrap();
        }
        let rows = reader(&sink);
        assert!(!writer.ready().unwrap());
        drop(rows);
        assert!(writer.ready().unwrap());
    }
}
