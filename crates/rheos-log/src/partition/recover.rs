//! A partition from its files: the end that a crash has torn is cut off, everything else has to be there.
//!
//! 1. Full segments by their indices; one whose index does not fit is read.
//! 2. The last segment is read: behind its last whole batch it is cut.
//! 3. What was cut off is kept in a file of its own where a whole batch stands in it: that is more than a crash leaves in order.

use std::io;
use std::path::Path;

use rheos_core::{Error, ErrorKind, Result};

use super::producers::Producers;
use super::retention::{Start, start_path};
use super::{Aborted, State, disk_error};
use crate::batch::{BatchHead, HEAD_BYTES, marker_kind};
use crate::disk::Disk;
use crate::segment::{Segment, Stop, base_of, index_path, log_path};
use crate::sidecar::{self, Found};

/// What is looked through for whole batches, of what was cut off, in bytes.
const SEARCHED_BYTES_MAX: u64 = 64 << 20;

/// What the batches of a partition say together.
struct Told {
    producers: Producers,
    aborted: Vec<Aborted>,
}

impl Told {
    fn note(&mut self, head: &BatchHead, batch: &[u8]) {
        match head.is_control().then(|| marker_kind(batch)).flatten() {
            Some(is_commit) => self.aborted.extend(self.producers.note_marker(head, is_commit)),
            None => self.producers.note(head),
        }
    }
}

/// See the module. What ends behind `below` is cut off, too.
pub(super) fn recover(disk: &dyn Disk, folder: &Path, below: i64, note: &dyn Fn(String)) -> Result<State> {
    let failed = |e: io::Error| disk_error("open", folder, &e);
    disk.create_folder(folder).map_err(failed)?;
    let mut bases: Vec<i64> = disk.names(folder).map_err(failed)?.iter().filter_map(|name| base_of(name)).collect();
    bases.sort_unstable();
    let start = match sidecar::read::<Start>(disk, &start_path(folder)).map_err(failed)? {
        Found::Nothing => Start::default(),
        Found::Whole(start) => start,
        Found::Damaged => {
            let message = format!("'{}' is damaged", start_path(folder).display());
            return Err(Error::new(ErrorKind::Corrupt, 802, message).with_hint(
                "put the file back from a copy, or remove it: then records that were deleted are seen again",
            ));
        }
    };
    // Segments that a crash has kept from being removed.
    while let [first, next, ..] = bases[..]
        && next <= start.offset
    {
        disk.remove(&log_path(folder, first)).map_err(failed)?;
        disk.remove(&index_path(folder, first)).map_err(failed)?;
        bases.remove(0);
    }
    if let [.., _, last] = bases[..] {
        // Nothing has come behind it; perhaps it was made in vain, and the one before went on.
        let path = log_path(folder, last);
        if disk.open(&path).and_then(|file| file.length_bytes()).map_err(failed)? == 0 {
            disk.remove(&path).and_then(|()| disk.sync_folder(folder)).map_err(failed)?;
            bases.pop();
        }
    }
    let Some((last, full)) = bases.split_last() else {
        if start.offset > 0 {
            return Err(damaged(folder, start.offset, "is missing"));
        }
        let first = Segment::create(disk, folder, 0).map_err(failed)?;
        return Ok(State { segments: vec![first], start, ..State::default() });
    };
    let producers = start.producers.clone();
    let (mut told, mut segments) = (Told { producers, aborted: vec![] }, Vec::<Segment>::new());
    for base in full {
        check_joins(folder, &segments, *base)?;
        segments.push(read_full(disk, folder, *base, &mut told)?);
    }
    check_joins(folder, &segments, *last)?;
    segments.push(read_last(disk, folder, *last, below, &mut told, note)?);
    told.aborted.retain(|a| a.marker_offset >= start.offset);
    Ok(State { segments, aborted: told.aborted, producers: told.producers, start, is_in_doubt: false })
}

fn check_joins(folder: &Path, before: &[Segment], base: i64) -> Result<()> {
    match before.last() {
        Some(before) if before.end_offset != base => Err(damaged(folder, before.end_offset, "is missing")),
        _ => Ok(()),
    }
}

fn read_full(disk: &dyn Disk, folder: &Path, base: i64, told: &mut Told) -> Result<Segment> {
    let failed = |e: io::Error| disk_error("open", folder, &e);
    if let Some((segment, aborted, producers)) = Segment::open_indexed(disk, folder, base).map_err(failed)? {
        told.aborted.extend(aborted);
        told.producers = producers;
        return Ok(segment);
    }
    let known = told.aborted.len();
    let note = |head: &BatchHead, batch: &[u8]| told.note(head, batch);
    let (segment, stop) = Segment::scan(disk, folder, base, i64::MAX, note).map_err(failed)?;
    if stop != Stop::End {
        return Err(damaged(folder, base, &format!("has no batch at byte {}", segment.bytes)));
    }
    segment.write_index(disk, folder, told.aborted[known..].to_vec(), &told.producers).map_err(failed)?;
    Ok(segment)
}

/// The last segment, cut behind its last whole batch that ends at `below` or before.
fn read_last(
    disk: &dyn Disk,
    folder: &Path,
    base: i64,
    below: i64,
    told: &mut Told,
    note: &dyn Fn(String),
) -> Result<Segment> {
    let failed = |e: io::Error| disk_error("open", folder, &e);
    let (segment, stop) =
        Segment::scan(disk, folder, base, below, |head, batch| told.note(head, batch)).map_err(failed)?;
    let cut = segment.file.length_bytes().map_err(failed)? - segment.bytes;
    if stop == Stop::Damage {
        let (shown, at) = (log_path(folder, base).display().to_string(), segment.bytes);
        note(match keep_cut(disk, folder, &segment, cut).map_err(failed)? {
            Some(kept) => format!("{shown}: behind byte {at} are {cut} damaged bytes, which are kept as {kept}"),
            None => format!("{shown}: {cut} bytes at its end were not written to their end, and are cut off"),
        });
    }
    if cut > 0 {
        segment.file.truncate(segment.bytes).map_err(failed)?;
    }
    Ok(segment)
}

/// Keeps what is cut off if a whole batch stands in it; under which name.
fn keep_cut(disk: &dyn Disk, folder: &Path, segment: &Segment, cut: u64) -> io::Result<Option<String>> {
    let mut bytes = vec![0; cut.min(SEARCHED_BYTES_MAX) as usize];
    segment.file.read_at(&mut bytes, segment.bytes)?;
    // Bytes that look like heads may all tell of long batches.
    let mut left = 4 * SEARCHED_BYTES_MAX;
    let has_batch = (0..bytes.len().saturating_sub(HEAD_BYTES)).filter(|at| bytes[at + 16] == 2).any(|at| {
        let Ok(Some(head)) = BatchHead::read(&bytes[at..]) else { return false };
        let length = head.length_bytes as u64;
        left = left.saturating_sub(length);
        left > 0 && matches!(BatchHead::read_checked(&bytes[at..]), Ok(Some(_)))
    });
    if !has_batch {
        return Ok(None);
    }
    let path = log_path(folder, segment.base_offset).with_extension(format!("cut-{}", segment.bytes));
    disk.remove(&path)?;
    let file = disk.create(&path)?;
    file.write_at(&bytes, 0)?;
    file.sync()?;
    Ok(Some(path.display().to_string()))
}

fn damaged(folder: &Path, base: i64, what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, 802, format!("'{}' {what}", log_path(folder, base).display()))
        .with_hint("put the file back from a copy, or delete the topic")
}
