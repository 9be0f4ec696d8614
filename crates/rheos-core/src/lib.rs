//! The vocabulary of Rheos and the contracts between its parts.
//!
//! ```text
//!   source ──► [stateless chain] ──exchange──► stateful operator ──► sink
//!   (splits,     (filter, project)   (key       (windows, sort)      (stage,
//!    watermarks)                      groups)                         commit)
//! ```
//!
//! Everything here is plain data or a trait. Absent on purpose: threads, I/O, clocks, tokio, Timely, SQL. That is what
//! lets one operator run under the dataflow runtime, under the test harness and under simulation unchanged.

pub mod change;
pub mod clock;
pub mod connector;
pub mod credit;
pub mod error;
pub mod event_time;
pub mod fence;
pub mod graph;
pub mod ids;
pub mod key;
pub mod lateness;
pub mod letters;
pub mod operator;
pub mod options;
pub mod place;
pub mod sink;
pub mod source;
pub mod state;
pub mod temporal;
pub mod time;
pub mod timer;
pub mod types;
pub mod units;
pub mod window;

pub use credit::{Batch, CreditPool, Ticket};
pub use error::{Error, ErrorKind, Result};
pub use graph::{Exchange, JobGraph, NodeId};
pub use ids::{Generation, JobId, OperatorId, WorkerId};
pub use operator::{Operator, OperatorContext, OperatorFactory, Port, Progress};
pub use time::{Epoch, Watermark};
