//! The sink contract: writers take batches, stage an epoch's output, and it is committed when the epoch is complete.
//!
//! ```text
//!   begin, take over ───────────────────────┐
//!   take over, commit what was released, resume ─► write, write, ... ── epoch ends ──► stage ──► committables ──► commit
//! ```
//!
//! A job that keeps state lists the committables in its checkpoints. What is listed can be committed by any later attempt of
//! the job, and is committed again where nobody knows whether it was; what is not listed is discarded by `resume`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;

use crate::change::Changes;
use crate::credit::{Batch, Wake};
use crate::error::{Result, Warn};
pub use crate::fence::{Admission, Committable, Fence, FenceRecord, Known, Owner, Refusal, ReleaseNumber};
use crate::ids::Generation;
use crate::time::{Epoch, Watermark};

/// What has to be staged at an epoch's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staging {
    /// All that has been written so far: it is durable, and part of the committables. The job keeps state, and will not write
    /// it again after a crash.
    EveryEpoch,
    /// What is complete by the sink's own rules. The job keeps no state; what is not staged dies with it.
    WhenComplete,
}

/// What a writer gets from the engine.
#[derive(Clone)]
pub struct WriterContext {
    /// This worker, from 0.
    pub worker: usize,
    /// The number of workers; each opens one writer.
    pub workers: usize,
    /// The attempt of the job, from 1. No two attempts of a job have the same.
    pub generation: Generation,
    /// What has to be staged at an epoch's end; the same for all writers of a job.
    pub staging: Staging,
    /// Columns that no two rows which are there at a time agree in, where some are known.
    pub key: Option<Vec<usize>>,
    /// Wakes the worker when a writer that was not ready has room, or a pending stage is done.
    pub wake: Wake,
}

impl WriterContext {
    /// The context of the only worker of a job without state, and without an engine behind it: for tests.
    pub fn detached() -> Self {
        let (staging, wake) = (Staging::WhenComplete, Arc::new(|| ()));
        Self { worker: 0, workers: 1, generation: Generation(1), staging, key: None, wake }
    }
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

    /// What kinds of change it takes. A batch has a column of weights then, the last, where rows change at all; the schema
    /// says nothing of it.
    fn accepts(&self) -> Changes {
        Changes::Append
    }

    /// Before anything else: who is told of what goes wrong and is tried again.
    fn set_warn(&self, warn: &Warn) {
        let _ = warn;
    }

    /// The folder whose earlier files the job will delete, if it does so. Checked against what the job reads.
    fn replaces(&self) -> Option<PathBuf> {
        None
    }

    /// The folder that it writes to, in which no other table may write. Without links and dots, as far as it exists.
    fn folder(&self) -> Option<PathBuf> {
        None
    }

    /// Once before the job writes anything: checks and prepares the target (`sink.if-exists`).
    fn begin(&self) -> Result<()> {
        Ok(())
    }

    /// A job that keeps state begins to write: before anything is committed or discarded, and behind [`Sink::begin`] where
    /// nothing was written before. A sink that keeps a [`FenceRecord`] notes the owner's generation, so that a run that was
    /// taken for dead and goes on commits nothing from now on: not even what it had released, which this run may have passed
    /// over.
    ///
    /// Errors: `Conflict` if a newer generation has taken over, or one has written that the job's state does not know.
    fn take_over(&self, owner: &Owner, known: &Known) -> Result<()> {
        let _ = (owner, known);
        Ok(())
    }

    /// Instead of [`Sink::begin`] in a job that goes on from a checkpoint, after what the checkpoint has released was
    /// committed again. Discards all that earlier attempts have staged or left unfinished, except `keep`: what is listed
    /// there may be committed later. What is visible stays.
    fn resume(&self, keep: &[Committable]) -> Result<()> {
        let _ = keep;
        Ok(())
    }

    /// How often output is to become visible in a job that keeps state; zero: with every checkpoint. The engine collects
    /// committables for so long, and commits them together.
    fn commit_interval(&self) -> Duration {
        Duration::ZERO
    }

    /// The writer of one worker.
    fn open(&self, ctx: WriterContext) -> Result<Box<dyn SinkWriter>>;

    /// Makes staged output visible: one release, which is made of what all workers staged in one or more complete epochs,
    /// in the order of epochs and workers. Idempotent: a recovering job calls it again, before [`Sink::resume`], with the
    /// same committables and the same release, also if the first call died in the middle.
    ///
    /// A sink that keeps a [`FenceRecord`] in its target asks it first. `fence` is `None` for a job that keeps no state:
    /// then every commit counts.
    ///
    /// Errors: `External` for what may succeed later; all others end the job.
    fn commit(&self, fence: Option<&Fence>, committables: &[Committable]) -> Result<()> {
        let _ = (fence, committables);
        Ok(())
    }

    /// After the last commit of a job that ended well; of a job that keeps state also when it is started again, so it may come
    /// more than once.
    fn finish(&self) -> Result<()> {
        Ok(())
    }

    /// Whether rows become visible by commits alone, so that what is written again after a crash shows once.
    fn is_transactional(&self) -> bool {
        false
    }

    /// Whether all rows go to one writer, which keeps the order of a sorted result.
    fn single_writer(&self) -> bool {
        false
    }

    /// The sink's meaning as ordered facts, for `explain` and for its stable id.
    fn describe(&self) -> Vec<(String, String)>;
}
