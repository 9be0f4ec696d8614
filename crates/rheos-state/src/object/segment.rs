//! One segment: what some epochs changed in one table, for some key groups.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt16Array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Int64Type, UInt16Type};
use arrow::ipc::reader::StreamDecoder;
use arrow::record_batch::RecordBatch;
use rheos_checkpoint::manifest::{Checksum, Segment};
use rheos_core::key::KeyGroup;
use rheos_core::state::TableKind;
use rheos_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::errors::{damaged_segment, place, unknown_version};
use crate::reach::StoredTombstone;

/// The version of segments of tables whose rows add up.
const VERSION_OF_SUMS: u32 = 1;
/// The version of segments whose rows take the place of earlier ones: version 1 would merge them as if they added up.
const VERSION_OF_UPSERTS: u32 = 2;
/// The version of segments with rows that only say that an earlier one is gone: version 2 would keep them for ever.
const VERSION_OF_CHANGES: u32 = 3;

/// Longest header that is read, in bytes: 32,768 key groups, each with a tombstone of its own, have room.
const HEADER_BYTES_MAX: usize = 8 << 20;

/// What stands before a segment's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentHeader {
    /// The version of this form.
    pub version: u32,
    /// The layout of the rows, as in the manifest.
    pub layout: String,
    /// How the table is spread, as in the manifest.
    pub kind: String,
    /// Number of rows.
    pub rows: u64,
    /// The bounds of the rows' namespaces; `None` if there are no rows, or rows without.
    pub namespaces: Option<Namespaces>,
    /// What is gone of earlier epochs.
    pub tombstones: Vec<StoredTombstone>,
    /// From version 2: the columns by which a row takes the place of earlier ones, counted without the key group. As in
    /// [`TableDelta::replaces_by`](rheos_core::state::TableDelta::replaces_by).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces_by: Vec<usize>,
    /// Version 3: the column that is 0 in rows which only say that an earlier one is gone. As in
    /// [`TableDelta::gone_by`](rheos_core::state::TableDelta::gone_by).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_by: Option<usize>,
}

impl SegmentHeader {
    /// [`replaces_by`](Self::replaces_by) and [`gone_by`](Self::gone_by).
    pub(crate) fn replacing(&self) -> (Vec<usize>, Option<usize>) {
        (self.replaces_by.clone(), self.gone_by)
    }

    /// The version in which segments with these columns are written.
    pub(super) fn version_of(replaces_by: &[usize], gone_by: Option<usize>) -> u32 {
        match gone_by {
            Some(_) => VERSION_OF_CHANGES,
            None if replaces_by.is_empty() => VERSION_OF_SUMS,
            None => VERSION_OF_UPSERTS,
        }
    }
}

/// From the smallest namespace to the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Namespaces {
    /// The smallest.
    pub first: i64,
    /// The largest.
    pub last: i64,
}

/// The kind of a table as a word.
pub(super) fn kind_word(kind: TableKind) -> &'static str {
    match kind {
        TableKind::Keyed => "keyed",
        TableKind::Split => "split",
        TableKind::Broadcast => "broadcast",
        TableKind::Single => "single",
    }
}

/// A stretch of a segment's rows.
#[derive(Debug, Clone)]
pub(crate) struct StoredRows {
    /// The key group of each row; `None` for tables that are not keyed.
    pub(crate) groups: Option<UInt16Array>,
    /// Without the key group.
    pub(crate) rows: RecordBatch,
}

impl StoredRows {
    /// The stretches of rows of one key group each; rows of a table that is not keyed are all of group 0.
    pub(crate) fn stretches(&self) -> impl Iterator<Item = (KeyGroup, Range<usize>)> + '_ {
        let rows = self.rows.num_rows();
        let groups = self.groups.as_ref().map(|g| g.values());
        let mut start = 0;
        std::iter::from_fn(move || {
            let group = *groups.map_or(Some(&0), |g| g.get(start)).filter(|_| start < rows)?;
            let alike = groups.map_or(rows, |g| g[start..].iter().take_while(|other| **other == group).count());
            let stretch = start..start + alike;
            start = stretch.end;
            Some((KeyGroup(group), stretch))
        })
    }

    /// The namespace of each row, if rows have one: the first column of a table that has tombstones by namespace.
    pub(crate) fn namespaces(&self) -> Option<&Int64Array> {
        namespace_column(&self.rows)
    }
}

pub(super) fn namespace_column(rows: &RecordBatch) -> Option<&Int64Array> {
    rows.columns().first()?.as_primitive_opt::<Int64Type>()
}

/// The header of a segment, from all of the segment's bytes; and where the rows begin.
///
/// Errors: `Corrupt` (R0626, R0627), naming object, operator and table.
pub(crate) fn header_of(bytes: &[u8], segment: &Segment, object: &str) -> Result<(SegmentHeader, usize)> {
    if bytes.len() as u64 != segment.length_bytes || Checksum::of(bytes) != segment.checksum {
        return Err(damaged_segment(object, segment, "the checksum is wrong"));
    }
    header_of_verified(bytes, segment, object)
}

/// As [`header_of`], of bytes whose length and checksum have been compared.
pub(crate) fn header_of_verified(bytes: &[u8], segment: &Segment, object: &str) -> Result<(SegmentHeader, usize)> {
    let wrong = |what: &str| damaged_segment(object, segment, what);
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| wrong("the segment is cut off"))?;
    let length = u32::from_le_bytes(*length) as usize;
    let text = rest.get(..length).filter(|_| length <= HEADER_BYTES_MAX);
    let text = text.ok_or_else(|| wrong("the segment's header does not end"))?;
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let json = |e: serde_json::Error| wrong(&format!("the segment's header: {e}"));
    let Version { version } = serde_json::from_slice(text).map_err(json)?;
    if !(VERSION_OF_SUMS..=VERSION_OF_CHANGES).contains(&version) {
        return Err(unknown_version(&place(object, segment), version, VERSION_OF_CHANGES));
    }
    let header: SegmentHeader = serde_json::from_slice(text).map_err(json)?;
    if header.layout != segment.layout || header.kind != kind_word(segment.kind) {
        return Err(wrong(&format!("the segment holds '{}' ({}), not what is told", header.layout, header.kind)));
    }
    let rows_at = (4 + length).next_multiple_of(8);
    if rows_at > bytes.len() {
        return Err(wrong("the segment is cut off"));
    }
    Ok((header, rows_at))
}

/// The bytes of a header, up to where rows begin. Errors: `Internal` for one that cannot be read again.
pub(super) fn encode_header(header: &SegmentHeader) -> Result<Vec<u8>> {
    let text = serde_json::to_vec(header).map_err(|e| Error::internal(format!("a header cannot be written: {e}")))?;
    if text.len() > HEADER_BYTES_MAX {
        return Err(Error::internal(format!("a segment's header has {} bytes", text.len())));
    }
    let mut bytes = (text.len() as u32).to_le_bytes().to_vec();
    bytes.extend_from_slice(&text);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    Ok(bytes)
}

/// The rows of a segment, whose bytes [`header_of`] has found right.
///
/// Errors: `Corrupt` (R0626), naming object, operator and table.
pub(crate) fn rows_of(
    bytes: Buffer,
    rows_at: usize,
    header: &SegmentHeader,
    segment: &Segment,
    object: &str,
) -> Result<Vec<StoredRows>> {
    let wrong = |what: String| damaged_segment(object, segment, what);
    let mut buffer = bytes.slice(rows_at);
    let (mut decoder, mut found, mut rows) = (StreamDecoder::new(), Vec::new(), 0);
    while !buffer.is_empty() {
        let batch = decoder.decode(&mut buffer).map_err(|e| wrong(format!("the rows: {e}")))?;
        if let Some(batch) = batch {
            rows += batch.num_rows() as u64;
            found.push(split(batch, segment).ok_or_else(|| wrong("the rows have no key groups".into()))?);
        }
    }
    decoder.finish().map_err(|e| wrong(format!("the rows: {e}")))?;
    if rows != header.rows {
        return Err(wrong(format!("{rows} rows were found, and {} are told of", header.rows)));
    }
    Ok(found)
}

fn split(batch: RecordBatch, segment: &Segment) -> Option<StoredRows> {
    if segment.kind != TableKind::Keyed {
        return Some(StoredRows { groups: None, rows: batch });
    }
    let first: &ArrayRef = batch.columns().first()?;
    if *first.data_type() != DataType::UInt16 || first.null_count() > 0 {
        return None;
    }
    let groups = first.as_primitive::<UInt16Type>().clone();
    let all: Vec<usize> = (1..batch.num_columns()).collect();
    Some(StoredRows { groups: Some(groups), rows: batch.project(&all).ok()? })
}
