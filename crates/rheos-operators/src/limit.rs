//! `LIMIT` and `OFFSET`: passes on the rows behind the first `skip`, at most `fetch` of them.
//!
//! It counts rows as they come, so it stands behind a sort, or behind an exchange to one worker.

use std::sync::Arc;

use arrow::array::{AsArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use arrow::record_batch::RecordBatch;
use rheos_core::operator::OperatorInit;
use rheos_core::state::{Run, SnapshotReader, StateDelta, TableDelta, TableKind, Tombstone};
use rheos_core::{Epoch, Operator, OperatorContext, OperatorFactory, Port, Progress, Result};

use crate::evaluation::new_batch;

const TABLE: &str = "rows-seen";
const LAYOUT: &str = "limit/v1";

/// Makes limits.
///
/// Shape: the input's columns and order. Time: untouched. State: one number.
#[derive(Debug, Clone)]
pub struct LimitFactory {
    input: SchemaRef,
    skip: usize,
    fetch: Option<usize>,
}

impl LimitFactory {
    /// Rows `skip .. skip + fetch` of the input; without `fetch` all behind `skip`.
    pub fn try_new(input: SchemaRef, skip: usize, fetch: Option<usize>) -> Result<Self> {
        Ok(Self { input, skip, fetch })
    }
}

impl OperatorFactory for LimitFactory {
    fn create(&self, _init: &OperatorInit) -> Result<Box<dyn Operator>> {
        let skip = self.skip as u64;
        let end = self.fetch.map_or(u64::MAX, |fetch| skip.saturating_add(fetch as u64));
        Ok(Box::new(Limit { skip, end, seen: 0, saved: 0 }))
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.input)
    }

    fn describe(&self) -> Vec<(String, String)> {
        let mut facts = vec![];
        if let Some(fetch) = self.fetch {
            facts.push(("limit".into(), fetch.to_string()));
        }
        if self.skip > 0 {
            facts.push(("offset".into(), self.skip.to_string()));
        }
        facts
    }
}

struct Limit {
    skip: u64,
    end: u64,
    /// Rows that came, counted up to `end`.
    seen: u64,
    /// `seen` at the last epoch's end.
    saved: u64,
}

impl Operator for Limit {
    fn on_batch(&mut self, _input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        let first = self.seen;
        let last = first.saturating_add(batch.num_rows() as u64);
        self.seen = last.min(self.end);
        let (from, to) = (self.skip.clamp(first, last), self.end.min(last));
        if from < to {
            ctx.emit(Port::MAIN, batch.slice((from - first) as usize, (to - from) as usize));
        }
        Ok(Progress::Done)
    }

    fn on_epoch_end(&mut self, _epoch: Epoch, _ctx: &mut OperatorContext) -> Result<StateDelta> {
        if self.saved == self.seen {
            return Ok(StateDelta::default());
        }
        self.saved = self.seen;
        let schema = Arc::new(Schema::new(vec![Field::new("rows", DataType::UInt64, false)]));
        let rows = new_batch(&schema, vec![Arc::new(UInt64Array::from(vec![self.seen]))], 1)?;
        Ok(StateDelta {
            tables: vec![TableDelta {
                table: TABLE.into(),
                kind: TableKind::Single,
                layout: LAYOUT.into(),
                replaces_by: vec![],
                gone_by: None,
                tombstones: vec![Tombstone::All],
                runs: vec![Run { key_groups: vec![], rows }],
            }],
        })
    }

    fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        for delta in snapshot.deltas(TABLE) {
            crate::state::check_layout(&delta, LAYOUT)?;
            for run in &delta.runs {
                // Every delta replaces the one before.
                self.seen = run.rows.column(0).as_primitive::<UInt64Type>().value(0);
            }
        }
        self.saved = self.seen;
        Ok(())
    }
}
