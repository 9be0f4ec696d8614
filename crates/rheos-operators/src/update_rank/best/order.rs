//! How the rows of a partition are ordered: by the columns of `ORDER BY`, ties by the remaining ones from the left.
//!
//! The first bytes of the order, as numbers, tell most rows apart. Only where they are alike the columns themselves are compared.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::PhysicalSortExpr;
use datafusion_physical_expr::expressions::Column;
use rheos_core::Result;

use crate::evaluation::{canonical_key, new_batch};
use crate::row_keys::{RowKeys, has_order};

/// Words of a prefix.
const WORDS: usize = 3;
const PREFIX_BYTES: usize = WORDS * size_of::<u64>();

/// The first bytes of the order of a row: a row whose prefix is smaller stands before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Prefix([u64; WORDS]);

impl Prefix {
    /// Behind shorter bytes come zeros: no order is the beginning of another.
    fn new(bytes: &[u8]) -> Self {
        let mut padded = [0; PREFIX_BYTES];
        let length = bytes.len().min(PREFIX_BYTES);
        padded[..length].copy_from_slice(&bytes[..length]);
        let (words, _) = padded.as_chunks();
        let mut prefix = [0; WORDS];
        prefix.iter_mut().zip(words).for_each(|(to, word)| *to = u64::from_be_bytes(*word));
        Self(prefix)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct RowOrder {
    /// What decides, in this order.
    columns: Vec<(usize, SortOptions)>,
    /// The first of them, which prefixes are made of.
    leading: RowKeys,
    /// So many of the first columns are in the prefix as a whole.
    whole: usize,
}

impl RowOrder {
    /// `None`: an expression of `ORDER BY` is no plain column, or a column is made of others.
    pub(super) fn columns(
        input: &Schema,
        partition_by: &[usize],
        order_by: &[PhysicalSortExpr],
    ) -> Option<Vec<(usize, SortOptions)>> {
        if !input.fields().iter().all(|field| is_plain(field.data_type())) {
            return None;
        }
        let ordered = |key: &PhysicalSortExpr| Some((key.expr.downcast_ref::<Column>()?.index(), key.options));
        let mut columns = order_by.iter().map(ordered).collect::<Option<Vec<_>>>()?;
        let decided: Vec<usize> = columns.iter().map(|(at, _)| *at).chain(partition_by.iter().copied()).collect();
        let rest = (0..input.fields().len()).filter(|at| !decided.contains(at));
        columns.extend(rest.map(|at| (at, SortOptions::default())));
        Some(columns)
    }

    /// By these [`columns`](Self::columns).
    pub(super) fn try_new(input: &Schema, columns: Vec<(usize, SortOptions)>) -> Result<Self> {
        let (mut leading, mut bytes, mut whole) = (vec![], 0, 0);
        for (at, options) in &columns {
            let field = input.field(*at);
            let width = encoded_width(field.data_type());
            if bytes >= PREFIX_BYTES || (width.is_none() && bytes > 0) {
                break;
            }
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), *at));
            leading.push((column, *options));
            bytes += width.unwrap_or(PREFIX_BYTES);
            whole += usize::from(width.is_some() && bytes <= PREFIX_BYTES);
        }
        Ok(Self { leading: RowKeys::try_new(leading, input)?, columns, whole })
    }

    pub(super) fn prefixes(&self, batch: &RecordBatch) -> Result<Vec<Prefix>> {
        let leading = self.leading.encode(batch)?;
        Ok((0..batch.num_rows()).map(|row| Prefix::new(leading.get(row))).collect())
    }

    /// Compares rows of equal prefixes, each a row of a batch.
    pub(super) fn compare_behind_prefix(&self, a: (&RecordBatch, usize), b: (&RecordBatch, usize)) -> Result<Ordering> {
        for (column, options) in &self.columns[self.whole..] {
            let compare = make_comparator(a.0.column(*column), b.0.column(*column), *options)?;
            let ordering = compare(a.1, b.1);
            if ordering.is_ne() {
                return Ok(ordering);
            }
        }
        Ok(Ordering::Equal)
    }
}

/// The rows with one value for both zeros and one for all NaN, which are equal.
pub(super) fn canonical(batch: RecordBatch) -> Result<RecordBatch> {
    if !batch.schema_ref().fields().iter().any(|field| field.data_type().is_floating()) {
        return Ok(batch);
    }
    let rows = batch.num_rows();
    let (schema, columns, _): (SchemaRef, Vec<ArrayRef>, usize) = batch.into_parts();
    new_batch(&schema, columns.into_iter().map(canonical_key).collect(), rows)
}

/// Whether values are in one piece, so that columns of them compare as their bytes do.
fn is_plain(data_type: &DataType) -> bool {
    let is_indirect = matches!(data_type, DataType::Dictionary(..) | DataType::RunEndEncoded(..) | DataType::Null);
    has_order(data_type) && !data_type.is_nested() && !is_indirect
}

/// Bytes of a value and whether it is null, where all values have as many.
fn encoded_width(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::Boolean => Some(2),
        other => other.primitive_width().map(|width| width + 1),
    }
}
