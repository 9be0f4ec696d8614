//! Keys and their slots: dense numbers, so that what is kept of a key lies in plain vectors. The slot of a key that goes is
//! given to the next that comes.
//!
//! ```text
//!   key bytes ── hash ──► table of slots ──► slot 3 ──► its place in the arena of key bytes
//! ```
//! While all keys have one length, the place is the slot times it. From the first key of another length on each slot has a span,
//! and the arena is rewritten when half of it belongs to keys that are gone.

use std::hint::black_box;
use std::ops::Range;

use hashbrown::{HashTable, hash_table as table};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of gone keys below which the arena is never rewritten.
const SPARE_BYTES: usize = 1 << 16;

/// Keys that are looked up at once: what is read for them stays in the processor's cache.
const KEYS_AT_ONCE: usize = 256;

/// A table with room for so many keys is in the cache anyway.
const NEAR_KEYS_MAX: usize = 1 << 15;

/// See the module. At most 2^32 keys.
#[derive(Debug, Default)]
pub(crate) struct KeySlots {
    table: HashTable<Entry>,
    places: Places,
    bytes: Vec<u8>,
    /// Slots, free or not.
    end: usize,
    free: Vec<u32>,
}

/// A key in the table: growing it and passing over other keys need not look at their bytes.
#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u32,
    slot: u32,
}

/// Where the key of each slot lies.
#[derive(Debug)]
enum Places {
    /// All keys have this length.
    Even(usize),
    Spans {
        /// Of a free slot it is empty.
        spans: Vec<Span>,
        gone_bytes: usize,
    },
}

#[derive(Debug, Clone, Copy, Default)]
struct Span {
    start: usize,
    length: u32,
}

impl Places {
    fn key<'a>(&self, bytes: &'a [u8], slot: u32) -> &'a [u8] {
        let slot = slot as usize;
        match self {
            Self::Even(length) => &bytes[slot * length..(slot + 1) * length],
            Self::Spans { spans, .. } => &bytes[spans[slot].range()],
        }
    }
}

impl Default for Places {
    fn default() -> Self {
        Self::Even(0)
    }
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
        self.end
    }

    /// The key of a slot that is not free.
    pub(crate) fn key(&self, slot: u32) -> &[u8] {
        self.places.key(&self.bytes, slot)
    }

    pub(crate) fn find(&self, key: &[u8]) -> Option<u32> {
        let hash = hash(key);
        self.table.find(spread(hash), |entry| self.is_at(*entry, key, hash)).map(|entry| entry.slot)
    }

    /// The slot of a key, and whether it is new.
    pub(crate) fn find_or_insert(&mut self, key: &[u8]) -> (u32, bool) {
        self.find_or_enter(key, hash(key))
    }

    /// The slots of many keys, and whether each is new: `give` takes them in order, each with the number of its key.
    ///
    /// A large table lies in memory. It is read for some keys at once, which takes about as long as for one.
    pub(crate) fn find_or_insert_all<'a>(
        &mut self,
        keys: usize,
        key: impl Fn(usize) -> &'a [u8],
        mut give: impl FnMut(usize, u32, bool),
    ) {
        let mut hashes = [0; KEYS_AT_ONCE];
        for start in (0..keys).step_by(KEYS_AT_ONCE) {
            let hashes = &mut hashes[..KEYS_AT_ONCE.min(keys - start)];
            hashes.iter_mut().enumerate().for_each(|(at, of_key)| *of_key = hash(key(start + at)));
            if self.table.capacity() > NEAR_KEYS_MAX {
                self.read(hashes);
            }
            for (at, hash) in hashes.iter().enumerate() {
                let (slot, is_new) = self.find_or_enter(key(start + at), *hash);
                give(start + at, slot, is_new);
            }
        }
    }

    /// Reads what finding keys with these hashes will read.
    fn read(&self, hashes: &[u32]) {
        let entry = |hash: &u32| self.table.find(spread(*hash), |entry| entry.hash == *hash);
        let first_byte = |entry: &Entry| self.key(entry.slot).first().copied().unwrap_or_default();
        // The sum is of no use to anybody; without one the compiler would leave it all out.
        black_box(hashes.iter().filter_map(entry).map(first_byte).fold(0, u8::wrapping_add));
    }

    fn find_or_enter(&mut self, key: &[u8], hash: u32) -> (u32, bool) {
        let Self { table, places, bytes, .. } = self;
        let is_same = |entry: &Entry| entry.hash == hash && places.key(bytes, entry.slot) == key;
        let place = match table.entry(spread(hash), is_same, |entry| spread(entry.hash)) {
            table::Entry::Occupied(known) => return (known.get().slot, false),
            table::Entry::Vacant(place) => place,
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.end += 1;
            (self.end - 1) as u32
        });
        place.insert(Entry { hash, slot });
        self.put(slot as usize, key);
        (slot, true)
    }

    /// Frees the slot of a key.
    pub(crate) fn remove(&mut self, slot: u32) {
        let hash = hash(self.key(slot));
        if let Ok(entry) = self.table.find_entry(spread(hash), |other| other.slot == slot) {
            entry.remove();
        }
        self.free.push(slot);
        if let Places::Spans { spans, gone_bytes } = &mut self.places {
            let span = std::mem::take(&mut spans[slot as usize]);
            *gone_bytes += span.length as usize;
            if *gone_bytes > SPARE_BYTES && *gone_bytes * 2 > self.bytes.len() {
                self.rewrite();
            }
        }
    }

    /// The slots that are not free, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.table.iter().map(|entry| entry.slot)
    }

    /// Bytes, about.
    pub(crate) fn size(&self) -> usize {
        let spans = match &self.places {
            Places::Even(_) => 0,
            Places::Spans { spans, .. } => spans.capacity() * size_of::<Span>(),
        };
        self.bytes.capacity()
            + spans
            + self.table.capacity() * size_of::<Entry>()
            + self.free.capacity() * size_of::<u32>()
    }

    fn is_at(&self, entry: Entry, key: &[u8], hash: u32) -> bool {
        entry.hash == hash && self.key(entry.slot) == key
    }

    /// Writes the key of a new slot, or of one that was free, which is in the table already.
    fn put(&mut self, slot: usize, key: &[u8]) {
        if self.end == 1 && self.table.len() == 1 {
            self.places = Places::Even(key.len());
            self.bytes.clear();
        }
        match &mut self.places {
            Places::Even(length) if *length == key.len() => match self.bytes.get_mut(slot * key.len()..) {
                Some(old) if !old.is_empty() => old[..key.len()].copy_from_slice(key),
                _ => self.bytes.extend_from_slice(key),
            },
            Places::Even(length) => {
                let length = *length;
                self.places = self.spans_of_even(length, slot);
                self.put(slot, key);
            }
            Places::Spans { spans, .. } => {
                spans.resize(spans.len().max(slot + 1), Span::default());
                spans[slot] = Span { start: self.bytes.len(), length: key.len() as u32 };
                self.bytes.extend_from_slice(key);
            }
        }
    }

    /// The spans of keys that all have one length, but for that of a slot which is not written yet.
    fn spans_of_even(&self, length: usize, unwritten: usize) -> Places {
        let mut spans = vec![Span::default(); self.end];
        for slot in self.iter().map(|slot| slot as usize).filter(|slot| *slot != unwritten) {
            spans[slot] = Span { start: slot * length, length: length as u32 };
        }
        Places::Spans { spans, gone_bytes: self.bytes.len() - (self.len() - 1) * length }
    }

    /// Leaves out the bytes of keys that are gone.
    fn rewrite(&mut self) {
        let Places::Spans { spans, gone_bytes } = &mut self.places else { return };
        let mut bytes = Vec::with_capacity(self.bytes.len() - *gone_bytes);
        for Entry { slot, .. } in &self.table {
            let span = &mut spans[*slot as usize];
            let start = bytes.len();
            bytes.extend_from_slice(&self.bytes[span.range()]);
            span.start = start;
        }
        self.bytes = bytes;
        *gone_bytes = 0;
    }
}

/// The upper half: most keys that differ already differ here.
fn hash(key: &[u8]) -> u32 {
    (xxh3_64(key) >> 32) as u32
}

/// The bits of a hash in all parts of a number, by the golden ratio: the table looks at the lowest and at the highest.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A map of the standard library is the truth.
        #[test]
        fn keys_keep_their_slots_until_they_go(
            steps in proptest::collection::vec((any::<bool>(), 0..40_usize), 0..400),
            even in 0..500_usize,
        ) {
            let mut slots = KeySlots::default();
            let mut model: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
            for (at, (adds, n)) in steps.into_iter().enumerate() {
                // First of one length; then long ones, so that the arena is rewritten on the way.
                let key = if at < even { vec![n as u8; 13] } else { n.to_string().repeat(n * 50).into_bytes() };
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
            prop_assert!(slots.end() <= 80);
        }
    }

    /// Keys at once give what keys one by one give, in a table that grows beyond the cache, also where one comes again in a batch.
    #[test]
    fn many_keys_are_looked_up_as_each_by_itself() {
        let (mut at_once, mut one_by_one) = (KeySlots::default(), KeySlots::default());
        for round in 0..12_u64 {
            let keys: Vec<[u8; 8]> = (0..9_000_u64)
                .map(|i| match i % 3 {
                    0 => (i / 2 * 3 + round % 2).to_le_bytes(),
                    _ => (round * 1_000_000 + i).to_le_bytes(),
                })
                .collect();
            let expected: Vec<_> =
                keys.iter().enumerate().map(|(at, key)| (at, one_by_one.find_or_insert(key))).collect();
            let mut given = vec![];
            at_once.find_or_insert_all(keys.len(), |at| &keys[at], |at, slot, is_new| given.push((at, (slot, is_new))));
            assert_eq!(given, expected);
        }
        assert!(at_once.len() > NEAR_KEYS_MAX);
    }
}
