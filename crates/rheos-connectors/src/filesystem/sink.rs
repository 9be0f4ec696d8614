//! A table of files for writing: a folder of parts.
//!
//! Invariants: a visible part is complete and never changes; a commit that is repeated does nothing; what a failed job left
//! unfinished is gone when the next one begins. Two jobs must not write to one folder at the same time.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use rheos_core::connector::TableDefinition;
use rheos_core::sink::{Committable, EpochEnd, Sink, SinkWriter, WriterContext};
use rheos_core::{Batch, Epoch, Error, ErrorKind, Result};

use super::options::{FileFormat, FileOptions, IfExists};
use super::part::{Closed, ClosedPart, Message, PartWriter, is_part, is_unfinished, part_number, suffix};
use super::paths::{is_hidden, shown};
use crate::io::pool::lock;
use crate::io::strand::Strand;

/// See the module.
pub(crate) struct FileSink {
    options: Arc<FileOptions>,
    schema: SchemaRef,
    /// The first number of this job's parts.
    first_part: AtomicU64,
}

impl fmt::Debug for FileSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileSink({})", self.options.path)
    }
}

impl FileSink {
    pub(crate) fn try_new(table: &TableDefinition) -> Result<Self> {
        let options = FileOptions::try_new(&table.name, &table.options)?;
        if options.format == FileFormat::Parquet {
            // Types that Parquet does not have are refused here, not when the first row comes.
            rheos_formats::parquet::write::ParquetWriter::try_new(Vec::new(), &table.schema)?;
        }
        Ok(Self { options: Arc::new(options), schema: Arc::clone(&table.schema), first_part: AtomicU64::new(0) })
    }

    /// Decides what happens to the folder's files. Gives the names of visible ones that stay.
    fn clear(&self, folder: &Path) -> Result<Vec<String>> {
        let path = &self.options.path;
        let listed = || -> io::Result<Vec<String>> {
            fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        };
        let names = listed().map_err(|e| Error::io("list the folder", path, &e))?;
        let visible = || names.iter().filter(|n| !is_hidden(Path::new(n)));
        match self.options.if_exists {
            IfExists::Append => {}
            IfExists::Fail => {
                if let Some(name) = visible().next() {
                    let message = format!("the folder '{path}' has files already, such as '{name}'");
                    return Err(Error::new(ErrorKind::Conflict, 213, message)
                        .with_hint("remove them, or set 'sink.if-exists' to 'append' or 'replace'"));
                }
            }
            IfExists::Replace => {
                if let Some(name) = visible().find(|n| !is_part(n)) {
                    let message =
                        format!("'sink.if-exists' = 'replace' would mix with '{name}' in '{path}', which no job wrote");
                    return Err(Error::new(ErrorKind::Conflict, 214, message)
                        .with_hint("move that file away, or write to a folder of its own"));
                }
            }
        }
        let replaced = |n: &str| self.options.if_exists == IfExists::Replace && is_part(n);
        for name in names.iter().filter(|n| is_unfinished(n) || replaced(n)) {
            let file = folder.join(name);
            fs::remove_file(&file).map_err(|e| Error::io("remove", &shown(&file), &e))?;
        }
        Ok(names.into_iter().filter(|n| !replaced(n)).collect())
    }
}

impl Sink for FileSink {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn begin(&self) -> Result<()> {
        let path = &self.options.path;
        let folder = Path::new(path);
        if fs::metadata(folder).is_ok_and(|m| !m.is_dir()) {
            return Err(Error::new(
                ErrorKind::Conflict,
                212,
                format!("'{path}' is a file, but rows are written to a folder"),
            )
            .with_hint("name a folder; it will hold one part or more"));
        }
        fs::create_dir_all(folder).map_err(|e| Error::io("create the folder", path, &e))?;
        let left = self.clear(folder)?;
        let next = left.iter().filter_map(|n| part_number(n)).max().map_or(0, |n| n + 1);
        self.first_part.store(next, Ordering::SeqCst);
        Ok(())
    }

    fn open(&self, ctx: WriterContext) -> Result<Box<dyn SinkWriter>> {
        let closed = Closed::default();
        let writer = PartWriter {
            options: Arc::clone(&self.options),
            schema: Arc::clone(&self.schema),
            worker: ctx.worker,
            next: self.first_part.load(Ordering::SeqCst),
            open: None,
            closed: Arc::clone(&closed),
        };
        let interval = u64::try_from(self.options.commit_interval_ms).unwrap_or(0);
        Ok(Box::new(FileWriter {
            strand: Strand::new(writer, ctx.wake),
            closed,
            interval: Duration::from_millis(interval),
            last_close: Instant::now(),
            staging: false,
        }))
    }

    fn commit(&self, committables: &[Committable]) -> Result<()> {
        let folder = Path::new(&self.options.path);
        for Committable(text) in committables {
            let part: ClosedPart = serde_json::from_str(text)
                .map_err(|e| Error::internal(format!("a committable cannot be read: {e}")))?;
            let (from, to) = (folder.join(&part.from), folder.join(&part.to));
            match fs::rename(&from, &to) {
                Ok(()) => {}
                // Done by an earlier call.
                Err(e) if e.kind() == io::ErrorKind::NotFound && to.exists() => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    let message =
                        format!("the finished part '{}' has disappeared before it was committed", shown(&from));
                    return Err(Error::new(ErrorKind::Corrupt, 215, message)
                        .with_hint("let one job at a time write to the folder"));
                }
                Err(e) => return Err(Error::io("write", &shown(&to), &e)),
            }
        }
        if committables.is_empty() {
            return Ok(());
        }
        // The names are on the disk only when the folder is.
        let synced = fs::File::open(folder).and_then(|f| f.sync_all());
        synced.map_err(|e| Error::io("write", &self.options.path, &e))
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![
            ("connector".into(), "filesystem".into()),
            ("path".into(), self.options.path.clone()),
            ("format".into(), suffix(&self.options).into()),
        ]
    }
}

/// The parts of one worker.
struct FileWriter {
    strand: Strand<PartWriter>,
    closed: Closed,
    interval: Duration,
    last_close: Instant,
    /// A stage waits for the I/O thread.
    staging: bool,
}

impl SinkWriter for FileWriter {
    fn ready(&mut self) -> Result<bool> {
        self.strand.ready()
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        self.strand.send(Message::Write(batch))
    }

    fn stage(&mut self, _epoch: Epoch, end: EpochEnd) -> Result<Option<Vec<Committable>>> {
        let due = end == EpochEnd::Last || self.last_close.elapsed() >= self.interval;
        if due && !self.staging {
            self.strand.send(Message::Close)?;
            self.staging = true;
        }
        if self.staging {
            if !self.strand.idle()? {
                return Ok(None);
            }
            self.staging = false;
            self.last_close = Instant::now();
        }
        let closed = std::mem::take(&mut *lock(&self.closed));
        let text = |part: &ClosedPart| serde_json::to_string(part).expect("two names are always JSON");
        Ok(Some(closed.iter().map(|part| Committable(text(part))).collect()))
    }
}
