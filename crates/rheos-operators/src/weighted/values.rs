//! Multisets of values (tuples of arguments) by group: how often each is there, by the weights that came.
//!
//! ```text
//!   group, tuple ── bytes ──► KeySlots ──► value 7 ──► weights of 7, one a lane
//!                                            │
//!          first of the group ──► 3 ◄──► 7 ◄──► 12        the values of a group are a chain
//! ```
//!
//! Calls over the same arguments share one set. Where they differ by `FILTER` each filter is a *lane* with weights of its own, so
//! that a row is looked up once. A value is there in a lane when its weight is above 0; that it came or went is a *turn*. Where
//! it does not matter how often a value is there, its weights are bits ([`Weights`]).
//!
//! Invariant: a value whose weights are all 0 stays in its chain until [`Values::take_changes`] or [`Values::forget_changes`], so
//! that what is stored of it can be called gone. State: the values; dropped when their weights are 0.

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Int64Type};
use arrow::row::{RowConverter, SortField};
use rheos_core::Result;
use std::sync::Arc;

use super::heap::Heap;
use super::weights::Weights;
use crate::evaluation::coerce;
use crate::keyed::slots::KeySlots;
use crate::lanes::bits;

/// No value.
const NONE: u32 = u32::MAX;

/// Bytes of a key that are the group.
const GROUP_BYTES: usize = size_of::<u32>();

/// See the module.
#[derive(Debug)]
pub(super) struct Values {
    types: Vec<DataType>,
    /// `None`: tuples of nothing, all equal.
    converter: Option<RowConverter>,
    keys: KeySlots,
    weights: Weights,
    links: Vec<Link>,
    /// The first value of each group.
    first: Vec<u32>,
    changed: Vec<u32>,
    /// With the lane that each is of.
    heaps: Vec<(usize, Heap)>,
    scratch: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    group: u32,
    previous: u32,
    next: u32,
    /// Whether it is among the changed ones.
    changed: bool,
    /// Whether a table of state has it.
    stored: bool,
}

/// Rows by which values came into a lane (weight 1) or went (-1).
#[derive(Debug, Default)]
pub(super) struct Turns {
    pub(super) rows: Vec<u32>,
    pub(super) weights: Vec<i64>,
}

impl Turns {
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.weights.clear();
    }
}

/// Rows for a set.
pub(super) struct Tuples<'a> {
    pub(super) columns: &'a [ArrayRef],
    /// The rows that count, by lane; `None`: all.
    pub(super) masks: &'a [Option<BooleanBuffer>],
    pub(super) slots: &'a [u32],
    /// `None`: each is 1.
    pub(super) weights: Option<&'a [i64]>,
}

impl Tuples<'_> {
    /// The lanes that a row counts in.
    fn lanes(&self, row: usize) -> impl Iterator<Item = usize> {
        let counts = move |mask: &Option<BooleanBuffer>| mask.as_ref().is_none_or(|mask| mask.value(row));
        self.masks.iter().enumerate().filter(move |(_, mask)| counts(mask)).map(|(lane, _)| lane)
    }
}

/// What changed: the group of each value, its columns, then its weights.
pub(crate) struct ValueChanges {
    /// The groups.
    pub(crate) slots: Vec<u32>,
    /// As the table's fields.
    pub(crate) columns: Vec<ArrayRef>,
}

impl Values {
    /// Sets of tuples of these types, in the order that the options say.
    pub(super) fn try_new(columns: &[(DataType, SortOptions)]) -> Result<Self> {
        let fields = columns.iter().map(|(t, options)| SortField::new_with_options(t.clone(), *options));
        let converter = if columns.is_empty() { None } else { Some(RowConverter::new(fields.collect())?) };
        Ok(Self {
            types: columns.iter().map(|(t, _)| t.clone()).collect(),
            converter,
            keys: KeySlots::default(),
            weights: Weights::default(),
            links: vec![],
            first: vec![],
            changed: vec![],
            heaps: vec![],
            scratch: vec![],
        })
    }

    pub(super) fn types(&self) -> &[DataType] {
        &self.types
    }

    pub(super) fn lanes(&self) -> usize {
        self.weights.lanes()
    }

    /// One more lane; gives its number. Only while the set is empty, as of the next two.
    pub(super) fn add_lane(&mut self) -> usize {
        self.weights.add_lane()
    }

    /// A value that is there twice is from now on another matter than one that is there once.
    pub(super) fn count_all(&mut self) {
        self.weights.count_all();
    }

    /// Keeps the smallest or largest value of a lane at hand; gives the number by which [`top`](Self::top) knows it.
    pub(super) fn keep_top(&mut self, lane: usize, largest: bool) -> usize {
        self.heaps.push((lane, Heap::new(largest)));
        self.heaps.len() - 1
    }

    /// The smallest or largest value of a group.
    pub(super) fn top(&self, heap: usize, group: u32) -> Option<u32> {
        self.heaps[heap].1.top(group)
    }

    /// Adds rows. `turns`: by lane, what came and what went.
    pub(super) fn update(&mut self, rows: &Tuples, turns: &mut [Turns]) -> Result<()> {
        self.each(rows, |set, value, row| {
            if rows.weights.is_none()
                && let Some(new) = set.weights.see(value, rows.lanes(row).fold(0, |lanes, lane| lanes | 1 << lane))
            {
                if new != 0 {
                    set.mark(value);
                    bits(new).for_each(|lane| set.turn(value, lane, 1, row, turns));
                }
                return;
            }
            for lane in rows.lanes(row) {
                let new = set.weights.sum(value, lane, rows.weights.map_or(1, |weights| weights[row]));
                set.set(value, lane, new, row, turns);
            }
        })
    }

    /// Puts stored weights, one array a lane, in the place of those of their values.
    pub(super) fn restore(&mut self, rows: &Tuples, stored: &[ArrayRef], turns: &mut [Turns]) -> Result<()> {
        let stored: Vec<&[i64]> = stored.iter().map(|w| w.as_primitive::<Int64Type>().values().as_ref()).collect();
        self.each(rows, |set, value, row| {
            set.links[value as usize].stored = true;
            // Also where it is nothing: then it leaves with the others.
            set.mark(value);
            rows.lanes(row).for_each(|lane| set.set(value, lane, stored[lane][row], row, turns));
        })
    }

    /// Calls `f` with the value of each row that counts in some lane.
    fn each(&mut self, rows: &Tuples, mut f: impl FnMut(&mut Self, u32, usize)) -> Result<()> {
        let encoded = self.converter.as_ref().map(|c| c.convert_columns(rows.columns)).transpose()?;
        let counting: Vec<usize> = match any_of(rows.masks) {
            Some(mask) => mask.set_indices().collect(),
            None => (0..rows.slots.len()).collect(),
        };
        let (mut bytes, mut ends) = (std::mem::take(&mut self.scratch), vec![0]);
        bytes.clear();
        for row in &counting {
            bytes.extend_from_slice(&rows.slots[*row].to_be_bytes());
            bytes.extend_from_slice(encoded.as_ref().map_or(&[], |encoded| encoded.row(*row).data()));
            ends.push(bytes.len());
        }
        let mut values = Vec::with_capacity(counting.len());
        let key = |at: usize| &bytes[ends[at]..ends[at + 1]];
        self.keys.find_or_insert_all(counting.len(), key, |_, value, is_new| values.push((value, is_new)));
        self.scratch = bytes;
        for (row, (value, is_new)) in counting.into_iter().zip(values) {
            if is_new {
                self.enter(value, rows.slots[row]);
            }
            f(self, value, row);
        }
        Ok(())
    }

    /// A value that was not there, with weights of 0.
    fn enter(&mut self, value: u32, group: u32) {
        if self.first.len() <= group as usize {
            self.first.resize(group as usize + 1, NONE);
        }
        let next = std::mem::replace(&mut self.first[group as usize], value);
        if let Some(next) = self.links.get_mut(next as usize) {
            next.previous = value;
        }
        let link = Link { group, previous: NONE, next, changed: false, stored: false };
        let at = value as usize;
        if at == self.links.len() {
            self.links.push(link);
        } else {
            self.links[at] = link;
        }
        self.weights.enter(value);
    }

    fn set(&mut self, value: u32, lane: usize, new: i64, row: usize, turns: &mut [Turns]) {
        let old = self.weights.replace(value, lane, new);
        if old == new {
            return;
        }
        self.mark(value);
        let turn = i64::from(new > 0) - i64::from(old > 0);
        if turn != 0 {
            self.turn(value, lane, turn, row, turns);
        }
    }

    /// Notes that a value came into a lane, or went.
    fn turn(&mut self, value: u32, lane: usize, turn: i64, row: usize, turns: &mut [Turns]) {
        turns[lane].rows.push(row as u32);
        turns[lane].weights.push(turn);
        let group = self.links[value as usize].group;
        for (_, heap) in self.heaps.iter_mut().filter(|(of, _)| *of == lane) {
            match turn > 0 {
                true => heap.insert(group, value, &self.keys),
                false => heap.remove(group, value, &self.keys),
            }
        }
    }

    fn mark(&mut self, value: u32) {
        let link = &mut self.links[value as usize];
        if !link.changed {
            link.changed = true;
            self.changed.push(value);
        }
    }

    fn chain(&self, group: u32) -> impl Iterator<Item = u32> + '_ {
        let first = self.first.get(group as usize).copied().unwrap_or(NONE);
        std::iter::successors(Some(first), |value| self.links.get(*value as usize).map(|link| link.next))
            .take_while(|value| *value != NONE)
    }

    /// The values of a group in a lane, in their order, with their weights.
    pub(super) fn sorted(&self, group: u32, lane: usize) -> Vec<(u32, i64)> {
        let with_weight = |value: u32| (value, self.weights.get(value, lane));
        let mut values: Vec<_> = self.chain(group).map(with_weight).filter(|(_, weight)| *weight > 0).collect();
        values.sort_unstable_by(|(a, _), (b, _)| self.keys.key(*a).cmp(self.keys.key(*b)));
        values
    }

    /// The tuples of values.
    pub(super) fn columns(&self, values: &[u32]) -> Result<Vec<ArrayRef>> {
        let Some(converter) = &self.converter else { return Ok(vec![]) };
        let parser = converter.parser();
        let rows = values.iter().map(|value| parser.parse(&self.keys.key(*value)[GROUP_BYTES..]));
        let columns = converter.convert_rows(rows)?.into_iter().zip(&self.types);
        columns.map(|(column, t)| coerce(column, t)).collect()
    }

    /// Empties groups.
    pub(super) fn clear(&mut self, groups: &[u32]) {
        for group in groups {
            let values: Vec<u32> = self.chain(*group).collect();
            for value in values {
                if self.weights.clear(value) {
                    self.mark(value);
                }
            }
            self.heaps.iter_mut().for_each(|(_, heap)| heap.clear(*group));
        }
    }

    /// What changed since the last call: tuples, then the weight in each lane and, of several lanes, in how many of them it is
    /// not 0. So the last column is 0 of what is gone.
    pub(super) fn take_changes(&mut self) -> Result<Option<ValueChanges>> {
        let changed = std::mem::take(&mut self.changed);
        let is_told = |value: &u32| self.links[*value as usize].stored || !self.is_nothing(*value);
        let told: Vec<u32> = changed.iter().copied().filter(is_told).collect();
        let mut columns = self.columns(&told)?;
        for lane in 0..self.lanes() {
            let weights = told.iter().map(|value| self.weights.get(*value, lane));
            columns.push(Arc::new(Int64Array::from_iter_values(weights)));
        }
        if self.lanes() > 1 {
            let lanes = told.iter().map(|value| self.weights.lanes_of(*value) as i64);
            columns.push(Arc::new(Int64Array::from_iter_values(lanes)));
        }
        let slots: Vec<u32> = told.iter().map(|value| self.links[*value as usize].group).collect();
        told.iter().for_each(|value| self.links[*value as usize].stored = true);
        self.settle(&changed);
        Ok((!slots.is_empty()).then_some(ValueChanges { slots, columns }))
    }

    /// Nobody keeps what changed since the last call.
    pub(super) fn forget_changes(&mut self) {
        let changed = std::mem::take(&mut self.changed);
        self.settle(&changed);
    }

    /// Values are as they are told; those that are nothing leave.
    fn settle(&mut self, changed: &[u32]) {
        for value in changed {
            self.links[*value as usize].changed = false;
            if self.is_nothing(*value) {
                self.leave(*value);
            }
        }
    }

    fn leave(&mut self, value: u32) {
        let Link { group, previous, next, .. } = self.links[value as usize];
        match self.links.get_mut(previous as usize) {
            Some(previous) => previous.next = next,
            None => self.first[group as usize] = next,
        }
        if let Some(next) = self.links.get_mut(next as usize) {
            next.previous = previous;
        }
        self.keys.remove(value);
    }

    fn is_nothing(&self, value: u32) -> bool {
        self.weights.lanes_of(value) == 0
    }

    /// Values of all groups, also those that are nothing and have not left yet.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Bytes, about.
    pub(super) fn size(&self) -> usize {
        self.keys.size()
            + self.weights.size()
            + self.links.capacity() * size_of::<Link>()
            + (self.first.capacity() + self.changed.capacity()) * size_of::<u32>()
            + self.heaps.iter().map(|(_, heap)| heap.size()).sum::<usize>()
    }
}

/// The rows that count in any lane; `None`: all.
fn any_of(masks: &[Option<BooleanBuffer>]) -> Option<BooleanBuffer> {
    let mut masks = masks.iter();
    let first = masks.next()?.clone()?;
    masks.try_fold(first, |any, mask| mask.as_ref().map(|mask| &any | mask))
}
