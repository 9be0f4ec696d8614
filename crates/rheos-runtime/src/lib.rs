//! Runs a job graph on Timely Dataflow. The only crate that knows Timely.
//!
//! ```text
//!   job.rs       builds one dataflow a worker from the graph, starts and joins the workers
//!   source.rs    reads splits, stamps batches with (epoch, watermark), obeys credit
//!   splits.rs    hands splits out and publishes the watermark of a source (one a job)
//!   intake.rs    stash, effective watermark and epoch of an operator's inputs
//!   adapter.rs   turns any `Operator` into a Timely operator
//!   closings.rs  how far operators may come in an epoch that others have left
//!   chain.rs     fused stateless operators
//!   union.rs     inputs put together under one schema
//!   order.rs     which source is read first; first_rows.rs: steps that need not give all their rows
//!   sink.rs      writers, staging; parts.rs puts together what a worker has to say of an epoch
//!   checkpoints.rs  the thread that announces epochs and, when all workers have told, commits (on errands.rs)
//!   beginning.rs finds the checkpoint that the job goes on from; uploads.rs stores what operators changed
//!   restarts.rs  runs one generation of the job after another, until one ends well or none may mend it
//!   suspects.rs  records that end generations, to be put aside
//!   savepoints.rs  savepoints that are asked for, and their answers; requests.rs: checkpoints
//!   control.rs   stop, fail, wake; metrics.rs counts
//! ```
//!
//! Invariants: a worker thread never blocks; a batch at (e, t) is seen by an operator in epoch e; credit is returned by
//! ownership, never by frontiers; the first error ends the whole generation and is the one that is reported.

mod adapter;
mod beginning;
mod chain;
mod channel;
mod checkpoints;
mod closings;
mod control;
mod errands;
mod event_times;
mod exchange;
mod first_rows;
mod folders;
mod intake;
mod job;
mod letters;
mod merges;
mod metrics;
mod order;
mod parts;
mod requests;
mod restarts;
mod savepoints;
mod sink;
mod source;
mod splits;
mod suspects;
mod time;
mod union;
mod uploads;

pub use beginning::StateConfig;
pub use control::{JobControl, StopMode};
pub use exchange::HashSplit;
pub use job::{CREDIT_BYTES_DEFAULT, RunConfig, check};
pub use metrics::{JobReport, NodeStats, Snapshot, SourceStats};
pub use requests::CheckpointRequest;
pub use restarts::run;
pub use rheos_checkpoint::restart::RestartPolicy;
pub use savepoints::{AfterSavepoint, Asked};
