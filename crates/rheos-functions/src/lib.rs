//! Scalar functions that programs for Flink call and DataFusion lacks, over whole Arrow arrays.
//!
//! ```text
//!   text    SPLIT_INDEX, REGEXP_EXTRACT, ..      url   PARSE_URL, URL_ENCODE, ..
//!   time    TIMESTAMPDIFF, TO_TIMESTAMP_LTZ, ..  json  JSON_VALUE, JSON_QUERY, ..
//!   maps    MAP_ENTRIES                            calendar  DATE_TRUNC and its like, for all years
//!   time_texts  TO_CHAR, once for rows of one text
//! ```
//!
//! They are a crate of their own because they run once a row, while the planner, which finds them by name, runs once a job.
//!
//! Invariants: the result depends on the arguments only, a NULL argument gives NULL unless the function says otherwise,
//! and a value that does not fit (a malformed text, a number out of range) gives NULL and never ends the job.

pub mod calendar;
mod json;
pub mod json_make;
pub mod json_path;
mod last_group;
mod maps;
mod text;
pub mod time;
pub mod time_texts;
pub mod url;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, LargeStringArray, StringArray, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion_common::types::{NativeType, logical_int64, logical_string};
use datafusion_common::{DataFusionError, Result as DfResult, ScalarValue};
use datafusion_expr::{
    Coercion, ColumnarValue, DocSection, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, TypeSignature, TypeSignatureClass, Volatility,
};

/// All functions of this crate.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    let all = [
        text::functions(),
        url::functions(),
        time::functions(),
        json::functions(),
        json_make::functions(),
        maps::functions(),
    ];
    all.into_iter().flatten().map(|f| Arc::new(ScalarUDF::new_from_impl(f))).collect()
}

/// One function; its name tells it apart.
#[derive(Debug)]
struct Builtin {
    name: &'static str,
    signature: Signature,
    returns: fn(&ReturnFieldArgs<'_>) -> DfResult<DataType>,
    run: fn(&Call<'_>) -> DfResult<ArrayRef>,
    documentation: Documentation,
}

impl Builtin {
    /// A function that takes one of several lists of arguments.
    fn new(
        name: &'static str,
        forms: Vec<Vec<Coercion>>,
        returns: fn(&ReturnFieldArgs<'_>) -> DfResult<DataType>,
        run: fn(&Call<'_>) -> DfResult<ArrayRef>,
        (syntax, description): (&str, &str),
    ) -> Self {
        let forms = forms.into_iter().map(TypeSignature::Coercible).collect();
        let documentation = Documentation::builder(DocSection::default(), description, syntax).build();
        Self { name, signature: Signature::one_of(forms, Volatility::Immutable), returns, run, documentation }
    }
}

impl PartialEq for Builtin {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Builtin {}

impl Hash for Builtin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Builtin {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Err(DataFusionError::Internal(format!("the type of {} depends on its arguments", self.name)))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        Ok(Arc::new(Field::new(self.name, (self.returns)(&args)?, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let call = Call { args: &args.args, rows, returns: args.return_field.data_type() };
        let result = (self.run)(&call)?;
        match constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)),
            false => Ok(ColumnarValue::Array(result)),
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

/// The arguments of one call over a batch.
struct Call<'a> {
    args: &'a [ColumnarValue],
    /// Rows of the result: 1 where all arguments are constants.
    rows: usize,
    returns: &'a DataType,
}

impl Call<'_> {
    fn arg(&self, index: usize) -> DfResult<&ColumnarValue> {
        self.args.get(index).ok_or_else(|| DataFusionError::Internal(format!("argument {index} is missing")))
    }

    /// An argument as texts, in the layout that it has.
    fn texts(&self, index: usize) -> DfResult<Texts> {
        Ok(match self.arg(index)? {
            ColumnarValue::Scalar(value) => Texts::Constant(value.try_as_str().flatten().map(str::to_string)),
            ColumnarValue::Array(array) => match array.data_type() {
                DataType::Utf8 => Texts::Small(array.as_string().clone()),
                DataType::LargeUtf8 => Texts::Large(array.as_string().clone()),
                DataType::Utf8View => Texts::View(array.as_string_view().clone()),
                _ => Texts::Small(cast(array, &DataType::Utf8)?.as_string().clone()),
            },
        })
    }

    /// An argument as an array of a type, one value a row.
    fn column(&self, index: usize, data_type: &DataType) -> DfResult<ArrayRef> {
        Ok(cast(&self.arg(index)?.to_array(self.rows)?, data_type)?)
    }

    /// An argument as whole numbers.
    fn integers(&self, index: usize) -> DfResult<Int64Array> {
        Ok(self.column(index, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
    }

    /// The result of a function of texts only.
    fn map_texts<const N: usize, T>(&self, f: impl Fn([&str; N]) -> Option<T>) -> DfResult<T::Array>
    where
        T: Element,
    {
        let mut columns = Vec::with_capacity(N);
        for index in 0..N {
            columns.push(self.texts(index)?);
        }
        let row = |row: usize| {
            let mut values = [""; N];
            for (value, column) in values.iter_mut().zip(&columns) {
                *value = column.get(row)?;
            }
            f(values)
        };
        Ok(T::collect((0..self.rows).map(row)))
    }
}

/// A value that a column is made of.
trait Element: Sized {
    type Array;
    fn collect(values: impl Iterator<Item = Option<Self>>) -> Self::Array;
}

impl Element for String {
    type Array = StringArray;
    fn collect(values: impl Iterator<Item = Option<Self>>) -> StringArray {
        values.collect()
    }
}

impl Element for i64 {
    type Array = Int64Array;
    fn collect(values: impl Iterator<Item = Option<Self>>) -> Int64Array {
        values.collect()
    }
}

impl Element for bool {
    type Array = arrow::array::BooleanArray;
    fn collect(values: impl Iterator<Item = Option<Self>>) -> arrow::array::BooleanArray {
        values.collect()
    }
}

/// A column of texts, or one text for all rows.
enum Texts {
    Constant(Option<String>),
    Small(StringArray),
    Large(LargeStringArray),
    View(StringViewArray),
}

impl Texts {
    fn get(&self, row: usize) -> Option<&str> {
        match self {
            Texts::Constant(value) => value.as_deref(),
            Texts::Small(array) => array.is_valid(row).then(|| array.value(row)),
            Texts::Large(array) => array.is_valid(row).then(|| array.value(row)),
            Texts::View(array) => array.is_valid(row).then(|| array.value(row)),
        }
    }
}

// ---- signatures ----

fn a_text() -> Coercion {
    Coercion::new_exact(TypeSignatureClass::Native(logical_string()))
}

fn an_integer() -> Coercion {
    let integer = TypeSignatureClass::Native(logical_int64());
    Coercion::new_implicit(integer, vec![TypeSignatureClass::Integer], NativeType::Int64)
}

fn anything() -> Coercion {
    Coercion::new_exact(TypeSignatureClass::Any)
}

fn texts(_: &ReturnFieldArgs<'_>) -> DfResult<DataType> {
    Ok(DataType::Utf8)
}

fn bigint(_: &ReturnFieldArgs<'_>) -> DfResult<DataType> {
    Ok(DataType::Int64)
}

fn boolean(_: &ReturnFieldArgs<'_>) -> DfResult<DataType> {
    Ok(DataType::Boolean)
}

#[cfg(test)]
mod tests;
