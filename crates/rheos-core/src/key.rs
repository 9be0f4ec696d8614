//! Key hash v1 and key groups.
//!
//! The hash is xxh3-64 over a canonical encoding of the key columns, one after another: a type tag, then the value;
//! null is a tag alone. It is part of the stored format: a change needs a new version, and the golden vectors below
//! hold it in place. Integers are little endian, -0.0 is 0.0, all NaN are one, timestamps count microseconds, and all
//! layouts of a string hash alike.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use arrow::datatypes::{
    Decimal128Type, Float64Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType, UInt64Type,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};

/// The number of one part of the key space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyGroup(pub u16);

/// The version of the hash of keys: which row belongs to which key group. Kept in manifests.
pub const KEY_HASH_VERSION: u32 = 1;
/// Key groups of a job, at most.
pub const KEY_GROUPS_MAX: u16 = 32_768;
/// Key groups of a job unless it asks for another number. Fixed for the job's life.
pub const KEY_GROUPS_DEFAULT: u16 = 1024;

const TAG_NULL: u8 = 0;
const TAG_BOOL: u8 = 1;
const TAG_INT: u8 = 2;
const TAG_FLOAT: u8 = 3;
const TAG_STRING: u8 = 4;
const TAG_BYTES: u8 = 5;
const TAG_DECIMAL: u8 = 6;
const TAG_DATE: u8 = 7;
const TAG_TIMESTAMP: u8 = 8;
const TAG_TIME: u8 = 9;
const TAG_OTHER: u8 = 10;

/// Which worker owns each key group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyGroupAssignment {
    owner: Vec<u32>,
}

impl KeyGroupAssignment {
    /// Key groups in contiguous, equal ranges over `workers`.
    pub fn even(key_groups: u16, workers: usize) -> Self {
        let n = u64::from(key_groups);
        Self { owner: (0..n).map(|g| (g * workers as u64 / n) as u32).collect() }
    }

    /// The assignment in which key group `i` belongs to worker `owners[i]`.
    ///
    /// Panics for more than [`KEY_GROUPS_MAX`] key groups.
    pub fn from_owners(owners: Vec<u32>) -> Self {
        assert!(owners.len() <= usize::from(KEY_GROUPS_MAX), "there are at most 32,768 key groups");
        Self { owner: owners }
    }

    /// The owner of each key group.
    pub fn owners(&self) -> &[u32] {
        &self.owner
    }

    /// The key group of a hash.
    pub fn group(&self, hash: u64) -> KeyGroup {
        // The high bits: the low ones choose buckets inside the tables of an owner.
        KeyGroup((((hash >> 32) * self.owner.len() as u64) >> 32) as u16)
    }

    /// The worker that owns a hash.
    pub fn worker(&self, hash: u64) -> usize {
        self.owner[usize::from(self.group(hash).0)] as usize
    }

    /// The key groups that `worker` owns.
    pub fn groups_of(&self, worker: usize) -> Vec<KeyGroup> {
        let owned = self.owner.iter().enumerate().filter(|(_, owner)| **owner as usize == worker);
        owned.map(|(group, _)| KeyGroup(group as u16)).collect()
    }

    /// Whether `worker` owns `group`.
    pub fn owns(&self, worker: usize, group: KeyGroup) -> bool {
        self.owner[usize::from(group.0)] as usize == worker
    }
}

/// The hash of each row's key.
///
/// Shape: `columns` are the key columns, all of `rows` length; `hashes` is overwritten. No columns: one and the same
/// hash for every row.
pub fn hash_keys(columns: &[ArrayRef], rows: usize, hashes: &mut Vec<u64>) -> Result<()> {
    hashes.clear();
    if let [column] = columns
        && let Some(values) = plain_int64(column)
    {
        let mut key = [TAG_INT, 0, 0, 0, 0, 0, 0, 0, 0];
        hashes.extend(values.iter().map(|v| {
            key[1..].copy_from_slice(&v.to_le_bytes());
            xxh3_64(&key)
        }));
        return Ok(());
    }
    // The rows that a window emits have its bounds in common, and joins of windows are split by those.
    let distinct = if columns.iter().all(holds_one_value) { rows.min(1) } else { rows };
    let columns = columns.iter().map(Column::new).collect::<Result<Vec<_>>>()?;
    let mut key = Vec::with_capacity(32);
    hashes.reserve(rows);
    for row in 0..distinct {
        key.clear();
        for column in &columns {
            column.encode(row, &mut key);
        }
        hashes.push(xxh3_64(&key));
    }
    if let Some(first) = hashes.first() {
        hashes.resize(rows, *first);
    }
    Ok(())
}

/// Whether all rows are known to have one value. Told at once where the first two differ; never of texts and the like.
fn holds_one_value(column: &ArrayRef) -> bool {
    if column.data_type().primitive_width() != Some(size_of::<i64>()) || column.null_count() > 0 {
        return false;
    }
    let data = column.to_data();
    let values = &data.buffer::<i64>(0)[..column.len()];
    values.first().is_some_and(|first| values.iter().all(|v| v == first))
}

fn plain_int64(column: &ArrayRef) -> Option<&[i64]> {
    let values = column.as_primitive_opt::<Int64Type>()?;
    (values.null_count() == 0).then(|| values.values().as_ref())
}

/// A column in the layout that `encode` reads: the type is decided once, not once a row.
enum Column {
    Bool(ArrayRef),
    Int(arrow::array::Int64Array),
    UInt(arrow::array::UInt64Array),
    Float(arrow::array::Float64Array),
    String(arrow::array::StringArray),
    StringView(arrow::array::StringViewArray),
    Bytes(arrow::array::BinaryArray),
    Decimal(arrow::array::Decimal128Array),
    Tagged(u8, arrow::array::Int64Array),
    Null,
    Other(ArrayRef, arrow::row::Rows),
}

impl Column {
    fn new(column: &ArrayRef) -> Result<Self> {
        use DataType::*;
        let ints = |c: &ArrayRef| -> Result<arrow::array::Int64Array> {
            Ok(cast(c, &Int64)?.as_primitive::<Int64Type>().clone())
        };
        Ok(match column.data_type() {
            DataType::Null => Column::Null,
            Boolean => Column::Bool(ArrayRef::clone(column)),
            Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 => Column::Int(ints(column)?),
            UInt64 => Column::UInt(column.as_primitive::<UInt64Type>().clone()),
            Float16 | Float32 | Float64 => Column::Float(cast(column, &Float64)?.as_primitive::<Float64Type>().clone()),
            Utf8 => Column::String(column.as_string::<i32>().clone()),
            Utf8View => Column::StringView(column.as_string_view().clone()),
            LargeUtf8 => Column::String(cast(column, &Utf8)?.as_string::<i32>().clone()),
            Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => {
                Column::Bytes(cast(column, &Binary)?.as_binary::<i32>().clone())
            }
            Decimal128(..) => Column::Decimal(column.as_primitive::<Decimal128Type>().clone()),
            Date32 | Date64 => Column::Tagged(TAG_DATE, {
                let days = cast(column, &Date32)?;
                ints(&cast(&days, &Int32)?)?
            }),
            Timestamp(_, zone) => {
                let us = cast(column, &Timestamp(TimeUnit::Microsecond, zone.clone()))?;
                Column::Tagged(TAG_TIMESTAMP, us.as_primitive::<TimestampMicrosecondType>().reinterpret_cast())
            }
            Time32(_) | Time64(_) => {
                let us = cast(column, &Time64(TimeUnit::Microsecond))?;
                Column::Tagged(TAG_TIME, us.as_primitive::<Time64MicrosecondType>().reinterpret_cast())
            }
            Dictionary(_, value) => return Column::new(&cast(column, value)?),
            other => {
                // Nested values: Arrow's row format is a canonical encoding of them.
                let converter = arrow::row::RowConverter::new(vec![arrow::row::SortField::new(other.clone())]);
                let rows = converter
                    .and_then(|c| c.convert_columns(std::slice::from_ref(column)))
                    .map_err(|e| Error::invalid(150, format!("a column of type {other} cannot be a key: {e}")))?;
                Column::Other(ArrayRef::clone(column), rows)
            }
        })
    }

    fn encode(&self, row: usize, key: &mut Vec<u8>) {
        let mut put = |is_null: bool, tag: u8, bytes: &[u8]| {
            if is_null {
                key.push(TAG_NULL);
            } else {
                key.push(tag);
                key.extend_from_slice(bytes);
            }
        };
        match self {
            Column::Null => put(true, 0, &[]),
            Column::Bool(a) => {
                let a = a.as_boolean();
                put(a.is_null(row), TAG_BOOL, &[u8::from(a.value(row))]);
            }
            Column::Int(a) => put(a.is_null(row), TAG_INT, &a.value(row).to_le_bytes()),
            // An unsigned value that fits is the same key as the signed one.
            Column::UInt(a) => put(a.is_null(row), TAG_INT, &a.value(row).to_le_bytes()),
            Column::Float(a) => {
                let v = a.value(row);
                let v = if v.is_nan() { f64::NAN } else { v + 0.0 };
                put(a.is_null(row), TAG_FLOAT, &v.to_bits().to_le_bytes());
            }
            Column::String(a) => put_sized(a.is_null(row), TAG_STRING, a.value(row).as_bytes(), key),
            Column::StringView(a) => put_sized(a.is_null(row), TAG_STRING, a.value(row).as_bytes(), key),
            Column::Bytes(a) => put_sized(a.is_null(row), TAG_BYTES, a.value(row), key),
            Column::Decimal(a) => put(a.is_null(row), TAG_DECIMAL, &a.value(row).to_le_bytes()),
            Column::Tagged(tag, a) => put(a.is_null(row), *tag, &a.value(row).to_le_bytes()),
            Column::Other(a, rows) => put_sized(a.is_null(row), TAG_OTHER, rows.row(row).as_ref(), key),
        }
    }
}

/// Values of any length carry it, so that ("ab", "c") and ("a", "bc") differ.
fn put_sized(is_null: bool, tag: u8, bytes: &[u8], key: &mut Vec<u8>) {
    if is_null {
        return key.push(TAG_NULL);
    }
    key.push(tag);
    key.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    key.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int32Array, Int64Array, StringArray, StringViewArray, TimestampMillisecondArray};
    use std::sync::Arc;

    fn hash(columns: &[ArrayRef]) -> Vec<u64> {
        let mut hashes = vec![];
        hash_keys(columns, columns.first().map_or(1, |c| c.len()), &mut hashes).unwrap();
        hashes
    }

    /// xxh3-64 of the canonical encodings, by the reference implementation (Python package `xxhash` 3):
    /// `xxhash.xxh3_64_intdigest(bytes([2]) + (42).to_bytes(8, 'little'))` and so on.
    #[test]
    fn golden_vectors() {
        let ints: ArrayRef = Arc::new(Int64Array::from(vec![Some(42), Some(-1), None]));
        let strings: ArrayRef = Arc::new(StringArray::from(vec!["rheos", ""]));
        assert_eq!(hash(&[ints]), [0xa21e_1a86_7f97_0bec, 0x5195_7c45_5b8e_6c65, 0xc44b_dff4_074e_ecdb]);
        assert_eq!(hash(&[strings]), [0x615a_e535_a49a_3ae4, 0xee53_fd1b_240e_9dc6]);
    }

    #[test]
    fn layouts_and_widths_of_one_value_hash_alike() {
        let a: ArrayRef = Arc::new(StringArray::from(vec!["a string longer than twelve bytes", "b"]));
        let b: ArrayRef = Arc::new(StringViewArray::from(vec!["a string longer than twelve bytes", "b"]));
        assert_eq!(hash(&[a]), hash(&[b]));
        let a: ArrayRef = Arc::new(Int32Array::from(vec![7]));
        let b: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        assert_eq!(hash(&[a]), hash(&[b]));
        let zeros: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0]));
        let h = hash(&[zeros]);
        assert_eq!(h[0], h[1]);
    }

    #[test]
    fn rows_with_one_value_hash_like_any_others() {
        let columns = |a: &[i64], b: &[i64]| -> Vec<ArrayRef> {
            vec![Arc::new(Int64Array::from(a.to_vec())), Arc::new(TimestampMillisecondArray::from(b.to_vec()))]
        };
        let mixed = hash(&columns(&[7, 7, 8, 7], &[1, 1, 1, 2]));
        assert_eq!(hash(&columns(&[7, 7, 7], &[1, 1, 1])), [mixed[0]; 3]);
        let sliced: Vec<_> = columns(&[8, 7, 7], &[9, 1, 1]).iter().map(|c| c.slice(1, 2)).collect();
        assert_eq!(hash(&sliced), [mixed[0]; 2]);
        let partly: Vec<_> = columns(&[7, 7, 8, 7], &[1, 1, 1, 2]).iter().map(|c| c.slice(1, 3)).collect();
        assert_eq!(hash(&partly), mixed[1..]);
    }

    #[test]
    fn neighbouring_strings_do_not_run_together() {
        let a: ArrayRef = Arc::new(StringArray::from(vec!["ab", "a"]));
        let b: ArrayRef = Arc::new(StringArray::from(vec!["c", "bc"]));
        let h = hash(&[a, b]);
        assert_ne!(h[0], h[1]);
    }

    #[test]
    fn every_group_has_an_owner_and_the_load_is_even() {
        let assignment = KeyGroupAssignment::even(1024, 3);
        let mut owned = [0; 3];
        for g in 0..1024 {
            let owners: Vec<_> = (0..3).filter(|w| assignment.owns(*w, KeyGroup(g))).collect();
            assert_eq!(owners.len(), 1);
            owned[owners[0]] += 1;
        }
        assert!(owned.iter().all(|n| (341..=342).contains(n)), "{owned:?}");
    }
}
