//! The timestamp of all dataflows: the epoch and the event time, as a product partial order.
//!
//! A frontier of it says two things at once: the smallest open epoch, and the watermark.

use rheos_core::time::{Epoch, Watermark};
use serde::{Deserialize, Serialize};
use timely::PartialOrder;
use timely::progress::frontier::AntichainRef;
use timely::progress::timestamp::{PathSummary, Refines, Timestamp};

/// (epoch, event time in ms).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub(crate) struct EpochTime {
    pub(crate) epoch: u64,
    pub(crate) event_time: i64,
}

impl EpochTime {
    pub(crate) fn new(epoch: Epoch, watermark: Watermark) -> Self {
        Self { epoch: epoch.0, event_time: watermark.0 }
    }
}

impl PartialOrder for EpochTime {
    fn less_equal(&self, other: &Self) -> bool {
        self.epoch <= other.epoch && self.event_time <= other.event_time
    }
}

/// A path through the dataflow never changes a timestamp: there are no loops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Unchanged;

impl PartialOrder for Unchanged {
    fn less_equal(&self, _other: &Self) -> bool {
        true
    }
}

impl PathSummary<EpochTime> for Unchanged {
    fn results_in(&self, time: &EpochTime) -> Option<EpochTime> {
        Some(*time)
    }

    fn followed_by(&self, _other: &Self) -> Option<Self> {
        Some(Unchanged)
    }
}

impl Timestamp for EpochTime {
    type Summary = Unchanged;

    fn minimum() -> Self {
        Self { epoch: 0, event_time: i64::MIN }
    }
}

impl Refines<()> for EpochTime {
    fn to_inner((): ()) -> Self {
        Self::minimum()
    }

    fn to_outer(self) {}

    fn summarize(_path: Unchanged) {}
}

/// The two things that a frontier says; `None` when it is empty (the input is over).
pub(crate) fn frontier_parts(frontier: AntichainRef<'_, EpochTime>) -> Option<(Epoch, Watermark)> {
    let epoch = frontier.iter().map(|t| t.epoch).min()?;
    let event_time = frontier.iter().map(|t| t.event_time).min()?;
    Some((Epoch(epoch), Watermark(event_time)))
}
