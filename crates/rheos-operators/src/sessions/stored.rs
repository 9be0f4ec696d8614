//! Which rows of the row form have been handed over as state, by their numbers, so that those that left can be let go.
//!
//! ```text
//!   numbers handed over   4 ......... 7 8 9 ... 20         sessions that are open have rows from 7 on
//!                         └─ gone: a tombstone through 6
//! ```
//! One session that stays open keeps all that came after its first row. So when most of what is stored is of no use, the
//! sessions with the oldest rows are handed over anew, a few in each epoch, under the epoch's number.

use std::collections::BTreeMap;

use super::index::{Sessions, UNSAVED};
use crate::state::is_wasteful;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// Rows by number.
    rows: BTreeMap<i64, usize>,
    /// Sessions that were taken away, by the number from which on they are.
    closed: BTreeMap<i64, usize>,
}

/// What the tables need not keep: rows, or closings, with at most this number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) rows: Option<i64>,
    pub(super) closed: Option<i64>,
}

impl Stored {
    pub(super) fn add_rows(&mut self, number: i64, rows: usize) {
        *self.rows.entry(number).or_default() += rows;
    }

    pub(super) fn add_closed(&mut self, number: i64, closed: usize) {
        *self.closed.entry(number).or_default() += closed;
    }

    /// The sessions that are to be handed over anew: the oldest, of about `rows_max` rows, if most of what is stored is of no
    /// use.
    pub(super) fn worn(&self, sessions: &Sessions, rows_max: usize) -> Vec<u32> {
        let stored = self.rows.values().chain(self.closed.values()).sum();
        if sessions.has_due() || !is_wasteful(stored, sessions.piece_counts().0) {
            return vec![];
        }
        let mut oldest: Vec<(i64, u32)> = sessions.ids().map(|id| (sessions.get(id).oldest, id)).collect();
        oldest.retain(|(number, _)| *number != UNSAVED);
        oldest.sort_unstable();
        let mut rows = 0;
        let worn = oldest.into_iter().take_while(|(_, id)| {
            let fits = rows < rows_max;
            rows += sessions.count_pieces(*id);
            fits
        });
        worn.map(|(_, id)| id).collect()
    }

    /// Lets go of what no session needs at the end of epoch `number`.
    pub(super) fn let_go(&mut self, sessions: &Sessions, number: i64) -> Gone {
        let oldest = sessions.ids().map(|id| sessions.get(id).oldest).min().unwrap_or(UNSAVED);
        let rows = oldest.min(number).saturating_sub(1);
        // A session that was taken away had older rows.
        Gone { rows: drop_through(&mut self.rows, rows), closed: drop_through(&mut self.closed, rows + 1) }
    }
}

/// `bound`, if something was let go.
fn drop_through(counts: &mut BTreeMap<i64, usize>, bound: i64) -> Option<i64> {
    let before = counts.len();
    *counts = counts.split_off(&(bound + 1));
    (counts.len() < before).then_some(bound)
}
