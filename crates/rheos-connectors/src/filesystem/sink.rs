//! A table of files for writing: a folder of parts.
//!
//! Invariants: a visible part is complete and never changes; a commit that is repeated does nothing; what a failed job left
//! unfinished is gone when the next one begins. Two jobs must not write to one folder at the same time.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use rheos_core::connector::TableDefinition;
use rheos_core::sink::{Committable, EpochEnd, Sink, SinkWriter, WriterContext};
use rheos_core::time::Watermark;
use rheos_core::{Batch, Epoch, Error, ErrorKind, Result};

use super::commit::{PartitionCommit, Staged, sync_folder};
use super::folder::Leftovers;
use super::options::{FileFormat, FileOptions};
use super::part::{ClosedPart, suffix};
use super::partition::Partitioning;
use super::paths::shown;
use super::sink_options::{IfExists, PARTITION_COMMIT};
use super::writer::{Closed, Message, PartWriter, Target};
use crate::io::pool::lock;
use crate::io::strand::Strand;

/// See the module.
pub(crate) struct FileSink {
    target: Arc<Target>,
    schema: SchemaRef,
    /// The first number of this job's parts.
    first_part: AtomicU64,
    /// What the first commit replaces: a job that fails before it leaves all as it was.
    replaced: Mutex<Option<Leftovers>>,
}

impl fmt::Debug for FileSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileSink({})", self.target.options.path)
    }
}

impl FileSink {
    pub(crate) fn try_new(table: &TableDefinition) -> Result<Self> {
        let options = FileOptions::try_new(&table.name, &table.options)?;
        let partitioning = Partitioning::try_new(table, &options.partition_default_name)?.map(Arc::new);
        let commit = match (&partitioning, &options.sink.partition_commit) {
            (_, None) => None,
            (Some(partitioning), Some(commit)) => Some(PartitionCommit::try_new(partitioning, commit)?),
            (None, Some(_)) => {
                let given = PARTITION_COMMIT.iter().find(|d| table.options.contains_key(d.name));
                let name = given.map_or("sink.partition-commit.policy.kind", |d| d.name);
                let what = format!("table '{}' has no partitions, so option '{name}' does nothing", table.name);
                return Err(Error::invalid(217, what).with_hint("add PARTITIONED BY (...), or take the option away"));
            }
        };
        let file_schema = Arc::clone(partitioning.as_ref().map_or(&table.schema, |p| p.file_schema()));
        if options.format == FileFormat::Parquet {
            // Types that Parquet does not have are refused here, not when the first row comes.
            rheos_formats::parquet::write::ParquetWriter::try_new(
                Vec::new(),
                &file_schema,
                options.sink.parquet_compression,
            )?;
        }
        let target = Arc::new(Target { options, file_schema, partitioning, commit });
        Ok(Self {
            target,
            schema: Arc::clone(&table.schema),
            first_part: AtomicU64::new(0),
            replaced: Mutex::default(),
        })
    }

    /// Decides what happens to the folder's files. Gives the number of the next part.
    fn clear(&self, folder: &Path) -> Result<u64> {
        let path = &self.target.options.path;
        let success_file = self.target.commit.as_ref().map(PartitionCommit::success_file);
        let found = Leftovers::find(folder, self.target.partitioning.as_deref(), success_file)?;
        match self.target.options.sink.if_exists {
            IfExists::Append => {}
            IfExists::Fail => {
                if let Some(name) = &found.visible {
                    let message = format!("the folder '{path}' has files already, such as '{name}'");
                    return Err(Error::new(ErrorKind::Conflict, 213, message)
                        .with_hint("remove them, or set 'sink.if-exists' to 'append' or 'replace'"));
                }
            }
            IfExists::Replace => {
                if let Some(name) = &found.foreign {
                    let message =
                        format!("'sink.if-exists' = 'replace' would mix with '{name}' in '{path}', which no job wrote");
                    return Err(Error::new(ErrorKind::Conflict, 214, message)
                        .with_hint("move that file away, or write to a folder of its own"));
                }
                found.remove_unfinished()?;
                *lock(&self.replaced) = Some(found);
                return Ok(0);
            }
        }
        found.remove_unfinished()?;
        Ok(found.next_part)
    }

    /// Deletes what this job replaces, once: its own rows are complete now.
    fn replace(&self) -> Result<()> {
        let replaced = lock(&self.replaced).take();
        replaced.map_or(Ok(()), |found| found.remove_parts())
    }

    /// Makes a part visible; gives nothing to do where an earlier call has done it.
    fn publish(&self, table: &Path, part: &ClosedPart) -> Result<()> {
        let (from, to) = (table.join(&part.from), table.join(&part.to));
        let folder = table.join(part.folder());
        fs::create_dir_all(&folder).map_err(|e| Error::output("create the folder", &shown(&folder), &e))?;
        match fs::rename(&from, &to) {
            Ok(()) => Ok(()),
            // Done by an earlier call.
            Err(e) if e.kind() == io::ErrorKind::NotFound && to.exists() => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let message = format!("the finished part '{}' has disappeared before it was committed", shown(&from));
                Err(Error::new(ErrorKind::Corrupt, 215, message).with_hint("let one job at a time write to the folder"))
            }
            Err(e) => Err(Error::output("write", &shown(&to), &e)),
        }
    }
}

impl Sink for FileSink {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn begin(&self) -> Result<()> {
        let path = &self.target.options.path;
        let folder = Path::new(path);
        if fs::metadata(folder).is_ok_and(|m| !m.is_dir()) {
            return Err(Error::new(
                ErrorKind::Conflict,
                212,
                format!("'{path}' is a file, but rows are written to a folder"),
            )
            .with_hint("name a folder; it will hold one part or more"));
        }
        fs::create_dir_all(folder).map_err(|e| Error::output("create the folder", path, &e))?;
        let next = self.clear(folder)?;
        self.first_part.store(next, Ordering::SeqCst);
        if let Some(commit) = &self.target.commit {
            commit.reset();
        }
        Ok(())
    }

    fn open(&self, ctx: WriterContext) -> Result<Box<dyn SinkWriter>> {
        let closed = Closed::default();
        let first = self.first_part.load(Ordering::SeqCst);
        let writer = PartWriter::new(Arc::clone(&self.target), ctx.worker, first, Arc::clone(&closed));
        if let Some(commit) = &self.target.commit {
            commit.add_writer();
        }
        let now = Instant::now();
        Ok(Box::new(FileWriter {
            strand: Strand::new(writer, ctx.wake),
            closed,
            target: Arc::clone(&self.target),
            worker: ctx.worker,
            last_close: now,
            last_check: now,
            watermark: Watermark::MIN,
            told: Watermark::MIN,
            staging: false,
        }))
    }

    fn commit(&self, committables: &[Committable]) -> Result<()> {
        let table = Path::new(&self.target.options.path);
        let staged = committables.iter().map(Staged::parse).collect::<Result<Vec<_>>>()?;
        if staged.iter().any(|staged| matches!(staged, Staged::Part(_))) {
            self.replace()?;
        }
        let mut folders = BTreeSet::new();
        for staged in &staged {
            if let Staged::Part(part) = staged {
                self.publish(table, part)?;
                // A new folder is on the disk only when the one that it lies in is.
                folders.extend(Path::new(part.folder()).ancestors());
            }
        }
        for folder in folders {
            sync_folder(&table.join(folder)).map_err(|e| Error::output("write", &shown(&table.join(folder)), &e))?;
        }
        match &self.target.commit {
            Some(commit) => commit.commit(table, &staged),
            None => Ok(()),
        }
    }

    fn finish(&self) -> Result<()> {
        // A job without rows replaces by nothing.
        self.replace()
    }

    fn replaces(&self) -> Option<PathBuf> {
        let options = &self.target.options;
        (options.sink.if_exists == IfExists::Replace).then(|| PathBuf::from(&options.path))
    }

    fn describe(&self) -> Vec<(String, String)> {
        let options = &self.target.options;
        let mut facts = vec![
            ("connector".into(), "filesystem".into()),
            ("path".into(), options.path.clone()),
            ("format".into(), suffix(options).into()),
        ];
        if let Some(partitioning) = &self.target.partitioning {
            facts.push(("partitioned by".into(), partitioning.names().collect::<Vec<_>>().join(", ")));
        }
        facts
    }
}

/// The parts of one worker.
struct FileWriter {
    strand: Strand<PartWriter>,
    closed: Closed,
    target: Arc<Target>,
    worker: usize,
    last_close: Instant,
    last_check: Instant,
    watermark: Watermark,
    /// The watermark through which parts have been closed.
    told: Watermark,
    /// A stage waits for the I/O thread.
    staging: bool,
}

impl FileWriter {
    /// What has to be closed before the epoch is staged.
    fn closing(&mut self, end: EpochEnd) -> Option<Message> {
        let sink = &self.target.options.sink;
        let passed = |since: Instant, interval: Duration| since.elapsed() >= interval;
        if end == EpochEnd::Last || passed(self.last_close, sink.commit_interval) {
            (self.last_close, self.last_check) = (Instant::now(), Instant::now());
            self.told = self.watermark;
            return Some(Message::Close);
        }
        let moved = self.told != self.watermark && self.target.commit.as_ref().is_some_and(|c| c.follows_watermark());
        if !moved && !passed(self.last_check, sink.rolling.check) {
            return None;
        }
        self.last_check = Instant::now();
        self.told = self.watermark;
        Some(Message::Roll(self.watermark.ms()))
    }
}

impl SinkWriter for FileWriter {
    fn ready(&mut self) -> Result<bool> {
        self.strand.ready()
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        self.strand.send(Message::Write(batch))
    }

    fn on_watermark(&mut self, watermark: Watermark) {
        self.watermark = watermark;
    }

    fn stage(&mut self, _epoch: Epoch, end: EpochEnd) -> Result<Option<Vec<Committable>>> {
        if !self.staging
            && let Some(message) = self.closing(end)
        {
            self.strand.send(message)?;
            self.staging = true;
        }
        if self.staging {
            if !self.strand.idle()? {
                return Ok(None);
            }
            self.staging = false;
        }
        let closed = std::mem::take(&mut *lock(&self.closed));
        let parts = closed.into_iter().map(Staged::Part);
        let progress = Staged::Progress { worker: self.worker, watermark_ms: self.told.ms() };
        let progress = self.target.commit.is_some().then_some(progress);
        Ok(Some(parts.chain(progress).map(|staged| staged.to_committable()).collect()))
    }
}
