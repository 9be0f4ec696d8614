//! Whether and when a job whose generation has failed is started again.
//!
//! Failures are forgotten when they are older than the window, so a job that fails once a day for a year goes on. A record
//! that ends several generations at the same place is not tried for ever: its position is handed out as poisoned, to be put
//! aside with the dead letters.

use std::collections::{BTreeMap, VecDeque};
use std::num::{NonZeroU32, NonZeroU64};

use rheos_core::OperatorId;

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

/// What follows from a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restart {
    /// Start again after so long, in ms.
    After(u64),
    /// Start again at once, and put the record at this place aside.
    Without(Place),
    /// The job has failed. Its first failure in the window is the cause to tell.
    GiveUp,
}

/// The failures of a job, as far as they count.
#[derive(Debug, Clone)]
pub struct Restarts {
    policy: RestartPolicy,
    /// Times of the failures in the window, oldest first.
    failures: VecDeque<u64>,
    /// How many generations each place has ended in the window, and when last.
    places: BTreeMap<Place, (u32, u64)>,
}

impl Restarts {
    /// No failures yet.
    pub fn new(policy: RestartPolicy) -> Self {
        Self { policy, failures: VecDeque::new(), places: BTreeMap::new() }
    }

    /// A generation has failed at `now_ms`; `place` is the record that did it, if one did.
    pub fn failed(&mut self, now_ms: u64, place: Option<Place>) -> Restart {
        let since = now_ms.saturating_sub(self.policy.window_ms);
        self.failures.retain(|at| *at >= since);
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
        }
        if self.failures.len() >= self.policy.attempts_max as usize {
            return Restart::GiveUp;
        }
        let factor = 1_u64.checked_shl(self.failures.len() as u32).unwrap_or(u64::MAX);
        self.failures.push_back(now_ms);
        Restart::After(self.policy.backoff_ms_min.get().saturating_mul(factor).min(self.policy.backoff_ms_max))
    }
}
