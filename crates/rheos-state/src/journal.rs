//! The journal in a store: its entries are read together, written one by one under numbers that are free.

use std::collections::BTreeMap;

use rheos_checkpoint::coordinator::WriteOutcome;
use rheos_checkpoint::garbage::{Garbage, StoredObject};
use rheos_checkpoint::journal::{Entry, EntryNumber, Journal, Witness};
use rheos_checkpoint::manifest::{Checksum, MANIFEST_BYTES_MAX, ObjectRef, Segment};
use rheos_checkpoint::recovery::{SegmentCheck, SegmentId};
use rheos_core::{Error, ErrorKind, Result};
use xxhash_rust::xxh3::Xxh3;

use crate::kept::Kept;
use crate::names::{self, JOURNAL, ObjectName, WITNESSES, entry_path, object_path, witness_path};
use crate::object::SEGMENT_BYTES_MAX;
use crate::store::{CheckpointStore, Creation, Listed, READ_BYTES_MAX, WriteFailure, check_there};

/// A body of the longest kind, and the line before it.
const ENTRY_BYTES_MAX: u64 = MANIFEST_BYTES_MAX as u64 + 4096;
const WITNESS_BYTES_MAX: u64 = 4096;

/// All entries. One that is damaged, also in the copy if the store keeps one, becomes `Unreadable`; one that is deleted meanwhile is not there.
///
/// Errors: those of the store; `Corrupt` (R0602) for an entry of a later version, `Invalid` (R0610) for an encrypted one.
pub fn read(store: &dyn CheckpointStore) -> Result<Journal> {
    let (mut entries, mut newest) = (Vec::new(), None);
    for file in store.list(JOURNAL)? {
        let Some(name) = file.name.strip_prefix(JOURNAL) else { continue };
        newest = newest.max(EntryNumber::from_witness_name(name));
        if let Some(number) = EntryNumber::from_file_name(name)
            && let Some(entry) = read_entry(store, number)?
        {
            entries.push((number, entry));
        }
    }
    let witness = newest.map(|number| read_witness(store, number)).transpose()?;
    Ok(Journal::new(entries, witness))
}

/// The witness of an entry. One that is not there, or cannot be read, still tells that there was such an entry.
fn read_witness(store: &dyn CheckpointStore, number: EntryNumber) -> Result<Witness> {
    let path = witness_path(number);
    let read = || -> Result<Witness> {
        let contents = match store.read(&path, WITNESS_BYTES_MAX) {
            Err(error) if error.kind() == ErrorKind::Corrupt => None,
            other => other?,
        };
        let read = Witness::read(&number.witness_name(), &contents.unwrap_or_default());
        Ok(read.unwrap_or(Witness { number, checksum: None }))
    };
    let is_whole = |bytes: &[u8]| Witness::read(&number.witness_name(), bytes).is_some_and(|w| w.checksum.is_some());
    match read()? {
        damaged if damaged.checksum.is_none() && store.repair(&path, None, &is_whole)? => read(),
        witness => Ok(witness),
    }
}

/// One entry; `None` if it is not there. Errors: as of [`read`].
pub fn read_entry(store: &dyn CheckpointStore, number: EntryNumber) -> Result<Option<Entry>> {
    let path = entry_path(number);
    let read = || match store.read(&path, ENTRY_BYTES_MAX) {
        Ok(Some(bytes)) => Entry::decode(number, &bytes).map(Some).map_err(|e| e.context(format_args!("'{path}'"))),
        Ok(None) => Ok(None),
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(Some(Entry::Unreadable(error.message().to_string()))),
        Err(error) => Err(error),
    };
    let is_whole = |bytes: &[u8]| !matches!(Entry::decode(number, bytes), Ok(Entry::Unreadable(_)));
    match read()? {
        Some(Entry::Unreadable(_)) if store.repair(&path, None, &is_whole)? => read(),
        entry => Ok(entry),
    }
}

/// Writes an entry at a number, if the number is free; then its witness.
///
/// If this very entry stands there already, an earlier try has succeeded: `Written`, once the witness is there. `Failed` (R0647) if the
/// entry that the writer wrote before has been removed: a reader could not follow the journal.
pub fn write(store: &dyn CheckpointStore, number: EntryNumber, entry: &Entry) -> WriteOutcome {
    let bytes = match entry.encode(number) {
        Ok(bytes) => bytes,
        Err(error) => return WriteOutcome::Failed(error),
    };
    // A claim may follow what is lost: a user has said so.
    if !matches!(entry, Entry::Claim(_))
        && let Err(error) = check_there(store, &[entry_path(EntryNumber(number.0.saturating_sub(1)))])
    {
        return WriteOutcome::Failed(error);
    }
    let written = match store.create(&entry_path(number), &bytes) {
        Ok(Creation::Created) => WriteOutcome::Written,
        Ok(Creation::Exists) => settle(store, number, entry),
        Err(WriteFailure::NotWritten(error)) => WriteOutcome::Failed(error),
        Err(WriteFailure::Unknown(error)) => WriteOutcome::Unknown(error),
    };
    match written {
        WriteOutcome::Written => bear_witness(store, Witness::of(number, &bytes)),
        other => other,
    }
}

/// Whether what stands at a number is this very entry.
fn settle(store: &dyn CheckpointStore, number: EntryNumber, entry: &Entry) -> WriteOutcome {
    match read_entry(store, number) {
        Ok(Some(found)) => match Journal::settle_taken(number, &found, entry) {
            Ok(()) => WriteOutcome::Written,
            Err(error) => WriteOutcome::Taken(error),
        },
        // Another try will tell.
        Ok(None) => {
            let message = format!("entry {number} of the journal was there, and cannot be found now");
            WriteOutcome::Unknown(crate::errors::unreachable(message))
        }
        // Whoever wrote it, it was not this run.
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid) => WriteOutcome::Taken(error),
        Err(error) => WriteOutcome::Unknown(error),
    }
}

/// Errors as outcomes: `Taken` if another entry of the number has a witness.
fn bear_witness(store: &dyn CheckpointStore, witness: Witness) -> WriteOutcome {
    match store.create(&witness_path(witness.number), witness.contents().as_bytes()) {
        Ok(Creation::Created) => {}
        Ok(Creation::Exists) => match read_witness(store, witness.number) {
            Ok(found) if found == witness || found.checksum.is_none() => {}
            Ok(_) => return WriteOutcome::Taken(number_was_anothers(witness.number)),
            Err(error) => return WriteOutcome::Unknown(error),
        },
        Err(failure) => return WriteOutcome::Unknown(failure.into()),
    }
    // The newest is enough. One that stays does no harm.
    for file in store.list(WITNESSES).unwrap_or_default() {
        let number = file.name.strip_prefix(JOURNAL).and_then(EntryNumber::from_witness_name);
        if number.is_some_and(|n| n < witness.number) {
            let _ = store.delete(&file.name);
        }
    }
    WriteOutcome::Written
}

fn number_was_anothers(number: EntryNumber) -> Error {
    let message =
        format!("another run of the job had written entry {number} of the journal, and the file has been removed");
    Error::new(ErrorKind::Conflict, 605, message)
        .with_hint("put the file back from a copy; let only one run use a state directory")
}

/// Deletes what may be deleted, in the order that keeps the rest whole. May be repeated. Errors: those of the store.
pub fn delete(store: &dyn CheckpointStore, garbage: &Garbage) -> Result<()> {
    for number in &garbage.retired {
        store.replace(&entry_path(*number), &Entry::Retired.encode(*number)?)?;
    }
    garbage.entries.iter().try_for_each(|number| store.delete(&entry_path(*number)))?;
    garbage.objects.iter().try_for_each(|name| store.delete(&object_path(name)))
}

/// The objects that the store holds, for [`collect`](rheos_checkpoint::garbage::collect), with their bytes. Files with other
/// names are left alone.
///
/// Errors: those of the store.
pub fn stored_objects(store: &dyn CheckpointStore) -> Result<Vec<(StoredObject, u64)>> {
    let object = |file: &Listed| {
        let name = ObjectName::parse(file.name.strip_prefix(names::OBJECTS)?)?;
        Some((name.stored(), file.length_bytes))
    };
    Ok(store.list(names::OBJECTS)?.iter().filter_map(object).collect())
}

/// Reads segments and compares length and checksum. Where the store keeps a copy, that takes the place of what is damaged.
///
/// Errors: those of a store that cannot be reached, which says nothing of the segments.
pub fn verify(store: &dyn CheckpointStore, objects: &[ObjectRef]) -> Result<BTreeMap<SegmentId, SegmentCheck>> {
    verify_and_keep(store, objects, &mut Kept::default())
}

/// As [`verify`]. What is whole is kept, as far as it fits. Errors: as of [`verify`].
///
/// Reads with as many threads as there are cores; each object is one thread's.
pub fn verify_and_keep(
    store: &dyn CheckpointStore,
    objects: &[ObjectRef],
    kept: &mut Kept,
) -> Result<BTreeMap<SegmentId, SegmentCheck>> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(VERIFIERS_MAX));
    let shares = shares(objects, threads);
    if let [(objects, _)] = &shares[..] {
        return verify_some(store, objects, kept);
    }
    let (room, all) = (kept.room(), shares.iter().map(|(_, bytes)| bytes).sum::<u64>().max(1));
    let verify = |objects: &[&ObjectRef], bytes: u64| {
        let mut kept = Kept::new(bytes.min((u128::from(bytes) * u128::from(room) / u128::from(all)) as u64));
        Ok((verify_some(store, objects, &mut kept)?, kept))
    };
    let found: Vec<Result<_>> = std::thread::scope(|scope| {
        let verify = &verify;
        let threads: Vec<_> = shares.iter().map(|(o, bytes)| scope.spawn(move || verify(o, *bytes))).collect();
        let panicked = |_| Err(Error::internal("reading a checkpoint panicked"));
        threads.into_iter().map(|t| t.join().unwrap_or_else(panicked)).collect()
    });
    let mut checks = BTreeMap::new();
    for part in found {
        let (some, of_part) = part?;
        checks.extend(some);
        kept.take_all(of_part);
    }
    Ok(checks)
}

/// Threads that verify a checkpoint, at most.
const VERIFIERS_MAX: usize = 8;

/// The objects in at most so many shares of about as many bytes, each with its bytes.
fn shares(objects: &[ObjectRef], most: usize) -> Vec<(Vec<&ObjectRef>, u64)> {
    let bytes = |object: &ObjectRef| object.segments.iter().map(|s| s.length_bytes).fold(0, u64::saturating_add);
    let mut by_bytes: Vec<(&ObjectRef, u64)> = objects.iter().map(|o| (o, bytes(o))).collect();
    by_bytes.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let mut shares = vec![(vec![], 0_u64); most.clamp(1, objects.len().max(1))];
    for (object, bytes) in by_bytes {
        if let Some((objects, sum)) = shares.iter_mut().min_by_key(|(_, sum)| *sum) {
            objects.push(object);
            *sum = sum.saturating_add(bytes);
        }
    }
    shares
}

fn verify_some(
    store: &dyn CheckpointStore,
    objects: &[&ObjectRef],
    kept: &mut Kept,
) -> Result<BTreeMap<SegmentId, SegmentCheck>> {
    let segments = objects.iter().flat_map(|o| o.segments.iter().map(move |s| (*o, s)));
    let check = |(object, segment): (&ObjectRef, &Segment)| {
        let id = SegmentId { object: object.name.clone(), offset: segment.offset };
        let mut read = || match read_through(store, &id, segment, kept) {
            Ok(None) => Ok(SegmentCheck::Whole),
            Ok(Some(what)) => Ok(SegmentCheck::Damaged(what)),
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(SegmentCheck::Damaged(error.message().to_string())),
            Err(error) => Err(error),
        };
        let check = match read()? {
            SegmentCheck::Damaged(_) if repair(store, &object.name, segment)? => read()?,
            check => check,
        };
        Ok((id, check))
    };
    segments.map(check).collect()
}

/// Takes a segment that is damaged from a copy, where there is one. See [`CheckpointStore::repair`].
pub(crate) fn repair(store: &dyn CheckpointStore, object: &str, segment: &Segment) -> Result<bool> {
    let end = segment.offset.checked_add(segment.length_bytes).filter(|_| segment.length_bytes <= SEGMENT_BYTES_MAX);
    let is_whole = |bytes: &[u8]| Checksum::of(bytes) == segment.checksum;
    match end {
        Some(end) => store.repair(&object_path(object), Some(segment.offset..end), &is_whole),
        None => Ok(false),
    }
}

/// What is wrong with a segment, if anything is.
fn read_through(
    store: &dyn CheckpointStore,
    id: &SegmentId,
    segment: &Segment,
    kept: &mut Kept,
) -> Result<Option<String>, Error> {
    let object = &id.object;
    let Some(end) = segment.offset.checked_add(segment.length_bytes) else {
        return Ok(Some("it ends behind all bytes".into()));
    };
    let (mut hasher, mut at) = (Xxh3::new(), segment.offset);
    // A length that lies is found out by the store, a piece at a time.
    let (mut whole, keeps) = (Vec::new(), kept.fits(segment.length_bytes));
    loop {
        let next = end.min(at.saturating_add(READ_BYTES_MAX));
        let Some(bytes) = store.read_range(&object_path(object), at..next)? else {
            return Ok(Some("it is missing".into()));
        };
        hasher.update(&bytes);
        if keeps {
            whole.extend_from_slice(&bytes);
        }
        at = next;
        if at == end {
            break;
        }
    }
    let (sum, told) = (Checksum(hasher.digest()), segment.checksum);
    if keeps && sum == told {
        kept.put(id.clone(), whole);
    }
    Ok((sum != told)
        .then(|| format!("its checksum is {sum} from byte {} on, the manifest says {told}", segment.offset)))
}
