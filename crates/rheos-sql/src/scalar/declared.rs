//! `CREATE FUNCTION name AS 'class'`: taken where the function is built in, else refused.
//!
//! ```text
//!   CREATE [TEMPORARY] [SYSTEM] FUNCTION [IF NOT EXISTS] name AS 'class' [LANGUAGE word] [USING JAR '..', ..]
//! ```

use rheos_core::error::{Error, Result, nearest};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use crate::diagnose::syntax;
use crate::functions::functions;
use crate::statement::bare_name;
use crate::tokens::{Tokens, place};

/// Reads everything behind `FUNCTION`. Errors: no built-in function has the name.
pub(crate) fn create_function(parser: &mut Parser<'_>, tokens: &Tokens) -> Result<()> {
    let context = |e: ParserError| syntax(e, tokens);
    let _ = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let name = bare_name(parser, tokens)?;
    parser.expect_keyword_is(Keyword::AS).map_err(context)?;
    parser.parse_literal_string().map_err(context)?;
    if parser.parse_keyword(Keyword::LANGUAGE) {
        parser.parse_identifier().map_err(context)?;
    }
    if parser.parse_keyword(Keyword::USING) {
        loop {
            parser.parse_identifier().map_err(context)?;
            parser.parse_literal_string().map_err(context)?;
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
    }
    if parser.peek_token_ref().token != Token::EOF {
        let unexpected = parser.expected_ref::<()>("end of statement", parser.peek_token_ref());
        return unexpected.map_err(context);
    }
    let known = functions();
    let names = || known.iter().flat_map(|f| std::iter::once(&f.name).chain(&f.aliases)).map(String::as_str);
    if names().any(|n| n.eq_ignore_ascii_case(&name.value)) {
        return Ok(());
    }
    let near = nearest(&name.value.to_lowercase(), names()).filter(|_| name.value.len() > 2);
    let hint = match near {
        Some(near) => format!("'{near}' is built in; `rheos functions` lists all"),
        None => "take it away and write its expression out; `rheos functions` lists what is built in".into(),
    };
    Err(Error::invalid(103, format!("'{}' is not built in, and code cannot be loaded yet", name.value))
        .with_hint(hint)
        .with_span(place(name.span)))
}
