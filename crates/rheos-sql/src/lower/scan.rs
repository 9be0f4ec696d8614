//! Tables that are read: one source each in a job, reduced to the columns that any statement uses.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion_common::ScalarValue;
use datafusion_expr::Expr;
use datafusion_expr::logical_plan::{EmptyRelation, TableScan, Values};
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_physical_expr::create_physical_expr;
use rheos_core::NodeId;
use rheos_core::change::{Changes, without_weights};
use rheos_core::error::{Error, Result};
use rheos_core::graph::NodeKind;
use rheos_core::letters;
use rheos_core::source::WatermarkSpec;
use rheos_operators::{KeyedChanges, MaterialiseSpec, plan};
use sqlparser::tokenizer::Token;

use super::Lowering;
use super::fields_used::{ColumnsUsed, narrowed};
use super::late::LateRelation;
use super::stream::{Slot, Stream};
use crate::catalog::{Table, scanned_table};
use crate::side::{LATE_SUFFIX, LateSource, base, errors_of, late_of};
use crate::tokens::place;
use crate::values::ValuesSource;

/// A table's node, and which columns of the table its rows hold.
#[derive(Debug, Clone)]
pub(crate) struct SharedSource {
    node: NodeId,
    /// The source itself: behind it, rows that replace each other are made into rows that come and go.
    reads: NodeId,
    columns: Vec<usize>,
}

/// The columns of a scan.
fn projected(rows: Stream, scan: &TableScan) -> Stream {
    match &scan.projection {
        Some(columns) => Stream { slots: columns.iter().copied().map(Slot::Column).collect(), ..rows },
        None => rows,
    }
}

/// A relation of what could not be used of a table.
pub(crate) struct Side {
    pub(crate) node: NodeId,
    /// The table's node.
    pub(crate) source: NodeId,
}

impl Lowering<'_> {
    pub(super) fn scan(&mut self, scan: &TableScan) -> Result<Stream> {
        if let Some(table) = errors_of(&scan.source) {
            return self.errors(table, scan);
        }
        if let Some(late) = late_of(&scan.source) {
            return self.late(late, scan);
        }
        let table = scanned_table(&scan.source).ok_or_else(|| Error::internal("a scan of no table"))?;
        if !scan.filters.is_empty() || scan.fetch.is_some() {
            return Err(Error::internal("a scan with a filter"));
        }
        let shared = self.source(table)?;
        let all: Vec<_> = (0..table.schema.fields().len()).collect();
        let wanted = scan.projection.as_ref().unwrap_or(&all);
        let slot =
            |c: &usize| shared.columns.binary_search(c).map(Slot::Column).map_err(|_| Error::internal("a lost column"));
        let slots = wanted.iter().map(slot).collect::<Result<Vec<_>>>()?;
        let schema = Arc::clone(&self.graph.node(shared.node).schema);
        Ok(Stream { node: shared.node, schema, slots, window_columns: vec![], window_length: None, pending: None })
    }

    /// The node of a table, which is made where it is read first.
    fn source(&mut self, table: &Arc<Table>) -> Result<SharedSource> {
        let name = &table.definition.name;
        if let Some(shared) = self.sources.get(name) {
            return Ok(shared.clone());
        }
        let width = table.schema.fields().len();
        let used = self.used.get(name);
        let mut columns: Vec<_> = used.into_iter().flat_map(ColumnsUsed::keys).copied().collect();
        let changes = table.source()?.changes();
        let key = match changes {
            Changes::Upsert => table.key_columns()?.unwrap_or_default(),
            Changes::Append | Changes::Retract => vec![],
        };
        if columns.is_empty() && self.reads_errors.contains(name) {
            columns.extend(0..width);
        }
        if columns.is_empty() {
            // `SELECT count(*)`: rows need at least one column to be counted by.
            columns.extend((width > 0).then_some(0));
        }
        columns.extend(&key);
        columns.sort_unstable();
        columns.dedup();
        let source = match columns.len() == width {
            true => Arc::clone(table.source()?),
            false => table.projected(&columns)?,
        };
        let whole = without_weights(&source.schema());
        let narrow = narrowed(&whole, &columns, used);
        let source = match narrow == whole {
            true => source,
            false => source.narrow(&narrow)?.unwrap_or(source),
        };
        let watermark = match &table.watermark {
            Some(w) => {
                let column = columns.binary_search(&w.column).map_err(|_| Error::internal("no time column"))?;
                Some(WatermarkSpec { column, ..w.clone() })
            }
            None => None,
        };
        // A source is of all who read it: it has no part in the name of a query.
        let naming = self.catalog.hints().of_table(name).cloned().unwrap_or_default();
        let node = self.named(naming, |l| {
            Ok(l.graph.add(format!("source:{name}"), NodeKind::Source { source, watermark }, vec![]))
        })?;
        let reads = node;
        let node = match changes {
            Changes::Upsert => self.replaced(node, &key, &columns)?,
            Changes::Append | Changes::Retract => node,
        };
        let shared = SharedSource { node, reads, columns };
        self.sources.insert(name.clone(), shared.clone());
        Ok(shared)
    }

    /// Rows that replace each other by a key, as rows that come and go.
    fn replaced(&mut self, node: NodeId, key: &[usize], columns: &[usize]) -> Result<NodeId> {
        let place = |column: &usize| columns.binary_search(column).map_err(|_| Error::internal("a lost key"));
        let key = key.iter().map(place).collect::<Result<Vec<_>>>()?;
        self.graph.set_upsert(node, key.clone());
        let input = Arc::clone(&self.graph.node(node).schema);
        let spec = MaterialiseSpec { input, key, changes: KeyedChanges::Replace, state_ttl_ms: None };
        Ok(plan::materialise(self.graph, node, spec)?.0)
    }

    /// `t$errors`: what feeds it is told when all nodes are there.
    fn errors(&mut self, table: &Arc<Table>, scan: &TableScan) -> Result<Stream> {
        let source = self.source(table)?.reads;
        let name = format!("errors:{}", table.definition.name);
        let known = self.sides.iter().find(|side| side.source == source).map(|side| side.node);
        let node = known.unwrap_or_else(|| {
            let node = self.graph.add(name, NodeKind::Side(letters::schema()), vec![]);
            self.sides.push(Side { node, source });
            node
        });
        Ok(projected(Stream::plain(node, letters::schema()), scan))
    }

    /// `v$late`: so are the windows that feed it.
    fn late(&mut self, late: &LateSource, scan: &TableScan) -> Result<Stream> {
        let known = self.late.relations.iter().find(|r| r.name == late.name).map(|r| r.node);
        let node = known.unwrap_or_else(|| {
            let node =
                self.graph.add(format!("late:{}", late.name), NodeKind::Side(Arc::clone(&late.schema)), vec![]);
            let at = self.tokens.iter().find(
                |t| matches!(&t.token, Token::Word(w) if base(&w.value, LATE_SUFFIX).is_some_and(|b| b.eq_ignore_ascii_case(&late.name))),
            );
            let at = at.map(|t| place(t.span));
            self.late.relations.push(LateRelation { name: late.name.clone(), node, at });
            node
        });
        Ok(projected(Stream::plain(node, Arc::clone(&late.schema)), scan))
    }

    /// `VALUES`: computed now, since there is nothing to read.
    pub(super) fn values(&mut self, values: &Values) -> Result<Stream> {
        let schema = values.schema.inner();
        let mut columns: Vec<ArrayRef> = vec![];
        for (i, field) in schema.fields().iter().enumerate() {
            let cells = values.values.iter().map(|row| self.constant(&row[i])).collect::<Result<Vec<_>>>()?;
            let cells = cells.into_iter().map(|c| c.cast_to(field.data_type()));
            let cells = cells.collect::<Result<Vec<_>, _>>().map_err(|e| self.df(e))?;
            columns.push(ScalarValue::iter_to_array(cells).map_err(|e| self.df(e))?);
        }
        let fields = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
        let schema = SchemaRef::new(Schema::new(fields.collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(values.values.len()));
        let rows = RecordBatch::try_new_with_options(schema, columns, &options)?;
        let first = values.values.iter().take(3).map(|row| {
            let cells = row.iter().map(ToString::to_string).collect::<Vec<_>>();
            format!("({})", cells.join(", "))
        });
        Ok(self.rows(rows, first.collect::<Vec<_>>().join(", ")))
    }

    /// No rows, or the one row of a `SELECT` without `FROM`.
    pub(super) fn empty(&mut self, empty: &EmptyRelation) -> Result<Stream> {
        if empty.produce_one_row {
            let one: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
            let schema = SchemaRef::new(Schema::new(vec![Field::new("row", one.data_type().clone(), false)]));
            let stream = self.rows(RecordBatch::try_new(schema, vec![one])?, "one row".into());
            return Ok(Stream { slots: vec![], ..stream });
        }
        let rows = RecordBatch::new_empty(Arc::clone(empty.schema.inner()));
        Ok(self.rows(rows, "no rows".into()))
    }

    fn rows(&mut self, rows: RecordBatch, text: String) -> Stream {
        let schema = rows.schema();
        let source = Arc::new(ValuesSource::new(rows, text));
        let node = self.graph.add("source:values", NodeKind::Source { source, watermark: None }, vec![]);
        self.constants.insert(node);
        Stream::plain(node, schema)
    }

    fn constant(&self, expr: &Expr) -> Result<ScalarValue> {
        use datafusion_expr::ColumnarValue;
        let one: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
        let row = RecordBatch::try_from_iter([("row", one)])?;
        let schema = datafusion_common::DFSchema::empty();
        let physical = create_physical_expr(expr, &schema, &self.props, &PhysicalPlanningContext::default());
        match physical.and_then(|p| p.evaluate(&row)).map_err(|e| self.df(e))? {
            ColumnarValue::Scalar(value) => Ok(value),
            ColumnarValue::Array(array) => ScalarValue::try_from_array(&array, 0).map_err(|e| self.df(e)),
        }
    }
}
