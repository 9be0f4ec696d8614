//! Rows on their way into a segment: in the order of their key groups, without memory that they do not use.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt16Array, make_array};
use arrow::compute::{concat_batches, interleave_record_batch, max, min};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use rheos_core::key::KeyGroup;
use rheos_core::state::Run;

use super::segment::namespace_column;
use super::{Compression, Namespaces};

/// Rows in one batch of a segment, at most.
const BATCH_ROWS_MAX: usize = 1 << 16;
/// Bytes of a batch, about: so much memory is had again at once by the next one, and need not be cleared by the system.
const BATCH_BYTES: usize = 1 << 20;
/// One row in so many is looked at, before all are compressed.
const SAMPLED: usize = 16;
/// The name of the first column of keyed tables.
const GROUP_COLUMN: &str = "key_group";

/// The rows of runs, by key group; those of one group stay in their order.
///
/// Nothing is copied before a stretch is asked for: an epoch may change more than a cache or a reused allocation holds.
pub(super) struct Rows<'a> {
    batches: Vec<&'a RecordBatch>,
    /// Of each row, in order; empty for tables that are not keyed.
    pub(super) groups: Vec<KeyGroup>,
    /// Where each row lies: run and row. `None`: as they come.
    places: Option<Vec<(usize, usize)>>,
    pub(super) len: usize,
    /// In memory.
    pub(super) bytes: usize,
}

impl<'a> Rows<'a> {
    /// `runs` is not empty and has one schema.
    pub(super) fn new(runs: &'a [Run]) -> Self {
        let groups: Vec<KeyGroup> = runs.iter().flat_map(|r| r.key_groups.iter().copied()).collect();
        let batches: Vec<&RecordBatch> = runs.iter().map(|r| &r.rows).collect();
        let bytes = batches.iter().map(|batch| batch_bytes(batch)).sum();
        let len = batches.iter().map(|b| b.num_rows()).sum();
        if groups.is_sorted() {
            return Self { batches, groups, places: None, len, bytes };
        }
        let (groups, places) = by_group(runs);
        Self { batches, groups, places: Some(places), len, bytes }
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.batches[0].schema()
    }

    /// Of the rows as they are stored.
    fn stored_schema(&self) -> SchemaRef {
        match self.groups.is_empty() {
            true => self.schema(),
            false => with_group_column(&self.schema()),
        }
    }

    /// These rows as one batch.
    fn part(&self, range: Range<usize>) -> Result<RecordBatch, ArrowError> {
        if self.batches[0].num_columns() == 0 {
            let options = RecordBatchOptions::new().with_row_count(Some(range.len()));
            return RecordBatch::try_new_with_options(self.schema(), vec![], &options);
        }
        if let Some(places) = &self.places {
            return interleave_record_batch(&self.batches, &places[range]);
        }
        let slices: Vec<_> = self.slices(range).map(|(batch, rows)| batch.slice(rows.start, rows.len())).collect();
        match slices.as_slice() {
            [one] => Ok(one.clone()),
            _ => concat_batches(&self.schema(), &slices),
        }
    }

    /// The parts of the batches that hold these rows, where they come as they are.
    fn slices(&self, range: Range<usize>) -> impl Iterator<Item = (&'a RecordBatch, Range<usize>)> {
        let mut begin = 0;
        let batches = self.batches.iter().map(move |batch| {
            let first = begin;
            begin += batch.num_rows();
            let (from, to) = (range.start.clamp(first, begin), range.end.clamp(first, begin));
            (*batch, from - first..to - first)
        });
        batches.filter(|(_, rows)| !rows.is_empty())
    }

    /// The bounds of these rows' namespaces; `None` where a row has none.
    pub(super) fn namespaces(&self, range: Range<usize>) -> Option<Namespaces> {
        let columns = self.batches.iter().map(|b| namespace_column(b)).collect::<Option<Vec<_>>>()?;
        let mut found: Option<Namespaces> = None;
        let mut add = |first: i64, last: i64| {
            let known = found.get_or_insert(Namespaces { first, last });
            (known.first, known.last) = (known.first.min(first), known.last.max(last));
        };
        match &self.places {
            Some(places) => {
                for (run, row) in &places[range] {
                    let column = columns[*run];
                    let value = column.is_valid(*row).then(|| column.value(*row))?;
                    add(value, value);
                }
            }
            None => {
                for (batch, rows) in self.slices(range) {
                    let column = namespace_column(batch)?.slice(rows.start, rows.len());
                    let bounds = (column.null_count() == 0).then(|| Some((min(&column)?, max(&column)?)))??;
                    add(bounds.0, bounds.1);
                }
            }
        }
        found
    }

    /// How many rows make a batch of [`BATCH_BYTES`].
    fn batch_rows(&self) -> usize {
        let row_bytes = (self.bytes / self.len.max(1)).max(1);
        (BATCH_BYTES / row_bytes).clamp(1, BATCH_ROWS_MAX)
    }
}

/// In memory, of the rows that it shows.
pub(crate) fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(slice_bytes).sum()
}

/// Of the rows that an array shows, where that is known.
fn slice_bytes(column: &ArrayRef) -> usize {
    column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
}

/// The key groups in ascending order, and where the row of each lies: run and row. A counting sort: there are few groups.
fn by_group(runs: &[Run]) -> (Vec<KeyGroup>, Vec<(usize, usize)>) {
    let mut counts: Vec<usize> = Vec::new();
    for group in runs.iter().flat_map(|r| &r.key_groups) {
        let group = usize::from(group.0);
        if counts.len() <= group {
            counts.resize(group + 1, 0);
        }
        counts[group] += 1;
    }
    let mut groups: Vec<KeyGroup> = Vec::with_capacity(counts.iter().sum());
    let mut next: Vec<usize> = Vec::with_capacity(counts.len());
    for (group, count) in counts.into_iter().enumerate() {
        next.push(groups.len());
        groups.extend(std::iter::repeat_n(KeyGroup(group as u16), count));
    }
    let mut places = vec![(0, 0); groups.len()];
    for (run, r) in runs.iter().enumerate() {
        for (row, group) in r.key_groups.iter().enumerate() {
            let at = &mut next[usize::from(group.0)];
            places[*at] = (run, row);
            *at += 1;
        }
    }
    (groups, places)
}

/// How rows are compressed; `None`: not at all.
pub(super) type Codec = Option<CompressionType>;

/// What does not shrink costs time here, and again where it is read. Some rows tell of the others, for they come by their hashes; of a
/// small table they would be so few that the schema beside them hides it.
pub(super) fn codec(rows: &Rows<'_>, compression: Compression) -> Result<Codec, ArrowError> {
    let codec = match compression {
        Compression::None => return Ok(None),
        Compression::Lz4 => CompressionType::LZ4_FRAME,
        Compression::Zstd => CompressionType::ZSTD,
    };
    let sample = rows.batch_rows().min(rows.len) / SAMPLED;
    let is_large = sample > 0 && rows.bytes >= BATCH_BYTES / 2;
    let shrinks = !is_large || shrinks(&stored_batch(rows, 0..sample, &rows.stored_schema())?, codec)?;
    Ok(shrinks.then_some(codec))
}

/// These rows, their key groups in front, as an Arrow IPC stream behind what `into` holds.
pub(super) fn encode(rows: &Rows<'_>, range: Range<usize>, codec: Codec, into: Vec<u8>) -> Result<Vec<u8>, ArrowError> {
    let schema = rows.stored_schema();
    let starts = range.clone().step_by(rows.batch_rows());
    let mut batches = starts.map(|start| stored_batch(rows, start..range.end.min(start + rows.batch_rows()), &schema));
    let Some(first) = batches.next().transpose()? else {
        return StreamWriter::try_new(into, &schema)?.into_inner();
    };
    let options = IpcWriteOptions::default().try_with_compression(codec)?;
    let mut writer = StreamWriter::try_new_with_options(into, &schema, options)?;
    writer.write(&first)?;
    batches.try_for_each(|batch| writer.write(&batch?))?;
    writer.into_inner()
}

/// Rows as they are stored.
fn stored_batch(rows: &Rows<'_>, range: Range<usize>, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let part = rows.part(range.clone())?;
    let mut columns = Vec::with_capacity(schema.fields().len());
    if let Some(groups) = rows.groups.get(range.clone()) {
        columns.push(Arc::new(groups.iter().map(|g| g.0).collect::<UInt16Array>()) as ArrayRef);
    }
    for column in part.columns() {
        columns.push(without_unused(column)?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(range.len()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// Whether a codec makes a batch smaller by a tenth at least.
fn shrinks(batch: &RecordBatch, codec: CompressionType) -> Result<bool, ArrowError> {
    let length = |codec| -> Result<usize, ArrowError> {
        let options = IpcWriteOptions::default().try_with_compression(codec)?;
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options)?;
        writer.write(batch)?;
        Ok(writer.into_inner()?.len())
    };
    Ok(length(Some(codec))? < length(None)? / 10 * 9)
}

fn with_group_column(rows: &SchemaRef) -> SchemaRef {
    let mut fields = vec![Arc::new(Field::new(GROUP_COLUMN, DataType::UInt16, false))];
    fields.extend(rows.fields().iter().cloned());
    Arc::new(Schema::new_with_metadata(fields, rows.metadata().clone()))
}

/// The same values. Views into texts would be written with all buffers that they ever pointed into, also those of
/// rows that are not here.
fn without_unused(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::Utf8View => Ok(Arc::new(column.as_string_view().gc())),
        DataType::BinaryView => Ok(Arc::new(column.as_binary_view().gc())),
        kind if !has_views(kind) => Ok(Arc::clone(column)),
        _ => {
            let data = column.to_data();
            let children = data.child_data().iter().map(|c| Ok(without_unused(&make_array(c.clone()))?.to_data()));
            let children = children.collect::<Result<Vec<_>, ArrowError>>()?;
            Ok(make_array(data.into_builder().child_data(children).build()?))
        }
    }
}

fn has_views(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8View | DataType::BinaryView => true,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => has_views(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|f| has_views(f.data_type())),
        _ => false,
    }
}
