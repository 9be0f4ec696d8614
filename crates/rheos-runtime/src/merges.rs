//! Merges one worker's stored state, a step at a time, on a thread of its own: no upload waits for a merge.
//!
//! ```text
//!   Uploads ──next step──► read, merge, store (nothing is locked) ──► install ──► next step ... none is due
//!                              │ a segment is damaged: it is left out for a while, the others go on
//!                              ╰ the store cannot be used: all wait for a while, longer each time
//! ```
//! What cannot be merged ends nothing: the state is whole in memory, and a window that closes lets go of a damaged piece.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rheos_checkpoint::recovery::SegmentId;
use rheos_core::{Error, ErrorKind, Result};
use rheos_state::compact::{self, Combiners, Policy, Step, Unmerged};
use rheos_state::holdings::Holdings;
use rheos_state::names::ObjectName;

use crate::control::{JobControl, lock};
use crate::errands::Errands;
use crate::uploads::Uploads;

/// First wait behind a failure; it doubles.
const BACKOFF_MS_MIN: u64 = 1000;
const BACKOFF_MS_MAX: u64 = 60_000;

/// How long the end of a job waits for the steps that are in hand. What is behind writes a file that nobody reads, at most.
pub(crate) const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// A worker's thread of merges.
pub(crate) struct Merges {
    thread: Errands,
    uploads: Arc<Mutex<Uploads>>,
    control: JobControl,
    warn: Arc<dyn Fn(&Error) + Send + Sync>,
    /// Set when no result is wanted any more.
    over: Arc<AtomicBool>,
    /// Whether there is an errand that has not begun.
    asked: Arc<AtomicBool>,
    started: Instant,
}

impl Merges {
    /// `over`: shared by all workers. Errors: as of [`Errands::start`].
    pub(crate) fn start(
        worker: usize,
        uploads: Arc<Mutex<Uploads>>,
        control: JobControl,
        warn: Arc<dyn Fn(&Error) + Send + Sync>,
        over: Arc<AtomicBool>,
    ) -> Result<Self> {
        let thread = Errands::start(&format!("rheos-merge-{worker}"))?;
        Ok(Self { thread, uploads, control, warn, over, asked: Arc::default(), started: Instant::now() })
    }

    /// Asks for all merges that are due.
    pub(crate) fn ask(&self) {
        if self.asked.swap(true, Ordering::SeqCst) {
            return;
        }
        let (asked, over, started) = (Arc::clone(&self.asked), Arc::clone(&self.over), self.started);
        let (uploads, control, warn) = (Arc::clone(&self.uploads), self.control.clone(), Arc::clone(&self.warn));
        self.thread.send(move || {
            asked.store(false, Ordering::SeqCst);
            let now_ms = || u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let work = || merge_all(&uploads, &|| over.load(Ordering::SeqCst), &now_ms, &*warn);
            // Behind the end nobody has any use for it, and the control may be another generation's.
            if catch_unwind(AssertUnwindSafe(work)).is_err() && !over.load(Ordering::SeqCst) {
                control.fail(Error::internal("merging stored state panicked"));
            }
        });
    }

    /// The thread, to be left to itself.
    pub(crate) fn into_thread(self) -> Errands {
        self.thread
    }
}

fn merge_all(uploads: &Mutex<Uploads>, is_over: &dyn Fn() -> bool, now_ms: &dyn Fn() -> u64, warn: &dyn Fn(&Error)) {
    let mut merger = lock(uploads).merger();
    while !is_over() {
        let Some((step, name)) = lock(uploads).next_step(now_ms()) else { return };
        let result = merger.merge(&step, name, is_over);
        let warning = lock(uploads).step_ended(&step, result, now_ms());
        if let Some(error) = warning {
            warn(&error);
        }
    }
}

/// What is being merged, and what waits.
#[derive(Debug, Default)]
pub(crate) struct Merging {
    /// Chosen together, and not begun.
    steps: VecDeque<Step>,
    in_hand: Option<ObjectName>,
    /// Of the next merged object.
    number: u32,
    /// What cannot be merged, until when it is left out, and how long that was.
    stuck: BTreeMap<SegmentId, Wait>,
    /// The store cannot be used.
    held_up: Option<Wait>,
    /// The code of the error that was told last.
    told: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    until_ms: u64,
    wait_ms: u64,
}

impl Wait {
    fn after(before: Option<Self>, now_ms: u64) -> Self {
        let wait_ms = before.map_or(BACKOFF_MS_MIN, |w| (w.wait_ms * 2).min(BACKOFF_MS_MAX));
        Self { until_ms: now_ms.saturating_add(wait_ms), wait_ms }
    }
}

impl Merging {
    /// Lets go of what is dead on the way.
    pub(crate) fn next_step(&mut self, holdings: &mut Holdings, combiners: Combiners<'_>, now_ms: u64) -> Option<Step> {
        if self.held_up.is_some_and(|wait| now_ms < wait.until_ms) {
            return None;
        }
        if self.steps.is_empty() {
            if !self.stuck.is_empty() {
                let held: BTreeSet<SegmentId> = holdings.segments().iter().map(|h| h.id()).collect();
                self.stuck.retain(|id, _| held.contains(id));
            }
            let stuck =
                self.stuck.iter().filter(|(_, wait)| now_ms < wait.until_ms).map(|(id, _)| id.clone()).collect();
            let compaction = compact::choose(holdings, &Policy::default(), &BTreeSet::new(), &stuck, combiners);
            compaction.drop_dead(holdings);
            self.steps = compaction.steps.into();
        }
        self.steps.pop_front()
    }

    pub(crate) fn next_number(&mut self) -> u32 {
        let number = self.number;
        self.number = number.wrapping_add(1);
        number
    }

    pub(crate) fn begin(&mut self, name: ObjectName) {
        self.in_hand = Some(name);
    }

    pub(crate) fn end(&mut self) {
        self.in_hand = None;
    }

    /// The names of objects that are being made.
    pub(crate) fn in_hand(&self) -> BTreeSet<String> {
        self.in_hand.iter().map(ObjectName::to_string).collect()
    }

    pub(crate) fn succeeded(&mut self) {
        if self.held_up.take().is_some() {
            self.told = None;
        }
    }

    /// Gives what has not been told yet.
    pub(crate) fn failed(&mut self, unmerged: Unmerged, now_ms: u64) -> Option<Error> {
        match unmerged {
            Unmerged::Over => None,
            Unmerged::Store(error) => {
                // What was chosen is chosen again: it may be another then.
                self.steps.clear();
                self.held_up = Some(Wait::after(self.held_up, now_ms));
                let is_new = self.told.replace(error.code()).is_none_or(|told| told != error.code());
                is_new.then(|| error.context("stored state cannot be merged now, and is merged later"))
            }
            Unmerged::Stuck(error, segments) => {
                self.steps.retain(|step| !step.reads(&segments));
                let mut is_new = false;
                for id in segments {
                    let before = self.stuck.get(&id).copied();
                    is_new |= before.is_none();
                    self.stuck.insert(id, Wait::after(before, now_ms));
                }
                is_new.then(|| stuck(error))
            }
        }
    }
}

fn stuck(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Corrupt => damaged(&error),
        _ => error.context("a part of the stored state cannot be merged, and is left as it is"),
    }
}

/// The job goes on with what it has in memory; what has been stored of it is not whole any more.
fn damaged(error: &Error) -> Error {
    let message = format!(
        "stored state is damaged, and a restart cannot go on from checkpoints that need it: {}",
        error.message()
    );
    Error::new(ErrorKind::Corrupt, 691, message).with_hint(
        "put the file back from a copy while the job runs, which has its state in memory; 'checkpoint.copy-dir' keeps a copy",
    )
}
