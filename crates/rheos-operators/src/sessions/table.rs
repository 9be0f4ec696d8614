//! Sessions with their aggregates: rows or partial aggregates go in; results or partial aggregates of chosen sessions
//! come out.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use rheos_core::{OperatorContext, Result};

use super::cut::cut;
use super::index::{Place, Sessions};
use super::keys::KeyCodec;
use super::states::States;
use crate::assign_windows::window_columns;
use crate::evaluation::new_batch;
use crate::window_aggregate::spec::Layout;
use crate::window_aggregate::table::RowColumns;

/// Pieces beyond twice the sessions before the dead ones are dropped and the others merged.
const SPARE_PIECES: usize = 8192;
/// Sessions that are merged in one go then.
const COMPACT_SESSIONS: usize = 1 << 16;

/// Whether the rows that come in are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counting {
    /// As used, once their session is in time at this watermark.
    InTime(i64),
    /// Not here: the number of rows goes along.
    Later,
}

/// See the module.
pub(crate) struct SessionTable {
    pub(crate) layout: Arc<Layout>,
    pub(crate) codec: KeyCodec,
    pub(crate) sessions: Sessions,
    pub(crate) states: States,
}

impl SessionTable {
    pub(crate) fn try_new(layout: Arc<Layout>) -> Result<Self> {
        Ok(Self {
            codec: KeyCodec::try_new(Arc::clone(&layout.group_schema))?,
            sessions: Sessions::default(),
            states: States::try_new(&layout)?,
            layout,
        })
    }

    /// Bytes, about.
    pub(crate) fn size(&self) -> usize {
        self.sessions.size() + self.states.size()
    }

    /// Adds raw rows with these times.
    pub(crate) fn add_rows(
        &mut self,
        columns: &RowColumns,
        times_ms: &[i64],
        gap_ms: i64,
        counting: Counting,
        ctx: &mut OperatorContext,
    ) -> Result<()> {
        let window = |row: usize| (times_ms[row], times_ms[row] + gap_ms);
        let places = self.place(&columns.groups, columns.rows, window, |_| 1, counting, ctx)?;
        self.states.update(&places, columns)?;
        self.compact()
    }

    /// Adds partial aggregates: rows in the partial layout.
    pub(crate) fn add_partials(
        &mut self,
        batch: &RecordBatch,
        counting: Counting,
        ctx: &mut OperatorContext,
    ) -> Result<()> {
        let keys = self.layout.keys;
        let int = |at: usize| batch.column(at).as_primitive::<Int64Type>().values();
        let (ends, starts, counts) = (int(0), int(keys + 1), int(keys + 2));
        let window = |row: usize| (starts[row], ends[row]);
        let count = |row: usize| counts[row].unsigned_abs();
        let places = self.place(&batch.columns()[1..=keys], batch.num_rows(), window, count, counting, ctx)?;
        self.states.merge(&places, &batch.columns()[keys + 3..])?;
        self.compact()
    }

    /// The row of the active run that each incoming row belongs to.
    fn place(
        &mut self,
        keys: &[ArrayRef],
        rows: usize,
        window: impl Fn(usize) -> (i64, i64),
        count: impl Fn(usize) -> u64,
        counting: Counting,
        ctx: &mut OperatorContext,
    ) -> Result<Vec<usize>> {
        let keys = self.codec.encode(keys, rows)?;
        let cut = cut(&keys.of_row, keys.count, window);
        let mut counts = vec![0; cut.stretches.len()];
        for (row, stretch) in cut.of_row.iter().enumerate() {
            counts[*stretch as usize] += count(row);
        }
        let mut places = Vec::with_capacity(cut.stretches.len());
        for (stretch, rows) in cut.stretches.iter().zip(counts) {
            let id = self.sessions.join(keys.bytes(stretch.key), stretch.start_ms, stretch.end_ms, rows);
            if let Counting::InTime(watermark_ms) = counting {
                self.sessions.count(id, watermark_ms, ctx);
            }
            let active = self.sessions.get(id).active.filter(|place| self.states.is_active(*place));
            let place = active.unwrap_or_else(|| {
                let place = self.states.add_active();
                self.sessions.get_mut(id).active = Some(place);
                self.sessions.push_piece(id, place);
                place
            });
            places.push(place.row as usize);
        }
        Ok(cut.of_row.iter().map(|stretch| places[*stretch as usize]).collect())
    }

    /// The results of sessions, in their order. They are gone then.
    pub(crate) fn take_results(&mut self, ids: &[u32]) -> Result<RecordBatch> {
        let (pieces, groups) = self.pieces(ids);
        let mut columns = self.codec.decode(ids.iter().map(|id| self.sessions.key_of(*id)))?;
        columns.extend(self.states.results(&pieces, &groups, ids.len())?);
        let us = |ms: i64| ms * 1000;
        let starts = ids.iter().map(|id| us(self.sessions.get(*id).start_ms)).collect();
        let ends = ids.iter().map(|id| us(self.sessions.get(*id).end_ms)).collect();
        columns.extend(window_columns(starts, ends, &self.layout.zone));
        ids.iter().for_each(|id| self.sessions.remove(*id));
        new_batch(&self.layout.output_schema, columns, ids.len())
    }

    /// The partial aggregates of sessions, in their order, one row each.
    pub(crate) fn partials(&mut self, ids: &[u32]) -> Result<RecordBatch> {
        let (pieces, groups) = self.pieces(ids);
        let int =
            |f: &dyn Fn(u32) -> i64| -> ArrayRef { Arc::new(ids.iter().map(|id| f(*id)).collect::<Int64Array>()) };
        let mut columns = vec![int(&|id| self.sessions.get(id).end_ms)];
        columns.extend(self.codec.decode(ids.iter().map(|id| self.sessions.key_of(*id)))?);
        columns.push(int(&|id| self.sessions.get(id).start_ms));
        columns.push(int(&|id| self.sessions.get(id).uncounted as i64));
        columns.extend(self.states.merged(&pieces, &groups, ids.len())?);
        new_batch(&self.layout.partial_schema, columns, ids.len())
    }

    /// The pieces of sessions, with the place of each one's session in `ids`.
    fn pieces(&self, ids: &[u32]) -> (Vec<Place>, Vec<usize>) {
        let (mut pieces, mut groups) = (vec![], vec![]);
        for (group, id) in ids.iter().enumerate() {
            pieces.extend(self.sessions.pieces_of(*id));
            groups.resize(pieces.len(), group);
        }
        (pieces, groups)
    }

    /// Gives each session one piece instead of its own: the row of `run` that has its place in `ids`.
    pub(crate) fn set_pieces(&mut self, ids: &[u32], run: u64) {
        for (row, id) in ids.iter().enumerate() {
            self.sessions.clear_pieces(*id);
            self.sessions.push_piece(*id, Place { run, row: row as u32 });
        }
    }

    /// Drops dead pieces when there are too many. Costs no more than making them has.
    pub(crate) fn compact(&mut self) -> Result<()> {
        let (live, all) = self.sessions.piece_counts();
        let nothing_lives = live == 0 && all > 0;
        if !nothing_lives && all <= 2 * self.sessions.len() + SPARE_PIECES {
            return Ok(());
        }
        let ids: Vec<u32> = self.sessions.ids().collect();
        let mut runs = vec![];
        for ids in ids.chunks(COMPACT_SESSIONS) {
            let (pieces, groups) = self.pieces(ids);
            let states = self.states.merged(&pieces, &groups, ids.len())?;
            runs.push(self.states.push_run(states)?);
        }
        self.sessions.clear_all_pieces();
        for (ids, run) in ids.chunks(COMPACT_SESSIONS).zip(&runs) {
            self.set_pieces(ids, *run);
        }
        // Without any session the active part holds only dead pieces; sealing it makes a run that is dropped too.
        let first = match runs.first() {
            Some(first) => *first,
            None => self.states.push_run(vec![])? + 1,
        };
        self.states.drop_runs_before(first);
        Ok(())
    }
}
