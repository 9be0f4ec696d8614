//! What an operator hands over at an epoch's end, and what it is restored from.
//!
//! A table of state is a sequence of *sealed runs*: batches that never change. An epoch adds runs and tombstones; a
//! restore applies them in the order of their epochs. Every run names the layout of its columns, so that a later
//! version can read it, migrate it, or refuse it by name.

use arrow::record_batch::RecordBatch;

use crate::error::Result;
use crate::key::KeyGroup;

/// How a table is spread over workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    /// By key group: each row goes to the worker that owns its group.
    Keyed,
    /// Each row to any one worker.
    Split,
    /// The whole table to every worker; worker 0 hands it over.
    Broadcast,
    /// The whole table to worker 0, which alone hands it over.
    Single,
}

/// Rows that an epoch added to a table.
#[derive(Debug, Clone)]
pub struct Run {
    /// For [`TableKind::Keyed`]: the key group of each row. Empty for the other kinds.
    pub key_groups: Vec<KeyGroup>,
    /// Key, namespace (such as a slice) and state columns. Where tombstones go by namespace, it is the first column, an Int64.
    pub rows: RecordBatch,
}

/// "These rows of all earlier runs are gone."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tombstone {
    /// Every row whose namespace is at most this.
    NamespacesUpTo(i64),
    /// Every row.
    All,
}

/// Puts stored rows of a table together, in the background: a restore makes of the result what it would have made of the rows.
pub trait Combine: Send + Sync {
    /// The layout of the rows that it takes; others stay as they are.
    fn layout(&self) -> &str;

    /// Some runs of the table, with all that they hold of a key, as fewer rows. Errors: those of the operator's own merging.
    fn combine(&self, runs: Vec<Run>) -> Result<Vec<Run>>;
}

/// What one epoch changed in one table.
#[derive(Debug, Clone)]
pub struct TableDelta {
    /// The table's name inside its operator.
    pub table: String,
    /// How it is spread.
    pub kind: TableKind,
    /// The layout of its rows, e.g. `window-slices/v1`.
    pub layout: String,
    /// Which columns of the rows say whose place a row takes: that of the rows of earlier epochs with the same values in all
    /// of them. Empty: rows add up. A restore may give those earlier rows or leave them out, as they are merged in the
    /// background. So a row has a namespace that is not below those of the rows whose place it takes, or a tombstone would
    /// take it and bring one of them back.
    pub replaces_by: Vec<usize>,
    /// The column, an Int64 without nulls, that is 0 in rows which only say that the row whose place they take is gone. `None`:
    /// no row says so. A merge drops such a row where nothing older is left, so a restore may give it, with or without the row
    /// that is gone, or neither.
    pub gone_by: Option<usize>,
    /// Deletions; they apply to the runs of earlier epochs, before this epoch's runs are added. In keyed tables they reach the
    /// key groups of the worker that hands them over, in split tables the rows that it holds.
    pub tombstones: Vec<Tombstone>,
    /// Additions.
    pub runs: Vec<Run>,
}

/// What one epoch changed in an operator.
#[derive(Debug, Clone, Default)]
pub struct StateDelta {
    /// One entry a changed table.
    pub tables: Vec<TableDelta>,
}

/// Gives an operator the deltas of all epochs of a checkpoint.
pub trait SnapshotReader {
    /// The deltas of `table` in the order of their epochs, reduced to the rows that this worker owns.
    ///
    /// A reader may have applied the tombstones: then their rows are left out, and so are they.
    fn deltas(&self, table: &str) -> Vec<TableDelta>;
}
