//! When a row of a join that is bounded in time can be let go: when no row can come any more that it would be joined with.
//!
//! ```text
//!   min <= left.time - right.time <= max
//!   a left row at l  is joined with right rows up to l - min: gone when the watermark of the right is behind that
//!   a right row at r is joined with left rows up to  r + max: gone when the watermark of the left is behind that
//! ```
//! Rows wait in buckets, so that they go some time later, many at once.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Schema, TimeUnit, TimestampMicrosecondType};
use rheos_core::time::micros_to_ms;
use rheos_core::{Error, Result, Watermark};

use crate::joining::LEFT;

/// How far apart the times of two rows are that are joined. The condition of the join says so too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeBounds {
    /// The event times of the left and of the right: timestamps in microseconds. Where one is null nothing is joined.
    pub columns: [usize; 2],
    /// Left minus right is at least this. `None`: rows of the left never go.
    pub min_us: Option<i64>,
    /// Left minus right is at most this. `None`: rows of the right never go.
    pub max_us: Option<i64>,
}

impl TimeBounds {
    /// Errors: `Internal` unless both columns are timestamps in microseconds.
    pub(crate) fn check(&self, inputs: [&Schema; 2]) -> Result<()> {
        for (column, input) in self.columns.iter().zip(inputs) {
            let field = input.fields().get(*column);
            if !field.is_some_and(|f| matches!(f.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _))) {
                return Err(Error::internal("the times of a join are no timestamps in microseconds"));
            }
        }
        Ok(())
    }

    /// How much older than the watermark a result's times can be; `None`: any time.
    fn delay_ms(&self) -> Option<i64> {
        let us = self.max_us?.max(self.min_us?.saturating_neg()).max(0);
        Some(-micros_to_ms(-us))
    }

    /// Whether results can be of any time.
    pub(crate) fn holds_watermark(&self) -> bool {
        self.delay_ms().is_none()
    }

    /// The watermark of the results.
    pub(crate) fn watermark(&self, combined: Watermark) -> Watermark {
        match self.delay_ms() {
            None => combined.held_until_the_end(),
            Some(_) if combined == Watermark::MAX => combined,
            Some(delay) => Watermark(combined.ms().saturating_sub(delay)),
        }
    }

    /// `left.ts - right.ts from -3600000 ms to 0 ms`.
    pub(crate) fn describe(&self, left: &Schema, right: &Schema) -> String {
        let end = |us: Option<i64>| us.map_or("any".into(), |us| format!("{} ms", us as f64 / 1000.0));
        let [l, r] = self.columns;
        format!(
            "{} - {} from {} to {}",
            left.field(l).name(),
            right.field(r).name(),
            end(self.min_us),
            end(self.max_us)
        )
    }
}

/// The rows of one side that wait to be let go.
#[derive(Debug)]
pub(crate) struct Expiry {
    column: usize,
    /// Added to a row's time: the last time of a row of the other side that it is joined with. `None`: there is no last.
    reach_us: Option<i64>,
    /// How many ms a bucket has.
    bucket_ms: i64,
    buckets: BTreeMap<i64, Vec<u32>>,
    /// All that expires by this has been let go.
    gone_ms: i64,
}

impl Expiry {
    pub(crate) fn new(side: usize, bounds: &TimeBounds) -> Self {
        let reach_us = if side == LEFT { bounds.min_us.map(i64::saturating_neg) } else { bounds.max_us };
        let span_us = bounds.max_us.zip(bounds.min_us).map_or(1_000_000, |(max, min)| max.saturating_sub(min));
        let bucket_ms = (span_us / 1000 / 32).max(1);
        Self { column: bounds.columns[side], reach_us, bucket_ms, buckets: BTreeMap::new(), gone_ms: i64::MIN }
    }

    /// Bytes, about.
    pub(crate) fn size(&self) -> usize {
        self.buckets.values().map(|rows| rows.capacity() * size_of::<u32>()).sum()
    }

    /// The times in a column. Errors: `Internal` for a column that has none.
    pub(crate) fn times_us<'a>(&self, column: &'a ArrayRef) -> Result<&'a [i64]> {
        let times = column.as_primitive_opt::<TimestampMicrosecondType>();
        Ok(times.ok_or_else(|| Error::internal("the time of a join is no timestamp"))?.values())
    }

    pub(crate) fn column(&self) -> usize {
        self.column
    }

    /// The watermark of the other side at which a row is not needed any more.
    pub(crate) fn expires_ms(&self, time_us: i64) -> i64 {
        match self.reach_us {
            Some(reach) => micros_to_ms(time_us.saturating_add(reach)).saturating_add(1),
            None => i64::MAX,
        }
    }

    /// A row waits.
    pub(crate) fn add(&mut self, row: u32, time_us: i64) {
        if self.reach_us.is_some() {
            let bucket = self.expires_ms(time_us).div_euclid(self.bucket_ms);
            self.buckets.entry(bucket).or_default().push(row);
        }
    }

    /// The rows that are not needed any more at a watermark of the other side, and how far that reaches if it is news.
    pub(crate) fn take(&mut self, watermark: Watermark) -> (Vec<u32>, Option<i64>) {
        let mut rows = vec![];
        let mut reached = None;
        while let Some(first) = self.buckets.first_entry() {
            let last_ms = first.key().saturating_add(1).saturating_mul(self.bucket_ms) - 1;
            if last_ms > watermark.ms() {
                break;
            }
            rows.extend(first.remove());
            reached = Some(last_ms);
        }
        let news = reached.filter(|reached| *reached > self.gone_ms);
        self.gone_ms = news.unwrap_or(self.gone_ms);
        (rows, news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::joining::RIGHT;

    #[test]
    fn a_row_goes_when_the_last_that_it_is_joined_with_is_late() {
        // l between r - 10 s and r + 2.5 ms.
        let bounds = TimeBounds { columns: [0, 0], min_us: Some(-10_000_000), max_us: Some(2_500) };
        let (left, right) = (Expiry::new(LEFT, &bounds), Expiry::new(RIGHT, &bounds));
        // A left row at 5 s is joined with right rows up to 15 s, a right row at 5 s with left rows up to 5.0025 s.
        assert_eq!((left.expires_ms(5_000_000), right.expires_ms(5_000_000)), (15_001, 5_003));
        assert_eq!(left.expires_ms(-5_000_001), 5_000);
        // A right row at the watermark is joined with left rows 10 s before.
        let behind = [20_000, i64::MAX, i64::MIN].map(|ms| bounds.watermark(Watermark(ms)));
        assert_eq!(behind, [Watermark(10_000), Watermark::MAX, Watermark::MIN]);
        let open = TimeBounds { min_us: None, ..bounds };
        assert_eq!(open.watermark(Watermark(20_000)), Watermark::MIN);
        assert_eq!(Expiry::new(LEFT, &open).expires_ms(5), i64::MAX);
        let mut left = left;
        left.add(7, 5_000_000);
        left.add(8, 90_000_000);
        assert_eq!(left.take(Watermark(15_000)), (vec![], None));
        let (rows, reached) = left.take(Watermark(15_700));
        assert_eq!(rows, [7]);
        assert!(reached.is_some_and(|ms| (15_001..=15_700).contains(&ms)));
    }
}
