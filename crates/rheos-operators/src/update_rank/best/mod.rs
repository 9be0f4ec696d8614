//! The first n rows of each partition by `ROW_NUMBER`, of input that only grows: no row that falls behind them ever counts again.
//!
//! ```text
//!   batch ─► partition and first bytes of the order ─► behind the last of a full list? then that is all
//!                                                  └─► into the list; what is in it when the batch is through goes to the store
//! ```
//! The parts: `order` (which row stands before which), `lists` (the first rows of each partition), `told` (what readers know), `saved`
//! (what a checkpoint has), `last` (the rows at the end), `operator`. Rows are Arrow columns all the way. Equal rows of a partition are one row.

mod last;
mod lists;
pub(super) mod operator;
mod order;
mod saved;
mod told;

use std::cmp::Ordering;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rheos_core::operator::StateSize;
use rheos_core::{Result, change};

use super::{RankFunction, Tells, UpdateRankSpec};
use crate::keyed::row_store::RowStore;
use crate::keyed::slots::KeySlots;
use crate::keyed::time_to_live::TimeToLive;
use crate::keyed::touched::Touched;
use crate::row_keys::RowKeys;
use lists::{Entry, Lists, RowRef, Where};
use order::{Prefix, RowOrder, canonical};
use told::Told;

/// The largest limit: a row that enters moves all that are behind it.
pub(super) const LIMIT_MAX: u64 = 1000;

/// Whether ranks can be made this way.
pub(super) fn is_possible(spec: &UpdateRankSpec) -> bool {
    spec.function == RankFunction::RowNumber
        && spec.limit.is_some_and(|limit| limit <= LIMIT_MAX)
        && !change::has_weights(&spec.input)
        && RowOrder::columns(&spec.input, &spec.partition_by, &spec.order_by).is_some()
}

/// What is known of a row of the store, in copies.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    /// In the list of its partition.
    listed: u16,
    /// Known to readers.
    told: u16,
    /// In the last checkpoint; not noted where it has one row a partition.
    saved: u16,
}

/// Where a row goes.
enum Place {
    Beyond,
    At(usize),
    /// Behind this row, which it equals.
    Copy(usize, RowRef),
}

/// See the module.
#[derive(Debug)]
pub(super) struct BestRows {
    limit: usize,
    schema: SchemaRef,
    key: RowKeys,
    order: RowOrder,
    slots: KeySlots,
    lists: Lists,
    store: RowStore,
    /// By the slots of the store.
    marks: Vec<Mark>,
    /// `None`: nothing is told before the end.
    told: Option<Told>,
    /// Partitions that have changed since the last checkpoint.
    unsaved: Touched,
    /// By partition: the last checkpoint has its row. Only where it is one.
    has_saved: Vec<bool>,
    /// Rows that are in no list any more, and that the last checkpoint has.
    gone: Vec<u32>,
    /// All that the last checkpoint has is gone.
    is_cleared: bool,
    ends: TimeToLive,
}

impl BestRows {
    pub(super) fn try_new(spec: &UpdateRankSpec) -> Result<Self> {
        let input = &spec.input;
        let columns = RowOrder::columns(input, &spec.partition_by, &spec.order_by).unwrap_or_default();
        let limit = spec.limit.unwrap_or(LIMIT_MAX) as usize;
        Ok(Self {
            limit,
            schema: SchemaRef::clone(input),
            key: RowKeys::of_columns(input, &spec.partition_by)?,
            order: RowOrder::try_new(input, columns)?,
            slots: KeySlots::default(),
            lists: Lists::new(limit),
            store: RowStore::new(SchemaRef::clone(input)),
            marks: vec![],
            told: (spec.tells == Tells::Changes).then(|| Told::new(spec.name.is_some())),
            unsaved: Touched::default(),
            has_saved: vec![],
            gone: vec![],
            is_cleared: false,
            ends: TimeToLive::new(spec.state_ttl_ms),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// What is kept.
    pub(super) fn size(&self) -> StateSize {
        let marks = self.marks.capacity() * size_of::<Mark>();
        let bytes = self.slots.size() + self.lists.size() + self.store.size() + marks + self.ends.size();
        StateSize::new(self.store.len(), bytes)
    }

    /// Adds rows.
    pub(super) fn apply(&mut self, batch: RecordBatch, watermark_ms: i64) -> Result<()> {
        if self.limit == 0 || batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = canonical(batch)?;
        let prefixes = self.order.prefixes(&batch)?;
        let slots = self.partitions(&batch, watermark_ms)?;
        let mut entered = vec![];
        for (row, (slot, prefix)) in slots.into_iter().zip(prefixes).enumerate() {
            match self.place(slot, prefix, (&batch, row))? {
                Place::Beyond => continue,
                Place::At(at) => {
                    self.touch(slot);
                    self.insert(slot, at, Entry { prefix, row: RowRef::in_batch(row) });
                    entered.push((slot, row));
                }
                Place::Copy(at, of) => {
                    self.touch(slot);
                    self.insert(slot, at, Entry { prefix, row: of });
                }
            }
        }
        self.keep(batch, entered)
    }

    /// The slots of the rows' partitions, which are in use from now on.
    fn partitions(&mut self, batch: &RecordBatch, watermark_ms: i64) -> Result<Vec<u32>> {
        let keys = self.key.encode(batch)?;
        let slots: Vec<u32> = (0..batch.num_rows()).map(|row| self.slots.find_or_insert(keys.get(row)).0).collect();
        self.lists.grow(self.slots.end());
        slots.iter().for_each(|slot| {
            self.ends.touch(*slot, watermark_ms);
        });
        Ok(slots)
    }

    /// The list of a partition is about to change.
    fn touch(&mut self, slot: u32) {
        if let Some(told) = &mut self.told {
            told.touch(slot, &self.lists);
        }
        self.unsaved.mark(slot);
    }

    fn place(&self, slot: u32, prefix: Prefix, row: (&RecordBatch, usize)) -> Result<Place> {
        let list = self.lists.of(slot);
        if list.len() == self.limit && list.last().is_some_and(|last| last.prefix < prefix) {
            return Ok(Place::Beyond);
        }
        Ok(match self.search(slot, prefix, row)? {
            Ok(at) if at + 1 == self.limit => Place::Beyond,
            Err(at) if at == self.limit => Place::Beyond,
            Ok(at) => Place::Copy(at + 1, list[at].row),
            Err(at) => Place::At(at),
        })
    }

    /// Where in its list a row is, or would be.
    fn search(
        &self,
        slot: u32,
        prefix: Prefix,
        row: (&RecordBatch, usize),
    ) -> Result<std::result::Result<usize, usize>> {
        let list = self.lists.of(slot);
        let mut from = list.partition_point(|entry| entry.prefix < prefix);
        let mut to = from + list[from..].partition_point(|entry| entry.prefix == prefix);
        while from < to {
            let middle = from.midpoint(to);
            match self.compare(row, list[middle].row)? {
                Ordering::Less => to = middle,
                Ordering::Greater => from = middle + 1,
                Ordering::Equal => return Ok(Ok(middle)),
            }
        }
        Ok(Err(from))
    }

    fn compare(&self, row: (&RecordBatch, usize), other: RowRef) -> Result<Ordering> {
        let other = match other.place() {
            Where::Batch(other) => (row.0, other),
            Where::Store(slot) => self.store.row(slot)?,
        };
        self.order.compare_behind_prefix(row, other)
    }

    fn insert(&mut self, slot: u32, at: usize, entry: Entry) {
        if let Where::Store(row) = entry.row.place() {
            self.marks[row as usize].listed += 1;
        }
        let displaced = self.lists.insert(slot, at, entry, self.limit);
        if let Some(Where::Store(row)) = displaced.map(RowRef::place) {
            self.marks[row as usize].listed -= 1;
            self.let_go(row);
        }
    }

    /// Puts those of these rows into the store that are still in their lists.
    fn keep(&mut self, batch: RecordBatch, mut entered: Vec<(u32, usize)>) -> Result<()> {
        entered.retain(|(slot, row)| self.lists.contains(*slot, RowRef::in_batch(*row)));
        let rows: Vec<u32> = entered.iter().map(|(_, row)| *row as u32).collect();
        let kept = self.store.push_some(batch, &rows)?;
        self.marks.resize(self.store.end(), Mark::default());
        for ((slot, row), at) in entered.into_iter().zip(kept) {
            let listed = self.lists.rename(slot, RowRef::in_batch(row), RowRef::in_store(at));
            self.marks[at as usize] = Mark { listed, ..Mark::default() };
        }
        Ok(())
    }

    /// A row may be of no use any more.
    fn let_go(&mut self, row: u32) {
        match self.marks[row as usize] {
            Mark { listed: 0, told: 0, saved: 0 } => self.store.remove(row),
            Mark { listed: 0, told: 0, .. } => self.gone.push(row),
            _ => {}
        }
    }

    /// Takes a partition out that has no rows to be told. A checkpoint will know.
    fn remove(&mut self, slot: u32) {
        let rows: Vec<u32> = self.lists.copies(slot).map(|(row, _)| row).collect();
        self.lists.clear(slot);
        let has_saved = self.has_saved.get_mut(slot as usize).is_some_and(std::mem::take);
        for row in rows {
            let mark = &mut self.marks[row as usize];
            (mark.listed, mark.told) = (0, 0);
            mark.saved += u16::from(has_saved);
            self.let_go(row);
        }
        self.ends.forget(slot);
        self.slots.remove(slot);
    }

    /// Forgets all rows.
    fn clear(&mut self) {
        for slot in self.slots.iter() {
            self.ends.forget(slot);
        }
        self.slots = KeySlots::default();
        self.lists = Lists::new(self.limit);
        self.store = RowStore::new(SchemaRef::clone(&self.schema));
        self.marks = vec![];
        self.unsaved = Touched::default();
        self.has_saved = vec![];
        self.gone = vec![];
    }

    /// Drops partitions that were not touched for so long. What was told of them stays as it is.
    pub(super) fn expire(&mut self, watermark_ms: i64) {
        for slot in self.ends.expired(watermark_ms) {
            self.remove(slot);
        }
    }
}
