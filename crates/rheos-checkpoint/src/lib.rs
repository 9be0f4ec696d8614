//! Checkpoints: what is written down of a job, and every decision of the protocol as a pure function.
//!
//! ```text
//!   clock ──► Coordinator ──Cut──────────► workers: cut, upload one object each, report
//!                 ▲  │  ◄─────Report──────
//!                 │  ├────Write──────────► journal: entry n, written only if n is free; then its witness
//!                 │  │  ◄─────Written─────
//!                 │  └────Commit, Acknowledge ──► sinks, sources
//!    after a crash: journal ──► recovery ──► claim (entry n + 1) ──► rescale ──► a new generation
//!    now and then:  journal, listing ──► garbage ──► what may be deleted
//! ```
//!
//! The *journal* is the one place of truth: numbered entries, each a manifest or a generation's claim, each written by a
//! conditional write. A generation that has been replaced finds the number it wants taken by its successor's claim: it
//! can complete no checkpoint, and so it commits nothing that its successor does not commit as well.
//!
//! Absent on purpose: I/O, clocks, threads, async. Time is a parameter (milliseconds on a clock that never goes back), what
//! happened comes in as events, what to do goes out as decisions. That is what lets a model test try the orders of events
//! one by one, and lets `rheos run` and a cluster share the protocol.

pub mod coordinator;
pub mod garbage;
pub mod journal;
pub mod lease;
pub mod manifest;
pub mod program;
pub mod recovery;
pub mod rescale;
pub mod restart;
