//! `FROM t CROSS JOIN UNNEST(t.list) AS u(x)`: the list is opened above `t`, with no join.
//!
//! ```text
//!   Join(t, Alias u(Subquery(Unnest(Projection(outer t.list))))))
//!   Projection(t.., u.x)(Unnest(Projection(t.., t.list)(t)))
//! ```
//!
//! DataFusion plans the relation as a subquery over one row that refers to the other side; here the other side takes the
//! place of that row, and its columns are handed up through every step.

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, JoinType, NullHandling, Result as DfResult, TableReference};
use datafusion_expr::logical_plan::{Join, Subquery, SubqueryAlias};
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use rheos_core::error::Error;

use crate::diagnose::external;

/// Refuses a subquery as a value that may have several rows: as a join it would repeat rows.
pub(crate) fn check_values(plan: &LogicalPlan) -> DfResult<()> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|e| match e {
                Expr::ScalarSubquery(query)
                    if query.outer_ref_columns.is_empty() && query.subquery.max_rows().is_none_or(|n| n > 1) =>
                {
                    let error =
                        Error::invalid(149, "a subquery as a value may have one row, and this one may have more")
                            .with_hint("write SELECT max(x), or another aggregate without GROUP BY, or LIMIT 1");
                    Err(external(error))
                }
                _ => Ok(TreeNodeRecursion::Continue),
            })
        })
    })
    .map(drop)
}

/// Replaces every lateral relation of a plan.
pub(crate) fn flatten(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    plan.transform_up(|node| match &node {
        LogicalPlan::Join(join) if is_lateral(&join.right) || opens_for_each(join) => {
            applied(join).map(Transformed::yes)
        }
        _ => Ok(Transformed::no(node)),
    })
    .data()
}

fn is_lateral(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Subquery(Subquery { outer_ref_columns, .. }) => !outer_ref_columns.is_empty(),
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. }) => is_lateral(input),
        LogicalPlan::Projection(projection) => is_lateral(&projection.input),
        _ => false,
    }
}

/// Whether the right side is a list without a column of the left one, which can be opened for each row of that.
fn opens_for_each(join: &Join) -> bool {
    fn opens(plan: &LogicalPlan) -> bool {
        match plan {
            LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. }) => opens(input),
            LogicalPlan::Projection(projection) => opens(&projection.input),
            LogicalPlan::Unnest(unnest) => is_over_one_row(&unnest.input),
            _ => false,
        }
    }
    let kind = match join.join_type {
        JoinType::Inner => true,
        JoinType::Left => is_on_true(join),
        _ => false,
    };
    kind && opens(&join.right)
}

fn is_on_true(join: &Join) -> bool {
    join.on.is_empty() && join.filter.as_ref().is_none_or(|e| *e == lit(true))
}

fn is_over_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => is_over_one_row(&projection.input),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        _ => false,
    }
}

fn applied(join: &Join) -> DfResult<LogicalPlan> {
    let keeps_left = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left if is_on_true(join) => true,
        other => {
            let what = format!("{other} JOIN of UNNEST with a condition is not supported yet");
            let error = Error::invalid(142, what).with_hint("write CROSS JOIN UNNEST(...), or LEFT JOIN ... ON TRUE");
            return Err(external(error));
        }
    };
    let left = join.left.as_ref();
    let mut plan = attach(&join.right, left, keeps_left)?;
    for (a, b) in &join.on {
        plan = LogicalPlanBuilder::from(plan).filter(a.clone().eq(b.clone()))?.build()?;
    }
    if let Some(filter) = join.filter.as_ref().filter(|f| **f != lit(true)) {
        plan = LogicalPlanBuilder::from(plan).filter(filter.clone())?.build()?;
    }
    let columns: Vec<_> = join.schema.columns().into_iter().map(Expr::Column).collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// `plan` above `left` in place of its one row, with the columns of `left` before its own.
fn attach(plan: &LogicalPlan, left: &LogicalPlan, keeps_left: bool) -> DfResult<LogicalPlan> {
    let of_left = || left.schema().columns().into_iter().map(Expr::Column);
    match plan {
        LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => Ok(left.clone()),
        LogicalPlan::Subquery(subquery) => attach(&subquery.subquery, left, keeps_left),
        LogicalPlan::SubqueryAlias(alias) => {
            let input = attach(&alias.input, left, keeps_left)?;
            let renamed = alias.input.schema().columns().into_iter().zip(alias.schema.fields());
            let renamed = renamed.map(|(column, field)| {
                Expr::Column(column).alias_qualified(Some::<TableReference>(alias.alias.clone()), field.name())
            });
            LogicalPlanBuilder::from(input).project(of_left().chain(renamed))?.build()
        }
        LogicalPlan::Projection(projection) => {
            let input = attach(&projection.input, left, keeps_left)?;
            let exprs = projection.expr.iter().cloned().map(resolved).collect::<DfResult<Vec<_>>>()?;
            LogicalPlanBuilder::from(input).project(of_left().chain(exprs))?.build()
        }
        LogicalPlan::Unnest(unnest) => {
            let input = attach(&unnest.input, left, keeps_left)?;
            let nulls = if keeps_left { NullHandling::PreserveAndExpandEmpty } else { NullHandling::Drop };
            let options = unnest.options.clone().with_null_handling(nulls);
            LogicalPlanBuilder::from(input).unnest_columns_with_options(unnest.exec_columns.clone(), options)?.build()
        }
        _ => {
            let error = Error::invalid(142, "LATERAL with anything but UNNEST is not supported yet").with_hint(
                "write CROSS JOIN UNNEST(t.list) AS u(x), or a subquery without a reference to the other table",
            );
            Err(external(error))
        }
    }
}

/// References to the other side as plain columns.
fn resolved(expr: Expr) -> DfResult<Expr> {
    // The alias keeps the name by which the steps above know the column.
    let name = expr.schema_name().to_string();
    let is_plain = matches!(expr, Expr::Column(_) | Expr::Alias(_));
    let resolved = expr.transform_up(|e| {
        Ok(match e {
            Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(Column::clone(&column))),
            other => Transformed::no(other),
        })
    });
    resolved.data().map(|e| if is_plain { e } else { e.alias(name) })
}
