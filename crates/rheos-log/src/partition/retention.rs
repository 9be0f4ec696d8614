//! What is let go of at the beginning of a partition: by age, by size, or because somebody says so.
//!
//! ```text
//!   the first offset that stays ──► file `start`, synced ──► full segments below it are removed
//! ```
//! In this order: whatever a crash leaves of the files, nothing below that offset is seen again. The last segment is never removed.

use std::path::{Path, PathBuf};

use rheos_core::Result;
use serde::{Deserialize, Serialize};

use super::{Partition, Producers, State};
use crate::Refusal;
use crate::segment::{Segment, index_path, log_path};
use crate::sidecar;

/// How long records are kept. Without limits for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Segments whose newest record is older go, in ms.
    pub age_ms: Option<i64>,
    /// The oldest segments go while the others have as many bytes.
    pub bytes: Option<u64>,
}

/// The file `start`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Start {
    /// The first offset that is there.
    pub(super) offset: i64,
    /// The producers as they were behind the last segment that was removed: what is left does not tell of all of them.
    pub(super) producers: Producers,
}

pub(super) fn start_path(folder: &Path) -> PathBuf {
    folder.join("start")
}

impl Partition {
    /// Records below `offset` are gone when this returns; gives the first offset that is there.
    ///
    /// Errors: `OffsetOutOfRange` above the high watermark; `Storage` if the disk fails or is full.
    pub fn delete_before(&self, offset: i64) -> Result<i64, Refusal> {
        let mut state = self.writable()?;
        let offsets = self.offsets_of(&state);
        if !(0..=offsets.high_watermark).contains(&offset) {
            return Err(Refusal::OffsetOutOfRange);
        }
        if offset > offsets.start {
            self.begin_at(&mut state, offset)?;
        }
        Ok(self.offsets_of(&state).start)
    }

    /// Lets go of what is older or more than `retention` says; gives how many bytes. Records that are not synced stay.
    ///
    /// Errors: `Storage` if the disk fails or is full.
    pub fn retain(&self, retention: &Retention, now_ms: i64) -> Result<u64, Refusal> {
        let mut state = self.writable()?;
        let before = state.bytes();
        let oldest_ms = retention.age_ms.map(|age| now_ms.saturating_sub(age));
        let is_old = |max_time_ms: i64| oldest_ms.is_some_and(|oldest| max_time_ms < oldest);
        if state.segments.last().is_some_and(|last| last.bytes > 0 && is_old(last.max_time_ms)) {
            self.roll(&mut state, now_ms)?;
        }
        let (mut left, mut start) = (before, None);
        let full = state.segments.len().saturating_sub(1);
        for segment in &state.segments[..full] {
            let is_more = retention.bytes.is_some_and(|limit| left - segment.bytes >= limit);
            if !is_more && !is_old(segment.max_time_ms) {
                break;
            }
            left -= segment.bytes;
            start = Some(segment.end_offset);
        }
        if let Some(start) = start {
            self.begin_at(&mut state, start)?;
        }
        Ok(before - state.bytes())
    }

    fn begin_at(&self, state: &mut State, offset: i64) -> Result<(), Refusal> {
        let full = state.segments.len().saturating_sub(1);
        let gone = state.segments[..full].partition_point(|s| s.end_offset <= offset);
        let producers = match gone.checked_sub(1) {
            None => state.start.producers.clone(),
            Some(last) => {
                let known = Segment::open_indexed(&*self.disk, &self.folder, state.segments[last].base_offset);
                // Each has been written or looked at when the partition was opened.
                known.ok().flatten().ok_or(Refusal::Storage)?.2
            }
        };
        let start = Start { offset, producers };
        sidecar::write(&*self.disk, &start_path(&self.folder), &start).map_err(|_| Refusal::Storage)?;
        state.start = start;
        state.aborted.retain(|a| a.marker_offset >= offset);
        for segment in state.segments.drain(..gone) {
            // What stays is removed when the partition is opened again.
            let _ = self.disk.remove(&log_path(&self.folder, segment.base_offset));
            let _ = self.disk.remove(&index_path(&self.folder, segment.base_offset));
        }
        Ok(())
    }
}

impl State {
    fn bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.bytes).sum()
    }
}
