//! How much work the planner has with an expression, told before it begins.
//!
//! DataFusion asks for the type of an expression and for its nullability one after the other, and each asks the parts for
//! both; it plans some arguments twice, and writes `coalesce(a, b)` as `CASE WHEN a IS NOT NULL THEN a ELSE b END`. Each of
//! these doubles the work of what is inside, so 30 of them inside each other would never end:
//!
//! ```text
//!   abs(CASE WHEN a THEN abs(CASE WHEN b THEN ..      type and nullability of each CASE      2 x 2 x ..
//!   coalesce(coalesce(coalesce(a, b), c), d)          the first argument stands there twice  2 x 2 x ..
//!   abs(abs(abs(a))), CASE .. ELSE CASE .. END        once                                   1 + 1 + ..
//! ```
//!
//! The estimate is an upper bound of how often an expression's parts are visited. What is wide is not refused, only what is deep.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion_expr::LogicalPlan;
use datafusion_sql::planner::ContextProvider;
use rheos_core::error::{Error, Result, Span};
use sqlparser::ast::{
    CeilFloorKind, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, Query,
    Spanned, Visit, Visitor,
};

use crate::catalog::Catalog;
use crate::tokens::{Tokens, place, whole};

/// Visits of parts that one expression may cost, about a quarter of a second.
const VISITS_MAX: u64 = 20_000;
/// As many are granted for each part that is there.
const VISITS_PER_PART: u64 = 16;
/// Functions that DataFusion writes out as others, with arguments that stand there twice, or whose arguments it plans twice.
const COPYING: [&str; 7] = ["coalesce", "nvl", "ifnull", "nvl2", "map", "make_map", "row"];

/// Refuses expressions that would take too long. Errors: `Invalid`, at the smallest expression that is too much.
pub(crate) fn check(query: &Query, catalog: &Catalog) -> Result<()> {
    let mut costs = Costs { catalog, open: vec![] };
    match query.visit(&mut costs) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(at) => {
            let error = Error::invalid(105, "this expression is too deeply nested")
                .with_hint("compute a part of it in a view or a subquery in FROM, and use its column here");
            Err(match at {
                Some(at) => error.with_span(at),
                None => error,
            })
        }
    }
}

/// Steps that one query may come to, with all views and WITH tables put in where they are read. A view that reads another one
/// twice, which reads a third one twice, and so on, has a text of a few lines and millions of steps.
const STEPS_MAX: u64 = 4_000;

/// Refuses plans of too many steps. Errors: `Invalid`, at the query.
pub(crate) fn check_size(plan: &LogicalPlan, tokens: &Tokens) -> Result<()> {
    match steps(plan, &mut HashMap::new()) {
        steps if steps > STEPS_MAX => Err(too_many(steps, tokens)),
        _ => Ok(()),
    }
}

/// Refuses queries that read more tables than that, before they are planned: DataFusion walks through each of them, too.
pub(crate) fn check_reads(query: &Query, tokens: &Tokens) -> Result<()> {
    match query.visit(&mut Reads::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(reads) => Err(too_many(reads, tokens)),
    }
}

fn too_many(steps: u64, tokens: &Tokens) -> Error {
    let error = Error::invalid(105, format!("this query comes to {steps} steps, and {STEPS_MAX} is the most"))
        .with_hint("views and WITH tables count as often as they are read, with all that they read themselves");
    match whole(tokens) {
        Some(at) => error.with_span(at),
        None => error,
    }
}

/// Counts the tables that a query reads, with those that its WITH tables read.
#[derive(Default)]
struct Reads {
    /// Of the queries that are being visited, the innermost last.
    open: Vec<u64>,
    /// The name of each WITH table, by the place of its query.
    names: HashMap<*const Query, String>,
    of_table: HashMap<String, u64>,
}

impl Visitor for Reads {
    type Break = u64;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<u64> {
        self.open.push(0);
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.names.insert(std::ptr::from_ref(table.query.as_ref()), table.alias.name.value.to_lowercase());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<u64> {
        let reads = relation.0.last().and_then(|part| part.as_ident());
        let reads = reads.and_then(|name| self.of_table.get(&name.value.to_lowercase())).copied().unwrap_or(1);
        self.add(reads)
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<u64> {
        let reads = self.open.pop().unwrap_or_default();
        match self.names.get(&std::ptr::from_ref(query)) {
            Some(name) => {
                self.of_table.insert(name.clone(), reads.max(1));
                ControlFlow::Continue(())
            }
            None => self.add(reads),
        }
    }
}

impl Reads {
    fn add(&mut self, reads: u64) -> ControlFlow<u64> {
        let Some(sum) = self.open.last_mut() else { return ControlFlow::Continue(()) };
        *sum = sum.saturating_add(reads);
        if *sum > STEPS_MAX { ControlFlow::Break(*sum) } else { ControlFlow::Continue(()) }
    }
}

/// Steps of a plan. A part that several places share is counted for each, but walked through once.
fn steps(plan: &LogicalPlan, known: &mut HashMap<*const LogicalPlan, u64>) -> u64 {
    if let Some(steps) = known.get(&std::ptr::from_ref(plan)) {
        return *steps;
    }
    let sum = plan.inputs().into_iter().map(|input| steps(input, known)).fold(1, u64::saturating_add);
    known.insert(std::ptr::from_ref(plan), sum);
    sum
}

/// What an expression costs.
#[derive(Clone, Copy, Default)]
struct Cost {
    /// When both its type and its nullability are asked for.
    both: u64,
    /// When one of them is.
    one: u64,
    /// Expressions in it, itself included.
    parts: u64,
}

impl Cost {
    fn plus(self, other: Self) -> Self {
        Self {
            both: self.both.saturating_add(other.both),
            one: self.one.saturating_add(other.one),
            parts: self.parts.saturating_add(other.parts),
        }
    }

    fn twice(self) -> Self {
        Self { both: self.both.saturating_mul(2), one: self.one.saturating_mul(2), parts: self.parts }
    }
}

/// An expression or a subquery that is being visited, with its parts so far.
enum Open {
    Expr(Vec<Cost>),
    Query(Cost),
}

struct Costs<'c> {
    catalog: &'c Catalog,
    open: Vec<Open>,
}

impl Costs<'_> {
    fn add(&mut self, cost: Cost) {
        match self.open.last_mut() {
            Some(Open::Expr(parts)) => parts.push(cost),
            Some(Open::Query(sum)) => *sum = sum.plus(cost),
            None => {}
        }
    }

    fn of(&self, expr: &Expr, parts: &[Cost]) -> Cost {
        let sum = parts.iter().fold(Cost::default(), |sum, part| sum.plus(*part));
        let cost = match expr {
            Expr::Case { operand, conditions, .. } => {
                let first = usize::from(operand.is_some());
                // The conditions are looked at once more: may a branch that gives NULL be taken?
                let is_condition =
                    |i: usize| i >= first && i < first + 2 * conditions.len() && (i - first).is_multiple_of(2);
                let again = parts.iter().enumerate().filter(|(i, _)| is_condition(*i)).map(|(_, c)| c.one);
                let one = again.fold(sum.one, u64::saturating_add);
                Cost { both: one.saturating_mul(2), one, parts: sum.parts }
            }
            Expr::Function(function) if self.copies(function) => Cost { one: sum.both, ..sum }.twice(),
            Expr::Function(_) | Expr::Array(_) | Expr::CompoundFieldAccess { .. } => Cost { one: sum.both, ..sum },
            // `CEIL(ts TO DAY)` is written out with four of its argument.
            Expr::Ceil { field: CeilFloorKind::DateTimeField(unit), .. } if *unit != DateTimeField::NoDateTime => {
                Cost { one: sum.both, ..sum }.twice().twice()
            }
            Expr::Map(_) | Expr::Dictionary(_) | Expr::Struct { .. } | Expr::Tuple(_) | Expr::Between { .. } => {
                Cost { one: sum.both, ..sum }.twice()
            }
            _ => sum,
        };
        cost.plus(Cost { both: 1, one: 1, parts: 1 })
    }

    /// Whether the arguments are planned or visited twice. A call by another name than the function's own becomes an alias,
    /// and of those DataFusion asks twice.
    fn copies(&self, function: &Function) -> bool {
        let name = function.name.to_string().to_lowercase();
        let own_name = self.catalog.get_function_meta(&name).is_none_or(|f| f.name() == name);
        !own_name || COPYING.contains(&name.as_str()) || has_lambda(function)
    }
}

fn has_lambda(function: &Function) -> bool {
    let FunctionArguments::List(list) = &function.args else { return false };
    list.args.iter().any(|arg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Lambda(_)))))
}

impl Visitor for Costs<'_> {
    type Break = Option<Span>;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Self::Break> {
        self.open.push(Open::Query(Cost::default()));
        ControlFlow::Continue(())
    }

    /// A query inside an expression is planned with it, and walked through by each rule of it and of the query around.
    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Self::Break> {
        if let Some(Open::Query(sum)) = self.open.pop() {
            self.add(if matches!(self.open.last(), Some(Open::Expr(_))) { sum.twice() } else { sum });
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<Self::Break> {
        self.open.push(Open::Expr(vec![]));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        let Some(Open::Expr(parts)) = self.open.pop() else { return ControlFlow::Continue(()) };
        let cost = self.of(expr, &parts);
        if cost.both > VISITS_MAX && cost.both / VISITS_PER_PART > cost.parts {
            let span = expr.span();
            let known = span.start.line > 0;
            return ControlFlow::Break(known.then(|| place(span)));
        }
        self.add(cost);
        ControlFlow::Continue(())
    }
}
