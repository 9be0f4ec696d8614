//! What a checkpoint has of the rows, and what it is told.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use rheos_core::Result;
use rheos_core::operator::CHUNK_ROWS_MAX;

use super::lists::{Entry, RowRef, Where};
use super::order::canonical;
use super::{BestRows, Place};
use crate::keyed::time_to_live::UNTOUCHED_MS;
use crate::update_rank::state::{SavedRows, Unsaved};

impl SavedRows for BestRows {
    fn has_one_row(&self) -> bool {
        self.limit == 1
    }

    fn take_unsaved(&mut self) -> Result<Unsaved> {
        let mut rows = std::mem::take(&mut self.gone);
        let gone = rows.len();
        let mut copies = vec![0; gone];
        self.has_saved.resize(if self.limit == 1 { self.slots.end() } else { 0 }, false);
        for slot in self.unsaved.take() {
            // A slot that is free now has an empty list.
            for (row, listed) in self.lists.copies(slot) {
                if self.limit == 1 {
                    self.has_saved[slot as usize] = true;
                } else if std::mem::replace(&mut self.marks[row as usize].saved, listed) == listed {
                    continue;
                }
                rows.push(row);
                copies.push(i64::from(listed));
            }
        }
        let mut batches = vec![];
        for (rows, copies) in rows.chunks(CHUNK_ROWS_MAX).zip(copies.chunks(CHUNK_ROWS_MAX)) {
            let mut columns = self.store.gather_columns(0..self.schema.fields().len(), rows)?;
            columns.push(Arc::new(Int64Array::from(copies.to_vec())) as ArrayRef);
            batches.push(columns);
        }
        for row in &rows[..gone] {
            self.marks[*row as usize].saved = 0;
            self.store.remove(*row);
        }
        Ok(Unsaved { rows: batches, is_cleared: std::mem::take(&mut self.is_cleared) })
    }

    fn restore(&mut self, batch: &RecordBatch, copies: &Int64Array) -> Result<()> {
        if self.limit == 0 {
            return Ok(());
        }
        let batch = canonical(batch.clone())?;
        // A row takes the place of an equal one.
        self.take_out(&batch)?;
        let is_there: BooleanArray = copies.iter().map(|copies| Some(copies? > 0)).collect();
        let batch = filter_record_batch(&batch, &is_there)?;
        let copies = filter(copies, &is_there)?;
        let copies = copies.as_primitive::<Int64Type>();
        let prefixes = self.order.prefixes(&batch)?;
        let slots = self.partitions(&batch, UNTOUCHED_MS)?;
        let mut entered = vec![];
        for (row, (slot, prefix)) in slots.into_iter().zip(prefixes).enumerate() {
            for _ in 0..copies.value(row).min(self.limit as i64) {
                match self.place(slot, prefix, (&batch, row))? {
                    Place::Beyond => break,
                    Place::At(at) => {
                        self.insert(slot, at, Entry { prefix, row: RowRef::in_batch(row) });
                        entered.push((slot, row));
                    }
                    Place::Copy(at, of) => self.insert(slot, at, Entry { prefix, row: of }),
                }
            }
        }
        self.keep(batch, entered)
    }

    fn end_restore(&mut self) {
        let slots: Vec<u32> = self.slots.iter().collect();
        if self.limit == 1 {
            self.has_saved.resize(self.slots.end(), false);
        }
        for slot in slots {
            if self.lists.of(slot).is_empty() {
                self.ends.forget(slot);
                self.slots.remove(slot);
                continue;
            }
            if self.limit == 1 {
                self.has_saved[slot as usize] = true;
            }
            for (row, listed) in self.lists.copies(slot) {
                let mark = &mut self.marks[row as usize];
                mark.told = if self.told.is_some() { listed } else { 0 };
                mark.saved = if self.limit == 1 { 0 } else { listed };
            }
        }
    }
}

impl BestRows {
    /// Takes out what is equal to these rows. Only while a checkpoint is read.
    fn take_out(&mut self, batch: &RecordBatch) -> Result<()> {
        let (keys, prefixes) = (self.key.encode(batch)?, self.order.prefixes(batch)?);
        for (row, prefix) in prefixes.into_iter().enumerate() {
            let Some(slot) = self.slots.find(keys.get(row)) else { continue };
            let Ok(at) = self.search(slot, prefix, (batch, row))? else { continue };
            let found = self.lists.of(slot)[at].row;
            if let Where::Store(row) = found.place() {
                self.lists.remove(slot, found);
                self.marks[row as usize].listed = 0;
                self.let_go(row);
            }
        }
        Ok(())
    }
}
