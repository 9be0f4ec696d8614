//! The rows that the lists of a batch expand to, a chunk at a time.
//!
//! A frame a level says which lists are open there and at which of their items we are; the frames are a stack, so that
//! the place is kept however deep the lists nest. Lists are aligned at the innermost level: with depths 3 and 1, the
//! second one is opened anew for each innermost list of the first.

use std::ops::Range;

use arrow::array::{ArrayRef, UInt64Array};
use datafusion_common::NullHandling;

use super::nested::Nested;

/// See the module.
pub(crate) struct Expansion {
    lists: Vec<Nested>,
    null_handling: NullHandling,
    /// Levels: the largest depth of a list.
    depth: usize,
    input_rows: usize,
    /// The input row that is expanded.
    row: usize,
    /// Results of that row so far.
    results: i64,
    frames: Vec<Frame>,
    chunk: Chunk,
}

/// What the last step made: of each result its input row, its number, and its item of each list.
#[derive(Default)]
struct Chunk {
    rows: Vec<usize>,
    ordinals: Vec<Option<i64>>,
    items: Vec<Vec<Option<u64>>>,
}

struct Frame {
    /// Of each list that is open at this level, where its items lie. `None`: null, padded, or not open here.
    ranges: Vec<Option<Range<usize>>>,
    /// Items of the longest one.
    len: usize,
    next: usize,
}

impl Expansion {
    pub(crate) fn new(lists: Vec<Nested>, input_rows: usize, null_handling: NullHandling) -> Self {
        let depth = lists.iter().map(Nested::depth).max().unwrap_or(0);
        let chunk = Chunk { items: vec![vec![]; lists.len()], ..Chunk::default() };
        Self { lists, null_handling, depth, input_rows, row: 0, results: 0, frames: vec![], chunk }
    }

    /// Makes the next rows, `rows_max` at most.
    pub(crate) fn advance(&mut self, rows_max: usize) {
        self.chunk.rows.clear();
        self.chunk.ordinals.clear();
        self.chunk.items.iter_mut().for_each(Vec::clear);
        while self.row < self.input_rows && self.chunk.rows.len() < rows_max {
            let open = self.frames.len();
            match self.frames.last() {
                Some(frame) if frame.next >= frame.len => self.close(),
                _ if open < self.depth => self.open(),
                // The innermost lists are open, or there are none at all.
                _ => self.emit(rows_max),
            }
        }
        // What is at its end is closed now, so that `is_done` need not wait for a step without rows.
        while self.frames.last().is_some_and(|frame| frame.next >= frame.len) {
            self.close();
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.row >= self.input_rows
    }

    /// The input rows of the last step's results.
    pub(crate) fn rows(&self) -> &[usize] {
        &self.chunk.rows
    }

    /// The number of each result within its input row, from 1.
    pub(crate) fn ordinals(&self) -> &[Option<i64>] {
        &self.chunk.ordinals
    }

    /// Of each list, all items, and which of them each result has.
    pub(crate) fn items(&self) -> impl Iterator<Item = (&[ArrayRef], UInt64Array)> {
        let places = self.chunk.items.iter().map(|places| UInt64Array::from(places.clone()));
        self.lists.iter().map(Nested::items).zip(places)
    }

    fn close(&mut self) {
        self.frames.pop();
        match self.frames.last_mut() {
            Some(outer) => outer.next += 1,
            None => self.next_row(),
        }
    }

    fn next_row(&mut self) {
        self.row += 1;
        self.results = 0;
    }

    /// Opens the lists of the next level in, at the item where the level outside stands.
    fn open(&mut self) {
        let level = self.frames.len();
        let mut len = 0;
        let mut ranges = Vec::with_capacity(self.lists.len());
        for (index, list) in self.lists.iter().enumerate() {
            let first = self.depth - list.depth();
            if level < first {
                ranges.push(None);
                continue;
            }
            let range = match self.frames.last().filter(|_| level > first) {
                None => list.range(0, self.row),
                Some(outer) => {
                    let items = outer.ranges[index].clone();
                    let item = items.and_then(|mut items| items.nth(outer.next));
                    item.and_then(|item| list.range(level - first, item))
                }
            };
            len = len.max(self.counted_len(&range));
            ranges.push(range);
        }
        self.frames.push(Frame { ranges, len, next: 0 });
    }

    fn counted_len(&self, range: &Option<Range<usize>>) -> usize {
        match (range, self.null_handling) {
            (None, NullHandling::Drop) => 0,
            (None, NullHandling::Preserve | NullHandling::PreserveAndExpandEmpty) => 1,
            (Some(range), NullHandling::PreserveAndExpandEmpty) => range.len().max(1),
            (Some(range), NullHandling::Drop | NullHandling::Preserve) => range.len(),
        }
    }

    /// Items of the innermost lists, as many as there is room for.
    fn emit(&mut self, rows_max: usize) {
        let stands_for_items = |frame: &Frame| frame.ranges.iter().flatten().any(|range| !range.is_empty());
        let counted = self.depth == 0 || self.frames.iter().any(stands_for_items);
        let room = rows_max - self.chunk.rows.len();
        let (from, count) = match self.frames.last() {
            Some(frame) => (frame.next, room.min(frame.len - frame.next)),
            None => (0, 1),
        };
        if let Some(frame) = self.frames.last_mut() {
            for (places, range) in self.chunk.items.iter_mut().zip(&frame.ranges) {
                let range = range.clone().unwrap_or(0..0);
                let known = range.len().saturating_sub(from).min(count);
                places.extend((range.start + from..range.start + from + known).map(|item| Some(item as u64)));
                places.extend(std::iter::repeat_n(None, count - known));
            }
            frame.next += count;
        }
        self.chunk.rows.extend(std::iter::repeat_n(self.row, count));
        let first = self.results + 1;
        self.chunk.ordinals.extend((first..first + count as i64).map(|n| counted.then_some(n)));
        self.results += count as i64;
        if self.depth == 0 {
            self.next_row();
        }
    }
}
