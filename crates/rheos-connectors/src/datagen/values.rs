//! The values of one column for a range of rows.

use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Decimal128Array, PrimitiveArray, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Field, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use rheos_core::{Error, Result};

use super::random::RandomStream;
use super::spec::{ColumnSpec, Rule};

impl ColumnSpec {
    /// The values of `rows` in the type of `field`.
    ///
    /// Errors: `User` if a sequence leaves the range of its type.
    pub(super) fn array(&self, field: &Field, rows: Range<u64>) -> Result<ArrayRef> {
        use DataType::*;
        let nulls = self.null_buffer(&rows);
        let array: ArrayRef = match field.data_type() {
            Boolean => Arc::new(BooleanArray::new(rows.map(|r| self.values.at(r) >> 63 == 1).collect(), nulls)),
            Int8 => self.integers::<Int8Type>(field, rows, nulls)?,
            Int16 => self.integers::<Int16Type>(field, rows, nulls)?,
            Int32 => self.integers::<Int32Type>(field, rows, nulls)?,
            Int64 => self.integers::<Int64Type>(field, rows, nulls)?,
            UInt8 => self.integers::<UInt8Type>(field, rows, nulls)?,
            UInt16 => self.integers::<UInt16Type>(field, rows, nulls)?,
            UInt32 => self.integers::<UInt32Type>(field, rows, nulls)?,
            UInt64 => self.integers::<UInt64Type>(field, rows, nulls)?,
            Date32 => self.integers::<Date32Type>(field, rows, nulls)?,
            Timestamp(_, zone) => {
                let times = self.whole::<i64>(field, rows)?;
                Arc::new(TimestampMicrosecondArray::new(times.into(), nulls).with_timezone_opt(zone.clone()))
            }
            Decimal128(precision, scale) => {
                let numbers = self.whole::<i128>(field, rows)?;
                let array = Decimal128Array::new(numbers.into(), nulls).with_precision_and_scale(*precision, *scale);
                let array = array.and_then(|a| a.validate_decimal_precision(*precision).map(|()| a));
                Arc::new(array.map_err(|_| self.out_of_range(field))?)
            }
            Float32 | Float64 => {
                let values = PrimitiveArray::<Float64Type>::new(self.floats(rows).into(), nulls);
                cast(&values, field.data_type())?
            }
            Utf8 | Utf8View | LargeUtf8 | Binary | BinaryView | LargeBinary => {
                cast(&self.texts(field, rows, nulls)?, field.data_type())?
            }
            other => return Err(Error::internal(format!("datagen was asked for a column of type {other}"))),
        };
        Ok(array)
    }

    fn null_buffer(&self, rows: &Range<u64>) -> Option<NullBuffer> {
        (self.null_rate > 0.0).then(|| rows.clone().map(|r| self.nulls.unit(r) >= self.null_rate).collect())
    }

    fn out_of_range(&self, field: &Field) -> Error {
        let (name, data_type) = (field.name(), field.data_type());
        Error::user(format!("the sequence of column '{name}' has left the range of {data_type}"))
            .with_hint(format!("give it an end: 'fields.{name}.end' = '...', or a wider type"))
    }

    fn integers<T: ArrowPrimitiveType>(
        &self,
        field: &Field,
        rows: Range<u64>,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef>
    where
        T::Native: TryFrom<i128>,
    {
        Ok(Arc::new(PrimitiveArray::<T>::new(self.whole::<T::Native>(field, rows)?.into(), nulls)))
    }

    /// Whole numbers by the column's rule.
    fn whole<N: TryFrom<i128>>(&self, field: &Field, rows: Range<u64>) -> Result<Vec<N>> {
        let draw = self.values;
        let narrow = |v: i128| N::try_from(v).map_err(|_| self.out_of_range(field));
        match self.rule {
            Rule::Sequence { start, step } => rows.map(|r| narrow(start + i128::from(r) * step)).collect(),
            Rule::Past { start, step, max_past } => {
                rows.map(|r| narrow(start + i128::from(r) * step - below(draw, r, max_past))).collect()
            }
            Rule::Whole { min, max } => {
                let span = max - min;
                rows.map(|r| narrow(min + below(draw, r, span))).collect()
            }
            _ => Err(Error::internal("a column of whole numbers has another rule")),
        }
    }

    fn floats(&self, rows: Range<u64>) -> Vec<f64> {
        match self.rule {
            Rule::FloatSequence { start, step } => rows.map(|r| start + r as f64 * step).collect(),
            Rule::Float { min, max } => {
                // Not `min + unit * (max - min)`: the difference of two large numbers may be infinite.
                rows.map(|r| self.values.unit(r)).map(|u| min * (1.0 - u) + max * u).collect()
            }
            _ => vec![f64::NAN; (rows.end - rows.start) as usize],
        }
    }

    /// Texts and bytes: letters and bytes of one length, or the numbers of a sequence.
    fn texts(&self, field: &Field, rows: Range<u64>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let Rule::Text { length } = self.rule else {
            let mut texts = StringBuilder::new();
            for (i, number) in self.whole::<i64>(field, rows)?.into_iter().enumerate() {
                if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
                    texts.append_null();
                } else {
                    let _ = write!(texts, "{number}");
                    texts.append_value("");
                }
            }
            return Ok(Arc::new(texts.finish()));
        };
        let count = (rows.end - rows.start) as usize;
        let mut bytes = Vec::with_capacity(count * length + 8);
        let is_text = matches!(field.data_type(), DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8);
        for row in rows {
            if is_text {
                self.values.letters(row, length, &mut bytes);
            } else {
                self.values.bytes(row, length, &mut bytes);
            }
        }
        let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(length, count));
        let array = BinaryArray::try_new(offsets, bytes.into(), nulls)?;
        Ok(if is_text { cast(&array, &DataType::Utf8)? } else { Arc::new(array) })
    }
}

/// Draw `i` as one of `0..=span`.
fn below(draw: RandomStream, i: u64, span: i128) -> i128 {
    match u64::try_from(span) {
        Ok(u64::MAX) => i128::from(draw.at(i)),
        Ok(span) => i128::from(draw.below(i, span + 1)),
        // Of 2^128 even numbers the rest of a division by less than 2^128 is as good as even for these spans.
        Err(_) => (draw.wide(i) % (span.unsigned_abs() + 1)) as i128,
    }
}
