//! Puts Parquet files of the same columns together.
//!
//! ```text
//!   row groups of 1 MiB and more ── their bytes as they are ──────────────► row groups
//!   smaller ones ── decoded ──► rows of several ── 12 MiB, or a large one comes ──► row groups
//! ```
//!
//! Rows keep their order. Large groups cost no more than a copy; small ones, which readers would pay for ever after, are
//! worth being written once more.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::writer::SerializedFileWriter;
use rheos_core::{Error, Result};

use super::read::{broken, guarded};
use super::write::{ParquetCompression, ROW_GROUP_BYTES, arrow_writer, failed};

/// A row group of fewer compressed bytes is written anew with others.
const SMALL_GROUP_BYTES: i64 = 1 << 20;

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 8192;

/// Writes one file from others.
pub struct ParquetMerger<W: Write + Send> {
    state: State<W>,
    compression: ParquetCompression,
}

enum State<W: Write + Send> {
    /// No file has come that tells the columns.
    New(W),
    Open(Box<Open<W>>),
    /// An error has ended it.
    Failed,
}

struct Open<W: Write + Send> {
    file: SerializedFileWriter<W>,
    schema: SchemaRef,
    factory: ArrowRowGroupWriterFactory,
    /// The row group that takes the rows of small ones.
    group: Option<Vec<ArrowColumnWriter>>,
}

impl<W: Write + Send> fmt::Debug for ParquetMerger<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ParquetMerger")
    }
}

impl<W: Write + Send> ParquetMerger<W> {
    /// A file with nothing in it. `compression`: of what is written anew.
    pub fn new(out: W, compression: ParquetCompression) -> Self {
        Self { state: State::New(out), compression }
    }

    /// Adds the rows of a file. The first one decides the columns.
    ///
    /// Errors: `User` for a file that cannot be read or has other columns, `External` where the output cannot be written.
    pub fn append(&mut self, input: impl ChunkReader + 'static) -> Result<()> {
        let input = Shared(Arc::new(input));
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let footer = guarded(|| ArrowReaderMetadata::load(&input, options)).map_err(|e| broken(&e))?;
        let mut open = match std::mem::replace(&mut self.state, State::Failed) {
            State::New(out) => Box::new(Open::try_new(out, footer.schema(), self.compression)?),
            State::Open(open) => open,
            State::Failed => return Err(Error::internal("files are put together behind an error")),
        };
        for group in 0..footer.metadata().num_row_groups() {
            if footer.metadata().row_group(group).compressed_size() < SMALL_GROUP_BYTES {
                open.rewrite(&input, &footer, group)?;
            } else {
                open.copy(&input, footer.metadata(), group)?;
            }
        }
        self.state = State::Open(open);
        Ok(())
    }

    /// Writes the footer and gives the output back.
    ///
    /// Errors: `Internal` where no file was added.
    pub fn finish(self) -> Result<W> {
        let State::Open(mut open) = self.state else { return Err(Error::internal("no files to put together")) };
        open.close_group()?;
        open.file.into_inner().map_err(failed)
    }
}

impl<W: Write + Send> Open<W> {
    fn try_new(out: W, schema: &SchemaRef, compression: ParquetCompression) -> Result<Self> {
        let (file, factory) = arrow_writer(out, schema, compression)?.into_serialized_writer().map_err(failed)?;
        Ok(Self { file, schema: Arc::clone(schema), factory, group: None })
    }

    fn copy(&mut self, input: &impl ChunkReader, metadata: &ParquetMetaData, group: usize) -> Result<()> {
        self.close_group()?;
        let from = metadata.row_group(group);
        let column_indexes = metadata.column_index().and_then(|indexes| indexes.get(group));
        let offset_indexes = metadata.offset_index().and_then(|indexes| indexes.get(group));
        let mut to = self.file.next_row_group().map_err(failed)?;
        for (n, column) in from.columns().iter().enumerate() {
            let close = ColumnCloseResult {
                bytes_written: u64::try_from(column.compressed_size()).unwrap_or(0),
                rows_written: u64::try_from(from.num_rows()).unwrap_or(0),
                metadata: column.clone(),
                bloom_filter: None,
                column_index: column_indexes.and_then(|indexes| indexes.get(n)).cloned(),
                offset_index: offset_indexes.and_then(|indexes| indexes.get(n)).cloned(),
            };
            to.append_column(input, close).map_err(failed)?;
        }
        to.close().map(drop).map_err(failed)
    }

    fn rewrite(
        &mut self,
        input: &Shared<impl ChunkReader + 'static>,
        footer: &ArrowReaderMetadata,
        group: usize,
    ) -> Result<()> {
        let reader = guarded(|| {
            ParquetRecordBatchReaderBuilder::new_with_metadata(input.clone(), footer.clone())
                .with_row_groups(vec![group])
                .with_batch_size(BATCH_ROWS)
                .build()
        });
        let mut reader = reader.map_err(|e| broken(&e))?;
        while let Some(batch) = guarded(|| Ok(reader.next().transpose()?)).map_err(|e| broken(&e))? {
            self.write(&batch)?;
        }
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.schema().fields().len() != self.schema.fields().len() {
            return Err(broken(&ParquetError::General("it has other columns than the file before it".into())));
        }
        let columns = match &mut self.group {
            Some(columns) => columns,
            none => {
                let next = self.file.flushed_row_groups().len();
                none.insert(self.factory.create_column_writers(next).map_err(failed)?)
            }
        };
        let mut writers = columns.iter_mut();
        for (field, values) in self.schema.fields().iter().zip(batch.columns()) {
            for leaf in compute_leaves(field, values).map_err(failed)? {
                let Some(writer) = writers.next() else { return Err(Error::internal("a column without a writer")) };
                writer.write(&leaf).map_err(failed)?;
            }
        }
        if columns.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum::<usize>() >= ROW_GROUP_BYTES {
            self.close_group()?;
        }
        Ok(())
    }

    fn close_group(&mut self) -> Result<()> {
        let Some(columns) = self.group.take() else { return Ok(()) };
        let mut to = self.file.next_row_group().map_err(failed)?;
        for column in columns {
            column.close().and_then(|chunk| chunk.append_to_row_group(&mut to)).map_err(failed)?;
        }
        to.close().map(drop).map_err(failed)
    }
}

/// An input that several readers have.
struct Shared<R>(Arc<R>);

impl<R> Clone for Shared<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Length> Length for Shared<R> {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl<R: ChunkReader> ChunkReader for Shared<R> {
    type T = R::T;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        self.0.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.0.get_bytes(start, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, ListArray, StringViewArray, StructArray};
    use arrow::datatypes::{DataType, Field, Int64Type};
    use proptest::prelude::*;

    use crate::parquet::write::ParquetWriter;

    /// Rows with nested columns; texts that do not compress.
    fn rows(first: i64, n: usize) -> RecordBatch {
        let ints = || Int64Array::from_iter((first..first + n as i64).map(|n| (n % 7 != 3).then_some(n)));
        let hash = |n: i64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64);
        let text = StringViewArray::from_iter_values(
            (first..first + n as i64)
                .map(|n| (0..8).map(|k| format!("{:016x}", hash(n * 8 + k) as u64)).collect::<String>()),
        );
        let lists = (first..first + n as i64).map(|n| (n % 5 != 0).then(|| (0..n % 3).map(Some).collect::<Vec<_>>()));
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
        let fields = vec![Arc::new(Field::new("x", DataType::Int64, true))];
        let structs = StructArray::new(fields.into(), vec![Arc::new(ints())], None);
        let columns: [(&str, ArrayRef, bool); 4] = [
            ("a", Arc::new(ints()), true),
            ("t", Arc::new(text), true),
            ("l", Arc::new(lists), true),
            ("s", Arc::new(structs), true),
        ];
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }

    fn file(batches: &[RecordBatch]) -> Bytes {
        let mut writer = ParquetWriter::try_new(vec![], &rows(0, 0).schema(), ParquetCompression::Snappy).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.finish().unwrap().into()
    }

    fn read(file: Vec<u8>) -> (Vec<RecordBatch>, usize) {
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap();
        let groups = reader.metadata().num_row_groups();
        (reader.build().unwrap().map(Result::unwrap).collect(), groups)
    }

    fn merged(files: &[Bytes]) -> Vec<u8> {
        let mut merger = ParquetMerger::new(vec![], ParquetCompression::Zstd);
        files.iter().for_each(|file| merger.append(file.clone()).unwrap());
        merger.finish().unwrap()
    }

    proptest! {
        #![proptest_config(rheos_testkit::cases(20))]

        #[test]
        fn rows_and_their_order_stay(sizes in prop::collection::vec(prop_oneof![4 => 0..300_usize, 1 => 9_000..12_000_usize], 1..8)) {
            let mut first = 0;
            let batches: Vec<_> = sizes.iter().map(|n| { first += *n as i64; rows(first - *n as i64, *n) }).collect();
            let files: Vec<_> = batches.iter().map(|batch| file(std::slice::from_ref(batch))).collect();
            let (got, groups) = read(merged(&files));
            let schema = rows(0, 0).schema();
            let strip = |batch: &RecordBatch| RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec()).unwrap();
            let got: Vec<_> = got.iter().map(strip).collect();
            prop_assert_eq!(
                arrow::compute::concat_batches(&schema, &got).unwrap(),
                arrow::compute::concat_batches(&schema, &batches).unwrap()
            );
            // Large ones stay as they are; the small ones between two of them become one.
            let large = |n: &usize| *n >= 9_000;
            let runs = sizes.split(large).filter(|small| small.iter().any(|n| *n > 0)).count();
            prop_assert_eq!(groups, sizes.iter().filter(|n| large(n)).count() + runs);
        }
    }

    #[test]
    fn large_row_groups_are_copied_with_their_compression_and_statistics() {
        let large = file(&[rows(0, 12_000)]);
        let bytes = merged(&[file(&[rows(0, 10)]), large]);
        let footer = ArrowReaderMetadata::load(&Bytes::from(bytes), ArrowReaderOptions::new()).unwrap();
        let codec = |group: usize| format!("{:?}", footer.metadata().row_group(group).column(0).compression());
        assert!(codec(0).starts_with("ZSTD") && codec(1).starts_with("SNAPPY"), "{} {}", codec(0), codec(1));
        assert!(
            footer.metadata().row_group(1).column(0).statistics().is_some_and(|s| s.null_count_opt() == Some(1714))
        );
    }

    #[test]
    fn files_with_other_columns_or_none_at_all_are_refused() {
        let other = RecordBatch::try_from_iter([("b", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
        let mut writer = ParquetWriter::try_new(vec![], &other.schema(), ParquetCompression::Zstd).unwrap();
        writer.write(&other).unwrap();
        let mut merger = ParquetMerger::new(vec![], ParquetCompression::Zstd);
        merger.append(file(&[rows(0, 1)])).unwrap();
        assert!(merger.append(Bytes::from(writer.finish().unwrap())).is_err());
        assert!(merger.append(file(&[rows(0, 1)])).is_err(), "what is half written is not gone on with");
        assert!(ParquetMerger::new(vec![], ParquetCompression::Zstd).append(Bytes::from("no file")).is_err());
    }
}
