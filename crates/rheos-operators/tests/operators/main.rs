//! The operators from outside, through the harness.

mod aggregate_functions;
mod cases;
mod pipeline;
mod restore;
mod rows;
mod sorting;
mod windows;
