//! Finds the stored row that is equal to a given one, by the hash of its bytes. Rows with one hash are compared, a batch at a time.
//! About 14 bytes a row.

use hashbrown::HashTable;
use rheos_core::Result;
use xxhash_rust::xxh3::xxh3_64;

use super::row_store::RowStore;
use crate::row_keys::{EncodedKeys, RowKeys};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct RowIndex {
    table: HashTable<u32>,
    /// By slot.
    hashes: Vec<u64>,
}

impl RowIndex {
    /// For each of these rows, which are `encoded` by `keys` over all columns: the slot of the row in `store` that is equal.
    pub(crate) fn find(&self, store: &RowStore, keys: &RowKeys, encoded: &EncodedRows) -> Result<Vec<Option<u32>>> {
        let mut found: Vec<Option<u32>> = encoded.hashes.iter().map(|hash| self.first(*hash)).collect();
        let asked: Vec<usize> = (0..found.len()).filter(|row| found[*row].is_some()).collect();
        let slots: Vec<u32> = found.iter().flatten().copied().collect();
        let stored = keys.encode(&store.gather(&slots)?)?;
        for (at, row) in asked.into_iter().enumerate() {
            if stored.get(at) != encoded.keys.get(row) {
                found[row] = self.search(store, keys, encoded, row)?;
            }
        }
        Ok(found)
    }

    /// Adds a row that is equal to no other.
    pub(crate) fn insert(&mut self, slot: u32, hash: u64) {
        if self.hashes.len() <= slot as usize {
            self.hashes.resize(slot as usize + 1, 0);
        }
        self.hashes[slot as usize] = hash;
        let hashes = &self.hashes;
        self.table.insert_unique(hash, slot, |slot| hashes[*slot as usize]);
    }

    pub(crate) fn remove(&mut self, slot: u32) {
        let hash = self.hashes[slot as usize];
        if let Ok(entry) = self.table.find_entry(hash, |other| *other == slot) {
            entry.remove();
        }
    }

    /// Bytes, about.
    pub(crate) fn size(&self) -> usize {
        self.hashes.capacity() * size_of::<u64>() + self.table.capacity() * (size_of::<u32>() + 1)
    }

    fn first(&self, hash: u64) -> Option<u32> {
        self.table.find(hash, |slot| self.hashes[*slot as usize] == hash).copied()
    }

    /// Where several rows have one hash.
    fn search(&self, store: &RowStore, keys: &RowKeys, encoded: &EncodedRows, row: usize) -> Result<Option<u32>> {
        let hash = encoded.hashes[row];
        for slot in self.table.iter_hash(hash).filter(|slot| self.hashes[**slot as usize] == hash) {
            if keys.encode(&store.gather(&[*slot])?)?.get(0) == encoded.keys.get(row) {
                return Ok(Some(*slot));
            }
        }
        Ok(None)
    }
}

/// Whole rows as bytes, and the hashes of these.
#[derive(Debug)]
pub(crate) struct EncodedRows {
    keys: EncodedKeys,
    hashes: Vec<u64>,
}

impl EncodedRows {
    pub(crate) fn new(keys: EncodedKeys, rows: usize) -> Self {
        let hashes = (0..rows).map(|row| xxh3_64(keys.get(row))).collect();
        Self { keys, hashes }
    }

    pub(crate) fn hash(&self, row: usize) -> u64 {
        self.hashes[row]
    }

    /// The first of the rows that are equal to each, in the order in which these come.
    pub(crate) fn firsts(&self) -> Vec<usize> {
        let mut table: HashTable<usize> = HashTable::with_capacity(self.hashes.len());
        let is_same = |a: usize, b: usize| self.hashes[a] == self.hashes[b] && self.keys.get(a) == self.keys.get(b);
        let first = |row: usize| {
            let hash = self.hashes[row];
            *table.entry(hash, |other| is_same(row, *other), |other| self.hashes[*other]).or_insert(row).get()
        };
        (0..self.hashes.len()).map(first).collect()
    }
}

#[cfg(test)]
mod tests {
    use arrow::compute::concat_batches;
    use datafusion_physical_expr::expressions::Column;
    use rheos_testkit::batch;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn equal_rows_are_found_also_among_those_with_one_hash() {
        let rows = batch! { "a": Int64[1, 2, None, 1], "b": Utf8["x", "x", None, "y"] };
        let columns = ["a", "b"].iter().enumerate();
        let exprs: Vec<Arc<dyn datafusion_physical_expr::PhysicalExpr>> =
            columns.map(|(i, n)| Arc::new(Column::new(n, i)) as _).collect();
        let keys = RowKeys::try_unordered(&exprs, &rows.schema()).unwrap();
        let encode = |rows: &arrow::record_batch::RecordBatch, hash: Option<u64>| {
            let mut encoded = EncodedRows::new(keys.encode(rows).unwrap(), rows.num_rows());
            encoded.hashes.iter_mut().for_each(|h| *h = hash.unwrap_or(*h));
            encoded
        };
        // As they are, and as if all had the same hash.
        for hash in [None, Some(7)] {
            let (mut store, mut index) = (RowStore::new(rows.schema()), RowIndex::default());
            let slots = store.push(rows.clone()).unwrap();
            let encoded = encode(&rows, hash);
            slots.iter().enumerate().for_each(|(row, slot)| index.insert(*slot, encoded.hash(row)));
            let other = batch! { "a": Int64[1, 3, None, 2], "b": Utf8["y", "x", None, "x"] };
            let found = index.find(&store, &keys, &encode(&other, hash)).unwrap();
            assert_eq!(found, [Some(slots[3]), None, Some(slots[2]), Some(slots[1])]);
            index.remove(slots[2]);
            let found = index.find(&store, &keys, &encode(&other, hash)).unwrap();
            assert_eq!(found, [Some(slots[3]), None, None, Some(slots[1])]);
            let twice = concat_batches(&rows.schema(), [&rows, &other]).unwrap();
            assert_eq!(encode(&twice, hash).firsts(), [0, 1, 2, 3, 3, 5, 2, 1]);
        }
    }
}
