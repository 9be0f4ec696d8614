//! What is known of each key: its row, or what an epoch has brought for it; and in checkpoints the table `rows`, one row a key, with 1
//! behind its columns, or 0 if it is gone.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rheos_core::change::{split, with_weights};
use rheos_core::operator::{CHUNK_ROWS_MAX, OperatorInit, StateSize};
use rheos_core::state::{Run, SnapshotReader, StateDelta, TableDelta};
use rheos_core::{Error, Result};

use super::{KeyedChanges, MaterialiseSpec};
use crate::evaluation::new_batch;
use crate::keyed::one_row::OneRow;
use crate::keyed::row_codec::{RowBytes, RowCodec};
use crate::keyed::slots::KeySlots;
use crate::keyed::time_to_live::{TimeToLive, UNTOUCHED_MS};
use crate::keyed::touched::Touched;
use crate::state::{StateKeys, check_layout};

const TABLE: &str = "rows";
const LAYOUT: &str = "materialised-rows/v1";

#[derive(Debug)]
enum Rows {
    /// The row of each slot.
    Replace(Vec<OneRow>),
    /// The rows that came and went in this epoch, each once, in the order of their last coming.
    Pair(Vec<Vec<(RowBytes, i64)>>),
}

/// See the module.
#[derive(Debug)]
pub(super) struct KeyedRows {
    key: Vec<usize>,
    codec: RowCodec,
    slots: KeySlots,
    rows: Rows,
    /// Since changes were told.
    touched: Touched,
    /// Since the last checkpoint.
    unsaved: Touched,
    /// Rows whose key is gone and that the last checkpoint has.
    gone: Vec<(Box<[u8]>, RowBytes)>,
    ends: TimeToLive,
    stored: SchemaRef,
    keys: StateKeys,
}

/// A row that goes or comes.
pub(super) type Change = (u32, RowBytes, i64);

impl KeyedRows {
    /// What is kept.
    pub(super) fn size(&self) -> StateSize {
        let bytes: usize = match &self.rows {
            Rows::Replace(rows) => rows.iter().map(OneRow::size).sum(),
            Rows::Pair(rows) => rows.iter().flatten().map(|(row, _)| row.size()).sum(),
        };
        StateSize::new(self.slots.len(), bytes + self.slots.size() + self.ends.size())
    }

    pub(super) fn try_new(spec: &MaterialiseSpec, rows: &SchemaRef, init: &OperatorInit) -> Result<Self> {
        Ok(Self {
            codec: RowCodec::try_new(rows, &spec.key, &[])?,
            slots: KeySlots::default(),
            rows: match spec.changes {
                KeyedChanges::Replace => Rows::Replace(vec![]),
                KeyedChanges::Pair => Rows::Pair(vec![]),
            },
            touched: Touched::default(),
            unsaved: Touched::default(),
            gone: vec![],
            ends: TimeToLive::new(spec.state_ttl_ms),
            stored: with_weights(rows),
            keys: StateKeys::new(spec.key.len(), init),
            key: spec.key.clone(),
        })
    }

    pub(super) fn apply(&mut self, rows: &RecordBatch, weights: Option<&Int64Array>, watermark_ms: i64) -> Result<()> {
        let (keys, rests) = (self.codec.keys(rows)?, self.codec.rests(rows)?);
        for row in 0..rows.num_rows() {
            let weight = weights.map_or(1, |weights| weights.value(row));
            let slot = self.slot(keys.get(row));
            let bytes = RowBytes::new(&[], rests.get(row));
            match &mut self.rows {
                Rows::Replace(rows) => {
                    rows[slot as usize].set((weight > 0).then_some(bytes));
                    self.ends.touch(slot, watermark_ms);
                    self.unsaved.mark(slot);
                }
                Rows::Pair(rows) => {
                    let rows = &mut rows[slot as usize];
                    let known = rows.iter().position(|(known, _)| *known == bytes).map(|at| rows.remove(at).1);
                    rows.push((bytes, known.unwrap_or(0).saturating_add(weight)));
                }
            }
            self.touched.mark(slot);
        }
        Ok(())
    }

    fn slot(&mut self, key: &[u8]) -> u32 {
        let (slot, is_new) = self.slots.find_or_insert(key);
        let end = self.slots.end();
        match &mut self.rows {
            Rows::Replace(rows) if is_new => rows.resize_with(end, OneRow::default),
            Rows::Pair(rows) if is_new => rows.resize_with(end, Vec::new),
            _ => {}
        }
        slot
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.touched.is_empty()
    }

    pub(super) fn take_touched(&mut self) -> Vec<u32> {
        self.touched.take()
    }

    /// Adds the row of a touched key that goes and the one that comes to `out`: they are told from now on.
    pub(super) fn tell(&mut self, slot: u32, out: &mut Vec<Change>) {
        match &mut self.rows {
            Rows::Replace(rows) => {
                let row = &mut rows[slot as usize];
                let (goes, comes) = row.take_change();
                out.extend(goes.map(|row| (slot, row, -1)));
                match comes.cloned() {
                    Some(comes) => out.push((slot, comes, 1)),
                    None => {
                        let goes = out.last().filter(|(of, _, _)| *of == slot && row.now().is_none());
                        let goes = goes.filter(|_| row.take_stored()).map(|(_, row, _)| row.clone());
                        self.gone.extend(goes.map(|row| (self.slots.key(slot).into(), row)));
                    }
                }
            }
            Rows::Pair(rows) => {
                let (goes, comes): (Vec<_>, Vec<_>) = std::mem::take(&mut rows[slot as usize])
                    .into_iter()
                    .filter(|(_, w)| *w != 0)
                    .partition(|(_, w)| *w < 0);
                out.extend(goes.into_iter().last().map(|(row, _)| (slot, row, -1)));
                out.extend(comes.into_iter().last().map(|(row, _)| (slot, row, 1)));
            }
        }
    }

    /// The columns of changes.
    pub(super) fn columns(&self, changes: &[Change]) -> Result<Vec<ArrayRef>> {
        let keys = changes.iter().map(|(slot, _, _)| self.slots.key(*slot));
        self.codec.columns(keys, changes.iter().map(|(_, row, _)| row))
    }

    /// Gives back the slot of a key without a row. Behind the emission of what was [told](Self::tell) of it.
    pub(super) fn release(&mut self, slot: u32) {
        let is_empty = match &self.rows {
            Rows::Replace(rows) => rows[slot as usize].is_empty(),
            Rows::Pair(_) => true,
        };
        if is_empty {
            self.remove(slot);
        }
    }

    fn remove(&mut self, slot: u32) {
        if let Rows::Replace(rows) = &mut self.rows {
            rows[slot as usize] = OneRow::default();
        }
        self.ends.forget(slot);
        self.slots.remove(slot);
    }

    /// Drops rows whose key did not come for so long. What was told of them stays as it is.
    pub(super) fn expire(&mut self, watermark_ms: i64) {
        for slot in self.ends.expired(watermark_ms) {
            if let Rows::Replace(rows) = &mut self.rows {
                let mut row = std::mem::take(&mut rows[slot as usize]);
                let stored = row.now().cloned().filter(|_| row.take_stored());
                self.gone.extend(stored.map(|row| (self.slots.key(slot).into(), row)));
            }
            self.remove(slot);
        }
    }

    /// What changed since the last delta.
    pub(super) fn delta(&mut self) -> Result<StateDelta> {
        let gone = std::mem::take(&mut self.gone).into_iter();
        let mut stored: Vec<(Box<[u8]>, RowBytes, i64)> = gone.map(|(key, row)| (key, row, 0)).collect();
        if let Rows::Replace(rows) = &mut self.rows {
            for slot in self.unsaved.take() {
                // A slot that is free now has no row.
                let row = &mut rows[slot as usize];
                stored.extend(row.now().map(|row| (self.slots.key(slot).into(), row.clone(), 1)));
                row.set_stored();
            }
        }
        if stored.is_empty() {
            return Ok(StateDelta::default());
        }
        let runs = stored.chunks(CHUNK_ROWS_MAX).map(|rows| self.run(rows)).collect::<Result<_>>()?;
        Ok(StateDelta {
            tables: vec![TableDelta {
                table: TABLE.into(),
                kind: self.keys.kind(),
                layout: LAYOUT.into(),
                replaces_by: self.key.clone(),
                gone_by: Some(self.stored.fields().len() - 1),
                tombstones: vec![],
                runs,
            }],
        })
    }

    fn run(&self, stored: &[(Box<[u8]>, RowBytes, i64)]) -> Result<Run> {
        let keys = stored.iter().map(|(key, _, _)| key.as_ref());
        let mut columns = self.codec.columns(keys, stored.iter().map(|(_, row, _)| row))?;
        let key: Vec<ArrayRef> = self.key.iter().map(|at| Arc::clone(&columns[*at])).collect();
        columns.push(Arc::new(Int64Array::from_iter_values(stored.iter().map(|(_, _, copies)| *copies))));
        let rows = new_batch(&self.stored, columns, stored.len())?;
        Ok(Run { key_groups: self.keys.groups(&key, stored.len())?, rows })
    }

    /// Takes back the rows of a checkpoint.
    pub(super) fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        for delta in snapshot.deltas(TABLE) {
            check_layout(&delta, LAYOUT)?;
            for run in &delta.runs {
                self.restore_run(&run.rows)?;
            }
        }
        Ok(())
    }

    fn restore_run(&mut self, stored: &RecordBatch) -> Result<()> {
        let (rows, copies) = split(stored)?;
        let copies = copies.ok_or_else(|| Error::internal("stored rows do not say whether they are there"))?;
        let (keys, rests) = (self.codec.keys(&rows)?, self.codec.rests(&rows)?);
        for row in 0..rows.num_rows() {
            let slot = self.slot(keys.get(row));
            let Rows::Replace(kept) = &mut self.rows else { continue };
            match copies.value(row) {
                0 => kept[slot as usize] = OneRow::default(),
                _ => kept[slot as usize].restore(RowBytes::new(&[], rests.get(row))),
            }
            self.ends.touch(slot, UNTOUCHED_MS);
            self.release(slot);
        }
        Ok(())
    }
}
