//! The history that a checkpoint stands on.

use rheos_core::Generation;

use super::{Claim, Entry, EntryNumber, Journal};
use crate::manifest::Manifest;

/// What the newest generation stands on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lineage<'a> {
    /// The newest generation and its claim, if that can be read.
    head: Option<(Generation, Option<&'a Claim>)>,
    /// Checkpoints and entries that cannot be read, newest first.
    entries: Vec<(EntryNumber, &'a Entry)>,
}

impl<'a> Lineage<'a> {
    pub(crate) fn generation(&self) -> Option<Generation> {
        self.head.map(|(generation, _)| generation)
    }

    pub(crate) fn claim(&self) -> Option<&'a Claim> {
        self.head.and_then(|(_, claim)| claim)
    }

    /// Newest first; those that cannot be read are among them.
    pub(crate) fn entries(&self) -> &[(EntryNumber, &'a Entry)] {
        &self.entries
    }

    /// Newest first.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = (EntryNumber, &'a Manifest)> {
        self.entries.iter().filter_map(|(n, e)| match e {
            Entry::Manifest(manifest) => Some((*n, manifest.as_ref())),
            _ => None,
        })
    }

    /// The newest entries that cannot be read: nobody knows what they have released.
    pub(crate) fn unknown_head(&self) -> Option<EntryNumber> {
        self.entries.first().filter(|(_, e)| matches!(e, Entry::Unreadable(_))).map(|(n, _)| *n)
    }
}

impl Journal {
    /// The checkpoints that the newest generation stands on, with entries that cannot be read.
    pub(crate) fn lineage(&self) -> Lineage<'_> {
        self.lineage_through(EntryNumber(u64::MAX))
    }

    /// What the job stood on before it was started without state and wrote nothing since; empty if it was not.
    pub(crate) fn set_aside(&self) -> Lineage<'_> {
        let mut lineage = self.lineage();
        while lineage.entries.is_empty() {
            let Some((generation, _)) = lineage.head.filter(|(g, _)| g.0 > 1) else { break };
            lineage = self.lineage_through(EntryNumber(generation.0 - 1));
        }
        lineage
    }

    fn lineage_through(&self, newest: EntryNumber) -> Lineage<'_> {
        let mut lineage = Lineage::default();
        let mut next = self.newest_generation(newest).map(|generation| (generation, newest));
        if next.is_none() {
            let unreadable = |(_, e): &(&EntryNumber, &Entry)| matches!(e, Entry::Unreadable(_));
            lineage.entries.extend(self.entries.range(..=newest).rev().filter(unreadable).map(|(n, e)| (*n, e)));
        }
        while let Some((generation, newest)) = next {
            let first = EntryNumber(generation.0);
            let claim = match self.entries.get(&first) {
                Some(Entry::Claim(claim)) => Some(claim),
                // What its generation went on from cannot be known: the history ends here.
                _ => None,
            };
            let of_generation = self.entries.range(first.next()..=newest.max(first.next())).rev();
            let belongs = |(number, entry): &(&EntryNumber, &Entry)| match entry {
                Entry::Manifest(manifest) => **number <= newest && manifest.generation == generation,
                Entry::Unreadable(_) => **number <= newest,
                Entry::Claim(_) | Entry::Committed(_) | Entry::Retired => false,
            };
            lineage.entries.extend(of_generation.filter(belongs).map(|(n, e)| (*n, e)));
            lineage.head.get_or_insert((generation, claim));
            next = claim.and_then(|c| c.restored).map(|r| (r.generation, r.entry));
        }
        lineage
    }

    /// Whether `later` was made on top of `manifest`, in its generation or in one that went on from there.
    pub(crate) fn descends(&self, later: &Manifest, manifest: &Manifest) -> bool {
        let mut at = Some((later.generation, later.entry));
        while let Some((generation, _)) = at.filter(|(_, newest)| *newest > manifest.entry) {
            if generation == manifest.generation {
                return true;
            }
            at = match self.entries.get(&EntryNumber(generation.0)) {
                Some(Entry::Claim(claim)) => claim.restored.map(|r| (r.generation, r.entry)),
                _ => None,
            };
        }
        later.entry != manifest.entry && at.is_some_and(|(_, newest)| newest == manifest.entry)
    }

    /// The generation of the newest entry that can be read and tells it.
    fn newest_generation(&self, newest: EntryNumber) -> Option<Generation> {
        let of = |entry: &Entry| match entry {
            Entry::Claim(claim) => Some(claim.generation),
            Entry::Manifest(manifest) => Some(manifest.generation),
            Entry::Committed(committed) => Some(committed.generation),
            Entry::Retired | Entry::Unreadable(_) => None,
        };
        self.entries.range(..=newest).rev().find_map(|(_, entry)| of(entry))
    }
}
