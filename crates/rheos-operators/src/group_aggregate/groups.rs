//! The groups: what is kept of each, and what its result was and is.
//!
//! Invariant: between two emissions the result of a group that is not touched is the one that was emitted last. So the old
//! result of a touched group is what its state gave before the first row of the interval.

use arrow::array::{Array, ArrayRef, Int64Array, UInt32Array, make_comparator, new_empty_array};
use arrow::compute::{SortOptions, concat, interleave, take};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use rheos_core::change;
use rheos_core::operator::StateSize;
use rheos_core::{Error, ErrorKind, Result};

use super::{GroupAggregateSpec, GroupEmits};
use crate::aggregate::AggregateCall;
use crate::evaluation::{canonical_key, coerce};
use crate::keyed::slots::KeySlots;
use crate::keyed::time_to_live::TimeToLive;
use crate::keyed::touched::Touched;
use crate::row_keys::RowKeys;
use crate::weighted::Calls;
use crate::window_aggregate::table::RowColumns;

/// No old result.
const NONE: u32 = u32::MAX;

/// See the module.
pub(super) struct Groups {
    pub(super) keys: RowKeys,
    /// The key columns.
    pub(super) key_schema: SchemaRef,
    /// Keys and aggregates.
    results: SchemaRef,
    pub(super) slots: KeySlots,
    /// By slot: the weights of its rows, added up; of a free slot 0.
    pub(super) counts: Vec<i64>,
    pub(super) ttl: TimeToLive,
    /// By slot, while a checkpoint is taken back: when it was touched last.
    pub(super) restored_ms: Vec<i64>,
    aggregates: Vec<AggregateCall>,
    pub(super) calls: Calls,
    /// Groups that an epoch has changed.
    pub(super) changed: Touched,
    touched: Touched,
    /// Of each touched group the place of its old result in `old`.
    old_at: Vec<u32>,
    old: Vec<Vec<ArrayRef>>,
    old_rows: u32,
    /// Without keys: whether the one result is out.
    pub(super) is_announced: bool,
}

/// The touched groups of an interval, on their way out.
pub(super) struct Emission {
    slots: Vec<u32>,
    old_at: Vec<u32>,
    /// One column an aggregate.
    old: Vec<ArrayRef>,
    next: usize,
}

impl Emission {
    pub(super) fn is_done(&self) -> bool {
        self.next >= self.slots.len()
    }
}

/// Where each row of a batch belongs.
pub(super) struct Assigned {
    pub(super) slots: Vec<u32>,
    /// The rows with a key that was not there.
    pub(super) new: Vec<u32>,
}

impl Groups {
    pub(super) fn try_new(spec: &GroupAggregateSpec, key_schema: SchemaRef, results: SchemaRef) -> Result<Self> {
        Ok(Self {
            keys: RowKeys::try_unordered(&spec.keys.iter().map(|(e, _)| e.clone()).collect::<Vec<_>>(), &spec.input)?,
            key_schema,
            results,
            slots: KeySlots::default(),
            counts: vec![],
            // What is to be told at the end is not left out before.
            ttl: TimeToLive::new(spec.state_ttl_ms.filter(|_| spec.emits != GroupEmits::RowsAtEnd)),
            aggregates: spec.aggregates.clone(),
            restored_ms: vec![],
            calls: Calls::try_new(&spec.aggregates, change::has_weights(&spec.input))?,
            changed: Touched::default(),
            touched: Touched::default(),
            old_at: vec![],
            old: vec![],
            old_rows: 0,
            is_announced: false,
        })
    }

    pub(super) fn has_keys(&self) -> bool {
        !self.key_schema.fields().is_empty()
    }

    /// The slots of rows by their keys; unknown keys get one.
    pub(super) fn assign(&mut self, columns: &RowColumns) -> Result<Assigned> {
        let fields = self.key_schema.fields();
        let keys = columns.groups.iter().zip(fields).map(|(c, f)| coerce(ArrayRef::clone(c), f.data_type()));
        let keys = self.keys.encode_values(&keys.collect::<Result<Vec<_>>>()?)?;
        let mut assigned = Assigned { slots: Vec::with_capacity(columns.rows), new: vec![] };
        for row in 0..columns.rows {
            let (slot, is_new) = self.slots.find_or_insert(keys.get(row));
            assigned.slots.push(slot);
            if is_new {
                assigned.new.push(row as u32);
            }
        }
        self.grow();
        Ok(assigned)
    }

    /// Makes room for all slots.
    pub(super) fn grow(&mut self) {
        self.counts.resize(self.slots.end(), 0);
    }

    /// Adds rows to their groups, whose results may change.
    pub(super) fn update(&mut self, columns: &RowColumns, slots: &[u32], weights: Option<&[i64]>) -> Result<()> {
        self.touch(slots)?;
        self.count(slots, weights)?;
        let end = self.slots.end();
        self.calls.update(&columns.arguments, &columns.filters, slots, weights, end)
    }

    /// Adds rows to their groups' counts alone.
    pub(super) fn count(&mut self, slots: &[u32], weights: Option<&[i64]>) -> Result<()> {
        let overflow = || Error::user("there are more than 2^63 rows in a group");
        match weights {
            None => slots.iter().for_each(|slot| self.counts[*slot as usize] += 1),
            Some(weights) => {
                for (slot, weight) in slots.iter().zip(weights) {
                    let count = &mut self.counts[*slot as usize];
                    *count = count.checked_add(*weight).ok_or_else(overflow)?;
                }
            }
        }
        Ok(())
    }

    /// Notes that groups are touched, and keeps the results that they have.
    fn touch(&mut self, slots: &[u32]) -> Result<()> {
        let mut there = vec![];
        for slot in slots {
            if self.touched.mark(*slot) {
                let is_there = self.is_there(*slot);
                self.old_at.push(if is_there { self.old_rows + there.len() as u32 } else { NONE });
                if is_there {
                    there.push(*slot);
                }
            }
        }
        if !there.is_empty() {
            self.old_rows += there.len() as u32;
            let old = self.results_of(&there)?;
            self.old.push(old);
        }
        Ok(())
    }

    /// The one group of an aggregate without keys: its result is there before any row.
    pub(super) fn announce(&mut self) -> Result<()> {
        let (slot, _) = self.slots.find_or_insert(&[]);
        self.grow();
        let nothing = |call: &AggregateCall| call.input_types().iter().map(new_empty_array).collect();
        let (arguments, filters): (Vec<_>, Vec<_>) = self.aggregates.iter().map(|call| (nothing(call), None)).unzip();
        self.calls.update(&arguments, &filters, &[], None, self.slots.end())?;
        self.touch(&[slot])?;
        self.changed.mark(slot);
        self.is_announced = true;
        Ok(())
    }

    /// Whether a group has a result.
    fn is_there(&self, slot: u32) -> bool {
        if self.has_keys() { self.counts[slot as usize] > 0 } else { self.is_announced }
    }

    /// The aggregates of groups, with one NaN and one zero: a result that is taken back is the one that was given.
    fn results_of(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let fields = &self.results.fields()[self.key_schema.fields().len()..];
        let results = self.calls.evaluate(slots)?;
        results.into_iter().zip(fields).map(|(c, f)| Ok(canonical_key(coerce(c, f.data_type())?))).collect()
    }

    pub(super) fn is_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Begins to emit what has changed in the interval that ends now.
    pub(super) fn emission(&mut self) -> Result<Emission> {
        let mut old = vec![];
        let chunks = std::mem::take(&mut self.old);
        if let Some(first) = chunks.first() {
            for column in 0..first.len() {
                let parts: Vec<&dyn Array> = chunks.iter().map(|chunk| chunk[column].as_ref()).collect();
                old.push(concat(&parts)?);
            }
        }
        self.old_rows = 0;
        Ok(Emission { slots: self.touched.take(), old_at: std::mem::take(&mut self.old_at), old, next: 0 })
    }

    /// The changes of the next touched groups, at most as many.
    pub(super) fn changes(&mut self, emission: &mut Emission, groups_max: usize) -> Result<RecordBatch> {
        let range = emission.next..emission.slots.len().min(emission.next + groups_max);
        emission.next = range.end;
        let slots = &emission.slots[range.clone()];
        let there: Vec<u32> = slots.iter().copied().filter(|slot| self.is_there(*slot)).collect();
        let new = self.results_of(&there)?;
        let differs = differs(&emission.old, &new)?;
        // Of each row that goes out its group, where its aggregates are, and its weight.
        let (mut groups, mut places, mut weights) = (vec![], vec![], vec![]);
        let mut next_new = 0;
        for (group, slot) in slots.iter().enumerate() {
            let old = Some(emission.old_at[range.start + group]).filter(|at| *at != NONE);
            let new = self.is_there(*slot).then_some(next_new);
            next_new += usize::from(new.is_some());
            if let (Some(old), Some(new)) = (old, new)
                && !differs(old as usize, new)
            {
                continue;
            }
            let rows = [old.map(|at| (0, at as usize, -1)), new.map(|at| (1, at, 1))];
            for (side, at, weight) in rows.into_iter().flatten() {
                groups.push(group as u32);
                places.push((side, at));
                weights.push(weight);
            }
        }
        let keys = self.keys.decode(slots.iter().map(|slot| self.slots.key(*slot)))?;
        let keys = keys.into_iter().zip(self.key_schema.fields()).map(|(c, f)| coerce(c, f.data_type()));
        let groups = UInt32Array::from(groups);
        let mut columns = keys.map(|c| Ok(take(&c?, &groups, None)?)).collect::<Result<Vec<_>>>()?;
        for (column, new) in new.iter().enumerate() {
            let empty = new.slice(0, 0);
            let old = emission.old.get(column).unwrap_or(&empty);
            columns.push(interleave(&[old.as_ref(), new.as_ref()], &places)?);
        }
        change::weighted(&self.results, columns, Int64Array::from(weights))
    }

    /// The error of a row that went and had not come.
    pub(super) fn gone_without_coming(&self, slot: u32) -> Error {
        let values = self.keys.decode([self.slots.key(slot)]).unwrap_or_default();
        let shown = values.iter().zip(self.key_schema.fields()).map(|(value, field)| {
            let text = ArrayFormatter::try_new(value, &FormatOptions::default().with_null("NULL"))
                .and_then(|f| f.value(0).try_to_string());
            format!("{}={}", field.name(), text.unwrap_or_default())
        });
        let times = self.counts[slot as usize].unsigned_abs();
        let row = shown.collect::<Vec<_>>().join(", ");
        Error::new(
            ErrorKind::Internal,
            703,
            format!("a row of the result has gone {times} times more often than it came: {row}"),
        )
        .with_hint("this is a defect of Rheos: please report the program")
    }

    /// At an epoch's end: empties the groups that have no rows any more, and those that nothing has touched for their time to
    /// live, without a word behind the operator. Their slots stay until what has changed is handed over.
    pub(super) fn close(&mut self, watermark_ms: i64) {
        let expired = self.ttl.expired(watermark_ms);
        self.empty(&expired);
        self.calls.clear(&self.gone());
    }

    /// Empties groups without a word behind the operator.
    pub(super) fn empty(&mut self, slots: &[u32]) {
        for slot in slots {
            self.counts[*slot as usize] = 0;
            self.changed.mark(*slot);
        }
    }

    /// Frees the slots of the groups that are gone, when the epoch's changes are handed over.
    pub(super) fn settle(&mut self) {
        for slot in self.gone() {
            self.ttl.forget(slot);
            self.slots.remove(slot);
        }
        self.changed.take();
        self.calls.begin_epoch();
    }

    /// What is kept of the groups.
    pub(super) fn size(&self) -> StateSize {
        let bytes = self.slots.size() + self.counts.capacity() * size_of::<i64>() + self.ttl.size() + self.calls.size();
        StateSize::new(self.slots.len(), bytes)
    }

    fn gone(&self) -> Vec<u32> {
        let slots = self.changed.slots().iter().copied();
        slots.filter(|slot| self.has_keys() && self.counts[*slot as usize] == 0).collect()
    }
}

/// Tells for an old and a new result whether they differ.
fn differs(old: &[ArrayRef], new: &[ArrayRef]) -> Result<impl Fn(usize, usize) -> bool> {
    let comparators = old.iter().zip(new).map(|(old, new)| make_comparator(old, new, SortOptions::default()));
    let comparators = comparators.collect::<Result<Vec<_>, _>>()?;
    Ok(move |a: usize, b: usize| comparators.iter().any(|compare| compare(a, b).is_ne()))
}
