//! How connectors do I/O without a worker ever waiting for it: a few shared threads, three shapes of work on them, and
//! memory for it.
//!
//! ```text
//!   pool     the threads
//!   buffers  memory to read into, used again
//!   fetch    reads ahead: a bounded queue of chunks between an input and the worker that decodes them
//!   strand   writes behind: a bounded queue of messages to something that handles one after another
//!   once     one answer
//!   patience tries again what may go by itself; steady: files with it
//! ```
//!
//! Invariant: a job never waits for a worker or for another job, so that a few threads serve any number of readers and
//! writers without a deadlock. What is done is published first, then the worker is woken.

pub(crate) mod buffers;
pub(crate) mod fetch;
pub(crate) mod once;
pub(crate) mod patience;
pub(crate) mod pool;
pub(crate) mod steady;
pub(crate) mod strand;
