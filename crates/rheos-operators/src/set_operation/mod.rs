//! `INTERSECT [ALL]` and `EXCEPT [ALL]`: how often each row is there on either side says how often it is in the result.
//!
//! ```text
//!   left  ══ hash(all columns) ══╗   row    left  right   INTERSECT  INTERSECT ALL  EXCEPT  EXCEPT ALL
//!                                ╠═► (7,a)     3      1           1              1       0           2
//!   right ══ hash(all columns) ══╝   (8,b)     2      0           0              0       1           2
//! ```
//! NULL is equal to NULL here, as in GROUP BY. The parts: `counts` (rows and their numbers, checkpoints), `operator` (when results go out).

mod counts;
mod operator;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use rheos_core::change::{has_weights, with_weights, without_weights};
use rheos_core::operator::OperatorInit;
use rheos_core::{Error, Operator, OperatorFactory, Result};

use crate::row_keys::has_order;
use operator::SetOperator;

/// How often a row is in the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SetOperation {
    /// Once, if it is on both sides.
    Intersect,
    /// As often as it is on the side that has it less often.
    IntersectAll,
    /// Once, if it is on the left side only.
    Except,
    /// As often as it is on the left side more often than on the right one.
    ExceptAll,
}

impl SetOperation {
    fn copies(self, left: i64, right: i64) -> i64 {
        // In the middle of an epoch a row may be gone before it has come.
        let (left, right) = (left.max(0), right.max(0));
        match self {
            SetOperation::Intersect => i64::from(left > 0 && right > 0),
            SetOperation::IntersectAll => left.min(right),
            SetOperation::Except => i64::from(left > 0 && right == 0),
            SetOperation::ExceptAll => (left - right).max(0),
        }
    }

    /// Whether rows that only come leave nothing to take back.
    fn only_grows(self) -> bool {
        matches!(self, SetOperation::Intersect | SetOperation::IntersectAll)
    }
}

impl fmt::Display for SetOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SetOperation::Intersect => "intersect",
            SetOperation::IntersectAll => "intersect all",
            SetOperation::Except => "except",
            SetOperation::ExceptAll => "except all",
        })
    }
}

/// What is combined, and when the result goes out.
#[derive(Debug, Clone)]
pub struct SetOperationSpec {
    /// The columns of both sides, each with or without weights: of the same types.
    pub inputs: [SchemaRef; 2],
    /// Which rows are in the result.
    pub operation: SetOperation,
    /// The result goes out when both inputs have ended, and its changes never: only of rows that stay.
    pub at_end: bool,
    /// How often changes are told, in ms of processing time; at the ends of epochs anyway.
    pub emit_interval_ms: Option<i64>,
    /// How long a row is kept behind the last time that it came, in ms of event time.
    pub state_ttl_ms: Option<i64>,
}

/// Makes set operations.
///
/// Shape: the columns of the left input, and the weight, unless rows only come and none can leave the result: at the end, and in an
/// INTERSECT of inputs that only grow. Time: results go out at the end of an epoch, or of both inputs. State: each different row and how
/// often it is on either side.
#[derive(Debug, Clone)]
pub struct SetOperationFactory {
    spec: SetOperationSpec,
    /// The rows of the result.
    rows: SchemaRef,
    /// Those that are kept, of both sides: a column may have nulls if it may on one of them.
    kept: SchemaRef,
}

impl SetOperationFactory {
    /// Errors: `Invalid` for a column that cannot be compared; `Internal` for sides that differ in their types, and for rows that change
    /// and are wanted at the end.
    pub fn try_new(spec: SetOperationSpec) -> Result<Self> {
        let [left, right] = spec.inputs.each_ref().map(without_weights);
        let types = |schema: &SchemaRef| schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
        if types(&left) != types(&right) || left.fields().is_empty() {
            return Err(Error::internal("the sides of a set operation differ in their columns"));
        }
        if spec.at_end && spec.inputs.iter().any(|input| has_weights(input)) {
            return Err(Error::internal("rows that change reach a set operation that waits for the end"));
        }
        if let Some(field) = left.fields().iter().find(|field| !has_order(field.data_type())) {
            let what = format!("column '{}' has type {}, which cannot be compared", field.name(), field.data_type());
            return Err(Error::invalid(150, format!("{what} by {}", spec.operation))
                .with_hint("use a part of it, e.g. one field or element"));
        }
        let either = |(left, right): (&FieldRef, &FieldRef)| {
            left.as_ref().clone().with_nullable(left.is_nullable() || right.is_nullable())
        };
        let kept = left.fields().iter().zip(right.fields()).map(either).collect::<Vec<_>>();
        Ok(Self { spec, kept: Arc::new(Schema::new(kept)), rows: left })
    }

    /// Whether rows go out without a weight.
    fn only_adds(&self) -> bool {
        let only_come = self.spec.inputs.iter().all(|input| !has_weights(input));
        self.spec.at_end || (only_come && self.spec.operation.only_grows())
    }
}

impl OperatorFactory for SetOperationFactory {
    fn create(&self, init: &OperatorInit) -> Result<Box<dyn Operator>> {
        Ok(Box::new(SetOperator::try_new(&self.spec, &self.schema(), &self.kept, init)?))
    }

    fn schema(&self) -> SchemaRef {
        if self.only_adds() { Arc::clone(&self.rows) } else { with_weights(&self.rows) }
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![("operation".into(), self.spec.operation.to_string())]
    }

    /// A row is in the result when it has come on both sides, whenever that was.
    fn holds_watermark(&self) -> bool {
        self.only_adds() && !self.spec.at_end
    }

    fn has_time_to_live(&self) -> bool {
        !self.spec.at_end
    }

    fn growth(&self) -> Option<String> {
        (!self.spec.at_end && self.spec.state_ttl_ms.is_none())
            .then(|| "a row for each different row of both inputs".into())
    }
}
