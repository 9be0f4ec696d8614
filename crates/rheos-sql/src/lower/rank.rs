//! `ROW_NUMBER`, `RANK` and `DENSE_RANK`: within a window, or over all of an input that ends.
//!
//! A condition above that keeps the first n of each partition becomes the operator's limit, so that it keeps no more.

use std::sync::Arc;

use arrow::compute::SortOptions;
use datafusion_common::{Column, ScalarValue};
use datafusion_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion_expr::logical_plan::Window;
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{Expr, LogicalPlan, Operator, SortExpr, WindowFunctionDefinition};
use datafusion_physical_expr::PhysicalSortExpr;
use rheos_core::error::{Error, Result};
use rheos_core::source::Boundedness;
use rheos_operators::risk::may_fail;
use rheos_operators::{RankFunction, WindowColumns, WindowRankSpec, plan};
use sqlparser::keywords::Keyword;

use super::Lowering;
use super::stream::{Slot, Stream, unique};
use crate::event_time;
use crate::windows::WindowColumn;

impl Lowering<'_> {
    /// The functions of one OVER. `condition` is the filter right above, which stays where it is.
    pub(super) fn rank(&mut self, window: &Window, condition: Option<&Expr>) -> Result<Stream> {
        let stream = self.lower(&window.input)?;
        let stream = self.assigned(stream)?;
        let mut stream = self.compact(stream)?;
        let width = window.input.schema().fields().len();
        for (i, expr) in window.window_expr.iter().enumerate() {
            // A limit would take rows away from the next function.
            let limit = match (condition, window.window_expr.len()) {
                (Some(condition), 1) => limit(condition, &window.schema.columns()[width]),
                _ => None,
            };
            stream = self.ranked(expr, &window.input, stream, limit, window.schema.field(width + i).name())?;
        }
        Ok(stream)
    }

    fn ranked(
        &mut self,
        expr: &Expr,
        input: &LogicalPlan,
        stream: Stream,
        limit: Option<u64>,
        name: &str,
    ) -> Result<Stream> {
        let Expr::WindowFunction(function) = expr.clone().unalias() else {
            return Err(Error::internal(format!("{expr} is no window function")));
        };
        let WindowFunction { fun, params } = *function;
        let WindowFunctionDefinition::WindowUDF(fun) = fun else {
            return Err(self.refused("an aggregate with OVER", Keyword::OVER, "use GROUP BY with a window"));
        };
        let function = match fun.name() {
            "row_number" => RankFunction::RowNumber,
            "rank" => RankFunction::Rank,
            "dense_rank" => RankFunction::DenseRank,
            other => {
                let hint = "ROW_NUMBER, RANK and DENSE_RANK are there";
                return Err(self.refused(&format!("{other}() OVER"), Keyword::OVER, hint));
            }
        };
        let WindowFunctionParams { partition_by, order_by, .. } = params;
        let logical = input.schema();
        let (mut keys, mut of_window, mut start, mut end) = (vec![], vec![], None, None);
        for key in partition_by {
            let at = match &key {
                Expr::Column(c) => logical.index_of_column(c).map_err(|e| self.df(e))?,
                _ => usize::MAX,
            };
            match stream.slots.get(at).map(|slot| (*slot, stream.window_column(at))) {
                Some((Slot::Column(row), Some(WindowColumn::Start))) => start = Some(row),
                Some((Slot::Column(row), Some(WindowColumn::End))) => end = Some(row),
                Some((_, Some(WindowColumn::Time))) => {}
                _ => {
                    keys.push(key);
                    continue;
                }
            }
            of_window.push(key);
        }
        let window = match (start, end) {
            (Some(start), Some(end)) => Some(WindowColumns { start, end }),
            (None, None) if of_window.is_empty() => {
                let hint = "PARTITION BY window_start, window_end of a window, as in FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)";
                self.needs_end(input, "OVER without a window", Keyword::OVER, hint)?;
                None
            }
            _ if event_time::boundedness(input)? == Boundedness::Bounded => {
                // A part of a window's columns does not tell windows apart: they are keys like any other.
                keys.extend(of_window);
                None
            }
            _ => {
                let error = Error::invalid(147, "PARTITION BY names one end of the window only")
                    .with_hint("write PARTITION BY window_start, window_end, and then the keys");
                return Err(self.at_keyword(error, Keyword::PARTITION));
            }
        };
        // What may fail for a row is computed before, where it fails for that row alone.
        let partitions = keys.len();
        for sort in &order_by {
            let expr = stream.compile(&sort.expr, logical, &self.props).map_err(|e| self.df(e))?;
            keys.extend(may_fail(&expr).then(|| sort.expr.clone()));
        }
        let (rows, mut partition_by) = self.keyed(stream, input, &keys)?;
        let mut computed = partition_by.split_off(partitions).into_iter().peekable();
        let order = |sort: &SortExpr| {
            let expr = rows.compile(&sort.expr, logical, &self.props).map_err(|e| self.df(e))?;
            let expr = computed.next_if(|_| may_fail(&expr)).unwrap_or(expr);
            Ok(PhysicalSortExpr { expr, options: SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first } })
        };
        let order_by = order_by.iter().map(order).collect::<Result<Vec<_>>>()?;
        let name = unique(rows.names().into_iter().chain([name.to_string()])).pop().unwrap_or_default();
        let input = Arc::clone(&rows.schema);
        let spec = WindowRankSpec { input, window, partition_by, order_by, function, limit, name };
        let (node, schema) = plan::rank(self.graph, rows.node, spec)?;
        let mut slots = rows.slots.clone();
        slots.push(Slot::Column(schema.fields().len() - 1));
        Ok(Stream { node, schema, slots, ..rows })
    }
}

/// The largest rank that can pass a condition.
fn limit(condition: &Expr, rank: &Column) -> Option<u64> {
    let is_rank = |e: &Expr| matches!(e, Expr::Column(c) if c == rank);
    let bounds = split_conjunction(condition).into_iter().filter_map(|c| {
        let Expr::BinaryExpr(binary) = c else { return None };
        let (op, value) = if is_rank(&binary.left) {
            (binary.op, number(&binary.right)?)
        } else if is_rank(&binary.right) {
            (binary.op.swap()?, number(&binary.left)?)
        } else {
            return None;
        };
        match op {
            Operator::LtEq | Operator::Eq => Some(value),
            Operator::Lt => Some(value.saturating_sub(1)),
            _ => None,
        }
    });
    bounds.min().and_then(|n| u64::try_from(n.max(0)).ok())
}

fn number(expr: &Expr) -> Option<i128> {
    match expr {
        Expr::Literal(ScalarValue::UInt64(Some(v)), _) => Some(i128::from(*v)),
        Expr::Literal(ScalarValue::Int64(Some(v)), _) => Some(i128::from(*v)),
        Expr::Literal(ScalarValue::Int32(Some(v)), _) => Some(i128::from(*v)),
        Expr::Literal(ScalarValue::Decimal128(Some(v), _, 0), _) => Some(*v),
        _ => None,
    }
}
