//! Declares partitions complete: an empty `_SUCCESS` beside their files, for whoever waits for the whole of an hour.
//!
//! ```text
//!   writers ──stage──► parts, and how far each worker's watermark is ──commit──► rename parts, then write _SUCCESS
//! ```
//!
//! Invariant: `_SUCCESS` is written behind all parts whose rows came before the watermark that made the partition
//! complete, since a writer closes those before it tells that watermark. A part that comes later makes the partition wait
//! once more: it is added, and `_SUCCESS` written anew. At the end of the input every partition is complete; at a stop
//! only those whose time has come.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rheos_core::sink::Committable;
use rheos_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::part::ClosedPart;
use super::partition::Partitioning;
use super::partition_time::PartitionTime;
use super::paths::shown;
use super::sink_options::{PartitionCommitOptions, Trigger};
use crate::io::pool::lock;

/// What a writer stages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Staged {
    /// A part, to be renamed.
    Part(ClosedPart),
    /// All parts with rows from before the watermark have been staged by this worker.
    Progress {
        /// The worker.
        worker: usize,
        /// Its watermark; `i64::MAX` at the end of the input.
        watermark_ms: i64,
    },
}

impl Staged {
    pub(crate) fn to_committable(&self) -> Committable {
        Committable(serde_json::to_string(self).expect("names and numbers are always JSON"))
    }

    pub(crate) fn parse(committable: &Committable) -> Result<Self> {
        serde_json::from_str(&committable.0).map_err(|e| Error::internal(format!("a committable cannot be read: {e}")))
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct PartitionCommit {
    options: PartitionCommitOptions,
    /// `None`: the clock decides.
    time: Option<PartitionTime>,
    /// Writers that were opened here: none of them may be missing when the lowest watermark is taken.
    writers: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By worker, in ms.
    watermarks: BTreeMap<usize, i64>,
    /// The partitions that got parts since they were last declared complete, with the first part's moment.
    pending: BTreeMap<String, Instant>,
}

impl PartitionCommit {
    /// Errors: `Invalid` for options that do not fit the partition columns.
    pub(crate) fn try_new(partitioning: &Arc<Partitioning>, options: &PartitionCommitOptions) -> Result<Self> {
        let time = match options.trigger {
            Trigger::ProcessTime => None,
            Trigger::PartitionTime => Some(PartitionTime::try_new(partitioning, options)?),
        };
        Ok(Self { options: options.clone(), time, writers: AtomicUsize::new(0), state: Mutex::default() })
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

    pub(crate) fn add_writer(&self) {
        self.writers.fetch_add(1, Ordering::SeqCst);
    }

    /// A new job begins.
    pub(crate) fn reset(&self) {
        self.writers.store(0, Ordering::SeqCst);
        *lock(&self.state) = State::default();
    }

    /// Notes what has become visible, and declares the partitions complete that are so now. May block.
    pub(crate) fn commit(&self, table: &Path, staged: &[Staged]) -> Result<()> {
        let due = {
            let mut state = lock(&self.state);
            for staged in staged {
                match staged {
                    Staged::Part(part) => {
                        state.pending.entry(part.folder().to_string()).or_insert_with(Instant::now);
                    }
                    Staged::Progress { worker, watermark_ms } => {
                        let last = state.watermarks.entry(*worker).or_insert(*watermark_ms);
                        *last = (*last).max(*watermark_ms);
                    }
                }
            }
            self.due(&state)?
        };
        for folder in due {
            let path = table.join(&folder).join(&self.options.success_file);
            let written =
                File::create(&path).and_then(|file| file.sync_all()).and_then(|()| sync_folder(&table.join(&folder)));
            written.map_err(|e| Error::output("write", &shown(&path), &e))?;
            lock(&self.state).pending.remove(&folder);
        }
        Ok(())
    }

    fn due(&self, state: &State) -> Result<Vec<String>> {
        let all_told = state.watermarks.len() >= self.writers.load(Ordering::SeqCst).max(1);
        let lowest = state.watermarks.values().min().copied().filter(|_| all_told).unwrap_or(i64::MIN);
        let mut due = vec![];
        for (folder, since) in &state.pending {
            let by_clock = self.time.is_none() && since.elapsed() >= self.options.delay;
            if by_clock || self.complete_at(folder)? <= lowest {
                due.push(folder.clone());
            }
        }
        Ok(due)
    }
}

/// The names in a folder are on the disk only when the folder is.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    fs::File::open(folder)?.sync_all()
}
