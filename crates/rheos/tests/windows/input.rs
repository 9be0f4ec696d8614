//! Random rows, and the files and tables that hold them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use crate::time::{interval, timestamp};

/// A row of the input. `id` is its place in the input, from 0.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) id: i64,
    /// Event time in microseconds.
    pub(crate) ts: Option<i64>,
    pub(crate) k: Option<&'static str>,
    pub(crate) g: Option<i64>,
    pub(crate) v: Option<i64>,
    /// A number of quarters, so that sums are exact in any order.
    pub(crate) d: Option<f64>,
    pub(crate) s: Option<&'static str>,
}

impl Row {
    /// The event time in whole milliseconds, which windows go by.
    pub(crate) fn ms(&self) -> Option<i64> {
        self.ts.map(|us| us.div_euclid(1000))
    }
}

/// What event times are like. `unit` stretches them: windows of hours need rows of hours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) base_ms: i64,
    pub(crate) unit: i64,
    pub(crate) micros: bool,
}

pub(crate) fn clocks() -> impl Strategy<Value = Clock> {
    let bases = prop_oneof![
        3 => -40_000i64..1_000,
        2 => Just(1_763_000_000_000i64),
        1 => Just(-2_000_000_000_000i64),
        1 => Just(4_102_444_800_000i64)
    ];
    let unit = prop_oneof![3 => Just(1i64), 1 => Just(1_000), 1 => Just(60_000)];
    (bases, unit, any::<bool>()).prop_map(|(base_ms, unit, micros)| Clock { base_ms, unit, micros })
}

const KEYS: [Option<&str>; 6] = [Some("a"), Some("b"), Some("a, \"b\""), Some(""), Some("é"), None];
const TEXTS: [Option<&str>; 4] = [Some("x"), Some("y"), Some("zz"), None];

/// Time: on by, back by, NULL, microseconds; then the columns.
type Seed = ((i64, i64, bool, i64), usize, i64, Option<i64>, i64, usize);

/// Rows in the order of the input: time goes on by up to a second a row, and a row may be up to `disorder` units back.
pub(crate) fn rows(clock: Clock, count: usize, disorder: i64) -> impl Strategy<Value = Vec<Row>> {
    let step = prop_oneof![2 => Just(0i64), 5 => 0i64..100, 4 => 0i64..1_000, 1 => 1_000i64..20_000];
    let back = prop_oneof![2 => Just(0i64), 1 => 0..=disorder];
    let number = prop_oneof![1 => Just(None), 8 => (-9i64..10).prop_map(Some)];
    let times = (step, back, prop::bool::weighted(0.06), 0i64..1000);
    let row = (times, 0usize..6, 0i64..4, number, 0i64..9, 0usize..4);
    prop::collection::vec(row, 0..=count).prop_map(move |seeds| {
        let mut now = 0;
        let mut row = |id: usize, ((step, back, is_null, us), k, g, v, d, s): Seed| {
            now += step;
            let ms = clock.base_ms + (now - back) * clock.unit;
            let us = if clock.micros { us } else { 0 };
            Row {
                id: id as i64,
                ts: (!is_null).then_some(ms * 1000 + us),
                k: KEYS[k],
                g: (g > 0).then_some(g),
                v,
                d: (d > 0).then_some((d - 4) as f64 / 4.0),
                s: TEXTS[s],
            }
        };
        seeds.into_iter().enumerate().map(|(id, seed)| row(id, seed)).collect()
    })
}

/// By how many ms rows are out of order, at most.
pub(crate) fn disorder_ms(rows: &[Row]) -> i64 {
    let (mut furthest, mut disorder) = (i64::MIN, 0);
    for ms in rows.iter().filter_map(Row::ms) {
        furthest = furthest.max(ms);
        disorder = disorder.max(furthest - ms);
    }
    disorder
}

/// How rows lie in files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Files {
    json: bool,
    files: usize,
    /// Whether the order of the files is told to the engine.
    ordered: bool,
    /// Bytes of a split, at most.
    split_bytes: u64,
    /// The event time is a `TIMESTAMP_LTZ`.
    pub(crate) ltz: bool,
}

pub(crate) fn files() -> impl Strategy<Value = Files> {
    let split_bytes = prop_oneof![Just(1u64 << 20), 50u64..2_000];
    (any::<bool>(), 1usize..4, any::<bool>(), split_bytes, prop::bool::weighted(0.2))
        .prop_map(|(json, files, ordered, split_bytes, ltz)| Files { json, files, ordered, split_bytes, ltz })
}

impl Files {
    /// Writes the rows and returns `CREATE TABLE name`.
    pub(crate) fn table(self, folder: &Path, name: &str, rows: &[Row], delay_ms: i64) -> String {
        let part_rows = rows.len().div_ceil(self.files).max(1);
        let suffix = if self.json { "jsonl" } else { "csv" };
        fs::create_dir(folder.join(name)).unwrap();
        for part in 0..self.files {
            let rows = rows.iter().skip(part * part_rows).take(part_rows);
            let text = if self.json { self.json(rows) } else { self.csv(rows) };
            fs::write(folder.join(format!("{name}/{part}.{suffix}")), text).unwrap();
        }
        let zone = if self.ltz { "TIMESTAMP_LTZ(6)" } else { "TIMESTAMP(6)" };
        let delay = if delay_ms == 0 { String::new() } else { format!(" - {}", interval(delay_ms)) };
        let format = if self.json { "'format' = 'json'" } else { "'format' = 'csv', 'csv.multiline' = 'false'" };
        let order = if self.ordered { ", 'file-order' = 'name'" } else { "" };
        format!(
            "CREATE TABLE {name} (id BIGINT, ts {zone}, k STRING, g INT, v BIGINT, d DOUBLE, s STRING,
                 WATERMARK FOR ts AS ts{delay})
             WITH ('connector' = 'filesystem', 'path' = '{}/{name}/*', {format}, 'source.split-size' = '{} B'{order});\n",
            folder.display(),
            self.split_bytes
        )
    }

    fn time(self, us: i64) -> String {
        format!("{}{}", timestamp(us), if self.ltz { "Z" } else { "" })
    }

    fn csv<'a>(self, rows: impl Iterator<Item = &'a Row>) -> String {
        let mut text = "id,ts,k,g,v,d,s\n".to_string();
        let quoted = |s: Option<&str>| s.map_or(String::new(), |s| format!("\"{}\"", s.replace('"', "\"\"")));
        let number = |n: Option<String>| n.unwrap_or_default();
        for r in rows {
            let (ts, g, v) = (r.ts.map(|us| self.time(us)), r.g.map(|g| g.to_string()), r.v.map(|v| v.to_string()));
            let (d, k, s) = (r.d.map(|d| d.to_string()), quoted(r.k), quoted(r.s));
            writeln!(text, "{},{},{k},{},{},{},{s}", r.id, number(ts), number(g), number(v), number(d)).unwrap();
        }
        text
    }

    fn json<'a>(self, rows: impl Iterator<Item = &'a Row>) -> String {
        let line = |r: &Row| {
            let ts = r.ts.map(|us| self.time(us));
            let line = serde_json::json!({
                "id": r.id, "ts": ts, "k": r.k, "g": r.g, "v": r.v, "d": r.d, "s": r.s
            });
            format!("{line}\n")
        };
        rows.map(line).collect()
    }
}
