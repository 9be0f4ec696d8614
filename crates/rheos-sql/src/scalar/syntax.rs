//! SQL's JSON syntax in tokens, made into plain calls before the parser sees it.
//!
//! ```text
//!   JSON_VALUE(x, p RETURNING T DEFAULT a ON EMPTY)   JSON_VALUE(x, p, CAST(a AS T), CAST(NULL AS T))
//!   JSON_QUERY(x, p WITH CONDITIONAL ARRAY WRAPPER)   JSON_QUERY(x, p, 'conditional')
//!   x ->> 'a' ->> 'b'                                 json_extract_string(json_extract_string(x, 'a'), 'b')
//! ```
//!
//! `->` gives JSON and `->>` text. They bind tighter than every other operator, as `.` does.

use rheos_core::error::{Error, Result};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span as TokenSpan, Token, TokenWithSpan, Word};

use super::make_syntax;
use crate::catalog::higher_order_functions;
use crate::tokens::{Tokens, place};

/// Rewrites a statement's tokens. Errors: a clause of a JSON function that is wrong or not supported.
pub(crate) fn rewrite(mut tokens: Tokens) -> Result<Tokens> {
    // From the right, so that calls inside of others come first.
    for i in (0..tokens.len()).rev() {
        make_syntax::rewrite_call(&mut tokens, i)?;
        let Some(function) = json_function(&tokens, i) else { continue };
        let Some(close) = close_of(&tokens, i + 1) else { continue };
        let Some(begin) = clauses_begin(&tokens, i + 2, close) else { continue };
        let clauses = Clauses { tokens: &tokens[begin..close], at: 0 };
        let args = match function {
            JsonFunction::Value => clauses.value()?,
            JsonFunction::Query => clauses.query()?,
            JsonFunction::Exists => clauses.exists()?,
        };
        tokens.splice(begin..close, args);
    }
    let mut at = 0;
    while let Some(arrow) = (at..tokens.len()).find(|i| is_arrow(&tokens, *i)) {
        let (Some(start), Some(end)) = (operand_start(&tokens, arrow), operand_end(&tokens, arrow + 1)) else {
            return Err(Error::invalid(
                135,
                format!(
                    "{} takes a JSON text on its left, and a name, path or index on its right",
                    tokens[arrow].token
                ),
            )
            .with_hint("write it as doc ->> 'name' or doc ->> 0; cast what is no text, as in CAST(x AS STRING)")
            .with_span(place(tokens[arrow].span)));
        };
        let span = tokens[arrow].span;
        let name = if tokens[arrow].token == Token::LongArrow { "json_extract_string" } else { "json_extract" };
        let mut call = vec![word(name, span), TokenWithSpan::new(Token::LParen, span)];
        call.extend_from_slice(&tokens[start..arrow]);
        call.push(TokenWithSpan::new(Token::Comma, span));
        call.extend_from_slice(&tokens[arrow + 1..end]);
        call.push(TokenWithSpan::new(Token::RParen, tokens[end - 1].span));
        // Arrows inside of the right operand come next.
        at = start;
        tokens.splice(start..end, call);
    }
    Ok(tokens)
}

fn word(value: &str, span: TokenSpan) -> TokenWithSpan {
    let keyword = match value {
        "CAST" => Keyword::CAST,
        "AS" => Keyword::AS,
        "NULL" => Keyword::NULL,
        "STRING" => Keyword::STRING,
        _ => Keyword::NoKeyword,
    };
    TokenWithSpan::new(Token::Word(Word { value: value.into(), quote_style: None, keyword }), span)
}

/// Whether an operator on JSON is at a place. `->` is one in front of a text or a number, but not behind the parameter of
/// a lambda: as a whole argument of a function over lambdas.
fn is_arrow(tokens: &[TokenWithSpan], i: usize) -> bool {
    match tokens[i].token {
        Token::LongArrow => true,
        Token::Arrow => {
            let is_key =
                matches!(tokens.get(i + 1).map(|t| &t.token), Some(Token::SingleQuotedString(_) | Token::Number(..)));
            is_key && !operand_start(tokens, i).is_some_and(|start| is_lambda(tokens, start))
        }
        _ => false,
    }
}

/// Whether what begins at `start` may be the parameters of a lambda.
fn is_lambda(tokens: &[TokenWithSpan], start: usize) -> bool {
    let mut depth = 0usize;
    for i in (0..start).rev() {
        match tokens[i].token {
            Token::RParen | Token::RBracket => depth += 1,
            Token::LParen | Token::LBracket if depth > 0 => depth -= 1,
            Token::LParen => {
                let function = i.checked_sub(1).map(|f| word_at(tokens, f).to_lowercase()).unwrap_or_default();
                let all = higher_order_functions();
                let takes = all.iter().any(|f| f.name() == function || f.aliases().contains(&function));
                return takes && tokens[start - 1].token == Token::Comma;
            }
            _ => {}
        }
    }
    false
}

/// The word at a place, in upper case; empty for anything else.
pub(super) fn word_at(tokens: &[TokenWithSpan], i: usize) -> String {
    match tokens.get(i).map(|t| &t.token) {
        Some(Token::Word(w)) if w.quote_style.is_none() => w.value.to_uppercase(),
        _ => String::new(),
    }
}

// ---- clauses ----

#[derive(Clone, Copy)]
enum JsonFunction {
    Value,
    Query,
    Exists,
}

fn json_function(tokens: &[TokenWithSpan], i: usize) -> Option<JsonFunction> {
    if tokens.get(i + 1).map(|t| &t.token) != Some(&Token::LParen) {
        return None;
    }
    match word_at(tokens, i).as_str() {
        "JSON_VALUE" => Some(JsonFunction::Value),
        "JSON_QUERY" => Some(JsonFunction::Query),
        "JSON_EXISTS" => Some(JsonFunction::Exists),
        _ => None,
    }
}

pub(super) fn close_of(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    (open..tokens.len())
        .scan(0usize, |depth, i| Some((i, nested(&tokens[i].token, depth))))
        .find(|f| f.1 == 0)
        .map(|f| f.0)
}

/// The depth behind a token.
pub(super) fn nested(token: &Token, depth: &mut usize) -> usize {
    match token {
        Token::LParen | Token::LBracket | Token::LBrace => *depth += 1,
        Token::RParen | Token::RBracket | Token::RBrace => *depth = depth.saturating_sub(1),
        _ => {}
    }
    *depth
}

/// The first word of a clause among the arguments from `from` to `close`.
fn clauses_begin(tokens: &[TokenWithSpan], from: usize, close: usize) -> Option<usize> {
    let mut depth = 0;
    let mut commas = 0;
    for i in from..close {
        if nested(&tokens[i].token, &mut depth) > 0 {
            continue;
        }
        commas += usize::from(tokens[i].token == Token::Comma);
        if commas == 1 && begins_clause(tokens, i) {
            return Some(i);
        }
    }
    None
}

fn begins_clause(tokens: &[TokenWithSpan], i: usize) -> bool {
    let next = word_at(tokens, i + 1);
    match word_at(tokens, i).as_str() {
        "RETURNING" | "DEFAULT" => true,
        "WITH" | "WITHOUT" => ["ARRAY", "WRAPPER", "CONDITIONAL", "UNCONDITIONAL"].contains(&next.as_str()),
        "NULL" | "ERROR" | "TRUE" | "FALSE" | "UNKNOWN" => next == "ON",
        "EMPTY" => next == "ARRAY" || next == "OBJECT",
        _ => false,
    }
}

struct Clauses<'t> {
    tokens: &'t [TokenWithSpan],
    at: usize,
}

impl Clauses<'_> {
    fn take(&mut self, words: &[&str]) -> bool {
        let fits = words.iter().enumerate().all(|(i, w)| word_at(self.tokens, self.at + i) == *w);
        self.at += if fits { words.len() } else { 0 };
        fits
    }

    fn ended(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// The place of the clause that is next.
    fn span(&self) -> TokenSpan {
        self.tokens.get(self.at).or(self.tokens.last()).map_or_else(TokenSpan::empty, |t| t.span)
    }

    fn unsupported<T>(&self, function: &str, hint: &str) -> Result<T> {
        let rest: Vec<_> = self.tokens.iter().skip(self.at).map(|t| t.token.to_string()).collect();
        Err(Error::invalid(142, format!("{function} with '{}' is not supported", rest.join(" ")))
            .with_hint(hint)
            .with_span(place(self.span())))
    }

    /// The tokens up to the next clause.
    fn until(&mut self, ends: impl Fn(&[TokenWithSpan], usize) -> bool) -> Tokens {
        let mut depth = 0;
        let mut taken = vec![];
        while !self.ended() {
            if depth == 0 && ends(self.tokens, self.at) {
                break;
            }
            nested(&self.tokens[self.at].token, &mut depth);
            taken.push(self.tokens[self.at].clone());
            self.at += 1;
        }
        taken
    }

    /// The type as the cast of what `JSON_VALUE` gives where nothing is found, and where something is wrong.
    fn value(mut self) -> Result<Tokens> {
        let start = self.span();
        let hint = "write JSON_VALUE(text, path RETURNING type DEFAULT value ON EMPTY DEFAULT value ON ERROR), each part optional";
        let mut data_type = vec![word("STRING", start)];
        let (mut on_empty, mut on_error) = (vec![word("NULL", start)], vec![word("NULL", start)]);
        while !self.ended() {
            let before = self.at;
            if self.take(&["RETURNING"]) {
                data_type = self.until(begins_clause);
                if data_type.is_empty() {
                    return Err(Error::invalid(101, "a type is missing behind RETURNING")
                        .with_hint(hint)
                        .with_span(place(self.tokens[before].span)));
                }
                continue;
            }
            let value = if self.take(&["NULL"]) {
                vec![word("NULL", start)]
            } else if self.take(&["DEFAULT"]) {
                self.until(|tokens, i| word_at(tokens, i) == "ON")
            } else {
                return self.unsupported("JSON_VALUE", hint);
            };
            match () {
                () if value.is_empty() => return self.unsupported("JSON_VALUE", hint),
                () if self.take(&["ON", "EMPTY"]) => on_empty = value,
                () if self.take(&["ON", "ERROR"]) => on_error = value,
                () => {
                    self.at = before;
                    return self.unsupported("JSON_VALUE", hint);
                }
            }
        }
        let token = |t| TokenWithSpan::new(t, start);
        let mut args = vec![];
        for value in [on_empty, on_error] {
            args.extend([token(Token::Comma), word("CAST", start), token(Token::LParen)]);
            args.extend(value);
            args.push(word("AS", start));
            args.extend(data_type.iter().cloned());
            args.push(token(Token::RParen));
        }
        Ok(args)
    }

    fn query(mut self) -> Result<Tokens> {
        let start = self.span();
        let mut wrapper = None;
        while !self.ended() {
            let before = self.at;
            if self.take(&["WITHOUT"]) || self.take(&["WITH"]) {
                let without = word_at(self.tokens, before) == "WITHOUT";
                let conditional = self.take(&["CONDITIONAL"]);
                let _ = !conditional && self.take(&["UNCONDITIONAL"]);
                let _ = self.take(&["ARRAY"]);
                if self.take(&["WRAPPER"]) {
                    let kind = if conditional { "conditional" } else { "unconditional" };
                    wrapper = (!without).then_some(kind);
                    continue;
                }
            }
            let known = [["NULL", "ON", "EMPTY"], ["NULL", "ON", "ERROR"]];
            if !known.iter().any(|words| self.take(words)) && !self.take(&["RETURNING", "STRING"]) {
                self.at = before;
                let hint =
                    "write WITH CONDITIONAL ARRAY WRAPPER or nothing; it gives STRING, and NULL where nothing is";
                return self.unsupported("JSON_QUERY", hint);
            }
        }
        let Some(wrapper) = wrapper else { return Ok(vec![]) };
        let text = Token::SingleQuotedString(wrapper.to_string());
        Ok(vec![TokenWithSpan::new(Token::Comma, start), TokenWithSpan::new(text, start)])
    }

    fn exists(mut self) -> Result<Tokens> {
        match self.take(&["FALSE", "ON", "ERROR"]) && self.ended() {
            true => Ok(vec![]),
            false => self.unsupported("JSON_EXISTS", "write FALSE ON ERROR, which is the default, or nothing"),
        }
    }
}

// ---- operands of ->> ----

/// Where the operand that ends before `end` begins.
fn operand_start(tokens: &[TokenWithSpan], end: usize) -> Option<usize> {
    let last = end.checked_sub(1)?;
    let mut start = match &tokens[last].token {
        Token::SingleQuotedString(_) => last,
        Token::RBracket => operand_start(tokens, open_of(tokens, last)?)?,
        Token::RParen => {
            let open = open_of(tokens, last)?;
            match open.checked_sub(1).map(|before| (before, &tokens[before].token)) {
                Some((before, Token::Word(w))) if w.quote_style.is_some() || !is_clause_word(w.keyword) => before,
                _ => open,
            }
        }
        Token::Word(w) if w.quote_style.is_some() || !is_clause_word(w.keyword) => last,
        _ => return None,
    };
    if matches!(tokens[start].token, Token::Word(_)) {
        while start >= 2
            && tokens[start - 1].token == Token::Period
            && matches!(tokens[start - 2].token, Token::Word(_))
        {
            start -= 2;
        }
    }
    // `x::STRING ->> 'a'` takes the cast with it.
    match start.checked_sub(1).is_some_and(|before| tokens[before].token == Token::DoubleColon) {
        true => operand_start(tokens, start - 1),
        false => Some(start),
    }
}

fn open_of(tokens: &[TokenWithSpan], close: usize) -> Option<usize> {
    let mut depth = 0usize;
    for i in (0..=close).rev() {
        match tokens[i].token {
            Token::RParen | Token::RBracket => depth += 1,
            Token::LParen | Token::LBracket => {
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

/// Where the operand that begins at `from` ends.
fn operand_end(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    match &tokens.get(from)?.token {
        Token::SingleQuotedString(_) | Token::Number(..) => Some(from + 1),
        Token::LParen => Some(close_of(tokens, from)? + 1),
        Token::Word(_) => {
            let mut end = from + 1;
            while tokens.get(end).is_some_and(|t| t.token == Token::Period)
                && matches!(tokens.get(end + 1).map(|t| &t.token), Some(Token::Word(_)))
            {
                end += 2;
            }
            match tokens.get(end).map(|t| &t.token) {
                Some(Token::LParen) => Some(close_of(tokens, end)? + 1),
                _ => Some(end),
            }
        }
        _ => None,
    }
}

/// Words that stand before a parenthesis or an operand without being a part of it.
fn is_clause_word(keyword: Keyword) -> bool {
    use Keyword::*;
    matches!(
        keyword,
        SELECT
            | DISTINCT
            | ALL
            | FROM
            | WHERE
            | AND
            | OR
            | NOT
            | IN
            | ON
            | WHEN
            | THEN
            | ELSE
            | CASE
            | END
            | HAVING
            | BY
            | BETWEEN
            | LIKE
            | ILIKE
            | SIMILAR
            | TO
            | AS
            | IS
            | NULL
            | USING
            | VALUES
            | FILTER
            | OVER
            | UNION
            | LIMIT
    )
}
