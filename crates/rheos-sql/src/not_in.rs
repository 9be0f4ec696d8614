//! `NOT IN (SELECT ..)` and all else that tells an `IN` that is false from one that is null.
//!
//! A join knows whether a value has a match, and no more. In a condition that is all there is to know of `x IN (SELECT y ..)`:
//! false and null both take the row away. Under NOT, and wherever a value is made of it, it is null and not false if x is null or
//! any y is, unless there is no y at all. Where neither can be null the join is right; else three questions are put that a join
//! can answer:
//!
//! ```text
//!   x IN q        EXISTS (q WHERE y = x)                                                    it is true
//!                 EXISTS (q WHERE y IS NULL), x IS NULL AND EXISTS (q)                      else it is null
//! ```

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Column, DFSchema, DataFusionError, Result, ScalarValue};
use datafusion_expr::expr::InSubquery;
use datafusion_expr::logical_plan::Filter;
use datafusion_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, exists, lit, not, when};

/// How an expression is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Null is as good as false: a condition.
    Condition,
    /// Null is as good as true: below a NOT.
    Negated,
    /// True, false and null are three values.
    Value,
}

impl Reading {
    fn below_not(self) -> Self {
        match self {
            Self::Condition => Self::Negated,
            Self::Negated => Self::Condition,
            Self::Value => Self::Value,
        }
    }
}

/// The plan with joins that answer each `IN (SELECT ..)` of its conditions.
pub(crate) fn answerable(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut queries = 0;
    let of_filter = |plan: LogicalPlan| {
        let LogicalPlan::Filter(filter) = plan else { return Ok(Transformed::no(plan)) };
        let schema = Arc::clone(filter.input.schema());
        let predicate =
            Rewrite { schema: &schema, queries: &mut queries }.expr(filter.predicate, Reading::Condition)?;
        predicate.map_data(|p| Ok(LogicalPlan::Filter(Filter::try_new(p, filter.input)?)))
    };
    plan.transform_up_with_subqueries(of_filter).data()
}

struct Rewrite<'a> {
    /// Of the rows that the condition is of.
    schema: &'a DFSchema,
    /// So many queries have a name already.
    queries: &'a mut usize,
}

impl Rewrite<'_> {
    fn expr(&mut self, expr: Expr, reading: Reading) -> Result<Transformed<Expr>> {
        let of_parts = match &expr {
            Expr::BinaryExpr(binary) if matches!(binary.op, Operator::And | Operator::Or) => reading,
            Expr::Not(_) => reading.below_not(),
            Expr::Alias(_) => reading,
            _ => Reading::Value,
        };
        let expr = expr.map_children(|part| self.expr(part, of_parts))?;
        expr.transform_data(|expr| match expr {
            Expr::InSubquery(query) => self.in_query(query, reading),
            other => Ok(Transformed::no(other)),
        })
    }

    fn in_query(&mut self, query: InSubquery, reading: Reading) -> Result<Transformed<Expr>> {
        let Some(field) = query.subquery.subquery.schema().fields().first().cloned() else {
            return Ok(Transformed::no(Expr::InSubquery(query)));
        };
        let may_be_null = (query.expr.nullable(self.schema)?, field.is_nullable());
        // As a condition, IN is the join's answer, and so is NOT IN below a NOT.
        let is_plain =
            (reading == Reading::Condition && !query.negated) || (reading == Reading::Negated && query.negated);
        if may_be_null == (false, false) || is_plain || query.expr.contains_outer() {
            return Ok(Transformed::no(Expr::InSubquery(query)));
        }
        *self.queries += 1;
        let list = List::try_new(&query, *self.queries)?;
        let found = list.with(|value| Ok(value.eq(outer(query.expr.as_ref().clone(), self.schema)?)))?;
        let mut unknown = lit(false);
        if may_be_null.1 {
            unknown = list.with(|value| Ok(value.is_null()))?;
        }
        if may_be_null.0 {
            unknown = unknown.or(query.expr.as_ref().clone().is_null().and(list.all()));
        }
        let is_in = match reading {
            Reading::Condition | Reading::Negated => found.or(unknown),
            Reading::Value => {
                when(found, lit(true)).when(unknown, lit(ScalarValue::Boolean(None))).otherwise(lit(false))?
            }
        };
        Ok(Transformed::yes(if query.negated { not(is_in) } else { is_in }))
    }
}

/// The query behind `IN`, whose values have a name that no other column has.
struct List {
    plan: LogicalPlan,
    value: Column,
}

impl List {
    fn try_new(query: &InSubquery, number: usize) -> Result<Self> {
        let input = query.subquery.subquery.as_ref().clone();
        let Some(column) = input.schema().columns().into_iter().next() else {
            return Err(DataFusionError::Internal("a query without a column is behind IN".into()));
        };
        let name = format!("__in_{number}");
        let plan = LogicalPlanBuilder::from(input).project([Expr::Column(column).alias(&name)])?.build()?;
        Ok(Self { plan, value: Column::new_unqualified(name) })
    }

    /// Whether a value meets a condition.
    fn with(&self, condition: impl FnOnce(Expr) -> Result<Expr>) -> Result<Expr> {
        let condition = condition(Expr::Column(self.value.clone()))?;
        let plan = LogicalPlanBuilder::from(self.plan.clone()).filter(condition)?.build()?;
        Ok(exists(Arc::new(plan)))
    }

    /// Whether there is a value.
    fn all(&self) -> Expr {
        exists(Arc::new(self.plan.clone()))
    }
}

/// An expression of the rows around, as it is written in a query of theirs.
fn outer(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let outer = |e: Expr| match e {
        Expr::Column(column) => {
            let (_, field) = schema.qualified_field_from_column(&column)?;
            Ok(Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(field), column)))
        }
        other => Ok(Transformed::no(other)),
    };
    expr.transform_up(outer).data()
}
