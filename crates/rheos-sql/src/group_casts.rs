//! `GROUP BY CAST(v AS INT), CAST(v AS DOUBLE)`: two keys. DataFusion leaves casts out of names, so both are called `v`, and
//! it refuses the query; here the second becomes `coalesce(CAST(v AS DOUBLE))`, which is the same value under a name of its
//! own. The optimizer takes the call away again. `v` and `t.v` are told apart by nobody either, so they count as one name.

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, GroupByExpr, Ident,
    ObjectName, Query, Select, SelectItem, SetExpr, Value, VisitMut, VisitorMut, visit_expressions_mut,
};

/// Gives keys that differ in their casts only names of their own, in every SELECT and its ORDER BY.
pub(crate) fn rewrite(query: &mut Query) {
    struct Rewrite;
    impl VisitorMut for Rewrite {
        type Break = ();

        fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            if let SetExpr::Select(select) = query.body.as_mut() {
                let calls = calls(select);
                if !calls.is_empty() {
                    wrap(&mut select.projection, &calls);
                    wrap(&mut select.group_by, &calls);
                    wrap(&mut select.having, &calls);
                    wrap(&mut select.qualify, &calls);
                    wrap(&mut query.order_by, &calls);
                }
            }
            ControlFlow::Continue(())
        }
    }
    let _ = query.visit(&mut Rewrite);
}

/// The keys whose names are taken, as they are written, and how many calls around them give a free one.
fn calls(select: &Select) -> HashMap<String, usize> {
    let GroupByExpr::Expressions(keys, _) = &select.group_by else { return HashMap::new() };
    let mut seen: HashMap<String, Vec<String>> = HashMap::new();
    let mut calls = HashMap::new();
    for key in keys.iter().flat_map(alone).filter_map(|key| meant(key, select)) {
        let same = seen.entry(without_casts(key)).or_default();
        let text = key.to_string();
        if same.contains(&text) {
            continue;
        }
        // A bare column has to keep its name.
        if !same.is_empty() && !matches!(key, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
            calls.insert(text.clone(), same.len());
        }
        same.push(text);
    }
    calls
}

/// The keys of GROUPING SETS, ROLLUP and CUBE; any other key itself.
fn alone(key: &Expr) -> Vec<&Expr> {
    match key {
        Expr::GroupingSets(sets) | Expr::Rollup(sets) | Expr::Cube(sets) => sets.iter().flatten().collect(),
        key => vec![key],
    }
}

/// The expression that a key stands for: itself, the item of its number, or the one that has its name.
fn meant<'s>(key: &'s Expr, select: &'s Select) -> Option<&'s Expr> {
    let item = |item: &'s SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    };
    match key {
        Expr::Value(value) => match &value.value {
            Value::Number(n, _) => item(select.projection.get(n.parse::<usize>().ok()?.checked_sub(1)?)?),
            _ => None,
        },
        Expr::Identifier(name) => {
            let named =
                |i: &&SelectItem| matches!(i, SelectItem::ExprWithAlias { alias, .. } if alias.value == name.value);
            select.projection.iter().find(named).and_then(item).or(Some(key))
        }
        _ => Some(key),
    }
}

fn without_casts(expr: &Expr) -> String {
    let mut bare = expr.clone();
    let _ = visit_expressions_mut(&mut bare, |e| {
        if let Expr::Cast { expr, .. } = e {
            *e = expr.as_ref().clone();
        }
        if let Expr::CompoundIdentifier(parts) = e
            && parts.len() == 2
            && let Some(name) = parts.pop()
        {
            *e = Expr::Identifier(name);
        }
        ControlFlow::<()>::Continue(())
    });
    bare.to_string()
}

/// Puts the calls around the keys, wherever they are used.
fn wrap(nodes: &mut impl VisitMut, calls: &HashMap<String, usize>) {
    let _ = visit_expressions_mut(nodes, |expr| {
        for _ in 0..calls.get(&expr.to_string()).copied().unwrap_or_default() {
            *expr = coalesce(expr.clone());
        }
        ControlFlow::<()>::Continue(())
    });
}

fn coalesce(value: Expr) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new("coalesce")]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(value))],
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}
