//! Segments that were read to be verified, kept for the restore, as far as they fit into a limit. So state is read once.

use std::collections::BTreeMap;

use arrow::buffer::Buffer;
use rheos_checkpoint::recovery::SegmentId;

/// See the module. What is here has the length and the checksum that its manifest tells.
#[derive(Debug, Default)]
pub struct Kept {
    bytes_max: u64,
    bytes: u64,
    segments: BTreeMap<SegmentId, Buffer>,
}

impl Kept {
    /// Keeps at most so many bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max, ..Self::default() }
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that still fit.
    pub(crate) fn room(&self) -> u64 {
        self.bytes_max.saturating_sub(self.bytes)
    }

    /// Takes what another has kept.
    pub(crate) fn take_all(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.segments.extend(other.segments);
    }

    /// Whether so many bytes more fit.
    pub(crate) fn fits(&self, bytes: u64) -> bool {
        self.bytes.saturating_add(bytes) <= self.bytes_max
    }

    pub(crate) fn put(&mut self, id: SegmentId, bytes: Vec<u8>) {
        self.bytes += bytes.len() as u64;
        self.segments.insert(id, Buffer::from_vec(bytes));
    }

    pub(crate) fn get(&self, id: &SegmentId) -> Option<Buffer> {
        self.segments.get(id).cloned()
    }
}
