//! `TUMBLE` and `HOP` as relations: they add `window_start`, `window_end` and `window_time` to every row.
//!
//! ```text
//!   TUMBLE(t, DESCRIPTOR(ts), size [, offset])          t: table, view, CTE or subquery
//!   HOP(t, DESCRIPTOR(ts), slide, size [, offset])      by name: DATA, TIMECOL, SIZE, SLIDE, OFFSET
//! ```
//!
//! In the logical plan a window is an extension node above its input. It needs its time column whatever is read from
//! it, and no predicate on the three new columns moves below it.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion_common::{Column, DFSchema, DFSchemaRef, Result as DfResult, internal_err};
use datafusion_expr::logical_plan::{Extension, UserDefinedLogicalNodeCore};
use datafusion_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion_expr::{Expr, LogicalPlan};
use rheos_core::error::{Error, Result, Span, did_you_mean};
use rheos_core::window::WindowSpec;
use sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Spanned, TableAlias,
    TableFactor,
};

use crate::catalog::match_name;
use crate::ddl::{expr_place, interval_ms};
use crate::diagnose::external;
use crate::event_time;
use crate::tokens::place;
use crate::types;

/// The columns that a window adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum WindowColumn {
    /// First microsecond.
    Start,
    /// Just behind the last one.
    End,
    /// One millisecond before the end: the event time of what the window yields.
    Time,
}

impl WindowColumn {
    /// In the order in which they are added.
    pub(crate) const ALL: [Self; 3] = [Self::Start, Self::End, Self::Time];

    /// The column's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Start => "window_start",
            Self::End => "window_end",
            Self::Time => "window_time",
        }
    }
}

/// Puts rows into windows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct WindowNode {
    pub(crate) input: LogicalPlan,
    /// A column of the input.
    pub(crate) time: Expr,
    pub(crate) spec: WindowSpec,
    schema: DFSchemaRef,
}

impl WindowNode {
    fn try_new(input: LogicalPlan, time: Expr, spec: WindowSpec) -> DfResult<Self> {
        let Expr::Column(column) = &time else { return internal_err!("the window's time is not a column") };
        let data_type = input.schema().qualified_field_from_column(column)?.1.data_type().clone();
        let mut fields: Vec<_> = input.schema().iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
        for column in WindowColumn::ALL {
            // A row without an event time is in no window, so they are never null behind the operator.
            fields.push((None, Arc::new(Field::new(column.name(), data_type.clone(), false))));
        }
        let schema = DFSchema::new_with_metadata(fields, input.schema().metadata().clone())?;
        Ok(Self { input, time, spec, schema: Arc::new(schema) })
    }

    /// Where the time column is in the input.
    pub(crate) fn time_index(&self) -> DfResult<usize> {
        match &self.time {
            Expr::Column(column) => self.input.schema().index_of_column(column),
            _ => internal_err!("the window's time is not a column"),
        }
    }
}

impl PartialOrd for WindowNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.input.partial_cmp(&other.input) {
            Some(Ordering::Equal) if self != other => self.time.partial_cmp(&other.time),
            order => order,
        }
    }
}

impl UserDefinedLogicalNodeCore for WindowNode {
    fn name(&self) -> &str {
        "Window"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.time.clone()]
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        WindowColumn::ALL.iter().map(|c| c.name().to_string()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Window: {} on {}", self.spec, self.time)
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        match (exprs.pop(), inputs.pop()) {
            (Some(time), Some(input)) => Self::try_new(input, time, self.spec),
            _ => internal_err!("a window has one time and one input"),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input.schema().fields().len();
        let mut needed: Vec<_> = output_columns.iter().copied().filter(|c| *c < width).collect();
        needed.push(self.time_index().ok()?);
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

/// Plans `TUMBLE(...)` and `HOP(...)` in FROM.
#[derive(Debug)]
pub(crate) struct WindowFunctions;

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
        match function.as_str() {
            "tumble" | "hop" => plan(&function, at, &args.args, alias.clone(), context),
            "session" | "cumulate" => Err(external(not_yet(&function).with_span(at))),
            _ => {
                let hint = did_you_mean(&function, ["tumble", "hop"], "the table functions are TUMBLE and HOP");
                let error = Error::invalid(133, format!("there is no table function '{name}'"));
                Err(external(error.with_hint(hint).with_span(at)))
            }
        }
    }
}

/// `SESSION` and `CUMULATE` are known and not there yet.
pub(crate) fn not_yet(function: &str) -> Error {
    Error::invalid(142, format!("{} windows are not supported yet", function.to_uppercase()))
        .with_hint("use TUMBLE or HOP")
}

fn plan(
    function: &str,
    at: Span,
    args: &[FunctionArg],
    alias: Option<TableAlias>,
    context: &mut dyn RelationPlannerContext,
) -> DfResult<RelationPlanning> {
    let call = Call::try_new(function, at, args).map_err(external)?;
    let input = context.plan(call.data)?;
    let time = time_column(&call.time, &input).map_err(external)?;
    let time = event_time::check(&input, time).map_err(|e| external(e.with_span(place(call.time.span))))?;
    if let Some(taken) = WindowColumn::ALL.iter().find(|c| input.schema().has_column_with_unqualified_name(c.name())) {
        let error = Error::invalid(147, format!("the input of the window has a column '{}' already", taken.name()))
            .with_hint("give that column another name in a subquery, and window over that one");
        return Err(external(error.with_span(at)));
    }
    let node = WindowNode::try_new(input, time, call.spec)?;
    let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
    Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
}

/// The arguments of a window, in their places.
struct Call {
    data: TableFactor,
    time: Ident,
    spec: WindowSpec,
}

impl Call {
    fn try_new(function: &str, at: Span, args: &[FunctionArg]) -> Result<Self> {
        let usage = usage(function);
        let refuse = |what: String, at: Span| Error::invalid(147, what).with_hint(usage).with_span(at);
        let names: &[&str] = if function == "hop" {
            &["DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"]
        } else {
            &["DATA", "TIMECOL", "SIZE", "OFFSET"]
        };
        let mut given: Vec<Option<&SqlExpr>> = vec![None; names.len()];
        for (i, arg) in args.iter().enumerate() {
            let (slot, expr) = match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => (Some(i), e),
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(e), .. } => {
                    (names.iter().position(|n| n.eq_ignore_ascii_case(&name.value)), e)
                }
                FunctionArg::ExprNamed { name, arg: FunctionArgExpr::Expr(e), .. } => {
                    (names.iter().position(|n| n.eq_ignore_ascii_case(&name.to_string())), e)
                }
                _ => return Err(refuse(format!("'{arg}' is no argument of {}", function.to_uppercase()), at)),
            };
            let Some(place) = slot.and_then(|s| given.get_mut(s)) else {
                let what = format!("{} does not take the argument '{arg}'", function.to_uppercase());
                return Err(refuse(what, expr_place(expr).unwrap_or(at)));
            };
            *place = Some(expr);
        }
        let required = names.len() - 1;
        if given.iter().take(required).any(Option::is_none) {
            let what = format!("{} needs {required} arguments, but {} are given", function.to_uppercase(), args.len());
            return Err(refuse(what, at));
        }
        let expr = |i: usize| given.get(i).copied().flatten();
        let interval = |i: usize| match expr(i) {
            Some(e) => interval_ms(e).map_err(|error| error.with_span(expr_place(e).unwrap_or(at))),
            None => Ok(0),
        };
        let data = expr(0).ok_or_else(|| refuse("the table is missing".into(), at)).and_then(|e| relation(e, at))?;
        let time =
            expr(1).ok_or_else(|| refuse("the time column is missing".into(), at)).and_then(|e| descriptor(e, at))?;
        let spec = match function {
            "hop" => WindowSpec::try_hop(interval(2)?, interval(3)?, interval(4)?),
            _ => WindowSpec::try_tumble(interval(2)?, interval(3)?),
        };
        Ok(Self { data, time, spec: spec.map_err(|e| e.with_span(at))? })
    }
}

/// How a window function is written.
pub(crate) fn usage(function: &str) -> &'static str {
    match function {
        "hop" => "write HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '5' MINUTE, INTERVAL '1' HOUR): slide, then size",
        _ => "write TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR)",
    }
}

/// A table factor without any of its decorations.
pub(crate) fn bare_table(name: ObjectName) -> TableFactor {
    TableFactor::Table {
        name,
        alias: None,
        args: None,
        with_hints: vec![],
        version: None,
        with_ordinality: false,
        partitions: vec![],
        json_path: None,
        sample: None,
        index_hints: vec![],
    }
}

fn relation(expr: &SqlExpr, at: Span) -> Result<TableFactor> {
    match expr {
        SqlExpr::Identifier(name) => Ok(bare_table(ObjectName::from(vec![name.clone()]))),
        SqlExpr::CompoundIdentifier(parts) => Ok(bare_table(ObjectName::from(parts.clone()))),
        SqlExpr::Subquery(query) => {
            Ok(TableFactor::Derived { lateral: false, subquery: query.clone(), alias: None, sample: None })
        }
        SqlExpr::Nested(inner) => relation(inner, at),
        other => Err(Error::invalid(147, format!("'{other}' is not a table"))
            .with_hint("the first argument is a table, a view, or a query in parentheses")
            .with_span(expr_place(other).unwrap_or(at))),
    }
}

fn descriptor(expr: &SqlExpr, at: Span) -> Result<Ident> {
    let refuse = |e: &SqlExpr| {
        Err(Error::invalid(147, format!("'{e}' is not a time column"))
            .with_hint("the second argument is DESCRIPTOR(column), or the column alone")
            .with_span(expr_place(e).unwrap_or(at)))
    };
    match expr {
        SqlExpr::Identifier(column) => Ok(column.clone()),
        SqlExpr::CompoundIdentifier(parts) => parts.last().cloned().map_or_else(|| refuse(expr), Ok),
        SqlExpr::Function(f) if f.name.to_string().eq_ignore_ascii_case("descriptor") => match &f.args {
            FunctionArguments::List(list) => match list.args.as_slice() {
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(inner))] => descriptor(inner, at),
                _ => refuse(expr),
            },
            _ => refuse(expr),
        },
        other => refuse(other),
    }
}

/// The column that a descriptor names. Errors: there is none, or it is no timestamp.
fn time_column(name: &Ident, input: &LogicalPlan) -> Result<Column> {
    let columns = input.schema().columns();
    let names: Vec<_> = columns.iter().map(|c| c.name.as_str()).collect();
    let Some(found) = match_name(&name.value, names.iter().copied()) else {
        let list = format!("the columns are: {}", names.join(", "));
        return Err(Error::invalid(131, format!("there is no column '{}'", name.value))
            .with_hint(did_you_mean(&name.value, names.iter().copied(), &list))
            .with_span(place(name.span)));
    };
    let Some((column, field)) = columns.iter().zip(input.schema().fields()).find(|(c, _)| c.name == found) else {
        return Err(Error::internal(format!("column {found} was found and lost")));
    };
    if !matches!(field.data_type(), DataType::Timestamp(_, _)) {
        let kind = types::display(field.data_type());
        return Err(Error::invalid(148, format!("'{found}' is of type {kind}, but a window needs a TIMESTAMP"))
            .with_hint("declare the column as TIMESTAMP(3), or cast it in a view")
            .with_span(place(name.span)));
    }
    Ok(column.clone())
}
