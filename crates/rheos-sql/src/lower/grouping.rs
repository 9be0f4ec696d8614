//! `GROUPING SETS`, `ROLLUP`, `CUBE`: every row goes once into each set, with null for the keys that the set leaves out.
//!
//! ```text
//!   rows ──┬─► a, b,    id 0 ─┐
//!          ├─► a, null, id 1 ─┼─► union ─► aggregate by a, b, id
//!          └─► null, null, id 3 ─┘
//! ```
//!
//! The id tells a key that is null from one that was left out; `grouping(a)` is read from its bits.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::{Column, DFSchema, ScalarValue};
use datafusion_expr::expr::GroupingSet;
use datafusion_expr::{Expr, LogicalPlan};
use datafusion_functions_aggregate::count::count_all;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Literal;
use rheos_core::change::width;
use rheos_core::error::{Error, Result};
use rheos_operators::plan;
use sqlparser::keywords::Keyword;

use super::aggregate::{Key, has_window};
use super::stream::{Slot, Stream, unique};
use super::{Lowering, column};

/// Grouping sets in one query, and keys in them: an id has 64 bits.
const SETS_MAX: usize = 256;
const KEYS_MAX: usize = 48;

/// What is grouped: lowered once, whatever the number of sets, and once put into its windows.
struct Grouped<'a> {
    input: &'a LogicalPlan,
    /// Its window may be pending.
    stream: Stream,
    /// A row for each window that a row is in.
    rows: Stream,
}

impl Lowering<'_> {
    pub(super) fn grouping_sets(
        &mut self,
        sets: &GroupingSet,
        aggregates: &[Expr],
        input: &LogicalPlan,
        output: &DFSchema,
        what: &str,
    ) -> Result<Stream> {
        let exprs: Vec<Expr> = sets.distinct_expr().into_iter().cloned().collect();
        let sets = listed(sets);
        if sets.len() > SETS_MAX || exprs.len() > KEYS_MAX {
            let error =
                Error::invalid(149, format!("{} grouping sets of {} keys are too many", sets.len(), exprs.len()))
                    .with_hint(format!("at most {SETS_MAX} sets of {KEYS_MAX} keys: name those that are needed"));
            return Err(self.at_keyword(error, Keyword::GROUP));
        }
        let stream = self.lower(input)?;
        let rows = self.assigned(stream.clone())?;
        self.by_sets(sets, &exprs, aggregates, &Grouped { input, stream, rows }, output, what)
    }

    /// The aggregates by each of the sets, which are made of `exprs`.
    fn by_sets(
        &mut self,
        sets: Vec<Vec<Expr>>,
        exprs: &[Expr],
        aggregates: &[Expr],
        grouped: &Grouped<'_>,
        output: &DFSchema,
        what: &str,
    ) -> Result<Stream> {
        let Grouped { input, stream, rows } = grouped;
        let logical = input.schema();
        // Only what is in all sets can tell the window of every row of the result.
        let common: Vec<_> = exprs.iter().filter(|e| sets.iter().all(|s| s.contains(e))).cloned().collect();
        let common_keys = self.keys(&common, stream, logical)?;
        let is_windowed = has_window(&common_keys) && self.tells_windows(stream, &common_keys, logical)?;
        let changes = rows.has_weights() || (!is_windowed && self.wants_changes(input)?);
        let is_windowed = is_windowed && !changes;
        let (mut keys, mut is_part) = (vec![], false);
        let mut fields: Vec<(Option<_>, Arc<Field>)> = vec![];
        for (i, expr) in exprs.iter().enumerate() {
            let window = match expr {
                Expr::Column(c) => rows.window_column(logical.index_of_column(c).map_err(|e| self.df(e))?),
                _ => None,
            };
            is_part |= window.is_some();
            keys.push(match window {
                Some(window) if is_windowed && common.contains(expr) => Key::Window(window),
                _ => Key::Column(Expr::Column(Column::new_unqualified(group_name(i)))),
            });
            let field = output.field(i).as_ref().clone().with_name(group_name(i)).with_nullable(true);
            fields.push((None, Arc::new(field)));
        }
        let what_is = if is_part { "GROUPING SETS" } else { what };
        match changes {
            true => self.note_change(self.without_window(what_is, is_part)),
            false if !is_windowed => self.check_end(input, what_is, is_part)?,
            false => {}
        }
        let id = output.field(exprs.len());
        fields.push((None, Arc::new(id.as_ref().clone().with_name(ID))));
        keys.push(Key::Column(Expr::Column(Column::new_unqualified(ID))));
        if sets.iter().any(Vec::is_empty) && !is_windowed {
            return self.with_totals(sets, exprs, aggregates, grouped, output);
        }
        let mut branches = vec![];
        for (set, id_of_set) in sets.iter().zip(ids(&sets, exprs)) {
            let id = ScalarValue::UInt64(Some(id_of_set)).cast_to(id.data_type()).map_err(|e| self.df(e))?;
            branches.push(self.branch(rows, set, exprs, output, logical, id)?);
        }
        let node = plan::union(self.graph, branches)?;
        let schema = Arc::clone(&self.graph.node(node).schema);
        let mut slots = rows.slots.clone();
        slots.extend((rows.width()..width(&schema)).map(Slot::Column));
        let rows = Stream { node, schema, slots, ..rows.clone() };
        let added = DFSchema::new_with_metadata(fields, Default::default()).map_err(|e| self.df(e))?;
        let logical = logical.join(&added).map_err(|e| self.df(e))?;
        match changes {
            true => self.changing(rows, &keys, aggregates, &logical, output),
            false => self.aggregated(rows, &keys, aggregates, &logical, output),
        }
    }

    /// The sets with the empty ones apart: their row is there also if no row comes.
    fn with_totals(
        &mut self,
        sets: Vec<Vec<Expr>>,
        exprs: &[Expr],
        aggregates: &[Expr],
        grouped: &Grouped<'_>,
        output: &DFSchema,
    ) -> Result<Stream> {
        let names = unique(output.fields().iter().map(|f| f.name().clone()));
        let fields = output.fields().iter().zip(&names).map(|(f, n)| f.as_ref().clone().with_name(n));
        let shape: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let of_aggregates = output.iter().skip(exprs.len() + 1).map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
        let of_aggregates = DFSchema::new_with_metadata(of_aggregates, Default::default()).map_err(|e| self.df(e))?;
        let mut nodes = vec![];
        let changes = grouped.rows.has_weights() || self.wants_changes(grouped.input)?;
        for (_, id) in sets.iter().zip(ids(&sets, exprs)).filter(|(set, _)| set.is_empty()) {
            let (rows, logical) = (grouped.rows.clone(), grouped.input.schema());
            let totals = match (aggregates, changes) {
                ([], _) => self.one_row(grouped, changes)?,
                (_, true) => self.changing(rows, &[], aggregates, logical, &of_aggregates)?,
                (_, false) => self.aggregated(rows, &[], aggregates, logical, &of_aggregates)?,
            };
            let mut columns: Vec<(Arc<dyn PhysicalExpr>, String)> = vec![];
            for (i, name) in names.iter().enumerate() {
                let data_type = shape.field(i).data_type();
                let value = match i.cmp(&exprs.len()) {
                    Ordering::Less => ScalarValue::try_from(data_type),
                    Ordering::Equal => ScalarValue::UInt64(Some(id)).cast_to(data_type),
                    Ordering::Greater => {
                        columns.push((column(&totals.schema, i - exprs.len() - 1), name.clone()));
                        continue;
                    }
                };
                columns.push((Arc::new(Literal::new(value.map_err(|e| self.df(e))?)), name.clone()));
            }
            nodes.push(plan::project(self.graph, totals.node, columns)?.0);
        }
        let rest: Vec<_> = sets.into_iter().filter(|set| !set.is_empty()).collect();
        if !rest.is_empty() {
            let rest = self.by_sets(rest, exprs, aggregates, grouped, output, "GROUP BY")?;
            nodes.push(self.shaped(rest, &shape)?);
        }
        let node = plan::union(self.graph, nodes)?;
        Ok(Stream::plain(node, Arc::clone(&self.graph.node(node).schema)))
    }

    /// The row of an empty set where nothing is aggregated: it is there whatever comes.
    fn one_row(&mut self, grouped: &Grouped<'_>, changes: bool) -> Result<Stream> {
        let rows = count_all().alias("rows");
        let field = Field::new("rows", DataType::Int64, false);
        let output = DFSchema::new_with_metadata(vec![(None, Arc::new(field))], Default::default());
        let output = output.map_err(|e| self.df(e))?;
        let (of, logical) = (grouped.rows.clone(), grouped.input.schema());
        match changes {
            true => self.changing(of, &[], &[rows], logical, &output),
            false => self.aggregated(of, &[], &[rows], logical, &output),
        }
    }

    /// The rows with the keys of one set behind them, and its id.
    fn branch(
        &mut self,
        stream: &Stream,
        set: &[Expr],
        exprs: &[Expr],
        output: &DFSchema,
        logical: &DFSchema,
        id: ScalarValue,
    ) -> Result<rheos_core::NodeId> {
        let mut columns = stream.columns();
        for (i, expr) in exprs.iter().enumerate() {
            let key: Arc<dyn PhysicalExpr> = if set.contains(expr) {
                stream.compile(expr, logical, &self.props).map_err(|e| self.df(e))?
            } else {
                let null = ScalarValue::try_from(output.field(i).data_type()).map_err(|e| self.df(e))?;
                Arc::new(Literal::new(null))
            };
            columns.push((key, group_name(i)));
        }
        columns.push((Arc::new(Literal::new(id)), ID.into()));
        let names = unique(columns.iter().map(|(_, n)| n.clone()));
        let columns = columns.into_iter().zip(names).map(|((e, _), n)| (e, n)).collect();
        Ok(plan::project(self.graph, stream.node, columns)?.0)
    }
}

const ID: &str = "__grouping_id";

fn group_name(i: usize) -> String {
    format!("__group_{i}")
}

/// The sets one by one.
fn listed(sets: &GroupingSet) -> Vec<Vec<Expr>> {
    match sets {
        GroupingSet::GroupingSets(sets) => sets.clone(),
        GroupingSet::Rollup(exprs) => (0..=exprs.len()).rev().map(|n| exprs[..n].to_vec()).collect(),
        GroupingSet::Cube(exprs) => {
            let sets = 1usize.checked_shl(exprs.len() as u32).unwrap_or(usize::MAX).min(SETS_MAX + 1);
            let set = |mask: usize| {
                let kept = exprs.iter().enumerate().filter(|(i, _)| mask & (1 << i) == 0);
                kept.map(|(_, e)| e.clone()).collect()
            };
            (0..sets).map(set).collect()
        }
    }
}

/// The id of each set: a bit for each key that is left out (the last key is bit 0), and above them how often the same
/// set was there before.
fn ids(sets: &[Vec<Expr>], exprs: &[Expr]) -> Vec<u64> {
    let mask = |set: &Vec<Expr>| exprs.iter().fold(0u64, |mask, e| mask << 1 | u64::from(!set.contains(e)));
    let masks: Vec<_> = sets.iter().map(mask).collect();
    let before = |i: usize| masks[..i].iter().filter(|m| **m == masks[i]).count() as u64;
    (0..masks.len()).map(|i| masks[i] | before(i) << exprs.len()).collect()
}
