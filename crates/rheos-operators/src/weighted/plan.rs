//! Which way a call is computed.

use arrow::datatypes::DataType;
use rheos_core::types::display;
use rheos_core::{Error, Result};

use super::bools::Bools;
use super::columns::{Columns, Pick};
use super::count::Count;
use super::extremes::extremes;
use super::incremental::Incremental;
use super::kept::Kept;
use super::moments::Moments;
use super::recomputed::Recomputed;
use super::shared::{SharedSet, Wish, place};
use super::summed::{Outcome, Summed};
use super::{Accumulate, Call};
use crate::aggregate::AggregateCall;
use crate::aggregate::decimal_average::DecimalAverage;
use crate::row_keys::has_order;

/// The way of the call with this number, with a place among the sets where it keeps values.
///
/// Errors: `Invalid` where the result would depend on what came when, and rows go; or where values cannot be compared.
pub(super) fn plan(at: usize, call: &AggregateCall, retracts: bool, sets: &mut Vec<SharedSet>) -> Result<Call> {
    let wish = Wish { call: at, filter: call.filter(), multiple: retracts, by_arrival: false };
    let is_ordered = !call.expr().order_bys().is_empty();
    let name = call.function().name();
    let extreme = match (name, is_ordered) {
        ("min" | "any_value", _) => Some((Pick::Smallest, Columns::of_call(call, false).without_nulls())),
        ("max", _) => Some((Pick::Largest, Columns::of_call(call, false).without_nulls())),
        ("first_value", true) => Some((Pick::Smallest, Columns::of_call(call, true))),
        ("last_value", true) => Some((Pick::Largest, Columns::of_call(call, true))),
        ("first_value", false) => Some((Pick::First, Columns::of_call(call, true))),
        ("last_value", false) => Some((Pick::Last, Columns::of_call(call, true))),
        _ => None,
    };
    if let Some((pick, mut columns)) = extreme
        && let Some(result) = columns.first_argument()
    {
        if call.expr().ignore_nulls() && !columns.complete.contains(&result) {
            columns.complete.push(result);
        }
        return one_row(call, retracts, sets, &wish, columns, (pick, result));
    }
    match numbers(call) {
        Some(numbers) if call.is_distinct() => {
            let reader = Columns::of_call(call, false).without_nulls();
            check_order(call, &reader)?;
            Ok(Call::Distinct { place: place(sets, &reader, &wish)?, reader, of_values: numbers })
        }
        Some(numbers) => Ok(Call::Own(numbers)),
        None => match Incremental::of(call)? {
            Some(accumulators) if !retracts => Ok(Call::Own(Box::new(accumulators))),
            _ => recomputed(call, retracts, sets, wish),
        },
    }
}

/// Numbers that weights are added to, for the functions that go by them.
fn numbers(call: &AggregateCall) -> Option<Box<dyn Accumulate>> {
    let result = call.field().data_type().clone();
    let summed = |outcome| Some(Box::new(Summed::of(call.input_types().first()?, &result, outcome)?) as _);
    match call.function().name() {
        "count" => Some(Box::new(Count::default())),
        "sum" => summed(Outcome::Sum),
        // DataFusion's average of decimals is another.
        "avg" if !result.is_decimal() || call.function().inner().is::<DecimalAverage>() => summed(Outcome::Average),
        "bool_and" => Some(Box::new(Bools::new(true))),
        "bool_or" => Some(Box::new(Bools::new(false))),
        other => Some(Box::new(Moments::of(other, call.input_types())?)),
    }
}

/// A function that gives a column of one of the rows.
fn one_row(
    call: &AggregateCall,
    retracts: bool,
    sets: &mut Vec<SharedSet>,
    wish: &Wish,
    columns: Columns,
    (pick, result): (Pick, usize),
) -> Result<Call> {
    check_order(call, &columns)?;
    if !retracts {
        let is_extreme = columns.types.len() == 1 && columns.complete == [result];
        let numbers = if is_extreme { extremes(&columns.types[result], pick) } else { None };
        return Ok(Call::Own(match numbers {
            Some(numbers) => numbers,
            None => Box::new(Kept::try_new(columns, pick, result)?),
        }));
    }
    if matches!(pick, Pick::First | Pick::Last) {
        return Err(by_arrival(call));
    }
    let data_type = call.field().data_type().clone();
    let place = place(sets, &columns, wish)?;
    let heap = sets[place.set].values.keep_top(place.lane, pick == Pick::Largest);
    Ok(Call::Top { place, heap, column: result, data_type })
}

fn recomputed(call: &AggregateCall, retracts: bool, sets: &mut Vec<SharedSet>, wish: Wish) -> Result<Call> {
    let goes_by_arrival = call.is_order_sensitive() && call.expr().order_bys().is_empty() && !call.is_distinct();
    if retracts && goes_by_arrival && call.function().name() == "nth_value" {
        return Err(by_arrival(call));
    }
    let columns = Columns::of_call(call, true);
    check_order(call, &columns)?;
    let by_arrival = goes_by_arrival && !retracts;
    let multiple = retracts || !Recomputed::counts_once(call);
    let place = place(sets, &columns, &Wish { multiple, by_arrival, ..wish })?;
    Ok(Call::Recomputed { place, function: Box::new(Recomputed::new(call, columns, usize::from(by_arrival))) })
}

fn by_arrival(call: &AggregateCall) -> Error {
    let name = call.function().name();
    Error::invalid(710, format!("{call} goes by the order in which rows come, and here rows also go"))
        .with_hint(format!("say which row is meant: {name}(x ORDER BY y)"))
}

/// Values are looked up by their bytes, which some types have none of.
fn check_order(call: &AggregateCall, columns: &Columns) -> Result<()> {
    let without: Option<&DataType> = columns.types.iter().map(|(t, _)| t).find(|t| !has_order(t));
    match without {
        Some(without) => Err(Error::invalid(142, format!("{call} over {} is not supported yet", display(without)))
            .with_hint("pass a part of it, as in x[1] or x.name")),
        None => Ok(()),
    }
}
