//! `GROUP BY` and `SELECT DISTINCT`.
//!
//! ```text
//!   rows ── keys, arguments, time ──► [partial] ── hash(keys) ──► aggregate ──► keys, aggregates, window
//! ```
//!
//! The window is told from the group keys: a key that is a window's column is not a key of the operator. Without one the
//! window is all of the input, which must end then; or the results change as rows come (see [`changes`](super::changes)).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::compute::SortOptions;
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::expr::NullTreatment;
use datafusion_expr::{Expr, LogicalPlan, Operator, SortExpr};
use datafusion_physical_expr::expressions::{BinaryExpr, Literal};
use datafusion_physical_expr::{PhysicalExpr, PhysicalSortExpr};
use rheos_core::error::{Error, Result};
use rheos_core::window::WindowSpec;
use rheos_operators::{AggregateCall, AggregateSpec, AggregateTime, AggregateWindow, aggregate_call, plan};
use sqlparser::keywords::Keyword;

use super::changes::Changing;
use super::stream::{Pending, Slot, Stream, unique};
use super::{Lowering, column, column_index};
use crate::diagnose;
use crate::windows::WindowColumn;

/// What a group key of the logical plan is.
pub(super) enum Key {
    /// A column of the window.
    Window(WindowColumn),
    /// A key of the operator.
    Column(Expr),
}

impl Lowering<'_> {
    /// An aggregate. `what` is the clause, for the message where the input does not end.
    pub(super) fn aggregate(
        &mut self,
        groups: &[Expr],
        aggregates: &[Expr],
        input: &LogicalPlan,
        output: &DFSchema,
        what: &str,
    ) -> Result<Stream> {
        if let [Expr::GroupingSet(sets)] = groups {
            return self.grouping_sets(sets, aggregates, input, output, what);
        }
        let logical = input.schema();
        let mut stream = self.lower(input)?;
        let mut keys = self.keys(groups, &stream, logical)?;
        let is_part = has_window(&keys) && !self.tells_windows(&stream, &keys, logical)?;
        if is_part {
            // A part of a window's columns does not tell windows apart: they are keys like any other.
            stream = self.assigned(stream)?;
            stream.window_columns.clear();
            keys = self.keys(groups, &stream, logical)?;
        }
        if self.needs_rows(&stream, &keys, aggregates, logical)? || !self.is_session_of(&stream, &keys, logical)? {
            stream = self.assigned(stream)?;
            keys = self.keys(groups, &stream, logical)?;
        }
        if stream.has_weights() || (!has_window(&keys) && self.wants_changes(input)?) {
            // What changes may change after its window has ended: the window is a key like any other.
            let mut stream = self.assigned(stream)?;
            stream.window_columns.clear();
            let keys = self.keys(groups, &stream, logical)?;
            self.note_change(self.without_window(what, is_part));
            return self.changing(stream, &keys, aggregates, logical, output);
        }
        if !has_window(&keys) {
            self.check_end(input, what, is_part)?;
        }
        self.aggregated(stream, &keys, aggregates, logical, output)
    }

    /// The aggregates of rows by keys; `output` names first the keys, then the aggregates.
    pub(super) fn aggregated(
        &mut self,
        stream: Stream,
        keys: &[Key],
        aggregates: &[Expr],
        logical: &DFSchema,
        output: &DFSchema,
    ) -> Result<Stream> {
        let stream = if has_window(keys) { self.with_both_ends(stream)? } else { stream };
        let narrow = self.narrow(&stream, keys, aggregates, logical)?;
        let mut calls = vec![];
        for (expr, field) in aggregates.iter().zip(output.fields().iter().skip(keys.len())) {
            calls.push(self.call(expr, &narrow.stream, logical)?.named(field.name()));
        }
        let names = output.fields().iter().zip(keys);
        let names = names.filter(|(_, k)| matches!(k, Key::Column(_))).map(|(f, _)| f.name().clone());
        let rows = &narrow.stream;
        let keys_of_operator = narrow.keys.iter().zip(unique(names)).map(|(at, n)| (column(&rows.schema, *at), n));
        let spec = AggregateSpec {
            input: Arc::clone(&rows.schema),
            window: narrow.window,
            time: rows.pending.as_ref().map(|p| match p.time {
                Some(column) => AggregateTime::Event(column),
                None => AggregateTime::Processing { zone: None },
            }),
            keys: keys_of_operator.collect(),
            aggregates: calls,
        };
        let (node, schema) = plan::aggregate(self.graph, rows.node, spec, narrow.keys.clone())?;
        let mut result = results(keys, aggregates.len(), narrow.window, Stream::plain(node, schema));
        result.window_length = stream.pending.as_ref().map_or(stream.window_length, Pending::length);
        let Some(pending) = stream.pending else { return Ok(result) };
        result = self.window_conditions(result, &pending.conditions)?;
        if pending.time.is_none() {
            // By the clock: no watermark says when the next window over these would be complete.
            result.window_columns.clear();
        }
        Ok(result)
    }

    pub(super) fn keys(&self, groups: &[Expr], stream: &Stream, logical: &DFSchema) -> Result<Vec<Key>> {
        let mut keys = vec![];
        for group in groups {
            let window = match group.clone().unalias() {
                Expr::Column(c) => {
                    let at = logical.index_of_column(&c).map_err(|e| self.df(e))?;
                    stream.window_column(at)
                }
                _ => None,
            };
            keys.push(window.map_or_else(|| Key::Column(group.clone().unalias()), Key::Window));
        }
        Ok(keys)
    }

    /// Whether a pending window must be put into the rows: it is used elsewhere than as a plain key, or it is no key.
    fn needs_rows(&self, stream: &Stream, keys: &[Key], aggregates: &[Expr], logical: &DFSchema) -> Result<bool> {
        if stream.pending.is_none() {
            return Ok(false);
        }
        let mut needs = !has_window(keys);
        let computed = keys.iter().filter_map(|k| match k {
            Key::Column(expr) => Some(expr),
            Key::Window(_) => None,
        });
        for expr in computed.chain(aggregates) {
            needs |= stream.needs_window(expr, logical).map_err(|e| self.df(e))?;
        }
        Ok(needs)
    }

    /// Whether the keys, with a column of the window among them, tell which window a row is in: both ends do, and one end
    /// where all windows have the same length, or where sessions that have it are of different keys.
    pub(super) fn tells_windows(&self, stream: &Stream, keys: &[Key], logical: &DFSchema) -> Result<bool> {
        let has = |window| keys.iter().any(|k| matches!(k, Key::Window(w) if *w == window));
        let both = has(WindowColumn::Start) && (has(WindowColumn::End) || has(WindowColumn::Time));
        let Some(pending) = &stream.pending else {
            let in_rows = |window| stream.window_columns.iter().any(|(_, w)| *w == window);
            let (start, end) = (in_rows(WindowColumn::Start), in_rows(WindowColumn::End));
            return Ok(match stream.window_length {
                Some(_) => start || end,
                None => start && end && both,
            });
        };
        if both || pending.length().is_some() {
            return Ok(true);
        }
        if !pending.is_session() {
            return Ok(false);
        }
        let mut grouped = vec![];
        for key in keys {
            if let Key::Column(Expr::Column(column)) = key {
                grouped.push(stream.slots[logical.index_of_column(column).map_err(|e| self.df(e))?]);
            }
        }
        Ok(pending.session_key.iter().flatten().all(|at| grouped.contains(&Slot::Column(*at))))
    }

    /// Whether the session of a pending window is that of the group keys; any other pending window is anyone's.
    fn is_session_of(&self, stream: &Stream, keys: &[Key], logical: &DFSchema) -> Result<bool> {
        let Some(pending) = stream.pending.as_ref().filter(|p| p.is_session()) else { return Ok(true) };
        let Some(session_key) = &pending.session_key else { return Ok(true) };
        let mut grouped = vec![];
        for key in keys {
            if let Key::Column(expr) = key {
                let at = column_index(&stream.compile(expr, logical, &self.props).map_err(|e| self.df(e))?);
                let Some(at) = at.filter(|at| session_key.contains(at)) else { return Ok(false) };
                grouped.push(at);
            }
        }
        Ok(session_key.iter().all(|at| grouped.contains(at)))
    }

    /// Refuses an aggregate without a window, unless its input ends. `is_part`: its keys are a part of a window's columns.
    pub(super) fn check_end(&self, input: &LogicalPlan, what: &str, is_part: bool) -> Result<()> {
        let unbounded = self.without_window(what, is_part);
        self.needs_end(input, unbounded.what, unbounded.keyword, unbounded.hint)
    }

    /// How an aggregate without a window is called, and what would have one.
    pub(super) fn without_window(&self, what: &str, is_part: bool) -> Changing {
        let changing = |what, keyword, hint| Changing { what, keyword, hint };
        if what == "SELECT DISTINCT"
            && let Some((what, keyword)) = self.set_operation()
        {
            let hint = match keyword {
                Keyword::UNION => "write UNION ALL, and select DISTINCT within a window if rows must not come twice",
                _ => "join windows, as in WHERE EXISTS, or read input that ends",
            };
            return changing(what, keyword, hint);
        }
        if is_part {
            return match what {
                "SELECT DISTINCT" => changing(
                    "SELECT DISTINCT of one end of a window",
                    Keyword::DISTINCT,
                    "select window_start and window_end: windows that share one end may differ in the other",
                ),
                "GROUPING SETS" => changing(
                    "a grouping set without the whole window",
                    Keyword::GROUP,
                    "have window_start and window_end in every set, as in GROUP BY window_start, window_end, ROLLUP (k)",
                ),
                _ => changing(
                    "GROUP BY one end of a window",
                    Keyword::GROUP,
                    "group by window_start and window_end, and keep both in inner queries: windows that share one end may differ in the other",
                ),
            };
        }
        let (what, keyword, hint) = match what {
            "SELECT DISTINCT" => (
                "SELECT DISTINCT",
                Keyword::DISTINCT,
                "select DISTINCT within a window: SELECT DISTINCT window_start, window_end, x FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)",
            ),
            _ => (
                "GROUP BY without a window",
                Keyword::GROUP,
                "group by a window, as in GROUP BY tumble(ts, INTERVAL '1' MINUTE), or read FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE) and GROUP BY window_start, window_end",
            ),
        };
        let what = if self.keyword(keyword).is_none() { "an aggregate without a window" } else { what };
        changing(what, keyword, hint)
    }

    /// The rows with both ends of their windows, where all windows have one length and a query in between has kept one end.
    fn with_both_ends(&mut self, stream: Stream) -> Result<Stream> {
        let end_at = |window| stream.window_columns.iter().find(|(_, w)| *w == window).map(|(at, _)| *at);
        let length_us = stream.window_length.and_then(|ms| ms.checked_mul(1000));
        let (at, operator, missing) = match (end_at(WindowColumn::Start), end_at(WindowColumn::End)) {
            (Some(start), None) => (start, Operator::Plus, WindowColumn::End),
            (None, Some(end)) => (end, Operator::Minus, WindowColumn::Start),
            _ => return Ok(stream),
        };
        let Some(length_us) = length_us.filter(|_| stream.pending.is_none()) else { return Ok(stream) };
        let length = Arc::new(Literal::new(ScalarValue::DurationMicrosecond(Some(length_us))));
        let other = Arc::new(BinaryExpr::new(column(&stream.schema, at), operator, length));
        let width = stream.width();
        let mut columns = stream.columns();
        columns.push((other, missing.name().to_string()));
        let names = unique(columns.iter().map(|(_, n)| n.clone()));
        let columns = columns.into_iter().zip(names).map(|((e, _), n)| (e, n)).collect();
        let (node, schema) = plan::project(self.graph, stream.node, columns)?;
        let window_columns = stream.window_columns.iter().copied().chain([(width, missing)]).collect();
        Ok(Stream { node, schema, window_columns, ..stream })
    }

    /// The rows with the columns that the aggregate needs and no others; every key is one of them.
    pub(super) fn narrow(
        &mut self,
        stream: &Stream,
        keys: &[Key],
        aggregates: &[Expr],
        logical: &DFSchema,
    ) -> Result<Narrow> {
        let names = stream.names();
        let mut needed: Vec<usize> = vec![];
        for expr in aggregates {
            needed.extend(stream.reads(expr, logical).map_err(|e| self.df(e))?);
        }
        let mut compiled = vec![];
        for key in keys {
            if let Key::Column(expr) = key {
                let expr = stream.compile(expr, logical, &self.props).map_err(|e| self.df(e))?;
                needed.extend(column_index(&expr));
                compiled.push(expr);
            }
        }
        let is_windowed = has_window(keys);
        needed.extend(stream.pending.iter().flat_map(Pending::reads));
        if is_windowed {
            needed.extend(stream.window_columns.iter().map(|(at, _)| *at));
        }
        needed.sort_unstable();
        needed.dedup();
        if needed.is_empty() && stream.width() > 0 {
            needed.push(0);
        }
        let mut columns: Vec<(Arc<dyn PhysicalExpr>, String)> =
            needed.iter().map(|at| (column(&stream.schema, *at), names[*at].clone())).collect();
        let moved: BTreeMap<usize, usize> = needed.iter().enumerate().map(|(to, from)| (*from, to)).collect();
        let mut key_columns = vec![];
        for expr in compiled {
            key_columns.push(match column_index(&expr).and_then(|at| moved.get(&at)) {
                Some(at) => *at,
                None => {
                    columns.push((Arc::clone(&expr), format!("key_{}", key_columns.len())));
                    columns.len() - 1
                }
            });
        }
        let rows = self.reduced(stream, columns, &moved)?;
        let window = match (&rows.pending, is_windowed) {
            (Some(Pending { spec, .. }), _) => AggregateWindow::Assign(*spec),
            (None, true) => {
                let at = |w| rows.window_columns.iter().find(|(_, c)| *c == w).map(|(at, _)| *at);
                match (at(WindowColumn::Start), at(WindowColumn::End)) {
                    (Some(start), Some(end)) => AggregateWindow::Columns { start, end },
                    _ => return Err(Error::internal("an end of the window is not in the rows")),
                }
            }
            (None, false) => AggregateWindow::Assign(WindowSpec::Global),
        };
        Ok(Narrow { stream: rows, keys: key_columns, window })
    }

    /// The stream reduced to `columns`; untouched where they are what it has.
    fn reduced(
        &mut self,
        stream: &Stream,
        columns: Vec<(Arc<dyn PhysicalExpr>, String)>,
        moved: &BTreeMap<usize, usize>,
    ) -> Result<Stream> {
        if columns.len() == stream.width() && moved.len() == columns.len() {
            return Ok(stream.clone());
        }
        let names = unique(columns.iter().map(|(_, n)| n.clone()));
        let columns = columns.into_iter().zip(names).map(|((e, _), n)| (e, n)).collect();
        let (node, schema) = plan::project(self.graph, stream.node, columns)?;
        let slot = |slot: &Slot| match slot {
            // A column that nobody reads any more may point anywhere.
            Slot::Column(at) => Slot::Column(moved.get(at).copied().unwrap_or(0)),
            window => *window,
        };
        let window_columns = stream.window_columns.iter().filter_map(|(at, w)| Some((*moved.get(at)?, *w))).collect();
        let pending = stream.pending.clone().map(|p| p.moved(|at| moved.get(&at).copied().unwrap_or(0)));
        let slots = stream.slots.iter().map(slot).collect();
        Ok(Stream { node, schema, slots, window_columns, window_length: stream.window_length, pending })
    }

    /// One aggregate function over the rows.
    pub(super) fn call(&self, expr: &Expr, stream: &Stream, logical: &DFSchema) -> Result<AggregateCall> {
        let Expr::AggregateFunction(function) = expr.clone().unalias_nested().data else {
            return Err(Error::internal(format!("{expr} is no aggregate")));
        };
        let params = function.params;
        let compile = |e: &Expr| stream.compile(e, logical, &self.props).map_err(|e| self.df(e));
        let args = params.args.iter().map(compile).collect::<Result<Vec<_>>>()?;
        let filter = params.filter.as_deref().map(compile).transpose()?;
        let order = |sort: &SortExpr| {
            let options = SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first };
            Ok(PhysicalSortExpr { expr: compile(&sort.expr)?, options })
        };
        let order_by = params.order_by.iter().map(order).collect::<Result<Vec<_>>>()?;
        let ignore_nulls = params.null_treatment == Some(NullTreatment::IgnoreNulls);
        let call =
            aggregate_call(&function.func, args, params.distinct, filter, order_by, &stream.schema, ignore_nulls);
        call.map_err(|e| match diagnose::call(self.tokens, function.func.name()) {
            Some(place) if e.span().is_none() => e.with_span(place),
            _ => e,
        })
    }
}

/// Whether a column of the window is among the keys.
pub(super) fn has_window(keys: &[Key]) -> bool {
    keys.iter().any(|k| matches!(k, Key::Window(_)))
}

/// The rows that an aggregate reads.
pub(super) struct Narrow {
    pub(super) stream: Stream,
    /// Where the keys are.
    pub(super) keys: Vec<usize>,
    window: AggregateWindow,
}

/// The operator's columns (keys, aggregates, window) as those of the logical plan (groups, aggregates).
fn results(keys: &[Key], aggregates: usize, window: AggregateWindow, mut stream: Stream) -> Stream {
    let plain = keys.iter().filter(|k| matches!(k, Key::Column(_))).count();
    let windows = plain + aggregates;
    let mut next = 0;
    let mut slots = vec![];
    for key in keys {
        slots.push(Slot::Column(match key {
            Key::Window(w) => windows + *w as usize,
            Key::Column(_) => {
                next += 1;
                next - 1
            }
        }));
    }
    slots.extend((plain..windows).map(Slot::Column));
    if window != AggregateWindow::Assign(WindowSpec::Global) {
        stream.window_columns = WindowColumn::ALL.iter().map(|w| (windows + *w as usize, *w)).collect();
    }
    stream.slots = slots;
    stream
}
