//! Hands the splits of one source out to its workers, and publishes the source's watermark.
//!
//! A sequence is read in order, by several workers at once. Its watermark is that of somebody who reads it from start
//! to end and has got as far as its *unbroken prefix*: the largest event time in it, less the allowed disorder. What
//! lies behind a gap does not count, however new it is.
//!
//! ```text
//!   sequence 0   [done][done][reading....][reading..][pending][pending]
//!                |---- prefix ---->|                                       W0 = max(prefix) - delay
//!   sequence 1   [pending][pending]                                        W1 = "not before", or unknown
//!   W = min(W0, W1)
//! ```
//!
//! A sequence that has been read to its end is forgotten: it holds nothing back, and while more splits may be found the
//! watermark stays where the furthest of them ended.
//!
//! The next split comes from the sequence whose watermark is lowest, so that sequences stay close in event time and no
//! state piles up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rheos_checkpoint::coordinator::SourceLook;
use rheos_checkpoint::manifest::{SequenceState, SourceState, SplitProgress, SplitState};
use rheos_core::credit::Wake;
use rheos_core::source::{Found, Source, Split, WatermarkSpec};
use rheos_core::time::Watermark;
use rheos_core::{Error, ErrorKind, OperatorId, Result};

use crate::control::lock;

pub(crate) mod found;

/// What a worker that asks for a split gets.
pub(crate) enum Handout {
    /// With how far it was read when it was found or restored.
    Split(SplitState),
    /// None now; more may be found.
    Wait,
    /// None ever.
    Finished,
    /// The worker has to take its cut first: what it is given belongs to the next epoch.
    CutFirst,
}

/// A split that a worker reads or has read.
struct Taken {
    /// As it was handed out.
    split: SplitState,
    max_ms: Option<i64>,
    done: bool,
    active_at: Instant,
}

#[derive(Default)]
struct Sequence {
    pending: VecDeque<SplitState>,
    taken: VecDeque<Taken>,
    prefix_max_ms: Option<i64>,
}

impl Sequence {
    fn is_over(&self) -> bool {
        self.pending.is_empty() && self.taken.is_empty()
    }

    /// Folds splits that are done into the prefix.
    fn advance(&mut self) {
        while self.taken.front().is_some_and(|t| t.done) {
            let done = self.taken.pop_front();
            self.prefix_max_ms = self.prefix_max_ms.max(done.and_then(|t| t.max_ms));
        }
    }

    fn watermark(&self, delay_ms: i64) -> Watermark {
        let front = self.taken.front();
        let seen = self.prefix_max_ms.max(front.and_then(|t| t.max_ms)).map(|ms| ms.saturating_sub(delay_ms));
        let known = match front {
            Some(taken) => taken.split.split.not_before_ms,
            None => self.pending.front().and_then(|s| s.split.not_before_ms),
        };
        Watermark(seen.max(known).unwrap_or(i64::MIN))
    }

    fn is_idle(&self, timeout: Duration, now: Instant) -> bool {
        let quiet = |t: &Taken| now.duration_since(t.active_at) >= timeout;
        self.pending.is_empty() && !self.taken.is_empty() && self.taken.iter().all(quiet)
    }
}

struct State {
    sequences: BTreeMap<u32, Sequence>,
    /// The largest event time of the sequences that are over.
    over_max_ms: Option<i64>,
    /// When something was last found or read.
    active_at: Instant,
    enumerated: bool,
    /// Splits that were read to their end since the last look.
    finished: BTreeSet<String>,
    /// Whether the job keeps state: then the source tells what it must not find again.
    keeps_state: bool,
    /// Whether checkpoints hold anything of that.
    told: bool,
}

impl State {
    fn new(keeps_state: bool) -> Self {
        Self {
            sequences: BTreeMap::new(),
            over_max_ms: None,
            active_at: Instant::now(),
            enumerated: false,
            finished: BTreeSet::new(),
            keeps_state,
            told: false,
        }
    }

    /// What a checkpoint says of the source, but for what workers have read of the splits that they hold.
    fn look(&mut self, operator: OperatorId) -> SourceLook {
        let taken = || self.sequences.values().flat_map(|s| &s.taken).filter(|t| !t.done).map(|t| &t.split);
        let pending = self.sequences.values().flat_map(|s| &s.pending);
        let over = |(number, sequence): (&u32, &Sequence)| {
            let finished = sequence.taken.iter().filter(|t| t.done).filter_map(|t| t.max_ms);
            let finished_max_ms = sequence.prefix_max_ms.into_iter().chain(finished).max()?;
            Some(SequenceState { sequence: *number, finished_max_ms })
        };
        SourceLook {
            operator,
            enumerated: self.enumerated,
            enumerator: String::new(),
            sequences: self.sequences.iter().filter_map(over).collect(),
            splits: taken().chain(pending).cloned().collect(),
            taken: taken().map(|s| s.split.id.clone()).collect(),
            finished: std::mem::take(&mut self.finished),
        }
    }

    /// What the source has found since the last look, for the checkpoint.
    fn take_found(&mut self, source: &dyn Source) -> Option<Found> {
        if !self.keeps_state {
            return None;
        }
        if self.enumerated {
            return std::mem::take(&mut self.told).then(|| Found { anew: true, entries: vec![] });
        }
        let found = source.take_found();
        self.told |= found.is_some();
        found
    }

    /// Folds what is done, and forgets the sequences that are over: there may be one for every file of a folder.
    fn advance(&mut self) {
        let over_max_ms = &mut self.over_max_ms;
        self.sequences.retain(|_, sequence| {
            sequence.advance();
            if sequence.is_over() {
                *over_max_ms = (*over_max_ms).max(sequence.prefix_max_ms);
            }
            !sequence.is_over()
        });
    }
}

/// One a source and job, shared by its workers.
pub(crate) struct SplitCoordinator {
    source: Arc<dyn Source>,
    watermark: Option<WatermarkSpec>,
    parallelism: usize,
    state: Mutex<State>,
    published: AtomicI64,
    idle: AtomicBool,
    workers: Vec<Waiting>,
}

/// A worker's source operator that has nothing to do until the watermark moves.
#[derive(Default)]
struct Waiting {
    parked: AtomicBool,
    wake: Mutex<Option<Wake>>,
}

impl SplitCoordinator {
    /// Looks for the first splits. Errors: what the source's `discover` says, e.g. a missing file.
    pub(crate) fn try_new(
        source: Arc<dyn Source>,
        watermark: Option<WatermarkSpec>,
        parallelism: usize,
        keeps_state: bool,
    ) -> Result<Self> {
        let coordinator = Self {
            source,
            watermark,
            parallelism,
            state: Mutex::new(State::new(keeps_state)),
            published: AtomicI64::new(i64::MIN),
            idle: AtomicBool::new(false),
            workers: (0..parallelism).map(|_| Waiting::default()).collect(),
        };
        coordinator.discover(&mut lock(&coordinator.state))?;
        coordinator.publish(&mut lock(&coordinator.state));
        Ok(coordinator)
    }

    /// Where a checkpoint left it. `found`: what it remembers for the source. `is_over`: nothing is read any more, the job was
    /// being drained.
    ///
    /// Errors: `Corrupt` (R0404) for a manifest whose list of splits cannot be read; what the source says.
    pub(crate) fn restored(
        source: Arc<dyn Source>,
        watermark: Option<WatermarkSpec>,
        parallelism: usize,
        known: &SourceState,
        found: &[String],
        is_over: bool,
    ) -> Result<Self> {
        let mut state = State::new(true);
        state.enumerated = known.enumerated || is_over;
        state.told = !found.is_empty();
        if state.enumerated {
            source.restore(&known.splits.iter().map(|s| s.split.clone()).collect::<Vec<_>>())?;
        } else if known.enumerator.is_empty() {
            source.restore_found(found)?;
        } else {
            // Earlier versions listed all splits in the manifest.
            let found: Vec<Split> = serde_json::from_str(&known.enumerator).map_err(|e| {
                let message = format!("the splits of '{}' cannot be read from the checkpoint: {e}", known.operator);
                Error::new(ErrorKind::Corrupt, 404, message).with_hint("go on from another checkpoint")
            })?;
            source.restore(&found)?;
        }
        let mut open: Vec<SplitState> =
            known.splits.iter().filter(|s| !is_over && s.progress != SplitProgress::Finished).cloned().collect();
        let position = |s: &SplitState| match &s.progress {
            SplitProgress::Reading(position) => Some(position.clone()),
            SplitProgress::Pending | SplitProgress::Finished => None,
        };
        source.resume(&open.iter().map(|s| (s.split.clone(), position(s))).collect::<Vec<_>>())?;
        // Those that were begun come before those that were not; among these, by number, as they were found.
        open.sort_by_cached_key(|s| (s.split.sequence, s.progress == SplitProgress::Pending, natural(&s.split.id)));
        for split in open {
            state.sequences.entry(split.split.sequence).or_default().pending.push_back(split);
        }
        for sequence in &known.sequences {
            state.over_max_ms = state.over_max_ms.max(Some(sequence.finished_max_ms));
        }
        let coordinator = Self {
            source,
            watermark,
            parallelism,
            state: Mutex::new(state),
            published: AtomicI64::new(known.watermark_ms),
            idle: AtomicBool::new(false),
            workers: (0..parallelism).map(|_| Waiting::default()).collect(),
        };
        coordinator.publish(&mut lock(&coordinator.state));
        Ok(coordinator)
    }

    /// Bytes of all splits that are known.
    pub(crate) fn bytes_total(&self) -> u64 {
        lock(&self.state).sequences.values().flat_map(|s| &s.pending).map(|s| s.split.size_bytes).sum()
    }

    /// Bytes that are left to be read of a source all of whose splits are known, with their sizes.
    pub(crate) fn bytes_known(&self) -> Option<u64> {
        let state = lock(&self.state);
        let size = |split: &SplitState| Some(split.split.size_bytes).filter(|bytes| *bytes > 0);
        let mut pending = state.sequences.values().flat_map(|s| &s.pending);
        if state.enumerated { pending.try_fold(0, |sum: u64, split| Some(sum + size(split)?)) } else { None }
    }

    pub(crate) fn register_wake(&self, worker: usize, wake: Wake) {
        *lock(&self.workers[worker].wake) = Some(wake);
    }

    /// The source's watermark.
    pub(crate) fn published(&self) -> Watermark {
        Watermark(self.published.load(Ordering::SeqCst))
    }

    /// Whether every active split has been silent for its idle timeout.
    pub(crate) fn is_idle(&self) -> bool {
        self.idle.load(Ordering::SeqCst)
    }

    /// Announces that `worker` waits for the watermark to leave `seen`. `false`: it has left already.
    pub(crate) fn park(&self, worker: usize, seen: Watermark) -> bool {
        self.workers[worker].parked.store(true, Ordering::SeqCst);
        self.published() == seen
    }

    /// A split for a worker that has none. `is_current`: whether the worker has taken all cuts that were announced; asked
    /// while no look at the source can be under way. So what is in a worker's part was there when its epoch was looked at.
    pub(crate) fn next_split(&self, is_current: impl FnOnce() -> bool) -> Result<Handout> {
        let mut state = lock(&self.state);
        if !is_current() {
            return Ok(Handout::CutFirst);
        }
        if !state.enumerated && state.sequences.values().all(|s| s.pending.is_empty()) {
            self.discover(&mut state)?;
        }
        let delay_ms = self.delay_ms();
        let ready = state.sequences.iter_mut().filter(|(_, s)| !s.pending.is_empty());
        let Some((_, sequence)) = ready.min_by_key(|(number, s)| (s.watermark(delay_ms), **number)) else {
            let over = state.enumerated && state.sequences.values().all(Sequence::is_over);
            return Ok(if over { Handout::Finished } else { Handout::Wait });
        };
        let split = sequence.pending.pop_front().expect("sequences without pending splits were left out");
        let max_ms = split.max_event_time_ms;
        sequence.taken.push_back(Taken { split: split.clone(), max_ms, done: false, active_at: Instant::now() });
        Ok(Handout::Split(split))
    }

    /// Rows of a split were sent on; `max_ms` is their largest event time.
    pub(crate) fn observe(&self, split: &Split, max_ms: Option<i64>) {
        let mut state = lock(&self.state);
        if let Some(taken) = find(&mut state, split) {
            taken.max_ms = taken.max_ms.max(max_ms);
            taken.active_at = Instant::now();
        }
        state.active_at = Instant::now();
        self.publish(&mut state);
    }

    /// A split has been read to its end.
    pub(crate) fn finish(&self, split: &Split) {
        let mut state = lock(&self.state);
        if let Some(taken) = find(&mut state, split) {
            taken.done = true;
            state.finished.insert(split.id.clone());
        }
        state.active_at = Instant::now();
        self.publish(&mut state);
    }

    /// Looks at the idle timeouts again.
    pub(crate) fn tick(&self) {
        self.publish(&mut lock(&self.state));
    }

    /// No split will be handed out any more, and those that are open do not count: the source is over.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.enumerated = true;
        state.sequences.clear();
        self.publish(&mut state);
    }

    /// The watermark of a wholly idle source follows the job's other sources.
    pub(crate) fn follow(&self, others: Watermark) {
        // Only under the lock may it move: see `look_at_all`.
        let _state = lock(&self.state);
        if self.is_idle() {
            self.raise(others);
        }
    }

    /// Looks at all sources of a job and calls `announce` before any watermark moves on.
    ///
    /// So no source stamps a batch of the epoch that ends here with a watermark above the one of this moment, as long as it
    /// asks for the watermark first and for the epoch then. Operators fire nothing beyond it in that epoch, and a restored
    /// job, which goes on at the watermarks of the cuts, takes the same rows for late as this one.
    pub(crate) fn look_at_all<'a>(
        coordinators: impl Iterator<Item = (OperatorId, &'a SplitCoordinator)>,
        announce: impl FnOnce(),
    ) -> Vec<(SourceLook, Option<Found>)> {
        let mut locked: Vec<_> = coordinators.map(|(id, c)| (id, c, lock(&c.state))).collect();
        let look = |(id, c, state): &mut (OperatorId, &SplitCoordinator, MutexGuard<'_, State>)| {
            (state.look(id.clone()), state.take_found(c.source.as_ref()))
        };
        let looks = locked.iter_mut().map(look).collect();
        announce();
        looks
    }

    fn delay_ms(&self) -> i64 {
        self.watermark.as_ref().map_or(0, |w| w.delay_ms)
    }

    fn discover(&self, state: &mut State) -> Result<()> {
        let found = self.source.discover(self.watermark.as_ref().map(|w| w.column), self.parallelism)?;
        state.enumerated = found.finished;
        if !found.splits.is_empty() {
            state.active_at = Instant::now();
        }
        for split in found.splits {
            let sequence = state.sequences.entry(split.sequence).or_default();
            let new = SplitState { split, progress: SplitProgress::Pending, max_event_time_ms: None };
            sequence.pending.push_back(new);
        }
        Ok(())
    }

    fn publish(&self, state: &mut State) {
        state.advance();
        if state.enumerated && state.sequences.is_empty() {
            return self.raise(Watermark::MAX);
        }
        let Some(spec) = &self.watermark else { return };
        let timeout = spec.idle_timeout_ms.map(|ms| Duration::from_millis(ms.unsigned_abs()));
        let now = Instant::now();
        let counts = |s: &&Sequence| !timeout.is_some_and(|t| s.is_idle(t, now));
        let lowest = state.sequences.values().filter(counts).map(|s| s.watermark(spec.delay_ms)).min();
        // A source that waits for its next split is idle only when the timeout says so.
        let quiet = !state.sequences.is_empty() || timeout.is_some_and(|t| now.duration_since(state.active_at) >= t);
        self.idle.store(lowest.is_none() && quiet, Ordering::SeqCst);
        // All are idle or over: none holds back what the furthest of them has reached.
        let over = state.over_max_ms.map(|ms| Watermark(ms.saturating_sub(spec.delay_ms)));
        let furthest = || state.sequences.values().map(|s| s.watermark(spec.delay_ms)).chain(over).max();
        if let Some(watermark) = lowest.or_else(furthest) {
            self.raise(watermark);
        }
    }

    fn raise(&self, watermark: Watermark) {
        if self.published.fetch_max(watermark.0, Ordering::SeqCst) >= watermark.0 {
            return;
        }
        for worker in &self.workers {
            if worker.parked.swap(false, Ordering::SeqCst)
                && let Some(wake) = lock(&worker.wake).as_ref()
            {
                wake();
            }
        }
    }
}

/// A key by which texts sort as people count: `part-9` before `part-10`.
fn natural(text: &str) -> Vec<(u64, char)> {
    let mut key = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let mut number = u64::from(c.to_digit(10).unwrap_or(0));
        if !c.is_ascii_digit() {
            key.push((0, c));
            continue;
        }
        while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
            number = number.saturating_mul(10).saturating_add(u64::from(digit));
            rest.next();
        }
        // A number stands where its digits would among other characters.
        key.push((number, '0'));
    }
    key
}

fn find<'a>(state: &'a mut State, split: &Split) -> Option<&'a mut Taken> {
    let sequence = state.sequences.get_mut(&split.sequence)?;
    sequence.taken.iter_mut().find(|t| t.split.split.id == split.id)
}

#[cfg(test)]
mod tests;
