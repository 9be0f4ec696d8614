//! What a worker reads of a checkpoint: the rows that it owns, less those that tombstones took.
//!
//! ```text
//!   segments of a table, newest first:   e9   rows kept ◄── tombstones of (nothing)
//!                                        e7   rows kept ◄── tombstones of e9
//!                                        e1-5 rows kept ◄── tombstones of e7, e9      handed over oldest first
//! ```
//! Tombstones are applied here, key group by key group, for those of one worker say nothing of the groups of another. So
//! operators get deltas without tombstones. A segment whose rows are all gone is not decoded.

use std::collections::BTreeMap;
use std::iter::repeat_n;
use std::ops::Range;

use arrow::array::{Array, BooleanArray, BooleanBufferBuilder};
use arrow::buffer::Buffer;
use arrow::compute::filter_record_batch;
use rheos_checkpoint::manifest::{KeyGroupSet, Manifest, Segment};
use rheos_checkpoint::recovery::SegmentId;
use rheos_checkpoint::rescale::{SegmentRead, WorkerPlan};
use rheos_core::state::{Run, SnapshotReader, TableDelta};
use rheos_core::{Error, ErrorKind, OperatorId, Result, WorkerId};

use crate::errors::{damaged, damaged_segment};
use crate::groups;
use crate::holdings::{Held, Holdings};
use crate::journal;
use crate::kept::Kept;
use crate::names::object_path;
use crate::object::{SEGMENT_BYTES_MAX, SegmentHeader, StoredRows, header_of, header_of_verified, rows_of};
use crate::reach::{Horizon, Reach};
use crate::spare::Spare;
use crate::store::CheckpointStore;

/// What a worker has read of a checkpoint.
#[derive(Debug)]
pub struct Restored {
    operators: BTreeMap<OperatorId, OperatorState>,
    /// What the worker holds from now on, and names in its reports.
    pub holdings: Holdings,
}

/// The state of one operator on one worker.
#[derive(Debug, Clone, Default)]
pub struct OperatorState {
    tables: BTreeMap<String, Vec<TableDelta>>,
}

impl Restored {
    /// The state of an operator, by its stable id; empty for one that has none. Can be taken once.
    pub fn take(&mut self, operator: &OperatorId) -> OperatorState {
        self.operators.remove(operator).unwrap_or_default()
    }

    /// Operators whose state has not been taken: the program has none of that id. The holdings
    /// [forget](Holdings::forget) them, or every later manifest names them.
    pub fn left(&self) -> impl Iterator<Item = &OperatorId> {
        self.operators.keys()
    }
}

impl OperatorState {
    /// The names of its tables.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }
}

impl SnapshotReader for OperatorState {
    fn deltas(&self, table: &str) -> Vec<TableDelta> {
        self.tables.get(table).cloned().unwrap_or_default()
    }
}

/// Reads what `plan` gives to `worker`; what is `kept` is not read again.
///
/// State: all rows that the worker owns are in memory when this returns.
///
/// Errors: those of the store; `Corrupt` (R0626, R0627) for damage, naming object and operator.
pub fn restore(
    store: &dyn CheckpointStore,
    kept: &Kept,
    manifest: &Manifest,
    plan: &WorkerPlan,
    worker: WorkerId,
) -> Result<Restored> {
    let mut restored = Restored { operators: BTreeMap::new(), holdings: Holdings::new(worker) };
    let table_of = |r: &SegmentRead| (r.segment.operator.clone(), r.segment.table.clone(), r.unit);
    for reads in plan.reads.chunk_by(|a, b| table_of(a) == table_of(b)) {
        let (deltas, headers) = read_table(&mut Reader::new(store, kept), reads)?;
        let (operator, table, unit) = table_of(&reads[0]);
        let apart = plan.rewrites.contains(&(operator.clone(), table.clone()));
        let tables = &mut restored.operators.entry(operator).or_default().tables;
        tables.entry(table).or_default().extend(deltas);
        for (read, header) in reads.iter().zip(headers) {
            if read.is_holder {
                let unit = if apart { unit } else { Held::unit_of(read.segment.kind, worker) };
                let segment = Segment { groups: read.groups.clone(), holder: worker, ..read.segment.clone() };
                restored.holdings.hold(Held { object: read.object.clone(), segment, header, unit });
            }
        }
    }
    restored.holdings.know(&manifest.objects);
    Ok(restored)
}

/// The deltas of a table (of one unit), oldest first, and the header of each read.
pub(crate) fn read_table(
    reader: &mut Reader<'_>,
    reads: &[SegmentRead],
) -> Result<(Vec<TableDelta>, Vec<SegmentHeader>)> {
    let (mut deltas, mut headers, mut horizon) = (Vec::new(), Vec::new(), Horizon::default());
    for read in reads.iter().rev() {
        let groups = groups::of(read.segment.kind, &read.groups);
        let (header, runs) = read_segment(reader, &read.object, &read.segment, groups, &horizon)?;
        horizon.add(&header.tombstones, groups);
        headers.push(header);
        if !runs.is_empty() {
            let Segment { table, kind, layout, .. } = read.segment.clone();
            let (replaces_by, gone_by) = headers.last().map_or((Vec::new(), None), SegmentHeader::replacing);
            deltas.push(TableDelta { table, kind, layout, replaces_by, gone_by, tombstones: Vec::new(), runs });
        }
    }
    deltas.reverse();
    headers.reverse();
    Ok((deltas, headers))
}

/// Where segments are read from.
pub(crate) struct Reader<'a> {
    store: &'a dyn CheckpointStore,
    kept: Option<&'a Kept>,
    /// The memory that segments are read into; `None`: it stays in use.
    spare: Option<&'a mut Spare>,
}

impl<'a> Reader<'a> {
    /// What is `kept` is not read again.
    pub(crate) fn new(store: &'a dyn CheckpointStore, kept: &'a Kept) -> Self {
        Self { store, kept: Some(kept), spare: None }
    }

    /// Of rows that are soon let go.
    pub(crate) fn reusing(store: &'a dyn CheckpointStore, spare: &'a mut Spare) -> Self {
        Self { store, kept: None, spare: Some(spare) }
    }

    /// The bytes of a segment, its header, and where the rows begin.
    fn segment(&mut self, object: &str, segment: &Segment) -> Result<(Buffer, SegmentHeader, usize)> {
        let id = || SegmentId { object: object.to_string(), offset: segment.offset };
        if let Some(bytes) = self.kept.and_then(|kept| kept.get(&id())) {
            let (header, rows_at) = header_of_verified(&bytes, segment, object)?;
            return Ok((bytes, header, rows_at));
        }
        match self.read(object, segment) {
            Err(error) if error.kind() == ErrorKind::Corrupt && journal::repair(self.store, object, segment)? => {
                self.read(object, segment)
            }
            other => other,
        }
    }

    fn read(&mut self, object: &str, segment: &Segment) -> Result<(Buffer, SegmentHeader, usize)> {
        let memory = self.spare.as_mut().map_or_else(Vec::new, |spare| spare.take(segment.length_bytes as usize));
        let bytes = segment_bytes(self.store, object, segment, memory)?;
        let bytes = match &mut self.spare {
            Some(spare) => spare.lend(bytes),
            None => Buffer::from_vec(bytes),
        };
        let (header, rows_at) = header_of(&bytes, segment, object)?;
        Ok((bytes, header, rows_at))
    }
}

/// The rows of a segment that are in `groups` and that `horizon` leaves.
pub(crate) fn read_segment(
    reader: &mut Reader<'_>,
    object: &str,
    segment: &Segment,
    groups: &KeyGroupSet,
    horizon: &Horizon,
) -> Result<(SegmentHeader, Vec<Run>)> {
    let (bytes, header, rows_at) = reader.segment(object, segment)?;
    if is_gone(&header, horizon.least(groups)) {
        return Ok((header, Vec::new()));
    }
    let rows = rows_of(bytes, rows_at, &header, segment, object)?;
    let wrong = |e: &str| damaged_segment(object, segment, e);
    let runs = rows.into_iter().map(|r| surviving(r, groups, horizon, &wrong));
    let runs = runs.collect::<Result<Vec<Run>>>()?;
    Ok((header, runs.into_iter().filter(|r| r.rows.num_rows() > 0).collect()))
}

fn segment_bytes(store: &dyn CheckpointStore, object: &str, segment: &Segment, memory: Vec<u8>) -> Result<Vec<u8>> {
    let end = segment.offset.checked_add(segment.length_bytes).filter(|_| segment.length_bytes <= SEGMENT_BYTES_MAX);
    let Some(end) = end else {
        let what = format!("a segment of {} bytes is too long", segment.length_bytes);
        return Err(damaged_segment(object, segment, what));
    };
    let place = |e: Error| e.context(format_args!("table '{}' of operator '{}'", segment.table, segment.operator));
    let read = store.read_range_into(&object_path(object), segment.offset..end, memory).map_err(place)?;
    read.ok_or_else(|| place(damaged(format!("the object '{object}' is missing"))))
}

/// Whether a tombstone that reaches at least so far takes all rows of a segment.
pub(crate) fn is_gone(header: &SegmentHeader, reach: Reach) -> bool {
    match reach {
        _ if header.rows == 0 => true,
        Reach::All => true,
        Reach::UpTo(_) => header.namespaces.is_some_and(|n| reach.takes(Some(n.last))),
        Reach::Nothing => false,
    }
}

fn surviving(
    stored: StoredRows,
    groups: &KeyGroupSet,
    horizon: &Horizon,
    wrong: &dyn Fn(&str) -> Error,
) -> Result<Run> {
    let rows = stored.rows.num_rows();
    let (mut kept, mut key_groups): (Vec<Range<usize>>, _) = (Vec::new(), Vec::new());
    let mut keep = |stretch: Range<usize>, group| {
        key_groups.extend(repeat_n(group, stretch.len()));
        match kept.last_mut() {
            Some(last) if last.end == stretch.start => last.end = stretch.end,
            _ => kept.push(stretch),
        }
    };
    for (group, stretch) in stored.stretches() {
        match horizon.at(group) {
            Reach::All => {}
            _ if !groups.contains(group) => {}
            Reach::Nothing => keep(stretch, group),
            reach @ Reach::UpTo(_) => {
                let no_namespaces = || wrong("its rows have no namespaces, and tombstones go by them");
                let namespaces = stored.namespaces().ok_or_else(no_namespaces)?;
                let is_kept = |row: &usize| !reach.takes(namespaces.is_valid(*row).then(|| namespaces.value(*row)));
                stretch.filter(is_kept).for_each(|row| keep(row..row + 1, group));
            }
        }
    }
    if stored.groups.is_none() {
        key_groups.clear();
    }
    let rows = match kept.as_slice() {
        // Nothing is copied.
        [] => stored.rows.slice(0, 0),
        [all] => stored.rows.slice(all.start, all.len()),
        _ => {
            let mut bits = BooleanBufferBuilder::new(rows);
            for stretch in &kept {
                bits.append_n(stretch.start - bits.len(), false);
                bits.append_n(stretch.len(), true);
            }
            bits.append_n(rows - bits.len(), false);
            filter_record_batch(&stored.rows, &BooleanArray::new(bits.finish(), None))
                .map_err(|e| wrong(&format!("its rows: {e}")))?
        }
    };
    Ok(Run { key_groups, rows })
}
