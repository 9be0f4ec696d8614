//! Order and number of rows: `ORDER BY`, `LIMIT`; and windows put into the rows.

use arrow::datatypes::SchemaRef;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Column, DFSchema};
use datafusion_expr::logical_plan::{FetchType, Limit, SkipType};
use datafusion_expr::{Expr, LogicalPlan, SortExpr};
use rheos_core::NodeId;
use rheos_core::error::{Error, Result};
use rheos_core::source::Boundedness;
use rheos_operators::{LatePort, SortKey, SortLimit, plan};
use sqlparser::keywords::Keyword;

use super::stream::{Pending, Slot, Stream, unique};
use super::{Lowering, Takes, column_index};
use crate::event_time;
use crate::windows::WindowColumn;

impl Lowering<'_> {
    /// `ORDER BY`, with the rows to skip and to keep.
    pub(super) fn sort(
        &mut self,
        order: &[SortExpr],
        input: &LogicalPlan,
        limit: Option<(usize, usize)>,
    ) -> Result<Stream> {
        if let Some((skip, fetch)) = limit
            && self.wants_changes(input)?
            && (event_time::boundedness(input)? == Boundedness::Unbounded || self.takes == Takes::Changes)
        {
            return self.first_in_order(order, input, skip, fetch);
        }
        let hint = "add LIMIT n for the first n, which change as rows come, or window the query first";
        self.needs_end(input, "ORDER BY", Keyword::ORDER, hint)?;
        let stream = self.lower(input)?;
        let stream = self.assigned(stream)?;
        let stream = self.at_end(stream)?;
        // What is kept to the end has no columns that only other queries read.
        let mut stream = self.compact(stream)?;
        let mut compiled = vec![];
        for sort in order {
            compiled.push(stream.compile(&sort.expr, input.schema(), &self.props).map_err(|e| self.df(e))?);
        }
        // What is ordered by and not yet a column becomes one, behind the others.
        let mut columns = stream.columns();
        let width = columns.len();
        let mut keys = vec![];
        for (sort, expr) in order.iter().zip(compiled) {
            let at = column_index(&expr).unwrap_or_else(|| {
                columns.push((expr, format!("order_{}", keys.len())));
                columns.len() - 1
            });
            keys.push(SortKey { column: at, descending: !sort.asc, nulls_first: sort.nulls_first });
        }
        if columns.len() > width {
            let names = unique(columns.iter().map(|(_, n)| n.clone()));
            let columns = columns.into_iter().zip(names).map(|((e, _), n)| (e, n)).collect();
            let (node, schema) = plan::project(self.graph, stream.node, columns)?;
            stream = Stream { node, schema, ..stream };
        }
        let limit = limit.map(|(skip, fetch)| SortLimit { skip, fetch });
        let node = plan::sort(self.graph, stream.node, keys, limit)?;
        Ok(Stream { node, ..stream })
    }

    /// `LIMIT` and `OFFSET`; above an `ORDER BY` they are one operator.
    pub(super) fn limit(&mut self, limit: &Limit) -> Result<Stream> {
        let (what, keyword) = match self.keyword(Keyword::LIMIT) {
            None if self.keyword(Keyword::OFFSET).is_some() => ("OFFSET", Keyword::OFFSET),
            _ => ("LIMIT", Keyword::LIMIT),
        };
        let hint = format!("take {what} away, or read a bounded input, e.g. with 'number-of-rows'");
        if !matches!(limit.input.as_ref(), LogicalPlan::Sort(_)) {
            self.needs_end(&limit.input, what, keyword, &hint)?;
        }
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) =
            (limit.get_skip_type().map_err(|e| self.df(e))?, limit.get_fetch_type().map_err(|e| self.df(e))?)
        else {
            let error = Error::invalid(149, "LIMIT and OFFSET must be whole numbers").with_hint("write LIMIT 10");
            return Err(self.at_keyword(error, Keyword::LIMIT));
        };
        if let (LogicalPlan::Sort(sort), Some(fetch)) = (limit.input.as_ref(), fetch) {
            let fetch = sort.fetch.map_or(fetch, |f| fetch.min(f.saturating_sub(skip)));
            return self.sort(&sort.expr, &sort.input, Some((skip, fetch)));
        }
        let stream = self.lower(&limit.input)?;
        let stream = self.assigned(stream)?;
        let stream = self.at_end(stream)?;
        let node = plan::limit(self.graph, stream.node, skip, fetch)?;
        Ok(Stream { node, ..stream })
    }

    /// The stream with a pending window put into its rows: one row for each window that a row is in.
    pub(super) fn assigned(&mut self, stream: Stream) -> Result<Stream> {
        self.assigned_with(stream, None)
    }

    /// [`Lowering::assigned`]; the late rows of sessions leave by `late`.
    pub(super) fn assigned_with(&mut self, stream: Stream, late: Option<LatePort>) -> Result<Stream> {
        // Rows are copied for each of their windows, and sessions keep them: without columns that only other queries read.
        let stream = if stream.pending.is_some() && late.is_none() { self.compact(stream)? } else { stream };
        let Some(pending) = stream.pending.clone() else { return Ok(stream) };
        // Sessions are made of rows that stay.
        let stream = if pending.is_session() { self.settled(stream, "SESSION")? } else { stream };
        let width = stream.width();
        let (node, schema) = self.assigner(&stream, &pending, late)?;
        let window_columns: Vec<_> = WindowColumn::ALL.iter().enumerate().map(|(i, w)| (width + i, *w)).collect();
        let at = |w: WindowColumn| window_columns.iter().find(|c| c.1 == w).map_or(width, |c| c.0);
        let slot = |s: &Slot| match *s {
            Slot::Window(w) => Slot::Column(at(w)),
            column => column,
        };
        let slots = stream.slots.iter().map(slot).collect();
        let stream = Stream { node, schema, slots, window_columns, window_length: pending.length(), pending: None };
        self.window_conditions(stream, &pending.conditions)
    }

    fn assigner(&mut self, stream: &Stream, pending: &Pending, late: Option<LatePort>) -> Result<(NodeId, SchemaRef)> {
        let Some(time) = pending.time else {
            let hint =
                "GROUP BY window_start, window_end above it, and keep the window's columns out of the aggregates";
            let what = "a processing-time window whose rows are not aggregated by it";
            let error = self.refused(what, Keyword::FROM, hint);
            return Err(match self.window_call() {
                Some(at) => error.with_span(at),
                None => error,
            });
        };
        if !pending.is_session() {
            return plan::assign_windows(self.graph, stream.node, time, pending.spec);
        }
        let Some(key) = &pending.session_key else {
            let hint = "write FROM SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), INTERVAL '10' MINUTE)";
            return Err(self.refused("GROUP BY session(...) used in another way than as a key", Keyword::GROUP, hint));
        };
        plan::assign_sessions(self.graph, stream.node, time, pending.spec, key.clone(), late)
    }

    /// A condition on window columns alone, under their own names.
    pub(super) fn window_condition(&self, predicate: &Expr, stream: &Stream, logical: &DFSchema) -> Result<Expr> {
        let rename = |e: Expr| match &e {
            Expr::Column(c) => match stream.slots[logical.index_of_column(c)?] {
                Slot::Window(w) => Ok(Transformed::yes(Expr::Column(Column::new_unqualified(w.name())))),
                Slot::Column(_) => Ok(Transformed::no(e)),
            },
            _ => Ok(Transformed::no(e)),
        };
        predicate.clone().transform_up(rename).data().map_err(|e| self.df(e))
    }

    /// Applies conditions on window columns to rows that hold them.
    pub(super) fn window_conditions(&mut self, mut stream: Stream, conditions: &[Expr]) -> Result<Stream> {
        for condition in conditions {
            let names = stream.names();
            let rename = |e: Expr| match &e {
                Expr::Column(c) => {
                    let at = stream.window_columns.iter().find(|(_, w)| w.name() == c.name).map(|(at, _)| *at);
                    Ok(at.map_or_else(
                        || Transformed::no(e.clone()),
                        |at| Transformed::yes(Expr::Column(Column::new_unqualified(&names[at]))),
                    ))
                }
                _ => Ok(Transformed::no(e)),
            };
            let condition = condition.clone().transform_up(rename).data().map_err(|e| self.df(e))?;
            let compiled = stream.compile_renamed(&condition, &names, &self.props).map_err(|e| self.df(e))?;
            stream.node = plan::filter(self.graph, stream.node, compiled)?;
        }
        Ok(stream)
    }
}
