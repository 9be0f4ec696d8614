//! The journal: a job's manifests and claims under ascending numbers, each written only if its number is free.
//!
//! ```text
//!   1 claim   2 manifest e4   3 manifest e5   4 claim (restored 3)   5 manifest e9   6 committed (5)   7 claim   ...
//! ```
//! The next entry of a generation has the number behind its last one. So two generations never both write: whoever comes
//! second finds the number taken. A generation has the number of its claim. A claim says which entry its generation went on
//! from, so the *lineage* of a checkpoint, the history that it stands on, is read off: its generation's entries before it,
//! its claim, what that restored, and so on. Entries that no lineage comes by lie on a dead branch.
//!
//! Manifests are deleted when they are not needed, but never the newest entry, and claims and `committed` never are. The
//! entry before a claim is *retired*: its number stays, its contents go. So the numbers that a replaced generation may still
//! try, its last and the next, stay taken for good. Whoever reads the journal and is slow to claim may still find a number
//! that was taken and became free: such a claim is *void*. Nothing follows from it, so no lineage comes by. A claim counts
//! for its writer if it is still the newest entry when the journal is read again ([`Journal::is_held_by`]).
//!
//! A small file beside the entries, the *witness*, tells the newest one's number and checksum. It is written behind the entry
//! and before anything is done that the entry allows. So a newest entry that somebody removes is missed, also when a late claim
//! has taken its number, and nothing is emitted twice.

mod entry;
mod lineage;

use std::collections::BTreeMap;

use rheos_core::{Epoch, Error, ErrorKind, Generation, JobId, Result};

pub use entry::{Claim, Committed, Entry, EntryNumber, Nonce, Restored, Witness};
pub(crate) use lineage::Lineage;

use crate::manifest::{Checksum, Manifest};

/// The entries of a job's store, as far as they have not been deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal {
    entries: BTreeMap<EntryNumber, Entry>,
}

impl Journal {
    /// A journal of the entries that were found, and the newest of the witnesses.
    ///
    /// Entries that must be there and are not stand in it as unreadable.
    pub fn new(entries: impl IntoIterator<Item = (EntryNumber, Entry)>, witness: Option<Witness>) -> Self {
        let mut journal = Self { entries: entries.into_iter().collect() };
        if let Some(witness) = witness {
            journal.call(witness);
        }
        if let Some(number) = journal.needed().filter(|n| !journal.may_be_restored(*n)) {
            journal.miss(number);
        }
        journal
    }

    fn call(&mut self, witness: Witness) {
        let number = witness.number;
        let text = match self.entries.get(&number) {
            Some(Entry::Unreadable(_)) => return,
            Some(entry) => entry.encode(number).ok(),
            None => return self.miss(number),
        };
        let differs = |text: Vec<u8>| witness.checksum.is_some_and(|c| c != Checksum::of(&text));
        if text.is_none_or(differs) {
            let why = "it is another one than its witness saw; that one is missing";
            self.entries.insert(number, Entry::Unreadable(why.into()));
        }
    }

    fn miss(&mut self, number: EntryNumber) {
        self.entries.insert(number, Entry::Unreadable("it is missing".into()));
    }

    fn may_be_restored(&self, number: EntryNumber) -> bool {
        matches!(self.entries.get(&number), Some(Entry::Manifest(_) | Entry::Unreadable(_)))
    }

    /// The checkpoint that nobody deletes: what the newest generation has noted or restored, if it has written none since.
    fn needed(&self) -> Option<EntryNumber> {
        for entry in self.entries.values().rev() {
            match entry {
                Entry::Claim(claim) => return claim.restored.map(|r| r.entry),
                Entry::Committed(committed) => return Some(committed.manifest),
                Entry::Manifest(_) => return None,
                Entry::Retired | Entry::Unreadable(_) => {}
            }
        }
        None
    }

    /// The number that the next entry takes.
    pub fn next_number(&self) -> EntryNumber {
        self.entries.keys().next_back().map_or(EntryNumber(1), |n| n.next())
    }

    /// An entry.
    pub fn get(&self, number: EntryNumber) -> Option<&Entry> {
        self.entries.get(&number)
    }

    /// All entries, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (EntryNumber, &Entry)> {
        self.entries.iter().map(|(n, e)| (*n, e))
    }

    /// All manifests, oldest first.
    pub fn manifests(&self) -> impl DoubleEndedIterator<Item = (EntryNumber, &Manifest)> {
        self.iter().filter_map(|(n, e)| match e {
            Entry::Manifest(manifest) => Some((n, manifest.as_ref())),
            _ => None,
        })
    }

    /// All savepoints, by age.
    pub fn savepoints(&self) -> impl DoubleEndedIterator<Item = (EntryNumber, &str, &Manifest)> {
        self.manifests().filter_map(|(n, m)| Some((n, m.savepoint.as_deref()?, m)))
    }

    /// The job's id, if it has begun and a claim can be read.
    pub fn job(&self) -> Option<JobId> {
        self.all_claims().map(|c| c.job).next()
    }

    /// The generation that owns the journal: nobody else may write or delete. `None` before the first claim.
    pub fn owner(&self) -> Option<Generation> {
        self.lineage().generation()
    }

    /// The epoch that a new generation begins with: behind all that were ever written down, also on dead branches.
    pub fn next_epoch(&self) -> Epoch {
        let manifests = self.manifests().map(|(_, m)| m.epoch.next());
        manifests.chain(self.all_claims().map(|c| c.first_epoch)).max().unwrap_or_default()
    }

    /// Whether the journal, read after the claim was written, is the claimer's: its claim is the newest entry.
    ///
    /// If not, the claim was written too late, or has been followed by another: recover again.
    pub fn is_held_by(&self, claim: &Claim) -> bool {
        matches!(self.entries.last_key_value(), Some((_, Entry::Claim(newest))) if newest == claim)
    }

    /// Whether it is known that everything which this manifest has released is committed.
    pub(crate) fn is_committed(&self, manifest: EntryNumber) -> bool {
        self.entries.values().any(|e| matches!(e, Entry::Committed(c) if c.manifest == manifest))
    }

    /// Objects that a claim has named as damaged.
    pub fn damaged_objects(&self) -> impl Iterator<Item = &str> {
        self.all_claims().flat_map(|c| &c.damaged).map(String::as_str)
    }

    /// Also void ones.
    fn all_claims(&self) -> impl Iterator<Item = &Claim> {
        self.entries.values().filter_map(|e| match e {
            Entry::Claim(claim) => Some(claim),
            _ => None,
        })
    }

    /// What the caller of a conditional write learns from the entry that was in its way.
    ///
    /// Errors: `Conflict` (R0605) if another generation has written it, `Corrupt` (R0613) if it cannot be read: this
    /// generation must end.
    pub fn settle_taken(number: EntryNumber, found: &Entry, mine: &Entry) -> Result<()> {
        if found == mine {
            return Ok(());
        }
        if let Entry::Unreadable(why) = found {
            let message = format!("the journal's file '{}' cannot be read: {why}", number.file_name());
            return Err(Error::new(ErrorKind::Corrupt, 613, message)
                .with_hint("it may have been written by another run; start again, and put the file back from a copy"));
        }
        let message =
            format!("another run of the job has written entry {number} of the journal: this one was replaced");
        Err(Error::new(ErrorKind::Conflict, 605, message)
            .with_hint("let only one run use a state directory; this one ends without harm"))
    }
}
