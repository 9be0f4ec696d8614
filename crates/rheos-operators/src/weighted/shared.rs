//! The sets of values that calls read, each used by all calls over the same arguments.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, UInt32Array};
use arrow::compute::{SortOptions, max, take};
use arrow::datatypes::{DataType, Field, Int64Type};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr_common::physical_expr::is_volatile;
use rheos_core::{Error, Result};

use super::columns::Columns;
use super::rows::Rows;
use super::values::{Tuples, Turns, ValueChanges, Values};

/// One set, and where its rows come from.
#[derive(Debug)]
pub(super) struct SharedSet {
    columns: Columns,
    pub(super) values: Values,
    /// The call whose arguments are read.
    call: usize,
    /// Filters, each with a call that has it.
    lanes: Vec<(Option<Arc<dyn PhysicalExpr>>, usize)>,
    /// Of each lane, of the last update.
    turns: Vec<Turns>,
    /// Where the order of arrival counts, rows have a number in front, and this is the next.
    arrival: Option<i64>,
}

/// A table of state with the values of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ValueTable {
    /// Its name among those of the aggregate.
    pub(crate) name: String,
    /// The columns of a value, then numbers. Keys of the group go in front of them.
    pub(crate) fields: Vec<Field>,
    /// How many of the fields say, with the group, whose place a row takes: the first.
    pub(crate) keys: usize,
}

impl ValueTable {
    /// Of the fields, the one that is 0 where a value is gone.
    pub(crate) fn gone_by(&self) -> usize {
        self.fields.len() - 1
    }
}

/// Where a call's values are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) set: usize,
    pub(super) lane: usize,
}

/// What a call asks of a set.
pub(super) struct Wish<'a> {
    pub(super) call: usize,
    pub(super) filter: Option<&'a Arc<dyn PhysicalExpr>>,
    /// Whether it matters how often a value is there.
    pub(super) multiple: bool,
    /// Whether it matters when it came.
    pub(super) by_arrival: bool,
}

/// The place for a call's values: in a set that is there already, if it may be.
pub(super) fn place(sets: &mut Vec<SharedSet>, columns: &Columns, wish: &Wish) -> Result<Place> {
    let fits = |set: &SharedSet| !wish.by_arrival && set.arrival.is_none() && set.columns == *columns;
    let set = match sets.iter().position(fits) {
        Some(set) => set,
        None => {
            sets.push(SharedSet::try_new(columns.clone(), wish)?);
            sets.len() - 1
        }
    };
    Ok(Place { set, lane: sets[set].lane(wish) })
}

impl SharedSet {
    fn try_new(columns: Columns, wish: &Wish) -> Result<Self> {
        let number = wish.by_arrival.then(|| (DataType::Int64, SortOptions::default()));
        let types: Vec<_> = number.into_iter().chain(columns.types.iter().cloned()).collect();
        let values = Values::try_new(&types)?;
        let arrival = wish.by_arrival.then_some(0);
        Ok(Self { columns, values, call: wish.call, lanes: vec![], turns: vec![], arrival })
    }

    fn lane(&mut self, wish: &Wish) -> usize {
        if wish.multiple {
            self.values.count_all();
        }
        let same = |known: &Option<Arc<dyn PhysicalExpr>>| match (known, wish.filter) {
            (None, None) => true,
            (Some(known), Some(filter)) => known.eq(filter) && !is_volatile(filter),
            _ => false,
        };
        self.lanes.iter().position(|(known, _)| same(known)).unwrap_or_else(|| {
            self.lanes.push((wish.filter.cloned(), wish.call));
            self.turns.push(Turns::default());
            self.values.add_lane()
        })
    }

    /// Adds a batch's rows. Gives the columns of the set, which the turns of the lanes tell rows of.
    pub(super) fn update(
        &mut self,
        arguments: &[Vec<ArrayRef>],
        filters: &[Option<BooleanArray>],
        rows: &Rows,
    ) -> Result<Vec<ArrayRef>> {
        self.turns.iter_mut().for_each(Turns::clear);
        let mut columns = self.columns.of(&arguments[self.call]);
        let complete: Vec<&ArrayRef> = self.columns.complete.iter().map(|at| &columns[*at]).collect();
        let masks: Vec<_> = self
            .lanes
            .iter()
            .map(|(_, call)| Rows { filter: filters[*call].as_ref(), ..*rows }.complete(complete.iter().copied()))
            .collect();
        if let Some(next) = &mut self.arrival {
            let first = *next;
            *next += rows.slots.len() as i64;
            columns.insert(0, Arc::new(Int64Array::from_iter_values(first..*next)));
        }
        let tuples = Tuples { columns: &columns, masks: &masks, slots: rows.slots, weights: rows.weights };
        self.values.update(&tuples, &mut self.turns)?;
        Ok(columns)
    }

    /// The rows that came into a lane or went, by the last update, as the call reads them: its arguments, slots and weights.
    pub(super) fn turned(
        &self,
        lane: usize,
        reader: &Columns,
        columns: &[ArrayRef],
        slots: &[u32],
    ) -> Result<(Vec<ArrayRef>, Vec<u32>, &[i64])> {
        let turns = &self.turns[lane];
        let rows = UInt32Array::from(turns.rows.clone());
        let columns = columns.iter().map(|c| Ok(take(c, &rows, None)?)).collect::<Result<Vec<_>>>()?;
        let slots = turns.rows.iter().map(|row| slots[*row as usize]).collect();
        Ok((reader.inputs_from(&columns, turns.rows.len())?, slots, &turns.weights))
    }

    /// The table of the set with this number.
    pub(super) fn table(&self, number: usize) -> ValueTable {
        let value = |(i, t): (usize, &DataType)| Field::new(format!("value{i}"), t.clone(), true);
        let mut fields: Vec<Field> = self.values.types().iter().enumerate().map(value).collect();
        let keys = fields.len();
        let lanes = self.values.lanes();
        fields.extend((0..lanes).map(|lane| Field::new(format!("weight{lane}"), DataType::Int64, false)));
        if lanes > 1 {
            fields.push(Field::new("lanes", DataType::Int64, false));
        }
        ValueTable { name: format!("values{number}"), fields, keys }
    }

    /// Takes back values as [`Values::take_changes`] gave them; later ones take the place of those before.
    pub(super) fn restore(&mut self, stored: &[ArrayRef], slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.turns.iter_mut().for_each(Turns::clear);
        let width = self.values.types().len();
        let lanes = self.values.lanes();
        let Some((columns, weights)) = stored.split_at_checked(width).filter(|(_, rest)| rest.len() >= lanes) else {
            return Err(Error::internal("the stored values of groups have too few columns"));
        };
        if let Some(next) = &mut self.arrival {
            *next = max(columns[0].as_primitive::<Int64Type>()).map_or(*next, |last| (last + 1).max(*next));
        }
        let masks = vec![None; lanes];
        let tuples = Tuples { columns, masks: &masks, slots, weights: None };
        self.values.restore(&tuples, weights, &mut self.turns)?;
        self.values.forget_changes();
        Ok(columns.to_vec())
    }

    /// What changed since the last call.
    pub(super) fn take_changes(&mut self) -> Result<Option<ValueChanges>> {
        self.values.take_changes()
    }
}
