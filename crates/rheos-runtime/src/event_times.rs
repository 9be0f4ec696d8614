//! Event times that a source cannot mean: those for which no window can be computed, and those so far ahead of the clock that the
//! watermark would make all other rows late.

use std::fmt;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::util::display::array_value_to_string;
use rheos_core::event_time::event_time_range;
use rheos_core::letters::DeadLetter;
use rheos_core::source::{Source, WatermarkSpec};
use rheos_core::time::micros_to_ms;
use rheos_core::window::EVENT_TIME_MS_MAX;
use rheos_core::{Error, ErrorKind, Result};

/// What the event times of a source may be.
pub(crate) struct EventTimes {
    column: usize,
    /// How far ahead of the clock.
    max_jump_ms: Option<i64>,
}

/// The rows of a batch, apart.
pub(crate) struct Sorted {
    /// Those whose event times can be.
    pub(crate) rows: RecordBatch,
    /// The largest of these, in ms.
    pub(crate) max_ms: Option<i64>,
    /// The others.
    pub(crate) bad: Vec<DeadLetter>,
    /// What the first of the others is as an error.
    pub(crate) error: Option<Error>,
}

/// What is wrong with an event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    TooFarOff,
    TooFarAhead(i64),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::TooFarOff => f.write_str("is too far off for windows"),
            Wrong::TooFarAhead(ms) => write!(f, "is further ahead of the clock than 'watermark.max-jump', {ms} ms"),
        }
    }
}

impl EventTimes {
    pub(crate) fn new(spec: &WatermarkSpec, source: &dyn Source) -> Self {
        Self { column: spec.column, max_jump_ms: spec.max_jump.of(source) }
    }

    /// Sorts rows that are read at `now_ms`.
    ///
    /// Errors: `Internal` for a column that is no event time.
    pub(crate) fn sort(&self, records: RecordBatch, now_ms: i64) -> Result<Sorted> {
        let range = event_time_range(records.column(self.column))?;
        let is_good = |ms: Option<i64>| ms.is_none_or(|ms| self.wrong(ms, now_ms).is_none());
        if is_good(range.min_ms) && is_good(range.max_ms) {
            return Ok(Sorted { rows: records, max_ms: range.max_ms, bad: vec![], error: None });
        }
        let times = records.column(self.column).as_primitive::<TimestampMicrosecondType>();
        let wrong = |row: usize| match times.is_null(row) {
            true => None,
            false => self.wrong(micros_to_ms(times.value(row)), now_ms),
        };
        let all: Vec<Option<Wrong>> = (0..records.num_rows()).map(wrong).collect();
        let mut bad = vec![];
        for (row, wrong) in all.iter().enumerate().filter_map(|(row, wrong)| Some((row, (*wrong)?))) {
            let mut raw = Vec::new();
            rheos_formats::json::write::write_rows(&records.slice(row, 1), &mut raw)?;
            raw.truncate(raw.trim_ascii_end().len());
            bad.push(DeadLetter { position: None, reason: self.reason(&records, row, wrong), raw });
        }
        let first = all.iter().flatten().next();
        let error = bad.first().zip(first).map(|(letter, wrong)| error(&letter.reason, *wrong));
        let good: BooleanArray = all.iter().map(|wrong| Some(wrong.is_none())).collect();
        let rows = filter_record_batch(&records, &good)?;
        let max_ms = event_time_range(rows.column(self.column))?.max_ms;
        Ok(Sorted { rows, max_ms, bad, error })
    }

    fn wrong(&self, ms: i64, now_ms: i64) -> Option<Wrong> {
        if !(-EVENT_TIME_MS_MAX..=EVENT_TIME_MS_MAX).contains(&ms) {
            return Some(Wrong::TooFarOff);
        }
        let jump_ms = self.max_jump_ms.filter(|jump_ms| ms > now_ms.saturating_add(*jump_ms))?;
        Some(Wrong::TooFarAhead(jump_ms))
    }

    fn reason(&self, records: &RecordBatch, row: usize, wrong: Wrong) -> String {
        let column = records.column(self.column);
        let time = array_value_to_string(column, row).unwrap_or_else(|_| {
            // A year that calendars do not have.
            format!("{} microseconds since 1970", column.as_primitive::<TimestampMicrosecondType>().value(row))
        });
        format!("column '{}': the event time {time} {wrong}", records.schema_ref().field(self.column).name())
    }
}

fn error(reason: &str, wrong: Wrong) -> Error {
    let keep = "set 'on-error' = 'skip', or keep bad records: a run whose --state-dir is a folder does, and so does a query of \
                <table>$errors";
    match wrong {
        Wrong::TooFarOff => Error::new(ErrorKind::User, 357, reason)
            .with_hint(format!("look at the unit that the time is computed from; or {keep}")),
        Wrong::TooFarAhead(_) => Error::new(ErrorKind::User, 358, reason)
            .with_hint(format!("set 'watermark.max-jump' to more, or to 'off', if the times are right; or {keep}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray};

    use super::*;

    #[test]
    fn rows_far_off_and_far_ahead_are_bad_and_no_others() {
        let day_ms = 86_400_000;
        let now_ms = 1_700_000_000_000;
        let limit_us = EVENT_TIME_MS_MAX * 1000;
        let us = [
            Some(now_ms * 1000),
            None,
            Some((now_ms + day_ms) * 1000 + 999),
            Some((now_ms + day_ms + 1) * 1000),
            Some(-limit_us),
            Some(-limit_us - 1),
            Some(i64::MAX),
            Some(now_ms * 1_000_000),
        ];
        let rows = |us: &[Option<i64>]| {
            let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(us.to_vec()));
            let n: ArrayRef = Arc::new((0..us.len() as i64).collect::<Int64Array>());
            RecordBatch::try_from_iter_with_nullable([("n", n, false), ("at", times, true)]).unwrap()
        };
        let jump = EventTimes { column: 1, max_jump_ms: Some(day_ms) };
        let sorted = jump.sort(rows(&us), now_ms).unwrap();
        assert_eq!(sorted.rows.column(0).as_ref(), &Int64Array::from(vec![0, 1, 2, 4]));
        assert_eq!(sorted.max_ms, Some(now_ms + day_ms));
        let raws: Vec<_> = sorted.bad.iter().map(|l| String::from_utf8_lossy(&l.raw).into_owned()).collect();
        assert_eq!(raws[0], r#"{"n":3,"at":"2023-11-15 22:13:20.001"}"#);
        assert_eq!(sorted.bad.len(), 4);
        assert_eq!(sorted.error.unwrap().code(), "R0358");
        let any = EventTimes { column: 1, max_jump_ms: None };
        let sorted = any.sort(rows(&us), now_ms).unwrap();
        assert_eq!(sorted.rows.column(0).as_ref(), &Int64Array::from(vec![0, 1, 2, 3, 4, 7]));
        assert_eq!(sorted.error.unwrap().code(), "R0357");
        let sorted = any.sort(rows(&us[..2]), now_ms).unwrap();
        assert_eq!((sorted.max_ms, sorted.bad.len(), sorted.error), (Some(now_ms), 0, None));
    }
}
