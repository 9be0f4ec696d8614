//! Constraints in `CREATE TABLE`: a `PRIMARY KEY` that is not enforced is read; what would have to be checked is refused by name.
//!
//! ```text
//!   [CONSTRAINT name] PRIMARY KEY (col, ..) NOT ENFORCED          between the columns
//!   col TYPE [CONSTRAINT name] PRIMARY KEY NOT ENFORCED           behind a column's type
//! ```

use rheos_core::error::{Error, Result};
use sqlparser::ast::Ident;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span as TokenSpan, Token};

use crate::ddl::{TableDdl, not_supported};
use crate::diagnose::syntax;
use crate::tokens::Tokens;

/// What to write in place of a constraint that would have to be checked.
const INSTEAD: &str = "take the constraint away: rows are not checked";

/// A constraint where a column may stand. False: none is here, and nothing is read.
pub(crate) fn of_table(parser: &mut Parser<'_>, tokens: &Tokens, table: &mut TableDdl) -> Result<bool> {
    let start = parser.peek_token_ref().span;
    let context = |e: ParserError| syntax(e, tokens);
    let is_named = name(parser, tokens)?;
    if parser.parse_keywords(&[Keyword::PRIMARY, Keyword::KEY]) {
        parser.expect_token(&Token::LParen).map_err(context)?;
        let columns = parser.parse_comma_separated(Parser::parse_identifier).map_err(context)?;
        parser.expect_token(&Token::RParen).map_err(context)?;
        not_enforced(parser, start)?;
        table.key_columns.extend(columns);
        return table.set_primary_key(start).map(|()| true);
    }
    // Without what follows the word is the name of a column.
    let next = &parser.peek_nth_token_ref(1).token;
    let opens = *next == Token::LParen;
    let is_key = matches!(next, Token::Word(w) if w.keyword == Keyword::KEY);
    let all = [
        (Keyword::UNIQUE, "UNIQUE", opens),
        (Keyword::CHECK, "CHECK", opens),
        (Keyword::FOREIGN, "FOREIGN KEY", is_key),
    ];
    if let Some((_, what, _)) = all.iter().find(|(word, _, follows)| *follows && parser.peek_keyword(*word)) {
        return Err(not_supported(what, INSTEAD, start));
    }
    if is_named {
        return Err(expected("PRIMARY KEY (column, ..) NOT ENFORCED", parser, tokens));
    }
    Ok(false)
}

/// A constraint behind a column's type, `NOT NULL` apart. False: none is here, and nothing is read.
pub(crate) fn of_column(
    parser: &mut Parser<'_>,
    tokens: &Tokens,
    column: &Ident,
    table: &mut TableDdl,
) -> Result<bool> {
    let start = parser.peek_token_ref().span;
    let is_named = name(parser, tokens)?;
    if parser.parse_keywords(&[Keyword::PRIMARY, Keyword::KEY]) {
        not_enforced(parser, start)?;
        table.key_columns.push(column.clone());
        return table.set_primary_key(start).map(|()| true);
    }
    let all = [
        (Keyword::UNIQUE, "UNIQUE"),
        (Keyword::CHECK, "CHECK"),
        (Keyword::REFERENCES, "REFERENCES"),
        (Keyword::FOREIGN, "FOREIGN KEY"),
    ];
    if let Some((_, what)) = all.iter().find(|(word, _)| parser.peek_keyword(*word)) {
        return Err(not_supported(what, INSTEAD, start));
    }
    if is_named {
        return Err(expected("PRIMARY KEY NOT ENFORCED", parser, tokens));
    }
    Ok(false)
}

/// `CONSTRAINT name`, if it is here. A column may be called so, too.
fn name(parser: &mut Parser<'_>, tokens: &Tokens) -> Result<bool> {
    let is_name = |n: usize| matches!(&parser.peek_nth_token_ref(n).token, Token::Word(_));
    if !parser.peek_keyword(Keyword::CONSTRAINT) || !is_name(1) || !is_name(2) {
        return Ok(false);
    }
    parser.advance_token();
    parser.parse_identifier().map_err(|e| syntax(e, tokens))?;
    Ok(true)
}

fn expected(what: &str, parser: &Parser<'_>, tokens: &Tokens) -> Error {
    let error = parser.expected_ref::<()>(what, parser.peek_token_ref());
    error.map_or_else(|e| syntax(e, tokens), |()| Error::internal("a constraint was expected and not"))
}

/// `NOT ENFORCED` behind the `PRIMARY KEY` that begins at `start`. Errors: it is not there, so the rows would be checked.
fn not_enforced(parser: &mut Parser<'_>, start: TokenSpan) -> Result<()> {
    if parser.parse_keywords(&[Keyword::NOT, Keyword::ENFORCED]) {
        return Ok(());
    }
    let _ = parser.parse_keyword(Keyword::ENFORCED);
    let at = TokenSpan::new(start.start, parser.get_current_token().span.end);
    Err(not_supported("a PRIMARY KEY that is enforced", "write PRIMARY KEY ... NOT ENFORCED: rows are not checked", at))
}
