//! Stores what one worker's operators changed, epoch by epoch, beside the data path; and knows what it holds.
//!
//! ```text
//!   upload thread ──store──► Uploads (locked: few reads and writes of names) ◄──next step, result── merging thread
//! ```
//! Invariant: what has been handed over is stored by a later epoch's turn, if its own turn failed; a report that says "stored"
//! covers everything before it.

use std::collections::BTreeSet;
use std::sync::Arc;

use rheos_checkpoint::coordinator::{Outcome, Snapshot};
use rheos_checkpoint::manifest::{KeyGroupSet, ObjectRef, SplitProgress};
use rheos_core::graph::NodeKind;
use rheos_core::operator::OperatorInit;
use rheos_core::state::{Combine, StateDelta};
use rheos_core::time::Epoch;
use rheos_core::{Generation, JobGraph, OperatorId, Result, WorkerId};
use rheos_state::compact::{self, Policy, Step, Unmerged};
use rheos_state::holdings::Holdings;
use rheos_state::names::{ObjectName, object_path};
use rheos_state::object::{self, Compression, WriteContext, WrittenObject};
use rheos_state::spare::Spare;
use rheos_state::store::{CheckpointStore, check_there};

use crate::merges::Merging;

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

/// See the module. Shared by two errand threads.
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
    /// The epoch behind the last that was stored.
    next: Epoch,
    merging: Merging,
}

impl Uploads {
    /// Of a worker that holds `holdings`, and the key groups `groups`. `first`: the generation's first epoch.
    pub(crate) fn new(
        store: Arc<dyn CheckpointStore>,
        (generation, first): (Generation, Epoch),
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
            next: first,
            merging: Merging::default(),
        }
    }

    /// What has to be rewritten before the first report, and nothing else: tables whose rows came from several workers.
    pub(crate) fn rewrite(&mut self, rewrites: &BTreeSet<(OperatorId, String)>) -> Result<()> {
        if rewrites.is_empty() {
            return Ok(());
        }
        let nothing = Policy {
            runs_max: usize::MAX,
            merge_min: usize::MAX,
            merge_some_min: usize::MAX,
            merge_all_min: usize::MAX,
            merge_all_growth: u64::MAX,
            dead_bytes_free: u64::MAX,
            ..Policy::default()
        };
        let compaction = compact::choose(&self.holdings, &nothing, rewrites, &BTreeSet::new(), &*self.combiners);
        for step in &compaction.steps {
            let name = self.merged_name();
            let merged = self.merger().merge(step, name, &|| false)?;
            step.install(&mut self.holdings, merged.as_ref());
        }
        compaction.drop_dead(&mut self.holdings);
        Ok(())
    }

    /// Stores an epoch, and what could not be stored before it.
    pub(crate) fn store(&mut self, epoch: Epoch, part: Snapshot, deltas: Deltas) -> Outcome {
        self.waiting.push((epoch, deltas));
        self.absorb(part);
        self.again()
    }

    /// Tries once more.
    pub(crate) fn again(&mut self) -> Outcome {
        match self.store_waiting().and_then(|()| self.all_there()) {
            Ok(objects) => {
                let mut snapshot = std::mem::take(&mut self.untold);
                snapshot.objects = objects;
                snapshot.holds = self.merging.in_hand();
                Outcome::Stored(Box::new(snapshot))
            }
            Err(error) => Outcome::Failed(error),
        }
    }

    /// The next merge that is due, if any: what it reads stays held until it is told. `now_ms`: a clock that only goes forward.
    pub(crate) fn next_step(&mut self, now_ms: u64) -> Option<(Step, ObjectName)> {
        let step = self.merging.next_step(&mut self.holdings, &*self.combiners, now_ms)?;
        let name = self.merged_name();
        self.merging.begin(name);
        Some((step, name))
    }

    /// A merge has ended. Gives what the user should know.
    pub(crate) fn step_ended(
        &mut self,
        step: &Step,
        result: Result<Option<WrittenObject>, Unmerged>,
        now_ms: u64,
    ) -> Option<rheos_core::Error> {
        self.merging.end();
        match result {
            Ok(written) => {
                step.install(&mut self.holdings, written.as_ref());
                self.merging.succeeded();
                None
            }
            Err(unmerged) => self.merging.failed(unmerged, now_ms),
        }
    }

    /// What merging needs beside the lock.
    pub(crate) fn merger(&self) -> Merger {
        Merger { store: Arc::clone(&self.store), combiners: Arc::clone(&self.combiners), spare: Spare::default() }
    }

    fn store_waiting(&mut self) -> Result<()> {
        while let Some((epoch, deltas)) = self.waiting.first() {
            let context = WriteContext {
                name: self.name(*epoch, None),
                groups: self.groups.clone(),
                compression: Compression::default(),
            };
            if let Some(mut written) = object::write(&context, deltas)? {
                written.store(self.store.as_ref())?;
                written.release_bytes();
                self.holdings.add(&written);
            }
            self.next = Epoch(epoch.0 + 1);
            self.waiting.remove(0);
        }
        Ok(())
    }

    /// What is held. Errors: R0647 where somebody has removed some of it: a manifest that names it could not be restored.
    fn all_there(&self) -> Result<Vec<ObjectRef>> {
        let objects = self.holdings.objects();
        let names: Vec<String> = objects.iter().map(|o| object_path(&o.name)).collect();
        check_there(self.store.as_ref(), &names)?;
        Ok(objects)
    }

    /// Another for each merge. Of an epoch that no report covers yet: so nobody takes it for garbage before one holds it.
    fn merged_name(&mut self) -> ObjectName {
        let number = self.merging.next_number();
        self.name(self.next, Some(number))
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

/// Carries out merges.
pub(crate) struct Merger {
    store: Arc<dyn CheckpointStore>,
    combiners: Combiners,
    spare: Spare,
}

impl Merger {
    /// The result, stored; `None` if nothing is left. `is_over`: nobody wants it any more.
    pub(crate) fn merge(
        &mut self,
        step: &Step,
        name: ObjectName,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Option<WrittenObject>, Unmerged> {
        let (store, combiners) = (self.store.as_ref(), &*self.combiners);
        let mut merged =
            compact::merge(store, step, name, Compression::default(), combiners, is_over, &mut self.spare)?;
        if is_over() {
            return Err(Unmerged::Over);
        }
        if let Some(object) = &mut merged {
            object.store(store).map_err(Unmerged::Store)?;
            object.release_bytes();
        }
        Ok(merged)
    }
}
