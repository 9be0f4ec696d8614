//! How often each row is there on either side, and in checkpoints.
//!
//! In a checkpoint the table `rows` has each row that is on a side with its two numbers; one takes the place of an equal row.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use rheos_core::operator::{CHUNK_ROWS_MAX, OperatorInit, StateSize};
use rheos_core::state::{Run, SnapshotReader, StateDelta, TableDelta, Tombstone};
use rheos_core::{Error, Result};

use super::SetOperation;
use crate::evaluation::new_batch;
use crate::keyed::row_codec::RowCodec;
use crate::keyed::slots::KeySlots;
use crate::keyed::time_to_live::{TimeToLive, UNTOUCHED_MS};
use crate::keyed::touched::Touched;
use crate::state::{StateKeys, check_layout};

const TABLE: &str = "rows";
const LAYOUT: &str = "set-rows/v1";
/// The columns behind those of the row: its numbers, and whether it is on a side at all.
const COUNTS: [&str; 3] = ["left_rows", "right_rows", "is_there"];

/// Of one row.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    sides: [i64; 2],
    /// How often it is in the result that has been told.
    told: i64,
    /// A checkpoint has it.
    is_stored: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Counts {
    operation: SetOperation,
    codec: RowCodec,
    slots: KeySlots,
    /// By slot.
    counts: Vec<Count>,
    /// Since changes were told.
    touched: Touched,
    /// Since the last checkpoint.
    unsaved: Touched,
    /// Rows that are on no side any more and that the last checkpoint has.
    gone: Vec<Box<[u8]>>,
    ends: TimeToLive,
    /// All has been told, and nothing is kept.
    is_over: bool,
    stored: SchemaRef,
    keys: StateKeys,
}

impl Counts {
    /// What is kept.
    pub(super) fn size(&self) -> StateSize {
        let bytes = self.slots.size() + self.counts.capacity() * size_of::<Count>() + self.ends.size();
        StateSize::new(self.slots.len(), bytes)
    }

    pub(super) fn try_new(
        operation: SetOperation,
        rows: &SchemaRef,
        ttl_ms: Option<i64>,
        init: &OperatorInit,
    ) -> Result<Self> {
        let columns: Vec<usize> = (0..rows.fields().len()).collect();
        let fields = rows.fields().iter().cloned();
        let counts = COUNTS.map(|name| Arc::new(Field::new(name, DataType::Int64, false)));
        Ok(Self {
            operation,
            codec: RowCodec::try_new(rows, &columns, &[])?,
            slots: KeySlots::default(),
            counts: vec![],
            touched: Touched::default(),
            unsaved: Touched::default(),
            gone: vec![],
            ends: TimeToLive::new(ttl_ms),
            is_over: false,
            stored: Arc::new(Schema::new(fields.chain(counts).collect::<Vec<_>>())),
            keys: StateKeys::new(columns.len(), init),
        })
    }

    /// The rows are on a side so many times more, each.
    pub(super) fn add(
        &mut self,
        side: usize,
        rows: &RecordBatch,
        weights: Option<&Int64Array>,
        watermark_ms: i64,
    ) -> Result<()> {
        let keys = self.codec.keys(rows)?;
        for row in 0..rows.num_rows() {
            let slot = self.slot(keys.get(row));
            let count = &mut self.counts[slot as usize].sides[side];
            *count = count.saturating_add(weights.map_or(1, |weights| weights.value(row)));
            self.ends.touch(slot, watermark_ms);
            self.touched.mark(slot);
            self.unsaved.mark(slot);
        }
        Ok(())
    }

    fn slot(&mut self, key: &[u8]) -> u32 {
        let (slot, _) = self.slots.find_or_insert(key);
        if self.counts.len() < self.slots.end() {
            self.counts.resize(self.slots.end(), Count::default());
        }
        slot
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.touched.is_empty()
    }

    pub(super) fn take_touched(&mut self) -> Vec<u32> {
        self.touched.take()
    }

    /// How often the row is in the result more than was told. It is told from now on.
    pub(super) fn tell(&mut self, slot: u32) -> i64 {
        let count = &mut self.counts[slot as usize];
        let now = self.operation.copies(count.sides[0], count.sides[1]);
        now - std::mem::replace(&mut count.told, now)
    }

    /// The columns of the rows in these slots.
    pub(super) fn rows<'a>(&'a self, slots: impl ExactSizeIterator<Item = &'a u32>) -> Result<Vec<ArrayRef>> {
        self.codec.columns(slots.map(|slot| self.slots.key(*slot)), [].iter())
    }

    /// Gives back the slot of a row that is on no side. Behind the emission of what was [told](Self::tell) of it.
    pub(super) fn release(&mut self, slot: u32) {
        if self.counts[slot as usize].sides == [0, 0] {
            self.remove(slot);
        }
    }

    fn remove(&mut self, slot: u32) {
        let count = std::mem::take(&mut self.counts[slot as usize]);
        if count.is_stored {
            self.gone.push(self.slots.key(slot).into());
        }
        self.ends.forget(slot);
        self.slots.remove(slot);
    }

    /// Drops rows that did not come for so long. What was told of them stays as it is.
    pub(super) fn expire(&mut self, watermark_ms: i64) {
        for slot in self.ends.expired(watermark_ms) {
            self.remove(slot);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Forgets all rows, of which nothing will be told any more.
    pub(super) fn end(&mut self) {
        for slot in self.slots.iter().collect::<Vec<_>>() {
            self.remove(slot);
        }
        self.gone.clear();
        self.is_over = true;
    }

    /// What changed since the last delta.
    pub(super) fn delta(&mut self) -> Result<StateDelta> {
        let (unsaved, mut gone) = (self.unsaved.take(), std::mem::take(&mut self.gone));
        let mut runs = vec![];
        for keys in gone.chunks_mut(CHUNK_ROWS_MAX) {
            runs.push(self.run(keys.iter().map(AsRef::as_ref), &vec![[0, 0]; keys.len()])?);
        }
        // A slot that is free now is not that of a row.
        let is_there = |slot: &u32| self.counts[*slot as usize].sides != [0, 0];
        let slots: Vec<u32> = unsaved.into_iter().filter(is_there).collect();
        for slots in slots.chunks(CHUNK_ROWS_MAX) {
            let sides: Vec<_> = slots.iter().map(|slot| self.counts[*slot as usize].sides).collect();
            runs.push(self.run(slots.iter().map(|slot| self.slots.key(*slot)), &sides)?);
            slots.iter().for_each(|slot| self.counts[*slot as usize].is_stored = true);
        }
        let tombstones = if std::mem::take(&mut self.is_over) { vec![Tombstone::All] } else { vec![] };
        if runs.is_empty() && tombstones.is_empty() {
            return Ok(StateDelta::default());
        }
        let width = self.stored.fields().len();
        Ok(StateDelta {
            tables: vec![TableDelta {
                table: TABLE.into(),
                kind: self.keys.kind(),
                layout: LAYOUT.into(),
                replaces_by: (0..width - COUNTS.len()).collect(),
                gone_by: Some(width - 1),
                tombstones,
                runs,
            }],
        })
    }

    fn run<'a>(&self, keys: impl ExactSizeIterator<Item = &'a [u8]>, sides: &[[i64; 2]]) -> Result<Run> {
        let mut columns = self.codec.columns(keys, [].iter())?;
        let key_groups = self.keys.groups(&columns, sides.len())?;
        let column =
            |value: fn(&[i64; 2]) -> i64| Arc::new(sides.iter().map(value).collect::<Int64Array>()) as ArrayRef;
        columns.extend([column(|s| s[0]), column(|s| s[1]), column(|s| i64::from(*s != [0, 0]))]);
        Ok(Run { key_groups, rows: new_batch(&self.stored, columns, sides.len())? })
    }

    /// Takes back the rows of a checkpoint; `is_told`: with the result of them.
    pub(super) fn restore(&mut self, snapshot: &dyn SnapshotReader, is_told: bool) -> Result<()> {
        for delta in snapshot.deltas(TABLE) {
            check_layout(&delta, LAYOUT)?;
            if delta.tombstones.contains(&Tombstone::All) {
                self.end();
                self.is_over = false;
            }
            for run in &delta.runs {
                self.restore_run(&run.rows, is_told)?;
            }
        }
        if !is_told {
            for slot in self.slots.iter() {
                self.touched.mark(slot);
            }
        }
        Ok(())
    }

    fn restore_run(&mut self, stored: &RecordBatch, is_told: bool) -> Result<()> {
        let width = self.stored.fields().len() - COUNTS.len();
        let columns = stored.columns().get(width..width + 2).unwrap_or_default();
        let [left, right] = columns else {
            return Err(Error::internal("stored rows do not say how often they are there"));
        };
        let [left, right] = [left, right].map(|column| column.as_primitive::<Int64Type>().clone());
        let keys = self.codec.keys(stored)?;
        for row in 0..stored.num_rows() {
            let sides = [left.value(row), right.value(row)];
            let told = if is_told { self.operation.copies(sides[0], sides[1]) } else { 0 };
            let slot = self.slot(keys.get(row));
            self.counts[slot as usize] = Count { sides, told, is_stored: sides != [0, 0] };
            self.ends.touch(slot, UNTOUCHED_MS);
            self.release(slot);
        }
        Ok(())
    }
}
