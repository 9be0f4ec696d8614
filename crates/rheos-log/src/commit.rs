//! Group commit: one sync of a file for all that was appended to it meanwhile.
//!
//! Whoever appends asks, and waits. While one sync runs others append; the next sync is for all of them. So the disk's pace sets how
//! many wait together, not how many records there are.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::partition::Partition;

/// A thread that syncs partitions. It ends when this is dropped, behind what was asked for.
#[derive(Debug)]
pub struct Committer {
    asked: Arc<Asked>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Asked {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    partitions: VecDeque<Arc<Partition>>,
    is_over: bool,
}

impl Committer {
    /// `failed` is told of each sync that fails.
    ///
    /// Errors: the system gives no thread.
    pub fn try_new(failed: impl Fn(&rheos_core::Error) + Send + 'static) -> std::io::Result<Self> {
        let asked = Arc::new(Asked::default());
        let mine = Arc::clone(&asked);
        let run = move || {
            while let Some(partition) = mine.next() {
                if let Err(error) = partition.sync() {
                    failed(&error);
                }
            }
        };
        let thread = std::thread::Builder::new().name("rheos-log-sync".into()).spawn(run)?;
        Ok(Self { asked, thread: Some(thread) })
    }

    /// Has a partition synced soon.
    pub fn ask(&self, partition: &Arc<Partition>) {
        if !partition.is_queued.swap(true, Ordering::SeqCst) {
            self.asked.lock().partitions.push_back(Arc::clone(partition));
            self.asked.changed.notify_one();
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.asked.lock().is_over = true;
        self.asked.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Asked {
    /// The next one to sync; `None` when all is done and nobody asks any more.
    fn next(&self) -> Option<Arc<Partition>> {
        let mut queue = self.lock();
        loop {
            if let Some(partition) = queue.partitions.pop_front() {
                return Some(partition);
            }
            if queue.is_over {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
