//! Functions that make something as long as a number says: `repeat`, `lpad`, `rpad`, `range` and their like fail where the
//! result would be larger than memory should be, before they make it.
//!
//! One value may have 64 MiB. All values of a batch may have 1 GiB, beyond which offsets would soon not fit; so only
//! batches of very large values know how many rows they have.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion_common::{ExprSchema, Result, ScalarValue, exec_err};
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

const VALUE_BYTES_MAX: i128 = 64 << 20;
const BATCH_BYTES_MAX: i128 = 1 << 30;
/// What an element of a list takes at least.
const ELEMENT_BYTES: i128 = 8;

/// How long the result of a function is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Length {
    /// A text so many times.
    Times,
    /// So many characters.
    Characters,
    /// So many elements.
    Elements,
    /// So many elements, and no negative number of them.
    Size,
    /// From a number to another by steps.
    Steps,
}

/// `function` with a limit, if it makes something as long as a number says; else as it is.
pub(crate) fn bounded(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    let length = match function.name() {
        "repeat" => Length::Times,
        "lpad" | "rpad" => Length::Characters,
        "array_repeat" => Length::Elements,
        "array_resize" => Length::Size,
        "range" | "generate_series" => Length::Steps,
        _ => return function,
    };
    Arc::new(ScalarUDF::from(Bounded { inner: function, length }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    length: Length,
}

impl Bounded {
    /// Errors: a result, or all of a batch, would be too large.
    fn check(&self, args: &[ColumnarValue], rows: usize) -> Result<()> {
        // What is constant is one value for all rows until something needs a column.
        let rows = if args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_))) { 1 } else { rows };
        let Some(bytes) = self.bytes(args, rows)? else { return Ok(()) };
        let mut total = 0;
        for value in bytes {
            total += value;
            if value > VALUE_BYTES_MAX {
                return exec_err!("a value would have {} MiB, and 64 MiB is the most", value >> 20);
            }
            if total > BATCH_BYTES_MAX {
                return exec_err!("the values of {rows} rows would have more than 1 GiB");
            }
        }
        Ok(())
    }

    /// The least size of the result of each row. `None`: it is not made of whole numbers.
    fn bytes(&self, args: &[ColumnarValue], rows: usize) -> Result<Option<Vec<i128>>> {
        let elements = |n: &Int64Array| (0..rows).map(|row| positive(n, row) * ELEMENT_BYTES).collect();
        let number = |at: usize| args.get(at).map_or(Ok(None), |arg| integers(arg, rows));
        Ok(match self.length {
            Length::Times => {
                let (Some(text), Some(times)) = (args.first(), number(1)?) else { return Ok(None) };
                let lengths = lengths(text, rows)?;
                Some((0..rows).map(|row| lengths[row] * positive(&times, row)).collect())
            }
            Length::Characters => number(1)?.map(|n| (0..rows).map(|row| positive(&n, row)).collect()),
            Length::Elements => number(1)?.map(|n| elements(&n)),
            Length::Size => {
                let Some(sizes) = number(1)? else { return Ok(None) };
                if let Some(size) = sizes.iter().flatten().find(|size| *size < 0) {
                    return exec_err!("a list cannot have {size} elements");
                }
                Some(elements(&sizes))
            }
            Length::Steps => {
                let (first, second) = (number(0)?, number(1)?);
                let (Some(first), step) = (first, number(2)?) else { return Ok(None) };
                // With one argument it is the end, and the start is 0.
                let row = |row: usize| {
                    let value = |array: &Int64Array| i128::from(if array.is_valid(row) { array.value(row) } else { 0 });
                    let distance = second.as_ref().map_or(value(&first), |end| value(end) - value(&first));
                    let step = step.as_ref().map_or(1, &value);
                    if step == 0 { 0 } else { (distance / step).max(0) * ELEMENT_BYTES }
                };
                Some((0..rows).map(row).collect())
            }
        })
    }
}

/// The whole numbers of an argument; `None`: they are something else, as the times of `range` may be.
fn integers(arg: &ColumnarValue, rows: usize) -> Result<Option<Int64Array>> {
    let data_type = arg.data_type();
    if !data_type.is_integer() && data_type != DataType::Null {
        return Ok(None);
    }
    Ok(Some(cast(&arg.to_array(rows)?, &DataType::Int64)?.as_primitive::<Int64Type>().clone()))
}

fn positive(numbers: &Int64Array, row: usize) -> i128 {
    if numbers.is_valid(row) { i128::from(numbers.value(row).max(0)) } else { 0 }
}

/// The whole numbers with 0 for the negative ones.
fn not_negative(numbers: &ColumnarValue) -> Result<ColumnarValue> {
    let data_type = numbers.data_type();
    if !data_type.is_signed_integer() {
        return Ok(numbers.clone());
    }
    let clamped = |array: &ArrayRef| {
        let numbers: Int64Array = cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().unary(|n| n.max(0));
        cast(&numbers, &data_type)
    };
    Ok(match numbers {
        ColumnarValue::Array(array) => ColumnarValue::Array(clamped(array)?),
        ColumnarValue::Scalar(value) => {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&clamped(&value.to_array()?)?, 0)?)
        }
    })
}

/// The bytes of each text.
fn lengths(text: &ColumnarValue, rows: usize) -> Result<Vec<i128>> {
    let array: ArrayRef = cast(&text.to_array(rows)?, &DataType::Utf8View)?;
    let texts = array.as_string_view();
    Ok((0..rows).map(|row| if texts.is_valid(row) { texts.value(row).len() as i128 } else { 0 }).collect())
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    #[expect(deprecated)]
    fn is_nullable(&self, args: &[Expr], schema: &dyn ExprSchema) -> bool {
        self.inner.is_nullable(args, schema)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.simplify(args, info)
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&args.args, args.number_rows)?;
        // The function itself makes a huge size of a negative number of characters.
        if let (Length::Characters, Some(characters)) = (self.length, args.args.get_mut(1)) {
            *characters = not_negative(characters)?;
        }
        self.inner.invoke_with_args(args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}
