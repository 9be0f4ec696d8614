//! What the changes of one input make with the rows of all others: a cursor over the products, never a whole one.
//!
//! ```text
//!   change ─► key ─► rows of the key in each other input, listed once for all changes of the key
//!                      a1 a2 │ b1 b2 b3  ─►  a1 b1, a1 b2, a1 b3, a2 b1, ...    like the digits of a counter
//! ```
//! Listing is a part of the steps, too: a key may have any number of rows, gone ones among them.

use rheos_core::Result;

use crate::update_join::side::{Change, Side, too_often};

/// Rows that a step looks at beside those that it gives.
const LOOKS_MAX: usize = 1 << 16;

/// The place in the changes of an input.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// Whose changes they are.
    input: usize,
    /// Those of one key stand together.
    changes: Vec<Change>,
    at: usize,
    partners: Partners,
    /// By other input: the row of the next result among those that are listed.
    places: Vec<usize>,
}

/// The rows of one key in the other inputs.
#[derive(Debug)]
struct Partners {
    /// The other inputs.
    inputs: Vec<usize>,
    /// What is listed, or being listed.
    key: Option<u32>,
    /// By other input.
    rows: Vec<Vec<u32>>,
    /// How many of the other inputs have been gone through.
    listed: usize,
    /// Where the next is: the row to look at.
    next: Option<u32>,
}

/// Results: at one index, a row of each input, and the product of their weights.
#[derive(Debug)]
pub(crate) struct Combinations {
    /// By input.
    pub(crate) rows: Vec<Vec<u32>>,
    pub(crate) weights: Vec<i64>,
}

impl Cursor {
    /// For changes of one of so many inputs.
    pub(crate) fn new(input: usize, inputs: usize, mut changes: Vec<Change>) -> Self {
        changes.sort_by_key(|change| change.key);
        let others: Vec<usize> = (0..inputs).filter(|other| *other != input).collect();
        let places = vec![0; others.len()];
        let rows = vec![vec![]; others.len()];
        let partners = Partners { inputs: others, key: None, rows, listed: 0, next: None };
        Self { input, changes, at: 0, partners, places }
    }

    /// Whether no results are left.
    pub(crate) fn is_done(&self) -> bool {
        self.at == self.changes.len()
    }

    /// The next results, `limit` at most. There may be none though more are left.
    pub(crate) fn step(&mut self, sides: &[Side], limit: usize) -> Result<Combinations> {
        let mut found = Combinations { rows: vec![vec![]; sides.len()], weights: vec![] };
        let mut looks = LOOKS_MAX;
        while let Some(change) = self.changes.get(self.at).copied() {
            if looks == 0 || !self.partners.list(change.key, sides, &mut looks) {
                break;
            }
            if self.partners.is_empty() {
                self.at += 1;
                looks -= 1;
                continue;
            }
            if found.weights.len() == limit {
                break;
            }
            self.add(change, sides, &mut found)?;
            self.turn();
        }
        Ok(found)
    }

    /// The result at the places.
    fn add(&self, change: Change, sides: &[Side], found: &mut Combinations) -> Result<()> {
        let mut weight = change.weight;
        found.rows[self.input].push(change.row);
        for ((input, rows), place) in self.partners.inputs.iter().zip(&self.partners.rows).zip(&self.places) {
            let row = rows[*place];
            found.rows[*input].push(row);
            weight = weight.checked_mul(sides[*input].weight(row)).ok_or_else(too_often)?;
        }
        found.weights.push(weight);
        Ok(())
    }

    /// On to the places of the next result: those of the last input turn fastest.
    fn turn(&mut self) {
        for (place, rows) in self.places.iter_mut().zip(&self.partners.rows).rev() {
            *place += 1;
            if *place < rows.len() {
                return;
            }
            *place = 0;
        }
        self.at += 1;
    }
}

impl Partners {
    /// Goes on listing the rows of a key, as far as there are looks left. Whether it has come to the end.
    fn list(&mut self, key: u32, sides: &[Side], looks: &mut usize) -> bool {
        if self.key != Some(key) {
            self.key = Some(key);
            self.rows.iter_mut().for_each(Vec::clear);
            // Most keys that find nothing have no rows at all in some input.
            let has_rows = |input: &usize| sides[*input].chains.first(key).is_some();
            self.listed = if self.inputs.iter().all(has_rows) { 0 } else { self.inputs.len() };
            self.next = self.inputs.first().and_then(|input| sides[*input].chains.first(key));
        }
        while self.listed < self.inputs.len() {
            let side = &sides[self.inputs[self.listed]];
            while let Some(row) = self.next {
                if *looks == 0 {
                    return false;
                }
                *looks -= 1;
                self.next = side.chains.next(row);
                if side.weight(row) != 0 {
                    self.rows[self.listed].push(row);
                }
            }
            self.listed = if self.rows[self.listed].is_empty() { self.inputs.len() } else { self.listed + 1 };
            self.next = self.inputs.get(self.listed).and_then(|input| sides[*input].chains.first(key));
        }
        true
    }

    /// Whether the product of what is listed has no rows.
    fn is_empty(&self) -> bool {
        self.rows.iter().any(Vec::is_empty)
    }
}
