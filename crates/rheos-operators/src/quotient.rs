//! Division of decimals, rounded and with enough digits: DataFusion gives four more than the dividend has and cuts the
//! rest off.
//!
//! ```text
//!   DECIMAL(p1, s1) / DECIMAL(p2, s2)   has   s = max(6, s1 + p2 + 1) digits behind the point
//!                                       and   p1 - s1 + s2 + s digits in all
//! ```
//!
//! That is the rule of Flink and SQL Server. Where it gives more than 38 digits, those behind the point make way, down to
//! six. What is cut off is rounded half away from zero. The type is known while a query is planned ([`Quotient`] as a
//! function); for the rows [`exact_quotients`] makes an expression of it that is shown as it was written.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use arrow::datatypes::{
    ArrowNativeTypeOp, DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, DecimalType, Schema, i256,
};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Result as DfResult, ScalarValue, internal_err};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};

/// Digits behind the point that a result has at least.
const SCALE_MIN: i16 = 6;

/// The decimal type in which a number is divided; `None`: it is no exact number, or has more than 38 digits.
pub fn operand_type(data_type: &DataType) -> Option<DataType> {
    use DataType::{Decimal32, Decimal64, Decimal128, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64};
    let (precision, scale) = match data_type {
        Int8 | UInt8 => (3, 0),
        Int16 | UInt16 => (5, 0),
        Int32 | UInt32 => (10, 0),
        Int64 => (19, 0),
        UInt64 => (20, 0),
        Decimal32(p, s) | Decimal64(p, s) | Decimal128(p, s) if *s >= 0 => (*p, *s),
        _ => return None,
    };
    Some(DataType::Decimal128(precision, scale))
}

/// `left / right` of two decimals as a call of [`Quotient`].
pub fn quotient(left: Expr, right: Expr) -> Expr {
    let function = ScalarUDF::new_from_impl(Quotient { signature: Signature::any(2, Volatility::Immutable) });
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), vec![left, right]))
}

/// The type of a quotient; see the module.
fn quotient_type(left: &DataType, right: &DataType) -> Option<(u8, i8)> {
    let (DataType::Decimal128(p1, s1), DataType::Decimal128(p2, s2)) = (operand_type(left)?, operand_type(right)?)
    else {
        return None;
    };
    let scale = SCALE_MIN.max(i16::from(s1) + i16::from(p2) + 1);
    limited(i16::from(p1) - i16::from(s1) + i16::from(s2), scale)
}

/// A type with `whole` digits before the point and `scale` behind it, which make way down to six where there is no room.
pub(crate) fn limited(whole: i16, scale: i16) -> Option<(u8, i8)> {
    let most = i16::from(DECIMAL128_MAX_PRECISION);
    let (precision, scale) = match whole + scale {
        all if all <= most => (all, scale),
        _ => (most, (most - whole).max(scale.min(SCALE_MIN))),
    };
    Some((u8::try_from(precision).ok()?, i8::try_from(scale).ok()?))
}

/// `dividend / divisor`, rounded half away from zero. `None`: the divisor is zero.
pub(crate) fn rounded(dividend: i256, divisor: i256) -> Option<i256> {
    let quotient = dividend.checked_div(divisor)?;
    let rest = dividend.checked_rem(divisor)?.wrapping_abs();
    // Twice the rest could be too large; what is missing to the divisor cannot.
    if rest < divisor.wrapping_abs().wrapping_sub(rest) {
        return Some(quotient);
    }
    let one = if dividend.is_negative() == divisor.is_negative() { i256::ONE } else { i256::MINUS_ONE };
    Some(quotient.wrapping_add(one))
}

/// 10 to the power of a number of digits. `None`: there are more than 76.
pub(crate) fn power_of_ten(digits: i16) -> Option<i256> {
    i256::from_i128(10).pow_checked(u32::try_from(digits).ok()?).ok()
}

/// The function; see the module. A program cannot name it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Quotient {
    signature: Signature,
}

impl ScalarUDFImpl for Quotient {
    fn name(&self) -> &str {
        "quotient"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn display_name(&self, args: &[Expr]) -> DfResult<String> {
        match args {
            [left, right] => Ok(format!("{left} / {right}")),
            _ => internal_err!("a quotient has two sides"),
        }
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        match types {
            [DataType::Null, _] | [_, DataType::Null] => Ok(DataType::Null),
            [left, right] => match quotient_type(left, right) {
                Some((precision, scale)) => Ok(DataType::Decimal128(precision, scale)),
                None => internal_err!("there is no quotient of {left} and {right}"),
            },
            _ => internal_err!("a quotient has two sides"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let [left, right] = args.args.as_slice() else { return internal_err!("a quotient has two sides") };
        let constant = matches!((left, right), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let values = divided(left, right, rows)?;
        match constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)),
            false => Ok(ColumnarValue::Array(values)),
        }
    }
}

/// The quotient of each row. Errors: a divisor is zero, or a quotient has too many digits.
fn divided(left: &ColumnarValue, right: &ColumnarValue, rows: usize) -> DfResult<ArrayRef> {
    let decimals = |side: &ColumnarValue| -> DfResult<Decimal128Array> {
        let Some(wanted) = operand_type(&side.data_type()) else {
            return internal_err!("{} cannot be divided", side.data_type());
        };
        Ok(side.cast_to(&wanted, None)?.into_array(rows)?.as_primitive::<Decimal128Type>().clone())
    };
    let (left, right) = (decimals(left)?, decimals(right)?);
    let Some((precision, scale)) = quotient_type(left.data_type(), right.data_type()) else {
        return internal_err!("there is no quotient of {} and {}", left.data_type(), right.data_type());
    };
    // Not negative: a scale that was limited leaves all digits of the dividend in front of the point.
    let shift = i16::from(scale) + i16::from(right.scale()) - i16::from(left.scale());
    let factor = power_of_ten(shift);
    let quotient = |row: usize| {
        let (dividend, divisor) = (i256::from_i128(left.value(row)), i256::from_i128(right.value(row)));
        if divisor == i256::ZERO {
            return Err(ArrowError::DivideByZero);
        }
        // Where the product is too large the quotient is as well: the divisor has 38 digits.
        let value = match dividend == i256::ZERO {
            true => Some(i256::ZERO),
            false => factor.and_then(|f| dividend.checked_mul(f)).and_then(|d| rounded(d, divisor)),
        };
        let value =
            value.and_then(|v| v.to_i128()).filter(|v| Decimal128Type::is_valid_decimal_precision(*v, precision));
        value.ok_or_else(|| {
            let (a, b) = (left.value_as_string(row), right.value_as_string(row));
            ArrowError::ArithmeticOverflow(format!("Overflow happened on: {a} / {b}"))
        })
    };
    let row = |row: usize| (left.is_valid(row) && right.is_valid(row)).then(|| quotient(row)).transpose();
    let values = (0..rows).map(row).collect::<Result<Decimal128Array, _>>()?;
    Ok(Arc::new(values.with_precision_and_scale(precision, scale)?))
}

/// The expression with every call of [`Quotient`] as an expression of its own, which is shown as `a / b`.
///
/// Errors: none that the expression had not before.
pub fn exact_quotients(expr: Arc<dyn PhysicalExpr>) -> DfResult<Arc<dyn PhysicalExpr>> {
    expr.transform_up(|e| {
        let call = e.downcast_ref::<ScalarFunctionExpr>().filter(|call| call.fun().inner().is::<Quotient>());
        match call.map(ScalarFunctionExpr::args) {
            Some([left, right]) => {
                let (left, right) = (Arc::clone(left), Arc::clone(right));
                Ok(Transformed::yes(Arc::new(Division { left, right }) as Arc<dyn PhysicalExpr>))
            }
            _ => Ok(Transformed::no(e)),
        }
    })
    .data()
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Division {
    left: Arc<dyn PhysicalExpr>,
    right: Arc<dyn PhysicalExpr>,
}

impl PartialEq for Division {
    fn eq(&self, other: &Self) -> bool {
        self.left.eq(&other.left) && self.right.eq(&other.right)
    }
}

impl Eq for Division {}

impl Hash for Division {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.left.hash(state);
        self.right.hash(state);
    }
}

impl fmt::Display for Division {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {}", self.left, self.right)
    }
}

impl PhysicalExpr for Division {
    fn data_type(&self, schema: &Schema) -> DfResult<DataType> {
        let (left, right) = (self.left.data_type(schema)?, self.right.data_type(schema)?);
        match quotient_type(&left, &right) {
            Some((precision, scale)) => Ok(DataType::Decimal128(precision, scale)),
            None => internal_err!("there is no quotient of {left} and {right}"),
        }
    }

    fn nullable(&self, schema: &Schema) -> DfResult<bool> {
        Ok(self.left.nullable(schema)? || self.right.nullable(schema)?)
    }

    fn evaluate(&self, batch: &RecordBatch) -> DfResult<ColumnarValue> {
        let (left, right) = (self.left.evaluate(batch)?, self.right.evaluate(batch)?);
        Ok(ColumnarValue::Array(divided(&left, &right, batch.num_rows())?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.left, &self.right]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> DfResult<Arc<dyn PhysicalExpr>> {
        match (children.pop(), children.pop()) {
            (Some(right), Some(left)) => Ok(Arc::new(Self { left, right })),
            _ => internal_err!("a quotient has two sides"),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.left.fmt_sql(f)?;
        f.write_str(" / ")?;
        self.right.fmt_sql(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand, from the rule in the module's text.
    #[test]
    fn types_follow_the_rule() {
        let decimal = DataType::Decimal128;
        let cases = [
            (DataType::Int32, decimal(2, 1), (17, 6)),
            (decimal(5, 2), decimal(5, 2), (13, 8)),
            (decimal(38, 10), decimal(3, 1), (38, 9)),
            (decimal(20, 0), decimal(38, 10), (38, 8)),
            (decimal(38, 0), decimal(38, 38), (38, 6)),
        ];
        for (left, right, expected) in cases {
            assert_eq!(quotient_type(&left, &right), Some(expected), "{left} / {right}");
        }
        assert_eq!(operand_type(&DataType::Float64), None);
    }

    #[test]
    fn halves_are_rounded_away_from_zero() {
        let cases = [(5, 2, 3), (-5, 2, -3), (5, -2, -3), (4, 3, 1), (5, 3, 2), (-4, 3, -1), (0, 7, 0)];
        for (a, b, expected) in cases {
            let quotient = rounded(i256::from_i128(a), i256::from_i128(b));
            assert_eq!(quotient, Some(i256::from_i128(expected)), "{a} / {b}");
        }
        assert_eq!(rounded(i256::ONE, i256::ZERO), None);
        assert_eq!(rounded(i256::MAX, i256::MAX), Some(i256::ONE));
    }
}
