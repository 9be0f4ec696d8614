//! `customer.name`: whether a row has the field, told with the names of its fields.
//!
//! DataFusion tries one planner of expressions after another and drops what they refuse. So a field that there is not
//! is planned as a function without a type, whose error is ours.

use arrow::datatypes::{DataType, Field};
use datafusion_common::{DFSchema, Result as DfResult, ScalarValue, TableReference};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, GetFieldAccess, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use rheos_core::error::{Error, did_you_mean};

use crate::diagnose::external;
use crate::types;

/// Looks at the names of fields, and leaves all that is right to the planners behind it.
#[derive(Debug)]
pub(crate) struct FieldNames;

impl ExprPlanner for FieldNames {
    fn plan_compound_identifier(
        &self,
        field: &Field,
        _: Option<&TableReference>,
        nested_names: &[String],
    ) -> DfResult<PlannerResult<Vec<Expr>>> {
        let (mut owner, mut data_type) = (field.name(), field.data_type());
        for name in nested_names {
            match member(&format!("'{owner}'"), data_type, name) {
                Ok(Some(next)) => (owner, data_type) = (name, next),
                Ok(None) => break,
                Err(missing) => return Ok(PlannerResult::Planned(missing.expr())),
            }
        }
        Ok(PlannerResult::Original(vec![]))
    }

    fn plan_field_access(
        &self,
        mut access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> DfResult<PlannerResult<RawFieldAccessExpr>> {
        match &mut access.field_access {
            GetFieldAccess::ListIndex { key } => signed(key, schema),
            GetFieldAccess::ListRange { start, stop, .. } => {
                signed(start, schema);
                signed(stop, schema);
            }
            GetFieldAccess::NamedStructField { .. } => {}
        }
        if let GetFieldAccess::NamedStructField { name: ScalarValue::Utf8(Some(name)) } = &access.field_access
            && let Ok(data_type) = access.expr.get_type(schema)
        {
            let owner = match &access.expr {
                Expr::Column(column) => format!("'{}'", column.name),
                _ => "the value before it".to_string(),
            };
            member(&owner, &data_type, name).map_err(|missing| external(missing.error()))?;
        }
        Ok(PlannerResult::Original(access))
    }
}

/// An index of type UBIGINT as BIGINT, the only type that DataFusion takes.
fn signed(index: &mut Expr, schema: &DFSchema) {
    if index.get_type(schema).is_ok_and(|t| t == DataType::UInt64) {
        *index = Expr::Cast(Cast::new(Box::new(std::mem::take(index)), DataType::Int64));
    }
}

/// A field that there is not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Missing {
    message: String,
    hint: String,
}

impl Missing {
    fn error(&self) -> Error {
        Error::invalid(131, &*self.message).with_hint(&*self.hint)
    }

    /// An expression that cannot be planned.
    fn expr(self) -> Expr {
        let function = MissingField { missing: self, signature: Signature::nullary(Volatility::Immutable) };
        Expr::ScalarFunction(ScalarFunction::new_udf(ScalarUDF::new_from_impl(function).into(), vec![]))
    }
}

/// The type of a row's field. `None`: only the rows will tell. Errors: there is no such field.
fn member<'t>(owner: &str, data_type: &'t DataType, name: &str) -> Result<Option<&'t DataType>, Missing> {
    let fields = match data_type {
        DataType::Struct(fields) => fields,
        DataType::Map(..) | DataType::Null => return Ok(None),
        other => {
            let hint = match other {
                DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
                    "take an element first, as in list[1], or open the list with UNNEST"
                }
                _ => "only a ROW has fields; the name of a table stands before its column, as in t.x",
            };
            let kind = types::display(other);
            let message = format!("{owner} is of type {kind} and no ROW, so it has no field '{name}'");
            return Err(Missing { message, hint: hint.to_string() });
        }
    };
    if let Some(field) = fields.iter().find(|f| f.name() == name) {
        return Ok(Some(field.data_type()));
    }
    let names: Vec<_> = fields.iter().map(|f| f.name().as_str()).collect();
    let list = format!("the fields are: {}", names.join(", "));
    let hint = did_you_mean(name, names.iter().copied(), &list);
    Err(Missing { message: format!("there is no field '{name}' in {owner}"), hint })
}

/// See the module.
#[derive(Debug, PartialEq, Eq, Hash)]
struct MissingField {
    missing: Missing,
    signature: Signature,
}

impl ScalarUDFImpl for MissingField {
    fn name(&self) -> &str {
        "missing_field"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Err(external(self.missing.error()))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Err(external(self.missing.error()))
    }
}
