//! A table of files for writing: a folder of parts.
//!
//! Invariants: a visible part is complete and never changes; a commit that is repeated does nothing; what a failed job left
//! unfinished is gone when the next one begins, or when it goes on without it. Two jobs must not write to one folder at the
//! same time.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use rheos_core::change::Changes;
use rheos_core::connector::TableDefinition;
use rheos_core::error::Warn;
use rheos_core::sink::{Committable, EpochEnd, Fence, Known, Owner, Refusal, Sink, SinkWriter, Staging, WriterContext};
use rheos_core::time::Watermark;
use rheos_core::{Batch, Epoch, Error, ErrorKind, Result};
use rheos_formats::TextFormat;

use super::commit::Commit;
use super::disk;
use super::folder::Leftovers;
use super::ledger::Ledger;
use super::options::{FileFormat, FileOptions};
use super::part::suffix;
use super::partition::Partitioning;
use super::paths::real_path;
use super::sink_options::{IfExists, PARTITION_COMMIT};
use super::staged::{Attempt, Staged};
use super::success::PartitionCommit;
use super::writer::{Closed, Message, PartWriter, Target};
use crate::io::patience::Patience;
use crate::io::pool::lock;
use crate::io::strand::Strand;

/// See the module.
pub(crate) struct FileSink {
    target: Arc<Target>,
    schema: SchemaRef,
    /// Whether it writes dead letters, for which no job ends.
    letters: bool,
    warn: Mutex<Warn>,
    start: Mutex<Start>,
    /// Partitions of a job without state that are not declared complete, and since when they wait, in ms since 1970.
    waiting: Mutex<BTreeMap<String, i64>>,
    /// The attempt of a job with state that writes.
    attempt: Mutex<Option<Attempt>>,
}

impl fmt::Debug for FileSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileSink({})", self.target.options.path)
    }
}

impl FileSink {
    pub(crate) fn try_new(table: &TableDefinition) -> Result<Self> {
        let options = FileOptions::try_new(table)?;
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
            letters: false,
            warn: Mutex::default(),
            start: Mutex::default(),
            waiting: Mutex::default(),
            attempt: Mutex::default(),
        })
    }

    /// For dead letters that no query reads: it waits for a disk that is full, and passes over what is lost.
    pub(crate) fn letters(table: &TableDefinition) -> Result<Self> {
        Ok(Self { letters: true, ..Self::try_new(table)? })
    }

    /// The target, whose changes are told by a key where one is known.
    fn keyed(&self, key: Option<Vec<usize>>) -> Arc<Target> {
        let mut options = self.target.options.clone();
        match &mut options.format {
            FileFormat::Text(TextFormat::Debezium(changes)) => changes.key = key,
            _ => return Arc::clone(&self.target),
        }
        // Such a table has no partitions.
        let file_schema = Arc::clone(&self.target.file_schema);
        Arc::new(Target { options, file_schema, partitioning: None, commit: None })
    }

    fn patience(&self) -> Patience {
        let warn = lock(&self.warn).clone();
        if self.letters { Patience::endless(warn) } else { Patience::new(warn) }
    }

    fn reset_progress(&self) {
        if let Some(commit) = &self.target.commit {
            commit.reset();
        }
    }

    fn look(&self, folder: &Path) -> Result<Leftovers> {
        let success_file = self.target.commit.as_ref().map(PartitionCommit::success_file);
        Leftovers::find(folder, self.target.partitioning.as_deref(), success_file)
    }

    /// Decides what happens to the folder's files.
    fn check(&self, found: &Leftovers) -> Result<()> {
        let path = &self.target.options.path;
        match (self.target.options.sink.if_exists, &found.visible, &found.foreign) {
            (IfExists::Fail, Some(name), _) => {
                let message = format!("the folder '{path}' has files already, such as '{name}'");
                Err(Error::new(ErrorKind::Conflict, 213, message)
                    .with_hint("remove them, or set 'sink.if-exists' to 'append' or 'replace'"))
            }
            (IfExists::Replace, _, Some(name)) => {
                let message =
                    format!("'sink.if-exists' = 'replace' would mix with '{name}' in '{path}', which no job wrote");
                Err(Error::new(ErrorKind::Conflict, 214, message)
                    .with_hint("move that file away, or write to a folder of its own"))
            }
            _ => Ok(()),
        }
    }

    /// Deletes what a job without state replaces, once: its own rows are complete now.
    fn replace(&self) -> Result<()> {
        let replaced = lock(&self.start).replaced.take();
        replaced.map_or(Ok(()), |found| found.remove_parts(u64::MAX))
    }

    fn create_folder(&self) -> Result<&Path> {
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
        let missing = folder.ancestors().take_while(|f| !f.as_os_str().is_empty() && !f.exists()).count();
        fs::create_dir_all(folder).map_err(|e| Error::output("create the folder", path, &e))?;
        // What a checkpoint lists must be found again, and its folder with it.
        // One that is there may have been made by a job that died since.
        for made_in in folder.ancestors().skip(1).take(missing.max(1)) {
            disk::sync_folder(if made_in.as_os_str().is_empty() { Path::new(".") } else { made_in })?;
        }
        Ok(folder)
    }
}

/// What a job begins with.
#[derive(Debug, Default)]
struct Start {
    /// The number of its first part.
    first_part: u64,
    /// Its number in the folder.
    run: u64,
    /// What the first commit replaces: a job that fails before it leaves all as it was.
    replaced: Option<Leftovers>,
}

impl Start {
    fn new(found: &Leftovers, ledger: &Ledger) -> Self {
        let first_part = found.next_part.max(ledger.next_part);
        Self { first_part, run: found.runs.max(ledger.runs) + 1, replaced: None }
    }
}

impl Sink for FileSink {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn accepts(&self) -> Changes {
        match self.target.options.format {
            FileFormat::Text(TextFormat::Debezium(_)) => Changes::Retract,
            _ => Changes::Append,
        }
    }

    fn set_warn(&self, warn: &Warn) {
        *lock(&self.warn) = warn.clone();
    }

    fn begin(&self) -> Result<()> {
        let folder = self.create_folder()?;
        let found = self.look(folder)?;
        self.check(&found)?;
        found.remove_unfinished(|_| false)?;
        let mut ledger = Ledger::read(folder)?;
        let mut start = Start::new(&found, &ledger);
        if !ledger.is_empty() {
            ledger.reset();
            ledger.write(folder)?;
        }
        if self.target.options.sink.if_exists == IfExists::Replace {
            start.replaced = Some(found);
        }
        *lock(&self.start) = start;
        lock(&self.waiting).clear();
        self.reset_progress();
        Ok(())
    }

    fn take_over(&self, owner: &Owner, known: &Known) -> Result<()> {
        let folder = self.create_folder()?;
        let _alone = disk::lock_folder(folder)?;
        let mut ledger = Ledger::read(folder)?;
        let path = &self.target.options.path;
        ledger.take_over(owner, known).map_err(|refusal| match refusal {
            Refusal::Replaced => Error::new(
                ErrorKind::Conflict,
                683,
                format!("a newer run of the job writes to '{path}'"),
            )
            .with_hint(
                "let that run go on; give a copy of a job a folder of its own. If the state was put back from a backup, give \
                 '--accept-duplicates', and rows of since then show twice",
            ),
            Refusal::Unknown => Error::new(
                ErrorKind::Conflict,
                688,
                format!("'{path}' has output of a run that the state does not know: the state is older than the output"),
            )
            .with_hint(
                "use the newest state, not a backup or an old copy of it; or give '--accept-duplicates', and rows of since then \
                 show twice",
            ),
        })?;
        ledger.write(folder)
    }

    fn resume(&self, keep: &[Committable]) -> Result<()> {
        let folder = self.create_folder()?;
        let _alone = disk::lock_folder(folder)?;
        let (found, ledger) = (self.look(folder)?, Ledger::read(folder)?);
        let kept = Commit::parse(keep)?;
        let mut start = Start::new(&found, &ledger);
        let mut names = HashSet::new();
        for staged in &kept {
            start.run = start.run.max(staged.attempt.map_or(0, |a| a.run + 1));
            for part in &staged.parts {
                start.first_part = start.first_part.max(part.n + 1);
                if !ledger.has(staged) {
                    names.insert(staged.hidden_name(part));
                }
            }
        }
        found.remove_unfinished(|name| names.contains(name))?;
        *lock(&self.start) = start;
        self.reset_progress();
        Ok(())
    }

    fn is_transactional(&self) -> bool {
        true
    }

    fn commit_interval(&self) -> Duration {
        // Parts that an age closes become visible at that age.
        let sink = &self.target.options.sink;
        sink.commit_interval.min(sink.rolling.rollover).min(sink.rolling.inactivity)
    }

    fn open(&self, ctx: WriterContext) -> Result<Box<dyn SinkWriter>> {
        let closed = Closed::default();
        let (attempt, first_part, replaces_below) = {
            let mut start = lock(&self.start);
            match ctx.staging {
                Staging::EveryEpoch => {
                    let attempt = Attempt { run: start.run, generation: ctx.generation.0 };
                    // What is replaced travels with the first output of one writer; the commit finds it by its numbers.
                    let replaces = ctx.worker == 0 && start.replaced.take().is_some();
                    (Some(attempt), start.first_part, replaces.then_some(start.first_part))
                }
                Staging::WhenComplete if start.replaced.is_some() => (None, 0, None),
                Staging::WhenComplete => (None, start.first_part, None),
            }
        };
        *lock(&self.attempt) = attempt;
        let (target, patience) = (self.keyed(ctx.key), self.patience());
        let writer = PartWriter::new(target, attempt, ctx.worker, first_part, Arc::clone(&closed), patience.clone());
        let now = Instant::now();
        Ok(Box::new(FileWriter {
            strand: if self.letters { Strand::alone(writer, ctx.wake) } else { Strand::new(writer, ctx.wake) },
            patience,
            closed,
            target: Arc::clone(&self.target),
            attempt,
            worker: ctx.worker,
            workers: ctx.workers,
            replaces_below,
            written: false,
            last_close: now,
            last_check: now,
            watermark: Watermark::MIN,
            told: Watermark::MIN,
            staged_watermark: None,
            staging: false,
        }))
    }

    fn commit(&self, fence: Option<&Fence>, committables: &[Committable]) -> Result<()> {
        let staged = Commit::parse(committables)?;
        let (released, closed): (Vec<_>, Vec<_>) = staged.into_iter().partition(|s| s.attempt.is_some());
        let mut commit = Commit::new(&self.target).of(*lock(&self.attempt));
        if !closed.is_empty() {
            if closed.iter().any(|s| !s.parts.is_empty()) {
                self.replace()?;
            }
            // Nobody asks once more in a job without state.
            Patience::new(lock(&self.warn).clone()).again(|| commit.closed(&closed, &mut lock(&self.waiting)))?;
        }
        if released.is_empty() {
            return Ok(());
        }
        if self.letters {
            self.create_folder()?;
            commit = commit.passing_over_lost_parts(lock(&self.warn).clone());
        }
        commit.released(fence, &released)
    }

    fn finish(&self) -> Result<()> {
        // A job without rows replaces by nothing.
        let folder = Path::new(&self.target.options.path);
        let mut ledger = Ledger::read(folder)?;
        if ledger.replaces_below.is_some() {
            Commit::new(&self.target).replace(&mut ledger)?;
            ledger.write(folder)?;
        }
        self.replace()
    }

    fn replaces(&self) -> Option<PathBuf> {
        let options = &self.target.options;
        (options.sink.if_exists == IfExists::Replace).then(|| PathBuf::from(&options.path))
    }

    fn folder(&self) -> Option<PathBuf> {
        Some(real_path(Path::new(&self.target.options.path)))
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
    patience: Patience,
    closed: Closed,
    target: Arc<Target>,
    /// Absent in a job without state.
    attempt: Option<Attempt>,
    worker: usize,
    workers: usize,
    /// To be told with the next output.
    replaces_below: Option<u64>,
    /// Rows have come since parts were closed for good.
    written: bool,
    last_close: Instant,
    last_check: Instant,
    watermark: Watermark,
    /// The watermark through which parts have been closed.
    told: Watermark,
    /// The last one that was staged.
    staged_watermark: Option<Watermark>,
    /// A stage waits for the I/O thread.
    staging: bool,
}

impl FileWriter {
    /// What has to be closed before the epoch is staged.
    fn closing(&mut self, end: EpochEnd) -> Option<Message> {
        if self.attempt.is_some() {
            self.told = self.watermark;
            return std::mem::take(&mut self.written).then_some(Message::CloseForGood);
        }
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

    /// What there is to tell behind the closing; nothing where nothing has happened.
    fn staged(&mut self, epoch: Epoch) -> Option<Staged> {
        let parts = std::mem::take(&mut *lock(&self.closed));
        let moved = self.staged_watermark != Some(self.told);
        // A commit looks at the clock, so where that decides there must be commits.
        let tells = self.target.commit.as_ref().is_some_and(|c| moved || !c.follows_watermark() && self.worker == 0);
        if parts.is_empty() && !tells && self.replaces_below.is_none() {
            return None;
        }
        if tells {
            self.staged_watermark = Some(self.told);
        }
        Some(Staged {
            attempt: self.attempt,
            epoch: epoch.0,
            worker: self.worker,
            workers: self.workers,
            suffix: suffix(&self.target.options).to_string(),
            parts,
            watermark_ms: tells.then(|| self.told.ms()),
            replaces_below: self.replaces_below.take(),
        })
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        self.patience.end();
    }
}

impl SinkWriter for FileWriter {
    fn ready(&mut self) -> Result<bool> {
        self.strand.ready()
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        self.written = true;
        self.strand.send(Message::Write(batch))
    }

    fn on_watermark(&mut self, watermark: Watermark) {
        self.watermark = watermark;
    }

    fn stage(&mut self, epoch: Epoch, end: EpochEnd) -> Result<Option<Vec<Committable>>> {
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
        Ok(Some(self.staged(epoch).map(|staged| staged.to_committable()).into_iter().collect()))
    }
}
