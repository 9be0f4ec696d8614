//! Whether two stores hold one history: else they must not be put together.
//!
//! ```text
//!   one history   first  1 . . 15 . . . 300 . 505      second  1 . . 15 . 20          (behind; each may have lost files, too)
//!   two           first  1 . . 15 16 17 18 19          second  1 . . 15 16' 17'       each was used without the other
//! ```
//! After the fork both have generations and objects of the same names, with other contents. Entries are immutable, and each
//! is written by a run that knows all that stand before it: so the newest that both have tells of all before it, and only what
//! stands above is looked at. There, claims tell: they are never deleted.

use std::collections::BTreeSet;

use rheos_checkpoint::journal::{Entry, EntryNumber};
use rheos_core::{Error, Result};

use super::CheckpointStore;
use crate::journal::read_entry;
use crate::names::JOURNAL;

/// Errors: `Invalid`, R0642 for two jobs, R0646 for two histories of one, or where nothing tells; those of the stores.
pub(super) fn check_one_history(first: &dyn CheckpointStore, second: &dyn CheckpointStore) -> Result<()> {
    let (ours, theirs) = (Side::read(first)?, Side::read(second)?);
    let (Some(newest), Some(their_newest)) = (ours.newest(), theirs.newest()) else { return Ok(()) };
    // The first entry is a claim, and is never deleted.
    if let (Some(Entry::Claim(one)), Some(Entry::Claim(other))) = (ours.entry(FIRST)?, theirs.entry(FIRST)?)
        && one.job != other.job
    {
        let message = format!("{} holds the state of another job than {}", second.place(), first.place());
        return Err(Error::invalid(642, message).with_hint("give each job a folder of its own for its copy"));
    }
    let mut common = None;
    for number in ours.numbers.iter().rev().filter(|n| theirs.numbers.contains(n)) {
        match (ours.entry(*number)?, theirs.entry(*number)?) {
            (Some(one), Some(other)) if one == other => {
                common = Some(*number);
                break;
            }
            (Some(_), Some(_)) => return Err(two_histories(first, second, &format!("entry {number} differs"))),
            _ => {}
        }
    }
    let Some(common) = common else {
        // All of a side is damaged: the other is the journal.
        return match ours.is_readable()? && theirs.is_readable()? {
            true => Err(two_histories(first, second, "they have no entry in common that can be read")),
            false => Ok(()),
        };
    };
    let mine = ours.claim_of_its_own(&theirs, common, their_newest)?;
    match (mine, theirs.claim_of_its_own(&ours, common, newest)?) {
        (Some(mine), Some(other)) => {
            let what =
                format!("each has runs that the other knows nothing of, which began with entries {mine} and {other}");
            Err(two_histories(first, second, &what))
        }
        _ => Ok(()),
    }
}

const FIRST: EntryNumber = EntryNumber(1);

struct Side<'s> {
    store: &'s dyn CheckpointStore,
    numbers: BTreeSet<EntryNumber>,
}

impl<'s> Side<'s> {
    fn read(store: &'s dyn CheckpointStore) -> Result<Self> {
        let files = store.list(JOURNAL)?;
        let number = |name: &str| EntryNumber::from_file_name(name.strip_prefix(JOURNAL)?);
        Ok(Self { store, numbers: files.iter().filter_map(|file| number(&file.name)).collect() })
    }

    fn newest(&self) -> Option<EntryNumber> {
        self.numbers.last().copied()
    }

    /// An entry that says something: one that is retired on one side may not yet be so on the other.
    fn entry(&self, number: EntryNumber) -> Result<Option<Entry>> {
        let entry = if self.numbers.contains(&number) { read_entry(self.store, number)? } else { None };
        Ok(entry.filter(|e| !matches!(e, Entry::Retired | Entry::Unreadable(_))))
    }

    fn is_readable(&self) -> Result<bool> {
        for number in &self.numbers {
            if self.entry(*number)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A claim that the other side has not, from above `common` to `newest`: the other side would have it, if it knew.
    fn claim_of_its_own(&self, other: &Self, common: EntryNumber, newest: EntryNumber) -> Result<Option<EntryNumber>> {
        for number in self.numbers.iter().filter(|n| (common.next()..=newest).contains(n)) {
            if !other.numbers.contains(number) && matches!(self.entry(*number)?, Some(Entry::Claim(_))) {
                return Ok(Some(*number));
            }
        }
        Ok(None)
    }
}

fn two_histories(first: &dyn CheckpointStore, second: &dyn CheckpointStore, what: &str) -> Error {
    let (first, second) = (first.place(), second.place());
    let message = format!("the state in {first} and its copy in {second} have gone separate ways: {what}");
    Error::invalid(646, message).with_hint(
        "look at both with 'rheos checkpoint list', decide which to go on from, and move the other one away or empty it",
    )
}
