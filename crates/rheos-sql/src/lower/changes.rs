//! Results that change as rows come and go.
//!
//! ```text
//!   endless, or wanted so:  rows ── hash(keys) ──► group ──► -old, +new ──► ... ──► a target that takes changes
//!   input that ends:                                              ... ──► rows at the end ──► any other target
//! ```
//!
//! What cannot take rows that go gets the rows that are there when the input has ended; where it does not end, it is refused by
//! its name.

use std::sync::Arc;

use datafusion_common::DFSchema;
use datafusion_expr::{Expr, LogicalPlan};
use rheos_core::error::{Error, Result};
use rheos_core::source::Boundedness;
use rheos_operators::{GroupAggregateSpec, GroupEmits, plan};
use sqlparser::keywords::Keyword;

use super::aggregate::Key;
use super::stream::{Stream, unique};
use super::{Lowering, Takes, Task, column};
use crate::event_time;
use crate::settings::EmitMode;

/// A part of a query whose result changes, as its author calls it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changing {
    pub(super) what: &'static str,
    pub(super) keyword: Keyword,
    /// What would not change.
    pub(super) hint: &'static str,
}

impl Lowering<'_> {
    /// Notes what makes a result change: the first of several is what is told where that cannot be.
    pub(super) fn note_change(&mut self, changing: Changing) {
        self.changing.get_or_insert(changing);
    }

    /// Whether a result over `input` that may change later is given at once, and its changes then.
    pub(super) fn wants_changes(&self, input: &LogicalPlan) -> Result<bool> {
        Ok(match self.emit.mode {
            EmitMode::Changes => true,
            EmitMode::Final => false,
            EmitMode::Auto => event_time::boundedness(input)? == Boundedness::Unbounded,
        })
    }

    /// The aggregates of rows by keys, none of which is a window's; `output` names first the keys, then the aggregates.
    pub(super) fn changing(
        &mut self,
        stream: Stream,
        keys: &[Key],
        aggregates: &[Expr],
        logical: &DFSchema,
        output: &DFSchema,
    ) -> Result<Stream> {
        let narrow = self.narrow(&stream, keys, aggregates, logical)?;
        let rows = &narrow.stream;
        let mut calls = vec![];
        for (expr, field) in aggregates.iter().zip(output.fields().iter().skip(keys.len())) {
            calls.push(self.call(expr, rows, logical)?.named(field.name()));
        }
        let names = unique(output.fields().iter().take(keys.len()).map(|f| f.name().clone()));
        let key_columns = narrow.keys.iter().zip(names).map(|(at, name)| (column(&rows.schema, *at), name)).collect();
        let emits = match calls.is_empty() && !keys.is_empty() && !rows.has_weights() {
            true => GroupEmits::New,
            false => GroupEmits::Changes,
        };
        let mut spec = GroupAggregateSpec::new(Arc::clone(&rows.schema), key_columns, calls, emits);
        spec.emit_interval_ms = self.emit.interval_ms;
        let (node, schema) = plan::group_aggregate(self.graph, rows.node, spec, narrow.keys.clone())?;
        Ok(Stream::plain(node, schema))
    }

    /// The rows as the target of a task takes them. Errors: `Invalid` (R0700, R0701) where they change for ever and it takes
    /// rows that stay.
    pub(super) fn for_target(&mut self, stream: Stream, task: &Task) -> Result<Stream> {
        if !stream.has_weights() {
            return Ok(stream);
        }
        let ends = event_time::boundedness(&task.plan)? == Boundedness::Bounded;
        let takes = match self.emit.mode {
            EmitMode::Final => Takes::Final,
            _ => task.target.takes,
        };
        match (takes, ends) {
            (_, false) if self.emit.mode == EmitMode::Final => Err(self.never_final()),
            (Takes::Changes, _) | (Takes::ChangesOfEndless, false) => Ok(stream),
            (_, true) => self.at_end(stream),
            (Takes::Final, false) => Err(self.changes_for_ever(task.target.table.as_deref())),
        }
    }

    fn never_final(&self) -> Error {
        let (keyword, code) = (Keyword::NoKeyword, 146);
        let error = Error::invalid(code, "rows that change, of an endless stream, are never final");
        self.at_keyword(error.with_hint("give their changes: SET 'emit.mode' = 'changes', or EMIT CHANGES"), keyword)
    }

    fn changes_for_ever(&self, table: Option<&str>) -> Error {
        let unknown = Changing { what: "this query", keyword: Keyword::NoKeyword, hint: "read input that ends" };
        let Changing { what, keyword, hint } = self.changing.unwrap_or(unknown);
        let what = format!("{what} on an endless stream has a result that changes");
        let error = match table {
            None => {
                Error::invalid(700, what).with_hint(format!("print the changes with --output changelog, or {hint}"))
            }
            Some(table) => Error::invalid(701, format!("{what}, and the table '{table}' only takes rows that stay"))
                .with_hint(format!("write to a table that takes changes, as those of 'print' do, or {hint}")),
        };
        self.at_keyword(error, keyword)
    }

    /// Rows that only come, for what takes no others: those that are there when the input has ended.
    pub(super) fn settled(&mut self, stream: Stream, what: &str) -> Result<Stream> {
        if stream.has_weights() && self.graph.is_endless(stream.node) {
            return Err(Error::invalid(142, format!("{what} over rows that change is not supported yet")).with_hint(
                format!("use {what} where rows only come: below the GROUP BY or join whose result changes"),
            ));
        }
        self.at_end(stream)
    }

    /// The rows that are there when the input has ended; as they are where they only come.
    pub(super) fn at_end(&mut self, stream: Stream) -> Result<Stream> {
        if !stream.has_weights() {
            return Ok(stream);
        }
        let stream = self.compact(stream)?;
        let (node, schema) = plan::at_end(self.graph, stream.node)?;
        Ok(Stream { node, schema, ..stream })
    }
}
