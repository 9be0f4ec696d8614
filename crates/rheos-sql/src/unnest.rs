//! `UNNEST(..) [WITH ORDINALITY]` in FROM: a row for each item of a list or entry of a map, a column for each field of a
//! row.
//!
//! ```text
//!   Projection(u's columns: items, fields of items, ordinality)
//!     Unnest(lists)                                        aligned: the shorter ones are filled up with NULL
//!       Projection(lists, generate_series(1, longest))     the numbers, if they are wanted
//!         Projection(list of each argument)                a map is the list of its entries
//!           one row
//! ```
//!
//! A field of a row in an argument, `UNNEST(t.r.list)`, is written `t.r['list']` first: DataFusion takes no points behind a
//! column of another table.
//!
//! Where an argument names columns of the tables before it, `lateral` puts those in the place of the one row.

use std::collections::HashSet;
use std::ops::ControlFlow;

use arrow::datatypes::{DataType, Fields};
use datafusion_common::{Column, DFSchema, NullHandling, Result as DfResult, UnnestOptions, internal_datafusion_err};
use datafusion_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion_expr::{Expr, ExprSchemable, LogicalPlanBuilder, cast, lit};
use datafusion_functions::core::expr_fn::{get_field, greatest};
use datafusion_functions_nested::expr_fn::{array_length, gen_series};
use rheos_core::error::Error;
use sqlparser::ast::{
    Expr as SqlExpr, Query, Select, TableAlias, TableFactor, VisitMut, VisitorMut, visit_expressions_mut,
};

use crate::catalog::match_name;
use crate::ddl::expr_place;
use crate::diagnose::external;
use crate::fields;
use crate::select_names::spelled;
use crate::tokens::place;
use crate::types;

/// Puts the fields of rows in the arguments of every UNNEST into brackets.
pub(crate) fn rewrite(query: &mut Query) {
    struct Rewrite;
    impl VisitorMut for Rewrite {
        type Break = ();

        fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
            let relations = spelled(select);
            let all = select.from.iter_mut().flat_map(|from| {
                std::iter::once(&mut from.relation).chain(from.joins.iter_mut().map(|join| &mut join.relation))
            });
            for relation in all {
                if let TableFactor::UNNEST { array_exprs, .. } = relation {
                    let _ = visit_expressions_mut(array_exprs, |expr| {
                        in_brackets(expr, &relations);
                        ControlFlow::<()>::Continue(())
                    });
                }
            }
            ControlFlow::Continue(())
        }
    }
    let _ = query.visit(&mut Rewrite);
}

/// `r.a` becomes `r['a']`, and `t.r.a` becomes `t.r['a']` where there is a relation `t`. A relation is written as FROM has it:
/// UNNEST is planned apart from the relations before it, so nobody could mend the name later.
fn in_brackets(expr: &mut SqlExpr, relations: &HashSet<String>) {
    let SqlExpr::CompoundIdentifier(parts) = expr else { return };
    let known = parts.first().and_then(|first| match_name(&first.value, relations.iter().map(String::as_str)));
    if let (Some(known), Some(first)) = (known, parts.first_mut()) {
        first.value = known.to_string();
    }
    let column = if known.is_some() { 2 } else { 1 };
    if parts.len() <= column {
        return;
    }
    let names = parts.split_off(column);
    let root = match parts.as_slice() {
        [only] => SqlExpr::Identifier(only.clone()),
        parts => SqlExpr::CompoundIdentifier(parts.to_vec()),
    };
    let access_chain = names.iter().map(fields::in_brackets).collect();
    *expr = SqlExpr::CompoundFieldAccess { root: Box::new(root), access_chain };
}

/// Plans UNNEST in FROM.
#[derive(Debug)]
pub(crate) struct UnnestRelations;

/// What `UNNEST` of an argument gives.
enum Items {
    /// One column.
    Single,
    /// A column for each field.
    Fields(Fields),
    /// Its key and its value.
    Entries,
}

/// One argument.
struct Argument {
    list: Expr,
    items: Items,
    /// Where it is no list but a row: its fields, without anything that is opened.
    is_row: bool,
}

impl RelationPlanner for UnnestRelations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<RelationPlanning> {
        let TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality, .. } = relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let arguments = array_exprs.into_iter().map(|e| argument(e, context)).collect::<DfResult<Vec<_>>>()?;
        let columns = columns(&arguments, with_ordinality, alias.as_ref())?;
        let mut lists: Vec<_> = arguments.into_iter().enumerate().map(|(i, a)| (name(i), a.list, a.is_row)).collect();
        let one_row = LogicalPlanBuilder::empty(true);
        let mut plan = one_row.project(lists.iter().map(|(name, list, _)| list.clone().alias(name)))?;
        if with_ordinality {
            let numbers = gen_series(lit(1i64), longest(&lists), lit(1i64));
            lists.push((NUMBERS.into(), numbers, false));
            let kept = lists.iter().map(|(name, list, _)| match name.as_str() {
                NUMBERS => list.clone().alias(name),
                _ => Expr::Column(Column::from_name(name)),
            });
            plan = plan.project(kept.collect::<Vec<_>>())?;
        }
        let opened: Vec<_> = lists.iter().filter(|l| !l.2).map(|(name, ..)| Column::from_name(name)).collect();
        if !opened.is_empty() {
            let options = UnnestOptions::new().with_null_handling(NullHandling::Drop);
            plan = plan.unnest_columns_with_options(opened, options)?;
        }
        let plan = plan.project(columns)?.build()?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

const NUMBERS: &str = "__unnest_numbers";

fn name(argument: usize) -> String {
    format!("__unnest_{argument}")
}

fn argument(sql: SqlExpr, context: &mut dyn RelationPlannerContext) -> DfResult<Argument> {
    let at = expr_place(&sql);
    let schema = DFSchema::empty();
    let list = context.sql_expr_to_logical_expr(sql, &schema)?;
    let data_type = list.get_type(&schema)?;
    let items = match &data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let items = match item.data_type() {
                DataType::Struct(fields) => Items::Fields(fields.clone()),
                _ => Items::Single,
            };
            return Ok(Argument { list, items, is_row: false });
        }
        DataType::Map(..) => {
            let function = context.context_provider().get_function_meta("map_entries");
            let function = function.ok_or_else(|| internal_datafusion_err!("map_entries is missing"))?;
            return Ok(Argument { list: function.call(vec![list]), items: Items::Entries, is_row: false });
        }
        DataType::Struct(fields) => Items::Fields(fields.clone()),
        other => {
            let what = format!("UNNEST takes a list, a map or a row, and this is {}", types::display(other));
            let error = Error::invalid(135, what).with_hint("give it a column of type ARRAY<...> or MAP<...>");
            return Err(external(match at {
                Some(at) => error.with_span(at),
                None => error,
            }));
        }
    };
    Ok(Argument { list, items, is_row: true })
}

/// The number of items of the longest list.
fn longest(lists: &[(String, Expr, bool)]) -> Expr {
    let of_list = |name: &str| cast(array_length(Expr::Column(Column::from_name(name))), DataType::Int64);
    let mut lengths: Vec<_> = lists.iter().filter(|l| !l.2).map(|(name, ..)| of_list(name)).collect();
    match lengths.len() {
        0 => lit(1i64),
        1 => lengths.remove(0),
        _ => greatest(lengths),
    }
}

/// The columns above what was opened. Errors: another number of names than of columns.
fn columns(arguments: &[Argument], with_ordinality: bool, alias: Option<&TableAlias>) -> DfResult<Vec<Expr>> {
    let names: Vec<_> = alias.iter().flat_map(|a| &a.columns).map(|c| c.name.value.as_str()).collect();
    let extra = usize::from(with_ordinality);
    let widths = arguments.iter().map(|a| match &a.items {
        Items::Single => 1,
        Items::Fields(fields) => fields.len(),
        Items::Entries => 2,
    });
    let wide = widths.sum::<usize>() + extra;
    let narrow = arguments.iter().map(|a| if matches!(a.items, Items::Entries) { 2 } else { 1 }).sum::<usize>() + extra;
    // One name for a row keeps it whole.
    let is_whole = names.len() == narrow && narrow != wide;
    let alone = alias.map_or("unnest", |a| a.name.value.as_str());
    let mut columns: Vec<(Expr, String)> = vec![];
    for (index, argument) in arguments.iter().enumerate() {
        let item = Expr::Column(Column::from_name(name(index)));
        match &argument.items {
            Items::Fields(fields) if !is_whole => {
                let field = |name: &String| (get_field(item.clone(), name.as_str()), name.clone());
                columns.extend(fields.iter().map(|f| field(f.name())));
            }
            Items::Entries => {
                columns.extend(["key", "value"].map(|part| (get_field(item.clone(), part), part.to_string())));
            }
            Items::Fields(_) | Items::Single => columns.push((item, alone.to_string())),
        }
    }
    if with_ordinality {
        columns.push((Expr::Column(Column::from_name(NUMBERS)), "ordinality".to_string()));
    }
    if !names.is_empty() && names.len() != columns.len() {
        let given: Vec<_> = columns.iter().map(|c| c.1.as_str()).collect();
        let what = format!("UNNEST gives {} columns, and {} names are given", given.len(), names.len());
        let hint = format!("name each of them, or none: {}", given.join(", "));
        let first_extra = alias.and_then(|a| a.columns.get(columns.len()).or(a.columns.last()));
        let at = first_extra.map(|c| place(c.name.span)).filter(|at| at.line > 0);
        let error = Error::invalid(143, what).with_hint(hint);
        return Err(external(match at {
            Some(at) => error.with_span(at),
            None => error,
        }));
    }
    let mut seen = HashSet::new();
    Ok(columns.into_iter().map(|(column, name)| column.alias(free_name(&mut seen, name))).collect())
}

/// `name`, or `name_1`, .. where it is taken.
fn free_name(seen: &mut HashSet<String>, name: String) -> String {
    let mut free = name.clone();
    let mut n = 1;
    while !seen.insert(free.clone()) {
        free = format!("{name}_{n}");
        n += 1;
    }
    free
}
