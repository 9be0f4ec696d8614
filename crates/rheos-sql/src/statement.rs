//! One statement's tokens to what the statement says: our own parser for everything that is not a query.
//!
//! Queries stay tokens here. They are parsed when they are planned, because a name that fits only without its case is
//! mended in the tokens and the query is then parsed again (see `query`).

use rheos_core::error::{Error, Result, Span, did_you_mean};
use sqlparser::ast::{Ident, ObjectName};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::ddl::{self, TableDdl};
use crate::diagnose::{syntax, syntax_at};
use crate::grammar::Grammar;
use crate::scalar::declared::create_function;
use crate::tokens::{Tokens, place, whole};
use crate::types::split_shifts;

/// Levels of nesting that the parser takes. `check_depth` of `tokens` bounds what nesting cannot.
const RECURSION_MAX: usize = 50;

/// What a statement says.
#[derive(Debug)]
pub(crate) enum Statement {
    /// `CREATE TABLE`.
    CreateTable(TableDdl),
    /// `CREATE VIEW`.
    CreateView(ViewDdl),
    /// `INSERT INTO`.
    Insert(InsertInto),
    /// A query on its own.
    Query(Tokens),
    /// `EXPLAIN` of an insert or a query.
    Explain(Box<Statement>),
    /// A declaration of what is there anyway.
    Nothing,
    /// `SET 'name' = 'value'`.
    Set {
        /// The setting, with its place.
        name: Ident,
        /// Its value as text.
        value: String,
        /// The value's place.
        value_at: Span,
    },
}

/// `CREATE [OR REPLACE] VIEW name [(columns)] AS query`.
#[derive(Debug)]
pub(crate) struct ViewDdl {
    pub(crate) name: Ident,
    pub(crate) or_replace: bool,
    pub(crate) if_not_exists: bool,
    pub(crate) columns: Vec<Ident>,
    pub(crate) query: Tokens,
}

/// `INSERT INTO table [(columns)] query`.
#[derive(Debug)]
pub(crate) struct InsertInto {
    pub(crate) table: Ident,
    pub(crate) columns: Vec<Ident>,
    pub(crate) query: Tokens,
}

/// A parser over tokens, with the limits that keep it from running out of stack.
pub(crate) fn parser(grammar: &Grammar, tokens: Tokens) -> Parser<'_> {
    Parser::new(grammar).with_recursion_limit(RECURSION_MAX).with_tokens_with_locations(tokens)
}

/// Parses one statement.
pub(crate) fn parse(tokens: Tokens) -> Result<Statement> {
    let grammar = Grammar::new(tokens.len());
    let mut parser = parser(&grammar, tokens.clone());
    let word = match &parser.peek_token_ref().token {
        Token::Word(w) if w.quote_style.is_none() => w.keyword,
        Token::LParen => Keyword::SELECT,
        _ => Keyword::NoKeyword,
    };
    let context = |e: ParserError| syntax(e, &tokens);
    match word {
        Keyword::SELECT | Keyword::WITH | Keyword::VALUES => Ok(Statement::Query(tokens)),
        Keyword::CREATE => {
            parser.advance_token();
            create(&mut parser, &tokens)
        }
        Keyword::INSERT => {
            parser.advance_token();
            insert(&mut parser, &tokens)
        }
        Keyword::EXPLAIN => {
            parser.advance_token();
            let word = parser.peek_token_ref().token.to_string().to_uppercase();
            if EXPLAIN_DETAILS.contains(&word.as_str()) {
                parser.advance_token();
                let hint = "write EXPLAIN and the query or INSERT; `rheos explain --format` draws the plan";
                return refuse(&format!("EXPLAIN {word}"), hint, &parser);
            }
            let opens = parser.peek_token_ref().token == Token::LParen;
            let option = parser.peek_nth_token_ref(1).token.to_string().to_uppercase();
            if opens && ["ANALYZE", "VERBOSE", "FORMAT", "COSTS", "BUFFERS"].contains(&option.as_str()) {
                parser.advance_token();
                parser.advance_token();
                return refuse(&format!("EXPLAIN ({option})"), "`rheos explain --format` draws the plan", &parser);
            }
            // Flink writes EXPLAIN PLAN FOR query.
            if parser.peek_token_ref().token.to_string().eq_ignore_ascii_case("plan") {
                parser.advance_token();
                parser.expect_keyword_is(Keyword::FOR).map_err(context)?;
            }
            match parse(rest(&parser, &tokens)?)? {
                inner @ (Statement::Query(_) | Statement::Insert(_)) => Ok(Statement::Explain(Box::new(inner))),
                _ => Err(Error::invalid(103, "EXPLAIN takes a query or an INSERT")
                    .with_hint("write EXPLAIN SELECT ... or EXPLAIN INSERT INTO ...")
                    .with_span(whole(&tokens).unwrap_or(place(tokens[0].span)))),
            }
        }
        Keyword::SET => {
            parser.advance_token();
            set(&mut parser).map_err(context)
        }
        _ => Err(unknown_statement(&tokens[0])),
    }
}

/// What Flink and PostgreSQL know behind EXPLAIN.
const EXPLAIN_DETAILS: [&str; 7] =
    ["ANALYZE", "VERBOSE", "ESTIMATED_COST", "CHANGELOG_MODE", "JSON_EXECUTION_PLAN", "PLAN_ADVICE", "STATEMENT"];

/// The tokens from the parser's place on. Errors: nothing is left.
fn rest(parser: &Parser<'_>, tokens: &Tokens) -> Result<Tokens> {
    let rest = tokens.get(parser.index()..).unwrap_or_default().to_vec();
    match (rest.is_empty(), tokens.last()) {
        (true, Some(last)) => Err(syntax_at("the statement ends too early", last.span)
            .with_hint("a query is missing here: SELECT ..., WITH ... or VALUES ...")),
        _ => Ok(rest),
    }
}

fn create(parser: &mut Parser<'_>, tokens: &Tokens) -> Result<Statement> {
    let context = |e: ParserError| syntax(e, tokens);
    let or_replace = parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
    let replace_at = parser.get_current_token().span;
    let _ = parser.parse_one_of_keywords(&[Keyword::TEMPORARY, Keyword::TEMP]);
    if or_replace && !parser.peek_keyword(Keyword::VIEW) {
        let what = "CREATE OR REPLACE of anything but a view is not supported";
        let error = Error::invalid(103, what).with_hint("a program starts empty, so CREATE is enough");
        return Err(error.with_span(place(replace_at)));
    }
    if parser.parse_keyword(Keyword::TABLE) {
        let tokens = split_shifts(tokens.get(parser.index()..).unwrap_or_default().to_vec());
        let grammar = Grammar::new(tokens.len());
        let mut declaration = self::parser(&grammar, tokens.clone());
        return Ok(Statement::CreateTable(ddl::create_table(&mut declaration, &tokens)?));
    }
    let _ = parser.parse_keyword(Keyword::SYSTEM);
    if parser.parse_keyword(Keyword::FUNCTION) {
        return create_function(parser, tokens).map(|()| Statement::Nothing);
    }
    if parser.parse_keyword(Keyword::VIEW) {
        let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
        if or_replace && if_not_exists {
            let error =
                syntax_at("OR REPLACE and IF NOT EXISTS contradict each other", parser.get_current_token().span);
            return Err(error.with_hint("keep one of them"));
        }
        let name = bare_name(parser, tokens)?;
        let mut columns = vec![];
        if parser.consume_token(&Token::LParen) {
            columns = parser.parse_comma_separated(Parser::parse_identifier).map_err(context)?;
            parser.expect_token(&Token::RParen).map_err(context)?;
        }
        if parser.parse_keyword(Keyword::COMMENT) {
            parser.parse_literal_string().map_err(context)?;
        }
        parser.expect_keyword_is(Keyword::AS).map_err(context)?;
        let query = rest(parser, tokens)?;
        return Ok(Statement::CreateView(ViewDdl { name, or_replace, if_not_exists, columns, query }));
    }
    let what = parser.peek_token_ref().token.to_string();
    let words = ["TABLE", "VIEW", "FUNCTION", "TEMPORARY"];
    if let Some(near) = rheos_core::error::nearest(&what, words)
        && !near.eq_ignore_ascii_case(&what)
    {
        let at = parser.peek_token_ref().span;
        return Err(
            syntax_at(&format!("CREATE {what} is not a statement"), at).with_hint(format!("did you mean '{near}'?"))
        );
    }
    refuse(
        &format!("CREATE {}", what.to_uppercase()),
        "CREATE TABLE and CREATE VIEW are there; all functions are built in",
        parser,
    )
}

fn insert(parser: &mut Parser<'_>, tokens: &Tokens) -> Result<Statement> {
    let context = |e: ParserError| syntax(e, tokens);
    if parser.parse_keyword(Keyword::OVERWRITE) {
        return refuse(
            "INSERT OVERWRITE",
            "use INSERT INTO; 'sink.if-exists' = 'replace' empties a target first",
            parser,
        );
    }
    parser.expect_keyword_is(Keyword::INTO).map_err(context)?;
    let _ = parser.parse_keyword(Keyword::TABLE);
    let table = bare_name(parser, tokens)?;
    let mut columns = vec![];
    let unsupported = [
        (Keyword::PARTITION, "INSERT INTO ... PARTITION", "select the partition's value as a column"),
        (Keyword::DEFAULT, "DEFAULT VALUES", "write the values out"),
    ];
    for (word, what, hint) in unsupported {
        if parser.parse_keyword(word) {
            return refuse(what, hint, parser);
        }
    }
    // A parenthesis may begin a column list or a query.
    let begins_query = matches!(&parser.peek_nth_token_ref(1).token,
        Token::Word(w) if matches!(w.keyword, Keyword::SELECT | Keyword::WITH | Keyword::VALUES) && w.quote_style.is_none());
    if !begins_query && parser.consume_token(&Token::LParen) {
        columns = parser.parse_comma_separated(Parser::parse_identifier).map_err(context)?;
        parser.expect_token(&Token::RParen).map_err(context)?;
    }
    let query = rest(parser, tokens)?;
    Ok(Statement::Insert(InsertInto { table, columns, query }))
}

fn set(parser: &mut Parser<'_>) -> Result<Statement, ParserError> {
    let start = parser.peek_token_ref().clone();
    let name = match start.token {
        Token::SingleQuotedString(name) => {
            parser.advance_token();
            Ident::with_quote_and_span('\'', start.span, name)
        }
        _ => {
            let parts = parser.parse_object_name(false)?;
            let text = parts.0.iter().map(|p| p.to_string().replace('"', "")).collect::<Vec<_>>().join(".");
            Ident { value: text, quote_style: None, span: start.span }
        }
    };
    if !parser.parse_keyword(Keyword::TO) {
        parser.expect_token(&Token::Eq)?;
    }
    let token = parser.next_token();
    let value_at = place(token.span);
    let value = match token.token {
        Token::SingleQuotedString(text) => text,
        Token::Number(text, _) => text,
        Token::Word(w) => w.value,
        _ => return parser.expected("the setting's value in quotes", token),
    };
    match parser.peek_token_ref().token {
        Token::EOF => Ok(Statement::Set { name, value, value_at }),
        _ => parser.expected_ref("end of statement", parser.peek_token_ref()),
    }
}

/// A table's name. Errors: one with dots in it, since there is one catalog only.
pub(crate) fn bare_name(parser: &mut Parser<'_>, tokens: &Tokens) -> Result<Ident> {
    let start = parser.peek_token_ref().span;
    let ObjectName(parts) = parser.parse_object_name(false).map_err(|e| syntax(e, tokens))?;
    match parts.as_slice() {
        [part] => part.as_ident().cloned().ok_or_else(|| syntax_at("a name is expected here", start)),
        _ => Err(Error::invalid(130, "a table's name has one part: there are no catalogs and schemas")
            .with_hint("write the name without dots, or in double quotes")
            .with_span(place(start))),
    }
}

fn refuse<T>(what: &str, hint: &str, parser: &Parser<'_>) -> Result<T> {
    let at = parser.get_current_token().span;
    Err(Error::invalid(103, format!("{what} is not supported")).with_hint(hint).with_span(place(at)))
}

fn unknown_statement(first: &TokenWithSpan) -> Error {
    let text = match &first.token {
        Token::Word(w) if w.quote_style.is_none() => w.value.to_uppercase(),
        other => other.to_string(),
    };
    let known = ["SELECT", "INSERT", "CREATE", "WITH", "VALUES", "SET", "EXPLAIN"];
    let list = format!("a statement begins with one of {}", known.join(", "));
    let error = if let Some((_, hint)) = OTHERS.iter().find(|(words, _)| words.contains(&text.as_str())) {
        let hint = if hint.is_empty() { list.as_str() } else { hint };
        Error::invalid(103, format!("{text} is not supported")).with_hint(hint)
    } else {
        Error::invalid(101, format!("a statement cannot begin with '{}'", first.token))
            .with_hint(did_you_mean(&text, known, &list))
    };
    error.with_span(place(first.span))
}

/// Statements of other systems, and what to do instead. Empty: there is nothing like it.
const OTHERS: &[(&[&str], &str)] = &[
    (&["DROP", "ALTER"], "a program starts without tables, so there is nothing to drop or alter"),
    (&["UPDATE", "DELETE", "MERGE", "REPLACE"], "a program reads streams and writes with INSERT INTO"),
    (&["TRUNCATE"], "'sink.if-exists' = 'replace' empties a target before it is written"),
    (&["SHOW", "DESCRIBE", "DESC"], "`rheos validate`, `rheos functions` and `rheos connectors` tell what there is"),
    (&["RESET"], "take the SET away; a program begins with the defaults"),
    (&["USE", "LOAD", "UNLOAD"], "take it away: there is one catalog, and all functions are there"),
    (&["ADD", "REMOVE", "CALL", "PREPARE", "DECLARE", "FETCH"], "take it away: functions and connectors are built in"),
    (&["COMPILE", "EXECUTE"], "write the INSERT INTO itself; several become one job"),
    (&["TABLE", "FROM"], "write SELECT * FROM and the table"),
    (&["COPY"], "declare both sides with CREATE TABLE, and write INSERT INTO ... SELECT"),
    (
        &["BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "LOCK"],
        "take it away: results are committed with each epoch",
    ),
    (&["ANALYZE", "VACUUM", "GRANT", "REVOKE", "LISTEN", "NOTIFY"], ""),
    (&["STOP", "QUIT", "EXIT", "CLEAR", "HELP"], "this belongs to a shell; a program is run with `rheos run`"),
];
