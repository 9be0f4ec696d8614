//! What a query may contain and Rheos cannot do yet: refused by its name, at its place, before anything is planned.
//!
//! Absent: what depends on whether the input ends (`GROUP BY` without a window, `ORDER BY`, `LIMIT`, `DISTINCT`); that is
//! known only when the plan is lowered.

use std::ops::ControlFlow;

use rheos_core::error::{Error, Result, Span};
use sqlparser::ast::{
    Distinct, Expr, FunctionArg, FunctionArgExpr, GroupByExpr, Query, Select, SetExpr, SetOperator, Spanned,
    TableFactor, Visit, Visitor,
};

use crate::ddl::expr_place;
use crate::tokens::place;

/// Looks through a query. Errors: `Invalid` for the first thing that is not supported.
pub(crate) fn check(query: &Query) -> Result<()> {
    match query.visit(&mut Refuse::default()) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

#[derive(Default)]
struct Refuse {
    /// Queries that are a window's table: the only place where an expression is a relation. Compared, never followed.
    window_inputs: Vec<*const Query>,
}

type Flow = ControlFlow<Error>;

fn no(what: &str, hint: &str, at: Option<Span>) -> Flow {
    let error = Error::invalid(142, format!("{what} is not supported yet")).with_hint(hint);
    ControlFlow::Break(match at {
        Some(at) => error.with_span(at),
        None => error,
    })
}

fn at(node: &impl Spanned) -> Option<Span> {
    let span = node.span();
    (span.start.line > 0).then(|| place(span))
}

impl Visitor for Refuse {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        if let Some(with) = query.with.as_ref().filter(|w| w.recursive) {
            return no(
                "WITH RECURSIVE",
                "write the levels out, or prepare the data outside",
                Some(place(with.with_token.0.span)),
            );
        }
        if let Some(fetch) = &query.fetch {
            let hint = "write LIMIT instead";
            return no("FETCH", hint, fetch.quantity.as_ref().and_then(expr_place));
        }
        if !query.locks.is_empty() || query.for_clause.is_some() {
            return no("FOR behind a query", "take it away", at(query));
        }
        if !query.pipe_operators.is_empty() {
            return no("the pipe operator |>", "write the steps as subqueries", at(query));
        }
        set_operators(&query.body)
    }

    fn pre_visit_select(&mut self, select: &Select) -> Flow {
        if let Some(from) = select.from.iter().find(|f| !f.joins.is_empty()) {
            return no(
                "JOIN",
                "read one table a query, or join before the data gets here",
                from.joins.first().and_then(|j| at(&j.relation)),
            );
        }
        if let Some(second) = select.from.get(1) {
            return no("a join of several tables in FROM", "read one table a query", at(&second.relation));
        }
        if let Some(Distinct::On(exprs)) = &select.distinct {
            return no("DISTINCT ON", "use FIRST_VALUE(...) with GROUP BY", exprs.first().and_then(expr_place));
        }
        let clauses: [(&str, Option<Option<Span>>); 8] = [
            ("QUALIFY", select.qualify.as_ref().map(expr_place)),
            ("LATERAL VIEW", select.lateral_views.first().map(|v| expr_place(&v.lateral_view))),
            ("CONNECT BY", select.connect_by.first().map(|_| at(select))),
            ("SELECT INTO", select.into.as_ref().map(|i| at(&i.name))),
            ("TOP", select.top.as_ref().map(|_| at(select))),
            ("PREWHERE", select.prewhere.as_ref().map(expr_place)),
            ("WINDOW", select.named_window.first().map(|w| Some(place(w.0.span)))),
            ("CLUSTER BY", select.cluster_by.first().or(select.distribute_by.first()).map(expr_place)),
        ];
        for (what, found) in clauses {
            if let Some(place) = found {
                return no(what, "write the query without it", place);
            }
        }
        match &select.group_by {
            GroupByExpr::All(_) => no("GROUP BY ALL", "name the columns", at(select)),
            GroupByExpr::Expressions(_, modifiers) if !modifiers.is_empty() => {
                no("GROUP BY ... WITH", "write one query for each grouping, and UNION ALL between them", at(select))
            }
            GroupByExpr::Expressions(..) => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        let place = at(factor);
        match factor {
            TableFactor::UNNEST { .. } => {
                no("UNNEST", "use array functions such as array_length, or flatten before", place)
            }
            TableFactor::Derived { lateral: true, .. } | TableFactor::Function { lateral: true, .. } => {
                no("LATERAL", "write the subquery without a reference to the other table", place)
            }
            TableFactor::MatchRecognize { .. } => no("MATCH_RECOGNIZE", "use windows", place),
            TableFactor::Pivot { .. } | TableFactor::Unpivot { .. } => {
                no("PIVOT", "use aggregates with FILTER (WHERE ...)", place)
            }
            TableFactor::Table { version: Some(_), .. } => {
                no("FOR SYSTEM_TIME AS OF", "read the table as it is", place)
            }
            TableFactor::Table { sample: Some(_), .. } => no("TABLESAMPLE", "filter by random() < 0.1", place),
            TableFactor::Table { args: Some(args), .. } => {
                for arg in &args.args {
                    let expr = match arg {
                        FunctionArg::Unnamed(FunctionArgExpr::Expr(e))
                        | FunctionArg::Named { arg: FunctionArgExpr::Expr(e), .. }
                        | FunctionArg::ExprNamed { arg: FunctionArgExpr::Expr(e), .. } => e,
                        _ => continue,
                    };
                    let mut inner = expr;
                    while let Expr::Nested(e) = inner {
                        inner = e;
                    }
                    if let Expr::Subquery(query) = inner {
                        self.window_inputs.push(std::ptr::from_ref(query.as_ref()));
                    }
                }
                ControlFlow::Continue(())
            }
            TableFactor::Derived { .. } | TableFactor::Table { .. } => ControlFlow::Continue(()),
            TableFactor::NestedJoin { .. } => no("JOIN", "read one table a query", place),
            TableFactor::TableFunction { .. } => {
                no("this table function", "write TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), ...)) or HOP", place)
            }
            _ => no("this kind of table", "read a table, a view or a subquery", place),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Flow {
        let place = expr_place(expr);
        let subquery = "put the value in as a literal or a variable, or filter in a view";
        match expr {
            Expr::Subquery(query) if !self.window_inputs.iter().any(|q| std::ptr::eq(*q, query.as_ref())) => {
                no("a subquery as a value", subquery, place)
            }
            Expr::InSubquery { .. } | Expr::Exists { .. } => no("a subquery in a condition", subquery, place),
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } if matches!(**right, Expr::Subquery(_)) => {
                no("a subquery in a condition", subquery, place)
            }
            Expr::GroupingSets(_) => {
                no("GROUPING SETS", "write one query for each grouping, and UNION ALL between them", place)
            }
            Expr::Cube(_) | Expr::Rollup(_) => {
                no("CUBE and ROLLUP", "write one query for each grouping, and UNION ALL between them", place)
            }
            Expr::Function(f) if f.over.is_some() => {
                no("OVER", "use GROUP BY with a window", Some(crate::tokens::place(f.name.span())))
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

fn set_operators(body: &SetExpr) -> Flow {
    match body {
        SetExpr::SetOperation { op, left, right, .. } => match op {
            SetOperator::Union => {
                set_operators(left)?;
                set_operators(right)
            }
            other => no(&other.to_string(), "use WHERE conditions, or UNION ALL", at(right.as_ref())),
        },
        SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => ControlFlow::Continue(()),
        other => no("this statement inside a query", "write a SELECT", at(other)),
    }
}
