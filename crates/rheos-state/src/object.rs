//! Objects: the state that a worker stored for one epoch, or merged, as one file.
//!
//! ```text
//!   magic, version                     16 bytes
//!   segment                            sorted by operator, table, key groups
//!     length of the header             4 bytes, little endian
//!     header                           JSON: layout, kind, rows, tombstones; then zeros to a multiple of 8
//!     rows                             an Arrow IPC stream; of keyed tables the first column is the key group
//!   segment ...
//!   footer                             JSON: the segments, as in the manifest
//!   length, checksum of the footer, version, magic      32 bytes
//! ```
//! A restore reads segments by the manifest; the footer is for whoever has the file alone. Each segment begins at a multiple
//! of 8 and has a checksum in both places (xxh3-64). Whoever changes the form raises [`VERSION`].

mod build;
mod rows;
mod segment;

use rheos_checkpoint::manifest::{Checksum, KeyGroupSet, ObjectRef, Segment};
use rheos_core::state::{StateDelta, TableKind};
use rheos_core::{Error, OperatorId, Result, WorkerId};
use serde::{Deserialize, Serialize};

pub(crate) use build::{Contents, ObjectBuilder};
pub(crate) use rows::batch_bytes;
pub use segment::{Namespaces, SegmentHeader};
pub(crate) use segment::{StoredRows, header_of, header_of_verified, rows_of};

use crate::errors::{damaged, unknown_version};
use crate::names::{ObjectName, object_path};
use crate::reach::Reach;
pub use crate::reach::StoredTombstone;
use crate::store::CheckpointStore;

/// The version of objects that this version of Rheos writes; each segment has a version of its own.
pub const VERSION: u32 = 1;
/// Segments of keyed tables are cut at key groups when they have come to this size in memory, in bytes. Who needs some key groups
/// reads whole segments: a step of a merge takes some megabytes of each run.
pub const SEGMENT_BYTES: usize = 2 << 20;
/// Longest segment that is read, in bytes.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 32;
/// Longest footer that is read, in bytes.
pub const FOOTER_BYTES_MAX: u64 = 64 << 20;

const MAGIC: &[u8; 8] = b"RheosObj";
const HEAD_BYTES: u64 = 16;
const TAIL_BYTES: u64 = 32;

/// How rows are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// Fast.
    #[default]
    Lz4,
    /// Smaller, and slower.
    Zstd,
}

/// Who stores what.
#[derive(Debug, Clone)]
pub struct WriteContext {
    /// The object's name; its worker and epoch go into the segments.
    pub name: ObjectName,
    /// The key groups that the worker owns.
    pub groups: KeyGroupSet,
    /// How rows are compressed.
    pub compression: Compression,
}

/// An object that has been made and is to be stored.
#[derive(Debug, Clone)]
pub struct WrittenObject {
    /// All its bytes.
    pub bytes: Vec<u8>,
    /// What the manifest says of it.
    pub object: ObjectRef,
    /// The headers of its segments, in their order.
    pub headers: Vec<SegmentHeader>,
}

impl WrittenObject {
    /// Stores it and reads it back. May be repeated. Errors: as of [`put`](crate::store::put).
    pub fn store(&self, store: &dyn CheckpointStore) -> Result<()> {
        crate::store::put(store, &object_path(&self.object.name), &self.bytes)
    }

    /// It is stored: lets go of the bytes, and keeps their memory for the next object of this thread.
    pub fn release_bytes(&mut self) {
        build::recycle(std::mem::take(&mut self.bytes));
    }
}

/// The object of one epoch; `None` if nothing has changed.
///
/// `deltas`: by the stable id of the operator; each operator once, in any order. Takes time and memory of about twice the
/// changes; made to run beside the data path.
///
/// Errors: `Internal` for deltas that break the contract of [`rheos_core::state`].
pub fn write(context: &WriteContext, deltas: &[(OperatorId, StateDelta)]) -> Result<Option<WrittenObject>> {
    let mut tables: Vec<_> = deltas.iter().flat_map(|(o, delta)| delta.tables.iter().map(move |t| (o, t))).collect();
    tables.sort_by(|(a, t), (b, u)| (a, &t.table).cmp(&(b, &u.table)));
    let mut builder = ObjectBuilder::new(context.name, context.compression);
    for (at, (operator, delta)) in tables.iter().enumerate() {
        let wrong = |what: &str| {
            Error::internal(format!("table '{}' of operator '{operator}' at an epoch's end: {what}", delta.table))
        };
        if at > 0 && tables[at - 1].0 == *operator && tables[at - 1].1.table == delta.table {
            return Err(wrong("it is there twice"));
        }
        if matches!(delta.kind, TableKind::Single | TableKind::Broadcast) && context.name.worker != WorkerId(0) {
            return Err(wrong("what is not spread over the workers is stored by worker 0"));
        }
        let keyed = delta.kind == TableKind::Keyed;
        builder.push(Contents {
            operator: (*operator).clone(),
            table: delta.table.clone(),
            kind: delta.kind,
            layout: delta.layout.clone(),
            replaces_by: delta.replaces_by.clone(),
            gone_by: delta.gone_by,
            groups: if keyed { context.groups.clone() } else { KeyGroupSet::default() },
            first_epoch: context.name.epoch,
            last_epoch: context.name.epoch,
            tombstones: StoredTombstone::everywhere(Reach::of(&delta.tombstones)).into_iter().collect(),
            runs: delta.runs.clone(),
        })?;
    }
    builder.finish()
}

/// The end of an object.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Footer {
    segments: Vec<Segment>,
}

impl Footer {
    /// The footer and what follows it.
    fn encode(&self) -> Result<Vec<u8>> {
        let mut bytes =
            serde_json::to_vec(self).map_err(|e| Error::internal(format!("a footer cannot be written: {e}")))?;
        let (length, checksum) = (bytes.len() as u64, Checksum::of(&bytes));
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&checksum.0.to_le_bytes());
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(MAGIC);
        Ok(bytes)
    }
}

fn head() -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&[0; 4]);
    head
}

/// The index of an object in a store, from its footer; `None` if there is no such object.
///
/// Errors: `Corrupt` for damage (R0626) or another version (R0627), naming the object; those of the store.
pub fn read_index(store: &dyn CheckpointStore, name: &str) -> Result<Option<Vec<Segment>>> {
    let path = object_path(name);
    let wrong = |what: String| damaged(format!("the object '{name}': {what}"));
    let Some(length) = store.length_bytes(&path)? else { return Ok(None) };
    let tail_at = length.checked_sub(TAIL_BYTES).filter(|at| *at >= HEAD_BYTES);
    let tail_at = tail_at.ok_or_else(|| wrong(format!("it has {length} bytes, too few for an object")))?;
    let Some(tail) = store.read_range(&path, tail_at..length)? else { return Ok(None) };
    let (told, checksum) = parse_tail(&tail, name)?;
    let footer_at = tail_at.checked_sub(told).filter(|at| *at >= HEAD_BYTES && told <= FOOTER_BYTES_MAX);
    let footer_at = footer_at.ok_or_else(|| wrong(format!("a footer of {told} bytes does not fit into it")))?;
    let Some(footer) = store.read_range(&path, footer_at..tail_at)? else { return Ok(None) };
    if Checksum::of(&footer) != checksum {
        return Err(wrong("the checksum of its footer is wrong".into()));
    }
    let footer: Footer = serde_json::from_slice(&footer).map_err(|e| wrong(format!("its footer: {e}")))?;
    let mut at = HEAD_BYTES;
    for segment in &footer.segments {
        let end = segment.offset.checked_add(segment.length_bytes).filter(|e| *e <= footer_at && segment.offset >= at);
        at = end.ok_or_else(|| wrong("its footer names segments that do not fit into it".into()))?;
    }
    Ok(Some(footer.segments))
}

/// Length and checksum of the footer.
fn parse_tail(tail: &[u8], name: &str) -> Result<(u64, Checksum)> {
    let wrong = |what: &str| damaged(format!("the object '{name}': {what}"));
    let number = |at: usize| tail.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    if tail.get(24..) != Some(&MAGIC[..]) {
        return Err(wrong("it does not end as an object does"));
    }
    let (Some(length), Some(checksum), Some(version)) = (number(0), number(8), number(16)) else {
        return Err(wrong("it is cut off"));
    };
    match version {
        v if v == u64::from(VERSION) => Ok((length, Checksum(checksum))),
        v => Err(unknown_version(&format!("the object '{name}'"), v as u32, VERSION)),
    }
}
