//! The values that groups have seen, each with its lanes: first in a table that stays in the processor's cache, then in lists.
//!
//! ```text
//!   see ──► near: a table ──(it is full)──► far: lists by hash, in which a value may be several times
//! ```
//! A table of millions of values is looked up in memory, which takes several times as long as to write a value down again. What
//! comes often comes soon again, so that the near table has it. A list that has doubled is gone through by itself and holds each
//! value once then; so is every list before values are read.

use arrow::datatypes::ArrowNativeType;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// Values in the near table, at most: all that fit into 2^14 places.
const NEAR_MAX: usize = 14_336;

/// Lists: a power of two. Of 2 million values, a list has what fits a near table.
const LISTS: usize = 256;

/// Values that a list may have beyond twice those that it had when each was there once.
const REPEATED_MAX: usize = 256;

/// One value of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value<N> {
    pub(super) value: N,
    pub(super) group: u32,
    /// Those that have seen it: bits.
    pub(super) lanes: u32,
}

/// See the module.
pub(super) struct DistinctValues<N> {
    near: HashTable<Value<N>>,
    /// None, or [`LISTS`].
    far: Vec<List<N>>,
    /// To go through a list; empty.
    scratch: HashTable<Value<N>>,
}

struct List<N> {
    values: Vec<Value<N>>,
    /// How many of them, the first, are there once.
    unique: usize,
}

impl<N: ArrowNativeType> DistinctValues<N> {
    pub(super) fn new() -> Self {
        Self { near: HashTable::new(), far: vec![], scratch: HashTable::new() }
    }

    /// Notes that lanes have seen a value, which may come again soon.
    pub(super) fn see(&mut self, value: Value<N>) {
        if note(&mut self.near, value) && self.near.len() >= NEAR_MAX {
            self.spill();
        }
    }

    /// As [`see`](Self::see), of a value that will hardly come again soon: where there are lists, it goes there at once.
    pub(super) fn see_once(&mut self, value: Value<N>) {
        if self.far.is_empty() {
            return self.see(value);
        }
        let list = &mut self.far[list_of(&value)];
        list.values.push(value);
        if list.is_repetitive() {
            list.unify(&mut self.scratch);
        }
    }

    /// Makes each value be there once, which [`iter`](Self::iter) then gives.
    pub(super) fn unify(&mut self) {
        if self.far.is_empty() {
            return;
        }
        self.spill();
        self.far.iter_mut().for_each(|list| list.unify(&mut self.scratch));
        self.scratch = HashTable::new();
    }

    /// All values, in an order that stays as long as nothing is added; each once if they are unified.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Value<N>> {
        self.near.iter().chain(self.far.iter().flat_map(|list| &list.values))
    }

    pub(super) fn clear(&mut self) {
        self.near.clear();
        self.far = vec![];
    }

    /// Bytes, about.
    pub(super) fn size(&self) -> usize {
        let tables = self.near.capacity() + self.scratch.capacity();
        let lists: usize = self.far.iter().map(|list| list.values.capacity()).sum();
        // One byte of each place in a table tells whether it is taken.
        tables * (size_of::<Value<N>>() + 1) + lists * size_of::<Value<N>>()
    }

    /// Moves the near values to the lists.
    fn spill(&mut self) {
        if self.far.is_empty() {
            let room = 2 * NEAR_MAX / LISTS;
            self.far.resize_with(LISTS, || List { values: Vec::with_capacity(room), unique: 0 });
        }
        for value in self.near.drain() {
            self.far[list_of(&value)].values.push(value);
        }
        self.far.iter_mut().filter(|list| list.is_repetitive()).for_each(|list| list.unify(&mut self.scratch));
    }
}

impl<N: ArrowNativeType> List<N> {
    /// Whether most values may be there twice.
    fn is_repetitive(&self) -> bool {
        self.values.len() > 2 * self.unique + REPEATED_MAX
    }

    fn unify(&mut self, scratch: &mut HashTable<Value<N>>) {
        if self.unique == self.values.len() {
            return;
        }
        scratch.reserve(self.values.len(), hash);
        for value in self.values.drain(..) {
            note(scratch, value);
        }
        self.values.extend(scratch.drain());
        self.unique = self.values.len();
    }
}

/// By bits that the tables do not look at first: those are the lowest and the highest.
fn list_of<N: ArrowNativeType>(value: &Value<N>) -> usize {
    (hash(value) >> 32) as usize % LISTS
}

/// Puts a value into a table, and says whether it is new.
fn note<N: ArrowNativeType>(table: &mut HashTable<Value<N>>, value: Value<N>) -> bool {
    let is_same = |known: &Value<N>| known.value == value.value && known.group == value.group;
    match table.entry(hash(&value), is_same, hash) {
        Entry::Occupied(mut known) => {
            known.get_mut().lanes |= value.lanes;
            false
        }
        Entry::Vacant(place) => {
            place.insert(value);
            true
        }
    }
}

/// Both halves of a product: each bit of the factors has a part in most of them.
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

fn hash<N: ArrowNativeType>(value: &Value<N>) -> u64 {
    // Digits of pi, which are in no relation to what people count.
    let group = folded(u64::from(value.group) ^ 0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345);
    folded(value.value.as_usize() as u64 ^ group, 0xa409_3822_299f_31d1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use rheos_testkit::cases;

    use super::*;

    proptest! {
        #![proptest_config(cases(32))]

        /// A map of the standard library is the truth. Values repeat soon, late and never, over what the near table and the lists
        /// take; some rounds are too short for lists.
        #[test]
        fn each_value_is_there_once_with_all_its_lanes(
            rounds in proptest::collection::vec((0..6_u32, 1..200_000_i64, 0..4_u32), 1..4),
            seed in any::<u64>(),
        ) {
            let mut values = DistinctValues::new();
            let mut random = seed | 1;
            for (size, range, groups_log) in rounds {
                let mut model: BTreeMap<(u32, i64), u32> = BTreeMap::new();
                for row in 0..10_usize.pow(size.min(5)) {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let value = match random >> 62 {
                        0 => row as i64,
                        1 => (row / 1000) as i64,
                        _ => (random >> 20) as i64 % range,
                    };
                    let (group, lanes) = ((random >> 10) as u32 & ((1 << groups_log) - 1), 1 << ((random >> 40) & 3));
                    let value_seen = Value { value, group, lanes };
                    if random >> 8 & 1 == 0 { values.see(value_seen) } else { values.see_once(value_seen) }
                    *model.entry((group, value)).or_default() |= lanes;
                }
                values.unify();
                let mut found: Vec<_> = values.iter().map(|v| ((v.group, v.value), v.lanes)).collect();
                found.sort_unstable();
                let expected: Vec<_> = model.into_iter().collect();
                prop_assert_eq!(found, expected);
                values.clear();
                prop_assert_eq!(values.iter().count(), 0);
            }
        }
    }

    #[test]
    fn values_that_come_again_and_again_take_no_more_room() {
        let mut values = DistinctValues::new();
        let mut sizes = vec![];
        for _ in 0..20 {
            (0..100_000_i64).for_each(|value| values.see(Value { value, group: 7, lanes: 1 }));
            sizes.push(values.size());
        }
        assert!(sizes.iter().all(|size| *size < 100_000 * 3 * 2 * 16), "{sizes:?}");
        values.unify();
        assert_eq!(values.iter().count(), 100_000);
    }
}
