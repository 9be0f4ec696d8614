//! Writes Parquet.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use rheos_core::{Error, ErrorKind, Result};

use crate::names::unique_names;

/// A row group is closed when it takes this much memory: a writer holds one for each partition, a reader one a worker.
/// With groups of 32 MiB files of Nexmark bids are 2 % smaller, and two workers need 90 MiB more to read them.
pub(super) const ROW_GROUP_BYTES: usize = 12 << 20;

/// How the pages of a file are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ParquetCompression {
    /// Small files, read at a moderate speed.
    #[default]
    Zstd,
    /// Larger files, read fast, by every reader.
    Snappy,
    /// As snappy; the framing is `LZ4_RAW`, which readers from before 2021 do not know.
    Lz4,
    /// Small files, read slowly, by every reader.
    Gzip,
    /// As they are.
    Uncompressed,
}

impl ParquetCompression {
    fn codec(self) -> Compression {
        match self {
            Self::Zstd => Compression::ZSTD(ZstdLevel::default()),
            Self::Snappy => Compression::SNAPPY,
            Self::Lz4 => Compression::LZ4_RAW,
            Self::Gzip => Compression::GZIP(GzipLevel::default()),
            Self::Uncompressed => Compression::UNCOMPRESSED,
        }
    }
}

/// Writes one file.
pub struct ParquetWriter<W: Write + Send> {
    writer: ArrowWriter<W>,
    schema: SchemaRef,
}

impl<W: Write + Send> fmt::Debug for ParquetWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParquetWriter({} bytes)", self.bytes())
    }
}

pub(super) fn failed(error: ParquetError) -> Error {
    match error {
        ParquetError::NYI(what) => Error::invalid(309, format!("Parquet cannot hold a column: {what}"))
            .with_hint("cast the column to a type that Parquet has, such as VARCHAR"),
        other => Error::new(ErrorKind::External, 208, format!("cannot write Parquet: {other}"))
            .with_hint("check the free space of the disk"),
    }
}

pub(super) fn arrow_writer<W: Write + Send>(
    out: W,
    schema: &SchemaRef,
    compression: ParquetCompression,
) -> Result<ArrowWriter<W>> {
    let properties = WriterProperties::builder().set_compression(compression.codec()).build();
    ArrowWriter::try_new(out, Arc::clone(schema), Some(properties)).map_err(failed)
}

impl<W: Write + Send> ParquetWriter<W> {
    /// A file with the columns of `schema`; a second column of a name gets `_1`.
    ///
    /// Errors: `Invalid` for a type that Parquet does not have.
    pub fn try_new(out: W, schema: &SchemaRef, compression: ParquetCompression) -> Result<Self> {
        let names = unique_names(schema.fields().iter().map(|f| f.name().as_str()));
        let fields = schema.fields().iter().zip(names).map(|(f, name)| f.as_ref().clone().with_name(name));
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<Field>>()));
        let writer = arrow_writer(out, &schema, compression)?;
        Ok(Self { writer, schema })
    }

    /// Adds rows.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = batch.clone().with_schema(Arc::clone(&self.schema)).or_else(|_| {
            // Only names may differ; `with_schema` refuses other names, so the batch is made anew.
            RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec())
        })?;
        self.writer.write(&batch).map_err(failed)?;
        if self.writer.in_progress_size() >= ROW_GROUP_BYTES {
            self.writer.flush().map_err(failed)?;
        }
        Ok(())
    }

    /// About how many bytes the file would have now.
    pub fn bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    /// Writes the footer and gives the output back.
    pub fn finish(self) -> Result<W> {
        self.writer.into_inner().map_err(failed)
    }
}
