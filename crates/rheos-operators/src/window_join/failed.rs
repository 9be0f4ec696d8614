//! Pairs for which the further condition cannot be computed, where the rows are to fail alone: they do not join, and become dead
//! letters.
//!
//! A row that is at fault by itself, since the part that fails reads one side only, is one letter in a window, with the first
//! row that it would have been joined with. Else each pair is one.

use std::collections::HashSet;

use arrow::array::BooleanArray;
use arrow::record_batch::RecordBatch;
use rheos_core::letters::DeadLetter;
use rheos_core::{Error, ErrorKind, Result};

use super::residual::Residual;
use super::side::{Pairs, Place, Side};
use super::spec::{LEFT, Plan, RIGHT};
use crate::evaluation::new_batch;
use crate::lenient::{failing_rows, letter, without};

/// What has failed in a window.
#[derive(Default)]
pub(crate) struct FailedPairs {
    /// Rows of each side that are in a letter already.
    told: [HashSet<Place>; 2],
    letters: Vec<DeadLetter>,
}

impl FailedPairs {
    /// The letters since the last call.
    pub(crate) fn take(&mut self) -> Vec<DeadLetter> {
        std::mem::take(&mut self.letters)
    }

    /// For which pairs the condition is true; `error` is that of all of them, `rows` what it reads of them.
    /// Errors: one that no pair is at fault for.
    pub(crate) fn mask(
        &mut self,
        residual: &Residual,
        rows: &RecordBatch,
        error: Error,
        plan: &Plan,
        sides: &[Side; 2],
        pairs: &Pairs,
    ) -> Result<BooleanArray> {
        let failing = failing_rows(rows, error, &mut |rows| residual.evaluate(&rows).map(drop))?;
        for (at, error) in &failing {
            self.tell(residual.sides_at_fault(&rows.slice(*at, 1)), *at, error, plan, sides, pairs)?;
        }
        let good = residual.evaluate(&without(rows, &failing)?)?;
        let mut good = good.iter();
        let mut failing = failing.iter().map(|(at, _)| *at).peekable();
        let is_true = |at: usize| match failing.next_if_eq(&at) {
            Some(_) => Some(false),
            None => good.next().flatten(),
        };
        Ok((0..rows.num_rows()).map(is_true).collect())
    }

    fn tell(
        &mut self,
        at_fault: [bool; 2],
        at: usize,
        error: &Error,
        plan: &Plan,
        sides: &[Side; 2],
        pairs: &Pairs,
    ) -> Result<()> {
        if error.kind() != ErrorKind::User {
            return Err(error.clone());
        }
        let place = |side: usize| pairs.places[side][at];
        let is_new = match at_fault {
            [true, false] => self.told[LEFT].insert(place(LEFT)),
            [false, true] => self.told[RIGHT].insert(place(RIGHT)),
            _ => true,
        };
        if !is_new {
            return Ok(());
        }
        let columns = |side: usize| sides[side].gather_all(plan.inputs[side].fields().len(), &[place(side)]);
        let (mut values, right) = (columns(LEFT)?, columns(RIGHT)?);
        values.extend(right);
        let pair = new_batch(&plan.pairs, values, 1)?;
        self.letters.push(letter(&pair, 0, error.message())?);
        Ok(())
    }
}
