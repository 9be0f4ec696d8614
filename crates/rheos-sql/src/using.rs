//! `JOIN .. USING (k)` and `NATURAL JOIN`: `k` is one column, that of whichever side has the row.
//!
//! ```text
//!   a FULL JOIN b USING (k)      Projection(merged.k = COALESCE(a.k, b.k), a.k, a.x, b.k, b.y)
//!                                  Join(a.k = b.k)
//! ```
//!
//! DataFusion takes the left side's column for `k`, which is NULL where only the right side has a row. Here the merged
//! column is one of its own, under the name of a relation that no program can write; `a.k` and `b.k` stay what they are.
//! What `*` and a bare `k` stand for DataFusion reads from the pairs of a join that is marked `Using`: a pair of a column
//! with itself adds that column to them. `unmarked` takes the marks away when the query is planned.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TransformedResult};
use datafusion_common::{
    Column, JoinConstraint as Constraint, JoinType, NullEquality, Result as DfResult, TableReference,
};
use datafusion_expr::logical_plan::{Join, Projection};
use datafusion_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion_expr::utils::expand_wildcard;
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion_functions::core::expr_fn::coalesce;
use rheos_core::error::{Error, Result, did_you_mean};
use sqlparser::ast::{
    Ident, Join as SqlJoin, JoinConstraint, JoinOperator, Query, Select, TableFactor, TableWithJoins, VisitMut,
    VisitorMut,
};

use crate::catalog::match_name;
use crate::diagnose::external;
use crate::tokens::place;

/// Begins the relation of a merged column, and stands between the names of the joined relations that follow. It sorts
/// before all names, so `*` keeps this column of those of one name.
const MERGED: char = '\0';

/// Whether a relation is that of merged columns, which is not shown.
pub(crate) fn is_merged(relation: &str) -> bool {
    relation.starts_with(MERGED)
}

/// The relation of the merged column that all columns of one name belong to, given the relations of these columns.
pub(crate) fn common_relation<'r>(relations: &[&'r str]) -> Option<&'r str> {
    let merged = relations.iter().find(|r| is_merged(r))?;
    let belongs = |r: &&str| r == merged || merged.split(MERGED).any(|part| part == *r);
    relations.iter().all(belongs).then_some(*merged)
}

/// Puts joins with merged columns into parentheses, so that `MergedJoins` is asked for them.
pub(crate) fn rewrite(query: &mut Query) {
    struct Rewrite;
    impl VisitorMut for Rewrite {
        type Break = ();

        fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
            select.from.iter_mut().for_each(nest);
            ControlFlow::Continue(())
        }

        fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
                nest(table_with_joins);
            }
            ControlFlow::Continue(())
        }
    }
    let _ = query.visit(&mut Rewrite);
}

/// Everything up to the last join with merged columns becomes one relation.
fn nest(from: &mut TableWithJoins) {
    let Some(last) = from.joins.iter().rposition(|join| kind(join).is_some()) else { return };
    let rest = from.joins.split_off(last + 1);
    let joins = std::mem::replace(&mut from.joins, rest);
    let inside = nested(TableWithJoins { relation: TableFactor::clone(&from.relation), joins });
    from.relation = inside;
}

fn nested(joined: TableWithJoins) -> TableFactor {
    TableFactor::NestedJoin { table_with_joins: Box::new(joined), alias: None }
}

/// The kind of a join that merges columns. `None`: it merges none, or shows one side only.
fn kind(join: &SqlJoin) -> Option<(JoinType, &JoinConstraint)> {
    use JoinOperator as On;
    let (kind, constraint) = match &join.join_operator {
        On::Join(c) | On::Inner(c) => (JoinType::Inner, c),
        On::Left(c) | On::LeftOuter(c) => (JoinType::Left, c),
        On::Right(c) | On::RightOuter(c) => (JoinType::Right, c),
        On::FullOuter(c) => (JoinType::Full, c),
        _ => return None,
    };
    let is_lateral = matches!(join.relation, TableFactor::UNNEST { .. });
    let merges = matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural);
    (merges && !is_lateral).then_some((kind, constraint))
}

/// Plans joins with merged columns.
#[derive(Debug)]
pub(crate) struct MergedJoins;

impl RelationPlanner for MergedJoins {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<RelationPlanning> {
        let TableFactor::NestedJoin { table_with_joins, alias } = relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let is_wrapper = table_with_joins.joins.is_empty();
        let plan = match alias {
            // Under a name of its own a join is what its `*` shows.
            Some(_) if is_wrapper => {
                let plan = context.plan(table_with_joins.relation)?;
                let shown = expand_wildcard(plan.schema(), &plan, None)?;
                LogicalPlanBuilder::from(plan).project(shown)?.build()?
            }
            None if table_with_joins.joins.last().is_some_and(|join| kind(join).is_some()) => {
                merged(*table_with_joins, context)?
            }
            alias => {
                let original = TableFactor::NestedJoin { table_with_joins, alias };
                return Ok(RelationPlanning::Original(Box::new(original)));
            }
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

/// The plan of a join whose last one merges columns.
fn merged(mut from: TableWithJoins, context: &mut dyn RelationPlannerContext) -> DfResult<LogicalPlan> {
    let last = from.joins.pop();
    let Some((join, (kind, constraint))) = last.as_ref().and_then(|j| Some((j, kind(j)?))) else {
        return Err(external(Error::internal("a join without a merged column")));
    };
    nest(&mut from);
    let left = match from.joins.is_empty() {
        true => context.plan(from.relation)?,
        false => context.plan(nested(from))?,
    };
    let right = context.plan(join.relation.clone())?;
    let (left, right) = (named(left, "")?, named(right, "right")?);
    let keys = keys(constraint, &left, &right).map_err(external)?;
    if keys.is_empty() {
        let builder = LogicalPlanBuilder::from(left);
        return match kind {
            JoinType::Inner => builder.cross_join(right)?.build(),
            kind => builder.join_on(right, kind, [])?.build(),
        };
    }
    let exprs = columns(kind, &keys, &left, &right);
    let names: HashSet<_> = keys.iter().map(|(l, _)| l.name.as_str()).collect();
    let on = keys.iter().map(|(l, r)| (Expr::Column(l.clone()), Expr::Column(r.clone()))).collect();
    let equality = NullEquality::NullEqualsNothing;
    let mut join = Join::try_new(Arc::new(left), Arc::new(right), on, None, kind, Constraint::Using, equality, false)?;
    let shape = Projection::try_new(exprs.clone(), Arc::new(LogicalPlan::Join(join.clone())))?;
    let alike = shape.schema.columns().into_iter().filter(|c| names.contains(c.name.as_str()));
    join.on.extend(alike.map(|c| (Expr::Column(c.clone()), Expr::Column(c))));
    Projection::try_new(exprs, Arc::new(LogicalPlan::Join(join))).map(LogicalPlan::Projection)
}

/// A subquery without a name, under one that no program can write: DataFusion takes no two columns `k` without tables.
fn named(plan: LogicalPlan, name: &str) -> DfResult<LogicalPlan> {
    match plan.schema().columns().iter().all(|c| c.relation.is_none()) {
        true => LogicalPlanBuilder::from(plan).alias(format!("{MERGED}{name}"))?.build(),
        false => Ok(plan),
    }
}

/// The columns that the join is on, of the left and of the right side.
fn keys(constraint: &JoinConstraint, left: &LogicalPlan, right: &LogicalPlan) -> Result<Vec<(Column, Column)>> {
    let mut keys: Vec<(Column, Column)> = vec![];
    let mut names = vec![];
    match constraint {
        JoinConstraint::Using(listed) => {
            names.extend(listed.iter().filter_map(|name| name.0.last()?.as_ident().cloned()));
        }
        _ => {
            let known: HashSet<_> = left.schema().fields().iter().map(|f| f.name()).collect();
            let common = right.schema().fields().iter().map(|f| f.name()).filter(|name| known.contains(name));
            names.extend(common.map(Ident::new));
        }
    }
    for name in names {
        let (l, r) = (key(&name, left, "left")?, key(&name, right, "right")?);
        if !keys.iter().any(|(known, _)| *known == l) {
            keys.push((l, r));
        }
    }
    Ok(keys)
}

/// The column of one side. Errors: there is none, or several that are not merged.
fn key(name: &Ident, side: &LogicalPlan, which: &str) -> Result<Column> {
    let located = |error: Error| if name.span.start.line > 0 { error.with_span(place(name.span)) } else { error };
    let columns = side.schema().columns();
    let mut names: Vec<&str> = vec![];
    for column in &columns {
        if !names.contains(&column.name.as_str()) {
            names.push(&column.name);
        }
    }
    let Some(found) = match_name(&name.value, names.iter().copied()) else {
        let list = format!("the columns are: {}", names.join(", "));
        let what = format!("the {which} side of the join has no column '{}'", name.value);
        let hint = did_you_mean(&name.value, names.iter().copied(), &list);
        return Err(located(Error::invalid(131, what).with_hint(hint)));
    };
    let all: Vec<_> = columns.iter().filter(|c| c.name == found).collect();
    let of_merged = |c: &&Column| c.relation.as_ref().is_some_and(|r| is_merged(r.table()));
    let merged: Vec<_> = all.iter().copied().filter(of_merged).collect();
    match (all.as_slice(), merged.as_slice()) {
        ([only], _) | (_, [only]) => Ok((*only).clone()),
        _ => Err(located(
            Error::invalid(132, format!("several tables on the {which} side of the join have a column '{found}'"))
                .with_hint("join ON t.column = u.column, which says of which table it is"),
        )),
    }
}

/// What the join gives: the merged columns where those of the left side stood, and everything else as it is.
fn columns(kind: JoinType, keys: &[(Column, Column)], left: &LogicalPlan, right: &LogicalPlan) -> Vec<Expr> {
    // A column of no table and an older merged one could not be told from the new one.
    let has_own_name = |c: &Column| c.relation.as_ref().is_some_and(|r| !is_merged(r.table()));
    let mut exprs = vec![];
    for column in left.schema().columns() {
        let Some((l, r)) = keys.iter().find(|(l, _)| *l == column) else {
            exprs.push(Expr::Column(column));
            continue;
        };
        let value = match kind {
            JoinType::Right => Expr::Column(r.clone()),
            JoinType::Full => coalesce(vec![Expr::Column(l.clone()), Expr::Column(r.clone())]),
            _ => Expr::Column(l.clone()),
        };
        let table = |c: &Column| match &c.relation {
            Some(relation) if is_merged(relation.table()) => relation.table().to_string(),
            Some(relation) => format!("{MERGED}{}", relation.table()),
            None => MERGED.to_string(),
        };
        let relation = TableReference::bare(format!("{}{}", table(l), table(r)));
        exprs.push(value.alias_qualified(Some(relation), &l.name));
        if has_own_name(l) {
            exprs.push(Expr::Column(column));
        }
    }
    let is_shown = |c: &Column| has_own_name(c) || !keys.iter().any(|(_, r)| r == c);
    exprs.extend(right.schema().columns().into_iter().filter(is_shown).map(Expr::Column));
    exprs
}

/// The plan without the marks of merged columns: from here on a join is what its condition says.
pub(crate) fn unmarked(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let node = |node: LogicalPlan| match node {
        LogicalPlan::Join(mut join) if join.join_constraint == Constraint::Using => {
            join.on.retain(|(l, r)| l != r);
            join.join_constraint = Constraint::On;
            Ok(Transformed::yes(LogicalPlan::Join(join)))
        }
        node => Ok(Transformed::no(node)),
    };
    plan.transform_up_with_subqueries(node).data()
}
