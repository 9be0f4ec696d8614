//! Stored state: where checkpoints lie, how state lies in them, and how it stays small.
//!
//! ```text
//!   StateDelta ──object::write──► bytes ──put──► CheckpointStore   objects/g3-w1-e17
//!        of each operator             └ ObjectRef ─► Holdings ─► report ─► manifest ──journal::write──► journal/...17.json
//!                                                       │  ▲
//!                                            compact::choose, merge
//!   restore: WorkerPlan ──► segments ──► rows less what tombstones took ──► SnapshotReader of each operator
//! ```
//! The edge of the protocol in `rheos-checkpoint`: that crate decides what is written, deleted and restored; this one does it.
//! Nothing that is read is trusted: lengths have limits, every stretch of bytes has a checksum, and damage is an error that names
//! the object and the operator.
//!
//! Absent on purpose: async (calls block; the caller gives them a thread; object stores have threads of their own behind them),
//! decisions of the protocol.

pub mod compact;
pub mod contents;
mod errors;
mod groups;
pub mod holdings;
pub mod inspect;
pub mod journal;
pub mod kept;
pub mod names;
pub mod object;
mod reach;
pub mod restore;
pub mod spare;
pub mod store;

pub use errors::{is_full, is_removed};
