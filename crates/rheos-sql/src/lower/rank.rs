//! `ROW_NUMBER`, `RANK` and `DENSE_RANK`: within a window, over all of an input that ends, or as they change while rows come.
//!
//! A condition above that keeps the first n of each partition becomes the operator's limit, so that it keeps no more.

use std::sync::Arc;

use arrow::compute::SortOptions;
use datafusion_common::{Column, DataFusionError, ScalarValue};
use datafusion_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion_expr::logical_plan::{Filter, Projection, Window};
use datafusion_expr::utils::{conjunction, split_conjunction};
use datafusion_expr::{Expr, LogicalPlan, Operator, SortExpr, WindowFunctionDefinition};
use datafusion_physical_expr::expressions::{BinaryExpr, lit};
use datafusion_physical_expr::{PhysicalExpr, PhysicalSortExpr};
use rheos_core::error::{Error, Result};
use rheos_core::source::Boundedness;
use rheos_operators::risk::may_fail;
use rheos_operators::{KeepFirstSpec, RankFunction, Tells, UpdateRankSpec, WindowColumns, WindowRankSpec, plan};
use sqlparser::keywords::Keyword;

use super::changes::Changing;
use super::stream::{Slot, Stream, unique};
use super::{Lowering, column, column_index};
use crate::event_time::{self, TimeAttribute};
use crate::windows::WindowColumn;

/// What is said of ranks that change where they cannot.
const CHANGING_RANK: Changing = Changing {
    what: "OVER without a window",
    keyword: Keyword::OVER,
    hint: "PARTITION BY window_start, window_end of a window, as in FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)",
};

/// The same of the first rows in an order.
const CHANGING_FIRST: Changing =
    Changing { what: "ORDER BY with LIMIT", keyword: Keyword::ORDER, hint: "window the query first" };

/// One `f() OVER (..)`.
struct Over {
    function: RankFunction,
    partition_by: Vec<Expr>,
    order_by: Vec<SortExpr>,
    /// Only rows with a number up to this are wanted.
    limit: Option<u64>,
    /// The name of the number; `None`: nobody reads it.
    name: Option<String>,
}

/// What a partition is made of.
struct Partition {
    keys: Vec<Expr>,
    window: Option<WindowColumns>,
    /// The ranks change as rows come.
    changes: bool,
}

/// Rows, what they are partitioned by, and what they are ordered by, over them.
type Ordered = (Stream, Vec<Arc<dyn PhysicalExpr>>, Vec<PhysicalSortExpr>);

impl Lowering<'_> {
    /// The functions of one OVER. `condition` is the filter right above, which stays where it is. `reads_number`: so is the number read
    /// there or above; else it may be missing from what is given back.
    pub(super) fn rank(&mut self, window: &Window, condition: Option<&Expr>, reads_number: bool) -> Result<Stream> {
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
            let mut over = self.over(expr)?;
            over.limit = limit;
            over.name = (reads_number || limit.is_none()).then(|| window.schema.field(width + i).name().clone());
            let number = window.schema.field(width + i).name();
            stream = self.ranked(over, &window.input, stream, number)?;
        }
        Ok(stream)
    }

    /// The first rows of each partition, above which nobody reads their number: `filter` over a rank, as [`unnumbered`] finds it.
    pub(super) fn first_rows(&mut self, filter: &Filter, window: &Window) -> Result<Stream> {
        let stream = self.rank(window, Some(&filter.predicate), false)?;
        let width = window.input.schema().fields().len();
        if stream.slots.len() > width {
            return self.filtered(stream, &filter.predicate, filter.input.schema());
        }
        let number = &window.schema.columns()[width];
        let others = split_conjunction(&filter.predicate).into_iter().filter(|c| !c.column_refs().contains(number));
        match conjunction(others.cloned()) {
            Some(others) => self.filtered(stream, &others, filter.input.schema()),
            None => Ok(stream),
        }
    }

    /// The first rows in an order, of input that goes on or changes: who is among them changes.
    pub(super) fn first_in_order(
        &mut self,
        order: &[SortExpr],
        input: &LogicalPlan,
        skip: usize,
        fetch: usize,
    ) -> Result<Stream> {
        let stream = self.lower(input)?;
        let stream = self.assigned(stream)?;
        let stream = self.compact(stream)?;
        let slots = stream.slots.clone();
        self.note_change(CHANGING_FIRST);
        let over = Over {
            function: RankFunction::RowNumber,
            partition_by: vec![],
            order_by: order.to_vec(),
            limit: Some((skip as u64).saturating_add(fetch as u64)),
            name: (skip > 0).then(|| "row_number".into()),
        };
        let partition = Partition { keys: vec![], window: None, changes: true };
        let stream = self.numbered(over, partition, input, stream, "row_number")?;
        if skip == 0 {
            return Ok(stream);
        }
        let number = column(&stream.schema, stream.width() - 1);
        let skipped = lit(ScalarValue::Int64(Some(i64::try_from(skip).unwrap_or(i64::MAX))));
        let is_behind = Arc::new(BinaryExpr::new(number, Operator::Gt, skipped));
        let node = plan::filter(self.graph, stream.node, is_behind)?;
        Ok(Stream { node, slots, ..stream })
    }

    fn over(&self, expr: &Expr) -> Result<Over> {
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
        Ok(Over { function, partition_by, order_by, limit: None, name: None })
    }

    fn ranked(&mut self, over: Over, input: &LogicalPlan, stream: Stream, number: &str) -> Result<Stream> {
        let partition = self.partition(&over.partition_by, input, &stream)?;
        self.numbered(over, partition, input, stream, number)
    }

    /// Tells window columns from keys.
    fn partition(&self, partition_by: &[Expr], input: &LogicalPlan, stream: &Stream) -> Result<Partition> {
        let logical = input.schema();
        let (mut keys, mut of_window, mut start, mut end) = (vec![], vec![], None, None);
        for key in partition_by {
            let at = match key {
                Expr::Column(c) => logical.index_of_column(c).map_err(|e| self.df(e))?,
                _ => usize::MAX,
            };
            match stream.slots.get(at).map(|slot| (*slot, stream.window_column(at))) {
                Some((Slot::Column(row), Some(WindowColumn::Start))) => start = Some(row),
                Some((Slot::Column(row), Some(WindowColumn::End))) => end = Some(row),
                Some((_, Some(WindowColumn::Time))) => {}
                _ => {
                    keys.push(key.clone());
                    continue;
                }
            }
            of_window.push(key.clone());
        }
        let is_windowed = start.is_some() || end.is_some();
        if stream.has_weights() || (!is_windowed && self.wants_changes(input)?) {
            // What changes may change after its window has ended: the window is a key like any other.
            return Ok(Partition { keys: partition_by.to_vec(), window: None, changes: true });
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
        Ok(Partition { keys, window, changes: false })
    }

    /// The rows with their number; without it where nobody reads it and the ranks change.
    fn numbered(
        &mut self,
        over: Over,
        partition: Partition,
        input: &LogicalPlan,
        stream: Stream,
        number: &str,
    ) -> Result<Stream> {
        let is_by_arrival = partition.changes && !stream.has_weights() && is_by_arrival(&over, input);
        let (rows, partition_by, order_by) = self.ordered(stream, input, &partition.keys, &over.order_by)?;
        let unique_name = || unique(rows.names().into_iter().chain([number.to_string()])).pop().unwrap_or_default();
        let (schema, function, limit) = (Arc::clone(&rows.schema), over.function, over.limit);
        let mut slots = rows.slots.clone();
        let columns = partition_by.iter().map(column_index).collect::<Option<Vec<_>>>();
        let columns = columns.ok_or_else(|| Error::internal("a partition is no column"))?;
        let spec = UpdateRankSpec {
            input: Arc::clone(&schema),
            partition_by: columns,
            order_by: order_by.clone(),
            function,
            limit,
            name: over.name.map(|_| unique_name()),
            tells: if partition.changes { Tells::Changes } else { Tells::TheLast },
            emit_interval_ms: self.emit.interval_ms,
            state_ttl_ms: None,
        };
        if !partition.changes && (partition.window.is_some() || !spec.can_tell_the_last()) {
            let (window, name) = (partition.window, unique_name());
            let spec = WindowRankSpec { input: schema, window, partition_by, order_by, function, limit, name };
            let (node, schema) = plan::rank(self.graph, rows.node, spec)?;
            slots.push(Slot::Column(schema.fields().len() - 1));
            return Ok(Stream { node, schema, slots, ..rows });
        }
        slots.extend(spec.name.is_some().then(|| Slot::Column(rows.width())));
        if is_by_arrival {
            let (key, name) = (spec.partition_by, spec.name);
            let spec = KeepFirstSpec { input: schema, key, name, state_ttl_ms: None };
            let (node, schema) = plan::keep_first(self.graph, rows.node, spec)?;
            return Ok(Stream { node, schema, slots, ..rows });
        }
        let (node, schema) = plan::update_rank(self.graph, rows.node, spec)?;
        if !partition.changes {
            return Ok(Stream { node, schema, slots, ..rows });
        }
        self.note_change(CHANGING_RANK);
        // Rows change behind the end of their window, too.
        let (window_columns, window_length) = (vec![], None);
        Ok(Stream { node, schema, slots, window_columns, window_length, ..rows })
    }

    /// What may fail for a row is computed before, where it fails for that row alone.
    fn ordered(
        &mut self,
        stream: Stream,
        input: &LogicalPlan,
        keys: &[Expr],
        order_by: &[SortExpr],
    ) -> Result<Ordered> {
        let logical = input.schema();
        let mut columns = keys.to_vec();
        for sort in order_by {
            let expr = stream.compile(&sort.expr, logical, &self.props).map_err(|e| self.df(e))?;
            columns.extend(may_fail(&expr).then(|| sort.expr.clone()));
        }
        let (rows, mut partition_by) = self.keyed(stream, input, &columns)?;
        let mut computed = partition_by.split_off(keys.len()).into_iter().peekable();
        let order = |sort: &SortExpr| {
            let expr = rows.compile(&sort.expr, logical, &self.props).map_err(|e| self.df(e))?;
            let expr = computed.next_if(|_| may_fail(&expr)).unwrap_or(expr);
            Ok(PhysicalSortExpr { expr, options: SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first } })
        };
        let order_by = order_by.iter().map(order).collect::<Result<Vec<_>>>()?;
        Ok((rows, partition_by, order_by))
    }
}

/// Whether the first row of each partition is the one that comes first: nothing that is told of it is ever taken back.
fn is_by_arrival(over: &Over, input: &LogicalPlan) -> bool {
    let [SortExpr { expr: Expr::Column(column), asc: true, .. }] = over.order_by.as_slice() else { return false };
    over.function == RankFunction::RowNumber
        && over.limit == Some(1)
        && matches!(event_time::check(input, column.clone()), Ok(TimeAttribute::Processing))
}

/// The condition and the rank of a plan whose upper part reads all but the number, and whose condition asks no more of it than that it is
/// within a limit.
pub(super) fn unnumbered<'p>(exprs: &[Expr], plan: &'p LogicalPlan) -> Option<(&'p Filter, &'p Window)> {
    let LogicalPlan::Filter(filter) = plan else { return None };
    let LogicalPlan::Window(window) = filter.input.as_ref() else { return None };
    let [_] = window.window_expr.as_slice() else { return None };
    let number = &window.schema.columns()[window.input.schema().fields().len()];
    let limit = limit(&filter.predicate, number)?;
    let reads = |e: &Expr| e.column_refs().contains(number);
    let is_within = |c: &Expr| bound(c, number).is_some_and(|(op, of)| op != Operator::Eq || (of, limit) == (1, 1));
    let mut conditions = split_conjunction(&filter.predicate).into_iter().filter(|c| reads(c));
    (!exprs.iter().any(reads) && conditions.all(is_within)).then_some((filter, window))
}

/// A condition above some columns of a rank, as these columns above the condition: right above the rank it can be its limit.
pub(super) fn right_above_rank(filter: &Filter) -> Result<Option<LogicalPlan>, DataFusionError> {
    let LogicalPlan::Projection(columns) = filter.input.as_ref() else { return Ok(None) };
    let is_rank = matches!(columns.input.as_ref(), LogicalPlan::Window(_));
    if !is_rank || !columns.expr.iter().all(|e| matches!(e, Expr::Column(_))) {
        return Ok(None);
    }
    let filter = Filter::try_new(filter.predicate.clone(), Arc::clone(&columns.input))?;
    let input = Arc::new(LogicalPlan::Filter(filter));
    let projection = Projection::try_new_with_schema(columns.expr.clone(), input, Arc::clone(&columns.schema))?;
    Ok(Some(LogicalPlan::Projection(projection)))
}

/// The largest rank that can pass a condition.
fn limit(condition: &Expr, rank: &Column) -> Option<u64> {
    let bounds = split_conjunction(condition).into_iter().filter_map(|c| Some(bound(c, rank)?.1));
    bounds.min().and_then(|n| u64::try_from(n.max(0)).ok())
}

/// `rank <= n`, `rank < n + 1` or `rank = n`: which of them, the second being the first, and n.
fn bound(condition: &Expr, rank: &Column) -> Option<(Operator, i128)> {
    let is_rank = |e: &Expr| matches!(e, Expr::Column(c) if c == rank);
    let Expr::BinaryExpr(binary) = condition else { return None };
    let (op, value) = if is_rank(&binary.left) {
        (binary.op, number(&binary.right)?)
    } else if is_rank(&binary.right) {
        (binary.op.swap()?, number(&binary.left)?)
    } else {
        return None;
    };
    match op {
        Operator::LtEq | Operator::Eq => Some((op, value)),
        Operator::Lt => Some((Operator::LtEq, value.saturating_sub(1))),
        _ => None,
    }
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
