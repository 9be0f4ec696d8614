//! Aggregate functions over rows that come and go: each row counts as often as its weight says.
//!
//! ```text
//!   arguments, filters, slots of the groups, weights ──► Calls ──► evaluate(slots): one array a call
//! ```
//!
//! | function | what a group keeps |
//! |---|---|
//! | `count`, `sum`, `avg`, `bool_and`, `bool_or`, variances and their like | numbers that weights are added to ([`count`], [`summed`], [`bools`], [`moments`]) |
//! | the same with `DISTINCT` | its values, and numbers of those that are there |
//! | `min`, `max`, `any_value`, `first_value`, `last_value`, of append-only input | one row ([`kept`]), one number ([`extremes`]) |
//! | those, of rows that go | its values, the smallest or largest on top ([`values`], [`heap`]) |
//! | bits and sketches, of append-only input | DataFusion's accumulator ([`incremental`]) |
//! | every other | its values; DataFusion's accumulator runs over them anew ([`recomputed`]) |
//!
//! Groups are slots (`keyed::slots`). Invariant: what a call gives of a group depends on the multiset of its rows only, so rows
//! that are taken away again leave no trace; within an epoch weights may be negative for a while. Functions by order of arrival
//! are the exception; they are refused where rows go.

mod bools;
mod columns;
mod count;
mod expansion;
mod extremes;
mod float_sums;
mod heap;
mod incremental;
mod kept;
mod moments;
mod plan;
mod recomputed;
mod rows;
mod shared;
mod summed;
#[cfg(test)]
mod tests;
mod values;
mod weights;
mod wide_sums;

use std::fmt::Debug;

use arrow::array::{ArrayRef, BooleanArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field};
use rheos_core::{Error, Result};

use self::columns::Columns;
use self::recomputed::Recomputed;
use self::rows::Rows;
pub(crate) use self::shared::ValueTable;
use self::shared::{Place, SharedSet};
pub(crate) use self::values::ValueChanges;
use crate::aggregate::AggregateCall;
use crate::evaluation::coerce;

/// The accumulators of one call, of all groups.
trait Accumulate: Debug {
    /// Adds rows, or takes them away where their weights are negative.
    fn update(&mut self, rows: &Rows) -> Result<()>;
    /// The results of some groups, which stay as they are.
    fn evaluate(&mut self, slots: &[u32]) -> Result<ArrayRef>;
    /// Empties groups.
    fn clear(&mut self, slots: &[u32]);
    /// The columns of the state.
    fn state_fields(&self) -> Vec<Field>;
    /// The state of some groups, a row each. They stay as they are.
    fn state(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>>;
    /// Puts the stored state of groups in the place of theirs.
    fn restore(&mut self, state: &[ArrayRef], slots: &[u32], slots_end: usize) -> Result<()>;
    /// Bytes, about.
    fn size(&self) -> usize;
}

/// How a call gets its results.
#[derive(Debug)]
enum Call {
    /// From what it keeps of all rows.
    Own(Box<dyn Accumulate>),
    /// From what it keeps of the values that are there, each counted once.
    Distinct { place: Place, reader: Columns, of_values: Box<dyn Accumulate> },
    /// From the smallest or largest value.
    Top { place: Place, heap: usize, column: usize, data_type: DataType },
    /// From all values.
    Recomputed { place: Place, function: Box<Recomputed> },
}

/// All calls of one aggregate, for groups in slots.
///
/// In one epoch: any number of `update`, `evaluate`; `clear` of groups that are gone; `state` and `take_changes` where the job
/// keeps state. The slot of a group that is gone is given to another only after `take_changes` or `begin_epoch`.
#[derive(Debug)]
pub(crate) struct Calls {
    calls: Vec<Call>,
    sets: Vec<SharedSet>,
}

impl Calls {
    /// `retracts`: rows may have negative weights.
    ///
    /// Errors: `Invalid` for what a function cannot do then.
    pub(crate) fn try_new(calls: &[AggregateCall], retracts: bool) -> Result<Self> {
        let mut sets = vec![];
        let calls = calls.iter().enumerate().map(|(at, call)| plan::plan(at, call, retracts, &mut sets));
        Ok(Self { calls: calls.collect::<Result<_>>()?, sets })
    }

    /// What has changed and was not taken nobody keeps. Called before the first rows of an epoch.
    pub(crate) fn begin_epoch(&mut self) {
        self.sets.iter_mut().for_each(|set| set.values.forget_changes());
    }

    /// Adds rows: what each call reads, the rows that count for it, and the slot and weight of each (`None`: all 1).
    /// `slots_end`: one more than the largest slot there is.
    pub(crate) fn update(
        &mut self,
        arguments: &[Vec<ArrayRef>],
        filters: &[Option<BooleanArray>],
        slots: &[u32],
        weights: Option<&[i64]>,
        slots_end: usize,
    ) -> Result<()> {
        let all = Rows { arguments: &[], filter: None, slots, weights, slots_end };
        for ((call, arguments), filter) in self.calls.iter_mut().zip(arguments).zip(filters) {
            if let Call::Own(accumulators) = call {
                accumulators.update(&Rows { arguments, filter: filter.as_ref(), ..all })?;
            }
        }
        for set in 0..self.sets.len() {
            let columns = self.sets[set].update(arguments, filters, &all)?;
            self.turn(set, &columns, slots, slots_end)?;
        }
        Ok(())
    }

    /// Tells the calls that count each value once which values of a set came and went.
    fn turn(&mut self, set: usize, columns: &[ArrayRef], slots: &[u32], slots_end: usize) -> Result<()> {
        for call in &mut self.calls {
            let Call::Distinct { place, reader, of_values } = call else { continue };
            if place.set == set {
                let (arguments, slots, weights) = self.sets[set].turned(place.lane, reader, columns, slots)?;
                let (slots, weights) = (slots.as_slice(), Some(weights));
                of_values.update(&Rows { arguments: &arguments, filter: None, slots, weights, slots_end })?;
            }
        }
        Ok(())
    }

    /// The results of some groups: one array a call, of the type that its field has. The groups stay as they are.
    pub(crate) fn evaluate(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let sets = &self.sets;
        let result = |call: &mut Call| match call {
            Call::Own(accumulators) | Call::Distinct { of_values: accumulators, .. } => accumulators.evaluate(slots),
            Call::Top { place, heap, column, data_type } => {
                let set = &sets[place.set].values;
                let tops: Vec<Option<u32>> = slots.iter().map(|slot| set.top(*heap, *slot)).collect();
                let there: Vec<bool> = tops.iter().map(Option::is_some).collect();
                let values: Vec<u32> = tops.into_iter().flatten().collect();
                coerce(spread(&set.columns(&values)?[*column], &there)?, data_type)
            }
            Call::Recomputed { place, function } => function.evaluate(&sets[place.set].values, place.lane, slots),
        };
        self.calls.iter_mut().map(result).collect()
    }

    /// Empties groups that are gone.
    pub(crate) fn clear(&mut self, slots: &[u32]) {
        for call in &mut self.calls {
            if let Call::Own(accumulators) | Call::Distinct { of_values: accumulators, .. } = call {
                accumulators.clear(slots);
            }
        }
        self.sets.iter_mut().for_each(|set| set.values.clear(slots));
    }

    /// The columns of [`state`](Self::state), with names that differ.
    pub(crate) fn state_fields(&self) -> Vec<Field> {
        let mut fields = vec![];
        for (at, call) in self.calls.iter().enumerate() {
            if let Call::Own(accumulators) = call {
                let named = accumulators.state_fields().into_iter().enumerate();
                fields.extend(named.map(|(i, field)| field.with_name(format!("state{at}_{i}"))));
            }
        }
        fields
    }

    /// What is kept of some groups, a row each, but for their values. They stay as they are.
    pub(crate) fn state(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut columns = vec![];
        for call in &mut self.calls {
            if let Call::Own(accumulators) = call {
                columns.extend(accumulators.state(slots)?);
            }
        }
        Ok(columns)
    }

    /// Puts stored groups in the place of those in these slots.
    pub(crate) fn restore(&mut self, state: &[ArrayRef], slots: &[u32], slots_end: usize) -> Result<()> {
        let mut rest = state;
        for call in &mut self.calls {
            let Call::Own(accumulators) = call else { continue };
            let Some((columns, others)) = rest.split_at_checked(accumulators.state_fields().len()) else {
                return Err(Error::internal("the stored groups have too few columns"));
            };
            accumulators.restore(columns, slots, slots_end)?;
            rest = others;
        }
        Ok(())
    }

    /// Tables of state with the values of groups, beside the rows of [`state`](Self::state).
    pub(crate) fn value_tables(&self) -> Vec<ValueTable> {
        self.sets.iter().enumerate().map(|(number, set)| set.table(number)).collect()
    }

    /// What changed in each of the tables since the last call, or since the epoch began.
    pub(crate) fn take_changes(&mut self) -> Result<Vec<Option<ValueChanges>>> {
        self.sets.iter_mut().map(SharedSet::take_changes).collect()
    }

    /// Takes back rows of a table, in the order in which they were handed over: a later one takes the place of the one before.
    /// Rows of groups that are gone may be left out.
    pub(crate) fn restore_values(
        &mut self,
        table: usize,
        stored: &[ArrayRef],
        slots: &[u32],
        slots_end: usize,
    ) -> Result<()> {
        let columns = self.sets[table].restore(stored, slots)?;
        self.turn(table, &columns, slots, slots_end)
    }

    /// Bytes, about.
    pub(crate) fn size(&self) -> usize {
        let call = |call: &Call| match call {
            Call::Own(accumulators) | Call::Distinct { of_values: accumulators, .. } => accumulators.size(),
            Call::Top { .. } | Call::Recomputed { .. } => 0,
        };
        self.calls.iter().map(call).sum::<usize>() + self.sets.iter().map(|set| set.values.size()).sum::<usize>()
    }
}

/// The values at some slots; the default at those that are not there yet.
fn at_slots<T: Copy + Default>(values: &[T], slots: &[u32]) -> Vec<T> {
    slots.iter().map(|slot| values.get(*slot as usize).copied().unwrap_or_default()).collect()
}

/// The values one after the other where something is there, and null elsewhere.
fn spread(values: &ArrayRef, there: &[bool]) -> Result<ArrayRef> {
    if values.len() == there.len() {
        return Ok(ArrayRef::clone(values));
    }
    let mut next = 0;
    let indices: UInt32Array = there
        .iter()
        .map(|there| {
            there.then(|| {
                next += 1;
                next - 1
            })
        })
        .collect();
    Ok(take(values, &indices, None)?)
}
