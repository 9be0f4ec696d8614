//! Values of several columns as bytes that are equal, and ordered, as the values are: for hash tables and for sorting.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use rheos_core::Result;

use crate::evaluation::{canonical_key, coerce, evaluate, plan_error};

/// Whether columns of this type can be compared.
pub(crate) fn has_order(data_type: &DataType) -> bool {
    RowConverter::supports_fields(&[SortField::new(data_type.clone())])
}

/// Expressions whose values are turned into bytes. None at all: every row has the same, empty key.
#[derive(Debug)]
pub(crate) struct RowKeys {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    types: Vec<DataType>,
    converter: Option<RowConverter>,
    is_exact: bool,
}

impl RowKeys {
    /// Errors: `Invalid` or `User` for a type that cannot be compared; see [`has_order`].
    pub(crate) fn try_new(keys: Vec<(Arc<dyn PhysicalExpr>, SortOptions)>, input: &Schema) -> Result<Self> {
        let mut types = vec![];
        for (expr, _) in &keys {
            types.push(expr.data_type(input).map_err(plan_error)?);
        }
        let fields = keys.iter().zip(&types).map(|((_, o), t)| SortField::new_with_options(t.clone(), *o));
        let converter = if keys.is_empty() { None } else { Some(RowConverter::new(fields.collect())?) };
        Ok(Self { exprs: keys.into_iter().map(|(expr, _)| expr).collect(), types, converter, is_exact: false })
    }

    /// Keys that are only compared for equality.
    pub(crate) fn try_unordered(exprs: &[Arc<dyn PhysicalExpr>], input: &Schema) -> Result<Self> {
        Self::try_new(exprs.iter().map(|e| (Arc::clone(e), SortOptions::default())).collect(), input)
    }

    /// Keys of plain columns.
    pub(crate) fn of_columns(input: &Schema, at: &[usize]) -> Result<Self> {
        let column = |at: &usize| Arc::new(Column::new(input.field(*at).name(), *at)) as Arc<dyn PhysicalExpr>;
        Self::try_unordered(&at.iter().map(column).collect::<Vec<_>>(), input)
    }

    /// Keys that differ wherever bits do: -0.0 comes before 0.0.
    pub(crate) fn exact(self) -> Self {
        Self { is_exact: true, ..self }
    }

    /// The values of the expressions. -0.0 is 0.0 and all NaN are one, as in the key hash, unless the keys are [exact](Self::exact).
    pub(crate) fn values(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let value = |(expr, t)| {
            let value = coerce(evaluate(expr, batch)?, t)?;
            Ok(if self.is_exact { value } else { canonical_key(value) })
        };
        self.exprs.iter().zip(&self.types).map(value).collect()
    }

    /// The keys of the rows with these [`values`](Self::values).
    pub(crate) fn encode_values(&self, values: &[ArrayRef]) -> Result<EncodedKeys> {
        Ok(EncodedKeys(self.converter.as_ref().map(|c| c.convert_columns(values)).transpose()?))
    }

    /// The values of keys.
    pub(crate) fn decode<'a>(&self, keys: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let Some(converter) = &self.converter else { return Ok(vec![]) };
        let parser = converter.parser();
        let values = converter.convert_rows(keys.into_iter().map(|key| parser.parse(key)))?;
        values.into_iter().zip(&self.types).map(|(column, t)| coerce(column, t)).collect()
    }

    /// The keys of a batch's rows.
    pub(crate) fn encode(&self, batch: &RecordBatch) -> Result<EncodedKeys> {
        self.encode_values(&self.values(batch)?)
    }

    /// No keys yet, for [`append`](Self::append).
    pub(crate) fn none(&self) -> EncodedKeys {
        EncodedKeys(self.converter.as_ref().map(|c| c.empty_rows(0, 0)))
    }

    /// Adds the keys of more rows.
    pub(crate) fn append(&self, keys: &mut EncodedKeys, values: &[ArrayRef]) -> Result<()> {
        if let (Some(converter), Some(rows)) = (&self.converter, &mut keys.0) {
            converter.append(rows, values)?;
        }
        Ok(())
    }
}

/// The keys of a number of rows.
#[derive(Debug)]
pub(crate) struct EncodedKeys(Option<Rows>);

impl EncodedKeys {
    pub(crate) fn get(&self, row: usize) -> &[u8] {
        self.0.as_ref().map_or(&[], |rows| rows.row(row).data())
    }
}

/// Which rows have no null among their values; `None`: all of them.
pub(crate) fn complete_rows(values: &[ArrayRef]) -> Option<NullBuffer> {
    let nulls =
        values.iter().fold(None, |nulls, column| NullBuffer::union(nulls.as_ref(), column.logical_nulls().as_ref()));
    nulls.filter(|nulls| nulls.null_count() > 0)
}
