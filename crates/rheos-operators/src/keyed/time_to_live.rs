//! When each slot was touched last, in event time, and which of them have been left alone for too long.
//!
//! Time is the watermark, so a slot that is touched before the first watermark is touched at the first. Slots wait in the
//! order of their touches; one that is touched again waits again, and its older places say nothing.

use std::collections::VecDeque;

/// Not touched, or before the first watermark.
pub(crate) const UNTOUCHED_MS: i64 = i64::MIN;

/// See the module. 8 bytes a slot, and 4 for each time that it waits.
#[derive(Debug)]
pub(crate) struct TimeToLive {
    /// `None`: slots live for ever, and nothing is noted.
    ttl_ms: Option<i64>,
    /// By slot.
    last_ms: Vec<i64>,
    /// By the time of the touch, the oldest first.
    waiting: VecDeque<(i64, Vec<u32>)>,
}

impl TimeToLive {
    pub(crate) fn new(ttl_ms: Option<i64>) -> Self {
        Self { ttl_ms, last_ms: vec![], waiting: VecDeque::new() }
    }

    /// When a slot was touched last.
    pub(crate) fn last_ms(&self, slot: u32) -> i64 {
        self.last_ms.get(slot as usize).copied().unwrap_or(UNTOUCHED_MS)
    }

    /// Bytes, about.
    pub(crate) fn size(&self) -> usize {
        let waiting = |(_, slots): &(i64, Vec<u32>)| slots.capacity() * size_of::<u32>();
        self.last_ms.capacity() * size_of::<i64>() + self.waiting.iter().map(waiting).sum::<usize>()
    }

    /// Notes a touch at a watermark that is not below the one before. Whether that is news.
    pub(crate) fn touch(&mut self, slot: u32, watermark_ms: i64) -> bool {
        if self.ttl_ms.is_none() {
            return false;
        }
        let at = slot as usize;
        if self.last_ms.len() <= at {
            self.last_ms.resize(at + 1, UNTOUCHED_MS);
        }
        let waits_there = self.waiting.back().is_some_and(|(ms, _)| *ms == watermark_ms);
        if self.last_ms[at] == watermark_ms && waits_there && watermark_ms != UNTOUCHED_MS {
            return false;
        }
        self.last_ms[at] = watermark_ms;
        match self.waiting.back_mut() {
            Some((ms, slots)) if *ms == watermark_ms => slots.push(slot),
            _ => self.waiting.push_back((watermark_ms, vec![slot])),
        }
        true
    }

    /// Notes what a checkpoint says of slots: in any order, before any touch.
    pub(crate) fn restore(&mut self, mut touches: Vec<(i64, u32)>) {
        touches.sort_unstable();
        for (ms, slot) in touches {
            self.touch(slot, ms);
        }
    }

    /// A slot is free, and may be given away.
    pub(crate) fn forget(&mut self, slot: u32) {
        if let Some(last) = self.last_ms.get_mut(slot as usize) {
            *last = UNTOUCHED_MS;
        }
    }

    /// The slots that were not touched for their time to live. They are forgotten.
    pub(crate) fn expired(&mut self, watermark_ms: i64) -> Vec<u32> {
        let Some(ttl_ms) = self.ttl_ms else { return vec![] };
        if watermark_ms == UNTOUCHED_MS || watermark_ms == i64::MAX {
            return vec![];
        }
        if self.waiting.front().is_some_and(|(ms, _)| *ms == UNTOUCHED_MS)
            && let Some((_, slots)) = self.waiting.pop_front()
        {
            let is_last = |slot: &u32| self.last_ms[*slot as usize] == UNTOUCHED_MS;
            let slots: Vec<u32> = slots.into_iter().filter(is_last).collect();
            slots.iter().for_each(|slot| self.last_ms[*slot as usize] = watermark_ms);
            let at = self.waiting.partition_point(|(ms, _)| *ms < watermark_ms);
            self.waiting.insert(at, (watermark_ms, slots));
        }
        let mut expired = vec![];
        while self.waiting.front().is_some_and(|(ms, _)| ms.saturating_add(ttl_ms) <= watermark_ms)
            && let Some((ms, slots)) = self.waiting.pop_front()
        {
            for slot in slots {
                if self.last_ms[slot as usize] == ms {
                    self.last_ms[slot as usize] = UNTOUCHED_MS;
                    expired.push(slot);
                }
            }
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A map of the last touch of each slot is the truth.
        #[test]
        fn a_slot_ends_when_its_last_touch_is_old_enough(steps in prop::collection::vec((0_u32..6, 0_i64..4), 1..120)) {
            let (mut ttl, mut model, mut watermark) = (TimeToLive::new(Some(5)), BTreeMap::new(), 0);
            for (slot, rise) in steps {
                ttl.touch(slot, watermark);
                model.insert(slot, watermark);
                watermark += rise;
                let mut expired = ttl.expired(watermark);
                expired.sort_unstable();
                let wanted: Vec<u32> = model.iter().filter(|(_, ms)| **ms + 5 <= watermark).map(|(s, _)| *s).collect();
                prop_assert_eq!(&expired, &wanted);
                model.retain(|slot, _| !wanted.contains(slot));
            }
        }
    }

    #[test]
    fn what_comes_before_the_first_watermark_lives_from_there() {
        let mut ttl = TimeToLive::new(Some(10));
        assert!(ttl.touch(3, UNTOUCHED_MS));
        assert!(ttl.touch(4, UNTOUCHED_MS));
        assert!(ttl.expired(100).is_empty());
        assert!(ttl.touch(4, 105));
        assert_eq!(ttl.expired(110), [3]);
        assert_eq!(ttl.expired(i64::MAX), [] as [u32; 0], "the end of the input is no time");
        assert_eq!(ttl.expired(115), [4]);
    }

    #[test]
    fn without_a_time_to_live_nothing_ends() {
        let mut ttl = TimeToLive::new(None);
        assert!(!ttl.touch(1, 5));
        assert!(ttl.expired(1 << 60).is_empty());
    }
}
