//! All partitions of a worker: rows find theirs by their key.
//!
//! Three ways to keep a partition:
//!
//! | input | what goes out | kept |
//! |---|---|---|
//! | only grows | one row, by `ROW_NUMBER` | that row |
//! | only grows | the first n | those rows: others never count again |
//! | changes, or there is no limit | the first n, or all | all rows, in order |

use arrow::array::{Int64Array, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;
use rheos_core::Result;
use rheos_core::operator::StateSize;

use super::listing::{Change, list};
use super::numbers::Numbering;
use super::ordered::Ordered;
use crate::keyed::one_row::OneRow;
use crate::keyed::row_codec::{RowBytes, RowCodec};
use crate::keyed::slots::KeySlots;
use crate::keyed::time_to_live::{TimeToLive, UNTOUCHED_MS};
use crate::keyed::touched::Touched;
use crate::row_keys::EncodedKeys;
use crate::window_rank::RankFunction;

/// The rows of every slot.
#[derive(Debug)]
enum Rows {
    One(Vec<OneRow>),
    Ordered(Vec<Ordered>),
}

/// A row that a checkpoint is told of: its key, the row, and its copies.
pub(super) type Stored = (Box<[u8]>, RowBytes, i64);

/// See the module.
#[derive(Debug)]
pub(crate) struct Partitions {
    pub(super) codec: RowCodec,
    numbering: Numbering,
    only_grows: bool,
    slots: KeySlots,
    rows: Rows,
    /// Since changes were told.
    touched: Touched,
    /// Since the last checkpoint.
    unsaved: Touched,
    /// Rows that are gone and that the last checkpoint has.
    gone: Vec<Stored>,
    ends: TimeToLive,
    /// What a partition has may be missing, since it has ended before.
    forgets_debts: bool,
}

impl Partitions {
    pub(crate) fn new(codec: RowCodec, numbering: Numbering, only_grows: bool, state_ttl_ms: Option<i64>) -> Self {
        let is_one = only_grows && numbering.function == RankFunction::RowNumber && numbering.limit == 1;
        Self {
            codec,
            numbering,
            only_grows,
            slots: KeySlots::default(),
            rows: if is_one { Rows::One(vec![]) } else { Rows::Ordered(vec![]) },
            touched: Touched::default(),
            unsaved: Touched::default(),
            gone: vec![],
            ends: TimeToLive::new(state_ttl_ms),
            forgets_debts: state_ttl_ms.is_some(),
        }
    }

    /// Whether a partition has one row at most, so that a stored row takes the place of the one before.
    pub(crate) fn has_one_row(&self) -> bool {
        matches!(self.rows, Rows::One(_))
    }

    /// What is kept.
    pub(crate) fn size(&self) -> StateSize {
        let (rows, bytes) = match &self.rows {
            Rows::One(rows) => (self.slots.len(), rows.iter().map(OneRow::size).sum()),
            Rows::Ordered(rows) => {
                rows.iter().map(Ordered::size).fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1))
            }
        };
        StateSize::new(rows, bytes + self.slots.size() + self.ends.size())
    }

    pub(crate) fn key(&self, slot: u32) -> &[u8] {
        self.slots.key(slot)
    }

    /// Adds rows, each so many times; `None`: once.
    pub(crate) fn apply(&mut self, batch: &RecordBatch, weights: Option<&Int64Array>, watermark_ms: i64) -> Result<()> {
        let (keys, orders) = (self.codec.keys(batch)?, self.codec.orders(batch)?);
        let mut rows = Vec::with_capacity(batch.num_rows());
        let mut slots = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let slot = self.slot(keys.get(row), watermark_ms);
            if !self.is_order_beyond(slot, orders.get(row)) {
                rows.push(row as u32);
                slots.push(slot);
            }
        }
        let rests = match rows.len() == batch.num_rows() {
            true => self.codec.rests(batch)?,
            false => self.codec.rests(&take_record_batch(batch, &UInt32Array::from(rows.clone()))?)?,
        };
        for (at, (row, slot)) in rows.into_iter().zip(slots).enumerate() {
            let weight = weights.map_or(1, |weights| weights.value(row as usize));
            self.add(slot, orders.get(row as usize), rests.get(at), weight);
        }
        Ok(())
    }

    /// The slot of a key, which is in use from now on.
    fn slot(&mut self, key: &[u8], watermark_ms: i64) -> u32 {
        let (slot, is_new) = self.slots.find_or_insert(key);
        if is_new {
            let end = self.slots.end();
            match &mut self.rows {
                Rows::One(rows) => rows.resize_with(end, OneRow::default),
                Rows::Ordered(rows) => rows.resize_with(end, Ordered::default),
            }
        }
        self.ends.touch(slot, watermark_ms);
        slot
    }

    fn is_order_beyond(&self, slot: u32, order: &[u8]) -> bool {
        match &self.rows {
            Rows::One(rows) => rows[slot as usize].now().is_some_and(|now| order > now.order()),
            Rows::Ordered(rows) => self.only_grows && rows[slot as usize].is_order_beyond(order),
        }
    }

    fn add(&mut self, slot: u32, order: &[u8], rest: &[u8], weight: i64) {
        let at = slot as usize;
        match &mut self.rows {
            Rows::One(rows) => {
                if rows[at].now().is_some_and(|now| (now.order(), now.rest()) <= (order, rest)) {
                    return;
                }
                rows[at].set(Some(RowBytes::new(order, rest)));
            }
            Rows::Ordered(rows) => {
                let row = RowBytes::new(order, rest);
                if self.only_grows && rows[at].is_beyond(&row, self.numbering.function) {
                    return;
                }
                rows[at].add(row, weight);
                if self.only_grows {
                    rows[at].cut_if_long(self.numbering);
                }
            }
        }
        self.touched.mark(slot);
        self.unsaved.mark(slot);
    }

    pub(crate) fn has_changes(&self) -> bool {
        !self.touched.is_empty()
    }

    /// The partitions that may have changes to be told.
    pub(crate) fn take_touched(&mut self) -> Vec<u32> {
        self.touched.take()
    }

    /// Adds the changes of a touched partition to `out`: they are told from now on.
    pub(crate) fn tell(&mut self, slot: u32, out: &mut Vec<Change>) {
        let at = slot as usize;
        match &mut self.rows {
            Rows::One(rows) => {
                let (leaves, enters) = rows[at].take_change();
                let change = |row: RowBytes, weight: i64| Change { slot, row, number: 1, weight };
                out.extend(leaves.map(|row| change(row, -1)));
                out.extend(enters.map(|row| change(row.clone(), 1)));
            }
            Rows::Ordered(rows) => {
                if self.only_grows {
                    rows[at].cut(self.numbering);
                }
                list(slot, &rows[at], self.numbering, out);
                let (slots, gone) = (&self.slots, &mut self.gone);
                // A row that had been dropped with its partition is taken away: it is a debt that nobody will pay.
                rows[at].settle(self.forgets_debts, |row| gone.push((slots.key(slot).into(), row, 0)));
            }
        }
    }

    /// Gives back what the partition used, if it has no rows. Behind the emission of what was [told](Self::tell) of it.
    pub(crate) fn release(&mut self, slot: u32) {
        let at = slot as usize;
        let is_empty = match &self.rows {
            Rows::One(rows) => rows[at].is_empty(),
            Rows::Ordered(rows) => rows[at].is_empty(),
        };
        if is_empty {
            self.remove(slot);
        }
    }

    fn remove(&mut self, slot: u32) {
        match &mut self.rows {
            Rows::One(rows) => rows[slot as usize] = OneRow::default(),
            Rows::Ordered(rows) => rows[slot as usize] = Ordered::default(),
        }
        self.ends.forget(slot);
        self.slots.remove(slot);
    }

    /// Drops partitions that were not touched for so long. What was told of them stays as it is.
    pub(crate) fn expire(&mut self, watermark_ms: i64) {
        for slot in self.ends.expired(watermark_ms) {
            let key: Box<[u8]> = self.slots.key(slot).into();
            match &mut self.rows {
                Rows::One(rows) => {
                    let mut row = std::mem::take(&mut rows[slot as usize]);
                    let stored = row.now().cloned().filter(|_| row.take_stored());
                    self.gone.extend(stored.map(|row| (key, row, 0)));
                }
                Rows::Ordered(rows) => {
                    let rows = std::mem::take(&mut rows[slot as usize]).into_stored();
                    self.gone.extend(rows.map(|row| (key.clone(), row, 0)));
                }
            }
            self.remove(slot);
        }
    }

    /// What the last checkpoint does not have as it is; from now on it has it. Of one row the last word counts.
    pub(super) fn take_unsaved(&mut self) -> Vec<Stored> {
        let mut stored = std::mem::take(&mut self.gone);
        for slot in self.unsaved.take() {
            // A slot that is free now has an empty partition, and no key.
            match &mut self.rows {
                Rows::One(rows) => {
                    let row = &mut rows[slot as usize];
                    row.set_stored();
                    stored.extend(row.now().map(|row| (self.slots.key(slot).into(), row.clone(), 1)));
                }
                Rows::Ordered(rows) => rows[slot as usize]
                    .take_unsaved(|row, copies| stored.push((self.slots.key(slot).into(), row.clone(), copies))),
            }
        }
        stored
    }

    /// Forgets all. Only before any input.
    pub(super) fn clear(&mut self) {
        for slot in self.slots.iter().collect::<Vec<_>>() {
            self.remove(slot);
        }
    }

    /// Takes rows of a checkpoint, which are there so many times. Only before any input.
    pub(super) fn restore(&mut self, batch: &RecordBatch, copies: &Int64Array) -> Result<()> {
        let (keys, orders, rests) = (self.codec.keys(batch)?, self.codec.orders(batch)?, self.codec.rests(batch)?);
        for row in 0..batch.num_rows() {
            self.restore_row([&keys, &orders, &rests].map(|part: &EncodedKeys| part.get(row)), copies.value(row));
        }
        Ok(())
    }

    fn restore_row(&mut self, [key, order, rest]: [&[u8]; 3], copies: i64) {
        let slot = self.slot(key, UNTOUCHED_MS);
        let row = RowBytes::new(order, rest);
        match &mut self.rows {
            Rows::One(rows) if copies != 0 => rows[slot as usize].restore(row),
            Rows::One(rows) => rows[slot as usize] = OneRow::default(),
            Rows::Ordered(rows) => rows[slot as usize].restore(row, copies),
        }
        self.release(slot);
    }
}
