//! Timers: "call me for this key at this time", in event time or processing time. They are part of an operator's state.
//!
//! Invariant: a (domain, time, key) is in the queue at most once, and leaves it in order of time, then key.

use std::collections::BTreeSet;

/// Which clock a timer follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimeDomain {
    /// The combined watermark of the operator.
    EventTime,
    /// The operator's clock.
    ProcessingTime,
}

/// The timers of one operator on one worker.
#[derive(Debug, Default, Clone)]
pub struct TimerQueue {
    event_time: BTreeSet<(i64, Vec<u8>)>,
    processing_time: BTreeSet<(i64, Vec<u8>)>,
}

impl TimerQueue {
    fn queue(&mut self, domain: TimeDomain) -> &mut BTreeSet<(i64, Vec<u8>)> {
        match domain {
            TimeDomain::EventTime => &mut self.event_time,
            TimeDomain::ProcessingTime => &mut self.processing_time,
        }
    }

    /// Sets a timer; setting it twice is setting it once.
    pub fn set(&mut self, domain: TimeDomain, key: &[u8], time_ms: i64) {
        self.queue(domain).insert((time_ms, key.to_vec()));
    }

    /// Forgets a timer.
    pub fn clear(&mut self, domain: TimeDomain, key: &[u8], time_ms: i64) {
        self.queue(domain).remove(&(time_ms, key.to_vec()));
    }

    /// The earliest timer that is due at `now_ms` (time <= now), removed.
    pub fn pop_due(&mut self, domain: TimeDomain, now_ms: i64) -> Option<(i64, Vec<u8>)> {
        let queue = self.queue(domain);
        (queue.first()?.0 <= now_ms).then(|| queue.pop_first()).flatten()
    }

    /// When the next timer of `domain` is due.
    pub fn next_ms(&self, domain: TimeDomain) -> Option<i64> {
        match domain {
            TimeDomain::EventTime => self.event_time.first().map(|t| t.0),
            TimeDomain::ProcessingTime => self.processing_time.first().map(|t| t.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_leave_in_order_once_and_only_when_due() {
        let mut timers = TimerQueue::default();
        for (key, time) in [(b"b", 5), (b"a", 5), (b"c", 9), (b"a", 5)] {
            timers.set(TimeDomain::EventTime, key, time);
        }
        timers.clear(TimeDomain::EventTime, b"c", 9);
        assert_eq!(timers.pop_due(TimeDomain::EventTime, 4), None);
        assert_eq!(timers.pop_due(TimeDomain::EventTime, 5), Some((5, b"a".to_vec())));
        assert_eq!(timers.pop_due(TimeDomain::EventTime, 5), Some((5, b"b".to_vec())));
        assert_eq!(timers.next_ms(TimeDomain::EventTime), None);
    }
}
