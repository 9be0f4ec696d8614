//! Rows on their way into a segment: in the order of their key groups, without memory that they do not use.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt16Array, make_array};
use arrow::compute::{concat_batches, interleave_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use rheos_core::key::KeyGroup;
use rheos_core::state::Run;

use super::Compression;

/// Rows in one batch of a segment, at most.
const BATCH_ROWS_MAX: usize = 1 << 16;
/// The name of the first column of keyed tables.
const GROUP_COLUMN: &str = "key_group";

/// All runs as one, by key group; rows of one group stay in their order. `runs` is not empty and has one schema.
pub(super) fn sorted(runs: &[Run]) -> Result<(Vec<KeyGroup>, RecordBatch), ArrowError> {
    let batches: Vec<&RecordBatch> = runs.iter().map(|r| &r.rows).collect();
    let groups: Vec<KeyGroup> = runs.iter().flat_map(|r| r.key_groups.iter().copied()).collect();
    if groups.is_sorted() || batches[0].num_columns() == 0 {
        return Ok((groups, concatenated(&batches)?));
    }
    let (groups, places) = by_group(runs);
    Ok((groups, interleave_record_batch(&batches, &places)?))
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

fn concatenated(batches: &[&RecordBatch]) -> Result<RecordBatch, ArrowError> {
    match batches {
        [one] => Ok((*one).clone()),
        _ if batches[0].num_columns() == 0 => {
            let rows = batches.iter().map(|b| b.num_rows()).sum();
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            RecordBatch::try_new_with_options(batches[0].schema(), vec![], &options)
        }
        _ => concat_batches(&batches[0].schema(), batches.iter().copied()),
    }
}

/// The rows with their key groups in front, as an Arrow IPC stream behind what `into` holds.
pub(super) fn encode(
    groups: Option<&[KeyGroup]>,
    rows: &RecordBatch,
    compression: Compression,
    into: Vec<u8>,
) -> Result<Vec<u8>, ArrowError> {
    let schema = match groups {
        Some(_) => with_group_column(rows.schema_ref()),
        None => rows.schema(),
    };
    let codec = match compression {
        Compression::None => None,
        Compression::Lz4 => Some(CompressionType::LZ4_FRAME),
        Compression::Zstd => Some(CompressionType::ZSTD),
    };
    let options = IpcWriteOptions::default().try_with_compression(codec)?;
    let mut writer = StreamWriter::try_new_with_options(into, &schema, options)?;
    for start in (0..rows.num_rows()).step_by(BATCH_ROWS_MAX) {
        let length = BATCH_ROWS_MAX.min(rows.num_rows() - start);
        let part = rows.slice(start, length);
        let mut columns = Vec::with_capacity(schema.fields().len());
        if let Some(groups) = groups {
            columns
                .push(Arc::new(groups[start..start + length].iter().map(|g| g.0).collect::<UInt16Array>()) as ArrayRef);
        }
        for column in part.columns() {
            columns.push(without_unused(column)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(length));
        writer.write(&RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?)?;
    }
    writer.into_inner()
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
