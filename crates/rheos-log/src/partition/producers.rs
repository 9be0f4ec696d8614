//! What a partition knows of its producers: which numbers have come, and whose transaction is open.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::Refusal;
use crate::batch::BatchHead;

/// Batches of a producer that are told again where they are, if they come again: as many as a client has on its way.
const RECENT_MAX: usize = 5;

/// See the module. It is what all batches say together, so it can be made anew from them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Producers {
    by_id: BTreeMap<i64, Producer>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Producer {
    epoch: i16,
    /// The newest last. None behind the end of a transaction of a newer epoch.
    recent: VecDeque<Recent>,
    /// Where its open transaction begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    open_since: Option<i64>,
    last_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Recent {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    end_offset: i64,
}

/// Whether a batch is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    New,
    /// It has come before: where it begins, and where it ends.
    Again {
        base_offset: i64,
        end_offset: i64,
    },
}

/// A transaction that was given up: readers of what is committed leave out its batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Aborted {
    /// The offset of the batch that ends it.
    pub marker_offset: i64,
    /// The offset of its first batch.
    pub first_offset: i64,
    /// Whose it was.
    pub producer_id: i64,
}

impl Producers {
    /// Whether a batch may come now.
    ///
    /// Errors: `InvalidProducerEpoch`, `OutOfOrderSequence`, `DuplicateSequence`, `InvalidTransactionState`.
    pub(crate) fn admit(&self, head: &BatchHead) -> Result<Admission, Refusal> {
        if !head.is_idempotent() {
            return if head.is_transactional() { Err(Refusal::InvalidTransactionState) } else { Ok(Admission::New) };
        }
        let Some(known) = self.by_id.get(&head.producer_id) else { return Ok(Admission::New) };
        if head.producer_epoch < known.epoch {
            return Err(Refusal::InvalidProducerEpoch);
        }
        if head.producer_epoch > known.epoch {
            return if head.first_sequence == 0 { Ok(Admission::New) } else { Err(Refusal::OutOfOrderSequence) };
        }
        // Within a transaction all batches are of it.
        if known.open_since.is_some() && !head.is_transactional() {
            return Err(Refusal::InvalidTransactionState);
        }
        let Some(last) = known.recent.back() else { return Ok(Admission::New) };
        if follows(last.last_sequence, head.first_sequence) {
            return Ok(Admission::New);
        }
        let same = |r: &&Recent| (r.first_sequence, r.last_sequence) == (head.first_sequence, head.last_sequence());
        match known.recent.iter().find(same) {
            Some(r) => Ok(Admission::Again { base_offset: r.base_offset, end_offset: r.end_offset }),
            None if is_before(head.first_sequence, last.last_sequence) => Err(Refusal::DuplicateSequence),
            None => Err(Refusal::OutOfOrderSequence),
        }
    }

    /// Takes in a batch that has its place.
    pub(crate) fn note(&mut self, head: &BatchHead) {
        if !head.is_idempotent() {
            return;
        }
        let producer = self.of(head);
        if producer.recent.len() == RECENT_MAX {
            producer.recent.pop_front();
        }
        producer.recent.push_back(Recent {
            first_sequence: head.first_sequence,
            last_sequence: head.last_sequence(),
            base_offset: head.base_offset,
            end_offset: head.end_offset(),
        });
        if head.is_transactional() {
            producer.open_since.get_or_insert(head.base_offset);
        }
    }

    /// Whether a marker of this producer may end a transaction. Errors: `InvalidProducerEpoch`.
    pub(crate) fn admit_marker(&self, producer_id: i64, epoch: i16) -> Result<(), Refusal> {
        match self.by_id.get(&producer_id) {
            Some(known) if epoch < known.epoch => Err(Refusal::InvalidProducerEpoch),
            _ => Ok(()),
        }
    }

    /// Takes in the batch that ends a transaction; gives what readers have to leave out.
    pub(crate) fn note_marker(&mut self, marker: &BatchHead, is_commit: bool) -> Option<Aborted> {
        let first_offset = self.of(marker).open_since.take()?;
        let (marker_offset, producer_id) = (marker.base_offset, marker.producer_id);
        (!is_commit).then_some(Aborted { marker_offset, first_offset, producer_id })
    }

    /// Who sent a batch, as of its epoch: with a newer one, also that of a marker which fences, numbers begin anew.
    fn of(&mut self, head: &BatchHead) -> &mut Producer {
        let fresh = || Producer { epoch: head.producer_epoch, recent: VecDeque::new(), open_since: None, last_ms: 0 };
        let producer = self.by_id.entry(head.producer_id).or_insert_with(fresh);
        if producer.epoch != head.producer_epoch {
            (producer.epoch, producer.recent) = (head.producer_epoch, VecDeque::new());
        }
        producer.last_ms = producer.last_ms.max(head.max_time_ms);
        producer
    }

    /// Where the oldest open transaction begins.
    pub(crate) fn first_open(&self) -> Option<i64> {
        self.by_id.values().filter_map(|p| p.open_since).min()
    }

    /// Forgets producers that nothing has come from since `before_ms`, but for those with an open transaction.
    pub(crate) fn forget(&mut self, before_ms: i64) {
        self.by_id.retain(|_, p| p.open_since.is_some() || p.last_ms >= before_ms);
    }
}

/// Whether one number comes right behind the other.
pub(super) fn follows(last: i32, first: i32) -> bool {
    first == if last == i32::MAX { 0 } else { last + 1 }
}

/// Whether a number came before another, as they count on from 0 behind the largest.
fn is_before(first: i32, last: i32) -> bool {
    // The way from one to the other, round the circle of numbers without a sign, is the shorter one.
    ((last as u32).wrapping_sub(first as u32) & i32::MAX as u32) < 1 << 30
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{marker, stamp};

    /// A batch of producer 7.
    fn head(epoch: i16, first_sequence: i32, records: i32, base_offset: i64, is_transactional: bool) -> BatchHead {
        let mut bytes = marker(7, epoch, true, 0);
        stamp(&mut bytes, base_offset);
        let marker = BatchHead::read(&bytes).unwrap().unwrap();
        let attributes = if is_transactional { 0x10 } else { 0 };
        BatchHead { first_sequence, last_offset_delta: records - 1, records, attributes, ..marker }
    }

    fn end(epoch: i16, base_offset: i64) -> BatchHead {
        BatchHead { attributes: 0x30, ..head(epoch, -1, 1, base_offset, true) }
    }

    #[test]
    fn numbers_follow_each_other_and_what_comes_again_is_told_where_it_is() {
        let mut producers = Producers::default();
        for n in 0..7 {
            let batch = head(0, n * 10, 10, i64::from(n) * 10, false);
            assert_eq!(producers.admit(&batch), Ok(Admission::New));
            producers.note(&batch);
        }
        let again = |n: i32| producers.admit(&head(0, n * 10, 10, 0, false));
        assert_eq!(again(6), Ok(Admission::Again { base_offset: 60, end_offset: 70 }));
        assert_eq!(again(2), Ok(Admission::Again { base_offset: 20, end_offset: 30 }));
        assert_eq!(again(1), Err(Refusal::DuplicateSequence));
        assert_eq!(again(8), Err(Refusal::OutOfOrderSequence));
        // Other batches with numbers that have come.
        assert_eq!(producers.admit(&head(0, 60, 5, 0, false)), Err(Refusal::DuplicateSequence));
        assert_eq!(producers.admit(&head(1, 0, 1, 0, false)), Ok(Admission::New));
        assert_eq!(producers.admit(&head(1, 70, 1, 0, false)), Err(Refusal::OutOfOrderSequence));
        producers.note(&head(1, 0, 1, 70, false));
        assert_eq!(producers.admit(&head(0, 70, 1, 0, false)), Err(Refusal::InvalidProducerEpoch));
    }

    #[test]
    fn numbers_go_on_from_zero_behind_the_largest() {
        let mut producers = Producers::default();
        producers.note(&head(0, i32::MAX - 1, 2, 0, false));
        assert_eq!(producers.admit(&head(0, 0, 1, 0, false)), Ok(Admission::New));
        producers.note(&head(0, 0, 1, 2, false));
        assert_eq!(producers.admit(&head(0, i32::MAX, 1, 0, false)), Err(Refusal::DuplicateSequence));
        assert_eq!(producers.admit(&head(0, 5, 1, 0, false)), Err(Refusal::OutOfOrderSequence));
    }

    #[test]
    fn a_transaction_is_open_until_its_marker() {
        let mut producers = Producers::default();
        producers.note(&head(0, 0, 2, 10, true));
        producers.note(&head(0, 2, 2, 12, true));
        assert_eq!(producers.first_open(), Some(10));
        assert_eq!(producers.admit(&head(0, 4, 1, 0, false)), Err(Refusal::InvalidTransactionState));
        assert_eq!(producers.admit_marker(7, 0), Ok(()));
        let aborted = Aborted { marker_offset: 14, first_offset: 10, producer_id: 7 };
        assert_eq!(producers.note_marker(&end(0, 14), false), Some(aborted));
        assert_eq!(producers.first_open(), None);
        // Committed; and a marker behind no batch at all.
        producers.note(&head(0, 4, 1, 15, true));
        assert_eq!(producers.note_marker(&end(0, 16), true), None);
        assert_eq!(producers.note_marker(&end(3, 17), false), None);
        assert_eq!(producers.admit_marker(7, 2), Err(Refusal::InvalidProducerEpoch));
        assert_eq!(producers.admit(&head(2, 5, 1, 0, true)), Err(Refusal::InvalidProducerEpoch));
        assert_eq!(producers.admit(&head(3, 5, 1, 0, true)), Ok(Admission::New), "its numbers begin anew");
    }

    #[test]
    fn who_has_an_open_transaction_is_not_forgotten() {
        let mut producers = Producers::default();
        producers.note(&BatchHead { max_time_ms: 5, ..head(0, 0, 1, 0, true) });
        producers.note(&BatchHead { producer_id: 8, max_time_ms: 5, ..head(0, 0, 1, 1, false) });
        producers.note(&BatchHead { producer_id: 9, max_time_ms: 6, ..head(0, 0, 1, 2, false) });
        producers.forget(6);
        assert_eq!(producers.by_id.keys().copied().collect::<Vec<_>>(), [7, 9]);
    }
}
