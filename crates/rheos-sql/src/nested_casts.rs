//! `CAST(r AS ROW<a INT, b STRING>)` and lists and maps of rows: field by field by position, as Flink and PostgreSQL do it.
//!
//! DataFusion matches fields by name, so `ROW(1, 'x')`, whose fields have no names of the user's, fits nothing. A cast of
//! a nested value becomes a function here, which carries the type that it makes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::tree_node::Transformed;
use datafusion_common::{DFSchema, Result as DfResult};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TryCast, Volatility,
};
use rheos_core::error::{Error, ErrorKind};

use crate::diagnose::external;
use crate::rewrite::each_expression;
use crate::spelling::{as_text, has_spelling, is_text, texts};
use crate::types;

/// Replaces the casts of nested values in a plan. Errors: a cast that there is not.
pub(crate) fn by_position(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    each_expression(plan, replaced)
}

fn replaced(expr: Expr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    let (inner, to, is_safe) = match &expr {
        Expr::Cast(Cast { expr, field }) => (expr, field.data_type(), false),
        Expr::TryCast(TryCast { expr, field }) => (expr, field.data_type(), true),
        _ => return Ok(Transformed::no(expr)),
    };
    // A type that is not known yet is left to the coercion, which knows how to complain.
    let Ok(from) = inner.get_type(schema) else { return Ok(Transformed::no(expr)) };
    if is_text(to) && from.is_nested() {
        return Ok(Transformed::yes(as_text(inner.as_ref().clone(), to)));
    }
    if !to.is_nested() || from == DataType::Null || from == *to {
        return Ok(Transformed::no(expr));
    }
    if !fits(&from, to, &can_cast_types) {
        let (from, to) = (types::display(&from), types::display(to));
        let error = Error::invalid(151, format!("a value of type {from} cannot be cast to {to}"))
            .with_hint("rows are cast by position, and must have as many fields");
        return Err(external(error));
    }
    Ok(Transformed::yes(cast(inner.as_ref().clone(), to.clone(), is_safe)))
}

/// The cast of a nested value.
pub(crate) fn cast(value: Expr, to: DataType, is_safe: bool) -> Expr {
    let function = CastNested { to, is_safe, signature: Signature::any(1, Volatility::Immutable) };
    Expr::ScalarFunction(ScalarFunction::new_udf(ScalarUDF::new_from_impl(function).into(), vec![value]))
}

/// Whether a type can become another one where `leaf` says so of what is not nested.
pub(crate) fn fits(from: &DataType, to: &DataType, leaf: &dyn Fn(&DataType, &DataType) -> bool) -> bool {
    use DataType::{FixedSizeList, LargeList, List, Map, Struct};
    match (from, to) {
        (DataType::Null, _) => true,
        (Struct(from), Struct(to)) => {
            from.len() == to.len() && from.iter().zip(to).all(|(f, t)| fits(f.data_type(), t.data_type(), leaf))
        }
        (List(f) | LargeList(f) | FixedSizeList(f, _), List(t)) | (Map(f, _), Map(t, _)) => {
            fits(f.data_type(), t.data_type(), leaf)
        }
        (from, to) => from == to || (!from.is_nested() && !to.is_nested() && leaf(from, to)),
    }
}

/// See the module.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CastNested {
    to: DataType,
    /// Whether what does not fit becomes NULL, as in TRY_CAST.
    is_safe: bool,
    signature: Signature,
}

impl ScalarUDFImpl for CastNested {
    fn name(&self) -> &str {
        "cast"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let value = arrays.first().ok_or_else(|| external(Error::internal("a cast without a value")))?;
        let options = CastOptions { safe: self.is_safe, ..CastOptions::default() };
        Ok(ColumnarValue::Array(converted(value, &self.to, &options)?))
    }
}

fn converted(value: &ArrayRef, to: &DataType, options: &CastOptions<'_>) -> DfResult<ArrayRef> {
    use DataType::{FixedSizeList, LargeList, List, Map, Struct};
    match (value.data_type(), to) {
        (from, to) if from == to => Ok(Arc::clone(value)),
        (Struct(_), Struct(fields)) => {
            let row = value.as_struct();
            let children = row.columns().iter().zip(fields).map(|(c, f)| field_of(c, f, row.nulls(), options));
            let children = children.collect::<DfResult<Vec<_>>>()?;
            Ok(Arc::new(StructArray::try_new(fields.clone(), children, row.nulls().cloned())?))
        }
        (List(_), List(item)) => {
            let list = value.as_list::<i32>();
            let items = field_of(list.values(), item, None, options)?;
            let list = ListArray::try_new(Arc::clone(item), list.offsets().clone(), items, list.nulls().cloned())?;
            Ok(Arc::new(list))
        }
        (LargeList(item) | FixedSizeList(item, _), List(_)) => {
            let list = cast_with_options(value, &List(Arc::clone(item)), options)?;
            converted(&list, to, options)
        }
        (Map(..), Map(entries, is_sorted)) => {
            let map = value.as_map();
            let inner: ArrayRef = Arc::new(map.entries().clone());
            let inner = converted(&inner, entries.data_type(), options)?.as_struct().clone();
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, inner, nulls, *is_sorted)?))
        }
        (from, to) if is_text(to) && has_spelling(from) => Ok(cast_with_options(&texts(value)?, to, options)?),
        _ => Ok(cast_with_options(value, to, options)?),
    }
}

/// The values of a field or of items. Errors: NULL where the type has `NOT NULL`, rows that are NULL themselves apart.
fn field_of(
    values: &ArrayRef,
    field: &FieldRef,
    absent: Option<&NullBuffer>,
    options: &CastOptions<'_>,
) -> DfResult<ArrayRef> {
    let values = converted(values, field.data_type(), options)?;
    let is_missing = |row: usize| values.is_null(row) && absent.is_none_or(|nulls| nulls.is_valid(row));
    if !field.is_nullable() && values.null_count() > 0 && (0..values.len()).any(is_missing) {
        return Err(external(missing(field)));
    }
    Ok(values)
}

fn missing(field: &Field) -> Error {
    let name = field.name();
    Error::new(ErrorKind::User, 356, format!("the field '{name}' is NOT NULL, and a value has NULL there"))
        .with_hint(format!("declare '{name}' without NOT NULL, or write COALESCE for its value"))
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::{Fields, Int32Type};

    use super::*;

    fn row(names: [&str; 2], first: DataType) -> Fields {
        Fields::from(vec![Field::new(names[0], first, true), Field::new(names[1], DataType::Utf8, false)])
    }

    #[test]
    fn fields_are_matched_by_position_and_rows_that_are_null_stay_so() {
        let first: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, None]));
        let second: ArrayRef = Arc::new(arrow::array::StringArray::from(vec!["x", "y", "z"]));
        let nulls = NullBuffer::from(vec![true, true, false]);
        let value: ArrayRef =
            Arc::new(StructArray::new(row(["b", "a"], DataType::Int64), vec![first, second], Some(nulls)));
        let to = DataType::Struct(row(["a", "b"], DataType::Int32));
        let made = converted(&value, &to, &CastOptions::default()).unwrap();
        let made = made.as_struct();
        assert_eq!(made.column(0).as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), [Some(1), None, None]);
        assert!(made.is_valid(1) && made.is_null(2));
        // The field `a` must not be NULL in the second row; in the third there is no row.
        let strict = Fields::from(vec![Field::new("a", DataType::Int32, false), Field::new("b", DataType::Utf8, true)]);
        assert!(converted(&value, &DataType::Struct(strict.clone()), &CastOptions::default()).is_err());
        let rest = value.slice(2, 1);
        assert!(converted(&rest, &DataType::Struct(strict), &CastOptions::default()).is_ok());
    }
}
