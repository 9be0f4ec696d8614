//! A source whose event time is computed: `ts AS to_timestamp_millis(ms), WATERMARK FOR ts AS ...`.
//!
//! The engine reads event times off the rows of a source, so the column is added by its readers. All other computed
//! columns are a projection above the source (see `program`).

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::ScalarFunctionExpr;
use datafusion_physical_expr::expressions::{Column, Literal};
use datafusion_physical_expr::utils::collect_columns;
use rheos_core::error::{Error, ErrorKind, Result};
use rheos_core::letters::OnError;
use rheos_core::source::{Boundedness, Discovery, Found, ReaderContext, Source, SourcePoll, Split, SplitReader};

use rheos_operators::lenient::{failing_rows, letter, without};

use crate::lower::Use;

/// A computed column: what it is called and how it is made of the source's columns.
#[derive(Debug, Clone)]
pub(crate) struct ComputedColumn {
    pub(crate) field: FieldRef,
    pub(crate) expr: Arc<dyn PhysicalExpr>,
}

/// A source with one computed column behind its own, or a projection of such.
#[derive(Debug, Clone)]
pub(crate) struct ComputedSource {
    inner: Arc<dyn Source>,
    computed: ComputedColumn,
    /// Indices into the columns of `inner` and, behind them, the computed one.
    output: Vec<usize>,
    schema: SchemaRef,
}

impl ComputedSource {
    pub(crate) fn new(inner: Arc<dyn Source>, computed: ComputedColumn) -> Self {
        let output = (0..=inner.schema().fields().len()).collect();
        Self::with_output(inner, computed, output)
    }

    fn with_output(inner: Arc<dyn Source>, computed: ComputedColumn, output: Vec<usize>) -> Self {
        let schema = inner.schema();
        let all: Vec<_> = schema.fields().iter().cloned().chain([Arc::clone(&computed.field)]).collect();
        let schema = Arc::new(Schema::new(output.iter().map(|i| Arc::clone(&all[*i])).collect::<Vec<_>>()));
        Self { inner, computed, output, schema }
    }

    /// Where the computed column stands behind those of `inner`.
    fn computed_at(&self) -> usize {
        self.inner.schema().fields().len()
    }
}

impl Source for ComputedSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn boundedness(&self) -> Boundedness {
        self.inner.boundedness()
    }

    fn makes_rows(&self) -> bool {
        self.inner.makes_rows()
    }

    fn project(&self, columns: &[usize]) -> Result<Arc<dyn Source>> {
        let output: Vec<_> = columns.iter().map(|c| self.output[*c]).collect();
        let computed_at = self.computed_at();
        let mut needed: BTreeSet<usize> = output.iter().copied().filter(|c| *c != computed_at).collect();
        if !output.contains(&computed_at) {
            return self.inner.project(&output);
        }
        needed.extend(collect_columns(&self.computed.expr).iter().map(Column::index));
        if needed.is_empty() {
            // A constant: rows are counted by some column.
            needed.insert(0);
        }
        let needed: Vec<_> = needed.into_iter().collect();
        let inner = self.inner.project(&needed)?;
        let moved = |at: usize| needed.binary_search(&at).unwrap_or(needed.len());
        let expr = Arc::clone(&self.computed.expr).transform_up(|e| {
            Ok(match e.downcast_ref::<Column>() {
                Some(c) => Transformed::yes(Arc::new(Column::new(c.name(), moved(c.index())))),
                None => Transformed::no(e),
            })
        });
        let expr = expr.data().map_err(|e| Error::internal(e.to_string()))?;
        let computed = ComputedColumn { field: Arc::clone(&self.computed.field), expr };
        let output = output.into_iter().map(moved).collect();
        Ok(Arc::new(Self::with_output(inner, computed, output)))
    }

    fn narrow(&self, schema: &SchemaRef) -> Result<Option<Arc<dyn Source>>> {
        let stored = self.inner.schema();
        let mut read: Vec<Option<Use>> = vec![None; stored.fields().len()];
        let mut note = |column: usize, more: Use| match read.get_mut(column) {
            Some(Some(known)) => known.add(more),
            Some(slot) => *slot = Some(more),
            // The computed column is no part of what is stored.
            None => {}
        };
        for (at, field) in self.output.iter().zip(schema.fields()) {
            note(*at, Use::of_type(field.data_type()));
        }
        fields_read(&self.computed.expr, &mut note);
        let fields = stored.fields().iter().zip(&read);
        let fields = fields.map(|(f, read)| read.as_ref().map_or_else(|| Arc::clone(f), |r| r.narrowed(f)));
        let narrow = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        if narrow == stored {
            return Ok(None);
        }
        let Some(inner) = self.inner.narrow(&narrow)? else { return Ok(None) };
        Ok(Some(Arc::new(Self::with_output(inner, self.computed.clone(), self.output.clone()))))
    }

    fn discover(&self, time_column: Option<usize>, parallelism: usize) -> Result<Discovery> {
        // Statistics are of stored columns; nothing is known of a computed one before it is read.
        let stored = time_column.map(|c| self.output[c]).filter(|c| *c != self.computed_at());
        self.inner.discover(stored, parallelism)
    }

    fn take_found(&self) -> Option<Found> {
        self.inner.take_found()
    }

    fn restore_found(&self, entries: &[String]) -> Result<()> {
        self.inner.restore_found(entries)
    }

    fn restore(&self, known: &[Split]) -> Result<()> {
        self.inner.restore(known)
    }

    fn resume(&self, open: &[(Split, Option<String>)]) -> Result<()> {
        self.inner.resume(open)
    }

    fn on_error(&self) -> OnError {
        self.inner.on_error()
    }

    fn is_replayable(&self) -> bool {
        self.inner.is_replayable()
    }

    fn reads_in(&self, folder: &Path) -> bool {
        self.inner.reads_in(folder)
    }

    fn follows_in(&self, folder: &Path) -> bool {
        self.inner.follows_in(folder)
    }

    fn open(&self, split: &Split, position: Option<&str>, ctx: ReaderContext) -> Result<Box<dyn SplitReader>> {
        let inner = self.inner.open(split, position, ctx.clone())?;
        Ok(Box::new(ComputedReader { inner, source: self.clone(), ctx }))
    }

    fn describe(&self) -> Vec<(String, String)> {
        let mut facts = self.inner.describe();
        // Where a column stands among those that are read is no fact of the table.
        let mut columns: Vec<_> = collect_columns(&self.computed.expr).into_iter().collect();
        columns.sort_by_key(|c| std::cmp::Reverse(c.index()));
        let text =
            columns.iter().fold(self.computed.expr.to_string(), |text, c| text.replace(&c.to_string(), c.name()));
        facts.push(("computed".into(), format!("{} = {text}", self.computed.field.name())));
        facts
    }
}

/// Tells `note` of each column that an expression reads, or of the field in it.
fn fields_read(expr: &Arc<dyn PhysicalExpr>, note: &mut impl FnMut(usize, Use)) {
    match path(expr) {
        Some((column, path)) => note(column, Use::field(&path)),
        None => expr.children().into_iter().for_each(|child| fields_read(child, note)),
    }
}

/// A column and the names of the fields by which `expr` goes into it.
fn path(expr: &Arc<dyn PhysicalExpr>) -> Option<(usize, Vec<String>)> {
    if let Some(column) = expr.downcast_ref::<Column>() {
        return Some((column.index(), vec![]));
    }
    let call = expr.downcast_ref::<ScalarFunctionExpr>().filter(|call| call.name() == "get_field")?;
    let (base, names) = call.args().split_first()?;
    let (column, mut path) = path(base)?;
    for name in names {
        path.push(name.downcast_ref::<Literal>()?.value().try_as_str()??.to_string());
    }
    Some((column, path))
}

struct ComputedReader {
    inner: Box<dyn SplitReader>,
    source: ComputedSource,
    ctx: ReaderContext,
}

impl ComputedReader {
    /// [`ComputedReader::extended`] of the rows for which that can be done; the others become dead letters, if those are read.
    fn extended_or_letters(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let error = match self.extended(batch) {
            Err(error) if error.kind() == ErrorKind::User && self.ctx.letters.is_some() => error,
            done => return done,
        };
        let failing = failing_rows(batch, error, &mut |rows| self.extended(&rows).map(drop))?;
        let letters = failing.iter().map(|(row, error)| letter(batch, *row, error.message()));
        let letters = letters.collect::<Result<Vec<_>>>()?;
        // They were decoded, and are rows no more.
        self.ctx.counters.records.fetch_sub(letters.len() as u64, Ordering::Relaxed);
        self.ctx.put_letters(letters);
        self.extended(&without(batch, &failing)?)
    }

    fn extended(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let computed = &self.source.computed;
        let value = computed.expr.evaluate(batch).and_then(|v| v.into_array(rows)).map_err(|e| {
            let what = format!("the column '{}' cannot be computed: {}", computed.field.name(), e.strip_backtrace());
            Error::user(what).with_hint("try_cast gives null where a cast fails")
        })?;
        let width = batch.num_columns();
        let column = |at: &usize| if *at == width { Arc::clone(&value) } else { Arc::clone(batch.column(*at)) };
        let columns = self.source.output.iter().map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.source.schema), columns, &options)?)
    }
}

impl SplitReader for ComputedReader {
    fn poll(&mut self) -> Result<SourcePoll> {
        match self.inner.poll()? {
            SourcePoll::Batch(batch) => Ok(SourcePoll::Batch(self.extended_or_letters(&batch)?)),
            other => Ok(other),
        }
    }

    fn position(&self) -> String {
        self.inner.position()
    }
}
