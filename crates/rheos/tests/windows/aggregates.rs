//! Aggregates over every kind of window, as a table function and in GROUP BY.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::definition::{Kind, Window, kinds};
use crate::engine::{NULL, Way, cell, check, ways};
use crate::input::{Clock, Files, Row, clocks, disorder_ms, files, rows};
use crate::time::timestamp;

/// An aggregate: its SQL, and what it is of the rows of a group, which are in the order of the input.
pub(crate) type Aggregate = (&'static str, fn(&[&Row]) -> String);

fn values(rows: &[&Row]) -> Vec<i64> {
    rows.iter().filter_map(|r| r.v).collect()
}

fn distinct(rows: &[&Row]) -> Vec<i64> {
    let mut values = values(rows);
    values.sort_unstable();
    values.dedup();
    values
}

fn sum(values: &[i64]) -> String {
    cell((!values.is_empty()).then(|| values.iter().sum::<i64>()))
}

fn mean(values: &[f64]) -> String {
    cell((!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64).map(decimal))
}

/// With a point, so that a number of an own type is not taken for text.
fn decimal(x: f64) -> String {
    format!("{x:?}")
}

fn doubles(rows: &[&Row]) -> Vec<f64> {
    rows.iter().filter_map(|r| r.d).collect()
}

fn joined(parts: Vec<&str>, separator: &str) -> String {
    if parts.is_empty() { NULL.to_string() } else { parts.join(separator) }
}

fn median(rows: &[&Row]) -> String {
    let mut values: Vec<f64> = values(rows).into_iter().map(|v| v as f64).collect();
    values.sort_by(f64::total_cmp);
    let n = values.len();
    cell((n > 0).then(|| decimal((values[(n - 1) / 2] + values[n / 2]) / 2.0)))
}

fn by_value_descending<'a>(rows: &[&'a Row]) -> Vec<&'a Row> {
    let mut rows = rows.to_vec();
    // NULL comes first in descending order, as in PostgreSQL.
    rows.sort_by_key(|r| (r.v.is_some(), r.v.map(|v| -v), r.id));
    rows
}

/// All of them; a query has some.
pub(crate) const AGGREGATES: [Aggregate; 23] = [
    ("count(*)", |rows| rows.len().to_string()),
    ("count(v)", |rows| values(rows).len().to_string()),
    ("sum(v)", |rows| sum(&values(rows))),
    ("min(v)", |rows| cell(values(rows).into_iter().min())),
    ("max(v)", |rows| cell(values(rows).into_iter().max())),
    ("avg(v)", |rows| mean(&values(rows).into_iter().map(|v| v as f64).collect::<Vec<_>>())),
    ("sum(d)", |rows| cell((!doubles(rows).is_empty()).then(|| decimal(doubles(rows).iter().sum())))),
    ("avg(d)", |rows| mean(&doubles(rows))),
    ("sum(CAST(d AS DECIMAL(10, 2)))", |rows| {
        cell((!doubles(rows).is_empty()).then(|| decimal(doubles(rows).iter().sum())))
    }),
    ("count(DISTINCT v)", |rows| distinct(rows).len().to_string()),
    ("sum(DISTINCT v)", |rows| sum(&distinct(rows))),
    ("min(s)", |rows| cell(rows.iter().filter_map(|r| r.s).min())),
    ("max(s)", |rows| cell(rows.iter().filter_map(|r| r.s).max())),
    ("count(DISTINCT s)", |rows| {
        rows.iter().filter_map(|r| r.s).collect::<std::collections::BTreeSet<_>>().len().to_string()
    }),
    ("string_agg(s, '-' ORDER BY id)", |rows| joined(rows.iter().filter_map(|r| r.s).collect(), "-")),
    ("string_agg(s, ' ' ORDER BY v DESC, id)", |rows| {
        joined(by_value_descending(rows).iter().filter_map(|r| r.s).collect(), " ")
    }),
    ("array_to_string(array_agg(id ORDER BY id DESC), ' ')", |rows| {
        rows.iter().rev().map(|r| r.id.to_string()).collect::<Vec<_>>().join(" ")
    }),
    ("first_value(v ORDER BY id)", |rows| cell(rows[0].v)),
    ("last_value(v ORDER BY id)", |rows| cell(rows[rows.len() - 1].v)),
    ("first_value(id ORDER BY v DESC, id)", |rows| by_value_descending(rows)[0].id.to_string()),
    ("count(*) FILTER (WHERE v > 0)", |rows| values(rows).into_iter().filter(|v| *v > 0).count().to_string()),
    ("sum(v) FILTER (WHERE g IS NOT NULL)", |rows| {
        sum(&rows.iter().filter(|r| r.g.is_some()).filter_map(|r| r.v).collect::<Vec<_>>())
    }),
    ("median(CAST(v AS DOUBLE))", median),
];

/// What a query is grouped by, beside the window: its SQL and its value.
pub(crate) type Key = (&'static str, fn(&Row) -> String);

pub(crate) const KEYS: [Key; 4] = [
    ("k", |r| cell(r.k)),
    ("g", |r| cell(r.g)),
    ("v % 3", |r| cell(r.v.map(|v| v % 3))),
    ("coalesce(k, '?') || 'x'", |r| format!("{}x", r.k.unwrap_or("?"))),
];

/// A window as the columns `window_start`, `window_end`, `window_time`.
pub(crate) fn window_cells((start, end): Window, zone: &str) -> [String; 3] {
    [start, end, end - 1].map(|ms| format!("{}{zone}", timestamp(ms * 1000)))
}

/// How the window is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Table,
    Short,
    Group,
}

#[derive(Debug, Clone)]
struct Query {
    kind: Kind,
    form: Form,
    keys: Vec<usize>,
    /// Columns of the sessions' partitions: k, g, both or none. The keys of the group form.
    partition: Vec<&'static str>,
    /// Which of start, end and time the query is grouped by; the group form shows them all.
    ends: Vec<usize>,
    aggregates: Vec<usize>,
    /// `WHERE v >= 0`; NULL is refused too.
    filtered: bool,
    /// `HAVING count(*) > 1`
    having: bool,
}

fn queries(unit: i64) -> impl Strategy<Value = Query> {
    let form = prop::sample::select(vec![Form::Table, Form::Short, Form::Group]);
    let keys = prop::sample::subsequence((0..KEYS.len()).collect::<Vec<_>>(), 0..=2);
    let partition = prop::sample::subsequence(vec!["k", "g"], 0..=2);
    let ends = prop_oneof![Just(vec![0, 1, 2]), prop::sample::subsequence(vec![0usize, 1, 2], 1..=2)];
    let aggregates = prop::sample::subsequence((0..AGGREGATES.len()).collect::<Vec<_>>(), 1..=6);
    (kinds(unit), form, keys, partition, ends, aggregates, prop::bool::weighted(0.2), prop::bool::weighted(0.2))
        .prop_map(|(kind, form, keys, partition, ends, aggregates, filtered, having)| Query {
            kind,
            form,
            keys,
            partition,
            ends: if form == Form::Group { vec![0, 1, 2] } else { ends },
            aggregates,
            filtered,
            having,
        })
}

impl Query {
    fn sql(&self) -> String {
        let keys = self.keys.iter().map(|k| KEYS[*k].0.to_string());
        let aggregates = self.aggregates.iter().enumerate().map(|(i, a)| format!("{} AS a{i}", AGGREGATES[*a].0));
        let partition = if self.kind.is_session() { self.partition.as_slice() } else { &[] };
        let name = self.kind.name();
        let lengths = self.kind.lengths();
        let (columns, from, groups) = match self.form {
            Form::Group => {
                let column = |part: &str| format!("{name}_{part}(ts, {lengths})");
                (
                    ["START", "END", "ROWTIME"].map(column).to_vec(),
                    "t".to_string(),
                    vec![format!("{name}(ts, {lengths})")],
                )
            }
            Form::Table | Form::Short => {
                let names = ["window_start", "window_end", "window_time"];
                let columns: Vec<_> = self.ends.iter().map(|end| names[*end].to_string()).collect();
                let from = match self.form {
                    Form::Short if partition.is_empty() => format!("{name}(t, ts, {lengths})"),
                    Form::Short => {
                        format!("{name}(t PARTITION BY {}, DESCRIPTOR(ts), {lengths})", partition.join(", "))
                    }
                    _ => self.kind.table_function("t", "ts", partition),
                };
                (columns.clone(), from, columns)
            }
        };
        let select = keys.clone().chain(columns).chain(aggregates).collect::<Vec<_>>().join(", ");
        let groups = groups.into_iter().chain(keys).collect::<Vec<_>>().join(", ");
        let filter = if self.filtered { " WHERE v >= 0" } else { "" };
        let having = if self.having { " HAVING count(*) > 1" } else { "" };
        format!("SELECT {select} FROM {from}{filter} GROUP BY {groups}{having}")
    }

    fn expected(&self, rows: &[Row], zone: &str) -> Vec<String> {
        let passes = |row: &&Row| !self.filtered || row.v.is_some_and(|v| v >= 0);
        let all: Vec<&Row> = rows.iter().collect();
        let passing: Vec<&Row> = rows.iter().filter(passes).collect();
        let key = |row: &Row| self.keys.iter().map(|k| KEYS[*k].1(row)).collect::<Vec<_>>();
        let partition = |row: &Row| {
            let k = self.partition.contains(&"k").then_some(row.k);
            (k, self.partition.contains(&"g").then_some(row.g))
        };
        // In the group form WHERE comes before the sessions, which are those of the keys.
        let assigned = match self.form {
            Form::Group => self.kind.assign(&passing, key),
            Form::Table | Form::Short => {
                let mut assigned = self.kind.assign(&all, partition);
                assigned.retain(|(_, row)| passes(row));
                assigned
            }
        };
        let ends = |window| {
            let cells = window_cells(window, zone);
            self.ends.iter().map(|end| cells[*end].clone()).collect::<Vec<_>>()
        };
        let mut groups: BTreeMap<(Vec<String>, Vec<String>), Vec<&Row>> = BTreeMap::new();
        for (window, row) in assigned {
            groups.entry((ends(window), key(row))).or_default().push(row);
        }
        let mut lines = vec![];
        for ((ends, keys), mut rows) in groups {
            rows.sort_by_key(|r| r.id);
            if self.having && rows.len() < 2 {
                continue;
            }
            let aggregates = self.aggregates.iter().map(|a| AGGREGATES[*a].1(&rows));
            let cells = keys.into_iter().chain(ends).chain(aggregates);
            lines.push(cells.collect::<Vec<_>>().join("|"));
        }
        lines
    }
}

#[derive(Debug)]
struct Case {
    rows: Vec<Row>,
    query: Query,
    files: Files,
    more_delay_ms: i64,
    ways: [Way; 2],
}

fn cases() -> impl Strategy<Value = Case> {
    let disorder = prop::sample::select(vec![0i64, 300, 5_000, 60_000]);
    (clocks(), disorder).prop_flat_map(|(clock, disorder): (Clock, i64)| {
        let more_delay_ms = prop::sample::select(vec![0i64, 0, 1, 1_500]);
        (rows(clock, 120, disorder), queries(clock.unit), files(), more_delay_ms, ways())
            .prop_map(|(rows, query, files, more_delay_ms, ways)| Case { rows, query, files, more_delay_ms, ways })
    })
}

proptest! {
    #![proptest_config(rheos_testkit::cases(300))]

    #[test]
    fn aggregates_of_rows_in_time_are_exact(case in cases()) {
        let Case { rows, query, files, more_delay_ms, ways } = case;
        let folder = tempfile::tempdir().unwrap();
        let table = files.table(folder.path(), "t", &rows, disorder_ms(&rows) + more_delay_ms);
        let zone = if files.ltz { "Z" } else { "" };
        check(&format!("{table}{}", query.sql()), ways, query.expected(&rows, zone))?;
    }

    #[test]
    fn each_row_comes_once_for_each_of_its_windows(case in cases()) {
        let Case { rows, query, files, more_delay_ms, ways } = case;
        let folder = tempfile::tempdir().unwrap();
        let table = files.table(folder.path(), "t", &rows, disorder_ms(&rows) + more_delay_ms);
        let zone = if files.ltz { "Z" } else { "" };
        let filter = if query.filtered { "WHERE v >= 0 AND window_end > ts" } else { "" };
        let partition = &query.partition;
        let from = query.kind.table_function("t", "ts", partition);
        let program = format!("{table}SELECT id, window_start, window_end, window_time FROM {from} {filter}");
        let of = |row: &Row| {
            let has = |name| partition.contains(&name);
            (has("k").then_some(row.k), has("g").then_some(row.g))
        };
        let mut assigned = query.kind.assign(&rows.iter().collect::<Vec<_>>(), of);
        assigned.retain(|(_, row)| !query.filtered || row.v.is_some_and(|v| v >= 0));
        let line = |(window, row): (Window, &Row)| format!("{}|{}", row.id, window_cells(window, zone).join("|"));
        check(&program, ways, assigned.into_iter().map(line).collect())?;
    }
}
