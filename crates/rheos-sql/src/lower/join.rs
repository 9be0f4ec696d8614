//! Joins of windows, and of inputs that end.
//!
//! ```text
//!   left  ── keys ──► hash(keys) ──┐
//!                                  ├──► window join ──► left columns, right columns
//!   right ── keys ──► hash(keys) ──┘
//! ```
//!
//! Both sides of a window join carry their windows, and the condition says that they are the same. Without windows both
//! inputs must end; what a join of endless inputs gives changes later: see [`update_join`](super::update_join).

use std::sync::Arc;

use datafusion_common::{DFSchema, JoinType};
use datafusion_expr::logical_plan::Join;
use datafusion_expr::{Expr, LogicalPlan};
use datafusion_physical_expr::PhysicalExpr;
use rheos_core::error::Result;
use rheos_core::source::Boundedness;
use rheos_operators::{WindowColumns, WindowJoinInput, WindowJoinSpec, plan};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

use super::stream::{Pending, Slot, Stream, unique};
use super::{Lowering, column, column_index};
use crate::event_time;
use crate::windows::WindowColumn;

impl Lowering<'_> {
    pub(super) fn join(&mut self, join: &Join) -> Result<Stream> {
        if join.null_aware {
            let hint = "write NOT EXISTS (SELECT 1 FROM ... WHERE ...), which says what null means";
            return Err(self.refused("NOT IN (SELECT ...)", Keyword::IN, hint));
        }
        if let Some((joins, keys)) = self.joins_by_one_key(join)? {
            return self.multi_join(&joins, keys);
        }
        let (left, right) = (self.side_rows(&join.left)?, self.side_rows(&join.right)?);
        let window = common_window(join, &left, &right);
        if self.join_changes(join, &left, &right, window.is_some())? {
            return self.updating_join(join, left, right);
        }
        if window.is_none() {
            self.check_join_ends(join, &left, &right)?;
        }
        let is_key = |pair: &&(Expr, Expr)| window.is_none() || same_window_column(pair, join, &left, &right).is_none();
        let pairs: Vec<_> = join.on.iter().filter(is_key).cloned().collect();
        let (left_keys, right_keys): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let (left, left_keys) = self.keyed(left, &join.left, &left_keys)?;
        let (right, right_keys) = self.keyed(right, &join.right, &right_keys)?;
        let filter = join.filter.as_ref().map(|f| self.residual(f, join, &left, &right)).transpose()?;
        let nodes = [left.node, right.node];
        let side = |stream: &Stream, window, keys| WindowJoinInput { schema: Arc::clone(&stream.schema), window, keys };
        let spec = WindowJoinSpec {
            left: side(&left, window.map(|w| w.0), left_keys),
            right: side(&right, window.map(|w| w.1), right_keys),
            kind: join.join_type,
            filter,
            null_equality: join.null_equality,
        };
        if let Some(stream) = self.broadcast_join(join, [&left, &right], &spec)? {
            return Ok(stream);
        }
        let (node, schema) = plan::window_join(self.graph, nodes, spec)?;
        Ok(joined(join.join_type, window.is_some(), &left, &right, Stream::plain(node, schema)))
    }

    /// The rows of one side, with its window in them and no columns that nobody reads.
    pub(super) fn side_rows(&mut self, input: &LogicalPlan) -> Result<Stream> {
        let stream = self.lower(input)?;
        let stream = self.assigned(stream)?;
        self.compact(stream)
    }

    /// The rows reduced to the columns that the plan knows; what is exchanged costs.
    pub(super) fn compact(&mut self, stream: Stream) -> Result<Stream> {
        let mut kept: Vec<usize> = vec![];
        for slot in &stream.slots {
            if let Slot::Column(at) = *slot
                && !kept.contains(&at)
            {
                kept.push(at);
            }
        }
        for at in stream.pending.iter().flat_map(Pending::reads) {
            if !kept.contains(&at) {
                kept.push(at);
            }
        }
        if kept.len() == stream.width() || kept.is_empty() {
            return Ok(stream);
        }
        // As they stand where nothing has to be left out: what is stored of such rows is the same then.
        kept.sort_unstable();
        let names = stream.names();
        let columns = kept.iter().map(|at| (column(&stream.schema, *at), names[*at].clone())).collect();
        let (node, schema) = plan::project(self.graph, stream.node, columns)?;
        let to = |at: usize| kept.iter().position(|k| *k == at);
        let slot = |slot: &Slot| match *slot {
            Slot::Column(at) => Slot::Column(to(at).unwrap_or(0)),
            window => window,
        };
        let slots = stream.slots.iter().map(slot).collect();
        let window_columns = stream.window_columns.iter().filter_map(|(at, w)| Some((to(*at)?, *w))).collect();
        let pending = stream.pending.map(|p| p.moved(|at| to(at).unwrap_or(0)));
        Ok(Stream { node, schema, slots, window_columns, window_length: stream.window_length, pending })
    }

    fn check_join_ends(&self, join: &Join, left: &Stream, right: &Stream) -> Result<()> {
        let sides = [event_time::boundedness(&join.left)?, event_time::boundedness(&join.right)?];
        if sides == [Boundedness::Bounded; 2] {
            return Ok(());
        }
        let (what, hint) = match (left.window_columns.is_empty(), right.window_columns.is_empty()) {
            (false, false) => (
                "a join of two windows without the same start and end",
                "add ON l.window_start = r.window_start AND l.window_end = r.window_end",
            ),
            _ => (
                "JOIN of endless streams outside of windows",
                "window both sides alike, as in FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE), and join ON l.window_start = r.window_start AND l.window_end = r.window_end",
            ),
        };
        if self.keyword(Keyword::JOIN).is_none()
            && let Some((what, keyword)) = self.set_operation()
        {
            let what = format!("{what} on an endless stream");
            return Err(self.refused(&what, keyword, "join windows, as in WHERE EXISTS, or read input that ends"));
        }
        match self.subquery() {
            Some((what, keyword)) if self.keyword(Keyword::JOIN).is_none() => {
                Err(self.refused(&format!("{what} over endless streams outside of windows"), keyword, hint))
            }
            _ => Err(self.refused(what, Keyword::JOIN, hint)),
        }
    }

    /// What a join that nobody has written comes from.
    fn subquery(&self) -> Option<(&'static str, Keyword)> {
        let word = |i: usize| match self.tokens.get(i).map(|t| &t.token) {
            Some(Token::Word(w)) if w.quote_style.is_none() => w.keyword,
            _ => Keyword::NoKeyword,
        };
        let token = |i: usize| self.tokens.get(i).map(|t| &t.token);
        let selects = |i: usize| token(i) == Some(&Token::LParen) && word(i + 1) == Keyword::SELECT;
        let compares = |i: usize| {
            matches!(token(i), Some(Token::Eq | Token::Neq | Token::Lt | Token::Gt | Token::LtEq | Token::GtEq))
        };
        (0..self.tokens.len()).find_map(|i| match word(i) {
            Keyword::EXISTS => Some(("EXISTS", Keyword::EXISTS)),
            Keyword::IN if selects(i + 1) => Some(("IN (SELECT ...)", Keyword::IN)),
            Keyword::SELECT if selects(i + 1) => Some(("a subquery as a value", Keyword::SELECT)),
            _ => (compares(i) && selects(i + 1)).then_some(("a subquery as a value", Keyword::WHERE)),
        })
    }

    /// The rows with every key as a column, since rows are exchanged by columns.
    pub(super) fn keyed(
        &mut self,
        stream: Stream,
        input: &LogicalPlan,
        keys: &[Expr],
    ) -> Result<(Stream, Vec<Arc<dyn PhysicalExpr>>)> {
        let mut columns = stream.columns();
        let width = columns.len();
        let mut key_columns = vec![];
        for key in keys {
            let expr = stream.compile(key, input.schema(), &self.props).map_err(|e| self.df(e))?;
            key_columns.push(column_index(&expr).unwrap_or_else(|| {
                columns.push((expr, format!("key_{}", key_columns.len())));
                columns.len() - 1
            }));
        }
        let stream = match columns.len() > width {
            true => {
                let names = unique(columns.iter().map(|(_, n)| n.clone()));
                let columns = columns.into_iter().zip(names).map(|((e, _), n)| (e, n)).collect();
                let (node, schema) = plan::project(self.graph, stream.node, columns)?;
                Stream { node, schema, ..stream }
            }
            false => stream,
        };
        let keys = key_columns.into_iter().map(|at| column(&stream.schema, at)).collect();
        Ok((stream, keys))
    }

    /// The rest of the condition, over the columns of both sides.
    pub(super) fn residual(
        &self,
        condition: &Expr,
        join: &Join,
        left: &Stream,
        right: &Stream,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let (left_schema, right_schema) = (join.left.schema(), join.right.schema());
        let logical: DFSchema = left_schema.join(right_schema).map_err(|e| self.df(e))?;
        let fields = |side: &Stream| side.schema.fields()[..side.width()].to_vec();
        let fields = [fields(left), fields(right)].concat();
        let both = Stream {
            node: left.node,
            schema: Arc::new(arrow::datatypes::Schema::new(fields)),
            slots: both_slots(left, right),
            window_columns: vec![],
            window_length: None,
            pending: None,
        };
        both.compile(condition, &logical, &self.props).map_err(|e| self.df(e))
    }
}

/// Start and end of the window on each side, where the condition says that both are the same.
fn common_window(join: &Join, left: &Stream, right: &Stream) -> Option<(WindowColumns, WindowColumns)> {
    let found = |wanted: WindowColumn| {
        let pairs = join.on.iter().filter_map(|pair| same_window_column(&pair, join, left, right));
        pairs.into_iter().find(|(w, ..)| *w == wanted).map(|(_, l, r)| (l, r))
    };
    let (start, end) = (found(WindowColumn::Start)?, found(WindowColumn::End)?);
    Some((WindowColumns { start: start.0, end: end.0 }, WindowColumns { start: start.1, end: end.1 }))
}

/// What window column both sides of an equality are, and where it is in the rows of each.
fn same_window_column(
    pair: &&(Expr, Expr),
    join: &Join,
    left: &Stream,
    right: &Stream,
) -> Option<(WindowColumn, usize, usize)> {
    let find = |expr: &Expr, input: &LogicalPlan, stream: &Stream| {
        let Expr::Column(c) = expr else { return None };
        let at = input.schema().index_of_column(c).ok()?;
        let Slot::Column(row) = stream.slots[at] else { return None };
        Some((stream.window_column(at)?, row))
    };
    let (left_column, l) = find(&pair.0, &join.left, left)?;
    let (right_column, r) = find(&pair.1, &join.right, right)?;
    (left_column == right_column).then_some((left_column, l, r))
}

fn both_slots(left: &Stream, right: &Stream) -> Vec<Slot> {
    let width = left.width();
    let moved = right.slots.iter().map(|s| match *s {
        Slot::Column(at) => Slot::Column(at + width),
        window => window,
    });
    left.slots.iter().copied().chain(moved).collect()
}

/// The operator's rows as the columns of the logical plan. A side that may be absent has no window of its own. Outside of a
/// common window no column is a window's: a row may be in two, and all rows come at the end.
pub(super) fn joined(kind: JoinType, same_window: bool, left: &Stream, right: &Stream, mut stream: Stream) -> Stream {
    let width = left.width();
    let right_window = right.window_columns.iter().map(|(at, w)| (at + width, *w));
    let left_window = left.window_columns.iter().copied();
    let marked = |side: &Stream| {
        let mark = Slot::Column(side.width());
        (side.slots.iter().copied().chain([mark]).collect(), side.window_columns.clone())
    };
    (stream.slots, stream.window_columns) = match kind {
        JoinType::LeftSemi | JoinType::LeftAnti => (left.slots.clone(), left.window_columns.clone()),
        JoinType::RightSemi | JoinType::RightAnti => (right.slots.clone(), right.window_columns.clone()),
        JoinType::LeftMark => marked(left),
        JoinType::RightMark => marked(right),
        JoinType::Inner => (both_slots(left, right), left_window.chain(right_window).collect()),
        JoinType::Left => (both_slots(left, right), left_window.collect()),
        JoinType::Right => (both_slots(left, right), right_window.collect()),
        JoinType::Full => (both_slots(left, right), vec![]),
    };
    let length = |side: &Stream| side.window_length.filter(|_| !side.window_columns.is_empty());
    stream.window_length = match kind {
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => length(left),
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => length(right),
        JoinType::Inner => length(left).or_else(|| length(right)),
        JoinType::Full => None,
    };
    if !same_window {
        stream.window_columns.clear();
        stream.window_length = None;
    }
    stream
}
