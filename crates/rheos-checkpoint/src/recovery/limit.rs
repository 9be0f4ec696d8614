//! How far back a restore may go without output that shows twice.

use rheos_core::{Epoch, OperatorId};

use super::Duplicates;
use crate::journal::{EntryNumber, Journal};
use crate::manifest::{Manifest, Repeat};

pub(super) struct Limit {
    /// An entry that cannot be read and is newer than the newest manifest.
    unreadable: Option<EntryNumber>,
    /// Per sink that duplicates: the newest epoch whose output may be visible.
    released: Vec<(OperatorId, Epoch)>,
    /// It is known that no sink duplicates.
    harmless: bool,
}

impl Limit {
    pub(super) fn of(journal: &Journal) -> Self {
        let lineage = journal.set_aside();
        let unreadable = lineage.unknown_head();
        let newest = lineage.manifests().next().map(|(_, m)| m);
        let sinks = newest.map_or(&[][..], |m| &m.sinks);
        let duplicating = || sinks.iter().filter(|s| s.repeat == Repeat::Duplicates);
        let released = duplicating().filter_map(|s| Some((s.operator.clone(), s.last_release?.through))).collect();
        Self { unreadable, released, harmless: newest.is_some() && duplicating().next().is_none() }
    }

    /// Why a restore from `manifest`, or a start without state, would emit output twice; `None` if it would not, or if that
    /// is accepted.
    pub(super) fn forbids(&self, manifest: Option<&Manifest>, duplicates: Duplicates) -> Option<String> {
        if duplicates == Duplicates::Accepted || self.harmless {
            return None;
        }
        if let Some(number) = self.unreadable {
            return Some(format!(
                "entry {number} of the journal cannot be read, and its output may be visible already"
            ));
        }
        let epoch_of = manifest.map(|m| m.epoch);
        let (operator, epoch) = self.released.iter().find(|(_, epoch)| Some(*epoch) > epoch_of)?;
        Some(format!("output of sink '{operator}' through epoch {epoch} may be visible already and would show twice"))
    }
}
