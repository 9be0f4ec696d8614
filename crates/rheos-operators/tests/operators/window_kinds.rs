//! Every kind of window against its definition: rows in any order, late ones, keys and values that are null, times before
//! 1970; over several batch sizes, one stage and two, and restored from snapshots.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rheos_core::operator::Counter;
use rheos_core::window::WindowSpec;
use rheos_operators::AggregateSpec;
use rheos_testkit::sorted_rows;

use crate::cases::{call, count_all, spec};
use crate::pipeline::Pipeline;
use crate::windows::{Row, Step, input};

/// A kind of window, in its own words.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Tumble { size: i64, offset: i64 },
    Hop { slide: i64, size: i64, offset: i64 },
    Cumulate { step: i64, size: i64, offset: i64 },
    Session { gap: i64 },
}

impl Kind {
    pub(crate) fn spec(self) -> WindowSpec {
        match self {
            Kind::Tumble { size, offset } => WindowSpec::try_tumble(size, offset),
            Kind::Hop { slide, size, offset } => WindowSpec::try_hop(slide, size, offset),
            Kind::Cumulate { step, size, offset } => WindowSpec::try_cumulate(step, size, offset),
            Kind::Session { gap } => WindowSpec::try_session(gap),
        }
        .unwrap()
    }

    /// The windows that contain `t`, by trying those that may; none for sessions.
    fn windows_of(self, t: i64) -> Vec<(i64, i64)> {
        let aligned = |length: i64, offset: i64| (t - offset).div_euclid(length) * length + offset;
        match self {
            Kind::Tumble { size, offset } => vec![(aligned(size, offset), aligned(size, offset) + size)],
            Kind::Hop { slide, size, offset } => {
                let last = aligned(slide, offset);
                let starts = (0..=size / slide).map(|n| last - n * slide);
                starts.filter(|start| t < start + size).map(|start| (start, start + size)).collect()
            }
            Kind::Cumulate { step, size, offset } => {
                let start = aligned(size, offset);
                let ends = (1..=size / step).map(|n| start + n * step);
                ends.filter(|end| t < *end).map(|end| (start, end)).collect()
            }
            Kind::Session { .. } => vec![],
        }
    }
}

pub(crate) fn kinds() -> impl Strategy<Value = Kind> {
    let offset = -500i64..500;
    prop_oneof![
        (1i64..600, offset.clone()).prop_map(|(size, offset)| Kind::Tumble { size, offset }),
        (1i64..200, 0i64..2000, offset.clone()).prop_map(|(slide, more, offset)| Kind::Hop {
            slide,
            size: slide + more,
            offset
        }),
        (1i64..200, 1i64..40, offset).prop_map(|(step, steps, offset)| Kind::Cumulate {
            step,
            size: step * steps,
            offset
        }),
        prop_oneof![1i64..20, 20i64..600].prop_map(|gap| Kind::Session { gap }),
        prop_oneof![1i64..20, 20i64..600].prop_map(|gap| Kind::Session { gap }),
    ]
}

/// A stream in which time goes on: rows lie around a moving time, some far behind or ahead; watermarks rise.
pub(crate) fn streams() -> impl Strategy<Value = Vec<Step>> {
    let row = (prop_oneof![8 => -60i64..200, 1 => -900i64..1500], 0u8..4, prop::option::of(-50i64..50), 0u8..30);
    let step = (prop::collection::vec(row, 0..40), 1i64..400, 0i64..120);
    (prop::collection::vec(step, 1..20), -4000i64..500).prop_map(|(steps, start)| {
        let mut now = start;
        let mut watermark = i64::MIN;
        let mut stream = vec![];
        for (rows, forward, delay) in steps {
            let rows = rows.into_iter().map(|(at, key, value, null)| ((null > 0).then_some(now + at), key, value));
            watermark = (watermark + 1).max(now - delay);
            stream.push(Step { rows: rows.collect(), watermark });
            now += forward;
        }
        stream
    })
}

/// Key, start and end of a window.
type Key = (u8, i64, i64);
/// Times and values of its rows.
type Values = Vec<(i64, Option<i64>)>;

/// What must come out.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// (key, window) with the values of its rows.
    pub(crate) windows: BTreeMap<Key, Values>,
    pub(crate) late: u64,
    pub(crate) nulls: u64,
    pub(crate) used: u64,
}

pub(crate) fn expected(steps: &[Step], kind: Kind) -> Expected {
    let mut expected = Expected::default();
    let mut open: BTreeMap<u8, Values> = BTreeMap::new();
    let mut before = i64::MIN;
    for watermark in steps.iter().map(|s| s.watermark).chain([i64::MAX]).enumerate().map(|(i, w)| (steps.get(i), w)) {
        let (step, watermark) = watermark;
        for (time, key, value) in step.iter().flat_map(|s| &s.rows) {
            let Some(t) = time else {
                expected.nulls += 1;
                continue;
            };
            if let Kind::Session { .. } = kind {
                open.entry(*key).or_default().push((*t, *value));
                continue;
            }
            let windows: Vec<_> = kind.windows_of(*t).into_iter().filter(|(_, end)| *end > before).collect();
            let counter = if windows.is_empty() { &mut expected.late } else { &mut expected.used };
            *counter += 1;
            for (start, end) in windows {
                expected.windows.entry((*key, start, end)).or_default().push((*t, *value));
            }
        }
        if let Kind::Session { gap } = kind {
            close_sessions(&mut open, gap, (before, watermark), &mut expected);
        }
        before = watermark;
    }
    expected
}

/// The watermark rises: sessions that end before the old one were late, those that end before the new one fire.
fn close_sessions(open: &mut BTreeMap<u8, Values>, gap: i64, (before, watermark): (i64, i64), expected: &mut Expected) {
    for (key, rows) in open.iter_mut() {
        rows.sort_by_key(|(t, _)| *t);
        let sessions: Vec<Vec<_>> = rows.chunk_by(|a, b| b.0 - a.0 <= gap).map(<[_]>::to_vec).collect();
        rows.clear();
        for session in sessions {
            let (start, end) = (session[0].0, session[session.len() - 1].0 + gap);
            if end < before {
                expected.late += session.len() as u64;
            } else if end < watermark {
                expected.used += session.len() as u64;
                expected.windows.entry((*key, start, end)).or_default().extend(session);
            } else {
                rows.extend(session);
            }
        }
    }
}

/// count(*), sum, min, max by key.
fn aggregates(window: WindowSpec) -> AggregateSpec {
    let schema = input(&[]).schema();
    let of_value = |name: &str| call(&schema, name, &["value"]);
    let calls = vec![count_all(&schema), of_value("sum"), of_value("min"), of_value("max")];
    spec(&schema, window, &["key"], calls)
}

fn text(expected: &Expected) -> Vec<String> {
    let row = |((key, start, end), rows): (&Key, &Values)| {
        let values: Vec<i64> = rows.iter().filter_map(|(_, v)| *v).collect();
        let show = |v: Option<i64>| v.map_or("null".to_string(), |v| v.to_string());
        let sum = (!values.is_empty()).then(|| values.iter().sum());
        let (min, max) = (values.iter().min().copied(), values.iter().max().copied());
        let key = if *key > 0 { format!("k{key}") } else { "null".to_string() };
        let (n, sum, min, max) = (rows.len(), show(sum), show(min), show(max));
        format!("{key}|{n}|{sum}|{min}|{max}|{start}|{end}|{}", end - 1)
    };
    let mut rows: Vec<String> = expected.windows.iter().map(row).collect();
    rows.sort();
    rows
}

fn used(pipeline: &Pipeline, kind: Kind) -> u64 {
    // What is before the exchange puts rows into slices; into sessions, what is behind it.
    match (&pipeline.partial, kind) {
        (Some(partial), Kind::Tumble { .. } | Kind::Hop { .. } | Kind::Cumulate { .. }) => {
            partial.counter(Counter::SliceInserts)
        }
        _ => pipeline.last.counter(Counter::SliceInserts),
    }
}

proptest! {
    #![proptest_config(rheos_testkit::cases(400))]

    #[test]
    fn every_kind_of_window_against_its_definition(
        steps in streams(),
        kind in kinds(),
        batch_rows in 1usize..50,
        workers in 1usize..4,
    ) {
        let expected = expected(&steps, kind);
        for two_stages in [false, true] {
            let mut pipeline = Pipeline::new(&aggregates(kind.spec()), two_stages, workers);
            for step in &steps {
                for rows in step.rows.chunks(batch_rows) {
                    pipeline.batch(input(rows)).unwrap();
                }
                pipeline.watermark(step.watermark).unwrap();
            }
            prop_assert_eq!(sorted_rows(&pipeline.end().unwrap()), text(&expected), "two stages: {}", two_stages);
            prop_assert_eq!(pipeline.late(), expected.late);
            prop_assert_eq!(used(&pipeline, kind), expected.used);
            let first = pipeline.partial.as_ref().unwrap_or(&pipeline.last);
            prop_assert_eq!(first.counter(Counter::NullEventTimes), expected.nulls);
            prop_assert_eq!(pipeline.last.open_windows(), 0);
        }
    }

    #[test]
    fn every_kind_of_window_restored_at_any_time(
        steps in streams(),
        kind in kinds(),
        epochs in prop::collection::vec(any::<bool>(), 20),
        restarts in prop::collection::vec(prop::option::weighted(0.3, 1usize..4), 20),
    ) {
        let expected = expected(&steps, kind);
        for two_stages in [false, true] {
            let mut pipeline = Pipeline::new(&aggregates(kind.spec()), two_stages, 2);
            let mut late_before = 0;
            for (i, step) in steps.iter().enumerate() {
                pipeline.batch(input(&step.rows)).unwrap();
                pipeline.watermark(step.watermark).unwrap();
                if epochs[i] || restarts[i].is_some() {
                    pipeline.end_epoch().unwrap();
                }
                if let Some(workers) = restarts[i] {
                    late_before += pipeline.late();
                    pipeline = pipeline.restart(workers, step.watermark);
                }
            }
            prop_assert_eq!(sorted_rows(&pipeline.end().unwrap()), text(&expected), "two stages: {}", two_stages);
            prop_assert_eq!(late_before + pipeline.late(), expected.late);
        }
    }

    /// While disorder stays within the watermark nothing is late, and where the watermark stands does not matter.
    #[test]
    fn disorder_within_the_watermark_changes_nothing(
        mut rows in prop::collection::vec((-2000i64..2000, 0u8..3, prop::option::of(-50i64..50)), 1..200),
        kind in kinds(),
        delay in 0i64..300,
        batch_rows in 1usize..40,
        workers in 1usize..4,
    ) {
        // Sorted by a time that is up to `delay` later: a row is at most that much behind.
        rows.sort_by_key(|(t, _, _)| (t + (t * 7919).rem_euclid(delay + 1), *t));
        let rows: Vec<Row> = rows.into_iter().map(|(t, key, value)| (Some(t), key, value)).collect();
        let all = [Step { rows: rows.clone(), watermark: i64::MIN + 1 }];
        let expected = expected(&all, kind);
        for two_stages in [false, true] {
            let mut pipeline = Pipeline::new(&aggregates(kind.spec()), two_stages, workers);
            let mut highest = i64::MIN;
            for rows in rows.chunks(batch_rows) {
                pipeline.batch(input(rows)).unwrap();
                highest = rows.iter().filter_map(|r| r.0).max().unwrap().max(highest);
                pipeline.watermark(highest - delay).unwrap();
            }
            prop_assert_eq!(sorted_rows(&pipeline.end().unwrap()), text(&expected), "two stages: {}", two_stages);
            prop_assert_eq!(pipeline.late(), 0);
        }
    }
}

/// 200,000 rows, many windows and watermarks: what is dropped, merged and kept on the way does not show.
#[test]
fn long_streams() {
    // After 100 rows there is a pause of 100 ms.
    let time = |i: i64| i + i / 100 * 100 + (i * 7919) % 50;
    let rows: Vec<Row> = (0..200_000).map(|i| (Some(time(i)), ((i * 31) % 6) as u8, Some(i % 97))).collect();
    let kinds = [
        Kind::Cumulate { step: 100, size: 10_000, offset: 7 },
        Kind::Cumulate { step: 1_000, size: 5_000, offset: -3 },
        Kind::Session { gap: 8 },
        Kind::Session { gap: 40 },
    ];
    for kind in kinds {
        let steps: Vec<_> =
            rows.chunks(500).map(|c| Step { rows: c.to_vec(), watermark: c[0].0.unwrap() - 50 }).collect();
        let expected = expected(&steps, kind);
        assert!(expected.windows.len() > 100);
        for two_stages in [false, true] {
            let mut pipeline = Pipeline::new(&aggregates(kind.spec()), two_stages, 1);
            for (i, step) in steps.iter().enumerate() {
                pipeline.batch(input(&step.rows)).unwrap();
                pipeline.watermark(step.watermark).unwrap();
                if i % 100 == 99 {
                    pipeline.end_epoch().unwrap();
                }
            }
            let got = sorted_rows(&pipeline.end().unwrap());
            assert!(got == text(&expected), "{kind:?}, two stages {two_stages}");
        }
    }
}
