//! The arguments of a window function, as they are written.

use rheos_core::error::{Error, Result, Span};
use rheos_core::window::WindowSpec;
use sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, TableFactor,
};

use crate::ddl::{expr_place, interval_ms};

/// The arguments of a window, in their places.
pub(super) struct Call {
    pub(super) data: TableFactor,
    pub(super) time: Ident,
    pub(super) spec: WindowSpec,
    /// `None`: the key of the GROUP BY above.
    pub(super) session_key: Option<Vec<Ident>>,
    /// Whether columns of the input that are called as the new ones are not read above, and may go.
    pub(super) hides_taken: bool,
}

/// The name under which PARTITION BY reaches the function; see `tokens`.
pub(crate) const PARTITION_BY: &str = "PARTITION_BY";

/// What the group function `SESSION(ts, gap)` says in place of PARTITION BY.
pub(crate) const BY_GROUP: &str = "BY_GROUP";

/// What a group function says where nothing but itself reads `window_start`, `window_end` and `window_time`.
pub(crate) const HIDES_TAKEN: &str = "HIDES_TAKEN";

impl Call {
    pub(super) fn try_new(function: &str, at: Span, args: &[FunctionArg]) -> Result<Self> {
        let title = function.to_uppercase();
        let refuse = |what: String, at: Span| Error::invalid(147, what).with_hint(usage(function)).with_span(at);
        let names = parameters(function);
        let mut given: Vec<Option<&SqlExpr>> = vec![None; names.len()];
        let mut session_key = Some(vec![]);
        let mut hides_taken = false;
        let mut position = 0;
        for arg in args {
            let (name, expr) = match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => (None, e),
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(e), .. } => (Some(name.value.clone()), e),
                FunctionArg::ExprNamed { name, arg: FunctionArgExpr::Expr(e), .. } => (Some(name.to_string()), e),
                _ => return Err(refuse(format!("'{arg}' is no argument of {title}"), at)),
            };
            let slot = match name.as_deref() {
                Some(PARTITION_BY) if function == "session" => {
                    session_key = Some(partition_columns(expr, at)?);
                    continue;
                }
                Some(PARTITION_BY) => {
                    return Err(Error::invalid(147, format!("{title} does not take PARTITION BY"))
                        .with_hint("its windows are the same for all rows: GROUP BY the key")
                        .with_span(expr_place(expr).unwrap_or(at)));
                }
                Some(BY_GROUP) => {
                    session_key = None;
                    continue;
                }
                Some(HIDES_TAKEN) => {
                    hides_taken = true;
                    continue;
                }
                Some(name) => names.iter().position(|n| n.eq_ignore_ascii_case(name)),
                None => {
                    position += 1;
                    Some(position - 1)
                }
            };
            let Some(place) = slot.and_then(|s| given.get_mut(s)) else {
                let what = format!("{title} does not take the argument '{arg}'");
                return Err(refuse(what, expr_place(expr).unwrap_or(at)));
            };
            *place = Some(expr);
        }
        let required = names.iter().filter(|n| **n != "OFFSET").count();
        if given.iter().take(required).any(Option::is_none) {
            let what = format!("{title} needs {required} arguments, but {} are given", given.iter().flatten().count());
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
            "cumulate" => WindowSpec::try_cumulate(interval(2)?, interval(3)?, interval(4)?),
            "session" => WindowSpec::try_session(interval(2)?),
            _ => WindowSpec::try_tumble(interval(2)?, interval(3)?),
        };
        Ok(Self { data, time, spec: spec.map_err(|e| e.with_span(at))?, session_key, hides_taken })
    }
}

/// The arguments of a window function, in their order.
fn parameters(function: &str) -> &'static [&'static str] {
    match function {
        "hop" => &["DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"],
        "cumulate" => &["DATA", "TIMECOL", "STEP", "SIZE", "OFFSET"],
        "session" => &["DATA", "TIMECOL", "GAP"],
        _ => &["DATA", "TIMECOL", "SIZE", "OFFSET"],
    }
}

/// The columns behind PARTITION BY.
fn partition_columns(expr: &SqlExpr, at: Span) -> Result<Vec<Ident>> {
    match expr {
        SqlExpr::Identifier(column) => Ok(vec![column.clone()]),
        SqlExpr::CompoundIdentifier(parts) => Ok(parts.last().cloned().into_iter().collect()),
        SqlExpr::Nested(inner) => partition_columns(inner, at),
        SqlExpr::Tuple(exprs) => {
            exprs.iter().map(|e| partition_columns(e, at)).collect::<Result<Vec<_>>>().map(|c| c.concat())
        }
        // Without DESCRIPTOR nothing tells where the key ends, and the rest of the arguments is read as a part of it.
        SqlExpr::Interval(_) => Err(Error::invalid(147, "SESSION with PARTITION BY needs its time in DESCRIPTOR(...)")
            .with_hint(usage("session"))
            .with_span(expr_place(expr).unwrap_or(at))),
        other => Err(Error::invalid(147, format!("PARTITION BY of a session takes columns, and '{other}' is none"))
            .with_hint("compute it in a subquery, and write SESSION((SELECT ...) PARTITION BY column, ...)")
            .with_span(expr_place(other).unwrap_or(at))),
    }
}

/// How a window function is written.
pub(crate) fn usage(function: &str) -> &'static str {
    match function {
        "hop" => "write HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '5' MINUTE, INTERVAL '1' HOUR): slide, then size",
        "cumulate" => "write CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR, INTERVAL '1' DAY): step, then size",
        "session" => "write SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), INTERVAL '10' MINUTE): the gap",
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
