//! Pairs for which the further condition cannot be computed, where the rows are to fail alone: they do not join, and become dead
//! letters.
//!
//! A row that is at fault by itself, since the part that fails reads one side only, is one letter, with the first row that it
//! would have been joined with. Else each pair is one. A pair that goes has been told when it came.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use hashbrown::HashSet;
use rheos_core::letters::DeadLetter;
use rheos_core::{Error, ErrorKind, Result};

use super::residual::Residual;
use super::{Candidates, LEFT, RIGHT};
use crate::evaluation::new_batch;
use crate::lenient::{failing_rows, letter, without};

/// What has failed.
#[derive(Debug)]
pub(crate) struct FailedPairs {
    /// Of a pair.
    schema: SchemaRef,
    /// Rows of each side, by their numbers, that are in a letter already.
    told: [HashSet<usize>; 2],
    letters: Vec<DeadLetter>,
}

impl FailedPairs {
    /// `pairs`: the columns of the left, then of the right.
    pub(crate) fn new(pairs: &SchemaRef) -> Self {
        Self { schema: Arc::clone(pairs), told: Default::default(), letters: vec![] }
    }

    /// The letters since the last call.
    pub(crate) fn take(&mut self) -> Vec<DeadLetter> {
        std::mem::take(&mut self.letters)
    }

    /// A row is gone; another may get its number.
    pub(crate) fn forget(&mut self, side: usize, number: usize) {
        self.told[side].remove(&number);
    }

    /// For which pairs the condition is true; `error` is that of all of them, `rows` what it reads of them.
    /// Errors: one that no pair is at fault for.
    pub(crate) fn mask(
        &mut self,
        residual: &Residual,
        rows: &RecordBatch,
        error: Error,
        pairs: &dyn Candidates,
    ) -> Result<BooleanArray> {
        let failing = failing_rows(rows, error, &mut |rows| residual.evaluate(&rows).map(drop))?;
        for (at, error) in &failing {
            if error.kind() != ErrorKind::User {
                return Err(error.clone());
            }
            if pairs.comes(*at) {
                self.tell(residual.sides_at_fault(&rows.slice(*at, 1)), *at, error, pairs)?;
            }
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

    fn tell(&mut self, at_fault: [bool; 2], at: usize, error: &Error, pairs: &dyn Candidates) -> Result<()> {
        let is_new = match at_fault {
            [true, false] => self.told[LEFT].insert(pairs.number(LEFT, at)),
            [false, true] => self.told[RIGHT].insert(pairs.number(RIGHT, at)),
            _ => true,
        };
        if !is_new {
            return Ok(());
        }
        let values = [pairs.row(LEFT, at)?, pairs.row(RIGHT, at)?].concat();
        let pair = new_batch(&self.schema, values, 1)?;
        self.letters.push(letter(&pair, 0, error.message())?);
        Ok(())
    }
}
