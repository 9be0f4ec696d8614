//! Tries again what a disk or a file server refuses for a moment, before it ends a generation of the job.
//!
//! ```text
//!   attempt ── "no space", "stale handle", "I/O error" ──► told, wait 100 ms ──► attempt ── ... 1.6 s ──► the error
//! ```
//! Who tries again must not do twice what half an attempt has done: files are read and written at offsets that are known.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rheos_core::error::Warn;
use rheos_core::{Error, ErrorKind as Kind, Result};

/// The first wait; each is twice as long as the one before.
const WAIT_MIN: Duration = if cfg!(test) { Duration::from_micros(50) } else { Duration::from_millis(100) };

/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Attempts behind the first.
const AGAIN_MAX: u32 = 5;

/// How often it is looked whether a wait is of use still.
const LOOK: Duration = Duration::from_millis(50);

/// The error of an I/O operation that says nothing but that it failed.
const EIO: i32 = 5;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    warn: Warn,
    again_max: u32,
    /// Nobody waits any more, or too much has been waited.
    over: Arc<AtomicBool>,
}

/// Whether an error may go by itself.
pub(crate) fn is_transient(error: &io::Error) -> bool {
    let kinds = [
        ErrorKind::Interrupted,
        ErrorKind::StaleNetworkFileHandle,
        ErrorKind::TimedOut,
        ErrorKind::StorageFull,
        ErrorKind::QuotaExceeded,
    ];
    kinds.contains(&error.kind()) || error.raw_os_error() == Some(EIO)
}

impl Patience {
    /// A few attempts.
    pub(crate) fn new(warn: Warn) -> Self {
        Self { warn, again_max: AGAIN_MAX, over: Arc::default() }
    }

    /// Any number of attempts, until [`Patience::end`].
    pub(crate) fn endless(warn: Warn) -> Self {
        Self { again_max: u32::MAX, ..Self::new(warn) }
    }

    /// What fails from now on has failed. For all clones.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Runs `attempt` until it succeeds, or fails for good. `what` is done to `path`, such as `write`. Blocks meanwhile.
    pub(crate) fn steadily<T>(
        &self,
        what: &str,
        path: &str,
        mut attempt: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        let mut failed = 0;
        loop {
            match attempt() {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_transient(&error) && self.waits(failed, &Error::io(what, path, &error)) => failed += 1,
                done => return done,
            }
        }
    }

    /// The same for what says by its error that it may succeed later.
    pub(crate) fn again<T>(&self, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let mut failed = 0;
        loop {
            match attempt() {
                Err(error) if error.kind() == Kind::External && self.waits(failed, &error) => failed += 1,
                done => return done,
            }
        }
    }

    /// Waits behind another failure. `false`: it is not tried again.
    fn waits(&self, failed: u32, error: &Error) -> bool {
        if self.over.load(Ordering::Relaxed) {
            return false;
        }
        if failed >= self.again_max {
            self.end();
            return false;
        }
        let wait = WAIT_MIN.saturating_mul(1 << failed.min(16)).min(WAIT_MAX);
        // Not each of them, where there are many.
        if failed < AGAIN_MAX || failed.is_power_of_two() {
            let message = format!("{}; it is tried again", error.message());
            self.warn.tell(&Error::new(Kind::External, 239, message));
        }
        let mut left = wait;
        while !left.is_zero() && !self.over.load(Ordering::Relaxed) {
            let nap = left.min(LOOK);
            std::thread::sleep(nap);
            left -= nap;
        }
        !self.over.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn told() -> (Warn, Arc<Mutex<Vec<String>>>) {
        let told = Arc::<Mutex<Vec<String>>>::default();
        let to = Arc::clone(&told);
        (Warn::new(Arc::new(move |error: &Error| to.lock().unwrap().push(error.to_string()))), told)
    }

    #[test]
    fn what_goes_by_itself_is_waited_for_a_few_times_and_told() {
        for (errno, transient) in [(libc_enospc(), true), (EIO, true), (13, false)] {
            for failures in [0, 1, 5, 6] {
                let (warn, told) = told();
                let (mut left, mut tried) = (failures, 0);
                let done = Patience::new(warn).steadily("write", "x", || {
                    tried += 1;
                    if left == 0 {
                        return Ok(7);
                    }
                    left -= 1;
                    Err(io::Error::from_raw_os_error(errno))
                });
                let waits = if transient { failures.min(5) } else { 0 };
                assert_eq!(done.is_ok(), failures == 0 || transient && failures <= 5, "{errno} {failures}");
                assert_eq!((tried, told.lock().unwrap().len()), (1 + waits, waits as usize), "{errno} {failures}");
            }
        }
    }

    fn libc_enospc() -> i32 {
        28
    }

    #[test]
    fn who_has_no_end_of_patience_is_ended_from_outside() {
        let (warn, told) = told();
        let patience = Patience::endless(warn);
        let mut tried = 0;
        let failed = patience.steadily("write", "x", || -> io::Result<()> {
            tried += 1;
            if tried == 20 {
                patience.end();
            }
            Err(io::Error::from_raw_os_error(EIO))
        });
        assert_eq!((tried, failed.is_err()), (20, true));
        assert!((5..20).contains(&told.lock().unwrap().len()));
    }
}
