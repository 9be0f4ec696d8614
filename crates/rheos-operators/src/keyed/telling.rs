//! When an operator tells what has changed: at the end of an epoch, before the end of the input is told, and in between as often as is
//! wanted. Until changes are out the watermark behind it stays where it was when the ones before went out.

use rheos_core::Watermark;

/// See the module.
#[derive(Debug)]
pub(crate) struct Telling {
    interval_ms: Option<i64>,
    told_ms: i64,
    /// Of everything below it, changes are out.
    watermark: Watermark,
}

impl Telling {
    pub(crate) fn new(interval_ms: Option<i64>) -> Self {
        Self { interval_ms, told_ms: i64::MIN, watermark: Watermark::MIN }
    }

    pub(crate) fn wants_clock(&self) -> bool {
        self.interval_ms.is_some()
    }

    /// Whether changes are to be told now, by the clock.
    pub(crate) fn is_due(&mut self, now_ms: i64) -> bool {
        if self.told_ms == i64::MIN {
            self.told_ms = now_ms;
        }
        let is_due = self.interval_ms.is_some_and(|interval| now_ms.saturating_sub(self.told_ms) >= interval);
        if is_due {
            self.told_ms = now_ms;
        }
        is_due
    }

    /// The watermark of the input has moved. Whether changes are to be told now.
    pub(crate) fn is_last(&mut self, combined: Watermark, has_changes: bool) -> bool {
        if combined == Watermark::MAX || !has_changes {
            self.watermark = combined;
        }
        combined == Watermark::MAX
    }

    /// All changes are out.
    pub(crate) fn is_told(&mut self, watermark: Watermark) {
        self.watermark = self.watermark.max(watermark);
    }

    /// The watermark behind the operator.
    pub(crate) fn output_watermark(&self, combined: Watermark) -> Watermark {
        combined.min(self.watermark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_waits_for_changes_and_the_end_does_not() {
        let mut telling = Telling::new(None);
        let behind = |telling: &Telling, ms| telling.output_watermark(Watermark(ms));
        assert!(!telling.is_last(Watermark(10), false));
        assert_eq!(behind(&telling, 10), Watermark(10));
        assert!(!telling.is_last(Watermark(20), true));
        assert_eq!(behind(&telling, 20), Watermark(10));
        telling.is_told(Watermark(20));
        assert_eq!(behind(&telling, 20), Watermark(20));
        assert!(telling.is_last(Watermark::MAX, true));
        assert_eq!(telling.output_watermark(Watermark::MAX), Watermark::MAX);
    }

    #[test]
    fn an_interval_begins_with_the_first_tick() {
        let mut telling = Telling::new(Some(10));
        assert_eq!([100, 109, 110, 119, 125].map(|now| telling.is_due(now)), [false, false, true, false, true]);
        assert!(!Telling::new(None).is_due(1000));
    }
}
