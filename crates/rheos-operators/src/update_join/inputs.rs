//! All inputs of a join whose results change: the rows of each, with one table of keys for all, and what is stored of them.
//!
//! ```text
//!   key ──► slots: key slot ──┬──► side 0: its rows with the key
//!                             ├──► side 1
//!                             └──► ...
//! ```
//! Invariant: a key has a slot as long as any input has a row of it.

use arrow::array::{ArrayRef, Int64Array};
use arrow::record_batch::RecordBatch;
use rheos_core::operator::{CHUNK_ROWS_MAX, OperatorInit, StateSize};
use rheos_core::state::{SnapshotReader, StateDelta};
use rheos_core::{Result, Watermark};

use super::side::{Change, Side, SideSpec};
use super::state::JoinState;
use crate::keyed::slots::KeySlots;
use crate::keyed::time_to_live::{TimeToLive, UNTOUCHED_MS};
use crate::row_keys::RowKeys;

/// See the module.
#[derive(Debug)]
pub(crate) struct Inputs {
    /// By input.
    pub(crate) sides: Vec<Side>,
    keys: Vec<RowKeys>,
    slots: KeySlots,
    state: JoinState,
    time_to_live: TimeToLive,
}

/// An input of a join: its name in the state, what is kept of it, and its keys.
pub(crate) type InputSpec = (String, SideSpec, RowKeys);

impl Inputs {
    /// For a join with so many keys.
    pub(crate) fn try_new(
        inputs: impl IntoIterator<Item = InputSpec>,
        key_columns: usize,
        state_ttl_ms: Option<i64>,
        init: &OperatorInit,
    ) -> Result<Self> {
        let (mut sides, mut keys, mut tables) = (vec![], vec![], vec![]);
        for (table, side, of_side) in inputs {
            tables.push(table);
            sides.push(Side::try_new(side)?);
            keys.push(of_side);
        }
        let state = JoinState::new(tables, key_columns, init);
        Ok(Self { sides, keys, slots: KeySlots::default(), state, time_to_live: TimeToLive::new(state_ttl_ms) })
    }

    /// What is kept.
    pub(crate) fn size(&self) -> StateSize {
        let shared = StateSize::new(0, self.slots.size() + self.time_to_live.size());
        self.sides.iter().map(Side::size).fold(shared, |sum, side| sum + side)
    }

    /// The values of the keys of an input's rows.
    pub(crate) fn key_values(&self, input: usize, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        self.keys[input].values(rows)
    }

    /// Takes rows in, each with the values of its keys and its weight (`None`: each 1).
    pub(crate) fn apply(
        &mut self,
        input: usize,
        rows: RecordBatch,
        keys: &[ArrayRef],
        weights: Option<&Int64Array>,
        watermark: Watermark,
    ) -> Result<Vec<Change>> {
        let mut new_keys = vec![];
        let encoded = self.keys[input].encode_values(keys)?;
        let mut slot = |row: usize| {
            let (slot, is_new) = self.slots.find_or_insert(encoded.get(row));
            if is_new {
                new_keys.push(slot);
            }
            slot
        };
        let keys: Vec<u32> = (0..rows.num_rows()).map(&mut slot).collect();
        let changes = self.sides[input].apply(rows, &keys, weights.map(|w| w.values().as_ref()))?;
        // Those of rows that have cancelled out.
        for key in new_keys {
            self.free_if_unused(key);
        }
        for change in &changes {
            self.time_to_live.touch(change.key, watermark.ms());
        }
        Ok(changes)
    }

    /// The slots of all keys, in no order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = u32> + '_ {
        self.slots.iter()
    }

    /// The rows of an input that its bound in time lets go.
    pub(crate) fn take_expired(&mut self, input: usize, watermark: Watermark) -> Vec<u32> {
        let Some(expiry) = &mut self.sides[input].expiry else { return vec![] };
        let (rows, reached) = expiry.take(watermark);
        self.state.reached(input, reached);
        rows
    }

    /// The rows of keys to which nothing has happened for their time to live, each with its input: they are there 0 times now.
    pub(crate) fn vanish_untouched(&mut self, watermark: Watermark) -> Vec<(usize, u32)> {
        let mut gone = vec![];
        for key in self.time_to_live.expired(watermark.ms()) {
            for (input, side) in self.sides.iter_mut().enumerate() {
                let rows: Vec<u32> = side.chains.of(key).collect();
                rows.iter().for_each(|row| side.vanish(key, *row));
                gone.extend(rows.into_iter().map(|row| (input, row)));
            }
        }
        gone
    }

    /// The rows of an input that went within the epoch, which has been told and stored; what it has changed is forgotten.
    pub(crate) fn take_gone(&mut self, input: usize) -> Vec<u32> {
        let side = &mut self.sides[input];
        let mut changed = side.changed.take();
        changed.retain(|row| side.rows.contains(*row) && side.weight(*row) == 0);
        changed
    }

    /// Frees the slot of a row; gives the key that no input has a row of any more then, whose slot is free too.
    pub(crate) fn let_go(&mut self, input: usize, row: u32) -> Option<u32> {
        let key = self.sides[input].purge(row)?;
        self.free_if_unused(key).then_some(key)
    }

    /// What the epoch has changed.
    pub(crate) fn delta(&mut self) -> Result<StateDelta> {
        self.state.delta(&self.keys, &self.sides)
    }

    /// Takes the stored rows in.
    pub(crate) fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        for (input, side) in self.sides.iter_mut().enumerate() {
            self.state.restore(snapshot, input, &self.keys[input], &mut self.slots, side)?;
        }
        for input in 0..self.sides.len() {
            self.end_restore(input)?;
            let side = &mut self.sides[input];
            let rows: Vec<u32> = side.rows.iter().collect();
            rows.chunks(CHUNK_ROWS_MAX).try_for_each(|rows| side.expire_later(rows))?;
        }
        // How long ago it was touched is not known.
        for key in self.slots.iter() {
            self.time_to_live.touch(key, UNTOUCHED_MS);
        }
        Ok(())
    }

    /// Lets go what was stored and is not there any more, and counts what is.
    fn end_restore(&mut self, input: usize) -> Result<()> {
        let keys: Vec<u32> = self.slots.iter().collect();
        for key in keys {
            let rows: Vec<u32> = self.sides[input].chains.of(key).collect();
            for row in rows {
                match self.sides[input].weight(row) {
                    0 => drop(self.let_go(input, row)),
                    weight => self.sides[input].count(key, weight)?,
                }
            }
        }
        Ok(())
    }

    fn free_if_unused(&mut self, key: u32) -> bool {
        let is_unused = self.sides.iter().all(|side| side.chains.first(key).is_none());
        if is_unused {
            self.slots.remove(key);
            self.time_to_live.forget(key);
        }
        is_unused
    }
}
