//! The runtime against small, independent operators: results, flow control, stops and failures.

mod clocks;
mod flow_control;
mod results;
mod support;
