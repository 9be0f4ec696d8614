//! Which keys have not been touched for so long that their state is dropped.
//!
//! Time is the watermark: a key that was touched when it stood at w goes when it has come to w + TTL. What is asked and told goes by slot,
//! and costs what it touches.

use std::collections::VecDeque;

/// See the module. 8 bytes a key, and 4 for each time that it is touched and not yet due.
#[derive(Debug)]
pub(crate) struct Expiry {
    ttl_ms: i64,
    /// Of every slot: the watermark at its last touch.
    touched_ms: Vec<i64>,
    /// In the order of their touches.
    due: VecDeque<(i64, Vec<u32>)>,
}

impl Expiry {
    pub(crate) fn new(ttl_ms: i64) -> Self {
        Self { ttl_ms, touched_ms: vec![], due: VecDeque::new() }
    }

    /// A key is touched. Before there is any watermark it counts as touched when the first comes: see [`expired`](Self::expired).
    pub(crate) fn touch(&mut self, slot: u32, watermark_ms: i64) {
        let at = slot as usize;
        if self.touched_ms.len() <= at {
            self.touched_ms.resize(at + 1, i64::MAX);
        }
        if std::mem::replace(&mut self.touched_ms[at], watermark_ms) == watermark_ms {
            return;
        }
        match self.due.back_mut().filter(|(ms, _)| *ms == watermark_ms) {
            Some((_, slots)) => slots.push(slot),
            None => self.due.push_back((watermark_ms, vec![slot])),
        }
    }

    /// The keys that are due. They are forgotten here.
    pub(crate) fn expired(&mut self, watermark_ms: i64) -> Vec<u32> {
        if watermark_ms == i64::MIN {
            return vec![];
        }
        let mut expired = vec![];
        while let Some((ms, _)) = self.due.front()
            && (*ms == i64::MIN || ms.saturating_add(self.ttl_ms) <= watermark_ms)
            && let Some((ms, slots)) = self.due.pop_front()
        {
            for slot in slots.into_iter().filter(|slot| self.touched_ms[*slot as usize] == ms) {
                if ms == i64::MIN {
                    self.touch(slot, watermark_ms);
                } else {
                    self.forget(slot);
                    expired.push(slot);
                }
            }
        }
        expired
    }

    /// The slot has no key any more.
    pub(crate) fn forget(&mut self, slot: u32) {
        if let Some(ms) = self.touched_ms.get_mut(slot as usize) {
            *ms = i64::MAX;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_due_when_the_watermark_has_come_far_enough_behind_their_last_touch() {
        let mut expiry = Expiry::new(10);
        // Before any watermark, as after a restart: the time begins with the first.
        expiry.touch(0, i64::MIN);
        expiry.touch(1, i64::MIN);
        assert_eq!(expiry.expired(i64::MIN), [0; 0]);
        assert_eq!(expiry.expired(100), [0; 0]);
        expiry.touch(1, 105);
        expiry.touch(2, 105);
        assert_eq!(expiry.expired(109), [0; 0]);
        assert_eq!(expiry.expired(110), [0]);
        expiry.forget(2);
        assert_eq!(expiry.expired(1000), [1]);
        // The slot has a new key.
        expiry.touch(1, 1000);
        assert_eq!(expiry.expired(1009), [0; 0]);
        assert_eq!(expiry.expired(i64::MAX), [1]);
        assert_eq!(expiry.expired(i64::MAX), [0; 0]);
    }
}
