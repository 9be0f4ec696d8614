//! The head of a record batch, as clients send it and as it is stored (format 2).
//!
//! ```text
//!   0            8       12            16     17        21          23                  27         35        43
//!   base offset  length  leader epoch  magic  checksum  attributes  last offset delta   base time  max time  producer ...
//!   ╰─ put in by the log: outside of the checksum ─╯    ╰─ covered by the checksum, to the end of the batch ─────────────
//! ```
//! Source: Kafka's documentation, "Record Batch".

use crate::Refusal;

/// Bytes of a head.
pub const HEAD_BYTES: usize = 61;
/// Bytes before those that the length counts.
const UNCOUNTED_BYTES: usize = 12;
/// Where the checksum stands, and where what it covers begins.
const CHECKSUM_AT: usize = 17;
const COVERED_AT: usize = 21;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHead {
    /// The offset of its first record.
    pub base_offset: i64,
    /// Of the whole batch, head included.
    pub length_bytes: usize,
    /// Compression, kind of its times, transactional, control.
    pub attributes: i16,
    /// How far its last record's offset is from the first one's.
    pub last_offset_delta: i32,
    /// The latest time of its records, in ms since 1970.
    pub max_time_ms: i64,
    /// Who sent it, with which epoch, and the number of its first record; -1 where the producer is not idempotent.
    pub producer_id: i64,
    /// See `producer_id`.
    pub producer_epoch: i16,
    /// See `producer_id`.
    pub first_sequence: i32,
    /// How many records it has.
    pub records: i32,
    pub(crate) checksum: u32,
}

impl BatchHead {
    /// The head at the beginning of `bytes`; `None` if these are too few.
    ///
    /// Errors: `UnsupportedFormat` for older formats, `CorruptMessage` for lengths that cannot be.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, Refusal> {
        let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        if head[16] != 2 {
            return Err(if head[16] < 2 { Refusal::UnsupportedFormat } else { Refusal::CorruptMessage });
        }
        let length = usize::try_from(i32::from_be_bytes(part(head, 8))).map_err(|_| Refusal::CorruptMessage)?;
        let found = Self {
            base_offset: i64::from_be_bytes(part(head, 0)),
            length_bytes: length + UNCOUNTED_BYTES,
            checksum: u32::from_be_bytes(part(head, CHECKSUM_AT)),
            attributes: i16::from_be_bytes(part(head, 21)),
            last_offset_delta: i32::from_be_bytes(part(head, 23)),
            max_time_ms: i64::from_be_bytes(part(head, 35)),
            producer_id: i64::from_be_bytes(part(head, 43)),
            producer_epoch: i16::from_be_bytes(part(head, 51)),
            first_sequence: i32::from_be_bytes(part(head, 53)),
            records: i32::from_be_bytes(part(head, 57)),
        };
        match found.length_bytes >= HEAD_BYTES && found.last_offset_delta >= 0 {
            true => Ok(Some(found)),
            false => Err(Refusal::CorruptMessage),
        }
    }

    /// The batch at the beginning of `bytes`, with its checksum compared; `None` if its end is not there.
    ///
    /// Errors: as of [`read`](Self::read); `CorruptMessage` if the checksum is wrong.
    pub fn read_checked(bytes: &[u8]) -> Result<Option<Self>, Refusal> {
        let Some(head) = Self::read(bytes)? else { return Ok(None) };
        let Some(batch) = bytes.get(..head.length_bytes) else { return Ok(None) };
        match crc32c::crc32c(&batch[COVERED_AT..]) == head.checksum {
            true => Ok(Some(head)),
            false => Err(Refusal::CorruptMessage),
        }
    }

    /// Just behind the offset of its last record.
    pub fn end_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta)).saturating_add(1)
    }

    /// The number of its last record, which counts on from 0 behind the largest.
    pub fn last_sequence(&self) -> i32 {
        // As a sum of unsigned numbers, less the sign's bit.
        ((self.first_sequence as u32).wrapping_add(self.last_offset_delta as u32) & i32::MAX as u32) as i32
    }

    /// Whether its producer numbers its records.
    pub fn is_idempotent(&self) -> bool {
        self.producer_id >= 0
    }

    /// Whether it belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether it ends a transaction; clients do not write such.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }
}

/// Gives a batch its place in a partition.
pub fn stamp(batch: &mut [u8], base_offset: i64) {
    batch[..8].copy_from_slice(&base_offset.to_be_bytes());
    // There is one leader, for ever.
    batch[12..16].copy_from_slice(&0_i32.to_be_bytes());
}

/// The batch that ends a transaction of this producer. Source: Kafka's documentation, "Control Batches".
pub fn marker(producer_id: i64, producer_epoch: i16, is_commit: bool, time_ms: i64) -> Vec<u8> {
    let (key, value) = ([0, 0, 0, u8::from(is_commit)], [0_u8; 6]);
    let mut record = vec![0, 0, 0];
    for field in [&key[..], &value[..]] {
        // Lengths are zigzag numbers.
        record.push((field.len() * 2) as u8);
        record.extend_from_slice(field);
    }
    record.push(0);
    let mut batch = vec![0; HEAD_BYTES];
    batch.push((record.len() * 2) as u8);
    batch.extend_from_slice(&record);
    let length = (batch.len() - UNCOUNTED_BYTES) as i32;
    let mut put = |at: usize, bytes: &[u8]| batch[at..at + bytes.len()].copy_from_slice(bytes);
    put(8, &length.to_be_bytes());
    put(16, &[2]);
    put(21, &(TRANSACTIONAL | CONTROL).to_be_bytes());
    put(27, &time_ms.to_be_bytes());
    put(35, &time_ms.to_be_bytes());
    put(43, &producer_id.to_be_bytes());
    put(51, &producer_epoch.to_be_bytes());
    put(53, &(-1_i32).to_be_bytes());
    put(57, &1_i32.to_be_bytes());
    seal(&mut batch);
    batch
}

/// Whether a control batch ends its transaction well; `None` if it is none that ends one.
pub fn marker_kind(batch: &[u8]) -> Option<bool> {
    // Length of the record, its attributes, time and offset: a byte each; then the key.
    match batch.get(HEAD_BYTES + 4..)? {
        [8, 0, 0, 0, kind @ (0 | 1), ..] => Some(*kind == 1),
        _ => None,
    }
}

/// Puts in the checksum.
pub fn seal(batch: &mut [u8]) {
    let checksum = crc32c::crc32c(&batch[COVERED_AT..]);
    batch[CHECKSUM_AT..COVERED_AT].copy_from_slice(&checksum.to_be_bytes());
}

fn part<const N: usize>(head: &[u8; HEAD_BYTES], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&head[at..at + N]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_a_batch_and_tells_how_it_ended() {
        for is_commit in [false, true] {
            let mut bytes = marker(7, 3, is_commit, 1000);
            stamp(&mut bytes, 42);
            let head = BatchHead::read_checked(&bytes).unwrap().unwrap();
            assert!(head.is_control() && head.is_transactional());
            assert_eq!((head.base_offset, head.end_offset(), head.length_bytes), (42, 43, bytes.len()));
            assert_eq!((head.producer_id, head.producer_epoch, head.records), (7, 3, 1));
            assert_eq!(marker_kind(&bytes), Some(is_commit));
        }
    }

    #[test]
    fn every_damaged_byte_is_found_and_no_prefix_is_taken_for_a_batch() {
        let bytes = marker(7, 3, true, 1000);
        for at in 0..bytes.len() {
            assert_eq!(BatchHead::read_checked(&bytes[..at]), Ok(None), "{at}");
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            let is_covered = !(0..8).contains(&at) && !(12..16).contains(&at);
            // A longer batch than there is has no end; everything else is seen.
            assert_eq!(matches!(BatchHead::read_checked(&damaged), Ok(Some(_))), !is_covered, "{at}");
        }
    }

    #[test]
    fn numbers_count_on_from_zero() {
        let mut head = BatchHead::read(&marker(7, 3, true, 0)).unwrap().unwrap();
        for (first, delta, last) in
            [(0, 0, 0), (5, 4, 9), (i32::MAX, 0, i32::MAX), (i32::MAX, 1, 0), (i32::MAX - 1, 3, 1)]
        {
            (head.first_sequence, head.last_offset_delta) = (first, delta);
            assert_eq!(head.last_sequence(), last);
        }
    }
}
