//! Batches as clients send them. What their records say is nothing to a partition: here it is any bytes.

use std::collections::BTreeSet;

use rheos_log::batch::{BatchHead, HEAD_BYTES, seal};
use rheos_log::partition::{Aborted, Isolation, Partition};

/// What a batch says of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    pub(crate) records: i32,
    pub(crate) payload_bytes: usize,
    /// Any number: what its payload is filled with.
    pub(crate) fill: u8,
    pub(crate) time_ms: i64,
    /// Id, epoch, first number.
    pub(crate) producer: Option<(i64, i16, i32)>,
    pub(crate) is_transactional: bool,
}

impl Default for Batch {
    fn default() -> Self {
        Self { records: 1, payload_bytes: 10, fill: 0, time_ms: 0, producer: None, is_transactional: false }
    }
}

impl Batch {
    pub(crate) fn bytes(self) -> Vec<u8> {
        let mut bytes = vec![0; HEAD_BYTES];
        bytes.resize(HEAD_BYTES + self.payload_bytes, self.fill);
        let (id, epoch, sequence) = self.producer.unwrap_or((-1, -1, -1));
        let length = (bytes.len() - 12) as i32;
        let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
        put(8, &length.to_be_bytes());
        put(16, &[2]);
        put(21, &(if self.is_transactional { 0x10_i16 } else { 0 }).to_be_bytes());
        put(23, &(self.records - 1).to_be_bytes());
        put(27, &self.time_ms.to_be_bytes());
        put(35, &self.time_ms.to_be_bytes());
        put(43, &id.to_be_bytes());
        put(51, &epoch.to_be_bytes());
        put(53, &sequence.to_be_bytes());
        put(57, &self.records.to_be_bytes());
        seal(&mut bytes);
        bytes
    }
}

/// The batches one behind the other, each with its head.
pub(crate) fn split(mut bytes: &[u8]) -> Vec<(BatchHead, Vec<u8>)> {
    let mut found = vec![];
    while let Some(head) = BatchHead::read_checked(bytes).unwrap() {
        let (batch, rest) = bytes.split_at(head.length_bytes);
        found.push((head, batch.to_vec()));
        bytes = rest;
    }
    assert_eq!(bytes, b"", "a reader got half a batch");
    found
}

/// All that a reader gets, in fetches of about `bytes_max`.
pub(crate) fn read_all(partition: &Partition, isolation: Isolation, bytes_max: usize) -> Vec<(BatchHead, Vec<u8>)> {
    fetch_all(partition, isolation, bytes_max).0
}

/// The same, and what it is told to leave out.
pub(crate) fn fetch_all(
    partition: &Partition,
    isolation: Isolation,
    bytes_max: usize,
) -> (Vec<(BatchHead, Vec<u8>)>, BTreeSet<Aborted>) {
    let (mut offset, mut found, mut aborted) = (partition.offsets().start, vec![], BTreeSet::new());
    loop {
        let fetched = partition.read(offset, bytes_max, isolation).unwrap();
        aborted.extend(fetched.aborted);
        let batches = split(&fetched.batches);
        let Some((last, _)) = batches.last() else { return (found, aborted) };
        offset = last.end_offset();
        found.extend(batches);
    }
}
