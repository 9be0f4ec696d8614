//! The I/O threads, shared by all connectors of the process and started when the first job comes.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

type Job = Box<dyn FnOnce() + Send>;

/// Local disks gain nothing from more.
const THREADS: usize = 4;

#[derive(Default)]
struct Queue {
    jobs: Mutex<VecDeque<Job>>,
    more: Condvar,
    /// Threads that serve it.
    threads: Mutex<usize>,
}

impl Queue {
    /// Starts the threads that are missing. Returns how many there are: fewer than wanted where the system gives no more.
    fn start_threads(self: &Arc<Self>) -> usize {
        let mut threads = lock(&self.threads);
        while *threads < THREADS {
            let queue = Arc::clone(self);
            let thread = std::thread::Builder::new().name(format!("rheos-io-{threads}"));
            if thread.spawn(move || serve(&queue)).is_err() {
                break;
            }
            *threads += 1;
        }
        *threads
    }
}

/// Runs `job` on an I/O thread; on this one where the system lets no thread be started, which is slow, but loses nothing.
pub(crate) fn spawn(job: impl FnOnce() + Send + 'static) {
    static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();
    let queue = QUEUE.get_or_init(Arc::<Queue>::default);
    if queue.start_threads() == 0 {
        let _ = catch_unwind(AssertUnwindSafe(job));
        return;
    }
    lock(&queue.jobs).push_back(Box::new(job));
    queue.more.notify_one();
}

/// Runs `job`, which may wait for long, on a thread of its own.
pub(crate) fn spawn_alone(job: impl FnOnce() + Send + 'static) {
    let held = Arc::new(Mutex::new(Some(Box::new(job) as Job)));
    let alone = Arc::clone(&held);
    let take = |held: &Mutex<Option<Job>>| lock(held).take();
    let run = move || take(&alone).map_or((), |job| job());
    if std::thread::Builder::new().name("rheos-io-alone".into()).spawn(run).is_err()
        && let Some(job) = take(&held)
    {
        spawn(job);
    }
}

fn serve(queue: &Queue) {
    loop {
        let mut jobs = lock(&queue.jobs);
        let job = loop {
            match jobs.pop_front() {
                Some(job) => break job,
                None => jobs = queue.more.wait(jobs).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(jobs);
        // A job that panics must not take the thread with it.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

/// Locks. A panic of another holder cannot leave the plain data of this crate half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
