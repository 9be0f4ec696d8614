//! The clock of whatever runs on this thread: for functions inside of expressions, which have no context.
//!
//! An operator is told the time by its context ([`OperatorContext::now_ms`](crate::operator::OperatorContext)), and so
//! are its expressions by the runtime, which sets the clock before it calls the operator. So nothing below the runtime
//! reads a clock of its own, and a simulation can move it by hand.

use std::cell::Cell;

thread_local! {
    static NOW_MS: Cell<i64> = const { Cell::new(0) };
}

/// Sets the processing time of this thread, in ms since 1970.
pub fn set(now_ms: i64) {
    NOW_MS.set(now_ms);
}

/// The processing time of this thread, in ms since 1970.
pub fn now_ms() -> i64 {
    NOW_MS.get()
}
