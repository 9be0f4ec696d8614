//! The operators of Rheos: one file (or folder) each, on the contract of `rheos_core::operator`.
//!
//! ```text
//!   filter ─ project ─ assign_windows        stateless: functions of single rows, fused by the runtime
//!   lenient                                  around one of these, or an aggregate: rows that fail become dead letters
//!   late                                     takes out what comes after its windows
//!   unnest                                   stateless too, but one row may become many
//!   window_aggregate                         slices of partial aggregates; local (Partial) and final part
//!   sessions                                 the same for sessions, and rows with their session
//!   window_join ─ window_rank                rows that carry their window wait for its end (windowed_rows)
//!   update_join                              rows of both sides by key (keyed); what comes and goes changes the result
//!   multi_join                               inner joins of several inputs by one key, without the rows of joins of two
//!   update_rank ─ set_operation              rows that change: top-N and deduplication, INTERSECT and EXCEPT
//!   keep_first                               the first row of each key that comes, and no other
//!   materialise                              rows that replace each other by a key, as rows that come and go
//!   group_aggregate                          GROUP BY and DISTINCT whose results change (keyed)
//!   sort ─ limit                             of bounded input
//!   plan                                     adds them to a job graph, with the exchanges that they need
//! ```
//!
//! Expressions and accumulators are DataFusion's; `aggregate` closes the gaps (overflow, DISTINCT and ORDER BY for every
//! function). Absent on purpose: threads, clocks, I/O, SQL text.

pub mod aggregate;
pub mod assign_windows;
pub mod broadcast_join;
pub mod choice;
mod chunk_queue;
mod evaluation;
pub mod filter;
pub mod group_aggregate;
mod joining;
pub mod keep_first;
mod keyed;
mod lanes;
pub mod late;
pub mod lenient;
pub mod limit;
pub mod materialise;
pub mod multi_join;
pub mod plan;
pub mod project;
pub mod quotient;
pub mod risk;
mod row_error;
mod row_keys;
pub mod scaled_integer;
pub mod sessions;
pub mod set_operation;
pub mod sort;
mod state;
pub mod unnest;
pub mod update_join;
pub mod update_rank;
mod weighted;
pub mod window_aggregate;
pub mod window_join;
pub mod window_rank;
mod windowed_rows;

pub use aggregate::{AggregateCall, aggregate_call};
pub use assign_windows::AssignWindowsFactory;
pub use broadcast_join::{BroadcastJoinFactory, BroadcastJoinSpec, Closing};
pub use filter::FilterFactory;
pub use group_aggregate::{GroupAggregateFactory, GroupAggregateSpec, GroupEmits};
pub use keep_first::{KeepFirstFactory, KeepFirstSpec};
pub use late::{LatePort, LateRowsFactory};
pub use lenient::LenientFactory;
pub use limit::LimitFactory;
pub use materialise::{KeyedChanges, MaterialiseFactory, MaterialiseSpec};
pub use multi_join::{MultiJoinFactory, MultiJoinInput, MultiJoinSpec};
pub use project::ProjectFactory;
pub use sessions::AssignSessionsFactory;
pub use set_operation::{SetOperation, SetOperationFactory, SetOperationSpec};
pub use sort::{SortFactory, SortKey, SortLimit};
pub use unnest::{UnnestFactory, UnnestOutput, UnnestSpec};
pub use update_join::{TimeBounds, UpdateJoinFactory, UpdateJoinInput, UpdateJoinSpec};
pub use update_rank::{Tells, UpdateRankFactory, UpdateRankSpec};
pub use window_aggregate::{AggregateMode, AggregateSpec, AggregateTime, AggregateWindow, WindowAggregateFactory};
pub use window_join::{WindowJoinFactory, WindowJoinInput, WindowJoinSpec};
pub use window_rank::{RankFunction, WindowRankFactory, WindowRankSpec};
pub use windowed_rows::WindowColumns;
