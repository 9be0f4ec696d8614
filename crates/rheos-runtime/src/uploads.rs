//! Stores what one worker's operators changed, epoch by epoch, beside the data path.
//!
//! Invariant: what has been handed over is stored by a later epoch's turn, if its own turn failed; a report that says "stored"
//! covers everything before it.

use std::collections::BTreeSet;
use std::sync::Arc;

use rheos_checkpoint::coordinator::{Outcome, Snapshot};
use rheos_checkpoint::manifest::{KeyGroupSet, SplitProgress};
use rheos_core::graph::NodeKind;
use rheos_core::operator::OperatorInit;
use rheos_core::state::{Combine, StateDelta};
use rheos_core::time::Epoch;
use rheos_core::{Generation, JobGraph, OperatorId, Result, WorkerId};
use rheos_state::compact::{self, Policy};
use rheos_state::holdings::Holdings;
use rheos_state::names::ObjectName;
use rheos_state::object::{self, Compression, WriteContext};
use rheos_state::store::CheckpointStore;

/// How stored rows are put together, by operator and table.
pub(crate) type Combiners = Arc<dyn Fn(&OperatorId, &str) -> Option<Arc<dyn Combine>> + Send + Sync>;

/// As the operators of a worker say.
pub(crate) fn combiners(graph: &Arc<JobGraph>, init: OperatorInit) -> Combiners {
    let graph = Arc::clone(graph);
    Arc::new(move |operator, table| {
        let node = graph.nodes().iter().find(|n| n.operator_id == operator.0)?;
        match &node.kind {
            NodeKind::Stateless(factory) | NodeKind::Stateful(factory) => factory.combiner(table, &init),
            NodeKind::Source { .. } | NodeKind::Union | NodeKind::Side(_) | NodeKind::Sink(_) => None,
        }
    })
}

/// What operators changed in an epoch.
pub(crate) type Deltas = Vec<(OperatorId, StateDelta)>;

/// See the module. Lives on an errand thread.
pub(crate) struct Uploads {
    store: Arc<dyn CheckpointStore>,
    generation: Generation,
    worker: WorkerId,
    groups: KeyGroupSet,
    combiners: Combiners,
    holdings: Holdings,
    /// Oldest first: what has not been stored.
    waiting: Vec<(Epoch, Deltas)>,
    /// Of epochs whose turn failed: to be told with the next.
    untold: Snapshot,
}

impl Uploads {
    /// Of a worker that holds `holdings`, and the key groups `groups`.
    pub(crate) fn new(
        store: Arc<dyn CheckpointStore>,
        generation: Generation,
        worker: WorkerId,
        groups: KeyGroupSet,
        combiners: Combiners,
        holdings: Holdings,
    ) -> Self {
        Self {
            store,
            generation,
            worker,
            groups,
            combiners,
            holdings,
            waiting: Vec::new(),
            untold: Snapshot::default(),
        }
    }

    /// What has to be rewritten before the first report: tables whose rows came from several workers.
    pub(crate) fn rewrite(&mut self, first: Epoch, rewrites: &BTreeSet<(OperatorId, String)>) -> Result<()> {
        if rewrites.is_empty() { Ok(()) } else { self.compact(first, rewrites) }
    }

    /// Stores an epoch, and what could not be stored before it.
    pub(crate) fn store(&mut self, epoch: Epoch, part: Snapshot, deltas: Deltas) -> Outcome {
        self.waiting.push((epoch, deltas));
        self.absorb(part);
        self.again()
    }

    /// Tries once more.
    pub(crate) fn again(&mut self) -> Outcome {
        match self.store_waiting() {
            Ok(()) => {
                let mut snapshot = std::mem::take(&mut self.untold);
                snapshot.objects = self.holdings.objects();
                Outcome::Stored(Box::new(snapshot))
            }
            Err(error) => Outcome::Failed(error),
        }
    }

    /// Merges what has become many small runs, for the reports behind `epoch`. Errors: those of the store; then nothing has changed.
    pub(crate) fn tidy(&mut self, epoch: Epoch) -> Result<()> {
        self.compact(Epoch(epoch.0 + 1), &BTreeSet::new())
    }

    fn store_waiting(&mut self) -> Result<()> {
        while let Some((epoch, deltas)) = self.waiting.first() {
            let context = WriteContext {
                name: self.name(*epoch, None),
                groups: self.groups.clone(),
                compression: Compression::default(),
            };
            if let Some(written) = object::write(&context, deltas)? {
                written.store(self.store.as_ref())?;
                self.holdings.add(&written);
            }
            self.waiting.remove(0);
        }
        Ok(())
    }

    fn compact(&mut self, epoch: Epoch, rewrites: &BTreeSet<(OperatorId, String)>) -> Result<()> {
        let compaction = compact::choose(&self.holdings, &Policy::default(), rewrites);
        let mut written = Vec::new();
        for (n, step) in (0_u32..).zip(&compaction.steps) {
            let name = self.name(epoch, Some(n));
            if let Some(object) =
                compact::merge(self.store.as_ref(), step, name, Compression::default(), &*self.combiners)?
            {
                object.store(self.store.as_ref())?;
                written.push(object);
            }
        }
        compaction.install(&mut self.holdings, &written);
        Ok(())
    }

    fn name(&self, epoch: Epoch, merge: Option<u32>) -> ObjectName {
        ObjectName { generation: self.generation, worker: self.worker, epoch, merge }
    }

    /// Of earlier epochs, what was finished or staged is still to be told; where a source stood is not.
    fn absorb(&mut self, part: Snapshot) {
        let untold = std::mem::replace(&mut self.untold, part);
        for cut in untold.sources {
            let finished = cut.splits.into_iter().filter(|s| s.progress == SplitProgress::Finished);
            if let Some(newer) = self.untold.sources.iter_mut().find(|c| c.operator == cut.operator) {
                newer.splits.extend(finished);
            }
        }
        self.untold.staged.splice(0..0, untold.staged);
    }
}
