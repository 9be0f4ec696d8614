//! Whether and when a job whose generation has failed is started again.
//!
//! Failures are forgotten when they are older than the window, so a job that fails once a day for a year goes on. A record
//! that ends several generations at the same place is not tried for ever: its position is handed out as poisoned, to be put
//! aside with the dead letters.

use std::collections::{BTreeMap, VecDeque};
use std::num::{NonZeroU32, NonZeroU64};

use rheos_core::{Error, ErrorKind, OperatorId};

/// How often and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Wait before the first restart, in ms; doubles with each failure in the window.
    pub backoff_ms_min: NonZeroU64,
    /// Longest wait, in ms.
    pub backoff_ms_max: u64,
    /// Restarts within the window; the failure behind them ends the job.
    pub attempts_max: u32,
    /// The window, in ms.
    pub window_ms: u64,
    /// A place that ends so many generations is poisoned.
    pub poisoned_after: NonZeroU32,
}

impl Default for RestartPolicy {
    /// 100 ms to a minute, ten times in ten minutes; a record is put aside the third time.
    fn default() -> Self {
        Self {
            backoff_ms_min: NonZeroU64::MIN.saturating_add(99),
            backoff_ms_max: 60_000,
            attempts_max: 10,
            window_ms: 600_000,
            poisoned_after: NonZeroU32::MIN.saturating_add(2),
        }
    }
}

/// The place of a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The source's operator.
    pub source: OperatorId,
    /// The split's id.
    pub split: String,
    /// The position in it, in the connector's own form.
    pub position: String,
}

impl Place {
    /// The number in the position: what the connector counts by, as bytes or rows.
    pub fn number(&self) -> Option<u64> {
        let digits = self.position.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty())?;
        digits.parse().ok()
    }
}

/// What follows from a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restart {
    /// Start again.
    After {
        /// After so long, in ms.
        wait_ms: u64,
        /// Which restart in the window it is, from 1.
        attempt: u32,
    },
    /// Start again at once, and put the record at this place aside.
    Without(Place),
    /// The job has failed. The cause to tell: of the first failure in the window, for what came later may only follow from it.
    GiveUp(Error),
}

/// The failures of a job, as far as they count.
#[derive(Debug, Clone)]
pub struct Restarts {
    policy: RestartPolicy,
    /// Times and causes of the failures in the window, oldest first.
    failures: VecDeque<(u64, Error)>,
    /// How many generations each place has ended in the window, and when last.
    places: BTreeMap<Place, (u32, u64)>,
}

impl Restarts {
    /// No failures yet.
    pub fn new(policy: RestartPolicy) -> Self {
        Self { policy, failures: VecDeque::new(), places: BTreeMap::new() }
    }

    /// A generation has failed at `now_ms`; `place` is the record that did it, if one did.
    pub fn failed(&mut self, now_ms: u64, cause: &Error, place: Option<Place>) -> Restart {
        let since = now_ms.saturating_sub(self.policy.window_ms);
        self.failures.retain(|(at, _)| *at >= since);
        self.places.retain(|_, (_, at)| *at >= since);
        if let Some(place) = place {
            let (times, at) = self.places.entry(place.clone()).or_insert((0, now_ms));
            (*times, *at) = (*times + 1, now_ms);
            if *times >= self.policy.poisoned_after.get() {
                self.places.remove(&place);
                // The cause is out of the way: what it has done does not count.
                self.failures.clear();
                return Restart::Without(place);
            }
        } else if !may_mend(cause) {
            return Restart::GiveUp(cause.clone());
        }
        let before = u32::try_from(self.failures.len()).unwrap_or(u32::MAX);
        if before >= self.policy.attempts_max {
            let first = self.failures.front().map_or(cause, |(_, first)| first);
            return Restart::GiveUp(first.clone());
        }
        self.failures.push_back((now_ms, cause.clone()));
        let factor = 1_u64.checked_shl(before).unwrap_or(u64::MAX);
        let wait_ms = self.policy.backoff_ms_min.get().saturating_mul(factor).min(self.policy.backoff_ms_max);
        Restart::After { wait_ms, attempt: before + 1 }
    }
}

/// Whether another generation may get past what ended this one: what lies outside may come back, and a defect of Rheos need
/// not show again. A program, its data and its state are the same the next time; and who has been replaced, or has nobody
/// left to print to, must not come back.
pub fn may_mend(error: &Error) -> bool {
    /// The reader of what is printed has gone away.
    const NOBODY_READS: &str = "R0216";
    match error.kind() {
        ErrorKind::External => error.code() != NOBODY_READS,
        ErrorKind::InputMissing | ErrorKind::NotAllowed | ErrorKind::Internal => true,
        ErrorKind::Invalid | ErrorKind::User | ErrorKind::Conflict | ErrorKind::InUse | ErrorKind::Corrupt => false,
    }
}
