//! The smallest (or largest) of each group's values, while values come and go: a binary heap a group, and for each value its
//! place in its group's, so that one can leave from the middle.

use crate::keyed::slots::KeySlots;

/// Values are the slots of `KeySlots`, compared by their bytes.
#[derive(Debug)]
pub(super) struct Heap {
    /// Whether the largest value is on top.
    largest: bool,
    /// By group.
    heaps: Vec<Vec<u32>>,
    /// Where each value is in its heap; of those that are in none it means nothing.
    places: Vec<u32>,
}

impl Heap {
    pub(super) fn new(largest: bool) -> Self {
        Self { largest, heaps: vec![], places: vec![] }
    }

    /// The value on top.
    pub(super) fn top(&self, group: u32) -> Option<u32> {
        self.heaps.get(group as usize)?.first().copied()
    }

    /// Adds a value that is not there.
    pub(super) fn insert(&mut self, group: u32, value: u32, keys: &KeySlots) {
        let group = group as usize;
        if self.heaps.len() <= group {
            self.heaps.resize_with(group + 1, Vec::new);
        }
        if self.places.len() <= value as usize {
            self.places.resize(keys.end().max(value as usize + 1), 0);
        }
        let place = self.heaps[group].len();
        self.heaps[group].push(value);
        self.rise(group, place, keys);
    }

    /// Takes away a value that is there.
    pub(super) fn remove(&mut self, group: u32, value: u32, keys: &KeySlots) {
        let group = group as usize;
        let place = self.places[value as usize] as usize;
        let heap = &mut self.heaps[group];
        debug_assert_eq!(heap.get(place), Some(&value), "a value that leaves is in its heap");
        heap.swap_remove(place);
        if place < heap.len() {
            let place = self.rise(group, place, keys);
            self.sink(group, place, keys);
        }
        if self.heaps[group].is_empty() {
            self.heaps[group] = vec![];
        }
    }

    pub(super) fn clear(&mut self, group: u32) {
        if let Some(heap) = self.heaps.get_mut(group as usize) {
            *heap = vec![];
        }
    }

    /// Bytes, about.
    pub(super) fn size(&self) -> usize {
        self.heaps.capacity() * size_of::<Vec<u32>>() + 2 * self.places.capacity() * size_of::<u32>()
    }

    fn is_above(&self, a: u32, b: u32, keys: &KeySlots) -> bool {
        let order = keys.key(a).cmp(keys.key(b));
        if self.largest { order.is_gt() } else { order.is_lt() }
    }

    /// Moves a value up to where it belongs; gives its place.
    fn rise(&mut self, group: usize, mut place: usize, keys: &KeySlots) -> usize {
        let value = self.heaps[group][place];
        while place > 0 {
            let above = (place - 1) / 2;
            let other = self.heaps[group][above];
            if !self.is_above(value, other, keys) {
                break;
            }
            self.put(group, place, other);
            place = above;
        }
        self.put(group, place, value);
        place
    }

    fn sink(&mut self, group: usize, mut place: usize, keys: &KeySlots) {
        let value = self.heaps[group][place];
        loop {
            let heap = &self.heaps[group];
            let children = [2 * place + 1, 2 * place + 2].into_iter().filter(|child| *child < heap.len());
            let best = children.reduce(|a, b| if self.is_above(heap[b], heap[a], keys) { b } else { a });
            let Some(child) = best.filter(|child| self.is_above(heap[*child], value, keys)) else { break };
            let other = heap[child];
            self.put(group, place, other);
            place = child;
        }
        self.put(group, place, value);
    }

    fn put(&mut self, group: usize, place: usize, value: u32) {
        self.heaps[group][place] = value;
        self.places[value as usize] = place as u32;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(rheos_testkit::cases(64))]

        /// An ordered set of the standard library is the truth.
        #[test]
        fn the_top_is_the_smallest_of_those_that_are_there(
            largest: bool,
            steps in proptest::collection::vec((0..3_u32, any::<u8>()), 0..300),
        ) {
            let (mut heap, mut keys) = (Heap::new(largest), KeySlots::default());
            let mut model: Vec<BTreeSet<u8>> = vec![BTreeSet::new(); 3];
            for (group, n) in steps {
                let (value, _) = keys.find_or_insert(&[group as u8, n]);
                let set = &mut model[group as usize];
                if set.insert(n) {
                    heap.insert(group, value, &keys);
                } else {
                    set.remove(&n);
                    heap.remove(group, value, &keys);
                    keys.remove(value);
                }
                let top = heap.top(group).map(|value| keys.key(value)[1]);
                prop_assert_eq!(top, if largest { set.last() } else { set.first() }.copied());
            }
        }
    }
}
