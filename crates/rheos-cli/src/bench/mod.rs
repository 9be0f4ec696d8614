//! `rheos bench`: what Rheos can do on this machine, measured by Rheos itself.
//!
//! ```text
//!   nexmark ─► one program a query ─► process: a child each run ─► measure ─► Measurement (one JSON line)
//!      │                                                                          │
//!      └── events: made, or written once and read as files                figures: medians ─► table | json | jsonl
//! ```
//!
//! Beside it: `latency`, of a job at a fixed rate in this process, and `startup`, of many processes.
//!
//! Invariant: a run has a process of its own, so that processor time and peak memory are that run's alone. A further
//! kind of benchmark is a further module and a further variant of [`args::BenchCommand`].

pub(crate) mod args;
mod events;
mod figures;
pub(crate) mod latency;
pub(crate) mod measure;
pub(crate) mod nexmark;
mod process;
mod queries;
pub(crate) mod startup;
