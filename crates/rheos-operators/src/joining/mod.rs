//! What all joins of two inputs share, whenever they give their results: what follows from the kind of join (`kind`), equal keys
//! (`keys`), the further condition (`residual`), and pairs that it cannot be computed for (`failed`).

pub(crate) mod failed;
pub(crate) mod keys;
pub(crate) mod kind;
pub(crate) mod residual;

use arrow::array::ArrayRef;
use rheos_core::Result;

/// The index of a side; also of its input.
pub(crate) const LEFT: usize = 0;
pub(crate) const RIGHT: usize = 1;

/// Pairs of rows with equal keys, whose values are put together only as far as they are read.
pub(crate) trait Candidates {
    fn len(&self) -> usize;

    /// The values of a column of one side, of all pairs.
    fn column(&self, side: usize, column: usize) -> Result<ArrayRef>;

    /// The values of all columns of one side, of one pair.
    fn row(&self, side: usize, at: usize) -> Result<Vec<ArrayRef>>;

    /// The number of the row of one side in a pair: the same in all its pairs, and no other row's.
    fn number(&self, side: usize, at: usize) -> usize;

    /// Whether the pair comes, and does not go.
    fn comes(&self, at: usize) -> bool;
}

/// Whose dead letters the pairs are that cannot be computed with.
#[derive(Debug, Clone)]
pub(crate) struct Letters {
    pub(crate) operator_id: String,
    pub(crate) table: String,
}
