//! An operator whose rows may fail one by one: those that cannot be computed with become dead letters.
//!
//! ```text
//!   batch ──► operator ── fails ──► halves, and halves of those that fail ──► the rows at fault ──► ERRORS
//!                └──────────────────────────────────────────────────── the others ──────────────► MAIN
//! ```
//!
//! Nothing is done as long as nothing fails. Stateless operators try rows by taking them; one with state, which must not take a
//! row twice, has [`Operator::check_rows`] for it.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rheos_core::change;
use rheos_core::letters::{self, DeadLetter};
use rheos_core::operator::{Counter, OperatorInit, StateSize, WatermarkChange};
use rheos_core::state::{Combine, SnapshotReader, StateDelta};
use rheos_core::timer::TimeDomain;
use rheos_core::{
    Epoch, Error, ErrorKind, Operator, OperatorContext, OperatorFactory, Port, Progress, Result, Watermark, clock,
};
use rheos_formats::json::write::write_rows;

/// How it is found out which rows are at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trial {
    /// The operator takes them once more.
    Take,
    /// It checks them.
    Check,
}

/// Makes operators around those of another factory, which must be a function of single rows, or check them.
///
/// Shape: that of the other; on [`Port::ERRORS`] rows of [`letters::schema`], each with the id of the operator as its
/// `split`, no position, and the row as JSON. Time and state: those of the other. Rows at fault are counted.
/// Errors: those of the other that no row is at fault for.
#[derive(Debug)]
pub struct LenientFactory {
    inner: Arc<dyn OperatorFactory>,
    trial: Trial,
    operator_id: String,
    table: String,
}

impl LenientFactory {
    /// Around the stateless operators of `inner`, which run under `operator_id`; the letters are those of `table`.
    pub fn new(inner: Arc<dyn OperatorFactory>, operator_id: String, table: String) -> Self {
        Self { inner, trial: Trial::Take, operator_id, table }
    }

    /// The same around operators that [check their rows](Operator::check_rows).
    pub fn checking(inner: Arc<dyn OperatorFactory>, operator_id: &str, table: &str) -> Self {
        Self { inner, trial: Trial::Check, operator_id: operator_id.into(), table: table.into() }
    }
}

impl OperatorFactory for LenientFactory {
    fn create(&self, init: &OperatorInit) -> Result<Box<dyn Operator>> {
        let (operator_id, table) = (self.operator_id.clone(), self.table.clone());
        Ok(Box::new(Lenient { inner: self.inner.create(init)?, trial: self.trial, operator_id, table }))
    }

    fn combiner(&self, table: &str, init: &OperatorInit) -> Option<Arc<dyn Combine>> {
        self.inner.combiner(table, init)
    }

    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn describe(&self) -> Vec<(String, String)> {
        self.inner.describe()
    }

    fn growth(&self) -> Option<String> {
        self.inner.growth()
    }

    fn has_time_to_live(&self) -> bool {
        self.inner.has_time_to_live()
    }
}

struct Lenient {
    inner: Box<dyn Operator>,
    trial: Trial,
    operator_id: String,
    table: String,
}

impl Operator for Lenient {
    fn on_batch(&mut self, input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        let error = match self.inner.on_batch(input, batch.clone(), ctx) {
            Err(error) if error.kind() == ErrorKind::User => error,
            done => return done,
        };
        // What it did before it failed is done again below.
        forget(ctx);
        let error = match self.trial {
            Trial::Take => error,
            // No row is at fault: a sum may be out of range.
            Trial::Check => match self.inner.check_rows(input, &batch) {
                Ok(()) => return Err(error),
                Err(of_a_row) => of_a_row,
            },
        };
        let failing = failing_rows(&batch, error, &mut |rows| {
            if self.trial == Trial::Check {
                return self.inner.check_rows(input, &rows);
            }
            let mut scratch = OperatorContext::default();
            (scratch.now_ms, scratch.watermark) = (ctx.now_ms, ctx.watermark);
            let mut progress = self.inner.on_batch(input, rows, &mut scratch)?;
            while progress == Progress::More {
                progress = self.inner.resume(&mut scratch)?;
            }
            Ok(())
        })?;
        // A row that goes was a letter when it came.
        let weights = change::weights(&batch);
        let comes = |row: &usize| weights.is_none_or(|weights| weights.value(*row) > 0);
        let letters = failing.iter().filter(|(row, _)| comes(row));
        let letters = letters.map(|(row, error)| letter(&batch, *row, error.message()));
        emit(&letters.collect::<Result<Vec<_>>>()?, &self.operator_id, &self.table, ctx)?;
        let good = without(&batch, &failing)?;
        if good.num_rows() == 0 {
            return Ok(Progress::Done);
        }
        self.inner.on_batch(input, good, ctx)
    }

    fn check_rows(&self, input: usize, batch: &RecordBatch) -> Result<()> {
        self.inner.check_rows(input, batch)
    }

    fn on_watermark(&mut self, change: WatermarkChange, ctx: &mut OperatorContext) -> Result<Progress> {
        self.inner.on_watermark(change, ctx)
    }

    fn on_timer(
        &mut self,
        domain: TimeDomain,
        key: &[u8],
        time_ms: i64,
        ctx: &mut OperatorContext,
    ) -> Result<Progress> {
        self.inner.on_timer(domain, key, time_ms, ctx)
    }

    fn on_clock(&mut self, now_ms: i64, ctx: &mut OperatorContext) -> Result<Progress> {
        self.inner.on_clock(now_ms, ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.inner.resume(ctx)
    }

    fn flush(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.inner.flush(ctx)
    }

    fn on_epoch_end(&mut self, epoch: Epoch, ctx: &mut OperatorContext) -> Result<StateDelta> {
        self.inner.on_epoch_end(epoch, ctx)
    }

    fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        self.inner.restore(snapshot)
    }

    fn output_watermark(&self, combined: Watermark) -> Watermark {
        self.inner.output_watermark(combined)
    }

    fn wants_clock(&self) -> bool {
        self.inner.wants_clock()
    }

    fn open_windows(&self) -> u64 {
        self.inner.open_windows()
    }

    fn state_size(&self) -> StateSize {
        self.inner.state_size()
    }
}

/// Counts letters of a table and sends them, from the operator of an id.
pub(crate) fn emit(letters: &[DeadLetter], operator_id: &str, table: &str, ctx: &mut OperatorContext) -> Result<()> {
    ctx.count(Counter::DeadLetters, letters.len() as u64);
    ctx.emit(Port::ERRORS, letters::rows(table, operator_id, clock::now_ms(), letters)?);
    Ok(())
}

fn forget(ctx: &mut OperatorContext) {
    ctx.take_emitted();
    ctx.take_counters();
    ctx.take_lateness();
}

/// The rows of a batch for which `try_rows` fails when they are alone, each with its error. `error`: that of the whole batch.
///
/// Errors: one that no row is at fault for.
pub fn failing_rows(
    batch: &RecordBatch,
    error: Error,
    try_rows: &mut dyn FnMut(RecordBatch) -> Result<()>,
) -> Result<Vec<(usize, Error)>> {
    let mut failing = vec![];
    // What is known to fail; the last of them comes first in the batch.
    let mut parts = vec![(0, batch.num_rows(), error)];
    while let Some((start, rows, error)) = parts.pop() {
        if error.kind() != ErrorKind::User {
            return Err(error);
        }
        if rows <= 1 {
            failing.push((start, error));
            continue;
        }
        let half = rows / 2;
        let mut halves = [(start + half, rows - half), (start, half)].map(|(start, rows)| {
            let failed = try_rows(batch.slice(start, rows)).err();
            failed.map(|error| (start, rows, error))
        });
        parts.extend(halves.iter_mut().filter_map(Option::take));
    }
    Ok(failing)
}

/// The batch without some of its rows.
pub fn without(batch: &RecordBatch, failing: &[(usize, Error)]) -> Result<RecordBatch> {
    let mut good = vec![true; batch.num_rows()];
    failing.iter().for_each(|(row, _)| good[*row] = false);
    Ok(filter_record_batch(batch, &BooleanArray::from(good))?)
}

/// The letter of a row that was read and cannot be computed with.
pub fn letter(batch: &RecordBatch, row: usize, reason: &str) -> Result<DeadLetter> {
    let mut raw = Vec::new();
    write_rows(&change::split(&batch.slice(row, 1))?.0, &mut raw)?;
    raw.pop();
    Ok(DeadLetter { position: None, reason: reason.into(), raw })
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn exactly_the_rows_at_fault_are_found(values in prop::collection::vec(-1i64..6, 1..300)) {
            let column: ArrayRef = Arc::new(Int64Array::from(values.clone()));
            let batch = RecordBatch::try_from_iter([("a", column)]).unwrap();
            let mut divide = |rows: RecordBatch| {
                match rows.column(0).as_primitive::<Int64Type>().values().contains(&0) {
                    true => Err(Error::user("division by zero")),
                    false => Ok(()),
                }
            };
            let zeros: Vec<usize> = (0..values.len()).filter(|row| values[*row] == 0).collect();
            if let Err(error) = divide(batch.clone()) {
                let failing = failing_rows(&batch, error, &mut divide).unwrap();
                prop_assert_eq!(failing.iter().map(|(row, _)| *row).collect::<Vec<_>>(), zeros.clone());
                let rest = without(&batch, &failing).unwrap();
                prop_assert_eq!(rest.num_rows(), values.len() - zeros.len());
                let text = letter(&batch, zeros[0], "it is zero").unwrap();
                prop_assert_eq!(text.raw.as_slice(), b"{\"a\":0}");
            } else {
                prop_assert!(zeros.is_empty());
            }
        }
    }
}
