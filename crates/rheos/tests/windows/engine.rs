//! Runs programs, and compares their rows with those that a test computed.

use proptest::prelude::*;
use rheos::arrow::record_batch::RecordBatch;
use rheos::text::ColumnText;

/// Batch size and parallelism of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    batch_rows: usize,
    parallelism: usize,
}

/// Two of the nine ways.
pub(crate) fn ways() -> impl Strategy<Value = [Way; 2]> {
    let way = || {
        (prop::sample::select(vec![1usize, 7, 8192]), 1usize..4)
            .prop_map(|(batch_rows, parallelism)| Way { batch_rows, parallelism })
    };
    (way(), way()).prop_map(|(a, b)| [a, b])
}

/// The rows of a program's one SELECT, sorted; cells as in `tests/sql`, floats and decimals in their shortest form.
pub(crate) fn run(program: &str, way: Way) -> Result<Vec<String>, String> {
    let program = rheos::sql(program).batch_rows(way.batch_rows).parallelism(way.parallelism);
    // Epochs end in the middle of these small inputs.
    let batches = program.set("checkpoint.interval", "2 ms").collect();
    let mut rows = batches.map_err(|e| format!("{} {} ({:?})", e.code(), e.message(), e.hint()))?;
    let mut rows: Vec<String> = rows.drain(..).flat_map(|batch| cells(&batch)).collect();
    rows.sort();
    Ok(rows)
}

pub(crate) fn cells(batch: &RecordBatch) -> Vec<String> {
    let columns: Vec<_> = batch.columns().iter().map(|c| ColumnText::try_new(c).unwrap()).collect();
    let cell = |c: &ColumnText, row| if c.is_null(row) { NULL.to_string() } else { shortest(&c.text(row)) };
    let row = |row| columns.iter().map(|c| cell(c, row)).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(row).collect()
}

/// How a missing value is written.
pub(crate) const NULL: &str = "NULL";

/// A cell of a value that may be missing.
pub(crate) fn cell<T: ToString>(value: Option<T>) -> String {
    value.map_or(NULL.to_string(), |v| shortest(&v.to_string()))
}

fn shortest(text: &str) -> String {
    match text.parse::<f64>() {
        // Quotients may differ in the last bits.
        Ok(number) if text.contains(['.', 'e']) => {
            format!("{:.9}", number + 0.0).trim_end_matches('0').trim_end_matches('.').to_string()
        }
        _ => text.to_string(),
    }
}

/// Fails unless the program gives these rows at both ways, in any order.
pub(crate) fn check(program: &str, ways: [Way; 2], mut expected: Vec<String>) -> Result<(), TestCaseError> {
    expected.sort();
    for way in ways {
        let got = run(program, way).map_err(|e| TestCaseError::fail(format!("{e}\n{program}")))?;
        same(&got, &expected).map_err(|e| TestCaseError::fail(format!("{way:?}: {e}\n{program}")))?;
    }
    Ok(())
}

/// What differs between sorted rows.
pub(crate) fn same(got: &[String], expected: &[String]) -> Result<(), String> {
    if got == expected {
        return Ok(());
    }
    let only = |a: &[String], b: &[String]| {
        let mut rest = b.to_vec();
        let mut only = a.to_vec();
        only.retain(|row| match rest.iter().position(|r| r == row) {
            Some(i) => {
                rest.swap_remove(i);
                false
            }
            None => true,
        });
        only.truncate(8);
        only.join("\n    ")
    };
    Err(format!(
        "{} rows, expected {}\n  too many:\n    {}\n  missing:\n    {}",
        got.len(),
        expected.len(),
        only(got, expected),
        only(expected, got)
    ))
}
