//! Which column of a relation is its event time: a window over anything else would fire at the wrong moment.
//!
//! Invariant: a window's time column is the watermark column of every table below it, or the `window_time` of the window
//! below it; only where everything below is bounded and has no watermark may it be any timestamp, since nothing fires
//! before the end of the input then. Processing time is told by its function, `PROCTIME()`, wherever a view carries it to.

use std::sync::Arc;

use datafusion_common::{Column, JoinType};
use datafusion_expr::{Expr, LogicalPlan, TableSource};
use rheos_core::error::{Error, Result};
use rheos_core::letters::ERRORS_SUFFIX;
use rheos_core::source::Boundedness;

use crate::catalog::{Table, scanned_table};
use crate::proctime::PROCTIME;
use crate::side::{LATE_SUFFIX, errors_of, late_of, table_of};
use crate::windows::WindowNode;

/// What a window's time column is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum TimeAttribute {
    /// The event time: a column of the window's input.
    Event(Expr),
    /// `PROCTIME()`: the clock of the window's operator; no column is read.
    Processing,
}

/// Checks that `column` of `input` can be windowed over. Errors: `Invalid` with what to write instead; without a place.
pub(crate) fn check(input: &LogicalPlan, column: Column) -> Result<TimeAttribute> {
    let index = input.schema().index_of_column(&column).map_err(|_| Error::internal("the time column was lost"))?;
    match trace(input, index, &column.name, Purpose::Window)? {
        Domain::Event => Ok(TimeAttribute::Event(Expr::Column(column))),
        Domain::Processing => Ok(TimeAttribute::Processing),
    }
}

/// Whether no row comes any more whose `column` of `input` is behind the watermark. Beside event times these are the ends of
/// windows that have closed.
pub(crate) fn is_at_watermark(input: &LogicalPlan, index: usize) -> bool {
    let name = input.schema().field(index).name();
    trace(input, index, name, Purpose::Bound).is_ok_and(|domain| domain == Domain::Event)
}

/// What a time is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To window over: the very times that watermarks are of.
    Window,
    /// To tell which rows cannot come any more.
    Bound,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Domain {
    Event,
    Processing,
}

fn trace(plan: &LogicalPlan, index: usize, name: &str, purpose: Purpose) -> Result<Domain> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            if let Some(name) = side_name(&scan.source) {
                return Err(no_time(&name));
            }
            let Some(table) = scanned_table(&scan.source) else { return computed(plan, name) };
            trace_table(table, scan.projection.as_ref().map_or(index, |p| p[index]), name)
        }
        LogicalPlan::SubqueryAlias(alias) => trace(&alias.input, index, name, purpose),
        LogicalPlan::Filter(filter) => trace(&filter.input, index, name, purpose),
        LogicalPlan::Sort(sort) => trace(&sort.input, index, name, purpose),
        LogicalPlan::Limit(limit) => trace(&limit.input, index, name, purpose),
        LogicalPlan::Distinct(distinct) => trace(distinct.input(), index, name, purpose),
        LogicalPlan::Projection(projection) => {
            trace_expr(&projection.expr[index], &projection.input, plan, name, purpose)
        }
        LogicalPlan::Aggregate(aggregate) => match aggregate.group_expr.get(index) {
            Some(Expr::Column(c)) if is_window_time(&aggregate.input, c, purpose) => Ok(Domain::Event),
            _ => computed(plan, name),
        },
        LogicalPlan::Union(union) => {
            let mut domains = vec![];
            for input in &union.inputs {
                domains.push(trace(input, index, name, purpose)?);
            }
            match domains.iter().all(|d| *d == domains[0]) {
                true => Ok(domains[0]),
                false => computed(plan, name),
            }
        }
        // Behind an outer join the time of the side that may be absent is null, and such rows are in no window.
        LogicalPlan::Join(join) => {
            let width = join.left.schema().fields().len();
            match join.join_type {
                JoinType::RightSemi | JoinType::RightAnti => trace(&join.right, index, name, purpose),
                _ if index < width => trace(&join.left, index, name, purpose),
                _ => trace(&join.right, index - width, name, purpose),
            }
        }
        LogicalPlan::Window(window) if index < window.input.schema().fields().len() => {
            trace(&window.input, index, name, purpose)
        }
        LogicalPlan::Unnest(unnest) => match unnest.dependency_indices.get(index) {
            Some(below) if unnest.list_type_columns.iter().all(|(list, _)| list != below) => {
                trace(&unnest.input, *below, name, purpose)
            }
            _ => computed(plan, name),
        },
        LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<WindowNode>() {
            Some(window) if index < window.input.schema().fields().len() => trace(&window.input, index, name, purpose),
            Some(window) if window.time == TimeAttribute::Processing => Err(above_processing()),
            // The last of the three is window_time, which is where the rows of a window stand in time.
            Some(window) if is_time_of(window, index, purpose) => Ok(Domain::Event),
            _ => computed(plan, name),
        },
        _ => computed(plan, name),
    }
}

fn trace_table(table: &Table, index: usize, name: &str) -> Result<Domain> {
    let table_name = &table.definition.name;
    match &table.watermark {
        Some(w) if w.column == index => Ok(Domain::Event),
        Some(w) => {
            let time = table.schema.field(w.column).name();
            Err(Error::invalid(148, format!("the event time of '{table_name}' is '{time}', not '{name}'"))
                .with_hint(format!("window over DESCRIPTOR({time}), or declare WATERMARK FOR {name}")))
        }
        None if table.boundedness()? == Boundedness::Bounded => Ok(Domain::Event),
        None => Err(Error::invalid(
            148,
            format!("the table '{table_name}' is endless and has no watermark, so no window could ever close"),
        )
        .with_hint(format!("declare WATERMARK FOR {name} AS {name} - INTERVAL '5' SECOND in '{table_name}'"))),
    }
}

fn trace_expr(expr: &Expr, input: &LogicalPlan, plan: &LogicalPlan, name: &str, purpose: Purpose) -> Result<Domain> {
    match expr {
        Expr::Alias(alias) => trace_expr(&alias.expr, input, plan, name, purpose),
        Expr::ScalarFunction(function) if function.name() == PROCTIME => Ok(Domain::Processing),
        Expr::Column(column) => match input.schema().index_of_column(column) {
            Ok(index) => trace(input, index, name, purpose),
            Err(_) => computed(plan, name),
        },
        _ => computed(plan, name),
    }
}

/// Whether a column is a window's `window_time`. Another key of an aggregate is older than the aggregate's results.
fn is_window_time(plan: &LogicalPlan, column: &Column, purpose: Purpose) -> bool {
    let Ok(index) = plan.schema().index_of_column(column) else { return false };
    match plan {
        LogicalPlan::SubqueryAlias(_) | LogicalPlan::Filter(_) => {
            let Some(input) = plan.inputs().first().copied() else { return false };
            let (qualifier, field) = input.schema().qualified_field(index);
            is_window_time(input, &Column::new(qualifier.cloned(), field.name()), purpose)
        }
        LogicalPlan::Projection(projection) => match projection.expr[index].clone().unalias() {
            Expr::Column(inner) => is_window_time(&projection.input, &inner, purpose),
            _ => false,
        },
        LogicalPlan::Aggregate(aggregate) => match aggregate.group_expr.get(index) {
            Some(Expr::Column(inner)) => is_window_time(&aggregate.input, inner, purpose),
            _ => false,
        },
        LogicalPlan::Extension(extension) => extension
            .node
            .as_any()
            .downcast_ref::<WindowNode>()
            .is_some_and(|w| w.time != TimeAttribute::Processing && is_time_of(w, index, purpose)),
        LogicalPlan::Join(join) if !matches!(join.join_type, JoinType::RightSemi | JoinType::RightAnti) => {
            let width = join.left.schema().fields().len();
            let (input, index) = if index < width { (&join.left, index) } else { (&join.right, index - width) };
            let (qualifier, field) = input.schema().qualified_field(index);
            is_window_time(input, &Column::new(qualifier.cloned(), field.name()), purpose)
        }
        LogicalPlan::Window(window) if index < window.input.schema().fields().len() => {
            let (qualifier, field) = window.input.schema().qualified_field(index);
            is_window_time(&window.input, &Column::new(qualifier.cloned(), field.name()), purpose)
        }
        _ => false,
    }
}

/// Whether a column of a window is one of the times at which its rows stand: the last of the three that it adds, and for bounds
/// its end, which is no earlier.
fn is_time_of(window: &WindowNode, index: usize, purpose: Purpose) -> bool {
    let width = window.input.schema().fields().len();
    index == width + 2 || (purpose == Purpose::Bound && index == width + 1)
}

/// The name of a relation of what could not be used.
fn side_name(source: &Arc<dyn TableSource>) -> Option<String> {
    let errors = errors_of(source).map(|table| format!("{}{ERRORS_SUFFIX}", table.definition.name));
    errors.or_else(|| late_of(source).map(|late| format!("{}{LATE_SUFFIX}", late.name)))
}

fn no_time(name: &str) -> Error {
    Error::invalid(148, format!("'{name}' has no event time"))
        .with_hint("select PROCTIME() AS p in a view, and window over p")
}

fn above_processing() -> Error {
    Error::invalid(142, "a window over the result of a processing-time window is not supported yet")
        .with_hint("window over an event time, or aggregate once")
}

/// The column is computed: fine as long as nothing below knows of event time.
fn computed(plan: &LogicalPlan, name: &str) -> Result<Domain> {
    let mut tables = vec![];
    let mut windows = vec![];
    let mut side = None;
    visit(plan, &mut |p| match p {
        LogicalPlan::TableScan(scan) => {
            tables.extend(scanned_table(&scan.source).cloned());
            side = side.take().or_else(|| side_name(&scan.source));
        }
        LogicalPlan::Extension(extension) => {
            windows.extend(extension.node.as_any().downcast_ref::<WindowNode>().map(|w| w.time.clone()));
        }
        _ => {}
    });
    if let Some(name) = side {
        return Err(no_time(&name));
    }
    if windows.contains(&TimeAttribute::Processing) {
        return Err(above_processing());
    }
    if !windows.is_empty() {
        return Err(Error::invalid(148, format!("'{name}' is not the event time of a window's result"))
            .with_hint("window over window_time, and keep it in the inner GROUP BY"));
    }
    for table in tables {
        if table.watermark.is_some() || table.boundedness()? == Boundedness::Unbounded {
            return Err(Error::invalid(148, format!("'{name}' is computed, so it is not an event time"))
                .with_hint("window over the column that the table's WATERMARK names, passed on as it is"));
        }
    }
    Ok(Domain::Event)
}

/// Every node of a plan.
pub(crate) fn visit(plan: &LogicalPlan, see: &mut impl FnMut(&LogicalPlan)) {
    see(plan);
    for input in plan.inputs() {
        visit(input, see);
    }
}

/// Whether a plan's input ends.
pub(crate) fn boundedness(plan: &LogicalPlan) -> Result<Boundedness> {
    let (mut tables, mut late) = (vec![], Boundedness::Bounded);
    visit(plan, &mut |p| {
        if let LogicalPlan::TableScan(scan) = p {
            tables.extend(table_of(&scan.source).cloned());
            if late_of(&scan.source).is_some_and(|l| l.boundedness == Boundedness::Unbounded) {
                late = Boundedness::Unbounded;
            }
        }
    });
    if late == Boundedness::Unbounded {
        return Ok(late);
    }
    for table in tables {
        if table.boundedness()? == Boundedness::Unbounded {
            return Ok(Boundedness::Unbounded);
        }
    }
    Ok(Boundedness::Bounded)
}
