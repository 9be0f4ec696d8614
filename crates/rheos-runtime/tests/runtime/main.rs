//! The runtime against small, independent operators: results, flow control, stops and failures.

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]

mod clocks;
mod flow_control;
mod results;
mod state;
mod support;
mod unions;
