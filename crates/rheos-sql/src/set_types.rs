//! Values that meet must be of one kind, as numbers, texts, times are: the columns of `UNION`, `INTERSECT` and `EXCEPT`, the results
//! of `CASE`. DataFusion would make texts of both sides, or dates of numbers, or fail on a row; Flink and PostgreSQL refuse it.
//!
//! Within a kind the types may differ, as in `INT` and `DOUBLE`. NULL fits everywhere. Rows meet by the names of their fields,
//! here and where they are compared: both must have the same.

use arrow::datatypes::{DataType, Fields};
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, JoinType, NullEquality, Result as DfResult};
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{Expr, ExprSchemable, LogicalPlan};
use rheos_core::error::Error;

use crate::diagnose::external;
use crate::floats::is_comparison;
use crate::types::display;

/// What is said of the results of `CASE`, `IF` and `IFNULL`; its place is found by it.
pub(crate) const RESULTS: &str = "the results of CASE";

/// Looks through a plan as it is written. Errors: values of different kinds that meet; without a place.
pub(crate) fn check(plan: &LogicalPlan) -> DfResult<()> {
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::Union(union) => {
                for pair in union.inputs.windows(2) {
                    fit("UNION", pair[0].schema(), pair[1].schema())?;
                }
            }
            // In a query no other join takes NULL for equal to NULL.
            LogicalPlan::Join(join) if join.null_equality == NullEquality::NullEqualsNull => match join.join_type {
                JoinType::LeftSemi => fit("INTERSECT", join.left.schema(), join.right.schema())?,
                JoinType::LeftAnti => fit("EXCEPT", join.left.schema(), join.right.schema())?,
                _ => {}
            },
            LogicalPlan::Join(join) => {
                let schema = merge_schema(&node.inputs());
                for (left, right) in &join.on {
                    comparable(left, right, &schema)?;
                }
            }
            _ => {}
        }
        let schema = merge_schema(&node.inputs());
        node.apply_expressions(|expr| expr.apply(|e| within(e, &schema).map(|()| TreeNodeRecursion::Continue)))
    })
    .map(drop)
}

/// Errors: what meets in an expression is of different kinds.
fn within(expr: &Expr, schema: &DFSchema) -> DfResult<()> {
    match expr {
        Expr::BinaryExpr(e) if is_comparison(e.op) => comparable(&e.left, &e.right, schema),
        Expr::InList(e) => e.list.iter().try_for_each(|item| comparable(&e.expr, item, schema)),
        Expr::InSubquery(e) => match e.subquery.subquery.schema().fields().first() {
            Some(field) => match e.expr.get_type(schema) {
                Ok(left) => same_rows(&left, field.data_type()),
                Err(_) => Ok(()),
            },
            None => Ok(()),
        },
        Expr::Case(e) => {
            if let Some(subject) = &e.expr {
                e.when_then_expr.iter().try_for_each(|(when, _)| comparable(subject, when, schema))?;
            }
            results(e.when_then_expr.iter().map(|(_, then)| then.as_ref()).chain(e.else_expr.as_deref()), schema)
        }
        Expr::ScalarFunction(f) if f.func.name() == "nvl" => results(f.args.iter(), schema),
        Expr::ScalarFunction(f) if f.func.name() == "nvl2" => results(f.args.iter().skip(1), schema),
        _ => Ok(()),
    }
}

/// Errors: rows are compared that have other fields.
fn comparable(left: &Expr, right: &Expr, schema: &DFSchema) -> DfResult<()> {
    // A type that is not known yet is left to the coercion, which knows how to complain.
    match (left.get_type(schema), right.get_type(schema)) {
        (Ok(left), Ok(right)) => same_rows(&left, &right),
        _ => Ok(()),
    }
}

fn same_rows(left: &DataType, right: &DataType) -> DfResult<()> {
    if !left.is_nested() || !right.is_nested() || alike(left, right) {
        return Ok(());
    }
    let what = format!("there is no operation {} = {}", display(left), display(right));
    Err(external(Error::invalid(135, what).with_hint(ROWS_BY_NAME)))
}

/// What to do with rows whose fields have other names.
pub(crate) const ROWS_BY_NAME: &str =
    "rows meet by the names of their fields: cast one of the two to the type of the other, as in CAST(x AS ROW<a INT>)";

/// Errors: two of the results are of different kinds. A text next to a time is read as one.
fn results<'e>(results: impl Iterator<Item = &'e Expr>, schema: &DFSchema) -> DfResult<()> {
    let types: Vec<_> = results.filter_map(|e| e.get_type(schema).ok()).filter(|t| *t != DataType::Null).collect();
    let is_time = |t: &DataType| t.is_temporal();
    let differ = |a: &DataType, b: &DataType| !alike(a, b) && !is_time(a) && !is_time(b);
    let Some(first) = types.first() else { return Ok(()) };
    let Some(other) = types.iter().find(|other| differ(first, other)) else { return Ok(()) };
    let what = format!("{RESULTS} are of different kinds: {} and {}", display(first), display(other));
    Err(external(Error::invalid(135, what).with_hint(hint(first, other))))
}

fn hint(a: &DataType, b: &DataType) -> &'static str {
    match (a, b) {
        (DataType::Struct(_), DataType::Struct(_)) => ROWS_BY_NAME,
        _ => "cast one of the two, as in CAST(x AS STRING)",
    }
}

fn fit(operator: &str, left: &DFSchema, right: &DFSchema) -> DfResult<()> {
    for (i, (a, b)) in left.fields().iter().zip(right.fields()).enumerate() {
        let (a, b) = (a.data_type(), b.data_type());
        if !alike(a, b) {
            let what =
                format!("the parts of the {operator} differ in column {}: {} and {}", i + 1, display(a), display(b));
            return Err(external(Error::invalid(135, what).with_hint(hint(a, b))));
        }
    }
    Ok(())
}

#[derive(PartialEq)]
enum Kind {
    Truth,
    Number,
    Text,
    Bytes,
    Moment,
    TimeOfDay,
    Interval,
    List,
    Row,
    Map,
}

fn alike(a: &DataType, b: &DataType) -> bool {
    match (a, b) {
        (DataType::List(a), DataType::List(b)) => return alike(a.data_type(), b.data_type()),
        (DataType::Struct(a), DataType::Struct(b)) => return same_fields(a, b),
        (DataType::Map(a, _), DataType::Map(b, _)) => {
            // The two fields of an entry, whatever they are called.
            if let (DataType::Struct(a), DataType::Struct(b)) = (a.data_type(), b.data_type()) {
                return a.iter().zip(b).all(|(a, b)| alike(a.data_type(), b.data_type()));
            }
        }
        _ => {}
    }
    match (kind(a), kind(b)) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    }
}

/// Whether rows have fields of the same names, and those of a name are of one kind.
fn same_fields(a: &Fields, b: &Fields) -> bool {
    a.len() == b.len()
        && a.iter().all(|a| b.iter().any(|b| a.name() == b.name() && alike(a.data_type(), b.data_type())))
}

/// `None`: it goes with everything, or is unknown here.
fn kind(data_type: &DataType) -> Option<Kind> {
    Some(match data_type {
        DataType::Boolean => Kind::Truth,
        t if t.is_numeric() => Kind::Number,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Kind::Text,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => Kind::Bytes,
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Kind::Moment,
        DataType::Time32(_) | DataType::Time64(_) => Kind::TimeOfDay,
        DataType::Interval(_) | DataType::Duration(_) => Kind::Interval,
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => Kind::List,
        DataType::Struct(_) => Kind::Row,
        DataType::Map(..) => Kind::Map,
        _ => return None,
    })
}
