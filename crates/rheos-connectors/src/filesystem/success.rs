//! Declares partitions complete: an empty `_SUCCESS` beside their files, for whoever waits for the whole of an hour.
//!
//! ```text
//!   writers ──stage──► parts, and how far each worker's watermark is ──commit──► rename parts, then write _SUCCESS
//! ```
//!
//! Which partitions wait is kept by the commit: in memory, or in the folder's ledger where the job keeps state.
//!
//! Invariant: `_SUCCESS` is written behind all parts whose rows came before the watermark that made the partition
//! complete, since a writer closes those before it tells that watermark. A part that comes later makes the partition wait
//! once more: it is added, and `_SUCCESS` written anew. At the end of the input every partition is complete; at a stop
//! only those whose time has come.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use rheos_core::Result;

use super::disk;
use super::partition::Partitioning;
use super::partition_time::PartitionTime;
use super::sink_options::{PartitionCommitOptions, Trigger};
use super::staged::{Attempt, Staged};
use crate::io::pool::lock;

/// See the module.
#[derive(Debug)]
pub(crate) struct PartitionCommit {
    options: PartitionCommitOptions,
    /// `None`: the clock decides.
    time: Option<PartitionTime>,
    progress: Mutex<Progress>,
}

/// How far the writers of the newest attempt are.
#[derive(Debug, Default)]
struct Progress {
    attempt: Option<Attempt>,
    /// Writers; none of them may be missing when the lowest watermark is taken.
    workers: usize,
    /// By worker, in ms.
    watermarks: BTreeMap<usize, i64>,
}

impl PartitionCommit {
    /// Errors: `Invalid` for options that do not fit the partition columns.
    pub(crate) fn try_new(partitioning: &Arc<Partitioning>, options: &PartitionCommitOptions) -> Result<Self> {
        let time = match options.trigger {
            Trigger::ProcessTime => None,
            Trigger::PartitionTime => Some(PartitionTime::try_new(partitioning, options)?),
        };
        Ok(Self { options: options.clone(), time, progress: Mutex::default() })
    }

    /// The watermark (ms) at which a partition is complete; `i64::MAX`: at the end of the input, or by the clock.
    ///
    /// Errors: `User` for a partition whose values make no time.
    pub(crate) fn complete_at(&self, folder: &str) -> Result<i64> {
        let Some(time) = &self.time else { return Ok(i64::MAX) };
        let delay_ms = i64::try_from(self.options.delay.as_millis()).unwrap_or(i64::MAX);
        Ok(time.of(folder)?.map_or(i64::MAX, |ms| ms.saturating_add(delay_ms)))
    }

    /// Whether watermarks make partitions complete.
    pub(crate) fn follows_watermark(&self) -> bool {
        self.time.is_some()
    }

    /// The name of the file.
    pub(crate) fn success_file(&self) -> &str {
        &self.options.success_file
    }

    /// A job begins.
    pub(crate) fn reset(&self) {
        *lock(&self.progress) = Progress::default();
    }

    /// Notes how far a writer is. Writers of an earlier attempt do not count any more: what they had not staged is written
    /// again by others.
    pub(crate) fn note(&self, staged: &Staged) {
        let mut progress = lock(&self.progress);
        if staged.attempt < progress.attempt {
            return;
        }
        if staged.attempt > progress.attempt {
            *progress = Progress { attempt: staged.attempt, ..Progress::default() };
        }
        progress.workers = staged.workers;
        if let Some(watermark_ms) = staged.watermark_ms {
            let last = progress.watermarks.entry(staged.worker).or_insert(watermark_ms);
            *last = watermark_ms.max(*last);
        }
    }

    /// Those of the partitions that are complete now. `waiting`: since when each waits, in ms since 1970.
    ///
    /// Errors: `User` for a partition whose values make no time.
    pub(crate) fn due(&self, waiting: &BTreeMap<String, i64>) -> Result<Vec<String>> {
        let lowest = {
            let progress = lock(&self.progress);
            let all_told = progress.watermarks.len() >= progress.workers.max(1);
            progress.watermarks.values().min().copied().filter(|_| all_told).unwrap_or(i64::MIN)
        };
        let delay_ms = i64::try_from(self.options.delay.as_millis()).unwrap_or(i64::MAX);
        let now_ms = now_ms();
        let mut due = vec![];
        for (folder, since_ms) in waiting {
            let by_clock = self.time.is_none() && now_ms.saturating_sub(*since_ms) >= delay_ms;
            if by_clock || self.complete_at(folder)? <= lowest {
                due.push(folder.clone());
            }
        }
        Ok(due)
    }

    /// Writes the file that says so. May block.
    pub(crate) fn declare(&self, table: &Path, folder: &str) -> Result<()> {
        let folder = table.join(folder);
        let path = folder.join(&self.options.success_file);
        // A partition that was taken away as a whole is declared to nobody.
        if !folder.is_dir() {
            return Ok(());
        }
        disk::sync_file(&disk::create_file(&path)?, &path)?;
        disk::sync_folder(&folder)
    }
}

/// The clock, in ms since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
