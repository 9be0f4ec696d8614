//! Joins of windows: every kind of join, of rows and of aggregates, with both sides out of order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::aggregates::window_cells;
use crate::definition::{Kind, Window, kinds};
use crate::engine::{NULL, Way, cell, check, ways};
use crate::input::{Files, Row, clocks, disorder_ms, files, rows};

/// A row of one side: its window, its key, a name that tells it from others, and a number.
#[derive(Debug, Clone)]
struct SideRow {
    window: Window,
    k: Option<&'static str>,
    name: String,
    v: Option<i64>,
}

/// What a side is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Rows,
    Counts,
}

impl Side {
    /// A view with the columns `ws, we, k, name, v`.
    fn view(self, name: &str, table: &str, kind: Kind) -> String {
        let from = kind.table_function(table, "ts", &["k"]);
        let columns = "window_start AS ws, window_end AS we, k";
        match self {
            Side::Rows => {
                format!("CREATE VIEW {name} AS SELECT {columns}, CAST(id AS STRING) AS name, v FROM {from};\n")
            }
            Side::Counts => format!(
                "CREATE VIEW {name} AS SELECT {columns}, 'c' AS name, count(*) AS v FROM {from} GROUP BY window_start, window_end, k;\n"
            ),
        }
    }

    fn rows(self, kind: Kind, rows: &[Row]) -> Vec<SideRow> {
        let assigned = kind.assign(&rows.iter().collect::<Vec<_>>(), |row| row.k);
        if self == Side::Rows {
            let row = |(window, row): (Window, &Row)| SideRow { window, k: row.k, name: row.id.to_string(), v: row.v };
            return assigned.into_iter().map(row).collect();
        }
        let mut counts: BTreeMap<(Window, Option<&str>), i64> = BTreeMap::new();
        for (window, row) in assigned {
            *counts.entry((window, row.k)).or_default() += 1;
        }
        let row = |((window, k), n)| SideRow { window, k, name: "c".to_string(), v: Some(n) };
        counts.into_iter().map(row).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Join {
    Inner,
    Left,
    Right,
    Full,
    Semi,
    Anti,
    Exists,
    NotExists,
}

#[derive(Debug)]
struct Case {
    left: Vec<Row>,
    right: Vec<Row>,
    sides: [Side; 2],
    kind: Kind,
    join: Join,
    /// Rows meet by `k` too.
    by_key: bool,
    /// `l.v < r.v`
    with_condition: bool,
    files: [Files; 2],
    ways: [Way; 2],
}

fn cases() -> impl Strategy<Value = Case> {
    let join = prop::sample::select(vec![
        Join::Inner,
        Join::Left,
        Join::Right,
        Join::Full,
        Join::Semi,
        Join::Anti,
        Join::Exists,
        Join::NotExists,
    ]);
    let side = || prop::sample::select(vec![Side::Rows, Side::Rows, Side::Counts]);
    let query = (join, side(), side(), any::<bool>(), any::<bool>());
    (clocks(), prop::sample::select(vec![0i64, 300, 20_000]), -20_000i64..20_000).prop_flat_map(
        move |(clock, disorder, shift)| {
            let mut other = clock;
            other.base_ms += shift * clock.unit;
            let sides = (rows(clock, 25, disorder), rows(other, 25, disorder));
            (sides, kinds(clock.unit), query.clone(), (files(), files()), ways()).prop_map(
                |((left, right), kind, (join, a, b, by_key, with_condition), (f, mut g), ways)| {
                    g.ltz = f.ltz;
                    Case { left, right, sides: [a, b], kind, join, by_key, with_condition, files: [f, g], ways }
                },
            )
        },
    )
}

impl Case {
    fn sql(&self) -> String {
        let key = if self.by_key { " AND l.k = r.k" } else { "" };
        let more = if self.with_condition { " AND l.v < r.v" } else { "" };
        let on = format!("l.ws = r.ws AND l.we = r.we{key}{more}");
        let l = "l.ws, l.we, l.k, l.name, l.v";
        let both = "l.ws, l.we, l.k, l.name, l.v, r.ws, r.we, r.k, r.name, r.v";
        match self.join {
            Join::Inner => format!("SELECT {both} FROM l JOIN r ON {on}"),
            Join::Left => format!("SELECT {both} FROM l LEFT JOIN r ON {on}"),
            Join::Right => format!("SELECT {both} FROM l RIGHT JOIN r ON {on}"),
            Join::Full => format!("SELECT {both} FROM l FULL JOIN r ON {on}"),
            Join::Semi => format!("SELECT {l} FROM l LEFT SEMI JOIN r ON {on}"),
            Join::Anti => format!("SELECT {l} FROM l LEFT ANTI JOIN r ON {on}"),
            Join::Exists => format!("SELECT {l} FROM l WHERE EXISTS (SELECT 1 FROM r WHERE {on})"),
            Join::NotExists => format!("SELECT {l} FROM l WHERE NOT EXISTS (SELECT 1 FROM r WHERE {on})"),
        }
    }

    fn expected(&self) -> Vec<String> {
        let left = self.sides[0].rows(self.kind, &self.left);
        let right = self.sides[1].rows(self.kind, &self.right);
        let meet = |l: &SideRow, r: &SideRow| {
            let alike = !self.by_key || (l.k.is_some() && l.k == r.k);
            let holds = !self.with_condition || matches!((l.v, r.v), (Some(a), Some(b)) if a < b);
            l.window == r.window && alike && holds
        };
        let zone = if self.files[0].ltz { "Z" } else { "" };
        let cells = |row: &SideRow| {
            let window = window_cells(row.window, zone)[..2].join("|");
            format!("{window}|{}|{}|{}", cell(row.k), row.name, cell(row.v))
        };
        let nothing = [NULL; 5].join("|");
        let mut lines = vec![];
        for l in &left {
            let partners: Vec<_> = right.iter().filter(|r| meet(l, r)).collect();
            match self.join {
                Join::Semi | Join::Exists if !partners.is_empty() => lines.push(cells(l)),
                Join::Anti | Join::NotExists if partners.is_empty() => lines.push(cells(l)),
                Join::Semi | Join::Exists | Join::Anti | Join::NotExists => {}
                Join::Left | Join::Full if partners.is_empty() => lines.push(format!("{}|{nothing}", cells(l))),
                _ => lines.extend(partners.iter().map(|r| format!("{}|{}", cells(l), cells(r)))),
            }
        }
        if matches!(self.join, Join::Right | Join::Full) {
            let alone = right.iter().filter(|r| !left.iter().any(|l| meet(l, r)));
            lines.extend(alone.map(|r| format!("{nothing}|{}", cells(r))));
        }
        lines
    }
}

proptest! {
    #![proptest_config(rheos_testkit::cases(150))]

    #[test]
    fn rows_of_the_same_window_meet(case in cases()) {
        let folder = tempfile::tempdir().unwrap();
        let a = case.files[0].table(folder.path(), "a", &case.left, disorder_ms(&case.left));
        let b = case.files[1].table(folder.path(), "b", &case.right, disorder_ms(&case.right));
        let l = case.sides[0].view("l", "a", case.kind);
        let r = case.sides[1].view("r", "b", case.kind);
        check(&format!("{a}{b}{l}{r}{}", case.sql()), case.ways, case.expected())?;
    }
}
