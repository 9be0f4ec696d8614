//! Keys and their slots: dense numbers, so that what is kept of a key lies in plain vectors. The slot of a key that goes is
//! given to the next that comes.
//!
//! ```text
//!   key bytes ── hash ──► table of slots ──► slot 3 ──► span in the arena of key bytes
//! ```
//! The arena is rewritten when half of it belongs to keys that are gone.

use std::ops::Range;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of gone keys below which the arena is never rewritten.
const SPARE_BYTES: usize = 1 << 16;

/// See the module. At most 2^32 keys.
#[derive(Debug, Default)]
pub(crate) struct KeySlots {
    table: HashTable<u32>,
    /// Of every slot, free or not: where its key lies. A free one has an empty span.
    spans: Vec<Span>,
    bytes: Vec<u8>,
    gone_bytes: usize,
    free: Vec<u32>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Span {
    start: usize,
    length: u32,
    /// The upper half of the key's hash: most keys that differ already differ here.
    hash: u32,
}

impl Span {
    fn range(self) -> Range<usize> {
        self.start..self.start + self.length as usize
    }
}

impl KeySlots {
    /// Keys that have a slot.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// One more than the largest slot ever given: the length of vectors that go by slot.
    pub(crate) fn end(&self) -> usize {
        self.spans.len()
    }

    /// The key of a slot that is not free.
    pub(crate) fn key(&self, slot: u32) -> &[u8] {
        &self.bytes[self.spans[slot as usize].range()]
    }

    pub(crate) fn find(&self, key: &[u8]) -> Option<u32> {
        let hash = xxh3_64(key);
        self.table.find(hash, |slot| self.is_at(*slot, key, hash)).copied()
    }

    /// The slot of a key, and whether it is new.
    pub(crate) fn find_or_insert(&mut self, key: &[u8]) -> (u32, bool) {
        let hash = xxh3_64(key);
        if let Some(slot) = self.table.find(hash, |slot| self.is_at(*slot, key, hash)) {
            return (*slot, false);
        }
        let span = Span { start: self.bytes.len(), length: key.len() as u32, hash: (hash >> 32) as u32 };
        self.bytes.extend_from_slice(key);
        let slot = match self.free.pop() {
            Some(slot) => {
                self.spans[slot as usize] = span;
                slot
            }
            None => {
                self.spans.push(span);
                (self.spans.len() - 1) as u32
            }
        };
        let Self { table, spans, bytes, .. } = self;
        table.insert_unique(hash, slot, |slot| xxh3_64(&bytes[spans[*slot as usize].range()]));
        (slot, true)
    }

    /// Frees the slot of a key.
    pub(crate) fn remove(&mut self, slot: u32) {
        let hash = xxh3_64(self.key(slot));
        if let Ok(entry) = self.table.find_entry(hash, |other| *other == slot) {
            entry.remove();
        }
        let span = std::mem::take(&mut self.spans[slot as usize]);
        self.gone_bytes += span.length as usize;
        self.free.push(slot);
        if self.gone_bytes > SPARE_BYTES && self.gone_bytes * 2 > self.bytes.len() {
            self.rewrite();
        }
    }

    /// The slots that are not free, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.table.iter().copied()
    }

    /// Bytes, about.
    pub(crate) fn size(&self) -> usize {
        self.bytes.capacity()
            + self.spans.capacity() * size_of::<Span>()
            + (self.table.capacity() + self.free.capacity()) * size_of::<u32>()
    }

    fn is_at(&self, slot: u32, key: &[u8], hash: u64) -> bool {
        self.spans[slot as usize].hash == (hash >> 32) as u32 && self.key(slot) == key
    }

    /// Leaves out the bytes of keys that are gone.
    fn rewrite(&mut self) {
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.gone_bytes);
        for slot in &self.table {
            let span = &mut self.spans[*slot as usize];
            let start = bytes.len();
            bytes.extend_from_slice(&self.bytes[span.range()]);
            span.start = start;
        }
        self.bytes = bytes;
        self.gone_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A map of the standard library is the truth.
        #[test]
        fn keys_keep_their_slots_until_they_go(steps in proptest::collection::vec((any::<bool>(), 0..40_usize), 0..400)) {
            let mut slots = KeySlots::default();
            let mut model: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
            for (adds, n) in steps {
                // Long ones, so that the arena is rewritten on the way.
                let key = n.to_string().repeat(n * 50).into_bytes();
                match (adds, model.get(&key).copied()) {
                    (true, known) => {
                        let (slot, is_new) = slots.find_or_insert(&key);
                        prop_assert_eq!(is_new, known.is_none());
                        prop_assert!(known.is_none_or(|k| k == slot));
                        prop_assert!(known.is_some() || model.values().all(|other| *other != slot));
                        model.insert(key, slot);
                    }
                    (false, Some(slot)) => {
                        slots.remove(slot);
                        model.remove(&key);
                    }
                    (false, None) => prop_assert_eq!(slots.find(&key), None),
                }
                prop_assert_eq!(slots.len(), model.len());
            }
            let mut live: Vec<u32> = slots.iter().collect();
            live.sort_unstable();
            let mut expected: Vec<u32> = model.values().copied().collect();
            expected.sort_unstable();
            prop_assert_eq!(live, expected);
            for (key, slot) in &model {
                prop_assert_eq!(slots.key(*slot), key.as_slice());
                prop_assert_eq!(slots.find(key), Some(*slot));
            }
            prop_assert!(slots.end() <= 40);
        }
    }
}
