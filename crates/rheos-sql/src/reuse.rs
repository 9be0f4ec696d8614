//! Costly expressions that a WHERE computes for its rows, and the step above it once more: computed once.
//!
//! ```text
//!   project  auction, f(url) AS id                         project  auction, id
//!     filter  price > 5 AND f(url) IS NOT NULL      ──►      filter  id IS NOT NULL
//!       rows  auction, price, url                              project  auction, f(url) AS id
//!                                                                filter  price > 5
//!                                                                  rows  auction, price, url
//! ```
//!
//! DataFusion's elimination of common expressions looks at one node at a time, and its other rules put an expression into
//! every place that reads it: so this runs behind them. That `url` is not copied for the rows that pass is a part of the gain.
//! Absent: a window, a join or a sort between the two.
//!
//! Invariant: an expression is computed for no row for which it was not computed before. So it moves only where the condition
//! evaluates it for each row that it sees, and the conditions that are evaluated before it stay before it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, Result as DfResult};
use datafusion_expr::utils::{conjunction, split_conjunction};
use datafusion_expr::{Aggregate, Expr, Filter, LogicalPlan, Operator, Projection};

use crate::lower::safest_first;

/// Beginnings of the names of functions that cost more than a copy of their result.
const COSTLY: [&str; 14] = [
    "date_format",
    "digest",
    "json",
    "levenshtein",
    "md5",
    "parse_url",
    "regexp",
    "replace",
    "sha",
    "split_",
    "to_char",
    "to_json",
    "translate",
    "url_",
];

/// Makes a plan compute costly expressions once that a condition and the step above it share.
pub(crate) fn reuse(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    plan.transform_up(|node| match reused(&node)? {
        Some(new) => Ok(Transformed::yes(new)),
        None => Ok(Transformed::no(node)),
    })
    .data()
}

fn reused(upper: &LogicalPlan) -> DfResult<Option<LogicalPlan>> {
    let (exprs, input) = match upper {
        LogicalPlan::Projection(projection) => (projection.expr.clone(), &projection.input),
        LogicalPlan::Aggregate(a) if !matches!(a.group_expr.as_slice(), [Expr::GroupingSet(_)]) => {
            (a.group_expr.iter().chain(&a.aggr_expr).cloned().collect(), &a.input)
        }
        _ => return Ok(None),
    };
    if !exprs.iter().any(is_costly) {
        return Ok(None);
    }
    let Some((filter, columns)) = filter_below(input)? else { return Ok(None) };
    let exprs = exprs.into_iter().map(|e| over(e, input.schema(), &columns)).collect::<DfResult<Vec<_>>>()?;
    let Some((exprs, input)) = computed_once(exprs, filter)? else { return Ok(None) };
    Ok(Some(match upper {
        LogicalPlan::Aggregate(a) => {
            let mut groups = exprs;
            let aggregates = groups.split_off(a.group_expr.len());
            let (input, schema) = (Arc::new(input), Arc::clone(&a.schema));
            LogicalPlan::Aggregate(Aggregate::try_new_with_schema(input, groups, aggregates, schema)?)
        }
        _ => {
            let named = exprs.into_iter().zip(upper.schema().iter()).map(|(expr, (relation, field))| match &expr {
                Expr::Column(c) if c.relation.as_ref() == relation && c.name == *field.name() => expr,
                _ => expr.unalias().alias_qualified(relation.cloned(), field.name()),
            });
            LogicalPlan::Projection(Projection::try_new(named.collect(), Arc::new(input))?)
        }
    }))
}

/// The filter below steps that only name columns anew, and for each column of `plan` the filter's.
fn filter_below(plan: &LogicalPlan) -> DfResult<Option<(&Filter, Vec<Column>)>> {
    let (input, columns) = match plan {
        // What keeps the first rows of a partition is told by the filter right above.
        LogicalPlan::Filter(filter) if matches!(filter.input.as_ref(), LogicalPlan::Window(_)) => return Ok(None),
        LogicalPlan::Filter(filter) => return Ok(Some((filter, plan.schema().columns()))),
        LogicalPlan::SubqueryAlias(alias) => (&alias.input, alias.input.schema().columns()),
        LogicalPlan::Projection(projection) => {
            let plain = projection.expr.iter().map(|e| e.clone().unalias().try_as_col().cloned());
            let Some(columns) = plain.collect::<Option<Vec<_>>>() else { return Ok(None) };
            (&projection.input, columns)
        }
        _ => return Ok(None),
    };
    let Some((filter, below)) = filter_below(input)? else { return Ok(None) };
    let schema = input.schema();
    let columns = columns.iter().map(|c| Ok(below[schema.index_of_column(c)?].clone())).collect::<DfResult<_>>()?;
    Ok(Some((filter, columns)))
}

/// An expression over `schema` as one over the columns that are below in their places.
fn over(expr: Expr, schema: &DFSchema, columns: &[Column]) -> DfResult<Expr> {
    expr.transform_up(|e| match &e {
        Expr::Column(column) => Ok(Transformed::yes(Expr::Column(columns[schema.index_of_column(column)?].clone()))),
        _ => Ok(Transformed::no(e)),
    })
    .data()
}

/// An expression that is computed, and the column that it is from there on.
type Known = Vec<(Expr, Column)>;

/// The filter with the shared expressions computed below its condition, and `exprs` over its columns. `None`: nothing is
/// shared.
fn computed_once(mut exprs: Vec<Expr>, filter: &Filter) -> DfResult<Option<(Vec<Expr>, LogicalPlan)>> {
    let mut plan = filter.input.as_ref().clone();
    let mut known = computed_below(&exprs, &plan)?;
    exprs = replaced(exprs, &known)?;
    let condition = safest_first(&filter.predicate);
    let mut conjuncts: VecDeque<Expr> = split_conjunction(&condition).into_iter().cloned().collect();
    if !known.is_empty() {
        plan = narrowed(plan, &exprs, &conjuncts)?;
    }
    let mut open: Vec<Expr> = vec![];
    while let Some(conjunct) = conjuncts.pop_front() {
        let new = names(shared(&exprs, &conjunct), &exprs, plan.schema());
        if new.is_empty() {
            open.push(conjunct);
            continue;
        }
        if let Some(before) = conjunction(std::mem::take(&mut open)) {
            plan = LogicalPlan::Filter(Filter::try_new(before, Arc::new(plan))?);
        }
        exprs = replaced(exprs, &new)?;
        conjuncts.push_front(conjunct);
        conjuncts = replaced(conjuncts, &new)?;
        let read = reads(&exprs, &conjuncts);
        let kept = plan.schema().columns().into_iter().filter(|c| read.contains(c)).map(Expr::Column);
        let columns = kept.chain(new.iter().map(|(expr, column)| expr.clone().alias(&column.name))).collect();
        plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?);
        known.extend(new);
    }
    if known.is_empty() {
        return Ok(None);
    }
    if let Some(last) = conjunction(open) {
        plan = LogicalPlan::Filter(Filter::try_new(last, Arc::new(plan))?);
    }
    Ok(Some((exprs, plan)))
}

/// The columns that are still read.
fn reads<'e>(exprs: &'e [Expr], conjuncts: &'e VecDeque<Expr>) -> HashSet<&'e Column> {
    exprs.iter().chain(conjuncts).flat_map(Expr::column_refs).collect()
}

/// A projection without the columns that nothing reads any more.
fn narrowed(plan: LogicalPlan, exprs: &[Expr], conjuncts: &VecDeque<Expr>) -> DfResult<LogicalPlan> {
    let LogicalPlan::Projection(projection) = plan else { return Ok(plan) };
    let read = reads(exprs, conjuncts);
    let columns = projection.schema.columns();
    let kept = projection.expr.iter().zip(&columns).filter(|(_, column)| read.contains(column));
    let kept = kept.map(|(expr, _)| expr.clone()).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(kept, projection.input)?))
}

/// Expressions with what is known as columns.
fn replaced<E: FromIterator<Expr> + IntoIterator<Item = Expr>>(exprs: E, known: &Known) -> DfResult<E> {
    let known = |e: Expr| match known.iter().find(|(expr, _)| *expr == e) {
        Some((_, column)) => Ok(Transformed::new(Expr::Column(column.clone()), true, TreeNodeRecursion::Jump)),
        None => Ok(Transformed::no(e)),
    };
    exprs.into_iter().map(|expr| expr.transform_down(known).data()).collect()
}

/// What `exprs` compute of what the filter's input has computed already, for the filter's condition.
fn computed_below(exprs: &[Expr], input: &LogicalPlan) -> DfResult<Known> {
    let LogicalPlan::Projection(projection) = input else { return Ok(vec![]) };
    let below = projection.schema.columns();
    let definitions = projection.expr.iter().map(|e| e.clone().unalias());
    let computed: Vec<_> = definitions.clone().zip(&below).filter(|(e, _)| may_move(e)).collect();
    if computed.is_empty() {
        return Ok(vec![]);
    }
    let plain: HashMap<Column, Expr> =
        definitions.zip(&below).filter_map(|(e, c)| Some((e.try_as_col()?.clone(), Expr::Column(c.clone())))).collect();
    let mut known = vec![];
    for (expr, column) in computed {
        // The definition over the columns that the projection hands on.
        if expr.column_refs().iter().all(|c| plain.contains_key(c)) {
            let over = expr.transform_up(|e| match &e {
                Expr::Column(c) => {
                    Ok(plain.get(c).map_or_else(|| Transformed::no(e.clone()), |to| Transformed::yes(to.clone())))
                }
                _ => Ok(Transformed::no(e)),
            });
            known.push((over.data()?, column.clone()));
        }
    }
    known.retain(|(expr, _)| exprs.iter().any(|e| e.exists(|part| Ok(part == expr)).unwrap_or(false)));
    Ok(known)
}

/// The largest costly parts of `exprs` that `condition` computes for every row that it sees.
fn shared(exprs: &[Expr], condition: &Expr) -> Vec<Expr> {
    let mut computed = HashSet::new();
    surely_computed(condition, &mut computed);
    let mut shared: Vec<Expr> = vec![];
    if computed.is_empty() {
        return shared;
    }
    for expr in exprs {
        let visited = expr.apply(|e| {
            if !computed.contains(e) {
                return Ok(TreeNodeRecursion::Continue);
            }
            if !shared.contains(e) {
                shared.push(e.clone());
            }
            Ok(TreeNodeRecursion::Jump)
        });
        debug_assert!(visited.is_ok(), "the walk has no errors of its own");
    }
    shared
}

/// Adds the costly parts of `expr` that are computed for every row for which `expr` is.
fn surely_computed<'e>(expr: &'e Expr, found: &mut HashSet<&'e Expr>) {
    if may_move(expr) {
        found.insert(expr);
    }
    match expr {
        // The other side, the other branches and the other items may see fewer rows.
        Expr::BinaryExpr(e) if matches!(e.op, Operator::And | Operator::Or) => surely_computed(&e.left, found),
        Expr::BinaryExpr(e) => [&e.left, &e.right].into_iter().for_each(|e| surely_computed(e, found)),
        Expr::Case(case) => {
            let first = case.when_then_expr.first().map(|(when, _)| when);
            if let Some(first) = case.expr.as_ref().or(first) {
                surely_computed(first, found);
            }
        }
        Expr::Between(e) => surely_computed(&e.expr, found),
        Expr::InList(e) => surely_computed(&e.expr, found),
        Expr::Like(e) | Expr::SimilarTo(e) => [&e.expr, &e.pattern].into_iter().for_each(|e| surely_computed(e, found)),
        Expr::Cast(e) => surely_computed(&e.expr, found),
        Expr::TryCast(e) => surely_computed(&e.expr, found),
        Expr::ScalarFunction(call) if !call.func.short_circuits() => {
            call.args.iter().for_each(|e| surely_computed(e, found))
        }
        Expr::Alias(alias) => surely_computed(&alias.expr, found),
        Expr::Not(e)
        | Expr::IsNotNull(e)
        | Expr::IsNull(e)
        | Expr::IsTrue(e)
        | Expr::IsFalse(e)
        | Expr::IsUnknown(e)
        | Expr::IsNotTrue(e)
        | Expr::IsNotFalse(e)
        | Expr::IsNotUnknown(e)
        | Expr::Negative(e) => surely_computed(e, found),
        _ => {}
    }
}

/// Whether it pays to keep the values of an expression, and its values are the same wherever it is computed.
fn may_move(expr: &Expr) -> bool {
    let is_condition = matches!(expr, Expr::BinaryExpr(e) if matches!(e.op, Operator::And | Operator::Or));
    !is_condition && is_costly(expr) && !expr.is_volatile()
}

fn is_costly(expr: &Expr) -> bool {
    use Operator::{RegexIMatch, RegexMatch, RegexNotIMatch, RegexNotMatch};
    let costly = |e: &Expr| match e {
        Expr::ScalarFunction(call) => COSTLY.iter().any(|name| call.name().starts_with(name)),
        Expr::BinaryExpr(e) => matches!(e.op, RegexMatch | RegexIMatch | RegexNotMatch | RegexNotIMatch),
        Expr::SimilarTo(_) => true,
        Expr::Like(like) => match like.pattern.as_literal().and_then(|v| v.try_as_str()) {
            Some(pattern) => pattern.is_some_and(|p| p.matches(['%', '_']).count() > 1),
            None => true,
        },
        _ => false,
    };
    expr.exists(|e| Ok(costly(e))).unwrap_or(false)
}

/// An expression as it is written, over columns without the names of their tables.
fn text_of(expr: &Expr) -> String {
    let word = |text: String| Ok(Transformed::yes(Expr::Column(Column::new_unqualified(text))));
    let bare = |e: Expr| match e {
        Expr::Column(column) => word(column.name),
        // A constant would be shown with its type.
        Expr::Literal(value, _) => match value.try_as_str() {
            Some(Some(text)) => word(format!("'{}'", text.replace('\'', "''"))),
            _ => word(value.to_string()),
        },
        other => Ok(Transformed::no(other)),
    };
    let bare = expr.clone().transform_up(bare).data().unwrap_or_else(|_| expr.clone());
    bare.human_display().to_string()
}

/// A column for each expression: under the name that a SELECT gives it, where the rows have no such column.
fn names(shared: Vec<Expr>, exprs: &[Expr], schema: &DFSchema) -> Known {
    let mut taken: HashSet<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
    let mut named = |expr: &Expr| {
        let own = exprs.iter().find_map(|e| match e {
            Expr::Alias(alias) if *alias.expr == *expr => Some(alias.name.clone()),
            _ => None,
        });
        // What it is called in a dead letter.
        let text = text_of(expr);
        let others = (1..).map(|n| format!("{text}_{n}"));
        let name =
            own.into_iter().chain([text.clone()]).chain(others).find(|name| !taken.contains(name)).unwrap_or_default();
        taken.insert(name.clone());
        Column::new_unqualified(name)
    };
    shared.into_iter().map(|expr| (expr.clone(), named(&expr))).collect()
}
