//! DECIMAL next to DOUBLE is DOUBLE, as in PostgreSQL and DuckDB. DataFusion makes both DECIMAL(30, 15) where it compares
//! them or needs one type for both, which fails for 1e30 and makes 1e-20 a zero. (Its arithmetic is on DOUBLE already.)
//!
//! Likewise DATE next to INTERVAL is TIMESTAMP.
//!
//! Runs before the coercion of types, which finds nothing left to decide here.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{DFSchema, Result};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, Union};

/// Functions whose arguments become one type.
const ALIKE: [&str; 8] = ["coalesce", "nvl", "nvl2", "nullif", "greatest", "least", "make_array", "nanvl"];

/// Casts decimals to floats where the two meet.
pub(crate) fn prefer_floats(plan: LogicalPlan) -> Result<LogicalPlan> {
    let node = |node: LogicalPlan| {
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(|e| mixed(e, &schema))?.update_data(|e| name.restore(e)))
        })?;
        // Types below may have changed too.
        node.transform_data(union)?.map_data(LogicalPlan::recompute_schema)
    };
    plan.transform_up(node).data()
}

fn mixed(mut expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let mut changed = false;
    for group in groups(&mut expr) {
        // A type that is not known yet is left to the coercion, which knows how to complain.
        let types: Vec<_> = group.iter().map(|e| e.get_type(schema).unwrap_or(DataType::Null)).collect();
        let Some(float) = common_float(&types) else { continue };
        for (operand, _) in group.into_iter().zip(&types).filter(|(_, t)| t.is_decimal()) {
            let inner = std::mem::take(operand);
            *operand = Expr::Cast(Cast::new(Box::new(inner), float.clone()));
            changed = true;
        }
    }
    changed |= dated(&mut expr, schema);
    Ok(Transformed::new_transformed(expr, changed))
}

/// DATE plus INTERVAL is TIMESTAMP, as in PostgreSQL; as DATE it would lose the hours.
fn dated(expr: &mut Expr, schema: &DFSchema) -> bool {
    let Expr::BinaryExpr(binary) = expr else { return false };
    let is = |e: &Expr, kind: fn(&DataType) -> bool| e.get_type(schema).is_ok_and(|t| kind(&t));
    let is_date = |t: &DataType| matches!(t, DataType::Date32 | DataType::Date64);
    let is_interval = |t: &DataType| matches!(t, DataType::Interval(_));
    let date = match binary.op {
        Operator::Plus | Operator::Minus if is(&binary.left, is_date) && is(&binary.right, is_interval) => {
            &mut binary.left
        }
        Operator::Plus if is(&binary.left, is_interval) && is(&binary.right, is_date) => &mut binary.right,
        _ => return false,
    };
    let inner = std::mem::take(date.as_mut());
    **date = Expr::Cast(Cast::new(Box::new(inner), DataType::Timestamp(TimeUnit::Microsecond, None)));
    true
}

/// The parts of an expression that become one type with each other.
fn groups(expr: &mut Expr) -> Vec<Vec<&mut Expr>> {
    match expr {
        Expr::BinaryExpr(e) if is_comparison(e.op) => vec![vec![e.left.as_mut(), e.right.as_mut()]],
        Expr::Between(e) => vec![vec![e.expr.as_mut(), e.low.as_mut(), e.high.as_mut()]],
        Expr::InList(e) => vec![std::iter::once(e.expr.as_mut()).chain(&mut e.list).collect()],
        Expr::Case(e) => {
            let has_subject = e.expr.is_some();
            let (mut subjects, mut results) = (vec![], vec![]);
            subjects.extend(e.expr.as_deref_mut());
            for (when, then) in &mut e.when_then_expr {
                subjects.extend(has_subject.then_some(when.as_mut()));
                results.push(then.as_mut());
            }
            results.extend(e.else_expr.as_deref_mut());
            vec![subjects, results]
        }
        Expr::ScalarFunction(f) if ALIKE.contains(&f.func.name()) => {
            // The first of nvl2 is a condition.
            let skip = usize::from(f.func.name() == "nvl2");
            vec![f.args.iter_mut().skip(skip).collect()]
        }
        _ => vec![],
    }
}

/// Whether an operator compares its two sides.
pub(crate) fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// The widest float type, if there are both floats and decimals.
fn common_float(types: &[DataType]) -> Option<DataType> {
    let has = |wanted: &DataType| types.iter().any(|t| t == wanted);
    if !types.iter().any(DataType::is_decimal) {
        return None;
    }
    [DataType::Float64, DataType::Float32].into_iter().find(has)
}

/// The parts of a UNION, with decimals cast where another part has floats.
fn union(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Union(union) = plan else { return Ok(Transformed::no(plan)) };
    let types = |at: usize| {
        let part = |input: &Arc<LogicalPlan>| input.schema().fields().get(at).map(|f| f.data_type().clone());
        union.inputs.iter().filter_map(part).collect::<Vec<_>>()
    };
    let floats: Vec<_> = (0..union.schema.fields().len()).map(|at| common_float(&types(at))).collect();
    if floats.iter().all(Option::is_none) {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let inputs = union.inputs.iter().map(|input| Ok(Arc::new(cast_columns(input, &floats)?)));
    let union = Union::try_new_with_loose_types(inputs.collect::<Result<_>>()?)?;
    Ok(Transformed::yes(LogicalPlan::Union(union)))
}

fn cast_columns(input: &Arc<LogicalPlan>, floats: &[Option<DataType>]) -> Result<LogicalPlan> {
    let columns = input.schema().columns().into_iter().zip(input.schema().fields()).zip(floats);
    let exprs = columns.map(|((column, field), float)| match float {
        Some(float) if field.data_type().is_decimal() => {
            let (relation, name) = (column.relation.clone(), column.name.clone());
            Expr::Cast(Cast::new(Box::new(Expr::Column(column)), float.clone())).alias_qualified(relation, name)
        }
        _ => Expr::Column(column),
    });
    LogicalPlanBuilder::from(input.as_ref().clone()).project(exprs.collect::<Vec<_>>())?.build()
}
