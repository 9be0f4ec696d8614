//! Deduplication by arrival: the first row that comes with a key passes at once, and no other with that key.
//!
//! So is `ROW_NUMBER() .. ORDER BY PROCTIME() = 1`: no later row can be earlier. Nothing is ever taken back, and of a row only its key is
//! kept.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, UInt64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use rheos_core::change::{has_weights, split, with_weights};
use rheos_core::operator::{CHUNK_ROWS_MAX, OperatorInit, StateSize};
use rheos_core::state::{Run, SnapshotReader, StateDelta, TableDelta};
use rheos_core::{Epoch, Error, Exchange, Operator, OperatorContext, OperatorFactory, Port, Progress, Result};

use crate::evaluation::new_batch;
use crate::keyed::slots::KeySlots;
use crate::keyed::time_to_live::{TimeToLive, UNTOUCHED_MS};
use crate::row_keys::RowKeys;
use crate::state::{StateKeys, check_layout};
use crate::window_rank::check_key;

const TABLE: &str = "keys";
const LAYOUT: &str = "first-keys/v1";

/// What is deduplicated.
#[derive(Debug, Clone)]
pub struct KeepFirstSpec {
    /// The columns of the rows, without weights.
    pub input: SchemaRef,
    /// The columns of the key.
    pub key: Vec<usize>,
    /// The name of a column with the number of the row, which is 1; `None`: nobody reads it.
    pub name: Option<String>,
    /// How long a key is kept behind the last row that came with it, in ms of event time.
    pub state_ttl_ms: Option<i64>,
}

/// Makes deduplications.
///
/// Shape: the input's columns and, if it is wanted, the number. Time: rows pass at once. State: the keys.
#[derive(Debug, Clone)]
pub struct KeepFirstFactory {
    spec: KeepFirstSpec,
    schema: SchemaRef,
}

impl KeepFirstFactory {
    /// Errors: `Invalid` for a key that cannot be compared; `Internal` for one that is not there, and for rows that change.
    pub fn try_new(spec: KeepFirstSpec) -> Result<Self> {
        if has_weights(&spec.input) || spec.key.iter().any(|at| *at >= spec.input.fields().len()) {
            return Err(Error::internal("a deduplication of rows that change, or by columns that are not there"));
        }
        for column in columns(&spec) {
            check_key(&column, &spec.input, 150, "PARTITION BY")?;
        }
        let mut fields: Vec<_> = spec.input.fields().iter().cloned().collect();
        fields.extend(spec.name.iter().map(|name| Arc::new(Field::new(name, DataType::UInt64, false))));
        Ok(Self { schema: Arc::new(Schema::new(fields)), spec })
    }

    /// How the rows must reach the workers.
    pub fn exchange(&self) -> Exchange {
        if self.spec.key.is_empty() { Exchange::Single } else { Exchange::Hash(self.spec.key.clone()) }
    }
}

fn columns(spec: &KeepFirstSpec) -> Vec<Arc<dyn PhysicalExpr>> {
    let column = |at: &usize| Arc::new(Column::new(spec.input.field(*at).name(), *at)) as Arc<dyn PhysicalExpr>;
    spec.key.iter().map(column).collect()
}

impl OperatorFactory for KeepFirstFactory {
    fn create(&self, init: &OperatorInit) -> Result<Box<dyn Operator>> {
        let key = Arc::new(self.spec.input.project(&self.spec.key)?);
        Ok(Box::new(KeepFirst {
            schema: Arc::clone(&self.schema),
            emits_number: self.spec.name.is_some(),
            keys: RowKeys::try_unordered(&columns(&self.spec), &self.spec.input)?,
            slots: KeySlots::default(),
            ends: TimeToLive::new(self.spec.state_ttl_ms),
            new: vec![],
            gone: vec![],
            stored: with_weights(&key),
            stored_keys: RowKeys::try_unordered(&stored_columns(&key), &key)?,
            state: StateKeys::new(self.spec.key.len(), init),
        }))
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn describe(&self) -> Vec<(String, String)> {
        let key = self.spec.key.iter().map(|at| format!("{}@{at}", self.spec.input.field(*at).name()));
        let mut facts = vec![("first row of each".to_string(), key.collect::<Vec<_>>().join(", "))];
        facts.extend(self.spec.name.iter().map(|name| ("number".to_string(), name.clone())));
        facts
    }

    fn has_time_to_live(&self) -> bool {
        true
    }

    fn growth(&self) -> Option<String> {
        let key = self.spec.key.iter().map(|at| self.spec.input.field(*at).name().as_str()).collect::<Vec<_>>();
        let grows = self.spec.state_ttl_ms.is_none() && !key.is_empty();
        grows.then(|| format!("each {}", key.join(", ")))
    }
}

fn stored_columns(key: &SchemaRef) -> Vec<Arc<dyn PhysicalExpr>> {
    let fields = key.fields().iter().enumerate();
    fields.map(|(at, field)| Arc::new(Column::new(field.name(), at)) as Arc<dyn PhysicalExpr>).collect()
}

struct KeepFirst {
    schema: SchemaRef,
    emits_number: bool,
    keys: RowKeys,
    slots: KeySlots,
    ends: TimeToLive,
    /// Slots whose keys the last checkpoint may not have.
    new: Vec<u32>,
    /// Keys that were dropped, and that the last checkpoint may have.
    gone: Vec<Box<[u8]>>,
    /// The columns of the key, and behind them 1, or 0 for a key that is gone.
    stored: SchemaRef,
    stored_keys: RowKeys,
    state: StateKeys,
}

impl KeepFirst {
    fn run(&self, keys: &[&[u8]], weight: i64) -> Result<Run> {
        let mut columns = self.keys.decode(keys.iter().copied())?;
        let key_groups = self.state.groups(&columns, keys.len())?;
        columns.push(Arc::new(Int64Array::from_value(weight, keys.len())) as ArrayRef);
        Ok(Run { key_groups, rows: new_batch(&self.stored, columns, keys.len())? })
    }
}

impl Operator for KeepFirst {
    fn on_batch(&mut self, _input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        let keys = self.keys.encode(&batch)?;
        let mut is_first = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let (slot, is_new) = self.slots.find_or_insert(keys.get(row));
            self.ends.touch(slot, ctx.watermark.ms());
            if is_new {
                self.new.push(slot);
            }
            is_first.push(is_new);
        }
        let rows = filter_record_batch(&batch, &BooleanArray::from(is_first))?;
        let mut columns = rows.columns().to_vec();
        if self.emits_number {
            columns.push(Arc::new(UInt64Array::from_value(1, rows.num_rows())));
        }
        ctx.emit(Port::MAIN, new_batch(&self.schema, columns, rows.num_rows())?);
        Ok(Progress::Done)
    }

    fn flush(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        for slot in self.ends.expired(ctx.watermark.ms()) {
            self.gone.push(self.slots.key(slot).into());
            self.slots.remove(slot);
        }
        Ok(Progress::Done)
    }

    fn on_epoch_end(&mut self, _epoch: Epoch, _ctx: &mut OperatorContext) -> Result<StateDelta> {
        let (new, gone) = (std::mem::take(&mut self.new), std::mem::take(&mut self.gone));
        let mut runs = vec![];
        for keys in gone.chunks(CHUNK_ROWS_MAX) {
            runs.push(self.run(&keys.iter().map(AsRef::as_ref).collect::<Vec<_>>(), 0)?);
        }
        for slots in new.chunks(CHUNK_ROWS_MAX) {
            runs.push(self.run(&slots.iter().map(|slot| self.slots.key(*slot)).collect::<Vec<_>>(), 1)?);
        }
        if runs.is_empty() {
            return Ok(StateDelta::default());
        }
        let width = self.stored.fields().len() - 1;
        Ok(StateDelta {
            tables: vec![TableDelta {
                table: TABLE.into(),
                kind: self.state.kind(),
                layout: LAYOUT.into(),
                replaces_by: (0..width).collect(),
                gone_by: Some(width),
                tombstones: vec![],
                runs,
            }],
        })
    }

    fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        for delta in snapshot.deltas(TABLE) {
            check_layout(&delta, LAYOUT)?;
            for run in &delta.runs {
                let (rows, weights) = split(&run.rows)?;
                let weights =
                    weights.ok_or_else(|| Error::internal("stored keys do not say whether they are there"))?;
                let keys = self.stored_keys.encode(&rows)?;
                for row in 0..rows.num_rows() {
                    let (slot, _) = self.slots.find_or_insert(keys.get(row));
                    match weights.value(row) {
                        0 => self.slots.remove(slot),
                        _ => {
                            self.ends.touch(slot, UNTOUCHED_MS);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn state_size(&self) -> StateSize {
        StateSize::new(self.slots.len(), self.slots.size() + self.ends.size())
    }
}
