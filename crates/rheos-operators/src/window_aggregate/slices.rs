//! The open slices of a window aggregate, and how windows fire from them.
//!
//! ```text
//!   slice 41: [run][run]                         sealed: partial aggregates, never changed
//!   slice 42: base table + [run] + active table  rows enter the last; what epochs have handed over gathers in the first
//!                  window = slices 38..=42: merge their runs (or the nodes over them) into scratch, evaluate
//! ```
//! Where a window has one slice, its table is evaluated directly. Where it has many, its slices are sealed once and merged
//! for each of their windows; above [`NODES_FROM`] slices, merged *nodes* over 2, 4, 8 ... slices are kept, so that a
//! window merges O(log n) of them. Where windows cumulate, the merge of one window is kept for the next, which adds its
//! last slice to it.
//!
//! Invariants: every slice here is part of a window that has not fired; a node is the merge of its slices' runs (a row
//! that changes a slice drops the nodes above it); `next_window` never goes back.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use rheos_core::Result;

use super::slicing::Slicing;
use super::spec::{AggregateWindow, Layout};
use super::table::{RowColumns, RunUse, Table, TablePool};
use crate::assign_windows::window_columns;
use crate::evaluation::new_batch;

/// Slices in a window from which on merged nodes pay.
const NODES_FROM: i64 = 17;

/// Groups of a slice whose saved runs are merged with each other; more are gathered in a table, which takes each epoch's run at a cost
/// that does not grow with what is in it.
const BASE_GROUPS_MIN: usize = 1 << 10;

/// Runs of a slice that have not been saved, at most; more are put together.
const UNSAVED_RUNS_MAX: usize = 8;

/// Partial aggregates that do not change any more.
#[derive(Debug, Clone)]
pub(crate) struct SealedRun {
    pub(crate) rows: RecordBatch,
    /// An earlier epoch has handed it over.
    pub(crate) saved: bool,
}

/// The partial aggregates of one slice.
#[derive(Default)]
pub(crate) struct Slice {
    /// Of a large slice: what epochs have handed over, while nobody needs it as a run.
    base: Option<Table>,
    runs: Vec<SealedRun>,
    active: Option<Table>,
    /// A window that has several slices has fired from this one: few rows follow, and the next windows read runs.
    fired: bool,
}

impl Slice {
    /// Turns all of it into runs.
    fn seal(&mut self, number: i64, pool: &mut TablePool) -> Result<()> {
        self.seal_base(number, pool)?;
        self.seal_active(number, pool)
    }

    fn seal_base(&mut self, number: i64, pool: &mut TablePool) -> Result<()> {
        let Some(mut table) = self.base.take() else { return Ok(()) };
        self.runs.insert(0, SealedRun { rows: table.take_run(number, RunUse::Kept)?, saved: true });
        pool.give(table);
        Ok(())
    }

    fn seal_active(&mut self, number: i64, pool: &mut TablePool) -> Result<()> {
        let Some(mut table) = self.active.take() else { return Ok(()) };
        if !table.is_empty() {
            self.runs.push(SealedRun { rows: table.take_run(number, RunUse::Kept)?, saved: false });
        }
        pool.give(table);
        Ok(())
    }

    fn active(&mut self, pool: &mut TablePool) -> Result<&mut Table> {
        if self.active.is_none() {
            self.active = Some(pool.take()?);
        }
        Ok(self.active.as_mut().expect("it was just made"))
    }

    /// Groups that epochs have handed over, one counted again for each run that has it.
    fn saved_rows(&self) -> usize {
        let runs = self.runs.iter().filter(|r| r.saved).map(|r| r.rows.num_rows()).sum::<usize>();
        runs + self.base.as_ref().map_or(0, Table::len)
    }

    /// Puts saved runs together, so that a slice has few however many epochs it lives. The work of an epoch is bounded by what it
    /// has changed: the base takes that in; below its size, runs of similar size are merged.
    fn compact(&mut self, number: i64, pool: &mut TablePool) -> Result<()> {
        let are_many = self.runs.iter().filter(|r| r.saved).nth(1).is_some() && self.saved_rows() >= BASE_GROUPS_MIN;
        if self.base.is_some() || (are_many && !self.fired) {
            let mut base = self.base.take().map_or_else(|| pool.take(), Ok)?;
            for run in self.runs.extract_if(.., |r| r.saved) {
                base.merge(&run.rows)?;
            }
            self.base = Some(base);
            return Ok(());
        }
        while let [.., a, b] = self.runs.as_slice()
            && a.saved
            && b.saved
            && a.rows.num_rows() <= 2 * b.rows.num_rows()
        {
            let rows = merge_runs(number, &[a.rows.clone(), b.rows.clone()], pool)?;
            self.runs.truncate(self.runs.len() - 2);
            self.runs.push(SealedRun { rows, saved: true });
        }
        Ok(())
    }
}

fn merge_runs(number: i64, runs: &[RecordBatch], pool: &mut TablePool) -> Result<RecordBatch> {
    let mut scratch = pool.take_largest()?;
    for run in runs {
        scratch.merge(run)?;
    }
    let merged = scratch.take_run(number, RunUse::Kept)?;
    pool.give(scratch);
    Ok(merged)
}

/// See the module.
pub(crate) struct Slices {
    slicing: Slicing,
    map: BTreeMap<i64, Slice>,
    /// By first slice and level; a node of level `l` covers `2^l` slices. `None`: no rows in any of them.
    nodes: BTreeMap<(i64, u32), Option<RecordBatch>>,
    /// Where windows cumulate: the window that fired last and the merge of its slices, while no row has changed them.
    cumulated: Option<(i64, RecordBatch)>,
    next_window: i64,
}

impl Slices {
    pub(crate) fn new(slicing: Slicing) -> Self {
        let next_window = slicing.first_open_window(i64::MIN);
        Self { slicing, map: BTreeMap::new(), nodes: BTreeMap::new(), cumulated: None, next_window }
    }

    /// The first window that has not fired.
    pub(crate) fn next_window(&self) -> i64 {
        self.next_window
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    fn slice(&mut self, number: i64) -> &mut Slice {
        if !self.nodes.is_empty() {
            for level in 1..i64::BITS - 1 {
                let first = (number >> level) << level;
                self.nodes.remove(&(first, level));
                if 1 << level > self.slicing.slices_per_window() {
                    break;
                }
            }
        }
        if self.cumulated.as_ref().is_some_and(|(window, _)| number <= *window) {
            self.cumulated = None;
        }
        self.map.entry(number).or_default()
    }

    /// Adds raw rows to a slice.
    pub(crate) fn update(&mut self, number: i64, rows: &RowColumns, pool: &mut TablePool) -> Result<()> {
        self.slice(number).active(pool)?.update(rows)
    }

    /// Adds partial aggregates to a slice.
    pub(crate) fn merge(&mut self, number: i64, run: &RecordBatch, pool: &mut TablePool) -> Result<()> {
        self.slice(number).active(pool)?.merge(run)
    }

    /// Adds a few partial aggregates to a slice, which need not be one a group: cheaper than a table of its own.
    pub(crate) fn push(&mut self, number: i64, run: RecordBatch, pool: &mut TablePool) -> Result<()> {
        let slice = self.slice(number);
        if let Some(table) = &mut slice.active {
            return table.merge(&run);
        }
        slice.runs.push(SealedRun { rows: run, saved: false });
        if slice.runs.iter().filter(|r| !r.saved).count() > UNSAVED_RUNS_MAX {
            let (saved, unsaved) = std::mem::take(&mut slice.runs).into_iter().partition(|r| r.saved);
            slice.runs = saved;
            let unsaved: Vec<SealedRun> = unsaved;
            let table = slice.active(pool)?;
            for run in unsaved {
                table.merge(&run.rows)?;
            }
        }
        Ok(())
    }

    /// Takes back a run of an earlier epoch.
    pub(crate) fn push_saved(&mut self, number: i64, rows: RecordBatch, pool: &mut TablePool) -> Result<()> {
        let slice = self.slice(number);
        slice.runs.push(SealedRun { rows, saved: true });
        slice.compact(number, pool)
    }

    /// Seals all active parts and gives what has not been saved; from now on it has.
    pub(crate) fn take_unsaved(&mut self, pool: &mut TablePool) -> Result<Vec<RecordBatch>> {
        let mut unsaved = vec![];
        for (number, slice) in &mut self.map {
            slice.seal_active(*number, pool)?;
            for run in slice.runs.iter_mut().filter(|r| !r.saved) {
                run.saved = true;
                unsaved.push(run.rows.clone());
            }
            slice.compact(*number, pool)?;
        }
        Ok(unsaved)
    }

    /// All of it: one run a slice, with each group once.
    pub(crate) fn into_runs(self, pool: &mut TablePool) -> Result<Vec<RecordBatch>> {
        let mut whole = vec![];
        for (number, slice) in self.map {
            let mut table = slice.base.map_or_else(|| pool.take_largest(), Ok)?;
            for run in &slice.runs {
                table.merge(&run.rows)?;
            }
            if let Some(mut active) = slice.active {
                table.merge(&active.take_run(number, RunUse::Passing)?)?;
                pool.give(active);
            }
            whole.push(table.take_run(number, RunUse::Kept)?);
            pool.give(table);
        }
        Ok(whole)
    }

    /// Moves everything into `other`, as saved: it came from there.
    pub(crate) fn drain_into(&mut self, other: &mut Slices, pool: &mut TablePool) -> Result<()> {
        for (number, mut slice) in std::mem::take(&mut self.map) {
            slice.seal(number, pool)?;
            if !slice.runs.is_empty() {
                let to = other.slice(number);
                to.runs.append(&mut slice.runs);
            }
        }
        Ok(())
    }

    /// The next window that ends by `watermark_ms` and has rows.
    fn due_window(&self, watermark_ms: i64) -> Option<i64> {
        let (first, _) = self.map.first_key_value()?;
        // The first slice is part of this window: it is in one that has not fired.
        let window = self.next_window.max(self.slicing.first_window(*first));
        (self.slicing.window_end_ms(window) <= watermark_ms).then_some(window)
    }

    pub(crate) fn is_due(&self, watermark_ms: i64) -> bool {
        self.due_window(watermark_ms).is_some()
    }

    /// Fires the next window that is due, and drops the slices that no later window needs.
    pub(crate) fn fire_next(&mut self, watermark_ms: i64, pool: &mut TablePool) -> Result<Option<RecordBatch>> {
        let Some(window) = self.due_window(watermark_ms) else { return Ok(None) };
        let mut table = if self.slicing.slices_per_window() == 1 {
            self.take_table(window, pool)?
        } else {
            self.merge_window(window, pool)?
        };
        let results = results(&mut table, self.slicing, window, pool.layout())?;
        pool.give(table);
        self.advance(window + 1);
        Ok(Some(results))
    }

    /// All windows before `next` have fired.
    pub(crate) fn advance(&mut self, next: i64) {
        if next <= self.next_window {
            return;
        }
        self.next_window = next;
        while let Some(entry) = self.map.first_entry()
            && self.slicing.last_window(*entry.key()) < next
        {
            entry.remove();
        }
        while let Some(entry) = self.nodes.first_entry()
            && self.slicing.last_window(entry.key().0) < next
        {
            entry.remove();
        }
    }

    /// The whole content of the one slice of a window.
    fn take_table(&mut self, window: i64, pool: &mut TablePool) -> Result<Table> {
        let slice = self.map.remove(&self.slicing.slices(window).start).unwrap_or_default();
        let (mut table, smaller) = match (slice.base, slice.active) {
            (Some(base), active) => (base, active),
            (None, Some(active)) => (active, None),
            (None, None) => (pool.take()?, None),
        };
        if let Some(mut smaller) = smaller {
            table.merge(&smaller.take_run(window, RunUse::Passing)?)?;
            pool.give(smaller);
        }
        for run in &slice.runs {
            table.merge(&run.rows)?;
        }
        Ok(table)
    }

    fn merge_window(&mut self, window: i64, pool: &mut TablePool) -> Result<Table> {
        let range = self.slicing.slices(window);
        for (number, slice) in self.map.range_mut(range.clone()) {
            slice.fired = true;
            slice.seal(*number, pool)?;
        }
        let mut scratch = pool.take_largest()?;
        let mut first = range.start;
        if let Some((before, run)) = self.cumulated.take()
            && range.contains(&before)
        {
            scratch.merge(&run)?;
            first = before + 1;
        }
        self.merge_slices(first..range.end, &mut scratch, pool)?;
        if self.slicing.is_cumulating() && self.slicing.slices(window + 1).start == range.start {
            let run = scratch.take_run(window, RunUse::Kept)?;
            scratch.merge(&run)?;
            self.cumulated = Some((window, run));
        }
        Ok(scratch)
    }

    /// Merges slices, all of them sealed, into `scratch`.
    fn merge_slices(&mut self, range: Range<i64>, scratch: &mut Table, pool: &mut TablePool) -> Result<()> {
        if range.end - range.start < NODES_FROM {
            for (_, slice) in self.map.range(range) {
                for run in &slice.runs {
                    scratch.merge(&run.rows)?;
                }
            }
            return Ok(());
        }
        let mut first = range.start;
        while first < range.end {
            let fits = (range.end - first).ilog2();
            let level = first.trailing_zeros().min(fits);
            for run in self.node(first, level, pool)? {
                scratch.merge(&run)?;
            }
            first += 1 << level;
        }
        Ok(())
    }

    /// The merged runs of `2^level` slices, all of them sealed.
    fn node(&mut self, first: i64, level: u32, pool: &mut TablePool) -> Result<Vec<RecordBatch>> {
        if level == 0 {
            let slice = self.map.get(&first);
            return Ok(slice.map(|s| s.runs.iter().map(|r| r.rows.clone()).collect()).unwrap_or_default());
        }
        if let Some(node) = self.nodes.get(&(first, level)) {
            return Ok(node.iter().cloned().collect());
        }
        let mut runs = self.node(first, level - 1, pool)?;
        runs.extend(self.node(first + (1 << (level - 1)), level - 1, pool)?);
        let merged = match runs.len() {
            0 => None,
            1 => runs.pop(),
            _ => Some(merge_runs(first, &runs, pool)?),
        };
        self.nodes.insert((first, level), merged.clone());
        Ok(merged.into_iter().collect())
    }

    /// Windows that would still fire.
    pub(crate) fn open_windows(&self) -> u64 {
        let mut open = 0;
        let mut next = self.next_window;
        for number in self.map.keys() {
            let first = next.max(self.slicing.first_window(*number));
            let last = self.slicing.last_window(*number);
            open += (last + 1 - first).max(0) as u64;
            next = next.max(last + 1);
        }
        open
    }
}

/// The results of a table as rows of the output. The table is empty then.
pub(crate) fn results(table: &mut Table, slicing: Slicing, window: i64, layout: &Arc<Layout>) -> Result<RecordBatch> {
    let rows = table.len();
    let (mut columns, results) = table.take_results()?;
    let hidden = columns.split_off(layout.keys);
    columns.extend(results);
    match (layout.window, slicing) {
        (AggregateWindow::Columns { .. }, _) => {
            let us = |i: usize| hidden[i].as_primitive::<TimestampMicrosecondType>().values().to_vec();
            columns.extend(window_columns(us(0), us(1), &layout.zone));
        }
        (_, Slicing::Time(spec)) if spec != rheos_core::window::WindowSpec::Global => {
            let window = spec.window(window);
            let (starts, ends) = (vec![window.start_ms * 1000; rows], vec![window.end_ms * 1000; rows]);
            columns.extend(window_columns(starts, ends, &layout.zone));
        }
        _ => {}
    }
    new_batch(&layout.output_schema, columns, rows)
}
