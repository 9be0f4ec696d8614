//! `EMIT CHANGES`, `EMIT FINAL` and `EMIT ON WINDOW CLOSE` behind a query: what it gives while its input goes on.
//!
//! The words are taken away before the query is parsed: they are no SQL.

use sqlparser::tokenizer::Token;

use crate::settings::EmitMode;
use crate::tokens::Tokens;

/// What may stand behind a query, and what it means.
const FORMS: [(&[&str], EmitMode); 3] = [
    (&["EMIT", "CHANGES"], EmitMode::Changes),
    (&["EMIT", "FINAL"], EmitMode::Final),
    (&["EMIT", "ON", "WINDOW", "CLOSE"], EmitMode::Final),
];

/// Takes the words away from the end of a query. `None`: there are none.
pub(crate) fn take(query: &mut Tokens) -> Option<EmitMode> {
    let is_word = |token: &Token, word: &str| matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word));
    let end =
        query.len() - query.iter().rev().take_while(|t| matches!(t.token, Token::EOF | Token::Whitespace(_))).count();
    let found = FORMS.into_iter().find(|(words, _)| {
        let start = end.checked_sub(words.len());
        start.is_some_and(|start| query[start..end].iter().zip(*words).all(|(t, word)| is_word(&t.token, word)))
    });
    let (words, mode) = found?;
    query.drain(end - words.len()..end);
    Some(mode)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::tokens::statements;

    #[test]
    fn the_words_are_taken_from_the_end_alone() {
        for (text, mode, left) in [
            ("SELECT 1 FROM t EMIT CHANGES", Some(EmitMode::Changes), 4),
            ("SELECT 1 FROM t emit on window close", Some(EmitMode::Final), 4),
            ("SELECT 1 FROM t EMIT FINAL;", Some(EmitMode::Final), 4),
            ("SELECT 1 FROM t EMIT", None, 5),
            ("SELECT 1 AS emit, 2 AS final", None, 8),
            ("SELECT 1 FROM \"emit\"", None, 4),
        ] {
            let mut query = statements(text, &BTreeMap::new()).unwrap().remove(0);
            assert_eq!(take(&mut query), mode, "{text}");
            let words = query.iter().filter(|t| !matches!(t.token, Token::EOF | Token::Whitespace(_))).count();
            assert_eq!(words, left, "{text}");
        }
    }
}
