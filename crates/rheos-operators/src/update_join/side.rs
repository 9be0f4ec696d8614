//! One side of an updating join: its rows by key, and what is known of each.

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;
use rheos_core::operator::StateSize;
use rheos_core::{Error, Result};

use super::expiry::Expiry;
use super::spec::{Plan, all_columns};
use crate::keyed::chains::Chains;
use crate::keyed::row_index::{EncodedRows, RowIndex};
use crate::keyed::row_store::RowStore;
use crate::keyed::touched::Touched;
use crate::row_keys::RowKeys;

/// A row that is there more or less often than before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) row: u32,
    pub(crate) key: u32,
    pub(crate) weight: i64,
    /// Nothing is known of the row yet.
    pub(crate) is_new: bool,
}

/// See the module. A row that is there 0 times stays until [`purge`](Self::purge), since its going may have to be told.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) rows: RowStore,
    pub(crate) chains: Chains,
    /// Where equal rows are one; else each row is there once.
    merged: Option<Merged>,
    /// By row, where each has its own: the rows of the other side that it is joined with, by their weights.
    pub(crate) matches: Option<Vec<i64>>,
    /// By key, where the other side asks: the rows of this side, by their weights.
    pub(crate) totals: Option<Vec<i64>>,
    /// The keys whose totals have changed since the last flush.
    pub(crate) touched_keys: Touched,
    /// What the epoch changed.
    pub(crate) changed: Touched,
    /// Where the join is bounded in time.
    pub(crate) expiry: Option<Expiry>,
}

#[derive(Debug)]
struct Merged {
    keys: RowKeys,
    index: RowIndex,
    /// By row.
    weights: Vec<i64>,
}

impl Side {
    pub(crate) fn try_new(plan: &Plan, side: usize) -> Result<Self> {
        let schema = &plan.inputs[side];
        let keys = plan.merges[side].then(|| RowKeys::try_unordered(&all_columns(schema), schema)).transpose()?;
        Ok(Self {
            rows: RowStore::new(schema.clone()),
            chains: Chains::default(),
            merged: keys.map(|keys| Merged { keys, index: RowIndex::default(), weights: vec![] }),
            matches: plan.counts_by_row(side).then(Vec::new),
            totals: plan.counts_by_key(side).then(Vec::new),
            touched_keys: Touched::default(),
            changed: Touched::default(),
            expiry: plan.bounds.as_ref().map(|bounds| Expiry::new(side, bounds)),
        })
    }

    /// What is kept.
    pub(crate) fn size(&self) -> StateSize {
        let numbers = |values: &Option<Vec<i64>>| values.as_ref().map_or(0, |v| v.capacity() * size_of::<i64>());
        let merged = self.merged.as_ref().map_or(0, |m| m.index.size() + m.weights.capacity() * size_of::<i64>());
        let expiry = self.expiry.as_ref().map_or(0, Expiry::size);
        let bytes = self.rows.size() + self.chains.size() + merged + expiry;
        StateSize::new(self.rows.len(), bytes + numbers(&self.matches) + numbers(&self.totals))
    }

    /// How often a row is there.
    pub(crate) fn weight(&self, row: u32) -> i64 {
        self.merged.as_ref().map_or(1, |merged| merged.weights[row as usize])
    }

    pub(crate) fn total(&self, key: u32) -> i64 {
        self.totals.as_ref().and_then(|totals| totals.get(key as usize)).copied().unwrap_or(0)
    }

    /// Takes rows in, each with its key and its weight (`None`: each 1). What cancels out within them is no change.
    pub(crate) fn apply(&mut self, rows: RecordBatch, keys: &[u32], weights: Option<&[i64]>) -> Result<Vec<Change>> {
        let changes = match self.merged.is_some() {
            true => self.merge(rows, keys, weights, |old, change| old.checked_add(change))?,
            false => {
                let slots = self.add(rows, keys)?;
                let changes = slots.into_iter().zip(keys);
                changes.map(|(row, key)| Change { row, key: *key, weight: 1, is_new: true }).collect()
            }
        };
        for change in &changes {
            self.changed.mark(change.row);
            self.count(change.key, change.weight)?;
            if self.totals.is_some() {
                self.touched_keys.mark(change.key);
            }
        }
        Ok(changes)
    }

    /// Takes rows of a checkpoint in, with how often they are there; the last that is said of a row counts.
    pub(crate) fn restore(
        &mut self,
        rows: RecordBatch,
        keys: &[u32],
        weights: Option<&[i64]>,
        matches: Option<&[i64]>,
    ) -> Result<()> {
        if self.merged.is_none() {
            return self.add(rows, keys).map(drop);
        }
        self.merge(rows.clone(), keys, weights, |_, weight| Some(weight))?;
        let (Some(merged), Some(stored), Some(matches)) = (&self.merged, matches, &mut self.matches) else {
            return Ok(());
        };
        let encoded = EncodedRows::new(merged.keys.encode(&rows)?, rows.num_rows());
        let found = merged.index.find(&self.rows, &merged.keys, &encoded)?;
        for (row, stored) in found.into_iter().zip(stored) {
            row.into_iter().for_each(|row| matches[row as usize] = *stored);
        }
        Ok(())
    }

    /// Adds to the total of a key.
    pub(crate) fn count(&mut self, key: u32, weight: i64) -> Result<()> {
        let Some(totals) = &mut self.totals else { return Ok(()) };
        if totals.len() <= key as usize {
            totals.resize(key as usize + 1, 0);
        }
        let total = &mut totals[key as usize];
        *total = total.checked_add(weight).ok_or_else(too_often)?;
        Ok(())
    }

    /// Adds to the matches of a row.
    pub(crate) fn matched(&mut self, row: u32, weight: i64) -> Result<()> {
        let Some(matches) = &mut self.matches else { return Ok(()) };
        let count = &mut matches[row as usize];
        *count = count.checked_add(weight).ok_or_else(too_often)?;
        Ok(())
    }

    /// These rows wait for their end.
    pub(crate) fn expire_later(&mut self, rows: &[u32]) -> Result<()> {
        let Some(expiry) = &mut self.expiry else { return Ok(()) };
        let times = self.rows.gather_columns([expiry.column()], rows)?.remove(0);
        for (row, time_us) in rows.iter().zip(expiry.times_us(&times)?) {
            expiry.add(*row, *time_us);
        }
        Ok(())
    }

    /// A row is there 0 times, and so are all of its key.
    pub(crate) fn vanish(&mut self, key: u32, row: u32) {
        self.changed.mark(row);
        if let Some(merged) = &mut self.merged {
            merged.weights[row as usize] = 0;
        }
        if let Some(total) = self.totals.as_mut().and_then(|totals| totals.get_mut(key as usize)) {
            *total = 0;
        }
    }

    /// Lets a row go; the key that has no row on this side any more then.
    pub(crate) fn purge(&mut self, row: u32) -> Option<u32> {
        if let Some(merged) = &mut self.merged {
            merged.index.remove(row);
        }
        self.rows.remove(row);
        self.chains.remove(row)
    }

    /// Adds rows that are no other's equals.
    fn add(&mut self, rows: RecordBatch, keys: &[u32]) -> Result<Vec<u32>> {
        let slots = self.rows.push(rows)?;
        for (row, key) in slots.iter().zip(keys) {
            self.chains.push(*key, *row);
        }
        let end = self.rows.end();
        if let Some(matches) = &mut self.matches {
            matches.resize(end.max(matches.len()), 0);
            slots.iter().for_each(|row| matches[*row as usize] = 0);
        }
        if let Some(merged) = &mut self.merged {
            merged.weights.resize(end.max(merged.weights.len()), 0);
            slots.iter().for_each(|row| merged.weights[*row as usize] = 0);
        }
        Ok(slots)
    }

    fn merge(
        &mut self,
        rows: RecordBatch,
        keys: &[u32],
        weights: Option<&[i64]>,
        join: impl Fn(i64, i64) -> Option<i64>,
    ) -> Result<Vec<Change>> {
        let Some(merged) = &self.merged else { return Err(Error::internal("rows are merged that have no weights")) };
        let encoded = EncodedRows::new(merged.keys.encode(&rows)?, rows.num_rows());
        // Of rows that are equal the first stands for all.
        let firsts = encoded.firsts();
        let mut sums = vec![0_i64; rows.num_rows()];
        for (row, first) in firsts.iter().enumerate() {
            sums[*first] = join(sums[*first], weights.map_or(1, |w| w[row])).ok_or_else(too_often)?;
        }
        let found = merged.index.find(&self.rows, &merged.keys, &encoded)?;
        let is_first = |row: &usize| firsts[*row] == *row;
        let new: Vec<usize> =
            (0..rows.num_rows()).filter(is_first).filter(|row| found[*row].is_none() && sums[*row] != 0).collect();
        let indices = UInt32Array::from_iter_values(new.iter().map(|row| *row as u32));
        let new_keys: Vec<u32> = new.iter().map(|row| keys[*row]).collect();
        let slots = match new.len() == rows.num_rows() {
            true => self.add(rows, keys)?,
            false => self.add(take_record_batch(&rows, &indices)?, &new_keys)?,
        };
        let Some(merged) = &mut self.merged else { return Err(Error::internal("the weights of rows were lost")) };
        let mut changes = vec![];
        let mut slots = slots.into_iter();
        for row in (0..found.len()).filter(is_first) {
            let (slot, is_new) = match found[row] {
                Some(slot) => (slot, false),
                None if sums[row] == 0 => continue,
                None => {
                    let slot = slots.next().ok_or_else(|| Error::internal("a new row has no slot"))?;
                    merged.index.insert(slot, encoded.hash(row));
                    (slot, true)
                }
            };
            let weight = &mut merged.weights[slot as usize];
            let old = std::mem::replace(weight, join(*weight, sums[row]).ok_or_else(too_often)?);
            if is_new || *weight != old {
                changes.push(Change { row: slot, key: keys[row], weight: *weight - old, is_new });
            }
        }
        Ok(changes)
    }
}

/// A sum of weights that is no number of 64 bits.
pub(crate) fn too_often() -> Error {
    Error::user("a row is there more than 9,223,372,036,854,775,807 times")
}
