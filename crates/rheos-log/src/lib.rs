//! The embedded queue: what producers send is on disk before it is acknowledged, and is read again as it was sent.
//!
//! ```text
//!   produce ──► Partition::append ──► Segment: bytes as they came, but for the offset ──► wait for the sync
//!                    │                                                                        ▲
//!                    ╰──────────► Committer: one sync for all that came meanwhile ────────────╯
//!   fetch ────► Partition::read: whole batches below what is synced, or below the oldest open transaction
//! ```
//! [`Topics`](topics::Topics) has the partitions by name. Batches have Kafka's format 2 and are never taken apart here: compressed ones stay as they are. Who is acknowledged has been
//! synced; what a crash tears off the end of a segment was acknowledged to nobody.

pub mod batch;
pub mod commit;
pub mod disk;
pub mod partition;
mod refusal;
mod segment;
pub mod settings;
mod sidecar;
pub mod topics;

pub use refusal::Refusal;
