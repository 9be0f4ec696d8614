//! `ORDER BY` of bounded input: keeps all rows until the input has ended, then emits them in order.
//!
//! Ties are broken by all remaining columns, in their order, so the result is a function of the *multiset* of rows: it
//! does not depend on the order in which workers deliver them. With a limit only the first rows are kept: whenever the
//! buffer has grown to twice the limit it is sorted and cut.

use std::sync::Arc;

use arrow::compute::{SortOptions, interleave_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, Rows, SortField};
use rheos_core::operator::{CHUNK_ROWS_MAX, OperatorInit, WatermarkChange};
use rheos_core::state::{Run, SnapshotReader, StateDelta, TableDelta, TableKind, Tombstone};
use rheos_core::{Epoch, Error, Operator, OperatorContext, OperatorFactory, Port, Progress, Result, Watermark};

use crate::row_keys::has_order;

const TABLE: &str = "rows";
const LAYOUT: &str = "sort/v1";

/// One column to sort by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortKey {
    /// Its index in the input.
    pub column: usize,
    /// Largest first.
    pub descending: bool,
    /// Nulls before all values.
    pub nulls_first: bool,
}

/// Which of the sorted rows are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortLimit {
    /// Rows left out at the front.
    pub skip: usize,
    /// Rows emitted behind them, at most.
    pub fetch: usize,
}

/// Makes sorts.
///
/// Shape: the input's columns. All rows must reach one worker. Time: emits when the watermark is at its end. State: the
/// rows (with a limit: at most about twice `skip + fetch`), until they have been emitted.
#[derive(Debug, Clone)]
pub struct SortFactory {
    input: SchemaRef,
    order: Vec<SortKey>,
    limit: Option<SortLimit>,
}

impl SortFactory {
    /// Sorts by `order`, the first key first. Errors: `Invalid` for a key whose type has no order.
    pub fn try_new(input: SchemaRef, order: Vec<SortKey>, limit: Option<SortLimit>) -> Result<Self> {
        for key in &order {
            let Some(field) = input.fields().get(key.column) else {
                return Err(Error::internal(format!("a sort by column {} of {}", key.column, input.fields().len())));
            };
            if !has_order(field.data_type()) {
                return Err(Error::invalid(
                    355,
                    format!("ORDER BY column '{}' has type {}, which has no order", field.name(), field.data_type()),
                ));
            }
        }
        Ok(Self { input, order, limit })
    }

    /// The wanted keys, then every other column that can break a tie.
    fn all_keys(&self) -> Vec<SortKey> {
        let mut keys = self.order.clone();
        for (column, field) in self.input.fields().iter().enumerate() {
            if keys.iter().all(|k| k.column != column) && has_order(field.data_type()) {
                keys.push(SortKey { column, descending: false, nulls_first: false });
            }
        }
        keys
    }
}

impl OperatorFactory for SortFactory {
    fn create(&self, _init: &OperatorInit) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Sort {
            keys: self.all_keys(),
            keep: self.limit.map(|l| l.skip.saturating_add(l.fetch)),
            skip: self.limit.map_or(0, |l| l.skip),
            buffer: vec![],
            rows: 0,
            saved: 0,
            rewritten: false,
            output: None,
        }))
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.input)
    }

    fn describe(&self) -> Vec<(String, String)> {
        let key = |k: &SortKey| {
            let direction = if k.descending { "desc" } else { "asc" };
            let nulls = if k.nulls_first { "nulls first" } else { "nulls last" };
            format!("{} {direction} {nulls}", self.input.field(k.column).name())
        };
        let mut facts = vec![("order by".into(), self.order.iter().map(key).collect::<Vec<_>>().join(", "))];
        if let Some(limit) = self.limit {
            facts.push(("limit".into(), limit.fetch.to_string()));
            if limit.skip > 0 {
                facts.push(("offset".into(), limit.skip.to_string()));
            }
        }
        facts
    }
}

struct Sort {
    keys: Vec<SortKey>,
    keep: Option<usize>,
    skip: usize,
    buffer: Vec<RecordBatch>,
    rows: usize,
    /// Batches at the front of `buffer` that an earlier epoch has handed over.
    saved: usize,
    /// The buffer was cut since the last epoch's end, so what was handed over is void.
    rewritten: bool,
    output: Option<Output>,
}

/// The sorted rows on their way out.
struct Output {
    batches: Vec<RecordBatch>,
    order: Vec<(usize, usize)>,
    next: usize,
}

impl Operator for Sort {
    fn on_batch(&mut self, _input: usize, batch: RecordBatch, _ctx: &mut OperatorContext) -> Result<Progress> {
        self.rows += batch.num_rows();
        self.buffer.push(batch);
        // The extra chunk keeps a small limit from sorting once a batch.
        if let Some(keep) = self.keep
            && self.rows > keep.saturating_mul(2).max(keep.saturating_add(CHUNK_ROWS_MAX))
        {
            self.cut(keep)?;
        }
        Ok(Progress::Done)
    }

    fn on_watermark(&mut self, change: WatermarkChange, ctx: &mut OperatorContext) -> Result<Progress> {
        if change.combined != Watermark::MAX || self.rows == 0 {
            return Ok(Progress::Done);
        }
        let mut order = self.sorted()?;
        if let Some(keep) = self.keep {
            order.truncate(keep);
        }
        self.output = Some(Output { batches: std::mem::take(&mut self.buffer), order, next: self.skip });
        (self.rows, self.saved, self.rewritten) = (0, 0, true);
        self.resume(ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        let Some(output) = &mut self.output else { return Ok(Progress::Done) };
        let end = (output.next + CHUNK_ROWS_MAX).min(output.order.len());
        if output.next < end {
            let batches: Vec<_> = output.batches.iter().collect();
            ctx.emit(Port::MAIN, interleave_record_batch(&batches, &output.order[output.next..end])?);
            output.next = end;
        }
        if output.next < output.order.len() {
            return Ok(Progress::More);
        }
        self.output = None;
        Ok(Progress::Done)
    }

    fn on_epoch_end(&mut self, _epoch: Epoch, _ctx: &mut OperatorContext) -> Result<StateDelta> {
        let rewritten = std::mem::take(&mut self.rewritten);
        if rewritten {
            self.saved = 0;
        }
        let new = self.buffer[self.saved..].iter().map(|rows| Run { key_groups: vec![], rows: rows.clone() });
        let runs: Vec<_> = new.collect();
        self.saved = self.buffer.len();
        if runs.is_empty() && !rewritten {
            return Ok(StateDelta::default());
        }
        let tombstones = if rewritten { vec![Tombstone::All] } else { vec![] };
        let (table, layout) = (TABLE.to_string(), LAYOUT.to_string());
        Ok(StateDelta {
            tables: vec![TableDelta {
                table,
                kind: TableKind::Single,
                layout,
                replaces_by: vec![],
                gone_by: None,
                tombstones,
                runs,
            }],
        })
    }

    fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        for delta in snapshot.deltas(TABLE) {
            crate::state::check_layout(&delta, LAYOUT)?;
            if delta.tombstones.contains(&Tombstone::All) {
                self.buffer.clear();
            }
            self.buffer.extend(delta.runs.into_iter().map(|run| run.rows));
        }
        self.rows = self.buffer.iter().map(RecordBatch::num_rows).sum();
        self.saved = self.buffer.len();
        Ok(())
    }

    fn output_watermark(&self, combined: Watermark) -> Watermark {
        combined.held_until_the_end()
    }

    fn open_windows(&self) -> u64 {
        u64::from(self.rows > 0)
    }
}

impl Sort {
    /// The rows of the buffer in order, as (batch, row).
    fn sorted(&self) -> Result<Vec<(usize, usize)>> {
        let Some(first) = self.buffer.first() else { return Ok(vec![]) };
        if self.keys.is_empty() {
            // Rows of no columns, or of columns without an order, are all alike here.
            return Ok((0..self.buffer.len())
                .flat_map(|b| (0..self.buffer[b].num_rows()).map(move |r| (b, r)))
                .collect());
        }
        let schema = first.schema();
        let fields = self.keys.iter().map(|key| {
            let options = SortOptions { descending: key.descending, nulls_first: key.nulls_first };
            SortField::new_with_options(schema.field(key.column).data_type().clone(), options)
        });
        let converter = RowConverter::new(fields.collect())?;
        let keys = |batch: &RecordBatch| -> Result<Rows> {
            let columns: Vec<_> = self.keys.iter().map(|key| Arc::clone(batch.column(key.column))).collect();
            Ok(converter.convert_columns(&columns)?)
        };
        let keys = self.buffer.iter().map(keys).collect::<Result<Vec<_>>>()?;
        let mut order: Vec<_> =
            keys.iter().enumerate().flat_map(|(b, k)| (0..k.num_rows()).map(move |r| (b, r))).collect();
        order.sort_unstable_by(|a, b| keys[a.0].row(a.1).cmp(&keys[b.0].row(b.1)));
        Ok(order)
    }

    /// Keeps the first rows only.
    fn cut(&mut self, keep: usize) -> Result<()> {
        let mut order = self.sorted()?;
        order.truncate(keep);
        let batches: Vec<_> = self.buffer.iter().collect();
        let kept = order.chunks(CHUNK_ROWS_MAX).map(|rows| interleave_record_batch(&batches, rows));
        self.buffer = kept.collect::<Result<_, _>>()?;
        self.rows = order.len();
        self.rewritten = true;
        Ok(())
    }
}
