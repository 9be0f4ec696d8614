//! The rows of a window in order, and their numbers.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use rheos_core::Result;

use super::{RankFunction, WindowRankSpec};
use crate::row_keys::{EncodedKeys, RowKeys, has_order};

/// What rows are sorted by: partition, order, and all that can break a tie, so that the result is a function of the
/// multiset of rows.
#[derive(Debug)]
pub(crate) struct RankKeys {
    partition: RowKeys,
    order: RowKeys,
    ties: RowKeys,
    function: RankFunction,
    limit: u64,
}

impl RankKeys {
    pub(crate) fn try_new(spec: &WindowRankSpec) -> Result<Self> {
        let order = spec.order_by.iter().map(|key| (Arc::clone(&key.expr), key.options));
        Ok(Self {
            partition: RowKeys::try_unordered(&spec.partition_by, &spec.input)?,
            order: RowKeys::try_new(order.collect(), &spec.input)?,
            ties: RowKeys::try_unordered(&tie_breakers(spec), &spec.input)?.exact(),
            function: spec.function,
            limit: spec.limit.unwrap_or(u64::MAX),
        })
    }
}

/// The columns that do not decide the order already. Of two equal floats the bits may differ, so they stay.
fn tie_breakers(spec: &WindowRankSpec) -> Vec<Arc<dyn PhysicalExpr>> {
    let decided = spec.partition_by.iter().chain(spec.order_by.iter().map(|key| &key.expr));
    let decided: Vec<usize> = decided.filter_map(|e| e.downcast_ref::<Column>()).map(Column::index).collect();
    let breaks_ties =
        |(i, data_type): &(usize, &DataType)| has_order(data_type) && (!decided.contains(i) || data_type.is_floating());
    let column = |i: usize, input: &Schema| Arc::new(Column::new(input.field(i).name(), i)) as Arc<dyn PhysicalExpr>;
    let types = spec.input.fields().iter().map(|f| f.data_type()).enumerate();
    types.filter(breaks_ties).map(|(i, _)| column(i, &spec.input)).collect()
}

/// A row as (batch, row).
pub(crate) type Place = (usize, usize);

/// Rows in order, and the place among them.
pub(crate) struct Ranking {
    function: RankFunction,
    limit: u64,
    partition: Vec<EncodedKeys>,
    order: Vec<EncodedKeys>,
    sorted: Vec<Place>,
    next: usize,
    /// Of the row before `next`.
    numbers: Numbers,
}

#[derive(Clone, Copy, Default)]
struct Numbers {
    row_number: u64,
    rank: u64,
    dense_rank: u64,
}

impl Ranking {
    pub(crate) fn try_new(keys: &RankKeys, batches: &[RecordBatch]) -> Result<Self> {
        let encode = |keys: &RowKeys| batches.iter().map(|b| keys.encode(b)).collect::<Result<Vec<_>>>();
        let (partition, order, ties) = (encode(&keys.partition)?, encode(&keys.order)?, encode(&keys.ties)?);
        let rows = batches.iter().map(RecordBatch::num_rows).enumerate();
        let mut sorted: Vec<Place> = rows.flat_map(|(b, rows)| (0..rows).map(move |row| (b, row))).collect();
        let key = |(b, row): Place| (partition[b].get(row), order[b].get(row), ties[b].get(row));
        sorted.sort_unstable_by(|a, b| key(*a).cmp(&key(*b)));
        let (function, limit) = (keys.function, keys.limit);
        Ok(Self { function, limit, partition, order, sorted, next: 0, numbers: Numbers::default() })
    }

    /// The next rows and their numbers, `rows_max` at most. None: that was all.
    pub(crate) fn take(&mut self, rows_max: usize) -> (Vec<Place>, Vec<u64>) {
        let (mut places, mut numbers) = (vec![], vec![]);
        while self.next < self.sorted.len() && places.len() < rows_max {
            let number = self.advance();
            if number <= self.limit {
                places.push(self.sorted[self.next - 1]);
                numbers.push(number);
            }
        }
        (places, numbers)
    }

    fn advance(&mut self) -> u64 {
        let (batch, row) = self.sorted[self.next];
        let before = self.next.checked_sub(1).map(|i| self.sorted[i]);
        let same = |keys: &[EncodedKeys]| before.is_some_and(|(b, r)| keys[b].get(r) == keys[batch].get(row));
        let numbers = if same(&self.partition) { self.numbers } else { Numbers::default() };
        let row_number = numbers.row_number + 1;
        self.numbers = if row_number > 1 && same(&self.order) {
            Numbers { row_number, ..numbers }
        } else {
            Numbers { row_number, rank: row_number, dense_rank: numbers.dense_rank + 1 }
        };
        self.next += 1;
        match self.function {
            RankFunction::RowNumber => self.numbers.row_number,
            RankFunction::Rank => self.numbers.rank,
            RankFunction::DenseRank => self.numbers.dense_rank,
        }
    }
}
