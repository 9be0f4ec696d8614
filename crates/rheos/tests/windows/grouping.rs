//! GROUPING SETS, ROLLUP, CUBE and SELECT DISTINCT in windows.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::aggregates::{AGGREGATES, window_cells};
use crate::definition::{Kind, Window, kinds};
use crate::engine::{NULL, Way, cell, check, ways};
use crate::input::{Files, Row, clocks, disorder_ms, files, rows};

/// Whether a set has `k`, and whether it has `g`.
type Set = (bool, bool);

#[derive(Debug)]
struct Case {
    rows: Vec<Row>,
    kind: Kind,
    /// 0: ROLLUP (k, g), 1: ROLLUP (g, k), 2: CUBE (k, g), others: these sets.
    form: usize,
    sets: Vec<Set>,
    aggregates: Vec<usize>,
    files: Files,
    ways: [Way; 2],
}

fn cases() -> impl Strategy<Value = Case> {
    let sets = prop::collection::vec((any::<bool>(), any::<bool>()), 1..5);
    let aggregates = prop::sample::subsequence((0..AGGREGATES.len()).collect::<Vec<_>>(), 1..=4);
    let query = (0usize..6, sets, aggregates);
    (clocks(), prop::sample::select(vec![0i64, 300, 20_000])).prop_flat_map(move |(clock, disorder)| {
        (rows(clock, 70, disorder), kinds(clock.unit), query.clone(), files(), ways()).prop_map(
            |(rows, kind, (form, sets, aggregates), files, ways)| {
                let sets = match form {
                    0 => vec![(true, true), (true, false), (false, false)],
                    1 => vec![(true, true), (false, true), (false, false)],
                    2 => vec![(true, true), (true, false), (false, true), (false, false)],
                    _ => sets,
                };
                Case { rows, kind, form, sets, aggregates, files, ways }
            },
        )
    })
}

impl Case {
    fn sql(&self) -> String {
        let from = self.kind.table_function("t", "ts", &[]);
        self.sql_of("window_start, window_end, window_time", ("k", "g"), &from)
    }

    /// The query whose rows are grouped by `all`, and by the sets, in which `a` and `b` stand for `k` and `g`.
    fn sql_of(&self, all: &str, (a, b): (&str, &str), from: &str) -> String {
        let set = |set: &Set| match set {
            (true, true) => format!("({a}, {b})"),
            (true, false) => format!("({a})"),
            (false, true) => format!("({b})"),
            (false, false) => "()".to_string(),
        };
        let sets = match self.form {
            0 => format!("ROLLUP ({a}, {b})"),
            1 => format!("ROLLUP ({b}, {a})"),
            2 => format!("CUBE ({a}, {b})"),
            _ => format!("GROUPING SETS ({})", self.sets.iter().map(set).collect::<Vec<_>>().join(", ")),
        };
        // A key must be in a set to be read.
        let columns = [(self.has().0, a), (self.has().1, b)].into_iter().filter(|(has, _)| *has);
        let columns = columns.map(|(_, name)| format!("{name}, grouping({name}), ")).collect::<String>();
        let aggregates = self.aggregates.iter().enumerate().map(|(i, a)| format!("{} AS a{i}", AGGREGATES[*a].0));
        let aggregates = aggregates.collect::<Vec<_>>().join(", ");
        format!("SELECT {all}, {columns}{aggregates} FROM {from} GROUP BY {all}, {sets}")
    }

    /// Whose rows make sessions together where the ends of windows are in the sets.
    fn partition(&self) -> &'static str {
        if self.form.is_multiple_of(2) { "k" } else { "g" }
    }

    fn has(&self) -> Set {
        (self.sets.iter().any(|s| s.0), self.sets.iter().any(|s| s.1))
    }

    fn expected(&self) -> Vec<String> {
        let zone = if self.files.ltz { "Z" } else { "" };
        let mut windows: BTreeMap<Window, Vec<&Row>> = BTreeMap::new();
        for (window, row) in self.kind.assign(&self.rows.iter().collect::<Vec<_>>(), |_| ()) {
            windows.entry(window).or_default().push(row);
        }
        let mut lines = vec![];
        for (window, mut rows) in windows {
            rows.sort_by_key(|r| r.id);
            for set in &self.sets {
                let mut groups: BTreeMap<_, Vec<&Row>> = BTreeMap::new();
                for row in &rows {
                    let key = (set.0.then_some(row.k).map(cell), set.1.then_some(row.g).map(cell));
                    groups.entry(key).or_default().push(row);
                }
                for (values, rows) in groups {
                    lines.push(self.line(window_cells(window, zone).to_vec(), values, &rows));
                }
            }
        }
        lines
    }

    /// The rows by `k`, and by sets of `window_start` and `window_end`.
    fn expected_of_ends(&self) -> Vec<String> {
        let zone = if self.files.ltz { "Z" } else { "" };
        let key = |row: &Row| if self.partition() == "k" { cell(row.k) } else { cell(row.g) };
        let mut assigned = self.kind.assign(&self.rows.iter().collect::<Vec<_>>(), key);
        assigned.sort_by_key(|(_, row)| row.id);
        let mut lines = vec![];
        for set in &self.sets {
            let mut groups: BTreeMap<_, Vec<&Row>> = BTreeMap::new();
            for (window, row) in &assigned {
                let [start, end, _] = window_cells(*window, zone);
                let ends = (set.0.then_some(start), set.1.then_some(end));
                groups.entry((cell(row.k), ends)).or_default().push(row);
            }
            lines.extend(groups.into_iter().map(|((k, ends), rows)| self.line(vec![k], ends, &rows)));
        }
        lines
    }

    /// One row of the result: what is in all sets, the two keys of the set, the aggregates.
    fn line(&self, mut cells: Vec<String>, (a, b): (Option<String>, Option<String>), rows: &[&Row]) -> String {
        for (has, value) in [(self.has().0, a), (self.has().1, b)] {
            if has {
                let out = i64::from(value.is_none());
                cells.extend([value.unwrap_or(NULL.to_string()), out.to_string()]);
            }
        }
        cells.extend(self.aggregates.iter().map(|a| AGGREGATES[*a].1(rows)));
        cells.join("|")
    }
}

proptest! {
    #![proptest_config(rheos_testkit::cases(100))]

    #[test]
    fn every_set_of_keys_is_a_grouping_of_its_own(case in cases()) {
        let folder = tempfile::tempdir().unwrap();
        let table = case.files.table(folder.path(), "t", &case.rows, disorder_ms(&case.rows));
        check(&format!("{table}{}", case.sql()), case.ways, case.expected())?;
    }

    #[test]
    fn every_set_of_ends_is_a_grouping_of_its_own(case in cases()) {
        let folder = tempfile::tempdir().unwrap();
        let table = case.files.table(folder.path(), "t", &case.rows, disorder_ms(&case.rows));
        let from = case.kind.table_function("t", "ts", &[case.partition()]);
        let query = case.sql_of("k", ("window_start", "window_end"), &from);
        check(&format!("{table}{query}"), case.ways, case.expected_of_ends())?;
    }

    #[test]
    fn distinct_rows_of_each_window(case in cases()) {
        let folder = tempfile::tempdir().unwrap();
        let table = case.files.table(folder.path(), "t", &case.rows, disorder_ms(&case.rows));
        let from = case.kind.table_function("t", "ts", &["k"]);
        let query = format!("SELECT DISTINCT window_end, window_start, k, v % 3 FROM {from}");
        let zone = if case.files.ltz { "Z" } else { "" };
        let line = |(window, row): (Window, &Row)| {
            let [start, end, _] = window_cells(window, zone);
            format!("{end}|{start}|{}|{}", cell(row.k), cell(row.v.map(|v| v % 3)))
        };
        let assigned = case.kind.assign(&case.rows.iter().collect::<Vec<_>>(), |row| row.k);
        let expected: BTreeSet<String> = assigned.into_iter().map(line).collect();
        check(&format!("{table}{query}"), case.ways, expected.into_iter().collect())?;
    }
}
