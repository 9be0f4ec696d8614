//! The names of a SELECT's columns: an expression is called as it is written, and the second of two columns that would
//! have the same name gets `_1`, as it does when rows are printed.
//!
//! DataFusion calls a column `sum(t.x + Int64(1))` and refuses equal names, but `SELECT a, a` and `SELECT *, a` are fine
//! SQL. Runs behind the group windows, so that what those put in is seen too.

use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Ident, Query, Select, SelectItem, VisitMut, VisitorMut, WildcardAdditionalOptions};

/// Gives every repeated column of every SELECT a name of its own.
pub(crate) fn rewrite(query: &mut Query) {
    struct Rewrite;
    impl VisitorMut for Rewrite {
        type Break = ();

        fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
            rename(select);
            ControlFlow::Continue(())
        }
    }
    let _ = query.visit(&mut Rewrite);
}

fn rename(select: &mut Select) {
    // There is one table in FROM, so `*` gives all columns that a plain name could mean.
    let all = select.projection.iter().any(|item| match item {
        SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) => is_plain(options),
        _ => false,
    });
    let mut seen = HashSet::new();
    for item in &mut select.projection {
        let (expr, name) = match item {
            SelectItem::UnnamedExpr(expr) => (expr.clone(), name(expr)),
            SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), alias.value.clone()),
            _ => continue,
        };
        let is_repeated = all && matches!(item, SelectItem::UnnamedExpr(e) if is_column(e));
        if seen.insert(name.clone()) && !is_repeated {
            if matches!(item, SelectItem::UnnamedExpr(e) if !is_column(e)) {
                *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
            }
            continue;
        }
        let mut n = 1;
        while !seen.insert(format!("{name}_{n}")) {
            n += 1;
        }
        *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', format!("{name}_{n}")) };
    }
}

fn is_plain(options: &WildcardAdditionalOptions) -> bool {
    options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_rename.is_none()
        && options.opt_replace.is_none()
        && options.opt_ilike.is_none()
}

fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}

fn name(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(name) => name.value.clone(),
        Expr::CompoundIdentifier(parts) => parts.last().map_or_else(String::new, |p| p.value.clone()),
        // The quotes may come from a name that was mended.
        other => other.to_string().replace('"', ""),
    }
}
