//! The rows that wait for their sessions to close, as the batches in which they came.

use std::collections::BTreeMap;

use arrow::compute::interleave_record_batch;
use arrow::record_batch::RecordBatch;
use rheos_core::Result;

use super::index::{Place, Sessions};

/// Rows of live batches, beyond twice the rows that wait, before the batches are written anew.
const SPARE_ROWS: usize = 1 << 16;
/// Rows in a batch that is written anew.
const BATCH_ROWS: usize = 1 << 13;

/// See the module.
#[derive(Default)]
pub(crate) struct Rows {
    runs: BTreeMap<u64, RecordBatch>,
    next_run: u64,
    /// Runs before this have been handed over as state.
    first_unsaved: u64,
}

impl Rows {
    /// Keeps a batch and gives its number.
    pub(crate) fn push(&mut self, batch: RecordBatch) -> u64 {
        self.runs.insert(self.next_run, batch);
        self.next_run += 1;
        self.next_run - 1
    }

    pub(crate) fn is_saved(&self, place: Place) -> bool {
        place.run < self.first_unsaved
    }

    /// All that is here has been handed over.
    pub(crate) fn set_saved(&mut self) {
        self.first_unsaved = self.next_run;
    }

    /// Some rows as one batch; there must be at least one.
    pub(crate) fn take(&self, places: &[Place]) -> Result<RecordBatch> {
        let mut numbers: Vec<u64> = places.iter().map(|place| place.run).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let batches: Vec<&RecordBatch> = numbers.iter().filter_map(|n| self.runs.get(n)).collect();
        debug_assert_eq!(batches.len(), numbers.len(), "a batch lives as long as its rows");
        let place = |p: &Place| (numbers.partition_point(|n| *n < p.run), p.row as usize);
        let indices: Vec<_> = places.iter().map(place).collect();
        Ok(interleave_record_batch(&batches, &indices)?)
    }

    /// Lets go of rows that have left, when they are too many.
    pub(crate) fn compact(&mut self, sessions: &mut Sessions) -> Result<()> {
        let (live, all) = sessions.piece_counts();
        let nothing_lives = live == 0 && all > 0;
        if !nothing_lives && all <= 2 * live + SPARE_ROWS {
            return Ok(());
        }
        let ids: Vec<u32> = sessions.ids().collect();
        let places: Vec<Vec<Place>> = ids.iter().map(|id| sessions.pieces_of(*id).collect()).collect();
        // Saved and unsaved rows go to runs of their own.
        let all = places.iter().flatten().copied();
        let (saved, unsaved): (Vec<Place>, Vec<Place>) = all.partition(|place| self.is_saved(*place));
        let (first_saved, first_unsaved) = self.rewrite(&saved, &unsaved)?;
        sessions.clear_all_pieces();
        let (mut next_saved, mut next_unsaved) = (0, 0);
        for (id, places) in ids.iter().zip(&places) {
            for place in places {
                let (first, n) = match place.run < self.first_unsaved {
                    true => (first_saved, &mut next_saved),
                    false => (first_unsaved, &mut next_unsaved),
                };
                let place = Place { run: first + (*n / BATCH_ROWS) as u64, row: (*n % BATCH_ROWS) as u32 };
                sessions.push_piece(*id, place);
                *n += 1;
            }
        }
        self.first_unsaved = first_unsaved;
        self.runs = self.runs.split_off(&first_saved);
        Ok(())
    }

    /// Appends copies of rows in new runs, and gives the first run of each kind.
    fn rewrite(&mut self, saved: &[Place], unsaved: &[Place]) -> Result<(u64, u64)> {
        let mut firsts = [0; 2];
        for (places, first) in [saved, unsaved].into_iter().zip(&mut firsts) {
            *first = self.next_run;
            for places in places.chunks(BATCH_ROWS) {
                let batch = self.take(places)?;
                self.push(batch);
            }
        }
        Ok((firsts[0], firsts[1]))
    }
}
