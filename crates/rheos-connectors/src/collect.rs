//! Rows into memory, behind a limit: the results of bare SELECTs, and tests.
//!
//! ```text
//!   workers ──► CollectSink ──[at most limit_bytes]──► CollectHandle ──► whoever prints or checks
//! ```
//!
//! The handle ends when the job has committed its last epoch, or when [`CollectSink::end`] says that it failed. Rows that
//! come when the handle is gone are dropped, so that a reader that stops does not stop the job.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rheos_core::credit::Wake;
use rheos_core::sink::{Committable, EpochEnd, Sink, SinkWriter, WriterContext};
use rheos_core::{Batch, Epoch, Result};

use crate::io::pool::lock;

/// Bytes that wait for the reader, unless another limit is given.
pub const LIMIT_BYTES_DEFAULT: usize = 8 << 20;

#[derive(Default)]
struct State {
    batches: VecDeque<(RecordBatch, usize)>,
    bytes: usize,
    ended: bool,
    abandoned: bool,
    /// Writers that found the buffer full.
    waiting: Vec<Wake>,
}

struct Shared {
    limit_bytes: usize,
    state: Mutex<State>,
    changed: Condvar,
}

/// A sink that keeps rows until its handle takes them.
pub struct CollectSink {
    schema: SchemaRef,
    shared: Arc<Shared>,
}

impl fmt::Debug for CollectSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CollectSink")
    }
}

impl CollectSink {
    /// A sink for rows of `schema` and the handle that gives them, with [`LIMIT_BYTES_DEFAULT`]. The handle must be read
    /// while the job runs.
    pub fn new(schema: SchemaRef) -> (Arc<Self>, CollectHandle) {
        Self::with_limit(schema, LIMIT_BYTES_DEFAULT)
    }

    /// One with another limit; `usize::MAX` lets a test read the rows when the job is over.
    pub fn with_limit(schema: SchemaRef, limit_bytes: usize) -> (Arc<Self>, CollectHandle) {
        let shared = Arc::new(Shared { limit_bytes, state: Mutex::default(), changed: Condvar::new() });
        let handle = CollectHandle { schema: Arc::clone(&schema), shared: Arc::clone(&shared) };
        (Arc::new(Self { schema, shared }), handle)
    }

    /// No rows follow. Called by `finish`; whoever runs a job calls it when the job has failed. Idempotent.
    pub fn end(&self) {
        lock(&self.shared.state).ended = true;
        self.shared.changed.notify_all();
    }
}

impl Drop for CollectSink {
    fn drop(&mut self) {
        self.end();
    }
}

impl Sink for CollectSink {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn open(&self, ctx: WriterContext) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(CollectWriter { shared: Arc::clone(&self.shared), wake: ctx.wake }))
    }

    fn finish(&self) -> Result<()> {
        self.end();
        Ok(())
    }

    fn single_writer(&self) -> bool {
        true
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![("connector".into(), "result".into())]
    }
}

struct CollectWriter {
    shared: Arc<Shared>,
    wake: Wake,
}

impl SinkWriter for CollectWriter {
    fn ready(&mut self) -> Result<bool> {
        let mut state = lock(&self.shared.state);
        if state.bytes < self.shared.limit_bytes || state.abandoned {
            return Ok(true);
        }
        state.waiting.push(Arc::clone(&self.wake));
        Ok(false)
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        let mut state = lock(&self.shared.state);
        if !state.abandoned && batch.records.num_rows() > 0 {
            let bytes = batch.records.get_array_memory_size();
            state.bytes += bytes;
            state.batches.push_back((batch.records, bytes));
            self.shared.changed.notify_all();
        }
        Ok(())
    }

    fn stage(&mut self, _epoch: Epoch, _end: EpochEnd) -> Result<Option<Vec<Committable>>> {
        Ok(Some(vec![]))
    }
}

/// Takes the rows out. As an iterator it waits for rows and ends when the sink does.
pub struct CollectHandle {
    schema: SchemaRef,
    shared: Arc<Shared>,
}

impl fmt::Debug for CollectHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CollectHandle")
    }
}

impl CollectHandle {
    /// The columns of the rows.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The next batch if one is there, without waiting.
    pub fn try_next(&self) -> Option<RecordBatch> {
        self.pop(&mut lock(&self.shared.state))
    }

    fn pop(&self, state: &mut State) -> Option<RecordBatch> {
        let (batch, bytes) = state.batches.pop_front()?;
        state.bytes -= bytes;
        if state.bytes < self.shared.limit_bytes {
            state.waiting.drain(..).for_each(|wake| wake());
        }
        Some(batch)
    }
}

impl Iterator for CollectHandle {
    type Item = RecordBatch;

    fn next(&mut self) -> Option<RecordBatch> {
        let mut state = lock(&self.shared.state);
        loop {
            if let Some(batch) = self.pop(&mut state) {
                return Some(batch);
            }
            if state.ended {
                return None;
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for CollectHandle {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.abandoned = true;
        state.batches.clear();
        state.bytes = 0;
        state.waiting.drain(..).for_each(|wake| wake());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array};
    use rheos_core::CreditPool;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn batch(n: i64) -> RecordBatch {
        let a: ArrayRef = Arc::new(Int64Array::from_iter_values(0..n));
        RecordBatch::try_from_iter([("a", a)]).unwrap()
    }

    #[test]
    fn a_full_buffer_holds_the_writer_back_until_it_is_drained() {
        let (sink, handle) = CollectSink::with_limit(batch(1).schema(), 100);
        let wakes = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&wakes);
        let wake: Wake = Arc::new(move || {
            seen.fetch_add(1, Ordering::SeqCst);
        });
        let mut writer = sink.open(WriterContext { wake, ..WriterContext::detached() }).unwrap();
        let pool = CreditPool::new(1, Arc::new(|| ()));
        assert!(writer.ready().unwrap());
        writer.write(Batch::new(batch(100), pool.take(800))).unwrap();
        assert_eq!(pool.outstanding_bytes(), 0, "accepted");
        assert!(!writer.ready().unwrap());
        assert_eq!(handle.try_next().unwrap().num_rows(), 100);
        assert!(handle.try_next().is_none());
        assert_eq!(wakes.load(Ordering::SeqCst), 1);
        assert!(writer.ready().unwrap());
    }

    #[test]
    fn the_handle_waits_for_rows_and_ends_with_the_sink() {
        let (sink, handle) = CollectSink::new(batch(1).schema());
        let reader = std::thread::spawn(move || handle.map(|b| b.num_rows()).sum::<usize>());
        let mut writer = sink.open(WriterContext::detached()).unwrap();
        for _ in 0..10 {
            writer.write(Batch::new(batch(7), rheos_core::Ticket::none())).unwrap();
        }
        sink.finish().unwrap();
        assert_eq!(reader.join().unwrap(), 70);
    }

    #[test]
    fn a_reader_that_has_gone_does_not_stop_the_job() {
        let (sink, handle) = CollectSink::with_limit(batch(1).schema(), 1);
        let mut writer = sink.open(WriterContext::detached()).unwrap();
        writer.write(Batch::new(batch(7), rheos_core::Ticket::none())).unwrap();
        assert!(!writer.ready().unwrap());
        drop(handle);
        assert!(writer.ready().unwrap());
    }
}
