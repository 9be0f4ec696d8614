//! A thread that does one thing after another which may block.

use std::sync::mpsc;
use std::thread::JoinHandle;

use rheos_core::{Error, ErrorKind, Result};

type Errand = Box<dyn FnOnce() + Send>;

/// The thread and its queue. Dropping it waits for what has been sent.
pub(crate) struct Errands {
    queue: Option<mpsc::Sender<Errand>>,
    thread: Option<JoinHandle<()>>,
}

impl Errands {
    /// Errors: `External` (R0503) where no thread can be started.
    pub(crate) fn start(name: &str) -> Result<Self> {
        let (queue, inbox) = mpsc::channel::<Errand>();
        let run = move || inbox.into_iter().for_each(|errand| errand());
        let thread = std::thread::Builder::new().name(name.into()).spawn(run);
        let thread = thread.map_err(|e| Error::new(ErrorKind::External, 503, format!("cannot start a thread: {e}")))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    pub(crate) fn send(&self, errand: impl FnOnce() + Send + 'static) {
        if let Some(queue) = &self.queue {
            // Fails only if an errand panicked, which the end of the job tells.
            let _ = queue.send(Box::new(errand));
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
