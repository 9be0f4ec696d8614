//! The operators from outside, through the harness.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod aggregate_functions;
mod cases;
mod pipeline;
mod restore;
mod rows;
mod sorting;
mod windows;
