//! How a job begins: without state, or with what its newest checkpoint holds.
//!
//! ```text
//!   journal ──► next_step ──► verify objects ──► claim, read the journal again ──► Beginning
//!                                                                         ├─► restore: sources, key groups, operators
//!                                                                         └─► commit again, then resume sinks
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;

use rheos_checkpoint::coordinator::{SinkCommit, WriteOutcome};
use rheos_checkpoint::journal::{Claim, Entry, EntryNumber, Journal, Nonce};
use rheos_checkpoint::manifest::{Manifest, SourceState};
use rheos_checkpoint::recovery::{DroppedState, Duplicates, Options, RestoreFrom, SinkStaged, Step, known, next_step};
use rheos_checkpoint::rescale;
use rheos_core::graph::NodeKind;
use rheos_core::key::KeyGroupAssignment;
use rheos_core::sink::{Owner, Sink};
use rheos_core::time::{Epoch, Watermark};
use rheos_core::{Error, ErrorKind, Generation, JobGraph, JobId, NodeId, OperatorId, Result};
use rheos_state::journal;
use rheos_state::kept::Kept;
use rheos_state::names;
use rheos_state::store::CheckpointStore;

/// Claims that are tried before others are taken to be faster for ever.
const CLAIMS_MAX: usize = 10;

/// Bytes of state that are kept in memory from their verification to the restore; what is beyond is read twice.
const KEPT_BYTES_MAX: u64 = 256 << 20;

/// Sinks, by the stable ids of their nodes.
pub(crate) type SinksById = BTreeMap<OperatorId, Arc<dyn Sink>>;

/// Where a job keeps its state, and how it goes on from it.
#[derive(Clone)]
pub struct StateConfig {
    /// The store; of this job alone.
    pub store: Arc<dyn CheckpointStore>,
    /// From where to go on.
    pub from: RestoreFrom,
    /// Whether output may show twice.
    pub duplicates: Duplicates,
    /// Whether state may be lost that the program has no operator for.
    pub dropped_state: DroppedState,
    /// Checkpoints that are kept, beside savepoints.
    pub checkpoints_kept: NonZeroU32,
    /// What was resolved when the program was planned, and is given back by a restore.
    pub context: Vec<u8>,
    /// Told of what goes wrong and does not end the job.
    pub warn: Arc<dyn Fn(&Error) + Send + Sync>,
}

impl fmt::Debug for StateConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateConfig({:?}, {:?})", self.store, self.from)
    }
}

/// How a generation begins.
pub(crate) struct Beginning {
    pub(crate) claim: Claim,
    pub(crate) restored: Option<Arc<Manifest>>,
    /// The journal, with the claim; empty for a job without state.
    pub(crate) journal: Journal,
    /// What has been read of the checkpoint on the way.
    pub(crate) kept: Kept,
    commit: Vec<SinkCommit>,
    keep_staged: Vec<SinkStaged>,
}

impl Beginning {
    /// Of a job that keeps no state.
    pub(crate) fn stateless() -> Self {
        let claim = Claim {
            generation: Generation(1),
            nonce: Nonce(0),
            job: JobId(0),
            restored: None,
            first_epoch: Epoch(0),
            checkpoints_kept: NonZeroU32::MIN,
            damaged: vec![],
        };
        Self {
            claim,
            restored: None,
            journal: Journal::default(),
            kept: Kept::default(),
            commit: vec![],
            keep_staged: vec![],
        }
    }

    /// What is known of a source.
    pub(crate) fn source(&self, operator: &OperatorId) -> Option<&SourceState> {
        self.restored.as_ref()?.sources.iter().find(|s| s.operator == *operator)
    }

    /// Whether the checkpoint lists output of a sink.
    pub(crate) fn has_output(&self, operator: &OperatorId) -> bool {
        let state = self.restored.as_ref().and_then(|m| m.sink(operator));
        state.is_some_and(|sink| sink.listed().next().is_some())
    }

    /// The watermark that an operator begins with: its own of the checkpoint. One that the checkpoint does not know begins with
    /// that of the sources that it reads, if no other step with a watermark is between.
    pub(crate) fn watermark(&self, graph: &JobGraph, node: NodeId) -> Watermark {
        let known = |operator: &str| self.restored.as_ref()?.watermarks_ms.get(&OperatorId(operator.into())).copied();
        let node = graph.node(node);
        match known(&node.operator_id) {
            Some(ms) => Watermark(ms),
            None => node.inputs.iter().map(|edge| self.sent(graph, edge.from)).min().unwrap_or(Watermark::MIN),
        }
    }

    fn sent(&self, graph: &JobGraph, from: NodeId) -> Watermark {
        let node = graph.node(from);
        let sent = match &node.kind {
            NodeKind::Source { .. } => {
                let known = self.source(&OperatorId(node.operator_id.clone()));
                known.map(|source| Watermark(source.watermark_ms))
            }
            NodeKind::Stateless(_) | NodeKind::Union => {
                node.inputs.iter().map(|edge| self.sent(graph, edge.from)).min()
            }
            NodeKind::Stateful(_) | NodeKind::Side(_) | NodeKind::Sink(_) => None,
        };
        // The end of time is told by who has come to it.
        sent.filter(|watermark| *watermark < Watermark::MAX).unwrap_or(Watermark::MIN)
    }

    /// Who owns which key groups: as few as possible move.
    pub(crate) fn assignment(&self, key_groups: u16, parallelism: usize) -> KeyGroupAssignment {
        let workers = u32::try_from(parallelism).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        match &self.restored {
            Some(manifest) => rescale::assign(&manifest.assignment(), &rescale::even(workers)),
            None => KeyGroupAssignment::even(key_groups, parallelism),
        }
    }

    /// Brings the sinks to where the job goes on: what has been released is visible, what belongs to nobody is gone.
    /// `duplicates`: of a job that keeps state.
    pub(crate) fn settle(&mut self, sinks: &SinksById, duplicates: Option<Duplicates>) -> Result<()> {
        let keep: BTreeMap<OperatorId, _> = self.keep_staged.drain(..).map(|s| (s.operator, s.committables)).collect();
        let is_new = |operator: &OperatorId| self.restored.is_none() && !keep.contains_key(operator);
        sinks.iter().filter(|(operator, _)| is_new(operator)).try_for_each(|(_, sink)| sink.begin())?;
        if let Some(duplicates) = duplicates {
            take_over(&self.claim, (&self.journal, duplicates), sinks)?;
        }
        commit_again(std::mem::take(&mut self.commit), sinks)?;
        for (operator, sink) in sinks.iter().filter(|(operator, _)| !is_new(operator)) {
            sink.resume(keep.get(operator).map_or(&[][..], Vec::as_slice))?;
        }
        Ok(())
    }
}

/// Finds where to go on and claims it. `standing_by`: sinks that only have to commit what they have staged. `None`: the job had
/// come to its end, and now all its output is committed.
///
/// Errors: those of the store; what [`next_step`] says; `Conflict` (R0402) if other runs claim faster, again and again; `Corrupt`
/// (R0407) for a store whose journal is gone; `Invalid` (R0408) for another program than the one that has come to its end.
pub(crate) fn recover(
    state: &StateConfig,
    graph: &JobGraph,
    (sinks, standing_by): (&SinksById, &SinksById),
) -> Result<Option<Beginning>> {
    let store = state.store.as_ref();
    for _ in 0..CLAIMS_MAX {
        let found = journal::read(store)?;
        if state.from == RestoreFrom::Newest {
            check_whole(store, &found)?;
        }
        let options = Options {
            from: state.from.clone(),
            duplicates: state.duplicates,
            dropped_state: state.dropped_state,
            operators: ids(graph).chain(standing_by.keys().cloned()).collect(),
            fed_by: fed_by(graph, sinks),
            checkpoints_kept: state.checkpoints_kept,
            nonce: nonce(),
        };
        let mut kept = Kept::new(KEPT_BYTES_MAX);
        let (claim, restored, commit, keep_staged) = match verified(store, &found, &options, &mut kept)? {
            Step::AlreadyFinished(entry) => {
                check_finished(&found, entry, sinks)?;
                // The run that came to the end may have died before this.
                sinks.values().try_for_each(|sink| sink.finish())?;
                return Ok(None);
            }
            Step::FinishCommit(step) => {
                let Some(journal) = take(store, &step.claim)? else { continue };
                let mut sinks = sinks.clone();
                let is_asked = |operator: &OperatorId| step.commit.iter().any(|c| c.fence.owner.operator == *operator);
                sinks.extend(standing_by.clone().into_iter().filter(|(operator, _)| is_asked(operator)));
                take_over(&step.claim, (&journal, state.duplicates), &sinks)?;
                commit_again(step.commit, &sinks)?;
                let entry = Entry::Committed(step.committed);
                written(journal::write(store, step.committed.entry, &entry))?;
                sinks.values().try_for_each(|sink| sink.finish())?;
                return Ok(None);
            }
            Step::Fresh(step) => (step.claim, None, vec![], step.keep_staged),
            Step::Restore(step) => {
                for (entry, why) in &step.skipped {
                    let passed_over = format!("checkpoint {entry} is passed over: {why}");
                    let hint =
                        "look at the disk or store that it is on; 'rheos checkpoint verify' shows what is damaged";
                    (state.warn)(&Error::new(ErrorKind::Corrupt, 403, passed_over).with_hint(hint));
                }
                for dropped in &step.dropped {
                    let let_go = Error::new(ErrorKind::User, 406, format!("state is let go: {dropped}"));
                    let hint = "the checkpoints that are there still hold it, until newer ones take their place";
                    (state.warn)(&let_go.with_hint(hint));
                }
                (step.claim, Some(step.manifest), step.commit, step.keep_staged)
            }
            Step::Verify { .. } => return Err(Error::internal("objects were verified and are asked for again")),
        };
        if let Some(journal) = take(store, &claim)? {
            return Ok(Some(Beginning { claim, restored, journal, kept, commit, keep_staged }));
        }
    }
    let message = format!("other runs go on from the state in {} at the same time", store.place());
    Err(Error::new(ErrorKind::Conflict, 402, message).with_hint("let only one run use a state directory"))
}

/// A journal that is gone takes with it what was written already.
fn check_whole(store: &dyn CheckpointStore, journal: &Journal) -> Result<()> {
    if journal.iter().next().is_some() || store.list(names::OBJECTS)?.is_empty() {
        return Ok(());
    }
    let message = format!("the journal in {} is gone, but objects of state are there", store.place());
    Err(Error::new(ErrorKind::Corrupt, 407, message).with_hint(
        "put the folder 'journal' back; or give '--from none' to start without state: then all output is written once more",
    ))
}

/// Nothing is left to do for the program that has come to its end, and for no other.
fn check_finished(journal: &Journal, entry: EntryNumber, sinks: &SinksById) -> Result<()> {
    let Some(Entry::Manifest(manifest)) = journal.get(entry) else { return Ok(()) };
    let is_new = |sink: &&OperatorId| manifest.program.operators.iter().all(|known| known.id != **sink);
    match sinks.keys().find(is_new) {
        None => Ok(()),
        Some(sink) => Err(Error::invalid(
            408,
            format!("the job of this state has come to its end, and it had no '{sink}': this is another program"),
        )
        .with_hint("give it a state directory of its own, or '--from none' to begin anew here")),
    }
}

fn ids(graph: &JobGraph) -> impl Iterator<Item = OperatorId> {
    graph.nodes().iter().map(|n| OperatorId(n.operator_id.clone()))
}

/// By sink: the sources above it.
fn fed_by(graph: &JobGraph, sinks: &SinksById) -> BTreeMap<OperatorId, BTreeSet<OperatorId>> {
    let mut above: Vec<BTreeSet<OperatorId>> = vec![];
    for node in graph.nodes() {
        let id = OperatorId(node.operator_id.clone());
        let own = matches!(node.kind, NodeKind::Source { .. }).then_some(id);
        // Edges come from smaller ids.
        above.push(node.inputs.iter().flat_map(|edge| above[edge.from.0].iter().cloned()).chain(own).collect());
    }
    ids(graph).zip(above).filter(|(id, _)| sinks.contains_key(id)).collect()
}

/// The next step behind all verifications.
fn verified(store: &dyn CheckpointStore, journal: &Journal, options: &Options, kept: &mut Kept) -> Result<Step> {
    let mut checks = BTreeMap::new();
    loop {
        match next_step(journal, &checks, options)? {
            Step::Verify { objects, entry } => {
                let before = checks.len();
                checks.extend(journal::verify_and_keep(store, &objects, kept)?);
                if checks.len() == before {
                    return Err(Error::internal(format!("the objects of checkpoint {entry} cannot be told apart")));
                }
            }
            step => return Ok(step),
        }
    }
}

/// Writes a claim. Gives the journal if it is the claimer's now.
fn take(store: &dyn CheckpointStore, claim: &Claim) -> Result<Option<Journal>> {
    match journal::write(store, claim.entry(), &Entry::Claim(claim.clone())) {
        WriteOutcome::Taken(_) => return Ok(None),
        outcome => written(outcome)?,
    }
    let journal = journal::read(store)?;
    Ok(journal.is_held_by(claim).then_some(journal))
}

fn written(outcome: WriteOutcome) -> Result<()> {
    match outcome {
        WriteOutcome::Written => Ok(()),
        WriteOutcome::Taken(error) | WriteOutcome::Failed(error) | WriteOutcome::Unknown(error) => Err(error),
    }
}

/// From now on no earlier run commits.
fn take_over(claim: &Claim, (journal, duplicates): (&Journal, Duplicates), sinks: &SinksById) -> Result<()> {
    sinks.iter().try_for_each(|(operator, sink)| {
        let owner = Owner { job: claim.job, operator: operator.clone(), generation: claim.generation };
        sink.take_over(&owner, &known(journal, operator, duplicates == Duplicates::Accepted))
    })
}

fn commit_again(commits: Vec<SinkCommit>, sinks: &SinksById) -> Result<()> {
    commits.into_iter().try_for_each(|SinkCommit { fence, committables }| match sinks.get(&fence.owner.operator) {
        Some(sink) => sink.commit(Some(&fence), &committables),
        None => Err(Error::internal(format!("there is no sink '{}' to commit", fence.owner.operator))),
    })
}

/// Random: its keys are the system's.
fn nonce() -> Nonce {
    let half = || u128::from(RandomState::new().hash_one(std::process::id()));
    Nonce(half() << 64 | half())
}
