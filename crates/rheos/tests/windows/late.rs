//! Late rows: a row counts in each of its windows that has not fired when it comes, and is late where all have.
//!
//! A window `[start, end)` fires at W >= end, a session at W > end, with W = the largest event time so far, less the delay.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rheos::Counter;

use crate::definition::{Kind, Window, kinds};
use crate::engine::{cell, same};
use crate::input::{Row, clocks, rows};
use crate::paced::{self, Step};
use crate::time::{interval, timestamp};

/// What becomes of the rows of a script.
#[derive(Debug, Default)]
struct Outcome {
    /// The rows of each window and key that count.
    windows: BTreeMap<(Window, Option<&'static str>), Vec<Row>>,
    late: u64,
    nulls: u64,
}

/// One batch after the other. The watermark that judges a batch is that behind the batch before it.
fn outcome(steps: &[Step], kind: Kind) -> Outcome {
    let mut outcome = Outcome::default();
    let mut watermark = i64::MIN;
    for step in steps {
        outcome.nulls += step.rows.iter().filter(|r| r.ts.is_none()).count() as u64;
        match kind {
            Kind::Session { gap } => join_sessions(&mut outcome, step, gap, watermark),
            _ => {
                for (row, t) in step.rows.iter().filter_map(|r| r.ms().map(|t| (r, t))) {
                    let open = kind.windows_of(t).into_iter().filter(|(_, end)| *end > watermark);
                    let open: Vec<_> = open.collect();
                    outcome.late += u64::from(open.is_empty());
                    for window in open {
                        outcome.windows.entry((window, row.k)).or_default().push(row.clone());
                    }
                }
            }
        }
        watermark = watermark.max(step.watermark_ms.unwrap_or(i64::MIN));
    }
    outcome
}

/// The rows of a batch and the sessions that are open make sessions anew; one that ends before the watermark then has new
/// rows only, and they are late.
fn join_sessions(outcome: &mut Outcome, step: &Step, gap: i64, watermark: i64) {
    let keys: BTreeSet<_> = step.rows.iter().map(|r| r.k).collect();
    for k in keys {
        let open: Vec<_> =
            outcome.windows.keys().filter(|((_, end), key)| *key == k && *end >= watermark).copied().collect();
        let mut rows: Vec<Row> = open.iter().flat_map(|key| outcome.windows.remove(key).unwrap()).collect();
        rows.extend(step.rows.iter().filter(|r| r.k == k && r.ts.is_some()).cloned());
        rows.sort_by_key(|r| (r.ms(), r.id));
        for session in rows.chunk_by(|a, b| b.ms().unwrap() - a.ms().unwrap() <= gap) {
            let window = (session[0].ms().unwrap(), session[session.len() - 1].ms().unwrap() + gap);
            if window.1 < watermark {
                outcome.late += session.len() as u64;
            } else {
                outcome.windows.insert((window, k), session.to_vec());
            }
        }
    }
}

impl Outcome {
    fn lines(&self) -> Vec<String> {
        let line = |(((start, end), k), rows): (&(Window, Option<&str>), &Vec<Row>)| {
            let ids: Vec<_> = rows.iter().map(|r| r.id).collect::<BTreeSet<_>>().iter().map(i64::to_string).collect();
            assert_eq!(ids.len(), rows.len(), "a row is in a window once");
            let window = [*start, *end].map(|ms| timestamp(ms * 1000)).join("|");
            let sum = rows.iter().filter_map(|r| r.v).reduce(|a, b| a + b);
            format!("{}|{window}|{}|{}|{}", cell(*k), rows.len(), cell(sum), ids.join(" "))
        };
        let mut lines: Vec<_> = self.windows.iter().map(line).collect();
        lines.sort();
        lines
    }
}

#[derive(Debug)]
struct Case {
    steps: Vec<Step>,
    kind: Kind,
    delay_ms: i64,
    /// With an order-sensitive aggregate there is no part before the exchange.
    ordered: bool,
    parallelism: usize,
}

fn cases() -> impl Strategy<Value = Case> {
    let disorder = prop::sample::select(vec![300i64, 5_000, 60_000]);
    let delay = prop::sample::select(vec![0i64, 1, 200, 4_000]);
    (clocks(), disorder, delay).prop_flat_map(|(clock, disorder, delay)| {
        let delay_ms = delay * clock.unit;
        (rows(clock, 60, disorder), kinds(clock.unit), 1usize..8, any::<bool>(), 1usize..4).prop_map(
            move |(rows, kind, batch_rows, ordered, parallelism)| {
                let batches = rows.chunks(batch_rows).map(|rows| ("a", rows.to_vec())).collect();
                Case { steps: paced::script(batches, delay_ms), kind, delay_ms, ordered, parallelism }
            },
        )
    })
}

proptest! {
    #![proptest_config(rheos_testkit::cases(100))]

    #[test]
    fn late_rows_count_in_the_windows_that_are_open(case in cases()) {
        let Case { steps, kind, delay_ms, ordered, parallelism } = case;
        let from = kind.table_function("a", "ts", &["k"]);
        let ids = if ordered { "array_to_string(array_agg(id ORDER BY id), ' ')" } else { "min(id)" };
        let program = format!(
            "{}SELECT k, window_start, window_end, count(*), sum(v), {ids} FROM {from} GROUP BY k, window_start, window_end",
            paced::table("a", &interval(delay_ms)),
        );
        // A session waits for W > end, so what follows it is told one ms less.
        let behind_ms = i64::from(kind.is_session());
        let (got, report) = paced::run(&program, &steps, behind_ms, parallelism).map_err(TestCaseError::fail)?;
        let outcome = outcome(&steps, kind);
        let mut expected = outcome.lines();
        if !ordered {
            let first = |line: &String| line.split_once(' ').map_or(line.clone(), |_| shorten(line));
            expected = expected.iter().map(first).collect();
            expected.sort();
        }
        same(&got, &expected).map_err(|e| TestCaseError::fail(format!("{e}\n{program}")))?;
        let counted = |c: Counter| report.nodes.iter().filter_map(|n| n.counters.get(&c)).sum::<u64>();
        prop_assert_eq!(counted(Counter::LateRecords), outcome.late, "late rows of {}", program);
        prop_assert_eq!(counted(Counter::NullEventTimes), outcome.nulls, "rows without a time of {}", program);
        prop_assert_eq!(report.lateness.rows(), outcome.late);
    }
}

/// A line with the first of its ids only.
fn shorten(line: &str) -> String {
    let (cells, ids) = line.rsplit_once('|').unwrap();
    format!("{cells}|{}", ids.split(' ').next().unwrap_or_default())
}
