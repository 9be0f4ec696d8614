//! Program text to statements, as tokens that keep their place in the user's text.
//!
//! ```text
//!   text ── tokenize ──► tokens ── fill ${NAME} ──► split at ';' ──► TABLE(f(TABLE x, ..)) becomes f(x, ..)
//! ```
//!
//! Invariant: every token carries a span of the original text, whatever was filled in or taken away, so an error can
//! always point at what the user wrote. Variables are filled into tokens and never into text, so a value cannot turn
//! into SQL.

use std::collections::BTreeMap;

use rheos_core::error::{Error, Result, Span, did_you_mean};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Span as TokenSpan, Token, TokenWithSpan, Tokenizer, Word};

use crate::cast_types;
use crate::grammar::Grammar;
use crate::scalar::syntax;
use crate::statement_set;
use crate::windows::PARTITION_BY;

/// Operators in one expression, counted with everything around it. A deeper tree would not fit on a worker's stack.
const DEPTH_TOKENS_MAX: usize = 1500;

/// One statement: its tokens, without blanks and comments, and without the closing `;`.
pub(crate) type Tokens = Vec<TokenWithSpan>;

/// Cuts a program into statements with all variables filled in.
pub(crate) fn statements(text: &str, variables: &BTreeMap<String, String>) -> Result<Vec<Tokens>> {
    let tokens = Tokenizer::new(&Grammar::new(0), text).tokenize_with_location().map_err(|e| {
        let place = Span {
            line: e.location.line,
            column: e.location.column,
            end_line: e.location.line,
            end_column: e.location.column + 1,
        };
        Error::invalid(100, format!("the text cannot be read: {}", lower_first(&e.message)))
            .with_hint("check that every quote and comment is closed")
            .with_span(place)
    })?;
    let tokens = without_blanks(tokens);
    let tokens = fill_variables(text, tokens, variables)?;
    let mut statements = vec![];
    for part in tokens.split(|t| t.token == Token::SemiColon) {
        if !part.is_empty() {
            let statement = name_partition_arguments(unwrap_table_functions(part.to_vec()));
            let statement = cast_types::named(syntax::rewrite(statement)?)?;
            check_depth(&statement)?;
            statements.push(statement);
        }
    }
    statement_set::unwrap(statements)
}

/// Hints are comments here; `hints` has read them.
pub(crate) fn without_blanks(tokens: Tokens) -> Tokens {
    tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF)).collect()
}

/// Where a token is, in the form of our errors.
pub(crate) fn place(span: TokenSpan) -> Span {
    Span {
        line: span.start.line,
        column: span.start.column,
        end_line: span.end.line,
        end_column: span.end.column.max(span.start.column + u64::from(span.start.line == span.end.line)),
    }
}

/// From the first to the last token.
pub(crate) fn whole(tokens: &[TokenWithSpan]) -> Option<Span> {
    let (first, last) = (tokens.first()?, tokens.last()?);
    Some(place(TokenSpan::new(first.span.start, last.span.end)))
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_lowercase().chain(chars).collect())
}

// ---- variables ----

/// The tokens of `text` with all `${NAME}` filled in. Errors: R0102, R0106.
pub(crate) fn fill_variables(text: &str, tokens: Tokens, variables: &BTreeMap<String, String>) -> Result<Tokens> {
    let mut filled: Tokens = Vec::with_capacity(tokens.len());
    let mut rest = tokens.into_iter().peekable();
    while let Some(mut token) = rest.next() {
        let span = token.span;
        let in_text = |s: &str| fill_text(text, span, s, variables);
        match &mut token.token {
            Token::SingleQuotedString(s) | Token::EscapedStringLiteral(s) => *s = in_text(s)?,
            Token::Word(w) if w.quote_style.is_some() => w.value = in_text(&w.value)?,
            Token::Word(w) if w.value.ends_with('$') && next_is_brace(&mut rest, span) => {
                return Err(Error::invalid(106, "a variable must be a whole word of its own")
                    .with_hint(format!("put the name into quotes: \"{}{{...}}\"", w.value))
                    .with_span(place(span)));
            }
            Token::Placeholder(p) if p == "$" && next_is_brace(&mut rest, span) => {
                let (name, end) = braced_name(&mut rest, span)?;
                let span = TokenSpan::new(span.start, end);
                let value = lookup(&name, variables, place(span))?;
                let as_name = wants_identifier(&filled, rest.peek().map(|t| &t.token));
                filled.extend(literal_tokens(value, as_name, span));
                continue;
            }
            _ => {}
        }
        filled.push(token);
    }
    Ok(filled)
}

type Rest = std::iter::Peekable<std::vec::IntoIter<TokenWithSpan>>;

fn next_is_brace(rest: &mut Rest, before: TokenSpan) -> bool {
    rest.peek().is_some_and(|t| t.token == Token::LBrace && t.span.start == before.end)
}

fn braced_name(rest: &mut Rest, start: TokenSpan) -> Result<(String, Location)> {
    let bad = |span: TokenSpan| {
        Err(Error::invalid(106, "a variable is written ${NAME}")
            .with_hint("letters, digits and '_' between the braces, and nothing else")
            .with_span(place(TokenSpan::new(start.start, span.end))))
    };
    let brace = rest.next().map_or(start, |t| t.span);
    let name = match rest.next() {
        Some(TokenWithSpan { token: Token::Word(w), .. }) if w.quote_style.is_none() => w.value,
        Some(other) => return bad(other.span),
        None => return bad(brace),
    };
    match rest.next() {
        Some(TokenWithSpan { token: Token::RBrace, span }) => Ok((name, span.end)),
        Some(other) => bad(other.span),
        None => bad(brace),
    }
}

fn lookup<'v>(name: &str, variables: &'v BTreeMap<String, String>, at: Span) -> Result<&'v str> {
    match variables.get(name) {
        Some(value) => Ok(value),
        None => {
            let add = format!("give it on the command line: --var {name}=...");
            let hint = did_you_mean(name, variables.keys().map(String::as_str), &add);
            Err(Error::invalid(102, format!("the variable '{name}' has no value")).with_hint(hint).with_span(at))
        }
    }
}

/// Fills `${NAME}` inside a quoted text. What does not look like a variable stays.
pub(crate) fn fill_text(
    text: &str,
    span: TokenSpan,
    value: &str,
    variables: &BTreeMap<String, String>,
) -> Result<String> {
    let mut filled = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        let name_end = from.find('}').filter(|end| is_name(&from[2..*end]));
        let Some(end) = name_end else {
            filled.push_str("${");
            rest = &from[2..];
            continue;
        };
        let variable = &from[..=end];
        filled.push_str(lookup(&from[2..end], variables, find_in(text, span, variable))?);
        rest = &from[end + 1..];
    }
    filled.push_str(rest);
    Ok(filled)
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// The place of `needle` inside the token at `span`; the token itself if it is not found as it stands.
fn find_in(text: &str, span: TokenSpan, needle: &str) -> Span {
    for (i, line) in text.lines().enumerate().skip(span.start.line.saturating_sub(1) as usize) {
        let number = i as u64 + 1;
        if number > span.end.line {
            break;
        }
        let skip = if number == span.start.line { span.start.column.saturating_sub(1) as usize } else { 0 };
        let from = line.char_indices().nth(skip).map_or(line.len(), |(at, _)| at);
        if let Some(at) = line[from..].find(needle) {
            let column = line[..from + at].chars().count() as u64 + 1;
            let end_column = column + needle.chars().count() as u64;
            return Span { line: number, column, end_line: number, end_column };
        }
    }
    place(span)
}

/// Whether a bare `${NAME}` stands for a name (of a table, column or function) and not for a literal.
fn wants_identifier(before: &[TokenWithSpan], next: Option<&Token>) -> bool {
    if matches!(next, Some(Token::LParen | Token::Period)) {
        return true;
    }
    let word = |t: Option<&TokenWithSpan>| match t.map(|t| &t.token) {
        Some(Token::Word(w)) if w.quote_style.is_none() => Some(w.keyword),
        _ => None,
    };
    let last = before.last();
    if matches!(last.map(|t| &t.token), Some(Token::Period)) {
        return true;
    }
    use Keyword::*;
    matches!(word(last), Some(FROM | JOIN | INTO | TABLE | VIEW | AS | EXISTS | BY))
}

fn literal_tokens(value: &str, as_name: bool, span: TokenSpan) -> Vec<TokenWithSpan> {
    let token = |token| TokenWithSpan::new(token, span);
    if as_name {
        return vec![token(quoted_word(value))];
    }
    let digits = value.strip_prefix('-').unwrap_or(value);
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
        && digits.matches('.').count() <= 1
        && !digits.ends_with('.');
    match is_number {
        true if digits.len() < value.len() => vec![
            token(Token::LParen),
            token(Token::Minus),
            token(Token::Number(digits.to_string(), false)),
            token(Token::RParen),
        ],
        true => vec![token(Token::Number(digits.to_string(), false))],
        false => vec![token(Token::SingleQuotedString(value.to_string()))],
    }
}

/// A name that is taken as it is, whatever keyword it may look like.
pub(crate) fn quoted_word(value: &str) -> Token {
    Token::Word(Word { value: value.to_string(), quote_style: Some('"'), keyword: Keyword::NoKeyword })
}

// ---- TABLE(f(TABLE x, ...)) ----

/// `f ( x PARTITION BY a, b, DESCRIPTOR ..` becomes `f ( x , PARTITION_BY => ( a, b ) , DESCRIPTOR ..`, which parses.
fn name_partition_arguments(tokens: Tokens) -> Tokens {
    let mut out: Tokens = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let Some(end) = partition_argument(&tokens, at) else {
            out.push(tokens[at].clone());
            at += 1;
            continue;
        };
        let put = |token: Token| TokenWithSpan::new(token, tokens[at].span);
        let name = Word { value: PARTITION_BY.to_string(), quote_style: None, keyword: Keyword::NoKeyword };
        out.extend([Token::Comma, Token::Word(name), Token::RArrow, Token::LParen].map(put));
        out.extend_from_slice(&tokens[at + 2..end]);
        out.push(TokenWithSpan::new(Token::RParen, tokens[end - 1].span));
        at = end;
    }
    out
}

/// Where the columns of the `PARTITION BY` at `i` end, if it stands behind the table of a table function.
fn partition_argument(tokens: &[TokenWithSpan], i: usize) -> Option<usize> {
    let keyword = |i: usize| match tokens.get(i).map(|t| &t.token) {
        Some(Token::Word(w)) if w.quote_style.is_none() => Some(w.keyword),
        _ => None,
    };
    if keyword(i) != Some(Keyword::PARTITION) || keyword(i + 1) != Some(Keyword::BY) {
        return None;
    }
    let table = i.checked_sub(1)?;
    let start = match tokens[table].token {
        Token::RParen => opening(tokens, table)?,
        Token::Word(_) => table,
        _ => return None,
    };
    let before = start.checked_sub(1)?;
    let is_first = match tokens[before].token {
        Token::RArrow => true,
        Token::LParen => {
            let function = before.checked_sub(1)?;
            matches!(tokens[function].token, Token::Word(_)) && keyword(function) != Some(Keyword::OVER)
        }
        _ => false,
    };
    if !is_first {
        return None;
    }
    let mut depth = 0usize;
    for (end, token) in tokens.iter().enumerate().skip(i + 2) {
        let next_argument = || {
            matches!(tokens.get(end + 1).map(|t| &t.token), Some(Token::Word(w)) if w.value.eq_ignore_ascii_case("descriptor"))
                || matches!(tokens.get(end + 2).map(|t| &t.token), Some(Token::RArrow))
        };
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return (end > i + 2).then_some(end),
            Token::RParen => depth -= 1,
            Token::Comma if depth == 0 && next_argument() => return (end > i + 2).then_some(end),
            _ => {}
        }
    }
    None
}

/// Takes the two `TABLE` of a table function away: `TABLE ( f ( TABLE x , .. ) )` becomes `f ( x , .. )`.
fn unwrap_table_functions(tokens: Tokens) -> Tokens {
    let word_at = |i: usize| match tokens.get(i).map(|t| &t.token) {
        Some(Token::Word(w)) if w.quote_style.is_none() => Some(w.keyword),
        _ => None,
    };
    let is = |i: usize, token: &Token| tokens.get(i).is_some_and(|t| t.token == *token);
    let mut dropped = vec![false; tokens.len()];
    for i in 0..tokens.len() {
        if word_at(i) != Some(Keyword::TABLE) {
            continue;
        }
        let behind = i.checked_sub(1);
        let after_from = behind.is_some_and(|b| {
            matches!(word_at(b), Some(Keyword::FROM | Keyword::JOIN)) || is(b, &Token::Comma) || is(b, &Token::LParen)
        });
        let is_wrapper = after_from
            && is(i + 1, &Token::LParen)
            && matches!(tokens.get(i + 2).map(|t| &t.token), Some(Token::Word(w)) if w.keyword != Keyword::SELECT)
            && is(i + 3, &Token::LParen);
        if is_wrapper {
            let Some(close) = closing(&tokens, i + 3).map(|c| c + 1).filter(|c| is(*c, &Token::RParen)) else {
                continue;
            };
            (dropped[i], dropped[i + 1], dropped[close]) = (true, true, true);
        } else if after_from_argument(&tokens, i) {
            dropped[i] = true;
        }
    }
    tokens.into_iter().zip(dropped).filter(|(_, dropped)| !dropped).map(|(token, _)| token).collect()
}

/// Whether the `TABLE` at `i` begins an argument, as in `TUMBLE(TABLE x, ..)` or `TUMBLE(DATA => TABLE x, ..)`.
fn after_from_argument(tokens: &[TokenWithSpan], i: usize) -> bool {
    let Some(before) = i.checked_sub(1).map(|b| &tokens[b].token) else { return false };
    let begins = matches!(before, Token::RArrow)
        || (matches!(before, Token::LParen) && i >= 2 && matches!(tokens[i - 2].token, Token::Word(_)));
    let names = matches!(tokens.get(i + 1).map(|t| &t.token), Some(Token::Word(_) | Token::LParen));
    begins && names
}

fn closing(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    None
}

fn opening(tokens: &[TokenWithSpan], close: usize) -> Option<usize> {
    let mut depth = 0usize;
    for i in (0..=close).rev() {
        match tokens[i].token {
            Token::RParen => depth += 1,
            Token::LParen => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    None
}

/// Refuses expressions that are so long that their tree would be too deep.
///
/// Every token since the last comma or clause may add one level to the tree, and so may those outside the parentheses.
fn check_depth(tokens: &[TokenWithSpan]) -> Result<()> {
    check_cases(tokens)?;
    let mut outer = vec![];
    let mut here = 0usize;
    let mut above = 0usize;
    let mut unions = 0usize;
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                outer.push(here);
                above += here + 1;
                here = 0;
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                if let Some(before) = outer.pop() {
                    above -= before + 1;
                    here = before + 1;
                }
            }
            Token::Comma => here = 0,
            Token::Word(w) if w.quote_style.is_none() && begins_clause(w.keyword) => here = 0,
            Token::Word(w) if w.quote_style.is_none() && w.keyword == Keyword::UNION => {
                unions += 8;
                here += 1;
            }
            _ => here += 1,
        }
        if above + here + unions > DEPTH_TOKENS_MAX {
            let (what, hint) = match unions > above + here {
                true => ("this query has too many UNIONs", "put some of them into a view, or into one VALUES"),
                false => (
                    "this expression is too long or too deeply nested",
                    "use IN (...) for many values, or a view for a part of the query",
                ),
            };
            return Err(Error::invalid(105, what).with_hint(hint).with_span(place(token.span)));
        }
    }
    Ok(())
}

/// Levels of CASE, NOT and parentheses up to which the parser reads a CASE or a NOT. Behind them it takes the word for a name,
/// and stops at the next one.
const CASE_LEVELS_MAX: usize = 47;

fn check_cases(tokens: &[TokenWithSpan]) -> Result<()> {
    let (mut cases, mut brackets, mut nots) = (0usize, 0usize, 0usize);
    for token in tokens {
        let is_not = matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.keyword == Keyword::NOT);
        nots = if is_not { nots + 1 } else { 0 };
        if cases + brackets + nots > CASE_LEVELS_MAX && nots > 1 {
            return Err(Error::invalid(105, "this NOT is too deeply nested")
                .with_hint("two NOTs say nothing; write a view for a part of the query")
                .with_span(place(token.span)));
        }
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => brackets += 1,
            Token::RParen | Token::RBracket | Token::RBrace => brackets = brackets.saturating_sub(1),
            Token::Word(w) if w.quote_style.is_none() && w.keyword == Keyword::CASE => cases += 1,
            Token::Word(w) if w.quote_style.is_none() && w.keyword == Keyword::END => cases = cases.saturating_sub(1),
            _ => {}
        }
        if cases > 0 && cases + brackets > CASE_LEVELS_MAX {
            return Err(Error::invalid(105, "this CASE is too deeply nested")
                .with_hint("write one CASE with several WHEN, or a view for a part of it")
                .with_span(place(token.span)));
        }
    }
    Ok(())
}

fn begins_clause(keyword: Keyword) -> bool {
    use Keyword::*;
    matches!(keyword, SELECT | FROM | WHERE | GROUP | HAVING | ORDER | WHEN | THEN | ELSE | VALUES | WITH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, variables: &[(&str, &str)]) -> Result<String> {
        let variables = variables.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let statements = statements(text, &variables)?;
        let show = |s: &Tokens| s.iter().map(|t| t.token.to_string()).collect::<Vec<_>>().join(" ");
        Ok(statements.iter().map(show).collect::<Vec<_>>().join(" ; "))
    }

    #[test]
    fn variables_are_literals_names_or_parts_of_quoted_texts() {
        let given = [("N", "5"), ("NEG", "-1.5"), ("TXT", "o'hare"), ("T", "flights"), ("DIR", "/data")];
        let cases = [
            ("a > ${N}", "a > 5"),
            ("a > ${NEG}", "a > ( - 1.5 )"),
            ("a = ${TXT}", "a = 'o'hare'"),
            ("a = '${TXT} ${N}x'", "a = 'o'hare 5x'"),
            ("FROM ${T}", "FROM \"flights\""),
            ("${T}.x", "\"flights\" . x"),
            ("\"${T}_1\"", "\"flights_1\""),
            ("'path' = '${DIR}/a.csv'", "'path' = '/data/a.csv'"),
            ("'${2} ${} $ ${a b}'", "'${2} ${} $ ${a b}'"),
            ("a = '${N'", "a = '${N'"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text, &given).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_missing_variable_is_shown_where_it_stands() {
        let error = shown("SELECT 1;\n  SELECT 'a ${IMPUT}'", &[("INPUT", "x")]).unwrap_err();
        assert_eq!(error.hint(), Some("did you mean 'INPUT'?"));
        assert_eq!(error.span(), Some(Span { line: 2, column: 13, end_line: 2, end_column: 21 }));
        let error = shown("FROM ${T}", &[]).unwrap_err();
        assert_eq!(error.span(), Some(Span { line: 1, column: 6, end_line: 1, end_column: 10 }));
        assert!(shown("FROM a_${T}", &[("T", "x")]).unwrap_err().message().contains("whole word"));
    }

    #[test]
    fn table_functions_lose_their_table_words_only() {
        let cases = [
            ("FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), 1)) w", "FROM TUMBLE ( bid , DESCRIPTOR ( ts ) , 1 ) w"),
            ("FROM TABLE(f(DATA => TABLE bid))", "FROM f ( DATA => bid )"),
            ("FROM TABLE(f(TABLE bid)", "FROM TABLE ( f ( bid )"),
            (
                "SESSION(TABLE b PARTITION BY x, y, DESCRIPTOR(ts), 1)",
                "SESSION ( b , PARTITION_BY => ( x , y ) , DESCRIPTOR ( ts ) , 1 )",
            ),
            (
                "SESSION(DATA => TABLE (SELECT 1) PARTITION BY (x), GAP => 1)",
                "SESSION ( DATA => ( SELECT 1 ) , PARTITION_BY => ( ( x ) ) , GAP => 1 )",
            ),
            ("OVER (w PARTITION BY x)", "OVER ( w PARTITION BY x )"),
            ("CREATE TABLE t (a INT)", "CREATE TABLE t ( a INT )"),
            ("SELECT 1 FROM t; SELECT 2;", "SELECT 1 FROM t ; SELECT 2"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text, &[]).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn endless_expressions_are_refused_and_long_lists_are_not() {
        let sum = format!("SELECT {}", vec!["1"; 5000].join(" + "));
        assert!(shown(&sum, &[]).unwrap_err().message().contains("too long"));
        let parens = format!("SELECT {}1", "(1 + ".repeat(2000));
        assert!(shown(&parens, &[]).is_err());
        let rows = format!("VALUES {}", vec!["(1, 'a')"; 20_000].join(", "));
        assert!(shown(&rows, &[]).is_ok());
    }
}
