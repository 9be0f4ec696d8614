//! The inputs of an operator or sink, sorted by epoch.
//!
//! Timely hands over a batch as soon as it arrives, also one of a later epoch than the operator is in; such a batch is
//! stashed until its epoch begins. For Timely a stashed batch is consumed, so the frontier alone may run ahead of it:
//! the *effective* watermark is the minimum of the frontier's event time and the smallest time that still waits here.

use std::collections::{BTreeMap, VecDeque};

use rheos_core::Batch;
use rheos_core::time::{Epoch, Watermark};
use timely::progress::frontier::MutableAntichain;

use crate::time::{EpochTime, frontier_parts};

/// A batch that has arrived.
pub(crate) struct Arrival {
    pub(crate) input: usize,
    pub(crate) event_time: i64,
    pub(crate) batch: Batch,
}

/// What has arrived and not been applied.
pub(crate) struct Intake {
    current: Epoch,
    queue: VecDeque<Arrival>,
    stash: BTreeMap<u64, VecDeque<Arrival>>,
}

impl Intake {
    /// `first`: the job's first epoch.
    pub(crate) fn new(first: Epoch) -> Self {
        Self { current: first, queue: VecDeque::new(), stash: BTreeMap::new() }
    }

    /// The epoch that is open here.
    pub(crate) fn epoch(&self) -> Epoch {
        self.current
    }

    pub(crate) fn accept(&mut self, input: usize, time: EpochTime, batch: Batch) {
        let arrival = Arrival { input, event_time: time.event_time, batch };
        debug_assert!(time.epoch >= self.current.0, "a batch of a closed epoch arrived");
        if time.epoch <= self.current.0 {
            self.queue.push_back(arrival);
        } else {
            self.stash.entry(time.epoch).or_default().push_back(arrival);
        }
    }

    /// The next batch of the open epoch.
    pub(crate) fn pop(&mut self) -> Option<Arrival> {
        self.queue.pop_front()
    }

    /// Whether batches of the open epoch wait.
    pub(crate) fn has_batches(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The effective watermark of one input; `last` where its frontier is empty (the input went away without saying
    /// that event time is over).
    pub(crate) fn watermark(&self, input: usize, frontier: &MutableAntichain<EpochTime>, last: Watermark) -> Watermark {
        let waiting = self.queue.iter().chain(self.stash.values().flatten());
        let waiting = waiting.filter(|a| a.input == input).map(|a| Watermark(a.event_time)).min();
        let open = frontier_parts(frontier.frontier()).map_or(last, |(_, watermark)| watermark);
        // Never backwards: a stashed batch may carry a smaller time than this input's watermark of an earlier moment.
        waiting.map_or(open, |w| w.min(open)).max(last)
    }

    /// Whether all inputs have closed the open epoch; batches of it may still wait here.
    pub(crate) fn epoch_left(&self, frontiers: &[MutableAntichain<EpochTime>]) -> bool {
        let open = frontiers.iter().filter_map(|f| frontier_parts(f.frontier())).map(|(epoch, _)| epoch).min();
        open.is_none_or(|epoch| epoch > self.current)
    }

    /// Whether all inputs have closed the open epoch and its batches have been applied.
    pub(crate) fn epoch_closed(&self, frontiers: &[MutableAntichain<EpochTime>]) -> bool {
        self.queue.is_empty() && self.epoch_left(frontiers)
    }

    /// Whether nothing will come any more.
    pub(crate) fn is_over(&self, frontiers: &[MutableAntichain<EpochTime>]) -> bool {
        self.queue.is_empty() && self.stash.is_empty() && frontiers.iter().all(|f| f.frontier().is_empty())
    }

    /// Opens the next epoch that has anything: the smallest that is stashed or open at an input. Epochs in between are
    /// empty here. Call it only when the open one is closed; does nothing when nothing will come.
    pub(crate) fn open_next_epoch(&mut self, frontiers: &[MutableAntichain<EpochTime>]) {
        let open = frontiers.iter().filter_map(|f| frontier_parts(f.frontier())).map(|(epoch, _)| epoch.0).min();
        let stashed = self.stash.keys().next().copied();
        let Some(next) = open.into_iter().chain(stashed).min() else { return };
        self.current = Epoch(next);
        if let Some(batches) = self.stash.remove(&next) {
            self.queue.extend(batches);
        }
    }
}
