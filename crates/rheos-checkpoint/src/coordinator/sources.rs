//! Where the sources stand at a cut: the look that was taken before it, and what workers tell of their splits.
//!
//! ```text
//!   look (announcement) ────────── cut of each worker ──────► report
//!   knows a, b; b is taken         b is at 8, d at 1          b at 8, d at 1 (found behind the look), a pending
//! ```
//! A split that is read to its end leaves the manifest when a look's enumerator covers it: until then a restore would find it
//! anew and read it again.

use std::collections::{BTreeMap, BTreeSet};

use rheos_core::{Epoch, Error, OperatorId, Result, WorkerId};

use super::{Snapshot, SourceCut, SourceLook};
use crate::manifest::{SequenceState, SourceState, SplitProgress, SplitState};

/// A split that has been read to its end.
#[derive(Debug, Default)]
struct Finished {
    /// In this epoch, as a worker has reported.
    reported: Option<(Epoch, SplitState)>,
    /// The look of this epoch told so first: its enumerator covers the split.
    covered: Option<Epoch>,
}

/// The splits that have been read to their end and are not forgotten yet, by source and id.
#[derive(Debug, Default)]
pub(super) struct FinishedSplits {
    splits: BTreeMap<(OperatorId, String), Finished>,
}

impl FinishedSplits {
    pub(super) fn reported(&mut self, epoch: Epoch, cuts: &[SourceCut]) {
        for cut in cuts {
            for split in cut.splits.iter().filter(|s| s.progress == SplitProgress::Finished) {
                let key = (cut.operator.clone(), split.id().to_string());
                self.splits.entry(key).or_default().reported = Some((epoch, split.clone()));
            }
        }
    }

    pub(super) fn looked(&mut self, epoch: Epoch, looks: &[SourceLook]) {
        for look in looks {
            for id in &look.finished {
                let covered = &mut self.splits.entry((look.operator.clone(), id.clone())).or_default().covered;
                *covered = Some(covered.map_or(epoch, |known| known.min(epoch)));
            }
        }
    }

    /// What the manifest of `epoch` says.
    ///
    /// Errors: `Internal` for reports that contradict each other or leave something out.
    pub(super) fn states(
        &mut self,
        epoch: Epoch,
        looks: Vec<SourceLook>,
        snapshots: &[(WorkerId, Snapshot)],
    ) -> Result<Vec<SourceState>> {
        let looked: BTreeSet<_> = looks.iter().map(|l| &l.operator).collect();
        for (worker, cut) in snapshots.iter().flat_map(|(w, s)| s.sources.iter().map(move |c| (w, c))) {
            if !looked.contains(&cut.operator) {
                return Err(defect(format!("worker {worker} reads from '{}', which is no source", cut.operator)));
            }
        }
        let states = looks.into_iter().map(|look| self.state(epoch, look, snapshots));
        let mut states = states.collect::<Result<Vec<_>>>()?;
        states.sort_by(|a, b| a.operator.cmp(&b.operator));
        // Every later look covers them too, and all workers have told of their splits through this epoch.
        self.splits.retain(|_, finished| finished.covered.is_none_or(|covered| covered > epoch));
        Ok(states)
    }

    fn state(&self, epoch: Epoch, look: SourceLook, snapshots: &[(WorkerId, Snapshot)]) -> Result<SourceState> {
        let SourceLook { operator, enumerated, enumerator, sequences, splits, taken, finished: _ } = look;
        let mut sequences: BTreeMap<u32, i64> =
            sequences.into_iter().map(|s| (s.sequence, s.finished_max_ms)).collect();
        let mut splits: BTreeMap<String, SplitState> = splits.into_iter().map(|s| (s.id().to_string(), s)).collect();
        let mut told: BTreeSet<&str> = BTreeSet::new();
        let mut watermark_ms = i64::MAX;
        for (worker, snapshot) in snapshots {
            let Some(cut) = snapshot.sources.iter().find(|c| c.operator == operator) else {
                return Err(defect(format!("worker {worker} does not tell its watermark of '{operator}'")));
            };
            watermark_ms = watermark_ms.min(cut.watermark_ms);
            for split in &cut.splits {
                if !told.insert(split.id()) {
                    return Err(defect(format!("two workers read split '{}' of '{operator}'", split.id())));
                }
                if split.progress != SplitProgress::Finished {
                    splits.insert(split.id().to_string(), split.clone());
                }
            }
        }
        for ((_, id), finished) in self.splits.iter().filter(|((source, _), _)| *source == operator) {
            let Some((_, split)) = finished.reported.as_ref().filter(|(at, _)| *at <= epoch) else { continue };
            told.insert(id);
            if splits.remove(id).is_some() {
                // The look knew it, so the enumerator covers it.
                if let Some(ms) = split.max_event_time_ms {
                    let max = sequences.entry(split.split.sequence).or_insert(ms);
                    *max = (*max).max(ms);
                }
            } else if finished.covered.is_none_or(|covered| covered > epoch) {
                splits.insert(id.clone(), split.clone());
            }
        }
        if let Some(split) = taken.iter().find(|id| !told.contains(id.as_str())) {
            return Err(defect(format!("no worker tells how far split '{split}' of '{operator}' is")));
        }
        let sequence = |(sequence, finished_max_ms)| SequenceState { sequence, finished_max_ms };
        Ok(SourceState {
            operator,
            watermark_ms,
            enumerated,
            enumerator,
            sequences: sequences.into_iter().map(sequence).collect(),
            splits: splits.into_values().collect(),
        })
    }
}

fn defect(message: String) -> Error {
    Error::internal(message)
}
