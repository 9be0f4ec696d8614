//! Drives operators from outside, without a runtime, and compares what they emit.
//!
//! ```text
//!   batch! { "k": Int64 = [1, 2], ... }  ──►  Harness (N workers, exchange by key, clock, epochs)  ──►  rows as strings
//!                                                  │ StateDeltas per epoch
//!                                                  └──► restore: a new harness, at any parallelism
//! ```
//! A dev-dependency only. It panics, with a sentence, where an operator breaks its contract.

mod batches;
mod harness;
mod scale;
mod snapshot;

pub use batches::{batch_of, lists, rows, sorted_rows};
pub use harness::{OperatorHarness, Routing};
pub use scale::cases;
pub use snapshot::Snapshot;

#[doc(hidden)]
pub use arrow;
