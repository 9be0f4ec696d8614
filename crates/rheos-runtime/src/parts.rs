//! What one worker has to say of each epoch, put together from its sources, operators and sinks.
//!
//! ```text
//!   source ──cut: splits──────────┐
//!   operator ──changed: deltas────┼──► all of them are past epoch e ──► the worker's part of e ──► uploads ──► checkpoints
//!   sink ──staged: committables───┘                                                    (without state: at once)
//! ```
//!
//! Invariant: every epoch that was announced is told once, in order. An operator may skip epochs in which nothing
//! happened to it; it closes them together with the next.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rheos_checkpoint::coordinator::{SinkOutput, Snapshot, SourceCut};
use rheos_checkpoint::manifest::{SplitProgress, SplitState};
use rheos_core::operator::Counter;
use rheos_core::sink::Committable;
use rheos_core::state::StateDelta;
use rheos_core::time::{Epoch, Watermark};
use rheos_core::{NodeId, OperatorId, WorkerId};

use crate::checkpoints::Checkpoints;
use crate::control::JobControl;
use crate::metrics::{ROWS_IN, ROWS_OUT, counter_name};
use crate::uploads::Deltas;

/// See the module. Shared by the operators of one worker.
pub(crate) struct WorkerParts {
    worker: WorkerId,
    control: JobControl,
    checkpoints: Checkpoints,
    state: RefCell<State>,
}

/// One of the things that a worker counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CounterId(usize);

/// The counters of an operator.
pub(crate) struct OperatorCounters {
    pub(crate) rows_in: CounterId,
    pub(crate) rows_out: CounterId,
    /// As of [`Counter::SUMS`].
    own: [CounterId; Counter::SUMS.len()],
}

impl OperatorCounters {
    pub(crate) fn new(parts: &WorkerParts, operator: &str) -> Self {
        Self {
            rows_in: parts.counter(operator, ROWS_IN),
            rows_out: parts.counter(operator, ROWS_OUT),
            own: Counter::SUMS.map(|counter| parts.counter(operator, &format!("{counter:?}"))),
        }
    }

    /// `None` for what does not add up over epochs.
    pub(crate) fn own(&self, counter: Counter) -> Option<CounterId> {
        Counter::SUMS.iter().zip(self.own).find(|(sum, _)| **sum == counter).map(|(_, id)| id)
    }
}

#[derive(Default)]
struct State {
    /// By node that takes part: its id, and the first epoch that it has not closed.
    open: BTreeMap<NodeId, (OperatorId, Epoch)>,
    parts: BTreeMap<Epoch, (Snapshot, Deltas)>,
    /// By counter: its name in checkpoints, and what has been counted in all epochs that were told.
    counters: Vec<(String, u64)>,
    /// By epoch, then by counter: what has been counted in epochs that were not told.
    counted: BTreeMap<Epoch, Vec<u64>>,
    /// With which watermarks in ms operators have left the epochs that were told.
    watermarks_ms: BTreeMap<OperatorId, i64>,
    /// The first epoch that has not been told.
    next: Epoch,
}

impl WorkerParts {
    /// `first`: not the epoch that has been announced by now, for a worker may start late, and owes its part of those before.
    pub(crate) fn new(worker: WorkerId, first: Epoch, control: JobControl, checkpoints: Checkpoints) -> Rc<Self> {
        let state = RefCell::new(State { next: first, ..State::default() });
        Rc::new(Self { worker, control, checkpoints, state })
    }

    /// A node takes part in every epoch from now on.
    pub(crate) fn register(&self, node: NodeId, operator: OperatorId) {
        let mut state = self.state.borrow_mut();
        let next = state.next;
        state.open.insert(node, (operator, next));
    }

    /// A source ends the epochs from `first` on, before `next`.
    pub(crate) fn cut(&self, node: NodeId, first: Epoch, next: Epoch, watermark: Watermark, splits: Vec<SplitState>) {
        let mut state = self.state.borrow_mut();
        if let Some(operator) = state.open.get(&node).map(|(operator, _)| operator.clone()) {
            let watermark_ms = watermark.ms();
            // Epochs that are cut at once stand at the same positions; what is finished is told once.
            for epoch in first.0 + 1..next.0 {
                let open = splits.iter().filter(|s| s.progress != SplitProgress::Finished).cloned().collect();
                let cut = SourceCut { operator: operator.clone(), watermark_ms, splits: open };
                state.parts.entry(Epoch(epoch)).or_default().0.sources.push(cut);
            }
            state.parts.entry(first).or_default().0.sources.push(SourceCut { operator, watermark_ms, splits });
        }
        drop(state);
        self.close_before(node, next);
    }

    /// Makes a counter: once, for [`count`](Self::count) comes with every batch.
    pub(crate) fn counter(&self, operator: &str, name: &str) -> CounterId {
        let counters = &mut self.state.borrow_mut().counters;
        counters.push((counter_name(operator, name), 0));
        CounterId(counters.len() - 1)
    }

    /// Something was counted in `epoch`.
    pub(crate) fn count(&self, epoch: Epoch, counter: CounterId, n: u64) {
        if n > 0 {
            let counted = &mut self.state.borrow_mut().counted;
            let counted = counted.entry(epoch).or_default();
            if counted.len() <= counter.0 {
                counted.resize(counter.0 + 1, 0);
            }
            counted[counter.0] += n;
        }
    }

    /// A sink has staged its output of `epoch`.
    pub(crate) fn staged(&self, node: NodeId, epoch: Epoch, committables: Vec<Committable>) {
        let mut state = self.state.borrow_mut();
        if !committables.is_empty()
            && let Some(operator) = state.open.get(&node).map(|(operator, _)| operator.clone())
        {
            let output = SinkOutput { operator, epoch, committables };
            state.parts.entry(epoch).or_default().0.staged.push(output);
        }
    }

    /// What an operator changed in `epoch`.
    pub(crate) fn changed(&self, node: NodeId, epoch: Epoch, delta: StateDelta) {
        let mut state = self.state.borrow_mut();
        if !delta.tables.is_empty()
            && let Some(operator) = state.open.get(&node).map(|(operator, _)| operator.clone())
        {
            state.parts.entry(epoch).or_default().1.push((operator, delta));
        }
    }

    /// An operator leaves `epoch` with a watermark.
    pub(crate) fn came_to(&self, node: NodeId, epoch: Epoch, watermark: Watermark) {
        let mut state = self.state.borrow_mut();
        if watermark != Watermark::MIN
            && watermark != Watermark::MAX
            && let Some(operator) = state.open.get(&node).map(|(operator, _)| operator.clone())
        {
            state.parts.entry(epoch).or_default().0.watermarks_ms.insert(operator, watermark.ms());
        }
    }

    /// A node is done with all epochs before `next`.
    pub(crate) fn close_before(&self, node: NodeId, next: Epoch) {
        let mut state = self.state.borrow_mut();
        if let Some((_, open)) = state.open.get_mut(&node) {
            *open = next.max(*open);
        }
        let Some(closed) = state.open.values().map(|(_, epoch)| *epoch).min() else { return };
        while state.next < closed.min(self.control.epoch()) {
            let epoch = state.next;
            let (mut part, deltas) = state.parts.remove(&epoch).unwrap_or_default();
            let counted = state.counted.remove(&epoch).unwrap_or_default();
            state.counters.iter_mut().zip(counted).for_each(|((_, total), n)| *total += n);
            for (name, total) in state.counters.iter().filter(|(_, total)| *total > 0) {
                *part.counters.entry(name.clone()).or_default() += total;
            }
            state.watermarks_ms.append(&mut part.watermarks_ms);
            part.watermarks_ms.clone_from(&state.watermarks_ms);
            state.next = Epoch(epoch.0 + 1);
            self.checkpoints.part(self.worker, epoch, part, deltas);
        }
    }

    /// Whether all nodes are done with all epochs.
    pub(crate) fn is_over(&self) -> bool {
        self.state.borrow().open.values().all(|(_, epoch)| *epoch == Epoch(u64::MAX))
    }

    /// A node is done with all epochs.
    pub(crate) fn close_all(&self, node: NodeId) {
        self.close_before(node, Epoch(u64::MAX));
    }
}
