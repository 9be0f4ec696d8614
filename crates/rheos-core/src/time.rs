//! Watermarks and epochs.
//!
//! Event time is `i64` milliseconds since 1970-01-01 00:00 UTC everywhere in the engine; columns hold microseconds, and
//! the way from one to the other is [`micros_to_ms`] (floor, also before 1970).

use std::fmt;

use serde::{Deserialize, Serialize};

/// "No record with an event time below this is expected any more."
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watermark(pub i64);

impl Watermark {
    /// Nothing is known yet.
    pub const MIN: Watermark = Watermark(i64::MIN);
    /// The input has ended: every window fires.
    pub const MAX: Watermark = Watermark(i64::MAX);

    /// The watermark in milliseconds.
    pub fn ms(self) -> i64 {
        self.0
    }

    /// The watermark behind what gives rows of any event time when its input has ended: none before.
    #[must_use]
    pub fn held_until_the_end(self) -> Self {
        if self == Self::MAX { Self::MAX } else { Self::MIN }
    }
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Watermark::MIN => f.write_str("none yet"),
            Watermark::MAX => f.write_str("end"),
            Watermark(ms) => f.write_str(&format_ms(ms)),
        }
    }
}

/// The number of a checkpoint interval; all input of one epoch is part of the same checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Microseconds to milliseconds, floored.
pub fn micros_to_ms(us: i64) -> i64 {
    us.div_euclid(1000)
}

/// `YYYY-MM-DD HH:MM:SS[.fff]` in UTC; a number of milliseconds where the calendar ends.
pub fn format_ms(ms: i64) -> String {
    use arrow::temporal_conversions::timestamp_ms_to_datetime;
    match timestamp_ms_to_datetime(ms) {
        Some(t) if ms.rem_euclid(1000) == 0 => t.format("%Y-%m-%d %H:%M:%S").to_string(),
        Some(t) => t.format("%Y-%m-%d %H:%M:%S%.3f").to_string(),
        None => format!("{ms} ms"),
    }
}
