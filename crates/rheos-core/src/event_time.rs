//! Reads event times out of a column.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};

use crate::error::{Error, Result};
use crate::time::micros_to_ms;

/// Largest and smallest event time of a column, and how many rows have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTimeRange {
    /// Smallest event time in ms; `None` if every row is null.
    pub min_ms: Option<i64>,
    /// Largest event time in ms; `None` if every row is null.
    pub max_ms: Option<i64>,
    /// Rows without an event time.
    pub nulls: usize,
}

/// The range of a timestamp column in microseconds.
///
/// Errors: `Internal` for any other type; the planner lets only microsecond timestamps be event times.
pub fn event_time_range(column: &ArrayRef) -> Result<EventTimeRange> {
    let DataType::Timestamp(TimeUnit::Microsecond, _) = column.data_type() else {
        return Err(Error::internal(format!("an event time column has type {}", column.data_type())));
    };
    let values = column.as_primitive::<TimestampMicrosecondType>();
    Ok(EventTimeRange {
        min_ms: arrow::compute::min(values).map(micros_to_ms),
        max_ms: arrow::compute::max(values).map(micros_to_ms),
        nulls: values.null_count(),
    })
}
