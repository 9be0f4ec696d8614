//! Completes epochs: when every sink writer has staged an epoch, its output is committed.
//!
//! Runs on the job's clock thread, which also announces epochs; committing may block, worker threads may not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rheos_core::sink::{Committable, Sink};
use rheos_core::time::Epoch;
use rheos_core::{NodeId, Result};

use crate::control::lock;

/// What the writers of one sink have staged.
struct SinkProgress {
    sink: Arc<dyn Sink>,
    /// Per worker: staged through this epoch; `None` before the first.
    staged: Vec<Option<Epoch>>,
    waiting: BTreeMap<Epoch, Vec<Committable>>,
}

/// Collects staged output and commits it in the order of epochs.
pub(crate) struct EpochTracker {
    sinks: Mutex<BTreeMap<NodeId, SinkProgress>>,
}

impl EpochTracker {
    pub(crate) fn new(sinks: impl IntoIterator<Item = (NodeId, Arc<dyn Sink>)>, workers: usize) -> Self {
        let progress = |(id, sink)| (id, SinkProgress { sink, staged: vec![None; workers], waiting: BTreeMap::new() });
        Self { sinks: Mutex::new(sinks.into_iter().map(progress).collect()) }
    }

    /// A writer has staged everything through `epoch`.
    pub(crate) fn staged(&self, sink: NodeId, worker: usize, epoch: Epoch, committables: Vec<Committable>) {
        let mut sinks = lock(&self.sinks);
        let progress = sinks.get_mut(&sink).expect("every sink of the graph was registered");
        progress.staged[worker] = Some(epoch);
        if !committables.is_empty() {
            progress.waiting.entry(epoch).or_default().extend(committables);
        }
    }

    /// The newest epoch that all writers of all sinks have staged.
    pub(crate) fn complete(&self) -> Option<Epoch> {
        let sinks = lock(&self.sinks);
        sinks.values().flat_map(|s| s.staged.iter().copied()).min().flatten()
    }

    /// Commits every complete epoch; `Epoch(u64::MAX)` at the end of the job commits all.
    pub(crate) fn commit_through(&self, epoch: Epoch) -> Result<()> {
        let mut ready = Vec::new();
        for progress in lock(&self.sinks).values_mut() {
            let later = progress.waiting.split_off(&Epoch(epoch.0.saturating_add(1)));
            let now = std::mem::replace(&mut progress.waiting, later);
            let committables: Vec<Committable> = now.into_values().flatten().collect();
            if !committables.is_empty() {
                ready.push((Arc::clone(&progress.sink), committables));
            }
        }
        // Not under the lock: a writer must be able to report while a slow system commits.
        ready.into_iter().try_for_each(|(sink, committables)| sink.commit(&committables))
    }

    /// After the last commit of a job that ended well.
    pub(crate) fn finish(&self) -> Result<()> {
        let sinks: Vec<_> = lock(&self.sinks).values().map(|p| Arc::clone(&p.sink)).collect();
        sinks.into_iter().try_for_each(|sink| sink.finish())
    }
}
