//! How often each value of a set is there, by lane: numbers, or where once is enough, bits.

use crate::lanes::{LANES_MAX, bits};

/// See the module. A value is a dense number, and at first all of its weights are 0.
#[derive(Debug, Default)]
pub(super) struct Weights {
    lanes: usize,
    /// Whether a value that is there twice is another matter than one that is there once.
    multiple: bool,
    /// By value and lane; unless there are bits.
    times: Vec<i64>,
    /// By value: the lanes that it is there in.
    there: Vec<u32>,
}

impl Weights {
    pub(super) fn lanes(&self) -> usize {
        self.lanes
    }

    /// One more lane; gives its number. Only while there are no values, as of the next.
    pub(super) fn add_lane(&mut self) -> usize {
        self.lanes += 1;
        self.lanes - 1
    }

    pub(super) fn count_all(&mut self) {
        self.multiple = true;
    }

    /// Makes room for a value.
    pub(super) fn enter(&mut self, value: u32) {
        let end = value as usize + 1;
        match self.are_bits() {
            true if self.there.len() < end => self.there.resize(end, 0),
            false if self.times.len() < end * self.lanes => self.times.resize(end * self.lanes, 0),
            _ => {}
        }
    }

    pub(super) fn get(&self, value: u32, lane: usize) -> i64 {
        match self.are_bits() {
            true => i64::from(self.there[value as usize] >> lane & 1),
            false => self.times[value as usize * self.lanes + lane],
        }
    }

    /// Puts a weight in the place of another, which it gives.
    pub(super) fn replace(&mut self, value: u32, lane: usize, new: i64) -> i64 {
        let old = self.get(value, lane);
        match self.are_bits() {
            true if new > 0 => self.there[value as usize] |= 1 << lane,
            true => self.there[value as usize] &= !(1 << lane),
            false => self.times[value as usize * self.lanes + lane] = new,
        }
        old
    }

    /// What the weight of a value becomes by that of a row.
    pub(super) fn sum(&self, value: u32, lane: usize, weight: i64) -> i64 {
        let new = self.get(value, lane).wrapping_add(weight);
        if self.multiple { new } else { new.min(1) }
    }

    /// Where there are bits: sets some of a value, and gives those that were not set.
    pub(super) fn see(&mut self, value: u32, lanes: u32) -> Option<u32> {
        if !self.are_bits() {
            return None;
        }
        let there = &mut self.there[value as usize];
        let new = lanes & !*there;
        *there |= lanes;
        Some(new)
    }

    /// Makes all weights of a value 0; tells whether one was not.
    pub(super) fn clear(&mut self, value: u32) -> bool {
        let was_there = self.lanes_of(value) > 0;
        let range = self.range(value);
        match self.are_bits() {
            true => self.there[value as usize] = 0,
            false => self.times[range].fill(0),
        }
        was_there
    }

    /// In how many lanes the weight of a value is not 0.
    pub(super) fn lanes_of(&self, value: u32) -> usize {
        match self.are_bits() {
            true => bits(self.there[value as usize]).count(),
            false => self.times[self.range(value)].iter().filter(|weight| **weight != 0).count(),
        }
    }

    /// Bytes, about.
    pub(super) fn size(&self) -> usize {
        self.times.capacity() * size_of::<i64>() + self.there.capacity() * size_of::<u32>()
    }

    fn are_bits(&self) -> bool {
        !self.multiple && self.lanes <= LANES_MAX
    }

    fn range(&self, value: u32) -> std::ops::Range<usize> {
        let at = value as usize * self.lanes;
        at..at + self.lanes
    }
}
