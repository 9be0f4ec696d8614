//! JSON lines: one object a line, columns by name.
//!
//! Keys match columns exactly, else without case where only one fits. A key without a column is passed over without being
//! decoded, a column without a key is null, the last of two equal keys counts. Scalars take JSON strings as well (`"12.5"` into DOUBLE), text takes any value as it stands. What is passed
//! over is checked for its brackets and quotes only.

pub(crate) mod keys;
pub(crate) mod rows;
pub(crate) mod scan;
pub mod write;
