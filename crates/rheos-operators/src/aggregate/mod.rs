//! Aggregate functions: DataFusion's, with seven gaps closed.
//!
//! 1. `sum` of integers, decimals and durations adds up in a wider type and fails where the result does not fit
//!    ([`checked_sum`]); DataFusion's wraps around.
//! 2. DISTINCT works for every function ([`collected`]): several of DataFusion's refuse it, others ignore it.
//! 3. ORDER BY inside a call is honoured for every function, and ties are broken by the arguments, so that the result
//!    depends on the multiset of rows only.
//! 4. `percentile_cont` interpolates exactly ([`exact_percentile`]).
//! 5. `avg` of durations cannot wrap around ([`duration_average`]), and `sum` of intervals, which would, is refused.
//! 6. `avg` of decimals is rounded ([`decimal_average`]); the planner puts it in, since it is of another type.
//! 7. `min` and `max` of texts keep the values of all groups together (`extremes`).
//!
//! [`aggregate_call`] decides which of them apply; everything behind it sees one kind of expression.

pub mod checked_sum;
pub mod collected;
pub mod decimal_average;
pub mod duration_average;
pub mod exact_percentile;
pub(crate) mod extremes;
mod one_group;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion_common::ScalarValue;
use datafusion_expr::type_coercion::functions::fields_with_udf;
use datafusion_expr::{AggregateUDF, GroupsAccumulator};
use datafusion_physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion_physical_expr::expressions::{Literal, cast};
use datafusion_physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr, PhysicalSortExpr};
use rheos_core::error::{Error, Result};
use rheos_core::types::display;

use crate::evaluation::{check_expression, plan_error};
use extremes::Input;

/// One aggregate function over its arguments, e.g. `count(DISTINCT user) FILTER (WHERE price > 0)`.
#[derive(Debug, Clone)]
pub struct AggregateCall {
    expr: Arc<AggregateFunctionExpr>,
    /// As `expr` has it, but never [`collected`].
    function: Arc<AggregateUDF>,
    is_distinct: bool,
    filter: Option<Arc<dyn PhysicalExpr>>,
    order_sensitive: bool,
    /// Without the filter, which the display adds.
    text: String,
    name: String,
    input_types: Vec<DataType>,
}

/// Aggregates whose result without ORDER BY is a matter of the order in which rows come.
const ARRIVAL_ORDER: [&str; 5] = ["array_agg", "string_agg", "first_value", "last_value", "nth_value"];

/// Aggregates for which DISTINCT changes nothing.
const SAME_WHEN_DISTINCT: [&str; 8] =
    ["min", "max", "bit_and", "bit_or", "bool_and", "bool_or", "any_value", "approx_distinct"];

/// Aggregates whose own DISTINCT is right: checked against naive recomputation by the tests.
const DISTINCT_BY_ITSELF: [&str; 3] = ["count", "array_agg", "string_agg"];

/// Aggregates whose `convert_to_state` may be used: it is cheap and checked by the tests. Others go through a table;
/// `percentile_cont`, for one, panics there.
const CONVERTIBLE: [&str; 15] = [
    "count",
    "sum",
    "min",
    "max",
    "avg",
    "median",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "var",
    "var_pop",
    "stddev",
    "stddev_pop",
];

/// A call of `udaf`, ready for a window aggregate over rows of `schema`.
///
/// Arguments are cast to the types that the function takes. With `WITHIN GROUP (ORDER BY x)` the caller puts `x` in front
/// of the arguments and into `order_by`, as DataFusion's SQL planner does.
///
/// Errors: `Invalid` if the function does not take these arguments.
pub fn aggregate_call(
    udaf: &Arc<AggregateUDF>,
    args: Vec<Arc<dyn PhysicalExpr>>,
    distinct: bool,
    filter: Option<Arc<dyn PhysicalExpr>>,
    order_by: Vec<PhysicalSortExpr>,
    schema: &SchemaRef,
    ignore_nulls: bool,
) -> Result<AggregateCall> {
    for expr in args.iter().chain(&filter).chain(order_by.iter().map(|o| &o.expr)) {
        check_expression(expr, schema)?;
    }
    let name = udaf.name().to_string();
    let text = call_text(&name, &args, distinct, &order_by, ignore_nulls);
    let args = coerce_arguments(udaf, args, schema)?;
    let within_group = udaf.supports_within_group_clause();
    let order_by = if within_group { order_by } else { break_ties(each_once(order_by), &args, schema, distinct)? };

    let mut distinct = distinct && !SAME_WHEN_DISTINCT.contains(&name.as_str());
    let argument = args.first().map(|arg| arg.data_type(schema)).transpose().map_err(plan_error)?;
    refuse_interval_sum(&name, argument.as_ref())?;
    refuse_place_zero(&name, &args)?;
    refuse_share(&name, &args)?;
    refuse_unordered(&name, argument.as_ref())?;
    let udaf = exact_percentile::replace(&checked_sum::replace(udaf));
    let mut udaf = duration_average::replace(&udaf, argument.as_ref());
    let distinct_by_itself = DISTINCT_BY_ITSELF.contains(&name.as_str()) && args.len() == native_distinct_args(&name);
    let needs_sorted_input = !order_by.is_empty() && name == "nth_value";
    let (function, is_distinct) = (Arc::clone(&udaf), distinct);
    if (distinct && !distinct_by_itself) || needs_sorted_input {
        udaf = collected::collect(udaf, distinct);
        distinct = false;
    }
    let order_sensitive = !within_group && (!order_by.is_empty() || ARRIVAL_ORDER.contains(&name.as_str()));
    let expr = AggregateExprBuilder::new(udaf, args)
        .schema(Arc::clone(schema))
        .alias(&text)
        .order_by(order_by)
        .with_distinct(distinct)
        .with_ignore_nulls(ignore_nulls)
        .build()
        .map_err(plan_error)?;
    let name = text.clone();
    let expr = Arc::new(expr);
    let mut call =
        AggregateCall { expr, function, is_distinct, filter, order_sensitive, text, name, input_types: vec![] };
    let types = call.inputs().iter().map(|input| input.data_type(schema)).collect::<Result<_, _>>();
    call.input_types = types.map_err(plan_error)?;
    // What a function refuses only when it is made is refused here, where there is still a program to point at.
    call.accumulator()?;
    call.state_fields()?;
    Ok(call)
}

/// Months, days and nanoseconds are added up one by one, each without a check.
fn refuse_interval_sum(name: &str, argument: Option<&DataType>) -> Result<()> {
    match argument {
        Some(DataType::Interval(_)) if name == "sum" => Err(Error::invalid(351, "sum of INTERVAL is not supported")
            .with_hint("sum what has a fixed length: the difference of two timestamps, or a number of seconds")),
        _ => Ok(()),
    }
}

/// The first value is at place 1, and the last at -1.
fn refuse_place_zero(name: &str, args: &[Arc<dyn PhysicalExpr>]) -> Result<()> {
    let place = args.get(1).and_then(|arg| arg.downcast_ref::<Literal>());
    let is_zero = place.is_some_and(|p| p.value().is_null() || p.value() == &ScalarValue::Int64(Some(0)));
    match name == "nth_value" && is_zero {
        true => Err(Error::invalid(351, "nth_value has no place 0 and no place NULL")
            .with_hint("places count from 1; -1 is the last one")),
        false => Ok(()),
    }
}

/// The share of a percentile, where it is written out.
fn refuse_share(name: &str, args: &[Arc<dyn PhysicalExpr>]) -> Result<()> {
    let at = match name {
        "percentile_cont" | "approx_percentile_cont" => 1,
        "approx_percentile_cont_with_weight" => 2,
        _ => return Ok(()),
    };
    let share = args.get(at).and_then(|arg| arg.downcast_ref::<Literal>()).map(Literal::value);
    let share = share.and_then(|value| value.cast_to(&DataType::Float64).ok());
    match share {
        Some(ScalarValue::Float64(Some(share))) if !(0.0..=1.0).contains(&share) => {
            Err(Error::invalid(351, format!("the share of {name} must be from 0 to 1, and this one is {share}"))
                .with_hint("write 0.9 for the value that nine of ten do not exceed"))
        }
        Some(ScalarValue::Float64(None)) => Err(Error::invalid(351, format!("the share of {name} is NULL"))
            .with_hint("write 0.9 for the value that nine of ten do not exceed")),
        _ => Ok(()),
    }
}

/// Lists and rows inside of others, and maps, have no order.
fn refuse_unordered(name: &str, argument: Option<&DataType>) -> Result<()> {
    let Some(argument) = argument.filter(|a| ["min", "max"].contains(&name) && !has_order(a)) else { return Ok(()) };
    Err(Error::invalid(142, format!("{name} of {} is not supported yet", display(argument)))
        .with_hint(format!("take the {name} of a part of it, as in {name}(x[1]) or {name}(x.name)")))
}

fn has_order(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            !item.data_type().is_nested()
        }
        DataType::Struct(fields) => fields.iter().all(|f| has_order(f.data_type())),
        DataType::Map(..) => false,
        _ => true,
    }
}

/// With how many arguments a function's own DISTINCT works.
fn native_distinct_args(name: &str) -> usize {
    if name == "string_agg" { 2 } else { 1 }
}

impl AggregateCall {
    /// Names the output column; without it the column is called like the call.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The function with its arguments.
    pub fn expr(&self) -> &Arc<AggregateFunctionExpr> {
        &self.expr
    }

    /// The function itself; what [`expr`](Self::expr) has may have one around it that collects its arguments.
    pub(crate) fn function(&self) -> &Arc<AggregateUDF> {
        &self.function
    }

    /// Whether equal arguments count once, and that makes a difference.
    pub(crate) fn is_distinct(&self) -> bool {
        self.is_distinct
    }

    /// The rows that count; all without it.
    pub fn filter(&self) -> Option<&Arc<dyn PhysicalExpr>> {
        self.filter.as_ref()
    }

    /// Whether the result depends on the order in which rows come, so that they must not be aggregated before an exchange.
    pub fn is_order_sensitive(&self) -> bool {
        self.order_sensitive
    }

    /// The output column.
    pub fn field(&self) -> Field {
        Field::clone(&self.expr.field()).with_name(&self.name)
    }

    /// The columns of a partial aggregate.
    pub(crate) fn state_fields(&self) -> Result<Vec<FieldRef>> {
        self.expr.state_fields().map_err(plan_error)
    }

    /// Whether the function keeps all groups in vectors of its own; else there is one object a group.
    fn is_vectorised(&self) -> bool {
        self.expr.groups_accumulator_supported()
    }

    /// Whether single rows can be turned into partial aggregates without a table.
    pub(crate) fn is_convertible(&self) -> bool {
        self.is_vectorised() && CONVERTIBLE.contains(&self.expr.fun().name())
    }

    /// What `count(DISTINCT x)` counts, where it is a whole number.
    pub(crate) fn distinct_integer(&self) -> Option<Arc<dyn PhysicalExpr>> {
        let is_count = self.expr.fun().name() == "count" && self.expr.is_distinct();
        match (self.inputs().as_slice(), self.input_types.as_slice()) {
            ([argument], [data_type]) if is_count && data_type.is_integer() => Some(Arc::clone(argument)),
            _ => None,
        }
    }

    /// Accumulates for many groups.
    pub(crate) fn accumulator(&self) -> Result<Box<dyn GroupsAccumulator>> {
        self.accumulator_of(Input::Passing)
    }

    /// As [`accumulator`](Self::accumulator), of input that may stay.
    pub(crate) fn accumulator_of(&self, input: Input) -> Result<Box<dyn GroupsAccumulator>> {
        let own = self.input_types.first().and_then(|values| extremes::accumulator(self.expr.fun(), values, input));
        if let Some(own) = own {
            return Ok(own);
        }
        if self.is_vectorised() {
            return self.expr.create_groups_accumulator().map_err(plan_error);
        }
        let expr = Arc::clone(&self.expr);
        expr.create_accumulator().map_err(plan_error)?;
        Ok(Box::new(GroupsAccumulatorAdapter::new(move || expr.create_accumulator())))
    }

    /// What is evaluated for each row: the arguments, then what the call is ordered by.
    pub(crate) fn inputs(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        let all = self.expr.all_expressions();
        all.args.into_iter().chain(all.order_by_exprs).collect()
    }

    /// The types of [`inputs`](Self::inputs).
    pub(crate) fn input_types(&self) -> &[DataType] {
        &self.input_types
    }
}

impl fmt::Display for AggregateCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match &self.filter {
            Some(filter) => write!(f, " FILTER (WHERE {filter})"),
            None => Ok(()),
        }
    }
}

fn call_text(
    name: &str,
    args: &[Arc<dyn PhysicalExpr>],
    distinct: bool,
    order_by: &[PhysicalSortExpr],
    ignore_nulls: bool,
) -> String {
    let args = args.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let distinct = if distinct { "DISTINCT " } else { "" };
    let nulls = if ignore_nulls { " IGNORE NULLS" } else { "" };
    let order = order_by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let order = if order.is_empty() { order } else { format!(" ORDER BY {order}") };
    format!("{name}({distinct}{args}{order}){nulls}")
}

fn coerce_arguments(
    udaf: &AggregateUDF,
    args: Vec<Arc<dyn PhysicalExpr>>,
    schema: &SchemaRef,
) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
    let fields = args.iter().map(|arg| arg.return_field(schema)).collect::<Result<Vec<_>, _>>().map_err(plan_error)?;
    let wanted = fields_with_udf(&fields, udaf).map_err(plan_error)?;
    let args = args.into_iter().zip(fields.iter().zip(&wanted));
    args.map(|(arg, (is, wanted))| {
        if is.data_type() == wanted.data_type() {
            return Ok(arg);
        }
        // A literal stays a literal: some functions (a percentile's share) read it when they are made.
        if let Some(literal) = arg.downcast_ref::<Literal>() {
            let value = literal.value().cast_to(wanted.data_type()).map_err(plan_error)?;
            return Ok(Arc::new(Literal::new(value)) as Arc<dyn PhysicalExpr>);
        }
        cast(arg, schema, wanted.data_type().clone()).map_err(plan_error)
    })
    .collect()
}

/// The order without what it says twice, which says nothing and makes DataFusion's `first_value` and `last_value` panic.
fn each_once(order_by: Vec<PhysicalSortExpr>) -> Vec<PhysicalSortExpr> {
    let mut once: Vec<PhysicalSortExpr> = vec![];
    for by in order_by {
        if once.iter().all(|known| !known.expr.eq(&by.expr)) {
            once.push(by);
        }
    }
    once
}

/// Adds the arguments behind the wanted order, so that rows which are equal in it have an order all the same.
fn break_ties(
    mut order_by: Vec<PhysicalSortExpr>,
    args: &[Arc<dyn PhysicalExpr>],
    schema: &SchemaRef,
    distinct: bool,
) -> Result<Vec<PhysicalSortExpr>> {
    // DISTINCT is ordered by its argument, so there are no ties.
    if order_by.is_empty() || distinct {
        return Ok(order_by);
    }
    for arg in args {
        let data_type = arg.data_type(schema).map_err(plan_error)?;
        let orderable = !data_type.is_nested() && RowConverter::supports_fields(&[SortField::new(data_type)]);
        if orderable && !arg.is::<Literal>() && order_by.iter().all(|o| !o.expr.eq(arg)) {
            order_by.push(PhysicalSortExpr::new_default(Arc::clone(arg)));
        }
    }
    Ok(order_by)
}
