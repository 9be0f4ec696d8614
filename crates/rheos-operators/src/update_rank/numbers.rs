//! The numbers of rows before and after a change, side by side.

use crate::window_rank::RankFunction;

/// Which rows go out, and as what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbering {
    pub(crate) function: RankFunction,
    /// The largest number that goes out.
    pub(crate) limit: u64,
    /// Whether a row goes out with its number.
    pub(crate) emits_number: bool,
}

/// The rows up to a place in the order.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    /// Rows, each copy by itself.
    pub(super) rows: u64,
    /// Ties, each taken as one.
    ties: u64,
    /// The tie that the last row belongs to; 0 before all.
    last_tie: u64,
    /// The rank of that tie.
    rank: u64,
}

/// Where the copies of one row are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The number of the first copy.
    pub(super) number: u64,
    /// Copies whose number is within the limit.
    pub(super) copies: u64,
}

impl Count {
    /// Behind so many rows, none of which has a tie to those that follow. Not for `DENSE_RANK`, which counts ties.
    pub(super) fn behind(rows: u64) -> Self {
        Self { rows, ..Self::default() }
    }

    /// Goes on by the copies of a row of the tie with this number; ties are numbered from 1, in order.
    pub(super) fn advance(&mut self, copies: i64, tie: u64, numbering: Numbering) -> Place {
        let copies = u64::try_from(copies).unwrap_or(0);
        if copies == 0 {
            return Place { number: 0, copies: 0 };
        }
        if tie != self.last_tie {
            (self.ties, self.last_tie, self.rank) = (self.ties + 1, tie, self.rows + 1);
        }
        let before = self.rows;
        self.rows += copies;
        let (number, copies) = match numbering.function {
            RankFunction::RowNumber => (before + 1, copies.min(numbering.limit.saturating_sub(before))),
            RankFunction::Rank => (self.rank, if self.rank <= numbering.limit { copies } else { 0 }),
            RankFunction::DenseRank => (self.ties, if self.ties <= numbering.limit { copies } else { 0 }),
        };
        Place { number, copies }
    }

    /// Whether no further row is within the limit. Asked where a tie begins; of `ROW_NUMBER` anywhere.
    pub(super) fn is_full(&self, numbering: Numbering) -> bool {
        let count = if numbering.function == RankFunction::DenseRank { self.ties } else { self.rows };
        count >= numbering.limit
    }

    /// Whether rows that are alike from here on get the same numbers. Asked where [`is_full`](Self::is_full) is.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        (self.rows, self.ties) == (other.rows, other.ties)
    }
}
