//! Puts an object together, a table at a time.

use std::cell::Cell;
use std::ops::Range;

use rheos_checkpoint::manifest::{Checksum, KeyGroupSet, ObjectRef, Segment};
use rheos_core::key::{KEY_GROUPS_MAX, KeyGroup};
use rheos_core::state::{Run, TableKind};
use rheos_core::{Epoch, Error, OperatorId, Result};
use xxhash_rust::xxh3::Xxh3;

use super::rows::{self, Codec, Rows};
use super::segment::{encode_header, kind_word, namespace_column};
use super::{Compression, Footer, SEGMENT_BYTES, SEGMENT_BYTES_MAX, SegmentHeader, WrittenObject, head};
use crate::compact::newest::gone_column;
use crate::names::ObjectName;
use crate::reach::StoredTombstone;

/// Memory that a thread keeps for its next object, at most.
const SPARE_BYTES_MAX: usize = 128 << 20;

thread_local! {
    /// The memory of this thread's last object: fresh memory of that size is cleared by the system, page by page, each time.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The bytes of an object that is stored are not needed any more.
pub(super) fn recycle(bytes: Vec<u8>) {
    if bytes.capacity() <= SPARE_BYTES_MAX {
        SPARE.set(bytes);
    }
}

/// What is stored of a table.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) operator: OperatorId,
    pub(crate) table: String,
    pub(crate) kind: TableKind,
    pub(crate) layout: String,
    /// As in the header, both.
    pub(crate) replaces_by: Vec<usize>,
    pub(crate) gone_by: Option<usize>,
    /// Keyed tables: for which groups it counts, also those without a row.
    pub(crate) groups: KeyGroupSet,
    pub(crate) first_epoch: Epoch,
    pub(crate) last_epoch: Epoch,
    pub(crate) tombstones: Vec<StoredTombstone>,
    pub(crate) runs: Vec<Run>,
}

impl Contents {
    fn wrong(&self, what: impl std::fmt::Display) -> Error {
        Error::internal(format!("table '{}' of operator '{}' cannot be stored: {what}", self.table, self.operator))
    }

    /// What the rest relies on.
    fn check(&self) -> Result<()> {
        let keyed = self.kind == TableKind::Keyed;
        for run in &self.runs {
            if run.key_groups.len() != if keyed { run.rows.num_rows() } else { 0 } {
                return Err(self.wrong("keyed rows have a key group each, others have none"));
            }
            if run.rows.schema_ref().fields() != self.runs[0].rows.schema_ref().fields() {
                return Err(self.wrong("its runs differ in their columns"));
            }
            let foreign = run.key_groups.iter().find(|g| !self.groups.contains(**g));
            if let Some(group) = foreign {
                return Err(self.wrong(format_args!("a row of key group {}, which the worker does not own", group.0)));
            }
            if self.replaces_by.iter().any(|column| *column >= run.rows.num_columns()) {
                return Err(self.wrong("its rows take the place of others by columns that they do not have"));
            }
            if self
                .gone_by
                .is_some_and(|column| self.replaces_by.is_empty() || gone_column(&run.rows, column).is_none())
            {
                return Err(self
                    .wrong("its rows say that others are gone by a column that is no Int64, or take no row's place"));
            }
            let by_namespace = self.tombstones.iter().any(|t| t.up_to.is_some());
            if by_namespace && run.rows.num_rows() > 0 && namespace_column(&run.rows).is_none() {
                return Err(self.wrong("tombstones go by namespace, but the first column of its rows is no Int64"));
            }
        }
        Ok(())
    }
}

/// An object in the making.
pub(crate) struct ObjectBuilder {
    name: ObjectName,
    compression: Compression,
    /// How the last table is compressed, which may come in several pieces.
    codec: Option<(OperatorId, String, Codec)>,
    bytes: Vec<u8>,
    /// Of the bytes so far: each is taken in while it is in the processor's cache.
    sum: Xxh3,
    segments: Vec<Segment>,
    headers: Vec<SegmentHeader>,
}

impl ObjectBuilder {
    pub(crate) fn new(name: ObjectName, compression: Compression) -> Self {
        let mut bytes = SPARE.take();
        bytes.clear();
        bytes.extend_from_slice(&head());
        let mut sum = Xxh3::new();
        sum.update(&bytes);
        Self { name, compression, codec: None, bytes, sum, segments: Vec::new(), headers: Vec::new() }
    }

    /// Adds a table, in the order of operators and tables. Nothing to say gives no segment.
    pub(crate) fn push(&mut self, mut contents: Contents) -> Result<()> {
        contents.check()?;
        contents.runs.retain(|r| r.rows.num_rows() > 0);
        let nobody = contents.kind == TableKind::Keyed && contents.groups.is_empty();
        if nobody || (contents.runs.is_empty() && contents.tombstones.is_empty()) {
            return Ok(());
        }
        if contents.runs.is_empty() {
            let groups = contents.groups.clone();
            return self.segment(&contents, groups, None);
        }
        let runs = std::mem::take(&mut contents.runs);
        let rows = Rows::new(&runs);
        let codec = self.codec(&contents, &rows)?;
        // What does not shrink fits without growing; behind it stands a footer.
        self.bytes.reserve(rows.bytes + rows.bytes / 16);
        if contents.kind != TableKind::Keyed {
            return self.segment(&contents, KeyGroupSet::default(), Some((&rows, 0..rows.len, codec)));
        }
        let mut behind = 0;
        for (end, groups) in cuts(&rows.groups, &contents.groups, rows.bytes) {
            self.segment(&contents, groups, Some((&rows, behind..end, codec)))?;
            behind = end;
        }
        Ok(())
    }

    fn codec(&mut self, contents: &Contents, rows: &Rows<'_>) -> Result<Codec> {
        if let Some((operator, table, codec)) = &self.codec
            && (operator, table) == (&contents.operator, &contents.table)
        {
            return Ok(*codec);
        }
        let codec = rows::codec(rows, self.compression).map_err(|e| contents.wrong(e))?;
        self.codec = Some((contents.operator.clone(), contents.table.clone(), codec));
        Ok(codec)
    }

    fn segment(
        &mut self,
        contents: &Contents,
        groups: KeyGroupSet,
        part: Option<(&Rows<'_>, Range<usize>, Codec)>,
    ) -> Result<()> {
        let header = SegmentHeader {
            version: SegmentHeader::version_of(&contents.replaces_by, contents.gone_by),
            layout: contents.layout.clone(),
            kind: kind_word(contents.kind).to_string(),
            rows: part.as_ref().map_or(0, |(_, range, _)| range.len() as u64),
            namespaces: part.as_ref().and_then(|(rows, range, _)| rows.namespaces(range.clone())),
            tombstones: contents.tombstones.iter().filter_map(|t| restricted(t, &groups)).collect(),
            replaces_by: contents.replaces_by.clone(),
            gone_by: contents.gone_by,
        };
        let behind_last = self.bytes.len();
        self.bytes.resize(behind_last.next_multiple_of(8), 0);
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(&encode_header(&header)?);
        if let Some((rows, range, codec)) = part {
            let bytes = std::mem::take(&mut self.bytes);
            self.bytes = rows::encode(rows, range, codec, bytes).map_err(|e| contents.wrong(e))?;
        }
        let written = &self.bytes[offset..];
        if written.len() as u64 > SEGMENT_BYTES_MAX {
            return Err(contents.wrong(format_args!("a segment has {} bytes", written.len())));
        }
        self.sum.update(&self.bytes[behind_last..]);
        self.segments.push(Segment {
            offset: offset as u64,
            length_bytes: written.len() as u64,
            checksum: Checksum::of(written),
            operator: contents.operator.clone(),
            table: contents.table.clone(),
            kind: contents.kind,
            layout: contents.layout.clone(),
            groups,
            first_epoch: contents.first_epoch,
            last_epoch: contents.last_epoch,
            holder: self.name.worker,
        });
        self.headers.push(header);
        Ok(())
    }

    /// The object; `None` if it has no segments.
    pub(crate) fn finish(self) -> Result<Option<WrittenObject>> {
        let Self { name, mut bytes, mut sum, segments, headers, .. } = self;
        if segments.is_empty() {
            return Ok(None);
        }
        let footer = Footer { segments };
        let encoded = footer.encode()?;
        sum.update(&encoded);
        bytes.extend_from_slice(&encoded);
        let object = ObjectRef {
            name: name.to_string(),
            length_bytes: bytes.len() as u64,
            checksum: Checksum(sum.digest()),
            segments: footer.segments,
        };
        Ok(Some(WrittenObject { bytes, object, headers }))
    }
}

/// A tombstone as it stands in a segment of some of the groups.
fn restricted(tombstone: &StoredTombstone, segment: &KeyGroupSet) -> Option<StoredTombstone> {
    if tombstone.groups.is_empty() {
        return Some(tombstone.clone());
    }
    let groups = tombstone.groups.intersection(segment);
    (!groups.is_empty()).then_some(StoredTombstone { groups, up_to: tombstone.up_to })
}

/// Where sorted rows of about `bytes` bytes are cut: the row behind each part, and the part's share of `owned`.
fn cuts(row_groups: &[KeyGroup], owned: &KeyGroupSet, bytes: usize) -> Vec<(usize, KeyGroupSet)> {
    let rows_max = (row_groups.len() / (bytes / SEGMENT_BYTES).max(1)).max(1);
    let (mut cuts, mut begin, mut first_group) = (Vec::new(), 0, 0);
    while begin < row_groups.len() {
        // All rows of a group stay together.
        let last = row_groups[(begin + rows_max - 1).min(row_groups.len() - 1)];
        let end = row_groups.partition_point(|g| *g <= last);
        let last_group = if end == row_groups.len() { KEY_GROUPS_MAX } else { last.0 };
        cuts.push((end, owned.intersection(&KeyGroupSet::range(first_group, last_group))));
        (begin, first_group) = (end, last_group + 1);
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_at_key_groups_and_every_group_has_a_part() {
        let range = KeyGroupSet::range;
        let owned = range(0, 4).union(&range(8, 9));
        let rows = [1, 1, 1, 2, 4, 8, 8].map(KeyGroup);
        assert_eq!(cuts(&rows, &owned, 100), [(7, owned.clone())]);
        let expected = [(3, range(0, 1)), (5, range(2, 4)), (7, range(8, 9))];
        assert_eq!(cuts(&rows, &owned, 3 * SEGMENT_BYTES), expected);
    }
}
