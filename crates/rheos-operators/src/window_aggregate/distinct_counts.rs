//! Several `count(DISTINCT x)` over the same whole numbers, each with a `FILTER` of its own: one set for all of them.
//!
//! ```text
//!   group, value ──► lanes: a bit for each call that has seen the value in the group
//! ```
//! A row is looked up once, whatever the number of calls. Partial aggregates are as DataFusion's accumulators have them: a list
//! of values for each call. All calls list their values in one order, so that a value that follows in several lists is looked up
//! once too when they are merged; lists in any other order only cost more.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, PrimitiveArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use datafusion_physical_expr_common::physical_expr::is_volatile;
use rheos_core::{Error, Result};

use super::distinct_values::{DistinctValues, Value};
use super::table::RunUse;
use crate::aggregate::AggregateCall;
use crate::lanes::{LANES_MAX, bits};

/// The values of some calls, its lanes, by group.
pub(super) trait DistinctCounts: Send {
    /// Adds rows: of each lane those that its filter lets through.
    fn update(&mut self, values: &ArrayRef, filters: &[Option<&BooleanArray>], groups: &[usize]);
    /// Adds lists of values, one column a lane.
    fn merge(&mut self, lists: &[&ArrayRef], groups: &[usize]);
    /// How many values there are of each lane and group. Nothing is left.
    fn take_counts(&mut self, groups_end: usize) -> Vec<ArrayRef>;
    /// The values of each lane and group, as lists, each once if the run is kept. Nothing is left. Errors: they are too many for
    /// a batch.
    fn take_lists(&mut self, groups_end: usize, usage: RunUse) -> Result<Vec<ArrayRef>>;
    /// The lists of rows that each are a group. Errors: as above.
    fn lists_of_rows(&self, values: &ArrayRef, filters: &[Option<&BooleanArray>]) -> Result<Vec<ArrayRef>>;
    /// Bytes, about.
    fn size(&self) -> usize;
}

/// The calls that are computed here, put into sets.
pub(super) fn sets(calls: &[AggregateCall]) -> Vec<Vec<usize>> {
    let mut sets: Vec<Vec<usize>> = vec![];
    for (at, call) in calls.iter().enumerate() {
        let Some(argument) = call.distinct_integer() else { continue };
        let shares = |set: &&mut Vec<usize>| {
            let is_same = calls[set[0]].distinct_integer().is_some_and(|other| other.eq(&argument));
            is_same && set.len() < LANES_MAX && !is_volatile(&argument)
        };
        match sets.iter_mut().find(shares) {
            Some(set) => set.push(at),
            None => sets.push(vec![at]),
        }
    }
    sets
}

/// A set for values of a type. Errors: it is no integer.
pub(super) fn distinct_counts(data_type: &DataType, lanes: usize) -> Result<Box<dyn DistinctCounts>> {
    Ok(match data_type {
        DataType::Int8 => Box::new(Seen::<Int8Type>::new(lanes)),
        DataType::Int16 => Box::new(Seen::<Int16Type>::new(lanes)),
        DataType::Int32 => Box::new(Seen::<Int32Type>::new(lanes)),
        DataType::Int64 => Box::new(Seen::<Int64Type>::new(lanes)),
        DataType::UInt8 => Box::new(Seen::<UInt8Type>::new(lanes)),
        DataType::UInt16 => Box::new(Seen::<UInt16Type>::new(lanes)),
        DataType::UInt32 => Box::new(Seen::<UInt32Type>::new(lanes)),
        DataType::UInt64 => Box::new(Seen::<UInt64Type>::new(lanes)),
        _ => return Err(Error::internal("distinct values that are no integers have no set")),
    })
}

/// See the module.
struct Seen<T: ArrowPrimitiveType> {
    values: DistinctValues<T::Native>,
    lanes: usize,
    /// Of the rows at hand.
    masks: Vec<u32>,
}

impl<T: ArrowPrimitiveType> Seen<T> {
    fn new(lanes: usize) -> Self {
        Self { values: DistinctValues::new(), lanes, masks: vec![] }
    }

    /// How many values each lane and group have, one counted again that is there again.
    fn counts(&self, groups_end: usize) -> Vec<Vec<i64>> {
        let mut counts = vec![vec![0; groups_end]; self.lanes];
        for Value { group, lanes, .. } in self.values.iter() {
            bits(*lanes).for_each(|lane| counts[lane][*group as usize] += 1);
        }
        counts
    }
}

impl<T: ArrowPrimitiveType> DistinctCounts for Seen<T> {
    fn update(&mut self, values: &ArrayRef, filters: &[Option<&BooleanArray>], groups: &[usize]) {
        let values = values.as_primitive::<T>();
        let mut masks = std::mem::take(&mut self.masks);
        lanes_of_rows(filters, groups.len(), &mut masks);
        for (row, (value, lanes)) in values.values().iter().zip(&masks).enumerate() {
            if *lanes != 0 && values.is_valid(row) {
                self.values.see(Value { value: *value, group: groups[row] as u32, lanes: *lanes });
            }
        }
        self.masks = masks;
    }

    fn merge(&mut self, lists: &[&ArrayRef], groups: &[usize]) {
        let lists: Vec<(&[i32], &[T::Native])> = lists
            .iter()
            .map(|list| list.as_list::<i32>())
            .map(|list| (list.value_offsets(), list.values().as_primitive::<T>().values().as_ref()))
            .collect();
        // Of each lane what is left of the row's list.
        let mut rest: Vec<&[T::Native]> = vec![];
        for (row, group) in groups.iter().enumerate() {
            rest.clear();
            rest.extend(lists.iter().map(|(at, values)| &values[at[row] as usize..at[row + 1] as usize]));
            for lane in 0..rest.len() {
                while let [value, others @ ..] = rest[lane] {
                    rest[lane] = others;
                    let mut lanes = 1 << lane;
                    for (later, rest) in rest.iter_mut().enumerate().skip(lane + 1) {
                        // Without a branch: in which lists a value follows nobody can foresee.
                        let follows = rest.first() == Some(value);
                        *rest = &rest[usize::from(follows)..];
                        lanes |= u32::from(follows) << later;
                    }
                    self.values.see_once(Value { value: *value, group: *group as u32, lanes });
                }
            }
        }
    }

    fn take_counts(&mut self, groups_end: usize) -> Vec<ArrayRef> {
        self.values.unify();
        let counts = self.counts(groups_end);
        self.values.clear();
        counts.into_iter().map(|counts| Arc::new(Int64Array::from(counts)) as _).collect()
    }

    fn take_lists(&mut self, groups_end: usize, usage: RunUse) -> Result<Vec<ArrayRef>> {
        if usage == RunUse::Kept {
            self.values.unify();
        }
        let counts = self.counts(groups_end);
        let mut lists = counts.into_iter().map(Lists::<T>::try_new).collect::<Result<Vec<_>>>()?;
        for Value { value, group, lanes } in self.values.iter() {
            bits(*lanes).for_each(|lane| lists[lane].push(*group as usize, *value));
        }
        self.values.clear();
        Ok(lists.into_iter().map(Lists::finish).collect())
    }

    fn lists_of_rows(&self, values: &ArrayRef, filters: &[Option<&BooleanArray>]) -> Result<Vec<ArrayRef>> {
        let values = values.as_primitive::<T>();
        let list = |filter: &Option<&BooleanArray>| {
            let counts = |row: usize| values.is_valid(row) && filter.is_none_or(|filter| filter.value(row));
            let mut list = Lists::<T>::try_new((0..values.len()).map(|row| i64::from(counts(row))))?;
            (0..values.len()).filter(|row| counts(*row)).for_each(|row| list.push(row, values.value(row)));
            Ok(list.finish())
        };
        filters.iter().map(list).collect()
    }

    fn size(&self) -> usize {
        self.values.size()
    }
}

/// Lists that are filled in any order.
struct Lists<T: ArrowPrimitiveType> {
    offsets: Vec<i32>,
    /// Where the next value of each list goes.
    next: Vec<i32>,
    values: Vec<T::Native>,
}

impl<T: ArrowPrimitiveType> Lists<T> {
    /// Lists of so many values each.
    fn try_new(lengths: impl IntoIterator<Item = i64>) -> Result<Self> {
        let mut offsets = vec![0];
        let mut end = 0_i64;
        for length in lengths {
            end += length;
            let end = i32::try_from(end);
            offsets.push(end.map_err(|_| Error::user("there are more than 2^31 distinct values in a slice"))?);
        }
        let next = offsets[..offsets.len() - 1].to_vec();
        Ok(Self { offsets, next, values: vec![T::default_value(); end as usize] })
    }

    fn push(&mut self, list: usize, value: T::Native) {
        let next = &mut self.next[list];
        self.values[*next as usize] = value;
        *next += 1;
    }

    fn finish(self) -> ArrayRef {
        let values = PrimitiveArray::<T>::new(ScalarBuffer::from(self.values), None);
        let field = Arc::new(Field::new_list_field(T::DATA_TYPE, true));
        Arc::new(ListArray::new(field, OffsetBuffer::new(self.offsets.into()), Arc::new(values), None))
    }
}

/// The lanes that each row counts in.
fn lanes_of_rows(filters: &[Option<&BooleanArray>], rows: usize, masks: &mut Vec<u32>) {
    let unfiltered = filters.iter().enumerate().filter(|(_, filter)| filter.is_none());
    let always = unfiltered.fold(0, |lanes, (lane, _)| lanes | 1 << lane);
    masks.clear();
    masks.resize(rows, always);
    for (lane, filter) in filters.iter().enumerate() {
        if let Some(filter) = filter {
            filter.values().set_indices().for_each(|row| masks[row] |= 1 << lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use rheos_testkit::cases;

    use super::*;

    const LANES: usize = 4;
    const GROUPS: usize = 5;

    /// Group, value, and what the filters of all lanes but the first say, which has none.
    type Row = (usize, Option<i64>, [bool; LANES - 1]);

    struct Columns {
        values: ArrayRef,
        filters: Vec<BooleanArray>,
        groups: Vec<usize>,
    }

    fn columns(rows: &[Row]) -> Columns {
        Columns {
            values: Arc::new(rows.iter().map(|(_, value, _)| *value).collect::<Int64Array>()),
            filters: (0..LANES - 1).map(|lane| rows.iter().map(|(.., passes)| Some(passes[lane])).collect()).collect(),
            groups: rows.iter().map(|(group, ..)| *group).collect(),
        }
    }

    impl Columns {
        fn filters(&self) -> Vec<Option<&BooleanArray>> {
            std::iter::once(None).chain(self.filters.iter().map(Some)).collect()
        }

        fn set(&self) -> Box<dyn DistinctCounts> {
            let mut set = distinct_counts(&DataType::Int64, LANES).unwrap();
            set.update(&self.values, &self.filters(), &self.groups);
            set
        }
    }

    /// The lists with the values of each in another order.
    fn reversed(lists: &ArrayRef) -> ArrayRef {
        let list = lists.as_list::<i32>();
        let rows = list.iter().map(|values| {
            let values = values.unwrap();
            Some(values.as_primitive::<Int64Type>().iter().rev().collect::<Vec<_>>())
        });
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(rows))
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let value = proptest::option::weighted(0.9, prop_oneof![0..20_i64, any::<i64>()]);
        proptest::collection::vec((0..GROUPS, value, any::<[bool; LANES - 1]>()), 0..200)
    }

    proptest! {
        #![proptest_config(cases(128))]

        #[test]
        fn counts_are_those_of_sets(
            direct in rows(), merged in rows(), turned in rows(), single in rows(),
            usage in prop_oneof![Just(RunUse::Kept), Just(RunUse::Passing)],
        ) {
            let mut expected = vec![vec![BTreeSet::new(); GROUPS]; LANES];
            for (group, value, passes) in direct.iter().chain(&merged).chain(&turned).chain(&single) {
                let lanes = std::iter::once(&true).chain(passes);
                for (lane, _) in lanes.enumerate().filter(|(_, passes)| **passes) {
                    expected[lane][*group].extend(*value);
                }
            }

            let mut set = columns(&direct).set();
            let groups: Vec<usize> = (0..GROUPS).collect();
            let lists = columns(&merged).set().take_lists(GROUPS, usage).unwrap();
            set.merge(&lists.iter().collect::<Vec<_>>(), &groups);
            let lists: Vec<_> = columns(&turned).set().take_lists(GROUPS, usage).unwrap();
            let lists: Vec<_> = lists.iter().enumerate().map(|(i, l)| if i == 0 { l.clone() } else { reversed(l) }).collect();
            set.merge(&lists.iter().collect::<Vec<_>>(), &groups);
            let single = columns(&single);
            let lists = set.lists_of_rows(&single.values, &single.filters()).unwrap();
            set.merge(&lists.iter().collect::<Vec<_>>(), &single.groups);

            let counts = set.take_counts(GROUPS);
            for (lane, expected) in expected.iter().enumerate() {
                let expected: Int64Array = expected.iter().map(|values| Some(values.len() as i64)).collect();
                prop_assert_eq!(counts[lane].as_primitive::<Int64Type>(), &expected, "lane {}", lane);
            }
            let nothing = set.take_counts(GROUPS);
            prop_assert!(nothing.iter().all(|counts| counts.as_primitive::<Int64Type>().values().iter().all(|n| *n == 0)));
        }
    }

    /// More values than a table in the cache has room for, each many rows after it came first.
    #[test]
    fn values_that_are_listed_again_count_once() {
        let row = |i: i64| (i as usize % GROUPS, Some(i % 25_000), [i % 2 == 0, i % 3 == 0, i % 70_001 < 7]);
        let rows: Vec<Row> = (0..120_000).map(row).collect();
        let mut expected = vec![vec![BTreeSet::new(); GROUPS]; LANES];
        for (group, value, passes) in &rows {
            let lanes = std::iter::once(&true).chain(passes);
            lanes.enumerate().filter(|(_, passes)| **passes).for_each(|(lane, _)| {
                expected[lane][*group].extend(*value);
            });
        }
        let groups: Vec<usize> = (0..GROUPS).collect();
        for usage in [RunUse::Kept, RunUse::Passing] {
            let lists = columns(&rows).set().take_lists(GROUPS, usage).unwrap();
            let listed = lists[0].as_list::<i32>().values().len();
            let different: usize = expected[0].iter().map(BTreeSet::len).sum();
            assert_eq!(listed == different, usage == RunUse::Kept, "{listed} {different}");
            let mut set = columns(&rows[..50_000]).set();
            set.merge(&lists.iter().collect::<Vec<_>>(), &groups);
            let counts = set.take_counts(GROUPS);
            for (lane, expected) in expected.iter().enumerate() {
                let expected: Int64Array = expected.iter().map(|values| Some(values.len() as i64)).collect();
                assert_eq!(counts[lane].as_primitive::<Int64Type>(), &expected, "lane {lane}");
            }
        }
    }

    #[test]
    fn the_lists_of_lanes_follow_one_order() {
        let rows: Vec<Row> = (0..1000).map(|i| (0, Some(i), [i % 2 == 0, i % 3 == 0, false])).collect();
        let lists = columns(&rows).set().take_lists(1, RunUse::Kept).unwrap();
        let values = |lane: usize| lists[lane].as_list::<i32>().value(0).as_primitive::<Int64Type>().values().to_vec();
        let all = values(0);
        assert_eq!(all.len(), 1000);
        assert_eq!(values(1), all.iter().copied().filter(|i| i % 2 == 0).collect::<Vec<_>>());
        assert_eq!(values(2), all.iter().copied().filter(|i| i % 3 == 0).collect::<Vec<_>>());
        assert_eq!(values(3), Vec::<i64>::new());
    }
}
