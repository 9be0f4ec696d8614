//! Savepoints that are asked for while a job runs.
//!
//! ```text
//!   JobControl::savepoint ──► Requests ──► the thread of checkpoints ──► coordinator ──► answer ──► Asked::wait
//! ```
//! Invariant: who asks gets an answer. A request that no generation has taken up waits for the next one; what ends with a
//! generation, or with the job, is told to have ended.

use std::collections::BTreeMap;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use rheos_checkpoint::journal::EntryNumber;
use rheos_core::units::shown;
use rheos_core::{Error, ErrorKind, Result};

use crate::control::lock;

/// What the job does behind a savepoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterSavepoint {
    /// It runs on.
    GoOn,
    /// It stops, with windows left open: nothing becomes visible that the savepoint does not know of.
    Stop,
}

/// An answer that will come.
#[derive(Debug)]
pub struct Asked {
    name: String,
    answer: mpsc::Receiver<Result<EntryNumber>>,
}

impl Asked {
    /// Waits until the savepoint is complete; its number in the journal.
    ///
    /// Errors: `Conflict` (R0612) for a name that exists, `Invalid` (R0672) for what is no name, (R0675) for a job that keeps no
    /// state, `External` (R0614) if the job ended before, (R0673) if it takes longer than `timeout`; it may yet come to be.
    pub fn wait(&self, timeout: Duration) -> Result<EntryNumber> {
        match self.answer.recv_timeout(timeout) {
            Ok(answer) => answer,
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(ended(&self.name)),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let message = format!("the savepoint '{}' is not complete after {}", self.name, shown(timeout));
                Err(Error::new(ErrorKind::External, 673, message)
                    .with_hint("it may yet come to be: look at 'rheos savepoint list', and at what the job says"))
            }
        }
    }

    /// The answer, if it is there.
    pub fn poll(&self) -> Option<Result<EntryNumber>> {
        match self.answer.try_recv() {
            Ok(answer) => Some(answer),
            Err(mpsc::TryRecvError::Disconnected) => Some(Err(ended(&self.name))),
            Err(mpsc::TryRecvError::Empty) => None,
        }
    }
}

/// A request that nobody has taken up.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) name: String,
    pub(crate) then: AfterSavepoint,
    answer: mpsc::Sender<Result<EntryNumber>>,
}

impl Request {
    pub(crate) fn answer(self, result: Result<EntryNumber>) {
        // Who asked may have gone.
        let _ = self.answer.send(result);
    }
}

/// Requests on their way to the job.
#[derive(Debug)]
pub(crate) struct Requests {
    /// `None`: the job has ended.
    waiting: Mutex<Option<Vec<Request>>>,
}

impl Default for Requests {
    fn default() -> Self {
        Self { waiting: Mutex::new(Some(Vec::new())) }
    }
}

impl Requests {
    pub(crate) fn ask(&self, name: String, then: AfterSavepoint) -> Asked {
        let (sender, answer) = mpsc::channel();
        let request = Request { name: name.clone(), then, answer: sender };
        if let Some(waiting) = lock(&self.waiting).as_mut() {
            waiting.push(request);
        }
        Asked { name, answer }
    }

    pub(crate) fn take(&self) -> Vec<Request> {
        lock(&self.waiting).as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The job has ended: nobody takes up a request any more.
    pub(crate) fn close(&self) {
        *lock(&self.waiting) = None;
    }
}

/// Requests that the coordinator knows of, by name. What is dropped without an answer is told to have ended.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(BTreeMap<String, Request>);

impl UnderWay {
    /// Of a name that is not under way.
    pub(crate) fn add(&mut self, request: Request) {
        self.0.insert(request.name.clone(), request);
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn answer(&mut self, name: &str, result: Result<EntryNumber>) {
        if let Some(request) = self.0.remove(name) {
            request.answer(result);
        }
    }
}

fn ended(name: &str) -> Error {
    let message = format!("the job ended before the savepoint '{name}' was complete");
    Error::new(ErrorKind::External, 614, message)
        .with_hint("'rheos savepoint list' shows whether it came to be; start the job and ask again")
}
