//! What is to come out: the rows that are there, and DataFusion's accumulators over them.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;
use datafusion_common::ScalarValue;
use datafusion_expr::EmitTo;
use proptest::prelude::*;

use crate::AggregateCall;
use crate::evaluation::{evaluate, evaluate_condition};
use crate::weighted::Calls;

const GROUPS: usize = 3;

/// Something that happens.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Rows of groups come so many times, or go if they are there (and rows go).
    Rows(Vec<(usize, usize, i64, bool)>),
    /// A group is dropped with all it has.
    Drop(usize),
    /// An epoch ends.
    Checkpoint,
    /// An epoch ends, and the calls are made anew of what was stored.
    Restore,
}

pub(super) fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    let rows = proptest::collection::vec((0..GROUPS, 0..40_usize, 1..4_i64, any::<bool>()), 0..30);
    let step = prop_oneof![
        6 => rows.prop_map(Step::Rows),
        1 => (0..GROUPS).prop_map(Step::Drop),
        2 => Just(Step::Checkpoint),
        2 => Just(Step::Restore),
    ];
    proptest::collection::vec(step, 0..count)
}

/// Of a table of values: the group of each row, and the columns.
type Stored = Vec<(Vec<usize>, Vec<ArrayRef>)>;

/// Calls, and the truth about them.
pub(super) struct Model {
    pool: RecordBatch,
    specs: Vec<AggregateCall>,
    retracts: bool,
    calls: Calls,
    /// The slot of each group, if it has one; the others are free.
    slots: [Option<u32>; GROUPS],
    free: Vec<u32>,
    /// The rows of each group, in order of arrival.
    rows: [Vec<usize>; GROUPS],
    stored: Vec<Stored>,
    stored_groups: BTreeMap<usize, Vec<ArrayRef>>,
}

impl Model {
    pub(super) fn new(pool: RecordBatch, specs: Vec<AggregateCall>, retracts: bool) -> Self {
        let calls = Calls::try_new(&specs, retracts).unwrap();
        let stored = calls.value_tables().iter().map(|_| vec![]).collect();
        let (slots, rows) = (Default::default(), Default::default());
        Self {
            pool,
            specs,
            retracts,
            calls,
            slots,
            free: vec![3, 0, 2, 1],
            rows,
            stored,
            stored_groups: BTreeMap::new(),
        }
    }

    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Rows(rows) => self.apply(&rows),
            Step::Drop(group) => self.rows[group].clear(),
            Step::Checkpoint => self.checkpoint(),
            Step::Restore => {
                self.checkpoint();
                self.restore();
            }
        }
        let dropped: Vec<usize> =
            (0..GROUPS).filter(|g| self.slots[*g].is_some() && self.rows[*g].is_empty()).collect();
        if !dropped.is_empty() {
            let slots: Vec<u32> = dropped.iter().filter_map(|group| self.slots[*group]).collect();
            self.calls.clear(&slots);
            self.store();
            for group in dropped {
                self.free.extend(self.slots[group].take());
                self.stored_groups.remove(&group);
            }
        }
        self.check();
    }

    /// Gives the rows to the calls, in an order in which some go before they have come.
    fn apply(&mut self, rows: &[(usize, usize, i64, bool)]) {
        let mut changes: Vec<(usize, usize, i64)> = vec![];
        for (group, row, times, goes) in rows.iter().copied() {
            let there = self.rows[group].iter().filter(|r| **r == row).count() as i64;
            if goes && self.retracts {
                let times = times.min(there);
                for _ in 0..times {
                    let at = self.rows[group].iter().position(|r| *r == row).unwrap();
                    self.rows[group].remove(at);
                }
                changes.push((group, row, -times));
            } else {
                self.rows[group].extend(std::iter::repeat_n(row, times as usize));
                changes.push((group, row, times));
            }
        }
        changes.retain(|(_, _, weight)| *weight != 0);
        if self.retracts {
            changes.sort_by_key(|(_, row, weight)| (*row % 3, *weight));
        }
        for (group, _, _) in &changes {
            if self.slots[*group].is_none() {
                self.slots[*group] = self.free.pop();
            }
        }
        let batch = self.batch(changes.iter().map(|(_, row, _)| *row));
        let (arguments, filters): (Vec<_>, Vec<_>) = self.specs.iter().map(|call| inputs(call, &batch)).unzip();
        let slots: Vec<u32> = changes.iter().map(|(group, _, _)| self.slots[*group].unwrap()).collect();
        let weights: Vec<i64> = changes.iter().map(|(_, _, weight)| *weight).collect();
        self.calls.update(&arguments, &filters, &slots, Some(&weights), 4).unwrap();
    }

    fn batch(&self, rows: impl Iterator<Item = usize>) -> RecordBatch {
        take_record_batch(&self.pool, &rows.map(|row| Some(row as u32)).collect::<UInt32Array>()).unwrap()
    }

    fn live(&self) -> Vec<(usize, u32)> {
        (0..GROUPS).filter_map(|group| Some((group, self.slots[group]?))).collect()
    }

    fn checkpoint(&mut self) {
        self.store();
        for (group, slot) in self.live() {
            self.stored_groups.insert(group, self.calls.state(&[slot]).unwrap());
        }
    }

    /// Values that changed go into the tables.
    fn store(&mut self) {
        for (table, changes) in self.calls.take_changes().unwrap().into_iter().enumerate() {
            let Some(changes) = changes else { continue };
            let group = |slot: &u32| self.slots.iter().position(|s| s.as_ref() == Some(slot)).unwrap();
            self.stored[table].push((changes.slots.iter().map(group).collect(), changes.columns));
        }
        assert!(self.calls.take_changes().unwrap().iter().all(Option::is_none), "told once is enough");
    }

    /// New calls, and other slots.
    fn restore(&mut self) {
        self.calls = Calls::try_new(&self.specs, self.retracts).unwrap();
        self.slots.rotate_left(1);
        let mut live: Vec<u32> = self.slots.iter().flatten().copied().collect();
        for group in 0..GROUPS {
            self.slots[group] = if self.rows[group].is_empty() { None } else { live.pop().or_else(|| self.free.pop()) };
        }
        self.free.extend(live);
        for (group, slot) in self.live() {
            self.calls.restore(&self.stored_groups[&group], &[slot], 4).unwrap();
        }
        for (table, stored) in self.stored.iter().enumerate() {
            for (groups, columns) in stored {
                // Rows of groups that are gone stay out.
                let kept: UInt32Array = (0..groups.len() as u32)
                    .filter(|row| self.slots[groups[*row as usize]].is_some())
                    .map(Some)
                    .collect();
                let columns: Vec<_> = columns.iter().map(|c| arrow::compute::take(c, &kept, None).unwrap()).collect();
                let slots: Vec<u32> = groups.iter().filter_map(|group| self.slots[*group]).collect();
                self.calls.restore_values(table, &columns, &slots, 4).unwrap();
            }
        }
    }

    fn check(&mut self) {
        let live = self.live();
        let slots: Vec<u32> = live.iter().map(|(_, slot)| *slot).chain(self.free.last().copied()).collect();
        let results = self.calls.evaluate(&slots).unwrap();
        let fields = self.calls.state_fields();
        let state = self.calls.state(&slots).unwrap();
        assert!(fields.iter().map(arrow::datatypes::Field::data_type).eq(state.iter().map(|s| s.data_type())));
        for (call, result) in self.specs.iter().zip(&results) {
            assert_eq!(result.data_type(), call.field().data_type(), "{call}");
            let groups = live.iter().map(|(group, _)| self.rows[*group].clone()).chain([vec![]]);
            for (at, rows) in groups.take(slots.len()).enumerate() {
                let batch = self.batch(rows.iter().copied());
                let expected = match is_constant(call, &batch) {
                    true => ScalarValue::Float64(None),
                    false => own_result(call, &batch),
                };
                let got = ScalarValue::try_from_array(result, at).unwrap();
                assert_same(call, self.retracts, &got, &expected, &rows);
            }
        }
    }
}

fn inputs(call: &AggregateCall, batch: &RecordBatch) -> (Vec<ArrayRef>, Option<arrow::array::BooleanArray>) {
    let arguments = call.inputs().iter().map(|input| evaluate(input, batch).unwrap()).collect();
    (arguments, call.filter().map(|filter| evaluate_condition(filter, batch).unwrap()))
}

/// Whether the call tells how much a variable goes with another, and one of them has a single value: then there is no answer.
/// DataFusion's moving averages may be off by a little, and it gives one.
fn is_constant(call: &AggregateCall, rows: &RecordBatch) -> bool {
    let of_interest: &[usize] = match call.function().name() {
        "corr" | "regr_r2" => &[0, 1],
        "regr_slope" | "regr_intercept" => &[1],
        _ => return false,
    };
    let (arguments, filter) = inputs(call, rows);
    let counts = |row: &usize| {
        filter.as_ref().is_none_or(|f| f.value(*row)) && arguments.iter().all(|column| column.is_valid(*row))
    };
    let rows: Vec<usize> = (0..rows.num_rows()).filter(counts).collect();
    let value = |column: usize, row: usize| ScalarValue::try_from_array(&arguments[column], row).unwrap();
    of_interest.iter().any(|column| rows.iter().all(|row| value(*column, *row) == value(*column, rows[0])))
}

/// DataFusion's accumulator over rows, all at once.
fn own_result(call: &AggregateCall, rows: &RecordBatch) -> ScalarValue {
    let mut accumulator = call.accumulator().unwrap();
    let (arguments, filter) = inputs(call, rows);
    // One row that does not count, so that the group exists.
    let nulls: Vec<_> = call.input_types().iter().map(|t| arrow::array::new_null_array(t, 1)).collect();
    accumulator.update_batch(&nulls, &[0], Some(&arrow::array::BooleanArray::from(vec![false])), 1).unwrap();
    accumulator.update_batch(&arguments, &vec![0; rows.num_rows()], filter.as_ref(), 1).unwrap();
    ScalarValue::try_from_array(&accumulator.evaluate(EmitTo::All).unwrap(), 0).unwrap()
}

/// What is left of a list, or of a joined string, where the order means nothing: its sorted items, its sorted letters.
fn items(value: &ScalarValue) -> Vec<String> {
    let mut items: Vec<String> = match value {
        ScalarValue::List(list) => {
            let items = list.value(0);
            (0..items.len()).map(|i| ScalarValue::try_from_array(&items, i).unwrap().to_string()).collect()
        }
        other => other.to_string().chars().map(String::from).collect(),
    };
    items.sort();
    items
}

fn assert_same(call: &AggregateCall, retracts: bool, got: &ScalarValue, expected: &ScalarValue, rows: &[usize]) {
    let what = || format!("{call} over the rows {rows:?}, retracts {retracts}");
    let name = call.function().name();
    let is_list = ["array_agg", "string_agg"].contains(&name);
    let without_order = is_list && call.expr().order_bys().is_empty() && (retracts || call.is_distinct());
    match (got, expected) {
        _ if name == "any_value" => assert_eq!(got.is_null(), expected.is_null(), "{}", what()),
        (ScalarValue::Float64(Some(a)), ScalarValue::Float64(Some(b))) => {
            // Sketches of percentiles are about right; all else to the last bits.
            let tolerance = if name.starts_with("approx_") { 1.0 } else { 1e-9 * b.abs().max(1.0) };
            assert!((a - b).abs() <= tolerance || (a.is_nan() && b.is_nan()), "{}: {a}, not {b}", what());
        }
        _ if without_order => assert_eq!(items(got), items(expected), "{}", what()),
        _ => assert_eq!(got, expected, "{}", what()),
    }
}
