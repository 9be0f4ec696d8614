//! What windows are, by definition, without slices, state or watermarks.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::input::Row;
use crate::time::interval;

/// A window, `[start, end)` in ms.
pub(crate) type Window = (i64, i64);

/// A kind of window. Lengths in ms.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Tumble { size: i64, offset: i64 },
    Hop { slide: i64, size: i64, offset: i64 },
    Cumulate { step: i64, size: i64, offset: i64 },
    Session { gap: i64 },
}

/// Kinds of window for times that are stretched by `unit`. A row is in forty windows at most.
pub(crate) fn kinds(unit: i64) -> impl Strategy<Value = Kind> {
    let length = move || prop_oneof![1i64..50, 50i64..5_000, 5_000i64..40_000].prop_map(move |l| l * unit);
    let offset = move || prop_oneof![2 => Just(0i64), 3 => -50_000i64..50_000].prop_map(move |o| o * unit);
    prop_oneof![
        (length(), offset()).prop_map(|(size, offset)| Kind::Tumble { size, offset }),
        (length(), 0i64..4_000, offset()).prop_map(|(slide, more, offset)| Kind::Hop {
            slide,
            size: slide + slide * more / 1_000,
            offset
        }),
        // The size is a multiple of the slide, and slides are many.
        (length(), 1i64..30, offset()).prop_map(|(slide, times, offset)| Kind::Hop {
            slide,
            size: slide * times,
            offset
        }),
        (length(), 1i64..30, offset()).prop_map(|(step, times, offset)| Kind::Cumulate {
            step,
            size: step * times,
            offset
        }),
        length().prop_map(|gap| Kind::Session { gap }),
    ]
}

impl Kind {
    pub(crate) fn is_session(self) -> bool {
        matches!(self, Kind::Session { .. })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Tumble { .. } => "TUMBLE",
            Kind::Hop { .. } => "HOP",
            Kind::Cumulate { .. } => "CUMULATE",
            Kind::Session { .. } => "SESSION",
        }
    }

    /// The arguments behind the time, with the offset where there is one.
    pub(crate) fn lengths(self) -> String {
        let offset = |o: i64| if o == 0 { String::new() } else { format!(", {}", interval(o)) };
        match self {
            Kind::Tumble { size, offset: o } => format!("{}{}", interval(size), offset(o)),
            Kind::Hop { slide, size, offset: o } => format!("{}, {}{}", interval(slide), interval(size), offset(o)),
            Kind::Cumulate { step, size, offset: o } => format!("{}, {}{}", interval(step), interval(size), offset(o)),
            Kind::Session { gap } => interval(gap),
        }
    }

    /// `TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), ..))`; sessions are those of `partition`, if any.
    pub(crate) fn table_function(self, table: &str, time: &str, partition: &[&str]) -> String {
        let partition = if partition.is_empty() || !self.is_session() {
            String::new()
        } else {
            format!(" PARTITION BY {}", partition.join(", "))
        };
        format!("TABLE({}(TABLE {table}{partition}, DESCRIPTOR({time}), {}))", self.name(), self.lengths())
    }

    /// All windows that contain `t`, none for sessions.
    pub(crate) fn windows_of(self, t: i64) -> Vec<Window> {
        let (size, slide, offset) = match self {
            Kind::Tumble { size, offset } => (size, size, offset),
            Kind::Hop { slide, size, offset } => (size, slide, offset),
            Kind::Cumulate { step, size, offset } => {
                let start = (t - offset).div_euclid(size) * size + offset;
                let ends = (1..=size / step).map(|n| start + n * step);
                return ends.filter(|end| t < *end).map(|end| (start, end)).collect();
            }
            Kind::Session { .. } => return vec![],
        };
        let mut windows = vec![];
        let mut start = (t - offset).div_euclid(slide) * slide + offset;
        while t < start + size {
            windows.push((start, start + size));
            start -= slide;
        }
        windows
    }

    /// Each row with each of its windows. `partition` says whose rows make sessions together.
    pub(crate) fn assign<'a, P: Ord>(self, rows: &[&'a Row], partition: impl Fn(&Row) -> P) -> Vec<(Window, &'a Row)> {
        let Kind::Session { gap } = self else {
            let of = |row: &&'a Row| {
                let (row, windows) = (*row, row.ms().map_or(vec![], |t| self.windows_of(t)));
                windows.into_iter().map(move |window| (window, row))
            };
            return rows.iter().flat_map(of).collect();
        };
        let mut partitions: BTreeMap<P, Vec<(i64, &Row)>> = BTreeMap::new();
        for row in rows {
            if let Some(t) = row.ms() {
                partitions.entry(partition(row)).or_default().push((t, row));
            }
        }
        let mut assigned = vec![];
        for mut rows in partitions.into_values() {
            rows.sort_by_key(|(t, row)| (*t, row.id));
            for session in rows.chunk_by(|a, b| b.0 - a.0 <= gap) {
                let window = (session[0].0, session[session.len() - 1].0 + gap);
                assigned.extend(session.iter().map(|(_, row)| (window, *row)));
            }
        }
        assigned
    }
}
