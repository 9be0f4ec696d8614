//! Late rows: a row counts in each of its windows that has not fired when it comes, and is late where all have.
//!
//! A window `[start, end)` fires at W >= end, a session at W > end, with W = the largest event time so far, less the delay.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rheos::Counter;

use crate::definition::{Kind, Window, kinds};
use crate::engine::{NULL, cell, run, same, ways};
use crate::input::{Row, clocks, files, rows};
use crate::paced::{self, Step};
use crate::time::{interval, timestamp};

/// What becomes of the rows of a script.
#[derive(Debug, Default)]
struct Outcome {
    /// The rows of each window and key that count.
    windows: BTreeMap<(Window, Option<&'static str>), Vec<Row>>,
    late: u64,
    nulls: u64,
    /// Of each late row: its id, where its last window ends, the watermark that had passed that.
    late_rows: Vec<(i64, i64, i64)>,
}

/// One batch of a table after the other. The watermark that judges a batch is that behind the batch before it.
fn outcome(steps: &[Step], table: &str, kind: Kind) -> Outcome {
    let mut outcome = Outcome::default();
    let mut watermark = i64::MIN;
    for step in steps {
        if step.table != table {
            watermark = watermark.max(step.watermark_ms.unwrap_or(i64::MIN));
            continue;
        }
        outcome.nulls += step.rows.iter().filter(|r| r.ts.is_none()).count() as u64;
        match kind {
            Kind::Session { gap } => join_sessions(&mut outcome, step, gap, watermark),
            _ => {
                for (row, t) in step.rows.iter().filter_map(|r| r.ms().map(|t| (r, t))) {
                    let open = kind.windows_of(t).into_iter().filter(|(_, end)| *end > watermark);
                    let open: Vec<_> = open.collect();
                    outcome.late += u64::from(open.is_empty());
                    if open.is_empty() {
                        let end = kind.windows_of(t).iter().map(|(_, end)| *end).max().unwrap();
                        outcome.late_rows.push((row.id, end, watermark));
                    }
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
                outcome.late_rows.extend(session.iter().map(|row| (row.id, window.1, watermark)));
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
                let steps = paced::script(1, batches, delay_ms);
                let steps = if kind.is_session() { between_watermarks(steps) } else { steps };
                Case { steps, kind, delay_ms, ordered, parallelism }
            },
        )
    })
}

/// Batches between two rises of the watermark as one: whether a row is late for sessions is decided when it rises next, so a row
/// of a later batch may still connect it with a session that is open.
fn between_watermarks(steps: Vec<Step>) -> Vec<Step> {
    let mut merged: Vec<Step> = vec![];
    let mut before = None;
    for step in steps {
        match merged.last_mut() {
            Some(last) if last.watermark_ms == before => {
                last.rows.extend(step.rows);
                (last.watermark_ms, last.own_ms) = (step.watermark_ms, step.own_ms);
            }
            last => {
                before = last.and_then(|last| last.watermark_ms);
                merged.push(step);
            }
        }
    }
    merged
}

proptest! {
    #![proptest_config(rheos_testkit::cases(250))]

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
        let outcome = outcome(&steps, "a", kind);
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
        // Of each step that looks at rows: what went in is what is used, late, or without a time.
        let own = [Counter::SliceInserts, Counter::LateRecords, Counter::NullEventTimes];
        for node in report.nodes.iter().filter(|n| !kind.is_session() && own.iter().any(|c| n.counters.contains_key(c))) {
            let counted: u64 = own.iter().filter_map(|c| node.counters.get(c)).sum();
            prop_assert_eq!(node.rows_in, counted, "{} of {}", node.name, program);
        }
    }
}

proptest! {
    #![proptest_config(rheos_testkit::cases(100))]

    /// The late rows as a table, beside the windows that they came too late for.
    #[test]
    fn late_rows_are_a_relation(case in cases()) {
        let Case { steps, kind, delay_ms, parallelism, .. } = case;
        let from = kind.table_function("A", "ts", &["k"]);
        let program = format!(
            "{}SELECT count(*) FROM {from} GROUP BY k, window_start, window_end;
             SELECT 'late', id, k, v, window_end, watermark FROM a$late",
            paced::table("a", &interval(delay_ms)),
        );
        let behind_ms = i64::from(kind.is_session());
        let (got, report) = paced::run(&program, &steps, behind_ms, parallelism).map_err(TestCaseError::fail)?;
        let outcome = outcome(&steps, "a", kind);
        let rows: BTreeMap<i64, &Row> = steps.iter().flat_map(|s| &s.rows).map(|r| (r.id, r)).collect();
        let line = |(id, end, watermark): &(i64, i64, i64)| {
            let (row, times) = (rows[id], [*end, *watermark].map(|ms| timestamp(ms * 1000)).join("|"));
            format!("late|{id}|{}|{}|{times}", cell(row.k), cell(row.v))
        };
        let mut expected: Vec<String> = outcome.windows.values().map(|rows| rows.len().to_string()).collect();
        expected.extend(outcome.late_rows.iter().map(line));
        expected.sort();
        same(&got, &expected).map_err(|e| TestCaseError::fail(format!("{e}\n{program}")))?;
        let counted = |c: Counter| report.nodes.iter().filter_map(|n| n.counters.get(&c)).sum::<u64>();
        prop_assert_eq!(counted(Counter::LateRecords), outcome.late, "late rows of {}", program);
        prop_assert_eq!(counted(Counter::NullEventTimes), outcome.nulls);
    }
}

/// A line with the first of its ids only.
fn shorten(line: &str) -> String {
    let (cells, ids) = line.rsplit_once('|').unwrap();
    format!("{cells}|{}", ids.split(' ').next().unwrap_or_default())
}

/// Two tables whose batches come in turn.
fn pairs() -> impl Strategy<Value = Case> {
    let disorder = prop::sample::select(vec![300i64, 5_000, 60_000]);
    let delay = prop::sample::select(vec![0i64, 1, 200, 4_000]);
    (clocks(), disorder, delay).prop_flat_map(|(clock, disorder, delay)| {
        let delay_ms = delay * clock.unit;
        let sides = (rows(clock, 40, disorder), rows(clock, 40, disorder));
        let turns = prop::collection::vec(any::<bool>(), 80);
        (sides, kinds(clock.unit), 1usize..6, turns, 1usize..4).prop_map(
            move |((a, b), kind, batch_rows, turns, parallelism)| {
                let (mut a, mut b) = (a.chunks(batch_rows), b.chunks(batch_rows));
                let turn = |is_a| if is_a { a.next().map(|r| ("a", r)) } else { b.next().map(|r| ("b", r)) };
                let mut batches: Vec<_> = turns.into_iter().filter_map(turn).map(|(t, r)| (t, r.to_vec())).collect();
                batches.extend(a.map(|rows| ("a", rows.to_vec())));
                batches.extend(b.map(|rows| ("b", rows.to_vec())));
                Case { steps: paced::script(2, batches, delay_ms), kind, delay_ms, ordered: false, parallelism }
            },
        )
    })
}

/// Rows in windows: the bounds of the window as cells, and the row's id.
type Copies = BTreeSet<(String, i64)>;

/// The rows of a table in the windows that are open by the watermark of the steps before.
fn copies(steps: &[Step], table: &str, kind: Kind, watermark: impl Fn(&Step) -> Option<i64>) -> Copies {
    let mut copies = Copies::new();
    let mut open_from = i64::MIN;
    for step in steps {
        if step.table == table {
            for (row, t) in step.rows.iter().filter_map(|r| r.ms().map(|t| (r, t))) {
                let open = kind.windows_of(t).into_iter().filter(|(_, end)| *end > open_from);
                let bounds = |(start, end): Window| [start, end].map(|ms| timestamp(ms * 1000)).join("|");
                copies.extend(open.map(|window| (bounds(window), row.id)));
            }
        }
        open_from = open_from.max(watermark(step).unwrap_or(i64::MIN));
    }
    copies
}

proptest! {
    #![proptest_config(rheos_testkit::cases(60))]

    #[test]
    fn late_rows_are_not_ranked_in_windows_that_have_fired(case in cases()) {
        let Case { steps, kind, delay_ms, ordered, parallelism } = case;
        let limit = if ordered { "n <= 2" } else { "n > 0" };
        let program = format!(
            "{}SELECT window_start, window_end, k, id, n FROM (
                 SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, k ORDER BY v DESC, id) AS n FROM {}
             ) WHERE {limit}",
            paced::table("a", &interval(delay_ms)),
            kind.table_function("a", "ts", &["k"]),
        );
        let behind_ms = i64::from(kind.is_session());
        let (got, _) = paced::run(&program, &steps, behind_ms, parallelism).map_err(TestCaseError::fail)?;
        let mut expected = vec![];
        for (((start, end), k), mut rows) in outcome(&steps, "a", kind).windows {
            rows.sort_by_key(|r| (r.v.is_some(), r.v.map(|v| -v), r.id));
            rows.truncate(if ordered { 2 } else { usize::MAX });
            let window = [start, end].map(|ms| timestamp(ms * 1000)).join("|");
            expected.extend(rows.iter().zip(1..).map(|(r, n)| format!("{window}|{}|{}|{n}", cell(k), r.id)));
        }
        expected.sort();
        same(&got, &expected).map_err(|e| TestCaseError::fail(format!("{e}\n{program}")))?;
    }

    /// A row counts if its window is open by the watermark of its own table, and does not if it has fired by that of
    /// both; in between it depends on when the row gets to the join. Those that count meet as by definition.
    #[test]
    fn late_rows_meet_nobody_in_windows_that_have_fired(case in pairs()) {
        let Case { steps, kind, delay_ms, parallelism, .. } = case;
        // Sessions are made before the join.
        prop_assume!(!kind.is_session());
        let view = |name: &str, table: &str| {
            format!("CREATE VIEW {name} AS SELECT * FROM {};\n", kind.table_function(table, "ts", &[]))
        };
        let delay = interval(delay_ms);
        let program = format!(
            "{}{}{}{}SELECT coalesce(l.window_start, r.window_start), coalesce(l.window_end, r.window_end), l.id, r.id
             FROM l FULL JOIN r ON l.window_start = r.window_start AND l.window_end = r.window_end AND l.k = r.k",
            paced::table("a", &delay), paced::table("b", &delay), view("l", "a"), view("r", "b"),
        );
        let (got, _) = paced::run(&program, &steps, 0, parallelism).map_err(TestCaseError::fail)?;
        let mut sides = [Copies::new(), Copies::new()];
        for line in &got {
            let cells: Vec<_> = line.split('|').collect();
            for (side, id) in sides.iter_mut().zip(&cells[2..]).filter(|(_, id)| **id != NULL) {
                side.insert((cells[..2].join("|"), id.parse().unwrap()));
            }
        }
        for (side, table) in sides.iter().zip(["a", "b"]) {
            let sure = copies(&steps, table, kind, |step| step.own_ms.filter(|_| step.table == table));
            let possible = copies(&steps, table, kind, |step| step.watermark_ms);
            prop_assert!(side.is_subset(&possible), "{:?}\n{program}", side.difference(&possible).next());
            prop_assert!(sure.is_subset(side), "{:?}\n{program}", sure.difference(side).next());
        }
        let key = |table: &str, id: i64| {
            steps.iter().filter(|s| s.table == table).flat_map(|s| &s.rows).find(|r| r.id == id).and_then(|r| r.k)
        };
        let meet = |l: &(String, i64), r: &(String, i64)| {
            l.0 == r.0 && key("a", l.1).is_some() && key("a", l.1) == key("b", r.1)
        };
        let [left, right] = &sides;
        let mut expected = vec![];
        for l in left {
            let partners: Vec<_> = right.iter().filter(|r| meet(l, r)).collect();
            expected.extend(partners.is_empty().then(|| format!("{}|{}|{NULL}", l.0, l.1)));
            expected.extend(partners.iter().map(|r| format!("{}|{}|{}", l.0, l.1, r.1)));
        }
        let alone = right.iter().filter(|r| !left.iter().any(|l| meet(l, r)));
        expected.extend(alone.map(|r| format!("{}|{NULL}|{}", r.0, r.1)));
        expected.sort();
        same(&got, &expected).map_err(|e| TestCaseError::fail(format!("{e}\n{program}")))?;
    }

    /// From files how far the watermark is when a row comes is not told, but it is never further than the rows before.
    #[test]
    fn rows_that_cannot_be_late_are_counted_once(
        (rows, kind, delay_ms, files, ways) in clocks().prop_flat_map(|clock| {
            let delay = prop::sample::select(vec![0i64, 1, 200, 4_000]).prop_map(move |delay| delay * clock.unit);
            (rows(clock, 150, 60_000), kinds(clock.unit), delay, files(), ways())
        })
    ) {
        let folder = tempfile::tempdir().unwrap();
        let table = files.table(folder.path(), "t", &rows, delay_ms);
        let from = kind.table_function("t", "ts", &["k"]);
        let program = format!(
            "{table}SELECT window_start, window_end, array_to_string(array_agg(id ORDER BY id), ' ') FROM {from}
             GROUP BY k, window_start, window_end"
        );
        let all: Vec<_> = rows.iter().collect();
        let mut watermark = i64::MIN;
        let zone = if files.ltz { "Z" } else { "" };
        let bounds = |(start, end): Window| [start, end].map(|ms| format!("{}{zone}", timestamp(ms * 1000))).join("|");
        let (mut sure, mut possible) = (BTreeSet::new(), BTreeSet::new());
        for (row, t) in all.iter().filter_map(|r| r.ms().map(|t| (r, t))) {
            if let Kind::Session { gap } = kind {
                // Which session depends on the rows that are late.
                possible.insert((String::new(), row.id));
                sure.extend((t + gap >= watermark).then(|| (String::new(), row.id)));
            }
            for window in kind.windows_of(t) {
                possible.insert((bounds(window), row.id));
                sure.extend((window.1 > watermark).then(|| (bounds(window), row.id)));
            }
            watermark = watermark.max(t.saturating_sub(delay_ms));
        }
        for way in ways {
            let got = run(&program, way).map_err(|e| TestCaseError::fail(format!("{e}\n{program}")))?;
            let mut counted = BTreeSet::new();
            for line in &got {
                let (window, ids) = line.rsplit_once('|').unwrap();
                let window = if kind.is_session() { "" } else { window };
                for id in ids.split(' ') {
                    let copy = (window.to_string(), id.parse::<i64>().unwrap());
                    prop_assert!(possible.contains(&copy), "{way:?}: {copy:?} cannot be\n{program}");
                    prop_assert!(counted.insert(copy.clone()), "{way:?}: {copy:?} is counted twice\n{program}");
                }
            }
            let lost: Vec<_> = sure.difference(&counted).take(5).collect();
            prop_assert!(lost.is_empty(), "{way:?}: {lost:?} are lost\n{program}");
        }
    }
}
