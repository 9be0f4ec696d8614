//! Inner joins by one key, in any nesting, as one join of all their inputs: nothing is kept of what a part of them gives.
//!
//! ```text
//!   a JOIN b ON a.k = b.k JOIN c ON c.k = b.k            a ── k ──┐
//!   a JOIN (SELECT c.x, b.k FROM b JOIN c ON ...) ...    b ── k ──┼──► join ──► conditions
//!                                                        c ── k ──┘
//! ```
//! Taken together are joins whose results are given at once, and change: where every class of what must be equal has one expression
//! of each input. What stands between them only renames and leaves out columns. The conditions become filters above, the inner ones
//! first. Left alone are joins that may be of windows or bounded in time, and steps that have a name of their own.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Column, DFSchema, JoinType, NullEquality};
use datafusion_expr::logical_plan::Join;
use datafusion_expr::{Expr, ExprSchemable, LogicalPlan};
use rheos_core::error::Result;
use rheos_operators::{MultiJoinInput, MultiJoinSpec, plan};

use super::stream::{Slot, Stream};
use super::{Lowering, column_index, time_bounds};
use crate::event_time;
use crate::windows::WindowNode;

/// Inputs of one join: more are several.
const INPUTS_MAX: usize = 32;

/// Joins that are taken together.
#[derive(Clone)]
pub(super) struct Joins<'p> {
    inputs: Vec<&'p LogicalPlan>,
    /// What must be equal.
    equal: Vec<[Key; 2]>,
    null_equality: NullEquality,
    /// What must hold beside, the inner ones first.
    conditions: Vec<Condition<'p>>,
    /// The columns of the result.
    columns: Vec<Place>,
}

/// An expression over the columns of the input with this number.
type Key = (usize, Expr);

/// By input: the expressions that must be equal to those of all others.
type Keys = Vec<Vec<Expr>>;

/// A column of an input.
#[derive(Debug, Clone, Copy)]
struct Place {
    input: usize,
    column: usize,
}

/// A condition over the columns of one of the joins.
#[derive(Clone)]
struct Condition<'p> {
    predicate: &'p Expr,
    schema: &'p DFSchema,
    columns: Vec<Place>,
}

/// A join that a part of a plan is, and which of its columns each column of the part is.
type Below<'p> = (&'p Join, Vec<usize>);

impl Lowering<'_> {
    /// The joins that `join` is made of, if they are of three inputs or more by one key, and the keys of each input.
    pub(super) fn joins_by_one_key<'p>(&self, join: &'p Join) -> Result<Option<(Joins<'p>, Keys)>> {
        if !self.may_be_part(join)? {
            return Ok(None);
        }
        // Some have one key only all together: where a condition equals an input with several.
        let all = self.opened(Joins::of(join), |_| true)?;
        let joins = match all.keys() {
            Some(_) => all,
            None => self.opened(Joins::of(join), |joins| joins.keys().is_some())?,
        };
        let keys = joins.keys().filter(|_| joins.inputs.len() > 2);
        Ok(keys.map(|keys| (joins, keys)))
    }

    /// The joins, and those that their inputs are, as far as they are wanted.
    fn opened<'p>(&self, mut joins: Joins<'p>, is_wanted: impl Fn(&Joins<'p>) -> bool) -> Result<Joins<'p>> {
        let mut at = 0;
        while let Some(input) = joins.inputs.get(at).filter(|_| joins.inputs.len() < INPUTS_MAX) {
            match self.below(input)?.and_then(|below| joins.with_opened(at, &below)).filter(&is_wanted) {
                Some(opened) => joins = opened,
                None => at += 1,
            }
        }
        Ok(joins)
    }

    /// The join that a plan is, but for names and columns that are left out.
    fn below<'p>(&self, plan: &'p LogicalPlan) -> Result<Option<Below<'p>>> {
        match plan {
            LogicalPlan::Join(join) if self.may_be_part(join)? => {
                Ok(Some((join, (0..join.schema.fields().len()).collect())))
            }
            LogicalPlan::SubqueryAlias(alias) if self.view_naming(alias.alias.table()).is_none() => {
                self.below(&alias.input)
            }
            LogicalPlan::Projection(projection) => {
                let Some((join, below)) = self.below(&projection.input)? else { return Ok(None) };
                let column = |expr: &Expr| match expr.clone().unalias() {
                    Expr::Column(column) => Some(below[projection.input.schema().index_of_column(&column).ok()?]),
                    _ => None,
                };
                Ok(projection.expr.iter().map(column).collect::<Option<_>>().map(|columns| (join, columns)))
            }
            _ => Ok(None),
        }
    }

    /// Whether a join can be one of several.
    fn may_be_part(&self, join: &Join) -> Result<bool> {
        let exprs = || join.on.iter().flat_map(|(left, right)| [left, right]).chain(&join.filter);
        Ok(join.join_type == JoinType::Inner
            && !join.on.is_empty()
            && !exprs().any(Expr::is_volatile)
            && !time_bounds::are_set(join)
            && !may_be_of_windows(join)
            && (self.wants_changes(&join.left)? || self.wants_changes(&join.right)?))
    }

    /// One join of all inputs.
    pub(super) fn multi_join(&mut self, joins: &Joins<'_>, keys: Keys) -> Result<Stream> {
        let mut streams: Vec<Stream> = vec![];
        let mut inputs = vec![];
        for (input, keys) in joins.inputs.iter().zip(keys) {
            let stream = self.side_rows(input)?;
            let (stream, keys) = self.keyed(stream, input, &keys)?;
            let keys = keys.iter().filter_map(column_index).collect();
            inputs.push(MultiJoinInput { schema: Arc::clone(&stream.schema), keys });
            streams.push(stream);
        }
        let nodes = streams.iter().map(|stream| stream.node).collect();
        let spec = MultiJoinSpec { inputs, null_equality: joins.null_equality, state_ttl_ms: None };
        let (node, schema) = plan::multi_join(self.graph, nodes, spec)?;
        let slots = |columns: &[Place]| -> Vec<Slot> {
            let slot = |place: &Place| match streams[place.input].slots[place.column] {
                Slot::Column(at) => Slot::Column(streams[..place.input].iter().map(Stream::width).sum::<usize>() + at),
                window => window,
            };
            columns.iter().map(slot).collect()
        };
        let mut joined = Stream::plain(node, schema);
        for condition in &joins.conditions {
            joined.slots = slots(&condition.columns);
            joined = self.filtered(joined, condition.predicate, condition.schema)?;
        }
        Ok(Stream { slots: slots(&joins.columns), ..joined })
    }
}

impl<'p> Joins<'p> {
    fn of(join: &'p Join) -> Self {
        let columns = |input: usize, plan: &LogicalPlan| {
            (0..plan.schema().fields().len()).map(move |column| Place { input, column })
        };
        let columns: Vec<Place> = columns(0, &join.left).chain(columns(1, &join.right)).collect();
        let condition = |predicate| Condition { predicate, schema: &join.schema, columns: columns.clone() };
        Self {
            inputs: vec![&join.left, &join.right],
            equal: join.on.iter().map(|(left, right)| [(0, left.clone()), (1, right.clone())]).collect(),
            null_equality: join.null_equality,
            conditions: join.filter.iter().map(condition).collect(),
            columns,
        }
    }

    /// The same with both inputs of a join in the place of the input `at`, which is that join. `None`: they cannot be taken together.
    fn with_opened(&self, at: usize, (join, below): &Below<'p>) -> Option<Self> {
        if join.null_equality != self.null_equality {
            return None;
        }
        let behind = |input: usize| if input > at { input + 1 } else { input };
        let inner = Self::of(join);
        let place = |place: &Place| match place.input == at {
            true => {
                let Place { input, column } = inner.columns[below[place.column]];
                Place { input: at + input, column }
            }
            false => Place { input: behind(place.input), column: place.column },
        };
        let places = |columns: &[Place]| columns.iter().map(place).collect::<Vec<_>>();
        let key = |(input, expr): &Key| match *input == at {
            true => {
                inner.key(expr, self.inputs[at].schema(), below, &join.schema).map(|(side, expr)| (at + side, expr))
            }
            false => Some((behind(*input), expr.clone())),
        };
        let outer = self.equal.iter().map(|[a, b]| Some([key(a)?, key(b)?])).collect::<Option<Vec<_>>>()?;
        let moved = |(input, expr): Key| (input + at, expr);
        let inputs = [&self.inputs[..at], &inner.inputs, &self.inputs[at + 1..]].concat();
        let here = |columns: &[Place]| columns.iter().map(|p| Place { input: p.input + at, ..*p }).collect::<Vec<_>>();
        let conditions_below = inner.conditions.iter().map(|c| Condition { columns: here(&c.columns), ..c.clone() });
        let conditions = self.conditions.iter().map(|c| Condition { columns: places(&c.columns), ..c.clone() });
        Some(Self {
            inputs,
            equal: outer.into_iter().chain(inner.equal.into_iter().map(|pair| pair.map(moved))).collect(),
            null_equality: self.null_equality,
            conditions: conditions_below.chain(conditions).collect(),
            columns: places(&self.columns),
        })
    }

    /// An expression over the columns of what stands above this join, as one over those of one of its inputs.
    fn key(&self, expr: &Expr, above: &DFSchema, below: &[usize], schema: &DFSchema) -> Option<Key> {
        let mut inputs = vec![];
        let moved = expr.clone().transform_up(|part| match &part {
            Expr::Column(column) => {
                let at = below[above.index_of_column(column)?];
                inputs.push(self.columns[at].input);
                Ok(Transformed::yes(Expr::Column(Column::from(schema.qualified_field(at)))))
            }
            _ => Ok(Transformed::no(part)),
        });
        let input = *inputs.first()?;
        (inputs.iter().all(|other| *other == input)).then_some((input, moved.data().ok()?))
    }

    /// What must be equal, if it is one key: not that some inputs have nothing of a class of it, or several expressions.
    fn keys(&self) -> Option<Keys> {
        let mut exprs: Vec<&Key> = vec![];
        let mut classes: Vec<usize> = vec![];
        for pair in &self.equal {
            let [a, b] = pair.each_ref().map(|key| {
                let known = exprs.iter().position(|other| *other == key);
                known.unwrap_or_else(|| {
                    exprs.push(key);
                    classes.push(classes.len());
                    classes.len() - 1
                })
            });
            let (kept, gone) = (classes[a].min(classes[b]), classes[a].max(classes[b]));
            classes.iter_mut().filter(|class| **class == gone).for_each(|class| *class = kept);
        }
        let mut keys = vec![vec![]; self.inputs.len()];
        // A class has the number of its first expression.
        for class in (0..exprs.len()).filter(|at| classes[*at] == *at) {
            let mut data_type = None;
            for (input, keys) in keys.iter_mut().enumerate() {
                let mut found = exprs.iter().zip(&classes).filter(|(key, of)| **of == class && key.0 == input);
                let ((_, expr), _) = found.next()?;
                let same_type = expr.get_type(self.inputs[input].schema()).ok()?;
                if found.next().is_some() || *data_type.get_or_insert_with(|| same_type.clone()) != same_type {
                    return None;
                }
                keys.push(expr.clone());
            }
        }
        Some(keys)
    }
}

/// Whether a join may be of the same windows of both inputs: those are joined when they end.
fn may_be_of_windows(join: &Join) -> bool {
    let is_time = |(key, _): &(Expr, Expr)| {
        key.get_type(join.left.schema()).map_or(true, |data_type| matches!(data_type, DataType::Timestamp(..)))
    };
    let mut has_windows = false;
    for input in [&join.left, &join.right] {
        event_time::visit(input, &mut |part| {
            let LogicalPlan::Extension(extension) = part else { return };
            has_windows |= extension.node.as_any().is::<WindowNode>();
        });
    }
    has_windows && join.on.iter().any(is_time)
}
