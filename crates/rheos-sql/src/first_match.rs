//! The first match of a regular expression without a list around it.
//!
//! ```text
//!   regexp_match(text, 'id=([0-9]+)')[1]   ──►   regexp_extract(text, 'id=([0-9]+)', 1)
//!   regexp_match(text, 'id=[0-9]+')[1]     ──►   regexp_extract(text, 'id=[0-9]+', 0)
//! ```
//!
//! A list for each row, of which one item is taken out again, costs as much as the search. Only where both say the same: the
//! pattern is written out and has one group at most, since `regexp_match` leaves out the groups that match nothing.

use arrow::datatypes::DataType;
use datafusion_common::tree_node::Transformed;
use datafusion_common::{DFSchema, Result as DfResult, ScalarValue};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{Expr, ExprSchemable, LogicalPlan, lit};
use regex::Regex;

use crate::rewrite::each_expression;

/// Replaces the first items of matches in a plan.
pub(crate) fn without_lists(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    each_expression(plan, replaced)
}

fn replaced(expr: Expr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    match extracted(&expr, schema) {
        Some(new) => Ok(Transformed::yes(new)),
        None => Ok(Transformed::no(expr)),
    }
}

fn extracted(expr: &Expr, schema: &DFSchema) -> Option<Expr> {
    let [matches, Expr::Literal(ScalarValue::Int64(Some(1)), _)] = call("array_element", expr)? else { return None };
    let [text, pattern] = call("regexp_match", matches)? else { return None };
    // Texts of another layout would give another type.
    if text.get_type(schema).ok()? != DataType::Utf8 {
        return None;
    }
    let groups = Regex::new(pattern.as_literal()?.try_as_str()??).ok()?.captures_len() - 1;
    let group = i64::try_from(groups).ok().filter(|n| *n <= 1)?;
    let extract = rheos_functions::functions().into_iter().find(|f| f.name() == "regexp_extract")?;
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(extract, vec![text.clone(), pattern.clone(), lit(group)])))
}

/// The arguments of a call of a function.
fn call<'e>(name: &str, expr: &'e Expr) -> Option<&'e [Expr]> {
    match expr {
        Expr::ScalarFunction(call) if call.name() == name => Some(&call.args),
        _ => None,
    }
}
