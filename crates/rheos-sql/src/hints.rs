//! Hints: `/*+ id('name'), ttl('1 d') */` behind SELECT, or behind the name of a table or view that is read.
//!
//! ```text
//!   SELECT /*+ id('hourly') */ ...      the steps of this query: they keep their state when what they read changes
//!   FROM flights /*+ id('flights') */   the table's source: it keeps its positions when its path or another option changes
//! ```
//! The text is read once for all hints, before statements are parsed; they find their statements by place. Absent: a hint in a
//! subquery, which has no name to come back by: a view of it has.

use std::collections::BTreeMap;

use rheos_core::error::{Error, Result, Span, did_you_mean};
use rheos_core::graph::Naming;
use rheos_core::units::parse_duration_ms;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span as TokenSpan, Token, TokenWithSpan, Tokenizer, Whitespace};

use crate::absent;
use crate::grammar::Grammar;
use crate::tokens::{Tokens, fill_text, fill_variables, place, without_blanks};

/// Bytes of a name that is given, at most.
const ID_BYTES_MAX: usize = 64;

/// The hints that there are.
const KNOWN: [&str; 2] = ["id", "ttl"];

/// The hints of a program.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    /// Behind SELECT, by the place of that word.
    selects: Vec<(TokenSpan, Span, Naming)>,
    /// By the table's or view's name as it is written, with the hint's place.
    tables: BTreeMap<String, (Span, Naming)>,
    /// By a view's name: what stands behind the SELECT of its query.
    views: BTreeMap<String, Naming>,
    /// What `SET 'state.ttl'` says.
    pub(crate) state_ttl_ms: Option<i64>,
}

impl Hints {
    /// All hints of a text. Errors: `Invalid` (R0107, R0685) at the hint, R0102 for a variable in it.
    ///
    /// `variables` are filled in, in hints and in the names before them.
    pub(crate) fn find(text: &str, variables: &BTreeMap<String, String>) -> Result<Self> {
        // What cannot be read or filled is told by whoever reads the statements.
        let tokens = Tokenizer::new(&Grammar::new(0), text).tokenize_with_location().unwrap_or_default();
        let comment = |token: &TokenWithSpan| match &token.token {
            Token::Whitespace(Whitespace::MultiLineComment(comment)) => {
                comment.starts_with('+').then(|| (comment.clone(), token.span))
            }
            _ => None,
        };
        let comments: Vec<_> = tokens.iter().filter_map(comment).collect();
        let mut hints = Self::default();
        if comments.is_empty() {
            return Ok(hints);
        }
        let Ok(filled) = fill_variables(text, without_blanks(tokens), variables) else { return Ok(hints) };
        for (comment, at) in comments {
            let comment = fill_text(text, at, &comment, variables)?;
            let before = filled.partition_point(|token| token.span.start < at.start);
            hints.add(&comment, place(at), &filled[..before])?;
        }
        Ok(hints)
    }

    fn add(&mut self, comment: &str, at: Span, before: &[TokenWithSpan]) -> Result<()> {
        let naming = parse(&comment[1..], comment).map_err(|e| e.with_span(at))?;
        let named = || self.selects.iter().map(|s| &s.2).chain(self.tables.values().map(|t| &t.1));
        let taken = naming.id.is_some() && named().any(|other| other.id == naming.id);
        let wrong = |what: String, hint: &str| Err(Error::invalid(685, what).with_hint(hint).with_span(at));
        let given = naming.id.clone().unwrap_or_default();
        match before {
            [.., select] if is_word(select, &[Keyword::SELECT]) => {
                if taken {
                    return wrong(format!("the id '{given}' is given twice"), "give each an id of its own");
                }
                self.selects.push((select.span, at, naming));
            }
            [.., reads, name] if is_read(reads) && matches!(name.token, Token::Word(_)) => {
                let Token::Word(word) = &name.token else { return Ok(()) };
                match self.tables.get(&word.value) {
                    Some((_, other)) if *other == naming => {}
                    Some(_) => {
                        let what = format!("the hints behind '{}' differ from those behind it before", word.value);
                        return wrong(what, "a table has one source in a program: give the hint once");
                    }
                    None if taken => {
                        return wrong(format!("the id '{given}' is given twice"), "give each an id of its own");
                    }
                    None => {
                        self.tables.insert(word.value.clone(), (at, naming));
                    }
                }
            }
            _ => {
                let hint = "put it right behind SELECT, or behind the name of a table";
                return wrong("a hint stands where it says nothing".into(), hint);
            }
        }
        Ok(())
    }

    /// What stands behind the SELECT of a statement's query. Errors: `Invalid` (R0685) for a hint in a part of it.
    pub(crate) fn of_query(&self, tokens: &Tokens) -> Result<Option<&Naming>> {
        let mut found = None;
        for (select, at, naming) in &self.selects {
            let Some(here) = tokens.iter().position(|t| t.span == *select) else { continue };
            if !is_main(tokens, here) {
                return Err(Error::invalid(685, "a hint stands in a part of a query")
                    .with_hint(
                        "make a view of the subquery, or of each part of a UNION: the SELECT of a view may have hints",
                    )
                    .with_span(*at));
            }
            found = Some(naming);
        }
        Ok(found)
    }

    /// Keeps what stands behind the SELECT of a view.
    pub(crate) fn name_view(&mut self, view: &str, query: &Tokens) -> Result<()> {
        match self.of_query(query)?.cloned() {
            Some(naming) => self.views.insert(view.to_string(), naming),
            // Of the view that it replaces.
            None => self.views.remove(view),
        };
        Ok(())
    }

    /// What is said of a declared view, behind its SELECT or where it is read.
    pub(crate) fn of_view(&self, name: &str) -> Option<&Naming> {
        self.views.get(name).or_else(|| self.of_table(name))
    }

    /// What is said of a declared table where it is read.
    pub(crate) fn of_table(&self, name: &str) -> Option<&Naming> {
        let exact = self.tables.get(name);
        let loose =
            || self.tables.iter().find(|(written, _)| written.eq_ignore_ascii_case(name)).map(|(_, found)| found);
        exact.or_else(loose).map(|(_, naming)| naming)
    }

    /// Refuses hints behind names that are neither tables nor views. Errors: `Invalid` (R0685).
    pub(crate) fn check<'a>(&self, declared: impl Iterator<Item = &'a str>) -> Result<()> {
        let declared: Vec<&str> = declared.collect();
        for (name, (at, _)) in &self.tables {
            if !declared.iter().any(|d| d.eq_ignore_ascii_case(name)) {
                return Err(Error::invalid(685, format!("there is a hint behind '{name}', which is no table or view"))
                    .with_hint(did_you_mean(name, declared.iter().copied(), "put it behind the name of a table"))
                    .with_span(*at));
            }
        }
        Ok(())
    }

    /// The places of the hints that give a time to live, in the order of the text.
    pub(crate) fn times_to_live(&self) -> impl Iterator<Item = Span> {
        let selects = self.selects.iter().map(|(_, at, naming)| (at, naming));
        let all = selects.chain(self.tables.values().map(|(at, naming)| (at, naming)));
        let mut places: Vec<Span> = all.filter(|(_, n)| n.state_ttl_ms.is_some()).map(|(at, _)| *at).collect();
        places.sort_unstable_by_key(|at| (at.line, at.column));
        places.into_iter()
    }

    /// With the time to live that holds where nothing else is said.
    pub(crate) fn or_default(&self, naming: Option<&Naming>) -> Naming {
        let Naming { id, state_ttl_ms } = naming.cloned().unwrap_or_default();
        Naming { id, state_ttl_ms: state_ttl_ms.or(self.state_ttl_ms) }
    }
}

fn is_word(token: &TokenWithSpan, keywords: &[Keyword]) -> bool {
    matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && keywords.contains(&w.keyword))
}

/// Whether the name behind a token is that of something that is read.
fn is_read(token: &TokenWithSpan) -> bool {
    token.token == Token::Comma || is_word(token, &[Keyword::FROM, Keyword::JOIN, Keyword::TABLE])
}

/// Whether the SELECT at a place is that of the whole query: not in parentheses, and no part of a UNION.
fn is_main(tokens: &Tokens, select: usize) -> bool {
    let mut depth = 0;
    let mut alone = true;
    for (at, token) in tokens.iter().enumerate() {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ if at == select && depth > 0 => return false,
            _ if depth == 0 && is_word(token, &[Keyword::UNION, Keyword::EXCEPT, Keyword::INTERSECT]) => alone = false,
            _ => {}
        }
    }
    alone
}

/// `id('name'), ttl('1 d')`. Errors: without a place.
fn parse(text: &str, comment: &str) -> Result<Naming> {
    let form = "write it as /*+ id('name'), ttl('1 d') */";
    let wrong = |what: &str| Error::invalid(685, what.to_string()).with_hint(form);
    let tokens = Tokenizer::new(&Grammar::new(0), text).tokenize().map_err(|_| wrong("the hint cannot be read"))?;
    let tokens: Vec<Token> = tokens.into_iter().filter(|t| !matches!(t, Token::Whitespace(_))).collect();
    let mut naming = Naming::default();
    let mut rest = &tokens[..];
    if rest.is_empty() {
        return Err(wrong("the hint is empty"));
    }
    while let [Token::Word(name), behind @ ..] = rest {
        let name = name.value.to_lowercase();
        if !KNOWN.contains(&name.as_str()) {
            return Err(unknown(&name, comment));
        }
        let [Token::LParen, Token::SingleQuotedString(value), Token::RParen, next @ ..] = behind else {
            return Err(wrong(&format!("the hint {name} has one text in quotes")));
        };
        match name.as_str() {
            "id" if naming.id.is_some() => return Err(wrong("the hint id is there twice")),
            "id" => naming.id = Some(checked_id(value)?),
            _ if naming.state_ttl_ms.is_some() => return Err(wrong("the hint ttl is there twice")),
            _ => naming.state_ttl_ms = Some(checked_ttl(value).map_err(|e| e.context("the hint ttl"))?),
        }
        rest = match next {
            [Token::Comma, more @ ..] if !more.is_empty() => more,
            other => other,
        };
    }
    if rest.is_empty() { Ok(naming) } else { Err(wrong("the hint cannot be read")) }
}

fn unknown(name: &str, comment: &str) -> Error {
    match name {
        "parallelism" | "exchange" | "lateness" => absent::hint(comment),
        "state_ttl" => Error::invalid(107, "there is no hint 'state_ttl'").with_hint("write ttl('1 d') behind SELECT"),
        _ => Error::invalid(107, format!("there is no hint '{name}'")).with_hint(did_you_mean(
            name,
            KNOWN,
            "the hints are id('name') and ttl('1 d')",
        )),
    }
}

fn checked_id(id: &str) -> Result<String> {
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(letter) {
        return Ok(id.to_string());
    }
    Err(Error::invalid(685, format!("'{id}' is no id"))
        .with_hint(format!("take letters, digits, '-' and '_', up to {ID_BYTES_MAX} of them")))
}

/// A time to live in ms. Errors: `Invalid` (R0685) for none, or what is no duration.
pub(crate) fn checked_ttl(text: &str) -> Result<i64> {
    let ms = parse_duration_ms(text)?;
    if ms > 0 {
        return Ok(ms);
    }
    Err(Error::invalid(685, "state must live for some time")
        .with_hint("write it as '1 d', or take it away: state is kept"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_read_with_and_without_commas_and_their_case() {
        let naming = |id: Option<&str>, state_ttl_ms| Naming { id: id.map(str::to_string), state_ttl_ms };
        for (text, expected) in [
            ("+ id('a-b_1') ", naming(Some("a-b_1"), None)),
            ("+ID('a'),TTL('1 d')", naming(Some("a"), Some(86_400_000))),
            ("+ ttl('5 s') id('x')", naming(Some("x"), Some(5000))),
        ] {
            assert_eq!(parse(&text[1..], text).unwrap(), expected, "{text}");
        }
        for text in [
            "+",
            "+ id",
            "+ id()",
            "+ id(a)",
            "+ id('')",
            "+ id('a b')",
            "+ id('a'), id('b')",
            "+ id('a') ,",
            "+ ttl('0 s')",
            "+ 1",
        ] {
            assert_eq!(parse(&text[1..], text).unwrap_err().code(), "R0685", "{text}");
        }
        assert_eq!(parse(" idd('a')", "+ idd('a')").unwrap_err().hint(), Some("did you mean 'id'?"));
    }
}
