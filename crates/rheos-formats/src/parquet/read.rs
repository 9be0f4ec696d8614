//! Reads row groups of a Parquet file: only the wanted columns, cast to the declared types.
//!
//! ```text
//!   decode() ──► NeedsData(byte ranges) ──► push(bytes) ──► decode() ──► Batch, Batch, ... ──► End
//! ```
//!
//! The decoder asks for bytes and is given them, so it runs where no I/O may happen.

use std::cell::Cell;
use std::ops::Range;
use std::sync::{Arc, Once};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use parquet::DecodeResult;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};
use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;
use parquet::file::statistics::Statistics;
use rheos_core::letters::DeadLetter;
use rheos_core::time::micros_to_ms;
use rheos_core::{Error, ErrorKind, Result};

use super::cast::{cast_lossless, check_cast};
use super::nested::{count_leaves, reader_field, wanted_leaves};
use crate::bad::{BadRecord, BadRows, DecodeError, FirstSkipped, OnError};
use crate::good_rows::{Place, good_rows, mark_nulls};
use crate::infer::TEXT;
use crate::json::write::write_rows;
use crate::names::{find_column, missing_column};

/// The footer of a file: schema, row groups, statistics.
#[derive(Debug, Clone)]
pub struct ParquetFooter {
    metadata: ArrowReaderMetadata,
}

/// An error of the Parquet library, for users.
pub(crate) fn broken(error: &ParquetError) -> Error {
    if let ParquetError::External(cause) = error
        && let Some(io) = cause.downcast_ref::<std::io::Error>().filter(|io| io.raw_os_error().is_some())
    {
        return Error::new(ErrorKind::External, 203, format!("it cannot be read: {io}"));
    }
    Error::new(ErrorKind::User, 310, format!("it is not a readable Parquet file: {error}"))
        .with_hint("check the 'format' option, and whether the file was written to its end")
}

/// The error for a file that ends before the data that its footer tells of.
pub fn truncated() -> Error {
    broken(&ParquetError::EOF("its footer tells of data behind its end".into()))
}

impl ParquetFooter {
    /// Reads the footer. Errors: `User` for what is no Parquet file.
    pub fn read(input: &impl ChunkReader) -> Result<Self> {
        let metadata =
            guarded(|| ArrowReaderMetadata::load(input, ArrowReaderOptions::new())).map_err(|e| broken(&e))?;
        Ok(Self { metadata })
    }

    /// Number of row groups.
    pub fn row_groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// Compressed size of a row group in the file.
    pub fn row_group_bytes(&self, group: usize) -> u64 {
        let columns = self.metadata.metadata().row_group(group).columns();
        columns.iter().map(|c| u64::try_from(c.compressed_size()).unwrap_or(0)).sum()
    }

    /// Rows of a row group.
    pub fn row_group_rows(&self, group: usize) -> u64 {
        u64::try_from(self.metadata.metadata().row_group(group).num_rows()).unwrap_or(0)
    }

    /// Rows before a row group.
    pub fn rows_before(&self, group: usize) -> u64 {
        let groups = &self.metadata.metadata().row_groups()[..group];
        groups.iter().map(|g| u64::try_from(g.num_rows()).unwrap_or(0)).sum()
    }

    fn names(&self) -> Vec<String> {
        self.metadata.schema().fields().iter().map(|f| f.name().clone()).collect()
    }

    /// The columns of the file in the engine's types.
    pub fn schema(&self) -> SchemaRef {
        let fields = self.metadata.schema().fields().iter();
        Arc::new(Schema::new(
            fields.map(|f| Field::new(f.name(), engine_type(f.data_type()), true)).collect::<Vec<_>>(),
        ))
    }

    /// Smallest value of a timestamp column in a row group, in ms (floored), if the file tells.
    pub fn min_time_ms(&self, group: usize, column: &str) -> Option<i64> {
        let root = find_column(column, &self.names())?;
        let DataType::Timestamp(unit, _) = self.metadata.schema().field(root).data_type() else { return None };
        let descriptor = self.metadata.parquet_schema();
        let leaf = (0..descriptor.num_columns()).find(|leaf| descriptor.get_column_root_idx(*leaf) == root)?;
        let metadata = self.metadata.metadata().row_group(group);
        let Statistics::Int64(statistics) = metadata.column(leaf).statistics()? else { return None };
        let min = *statistics.min_opt()?;
        match unit {
            TimeUnit::Second => min.checked_mul(1000),
            TimeUnit::Millisecond => Some(min),
            TimeUnit::Microsecond => Some(micros_to_ms(min)),
            TimeUnit::Nanosecond => Some(min.div_euclid(1_000_000)),
        }
    }
}

/// The type in which the engine holds columns of a file's type.
fn engine_type(data_type: &DataType) -> DataType {
    use DataType::*;
    match data_type {
        UInt8 => Int16,
        UInt16 => Int32,
        UInt32 => Int64,
        UInt64 => Decimal128(20, 0),
        // All values are NULL, and nobody has said of what.
        Null => TEXT,
        Float16 => Float32,
        Utf8 | LargeUtf8 | Utf8View => TEXT,
        LargeBinary | BinaryView | FixedSizeBinary(_) => Binary,
        Date64 => Date32,
        Time32(_) | Time64(_) => Time64(TimeUnit::Microsecond),
        Timestamp(_, None) => Timestamp(TimeUnit::Microsecond, None),
        Timestamp(_, Some(_)) => Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Decimal32(p, s) | Decimal64(p, s) => Decimal128(*p, *s),
        Dictionary(_, value) => engine_type(value),
        List(f) | LargeList(f) | FixedSizeList(f, _) | ListView(f) | LargeListView(f) => List(engine_field(f)),
        Struct(fields) => Struct(fields.iter().map(|f| engine_field(f)).collect()),
        other => other.clone(),
    }
}

fn engine_field(field: &Field) -> Arc<Field> {
    Arc::new(field.clone().with_data_type(engine_type(field.data_type())))
}

/// For each column of `schema` its place in the file.
///
/// Errors: `Invalid` for a column that the file does not have, or of a type that cannot be cast.
pub fn check_columns(footer: &ParquetFooter, schema: &SchemaRef) -> Result<Vec<usize>> {
    let names = footer.names();
    let mut roots = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let Some(root) = find_column(field.name(), &names) else {
            return Err(Error::invalid(204, format!("the file has no column '{}'", field.name()))
                .with_hint(missing_column(field.name(), &names, "the file has")));
        };
        check_cast(field.name(), footer.metadata.schema().field(root).data_type(), field.data_type())?;
        roots.push(root);
    }
    Ok(roots)
}

/// One step of a decoder.
#[derive(Debug)]
pub enum ParquetStep {
    /// These bytes of the file are needed; give them to `push` in this order.
    NeedsData(Vec<Range<u64>>),
    /// Rows; none where all of them were bad and became letters.
    Batch(RecordBatch),
    /// The row group is at its end.
    End,
}

/// Reads one row group.
#[derive(Debug)]
pub struct ParquetDecoder {
    decoder: ParquetPushDecoder,
    schema: SchemaRef,
    /// For each column of `schema` its place among the columns that are decoded.
    order: Vec<usize>,
    on_error: OnError,
    /// Rows of the file before the next batch.
    row: u64,
    rows_done: u64,
    skipped: u64,
    first_skipped: FirstSkipped,
    letters: Vec<DeadLetter>,
    failed: bool,
}

impl ParquetDecoder {
    /// A decoder of one row group, for `schema`: the wanted columns in their declared types. The first `skip_rows` rows
    /// have been read before.
    ///
    /// Errors: `Invalid` for a column that the file does not have, or of a type that cannot be cast.
    pub fn try_new(
        footer: &ParquetFooter,
        group: usize,
        schema: &SchemaRef,
        skip_rows: u64,
        batch_rows: usize,
        on_error: OnError,
    ) -> Result<Self> {
        let roots = check_columns(footer, schema)?;
        let mut fields: Vec<Arc<Field>> = footer.metadata.schema().fields().iter().cloned().collect();
        for (field, root) in schema.fields().iter().zip(&roots) {
            // Text as it is wanted needs no copy, but the reader makes it only where it is told to.
            fields[*root] = reader_field(&fields[*root], field);
        }
        let wanted = Arc::new(Schema::new_with_metadata(fields, footer.metadata.schema().metadata().clone()));
        let options = ArrowReaderOptions::new().with_schema(wanted);
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(footer.metadata.metadata()), options)
            .unwrap_or_else(|_| footer.metadata.clone());
        let mut sorted = roots.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let order = roots.iter().map(|r| sorted.iter().position(|s| s == r).expect("made from it")).collect();
        let mask = projection(footer, schema, &roots);
        let decoder = guarded(|| {
            ParquetPushDecoderBuilder::new_with_metadata(metadata)
                .with_batch_size(batch_rows)
                .with_row_groups(vec![group])
                .with_projection(mask)
                .with_offset(usize::try_from(skip_rows).unwrap_or(usize::MAX))
                .build()
        })
        .map_err(|e| broken(&e))?;
        Ok(Self {
            decoder,
            schema: Arc::clone(schema),
            order,
            on_error,
            row: footer.rows_before(group) + skip_rows,
            rows_done: skip_rows,
            skipped: 0,
            first_skipped: FirstSkipped::default(),
            letters: Vec::new(),
            failed: false,
        })
    }

    /// Gives the bytes that were asked for.
    pub fn push(&mut self, ranges: Vec<Range<u64>>, bytes: Vec<Bytes>) -> Result<()> {
        guarded(|| self.decoder.push_ranges(ranges, bytes)).map_err(|e| broken(&e))
    }

    /// Rows of the row group that have been decoded, bad ones among them.
    pub fn rows_done(&self) -> u64 {
        self.rows_done
    }

    /// Bad rows under [`OnError::DeadLetter`] since the last call: their numbers in the file, from 0, and what was read of
    /// them as JSON.
    pub fn take_letters(&mut self) -> Vec<DeadLetter> {
        std::mem::take(&mut self.letters)
    }

    /// Bad rows that were left out since the last call.
    pub fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }

    /// The first bad row that was left out, once.
    pub fn take_first_skipped(&mut self) -> Option<Box<BadRecord>> {
        self.first_skipped.take()
    }

    /// The next step.
    ///
    /// Errors: a bad row under [`OnError::Fail`]; a damaged file.
    pub fn decode(&mut self) -> Result<ParquetStep, DecodeError> {
        loop {
            if self.failed {
                return Ok(ParquetStep::End);
            }
            let result = guarded(|| self.decoder.try_decode());
            match result {
                Ok(DecodeResult::NeedsData(ranges)) => return Ok(ParquetStep::NeedsData(ranges)),
                Ok(DecodeResult::Finished) => return Ok(ParquetStep::End),
                Ok(DecodeResult::Data(batch)) => {
                    if let Some(batch) = self.cast(&batch)? {
                        return Ok(ParquetStep::Batch(batch));
                    }
                    if !self.letters.is_empty() {
                        // They must not become more.
                        return Ok(ParquetStep::Batch(RecordBatch::new_empty(Arc::clone(&self.schema))));
                    }
                }
                Err(error) => {
                    self.failed = true;
                    return Err(DecodeError::Other(broken(&error)));
                }
            }
        }
    }

    fn cast(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>, DecodeError> {
        let rows = batch.num_rows();
        let first_row = self.row;
        self.row += rows as u64;
        self.rows_done += rows as u64;
        let mut bad = BadRows::new(self.on_error);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.order.len());
        for (n, place) in self.order.iter().enumerate() {
            bad.set_column(n);
            let field = self.schema.field(n);
            let column = cast_lossless(batch.column(*place), field.data_type(), &mut bad)?;
            mark_nulls(field, &column, &mut bad);
            columns.push(column);
        }
        for (row, (column, fault)) in bad.take_all() {
            let mut raw = Vec::new();
            write_rows(&batch.slice(row, 1), &mut raw)?;
            raw.pop();
            let reason = format!("column '{}': {fault}", self.schema.field(column).name());
            self.letters.push(DeadLetter { position: Some(first_row + row as u64), reason, raw });
        }
        let place = |row: usize| Place { line: first_row + row as u64 + 1, unit: "row" };
        let good = good_rows(&self.schema, columns, rows, bad, self.on_error, place)?;
        if self.on_error == OnError::Skip {
            self.skipped += good.skipped;
        }
        if let Some(record) = good.first_skipped {
            self.first_skipped.note(|| record);
        }
        Ok(good.batch)
    }
}

/// The parts of the file that are read for the columns of `schema`, which stand at `roots`.
fn projection(footer: &ParquetFooter, schema: &SchemaRef, roots: &[usize]) -> ProjectionMask {
    let descriptor = footer.metadata.parquet_schema();
    let mut leaves = vec![];
    let mut next = 0;
    for (root, file) in footer.metadata.schema().fields().iter().enumerate() {
        if next < descriptor.num_columns() && descriptor.get_column_root_idx(next) != root {
            // The file's schemas differ in a way that is not known here.
            return ProjectionMask::roots(descriptor, roots.iter().copied());
        }
        let first = next;
        next += count_leaves(file.data_type());
        for (field, _) in schema.fields().iter().zip(roots).filter(|(_, r)| **r == root) {
            wanted_leaves(file.data_type(), field.data_type(), &mut first.clone(), &mut leaves);
        }
    }
    if next != descriptor.num_columns() {
        return ProjectionMask::roots(descriptor, roots.iter().copied());
    }
    ProjectionMask::leaves(descriptor, leaves)
}

/// Runs a call into the Parquet library. Damaged files make some of its decoders panic; that is an error of the file,
/// and what panicked is not used again.
pub(super) fn guarded<T>(call: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    let _silence = Silence::begin();
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(ParquetError::General("its data is damaged".into())))
}

thread_local! {
    /// Whether a panic on this thread is caught and told as an error.
    static SILENT: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, panics of this thread are not reported on stderr; those of all others are, as before.
struct Silence {
    before: bool,
}

impl Silence {
    fn begin() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let report = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                if !SILENT.try_with(Cell::get).unwrap_or(false) {
                    report(panic);
                }
            }));
        });
        Self { before: SILENT.replace(true) }
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        SILENT.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_library_is_an_error_and_silent_on_its_thread_alone() {
        let result = guarded(|| -> Result<(), ParquetError> {
            assert!(SILENT.get());
            assert!(!std::thread::spawn(|| SILENT.get()).join().unwrap());
            panic!("the decoder found nonsense")
        });
        assert!(result.unwrap_err().to_string().contains("damaged"));
        assert!(!SILENT.get(), "what panics now is reported");
    }
}
