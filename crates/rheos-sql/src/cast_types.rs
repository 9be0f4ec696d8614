//! The types of `CAST(x AS type)` and `x::type` that the parser of expressions does not know: `ROW<..>`, `MAP<..>`, ..
//!
//! ```text
//!   CAST(x AS ROW<a INT, b STRING>)     CAST(x AS "ROW < a INT , b STRING >")
//! ```
//!
//! They become the name of a type, which `types` reads when the query is planned. A mistake in one is told here, at its place.

use rheos_core::error::Result;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span as TokenSpan, Token, TokenWithSpan, Tokenizer, Whitespace};

use crate::grammar::Grammar;
use crate::scalar::lengths;
use crate::statement::parser;
use crate::tokens::{Tokens, quoted_word};
use crate::types::{parse_type, split_shifts};
use arrow::datatypes::DataType;

/// Tokens that one type may have.
const TYPE_TOKENS_MAX: usize = 4096;

/// Puts types that only `types` can parse into names.
pub(crate) fn named(tokens: Tokens) -> Result<Tokens> {
    let mut starts: Vec<(usize, usize)> = (0..tokens.len()).filter_map(|at| written_type(&tokens, at)).collect();
    // The type of a cast stands behind those of the casts in its operand.
    starts.sort_unstable();
    if starts.is_empty() {
        return Ok(tokens);
    }
    let mut out: Tokens = Vec::with_capacity(tokens.len());
    let mut at = 0;
    for (start, end) in starts {
        let Some(own) = tokens.get(start..end).filter(|own| start >= at && is_own(own)) else { continue };
        let split = split_shifts(own.to_vec());
        let grammar = Grammar::new(split.len());
        let mut parser = parser(&grammar, split.clone());
        parse_type(&mut parser, &split)?;
        // What a `>>` became counts twice.
        let (mut read, mut used) = (0, 0);
        while read < parser.index() && used < own.len() {
            read += 1 + usize::from(own[used].token == Token::ShiftRight);
            used += 1;
        }
        lengths::check_nested(&own[..used])?;
        let text = own[..used].iter().map(|t| t.token.to_string()).collect::<Vec<_>>().join(" ");
        let span = TokenSpan::new(own[0].span.start, own[used - 1].span.end);
        out.extend_from_slice(&tokens[at..start]);
        out.push(TokenWithSpan::new(quoted_word(&text), span));
        at = start + used;
    }
    out.extend_from_slice(&tokens[at..]);
    Ok(out)
}

/// The type that such a name stands for. `None`: it is the name of something else.
pub(crate) fn meant(name: &str) -> Option<Result<DataType>> {
    let tokens = Tokenizer::new(&Grammar::new(0), name).tokenize_with_location().ok()?;
    let blank = |t: &TokenWithSpan| matches!(t.token, Token::Whitespace(Whitespace::Space) | Token::EOF);
    let tokens = split_shifts(tokens.into_iter().filter(|t| !blank(t)).collect());
    let grammar = Grammar::new(tokens.len());
    is_own(&tokens).then(|| parse_type(&mut parser(&grammar, tokens.clone()), &tokens))
}

/// Where the type behind the `CAST (` or `::` at `at` begins, and where it ends at the latest.
fn written_type(tokens: &[TokenWithSpan], at: usize) -> Option<(usize, usize)> {
    match &tokens[at].token {
        Token::DoubleColon => Some((at + 1, tokens.len().min(at + TYPE_TOKENS_MAX))),
        Token::Word(w) if w.quote_style.is_none() && is_cast(w.keyword) => {
            let mut depth = 0usize;
            let mut start = None;
            for (i, token) in tokens.iter().enumerate().skip(at + 1) {
                match &token.token {
                    Token::LParen | Token::LBracket => depth += 1,
                    Token::RParen | Token::RBracket if depth <= 1 => return start.map(|start| (start, i)),
                    Token::RParen | Token::RBracket => depth -= 1,
                    Token::Word(w) if depth == 1 && w.keyword == Keyword::AS && w.quote_style.is_none() => {
                        start = Some(i + 1);
                    }
                    _ if depth == 0 => return None,
                    _ => {}
                }
            }
            None
        }
        _ => None,
    }
}

fn is_cast(keyword: Keyword) -> bool {
    matches!(keyword, Keyword::CAST | Keyword::TRY_CAST | Keyword::SAFE_CAST)
}

/// Whether only `types` can parse the type that the tokens begin with.
fn is_own(tokens: &[TokenWithSpan]) -> bool {
    let word = |i: usize| match tokens.get(i).map(|t| &t.token) {
        Some(Token::Word(w)) if w.quote_style.is_none() => w.value.to_uppercase(),
        _ => String::new(),
    };
    let opens = matches!(tokens.get(1).map(|t| &t.token), Some(Token::Lt | Token::LParen));
    match word(0).as_str() {
        "" => false,
        "ROW" | "STRUCT" | "MAP" | "ARRAY" if opens => true,
        // Behind the name and its precision: WITH LOCAL TIME ZONE, or ARRAY.
        _ => {
            let mut next = 1;
            if tokens.get(1).is_some_and(|t| t.token == Token::LParen) {
                next += tokens.iter().skip(1).position(|t| t.token == Token::RParen).map_or(0, |close| close + 1);
            }
            word(next) == "ARRAY" || (word(next) == "WITH" && word(next + 1) == "LOCAL")
        }
    }
}
