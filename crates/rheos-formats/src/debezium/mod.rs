//! Changes of a database table as Debezium writes them, in JSON: one change a line.
//!
//! ```text
//!   {"before":null,   "after":{"id":1,"n":5},"op":"c"}      c, r: a row is there (r: it was there when reading began)
//!   {"before":{..},   "after":{..},          "op":"u"}      u: a row has changed
//!   {"before":{..},   "after":null,          "op":"d"}      d: a row is gone
//!   {"schema":{..}, "payload":{"before":..,"after":..,"op":..}}      the same where Debezium is told to write schemas
//!
//!   c, r   +after        u   -before +after        d   -before
//! ```
//!
//! A table with a primary key trusts a deletion for its key alone, and asks for no row before an update: what was there under
//! the key is replaced. So a change that comes twice counts once there, and the database need not write whole rows before a
//! change. Lines that are empty or `null` (a queue's mark that a key is gone) are passed over.
//!
//! A change of several lines, of several tables, or of none (`t`: all rows are gone; `m`: a message) is a bad record.
//! Absent: times as numbers. Debezium writes those of columns without a zone as numbers of its own; they are BIGINT here.

pub(crate) mod changes;
pub(crate) mod scan;
pub mod write;

use arrow::datatypes::SchemaRef;

/// What is known of a table whose changes are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DebeziumOptions {
    /// The columns of the primary key, if the table has one: indices of the declared columns, all among those that are read.
    pub key: Option<Vec<usize>>,
}

/// The columns of changes of `rows`: with a weight, and, under a key (places in `rows`), null where only the key is sure.
pub fn schema(rows: &SchemaRef, key: Option<Vec<usize>>) -> SchemaRef {
    SchemaRef::clone(changes::Changes::new(SchemaRef::clone(rows), key).schema())
}

#[cfg(test)]
mod tests;
