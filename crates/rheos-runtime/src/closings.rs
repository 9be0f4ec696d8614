//! With which watermarks operators have left an epoch.
//!
//! A frontier tells the smallest epoch that is open anywhere above, and the watermark to which all have come; not that some of
//! them have come to it in a later epoch only. What those have let go behind the watermark is not in the checkpoint of the earlier
//! epoch: a restore lets it go once more. So an operator that is still in that epoch must not fire beyond it: it
//! would expect no rows from there any more, and after a restore to fewer workers take what comes for late.
//!
//! ```text
//!             epoch 5 ends
//!   upstream, worker 0    ──W=10──┤──W=99, fires──►      leaves epoch 5 with 10
//!   upstream, worker 1    ──W=99──────┤──►
//!   downstream, worker 1  ──frontier (5, 99)──┤──►       may come to 10 in epoch 5, and to 99 in epoch 6
//! ```
//! The limit of an epoch is the smallest watermark of all operators of the job that have left it, whether rows flow from
//! them or not: to wait for the next epoch, which has begun elsewhere by then, costs nothing.

use std::collections::BTreeMap;
use std::sync::Mutex;

use rheos_core::time::{Epoch, Watermark};

use crate::control::lock;

/// Epochs behind the newest that are remembered: no more are open at once (`RunConfig::check`).
const EPOCHS_OPEN_MAX: u64 = 1024;

/// See the module. One a generation.
#[derive(Debug, Default)]
pub(crate) struct Closings(Mutex<BTreeMap<Epoch, Watermark>>);

impl Closings {
    /// An operator leaves the epochs from `first` on, before `next`; what it sends in `next` is not before `watermark`. To be
    /// called before others can see that it has left.
    pub(crate) fn close(&self, first: Epoch, next: Epoch, watermark: Watermark) {
        let mut closings = lock(&self.0);
        for epoch in first.0.max(next.0.saturating_sub(EPOCHS_OPEN_MAX))..next.0 {
            let least = closings.entry(Epoch(epoch)).or_insert(watermark);
            *least = watermark.min(*least);
        }
        let newest = closings.keys().next_back().copied().unwrap_or(next);
        let kept = closings.split_off(&Epoch(newest.0.saturating_sub(EPOCHS_OPEN_MAX)));
        *closings = kept;
    }

    /// How far operators may come in an epoch. Ask after a look at the frontier.
    pub(crate) fn limit(&self, epoch: Epoch) -> Watermark {
        lock(&self.0).get(&epoch).copied().unwrap_or(Watermark::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_watermark_with_which_anybody_left_limits_an_epoch() {
        let closings = Closings::default();
        assert_eq!(closings.limit(Epoch(5)), Watermark::MAX);
        closings.close(Epoch(4), Epoch(6), Watermark(10));
        closings.close(Epoch(5), Epoch(6), Watermark(99));
        closings.close(Epoch(6), Epoch(7), Watermark(99));
        let limits = [3, 4, 5, 6, 7].map(|epoch| closings.limit(Epoch(epoch)));
        assert_eq!(limits, [Watermark::MAX, Watermark(10), Watermark(10), Watermark(99), Watermark::MAX]);
        closings.close(Epoch(6 + EPOCHS_OPEN_MAX), Epoch(7 + EPOCHS_OPEN_MAX), Watermark(100));
        assert_eq!((closings.limit(Epoch(5)), closings.limit(Epoch(6))), (Watermark::MAX, Watermark(99)));
    }
}
