//! Bytes to Arrow batches and back: csv, JSON lines, Debezium's changes, Parquet.
//!
//! ```text
//!   chunks of bytes ──► TextDecoder (csv, json, debezium) ──► batches ──► csv, json, debezium, Parquet writers ──► bytes
//!   ranges of a file ──► ParquetDecoder ──────────┘         └─► ColumnText: cells of a table
//! ```
//!
//! Absent on purpose: files, threads, waiting. A decoder asks for bytes and is given them, so it runs on a worker that must
//! never block. Values are cast losslessly to the declared types; what does not fit is a bad record, which is reported or
//! left out alone (see [`OnError`]).

mod bad;
mod cell;
pub mod changelog;
mod column;
pub mod csv;
pub mod debezium;
mod decode;
mod frame;
mod good_rows;
mod infer;
pub mod json;
mod names;
mod nested;
pub mod parquet;
pub mod text;
mod time;
mod value;
mod word;

pub use bad::{BadKind, BadRecord, DecodeError, Fault, OnError};
pub use decode::{DecodeLimits, Decoded, TextDecoder, TextFormat, first_record};
pub use frame::InputRange;
pub use infer::{TEXT, infer_text_schema};
pub use names::unique_names;

#[cfg(test)]
mod tests;
