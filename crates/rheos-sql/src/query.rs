//! A query's tokens to a logical plan.
//!
//! ```text
//!   tokens ── parse ──► AST ── refuse, group windows ──► DataFusion ──► plan
//!     ▲                                                     │
//!     └── a name that fits only without its case is mended ─┘
//! ```
//!
//! DataFusion matches names exactly. A name that it does not find, and that fits exactly one known name without case, is
//! replaced in the tokens, and the query is planned again; so the scopes are always DataFusion's own.

use std::collections::BTreeSet;

use datafusion_common::{Column, DataFusionError, SchemaError};
use datafusion_expr::LogicalPlan;
use datafusion_sql::planner::{NullOrdering, ParserOptions, SqlToRel};
use rheos_core::error::{Error, Result};
use sqlparser::ast::{Query, Statement as Sql};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::absent;
use crate::catalog::{Catalog, match_name};
use crate::costs;
use crate::diagnose::{self, syntax, syntax_at};
use crate::dialect;
use crate::fields;
use crate::grammar::Grammar;
use crate::group_casts;
use crate::group_windows;
use crate::misuse;
use crate::nested_casts;
use crate::refuse;
use crate::scalar::lengths;
use crate::select_names;
use crate::set_types;
use crate::sets;
use crate::statement::parser;
use crate::tokens::{Tokens, place, quoted_word};
use crate::unnest;
use crate::using;
use crate::values;

/// Names that may be mended in one query. Each costs one more planning.
const MENDED_MAX: usize = 400;

/// Plans a query. Errors: `Invalid` with the place in the user's text.
pub(crate) fn plan(tokens: &Tokens, catalog: &Catalog) -> Result<LogicalPlan> {
    let mut tokens = tokens.clone();
    for _ in 0..MENDED_MAX {
        let query = parse(&tokens, catalog)?;
        let error = match to_plan(query, catalog)? {
            Ok(plan) => {
                costs::check_size(&plan, &tokens)?;
                let plan = set_types::check(&plan).and_then(|()| sets::counted(plan));
                let plan = plan.and_then(values::named).and_then(using::unmarked);
                let plan = plan.and_then(nested_casts::by_position);
                return plan.map_err(|e| diagnose::planning(e, &tokens, catalog));
            }
            Err(error) => error,
        };
        if !mend(&error, &mut tokens, catalog) {
            merged_in_subquery(&error, &tokens)?;
            return Err(diagnose::planning(error, &tokens, catalog));
        }
    }
    Err(Error::invalid(131, "too many names in this query differ from the declared ones in upper and lower case")
        .with_hint("write the names as they are declared"))
}

fn parse(tokens: &Tokens, catalog: &Catalog) -> Result<Query> {
    absent::check(tokens)?;
    check_commas(tokens)?;
    let grammar = Grammar::new(tokens.len());
    let mut parser = parser(&grammar, tokens.clone());
    let mut query = parser.parse_query().map_err(|e| syntax(e, tokens))?;
    if parser.peek_token_ref().token != Token::EOF {
        let error = parser.expected_ref::<()>("end of statement", parser.peek_token_ref());
        return Err(error.map_or_else(|e| syntax(e, tokens), |()| Error::internal("the end of a query was lost")));
    }
    costs::check_reads(&query, tokens)?;
    costs::check(&query, catalog)?;
    refuse::check(&query)?;
    misuse::check(&query)?;
    group_windows::rewrite(&mut query)?;
    select_names::rewrite(&mut query);
    lengths::rewrite(&mut query)?;
    dialect::rewrite(&mut query)?;
    group_casts::rewrite(&mut query);
    fields::rewrite(&mut query);
    unnest::rewrite(&mut query);
    using::rewrite(&mut query);
    // Once more, with what was written out and with the functions' own names.
    costs::check(&query, catalog)?;
    Ok(*query)
}

/// Refuses FROM where the parser would take it for a column or a function.
fn check_commas(tokens: &Tokens) -> Result<()> {
    let is = |token: &TokenWithSpan, keyword: Keyword| matches!(&token.token, Token::Word(w) if w.keyword == keyword && w.quote_style.is_none());
    for pair in tokens.windows(2).filter(|pair| is(&pair[1], Keyword::FROM)) {
        let hint = match &pair[0].token {
            Token::Comma => "there is a ',' too much before it",
            _ if is(&pair[0], Keyword::SELECT) => "name the columns between SELECT and FROM, or write *",
            _ => continue,
        };
        let what = format!("an expression is expected here, but this is '{}'", pair[1].token);
        return Err(syntax_at(&what, pair[1].span).with_hint(hint));
    }
    Ok(())
}

type Planned = std::result::Result<LogicalPlan, DataFusionError>;

fn to_plan(query: Query, catalog: &Catalog) -> Result<Planned> {
    let options = ParserOptions::new()
        .with_parse_float_as_decimal(true)
        .with_enable_ident_normalization(false)
        .with_collect_spans(true)
        .with_map_string_types_to_utf8view(false)
        .with_default_null_ordering(NullOrdering::NullsMax);
    let planner = SqlToRel::new_with_options(catalog, options);
    Ok(planner.sql_statement_to_plan(Sql::Query(Box::new(query))))
}

/// Replaces a name that was not found by the only one that it fits without case. False: there is none.
fn mend(error: &DataFusionError, tokens: &mut Tokens, catalog: &Catalog) -> bool {
    if let Some((field, valid)) = missing_field(error) {
        let span = field.spans.first().or_else(|| diagnose::diagnostic_span(error));
        let Some(found) = match_column(field, valid) else {
            let owner = match_owner(field, valid).or_else(|| match_table(field, valid));
            return owner.is_some_and(|(wrong, right)| replace(tokens, span, &wrong, &right));
        };
        return replace(tokens, span, &field.name, &found.name)
            || match (&field.relation, &found.relation) {
                (Some(wrong), Some(right)) if wrong.table() != right.table() => {
                    replace(tokens, span, wrong.table(), right.table())
                }
                _ => false,
            };
    }
    if let Some((name, merged)) = merged_column(error) {
        return qualify(tokens, diagnose::diagnostic_span(error), &name, &merged);
    }
    // A CTE is a table too, but only the query knows of it.
    if let Some(name) = diagnose::missing_table(error) {
        let ctes: Vec<_> = cte_names(tokens);
        if let Some(found) = match_name(&name, ctes.iter().map(String::as_str)).map(str::to_string)
            && found != name
            && catalog_knows(catalog, &name).is_none()
        {
            return replace(tokens, None, &name, &found);
        }
    }
    false
}

fn catalog_knows<'c>(catalog: &'c Catalog, name: &str) -> Option<&'c str> {
    match_name(name, catalog.names())
}

fn missing_field(error: &DataFusionError) -> Option<(&Column, &[Column])> {
    error.iter().find_map(|e| match e.find_root() {
        DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => Some((field.as_ref(), valid_fields.as_slice())),
            _ => None,
        },
        _ => None,
    })
}

/// A name that stands for a merged column where DataFusion does not look for one (WHERE, ON), and the relation of that.
fn merged_column(error: &DataFusionError) -> Option<(String, String)> {
    let name = error.iter().find_map(|e| match e.find_root() {
        DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
            SchemaError::AmbiguousReference { field } if field.relation.is_none() => Some(field.name.clone()),
            _ => None,
        },
        _ => None,
    })?;
    let notes = error.iter().find_map(|e| e.diagnostic()).map(|d| d.notes.as_slice()).unwrap_or_default();
    let possible = |message: &'_ str| -> Option<String> {
        let column = message.strip_prefix("possible column ")?;
        Some(column.strip_suffix(&name)?.strip_suffix('.')?.to_string())
    };
    let relations: Vec<_> = notes.iter().filter_map(|note| possible(&note.message)).collect();
    let relation = using::common_relation(&relations.iter().map(String::as_str).collect::<Vec<_>>())?.to_string();
    Some((name, relation))
}

/// Refuses a merged column of `USING` that a subquery reads from the query around it. Behind a name without a table DataFusion
/// looks for one column there, and the tables of the join have theirs, too.
fn merged_in_subquery(error: &DataFusionError, tokens: &Tokens) -> Result<()> {
    let Some((field, valid)) = missing_field(error) else { return Ok(()) };
    let is_key =
        field.relation.is_none() && !valid.iter().any(|c| c.name == field.name) && is_using(tokens, &field.name);
    let Some(span) = field.spans.first().or_else(|| diagnose::diagnostic_span(error)).filter(|_| is_key) else {
        return Ok(());
    };
    let what = format!("there is no column '{}' here: a subquery cannot read that of USING yet", field.name);
    let at = tokens.iter().find(|t| starts_in(t, span)).map(|t| t.span);
    let error = Error::invalid(131, what).with_hint(format!("name a table of the join, as in t.{}", field.name));
    Err(match at {
        Some(at) => error.with_span(place(at)),
        None => error,
    })
}

/// Whether a name is in the list of some `USING (..)`.
fn is_using(tokens: &Tokens, name: &str) -> bool {
    let is_list = |i: usize| matches!(&tokens[i].token, Token::Word(w) if w.keyword == Keyword::USING);
    (0..tokens.len()).filter(|i| is_list(*i)).any(|i| {
        let list = tokens[i + 1..].iter().take_while(|t| t.token != Token::RParen);
        list.into_iter().any(|t| matches!(&t.token, Token::Word(w) if w.value.eq_ignore_ascii_case(name)))
    })
}

/// Writes a relation before a name, in the token inside `span`.
fn qualify(tokens: &mut Tokens, span: Option<datafusion_common::Span>, name: &str, relation: &str) -> bool {
    let Some(span) = span else { return false };
    let says = |t: &TokenWithSpan| matches!(&t.token, Token::Word(w) if w.value == name) && starts_in(t, span);
    let Some(at) = tokens.iter().position(says) else { return false };
    let put = |token: Token| TokenWithSpan::new(token, tokens[at].span);
    tokens.splice(at..at, [put(quoted_word(relation)), put(Token::Period)]);
    true
}

fn starts_in(token: &TokenWithSpan, span: datafusion_common::Span) -> bool {
    let start = (token.span.start.line, token.span.start.column);
    (span.start.line, span.start.column) <= start && start <= (span.end.line, span.end.column)
}

/// The only column that fits without case, in its name or its table's.
fn match_column<'c>(field: &Column, valid: &'c [Column]) -> Option<&'c Column> {
    let same = |a: &str, b: &str| a.to_lowercase() == b.to_lowercase();
    let fits = |c: &&Column| {
        same(&c.name, &field.name)
            && match (&field.relation, &c.relation) {
                (Some(wanted), Some(known)) => same(wanted.table(), known.table()),
                (Some(_), None) => false,
                (None, _) => true,
            }
    };
    let exact = |c: &&Column| c.name == field.name && (field.relation.is_none() || c.relation == field.relation);
    let mut found: Vec<_> = valid.iter().filter(fits).collect();
    if found.iter().any(exact) {
        return None;
    }
    // The same name with its own case is the better fit when only the table's name differs.
    if found.len() > 1 && found.iter().filter(|c| c.name == field.name).count() == 1 {
        found.retain(|c| c.name == field.name);
    }
    // Whichever of several tables it is of, that is how it is spelled.
    if field.relation.is_none() && found.iter().all(|c| c.name == found[0].name) {
        found.truncate(1);
    }
    match found.as_slice() {
        [only] => Some(only),
        _ => None,
    }
}

/// In `R.a` or `t.R.a`, which is read as a table and its column: a column R, a row, that fits without case; in `T.r.a`
/// a table. What stands there, and what it should be.
fn match_owner(field: &Column, valid: &[Column]) -> Option<(String, String)> {
    let parts = field.relation.as_ref()?.to_vec();
    let (first, second) = (parts.first()?, parts.get(1));
    let tables: BTreeSet<_> = valid.iter().filter_map(|c| c.relation.as_ref()).map(|r| r.table()).collect();
    let table = match_name(first, tables);
    let of_table = |c: &&Column| c.relation.as_ref().map(|relation| relation.table()) == table;
    let (wrong, right) = match (table, second) {
        (Some(table), _) if table != first => (first, table),
        (Some(_), Some(column)) => (column, match_name(column, names_of(valid.iter().filter(of_table)))?),
        (Some(_), None) => return None,
        (None, _) => (first, match_name(first, names_of(valid.iter()))?),
    };
    Some((wrong.clone(), right.to_string()))
}

/// In `T.list[1]`, which is read as a column `T`: a table.
fn match_table(field: &Column, valid: &[Column]) -> Option<(String, String)> {
    let tables: BTreeSet<_> = valid.iter().filter_map(|c| c.relation.as_ref()).map(|r| r.table()).collect();
    let found = match_name(&field.name, tables).filter(|_| field.relation.is_none())?;
    Some((field.name.clone(), found.to_string()))
}

/// Each name once.
fn names_of<'c>(columns: impl Iterator<Item = &'c Column>) -> BTreeSet<&'c str> {
    columns.map(|c| c.name.as_str()).collect()
}

/// Replaces the name's tokens, those inside `span` if it is known.
fn replace(tokens: &mut Tokens, span: Option<datafusion_common::Span>, name: &str, with: &str) -> bool {
    if name == with {
        return false;
    }
    let inside = |t: &TokenWithSpan| span.is_none_or(|s| starts_in(t, s));
    let mut replaced = false;
    for token in tokens.iter_mut().filter(|t| inside(t)) {
        if matches!(&token.token, Token::Word(w) if w.value == name) {
            token.token = quoted_word(with);
            replaced = true;
        }
    }
    replaced
}

/// The names that WITH clauses define: words before `AS (`, or before a column list and `AS (`.
fn cte_names(tokens: &Tokens) -> Vec<String> {
    let mut names = vec![];
    for (i, token) in tokens.iter().enumerate() {
        let is_as = matches!(&token.token, Token::Word(w) if w.keyword == Keyword::AS && w.quote_style.is_none());
        if is_as
            && matches!(tokens.get(i + 1).map(|t| &t.token), Some(Token::LParen))
            && let Some(TokenWithSpan { token: Token::Word(w), .. }) = i.checked_sub(1).and_then(|b| tokens.get(b))
        {
            names.push(w.value.clone());
        }
    }
    names
}
