//! What readers know, and what they are told: where the list of a partition changes, the one before is kept until then.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rheos_core::Result;
use rheos_core::operator::CHUNK_ROWS_MAX;

use super::lists::Lists;
use super::{BestRows, Mark};
use crate::evaluation::new_batch;
use crate::keyed::touched::Touched;

/// See the module.
#[derive(Debug)]
pub(super) struct Told {
    with_numbers: bool,
    /// Partitions that have changed since changes were told.
    touched: Touched,
    /// The rows of each as they were told, in their order, one partition behind the other.
    before: Vec<u32>,
    /// Of each: where they end.
    ends: Vec<usize>,
}

impl Told {
    pub(super) fn new(with_numbers: bool) -> Self {
        Self { with_numbers, touched: Touched::default(), before: vec![], ends: vec![] }
    }

    /// The list of a partition is about to change.
    pub(super) fn touch(&mut self, slot: u32, lists: &Lists) {
        if self.touched.mark(slot) {
            self.before.extend(lists.rows(slot));
            self.ends.push(self.before.len());
        }
    }

    fn take(&mut self) -> Untold {
        let ends = std::mem::take(&mut self.ends);
        Untold { slots: self.touched.take(), before: std::mem::take(&mut self.before), ends, next: 0 }
    }
}

/// Partitions whose changes are to be told.
#[derive(Debug, Default)]
pub(super) struct Untold {
    slots: Vec<u32>,
    before: Vec<u32>,
    ends: Vec<usize>,
    /// The first that is not told.
    next: usize,
}

/// A row that enters the answer (so many times) or leaves it.
#[derive(Debug, Clone, Copy)]
struct Change {
    row: u32,
    number: i64,
    weight: i64,
}

impl BestRows {
    pub(super) fn has_changes(&self) -> bool {
        self.told.as_ref().is_some_and(|told| !told.touched.is_empty())
    }

    pub(super) fn take_untold(&mut self) -> Untold {
        self.told.as_mut().map(Told::take).unwrap_or_default()
    }

    /// The next changes, a chunk or more; they are told from now on. `None`: that was all.
    pub(super) fn tell(&mut self, untold: &mut Untold, schema: &SchemaRef) -> Result<Option<Vec<RecordBatch>>> {
        let with_numbers = self.told.as_ref().is_some_and(|told| told.with_numbers);
        let (mut changes, mut left) = (vec![], vec![]);
        while changes.len() < CHUNK_ROWS_MAX && untold.next < untold.slots.len() {
            let at = untold.next;
            let start = at.checked_sub(1).map_or(0, |at| untold.ends[at]);
            let before = &untold.before[start..untold.ends[at]];
            untold.next += 1;
            match with_numbers {
                true => self.list_numbers(untold.slots[at], before, &mut changes),
                false => self.list_rows(untold.slots[at], before, &mut changes),
            }
            self.settle(untold.slots[at], before, &mut left);
        }
        if changes.is_empty() && untold.next == untold.slots.len() {
            left.into_iter().for_each(|row| self.let_go(row));
            return Ok(None);
        }
        let mut chunks = vec![];
        let mut rest = changes.as_slice();
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at(whole_pairs(rest, CHUNK_ROWS_MAX));
            chunks.push(self.rows_of(chunk, with_numbers, schema)?);
            rest = behind;
        }
        left.into_iter().for_each(|row| self.let_go(row));
        Ok(Some(chunks))
    }

    /// Adds the changes of a partition, whose rows were these. Of two rows that have one number one after the other, that which leaves
    /// comes first, and the other follows it.
    fn list_numbers(&self, slot: u32, before: &[u32], out: &mut Vec<Change>) {
        let (mut before, mut now) = (before.iter().copied(), self.lists.rows(slot));
        for number in 1..=before.len().max(now.len()) as i64 {
            let (old, new) = (before.next(), now.next());
            if old != new {
                out.extend(old.map(|row| Change { row, number, weight: -1 }));
                out.extend(new.map(|row| Change { row, number, weight: 1 }));
            }
        }
    }

    /// The same without numbers: all that leave come first.
    fn list_rows(&self, slot: u32, before: &[u32], out: &mut Vec<Change>) {
        let mut more = vec![];
        for same in before.chunk_by(|a, b| a == b) {
            let Mark { listed, told, .. } = self.marks[same[0] as usize];
            let change = Change { row: same[0], number: 0, weight: i64::from(listed) - i64::from(told) };
            if change.weight < 0 {
                out.push(change);
            } else if change.weight > 0 {
                more.push(change);
            }
        }
        out.extend(more);
        let new = self.lists.copies(slot).filter(|(row, _)| self.marks[*row as usize].told == 0);
        out.extend(new.map(|(row, copies)| Change { row, number: 0, weight: i64::from(copies) }));
    }

    /// Readers know the rows of a partition. Those that they knew, and that are in no list any more, are added to `left`.
    fn settle(&mut self, slot: u32, before: &[u32], left: &mut Vec<u32>) {
        for same in before.chunk_by(|a, b| a == b) {
            let mark = &mut self.marks[same[0] as usize];
            if mark.listed == 0 {
                mark.told = 0;
                left.push(same[0]);
            }
        }
        for (row, copies) in self.lists.copies(slot) {
            self.marks[row as usize].told = copies;
        }
    }

    fn rows_of(&self, changes: &[Change], with_numbers: bool, schema: &SchemaRef) -> Result<RecordBatch> {
        let rows: Vec<u32> = changes.iter().map(|change| change.row).collect();
        let mut columns = self.store.gather_columns(0..self.schema.fields().len(), &rows)?;
        if with_numbers {
            columns.push(Arc::new(Int64Array::from_iter_values(changes.iter().map(|c| c.number))) as ArrayRef);
        }
        columns.push(Arc::new(Int64Array::from_iter_values(changes.iter().map(|c| c.weight))));
        new_batch(schema, columns, changes.len())
    }
}

/// How many of the first changes, `rows_max` at most, make a chunk that does not part a row that leaves from the one that follows it.
fn whole_pairs(changes: &[Change], rows_max: usize) -> usize {
    match changes.get(rows_max - 1..=rows_max) {
        Some([leaves, enters]) if leaves.weight < 0 && enters.weight > 0 => rows_max - 1,
        _ => rows_max.min(changes.len()),
    }
}
