//! Rheos turns programs over endless streams into dataflows of Arrow batches. This crate is its public Rust API.
//!
//! A program is SQL text:
//!
//! ```
//! let batches = rheos::sql(
//!     "CREATE TABLE n (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '1000', 'fields.id.kind' = 'sequence');
//!      SELECT count(*) AS rows_read FROM n",
//! )
//! .collect()?;
//! assert_eq!(batches[0].num_columns(), 1);
//! # Ok::<(), rheos::Error>(())
//! ```
//!
//! or the same job graph, built by hand:
//!
//! ```
//! use rheos::functions::aggregate::{avg, count};
//! use rheos::{Stream, Table, Tumble, col, lit, types};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("trips.csv");
//! # std::fs::write(&path, "at,origin,delay\n2013-01-01 05:10:00,EWR,4\n2013-01-01 05:40:00,EWR,8\n")?;
//! let trips = Table::new("trips", "filesystem")
//!     .option("path", path.display().to_string())
//!     .option("format", "csv")
//!     .column("at", types::timestamp())
//!     .column("origin", types::string())
//!     .column("delay", types::bigint())
//!     .watermark("at", "5 s");
//! let batches = Stream::source(trips)
//!     .filter(col("delay").gt(lit(1)))
//!     .key_by(["origin"])
//!     .window(Tumble::of("1 h"))
//!     .aggregate([avg(col("delay")).alias("mean"), count(lit(1)).alias("trips")])
//!     .collect()?;
//! assert_eq!(batches[0].num_rows(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```text
//!   sql(text) ─────────► rheos-sql ─┐
//!                                   ├─► JobGraph ─► Job ─► start ─► RunningJob ─► Rows, JobReport
//!   Stream ─► Pipeline ─► lower ────┘
//! ```
//!
//! Errors are one type, [`Error`], with a stable code, a cause and what to try; [`ErrorKind`] says what the caller can
//! do. What a connector or an operator of one's own implements is re-exported from the lower crates as modules.

mod job;
mod lower;
mod program;
mod results;
mod savepoints;
mod state_options;
mod stream;
mod table;
mod windowing;

pub use job::{Finished, Job, Output, RunningJob};
pub use program::{SqlProgram, sql};
pub use results::{Rows, RowsPoll};
pub use state_options::StateOptions;
pub use stream::{KeyedStream, Pipeline, RunOptions, Stream, WindowedStream};
pub use table::{Table, types};
pub use windowing::{Cumulate, Hop, IntoWindow, Session, Tumble};

pub use rheos_connectors::registry as connectors;
pub use rheos_core::connector::{Connector, ConnectorRegistry};
pub use rheos_core::error::{Error, ErrorKind, Result, Span};
pub use rheos_core::operator::{Counter, StateSize};
pub use rheos_core::source::Boundedness;
pub use rheos_core::time::Watermark;
pub use rheos_core::{
    Batch, change, connector, error, graph, letters, operator, options, sink, source, time, units, window,
};
pub use rheos_formats::{changelog, csv, json, text};
pub use rheos_runtime::{
    CheckpointRequest, JobControl, JobReport, NodeStats, RunConfig, Snapshot, SourceStats, StopMode,
};
pub use rheos_sql::{PlanFormat, ResultRows};

pub use arrow;
pub use datafusion_expr::{Expr, ident as col, lit};

/// SQL below the level of [`sql`]: the parts that tools need.
pub mod query {
    pub use rheos_sql::{FunctionInfo, check_setting, functions, render};
}

/// Checkpoints of a job as they are stored: for tools that look at them.
pub mod state {
    pub use crate::savepoints::{create_savepoint, request_savepoint};
    pub use rheos_checkpoint::coordinator::check_savepoint_name;
    pub use rheos_checkpoint::journal::{EntryNumber, Journal};
    pub use rheos_checkpoint::manifest::{JobPhase, Manifest, SinkState, SourceState, SplitProgress};
    pub use rheos_checkpoint::recovery::RestoreFrom;
    pub use rheos_core::state::TableKind;
    pub use rheos_core::temporal::write_timestamp;
    pub use rheos_runtime::AfterSavepoint;
    pub use rheos_state::contents::{Table, rows, tables};
    pub use rheos_state::inspect::{
        Freed, Listing, Standing, damaged_claims, damaged_files, delete, find, list, rewrite, unreadable_newest, verify,
    };
    pub use rheos_state::journal::read as read_journal;
    pub use rheos_state::store::{CheckpointStore, LocalStore, MemoryStore, Note, StoreOptions};
}

/// Functions for expressions.
pub mod functions {
    /// Aggregates: `avg(col("delay"))`.
    pub mod aggregate {
        pub use datafusion_functions_aggregate::expr_fn::*;
    }
    /// Functions of single rows: `upper(col("origin"))`.
    pub mod scalar {
        pub use datafusion_functions::expr_fn::*;
    }
}
