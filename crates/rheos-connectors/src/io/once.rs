//! One answer from an I/O thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use rheos_core::credit::Wake;
use rheos_core::{Error, Result};

use super::pool::{lock, spawn};

/// An answer that is there or will come.
pub(crate) struct Once<T>(Arc<Mutex<Option<Result<T>>>>);

impl<T: Send + 'static> Once<T> {
    /// Runs `job` on an I/O thread and wakes when its answer is there.
    pub(crate) fn spawn(wake: Wake, job: impl FnOnce() -> Result<T> + Send + 'static) -> Self {
        let answer = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&answer);
        spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(job))
                .unwrap_or_else(|_| Err(Error::internal("reading an input panicked")));
            *lock(&slot) = Some(result);
            wake();
        });
        Self(answer)
    }

    /// The answer, once.
    pub(crate) fn take(&self) -> Option<Result<T>> {
        lock(&self.0).take()
    }
}
