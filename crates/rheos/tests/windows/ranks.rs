//! The first rows of each window: ROW_NUMBER, RANK and DENSE_RANK, top-N and deduplication.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::aggregates::window_cells;
use crate::definition::{Kind, Window, kinds};
use crate::engine::{Way, cell, check, ways};
use crate::input::{Files, Row, clocks, disorder_ms, files, rows};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    RowNumber,
    Rank,
    DenseRank,
}

/// What rows are ordered by; the first two make no ties.
type Order = (&'static str, fn(&Row) -> (i64, i64, i64));

/// NULL is larger than all values.
fn nulls_last(v: Option<i64>) -> (i64, i64) {
    (i64::from(v.is_none()), v.unwrap_or(0))
}

const ORDERS: [Order; 5] = [
    ("v, id", |r| (nulls_last(r.v).0, nulls_last(r.v).1, r.id)),
    ("ts DESC, id DESC", |r| (-r.ts.unwrap(), -r.id, 0)),
    ("v DESC", |r| (-nulls_last(r.v).0, -nulls_last(r.v).1, 0)),
    ("v DESC NULLS LAST, g", |r| {
        let (is_null, v) = nulls_last(r.v);
        (is_null, -v, nulls_last(r.g).0 * 100 + nulls_last(r.g).1)
    }),
    ("g % 2 NULLS FIRST", |r| (i64::from(r.g.is_some()), r.g.unwrap_or(0) % 2, 0)),
];

/// Which numbers are wanted: the condition, and whether it takes one.
type Condition = (&'static str, fn(i64) -> bool);

const CONDITIONS: [Condition; 5] = [
    ("n = 1", |n| n == 1),
    ("n <= 3", |n| n <= 3),
    ("n < 3", |n| n < 3),
    ("n BETWEEN 2 AND 4", |n| (2..=4).contains(&n)),
    ("n > 0", |_| true),
];

#[derive(Debug)]
struct Case {
    rows: Vec<Row>,
    kind: Kind,
    has_key: bool,
    function: Function,
    order: usize,
    condition: usize,
    files: Files,
    ways: [Way; 2],
}

fn cases() -> impl Strategy<Value = Case> {
    let function = prop::sample::select(vec![Function::RowNumber, Function::Rank, Function::DenseRank]);
    let query = (any::<bool>(), function, 0..ORDERS.len(), 0..CONDITIONS.len());
    (clocks(), prop::sample::select(vec![0i64, 300, 20_000])).prop_flat_map(move |(clock, disorder)| {
        (rows(clock, 70, disorder), kinds(clock.unit), query.clone(), files(), ways()).prop_map(
            |(rows, kind, (has_key, function, order, condition), files, ways)| {
                // Which of two equal rows is the first is not told.
                let order = if function == Function::RowNumber { order % 2 } else { order };
                Case { rows, kind, has_key, function, order, condition, files, ways }
            },
        )
    })
}

impl Case {
    fn sql(&self) -> String {
        let function = match self.function {
            Function::RowNumber => "ROW_NUMBER",
            Function::Rank => "RANK",
            Function::DenseRank => "DENSE_RANK",
        };
        let from = self.kind.table_function("t", "ts", if self.has_key { &["k"] } else { &[] });
        let key = if self.has_key { ", k" } else { "" };
        format!(
            "SELECT window_start, window_end, window_time, id, n FROM (
                 SELECT *, {function}() OVER (PARTITION BY window_start, window_end{key} ORDER BY {}) AS n FROM {from}
             ) WHERE {}",
            ORDERS[self.order].0, CONDITIONS[self.condition].0
        )
    }

    fn expected(&self) -> Vec<String> {
        let key = |row: &Row| row.k.filter(|_| self.has_key);
        let mut groups: BTreeMap<(Window, Option<&str>), Vec<&Row>> = BTreeMap::new();
        for (window, row) in self.kind.assign(&self.rows.iter().collect::<Vec<_>>(), key) {
            groups.entry((window, key(row))).or_default().push(row);
        }
        let place = ORDERS[self.order].1;
        let zone = if self.files.ltz { "Z" } else { "" };
        let mut lines = vec![];
        for ((window, _), rows) in groups {
            for row in &rows {
                let before = rows.iter().filter(|r| place(r) < place(row));
                let before = match self.function {
                    Function::RowNumber | Function::Rank => before.count(),
                    Function::DenseRank => before.map(|r| place(r)).collect::<std::collections::BTreeSet<_>>().len(),
                };
                let n = before as i64 + 1;
                if CONDITIONS[self.condition].1(n) {
                    lines.push(format!("{}|{}|{n}", window_cells(window, zone).join("|"), row.id));
                }
            }
        }
        lines
    }
}

proptest! {
    #![proptest_config(rheos_testkit::cases(100))]

    #[test]
    fn the_first_rows_of_each_window(case in cases()) {
        let folder = tempfile::tempdir().unwrap();
        let table = case.files.table(folder.path(), "t", &case.rows, disorder_ms(&case.rows));
        check(&format!("{table}{}", case.sql()), case.ways, case.expected())?;
    }

    #[test]
    fn the_largest_groups_of_each_window_and_an_aggregate_over_them(case in cases()) {
        let folder = tempfile::tempdir().unwrap();
        let table = case.files.table(folder.path(), "t", &case.rows, disorder_ms(&case.rows));
        let from = case.kind.table_function("t", "ts", if case.has_key { &["k"] } else { &[] });
        let view = format!(
            "CREATE VIEW w AS SELECT window_start, window_end, k, c FROM (
                 SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY c DESC, k) AS n FROM (
                     SELECT window_start, window_end, k, count(*) AS c FROM {from} GROUP BY window_start, window_end, k
                 )
             ) WHERE n <= 2;\n"
        );
        let mut counts: BTreeMap<Window, BTreeMap<(bool, Option<&str>), i64>> = BTreeMap::new();
        let partition = |row: &Row| row.k.filter(|_| case.has_key);
        for (window, row) in case.kind.assign(&case.rows.iter().collect::<Vec<_>>(), partition) {
            *counts.entry(window).or_default().entry((row.k.is_none(), row.k)).or_default() += 1;
        }
        let zone = if case.files.ltz { "Z" } else { "" };
        let (mut largest, mut sums) = (vec![], vec![]);
        for (window, counts) in counts {
            let mut groups: Vec<_> = counts.into_iter().collect();
            groups.sort_by_key(|(k, c)| (-c, *k));
            groups.truncate(2);
            let window = window_cells(window, zone)[..2].join("|");
            sums.push(format!("{window}|{}|{}", groups.len(), groups.iter().map(|(_, c)| c).sum::<i64>()));
            largest.extend(groups.iter().map(|((_, k), c)| format!("{window}|{}|{c}", cell(*k))));
        }
        check(&format!("{table}{view}SELECT * FROM w"), case.ways, largest)?;
        let again = "SELECT window_start, window_end, count(*), sum(c) FROM w GROUP BY window_start, window_end";
        check(&format!("{table}{view}{again}"), case.ways, sums)?;
    }
}
