//! One part of a table: rows are encoded into a hidden file, which is closed once and then made visible by the commit.
//!
//! ```text
//!   batch ──► encoder ──► compression ──► .part-<worker>-<n>.inprogress ──close──► fsync ──► StagedPart
//! ```
//!
//! Parts of text can be put together byte by byte: the header of a csv is a compressed member of its own, whose length is
//! known, so the rest of the file can follow another.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use flate2::write::GzEncoder;
use rheos_core::{Error, Result};
use rheos_formats::parquet::write::ParquetWriter;
use rheos_formats::{TextFormat, csv, debezium, json};
use xxhash_rust::xxh3::Xxh3Default;

use super::options::{Compression, FileFormat, FileOptions};
use super::paths::shown;
use super::staged::{Checksum, StagedPart};
use crate::io::patience::Patience;
use crate::io::steady::SteadyWriter;

/// The suffix of the parts of a table.
pub(crate) fn suffix(options: &FileOptions) -> &'static str {
    let csv = matches!(options.format, FileFormat::Text(TextFormat::Csv(_)));
    match (&options.format, options.compression) {
        (FileFormat::Parquet, _) => "parquet",
        (_, Compression::Gzip) if csv => "csv.gz",
        (_, Compression::Gzip) => "json.gz",
        (_, Compression::Zstd) if csv => "csv.zst",
        (_, Compression::Zstd) => "json.zst",
        _ if csv => "csv",
        _ => "json",
    }
}

/// A part that is being written.
pub(crate) struct OpenPart {
    staged: StagedPart,
    path: PathBuf,
    encoder: Encoder,
    /// Bytes that have reached the file.
    written: Arc<AtomicU64>,
}

enum Encoder {
    Text(TextFormat, Packer),
    Parquet(ParquetWriter<Output>),
}

enum Packer {
    Plain(Output),
    Gzip(GzEncoder<Output>),
    Zstd(zstd::stream::write::Encoder<'static, Output>),
}

/// A file that counts what is written to it, and takes its checksum.
struct Output(BufWriter<SteadyWriter>, Arc<AtomicU64>, Box<Xxh3Default>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.0.write(bytes)?;
        self.1.fetch_add(n as u64, Ordering::Relaxed);
        self.2.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Packer {
    fn new(compression: Compression, out: Output) -> io::Result<Self> {
        Ok(match compression {
            Compression::Gzip => Packer::Gzip(GzEncoder::new(out, flate2::Compression::default())),
            Compression::Zstd => Packer::Zstd(zstd::stream::write::Encoder::new(out, 3)?),
            Compression::None | Compression::Auto => Packer::Plain(out),
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Packer::Plain(out) => out.write_all(bytes),
            Packer::Gzip(out) => out.write_all(bytes),
            Packer::Zstd(out) => out.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<Output> {
        match self {
            Packer::Plain(out) => Ok(out),
            Packer::Gzip(out) => out.finish(),
            Packer::Zstd(out) => out.finish(),
        }
    }
}

fn write_failed(path: &Path, error: &io::Error) -> Error {
    Error::output("write", &shown(path), error)
}

impl OpenPart {
    /// Begins part `n` in the hidden file `name` of the table's folder, for the partition of `folder`.
    pub(crate) fn create(
        options: &FileOptions,
        schema: &SchemaRef,
        name: &str,
        (n, folder): (u64, &str),
        buffer_bytes: usize,
        patience: &Patience,
    ) -> Result<Self> {
        let path = Path::new(&options.path).join(name);
        let failed = |e: io::Error| write_failed(&path, &e);
        let file = SteadyWriter::create(&path, patience.clone()).map_err(failed)?;
        let written = Arc::<AtomicU64>::default();
        let mut out = Output(BufWriter::with_capacity(buffer_bytes, file), Arc::clone(&written), Box::default());
        let mut staged = StagedPart { n, folder: folder.to_string(), bytes: 0, header_bytes: 0, checksum: None };
        let encoder = match &options.format {
            FileFormat::Parquet => {
                Encoder::Parquet(ParquetWriter::try_new(out, schema, options.sink.parquet_compression)?)
            }
            FileFormat::Text(format) => {
                if let TextFormat::Csv(csv) = format {
                    let mut header = Vec::new();
                    csv::write::write_header(schema, csv, &mut header);
                    if !header.is_empty() {
                        let mut packer = Packer::new(options.compression, out).map_err(failed)?;
                        out = packer.write_all(&header).and_then(|()| packer.finish()).map_err(failed)?;
                        staged.header_bytes = written.load(Ordering::Relaxed);
                    }
                }
                Encoder::Text(format.clone(), Packer::new(options.compression, out).map_err(failed)?)
            }
        };
        Ok(Self { staged, path, encoder, written })
    }

    /// Adds rows. `scratch` holds their text for a moment.
    pub(crate) fn write(&mut self, rows: &RecordBatch, scratch: &mut Vec<u8>) -> Result<()> {
        match &mut self.encoder {
            Encoder::Parquet(writer) => writer.write(rows),
            Encoder::Text(format, packer) => {
                scratch.clear();
                match format {
                    TextFormat::Csv(options) => csv::write::write_rows(rows, options, scratch)?,
                    TextFormat::Json => json::write::write_rows(rows, scratch)?,
                    TextFormat::Debezium(options) => {
                        debezium::write::write_rows(rows, options.key.as_deref(), scratch)?
                    }
                }
                packer.write_all(scratch).map_err(|e| write_failed(&self.path, &e))
            }
        }
    }

    /// About how many bytes of it wait in memory: the row group of a Parquet file.
    pub(crate) fn buffered_bytes(&self) -> u64 {
        match &self.encoder {
            Encoder::Parquet(writer) => writer.bytes().saturating_sub(self.written.load(Ordering::Relaxed)),
            Encoder::Text(..) => 0,
        }
    }

    /// About how many bytes it has.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.encoder {
            Encoder::Parquet(writer) => writer.bytes(),
            Encoder::Text(..) => self.written.load(Ordering::Relaxed),
        }
    }

    /// Everything to the disk, so that a commit is a rename.
    pub(crate) fn close(mut self) -> Result<StagedPart> {
        let failed = |e: io::Error| write_failed(&self.path, &e);
        let output = match self.encoder {
            Encoder::Parquet(writer) => writer.finish()?,
            Encoder::Text(_, packer) => packer.finish().map_err(failed)?,
        };
        let checksum = Checksum(output.2.digest());
        let file = output.0.into_inner().map_err(|e| write_failed(&self.path, e.error()))?;
        file.sync().map_err(failed)?;
        self.staged.bytes = self.written.load(Ordering::Relaxed);
        self.staged.checksum = Some(checksum);
        Ok(self.staged)
    }
}
