//! `CREATE TABLE` as Flink writes it, on sqlparser's primitives.
//!
//! ```text
//!   CREATE [TEMPORARY] TABLE [IF NOT EXISTS] t (
//!     col TYPE [NOT NULL] [PRIMARY KEY NOT ENFORCED] [COMMENT '..'], ...
//!     col TYPE METADATA [FROM 'key'] [VIRTUAL], ...
//!     col AS expression, ...
//!     WATERMARK FOR ts AS ts [- INTERVAL '5' SECOND],
//!     [CONSTRAINT name] PRIMARY KEY (col, ..) NOT ENFORCED
//!   ) [COMMENT '..'] [PARTITIONED BY (col, ..)] WITH ('connector' = '..', ...)
//! ```

use std::collections::BTreeMap;

use arrow::compute::kernels::cast_utils::{IntervalParseConfig, IntervalUnit, parse_interval_month_day_nano_config};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use rheos_core::error::{Error, Result, Span, did_you_mean};
use rheos_core::source::MaxJump;
use rheos_core::units::parse_duration_ms;
use sqlparser::ast::{BinaryOperator, Expr, Ident, Spanned, UnaryOperator, Value};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span as TokenSpan, Token, TokenWithSpan};

use crate::catalog::match_name;
use crate::constraints;
use crate::diagnose::{syntax, syntax_at};
use crate::misuse::{aggregates, first_call};
use crate::proctime::PROCTIME;
use crate::scalar::two_units;
use crate::statement::bare_name;
use crate::tokens::{Tokens, place, quoted_word};
use crate::types::parse_type;

/// A table as it is declared.
#[derive(Debug)]
pub(crate) struct TableDdl {
    pub(crate) name: Ident,
    pub(crate) if_not_exists: bool,
    pub(crate) columns: Vec<ColumnDdl>,
    pub(crate) watermark: Option<WatermarkDdl>,
    pub(crate) primary_key: Option<Span>,
    /// Its columns, as they are written there.
    pub(crate) key_columns: Vec<Ident>,
    pub(crate) partitioned_by: Vec<Ident>,
    pub(crate) options: Vec<OptionDdl>,
}

/// A column.
#[derive(Debug)]
pub(crate) struct ColumnDdl {
    pub(crate) name: Ident,
    pub(crate) kind: ColumnKind,
}

/// Where a column's values come from.
#[derive(Debug)]
pub(crate) enum ColumnKind {
    /// They are stored in the table.
    Stored {
        /// Its type.
        data_type: DataType,
        /// Whether it may be null.
        nullable: bool,
    },
    /// `name TYPE METADATA FROM 'key'`: the connector makes them; read only.
    Metadata(MetadataDdl),
    /// `name AS expression` over the other columns; read only.
    Computed(Tokens),
}

/// What a `METADATA` column says, with the places.
#[derive(Debug)]
pub(crate) struct MetadataDdl {
    pub(crate) data_type: DataType,
    pub(crate) type_at: Span,
    /// What stands behind `FROM`, else the column's name.
    pub(crate) key: String,
    pub(crate) key_at: Span,
}

/// `WATERMARK FOR column AS column - delay`.
#[derive(Debug)]
pub(crate) struct WatermarkDdl {
    pub(crate) column: Ident,
    pub(crate) delay_ms: i64,
}

/// `'name' = 'value'`, with the place of each.
#[derive(Debug, Clone)]
pub(crate) struct OptionDdl {
    pub(crate) name: String,
    pub(crate) name_at: Span,
    pub(crate) value: String,
    pub(crate) value_at: Span,
}

impl TableDdl {
    /// The stored columns as a schema. Errors: a name twice.
    pub(crate) fn schema(&self) -> Result<SchemaRef> {
        for (i, column) in self.columns.iter().enumerate() {
            if self.columns[..i].iter().any(|c| c.name.value == column.name.value) {
                return Err(Error::invalid(141, format!("the column '{}' is declared twice", column.name.value))
                    .with_hint("give each column a name of its own")
                    .with_span(place(column.name.span)));
            }
        }
        let field = |c: &ColumnDdl| match &c.kind {
            ColumnKind::Stored { data_type, nullable } => Some(Field::new(&c.name.value, data_type.clone(), *nullable)),
            ColumnKind::Metadata(_) | ColumnKind::Computed(_) => None,
        };
        Ok(SchemaRef::new(Schema::new(self.columns.iter().filter_map(field).collect::<Vec<_>>())))
    }

    /// The expression of a computed column, if the name is that of one.
    pub(crate) fn computed(&self, name: &str) -> Option<&ColumnDdl> {
        self.columns.iter().find(|c| c.name.value == name && matches!(c.kind, ColumnKind::Computed(_)))
    }

    /// Whether all columns are stored, so that a scan gives the table as it is declared.
    pub(crate) fn is_all_stored(&self) -> bool {
        self.columns.iter().all(|c| matches!(c.kind, ColumnKind::Stored { .. }))
    }

    /// Errors: there is one already.
    pub(crate) fn set_primary_key(&mut self, at: TokenSpan) -> Result<()> {
        match self.primary_key.replace(place(at)) {
            Some(_) => Err(Error::invalid(141, "a table has one PRIMARY KEY")
                .with_hint("keep one of them; PRIMARY KEY (a, b) is one of two columns")
                .with_span(place(at))),
            None => Ok(()),
        }
    }

    /// The columns of the PRIMARY KEY, as they are declared.
    pub(crate) fn primary_key(&self) -> Option<Vec<String>> {
        let names = || self.columns.iter().map(|c| c.name.value.as_str());
        let known = |key: &Ident| match_name(&key.value, names()).map_or_else(|| key.value.clone(), str::to_string);
        self.primary_key.map(|_| self.key_columns.iter().map(known).collect())
    }

    /// The columns of the PRIMARY KEY where all are stored.
    pub(crate) fn stored_key(&self) -> Vec<String> {
        let is_stored = |name: &String| {
            self.columns.iter().any(|c| c.name.value == *name && matches!(c.kind, ColumnKind::Stored { .. }))
        };
        self.primary_key().filter(|key| key.iter().all(is_stored)).unwrap_or_default()
    }

    /// Errors: the key lists a column that there is not, or one twice.
    fn check_primary_key(&self) -> Result<()> {
        let names = || self.columns.iter().map(|c| c.name.value.as_str());
        let mut seen = vec![];
        for column in &self.key_columns {
            let Some(name) = match_name(&column.value, names()) else {
                let list = format!("the columns are: {}", names().collect::<Vec<_>>().join(", "));
                return Err(Error::invalid(131, format!("PRIMARY KEY names no column '{}'", column.value))
                    .with_hint(did_you_mean(&column.value, names(), &list))
                    .with_span(place(column.span)));
            };
            if seen.contains(&name) {
                return Err(Error::invalid(141, format!("PRIMARY KEY names the column '{name}' twice"))
                    .with_hint("name each column once")
                    .with_span(place(column.span)));
            }
            seen.push(name);
        }
        Ok(())
    }

    /// `SELECT a, (expression) AS b, .. FROM table`: what is read from a table whose columns are not all stored, in the
    /// order of their declaration. Those of `stored`
    /// are taken as they are.
    pub(crate) fn reading_query(&self, is_stored: impl Fn(&str) -> bool) -> Tokens {
        let put = |token: Token| TokenWithSpan::new(token, self.name.span);
        let word = |keyword: &str| Token::make_keyword(keyword);
        let mut query = vec![put(word("SELECT"))];
        for (i, column) in self.columns.iter().enumerate() {
            if i > 0 {
                query.push(put(Token::Comma));
            }
            let name = TokenWithSpan::new(quoted_word(&column.name.value), column.name.span);
            match &column.kind {
                ColumnKind::Computed(expression) if !is_stored(&column.name.value) => {
                    query.push(put(Token::LParen));
                    query.extend(expression.iter().cloned());
                    query.extend([put(Token::RParen), put(word("AS")), name]);
                }
                _ => query.push(name),
            }
        }
        query.extend([put(word("FROM")), TokenWithSpan::new(quoted_word(&self.name.value), self.name.span)]);
        query
    }

    /// The columns of `PARTITIONED BY`, as they are spelled in `schema` or, where the columns are not declared, as they
    /// stand. Errors: an unknown column, a name twice.
    pub(crate) fn partition_columns(&self, schema: &Schema) -> Result<Vec<String>> {
        let mut names: Vec<String> = vec![];
        for ident in &self.partitioned_by {
            let at = place(ident.span);
            let columns = || schema.fields().iter().map(|f| f.name().as_str());
            let name = match match_name(&ident.value, columns()) {
                Some(name) => name,
                None if self.columns.is_empty() => &ident.value,
                None => {
                    let list = format!("the columns are: {}", columns().collect::<Vec<_>>().join(", "));
                    return Err(Error::invalid(131, format!("PARTITIONED BY names no column '{}'", ident.value))
                        .with_hint(did_you_mean(&ident.value, columns(), &list))
                        .with_span(at));
                }
            };
            if names.iter().any(|n| n == name) {
                return Err(Error::invalid(141, format!("PARTITIONED BY names the column '{name}' twice"))
                    .with_hint("name each column once")
                    .with_span(at));
            }
            names.push(name.to_string());
        }
        Ok(names)
    }

    /// Takes an option out, so that the connector does not see it.
    pub(crate) fn take_option(&mut self, name: &str) -> Option<OptionDdl> {
        let at = self.options.iter().position(|o| o.name == name)?;
        Some(self.options.remove(at))
    }

    /// What is left for the connector.
    pub(crate) fn connector_options(&self) -> BTreeMap<String, String> {
        self.options.iter().map(|o| (o.name.clone(), o.value.clone())).collect()
    }
}

/// Parses everything behind `CREATE TABLE`.
pub(crate) fn create_table(parser: &mut Parser<'_>, tokens: &Tokens) -> Result<TableDdl> {
    let context = |e: ParserError| syntax(e, tokens);
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let name = bare_name(parser, tokens)?;
    let mut table = TableDdl {
        name,
        if_not_exists,
        columns: vec![],
        watermark: None,
        primary_key: None,
        key_columns: vec![],
        partitioned_by: vec![],
        options: vec![],
    };
    if parser.consume_token(&Token::LParen) {
        loop {
            element(parser, tokens, &mut table)?;
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        if parser.peek_token_ref().token != Token::RParen {
            return Err(missing_comma(parser));
        }
        parser.advance_token();
        check_watermark(&table)?;
        table.check_primary_key()?;
    }
    if parser.parse_keyword(Keyword::COMMENT) {
        let _ = parser.consume_token(&Token::Eq);
        parser.parse_literal_string().map_err(context)?;
    }
    if parser.parse_keyword(Keyword::PARTITIONED) {
        parser.expect_keyword_is(Keyword::BY).map_err(context)?;
        parser.expect_token(&Token::LParen).map_err(context)?;
        table.partitioned_by = parser.parse_comma_separated(Parser::parse_identifier).map_err(context)?;
        parser.expect_token(&Token::RParen).map_err(context)?;
    }
    let at = parser.peek_token_ref().span;
    let unsupported = [(Keyword::AS, "CREATE TABLE ... AS"), (Keyword::LIKE, "CREATE TABLE ... LIKE")];
    for (word, name) in unsupported {
        if parser.peek_keyword(word) {
            return Err(not_supported(name, DECLARE, at));
        }
    }
    if parser.parse_keyword(Keyword::WITH) {
        parser.expect_token(&Token::LParen).map_err(context)?;
        if parser.peek_token_ref().token != Token::RParen {
            options(parser, tokens, &mut table)?;
        }
        parser.expect_token(&Token::RParen).map_err(context)?;
    }
    let at = parser.peek_token_ref().span;
    for (word, name) in unsupported {
        if parser.peek_keyword(word) {
            return Err(not_supported(name, DECLARE, at));
        }
    }
    match parser.peek_token_ref().token {
        Token::EOF => Ok(table),
        _ => Err(parser
            .expected_ref::<()>("WITH ('connector' = '...') and then the end of the statement", parser.peek_token_ref())
            .map_or_else(context, |()| syntax_at("the statement goes on where it should end", at))),
    }
}

/// What to write in place of a table that is made of another one.
const DECLARE: &str = "declare the table with its columns, and fill it by INSERT INTO";

/// Errors: the watermark is on `PROCTIME()`, which is no event time.
fn check_watermark(table: &TableDdl) -> Result<()> {
    let Some(WatermarkDdl { column, .. }) = &table.watermark else { return Ok(()) };
    let is_clock = |c: &&ColumnDdl| match &c.kind {
        ColumnKind::Computed(tokens) => {
            matches!(tokens.first().map(|t| &t.token), Some(Token::Word(w)) if w.value.eq_ignore_ascii_case(PROCTIME))
        }
        ColumnKind::Stored { .. } | ColumnKind::Metadata(_) => false,
    };
    match table.columns.iter().filter(is_clock).any(|c| c.name.value.eq_ignore_ascii_case(&column.value)) {
        true => Err(Error::invalid(139, format!("'{}' is processing time, which has no watermark", column.value))
            .with_hint(format!("take the WATERMARK away; a window over DESCRIPTOR({}) needs none", column.value))
            .with_span(place(column.span))),
        false => Ok(()),
    }
}

fn missing_comma(parser: &Parser<'_>) -> Error {
    let token = parser.peek_token_ref();
    if token.token == Token::EOF {
        return syntax_at("the column list is not closed", parser.get_current_token().span)
            .with_hint("put a ')' behind the last column");
    }
    syntax_at(&format!("'{}' is not expected behind a column", token.token), token.span)
        .with_hint("a ',' between two columns, or the ')' behind the last one, may be missing")
}

fn element(parser: &mut Parser<'_>, tokens: &Tokens, table: &mut TableDdl) -> Result<()> {
    let word = |n: usize| match &parser.peek_nth_token_ref(n).token {
        Token::Word(w) if w.quote_style.is_none() => w.value.to_uppercase(),
        other => other.to_string(),
    };
    if word(0) == "WATERMARK" && word(1) == "FOR" {
        return watermark(parser, tokens, table);
    }
    match constraints::of_table(parser, tokens, table)? {
        true => Ok(()),
        false => column(parser, tokens, table),
    }
}

fn column(parser: &mut Parser<'_>, tokens: &Tokens, table: &mut TableDdl) -> Result<()> {
    let context = |e: ParserError| syntax(e, tokens);
    let start = parser.peek_token_ref().span;
    let name = parser.parse_identifier().map_err(context)?;
    if parser.parse_keyword(Keyword::AS) {
        let from = parser.index();
        let parsed = parser.parse_expr().map_err(context)?;
        if let Some((function, at)) = first_call(&parsed, aggregates) {
            return Err(Error::invalid(153, format!("a computed column cannot be an aggregate, as {function} is"))
                .with_hint("it is made of the columns of its own row; aggregate in a query")
                .with_span(at));
        }
        let expression = tokens.get(from..parser.index()).unwrap_or_default().to_vec();
        if parser.parse_keyword(Keyword::COMMENT) {
            parser.parse_literal_string().map_err(context)?;
        }
        table.columns.push(ColumnDdl { name, kind: ColumnKind::Computed(expression) });
        return Ok(());
    }
    if matches!(parser.peek_token_ref().token, Token::Comma | Token::RParen | Token::EOF) {
        return Err(syntax_at(&format!("the column '{}' has no type", name.value), start)
            .with_hint(format!("write '{} STRING', or another type", name.value)));
    }
    let type_from = parser.peek_token_ref().span;
    let data_type = parse_type(parser, tokens)?;
    let type_at = place(TokenSpan::new(type_from.start, parser.get_current_token().span.end));
    let (mut nullable, mut metadata) = (true, None);
    loop {
        let at = parser.peek_token_ref().span;
        if parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
            nullable = false;
        } else if parser.parse_keyword(Keyword::COMMENT) {
            parser.parse_literal_string().map_err(context)?;
        } else if parser.peek_token_ref().token.to_string().eq_ignore_ascii_case("metadata") {
            parser.advance_token();
            metadata = Some(metadata_key(parser, tokens, &name)?);
        } else if parser.peek_keyword(Keyword::DEFAULT) {
            return Err(not_supported("DEFAULT", "use COALESCE in the query", at));
        } else if !constraints::of_column(parser, tokens, &name, table)? && !parser.parse_keyword(Keyword::NULL) {
            break;
        }
    }
    let kind = match metadata {
        None => ColumnKind::Stored { data_type, nullable },
        Some((key, key_at)) => ColumnKind::Metadata(MetadataDdl { data_type, type_at, key, key_at }),
    };
    table.columns.push(ColumnDdl { name, kind });
    Ok(())
}

/// `[FROM 'key'] [VIRTUAL]` behind `METADATA`: the key and its place. Every such column is virtual.
fn metadata_key(parser: &mut Parser<'_>, tokens: &Tokens, column: &Ident) -> Result<(String, Span)> {
    let mut key = (column.value.clone(), place(column.span));
    if parser.parse_keyword(Keyword::FROM) {
        let at = parser.peek_token_ref().span;
        key = (parser.parse_literal_string().map_err(|e| syntax(e, tokens))?, place(at));
    }
    let _ = parser.parse_keyword(Keyword::VIRTUAL);
    Ok(key)
}

fn watermark(parser: &mut Parser<'_>, tokens: &Tokens, table: &mut TableDdl) -> Result<()> {
    let context = |e: ParserError| syntax(e, tokens);
    let start = parser.peek_token_ref().span;
    parser.advance_token();
    parser.advance_token();
    let column = parser.parse_identifier().map_err(context)?;
    if parser.peek_token_ref().token == Token::Period {
        let hint = "declare a column for it, as in ts AS r.ts, and write WATERMARK FOR ts AS ts";
        return Err(not_supported("WATERMARK FOR a field of a row", hint, column.span));
    }
    parser.expect_keyword_is(Keyword::AS).map_err(context)?;
    let from = parser.peek_token_ref().span;
    let expr = parser.parse_expr().map_err(context)?;
    let at = place(TokenSpan::new(from.start, parser.get_current_token().span.end));
    if table.watermark.is_some() {
        return Err(Error::invalid(139, "a table has one WATERMARK")
            .with_hint("keep one of them")
            .with_span(place(start)));
    }
    let same = |e: &Expr| matches!(e, Expr::Identifier(i) if i.value.eq_ignore_ascii_case(&column.value));
    let delay_ms = match &expr {
        e if same(e) => 0,
        Expr::BinaryOp { left, op: BinaryOperator::Minus, right } if same(left) => {
            let ms = interval_ms(right).map_err(|e| e.with_span(at))?;
            if ms < 0 {
                return Err(Error::invalid(139, "the watermark's delay is negative")
                    .with_hint("write it as ts - INTERVAL '5' SECOND")
                    .with_span(at));
            }
            ms
        }
        _ => {
            let name = &column.value;
            return Err(Error::invalid(139, "a watermark is the column, or the column minus an interval")
                .with_hint(format!("write WATERMARK FOR {name} AS {name} - INTERVAL '5' SECOND"))
                .with_span(at));
        }
    };
    table.watermark = Some(WatermarkDdl { column, delay_ms });
    Ok(())
}

fn options(parser: &mut Parser<'_>, tokens: &Tokens, table: &mut TableDdl) -> Result<()> {
    loop {
        let name_token = parser.next_token();
        let name = match &name_token.token {
            Token::SingleQuotedString(s) => s.clone(),
            Token::Word(w) => w.value.clone(),
            _ => {
                let e = parser.expected::<()>("an option: 'name' = 'value'", name_token).err();
                return Err(e.map_or_else(|| Error::internal("no option"), |e| syntax(e, tokens)));
            }
        };
        parser.expect_token(&Token::Eq).map_err(|e| syntax(e, tokens))?;
        let value_token = parser.next_token();
        let value = match &value_token.token {
            Token::SingleQuotedString(s) => s.clone(),
            Token::Number(n, _) => n.clone(),
            Token::Word(w)
                if w.quote_style.is_none() && ["true", "false"].contains(&w.value.to_lowercase().as_str()) =>
            {
                w.value.to_lowercase()
            }
            other => {
                return Err(syntax_at(&format!("the value of '{name}' must be in single quotes"), value_token.span)
                    .with_hint(format!("write '{name}' = '{}'", other.to_string().trim_matches('"'))));
            }
        };
        if table.options.iter().any(|o| o.name == name) {
            return Err(Error::invalid(140, format!("the option '{name}' is given twice"))
                .with_hint("keep one of them")
                .with_span(place(name_token.span)));
        }
        let (name_at, value_at) = (place(name_token.span), place(value_token.span));
        table.options.push(OptionDdl { name, name_at, value, value_at });
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    let next = parser.peek_token_ref();
    match &next.token {
        Token::SingleQuotedString(name) => Err(syntax_at("a ',' is missing between two options", next.span)
            .with_hint(format!("put a ',' before '{name}'"))),
        _ => Ok(()),
    }
}

pub(crate) fn not_supported(what: &str, hint: &str, at: TokenSpan) -> Error {
    Error::invalid(142, format!("{what} is not supported yet")).with_hint(hint).with_span(place(at))
}

/// `idle-timeout`, in ms.
pub(crate) fn idle_timeout_ms(option: &OptionDdl) -> Result<i64> {
    match parse_duration_ms(&option.value).map_err(|e| e.context("option 'idle-timeout'").with_span(option.value_at))? {
        ms if ms > 0 => Ok(ms),
        _ => Err(Error::invalid(140, "option 'idle-timeout' must be more than zero")
            .with_hint("write it as '30 s'")
            .with_span(option.value_at)),
    }
}

/// `watermark.max-jump`: how far ahead of the clock event times may be.
pub(crate) fn max_jump(option: &OptionDdl) -> Result<MaxJump> {
    if option.value.eq_ignore_ascii_case("off") {
        return Ok(MaxJump::Off);
    }
    let refuse = |e: Error| e.context("option 'watermark.max-jump'").with_span(option.value_at);
    match parse_duration_ms(&option.value).map_err(refuse)? {
        ms if ms > 0 => Ok(MaxJump::Ms(ms)),
        _ => Err(Error::invalid(140, "option 'watermark.max-jump' must be more than zero")
            .with_hint("write it as '1 d', or 'off'")
            .with_span(option.value_at)),
    }
}

/// The connector's name. Errors: none is given; the hint names one that is spelled nearly so.
pub(crate) fn connector_name(table: &mut TableDdl) -> Result<OptionDdl> {
    let name_at = place(table.name.span);
    if let Some(option) = table.take_option("connector") {
        return Ok(option);
    }
    let list = "add WITH ('connector' = '...'); `rheos connectors` lists them";
    let near = table.options.iter().find(|o| did_you_mean(&o.name, ["connector"], "").contains("connector"));
    let (hint, at) = match near {
        Some(option) => ("did you mean 'connector'?".to_string(), option.name_at),
        None => (list.to_string(), name_at),
    };
    Err(Error::invalid(140, format!("the table '{}' has no connector", table.name.value)).with_hint(hint).with_span(at))
}

/// A literal interval in milliseconds. Errors: months and years, since they have no fixed length; anything but a literal.
pub(crate) fn interval_ms(expr: &Expr) -> Result<i64> {
    let example = "write it as INTERVAL '10' SECOND, or INTERVAL '1' HOUR";
    let refuse = |what: String| Error::invalid(147, what).with_hint(example);
    let Expr::Interval(interval) = expr else {
        return match expr {
            Expr::Nested(inner) => interval_ms(inner),
            _ => Err(refuse(format!("'{expr}' is not an interval"))),
        };
    };
    let plain = two_units::plain(interval)?;
    let interval = plain.as_ref().unwrap_or(interval);
    let (negative, value) = match interval.value.as_ref() {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => (true, expr.as_ref()),
        other => (false, other),
    };
    let number = match value {
        Expr::Value(v) => match &v.value {
            Value::SingleQuotedString(s) => s.clone(),
            Value::Number(n, _) => n.clone(),
            _ => return Err(refuse(format!("'{expr}' is not an interval of fixed length"))),
        },
        _ => return Err(refuse(format!("'{expr}' is not an interval of fixed length"))),
    };
    let text = match &interval.leading_field {
        Some(unit) => format!("{number} {unit}"),
        None => number,
    };
    let config = IntervalParseConfig::new(IntervalUnit::Second);
    let parsed = parse_interval_month_day_nano_config(&text, config)
        .map_err(|_| refuse(format!("'{text}' is not an interval")))?;
    if parsed.months != 0 {
        return Err(refuse("months and years have no fixed length, so they are not supported here".into()));
    }
    if parsed.nanoseconds % 1_000_000 != 0 {
        return Err(refuse("an interval finer than a millisecond is not supported here".into()));
    }
    let ms = i64::from(parsed.days) * 86_400_000 + parsed.nanoseconds / 1_000_000;
    Ok(if negative { -ms } else { ms })
}

/// The place of an expression, where it has one.
pub(crate) fn expr_place(expr: &Expr) -> Option<Span> {
    let span = expr.span();
    (span.start.line > 0).then(|| place(span))
}
