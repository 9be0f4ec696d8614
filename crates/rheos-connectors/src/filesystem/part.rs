//! One part of a table: rows are encoded into a hidden file, which is closed once and then made visible by renaming it.
//!
//! ```text
//!   batch ──► encoder ──► compression ──► .part-<worker>-<n>.inprogress ──close──► fsync ──► ClosedPart
//! ```

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use flate2::write::GzEncoder;
use rheos_core::{Error, Result};
use rheos_formats::parquet::write::ParquetWriter;
use rheos_formats::{TextFormat, csv, json};
use serde::{Deserialize, Serialize};

use super::options::{Compression, FileFormat, FileOptions};
use super::paths::shown;

/// The suffix of unfinished parts.
pub(crate) const IN_PROGRESS: &str = ".inprogress";

/// A part that is written and becomes visible by renaming it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClosedPart {
    /// Its name while it is hidden, in the table's folder: the folder of a partition begins with its first visible part.
    pub(crate) from: String,
    /// Its name for everybody, behind the folder of its partition.
    pub(crate) to: String,
}

impl ClosedPart {
    /// The folder of its partition, relative to the table's; empty without partitions.
    pub(crate) fn folder(&self) -> &str {
        self.to.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// The number in `part-<worker>-<n>.<suffix>`, the name of a visible part of any format.
pub(crate) fn part_number(name: &str) -> Option<u64> {
    let (stem, suffix) = name.strip_prefix("part-")?.split_once('.')?;
    let (worker, n) = stem.split_once('-')?;
    let known = ["csv", "json", "parquet", "csv.gz", "json.gz", "csv.zst", "json.zst"];
    (known.contains(&suffix) && worker.parse::<u64>().is_ok()).then(|| n.parse().ok()).flatten()
}

/// Whether `name` is that of an unfinished part.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.starts_with(".part-") && name.ends_with(IN_PROGRESS)
}

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
    name: ClosedPart,
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

/// A file that counts what is written to it.
struct Output(BufWriter<File>, Arc<AtomicU64>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.0.write(bytes)?;
        self.1.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Packer {
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
    /// Begins part `n` of a worker, for the partition of `folder`.
    pub(crate) fn create(
        options: &FileOptions,
        schema: &SchemaRef,
        folder: &str,
        worker: usize,
        n: u64,
        buffer_bytes: usize,
    ) -> Result<Self> {
        let stem = format!("part-{worker}-{n}");
        let separator = if folder.is_empty() { "" } else { "/" };
        let to = format!("{folder}{separator}{stem}.{}", suffix(options));
        let name = ClosedPart { from: format!(".{stem}{IN_PROGRESS}"), to };
        let path = Path::new(&options.path).join(&name.from);
        let failed = |e: io::Error| write_failed(&path, &e);
        let file = File::options().write(true).create_new(true).open(&path).map_err(failed)?;
        let written = Arc::<AtomicU64>::default();
        let out = Output(BufWriter::with_capacity(buffer_bytes, file), Arc::clone(&written));
        let encoder = match &options.format {
            FileFormat::Parquet => {
                Encoder::Parquet(ParquetWriter::try_new(out, schema, options.sink.parquet_compression)?)
            }
            FileFormat::Text(format) => {
                let mut packer = match options.compression {
                    Compression::Gzip => Packer::Gzip(GzEncoder::new(out, flate2::Compression::default())),
                    Compression::Zstd => Packer::Zstd(zstd::stream::write::Encoder::new(out, 3).map_err(failed)?),
                    Compression::None | Compression::Auto => Packer::Plain(out),
                };
                if let TextFormat::Csv(csv) = format {
                    let mut header = Vec::new();
                    csv::write::write_header(schema, csv, &mut header);
                    packer.write_all(&header).map_err(failed)?;
                }
                Encoder::Text(format.clone(), packer)
            }
        };
        Ok(Self { name, path, encoder, written })
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
    pub(crate) fn close(self) -> Result<ClosedPart> {
        let failed = |e: io::Error| write_failed(&self.path, &e);
        let output = match self.encoder {
            Encoder::Parquet(writer) => writer.finish()?,
            Encoder::Text(_, packer) => packer.finish().map_err(failed)?,
        };
        let file = output.0.into_inner().map_err(|e| write_failed(&self.path, e.error()))?;
        file.sync_all().map_err(failed)?;
        Ok(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_parts() {
        assert_eq!(part_number("part-0-12.csv"), Some(12));
        assert_eq!(part_number("part-3-0.json.gz"), Some(0));
        for foreign in ["part-0.csv", "part-a-1.csv", "part-0-1.txt", "part-0-1", "data.csv", "part-0-1.csv.bak"] {
            assert_eq!(part_number(foreign), None, "{foreign}");
        }
        assert!(is_unfinished(".part-0-1.inprogress") && !is_unfinished(".other"));
    }
}
