//! What may be deleted: by reference, never by age.
//!
//! An object goes if no kept manifest names it, it has not been found damaged, and nobody can name it any more: it is of a
//! generation that has been replaced, or its epoch is behind the newest complete one and no worker holds it back. So an
//! upload in progress is never touched: its epoch is newer than the newest complete one, or a worker holds it.
//!
//! Kept are the newest checkpoints since the newest claim (and the one that it restored), the newest that released
//! output, and savepoints. The set only ever loses members: what a generation that has been replaced still deletes, its
//! successor does not ask for. A generation deletes no entry before it has a checkpoint of its own.

use std::collections::BTreeSet;

use rheos_core::{Epoch, Error, ErrorKind, Generation, Result};

use crate::journal::{Entry, EntryNumber, Journal, Lineage};

/// An object as the store lists it. Its generation and epoch are part of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// The name.
    pub name: String,
    /// Who wrote it.
    pub generation: Generation,
    /// The epoch that ran when its upload began.
    pub epoch: Epoch,
}

/// What may be deleted, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Garbage {
    /// Entries of the journal. They go first: no manifest may be left that names a missing object.
    pub entries: Vec<EntryNumber>,
    /// Entries that are replaced by [`Entry::Retired`], also first: a generation that was replaced may still try its last number.
    pub retired: Vec<EntryNumber>,
    /// Objects. They go when the entries have gone.
    pub objects: Vec<String>,
    /// Entries that cannot be read: what they name is not known, so no object that is older than they goes while they are
    /// there.
    pub blocked_by: Vec<EntryNumber>,
}

/// The checkpoints that a recovery may go back to, by itself or by their numbers.
///
/// They are what the newest generation keeps, by its own count: what it may have deleted must not be asked for. Savepoints
/// can be gone back to as well.
pub fn candidates(journal: &Journal) -> BTreeSet<EntryNumber> {
    let lineage = journal.set_aside();
    let claim = lineage.claim();
    let kept = claim.map_or(1, |c| c.checkpoints_kept.get() as usize);
    let oldest = claim.and_then(|c| c.restored).map_or(EntryNumber(0), |r| r.entry);
    let newest = lineage.entries().iter().take_while(|(n, _)| *n >= oldest).take(kept);
    let mut candidates: BTreeSet<_> = newest.map(|(n, _)| *n).collect();
    candidates.extend(last_resort(&lineage));
    candidates
}

/// The newest checkpoint that released output: no restore goes back further without duplicates.
fn last_resort(lineage: &Lineage<'_>) -> Option<EntryNumber> {
    let (_, newest) = lineage.manifests().next()?;
    let released = newest.sinks.iter().filter_map(|s| s.last_release).map(|r| r.through).max()?;
    lineage.manifests().take_while(|(_, m)| m.epoch >= released).last().map(|(n, _)| n)
}

/// What `generation` may delete.
///
/// `objects` is the store's listing. `journal` and `protected` (what the coordinator protects) are of one and the same
/// moment after it: the generation's own view, which is exact, for nobody else writes entries.
pub fn collect(
    journal: &Journal,
    generation: Generation,
    protected: &BTreeSet<String>,
    objects: &[StoredObject],
) -> Garbage {
    // A generation that has been replaced leaves everything to its successor.
    if journal.owner() != Some(generation) {
        return Garbage::default();
    }
    let complete = journal.manifests().filter(|(_, m)| m.generation == generation).map(|(_, m)| m.epoch).max();
    let mut kept = candidates(journal);
    kept.extend(journal.savepoints().map(|(n, ..)| n));
    if complete.is_none() {
        // What was passed over tells the next generation what has become of its output.
        kept.extend(journal.manifests().map(|(n, _)| n));
    }
    let goes = journal.manifests().map(|(n, _)| n).filter(|n| !kept.contains(n));
    let (retired, entries) = goes.partition(|n| is_before_claim(journal, *n));
    let unreadable = journal.iter().filter(|(_, e)| matches!(e, Entry::Unreadable(_)));
    let blocked_by: Vec<EntryNumber> = unreadable.map(|(n, _)| n).collect();
    let named = journal.manifests().filter(|(n, _)| kept.contains(n)).flat_map(|(_, m)| &m.objects);
    let mut wanted: BTreeSet<&str> = named.map(|o| o.name.as_str()).collect();
    wanted.extend(journal.damaged_objects());
    let dead = |o: &&StoredObject| {
        let over = o.generation < generation || (o.generation == generation && Some(o.epoch) <= complete);
        // An entry names objects of generations whose claims stand before it.
        let may_be_named = blocked_by.iter().any(|n| o.generation.0 < n.0);
        over && !may_be_named && !wanted.contains(o.name.as_str()) && !protected.contains(&o.name)
    };
    let objects = objects.iter().filter(dead).map(|o| o.name.clone()).collect();
    Garbage { entries, retired, objects, blocked_by }
}

fn is_before_claim(journal: &Journal, number: EntryNumber) -> bool {
    matches!(journal.get(number.next()), Some(Entry::Claim(_)))
}

/// What a user's deletion of one checkpoint deletes: its entry. Its objects go when the job collects garbage the next time.
///
/// To be asked while no run uses the journal. Errors: `Invalid` (R0608) for what is no checkpoint, `Conflict` (R0616) for one
/// that the job needs to go on.
pub fn delete(journal: &Journal, number: EntryNumber) -> Result<Garbage> {
    let Some(Entry::Manifest(_)) = journal.get(number) else {
        return Err(Error::invalid(608, format!("there is no checkpoint {number}"))
            .with_hint("'rheos checkpoint list' shows checkpoints and savepoints"));
    };
    let lineage = journal.set_aside();
    let newest = lineage.manifests().next().map(|(n, _)| n);
    if newest == Some(number) || last_resort(&lineage) == Some(number) || journal.next_number() == number.next() {
        let message = format!("checkpoint {number} is what the job goes on from");
        return Err(Error::new(ErrorKind::Conflict, 616, message)
            .with_hint("let the job make another checkpoint first, or remove the whole state directory"));
    }
    Ok(match is_before_claim(journal, number) {
        true => Garbage { retired: vec![number], ..Garbage::default() },
        false => Garbage { entries: vec![number], ..Garbage::default() },
    })
}
