//! Which columns of its tables a plan reads, and of a ROW column which fields.
//!
//! ```text
//!   SELECT bid.price FROM (SELECT bid, event_type FROM events) WHERE event_type = 2
//!     ──►   events: event_type, bid { price }
//! ```
//!
//! From the top of the plan downwards: what is needed of a node's columns tells what is needed of its inputs'. A node
//! that is not named here reads all of its inputs.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, SchemaRef};
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, DataFusionError, JoinType, ScalarValue};
use datafusion_expr::{Expr, Join, LogicalPlan};
use rheos_core::error::{Error, Result};

use crate::catalog::scanned_table;
use crate::side::errors_of;
use crate::windows::WindowNode;

/// How much of a column is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Use {
    Whole,
    /// Of a ROW these fields.
    Fields(BTreeMap<String, Use>),
}

/// What is read, by the index of the column.
pub(crate) type ColumnsUsed = BTreeMap<usize, Use>;

impl Use {
    /// The field that a path of names leads to; the whole column without a name.
    pub(crate) fn field(path: &[String]) -> Self {
        match path {
            [] => Use::Whole,
            [first, rest @ ..] => Use::Fields(BTreeMap::from([(first.clone(), Use::field(rest))])),
        }
    }

    /// What a column that has been narrowed to `data_type` is read for.
    pub(crate) fn of_type(data_type: &DataType) -> Self {
        match data_type {
            DataType::Struct(parts) => {
                Use::Fields(parts.iter().map(|p| (p.name().clone(), Use::of_type(p.data_type()))).collect())
            }
            _ => Use::Whole,
        }
    }

    pub(crate) fn add(&mut self, other: Use) {
        match (&mut *self, other) {
            (Use::Whole, _) => {}
            (_, Use::Whole) => *self = Use::Whole,
            (Use::Fields(mine), Use::Fields(others)) => {
                for (name, other) in others {
                    match mine.get_mut(&name) {
                        Some(known) => known.add(other),
                        None => drop(mine.insert(name, other)),
                    }
                }
            }
        }
    }

    /// A column of this type without the fields that are not read.
    pub(crate) fn narrowed(&self, field: &Arc<Field>) -> Arc<Field> {
        let (Use::Fields(read), DataType::Struct(parts)) = (self, field.data_type()) else { return Arc::clone(field) };
        let parts: Fields = parts.iter().filter_map(|p| Some(read.get(p.name())?.narrowed(p))).collect();
        match parts.is_empty() {
            true => Arc::clone(field),
            false => Arc::new(field.as_ref().clone().with_data_type(DataType::Struct(parts))),
        }
    }
}

fn add(needs: &mut ColumnsUsed, column: usize, more: Use) {
    match needs.get_mut(&column) {
        Some(known) => known.add(more),
        None => drop(needs.insert(column, more)),
    }
}

/// Adds what `plan` reads to `used`, by the names of tables.
///
/// Errors: `Internal` for a plan whose columns cannot be found.
pub(crate) fn collect(plan: &LogicalPlan, used: &mut BTreeMap<String, ColumnsUsed>) -> Result<()> {
    walk(plan, whole(plan), used)
}

fn whole(plan: &LogicalPlan) -> ColumnsUsed {
    (0..plan.schema().fields().len()).map(|i| (i, Use::Whole)).collect()
}

fn walk(plan: &LogicalPlan, needs: ColumnsUsed, used: &mut BTreeMap<String, ColumnsUsed>) -> Result<()> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            if let Some(table) = errors_of(&scan.source) {
                // Of a table that nobody reads otherwise, all columns are decoded.
                used.entry(table.definition.name.clone()).or_default();
                return Ok(());
            }
            let Some(table) = scanned_table(&scan.source) else { return Ok(()) };
            let of_table = used.entry(table.definition.name.clone()).or_default();
            let all: Vec<_> = (0..table.schema.fields().len()).collect();
            for (at, column) in scan.projection.as_ref().unwrap_or(&all).iter().enumerate() {
                add(of_table, *column, needs.get(&at).cloned().unwrap_or(Use::Whole));
            }
            if let Some(watermark) = &table.watermark {
                add(of_table, watermark.column, Use::Whole);
            }
            Ok(())
        }
        LogicalPlan::SubqueryAlias(alias) => walk(&alias.input, needs, used),
        LogicalPlan::Filter(filter) => {
            let mut needs = needs;
            read(&filter.predicate, filter.input.schema(), &mut needs)?;
            walk(&filter.input, needs, used)
        }
        LogicalPlan::Projection(projection) => {
            let mut of_input = ColumnsUsed::new();
            for (i, expr) in projection.expr.iter().enumerate() {
                match expr.clone().unalias() {
                    Expr::Column(column) => {
                        let more = needs.get(&i).cloned().unwrap_or(Use::Whole);
                        add(&mut of_input, index(&column, projection.input.schema())?, more);
                    }
                    _ => read(expr, projection.input.schema(), &mut of_input)?,
                }
            }
            walk(&projection.input, of_input, used)
        }
        LogicalPlan::Sort(sort) => {
            let mut needs = needs;
            sort.expr.iter().try_for_each(|s| read(&s.expr, sort.input.schema(), &mut needs))?;
            walk(&sort.input, needs, used)
        }
        LogicalPlan::Limit(limit) => walk(&limit.input, needs, used),
        LogicalPlan::Aggregate(aggregate) => {
            let mut of_input = ColumnsUsed::new();
            let exprs = aggregate.group_expr.iter().chain(&aggregate.aggr_expr);
            exprs.into_iter().try_for_each(|e| read(e, aggregate.input.schema(), &mut of_input))?;
            walk(&aggregate.input, of_input, used)
        }
        LogicalPlan::Join(join) => {
            let (left, right) = join_needs(join, &needs)?;
            walk(&join.left, left, used)?;
            walk(&join.right, right, used)
        }
        LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<WindowNode>() {
            Some(window) => walk(&window.input, window_needs(window, needs)?, used),
            None => plan.inputs().into_iter().try_for_each(|input| walk(input, whole(input), used)),
        },
        other => other.inputs().into_iter().try_for_each(|input| walk(input, whole(input), used)),
    }
}

/// What a join needs of its left and of its right input.
fn join_needs(join: &Join, needs: &ColumnsUsed) -> Result<(ColumnsUsed, ColumnsUsed)> {
    use JoinType::{LeftAnti, LeftMark, LeftSemi, RightAnti, RightMark, RightSemi};
    let width = join.left.schema().fields().len();
    let (mut left, mut right) = match join.join_type {
        LeftSemi | LeftAnti => (needs.clone(), ColumnsUsed::new()),
        RightSemi | RightAnti => (ColumnsUsed::new(), needs.clone()),
        LeftMark | RightMark => (whole(&join.left), whole(&join.right)),
        _ => {
            let right = needs.range(width..).map(|(i, used)| (i - width, used.clone()));
            (needs.range(..width).map(|(i, used)| (*i, used.clone())).collect(), right.collect())
        }
    };
    for (of_left, of_right) in &join.on {
        read(of_left, join.left.schema(), &mut left)?;
        read(of_right, join.right.schema(), &mut right)?;
    }
    if let Some(filter) = &join.filter {
        let mut both = ColumnsUsed::new();
        read(filter, &join.left.schema().join(join.right.schema()).map_err(lost)?, &mut both)?;
        for (at, more) in both {
            match at.checked_sub(width) {
                None => add(&mut left, at, more),
                Some(at) => add(&mut right, at, more),
            }
        }
    }
    Ok((left, right))
}

fn window_needs(window: &WindowNode, mut needs: ColumnsUsed) -> Result<ColumnsUsed> {
    // The columns behind those of the input are the window's own.
    let width = window.input.schema().fields().len();
    needs.split_off(&width);
    if window.late.is_some() {
        (0..width).for_each(|column| add(&mut needs, column, Use::Whole));
    }
    let key = window.session_columns().map_err(lost)?.into_iter().flatten();
    for column in key.chain(window.time_index().map_err(lost)?) {
        add(&mut needs, column, Use::Whole);
    }
    Ok(needs)
}

fn lost(error: DataFusionError) -> Error {
    Error::internal(format!("a column of the plan is lost: {error}"))
}

fn index(column: &Column, schema: &DFSchema) -> Result<usize> {
    schema.index_of_column(column).map_err(lost)
}

/// Adds what an expression reads of the columns of `schema`.
fn read(expr: &Expr, schema: &DFSchema, needs: &mut ColumnsUsed) -> Result<()> {
    let mut lost = None;
    // What is below a path is part of it.
    let visited = expr.apply(|e| match path(e) {
        Some((column, path)) => {
            match index(column, schema) {
                Ok(at) => add(needs, at, Use::field(&path)),
                Err(error) => lost = Some(error),
            }
            Ok(TreeNodeRecursion::Jump)
        }
        None => Ok(TreeNodeRecursion::Continue),
    });
    visited.map_err(|e| Error::internal(e.to_string()))?;
    lost.map_or(Ok(()), Err)
}

/// A column and the names of the fields by which `expr` goes into it.
fn path(expr: &Expr) -> Option<(&Column, Vec<String>)> {
    match expr {
        Expr::Column(column) => Some((column, vec![])),
        Expr::ScalarFunction(call) if call.name() == "get_field" => {
            let (base, names) = call.args.split_first()?;
            let (column, mut path) = path(base)?;
            for name in names {
                match name {
                    Expr::Literal(ScalarValue::Utf8(Some(name)) | ScalarValue::Utf8View(Some(name)), _) => {
                        path.push(name.clone());
                    }
                    _ => return None,
                }
            }
            Some((column, path))
        }
        _ => None,
    }
}

/// The schema of the columns `columns` of a table, without the fields that are not read.
pub(crate) fn narrowed(schema: &SchemaRef, columns: &[usize], used: Option<&ColumnsUsed>) -> SchemaRef {
    let fields = schema.fields().iter().zip(columns).map(|(field, column)| {
        let read = used.and_then(|used| used.get(column)).unwrap_or(&Use::Whole);
        read.narrowed(field)
    });
    Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(names: &[&str]) -> Use {
        let mut all = Use::field(&[names[0].to_string()]);
        for name in &names[1..] {
            all.add(Use::field(&name.split('.').map(str::to_string).collect::<Vec<_>>()));
        }
        all
    }

    #[test]
    fn fields_add_up_until_the_whole_is_read() {
        let mut read = fields(&["a", "b.x"]);
        read.add(Use::field(&["b".into(), "y".into()]));
        assert_eq!(read, fields(&["a", "b.x", "b.y"]));
        read.add(Use::field(&["b".into()]));
        assert_eq!(read, fields(&["a", "b"]));
        read.add(Use::Whole);
        assert_eq!(read, Use::Whole);
    }

    #[test]
    fn a_row_keeps_the_fields_that_are_read_in_their_order() {
        let int = |name: &str| Arc::new(Field::new(name, DataType::Int64, true));
        let row = |name: &str, parts: Vec<Arc<Field>>| Arc::new(Field::new(name, DataType::Struct(parts.into()), true));
        let column = row("r", vec![int("z"), row("b", vec![int("x"), int("y")]), int("a")]);
        let want = row("r", vec![row("b", vec![int("y")]), int("a")]);
        assert_eq!(fields(&["a", "b.y"]).narrowed(&column), want);
        assert_eq!(Use::Whole.narrowed(&column), column);
        assert_eq!(fields(&["a"]).narrowed(&int("n")), int("n"), "only a ROW has fields");
    }
}
