//! Parts of plans that are equal: lowered once, their rows go to all who read them.
//!
//! Shared are the parts that cost something, aggregates and joins, with all that is below them. A part with an expression
//! that gives another value at each call (`random()`, `uuid()`) is not: two subqueries would see the same values. Nor are parts
//! of queries whose results are wanted in another way.

use datafusion_common::DataFusionError;
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_expr::LogicalPlan;
use rheos_core::error::{Error, Result};

use super::stream::Stream;
use crate::settings::Emit;

/// The parts that have been lowered.
#[derive(Default)]
pub(super) struct SharedParts(Vec<(LogicalPlan, Emit, Stream)>);

impl SharedParts {
    /// The rows of a part that is equal to `plan`.
    pub(super) fn find(&self, plan: &LogicalPlan, emit: Emit) -> Option<Stream> {
        let (.., stream) = self.0.iter().find(|(part, of_part, _)| *of_part == emit && part == plan)?;
        Some(stream.clone())
    }

    /// Keeps `stream` as the rows of `plan`, if they may be shared.
    pub(super) fn keep(&mut self, plan: &LogicalPlan, emit: Emit, stream: &Stream) -> Result<()> {
        let costs = matches!(plan, LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) | LogicalPlan::Join(_));
        if costs && !is_volatile(plan).map_err(|_| Error::internal("the expressions of a plan cannot be walked"))? {
            self.0.push((plan.clone(), emit, stream.clone()));
        }
        Ok(())
    }
}

fn is_volatile(plan: &LogicalPlan) -> Result<bool, DataFusionError> {
    let mut found = false;
    plan.apply_with_subqueries(|part| {
        part.apply_expressions(|expr| {
            found |= expr.is_volatile();
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}
