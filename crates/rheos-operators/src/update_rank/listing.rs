//! What readers are told of a partition: rows of the answer that leave and rows that enter it, with their numbers.
//!
//! One walk over the rows counts them as they were and as they are. It begins with the first chunk that has changed, and ends where both
//! counts agree again or are beyond the limit.

use super::numbers::{Count, Numbering, Place};
use super::ordered::{Entry, Ordered};
use crate::keyed::row_codec::RowBytes;
use crate::window_rank::RankFunction;

/// A row of the answer that enters it (so many times) or leaves it.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) slot: u32,
    pub(crate) row: RowBytes,
    pub(crate) number: u64,
    pub(crate) weight: i64,
}

/// Adds the changes of a partition to `out`. Of two rows that have one number one after the other, that which leaves comes first, and
/// the other follows it.
pub(crate) fn list(slot: u32, rows: &Ordered, numbering: Numbering, out: &mut Vec<Change>) {
    let mut tell = |row: &RowBytes, number: u64, weight: i64| {
        if weight != 0 {
            out.push(Change { slot, row: row.clone(), number, weight });
        }
    };
    match (numbering.emits_number, numbering.function) {
        (true, RankFunction::RowNumber) => {
            let (mut old, mut new) = (vec![], vec![]);
            walk(rows, numbering, |entry, before, now| {
                if before != now {
                    old.extend((before.copies > 0).then_some((entry, before)));
                    new.extend((now.copies > 0).then_some((entry, now)));
                }
            });
            by_number(&old, &new, tell);
        }
        (true, _) => walk(rows, numbering, |entry, before, now| {
            if before.number == now.number {
                return tell(&entry.row, now.number, now.copies as i64 - before.copies as i64);
            }
            tell(&entry.row, before.number, -(before.copies as i64));
            tell(&entry.row, now.number, now.copies as i64);
        }),
        (false, _) => {
            let mut enter = vec![];
            walk(rows, numbering, |entry, before, now| {
                let weight = now.copies as i64 - before.copies as i64;
                if weight > 0 {
                    enter.push((entry, weight));
                } else {
                    tell(&entry.row, 0, weight);
                }
            });
            enter.into_iter().for_each(|(entry, weight)| tell(&entry.row, 0, weight));
        }
    }
}

/// The rows whose place may have changed, in their order, with their places before and now.
fn walk<'a>(rows: &'a Ordered, numbering: Numbering, mut each: impl FnMut(&'a Entry, Place, Place)) {
    let (chunks, start, mut changed) = rows.changed_chunks(numbering.function);
    let (mut old, mut new): (Count, Count) = (start, start);
    let mut tie = 0;
    let mut previous: Option<&Entry> = None;
    for entry in chunks.iter().flat_map(|chunk| &chunk.entries) {
        let begins_tie = previous.is_none_or(|p| p.row.order() != entry.row.order());
        tie += u64::from(begins_tie);
        if begins_tie || numbering.function == RankFunction::RowNumber {
            let is_over = old.is_full(numbering) && new.is_full(numbering);
            if is_over || (changed == 0 && old.agrees(&new)) {
                return;
            }
        }
        let before = old.advance(entry.before, tie, numbering);
        let now = new.advance(entry.now, tie, numbering);
        changed -= usize::from(entry.before != entry.now);
        each(entry, before, now);
        previous = Some(entry);
    }
}

/// Numbers that went from one row to another. Both lists are in the order of their numbers.
fn by_number(old: &[(&Entry, Place)], new: &[(&Entry, Place)], mut tell: impl FnMut(&RowBytes, u64, i64)) {
    let numbers = |list: &'_ [(&'_ Entry, Place)]| -> Vec<(u64, usize)> {
        let of = |(at, (_, place)): (usize, &(&Entry, Place))| {
            (place.number..place.number + place.copies).map(move |n| (n, at))
        };
        list.iter().enumerate().flat_map(of).collect()
    };
    let (old_numbers, new_numbers) = (numbers(old), numbers(new));
    let (mut i, mut j) = (0, 0);
    while i < old_numbers.len() || j < new_numbers.len() {
        let (a, b) = (old_numbers.get(i), new_numbers.get(j));
        let number = a.iter().chain(b.iter()).map(|(n, _)| *n).min().unwrap_or_default();
        let leaves = a.filter(|(n, _)| *n == number).map(|(_, at)| old[*at].0);
        let enters = b.filter(|(n, _)| *n == number).map(|(_, at)| new[*at].0);
        if leaves.map(std::ptr::from_ref) != enters.map(std::ptr::from_ref) {
            leaves.into_iter().for_each(|entry| tell(&entry.row, number, -1));
            enters.into_iter().for_each(|entry| tell(&entry.row, number, 1));
        }
        i += usize::from(leaves.is_some());
        j += usize::from(enters.is_some());
    }
}
