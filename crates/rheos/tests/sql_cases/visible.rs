//! A sink whose rows become visible by commits alone, and stay when the job dies: what a reader of the output sees.
//!
//! Committables are the rows themselves, as an Arrow stream. A commit can be made to crash the job, before or after it is
//! carried out.

use std::sync::{Arc, Mutex, OnceLock};

use rheos::arrow::datatypes::SchemaRef;
use rheos::arrow::ipc::{reader::StreamReader, writer::StreamWriter};
use rheos::arrow::record_batch::RecordBatch;
use rheos::sink::{Admission, Committable, EpochEnd, Fence, FenceRecord, Sink, SinkWriter, WriterContext};
use rheos::time::Epoch;
use rheos::{Batch, Error, ErrorKind, JobControl, Result};

/// The code of its error.
pub(crate) const DIES: u16 = 999;

/// When a commit ends its generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitCrash {
    Before,
    After,
}

/// What is visible, over all generations of one job.
#[derive(Debug, Clone, Default)]
pub(crate) struct Visible(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    record: Option<FenceRecord>,
    batches: Vec<RecordBatch>,
}

impl Visible {
    pub(crate) fn batches(&self) -> Vec<RecordBatch> {
        self.0.lock().unwrap().batches.clone()
    }
}

/// The sink of one generation.
pub(crate) struct VisibleSink {
    pub(crate) schema: SchemaRef,
    /// Rows come in an order that is to be kept.
    pub(crate) ordered: bool,
    pub(crate) visible: Visible,
    /// Of the next commit.
    pub(crate) crash: Option<CommitCrash>,
    /// Filled in when the job has started.
    pub(crate) control: Arc<OnceLock<JobControl>>,
}

impl std::fmt::Debug for VisibleSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VisibleSink")
    }
}

impl VisibleSink {
    fn die(&self) -> Result<()> {
        self.control.wait().abort();
        Err(Error::new(ErrorKind::Conflict, DIES, "the job dies in a commit"))
    }
}

impl Sink for VisibleSink {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn open(&self, _ctx: WriterContext) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(Writer { schema: self.schema(), rows: Vec::new() }))
    }

    fn commit(&self, fence: Option<&Fence>, committables: &[Committable]) -> Result<()> {
        let fence = fence.expect("the job keeps state");
        if self.crash == Some(CommitCrash::Before) {
            return self.die();
        }
        let mut shown = self.visible.0.lock().unwrap();
        if shown.record.map_or(Admission::Apply, |record| record.admits(fence)) == Admission::Apply {
            for Committable(bytes) in committables {
                let rows =
                    StreamReader::try_new(bytes.as_slice(), None)?.collect::<std::result::Result<Vec<_>, _>>()?;
                shown.batches.extend(rows);
            }
            shown.record = Some(FenceRecord::after(shown.record, fence));
        }
        drop(shown);
        if self.crash == Some(CommitCrash::After) { self.die() } else { Ok(()) }
    }

    fn is_transactional(&self) -> bool {
        true
    }

    fn single_writer(&self) -> bool {
        self.ordered
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![("connector".into(), "visible".into())]
    }
}

struct Writer {
    schema: SchemaRef,
    rows: Vec<RecordBatch>,
}

impl SinkWriter for Writer {
    fn ready(&mut self) -> Result<bool> {
        Ok(true)
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        self.rows.push(batch.records);
        Ok(())
    }

    /// Also where there are no rows: each checkpoint is to have a commit.
    fn stage(&mut self, _epoch: Epoch, _end: EpochEnd) -> Result<Option<Vec<Committable>>> {
        let mut stream = StreamWriter::try_new(Vec::new(), &self.schema)?;
        self.rows.drain(..).try_for_each(|batch| stream.write(&batch))?;
        Ok(Some(vec![Committable(stream.into_inner()?)]))
    }
}
