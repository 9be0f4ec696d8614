//! `TUMBLE`, `HOP`, `CUMULATE` and `SESSION` as relations: they add `window_start`, `window_end`, `window_time` to rows.
//!
//! ```text
//!   TUMBLE(t, DESCRIPTOR(ts), size [, offset])                 t: table, view, CTE or subquery
//!   HOP(t, DESCRIPTOR(ts), slide, size [, offset])             by name: DATA, TIMECOL, SIZE, SLIDE, STEP, GAP, OFFSET
//!   CUMULATE(t, DESCRIPTOR(ts), step, size [, offset])
//!   SESSION(t [PARTITION BY k, ..], DESCRIPTOR(ts), gap)
//! ```
//!
//! In the logical plan a window is an extension node above its input. It needs its time column whatever is read from
//! it, and no predicate on the three new columns moves below it. A session is made of all rows of its key, so below it
//! move only predicates on that key.

mod call;
mod days;
mod node;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{Column, Result as DfResult, TableReference};
use datafusion_expr::logical_plan::Extension;
use datafusion_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableSource};
use rheos_core::error::{Error, Result, Span, did_you_mean};
use sqlparser::ast::{FunctionArg, Ident, Spanned, TableAlias, TableFactor};

use call::Call;
pub(crate) use call::{BY_GROUP, HIDES_TAKEN, PARTITION_BY, bare_table, usage};
pub(crate) use node::{SessionKey, WindowColumn, WindowNode};

use crate::catalog::{match_name, scanned_table};
use crate::diagnose::external;
use crate::event_time::{self, TimeAttribute};
use crate::tokens::place;
use crate::types;

/// The table functions.
pub(crate) const FUNCTIONS: [&str; 4] = ["tumble", "hop", "cumulate", "session"];

/// "There is no table function", with the nearest name.
pub(crate) fn unknown_function(name: &str) -> Error {
    let hint = did_you_mean(name, FUNCTIONS, "the table functions are TUMBLE, HOP, CUMULATE and SESSION");
    Error::invalid(133, format!("there is no table function '{name}'")).with_hint(hint)
}

/// Plans windows in FROM.
#[derive(Debug, Default)]
pub(crate) struct WindowFunctions {
    /// The tables and views whose late rows are read, in lower case.
    pub(crate) late: BTreeSet<String>,
}

impl RelationPlanner for WindowFunctions {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<RelationPlanning> {
        let TableFactor::Table { name, alias, args: Some(args), .. } = &relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let function = name.to_string().to_lowercase();
        let at = place(name.span());
        if FUNCTIONS.contains(&function.as_str()) {
            return self.plan(&function, at, &args.args, alias.clone(), context);
        }
        Err(external(unknown_function(&name.to_string()).with_span(at)))
    }
}

impl WindowFunctions {
    fn plan(
        &self,
        function: &str,
        at: Span,
        args: &[FunctionArg],
        alias: Option<TableAlias>,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<RelationPlanning> {
        let call = Call::try_new(function, at, args).map_err(external)?;
        let late = relation_name(&call.data).filter(|name| self.late.contains(&name.to_lowercase()));
        let mut input = context.plan(call.data)?;
        // A CTE may have the name of a table.
        let late = late.filter(|name| {
            let source = context.context_provider().get_table_source(TableReference::bare(name.as_str()));
            source.is_ok_and(|source| is_scan_of(&input, &source))
        });
        let mut column = named_column(&call.time, &input).map_err(external)?;
        check_type(&column, &call.time, &input).map_err(external)?;
        let checked = event_time::check(&input, column.clone());
        let mut time = checked.map_err(|e| external(e.with_span(place(call.time.span))))?;
        let time_type = time_type(&time, &column, &input).map_err(external)?;
        let zone = context.context_provider().options().execution.time_zone.clone();
        let is_instant = time == TimeAttribute::Processing || matches!(time_type, DataType::Timestamp(_, Some(_)));
        if is_instant {
            days::check(&call.spec, zone.as_deref().unwrap_or("UTC")).map_err(|e| external(e.with_span(at)))?;
        }
        if call.hides_taken
            && WindowColumn::ALL.iter().any(|c| input.schema().has_column_with_unqualified_name(c.name()))
        {
            (input, column) = without_taken(input, column)?;
            if let TimeAttribute::Event(time) = &mut time {
                *time = Expr::Column(column.clone());
            }
        }
        if let Some(taken) =
            WindowColumn::ALL.iter().find(|c| input.schema().has_column_with_unqualified_name(c.name()))
        {
            let error = Error::invalid(147, format!("the input of the window has a column '{}' already", taken.name()))
                .with_hint("give that column another name in a subquery, and window over that one");
            return Err(external(error.with_span(at)));
        }
        let session_key = match &call.session_key {
            Some(names) => {
                let column = |name: &Ident| named_column(name, &input).map(Expr::Column);
                SessionKey::Columns(names.iter().map(column).collect::<Result<_>>().map_err(external)?)
            }
            None => SessionKey::Group,
        };
        let node = WindowNode::try_new(input, time, time_type, call.spec, session_key)?.keeping_late(late);
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

/// The table or view that a window reads.
fn relation_name(data: &TableFactor) -> Option<String> {
    let TableFactor::Table { name, args: None, .. } = data else { return None };
    name.0.last()?.as_ident().map(|ident| ident.value.clone())
}

/// Whether a plan gives the rows of a table or view of the catalog.
fn is_scan_of(plan: &LogicalPlan, source: &Arc<dyn TableSource>) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => match (scanned_table(&scan.source), scanned_table(source)) {
            (Some(read), Some(named)) => Arc::ptr_eq(read, named),
            _ => false,
        },
        LogicalPlan::SubqueryAlias(alias) => match source.get_logical_plan() {
            Some(view) => *alias.input == *view,
            None => is_scan_of(&alias.input, source),
        },
        _ => false,
    }
}

/// The input without the columns that are called as the new ones, its time apart, which gets a name of its own.
fn without_taken(input: LogicalPlan, time: Column) -> DfResult<(LogicalPlan, Column)> {
    let is_taken = |column: &Column| WindowColumn::ALL.iter().any(|taken| taken.name() == column.name);
    let hidden = Column::from_name("__window_input_time");
    let mut kept = vec![];
    for column in input.schema().columns() {
        match (is_taken(&column), column == time) {
            (false, _) => kept.push(Expr::Column(column)),
            (true, true) => kept.push(Expr::Column(column).alias(&hidden.name)),
            (true, false) => {}
        }
    }
    let time = if is_taken(&time) { hidden } else { time };
    Ok((LogicalPlanBuilder::from(input).project(kept)?.build()?, time))
}

/// The column of the input that a name means. Errors: there is none.
fn named_column(name: &Ident, input: &LogicalPlan) -> Result<Column> {
    let columns = input.schema().columns();
    let names: Vec<_> = columns.iter().map(|c| c.name.as_str()).collect();
    let Some(found) = match_name(&name.value, names.iter().copied()) else {
        let list = format!("the columns are: {}", names.join(", "));
        return Err(Error::invalid(131, format!("there is no column '{}'", name.value))
            .with_hint(did_you_mean(&name.value, names.iter().copied(), &list))
            .with_span(place(name.span)));
    };
    let column = columns.iter().find(|c| c.name == found).cloned();
    column.ok_or_else(|| Error::internal(format!("column {found} was found and lost")))
}

/// Errors: the time is no timestamp.
fn check_type(column: &Column, name: &Ident, input: &LogicalPlan) -> Result<()> {
    let field = input.schema().qualified_field_from_column(column).map_err(|e| Error::internal(e.to_string()))?.1;
    if matches!(field.data_type(), DataType::Timestamp(_, _)) {
        return Ok(());
    }
    let kind = types::display(field.data_type());
    Err(Error::invalid(148, format!("'{}' is of type {kind}, but a window needs a TIMESTAMP", column.name))
        .with_hint("declare the column as TIMESTAMP(3), or cast it in a view")
        .with_span(place(name.span)))
}

/// The type of the window's columns: that of the time.
fn time_type(time: &TimeAttribute, column: &Column, input: &LogicalPlan) -> Result<DataType> {
    if *time == TimeAttribute::Processing {
        return Ok(DataType::Timestamp(TimeUnit::Microsecond, None));
    }
    let field = input.schema().qualified_field_from_column(column).map_err(|e| Error::internal(e.to_string()))?.1;
    Ok(field.data_type().clone())
}
