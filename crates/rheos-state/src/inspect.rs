//! A look at the checkpoints of a job, from outside: what there is, whether it is whole, and deleting what is not wanted.

use std::collections::BTreeMap;
use std::fmt;

use rheos_checkpoint::garbage;
use rheos_checkpoint::journal::{Entry, EntryNumber, Journal};
use rheos_checkpoint::manifest::Manifest;
use rheos_checkpoint::recovery::SegmentCheck;
use rheos_core::{Error, Generation, Result};

use crate::errors::damaged;
use crate::journal;
use crate::names::{DAMAGED, JOURNAL, OBJECTS};
use crate::store::CheckpointStore;

/// A checkpoint, or what is left of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing<'a> {
    /// Its number in the journal.
    pub number: EntryNumber,
    /// Its manifest, or why that cannot be read.
    pub manifest: Result<&'a Manifest, &'a str>,
    /// What the job would do with it.
    pub standing: Standing,
}

/// How a checkpoint stands to the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The job goes on from it.
    Newest,
    /// The job keeps it, and may go back to it.
    Kept,
    /// The job does not keep it any more: its files may be gone.
    Dropped,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Standing::Newest => "newest",
            Standing::Kept => "kept",
            Standing::Dropped => "dropped",
        })
    }
}

/// All checkpoints, newest first. Entries that cannot be read are taken for some, unless they are claims: see [`damaged_claims`].
pub fn list(journal: &Journal) -> Vec<Listing<'_>> {
    let candidates = garbage::candidates(journal);
    let newest = newest(journal);
    let mut found = Vec::new();
    for (number, entry) in journal.iter().rev() {
        let manifest = match entry {
            Entry::Manifest(manifest) => Ok(&**manifest),
            Entry::Unreadable(_) if is_claim(journal, number) => continue,
            Entry::Unreadable(why) => Err(why.as_str()),
            Entry::Claim(_) | Entry::Committed(_) | Entry::Retired => continue,
        };
        let is_kept = candidates.contains(&number) || manifest.is_ok_and(|m| m.savepoint.is_some());
        let standing = match is_kept {
            _ if Some(number) == newest => Standing::Newest,
            true => Standing::Kept,
            false => Standing::Dropped,
        };
        found.push(Listing { number, manifest, standing });
    }
    found
}

/// Entries that tell of the start of a run and cannot be read, and why.
pub fn damaged_claims(journal: &Journal) -> Vec<(EntryNumber, &str)> {
    let unreadable = journal.iter().filter_map(|(number, entry)| match entry {
        Entry::Unreadable(why) => Some((number, why.as_str())),
        _ => None,
    });
    unreadable.filter(|(number, _)| is_claim(journal, *number)).collect()
}

/// Whether an entry that cannot be read is a claim: the first is, and so is each by whose number others call their generation.
fn is_claim(journal: &Journal, number: EntryNumber) -> bool {
    let generation = Generation(number.0);
    let calls = |entry: &Entry| match entry {
        Entry::Manifest(manifest) => manifest.generation == generation,
        Entry::Committed(committed) => committed.generation == generation,
        Entry::Claim(claim) => claim.restored.is_some_and(|r| r.generation == generation),
        Entry::Retired | Entry::Unreadable(_) => false,
    };
    number == EntryNumber(1) || journal.iter().any(|(_, entry)| calls(entry))
}

/// The newest checkpoint that the job keeps, if that cannot be read, and why.
pub fn unreadable_newest(journal: &Journal) -> Option<(EntryNumber, &str)> {
    let newest = newest(journal);
    let is_newer = |l: &Listing<'_>| l.standing == Standing::Kept && Some(l.number) > newest;
    list(journal).into_iter().filter(is_newer).find_map(|l| Some((l.number, l.manifest.err()?)))
}

fn newest(journal: &Journal) -> Option<EntryNumber> {
    let is_readable = |n: &EntryNumber| matches!(journal.get(*n), Some(Entry::Manifest(_)));
    garbage::candidates(journal).into_iter().rev().find(is_readable)
}

/// A checkpoint by its number or a savepoint's name; the newest for `None`.
///
/// Errors: `Invalid` (R0608) if there is none; `Corrupt` (R0626) for one that cannot be read.
pub fn find<'a>(journal: &'a Journal, which: Option<&str>) -> Result<(EntryNumber, &'a Manifest)> {
    let number = match which {
        None => newest(journal),
        Some(text) => text.parse().ok().map(EntryNumber),
    };
    if let Some((number, Entry::Unreadable(why))) = number.and_then(|n| Some((n, journal.get(n)?)))
        && !is_claim(journal, number)
    {
        return Err(damaged(format!("checkpoint {number} cannot be read: '{}': {why}", number.file_name())));
    }
    let by_number = journal.manifests().find(|(n, _)| Some(*n) == number);
    let by_name = || journal.savepoints().rev().find(|(_, name, _)| Some(*name) == which).map(|(n, _, m)| (n, m));
    by_number.or_else(by_name).ok_or_else(|| {
        let what = which.map_or("no checkpoint".to_string(), |w| format!("no checkpoint or savepoint '{w}'"));
        Error::invalid(608, format!("there is {what}")).with_hint("'rheos checkpoint list DIR' shows what there is")
    })
}

/// Reads all state of a checkpoint. What is wrong, by object. Errors: those of a store that cannot be reached.
pub fn verify(store: &dyn CheckpointStore, manifest: &Manifest) -> Result<BTreeMap<String, String>> {
    let mut damaged = BTreeMap::new();
    for (segment, check) in journal::verify(store, &manifest.objects)? {
        if let SegmentCheck::Damaged(why) = check {
            damaged.entry(segment.object).or_insert(why);
        }
    }
    Ok(damaged)
}

/// Writes all files of a job anew, as they are, so that they are encrypted with the key that encrypts now. No run may use the
/// store. May be repeated, and taken up again where it ended. Gives the number of files.
///
/// Files that are kept as damaged cannot be read, and stay as they are: see [`damaged_files`].
///
/// Errors: those of the store; `Corrupt` (R0626) for a file that cannot be read.
pub fn rewrite(store: &dyn CheckpointStore) -> Result<usize> {
    let mut files = 0;
    for prefix in [OBJECTS, JOURNAL] {
        for file in store.list(prefix)? {
            let Some(bytes) = store.read(&file.name, u64::MAX)? else { continue };
            store.replace(&file.name, &bytes)?;
            if store.read(&file.name, u64::MAX)?.as_deref() != Some(&bytes) {
                return Err(damaged(format!("'{}' reads other than it was written", file.name)));
            }
            files += 1;
        }
    }
    Ok(files)
}

/// The number of files that were found damaged and are kept for a look at them. Errors: those of the store.
pub fn damaged_files(store: &dyn CheckpointStore) -> Result<usize> {
    Ok(store.list(DAMAGED)?.len())
}

/// What a delete has freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Freed {
    /// Objects.
    pub objects: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Deletes a checkpoint, and then what nobody needs any more. No run may use the store.
///
/// Errors: `Invalid` (R0608) for what is no checkpoint, `Conflict` (R0616) for one that the job needs; those of the store.
pub fn delete(store: &dyn CheckpointStore, number: EntryNumber) -> Result<Freed> {
    journal::delete(store, &garbage::delete(&journal::read(store)?, number)?)?;
    let stored = journal::stored_objects(store)?;
    let journal = journal::read(store)?;
    let Some(owner) = journal.owner() else { return Ok(Freed::default()) };
    let objects: Vec<_> = stored.iter().map(|(object, _)| object.clone()).collect();
    let garbage = garbage::collect(&journal, owner, &Default::default(), &objects);
    journal::delete(store, &garbage)?;
    let freed = stored.iter().filter(|(object, _)| garbage.objects.contains(&object.name));
    Ok(Freed { objects: garbage.objects.len(), bytes: freed.map(|(_, bytes)| bytes).sum() })
}
