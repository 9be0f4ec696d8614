//! What is wrong by the syntax alone, whatever the tables are: told before planning, with its place.
//!
//! Absent: what needs names or types (`SELECT *` has as many columns as its tables); DataFusion tells that.

use std::ops::ControlFlow;

use rheos_core::error::{Error, Result, Span};
use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, Join,
    JoinOperator, LimitClause, OrderByKind, Query, Select, SelectItem, SetExpr, SetQuantifier, Spanned, TableFactor,
    UnaryOperator, Value, Values, Visit, Visitor,
};

use crate::catalog::is_aggregate;
use crate::ddl::expr_place;
use crate::tokens::place;

/// Looks through a query. Errors: `Invalid` for the first mistake.
pub(crate) fn check(query: &Query) -> Result<()> {
    match query.visit(&mut Misuse::default()) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// The first call that is wanted, subqueries apart: its name and the place of that.
pub(crate) fn first_call(node: &impl Visit, wanted: impl Fn(&Function) -> bool) -> Option<(String, Span)> {
    match node.visit(&mut FirstCall { wanted, depth: 0 }) {
        ControlFlow::Break(found) => Some(found),
        ControlFlow::Continue(()) => None,
    }
}

/// Whether a call is that of an aggregate, and not of a window over rows.
pub(crate) fn aggregates(function: &Function) -> bool {
    function.over.is_none() && is_aggregate(&function.name.to_string())
}

struct FirstCall<F> {
    wanted: F,
    /// Queries around the present expression.
    depth: usize,
}

impl<F: Fn(&Function) -> bool> Visitor for FirstCall<F> {
    type Break = (String, Span);

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Self::Break> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Self::Break> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Function(f) if self.depth == 0 && (self.wanted)(f) => {
                ControlFlow::Break((f.name.to_string().to_lowercase(), place(f.name.span())))
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

#[derive(Default)]
struct Misuse {
    /// Queries that are tables, as arguments of a table function. Compared, never followed.
    relations: Vec<*const Query>,
}

type Flow = ControlFlow<Error>;

fn wrong(code: u16, message: impl Into<String>, hint: &str, at: Option<Span>) -> Flow {
    let error = Error::invalid(code, message).with_hint(hint);
    ControlFlow::Break(match at {
        Some(at) => error.with_span(at),
        None => error,
    })
}

fn at(node: &impl Spanned) -> Option<Span> {
    let span = node.span();
    (span.start.line > 0).then(|| place(span))
}

impl Visitor for Misuse {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        parts(&query.body)?;
        order_by(query)?;
        limits(query)
    }

    fn pre_visit_select(&mut self, select: &Select) -> Flow {
        relation_names(select)?;
        group_by(select)?;
        having(select)?;
        ranking(select)
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        if let TableFactor::Table { args: Some(args), .. } = factor {
            self.relations.extend(args.args.iter().filter_map(relation));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Flow {
        match expr {
            Expr::Subquery(query) if !self.relations.iter().any(|r| std::ptr::eq(*r, query.as_ref())) => single(query),
            Expr::Function(f) if aggregates(f) => {
                not_all_distinct(f)?;
                not_nested(f)
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// The query that is a table function's argument.
fn relation(arg: &FunctionArg) -> Option<*const Query> {
    let (FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
    | FunctionArg::Named { arg: FunctionArgExpr::Expr(expr), .. }
    | FunctionArg::ExprNamed { arg: FunctionArgExpr::Expr(expr), .. }) = arg
    else {
        return None;
    };
    let mut expr = expr;
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    match expr {
        Expr::Subquery(query) => Some(std::ptr::from_ref(query.as_ref())),
        _ => None,
    }
}

/// How many columns a query has. `None`: that takes its tables to know.
fn width(body: &SetExpr) -> Option<usize> {
    match body {
        SetExpr::Select(select) => select_width(select),
        SetExpr::Values(values) => values.rows.first().map(|row| row.content.len()),
        SetExpr::Query(query) => width(&query.body),
        SetExpr::SetOperation { left, right, .. } => width(left).or_else(|| width(right)),
        _ => None,
    }
}

fn select_width(select: &Select) -> Option<usize> {
    let is_one = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => !opens(expr),
        _ => false,
    };
    let known = !select.projection.is_empty() && select.projection.iter().all(is_one);
    known.then_some(select.projection.len())
}

/// Whether an expression is `unnest(..)`, which gives a column for each field of a row.
fn opens(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(f) if f.name.to_string().eq_ignore_ascii_case("unnest"))
}

fn parts(body: &SetExpr) -> Flow {
    match body {
        SetExpr::Values(values) => rows(values),
        SetExpr::SetOperation { op, set_quantifier, left, right } => {
            parts(left)?;
            parts(right)?;
            let by_name = matches!(
                set_quantifier,
                SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName
            );
            match (width(left), width(right)) {
                (Some(a), Some(b)) if a != b && !by_name => {
                    let what = format!("the parts of a {op} have different numbers of columns: {a} and {b}");
                    wrong(143, what, "select the same number of columns in each part", at(right.as_ref()))
                }
                _ => ControlFlow::Continue(()),
            }
        }
        _ => ControlFlow::Continue(()),
    }
}

fn rows(values: &Values) -> Flow {
    let Some(first) = values.rows.first().map(|row| row.content.len()) else { return ControlFlow::Continue(()) };
    let Some(other) = values.rows.iter().find(|row| row.content.len() != first) else {
        return ControlFlow::Continue(());
    };
    let start = other.opening_token.0.span;
    let at = (start.start.line > 0).then(|| place(start.union(&other.closing_token.0.span)));
    let what = format!("the rows of VALUES have different lengths: {first} and {}", other.content.len());
    wrong(143, what, "give each row the same number of values", at)
}

/// The number that an expression is, if it is a literal one.
fn number(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(v) => match &v.value {
            Value::Number(text, _) => text.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

fn ordinal(expr: &Expr, columns: usize, clause: &str) -> Flow {
    match number(expr) {
        Some(n) if n == 0 || n > columns => {
            let what = format!("{clause} {n} names no column of SELECT, which has {columns}");
            wrong(143, what, "write a column's name, or its number in SELECT, from 1", expr_place(expr))
        }
        _ => ControlFlow::Continue(()),
    }
}

fn order_by(query: &Query) -> Flow {
    let Some(columns) = width(&query.body) else { return ControlFlow::Continue(()) };
    match query.order_by.as_ref().map(|o| &o.kind) {
        Some(OrderByKind::Expressions(exprs)) => exprs.iter().try_for_each(|e| ordinal(&e.expr, columns, "ORDER BY")),
        _ => ControlFlow::Continue(()),
    }
}

fn group_by(select: &Select) -> Flow {
    let (GroupByExpr::Expressions(exprs, _), Some(columns)) = (&select.group_by, select_width(select)) else {
        return ControlFlow::Continue(());
    };
    exprs.iter().try_for_each(|e| ordinal(e, columns, "GROUP BY"))
}

fn limits(query: &Query) -> Flow {
    let (limit, offset) = match &query.limit_clause {
        Some(LimitClause::LimitOffset { limit, offset, .. }) => (limit.as_ref(), offset.as_ref().map(|o| &o.value)),
        Some(LimitClause::OffsetCommaLimit { offset, limit }) => (Some(limit), Some(offset)),
        None => (None, None),
    };
    for (clause, expr) in [("LIMIT", limit), ("OFFSET", offset)] {
        if let Some(Expr::Value(v)) = expr
            && !matches!(v.value, Value::Number(..) | Value::Null | Value::Placeholder(_))
        {
            let what = format!("{clause} takes a number of rows, and {v} is none");
            return wrong(135, what, &format!("write {clause} 10"), Some(place(v.span)));
        }
        if let Some(Expr::Value(v)) = expr
            && let Value::Number(written, _) = &v.value
            && written.parse::<u64>().is_err()
        {
            let what = format!("{clause} takes a whole number of rows, and {written} is none");
            return wrong(135, what, &format!("write {clause} 10"), Some(place(v.span)));
        }
        if let Some(negative @ Expr::UnaryOp { op: UnaryOperator::Minus, .. }) = expr {
            let what = format!("{clause} takes a number of rows, and {negative} is less than none");
            return wrong(135, what, &format!("write {clause} 10"), expr_place(negative));
        }
    }
    ControlFlow::Continue(())
}

/// Errors: two relations of one FROM have the same name.
fn relation_names(select: &Select) -> Flow {
    let shown = |join: &&Join| {
        use JoinOperator::{Anti, LeftAnti, LeftSemi, RightAnti, RightSemi, Semi};
        !matches!(join.join_operator, Semi(_) | LeftSemi(_) | RightSemi(_) | Anti(_) | LeftAnti(_) | RightAnti(_))
    };
    let mut seen: Vec<&str> = vec![];
    for from in &select.from {
        let joined = from.joins.iter().filter(shown).map(|j| &j.relation);
        for name in std::iter::once(&from.relation).chain(joined).filter_map(relation_name) {
            if seen.contains(&name.value.as_str()) {
                let what = format!("two tables of this FROM are both called '{}'", name.value);
                let hint = format!("give one of them another name, as in {0} AS {0}2", name.value);
                return wrong(132, what, &hint, Some(place(name.span)));
            }
            seen.push(&name.value);
        }
    }
    ControlFlow::Continue(())
}

fn relation_name(factor: &TableFactor) -> Option<&Ident> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::UNNEST { alias: Some(alias), .. } => Some(&alias.name),
        TableFactor::Table { name, alias: None, args: None, .. } => name.0.last().and_then(|part| part.as_ident()),
        _ => None,
    }
}

/// Errors: a function over rows where the rows are not known yet.
fn ranking(select: &Select) -> Flow {
    let over = |f: &Function| f.over.is_some();
    let grouped = match &select.group_by {
        GroupByExpr::Expressions(exprs, _) => first_call(exprs, over),
        GroupByExpr::All(_) => None,
    };
    let clauses = [
        ("WHERE", first_call(&select.selection, over)),
        ("GROUP BY", grouped),
        ("HAVING", first_call(&select.having, over)),
    ];
    for (clause, found) in clauses {
        if let Some((name, at)) = found {
            let what = format!("{}(...) OVER cannot be in {clause}", name.to_uppercase());
            let hint = "give it a name in a subquery and use that outside, or filter it with QUALIFY";
            return wrong(153, what, hint, Some(at));
        }
    }
    ControlFlow::Continue(())
}

/// DataFusion would count the rows as one constant.
fn not_all_distinct(function: &Function) -> Flow {
    let FunctionArguments::List(list) = &function.args else { return ControlFlow::Continue(()) };
    let wildcard = |arg: &FunctionArg| {
        matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Wildcard | FunctionArgExpr::QualifiedWildcard(_)))
    };
    if list.duplicate_treatment != Some(DuplicateTreatment::Distinct) || !list.args.iter().any(wildcard) {
        return ControlFlow::Continue(());
    }
    let what = format!("{}(DISTINCT *) is not supported yet", function.name.to_string().to_lowercase());
    let hint = "count the rows of a subquery: SELECT count(*) FROM (SELECT DISTINCT * FROM t)";
    wrong(142, what, hint, Some(place(function.name.span())))
}

/// HAVING where nothing is grouped: all rows are one group, so a column has no one value.
fn having(select: &Select) -> Flow {
    let ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty());
    let Some(condition) = select.having.as_ref().filter(|_| ungrouped) else { return ControlFlow::Continue(()) };
    if first_call(condition, aggregates).is_some() || first_call(&select.projection, aggregates).is_some() {
        return ControlFlow::Continue(());
    }
    let what = "HAVING without GROUP BY needs an aggregate";
    wrong(136, what, "filter rows with WHERE, or groups with GROUP BY and HAVING", expr_place(condition))
}

fn not_nested(outer: &Function) -> Flow {
    match first_call(&outer.args, aggregates) {
        Some((name, at)) => {
            let outer = outer.name.to_string().to_lowercase();
            let what = format!("an aggregate cannot be inside an aggregate: {name} is inside {outer}");
            wrong(153, what, "aggregate twice: the inner one in a subquery", Some(at))
        }
        None => ControlFlow::Continue(()),
    }
}

fn single(query: &Query) -> Flow {
    match width(&query.body) {
        Some(columns) if columns > 1 => {
            let what = format!("a subquery as a value has one column, and this one has {columns}");
            wrong(143, what, "select one column, or write a subquery for each", at(query))
        }
        _ => ControlFlow::Continue(()),
    }
}
