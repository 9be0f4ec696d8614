//! The operators from outside, through the harness.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod aggregate_functions;
mod broadcast_joins;
mod cases;
mod changes;
mod clock;
mod first_keys;
mod first_rows;
mod groups;
mod joins;
mod materialised;
mod multi_joins;
mod pipeline;
mod ranks;
mod restore;
mod rows;
mod session_rows;
mod sessions;
mod set_operations;
mod sorting;
mod stored;
mod unnests;
mod update_joins;
mod update_joins_in_time;
mod update_ranks;
mod window_kinds;
mod windows;
