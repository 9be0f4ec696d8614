//! `min` and `max` of texts and bytes. DataFusion's accumulator gives each group's value memory of its own, and copies all of them
//! once more when they leave; with a million groups that is most of what a table costs. Here
//!
//! | a table that | keeps |
//! |---|---|
//! | rows enter, and leave again | the values, one behind the other, and hands that memory over ([`owned`]) |
//! | puts runs together that stay in memory meanwhile | where in the runs the values lie, and copies each that is left once ([`referred`]) |
//!
//! Texts are ordered by their bytes. Nulls, and rows that a filter leaves out, do not count; a group without others is null.

mod memory;
mod owned;
mod referred;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::{not, nullif};
use arrow::datatypes::{BinaryType, DataType, LargeBinaryType, LargeUtf8Type, Utf8Type};
use datafusion_common::Result;
use datafusion_expr::{AggregateUDF, GroupsAccumulator};
use datafusion_functions_aggregate::min_max::{Max, Min};

use owned::Owned;
use referred::Referred;

/// What a table does with its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// It takes from a batch what it needs: batches come and go.
    Passing,
    /// It may hold on to all of it.
    Staying,
}

/// Which value of a group is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extreme {
    Min,
    Max,
}

impl Extreme {
    fn is_beyond(self, new: &[u8], old: &[u8]) -> bool {
        match self {
            Extreme::Min => new < old,
            Extreme::Max => new > old,
        }
    }
}

/// The accumulator of `function` over such values; `None`: it is the function's own.
pub(super) fn accumulator(
    function: &AggregateUDF,
    values: &DataType,
    input: Input,
) -> Option<Box<dyn GroupsAccumulator>> {
    let extreme = match function.inner() {
        inner if inner.is::<Min>() => Extreme::Min,
        inner if inner.is::<Max>() => Extreme::Max,
        _ => return None,
    };
    Some(match (values, input) {
        (DataType::Utf8, Input::Passing) => Box::new(Owned::<Utf8Type>::new(extreme)),
        (DataType::LargeUtf8, Input::Passing) => Box::new(Owned::<LargeUtf8Type>::new(extreme)),
        (DataType::Binary, Input::Passing) => Box::new(Owned::<BinaryType>::new(extreme)),
        (DataType::LargeBinary, Input::Passing) => Box::new(Owned::<LargeBinaryType>::new(extreme)),
        (DataType::Utf8, Input::Staying) => Box::new(Referred::<Utf8Type>::new(extreme)),
        (DataType::LargeUtf8, Input::Staying) => Box::new(Referred::<LargeUtf8Type>::new(extreme)),
        (DataType::Binary, Input::Staying) => Box::new(Referred::<BinaryType>::new(extreme)),
        (DataType::LargeBinary, Input::Staying) => Box::new(Referred::<LargeBinaryType>::new(extreme)),
        _ => return None,
    })
}

/// Whether a row counts.
fn counts(values: &dyn Array, filter: Option<&BooleanArray>, row: usize) -> bool {
    values.is_valid(row) && filter.is_none_or(|f| f.is_valid(row) && f.value(row))
}

/// Each row as the state of a group of its own.
fn states(values: &ArrayRef, filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
    Ok(vec![match filter {
        Some(filter) => nullif(values, &not(filter)?)?,
        None => ArrayRef::clone(values),
    }])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, StringArray};
    use datafusion_expr::EmitTo;
    use datafusion_functions_aggregate::min_max::{max_udaf, min_udaf};
    use proptest::prelude::*;

    use super::*;

    /// A row: its group, its value, whether a filter lets it pass.
    type Row = (usize, Option<String>, bool);

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        // Equal, empty and long values, of several bytes a letter.
        let value = proptest::option::weighted(0.9, "[aä€]{0,3}|[a-c]{1,200}");
        proptest::collection::vec((0..12_usize, value, proptest::bool::weighted(0.8)), 0..60)
    }

    /// By looking at each row of each group: what a group's value is.
    fn naive(rows: &[Row], groups: usize, is_max: bool) -> Vec<Option<String>> {
        let of = |group: usize| rows.iter().filter(move |r| r.0 == group && r.2).filter_map(|r| r.1.clone());
        (0..groups).map(|g| if is_max { of(g).max() } else { of(g).min() }).collect()
    }

    fn texts(array: &ArrayRef) -> Vec<Option<String>> {
        array.as_string::<i32>().iter().map(|v| v.map(str::to_string)).collect()
    }

    proptest! {
        #![proptest_config(rheos_testkit::cases(256))]

        /// Batches come in, by update or as states; all groups leave twice, for a table is used again.
        #[test]
        fn a_groups_value_is_its_smallest_or_largest(
            batches in proptest::collection::vec(rows(), 1..5),
            (is_max, staying, as_states) in (any::<bool>(), any::<bool>(), any::<bool>()),
            first in 0..12_usize,
        ) {
            let function = if is_max { max_udaf() } else { min_udaf() };
            let input = if staying { Input::Staying } else { Input::Passing };
            let mut table = accumulator(&function, &DataType::Utf8, input).unwrap();
            for _ in 0..2 {
                let mut groups = 0;
                for rows in &batches {
                    groups = rows.iter().map(|r| r.0 + 1).fold(groups, usize::max);
                    let values: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|r| r.1.clone())));
                    let filter = BooleanArray::from_iter(rows.iter().map(|r| Some(r.2)));
                    let indices: Vec<usize> = rows.iter().map(|r| r.0).collect();
                    if as_states {
                        let states = table.convert_to_state(&[values], Some(&filter)).unwrap();
                        table.merge_batch(&states, &indices, groups).unwrap();
                    } else {
                        table.update_batch(&[values], &indices, Some(&filter), groups).unwrap();
                    }
                }
                let expected = naive(&batches.concat(), groups, is_max);
                // Some leave before the others.
                let mut found = texts(&table.state(EmitTo::First(first.min(groups))).unwrap()[0]);
                found.extend(texts(&table.evaluate(EmitTo::All).unwrap()));
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn values_that_have_left_stay_as_they_are() {
        let mut table = accumulator(&max_udaf(), &DataType::Utf8, Input::Passing).unwrap();
        let groups: Vec<usize> = (0..3000).collect();
        // Enough for memory to be used again, and some results are still held then.
        let texts_of = |round: usize| (0..3000).map(move |row| format!("{:0>1000}", round * 10_000 + row));
        let mut held = std::collections::VecDeque::new();
        for round in 0..6 {
            let values: ArrayRef = Arc::new(StringArray::from_iter_values(texts_of(round)));
            table.update_batch(&[values], &groups, None, 3000).unwrap();
            held.push_back((round, table.evaluate(EmitTo::All).unwrap()));
            assert!(held.iter().all(|(r, found)| found.as_string::<i32>().iter().flatten().eq(texts_of(*r))));
            if round > 1 {
                held.pop_front();
            }
        }
    }

    #[test]
    fn other_types_and_functions_are_left_to_datafusion() {
        assert!(accumulator(&max_udaf(), &DataType::Int64, Input::Passing).is_none());
        let count = datafusion_functions_aggregate::count::count_udaf();
        assert!(accumulator(&count, &DataType::Utf8, Input::Passing).is_none());
        for kind in [DataType::Utf8, DataType::LargeUtf8, DataType::Binary, DataType::LargeBinary] {
            for input in [Input::Passing, Input::Staying] {
                let mut table = accumulator(&min_udaf(), &kind, input).unwrap();
                table.merge_batch(&[arrow::array::new_null_array(&kind, 2)], &[1, 0], 2).unwrap();
                let state = table.state(EmitTo::All).unwrap();
                assert_eq!((state[0].data_type(), state[0].null_count()), (&kind, 2));
            }
        }
    }
}
