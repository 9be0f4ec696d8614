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
        let set = |set: &Set| match set {
            (true, true) => "(k, g)",
            (true, false) => "(k)",
            (false, true) => "(g)",
            (false, false) => "()",
        };
        let sets = match self.form {
            0 => "ROLLUP (k, g)".to_string(),
            1 => "ROLLUP (g, k)".to_string(),
            2 => "CUBE (k, g)".to_string(),
            _ => format!("GROUPING SETS ({})", self.sets.iter().map(set).collect::<Vec<_>>().join(", ")),
        };
        // A key must be in a set to be read.
        let columns = self.columns().iter().map(|c| format!("{c}, ")).collect::<String>();
        let aggregates = self.aggregates.iter().enumerate().map(|(i, a)| format!("{} AS a{i}", AGGREGATES[*a].0));
        format!(
            "SELECT window_start, window_end, window_time, {columns}{} FROM {}
             GROUP BY window_start, window_end, window_time, {sets}",
            aggregates.collect::<Vec<_>>().join(", "),
            self.kind.table_function("t", "ts", &[])
        )
    }

    fn has(&self) -> Set {
        (self.sets.iter().any(|s| s.0), self.sets.iter().any(|s| s.1))
    }

    fn columns(&self) -> Vec<&'static str> {
        let mut columns = vec![];
        if self.has().0 {
            columns.extend(["k", "grouping(k)"]);
        }
        if self.has().1 {
            columns.extend(["g", "grouping(g)"]);
        }
        columns
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
                for ((k, g), rows) in groups {
                    let mut cells = window_cells(window, zone).to_vec();
                    for (has, value) in [(self.has().0, k), (self.has().1, g)] {
                        if has {
                            let out = i64::from(value.is_none());
                            cells.extend([value.unwrap_or(NULL.to_string()), out.to_string()]);
                        }
                    }
                    cells.extend(self.aggregates.iter().map(|a| AGGREGATES[*a].1(&rows)));
                    lines.push(cells.join("|"));
                }
            }
        }
        lines
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
