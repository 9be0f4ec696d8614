//! The real binary, run as a process: exit codes, what is on stdout and what on stderr, messages, signals, bad input.
//!
//! Expected rows are computed by hand from inputs of a few lines; those of the book were checked with DuckDB.

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]

mod bad_input;
mod bench;
mod cases;
mod changes;
mod checkpoints;
mod completion;
mod config;
mod debezium;
mod docs;
mod explain;
mod files;
mod first_rows;
mod follow;
mod letters;
mod letters_kept;
mod nexmark;
mod process;
mod restarts;
mod savepoints;
mod state;
mod stores;
mod streams;
