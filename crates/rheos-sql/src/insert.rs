//! `INSERT INTO`: the query's columns by position to the table's, each cast to the type that the table declares.
//!
//! Numbers are cast to numbers (DOUBLE to BIGINT truncates) and everything to text; a text is never made a number or a
//! time by itself, since what does not parse would only show while the job runs.

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::ScalarValue;
use datafusion_expr::{Cast, Expr, LogicalPlan, LogicalPlanBuilder};
use rheos_core::error::{Error, Result, Span, did_you_mean};
use sqlparser::ast::Ident;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span as TokenSpan, Token, TokenWithSpan};

use crate::catalog::{Catalog, match_name};
use crate::diagnose;
use crate::nested_casts;
use crate::tokens::{Tokens, place, whole};
use crate::types;

/// The plan of the rows that the table takes.
pub(crate) fn shape(
    plan: LogicalPlan,
    columns: &[Ident],
    table: &str,
    schema: &SchemaRef,
    tokens: &Tokens,
    catalog: &Catalog,
) -> Result<LogicalPlan> {
    let at = whole(tokens);
    let targets = targets(columns, table, schema)?;
    let given = plan.schema().columns();
    if given.len() != targets.len() {
        let names: Vec<_> = targets.iter().map(|t| schema.field(*t).name().as_str()).collect();
        let columns = if targets.len() == 1 { "column" } else { "columns" };
        let error = Error::invalid(
            143,
            format!("'{table}' takes {} {columns}, but the query gives {}", targets.len(), given.len()),
        )
        .with_hint(format!("select exactly: {}", names.join(", ")));
        return Err(with(error, at));
    }
    let mut exprs = vec![];
    for (i, field) in schema.fields().iter().enumerate() {
        let Some(from) = targets.iter().position(|t| *t == i) else {
            if !field.is_nullable() {
                let error =
                    Error::invalid(143, format!("'{}' of '{table}' is NOT NULL and gets no value", field.name()))
                        .with_hint("add the column to the list and to the query");
                return Err(with(error, at));
            }
            let null =
                ScalarValue::try_new_null(field.data_type()).map_err(|e| diagnose::planning(e, tokens, catalog))?;
            exprs.push(Expr::Literal(null, None).alias(field.name()));
            continue;
        };
        let is = plan.schema().field(from).data_type();
        if !assignable(is, field.data_type()) {
            let (is, wanted) = (types::display(is), types::display(field.data_type()));
            let name = &given[from].name;
            let error = Error::invalid(
                144,
                format!("column {} ('{name}') is {is}, but '{}' of '{table}' is {wanted}", from + 1, field.name()),
            )
            .with_hint(format!("cast it: CAST({name} AS {wanted}); INSERT goes by position, not by name"));
            return Err(with(error, select_item(tokens, from).or(at)));
        }
        if *is == DataType::Null && !field.is_nullable() {
            let name = field.name();
            let error = Error::invalid(
                144,
                format!("column {} is always NULL, but '{name}' of '{table}' is NOT NULL", from + 1),
            )
            .with_hint(format!("give '{name}' a value, or declare it without NOT NULL"));
            return Err(with(error, select_item(tokens, from).or(at)));
        }
        let column = Expr::Column(given[from].clone());
        let column = match is == field.data_type() {
            true => column,
            false if is.is_nested() => nested_casts::cast(column, field.data_type().clone(), false),
            false => Expr::Cast(Cast::new(Box::new(column), field.data_type().clone())),
        };
        exprs.push(column.alias(field.name()));
    }
    let plan = LogicalPlanBuilder::from(plan).project(exprs).and_then(LogicalPlanBuilder::build);
    plan.map_err(|e| diagnose::planning(e, tokens, catalog))
}

fn with(error: Error, at: Option<Span>) -> Error {
    match at {
        Some(at) => error.with_span(at),
        None => error,
    }
}

/// The place of the n-th expression of the first SELECT, unless a `*` stands before it.
fn select_item(tokens: &Tokens, n: usize) -> Option<Span> {
    let mut depth = 0usize;
    let mut items: Vec<Vec<&TokenWithSpan>> = vec![];
    for token in tokens {
        let keyword = match &token.token {
            Token::Word(w) if w.quote_style.is_none() => w.keyword,
            _ => Keyword::NoKeyword,
        };
        match (&token.token, keyword) {
            (_, Keyword::SELECT) if depth == 0 && items.is_empty() => {
                items.push(vec![]);
                continue;
            }
            (_, Keyword::FROM | Keyword::UNION) if depth == 0 && !items.is_empty() => break,
            (_, Keyword::DISTINCT | Keyword::ALL) if items.len() == 1 && items[0].is_empty() => continue,
            (Token::Comma, _) if depth == 0 && !items.is_empty() => {
                items.push(vec![]);
                continue;
            }
            (Token::LParen | Token::LBracket, _) => depth += 1,
            (Token::RParen | Token::RBracket, _) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if let Some(item) = items.last_mut() {
            item.push(token);
        }
    }
    let is_star = |token: Option<&&TokenWithSpan>| token.is_some_and(|t| t.token == Token::Mul);
    if items.iter().take(n + 1).any(|item| is_star(item.first()) || is_star(item.last())) {
        return None;
    }
    let item = items.get(n)?;
    Some(place(TokenSpan::new(item.first()?.span.start, item.last()?.span.end)))
}

fn targets(columns: &[Ident], table: &str, schema: &SchemaRef) -> Result<Vec<usize>> {
    if columns.is_empty() {
        return Ok((0..schema.fields().len()).collect());
    }
    let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    let mut targets = vec![];
    for column in columns {
        let found = match_name(&column.value, names.iter().copied());
        let index = found.and_then(|f| names.iter().position(|n| *n == f));
        let Some(index) = index else {
            let list = format!("the columns are: {}", names.join(", "));
            return Err(Error::invalid(131, format!("'{table}' has no column '{}'", column.value))
                .with_hint(did_you_mean(&column.value, names.iter().copied(), &list))
                .with_span(place(column.span)));
        };
        if targets.contains(&index) {
            return Err(Error::invalid(141, format!("the column '{}' is named twice", column.value))
                .with_hint("name each column once")
                .with_span(place(column.span)));
        }
        targets.push(index);
    }
    Ok(targets)
}

/// Whether INSERT casts from one type to another by itself.
fn assignable(from: &DataType, to: &DataType) -> bool {
    let is_text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let is_number = |t: &DataType| t.is_numeric();
    match (from, to) {
        (a, b) if a == b => true,
        (DataType::Null, _) => true,
        (a, b) if is_number(a) && is_number(b) => true,
        (a, b) if is_text(b) => is_text(a) || (!a.is_nested() && can_cast_types(a, b)),
        (a, b) if a.is_temporal() && b.is_temporal() => can_cast_types(a, b),
        (DataType::Dictionary(_, value), b) => assignable(value, b),
        (a, b) if a.is_nested() && b.is_nested() => nested_casts::fits(a, b, &assignable),
        (
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_),
            DataType::Binary,
        ) => true,
        _ => false,
    }
}
