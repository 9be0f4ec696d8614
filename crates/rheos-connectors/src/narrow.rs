//! Reading a part of ROW columns: see [`Source::narrow`](rheos_core::source::Source::narrow).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use rheos_core::{Error, Result};

/// The columns of `declared` with the types of those that `part` has: a part of `schema`, which has some of them.
///
/// Errors: `Internal` where it is no part.
pub(crate) fn narrowed(declared: &SchemaRef, schema: &SchemaRef, part: &SchemaRef) -> Result<SchemaRef> {
    let pairs = || schema.fields().iter().zip(part.fields());
    if schema.fields().len() != part.fields().len() || !pairs().all(|(whole, part)| is_part(whole, part)) {
        return Err(Error::internal(format!("{part:?} is no part of {schema:?}")));
    }
    let fields = declared.fields().iter().map(|field| match part.field_with_name(field.name()) {
        Ok(part) => Arc::new(field.as_ref().clone().with_data_type(part.data_type().clone())),
        Err(_) => Arc::clone(field),
    });
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

fn is_part(whole: &Field, part: &Field) -> bool {
    whole.name() == part.name()
        && match (whole.data_type(), part.data_type()) {
            (DataType::Struct(whole), DataType::Struct(part)) => part.iter().all(|part| {
                let field = whole.iter().find(|field| field.name() == part.name());
                field.is_some_and(|whole| is_part(whole, part))
            }),
            (whole, part) => whole == part,
        }
}

/// The columns of `schema` for `explain`, with the fields of those that are narrower than in `declared`.
pub(crate) fn column_names(schema: &SchemaRef, declared: &SchemaRef) -> String {
    let names = schema.fields().iter().map(|field| match declared.field_with_name(field.name()) {
        Ok(whole) => column_name(field, whole),
        Err(_) => field.name().clone(),
    });
    names.collect::<Vec<_>>().join(", ")
}

fn column_name(field: &Field, whole: &Field) -> String {
    let (DataType::Struct(fields), DataType::Struct(whole_fields)) = (field.data_type(), whole.data_type()) else {
        return field.name().clone();
    };
    if field.data_type() == whole.data_type() {
        return field.name().clone();
    }
    let inside = fields.iter().map(|field| match whole_fields.iter().find(|whole| whole.name() == field.name()) {
        Some(whole) => column_name(field, whole),
        None => field.name().clone(),
    });
    format!("{}({})", field.name(), inside.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, fields: &[Field]) -> Field {
        Field::new(name, DataType::Struct(fields.to_vec().into()), true)
    }

    fn schema(fields: &[Field]) -> SchemaRef {
        Arc::new(Schema::new(fields.to_vec()))
    }

    #[test]
    fn only_rows_become_narrower() {
        let int = |name: &str| Field::new(name, DataType::Int64, true);
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let declared = schema(&[int("a"), row("r", &[int("x"), row("s", &[int("y"), text("z")])]), int("b")]);
        let whole = schema(&[declared.field(1).clone(), int("b")]);
        let part = schema(&[row("r", &[row("s", &[text("z")])]), int("b")]);
        let got = narrowed(&declared, &whole, &part).unwrap();
        assert_eq!(got, schema(&[int("a"), part.field(0).clone(), int("b")]));
        assert_eq!(column_names(&part, &declared), "r(s(z)), b");
        assert_eq!(column_names(&whole, &declared), "r, b");
        for other in [
            schema(&[row("r", &[row("s", &[int("z")])]), int("b")]),
            schema(&[row("r", &[int("z")]), int("b")]),
            schema(&[row("r", &[])]),
            schema(&[row("q", &[]), int("b")]),
            schema(&[row("r", &[]), text("b")]),
        ] {
            assert!(narrowed(&declared, &whole, &other).is_err(), "{other:?}");
        }
    }
}
