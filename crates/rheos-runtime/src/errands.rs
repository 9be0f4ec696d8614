//! A thread that does one thing after another which may block.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rheos_core::{Error, ErrorKind, Result};

type Errand = Box<dyn FnOnce() + Send>;

/// The thread and its queue. Dropping it waits for what has been sent.
pub(crate) struct Errands {
    queue: Option<mpsc::Sender<Errand>>,
    thread: Option<JoinHandle<()>>,
    /// What has not begun is not carried out.
    given_up: Arc<AtomicBool>,
    /// Says by its end that the thread is through.
    through: mpsc::Receiver<()>,
}

impl Errands {
    /// Errors: `External` (R0503) where no thread can be started.
    pub(crate) fn start(name: &str) -> Result<Self> {
        let (queue, inbox) = mpsc::channel::<Errand>();
        let (alive, through) = mpsc::channel::<()>();
        let given_up = Arc::new(AtomicBool::new(false));
        let is_given_up = Arc::clone(&given_up);
        let run = move || {
            let _alive = alive;
            inbox.into_iter().filter(|_| !is_given_up.load(Ordering::SeqCst)).for_each(|errand| errand());
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(run);
        let thread = thread.map_err(|e| Error::new(ErrorKind::External, 503, format!("cannot start a thread: {e}")))?;
        Ok(Self { queue: Some(queue), thread: Some(thread), given_up, through })
    }

    pub(crate) fn send(&self, errand: impl FnOnce() + Send + 'static) {
        if let Some(queue) = &self.queue {
            // Fails only if an errand panicked, which the end of the job tells.
            let _ = queue.send(Box::new(errand));
        }
    }

    /// What has not begun will not be carried out.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
    }

    /// Gives up, and waits no longer than `limit` for what has begun: what takes longer is left to itself.
    pub(crate) fn leave(mut self, limit: Duration) {
        self.give_up();
        self.queue = None;
        if self.through.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
            self.thread = None;
        }
    }
}

impl Drop for Errands {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread with one errand that waits, and one behind it that notes that it was carried out.
    fn two() -> (Errands, mpsc::Sender<()>, mpsc::Receiver<()>) {
        let errands = Errands::start("test").unwrap();
        let ((go_on, wait), (note, noted)) = (mpsc::channel(), mpsc::channel());
        let (begun, has_begun) = mpsc::channel();
        errands.send(move || {
            begun.send(()).unwrap();
            let _ = wait.recv();
        });
        errands.send(move || note.send(()).unwrap());
        has_begun.recv().unwrap();
        (errands, go_on, noted)
    }

    #[test]
    fn the_end_waits_for_all_or_for_what_has_begun_or_for_nothing() {
        let (errands, go_on, noted) = two();
        go_on.send(()).unwrap();
        drop(errands);
        assert_eq!(noted.recv(), Ok(()));

        let (errands, go_on, noted) = two();
        errands.give_up();
        let given_up = std::thread::spawn(move || drop(errands));
        assert_eq!(noted.recv_timeout(Duration::from_millis(10)), Err(mpsc::RecvTimeoutError::Timeout));
        assert!(!given_up.is_finished());
        go_on.send(()).unwrap();
        given_up.join().unwrap();
        assert_eq!(noted.recv(), Err(mpsc::RecvError), "it had not begun");

        let (errands, go_on, noted) = two();
        errands.leave(Duration::from_millis(1));
        drop(go_on);
        assert_eq!(noted.recv(), Err(mpsc::RecvError), "it had not begun");
    }
}
