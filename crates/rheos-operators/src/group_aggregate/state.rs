//! The state of a group aggregate in a checkpoint: a row for each group, and for each value of it, that an epoch has changed.
//!
//! ```text
//!   groups     keys | state columns of the aggregates | $touched_ms | $rows
//!   values0..  keys | a value of an aggregate that keeps its values | how often it is there
//! ```
//! A row takes the place of those of earlier epochs; one whose last column is 0 says that the group or value is gone. Without
//! keys there is one group, which is never gone, and each delta hands over the whole table `groups`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use rheos_core::operator::OperatorInit;
use rheos_core::state::{Run, SnapshotReader, StateDelta, TableDelta, Tombstone};
use rheos_core::{Error, ErrorKind, Result};

use super::groups::Groups;
use crate::evaluation::{coerce, new_batch};
use crate::state::{Replacing, StateKeys, check_layout};
use crate::weighted::{ValueChanges, ValueTable};

const GROUPS: &str = "groups";
const GROUPS_LAYOUT: &str = "group/v1";
const VALUES_LAYOUT: &str = "group-values/v1";

/// Turns groups into deltas and back.
pub(super) struct GroupState {
    keys: StateKeys,
    schema: SchemaRef,
    key_width: usize,
    values: Vec<Values>,
}

/// A table of values.
struct Values {
    table: ValueTable,
    schema: SchemaRef,
}

impl GroupState {
    pub(super) fn new(groups: &Groups, init: &OperatorInit) -> Self {
        let key_width = groups.key_schema.fields().len();
        let mut fields: Vec<Field> = groups.key_schema.fields().iter().map(|f| f.as_ref().clone()).collect();
        fields.extend(groups.calls.state_fields());
        fields.extend(["$touched_ms", "$rows"].map(|name| Field::new(name, DataType::Int64, false)));
        let values = groups.calls.value_tables().into_iter().map(|table| {
            let keys = groups.key_schema.fields().iter().map(|f| f.as_ref().clone());
            let schema = Arc::new(Schema::new(keys.chain(table.fields.clone()).collect::<Vec<_>>()));
            Values { table, schema }
        });
        let values = values.collect();
        Self { keys: StateKeys::new(key_width, init), schema: Arc::new(Schema::new(fields)), key_width, values }
    }

    /// What has changed since the last delta.
    pub(super) fn delta(&self, groups: &mut Groups) -> Result<StateDelta> {
        let mut delta = StateDelta::default();
        delta.tables.extend(self.changed_groups(groups)?);
        for (values, changes) in self.values.iter().zip(groups.calls.take_changes()?) {
            if let Some(changes) = changes {
                delta.tables.push(self.changed_values(values, changes, groups)?);
            }
        }
        Ok(delta)
    }

    fn changed_groups(&self, groups: &mut Groups) -> Result<Option<TableDelta>> {
        let slots = groups.changed.slots().to_vec();
        if slots.is_empty() {
            return Ok(None);
        }
        let mut columns = groups.keys.decode(slots.iter().map(|slot| groups.slots.key(*slot)))?;
        let key_groups = self.keys.groups(&columns, slots.len())?;
        columns.extend(groups.calls.state(&slots)?);
        let touched = slots.iter().map(|slot| groups.ttl.last_ms(*slot));
        columns.push(Arc::new(Int64Array::from_iter_values(touched)));
        columns.push(Arc::new(Int64Array::from_iter_values(slots.iter().map(|slot| groups.counts[*slot as usize]))));
        let columns = columns.into_iter().zip(self.schema.fields()).map(|(c, f)| coerce(c, f.data_type()));
        let rows = new_batch(&self.schema, columns.collect::<Result<_>>()?, slots.len())?;
        let is_one = self.key_width == 0;
        Ok(Some(TableDelta {
            table: GROUPS.into(),
            kind: self.keys.kind(),
            layout: GROUPS_LAYOUT.into(),
            replaces_by: (0..self.key_width).collect(),
            gone_by: (!is_one).then(|| rows.num_columns() - 1),
            tombstones: if is_one { vec![Tombstone::All] } else { vec![] },
            runs: vec![Run { key_groups, rows }],
        }))
    }

    fn changed_values(&self, values: &Values, changes: ValueChanges, groups: &Groups) -> Result<TableDelta> {
        let ValueChanges { slots, columns: of_values } = changes;
        let mut columns = groups.keys.decode(slots.iter().map(|slot| groups.slots.key(*slot)))?;
        let key_groups = self.keys.groups(&columns, slots.len())?;
        columns.extend(of_values);
        let columns = columns.into_iter().zip(values.schema.fields()).map(|(c, f)| coerce(c, f.data_type()));
        let rows = new_batch(&values.schema, columns.collect::<Result<_>>()?, slots.len())?;
        // Values may have no columns, as those of `count(DISTINCT 1)`: then a group has one.
        let width = self.key_width + values.table.keys;
        let Replacing { replaces_by, gone_by, tombstones } =
            Replacing::by((0..width).collect(), self.key_width + values.table.gone_by());
        let (table, layout) = (values.table.name.clone(), VALUES_LAYOUT.into());
        let runs = vec![Run { key_groups, rows }];
        Ok(TableDelta { table, kind: self.keys.kind(), layout, replaces_by, gone_by, tombstones, runs })
    }

    /// Takes back the groups of this worker. Errors: `Corrupt` for rows in another layout.
    pub(super) fn restore(&self, snapshot: &dyn SnapshotReader, groups: &mut Groups) -> Result<()> {
        for delta in snapshot.deltas(GROUPS) {
            check_layout(&delta, GROUPS_LAYOUT)?;
            for run in &delta.runs {
                check(&run.rows, &self.schema)?;
                self.take_back(&run.rows, groups)?;
            }
        }
        for (number, values) in self.values.iter().enumerate() {
            for delta in snapshot.deltas(&values.table.name) {
                check_layout(&delta, VALUES_LAYOUT)?;
                for run in &delta.runs {
                    check(&run.rows, &values.schema)?;
                    self.take_values_back(number, &run.rows, groups)?;
                }
            }
        }
        let slots: Vec<u32> = groups.slots.iter().collect();
        let touches = slots.iter().map(|slot| (groups.restored_ms[*slot as usize], *slot)).collect();
        groups.ttl.restore(touches);
        groups.restored_ms = vec![];
        groups.is_announced = self.key_width == 0 && !slots.is_empty();
        Ok(())
    }

    /// The rows of one epoch: each takes the place of what was there.
    fn take_back(&self, rows: &RecordBatch, groups: &mut Groups) -> Result<()> {
        let width = rows.num_columns();
        let is_there = |count: i64| count != 0 || self.key_width == 0;
        let numbers = |at: usize, rows: &RecordBatch| rows.column(at).as_primitive::<Int64Type>().values().to_vec();
        let keys = groups.keys.encode_values(&rows.columns()[..self.key_width])?;
        let counts = numbers(width - 1, rows);
        let mut gone = vec![];
        for (row, count) in counts.iter().enumerate() {
            if !is_there(*count)
                && let Some(slot) = groups.slots.find(keys.get(row))
            {
                groups.counts[slot as usize] = 0;
                groups.slots.remove(slot);
                gone.push(slot);
            }
        }
        groups.calls.clear(&gone);
        let kept: BooleanArray = counts.iter().map(|count| Some(is_there(*count))).collect();
        let rows = filter_record_batch(rows, &kept)?;
        let key_columns: Vec<ArrayRef> = rows.columns()[..self.key_width].to_vec();
        let keys = groups.keys.encode_values(&key_columns)?;
        let slots: Vec<u32> = (0..rows.num_rows()).map(|row| groups.slots.find_or_insert(keys.get(row)).0).collect();
        groups.grow();
        groups.restored_ms.resize(groups.slots.end(), 0);
        let times = numbers(width - 2, &rows);
        for ((slot, count), time) in slots.iter().zip(numbers(width - 1, &rows)).zip(times) {
            groups.counts[*slot as usize] = count;
            groups.restored_ms[*slot as usize] = time;
        }
        groups.calls.restore(&rows.columns()[self.key_width..width - 2], &slots, groups.slots.end())
    }

    /// Values of groups that are there: those of others went with them.
    fn take_values_back(&self, table: usize, rows: &RecordBatch, groups: &mut Groups) -> Result<()> {
        let keys = groups.keys.encode_values(&rows.columns()[..self.key_width])?;
        let slots: Vec<Option<u32>> = (0..rows.num_rows()).map(|row| groups.slots.find(keys.get(row))).collect();
        let kept: BooleanArray = slots.iter().map(|slot| Some(slot.is_some())).collect();
        let rows = filter_record_batch(rows, &kept)?;
        let slots: Vec<u32> = slots.into_iter().flatten().collect();
        groups.calls.restore_values(table, &rows.columns()[self.key_width..], &slots, groups.slots.end())
    }
}

/// Refuses rows of other types than this version's.
fn check(rows: &RecordBatch, schema: &Schema) -> Result<()> {
    let types = |schema: &Schema| schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
    if types(&rows.schema()) == types(schema) {
        return Ok(());
    }
    let what = format!("the stored groups have other columns: {:?}, and not {schema:?}", rows.schema());
    Err(Error::new(ErrorKind::Corrupt, 354, what)
        .with_hint("restore it with the version that wrote it, or start the job without its state"))
}
