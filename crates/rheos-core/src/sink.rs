//! The sink contract: writers take batches, stage an epoch's output, and it is committed when the epoch is complete.
//!
//! ```text
//!   write, write, ... ── epoch ends ──► stage ──► committables ── all workers staged ──► commit (idempotent)
//! ```

use std::fmt;
use std::path::PathBuf;

use arrow::datatypes::SchemaRef;

use crate::credit::{Batch, Wake};
use crate::error::Result;
use crate::time::{Epoch, Watermark};

/// Staged output that becomes visible by `commit`, in the sink's own form (JSON).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committable(pub String);

/// What a writer gets from the engine.
#[derive(Clone)]
pub struct WriterContext {
    /// This worker, from 0.
    pub worker: usize,
    /// Wakes the worker when a writer that was not ready has room, or a pending stage is done.
    pub wake: Wake,
}

/// Why an epoch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochEnd {
    /// More will follow.
    Running,
    /// The job ends here: everything must become visible.
    Last,
}

/// The output of one worker.
pub trait SinkWriter {
    /// Whether `write` may be called; `false` arranges a wake-up.
    fn ready(&mut self) -> Result<bool>;

    /// Takes rows. The batch's ticket is dropped when they are accepted (written to a file, handed to the system).
    fn write(&mut self, batch: Batch) -> Result<()>;

    /// The watermark has moved: every row below it has been given to `write`, except late ones. Comes before the `stage`
    /// of the epoch in which it moved; at the end of the input it is [`Watermark::MAX`], at a stop it stays where it is.
    fn on_watermark(&mut self, watermark: Watermark) {
        let _ = watermark;
    }

    /// Closes the epoch's output. `None`: still being written; a wake-up follows and it is asked again.
    fn stage(&mut self, epoch: Epoch, end: EpochEnd) -> Result<Option<Vec<Committable>>>;
}

/// A writable table: shared by the workers.
pub trait Sink: Send + Sync + fmt::Debug {
    /// The columns that it takes.
    fn schema(&self) -> SchemaRef;

    /// The folder whose earlier files the job will delete, if it does so. Checked against what the job reads.
    fn replaces(&self) -> Option<PathBuf> {
        None
    }

    /// Once before the job writes anything: checks and prepares the target (`sink.if-exists`).
    fn begin(&self) -> Result<()> {
        Ok(())
    }

    /// The writer of one worker.
    fn open(&self, ctx: WriterContext) -> Result<Box<dyn SinkWriter>>;

    /// Makes staged output visible. Idempotent: a recovering job calls it again. The committables are those of all
    /// workers of one or more complete epochs, in the order of the epochs.
    fn commit(&self, committables: &[Committable]) -> Result<()> {
        let _ = committables;
        Ok(())
    }

    /// Once after the last commit of a job that ended well.
    fn finish(&self) -> Result<()> {
        Ok(())
    }

    /// Whether all rows go to one writer, which keeps the order of a sorted result.
    fn single_writer(&self) -> bool {
        false
    }

    /// The sink's meaning as ordered facts, for `explain` and for its stable id.
    fn describe(&self) -> Vec<(String, String)>;
}
