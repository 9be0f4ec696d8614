//! The rows of one partition in their order, each once, with how many times it is there now and was when changes were last told.
//!
//! ```text
//!   chunk                         chunk
//!   row a   row c   row d         row f   row k            now     1  2  0     1  1
//!                                                          before  1  1  1     1  1
//! ```
//! Rows lie in chunks of bounded size, so that a row is found, added and taken away in about logarithmic time, and runs of rows that did
//! not change are passed over. A row that is gone stays until its going has been told ([`Ordered::settle`]).

use super::numbers::{Count, Numbering};
use crate::keyed::row_codec::RowBytes;
use crate::window_rank::RankFunction;

/// Rows in a chunk, at most.
const CHUNK_MAX: usize = 128;
/// Rows beyond twice those that the last cut left which may wait before the next cut.
const SPARE_ROWS: usize = 16;

/// A row and how often it is there.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) row: RowBytes,
    pub(super) now: i64,
    pub(super) before: i64,
    /// A checkpoint has it, whatever it says of it.
    is_stored: bool,
    /// The number of copies is not the one in the last checkpoint.
    is_unsaved: bool,
}

impl Entry {
    fn new(row: RowBytes) -> Self {
        Self { row, now: 0, before: 0, is_stored: false, is_unsaved: false }
    }

    fn is_changed(&self) -> bool {
        self.now != self.before
    }

    /// There is nothing to be told of it, to readers or to a checkpoint.
    fn is_void(&self) -> bool {
        self.now == 0 && self.before == 0 && !self.is_stored
    }
}

#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) entries: Vec<Entry>,
    /// The copies that are there now.
    rows: u64,
    changed: usize,
    unsaved: usize,
}

impl Chunk {
    fn counted(entries: Vec<Entry>) -> Self {
        let rows = entries.iter().map(|e| copies(e.now)).sum();
        let changed = entries.iter().filter(|e| e.is_changed()).count();
        let unsaved = entries.iter().filter(|e| e.is_unsaved).count();
        Self { entries, rows, changed, unsaved }
    }

    fn set(&mut self, at: usize, now: i64) {
        let entry = &mut self.entries[at];
        let (rows, was_changed) = (copies(entry.now), entry.is_changed());
        entry.now = now;
        self.rows = self.rows - rows + copies(now);
        self.changed = self.changed + usize::from(entry.is_changed()) - usize::from(was_changed);
        self.unsaved += usize::from(!std::mem::replace(&mut entry.is_unsaved, true));
    }

    fn remove(&mut self, at: usize) {
        let entry = self.entries.remove(at);
        self.rows -= copies(entry.now);
        self.changed -= usize::from(entry.is_changed());
        self.unsaved -= usize::from(entry.is_unsaved);
    }
}

/// A row may be gone before it has come; it is not there then.
fn copies(weight: i64) -> u64 {
    u64::try_from(weight).unwrap_or(0)
}

/// Where the rows of a partition go beyond the limit.
struct Cut {
    /// The first row of which some copies are beyond it: its chunk, its place there, and the copies that are not.
    beyond: Option<(usize, usize, i64)>,
    /// The last row within it.
    last: Option<RowBytes>,
    /// There is no room behind that one.
    is_full: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Ordered {
    chunks: Vec<Chunk>,
    /// What the last cut left.
    kept: usize,
    /// The last row that the last cut left, if it found no room behind it: of input that only grows, nothing behind it counts.
    bound: Option<RowBytes>,
}

impl Ordered {
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// How many rows there are, and about how many bytes they take.
    pub(crate) fn size(&self) -> (usize, usize) {
        let entries = || self.chunks.iter().flat_map(|chunk| &chunk.entries);
        let room: usize = self.chunks.iter().map(|chunk| chunk.entries.capacity()).sum();
        let bytes: usize = entries().map(|entry| entry.row.bytes().len()).sum();
        (entries().count(), size_of::<Self>() + room * size_of::<Entry>() + bytes)
    }

    /// Whether a row of this order is behind all that can count, whatever its other columns are.
    pub(crate) fn is_order_beyond(&self, order: &[u8]) -> bool {
        self.bound.as_ref().is_some_and(|bound| order > bound.order())
    }

    /// Whether a row is behind all that can count: of rows of the last tie only `ROW_NUMBER` has a last one.
    pub(crate) fn is_beyond(&self, row: &RowBytes, function: RankFunction) -> bool {
        let is_behind = |bound: &RowBytes| match function {
            RankFunction::RowNumber => row.bytes() >= bound.bytes(),
            RankFunction::Rank | RankFunction::DenseRank => row.order() > bound.order(),
        };
        self.bound.as_ref().is_some_and(is_behind)
    }

    /// The row is there so many times more or less.
    pub(crate) fn add(&mut self, row: RowBytes, weight: i64) {
        let (chunk, found) = self.find(row.bytes());
        let at = match found {
            Ok(at) => at,
            Err(at) => {
                self.chunks[chunk].entries.insert(at, Entry::new(row));
                at
            }
        };
        let now = self.chunks[chunk].entries[at].now.saturating_add(weight);
        self.chunks[chunk].set(at, now);
        if self.chunks[chunk].entries[at].is_void() {
            self.chunks[chunk].remove(at);
            self.chunks.retain(|chunk| !chunk.entries.is_empty());
        } else if self.chunks[chunk].entries.len() > CHUNK_MAX {
            self.split(chunk);
        }
    }

    /// The row is there so many times, says a checkpoint. Only before any changes.
    pub(crate) fn restore(&mut self, row: RowBytes, weight: i64) {
        let (chunk, found) = self.find(row.bytes());
        let entry = Entry { row, now: weight, before: weight, is_stored: true, is_unsaved: false };
        let entries = &mut self.chunks[chunk].entries;
        match (found, weight) {
            (Ok(at), 0) => drop(entries.remove(at)),
            (Ok(at), _) => entries[at] = entry,
            (Err(_), 0) => {}
            (Err(at), _) => entries.insert(at, entry),
        }
        let entries = std::mem::take(entries);
        self.chunks[chunk] = Chunk::counted(entries);
        match self.chunks[chunk].entries.len() {
            0 => drop(self.chunks.remove(chunk)),
            n if n > CHUNK_MAX => self.split(chunk),
            _ => {}
        }
    }

    /// The chunk that a row belongs to, and its place there. Makes the first chunk.
    fn find(&mut self, row: &[u8]) -> (usize, Result<usize, usize>) {
        if self.chunks.is_empty() {
            self.chunks.push(Chunk::default());
        }
        let is_before = |chunk: &Chunk| chunk.entries.last().is_some_and(|last| last.row.bytes() < row);
        let chunk = self.chunks.partition_point(is_before).min(self.chunks.len() - 1);
        (chunk, self.chunks[chunk].entries.binary_search_by(|entry| entry.row.bytes().cmp(row)))
    }

    fn split(&mut self, chunk: usize) {
        let mut entries = std::mem::take(&mut self.chunks[chunk].entries);
        // Rows often come in their order: then full chunks stay behind.
        let is_last = chunk + 1 == self.chunks.len();
        let behind = entries.split_off(if is_last { CHUNK_MAX * 3 / 4 } else { CHUNK_MAX / 2 });
        self.chunks[chunk] = Chunk::counted(entries);
        self.chunks.insert(chunk + 1, Chunk::counted(behind));
    }

    /// The chunks from which on numbers may differ, the rows that stand before them, and how many of theirs have changed.
    pub(super) fn changed_chunks(&self, function: RankFunction) -> (&[Chunk], Count, usize) {
        let changed = self.chunks.iter().map(|chunk| chunk.changed).sum();
        let mut first = match function {
            // Ties before it are counted, too, and no chunk knows how many it has.
            RankFunction::DenseRank => 0,
            _ => self.chunks.iter().position(|chunk| chunk.changed > 0).unwrap_or(self.chunks.len()),
        };
        let order = |entry: Option<&Entry>| entry.map(|e| e.row.order().to_vec());
        while first > 0
            && first < self.chunks.len()
            && order(self.chunks[first - 1].entries.last()) == order(self.chunks[first].entries.first())
        {
            first -= 1;
        }
        let before = self.chunks[..first].iter().map(|chunk| chunk.rows).sum();
        (&self.chunks[first..], Count::behind(before), changed)
    }

    /// Takes out the rows that are beyond the limit, once there are enough of them: of input that only grows they are never wanted again.
    pub(crate) fn cut_if_long(&mut self, numbering: Numbering) {
        let rows: usize = self.chunks.iter().map(|chunk| chunk.entries.len()).sum();
        if rows > 2 * self.kept + SPARE_ROWS {
            self.cut(numbering);
        }
    }

    /// Takes out the rows that are beyond the limit.
    pub(crate) fn cut(&mut self, numbering: Numbering) {
        let cut = self.find_cut(numbering);
        self.bound = cut.is_full.then_some(cut.last).flatten();
        if let Some((chunk, at, copies)) = cut.beyond {
            self.chunks[chunk].set(at, copies);
            for at in at + 1..self.chunks[chunk].entries.len() {
                self.chunks[chunk].set(at, 0);
            }
            for behind in &mut self.chunks[chunk + 1..] {
                (0..behind.entries.len()).for_each(|at| behind.set(at, 0));
            }
            for touched in &mut self.chunks[chunk..] {
                let mut entries = std::mem::take(&mut touched.entries);
                entries.retain(|entry| !entry.is_void());
                *touched = Chunk::counted(entries);
            }
            self.chunks.retain(|chunk| !chunk.entries.is_empty());
        }
        self.kept = self.chunks.iter().map(|chunk| chunk.entries.len()).sum();
    }

    fn find_cut(&self, numbering: Numbering) -> Cut {
        let mut count = Count::default();
        let (mut tie, mut last): (u64, Option<&RowBytes>) = (0, None);
        let mut previous: Option<&Entry> = None;
        let entries = self
            .chunks
            .iter()
            .enumerate()
            .flat_map(|(c, chunk)| chunk.entries.iter().enumerate().map(move |(at, e)| (c, at, e)));
        for (chunk, at, entry) in entries {
            let begins_tie = previous.is_none_or(|p| p.row.order() != entry.row.order());
            tie += u64::from(begins_tie);
            let may_end = begins_tie || numbering.function == RankFunction::RowNumber;
            if may_end && count.is_full(numbering) {
                return Cut { beyond: Some((chunk, at, 0)), last: last.cloned(), is_full: true };
            }
            let within = count.advance(entry.now, tie, numbering).copies;
            if within > 0 {
                last = Some(&entry.row);
            }
            if within < copies(entry.now) {
                return Cut { beyond: Some((chunk, at, within as i64)), last: last.cloned(), is_full: true };
            }
            previous = Some(entry);
        }
        Cut { beyond: None, last: last.cloned(), is_full: count.is_full(numbering) }
    }

    /// All changes have been told. Rows that are gone leave, by `gone` where a checkpoint has them. With `forgets_debts` a row that was
    /// taken away and never there is forgotten: what it belonged to has been dropped.
    pub(crate) fn settle(&mut self, forgets_debts: bool, mut gone: impl FnMut(RowBytes)) {
        for chunk in self.chunks.iter_mut().filter(|chunk| chunk.changed > 0) {
            for entry in &mut chunk.entries {
                if forgets_debts && entry.now < 0 {
                    entry.now = 0;
                }
                entry.before = entry.now;
            }
            let (gone_rows, entries) = std::mem::take(&mut chunk.entries).into_iter().partition(|entry| entry.now == 0);
            *chunk = Chunk::counted(entries);
            gone_rows.into_iter().filter(|entry: &Entry| entry.is_stored).for_each(|entry| gone(entry.row));
        }
        self.chunks.retain(|chunk| !chunk.entries.is_empty());
    }

    /// All rows that a checkpoint has. They leave.
    pub(crate) fn into_stored(self) -> impl Iterator<Item = RowBytes> {
        self.chunks.into_iter().flat_map(|chunk| chunk.entries).filter(|e| e.is_stored).map(|e| e.row)
    }

    /// The rows that the last checkpoint does not have as they are, with their copies; from now on it has them.
    pub(crate) fn take_unsaved(&mut self, mut each: impl FnMut(&RowBytes, i64)) {
        for chunk in self.chunks.iter_mut().filter(|chunk| chunk.unsaved > 0) {
            for entry in chunk.entries.iter_mut().filter(|entry| entry.is_unsaved) {
                (entry.is_unsaved, entry.is_stored) = (false, true);
                each(&entry.row, entry.now);
            }
            chunk.unsaved = 0;
        }
    }
}
