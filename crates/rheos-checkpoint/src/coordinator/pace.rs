//! When the next epoch may be cut: an interval after the last, later after failures.

use super::Config;

/// Waits that double with each failure in a row.
#[derive(Debug)]
pub(super) struct Backoff {
    min_ms: u64,
    max_ms: u64,
    failures_in_a_row: u32,
}

impl Backoff {
    pub(super) fn new(config: &Config) -> Self {
        Self { min_ms: config.backoff_ms_min.get(), max_ms: config.backoff_ms_max, failures_in_a_row: 0 }
    }

    pub(super) fn succeeded(&mut self) {
        self.failures_in_a_row = 0;
    }

    /// The wait, in ms.
    pub(super) fn failed(&mut self) -> u64 {
        let factor = 1_u64.checked_shl(self.failures_in_a_row).unwrap_or(u64::MAX);
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        self.min_ms.saturating_mul(factor).min(self.max_ms)
    }
}

#[derive(Debug)]
pub(super) struct Pace {
    interval_ms: u64,
    last_cut_ms: u64,
    not_before_ms: u64,
    /// The interval is not waited for.
    asked: bool,
    backoff: Backoff,
}

impl Pace {
    pub(super) fn new(config: &Config, now_ms: u64) -> Self {
        let interval_ms = config.interval_ms.get();
        Self { interval_ms, last_cut_ms: now_ms, not_before_ms: now_ms, asked: false, backoff: Backoff::new(config) }
    }

    /// The next cut does not wait for the interval.
    pub(super) fn ask(&mut self) {
        self.asked = true;
    }

    /// Whether the interval is over, or nobody waits for it, and the wait after a failure.
    pub(super) fn due(&self, now_ms: u64) -> bool {
        self.may(now_ms) && (self.asked || now_ms >= self.last_cut_ms.saturating_add(self.interval_ms))
    }

    /// Whether the wait after a failure is over.
    pub(super) fn may(&self, now_ms: u64) -> bool {
        now_ms >= self.not_before_ms
    }

    pub(super) fn cut(&mut self, now_ms: u64) {
        self.last_cut_ms = now_ms;
        self.asked = false;
    }

    pub(super) fn succeeded(&mut self) {
        self.backoff.succeeded();
    }

    /// Whether the last checkpoint failed.
    pub(super) fn is_failing(&self) -> bool {
        self.backoff.failures_in_a_row > 0
    }

    /// The wait, in ms, that begins now.
    pub(super) fn failed(&mut self, now_ms: u64) -> u64 {
        let wait_ms = self.backoff.failed();
        self.not_before_ms = now_ms.saturating_add(wait_ms);
        wait_ms
    }
}
