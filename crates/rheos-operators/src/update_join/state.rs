//! The rows of all inputs in a checkpoint: a table an input, by key group, or of worker 0 where there are no keys.
//!
//! | layout | row | changes in an epoch |
//! |---|---|---|
//! | `join-rows/v1` | the columns of the input | the rows that came |
//! | `join-weights/v1` | the columns, and how often the row is there | the rows that came or went, with what is true of them now |
//! | `join-matches/v1` | the same, and the rows of the other side that it is joined with | also the rows that have come to be joined with others |
//!
//! `join-timed-...` has in front of that the watermark from which on the row is not needed, and a tombstone up to the one that has
//! been reached. In the latter two a row takes the place of the one with the same columns; one that is there 0 times is gone. What has been told
//! of each row follows from them, since at an epoch's end all has been.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use rheos_core::change::weight_field;
use rheos_core::operator::{CHUNK_ROWS_MAX, OperatorInit};
use rheos_core::state::{Run, SnapshotReader, StateDelta, TableDelta, TableKind, Tombstone};
use rheos_core::{Error, Result};

use super::side::Side;
use crate::evaluation::new_batch;
use crate::keyed::slots::KeySlots;
use crate::row_keys::RowKeys;
use crate::state::{StateKeys, check_layout};

/// No column of a program has this name.
const MATCHES: &str = "$matches";

/// Turns the rows of inputs into deltas and back.
#[derive(Debug)]
pub(crate) struct JoinState {
    keys: StateKeys,
    writes: bool,
    tables: Vec<Table>,
}

/// The stored rows of an input.
#[derive(Debug)]
struct Table {
    name: String,
    /// All rows that expire by this have been let go since the last delta.
    reached_ms: Option<i64>,
}

/// What is stored of a row beside its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Rows,
    Weights,
    Matches,
}

impl Form {
    fn of(side: &Side) -> Self {
        match (side.merges(), side.matches.is_some()) {
            (false, _) => Form::Rows,
            (true, false) => Form::Weights,
            (true, true) => Form::Matches,
        }
    }

    fn layout(self, side: &Side) -> &'static str {
        match (self, side.expiry.is_some()) {
            (Form::Rows, false) => "join-rows/v1",
            (Form::Weights, false) => "join-weights/v1",
            (Form::Matches, false) => "join-matches/v1",
            (Form::Rows, true) => "join-timed-rows/v1",
            (Form::Weights, true) => "join-timed-weights/v1",
            (Form::Matches, true) => "join-timed-matches/v1",
        }
    }
}

impl JoinState {
    /// For a join with so many keys, whose inputs have tables of these names.
    pub(crate) fn new(tables: Vec<String>, keys: usize, init: &OperatorInit) -> Self {
        let keys = StateKeys::new(keys, init);
        let writes = keys.kind() == TableKind::Keyed || init.worker == 0;
        let tables = tables.into_iter().map(|name| Table { name, reached_ms: None }).collect();
        Self { keys, writes, tables }
    }

    /// All rows of an input that expire by this have been let go.
    pub(crate) fn reached(&mut self, input: usize, ms: Option<i64>) {
        let reached = &mut self.tables[input].reached_ms;
        *reached = ms.or(*reached);
    }

    /// What the epoch has changed.
    pub(crate) fn delta(&mut self, keys: &[RowKeys], sides: &[Side]) -> Result<StateDelta> {
        let mut delta = StateDelta::default();
        for (input, (keys, side)) in keys.iter().zip(sides).enumerate() {
            let is_there = |row: &u32| side.rows.contains(*row);
            let changed: Vec<u32> = side.changed.slots().iter().copied().filter(is_there).collect();
            let reached = self.tables[input].reached_ms.take();
            let tombstones: Vec<_> = reached.map(Tombstone::NamespacesUpTo).into_iter().collect();
            if (changed.is_empty() && tombstones.is_empty()) || !self.writes {
                continue;
            }
            let form = Form::of(side);
            let runs = changed.chunks(CHUNK_ROWS_MAX).map(|rows| self.run(form, keys, side, rows));
            let first = usize::from(side.expiry.is_some());
            let width = first + side.rows.schema().fields().len();
            let replaces = form != Form::Rows;
            delta.tables.push(TableDelta {
                table: self.tables[input].name.clone(),
                kind: self.keys.kind(),
                layout: form.layout(side).into(),
                replaces_by: if replaces { (first..width).collect() } else { vec![] },
                gone_by: replaces.then_some(width),
                tombstones,
                runs: runs.collect::<Result<_>>()?,
            });
        }
        Ok(delta)
    }

    fn run(&self, form: Form, keys: &RowKeys, side: &Side, rows: &[u32]) -> Result<Run> {
        let batch = side.rows.gather(rows)?;
        let key_groups = self.keys.groups(&keys.values(&batch)?, rows.len())?;
        let mut fields = vec![];
        let mut columns: Vec<ArrayRef> = vec![];
        if let Some(expiry) = &side.expiry {
            let times = expiry.times_us(batch.column(expiry.column()))?;
            fields.push(Arc::new(Field::new("expires_ms", DataType::Int64, false)));
            let ends = times.iter().map(|us| expiry.expires_ms(*us));
            columns.push(Arc::new(Int64Array::from_iter_values(ends)));
        }
        fields.extend(batch.schema_ref().fields().iter().cloned());
        columns.extend(batch.columns().iter().cloned());
        let mut add = |field: Field, values: Vec<i64>| {
            fields.push(Arc::new(field));
            columns.push(Arc::new(Int64Array::from(values)) as ArrayRef);
        };
        if form != Form::Rows {
            add(weight_field(), rows.iter().map(|row| side.weight(*row)).collect());
        }
        if let Some(matches) = side.matches.as_ref().filter(|_| form == Form::Matches) {
            let field = Field::new(MATCHES, DataType::Int64, false);
            add(field, rows.iter().map(|row| matches[*row as usize]).collect());
        }
        Ok(Run { key_groups, rows: new_batch(&Arc::new(Schema::new(fields)), columns, rows.len())? })
    }

    /// Puts the stored rows into their side; those that are gone among them, which are there 0 times.
    pub(crate) fn restore(
        &self,
        snapshot: &dyn SnapshotReader,
        input: usize,
        keys: &RowKeys,
        slots: &mut KeySlots,
        side: &mut Side,
    ) -> Result<()> {
        let form = Form::of(side);
        let first = usize::from(side.expiry.is_some());
        let schema = Arc::clone(side.rows.schema());
        let width = first + schema.fields().len();
        for delta in snapshot.deltas(&self.tables[input].name) {
            check_layout(&delta, form.layout(side))?;
            for run in &delta.runs {
                let rows = new_batch(&schema, run.rows.columns()[first..width].to_vec(), run.rows.num_rows())?;
                let encoded = keys.encode(&rows)?;
                let of_row: Vec<u32> =
                    (0..rows.num_rows()).map(|row| slots.find_or_insert(encoded.get(row)).0).collect();
                let weights = (form != Form::Rows).then(|| counts(&run.rows, width)).transpose()?;
                let matches = (form == Form::Matches).then(|| counts(&run.rows, width + 1)).transpose()?;
                side.restore(rows, &of_row, weights, matches)?;
            }
        }
        Ok(())
    }
}

fn counts(rows: &RecordBatch, column: usize) -> Result<&[i64]> {
    let counts = rows.columns().get(column).and_then(|c| c.as_primitive_opt::<Int64Type>());
    Ok(counts.ok_or_else(|| Error::internal("stored rows of a join have no counts"))?.values())
}
