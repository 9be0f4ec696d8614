//! Writes the parts of one worker, on an I/O thread.
//!
//! ```text
//!   batch ──► encoder ──► compression ──► .part-<worker>-<n>.inprogress ──full, or told──► fsync ──► closed
//! ```

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arrow::datatypes::SchemaRef;
use flate2::write::GzEncoder;
use rheos_core::{Batch, Error, Result};
use rheos_formats::parquet::write::ParquetWriter;
use rheos_formats::{TextFormat, csv, json};
use serde::{Deserialize, Serialize};

use super::options::{Compression, FileFormat, FileOptions};
use super::paths::shown;
use crate::io::pool::lock;
use crate::io::strand::Handler;

/// The suffix of unfinished parts.
pub(crate) const IN_PROGRESS: &str = ".inprogress";

/// A part that is written and becomes visible by renaming it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClosedPart {
    /// Its name while it is hidden.
    pub(crate) from: String,
    /// Its name for everybody.
    pub(crate) to: String,
}

/// Whether `name` is that of a visible part of any format.
pub(crate) fn is_part(name: &str) -> bool {
    part_number(name).is_some()
}

/// The number in `part-<worker>-<n>.<suffix>`.
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

/// What the writer of parts is told.
pub(crate) enum Message {
    Write(Batch),
    Close,
}

/// Closed parts on their way from the I/O thread to the worker.
pub(crate) type Closed = Arc<Mutex<Vec<ClosedPart>>>;

/// See the module.
pub(crate) struct PartWriter {
    pub(crate) options: Arc<FileOptions>,
    pub(crate) schema: SchemaRef,
    pub(crate) worker: usize,
    /// Number of the next part.
    pub(crate) next: u64,
    pub(crate) open: Option<OpenPart>,
    pub(crate) closed: Closed,
}

/// The part that is being written.
pub(crate) struct OpenPart {
    name: ClosedPart,
    path: PathBuf,
    encoder: Encoder,
    text: Vec<u8>,
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
    Error::io("write", &shown(path), error)
}

impl OpenPart {
    fn create(options: &FileOptions, schema: &SchemaRef, worker: usize, n: u64) -> Result<Self> {
        let stem = format!("part-{worker}-{n}");
        let name = ClosedPart { from: format!(".{stem}{IN_PROGRESS}"), to: format!("{stem}.{}", suffix(options)) };
        let path = Path::new(&options.path).join(&name.from);
        let failed = |e: io::Error| write_failed(&path, &e);
        let file = File::options().write(true).create_new(true).open(&path).map_err(failed)?;
        let written = Arc::<AtomicU64>::default();
        let out = Output(BufWriter::with_capacity(256 << 10, file), Arc::clone(&written));
        let mut text = Vec::new();
        let encoder = match &options.format {
            FileFormat::Parquet => Encoder::Parquet(ParquetWriter::try_new(out, schema)?),
            FileFormat::Text(format) => {
                if let TextFormat::Csv(csv) = format {
                    csv::write::write_header(schema, csv, &mut text);
                }
                let packer = match options.compression {
                    Compression::Gzip => Packer::Gzip(GzEncoder::new(out, flate2::Compression::default())),
                    Compression::Zstd => Packer::Zstd(zstd::stream::write::Encoder::new(out, 3).map_err(failed)?),
                    Compression::None | Compression::Auto => Packer::Plain(out),
                };
                Encoder::Text(format.clone(), packer)
            }
        };
        Ok(Self { name, path, encoder, text, written })
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        match &mut self.encoder {
            Encoder::Parquet(writer) => writer.write(&batch.records),
            Encoder::Text(format, packer) => {
                match format {
                    TextFormat::Csv(options) => csv::write::write_rows(&batch.records, options, &mut self.text)?,
                    TextFormat::Json => json::write::write_rows(&batch.records, &mut self.text)?,
                }
                packer.write_all(&self.text).map_err(|e| write_failed(&self.path, &e))?;
                self.text.clear();
                Ok(())
            }
        }
    }

    fn bytes(&self) -> u64 {
        match &self.encoder {
            Encoder::Parquet(writer) => writer.bytes(),
            Encoder::Text(..) => self.written.load(Ordering::Relaxed),
        }
    }

    /// Everything to the disk, so that a commit is a rename.
    fn close(self) -> Result<ClosedPart> {
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

impl PartWriter {
    fn close(&mut self) -> Result<()> {
        if let Some(part) = self.open.take() {
            let part = part.close()?;
            lock(&self.closed).push(part);
        }
        Ok(())
    }
}

impl Handler for PartWriter {
    type Message = Message;

    fn handle(&mut self, message: Message) -> Result<()> {
        let batch = match message {
            Message::Close => return self.close(),
            Message::Write(batch) => batch,
        };
        if self.open.is_none() {
            self.open = Some(OpenPart::create(&self.options, &self.schema, self.worker, self.next)?);
            self.next += 1;
        }
        if let Some(part) = &mut self.open {
            part.write(&batch)?;
            if part.bytes() >= self.options.part_bytes_max {
                return self.close();
            }
        }
        Ok(())
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
