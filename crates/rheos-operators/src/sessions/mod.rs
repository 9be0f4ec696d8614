//! Sessions: for each key, rows whose event times are at most a gap apart.
//!
//! ```text
//!   batch ─► keys as numbers ─► sorted by (key, time), cut into stretches ─► joined to the sessions of the key
//!                                                                               │ overlapping ones become one
//!   rows or partial aggregates ─► accumulators (`table`), or kept as they are (`rows`) ─► fire by end, then key
//! ```
//! A row at `t` has the window `[t, t + gap)`; windows of one key that overlap *or touch* are one session, as in Flink
//! (`TimeWindow.intersects`). So a row exactly `gap` behind the last one joins, and a session `[s, e)` is complete when the
//! watermark is beyond `e`, not when it is there: then its content does not depend on the order in which rows in time
//! come. (Flink fires one ms earlier and the row at `e` joins or not, as it comes.) What is behind the operator has a
//! watermark one ms lower, so that the result, whose time is `e - 1 ms`, is in time there.
//!
//! *Late* is a row whose session has fired, or would have: its session ends before the watermark. That is decided when
//! the watermark rises next or the epoch ends, so that it does not matter in which order, batches and partial aggregates
//! the rows between two watermarks come: a row may still be saved by a later one that connects it with a session that is
//! open.
//!
//! Parts: `keys` (keys as bytes), `cut` (a batch into stretches), `index` (which sessions there are, what closes),
//! `states` and `table` (their aggregates), `aggregate`, `partial` and `checkpoint` (the operators and their state), `rows`,
//! `stored` and `assign` (the row form).

mod aggregate;
mod assign;
mod checkpoint;
mod cut;
mod index;
mod keys;
mod partial;
mod rows;
mod states;
mod stored;
mod table;

use arrow::array::{Array, AsArray};
use arrow::compute::{filter_record_batch, is_not_null};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use rheos_core::operator::Counter;
use rheos_core::time::micros_to_ms;
use rheos_core::{OperatorContext, Result, Watermark};

pub(crate) use aggregate::SessionAggregate;
pub use assign::AssignSessionsFactory;
pub(crate) use partial::SessionPartial;

use crate::assign_windows::check_event_times;

/// The rows that have an event time, and the times in ms. The others are counted.
fn timed_rows(batch: RecordBatch, column: usize, ctx: &mut OperatorContext) -> Result<(RecordBatch, Vec<i64>)> {
    let times = batch.column(column).as_primitive::<TimestampMicrosecondType>();
    check_event_times(times)?;
    let nulls = times.null_count();
    ctx.count(Counter::NullEventTimes, nulls as u64);
    let batch = if nulls == 0 { batch } else { filter_record_batch(&batch, &is_not_null(batch.column(column))?)? };
    let times = batch.column(column).as_primitive::<TimestampMicrosecondType>();
    let times = times.values().iter().map(|us| micros_to_ms(*us)).collect();
    Ok((batch, times))
}

/// The watermark behind a session window; see the module.
fn watermark_behind(combined: Watermark) -> Watermark {
    if combined == Watermark::MAX { combined } else { Watermark(combined.ms().saturating_sub(1)) }
}
