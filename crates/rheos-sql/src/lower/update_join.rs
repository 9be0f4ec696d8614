//! Joins whose results change: of inputs that need not end, or whose rows go as well as come.
//!
//! ```text
//!   left  ── keys ──► hash(keys) ──┐
//!                                  ├──► join ──► left columns, right columns, and the weight where rows may go
//!   right ── keys ──► hash(keys) ──┘
//! ```
//! Windows are keys like others here.

use std::sync::Arc;

use datafusion_expr::logical_plan::Join;
use rheos_core::error::Result;
use rheos_operators::{TimeBounds, UpdateJoinInput, UpdateJoinSpec, plan};

use super::Lowering;
use super::join::joined;
use super::stream::Stream;
use super::time_bounds;

impl Lowering<'_> {
    /// Whether the results of a join are given at once, and their changes then.
    pub(super) fn join_changes(&self, join: &Join, left: &Stream, right: &Stream, in_window: bool) -> Result<bool> {
        if left.has_weights() || right.has_weights() {
            return Ok(true);
        }
        Ok(!in_window && (self.wants_changes(&join.left)? || self.wants_changes(&join.right)?))
    }

    /// What lets rows go in time. Input that ends needs nothing let go, and none of its rows is late; the time of a row that
    /// changes says nothing about when it does.
    fn bounds(&self, join: &Join, left: &Stream, right: &Stream) -> Option<TimeBounds> {
        let is_endless = [left, right].iter().any(|side| self.graph.is_endless(side.node));
        let tells_time = |side: &Stream| !side.has_weights() && !self.graph.holds_watermark(side.node);
        if !is_endless || !tells_time(left) || !tells_time(right) {
            return None;
        }
        time_bounds::of(join, left, right)
    }

    /// A join of rows that come, and may go.
    pub(super) fn updating_join(&mut self, join: &Join, left: Stream, right: Stream) -> Result<Stream> {
        let (left_keys, right_keys): (Vec<_>, Vec<_>) = join.on.iter().cloned().unzip();
        let (left, left_keys) = self.keyed(left, &join.left, &left_keys)?;
        let (right, right_keys) = self.keyed(right, &join.right, &right_keys)?;
        let filter = join.filter.as_ref().map(|f| self.residual(f, join, &left, &right)).transpose()?;
        let bounds = self.bounds(join, &left, &right);
        let spec = UpdateJoinSpec {
            left: UpdateJoinInput { schema: Arc::clone(&left.schema), keys: left_keys },
            right: UpdateJoinInput { schema: Arc::clone(&right.schema), keys: right_keys },
            kind: join.join_type,
            filter,
            null_equality: join.null_equality,
            bounds,
            state_ttl_ms: None,
            emit_interval_ms: self.emit.interval_ms,
        };
        let (node, schema) = plan::update_join(self.graph, [left.node, right.node], spec)?;
        Ok(joined(join.join_type, false, &left, &right, Stream::plain(node, schema)))
    }
}
