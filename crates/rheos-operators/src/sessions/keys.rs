//! Keys as bytes: Arrow's row format, which compares like the keys and gives the columns back.
//!
//! A batch is first reduced to its different keys, by column, so that only those become bytes and are looked up.

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion_expr::EmitTo;
use datafusion_physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion_physical_plan::aggregates::order::GroupOrdering;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;
use std::sync::Arc;

use rheos_core::Result;

use crate::evaluation::{coerce, data_error, plan_error};

/// Turns key columns into bytes and back.
pub(crate) struct KeyCodec {
    schema: SchemaRef,
    /// `None` without keys: every row has the empty key.
    parts: Option<(RowConverter, Box<dyn GroupValues>)>,
}

/// The different keys of a batch.
pub(crate) struct BatchKeys {
    /// The key of each row, by its number in this batch.
    pub(crate) of_row: Vec<usize>,
    /// Different keys.
    pub(crate) count: usize,
    bytes: Option<Rows>,
}

impl BatchKeys {
    /// A key by its number.
    pub(crate) fn bytes(&self, key: usize) -> &[u8] {
        self.bytes.as_ref().map_or(&[], |rows| rows.row(key).data())
    }
}

impl KeyCodec {
    /// For key columns of these types.
    pub(crate) fn try_new(schema: SchemaRef) -> Result<Self> {
        let parts = if schema.fields().is_empty() {
            None
        } else {
            let fields = schema.fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
            let distinct = new_group_values(Arc::clone(&schema), &GroupOrdering::None).map_err(plan_error)?;
            Some((RowConverter::new(fields)?, distinct))
        };
        Ok(Self { schema, parts })
    }

    /// The keys of `rows` rows.
    pub(crate) fn encode(&mut self, columns: &[ArrayRef], rows: usize) -> Result<BatchKeys> {
        let Some((converter, distinct)) = &mut self.parts else {
            return Ok(BatchKeys { of_row: vec![0; rows], count: usize::from(rows > 0), bytes: None });
        };
        let mut of_row = vec![];
        distinct.intern(columns, &mut of_row).map_err(data_error)?;
        let keys = distinct.emit(EmitTo::All).map_err(data_error)?;
        // Some tables keep their hash map, with the numbers of groups that are gone.
        distinct.clear_shrink(rows);
        let keys = keys.into_iter().zip(self.schema.fields()).map(|(c, f)| coerce(c, f.data_type()));
        let bytes = converter.convert_columns(&keys.collect::<Result<Vec<_>>>()?)?;
        Ok(BatchKeys { of_row, count: bytes.num_rows(), bytes: Some(bytes) })
    }

    /// The columns of keys that [`encode`](Self::encode) has made.
    pub(crate) fn decode<'a>(&'a self, keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let Some((converter, _)) = &self.parts else { return Ok(vec![]) };
        let parser = converter.parser();
        let rows: Vec<_> = keys.map(|bytes| parser.parse(bytes)).collect();
        let columns = converter.convert_rows(rows)?.into_iter().zip(self.schema.fields());
        columns.map(|(c, f)| coerce(c, f.data_type())).collect()
    }
}

/// The keys that have sessions, by number. A key without one is forgotten and its number used again.
#[derive(Default)]
pub(crate) struct KeyTable {
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    entries: Vec<KeyEntry>,
    free: Vec<u32>,
    bytes: usize,
}

struct KeyEntry {
    bytes: Box<[u8]>,
    sessions: u32,
}

impl KeyTable {
    /// The number of a key, with or without sessions.
    pub(crate) fn find_or_insert(&mut self, bytes: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(bytes);
        if let Some(key) = self.table.find(hash, |key| *self.entries[*key as usize].bytes == *bytes) {
            return *key;
        }
        self.bytes += bytes.len();
        let entry = KeyEntry { bytes: bytes.into(), sessions: 0 };
        let key = match self.free.pop() {
            Some(key) => {
                self.entries[key as usize] = entry;
                key
            }
            None => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
        };
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.table.insert_unique(hash, key, |key| hasher.hash_one(&*entries[*key as usize].bytes));
        key
    }

    pub(crate) fn bytes_of(&self, key: u32) -> &[u8] {
        &self.entries[key as usize].bytes
    }

    /// The key has one session more.
    pub(crate) fn acquire(&mut self, key: u32) {
        self.entries[key as usize].sessions += 1;
    }

    /// The key has one session less.
    pub(crate) fn release(&mut self, key: u32) {
        let entry = &mut self.entries[key as usize];
        entry.sessions -= 1;
        if entry.sessions > 0 {
            return;
        }
        let bytes = std::mem::take(&mut entry.bytes);
        self.bytes -= bytes.len();
        if let Ok(found) = self.table.find_entry(self.hasher.hash_one(&*bytes), |k| *k == key) {
            found.remove();
        }
        self.free.push(key);
    }

    /// Bytes of the keys.
    pub(crate) fn size(&self) -> usize {
        self.bytes
    }
}
