//! `INTERSECT ALL` and `EXCEPT ALL` in the logical plan.
//!
//! DataFusion plans them as joins, which do not count: of a row that is twice on the left and once on the right, `INTERSECT ALL` has one, and
//! such a join has two.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TransformedResult};
use datafusion_common::{DFSchemaRef, JoinType, NullEquality, Result as DfResult, internal_err};
use datafusion_expr::logical_plan::{Extension, Join, UserDefinedLogicalNodeCore};
use datafusion_expr::type_coercion::binary::type_union_coercion;
use datafusion_expr::{Distinct, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};
use rheos_core::error::Error;
use rheos_operators::SetOperation;

use crate::diagnose::external;

/// Rows by how often they are on either side. Shape: the columns of the left side; those of the right have the same types.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SetNode {
    pub(crate) operation: SetOperation,
    pub(crate) left: LogicalPlan,
    pub(crate) right: LogicalPlan,
}

/// Puts nodes into the place of the joins that stand for `INTERSECT ALL` and `EXCEPT ALL`. Of a plan as it is written.
pub(crate) fn counted(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|part| match part {
        LogicalPlan::Join(join) => match operation(&join) {
            Some(operation) => node(operation, join).map(Transformed::yes),
            None => Ok(Transformed::no(LogicalPlan::Join(join))),
        },
        other => Ok(Transformed::no(other)),
    })
    .data()
}

/// In a query no other join takes NULL for equal to NULL, and those without ALL have different rows on the left.
fn operation(join: &Join) -> Option<SetOperation> {
    let is_all = join.null_equality == NullEquality::NullEqualsNull
        && !matches!(join.left.as_ref(), LogicalPlan::Distinct(Distinct::All(_)));
    match join.join_type {
        JoinType::LeftSemi if is_all => Some(SetOperation::IntersectAll),
        JoinType::LeftAnti if is_all => Some(SetOperation::ExceptAll),
        _ => None,
    }
}

fn node(operation: SetOperation, join: Join) -> DfResult<LogicalPlan> {
    let (left, right) = (join.left.schema(), join.right.schema());
    let mut casts = [vec![], vec![]];
    for (at, (a, b)) in left.fields().iter().zip(right.fields()).enumerate() {
        let Some(common) = type_union_coercion(a.data_type(), b.data_type()) else {
            let what = format!("the parts of the {operation} differ in column {}", at + 1);
            return Err(external(Error::invalid(135, what).with_hint("cast one of the two")));
        };
        for (casts, schema) in casts.iter_mut().zip([left, right]) {
            let (qualifier, field) = schema.qualified_field(at);
            let column = Expr::from((qualifier, field));
            casts.push(match *field.data_type() == common {
                true => column,
                false => column.cast_to(&common, schema.as_ref())?.alias_qualified(qualifier.cloned(), field.name()),
            });
        }
    }
    let [left_casts, right_casts] = casts;
    let left = LogicalPlanBuilder::from(join.left).project(left_casts)?.build()?;
    let right = LogicalPlanBuilder::from(join.right).project(right_casts)?.build()?;
    let counted = LogicalPlan::Extension(Extension { node: Arc::new(SetNode { operation, left, right }) });
    // A subquery behind IN is asked for its expression, which such a node has none of.
    let columns: Vec<Expr> = counted.schema().columns().into_iter().map(Expr::Column).collect();
    LogicalPlanBuilder::from(counted).project(columns)?.build()
}

impl PartialOrd for SetNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.left.partial_cmp(&other.left) {
            Some(Ordering::Equal) => self.right.partial_cmp(&other.right),
            order => order,
        }
    }
}

impl UserDefinedLogicalNodeCore for SetNode {
    fn name(&self) -> &str {
        "SetOperation"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.left.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "SetOperation: {}", self.operation)
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        match <[LogicalPlan; 2]>::try_from(inputs) {
            Ok([left, right]) => Ok(Self { operation: self.operation, left, right }),
            Err(_) => internal_err!("a set operation has two inputs"),
        }
    }
}
