//! Parquet: row groups to batches of the declared types, and back.

pub(crate) mod cast;
pub mod merge;
mod nested;
pub mod read;
pub mod write;
