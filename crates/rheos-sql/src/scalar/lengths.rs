//! `CAST(x AS VARCHAR(n))` and `CAST(x AS CHAR(n))`: the text is cut, and CHAR is filled up, as in Flink and PostgreSQL.
//!
//! ```text
//!   CAST(x AS VARCHAR(3))   left(CAST(x AS STRING), 3)
//!   CAST(x AS CHAR(3))      left(CAST(x AS STRING) || repeat(' ', 3), 3)
//! ```
//!
//! The types of a plan have no lengths, so what a length does is done here. Those of a table's columns do nothing.

use std::ops::ControlFlow;

use rheos_core::error::{Error, Result, Span};
use sqlparser::ast::{
    BinaryLength, BinaryOperator, CharacterLength, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, Query, Value, VisitMut, VisitorMut,
};
use sqlparser::tokenizer::{Span as TokenSpan, Token, TokenWithSpan};

use crate::ddl::expr_place;
use crate::dialect::{call_at, text};
use crate::tokens::place;

/// Characters that `CHAR(n)` fills up to, at most: every row of a batch has as many.
const CHAR_MAX: u64 = 4096;

/// What a type says about the length of a text.
enum Length {
    /// Cut behind so many characters.
    AtMost(u64),
    /// Cut, or filled up with blanks.
    Exactly(u64),
}

/// Rewrites every cast of a query. Errors: a length that cannot be kept to.
pub(crate) fn rewrite(query: &mut Query) -> Result<()> {
    struct Rewrite;
    impl VisitorMut for Rewrite {
        type Break = Error;

        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
            check_returning(expr).map_or_else(ControlFlow::Break, ControlFlow::Continue)
        }

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
            match rewritten(expr) {
                Ok(None) => ControlFlow::Continue(()),
                Ok(Some(new)) => {
                    *expr = new;
                    ControlFlow::Continue(())
                }
                Err(error) => ControlFlow::Break(error),
            }
        }
    }
    match query.visit(&mut Rewrite) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Errors: a length somewhere inside of `ROW<..>`, `ARRAY<..>`, `MAP<..>`, whose tokens these are.
pub(crate) fn check_nested(tokens: &[TokenWithSpan]) -> Result<()> {
    const TYPES: [&str; 7] = ["CHAR", "CHARACTER", "VARCHAR", "NVARCHAR", "VARYING", "BINARY", "VARBINARY"];
    let has_length = |three: &&[TokenWithSpan]| {
        matches!(&three[0].token, Token::Word(w) if TYPES.contains(&w.value.to_uppercase().as_str()))
            && three[1].token == Token::LParen
            && matches!(three[2].token, Token::Number(..))
    };
    match tokens.windows(3).find(has_length) {
        Some(three) => {
            let at = place(TokenSpan::new(three[0].span.start, three[2].span.end));
            let hint = "write STRING, and cut the texts themselves, as in ROW(CAST(x AS VARCHAR(3)))";
            Err(refused("a length inside of a nested type in CAST", hint).with_span(at))
        }
        None => Ok(()),
    }
}

fn refused(what: &str, hint: &str) -> Error {
    Error::invalid(142, format!("{what} is not supported yet")).with_hint(hint)
}

fn with(error: Error, at: Option<Span>) -> Error {
    match at {
        Some(at) => error.with_span(at),
        None => error,
    }
}

/// `JSON_VALUE(.. RETURNING VARCHAR(3))` reaches this as the casts of its defaults, which are not what it gives.
fn check_returning(expr: &Expr) -> Result<()> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expr else { return Ok(()) };
    if !name.to_string().eq_ignore_ascii_case("json_value") {
        return Ok(());
    }
    for arg in list.args.iter().skip(2) {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Cast { data_type, .. })) = arg
            && length(data_type)?.is_some()
        {
            let error = refused(
                &format!("JSON_VALUE with RETURNING {data_type}"),
                "write CAST(JSON_VALUE(text, path) AS VARCHAR(3))",
            );
            return Err(with(error, list.args.first().and_then(arg_place)));
        }
    }
    Ok(())
}

fn arg_place(arg: &FunctionArg) -> Option<Span> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => expr_place(expr),
        _ => None,
    }
}

fn rewritten(expr: &Expr) -> Result<Option<Expr>> {
    let (cast, length) = match expr {
        Expr::Cast { kind, expr: inner, data_type, array, format } => {
            let Some(length) = length(data_type).map_err(|e| with(e, expr_place(inner)))? else { return Ok(None) };
            let cast = Expr::Cast {
                kind: kind.clone(),
                expr: inner.clone(),
                data_type: DataType::String(None),
                array: *array,
                format: format.clone(),
            };
            (cast, length)
        }
        Expr::TypedString(typed) => match length(&typed.data_type)? {
            Some(length) => (Expr::Value(typed.value.clone()), length),
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    Ok(Some(match length {
        Length::AtMost(n) => call_at("left", TokenSpan::empty(), vec![cast, number(n)]),
        Length::Exactly(n) => {
            let blanks = call_at("repeat", TokenSpan::empty(), vec![text(" "), number(n)]);
            let filled =
                Expr::BinaryOp { left: Box::new(cast), op: BinaryOperator::StringConcat, right: Box::new(blanks) };
            call_at("left", TokenSpan::empty(), vec![filled, number(n)])
        }
    }))
}

/// The length that a type asks for. Errors: one of zero, in bytes, or too large.
fn length(data_type: &DataType) -> Result<Option<Length>> {
    let (given, exact) = match data_type {
        DataType::Varchar(length)
        | DataType::Nvarchar(length)
        | DataType::CharVarying(length)
        | DataType::CharacterVarying(length) => (*length, false),
        // As in Flink and PostgreSQL, CHAR alone is one character.
        DataType::Char(length) | DataType::Character(length) => {
            (length.or(Some(CharacterLength::IntegerLength { length: 1, unit: None })), true)
        }
        DataType::String(Some(length)) => (Some(CharacterLength::IntegerLength { length: *length, unit: None }), false),
        DataType::Binary(Some(_))
        | DataType::Varbinary(Some(BinaryLength::IntegerLength { .. }))
        | DataType::Blob(Some(_))
        | DataType::Bytes(Some(_)) => {
            return Err(refused("a length of BYTES in CAST", "take the length away, and cut with substr(x, 1, n)"));
        }
        _ => return Ok(None),
    };
    let Some(CharacterLength::IntegerLength { length, unit }) = given else { return Ok(None) };
    if unit.is_some_and(|unit| unit.to_string() == "OCTETS") {
        return Err(refused("a length in OCTETS", "give the length in characters"));
    }
    let most = if exact { CHAR_MAX } else { i32::MAX as u64 };
    if length == 0 || length > most {
        return Err(Error::invalid(138, format!("the length of {data_type} is out of range"))
            .with_hint(format!("it is 1 to {most}; STRING has no length")));
    }
    Ok(Some(if exact { Length::Exactly(length) } else { Length::AtMost(length) }))
}

fn number(n: u64) -> Expr {
    Expr::value(Value::Number(n.to_string(), false))
}
