//! The partial aggregates of sessions: sealed runs of state columns, and an active part whose rows still change.
//!
//! ```text
//!   run 7: states of 3 pieces     sealed, never changed
//!   run 8: accumulators           active: a row is a group; `seal` makes a run of it, and the rows keep their numbers
//!                    pieces of some sessions ─► scratch accumulators, one group a session ─► results, or states
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::interleave;
use datafusion_expr::{EmitTo, GroupsAccumulator};
use rheos_core::Result;

use super::index::Place;
use crate::aggregate::extremes::Input;
use crate::evaluation::{coerce, data_error};
use crate::window_aggregate::spec::Layout;
use crate::window_aggregate::table::RowColumns;

/// See the module.
pub(crate) struct States {
    layout: Arc<Layout>,
    active: Vec<Box<dyn GroupsAccumulator>>,
    active_rows: u32,
    scratch: Vec<Box<dyn GroupsAccumulator>>,
    runs: BTreeMap<u64, Vec<ArrayRef>>,
    runs_bytes: usize,
    /// The number of the active run.
    next_run: u64,
}

impl States {
    pub(crate) fn try_new(layout: &Arc<Layout>) -> Result<Self> {
        let accumulators =
            |input| layout.aggregates.iter().map(|call| call.accumulator_of(input)).collect::<Result<_>>();
        Ok(Self {
            active: accumulators(Input::Passing)?,
            // What enters it has left it when the call is over.
            scratch: accumulators(Input::Staying)?,
            layout: Arc::clone(layout),
            active_rows: 0,
            runs: BTreeMap::new(),
            runs_bytes: 0,
            next_run: 0,
        })
    }

    /// Bytes, about.
    pub(crate) fn size(&self) -> usize {
        self.runs_bytes + self.active.iter().map(|a| a.size()).sum::<usize>()
    }

    /// Whether a place still takes rows.
    pub(crate) fn is_active(&self, place: Place) -> bool {
        place.run == self.next_run
    }

    /// A new row of the active run.
    pub(crate) fn add_active(&mut self) -> Place {
        self.active_rows += 1;
        Place { run: self.next_run, row: self.active_rows - 1 }
    }

    /// Adds raw rows to rows of the active run.
    pub(crate) fn update(&mut self, places: &[usize], columns: &RowColumns) -> Result<()> {
        let total = self.active_rows as usize;
        for ((accumulator, arguments), filter) in self.active.iter_mut().zip(&columns.arguments).zip(&columns.filters) {
            accumulator.update_batch(arguments, places, filter.as_ref(), total).map_err(data_error)?;
        }
        Ok(())
    }

    /// Adds partial aggregates to rows of the active run.
    pub(crate) fn merge(&mut self, places: &[usize], states: &[ArrayRef]) -> Result<()> {
        merge(&mut self.active, &self.layout, places, self.active_rows as usize, states)
    }

    /// The states of raw rows as if each were a session of its own. Only where all calls are convertible.
    pub(crate) fn convert(&self, columns: &RowColumns) -> Result<Vec<ArrayRef>> {
        let mut states = vec![];
        for ((accumulator, arguments), filter) in self.active.iter().zip(&columns.arguments).zip(&columns.filters) {
            states.extend(accumulator.convert_to_state(arguments, filter.as_ref()).map_err(data_error)?);
        }
        self.coerced(states)
    }

    /// Makes a run of the active part.
    fn seal(&mut self) -> Result<()> {
        if self.active_rows == 0 {
            return Ok(());
        }
        let states = take_states(&mut self.active)?;
        let states = self.coerced(states)?;
        self.active_rows = 0;
        self.push_run(states)?;
        Ok(())
    }

    /// Adds a sealed run and gives its number.
    pub(crate) fn push_run(&mut self, states: Vec<ArrayRef>) -> Result<u64> {
        self.seal()?;
        let run = self.next_run;
        self.next_run += 1;
        self.runs_bytes += bytes_of(&states);
        self.runs.insert(run, states);
        Ok(run)
    }

    /// The results of groups of pieces: group `groups[i]` of `count` is made of `pieces[i]` and others.
    pub(crate) fn results(&mut self, pieces: &[Place], groups: &[usize], count: usize) -> Result<Vec<ArrayRef>> {
        self.combine(pieces, groups, count)?;
        let fields = &self.layout.output_schema.fields()[self.layout.keys..];
        let results = self.scratch.iter_mut().zip(fields);
        results.map(|(a, field)| coerce(a.evaluate(EmitTo::All).map_err(data_error)?, field.data_type())).collect()
    }

    /// The merged states of groups of pieces.
    pub(crate) fn merged(&mut self, pieces: &[Place], groups: &[usize], count: usize) -> Result<Vec<ArrayRef>> {
        self.combine(pieces, groups, count)?;
        let states = take_states(&mut self.scratch)?;
        self.coerced(states)
    }

    fn combine(&mut self, pieces: &[Place], groups: &[usize], count: usize) -> Result<()> {
        if pieces.iter().any(|place| self.is_active(*place)) {
            self.seal()?;
        }
        let mut numbers: Vec<u64> = pieces.iter().map(|place| place.run).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let runs: Vec<&Vec<ArrayRef>> = numbers.iter().filter_map(|n| self.runs.get(n)).collect();
        debug_assert_eq!(runs.len(), numbers.len(), "a run lives as long as its pieces");
        let place = |p: &Place| (numbers.partition_point(|n| *n < p.run), p.row as usize);
        let places: Vec<(usize, usize)> = pieces.iter().map(place).collect();
        let width: usize = self.layout.state_widths.iter().sum();
        let column = |at: usize| {
            let parts: Vec<&dyn Array> = runs.iter().map(|run| run[at].as_ref()).collect();
            interleave(&parts, &places)
        };
        let states = (0..width).map(column).collect::<Result<Vec<_>, _>>()?;
        merge(&mut self.scratch, &self.layout, groups, count, &states)
    }

    /// Drops all sealed runs but those from `first` on.
    pub(crate) fn drop_runs_before(&mut self, first: u64) {
        self.runs = self.runs.split_off(&first);
        self.runs_bytes = self.runs.values().map(|run| bytes_of(run)).sum();
    }

    fn coerced(&self, states: Vec<ArrayRef>) -> Result<Vec<ArrayRef>> {
        let width: usize = self.layout.state_widths.iter().sum();
        let fields = &self.layout.partial_schema.fields()[self.layout.partial_schema.fields().len() - width..];
        states.into_iter().zip(fields).map(|(c, f)| coerce(c, f.data_type())).collect()
    }
}

fn bytes_of(columns: &[ArrayRef]) -> usize {
    columns.iter().map(|c| c.get_array_memory_size()).sum()
}

fn take_states(accumulators: &mut [Box<dyn GroupsAccumulator>]) -> Result<Vec<ArrayRef>> {
    let mut states = vec![];
    for accumulator in accumulators {
        states.extend(accumulator.state(EmitTo::All).map_err(data_error)?);
    }
    Ok(states)
}

fn merge(
    accumulators: &mut [Box<dyn GroupsAccumulator>],
    layout: &Layout,
    groups: &[usize],
    count: usize,
    states: &[ArrayRef],
) -> Result<()> {
    let mut at = 0;
    for (accumulator, width) in accumulators.iter_mut().zip(&layout.state_widths) {
        accumulator.merge_batch(&states[at..at + width], groups, count).map_err(data_error)?;
        at += width;
    }
    Ok(())
}
