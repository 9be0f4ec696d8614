//! Puts the rows of a batch into their slices: which rows of it belong to which slice, in one pass and without sorting.
//!
//! ```text
//!   slices of the rows   7 7 8 7 9(late)          take   0 1 3 2
//!                                       ──►       parts  7: 0..3   8: 3..4        late  9: 1 row
//! ```
//! Rows mostly come in order of time; then there is nothing to take, and parts are ranges of the batch itself.

use std::ops::Range;

use arrow::array::UInt32Array;
use hashbrown::HashMap;
use rheos_core::OperatorContext;
use rheos_core::operator::Counter;

use super::slicing::Slicing;

/// The rows of a batch by slice.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    /// The rows to take, in this order; `None` if all stay where they are.
    pub(crate) take: Option<UInt32Array>,
    /// Each slice with its range of the rows that were taken.
    pub(crate) parts: Vec<(i64, Range<usize>)>,
    /// Late rows: slice and number.
    late: Vec<(i64, u64)>,
    /// Rows without an event time.
    nulls: u64,
}

impl Partition {
    /// All rows in one slice.
    pub(crate) fn whole(slice: i64, rows: usize) -> Self {
        Self { parts: vec![(slice, 0..rows)], ..Self::default() }
    }

    /// `slice_of` gives the slice of each row; windows before `open` have fired.
    pub(crate) fn new(
        slicing: Slicing,
        open: i64,
        rows: usize,
        mut slice_of: impl FnMut(usize) -> Option<i64>,
    ) -> Self {
        let mut partition = Self::default();
        let mut slots: HashMap<i64, usize> = HashMap::new();
        let mut kept: Vec<u32> = Vec::with_capacity(rows);
        let mut slot_of: Vec<u32> = Vec::with_capacity(rows);
        let mut counts: Vec<(i64, usize)> = vec![];
        let mut in_order = true;
        // The slice of the row before, and where such rows go (`None`: they are late).
        let mut current: Option<(i64, Option<usize>)> = None;
        for row in 0..rows {
            let Some(slice) = slice_of(row) else {
                partition.nulls += 1;
                continue;
            };
            let slot = match current {
                Some((n, slot)) if n == slice => slot,
                _ if slicing.last_window(slice) < open => None,
                _ => Some(*slots.entry(slice).or_insert_with(|| {
                    counts.push((slice, 0));
                    counts.len() - 1
                })),
            };
            if current.is_none_or(|(n, _)| n != slice) {
                current = Some((slice, slot));
                if slot.is_none() {
                    partition.late.push((slice, 0));
                }
            }
            match slot {
                Some(slot) => {
                    in_order &= slot + 1 == counts.len();
                    counts[slot].1 += 1;
                    kept.push(row as u32);
                    slot_of.push(slot as u32);
                }
                None => {
                    if let Some((_, n)) = partition.late.last_mut() {
                        *n += 1;
                    }
                }
            }
        }
        let mut end = 0;
        for (slice, n) in counts {
            partition.parts.push((slice, end..end + n));
            end += n;
        }
        if !in_order {
            let mut next: Vec<usize> = partition.parts.iter().map(|(_, range)| range.start).collect();
            let mut ordered = vec![0; kept.len()];
            for (row, slot) in kept.iter().zip(&slot_of) {
                ordered[next[*slot as usize]] = *row;
                next[*slot as usize] += 1;
            }
            kept = ordered;
        }
        if !in_order || kept.len() < rows {
            partition.take = Some(UInt32Array::from(kept));
        }
        partition
    }

    /// Rows that are in some slice.
    pub(crate) fn rows(&self) -> usize {
        self.parts.last().map_or(0, |(_, range)| range.end)
    }

    /// Counts what was kept and what was dropped.
    pub(crate) fn count(&self, slicing: Slicing, watermark_ms: i64, ctx: &mut OperatorContext) {
        ctx.count(Counter::NullEventTimes, self.nulls);
        for (slice, rows) in &self.late {
            ctx.count(Counter::LateRecords, *rows);
            ctx.observe_lateness(slicing.lateness_ms(*slice, watermark_ms), *rows);
        }
    }
}
