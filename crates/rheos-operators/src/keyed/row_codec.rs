//! Rows as bytes that give the rows back, in three parts: the key that they are kept under, what they are ordered by, and the rest.
//!
//! ```text
//!   auction │ bidder │ price      PARTITION BY auction ORDER BY price DESC
//!         7 │    100 │    30      ──►  key [7]   order [30, downwards]   rest [100]
//! ```
//! Bytes of the order followed by those of the rest compare as the rows do, ties broken by the remaining columns; equal bytes are
//! equal rows, which is how a change finds the row that it takes away. Each column is in one part only. Equal means equal as values:
//! -0.0 is 0.0 and all NaN are one, as in keys, and it is those that come back.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::SortOptions;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::{PhysicalExpr, PhysicalSortExpr};
use rheos_core::{Error, Result};

use crate::row_keys::{EncodedKeys, RowKeys, has_order};

/// See the module.
#[derive(Debug)]
pub(crate) struct RowCodec {
    key: RowKeys,
    order: RowKeys,
    rest: RowKeys,
    /// Of each column: the part that holds it, and its place there.
    places: Vec<(Part, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Key,
    Order,
    Rest,
}

/// The order and the rest of a row, as one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowBytes {
    bytes: Box<[u8]>,
    order_length: u32,
}

impl RowBytes {
    pub(crate) fn new(order: &[u8], rest: &[u8]) -> Self {
        Self { bytes: [order, rest].concat().into_boxed_slice(), order_length: order.len() as u32 }
    }

    pub(crate) fn order(&self) -> &[u8] {
        &self.bytes[..self.order_length as usize]
    }

    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.order_length as usize..]
    }

    /// Bytes, about, with its own place.
    pub(crate) fn size(&self) -> usize {
        size_of::<Self>() + self.bytes.len()
    }

    /// Ordered as the rows are.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl RowCodec {
    /// Rows of `input`, which has no weights, by some of its columns. Errors: `Invalid` for a column that cannot be compared.
    pub(crate) fn try_new(input: &SchemaRef, key: &[usize], order: &[PhysicalSortExpr]) -> Result<Self> {
        let mut places = vec![];
        let mut rest = vec![];
        for (at, field) in input.fields().iter().enumerate() {
            let ordered = order.iter().position(|o| o.expr.downcast_ref::<Column>().is_some_and(|c| c.index() == at));
            let place = match (key.iter().position(|k| *k == at), ordered) {
                (Some(place), _) => (Part::Key, place),
                (None, Some(place)) => (Part::Order, place),
                (None, None) => {
                    if !has_order(field.data_type()) {
                        return Err(incomparable(field.name(), field.data_type()));
                    }
                    rest.push(at);
                    (Part::Rest, rest.len() - 1)
                }
            };
            places.push(place);
        }
        let by = order.iter().map(|o| (Arc::clone(&o.expr), o.options)).collect();
        Ok(Self {
            key: columns(input, key)?,
            order: RowKeys::try_new(by, input)?,
            rest: columns(input, &rest)?,
            places,
        })
    }

    pub(crate) fn keys(&self, batch: &RecordBatch) -> Result<EncodedKeys> {
        self.key.encode(batch)
    }

    pub(crate) fn orders(&self, batch: &RecordBatch) -> Result<EncodedKeys> {
        self.order.encode(batch)
    }

    pub(crate) fn rests(&self, batch: &RecordBatch) -> Result<EncodedKeys> {
        self.rest.encode(batch)
    }

    /// The columns of rows that have been taken apart.
    pub(crate) fn columns<'a>(
        &self,
        keys: impl ExactSizeIterator<Item = &'a [u8]>,
        rows: impl ExactSizeIterator<Item = &'a RowBytes> + Clone,
    ) -> Result<Vec<ArrayRef>> {
        let key = self.key.decode(keys)?;
        let order = self.order.decode(rows.clone().map(RowBytes::order))?;
        let rest = self.rest.decode(rows.map(RowBytes::rest))?;
        let column = |(part, at): &(Part, usize)| match part {
            Part::Key => &key[*at],
            Part::Order => &order[*at],
            Part::Rest => &rest[*at],
        };
        Ok(self.places.iter().map(column).cloned().collect())
    }
}

/// Keys of plain columns.
fn columns(input: &Schema, at: &[usize]) -> Result<RowKeys> {
    let column = |at: &usize| {
        let expr: Arc<dyn PhysicalExpr> = Arc::new(Column::new(input.field(*at).name(), *at));
        (expr, SortOptions::default())
    };
    RowKeys::try_new(at.iter().map(column).collect(), input)
}

fn incomparable(name: &str, data_type: &arrow::datatypes::DataType) -> Error {
    Error::invalid(355, format!("column '{name}' has type {data_type}, whose values cannot be compared, but rows that change are found by all their columns"))
        .with_hint("leave the column out, or take a part of it, e.g. one field or element")
}
