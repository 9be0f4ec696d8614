//! Pairs that stand behind others of the same partition, where readers want the first alone: they are left out before anything is
//! computed with them.
//!
//! ```text
//!   auction 7 in the table, best bid so far 90:   bid 80 ─► no pair     bid 95 ─► condition ─► pair goes out, best is 95
//! ```
//! What is known of each row in the table is no state. A job that goes on from a checkpoint begins with nothing known, and leaves
//! out less.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::expressions::Column;
use rheos_core::Result;

use super::side::{Pairs, Side};
use super::spec::Plan;
use crate::row_keys::RowKeys;

/// The first bytes of the order of a row: what is smaller stands before. Equal ones leave it open.
pub(crate) type Rank = u128;

/// See the module.
pub(crate) struct FirstPairs {
    order: RowKeys,
    /// By the number of a row in the table: the least of the pairs that have gone out.
    least: Vec<Rank>,
}

impl FirstPairs {
    /// `None`: each pair may be wanted.
    pub(crate) fn try_new(plan: &Plan, probe: usize, rows_in_table: usize) -> Result<Option<Self>> {
        let Some((column, options)) = plan.first_by(probe) else { return Ok(None) };
        let schema = &plan.inputs[probe];
        let column = Arc::new(Column::new(schema.field(column).name(), column));
        let order = RowKeys::try_new(vec![(column, options)], schema)?;
        Ok(Some(Self { order, least: vec![Rank::MAX; rows_in_table] }))
    }

    /// Of the rows that look up.
    pub(crate) fn ranks(&self, batch: &RecordBatch) -> Result<Vec<Rank>> {
        let keys = self.order.encode(batch)?;
        Ok((0..batch.num_rows()).map(|row| rank(keys.get(row))).collect())
    }

    /// Whether no better pair of this row in the table has gone out.
    pub(crate) fn may_be_first(&self, number: usize, rank: Rank) -> bool {
        rank <= self.least[number]
    }

    /// Of pairs that fulfil the condition, those that are to go out. `table`: the side that is in the table.
    pub(crate) fn retain(&mut self, pairs: &mut Pairs, table: usize, sides: &[Side; 2]) {
        let numbers: Vec<usize> = pairs.places[table].iter().map(|place| sides[table].number(*place)).collect();
        for (number, rank) in numbers.iter().zip(&pairs.ranks) {
            self.least[*number] = self.least[*number].min(*rank);
        }
        let is_first = numbers.iter().zip(&pairs.ranks).map(|(number, rank)| self.may_be_first(*number, *rank));
        let mask: Vec<bool> = is_first.collect();
        pairs.retain(|at| mask[at]);
    }
}

/// Behind shorter bytes come zeros: no order is the beginning of another.
fn rank(bytes: &[u8]) -> Rank {
    let mut padded = [0; size_of::<Rank>()];
    let length = bytes.len().min(padded.len());
    padded[..length].copy_from_slice(&bytes[..length]);
    Rank::from_be_bytes(padded)
}
