//! Windows of windows: coarser or other windows over the results of windows, and aggregates over the same window.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::aggregates::window_cells;
use crate::definition::{Kind, Window, kinds};
use crate::engine::{Way, cell, check, ways};
use crate::input::{Files, Row, clocks, disorder_ms, files, rows};

/// The counts and sums of windows and keys.
type Groups = BTreeMap<(Window, Option<&'static str>), (i64, Option<i64>)>;

/// An entry of them.
type Group<'a> = (&'a (Window, Option<&'static str>), &'a (i64, Option<i64>));

fn groups(kind: Kind, rows: &[Row], has_key: bool) -> Groups {
    let key = |row: &Row| row.k.filter(|_| has_key);
    let mut groups = Groups::new();
    for (window, row) in kind.assign(&rows.iter().collect::<Vec<_>>(), key) {
        let (count, sum) = groups.entry((window, key(row))).or_default();
        *count += 1;
        *sum = match (*sum, row.v) {
            (a, None) => a,
            (a, Some(b)) => Some(a.unwrap_or(0) + b),
        };
    }
    groups
}

/// The results as rows whose event time is `window_time`, with the count as their value.
fn as_rows(groups: &Groups) -> Vec<Row> {
    let row = |(id, (((_, end), k), (count, _))): (usize, Group<'_>)| Row {
        id: id as i64,
        ts: Some((end - 1) * 1000),
        k: *k,
        g: None,
        v: Some(*count),
        d: None,
        s: None,
    };
    groups.iter().enumerate().map(row).collect()
}

#[derive(Debug)]
struct Case {
    rows: Vec<Row>,
    inner: Kind,
    inner_key: bool,
    outer: Kind,
    outer_key: bool,
    group_form: bool,
    files: Files,
    ways: [Way; 2],
}

fn cases() -> impl Strategy<Value = Case> {
    let disorder = prop::sample::select(vec![0i64, 300, 20_000]);
    (clocks(), disorder).prop_flat_map(|(clock, disorder)| {
        let keys = (any::<bool>(), any::<bool>(), any::<bool>());
        let unit = clock.unit;
        (rows(clock, 70, disorder), kinds(unit), kinds(unit), keys, files(), ways()).prop_map(
            |(rows, inner, outer, (inner_key, outer_key, group_form), files, ways)| Case {
                rows,
                inner,
                inner_key,
                outer,
                outer_key: outer_key && inner_key,
                group_form,
                files,
                ways,
            },
        )
    })
}

/// `(SELECT .. GROUP BY ..)` with the columns `ws, we, rt`, `k` if there is a key, `n` and `v`.
fn inner(kind: Kind, has_key: bool, group_form: bool) -> String {
    let key = if has_key { ", k" } else { "" };
    if group_form {
        let (name, lengths) = (kind.name(), kind.lengths());
        let column = |part: &str| format!("{name}_{part}(ts, {lengths})");
        return format!(
            "(SELECT {} AS ws, {} AS we, {} AS rt{key}, count(*) AS n, sum(v) AS v FROM t GROUP BY {name}(ts, {lengths}){key})",
            column("START"),
            column("END"),
            column("ROWTIME"),
        );
    }
    let from = kind.table_function("t", "ts", if has_key { &["k"] } else { &[] });
    format!(
        "(SELECT window_start AS ws, window_end AS we, window_time AS rt{key}, count(*) AS n, sum(v) AS v
          FROM {from} GROUP BY window_start, window_end, window_time{key})"
    )
}

proptest! {
    #![proptest_config(rheos_testkit::cases(100))]

    #[test]
    fn windows_over_the_results_of_windows(case in cases()) {
        let Case { rows, inner: kind, inner_key, outer, outer_key, group_form, files, ways } = case;
        let folder = tempfile::tempdir().unwrap();
        let table = files.table(folder.path(), "t", &rows, disorder_ms(&rows));
        let key = if outer_key { "k, " } else { "" };
        let view = format!("CREATE VIEW w AS {};\n", inner(kind, inner_key, group_form));
        let query = if group_form {
            let (name, lengths) = (outer.name(), outer.lengths());
            let columns = ["START", "END", "ROWTIME"].map(|part| format!("{name}_{part}(rt, {lengths})")).join(", ");
            format!("SELECT {key}{columns}, count(*), sum(n) FROM w GROUP BY {key}{name}(rt, {lengths})")
        } else {
            let columns = "window_start, window_end, window_time";
            let from = outer.table_function("w", "rt", if outer_key { &["k"] } else { &[] });
            format!("SELECT {key}{columns}, count(*), sum(n) FROM {from} GROUP BY {key}{columns}")
        };
        let zone = if files.ltz { "Z" } else { "" };
        let results = as_rows(&groups(kind, &rows, inner_key));
        let line = |((window, k), (count, sum)): Group<'_>| {
            let key = if outer_key { format!("{}|", cell(*k)) } else { String::new() };
            format!("{key}{}|{count}|{}", window_cells(*window, zone).join("|"), cell(*sum))
        };
        let expected = groups(outer, &results, outer_key).iter().map(line).collect();
        check(&format!("{table}{view}{query}"), ways, expected)?;
    }

    #[test]
    fn aggregates_over_the_same_window_and_their_join(case in cases()) {
        let Case { rows, inner: kind, group_form, files, ways, .. } = case;
        let folder = tempfile::tempdir().unwrap();
        let table = files.table(folder.path(), "t", &rows, disorder_ms(&rows));
        let view = format!("CREATE VIEW w AS {};\n", inner(kind, true, group_form));
        let zone = if files.ltz { "Z" } else { "" };
        let counts = groups(kind, &rows, true);
        let mut windows: BTreeMap<Window, Vec<(Option<&str>, i64)>> = BTreeMap::new();
        for ((window, k), (count, _)) in &counts {
            windows.entry(*window).or_default().push((*k, *count));
        }
        let bounds = |window: &Window| window_cells(*window, zone)[..2].join("|");
        let most = |groups: &[(Option<&str>, i64)]| groups.iter().map(|(_, n)| *n).max().unwrap();
        let again = "SELECT ws, we, max(n), count(*), sum(n) FROM w GROUP BY ws, we";
        let line = |(window, groups): (&Window, &Vec<(Option<&str>, i64)>)| {
            let sum: i64 = groups.iter().map(|(_, n)| n).sum();
            format!("{}|{}|{}|{sum}", bounds(window), most(groups), groups.len())
        };
        check(&format!("{table}{view}{again}"), ways, windows.iter().map(line).collect())?;

        // The busiest key of each window, with ties, as query 5 of Nexmark asks for it.
        let busiest = "SELECT w.ws, w.we, w.k, w.n FROM w
            JOIN (SELECT ws, we, max(n) AS most FROM w GROUP BY ws, we) AS m ON w.ws = m.ws AND w.we = m.we AND w.n >= m.most";
        let lines = |(window, groups): (&Window, &Vec<(Option<&str>, i64)>)| {
            let of_most = groups.iter().filter(|(_, n)| *n == most(groups));
            of_most.map(|(k, n)| format!("{}|{}|{n}", bounds(window), cell(*k))).collect::<Vec<_>>()
        };
        check(&format!("{table}{view}{busiest}"), ways, windows.iter().flat_map(lines).collect())?;
    }
}
