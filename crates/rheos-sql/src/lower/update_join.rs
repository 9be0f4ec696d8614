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
use rheos_operators::{UpdateJoinInput, UpdateJoinSpec, plan};

use super::Lowering;
use super::join::joined;
use super::stream::Stream;

impl Lowering<'_> {
    /// Whether the results of a join are given at once, and their changes then.
    pub(super) fn join_changes(&self, join: &Join, left: &Stream, right: &Stream, in_window: bool) -> Result<bool> {
        if left.has_weights() || right.has_weights() {
            return Ok(true);
        }
        Ok(!in_window && (self.wants_changes(&join.left)? || self.wants_changes(&join.right)?))
    }

    /// A join of rows that come, and may go.
    pub(super) fn updating_join(&mut self, join: &Join, left: Stream, right: Stream) -> Result<Stream> {
        let (left_keys, right_keys): (Vec<_>, Vec<_>) = join.on.iter().cloned().unzip();
        let (left, left_keys) = self.keyed(left, &join.left, &left_keys)?;
        let (right, right_keys) = self.keyed(right, &join.right, &right_keys)?;
        let filter = join.filter.as_ref().map(|f| self.residual(f, join, &left, &right)).transpose()?;
        let spec = UpdateJoinSpec {
            left: UpdateJoinInput { schema: Arc::clone(&left.schema), keys: left_keys },
            right: UpdateJoinInput { schema: Arc::clone(&right.schema), keys: right_keys },
            kind: join.join_type,
            filter,
            null_equality: join.null_equality,
        };
        let (node, schema) = plan::update_join(self.graph, [left.node, right.node], spec)?;
        Ok(joined(join.join_type, false, &left, &right, Stream::plain(node, schema)))
    }
}
