//! `GROUP BY tumble(ts, size)`, `hop`, `cumulate`, `session(ts, gap)`: rewritten to the table function before planning.
//!
//! ```text
//!   SELECT TUMBLE_START(ts, i), k, COUNT(*) FROM t x GROUP BY TUMBLE(ts, i), k
//!   SELECT window_start AS .., k, COUNT(*) FROM TUMBLE(t, DESCRIPTOR(ts), i) AS x
//!                                          GROUP BY window_start, window_end, window_time, k
//! ```
//!
//! Inside of GROUPING SETS the three columns stand in each set that has the window.
//!
//! Only for one relation in FROM; a join has no single event time. Names that FROM gives to columns are those that the
//! window sees: `FROM t AS x(a, b)` becomes `TUMBLE((SELECT * FROM t AS x(a, b)), ..) AS x`. A session is made of the rows that pass WHERE, and
//! its key is the rest of the GROUP BY, so WHERE moves into the function: `SESSION((SELECT * FROM t WHERE ..), ..)`.

use std::ops::ControlFlow;

use rheos_core::error::{Error, Result, Span};
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArguments, GroupByExpr, Ident,
    ObjectName, Query, Select, SelectItem, SetExpr, Spanned, TableAlias, TableFactor, TableFunctionArgs,
    TableWithJoins, Value, VisitMut, VisitorMut, WildcardAdditionalOptions, visit_expressions, visit_expressions_mut,
};

use crate::ddl::interval_ms;
use crate::tokens::place;
use crate::windows::{BY_GROUP, HIDES_TAKEN, WindowColumn, usage};

/// Rewrites every SELECT of a query.
pub(crate) fn rewrite(query: &mut Query) -> Result<()> {
    struct Rewrite;
    impl VisitorMut for Rewrite {
        type Break = Error;

        // Before its SELECT, which loses the window.
        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
            rewrite_order(query).map_or_else(ControlFlow::Break, ControlFlow::Continue)
        }

        fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
            rewrite_select(select).map_or_else(ControlFlow::Break, ControlFlow::Continue)
        }
    }
    match query.visit(&mut Rewrite) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// The group function in GROUP BY: its name and arguments as written.
struct GroupWindow {
    function: String,
    args: Vec<Expr>,
    at: Span,
}

impl GroupWindow {
    /// Whether a call says the same: `INTERVAL '24' HOUR` is `INTERVAL '1' DAY`. What is no length is told elsewhere.
    fn is(&self, function: &str, args: &[Expr]) -> bool {
        let same = |(given, own): (&Expr, &Expr)| {
            given.to_string() == own.to_string()
                || match (interval_ms(given), interval_ms(own)) {
                    (Ok(given), Ok(own)) => given == own,
                    (_, Err(_)) => matches!(own, Expr::Interval(_)),
                    _ => false,
                }
        };
        self.function == function && self.args.len() == args.len() && args.iter().zip(&self.args).all(same)
    }
}

fn rewrite_select(select: &mut Select) -> Result<()> {
    let GroupByExpr::Expressions(groups, _) = &mut select.group_by else { return Ok(()) };
    let Some(window) = only_window(groups)? else { return Ok(()) };
    *groups = grouped_by_columns(std::mem::take(groups))?;
    let item_names: Vec<_> = select.projection.iter().map(ToString::to_string).collect();
    let hides_taken = !reads_window_columns(select, &window)?;
    rewrite_from(select, &window, hides_taken)?;
    for (item, name) in select.projection.iter_mut().zip(item_names) {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        if auxiliary(expr, &window).is_ok_and(|c| c.is_some()) {
            // `SELECT TUMBLE_START(..)` without an alias keeps what the user would call it.
            let column = name.split('(').next().unwrap_or(&name).to_lowercase();
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::new(column) };
        }
    }
    replace_auxiliaries(&mut select.projection, &window)?;
    replace_auxiliaries(&mut select.having, &window)?;
    replace_auxiliaries(&mut select.qualify, &window)
}

/// The window of a GROUP BY, also where it stands in GROUPING SETS. Errors: there are two, or it cannot stand there.
fn only_window(groups: &[Expr]) -> Result<Option<GroupWindow>> {
    let mut found: Option<GroupWindow> = None;
    for group in groups {
        let sets: Option<&[Vec<Expr>]> = match group {
            Expr::GroupingSets(sets) | Expr::Rollup(sets) | Expr::Cube(sets) => Some(sets),
            _ => None,
        };
        for expr in std::iter::once(group).chain(sets.into_iter().flatten().flatten()) {
            let Some(window) = group_window(expr)? else { continue };
            match &found {
                // Each set of GROUPING SETS names it anew.
                Some(first) if sets.is_some() && first.is(&window.function, &window.args) => {}
                Some(_) => {
                    return Err(Error::invalid(147, "a query is grouped by one window")
                        .with_hint("keep one of the two windows")
                        .with_span(window.at));
                }
                None => found = Some(window),
            }
        }
        let Some(window) = found.as_ref().filter(|_| sets.is_some()) else { continue };
        let what = match group {
            Expr::Cube(sets) if has_window(sets)? => "a window inside of CUBE",
            _ if window.function == "session" => "SESSION beside GROUPING SETS",
            _ => continue,
        };
        let hint = format!("GROUPING SETS can have the columns of a window as a table: {}", usage(&window.function));
        return Err(Error::invalid(142, format!("{what} is not supported yet")).with_hint(hint).with_span(window.at));
    }
    Ok(found)
}

fn has_window(sets: &[Vec<Expr>]) -> Result<bool> {
    let windows = sets.iter().flatten().map(|expr| group_window(expr).map(|w| w.is_some()));
    Ok(windows.collect::<Result<Vec<_>>>()?.contains(&true))
}

/// A GROUP BY with the window's columns in place of the window. ROLLUP takes no tuples, so one with a window is written out.
fn grouped_by_columns(groups: Vec<Expr>) -> Result<Vec<Expr>> {
    let mut kept = Vec::with_capacity(groups.len() + 2);
    for group in groups {
        match group {
            Expr::GroupingSets(sets) => {
                kept.push(Expr::GroupingSets(sets.into_iter().map(window_columns).collect::<Result<_>>()?));
            }
            // Beyond this the sets would be refused anyway.
            Expr::Rollup(parts) if parts.len() < 256 && has_window(&parts)? => {
                let parts = parts.into_iter().map(window_columns).collect::<Result<Vec<_>>>()?;
                kept.push(Expr::GroupingSets((0..=parts.len()).rev().map(|n| parts[..n].concat()).collect()));
            }
            other => kept.extend(window_columns(vec![other])?),
        }
    }
    Ok(kept)
}

fn window_columns(exprs: Vec<Expr>) -> Result<Vec<Expr>> {
    let mut columns = Vec::with_capacity(exprs.len() + 2);
    for expr in exprs {
        match group_window(&expr)? {
            Some(_) => columns.extend(WindowColumn::ALL.iter().map(|c| Expr::Identifier(Ident::new(c.name())))),
            None => columns.push(expr),
        }
    }
    Ok(columns)
}

/// Whether a SELECT reads a column that is called as one of the window's, `TUMBLE_START(window_time, ..)` and its like apart.
fn reads_window_columns(select: &Select, window: &GroupWindow) -> Result<bool> {
    let mut rest = select.clone();
    rest.from.clear();
    // WHERE of a session is evaluated below the window.
    if window.function == "session" {
        rest.selection = None;
    }
    if let GroupByExpr::Expressions(groups, _) = &mut rest.group_by {
        let own = |e: &Expr| matches!(e, Expr::Identifier(i) if is_window_column(&i.value) && i.span.start.line == 0);
        groups.retain(|e| !own(e));
    }
    replace_auxiliaries(&mut rest, window)?;
    let found = visit_expressions(&rest, |expr| {
        let name = match expr {
            Expr::Identifier(name) => Some(name),
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        match name.is_some_and(|name| is_window_column(&name.value) && name.span.start.line > 0) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    let is_all = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    Ok(found.is_break() || rest.projection.iter().any(is_all))
}

fn is_window_column(name: &str) -> bool {
    WindowColumn::ALL.iter().any(|c| c.name().eq_ignore_ascii_case(name))
}

/// `ORDER BY TUMBLE_START(..)` stands outside of the SELECT that is grouped by the window.
fn rewrite_order(query: &mut Query) -> Result<()> {
    let SetExpr::Select(select) = query.body.as_ref() else { return Ok(()) };
    let GroupByExpr::Expressions(groups, _) = &select.group_by else { return Ok(()) };
    match only_window(groups)? {
        Some(window) => replace_auxiliaries(&mut query.order_by, &window),
        None => Ok(()),
    }
}

/// Puts the window's columns where `TUMBLE_START(..)` and its like stand.
fn replace_auxiliaries(nodes: &mut impl VisitMut, window: &GroupWindow) -> Result<()> {
    let outcome = visit_expressions_mut(nodes, |expr: &mut Expr| match auxiliary(expr, window) {
        Ok(None) => ControlFlow::Continue(()),
        Ok(Some(column)) => {
            *expr = Expr::Identifier(Ident::new(column.name()));
            ControlFlow::Continue(())
        }
        Err(error) => ControlFlow::Break(error),
    });
    match outcome {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn call(expr: &Expr) -> Option<(String, Vec<Expr>, Span)> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), over: None, .. }) = expr else {
        return None;
    };
    let arg = |a: &FunctionArg| match a {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
        _ => None,
    };
    Some((name.to_string().to_lowercase(), list.args.iter().filter_map(arg).collect(), place(name.span())))
}

fn group_window(expr: &Expr) -> Result<Option<GroupWindow>> {
    let Some((function, args, at)) = call(expr) else { return Ok(None) };
    let needed = match function.as_str() {
        "tumble" => 2..=3,
        "hop" | "cumulate" => 3..=4,
        "session" => 2..=2,
        _ => return Ok(None),
    };
    if needed.contains(&args.len()) {
        return Ok(Some(GroupWindow { function, args, at }));
    }
    Err(Error::invalid(147, format!("{function} in GROUP BY takes {} arguments", needed.start()))
        .with_hint(group_usage(&function))
        .with_span(at))
}

/// How a window is written in GROUP BY.
fn group_usage(function: &str) -> &'static str {
    match function {
        "hop" => "write GROUP BY hop(ts, INTERVAL '5' MINUTE, INTERVAL '1' HOUR): slide, then size",
        "cumulate" => "write GROUP BY cumulate(ts, INTERVAL '1' HOUR, INTERVAL '1' DAY): step, then size",
        "session" => "write GROUP BY session(ts, INTERVAL '10' MINUTE)",
        _ => "write GROUP BY tumble(ts, INTERVAL '1' HOUR)",
    }
}

/// For `tumble`, `session_start` and their like: how their window is written in GROUP BY. `None`: another function.
pub(crate) fn usage_of(function: &str) -> Option<&'static str> {
    let (window, part) = function.split_once('_').unwrap_or((function, ""));
    let known = ["tumble", "hop", "cumulate", "session"].contains(&window)
        && ["", "start", "end", "time", "rowtime", "proctime"].contains(&part);
    known.then(|| group_usage(window))
}

/// The window column that `TUMBLE_START(..)` and its like stand for. Errors: other arguments than in GROUP BY.
fn auxiliary(expr: &Expr, window: &GroupWindow) -> Result<Option<WindowColumn>> {
    let Some((name, args, at)) = call(expr) else { return Ok(None) };
    let suffix = match name.strip_prefix(&window.function) {
        Some(suffix) => suffix,
        None => return Ok(None),
    };
    let column = match suffix {
        "" | "_start" => WindowColumn::Start,
        "_end" => WindowColumn::End,
        "_rowtime" | "_time" => WindowColumn::Time,
        "_proctime" => {
            return Err(Error::invalid(142, format!("{} is not supported yet", name.to_uppercase()))
                .with_hint(format!(
                    "{0}_END gives the end of the window, and {0}_ROWTIME its time",
                    window.function.to_uppercase()
                ))
                .with_span(at));
        }
        _ => return Ok(None),
    };
    let text = |exprs: &[Expr]| exprs.iter().map(ToString::to_string).collect::<Vec<_>>();
    if args.is_empty() || window.is(&window.function, &args) {
        return Ok(Some(column));
    }
    Err(Error::invalid(147, format!("{name} has other arguments than the window in GROUP BY"))
        .with_hint(format!("write {name}({})", text(&window.args).join(", ")))
        .with_span(at))
}

/// Whether FROM gives the columns names: `t AS x(a, b)`.
fn renames(select: &Select) -> bool {
    matches!(select.from.as_slice(), [TableWithJoins {
        relation:
            TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. },
        ..
    }] if !alias.columns.is_empty())
}

/// The relation as a query of its own; with the query's WHERE, which it loses then, if that is `filtered` below.
fn subquery(select: &mut Select, filtered: bool) -> Query {
    let condition = if filtered { select.selection.take() } else { None };
    let mut inner = select.clone();
    inner.projection = vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())];
    inner.selection = condition;
    inner.group_by = GroupByExpr::Expressions(vec![], vec![]);
    inner.having = None;
    inner.qualify = None;
    inner.distinct = None;
    Query {
        with: None,
        body: Box::new(SetExpr::Select(Box::new(inner))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: vec![],
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: vec![],
    }
}

fn rewrite_from(select: &mut Select, window: &GroupWindow, hides_taken: bool) -> Result<()> {
    let is_session = window.function == "session";
    let is_filtered = is_session && select.selection.is_some();
    let inner = (is_filtered || renames(select)).then(|| subquery(select, is_filtered));
    let refuse = |what: &str| {
        Err(Error::invalid(147, what.to_string())
            .with_hint(format!("use the window as a table: {}", usage(&window.function)))
            .with_span(window.at))
    };
    let [from] = select.from.as_mut_slice() else {
        return refuse("a window in GROUP BY needs exactly one table in FROM");
    };
    if !from.joins.is_empty() {
        return refuse("a window in GROUP BY needs exactly one table in FROM");
    }
    let (data, alias) = match &from.relation {
        TableFactor::Table { name, alias, args: None, .. } => {
            let parts: Vec<_> = name.0.iter().filter_map(|p| p.as_ident().cloned()).collect();
            let own = parts.last().cloned();
            let data = match parts.as_slice() {
                [single] => Expr::Identifier(single.clone()),
                _ => Expr::CompoundIdentifier(parts),
            };
            (data, alias.clone().or_else(|| own.map(named)))
        }
        TableFactor::Derived { lateral: false, subquery, alias, .. } => {
            (Expr::Subquery(subquery.clone()), alias.clone())
        }
        _ => return refuse("a window in GROUP BY needs a table, a view or a subquery in FROM"),
    };
    let (time, intervals) = match window.args.split_first() {
        Some((time, intervals)) => (time.clone(), intervals.to_vec()),
        None => return refuse("the window has no arguments"),
    };
    let data = inner.map_or(data, |query| Expr::Subquery(Box::new(query)));
    // The names of columns, if any, are given inside.
    let alias = alias.map(|alias| TableAlias { columns: vec![], ..alias });
    let args = [data, time].into_iter().chain(intervals);
    let mut args: Vec<_> = args.map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    for (name, _) in [(BY_GROUP, is_session), (HIDES_TAKEN, hides_taken)].into_iter().filter(|mark| mark.1) {
        args.push(FunctionArg::Named {
            name: Ident::new(name),
            arg: FunctionArgExpr::Expr(Expr::value(Value::Boolean(true))),
            operator: FunctionArgOperator::RightArrow,
        });
    }
    let name = Ident { value: window.function.clone(), quote_style: None, span: sql_span(window.at) };
    let mut relation = crate::windows::bare_table(ObjectName::from(vec![name]));
    if let TableFactor::Table { alias: a, args: slot, .. } = &mut relation {
        *a = alias;
        *slot = Some(TableFunctionArgs { args, settings: None });
    }
    from.relation = relation;
    Ok(())
}

fn named(name: Ident) -> TableAlias {
    TableAlias { explicit: true, name, columns: vec![], at: None }
}

fn sql_span(at: Span) -> sqlparser::tokenizer::Span {
    use sqlparser::tokenizer::{Location, Span as TokenSpan};
    TokenSpan::new(Location::new(at.line, at.column), Location::new(at.end_line, at.end_column))
}
