//! The pairs that some changes of one side make with the rows of the other: a cursor, never the whole product.

use arrow::array::{ArrayRef, BooleanArray};
use rheos_core::Result;

use super::side::{Change, Side, too_often};
use crate::joining::Candidates;

/// Pairs that a step looks at and leaves out, since a row of theirs is gone, beside those that it takes.
const SKIPPED_MAX: usize = 1 << 16;

/// The place in the changes of a side.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// Whose changes they are.
    pub(crate) side: usize,
    changes: Vec<Change>,
    at: usize,
    /// The next candidate for the change before `at`.
    next: Option<u32>,
}

/// Pairs of rows: at one index, the row of the left, the row of the right, and the weight of the pair.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    pub(crate) rows: [Vec<u32>; 2],
    pub(crate) weights: Vec<i64>,
    /// Which change each comes from.
    of: Vec<u32>,
}

impl Cursor {
    pub(crate) fn new(side: usize, changes: Vec<Change>) -> Self {
        Self { side, changes, at: 0, next: None }
    }

    /// Whether no pairs are left.
    pub(crate) fn is_done(&self) -> bool {
        self.next.is_none() && self.at == self.changes.len()
    }

    /// The next pairs, `limit` at most. There may be none though more are left.
    pub(crate) fn step(&mut self, sides: &[Side], limit: usize) -> Result<Pairs> {
        let other = &sides[1 - self.side];
        let mut pairs = Pairs::default();
        let mut looks = limit + SKIPPED_MAX;
        while pairs.len() < limit && looks > 0 {
            looks -= 1;
            let Some(row) = self.next else {
                let Some(change) = self.changes.get(self.at) else { break };
                self.next = other.chains.first(change.key);
                self.at += 1;
                continue;
            };
            self.next = other.chains.next(row);
            let change = &self.changes[self.at - 1];
            let weight = other.weight(row);
            // A row that has gone and may come back in this epoch goes on counting what it is joined with.
            if weight != 0 || other.matches.is_some() {
                pairs.rows[self.side].push(change.row);
                pairs.rows[1 - self.side].push(row);
                pairs.weights.push(change.weight.checked_mul(weight).ok_or_else(too_often)?);
                pairs.of.push((self.at - 1) as u32);
            }
        }
        Ok(pairs)
    }

    /// The change that a pair comes from.
    pub(crate) fn change(&self, pairs: &Pairs, at: usize) -> &Change {
        &self.changes[pairs.of[at] as usize]
    }
}

impl Pairs {
    pub(crate) fn len(&self) -> usize {
        self.weights.len()
    }

    /// Leaves out the pairs with rows that are not there.
    pub(crate) fn retain_those_there(&mut self) {
        if self.weights.contains(&0) {
            let there: Vec<bool> = self.weights.iter().map(|weight| *weight != 0).collect();
            self.retain(&BooleanArray::from(there));
        }
    }

    pub(crate) fn retain(&mut self, mask: &BooleanArray) {
        let [left, right] = &mut self.rows;
        retain(left, mask);
        retain(right, mask);
        retain(&mut self.weights, mask);
        retain(&mut self.of, mask);
    }
}

fn retain<T>(values: &mut Vec<T>, mask: &BooleanArray) {
    let mut index = 0;
    values.retain(|_| {
        index += 1;
        mask.value(index - 1)
    });
}

/// Pairs, with the rows that they are of.
pub(crate) struct PairsOf<'a>(pub(crate) &'a Pairs, pub(crate) &'a [Side]);

impl Candidates for PairsOf<'_> {
    fn column(&self, side: usize, column: usize) -> Result<ArrayRef> {
        Ok(self.1[side].rows.gather_columns([column], &self.0.rows[side])?.remove(0))
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn row(&self, side: usize, at: usize) -> Result<Vec<ArrayRef>> {
        let columns = self.1[side].rows.schema().fields().len();
        self.1[side].rows.gather_columns(0..columns, &[self.0.rows[side][at]])
    }

    fn number(&self, side: usize, at: usize) -> usize {
        self.0.rows[side][at] as usize
    }

    fn comes(&self, at: usize) -> bool {
        self.0.weights[at] > 0
    }
}
