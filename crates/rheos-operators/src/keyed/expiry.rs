//! Which keys have not been touched for so long that their state is dropped.
//!
//! Time is the watermark: a key that was touched when it stood at w goes when it has come to w + TTL. What is asked and told goes by slot,
//! and costs what it touches.

use std::collections::BTreeMap;

/// Of a slot that nobody uses.
const UNUSED: i64 = i64::MAX;

/// See the module. About 14 bytes a key.
#[derive(Debug)]
pub(crate) struct Expiry {
    ttl_ms: i64,
    /// Of every slot: the watermark at its last touch.
    touched_ms: Vec<i64>,
    /// Of every slot: it stands in `due`.
    is_queued: Vec<bool>,
    /// By a touch of theirs, not always the last: those that have been touched since are put back when they are looked at.
    due: BTreeMap<i64, Vec<u32>>,
}

impl Expiry {
    pub(crate) fn new(ttl_ms: i64) -> Self {
        Self { ttl_ms, touched_ms: vec![], is_queued: vec![], due: BTreeMap::new() }
    }

    /// A key is touched. Before there is any watermark it counts as touched when the first comes: see [`expired`](Self::expired).
    pub(crate) fn touch(&mut self, slot: u32, watermark_ms: i64) {
        let at = slot as usize;
        if self.touched_ms.len() <= at {
            self.touched_ms.resize(at + 1, UNUSED);
            self.is_queued.resize(at + 1, false);
        }
        self.touched_ms[at] = watermark_ms;
        if !std::mem::replace(&mut self.is_queued[at], true) {
            self.due.entry(watermark_ms).or_default().push(slot);
        }
    }

    /// The keys that are due. They are forgotten here.
    pub(crate) fn expired(&mut self, watermark_ms: i64) -> Vec<u32> {
        let mut expired = vec![];
        if watermark_ms == i64::MIN {
            return expired;
        }
        while let Some(first) =
            self.due.first_entry().filter(|first| self.ttl_ms.saturating_add(*first.key()) <= watermark_ms)
        {
            for slot in first.remove() {
                let touched_ms = self.touched_ms[slot as usize];
                self.is_queued[slot as usize] = false;
                if touched_ms == i64::MIN {
                    self.touch(slot, watermark_ms);
                } else if touched_ms.saturating_add(self.ttl_ms) > watermark_ms && touched_ms != UNUSED {
                    self.touch(slot, touched_ms);
                } else if touched_ms != UNUSED {
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
            *ms = UNUSED;
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
        // The slots have new keys.
        expiry.touch(2, 1000);
        expiry.touch(1, 1000);
        assert_eq!(expiry.expired(1009), [0; 0]);
        expiry.touch(1, 1005);
        assert_eq!(expiry.expired(1010), [2]);
        assert_eq!(expiry.expired(1014), [0; 0]);
        assert_eq!(expiry.expired(1015), [1]);
        assert_eq!(expiry.expired(i64::MAX), [0; 0]);
    }
}
