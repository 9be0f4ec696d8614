//! Requests as objects of a store: for stores that are no folder, where no socket reaches the job.
//!
//! ```text
//!   asker: create requests/<n> ──► job: list, read, ask JobControl; delete it ──► create answers/<n> ──► asker: read, delete it
//! ```
//! What somebody has left who did not wait is removed by the job.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rheos_checkpoint::journal::EntryNumber;
use rheos_core::units::shown;
use rheos_core::{Error, ErrorKind, Result};
use rheos_runtime::{AfterSavepoint, Asked, JobControl};
use rheos_state::names::{ANSWERS, REQUESTS};
use rheos_state::store::{CheckpointStore, Creation};

use super::message::{Answer, LINE_BYTES_MAX, Request};
use super::nobody;

/// How long a request waits for a job that takes it up.
const TAKEN_UP_WITHIN: Duration = Duration::from_secs(30);

/// How often an asker looks for the answer.
const ASK_INTERVAL: Duration = Duration::from_millis(200);

/// Nobody waits for what is older.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// Requests at a time.
const REQUESTS_MAX: usize = 8;

/// Answers as long as it lives.
pub(super) struct RequestWatch {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RequestWatch {
    /// Errors: `External` (R0503) where no thread can be started.
    pub(super) fn start(store: Arc<dyn CheckpointStore>, interval: Duration, control: JobControl) -> Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&over);
        let watch = move || {
            let mut desk = Desk { store, control, pending: Vec::new(), taken_up: BTreeSet::new() };
            while !flag.load(Ordering::SeqCst) {
                // A store that cannot be read now can be later.
                let _ = desk.look();
                std::thread::park_timeout(interval);
            }
            // The job has answered everything by now.
            desk.answer();
        };
        let thread = std::thread::Builder::new().name("rheos-requests".into()).spawn(watch);
        let thread = thread.map_err(|e| Error::new(ErrorKind::External, 503, format!("cannot start a thread: {e}")))?;
        Ok(Self { over, thread: Some(thread) })
    }
}

impl Drop for RequestWatch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

struct Desk {
    store: Arc<dyn CheckpointStore>,
    control: JobControl,
    /// By the number of the request: what was asked, and until when somebody waits.
    pending: Vec<(String, Asked, Instant)>,
    /// The numbers of requests that were taken up and are still there: they could not be removed yet.
    taken_up: BTreeSet<String>,
}

impl Desk {
    fn look(&mut self) -> Result<()> {
        self.answer();
        let requests = self.store.list(REQUESTS)?;
        self.taken_up.retain(|number| requests.iter().any(|file| file.name.strip_prefix(REQUESTS) == Some(number)));
        for file in requests {
            let Some(number) = file.name.strip_prefix(REQUESTS) else { continue };
            if self.pending.len() >= REQUESTS_MAX {
                break;
            }
            if !self.taken_up.contains(number) {
                let request = self.store.read(&file.name, LINE_BYTES_MAX);
                self.take_up(number, request, file.age);
                // Before it is removed: of a delete that fails nobody knows whether it was done.
                self.taken_up.insert(number.to_string());
            }
            self.store.delete(&file.name)?;
            self.taken_up.remove(number);
        }
        for file in self.store.list(ANSWERS)? {
            if file.age.is_some_and(|age| age > FORGOTTEN_AFTER) {
                self.store.delete(&file.name)?;
            }
        }
        Ok(())
    }

    fn take_up(&mut self, number: &str, request: Result<Option<Vec<u8>>>, age: Option<Duration>) {
        let parsed = match request {
            // It was taken back.
            Ok(None) => return,
            // The asker has taken it for granted that no job runs; if it is still there, it is told so.
            Ok(Some(_)) if age.is_some_and(|age| age > TAKEN_UP_WITHIN + TAKEN_UP_WITHIN) => {
                return self.tell(number, Err(nobody(&self.store.place())));
            }
            Ok(Some(line)) => Request::parse(&line),
            Err(error) => Err(error),
        };
        match parsed {
            Ok(request) => {
                let until = Instant::now() + request.timeout();
                self.pending.push((number.to_string(), request.ask(&self.control), until));
            }
            Err(error) => self.tell(number, Err(error)),
        }
    }

    /// Tells what the job has answered.
    fn answer(&mut self) {
        for (number, asked, until) in std::mem::take(&mut self.pending) {
            match asked.poll() {
                Some(answer) => self.tell(&number, answer),
                None if Instant::now() < until => self.pending.push((number, asked, until)),
                // The asker has given up.
                None => {}
            }
        }
    }

    /// An answer that cannot be written is not waited for: the asker runs out of patience.
    fn tell(&self, number: &str, answer: Result<EntryNumber>) {
        if let Ok(line) = Answer::of(answer).line() {
            let _ = self.store.create(&format!("{ANSWERS}{number}"), &line);
        }
    }
}

/// Asks the job that runs on a store for a savepoint, and waits until it is complete; its number in the journal.
///
/// Errors: those of the store; `External` (R0671) if no job takes the request up, `Conflict` (R0612) for a name that exists,
/// `Invalid` (R0672) for what is no name, `External` (R0614) if the job ended before, (R0673) if it takes longer than `timeout`.
pub fn request_savepoint(
    store: &dyn CheckpointStore,
    name: &str,
    then: AfterSavepoint,
    timeout: Duration,
) -> Result<EntryNumber> {
    let request = Request::try_new(name, then, timeout)?;
    let number = random();
    let (asked, answered) = (format!("{REQUESTS}{number}"), format!("{ANSWERS}{number}"));
    if store.create(&asked, &request.line()?)? == Creation::Exists {
        return Err(Error::internal("two requests have one random number"));
    }
    let (started, mut is_taken_up) = (Instant::now(), false);
    while started.elapsed() < timeout {
        std::thread::sleep(ASK_INTERVAL.min(timeout));
        if let Some(line) = store.read(&answered, LINE_BYTES_MAX)? {
            // What stays is removed by the job.
            let _ = store.delete(&answered);
            return Answer::parse(&line);
        }
        is_taken_up = is_taken_up || store.length_bytes(&asked)?.is_none();
        if !is_taken_up && started.elapsed() >= TAKEN_UP_WITHIN.min(timeout) {
            break;
        }
    }
    if is_taken_up {
        let message = format!("the savepoint '{name}' is not complete after {}", shown(timeout));
        return Err(Error::new(ErrorKind::External, 673, message)
            .with_hint("it may yet come to be: look at 'rheos savepoint list', and at what the job says"));
    }
    store.delete(&asked)?;
    Err(nobody(&store.place()))
}

/// Its keys are the system's.
fn random() -> String {
    let half = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use rheos_state::store::{Fault, MemoryStore, Operation};

    use super::*;

    fn ask(store: &dyn CheckpointStore, timeout_ms: u64) -> Error {
        request_savepoint(store, "s", AfterSavepoint::GoOn, Duration::from_millis(timeout_ms)).unwrap_err()
    }

    #[test]
    fn a_request_that_nobody_takes_up_is_taken_back() {
        let store = MemoryStore::new();
        assert_eq!(ask(&store, 1).code(), "R0671");
        assert_eq!(store.list("").unwrap(), []);
    }

    #[test]
    fn a_request_that_cannot_be_removed_is_asked_once() {
        let store = Arc::new(MemoryStore::new());
        let line = Request::try_new("s", AfterSavepoint::GoOn, Duration::from_secs(9)).unwrap().line().unwrap();
        store.create("requests/1", &line).unwrap();
        store.inject(Operation::Delete, REQUESTS, 2, Fault::Unreachable);
        let mut desk = Desk {
            store: Arc::clone(&store) as _,
            control: JobControl::new(),
            pending: vec![],
            taken_up: BTreeSet::new(),
        };
        for is_removed in [false, false, true, true] {
            assert_eq!(desk.look().is_ok(), is_removed);
            assert_eq!(desk.pending.len(), 1);
        }
        assert_eq!((store.list("").unwrap(), desk.taken_up.len()), (vec![], 0));
        // Who asked long ago believes that no job runs, and is told so.
        desk.take_up("2", Ok(Some(line)), Some(Duration::from_secs(61)));
        assert_eq!(desk.pending.len(), 1);
        let answer = store.read("answers/2", LINE_BYTES_MAX).unwrap().unwrap();
        assert_eq!(Answer::parse(&answer).unwrap_err().code(), "R0671");
    }

    #[test]
    fn a_request_is_taken_up_once_and_answered_when_the_job_ends() {
        let store: Arc<dyn CheckpointStore> = Arc::new(MemoryStore::new());
        let control = JobControl::new();
        store.create("requests/bad", b"no request").unwrap();
        let watch = RequestWatch::start(Arc::clone(&store), Duration::from_millis(1), control.clone()).unwrap();
        // The job has not begun: it takes up the request, but for the one that cannot be read, and nothing answers.
        assert_eq!(ask(store.as_ref(), 500).code(), "R0673");
        let bad = store.read("answers/bad", LINE_BYTES_MAX).unwrap().unwrap();
        assert_eq!(Answer::parse(&bad).unwrap_err().code(), "R0674");
        assert_eq!(store.list(REQUESTS).unwrap(), []);
        drop(watch);
    }
}
