//! Rows of one schema, each in a slot: a number that stays its own until it is removed, and is given to another row then.
//!
//! ```text
//!   slot 7 ──► (chunk 2, row 5)        chunk: a batch of Arrow columns, and the slot of each of its rows
//!   slot 8 ──► (chunk 0, row 1)
//! ```
//! Chunks never change. Small ones, and large ones that have lost half of their rows, are put together eight at a time with
//! others of about their size, without what is gone: so a row is copied a few times at most until it lies in a large chunk, and
//! rows that are gone take no more room than those that are there. A row costs 12 bytes beside its values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, new_empty_array};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use hashbrown::HashMap;
use rheos_core::{Error, Result};

use crate::evaluation::new_batch;
use crate::windowed_rows::gather_columns;

/// Chunks of about one size that are put together.
const MERGED: usize = 8;
/// Sizes by powers of eight; chunks of the last one, of 2,048 rows and more, are large.
const LARGE: usize = 4;
/// Chunks of more bytes are not put together with others.
const MERGED_BYTES_MAX: usize = 1 << 24;
/// Slots are below this.
const ROWS_MAX: usize = 1 << 31;
/// No row.
const NONE: u32 = u32::MAX;

/// See the module. At most 2^31 rows.
#[derive(Debug)]
pub(crate) struct RowStore {
    schema: SchemaRef,
    /// Of every slot, free or not.
    places: Vec<Place>,
    free: Vec<u32>,
    chunks: Vec<Option<Chunk>>,
    free_chunks: Vec<u32>,
    /// By size: the chunks that wait for others to be put together with.
    waiting: [Vec<u32>; LARGE + 1],
}

#[derive(Debug, Clone, Copy)]
struct Place {
    chunk: u32,
    row: u32,
}

#[derive(Debug)]
struct Chunk {
    rows: RecordBatch,
    /// Of each row; `NONE` where it is gone.
    slots: Vec<u32>,
    live: usize,
    /// Where it waits.
    waits: Option<usize>,
}

impl RowStore {
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self { schema, places: vec![], free: vec![], chunks: vec![], free_chunks: vec![], waiting: Default::default() }
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows that are there.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether a slot has a row.
    pub(crate) fn contains(&self, slot: u32) -> bool {
        self.places.get(slot as usize).is_some_and(|place| place.chunk != NONE)
    }

    /// One more than the largest slot ever given: the length of vectors that go by slot.
    pub(crate) fn end(&self) -> usize {
        self.places.len()
    }

    /// Adds rows; the slot of each.
    pub(crate) fn push(&mut self, rows: RecordBatch) -> Result<Vec<u32>> {
        let count = rows.num_rows();
        self.check_room(count)?;
        let slots: Vec<u32> = (0..count).map(|_| self.free_slot()).collect();
        if count > 0 {
            self.add_chunk(own(rows)?, slots.clone())?;
            self.tidy()?;
        }
        Ok(slots)
    }

    /// Adds some rows of a batch, which stand in their order; the slot of each. If they are most of it, nothing is copied.
    pub(crate) fn push_some(&mut self, rows: RecordBatch, kept: &[u32]) -> Result<Vec<u32>> {
        let count = rows.num_rows();
        if kept.is_empty() {
            return Ok(vec![]);
        }
        if kept.len() == count {
            return self.push(rows);
        }
        if kept.len() * 2 < count {
            let columns = gather_some(&rows, kept)?;
            return self.push(new_batch(&self.schema, columns, kept.len())?);
        }
        self.check_room(kept.len())?;
        let slots: Vec<u32> = kept.iter().map(|_| self.free_slot()).collect();
        let mut all = vec![NONE; count];
        kept.iter().zip(&slots).for_each(|(row, slot)| all[*row as usize] = *slot);
        self.add_chunk(own(rows)?, all)?;
        self.tidy()?;
        Ok(slots)
    }

    /// Frees the slot of a row. What it took is given back by the next [`push`](Self::push) or [`tidy`](Self::tidy).
    pub(crate) fn remove(&mut self, slot: u32) {
        let Place { chunk: at, row } =
            std::mem::replace(&mut self.places[slot as usize], Place { chunk: NONE, row: 0 });
        self.free.push(slot);
        let Some(chunk) = &mut self.chunks[at as usize] else { return };
        chunk.slots[row as usize] = NONE;
        chunk.live -= 1;
        if chunk.live == 0 {
            self.drop_chunk(at);
        } else if chunk.waits.is_none() && chunk.live * 2 < chunk.slots.len() {
            self.wait(at);
        }
    }

    /// Gives back the room of rows that are gone. Errors: `Internal` for values that cannot be copied.
    pub(crate) fn tidy(&mut self) -> Result<()> {
        while let Some(size) = (0..=LARGE).find(|size| self.waiting[*size].len() >= wanted(*size)) {
            let merged = std::mem::take(&mut self.waiting[size]);
            let chunks: Vec<Chunk> = merged.iter().filter_map(|at| self.chunks[*at as usize].take()).collect();
            self.free_chunks.extend(merged);
            let mut slots = vec![];
            let mut places = vec![];
            for (at, chunk) in chunks.iter().enumerate() {
                let live = chunk.slots.iter().enumerate().filter(|(_, slot)| **slot != NONE);
                for (row, slot) in live {
                    slots.push(*slot);
                    places.push((at, row));
                }
            }
            let batches: Vec<&RecordBatch> = chunks.iter().map(|chunk| &chunk.rows).collect();
            let columns = gather_columns(&batches, 0..self.schema.fields().len(), &places)?;
            let columns = columns.into_iter().map(without_shared_buffers).collect();
            self.add_chunk(new_batch(&self.schema, columns, places.len())?, slots)?;
        }
        Ok(())
    }

    /// The values of some columns of these rows.
    pub(crate) fn gather_columns(
        &self,
        columns: impl IntoIterator<Item = usize>,
        slots: &[u32],
    ) -> Result<Vec<ArrayRef>> {
        if slots.is_empty() {
            return Ok(columns.into_iter().map(|c| new_empty_array(self.schema.field(c).data_type())).collect());
        }
        let mut batches: Vec<&RecordBatch> = vec![];
        let mut numbers: HashMap<u32, usize> = HashMap::new();
        let mut last = (NONE, 0);
        let mut places = Vec::with_capacity(slots.len());
        for slot in slots {
            let Place { chunk, row } = self.places[*slot as usize];
            if chunk != last.0 {
                let number = *numbers.entry(chunk).or_insert(batches.len());
                if number == batches.len() {
                    let found = self.chunks.get(chunk as usize).and_then(Option::as_ref);
                    batches.push(&found.ok_or_else(|| Error::internal("a row is read that is gone"))?.rows);
                }
                last = (chunk, number);
            }
            places.push((last.1, row as usize));
        }
        gather_columns(&batches, columns, &places)
    }

    /// These rows. A row may be asked for several times.
    pub(crate) fn gather(&self, slots: &[u32]) -> Result<RecordBatch> {
        new_batch(&self.schema, self.gather_columns(0..self.schema.fields().len(), slots)?, slots.len())
    }

    /// Where a row is: the row of a batch.
    pub(crate) fn row(&self, slot: u32) -> Result<(&RecordBatch, usize)> {
        let Place { chunk, row } = self.places[slot as usize];
        let chunk = self.chunks.get(chunk as usize).and_then(Option::as_ref);
        chunk.map(|chunk| (&chunk.rows, row as usize)).ok_or_else(|| Error::internal("a row is read that is gone"))
    }

    /// All rows as they lie here, with the slot of each that is there.
    pub(crate) fn into_chunks(self) -> Vec<(RecordBatch, Vec<Option<u32>>)> {
        let slots = |slots: Vec<u32>| slots.into_iter().map(|slot| Some(slot).filter(|slot| *slot != NONE)).collect();
        self.chunks.into_iter().flatten().map(|chunk| (chunk.rows, slots(chunk.slots))).collect()
    }

    /// The slots of all rows, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.chunks.iter().flatten().flat_map(|chunk| chunk.slots.iter().copied().filter(|slot| *slot != NONE))
    }

    /// Bytes, about.
    pub(crate) fn size(&self) -> usize {
        let chunk = |c: &Chunk| c.rows.get_array_memory_size() + c.slots.capacity() * size_of::<u32>();
        self.chunks.iter().flatten().map(chunk).sum::<usize>()
            + self.places.capacity() * size_of::<Place>()
            + self.free.capacity() * size_of::<u32>()
    }

    fn check_room(&self, count: usize) -> Result<()> {
        if self.places.len() + count <= ROWS_MAX {
            return Ok(());
        }
        Err(Error::user(format!("a worker would have to keep more than {ROWS_MAX} rows of one input"))
            .with_hint("run with more workers (--parallelism), or set 'state.ttl'"))
    }

    fn free_slot(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { chunk: NONE, row: 0 });
            (self.places.len() - 1) as u32
        })
    }

    fn add_chunk(&mut self, rows: RecordBatch, slots: Vec<u32>) -> Result<()> {
        let at = match self.free_chunks.pop() {
            Some(at) => at,
            None => {
                self.chunks.push(None);
                (self.chunks.len() - 1) as u32
            }
        };
        let mut live = 0;
        for (row, slot) in slots.iter().enumerate().filter(|(_, slot)| **slot != NONE) {
            self.places[*slot as usize] = Place { chunk: at, row: row as u32 };
            live += 1;
        }
        let waits = size(live) < LARGE && rows.get_array_memory_size() <= MERGED_BYTES_MAX;
        self.chunks[at as usize] = Some(Chunk { rows, slots, live, waits: None });
        if waits {
            self.wait(at);
        }
        Ok(())
    }

    fn wait(&mut self, at: u32) {
        if let Some(chunk) = &mut self.chunks[at as usize] {
            let size = size(chunk.live);
            chunk.waits = Some(size);
            self.waiting[size].push(at);
        }
    }

    fn drop_chunk(&mut self, at: u32) {
        if let Some(waits) = self.chunks[at as usize].take().and_then(|chunk| chunk.waits) {
            self.waiting[waits].retain(|other| *other != at);
        }
        self.free_chunks.push(at);
    }
}

fn size(rows: usize) -> usize {
    ((2 * rows.max(1)).ilog2() as usize / 3).min(LARGE)
}

/// How many chunks of a size are put together: a large one that is half empty is written anew alone.
fn wanted(size: usize) -> usize {
    if size == LARGE { 1 } else { MERGED }
}

/// The rows without what they share with a larger batch that they are a part of.
fn own(rows: RecordBatch) -> Result<RecordBatch> {
    let part = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(0);
    let shares = |column: &ArrayRef| column.get_buffer_memory_size() > 2 * part(column) + 1024;
    if !rows.columns().iter().any(shares) {
        return Ok(rows);
    }
    let all: Vec<u32> = (0..rows.num_rows() as u32).collect();
    new_batch(&rows.schema(), gather_some(&rows, &all)?, rows.num_rows())
}

fn gather_some(rows: &RecordBatch, kept: &[u32]) -> Result<Vec<ArrayRef>> {
    let places: Vec<(usize, usize)> = kept.iter().map(|row| (0, *row as usize)).collect();
    let columns = gather_columns(&[rows], 0..rows.num_columns(), &places)?;
    Ok(columns.into_iter().map(without_shared_buffers).collect())
}

/// Views keep whole buffers alive of which they show a part.
fn without_shared_buffers(column: ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => column,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{Field, Schema};
    use proptest::prelude::*;

    use super::*;

    fn schema() -> SchemaRef {
        let fields = vec![Field::new("n", DataType::Int64, true), Field::new("t", DataType::Utf8, true)];
        Arc::new(Schema::new(fields))
    }

    fn rows(numbers: &[i64]) -> RecordBatch {
        let n: Int64Array = numbers.iter().map(|n| (n % 5 != 0).then_some(*n)).collect();
        let t: StringArray = numbers.iter().map(|n| (n % 7 != 0).then(|| n.to_string())).collect();
        RecordBatch::try_new(schema(), vec![Arc::new(n), Arc::new(t)]).unwrap()
    }

    /// Add so many rows, or remove so many of those that are there, beginning somewhere.
    fn steps() -> impl Strategy<Value = Vec<(bool, usize, usize)>> {
        let size = prop_oneof![4 => 0..20_usize, 2 => 20..600_usize, 1 => 3000..9000_usize];
        prop::collection::vec((prop::bool::weighted(0.6), size, any::<usize>()), 1..60)
    }

    proptest! {
        #![proptest_config(rheos_testkit::cases(64))]

        /// A map of the standard library is the truth.
        #[test]
        fn rows_stay_what_they_are_until_they_go(steps in steps(), seed in any::<u64>()) {
            let mut store = RowStore::new(schema());
            let mut model: BTreeMap<u32, i64> = BTreeMap::new();
            let mut next = 0;
            let mut most = 0;
            for (adds, count, from) in steps {
                if adds {
                    let numbers: Vec<i64> = (next..next + count as i64).collect();
                    next += count as i64;
                    // A part of a larger batch.
                    let larger = rows(&[&[-1; 3], numbers.as_slice(), &[-2; 9]].concat());
                    let kept: Vec<u32> = (0..count).filter(|row| row % 7 >= from % 9).map(|row| row as u32).collect();
                    let slots = match from % 9 {
                        0 => store.push(larger.slice(3, count)).unwrap(),
                        _ => store.push_some(larger.slice(3, count), &kept).unwrap(),
                    };
                    let numbers: Vec<i64> = kept.iter().map(|row| numbers[*row as usize]).collect();
                    prop_assert_eq!(slots.len(), numbers.len());
                    for (slot, number) in slots.into_iter().zip(numbers) {
                        prop_assert_eq!(model.insert(slot, number), None, "the slot {} was taken", slot);
                    }
                } else if !model.is_empty() {
                    let live: Vec<u32> = model.keys().copied().collect();
                    for slot in live.iter().cycle().skip(from % live.len()).take(count.min(live.len())) {
                        store.remove(*slot);
                        model.remove(slot);
                    }
                    store.tidy().unwrap();
                }
                most = most.max(model.len());
                prop_assert_eq!(store.len(), model.len());
            }
            let mut live: Vec<u32> = store.iter().collect();
            live.sort_unstable();
            prop_assert_eq!(&live, &model.keys().copied().collect::<Vec<_>>());
            // In another order, some of them twice.
            let mut asked = live;
            asked.sort_by_key(|slot| u64::from(*slot).wrapping_mul(seed | 1));
            asked.extend(asked.clone().into_iter().step_by(3));
            let numbers: Vec<i64> = asked.iter().map(|slot| model[slot]).collect();
            prop_assert_eq!(store.gather(&asked).unwrap(), rows(&numbers));
            prop_assert_eq!(store.end(), most);
            for slot in &asked {
                let (batch, row) = store.row(*slot).unwrap();
                prop_assert_eq!(batch.slice(row, 1), rows(&[model[slot]]));
            }
            let in_chunks: usize = store.chunks.iter().flatten().map(|chunk| chunk.slots.len()).sum();
            let spare: usize = (0..LARGE as u32).map(|size| 2 * MERGED * 8_usize.pow(size + 1)).sum();
            prop_assert!(in_chunks <= 2 * model.len() + spare, "{in_chunks} rows are kept for {}", model.len());
        }
    }

    #[test]
    fn many_small_batches_become_few_chunks() {
        let mut store = RowStore::new(schema());
        for n in 0..20_000 {
            store.push(rows(&[n])).unwrap();
        }
        assert!(store.chunks.iter().flatten().count() <= 7 * LARGE + 20_000 / 4096 + 1);
        assert!(store.size() < 20_000 * 60, "{} bytes", store.size());
        assert_eq!(store.gather(&[19_999, 1]).unwrap(), rows(&[19_999, 1]));
    }

    #[test]
    fn rows_without_columns_are_counted() {
        let mut store = RowStore::new(Arc::new(Schema::empty()));
        let slots = store.push(new_batch(store.schema(), vec![], 3).unwrap()).unwrap();
        store.remove(slots[1]);
        assert_eq!((store.len(), store.gather(&[slots[0], slots[2]]).unwrap().num_rows()), (2, 2));
        assert_eq!(store.gather(&[]).unwrap().num_rows(), 0);
    }
}
