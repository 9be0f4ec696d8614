//! The operators of Rheos: one file (or folder) each, on the contract of `rheos_core::operator`.
//!
//! ```text
//!   filter ─ project ─ assign_windows        stateless: functions of single rows, fused by the runtime
//!   window_aggregate                         slices of partial aggregates; local (Partial) and final part
//!   sort ─ limit                             of bounded input
//! ```
//!
//! Expressions and accumulators are DataFusion's; `aggregate` closes the gaps (overflow, DISTINCT and ORDER BY for every
//! function). Absent on purpose: threads, clocks, I/O, SQL text.

pub mod aggregate;
pub mod assign_windows;
mod chunk_queue;
mod evaluation;
pub mod filter;
pub mod limit;
pub mod project;
pub mod sort;
mod state;
pub mod window_aggregate;

pub use aggregate::{AggregateCall, aggregate_call};
pub use assign_windows::AssignWindowsFactory;
pub use filter::FilterFactory;
pub use limit::LimitFactory;
pub use project::ProjectFactory;
pub use sort::{SortFactory, SortKey, SortLimit};
pub use window_aggregate::{AggregateMode, AggregateSpec, AggregateWindow, WindowAggregateFactory};
