//! SQL over windows against the definition: random rows, windows and queries, recomputed here in the plainest way.
//!
//! ```text
//!   rows (proptest) ──► files, of one or more splits ──► the engine, at two of nine (batch size, parallelism) ──► cells
//!         └───────────► windows of each row, by definition ──► groups ──► aggregates ─────────────────────────► cells
//! ```
//! Where no row is late the cells are the same at every batch size and parallelism. With late rows the result depends on
//! when the watermark gets to an operator, so there the test's own source (`paced`) waits for it behind every batch.
//!
//! A failing case is printed with the seed that replays it. `RHEOS_TEST_SCALE=10` runs ten times as many cases.

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]

mod aggregates;
mod cascades;
mod definition;
mod engine;
mod grouping;
mod input;
mod joins;
mod late;
mod paced;
mod processing_time;
mod ranks;
mod time;
