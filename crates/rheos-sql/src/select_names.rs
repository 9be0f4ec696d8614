//! The names of a SELECT's columns: an expression is called as it is written, and the second of two columns that would
//! have the same name gets `_1`, as it does when rows are printed.
//!
//! DataFusion calls a column `sum(t.x + Int64(1))` and refuses equal names, but `SELECT a, a` and `SELECT *, a` are fine
//! SQL. Runs behind the group windows, so that what those put in is seen too.

use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Ident, ObjectName, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, TableFactor, VisitMut,
    VisitorMut, WildcardAdditionalOptions,
};

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
    let is_single = select.from.len() == 1 && select.from[0].joins.is_empty();
    // `*` gives all columns that a name could mean, and `t.*` those of t.
    let mut all = false;
    let mut qualifiers = HashSet::new();
    for item in &select.projection {
        match item {
            SelectItem::Wildcard(options) => all |= is_plain(options),
            SelectItem::QualifiedWildcard(_, options) if is_single => all |= is_plain(options),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(table), options)
                if is_plain(options) =>
            {
                qualifiers.insert(table.to_string());
            }
            _ => {}
        }
    }
    let relations = relations(select);
    let mut seen = HashSet::new();
    for item in &mut select.projection {
        let (expr, name) = match item {
            SelectItem::UnnamedExpr(expr) => (expr.clone(), name(expr)),
            SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), alias.value.clone()),
            _ => continue,
        };
        let is_repeated = matches!(item, SelectItem::UnnamedExpr(e)
            if is_column(e) && (all || qualifier(e).is_some_and(|q| qualifiers.contains(&q))));
        if seen.insert(name.clone()) && !is_repeated {
            // `bid.price` is a field where no relation is called `bid`, and is called `price` all the same.
            let is_field = matches!(item, SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts))
                if parts.len() > 2 || !relations.contains(&parts[0].value.to_lowercase()));
            if is_field || matches!(item, SelectItem::UnnamedExpr(e) if !is_column(e)) {
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

/// The names of what FROM reads, in lower case.
pub(crate) fn relations(select: &Select) -> HashSet<String> {
    spelled(select).into_iter().map(|name| name.to_lowercase()).collect()
}

/// The names of the relations that a SELECT reads from, as FROM spells them.
pub(crate) fn spelled(select: &Select) -> HashSet<String> {
    let all = select.from.iter().flat_map(|f| std::iter::once(&f.relation).chain(f.joins.iter().map(|j| &j.relation)));
    let mut names = HashSet::new();
    for relation in all {
        let (name, alias) = match relation {
            TableFactor::Table { name, alias, .. } => (name.0.last().map(ToString::to_string), alias),
            TableFactor::Derived { alias, .. } | TableFactor::UNNEST { alias, .. } => (None, alias),
            TableFactor::NestedJoin { alias, .. } => (None, alias),
            _ => continue,
        };
        let name = alias.as_ref().map(|a| a.name.value.clone()).or(name);
        names.extend(name.map(|n| n.trim_matches(['"', '`']).to_string()));
    }
    names
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

fn qualifier(expr: &Expr) -> Option<String> {
    match expr {
        Expr::CompoundIdentifier(parts) => parts.split_last().map(|(_, q)| ObjectName::from(q.to_vec()).to_string()),
        _ => None,
    }
}

fn name(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(name) => name.value.clone(),
        Expr::CompoundIdentifier(parts) => parts.last().map_or_else(String::new, |p| p.value.clone()),
        // The quotes may come from a name that was mended.
        other => other.to_string().replace('"', ""),
    }
}
