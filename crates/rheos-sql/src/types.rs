//! Types as users write them, PostgreSQL's and Flink's, to Arrow's.
//!
//! `TIMESTAMP` is microseconds without a zone, `TIMESTAMP_LTZ` and `TIMESTAMPTZ` microseconds in UTC: there are no other
//! units in a plan, so a precision is read and everything up to microseconds is kept.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use datafusion_common::Result as DfResult;
use datafusion_expr::planner::TypePlanner;
use rheos_core::error::{Error, Result, did_you_mean};
pub(crate) use rheos_core::types::{TIMESTAMP, display, timestamp_ltz};
use sqlparser::ast::{self, ArrayElemTypeDef, ExactNumberInfo, ObjectNamePart, TimezoneInfo};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span as TokenSpan, Token, TokenWithSpan};

use crate::cast_types;
use crate::diagnose::{external, syntax};
use crate::tokens::{Tokens, place};

/// Names for the hint on an unknown type.
const TYPES: &[&str] = &[
    "STRING",
    "VARCHAR",
    "CHAR",
    "TEXT",
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INT",
    "INTEGER",
    "BIGINT",
    "FLOAT",
    "REAL",
    "DOUBLE",
    "DECIMAL",
    "NUMERIC",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP_LTZ",
    "TIMESTAMPTZ",
    "BYTES",
    "VARBINARY",
    "ROW",
    "ARRAY",
    "MAP",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
];

/// Parses a column's type: our nested types, else what sqlparser knows; `ARRAY` behind it makes a list of it.
pub(crate) fn parse_type(parser: &mut Parser<'_>, tokens: &Tokens) -> Result<DataType> {
    let mut data_type = simple_type(parser, tokens)?;
    while word_at(parser, 0) == "ARRAY" && parser.peek_nth_token_ref(1).token != Token::Lt {
        parser.advance_token();
        data_type = DataType::List(Arc::new(Field::new("item", data_type, true)));
    }
    Ok(data_type)
}

/// The n-th word from here in upper case. Empty: there is none, or it is a quoted name.
fn word_at(parser: &Parser<'_>, n: usize) -> String {
    match &parser.peek_nth_token_ref(n).token {
        Token::Word(w) if w.quote_style.is_none() => w.value.to_uppercase(),
        _ => String::new(),
    }
}

/// How many tokens `TIMESTAMP [(p)] WITH LOCAL TIME ZONE` has from here, if that is what stands here.
fn local_timestamp(parser: &Parser<'_>) -> Option<usize> {
    let is = |n: usize, token: &Token| parser.peek_nth_token_ref(n).token == *token;
    let precision = |n: usize| matches!(&parser.peek_nth_token_ref(n).token, Token::Number(p, _) if p.parse::<u8>().is_ok_and(|p| p <= 9));
    let behind = if is(1, &Token::LParen) && precision(2) && is(3, &Token::RParen) { 4 } else { 1 };
    let words = ["WITH", "LOCAL", "TIME", "ZONE"];
    let found = word_at(parser, 0) == "TIMESTAMP" && (0..4).all(|i| word_at(parser, behind + i) == words[i]);
    found.then_some(behind + words.len())
}

fn simple_type(parser: &mut Parser<'_>, tokens: &Tokens) -> Result<DataType> {
    let start = parser.peek_token_ref().span;
    let context = |e: ParserError| syntax(e, tokens);
    if let Some(count) = local_timestamp(parser) {
        (0..count).for_each(|_| parser.advance_token());
        return Ok(timestamp_ltz());
    }
    let word = word_at(parser, 0);
    let opens = |parser: &Parser<'_>, token: &Token| parser.peek_nth_token_ref(1).token == *token;
    match word.as_str() {
        "ROW" | "STRUCT" if opens(parser, &Token::Lt) || opens(parser, &Token::LParen) => {
            parser.advance_token();
            let close = if parser.consume_token(&Token::Lt) {
                Token::Gt
            } else {
                parser.advance_token();
                Token::RParen
            };
            let mut fields = vec![];
            loop {
                let name = parser.parse_identifier().map_err(context)?;
                let data_type = parse_type(parser, tokens)?;
                fields.push(Field::new(name.value, data_type, nullable(parser)));
                if !parser.consume_token(&Token::Comma) {
                    break;
                }
            }
            close_angle(parser, &close, tokens)?;
            Ok(DataType::Struct(Fields::from(fields)))
        }
        "ARRAY" if opens(parser, &Token::Lt) => {
            parser.advance_token();
            parser.advance_token();
            let item = Field::new("item", parse_type(parser, tokens)?, nullable(parser));
            close_angle(parser, &Token::Gt, tokens)?;
            Ok(DataType::List(Arc::new(item)))
        }
        "MAP" if opens(parser, &Token::Lt) => {
            parser.advance_token();
            parser.advance_token();
            let key = Field::new("keys", parse_type(parser, tokens)?, false);
            let _ = nullable(parser);
            parser.expect_token(&Token::Comma).map_err(context)?;
            let value = Field::new("values", parse_type(parser, tokens)?, nullable(parser));
            close_angle(parser, &Token::Gt, tokens)?;
            let entries = Field::new("entries", DataType::Struct(Fields::from(vec![key, value])), false);
            Ok(DataType::Map(Arc::new(entries), false))
        }
        _ => {
            let sql = parser.parse_data_type().map_err(context)?;
            to_arrow(&sql)
                .map_err(|e| e.with_span(place(TokenSpan::new(start.start, parser.get_current_token().span.end))))
        }
    }
}

fn nullable(parser: &mut Parser<'_>) -> bool {
    let not_null = parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]);
    !not_null && {
        let _ = parser.parse_keyword(Keyword::NULL);
        true
    }
}

fn close_angle(parser: &mut Parser<'_>, close: &Token, tokens: &Tokens) -> Result<()> {
    parser.expect_token(close).map(drop).map_err(|e| syntax(e, tokens))
}

/// `>>` is one token that closes two brackets of a nested type; in a declaration it is never a shift.
pub(crate) fn split_shifts(tokens: Tokens) -> Tokens {
    let split = |t: TokenWithSpan| match t.token {
        Token::ShiftRight => vec![TokenWithSpan::new(Token::Gt, t.span), TokenWithSpan::new(Token::Gt, t.span)],
        _ => vec![t],
    };
    tokens.into_iter().flat_map(split).collect()
}

/// The Arrow type of an SQL type. Errors: `Invalid` with the nearest name, without a place.
pub(crate) fn to_arrow(sql: &ast::DataType) -> Result<DataType> {
    use ast::DataType as Sql;
    let unsigned = |t: DataType| Ok(t);
    match sql {
        Sql::Boolean | Sql::Bool => Ok(DataType::Boolean),
        Sql::TinyInt(_) => Ok(DataType::Int8),
        Sql::SmallInt(_) | Sql::Int2(_) | Sql::Int16 => Ok(DataType::Int16),
        Sql::Int(_) | Sql::Integer(_) | Sql::Int4(_) | Sql::Int32 => Ok(DataType::Int32),
        Sql::BigInt(_) | Sql::Int8(_) | Sql::Int64 => Ok(DataType::Int64),
        Sql::UTinyInt | Sql::TinyIntUnsigned(_) | Sql::UInt8 => unsigned(DataType::UInt8),
        Sql::USmallInt | Sql::SmallIntUnsigned(_) | Sql::UInt16 => unsigned(DataType::UInt16),
        Sql::IntUnsigned(_) | Sql::IntegerUnsigned(_) | Sql::UInt32 => unsigned(DataType::UInt32),
        Sql::UBigInt | Sql::BigIntUnsigned(_) | Sql::UInt64 => unsigned(DataType::UInt64),
        Sql::Float(_) | Sql::Real | Sql::Float4 | Sql::Float32 => Ok(DataType::Float32),
        Sql::Double(_) | Sql::DoublePrecision | Sql::Float8 | Sql::Float64 => Ok(DataType::Float64),
        Sql::Varchar(_) | Sql::Char(_) | Sql::Character(_) | Sql::CharacterVarying(_) | Sql::CharVarying(_) => {
            Ok(DataType::Utf8)
        }
        Sql::Nvarchar(_) | Sql::Text | Sql::String(_) => Ok(DataType::Utf8),
        Sql::Bytea | Sql::Bytes(_) | Sql::Varbinary(_) | Sql::Binary(_) | Sql::Blob(_) => Ok(DataType::Binary),
        Sql::Date | Sql::Date32 => Ok(DataType::Date32),
        Sql::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => Ok(DataType::Time64(TimeUnit::Microsecond)),
        Sql::Timestamp(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => Ok(timestamp_ltz()),
        Sql::Timestamp(..) | Sql::Datetime(_) | Sql::TimestampNtz(..) => Ok(TIMESTAMP),
        Sql::Numeric(info) | Sql::Decimal(info) | Sql::Dec(info) => decimal(info),
        Sql::Array(ArrayElemTypeDef::AngleBracket(item) | ArrayElemTypeDef::SquareBracket(item, None)) => {
            Ok(DataType::List(Arc::new(Field::new("item", to_arrow(item)?, true))))
        }
        Sql::Custom(name, modifiers) => match name.0.as_slice() {
            [ObjectNamePart::Identifier(ident)] if ident.quote_style.is_some() => {
                cast_types::meant(&ident.value).unwrap_or_else(|| custom(&name.to_string(), modifiers))
            }
            _ => custom(&name.to_string(), modifiers),
        },
        other => Err(unknown(&other.to_string())),
    }
}

fn decimal(info: &ExactNumberInfo) -> Result<DataType> {
    // Without a precision Flink's default holds; PostgreSQL's "any" does not exist in columns.
    let (precision, scale) = match *info {
        ExactNumberInfo::None => (10, 0),
        ExactNumberInfo::Precision(p) => (p, 0),
        ExactNumberInfo::PrecisionAndScale(p, s) => (p, s),
    };
    if !(1..=38).contains(&precision) || !(0..=precision as i64).contains(&scale) {
        return Err(Error::invalid(138, format!("DECIMAL({precision}, {scale}) is out of range"))
            .with_hint("the precision is 1 to 38, and the scale at most the precision"));
    }
    Ok(DataType::Decimal128(precision as u8, scale as i8))
}

fn custom(name: &str, modifiers: &[String]) -> Result<DataType> {
    let precision_fits = modifiers.len() <= 1 && modifiers.iter().all(|m| m.parse::<u8>().is_ok_and(|p| p <= 9));
    match name.to_uppercase().as_str() {
        "TIMESTAMP_LTZ" | "TIMESTAMPTZ" if precision_fits => Ok(timestamp_ltz()),
        "TEXT" if !modifiers.is_empty() => {
            let length = modifiers.join(", ");
            Err(Error::invalid(138, "TEXT has no length").with_hint(format!("write VARCHAR({length}), or TEXT alone")))
        }
        "UINT" | "UINTEGER" => Ok(DataType::UInt32),
        "UTINYINT" => Ok(DataType::UInt8),
        "USMALLINT" => Ok(DataType::UInt16),
        "UBIGINT" => Ok(DataType::UInt64),
        _ => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> Error {
    let list = format!("the types are {}", TYPES.join(", "));
    let bare = name.split(['(', '<', ' ']).next().unwrap_or(name);
    Error::invalid(138, format!("there is no type '{name}'")).with_hint(did_you_mean(
        bare,
        TYPES.iter().copied(),
        &list,
    ))
}

/// Our types in casts and typed literals.
#[derive(Debug)]
pub(crate) struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql: &ast::DataType) -> DfResult<Option<FieldRef>> {
        if matches!(sql, ast::DataType::Interval { .. } | ast::DataType::Struct(..)) {
            return Ok(None);
        }
        let data_type = to_arrow(sql).map_err(external)?;
        Ok(Some(Arc::new(Field::new("", data_type, true))))
    }
}
