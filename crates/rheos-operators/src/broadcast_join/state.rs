//! The rows of both inputs, and how a checkpoint has them.
//!
//! | table | kind | row | changes in an epoch |
//! |---|---|---|---|
//! | `few` | for every worker, from worker 0 | the input's columns | new rows |
//! | `waiting` | for any worker | the watermark by which it is joined, then the input's columns | new rows; a tombstone for those that were joined |
//!
//! The few rows stay to the end: another worker may need them for longer than worker 0.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use rheos_core::Result;
use rheos_core::operator::OperatorInit;
use rheos_core::state::{Run, SnapshotReader, TableDelta, TableKind, Tombstone};

use crate::evaluation::new_batch;
use crate::state::check_layout;
use crate::windowed_rows::coalesce;

const FEW: &str = "few";
const FEW_LAYOUT: &str = "broadcast-rows/v1";
const WAITING: &str = "waiting";
const WAITING_LAYOUT: &str = "waiting-rows/v1";

/// The rows that each worker has.
pub(super) struct Few {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    rows: usize,
    /// Batches at the front that an earlier epoch has handed over.
    saved: usize,
    /// Worker 0 writes what all have.
    writes: bool,
}

impl Few {
    pub(super) fn new(schema: SchemaRef, init: &OperatorInit) -> Self {
        Self { schema, batches: vec![], rows: 0, saved: 0, writes: init.worker == 0 }
    }

    pub(super) fn push(&mut self, batch: RecordBatch) {
        self.rows += batch.num_rows();
        self.batches.push(batch);
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    pub(super) fn delta(&mut self) -> Option<TableDelta> {
        let new = self.batches[self.saved..].iter().map(|rows| Run { key_groups: vec![], rows: rows.clone() });
        let runs: Vec<Run> = new.collect();
        self.saved = self.batches.len();
        (self.writes && !runs.is_empty()).then(|| table(FEW, TableKind::Broadcast, FEW_LAYOUT, vec![], runs))
    }

    pub(super) fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        for delta in snapshot.deltas(FEW) {
            check_layout(&delta, FEW_LAYOUT)?;
            for run in delta.runs {
                let rows = run.rows.num_rows();
                self.push(new_batch(&self.schema, run.rows.columns().to_vec(), rows)?);
            }
        }
        self.saved = self.batches.len();
        Ok(())
    }
}

/// The rows that wait for partners.
pub(super) struct Waiting {
    stored: SchemaRef,
    schema: SchemaRef,
    /// By the watermark at which all their partners have come.
    batches: BTreeMap<i64, Vec<WaitingBatch>>,
    /// Rows that are joined by this watermark have been taken; no row waits by it, or by an earlier one.
    taken_ms: i64,
    /// What the last delta said.
    saved_ms: i64,
}

struct WaitingBatch {
    rows: RecordBatch,
    is_saved: bool,
}

impl Waiting {
    pub(super) fn new(schema: SchemaRef) -> Self {
        let mut fields = vec![Arc::new(Field::new("closes_ms", DataType::Int64, false))];
        fields.extend(schema.fields().iter().cloned());
        let stored = Arc::new(Schema::new(fields));
        Self { stored, schema, batches: BTreeMap::new(), taken_ms: i64::MIN, saved_ms: i64::MIN }
    }

    /// Adds rows all of whose partners have come by the watermark `closes_ms`.
    pub(super) fn push(&mut self, rows: RecordBatch, closes_ms: i64) {
        // The tombstone of what was taken must not take these.
        let closes_ms = closes_ms.max(self.taken_ms.saturating_add(1));
        self.batches.entry(closes_ms).or_default().push(WaitingBatch { rows, is_saved: false });
    }

    pub(super) fn has_rows(&self) -> bool {
        !self.batches.is_empty()
    }

    /// How many rows wait that need not at this watermark.
    pub(super) fn rows_closed(&self, watermark_ms: i64) -> usize {
        self.batches.range(..=watermark_ms).flat_map(|(_, batches)| batches).map(|batch| batch.rows.num_rows()).sum()
    }

    /// These rows, which wait no more.
    pub(super) fn take_closed(&mut self, watermark_ms: i64) -> Vec<RecordBatch> {
        self.taken_ms = self.taken_ms.max(watermark_ms);
        let taken = self.batches.extract_if(..=watermark_ms, |_, _| true);
        taken.flat_map(|(_, batches)| batches).map(|batch| batch.rows).collect()
    }

    pub(super) fn delta(&mut self) -> Result<Option<TableDelta>> {
        let tombstones = match self.taken_ms > self.saved_ms {
            true => vec![Tombstone::NamespacesUpTo(self.taken_ms)],
            false => vec![],
        };
        self.saved_ms = self.taken_ms;
        let mut new = vec![];
        let all = self.batches.iter_mut().flat_map(|(closes_ms, batches)| batches.iter_mut().map(|b| (*closes_ms, b)));
        for (closes_ms, batch) in all.filter(|(_, batch)| !batch.is_saved) {
            let times = Int64Array::from_value(closes_ms, batch.rows.num_rows());
            let columns = [Arc::new(times) as ArrayRef].into_iter().chain(batch.rows.columns().iter().cloned());
            new.push(new_batch(&self.stored, columns.collect(), batch.rows.num_rows())?);
            batch.is_saved = true;
        }
        let runs: Vec<Run> = coalesce(new)?.into_iter().map(|rows| Run { key_groups: vec![], rows }).collect();
        let has_change = !runs.is_empty() || !tombstones.is_empty();
        Ok(has_change.then(|| table(WAITING, TableKind::Split, WAITING_LAYOUT, tombstones, runs)))
    }

    pub(super) fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        for delta in snapshot.deltas(WAITING) {
            check_layout(&delta, WAITING_LAYOUT)?;
            for run in delta.runs {
                let times = run.rows.column(0).as_primitive::<Int64Type>().values().clone();
                let rows = new_batch(&self.schema, run.rows.columns()[1..].to_vec(), run.rows.num_rows())?;
                let mut from = 0;
                for same in times.chunk_by(|a, b| a == b) {
                    let rows = rows.slice(from, same.len());
                    self.batches.entry(same[0]).or_default().push(WaitingBatch { rows, is_saved: true });
                    from += same.len();
                }
            }
        }
        Ok(())
    }
}

fn table(name: &str, kind: TableKind, layout: &str, tombstones: Vec<Tombstone>, runs: Vec<Run>) -> TableDelta {
    TableDelta {
        table: name.to_string(),
        kind,
        layout: layout.to_string(),
        replaces_by: vec![],
        gone_by: None,
        tombstones,
        runs,
    }
}
