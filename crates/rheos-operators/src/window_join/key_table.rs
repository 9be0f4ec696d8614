//! The rows of one side by key: for each key a chain of row numbers, ascending.

use std::hash::BuildHasher;

use arrow::buffer::NullBuffer;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::row_keys::EncodedKeys;

/// See the module. Without key columns all rows have the same, empty key and make one chain.
pub(crate) struct KeyTable {
    keys: EncodedKeys,
    /// The hash of a key and the first row that has it.
    heads: HashTable<(u64, usize)>,
    /// The next row with the same key; `END` at the last.
    next: Vec<usize>,
    hasher: DefaultHashBuilder,
}

/// Behind the last row of a chain.
const END: usize = usize::MAX;

impl KeyTable {
    /// `keys` are those of all rows; `joinable` says of each of these blocks of rows, in order, which can join at all.
    pub(crate) fn new(keys: EncodedKeys, joinable: &[(usize, Option<NullBuffer>)]) -> Self {
        let rows: usize = joinable.iter().map(|(rows, _)| rows).sum();
        let mut table = Self { keys, heads: HashTable::new(), next: vec![END; rows], hasher: Default::default() };
        let mut first = rows;
        // Backwards, so that each row becomes the head of its chain.
        for (rows, joinable) in joinable.iter().rev() {
            first -= rows;
            let can_join = |row: &usize| joinable.as_ref().is_none_or(|j| j.is_valid(*row));
            for row in (0..*rows).rev().filter(can_join) {
                table.prepend(first + row);
            }
        }
        table
    }

    fn prepend(&mut self, row: usize) {
        let key = self.keys.get(row);
        let hash = self.hasher.hash_one(key);
        match self.heads.find_mut(hash, |(h, head)| *h == hash && self.keys.get(*head) == key) {
            Some((_, head)) => self.next[row] = std::mem::replace(head, row),
            None => {
                self.heads.insert_unique(hash, (hash, row), |(h, _)| *h);
            }
        }
    }

    /// The first row with this key.
    pub(crate) fn first(&self, key: &[u8]) -> Option<usize> {
        let hash = self.hasher.hash_one(key);
        self.heads.find(hash, |(h, head)| *h == hash && self.keys.get(*head) == key).map(|(_, head)| *head)
    }

    /// The next row with the same key.
    pub(crate) fn next(&self, row: usize) -> Option<usize> {
        Some(self.next[row]).filter(|next| *next != END)
    }
}
