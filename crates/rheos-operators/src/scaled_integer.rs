//! A whole number times a decimal constant, as in `0.908 * price`, in one pass.
//!
//! ```text
//!   CAST(0.908 * CAST(price AS DECIMAL(20, 0)) AS DECIMAL(23, 3))   ──►   price * 908, at scale 3
//! ```
//!
//! Arrow makes a column for each step and checks every value of each against its precision. Where the largest integer
//! times the constant fits the result, no value can be out of range: one column is made and nothing is checked.
//! Where it might not fit, the expression is left as it is, with its checks.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array};
use arrow::datatypes::{
    DataType, Decimal128Type, DecimalType, Int8Type, Int16Type, Int32Type, Int64Type, Schema, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::record_batch::RecordBatch;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Result as DfResult, ScalarValue, internal_err};
use datafusion_expr::{ColumnarValue, Operator};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, CastExpr, Literal};

/// The expression over rows of `schema` with every such product in one pass. Its text stays what it was.
///
/// Errors: an expression whose type cannot be told.
pub fn scaled_integers(expr: Arc<dyn PhysicalExpr>, schema: &Schema) -> DfResult<Arc<dyn PhysicalExpr>> {
    expr.transform_up(|e| match product(&e, schema)?.or(widened(&e)) {
        Some(scaled) => Ok(Transformed::yes(Arc::new(scaled) as Arc<dyn PhysicalExpr>)),
        None => Ok(Transformed::no(e)),
    })
    .data()
}

/// `constant * CAST(integer AS DECIMAL)`, or the other way round.
fn product(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> DfResult<Option<ScaledInteger>> {
    let Some(binary) = expr.downcast_ref::<BinaryExpr>() else { return Ok(None) };
    if *binary.op() != Operator::Multiply {
        return Ok(None);
    }
    let sides = [(binary.left(), binary.right()), (binary.right(), binary.left())];
    let found = sides.iter().find_map(|(constant, number)| Some((decimal(constant)?, integer_cast(number)?)));
    let Some((factor, integer)) = found else { return Ok(None) };
    let DataType::Decimal128(precision, scale) = binary.data_type(schema)? else { return Ok(None) };
    let Some(largest) = largest(&integer.data_type(schema)?) else { return Ok(None) };
    let scaled = ScaledInteger { integer, factor, largest, precision, scale, shown: Arc::clone(expr) };
    Ok(scaled.always_fits().then_some(scaled))
}

/// A product that is cast to another precision of the same scale.
fn widened(expr: &Arc<dyn PhysicalExpr>) -> Option<ScaledInteger> {
    let cast = expr.downcast_ref::<CastExpr>()?;
    let product = cast.expr().downcast_ref::<ScaledInteger>()?;
    let DataType::Decimal128(precision, scale) = *cast.cast_type() else { return None };
    let scaled = ScaledInteger { precision, shown: Arc::clone(expr), ..product.clone() };
    (scale == product.scale && scaled.always_fits()).then_some(scaled)
}

fn decimal(expr: &Arc<dyn PhysicalExpr>) -> Option<i128> {
    match expr.downcast_ref::<Literal>()?.value() {
        ScalarValue::Decimal128(Some(value), ..) => Some(*value),
        _ => None,
    }
}

/// What is cast to a decimal without digits behind the point.
fn integer_cast(expr: &Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
    let cast = expr.downcast_ref::<CastExpr>()?;
    matches!(cast.cast_type(), DataType::Decimal128(20.., 0)).then(|| Arc::clone(cast.expr()))
}

/// The largest absolute value of an integer type.
fn largest(data_type: &DataType) -> Option<i128> {
    Some(match data_type {
        DataType::Int8 => i128::from(i8::MIN).abs(),
        DataType::Int16 => i128::from(i16::MIN).abs(),
        DataType::Int32 => i128::from(i32::MIN).abs(),
        DataType::Int64 => i128::from(i64::MIN).abs(),
        DataType::UInt8 => u8::MAX.into(),
        DataType::UInt16 => u16::MAX.into(),
        DataType::UInt32 => u32::MAX.into(),
        DataType::UInt64 => u64::MAX.into(),
        _ => return None,
    })
}

/// See the module.
#[derive(Debug, Clone)]
struct ScaledInteger {
    integer: Arc<dyn PhysicalExpr>,
    factor: i128,
    largest: i128,
    precision: u8,
    scale: i8,
    /// What it stands for, for its text.
    shown: Arc<dyn PhysicalExpr>,
}

impl ScaledInteger {
    fn always_fits(&self) -> bool {
        let product = self.factor.checked_mul(self.largest);
        product.is_some_and(|p| Decimal128Type::is_valid_decimal_precision(p, self.precision))
            && product.and_then(i128::checked_neg).is_some()
    }

    fn multiply<T: ArrowPrimitiveType<Native: Into<i128>>>(&self, integers: &ArrayRef) -> DfResult<Decimal128Array> {
        // It fits (see `always_fits`), so this cannot wrap around.
        let values = integers.as_primitive::<T>().unary::<_, Decimal128Type>(|v| v.into() * self.factor);
        Ok(values.with_precision_and_scale(self.precision, self.scale)?)
    }
}

impl PartialEq for ScaledInteger {
    fn eq(&self, other: &Self) -> bool {
        let numbers = |s: &Self| (s.factor, s.precision, s.scale);
        numbers(self) == numbers(other) && self.integer.eq(&other.integer)
    }
}

impl Eq for ScaledInteger {}

impl Hash for ScaledInteger {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.integer.hash(state);
        (self.factor, self.precision, self.scale).hash(state);
    }
}

impl fmt::Display for ScaledInteger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(f)
    }
}

impl PhysicalExpr for ScaledInteger {
    fn data_type(&self, _schema: &Schema) -> DfResult<DataType> {
        Ok(DataType::Decimal128(self.precision, self.scale))
    }

    fn nullable(&self, schema: &Schema) -> DfResult<bool> {
        self.integer.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> DfResult<ColumnarValue> {
        let integers = self.integer.evaluate(batch)?.into_array(batch.num_rows())?;
        let decimals = match integers.data_type() {
            DataType::Int8 => self.multiply::<Int8Type>(&integers)?,
            DataType::Int16 => self.multiply::<Int16Type>(&integers)?,
            DataType::Int32 => self.multiply::<Int32Type>(&integers)?,
            DataType::Int64 => self.multiply::<Int64Type>(&integers)?,
            DataType::UInt8 => self.multiply::<UInt8Type>(&integers)?,
            DataType::UInt16 => self.multiply::<UInt16Type>(&integers)?,
            DataType::UInt32 => self.multiply::<UInt32Type>(&integers)?,
            DataType::UInt64 => self.multiply::<UInt64Type>(&integers)?,
            other => return internal_err!("{other} is no integer type"),
        };
        Ok(ColumnarValue::Array(Arc::new(decimals)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.integer]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> DfResult<Arc<dyn PhysicalExpr>> {
        match children.pop() {
            Some(integer) => Ok(Arc::new(Self { integer, ..self.as_ref().clone() })),
            None => internal_err!("a product of an integer has one child"),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt_sql(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, Int64Array};
    use arrow::datatypes::Field;
    use datafusion_physical_expr::expressions::Column;
    use proptest::prelude::*;

    fn rows(values: Vec<Option<i64>>) -> RecordBatch {
        RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(values)) as ArrayRef)]).unwrap()
    }

    /// `CAST(constant * CAST(a AS DECIMAL(20, 0)) AS DECIMAL(precision, scale))`.
    fn expression(constant: (i128, u8, i8), to: (u8, i8), swapped: bool) -> Arc<dyn PhysicalExpr> {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new("a", 0));
        let number: Arc<dyn PhysicalExpr> = Arc::new(CastExpr::new(column, DataType::Decimal128(20, 0), None));
        let value = ScalarValue::Decimal128(Some(constant.0), constant.1, constant.2);
        let constant: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(value));
        let (left, right) = if swapped { (number, constant) } else { (constant, number) };
        let product = BinaryExpr::new(left, Operator::Multiply, right).with_fail_on_overflow(true);
        Arc::new(CastExpr::new(Arc::new(product), DataType::Decimal128(to.0, to.1), None))
    }

    fn evaluate(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Option<ArrayRef> {
        expr.evaluate(batch).and_then(|v| v.into_array(batch.num_rows())).ok()
    }

    #[test]
    fn what_always_fits_is_one_pass_and_what_may_not_is_left() {
        let schema = Schema::new(vec![Field::new("a", DataType::Int64, true)]);
        let is_scaled = |constant, to| {
            let expr = expression(constant, to, false);
            let scaled = scaled_integers(Arc::clone(&expr), &schema).unwrap();
            assert_eq!(scaled.to_string(), expr.to_string());
            assert_eq!(scaled.data_type(&schema).unwrap(), expr.data_type(&schema).unwrap());
            scaled.downcast_ref::<ScaledInteger>().is_some()
        };
        assert!(is_scaled((908, 3, 3), (23, 3)));
        assert!(!is_scaled((908, 3, 3), (20, 3)), "9.2e18 * 908 has 22 digits");
        assert!(!is_scaled((908, 3, 3), (23, 2)), "rounding is Arrow's");
    }

    proptest! {
        #[test]
        fn the_values_are_arrows(
            values in prop::collection::vec(prop::option::of(prop_oneof![any::<i64>(), -1000i64..1000]), 0..20),
            constant in -99_999i128..99_999, precision in 5u8..39, swapped: bool,
        ) {
            let batch = rows(values);
            let expr = expression((constant, 5, 3), (precision, 3), swapped);
            let scaled = scaled_integers(Arc::clone(&expr), &batch.schema()).unwrap();
            let (ours, theirs) = (evaluate(&scaled, &batch), evaluate(&expr, &batch));
            prop_assert_eq!(ours.is_some(), theirs.is_some());
            if let (Some(ours), Some(theirs)) = (ours, theirs) {
                prop_assert_eq!(ours.to_data(), theirs.to_data());
            }
        }
    }
}
