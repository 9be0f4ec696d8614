//! What a query may contain and Rheos cannot do yet: refused by its name, at its place, before anything is planned.
//!
//! Absent: what depends on whether the input ends (`GROUP BY` without a window, `ORDER BY`, `LIMIT`, `DISTINCT`); that is
//! known only when the plan is lowered.

use std::ops::ControlFlow;

use rheos_core::error::{Error, Result, Span};
use sqlparser::ast::{
    BinaryOperator, Distinct, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, GroupByExpr, Join, JoinConstraint, JoinOperator, LambdaFunction, Query, Select, SetExpr,
    SetOperator, Spanned, TableFactor, Visit, Visitor, WindowType,
};

use crate::catalog::{higher_order_functions, is_scalar};
use crate::ddl::expr_place;
use crate::ranking::RANKING;
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
    /// Lambdas that are arguments of a function over lambdas. Compared, never followed.
    lambdas: Vec<*const LambdaFunction>,
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
        for join in select.from.iter().flat_map(|f| &f.joins) {
            joinable(join)?;
        }
        if let Some(Distinct::On(exprs)) = &select.distinct {
            return no("DISTINCT ON", "use FIRST_VALUE(...) with GROUP BY", exprs.first().and_then(expr_place));
        }
        let clauses: [(&str, Option<Option<Span>>); 7] = [
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
            TableFactor::UNNEST { with_offset: true, .. } => {
                no("UNNEST ... WITH OFFSET", "write WITH ORDINALITY, which counts from 1", place)
            }
            TableFactor::Derived { sample: Some(_), .. } => no("TABLESAMPLE", "filter by random() < 0.1", place),
            TableFactor::Derived { .. } | TableFactor::Table { .. } | TableFactor::UNNEST { .. } => {
                ControlFlow::Continue(())
            }
            TableFactor::NestedJoin { table_with_joins, .. } => table_with_joins.joins.iter().try_for_each(joinable),
            TableFactor::TableFunction { .. } => {
                no("this table function", "write TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), ...)) or HOP", place)
            }
            _ => no("this kind of table", "read a table, a view or a subquery", place),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Flow {
        let place = expr_place(expr);
        match expr {
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } if matches!(**right, Expr::Subquery(_)) => {
                no("ANY and ALL of a subquery", "compare with (SELECT max(...) FROM ...), or use IN or EXISTS", place)
            }
            Expr::InSubquery { expr: left, negated, .. } if is_row(left) => {
                let not = if *negated { "NOT " } else { "" };
                let hint = format!("write {not}EXISTS (SELECT 1 FROM b WHERE b.x = a.x AND b.y = a.y)");
                no("IN of several columns and a subquery", &hint, place)
            }
            Expr::BinaryOp { left, right, .. }
                if (is_row(left) && is_subquery(right)) || (is_subquery(left) && is_row(right)) =>
            {
                let hint = "write EXISTS (SELECT 1 FROM b WHERE b.x = a.x AND b.y = a.y)";
                no("a comparison of several columns with a subquery", hint, place)
            }
            Expr::Function(f) if f.over.is_some() => {
                let at = Some(crate::tokens::place(f.name.span()));
                let name = f.name.to_string().to_lowercase();
                if !RANKING.contains(&name.as_str()) {
                    let hint = "use GROUP BY with a window; ROW_NUMBER, RANK and DENSE_RANK are there";
                    return no(&format!("{}(...) OVER", name.to_uppercase()), hint, at);
                }
                match &f.over {
                    Some(WindowType::WindowSpec(spec)) if spec.window_frame.is_some() => {
                        no("a frame (ROWS or RANGE) of a ranking function", "take the frame away", at)
                    }
                    _ => ControlFlow::Continue(()),
                }
            }
            Expr::Function(f) => {
                only_of_aggregates(f)?;
                self.note_lambdas(f)
            }
            Expr::Lambda(lambda) if !self.lambdas.iter().any(|l| std::ptr::eq(*l, lambda)) => misplaced_lambda(lambda),
            Expr::BinaryOp { op: BinaryOperator::Arrow, .. } => {
                no("an operator on JSON", "declare the column as ROW<...> and read its fields: column.field", place)
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Whether an expression puts several values together, as `(a, b)` and `ROW(a, b)` do.
fn is_row(expr: &Expr) -> bool {
    match expr {
        Expr::Tuple(_) => true,
        Expr::Nested(inner) => is_row(inner),
        Expr::Function(f) => f.name.to_string().eq_ignore_ascii_case("row"),
        _ => false,
    }
}

fn is_subquery(expr: &Expr) -> bool {
    match expr {
        Expr::Subquery(_) => true,
        Expr::Nested(inner) => is_subquery(inner),
        _ => false,
    }
}

/// Errors: FILTER, DISTINCT or an order in the call of a function of single rows, which would not be heard.
fn only_of_aggregates(function: &Function) -> Flow {
    let name = function.name.to_string().to_lowercase();
    if !is_scalar(&name) || function.over.is_some() {
        return ControlFlow::Continue(());
    }
    let list = match &function.args {
        FunctionArguments::List(list) => Some(list),
        _ => None,
    };
    let distinct = list.is_some_and(|l| l.duplicate_treatment == Some(DuplicateTreatment::Distinct));
    let ordered = list.is_some_and(|l| l.clauses.iter().any(|c| matches!(c, FunctionArgumentClause::OrderBy(_))));
    let clause = match () {
        () if function.filter.is_some() => "FILTER (WHERE ...)",
        () if distinct => "DISTINCT",
        () if ordered => "ORDER BY",
        () if !function.within_group.is_empty() => "WITHIN GROUP",
        () => return ControlFlow::Continue(()),
    };
    let error = Error::invalid(134, format!("{clause} is for aggregates, and {name} is none"))
        .with_hint("take it away, or aggregate the function's results");
    ControlFlow::Break(error.with_span(place(function.name.span())))
}

fn joinable(join: &Join) -> Flow {
    use JoinConstraint::None as NoCondition;
    use JoinOperator as On;
    let place = at(&join.relation);
    match &join.join_operator {
        On::AsOf { .. } => no("ASOF JOIN", "join windows", place),
        On::CrossApply | On::OuterApply | On::ArrayJoin | On::LeftArrayJoin | On::InnerArrayJoin => {
            no("APPLY", "write CROSS JOIN UNNEST(...)", place)
        }
        On::StraightJoin(_) => no("STRAIGHT_JOIN", "write JOIN", place),
        On::Join(NoCondition)
        | On::Inner(NoCondition)
        | On::Left(NoCondition)
        | On::LeftOuter(NoCondition)
        | On::Right(NoCondition)
        | On::RightOuter(NoCondition)
        | On::FullOuter(NoCondition) => {
            let error = Error::invalid(101, "this JOIN has no condition")
                .with_hint("write ON and a condition, USING (column), or CROSS JOIN for all pairs of rows");
            ControlFlow::Break(match place {
                Some(at) => error.with_span(at),
                None => error,
            })
        }
        _ => ControlFlow::Continue(()),
    }
}

impl Refuse {
    /// Notes the lambdas of a function that takes some. Errors: it takes one and gets none.
    fn note_lambdas(&mut self, function: &Function) -> Flow {
        let name = function.name.to_string().to_lowercase();
        let all = higher_order_functions();
        if !all.iter().any(|f| f.name() == name || f.aliases().contains(&name)) {
            return ControlFlow::Continue(());
        }
        let before = self.lambdas.len();
        if let FunctionArguments::List(list) = &function.args {
            for arg in &list.args {
                if let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Lambda(lambda))) = arg {
                    self.lambdas.push(std::ptr::from_ref(lambda));
                }
            }
        }
        if self.lambdas.len() > before {
            return ControlFlow::Continue(());
        }
        let error = Error::invalid(134, format!("{name} needs a lambda"))
            .with_hint(format!("write it as {name}([1, 2, 3], x -> x > 1)"));
        ControlFlow::Break(error.with_span(place(function.name.span())))
    }
}

fn misplaced_lambda(lambda: &LambdaFunction) -> Flow {
    let error = Error::invalid(134, "a lambda (x -> ...) cannot stand here").with_hint(
        "functions such as array_filter([1, 2, 3], x -> x > 1) take one; on JSON write doc -> 'name' or doc -> 0",
    );
    ControlFlow::Break(match lambda.params.first() {
        Some(first) => error.with_span(place(first.name.span)),
        None => error,
    })
}

fn set_operators(body: &SetExpr) -> Flow {
    match body {
        SetExpr::SetOperation { op, left, right, .. } => match op {
            SetOperator::Union | SetOperator::Intersect | SetOperator::Except => {
                set_operators(left)?;
                set_operators(right)
            }
            other => no(&other.to_string(), "use WHERE conditions, or UNION ALL", at(right.as_ref())),
        },
        SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => ControlFlow::Continue(()),
        SetExpr::Insert(_) => {
            no("WITH before INSERT", "write INSERT INTO t WITH x AS (...) SELECT ..., or make x a view", at(body))
        }
        other => no("this statement inside a query", "write a SELECT", at(other)),
    }
}
