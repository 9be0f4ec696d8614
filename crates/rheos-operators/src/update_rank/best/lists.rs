//! The first rows of each partition, in order.

use super::order::Prefix;

/// Marks a row that is a row of the batch at hand, and not in the store yet.
const OF_BATCH: u32 = 1 << 31;
/// No row.
const NONE: u32 = u32::MAX;

/// Where a row is: in the store, by its slot there, or in the batch at hand. Equal rows of a partition are one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowRef(u32);

/// A [`RowRef`] taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    Store(u32),
    Batch(usize),
}

impl RowRef {
    pub(super) fn in_store(slot: u32) -> Self {
        Self(slot)
    }

    pub(super) fn in_batch(row: usize) -> Self {
        Self(row as u32 | OF_BATCH)
    }

    pub(super) fn place(self) -> Where {
        match self.0 & OF_BATCH {
            0 => Where::Store(self.0),
            _ => Where::Batch((self.0 & !OF_BATCH) as usize),
        }
    }
}

/// A row of a list, with the first bytes of its order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) prefix: Prefix,
    pub(super) row: RowRef,
}

/// See the module. By the slots of the partitions.
#[derive(Debug)]
pub(super) enum Lists {
    /// One row each; `NONE` where there is none.
    One(Vec<Entry>),
    Many(Vec<Vec<Entry>>),
}

impl Lists {
    pub(super) fn new(limit: usize) -> Self {
        if limit == 1 { Self::One(vec![]) } else { Self::Many(vec![]) }
    }

    /// Makes room for slots below `end`.
    pub(super) fn grow(&mut self, end: usize) {
        match self {
            Self::One(rows) => rows.resize(end, Entry { prefix: Prefix::default(), row: RowRef(NONE) }),
            Self::Many(lists) => lists.resize_with(end, Vec::new),
        }
    }

    pub(super) fn of(&self, slot: u32) -> &[Entry] {
        match self {
            Self::One(rows) => match &rows[slot as usize] {
                entry if entry.row.0 == NONE => &[],
                entry => std::slice::from_ref(entry),
            },
            Self::Many(lists) => &lists[slot as usize],
        }
    }

    /// Adds a row at its place in a list of `limit` rows at most; the row that has no place any more.
    pub(super) fn insert(&mut self, slot: u32, at: usize, entry: Entry, limit: usize) -> Option<RowRef> {
        match self {
            Self::One(rows) => Some(std::mem::replace(&mut rows[slot as usize], entry).row).filter(|row| row.0 != NONE),
            Self::Many(lists) => {
                let list = &mut lists[slot as usize];
                let displaced = if list.len() == limit { list.pop() } else { None };
                list.insert(at, entry);
                displaced.map(|entry| entry.row)
            }
        }
    }

    /// Says where a row is now; how often it is in the list.
    pub(super) fn rename(&mut self, slot: u32, from: RowRef, to: RowRef) -> u16 {
        let list: &mut [Entry] = match self {
            Self::One(rows) => std::slice::from_mut(&mut rows[slot as usize]),
            Self::Many(lists) => &mut lists[slot as usize],
        };
        let renamed = list.iter_mut().filter(|entry| entry.row == from).map(|entry| entry.row = to);
        renamed.count() as u16
    }

    pub(super) fn contains(&self, slot: u32, row: RowRef) -> bool {
        self.of(slot).iter().any(|entry| entry.row == row)
    }

    /// Takes all copies of a row out.
    pub(super) fn remove(&mut self, slot: u32, row: RowRef) {
        match self {
            Self::One(_) => self.clear(slot),
            Self::Many(lists) => lists[slot as usize].retain(|entry| entry.row != row),
        }
    }

    pub(super) fn clear(&mut self, slot: u32) {
        match self {
            Self::One(rows) => rows[slot as usize].row = RowRef(NONE),
            Self::Many(lists) => lists[slot as usize] = vec![],
        }
    }

    /// The different rows of a list, all of which are in the store, and how often each is there.
    pub(super) fn copies(&self, slot: u32) -> impl Iterator<Item = (u32, u16)> + '_ {
        let copies = self.of(slot).chunk_by(|a, b| a.row == b.row);
        copies.map(|same| (same[0].row.0, same.len() as u16))
    }

    /// The rows of a list, all of which are in the store.
    pub(super) fn rows(&self, slot: u32) -> impl ExactSizeIterator<Item = u32> + '_ {
        self.of(slot).iter().map(|entry| entry.row.0)
    }

    /// Bytes, about.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::One(rows) => rows.capacity() * size_of::<Entry>(),
            Self::Many(lists) => {
                let entries: usize = lists.iter().map(Vec::capacity).sum();
                entries * size_of::<Entry>() + lists.capacity() * size_of::<Vec<Entry>>()
            }
        }
    }
}
