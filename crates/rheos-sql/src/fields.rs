//! `customer.name`: whether a row has the field, told with the names of its fields.
//!
//! DataFusion tries one planner of expressions after another and drops what they refuse. So a field that there is not
//! is planned as a function without a type, whose error is ours.

use std::ops::ControlFlow;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Column, DFSchema, Result as DfResult, ScalarValue, TableReference};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, GetFieldAccess, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion_functions::core::expr_fn::get_field;
use rheos_core::error::{Error, did_you_mean};
use sqlparser::ast::{AccessExpr, Expr as SqlExpr, Ident, Query, Subscript, Value, visit_expressions_mut};

use crate::catalog::match_name;
use crate::diagnose::external;
use crate::types;

/// `CAST(r AS ROW<a INT>).a` and `(r).a`: a field of what is no column. DataFusion takes it in brackets only.
pub(crate) fn rewrite(query: &mut Query) {
    let _ = visit_expressions_mut(query, |expr| {
        if let SqlExpr::CompoundFieldAccess { root, access_chain } = expr
            && !matches!(root.as_ref(), SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_))
        {
            for access in access_chain {
                if let AccessExpr::Dot(SqlExpr::Identifier(field)) = access {
                    *access = in_brackets(field);
                }
            }
        }
        ControlFlow::<()>::Continue(())
    });
}

/// `['a']` for `.a`.
pub(crate) fn in_brackets(field: &Ident) -> AccessExpr {
    let name = Value::SingleQuotedString(field.value.clone()).with_span(field.span);
    AccessExpr::Subscript(Subscript::Index { index: SqlExpr::Value(name) })
}

/// Looks at the names of fields, and leaves all that is right to the planners behind it.
#[derive(Debug)]
pub(crate) struct FieldNames;

impl ExprPlanner for FieldNames {
    fn plan_compound_identifier(
        &self,
        field: &Field,
        qualifier: Option<&TableReference>,
        nested_names: &[String],
    ) -> DfResult<PlannerResult<Vec<Expr>>> {
        let mut owner = field.name().as_str();
        let mut data_type = field.data_type();
        let mut value = Expr::Column(Column::from((qualifier, field)));
        let mut names = nested_names.iter();
        for name in names.by_ref() {
            match member(&format!("'{owner}'"), data_type, name) {
                Ok(Some(next)) => {
                    (owner, data_type) = (next.name(), next.data_type());
                    value = get_field(value, owner);
                }
                Ok(None) => {
                    value = get_field(value, name.as_str());
                    break;
                }
                Err(missing) => return Ok(PlannerResult::Planned(missing.expr())),
            }
        }
        // Behind a map only the rows know the names.
        Ok(PlannerResult::Planned(names.fold(value, |value, name| get_field(value, name.as_str()))))
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
        if let GetFieldAccess::NamedStructField { name: ScalarValue::Utf8(Some(name)) } = &mut access.field_access
            && let Ok(data_type) = access.expr.get_type(schema)
        {
            let owner = match &access.expr {
                Expr::Column(column) => format!("'{}'", column.name),
                _ => "the value before it".to_string(),
            };
            let found = member(&owner, &data_type, name).map_err(|missing| external(missing.error()))?;
            if let Some(field) = found {
                *name = field.name().clone();
            }
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

/// A row's field, without regard to case where only one fits. `None`: only the rows will tell. Errors: there is no such
/// field.
fn member<'t>(owner: &str, data_type: &'t DataType, name: &str) -> Result<Option<&'t FieldRef>, Missing> {
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
    if let Some(found) = match_name(name, fields.iter().map(|f| f.name().as_str())) {
        return Ok(fields.iter().find(|f| f.name() == found));
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
