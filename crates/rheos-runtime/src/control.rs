//! Stop, fail, wake: what a job's threads tell each other beside the data.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rheos_core::Error;
use rheos_core::credit::Wake;
use rheos_core::sink::EpochEnd;
use rheos_core::time::Epoch;

use crate::metrics::{Metrics, Snapshot};
use crate::savepoints::{AfterSavepoint, Asked, Requests};
use crate::suspects::Stretch;

/// How a running job is ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Reading ends; open windows do not fire and are counted.
    Stop,
    /// As if the input had ended: open windows fire.
    Drain,
}

/// A handle on a job, before and while it runs. Clones share it. A job that keeps state may run in several generations: what
/// is asked of it stays asked, all else is the generation's.
#[derive(Clone, Default)]
pub struct JobControl {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicU8,
    failed: AtomicBool,
    failure: Mutex<Option<Error>>,
    epoch: AtomicU64,
    /// The first epoch that does not run any more, where the last one has been announced; else 0.
    end: AtomicU64,
    wakes: Mutex<Vec<Wake>>,
    threads: Mutex<Vec<Thread>>,
    metrics: Mutex<Option<Arc<Metrics>>>,
    savepoints: Requests,
    suspect: Mutex<Option<Stretch>>,
}

/// A poisoned lock here guards plain data that is whole after every statement, so its content is good.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const STOP: u8 = 1;
const DRAIN: u8 = 2;

impl JobControl {
    /// A handle for one job.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the job to end in order. The first request counts.
    pub fn stop(&self, mode: StopMode) {
        let value = if mode == StopMode::Stop { STOP } else { DRAIN };
        let _ = self.shared.stop.compare_exchange(0, value, Ordering::SeqCst, Ordering::SeqCst);
        self.wake_all();
    }

    /// How the job was asked to end, if it was.
    pub fn stop_mode(&self) -> Option<StopMode> {
        match self.shared.stop.load(Ordering::SeqCst) {
            STOP => Some(StopMode::Stop),
            DRAIN => Some(StopMode::Drain),
            _ => None,
        }
    }

    /// Asks for a savepoint: a checkpoint that is kept under a name. The answer says when it is complete.
    pub fn savepoint(&self, name: impl Into<String>, then: AfterSavepoint) -> Asked {
        let asked = self.shared.savepoints.ask(name.into(), then);
        self.wake_all();
        asked
    }

    pub(crate) fn savepoints(&self) -> &Requests {
        &self.shared.savepoints
    }

    /// What the job has done so far. All zero before it starts.
    pub fn snapshot(&self) -> Snapshot {
        lock(&self.shared.metrics).as_ref().map(|m| m.snapshot()).unwrap_or_default()
    }

    pub(crate) fn set_metrics(&self, metrics: Arc<Metrics>) {
        *lock(&self.shared.metrics) = Some(metrics);
    }

    /// Ends the job with an error; the first one is kept.
    pub(crate) fn fail(&self, error: Error) {
        lock(&self.shared.failure).get_or_insert(error);
        self.shared.failed.store(true, Ordering::SeqCst);
        self.wake_all();
    }

    pub(crate) fn failed(&self) -> bool {
        self.shared.failed.load(Ordering::SeqCst)
    }

    pub(crate) fn take_failure(&self) -> Option<Error> {
        lock(&self.shared.failure).take()
    }

    /// A thread has panicked over these rows; the first of all is kept.
    pub(crate) fn suspect(&self, stretch: &Stretch) {
        lock(&self.shared.suspect).get_or_insert_with(|| stretch.clone());
    }

    pub(crate) fn take_suspect(&self) -> Option<Stretch> {
        lock(&self.shared.suspect).take()
    }

    /// Forgets a generation that has failed, and all that it registered. Its threads are gone.
    pub(crate) fn forget_generation(&self) {
        lock(&self.shared.wakes).clear();
        lock(&self.shared.threads).clear();
        lock(&self.shared.failure).take();
        self.shared.end.store(0, Ordering::SeqCst);
        self.shared.failed.store(false, Ordering::SeqCst);
    }

    /// Waits, but for no longer than until the job is asked to end.
    pub(crate) fn sleep(&self, duration: Duration) {
        let until = Instant::now() + duration;
        self.register_thread();
        while self.stop_mode().is_none()
            && let Some(rest) = until.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero())
        {
            std::thread::park_timeout(rest);
        }
    }

    /// The epoch that sources should be in.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.shared.epoch.load(Ordering::SeqCst))
    }

    /// The job's first epoch.
    pub(crate) fn begin(&self, first: Epoch) {
        self.shared.epoch.store(first.0, Ordering::SeqCst);
    }

    /// Announces that the open epoch ends, and whether another follows. Does not wake anybody.
    pub(crate) fn announce(&self, end: EpochEnd) {
        if end == EpochEnd::Last {
            // First: who sees the epoch must see this too.
            self.shared.end.store(self.epoch().0 + 1, Ordering::SeqCst);
        }
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether no rows belong into `epoch`: it lies behind the last.
    pub(crate) fn is_behind_the_last(&self, epoch: Epoch) -> bool {
        let end = self.shared.end.load(Ordering::SeqCst);
        end != 0 && epoch.0 >= end
    }

    /// Wakes an operator on every `wake_all`.
    pub(crate) fn register_wake(&self, wake: Wake) {
        lock(&self.shared.wakes).push(wake);
    }

    /// Wakes a worker thread on every `wake_all`, also if none of its operators is registered.
    pub(crate) fn register_thread(&self) {
        lock(&self.shared.threads).push(std::thread::current());
    }

    pub(crate) fn wake_all(&self) {
        for wake in lock(&self.shared.wakes).iter() {
            wake();
        }
        for thread in lock(&self.shared.threads).iter() {
            thread.unpark();
        }
    }
}
