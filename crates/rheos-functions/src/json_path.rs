//! Paths into JSON texts: `$`, `.name`, `['name']`, `[n]`, `[*]`, `.*`, with `lax` or `strict` before them.
//!
//! A text is checked as a whole first; then a path is followed over its bytes, so that values come out as they were
//! written (digits of numbers, order of names) and nothing is built. Of a name that occurs twice the last one counts.
//!
//! Invariants: the loops take no stack however deep the text is nested, and a step looks at every byte once at most.

use std::borrow::Cow;

/// Steps that a path may have.
const STEPS_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
    All,
}

/// A path that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Whether a missing value is an error, as it is without a mode (Flink's rule).
    pub(crate) strict: bool,
    steps: Vec<Step>,
}

impl Path {
    /// Reads a path. Errors: what is wrong with it, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let (mode, path) = trimmed.split_once(char::is_whitespace).unwrap_or(("", trimmed));
        let (strict, path) = match mode.to_lowercase().as_str() {
            "lax" => (false, path.trim_start()),
            "strict" => (true, path.trim_start()),
            _ => (true, trimmed),
        };
        let Some(mut rest) = path.strip_prefix('$') else {
            return Err(format!("the path '{text}' does not begin with '$'"));
        };
        let mut steps = vec![];
        while !rest.is_empty() {
            let (step, behind) = step(rest).ok_or_else(|| format!("the path '{text}' cannot be read at '{rest}'"))?;
            steps.push(step);
            rest = behind;
            if steps.len() > STEPS_MAX {
                return Err(format!("a path has at most {STEPS_MAX} steps"));
            }
        }
        Ok(Self { strict, steps })
    }

    /// The path of one name.
    pub(super) fn name(name: &str) -> Self {
        Self { strict: false, steps: vec![Step::Name(name.to_string())] }
    }

    /// The path of one place in an array.
    pub(super) fn index(index: usize) -> Self {
        Self { strict: false, steps: vec![Step::Index(index)] }
    }

    /// Whether the path can lead to several values.
    pub(super) fn is_many(&self) -> bool {
        self.steps.contains(&Step::All)
    }

    /// The values at the path in a text that is JSON. `None`: there is nothing before the first `[*]`, or at all.
    pub(super) fn find<'t>(&self, text: &'t str) -> Option<Vec<&'t str>> {
        let mut steps = self.steps.iter();
        let mut value = text.trim_matches(BLANKS);
        for step in steps.by_ref() {
            match step {
                Step::Name(name) => value = member(value, name)?,
                Step::Index(index) => value = element(value, *index)?,
                Step::All => {
                    let mut values = parts(value);
                    for step in steps {
                        values = match step {
                            Step::Name(name) => values.into_iter().filter_map(|v| member(v, name)).collect(),
                            Step::Index(index) => values.into_iter().filter_map(|v| element(v, *index)).collect(),
                            Step::All => values.into_iter().flat_map(parts).collect(),
                        };
                    }
                    return Some(values);
                }
            }
        }
        Some(vec![value])
    }
}

/// The first step of a path and what is behind it.
fn step(path: &str) -> Option<(Step, &str)> {
    if let Some(rest) = path.strip_prefix(".*") {
        return Some((Step::All, rest));
    }
    // `.['name']` is as good as `['name']`.
    if let Some(inner) = path.strip_prefix('[').or_else(|| path.strip_prefix(".[")) {
        let inner = inner.trim_start();
        let (step, rest) = match inner.chars().next()? {
            '*' => (Step::All, &inner[1..]),
            quote @ ('\'' | '"') => quoted(&inner[1..], quote)?,
            _ => {
                let end = inner.find(|c: char| !c.is_ascii_digit()).unwrap_or(inner.len());
                (Step::Index(inner[..end].parse().ok()?), &inner[end..])
            }
        };
        return Some((step, rest.trim_start().strip_prefix(']')?));
    }
    let rest = path.strip_prefix('.')?;
    let end = rest.find(['.', '[']).unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$' | '@');
    (!name.is_empty() && name.chars().all(plain)).then(|| (Step::Name(name.to_string()), rest))
}

/// A quoted name up to its quote; a backslash takes the next character as it is.
fn quoted(text: &str, quote: char) -> Option<(Step, &str)> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.push(chars.next()?.1),
            c if c == quote => return Some((Step::Name(name), &text[at + c.len_utf8()..])),
            c => name.push(c),
        }
    }
    None
}

// ---- texts of JSON ----

const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// Whether a text is JSON. Everything below may be called for such texts only.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// What a value is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Text,
    Other,
    Array,
    Object,
}

/// What a value is, by its first byte.
pub(super) fn kind(value: &str) -> Kind {
    match value.as_bytes().first() {
        Some(b'n') => Kind::Null,
        Some(b'"') => Kind::Text,
        Some(b'[') => Kind::Array,
        Some(b'{') => Kind::Object,
        _ => Kind::Other,
    }
}

/// A value as text: a JSON text without quotes, anything else as it stands. `None`: an escape that is no character.
pub(super) fn as_text(value: &str) -> Option<Cow<'_, str>> {
    match kind(value) {
        Kind::Text => unquoted(value),
        Kind::Array | Kind::Object => Some(compact(value)),
        Kind::Null => None,
        Kind::Other => Some(Cow::Borrowed(value)),
    }
}

fn unquoted(quoted: &str) -> Option<Cow<'_, str>> {
    match quoted.contains('\\') {
        true => serde_json::from_str(quoted).ok().map(Cow::Owned),
        false => Some(Cow::Borrowed(quoted.get(1..quoted.len().checked_sub(1)?)?)),
    }
}

/// A value without the blanks between its parts.
pub(super) fn compact(value: &str) -> Cow<'_, str> {
    if !value.contains(BLANKS) {
        return Cow::Borrowed(value);
    }
    let mut kept = String::with_capacity(value.len());
    let mut at = 0;
    while at < value.len() {
        let end = match value.as_bytes()[at] {
            b'"' => text_end(value, at),
            _ => value[at..].find(['"', ' ', '\t', '\n', '\r']).map_or(value.len(), |n| at + n),
        };
        kept.push_str(&value[at..end]);
        at = skip_blanks(value, end);
    }
    Cow::Owned(kept)
}

/// The elements of an array or the members' values of an object; nothing of anything else.
fn parts(value: &str) -> Vec<&str> {
    match kind(value) {
        Kind::Array | Kind::Object => Parts::new(value).map(|(_, part)| part).collect(),
        _ => vec![],
    }
}

fn element(value: &str, index: usize) -> Option<&str> {
    (kind(value) == Kind::Array).then(|| Parts::new(value).nth(index)).flatten().map(|(_, part)| part)
}

fn member<'t>(value: &'t str, name: &str) -> Option<&'t str> {
    if kind(value) != Kind::Object {
        return None;
    }
    let named = |key: &str| unquoted(key).is_some_and(|key| key == name);
    Parts::new(value).filter(|(key, _)| named(key)).last().map(|(_, part)| part)
}

/// The parts of an array or object, each with its quoted name (empty in an array).
struct Parts<'t> {
    text: &'t str,
    at: usize,
    named: bool,
}

impl<'t> Parts<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, at: skip_blanks(text, 1), named: kind(text) == Kind::Object }
    }
}

impl<'t> Iterator for Parts<'t> {
    type Item = (&'t str, &'t str);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.text;
        if matches!(text.as_bytes().get(self.at)?, b']' | b'}') {
            return None;
        }
        let mut key = "";
        if self.named {
            let end = text_end(text, self.at);
            key = &text[self.at..end];
            // Behind the name and its colon.
            self.at = skip_blanks(text, skip_blanks(text, end) + 1);
        }
        let end = value_end(text, self.at);
        let part = &text[self.at..end];
        self.at = skip_blanks(text, end);
        if text.as_bytes().get(self.at) == Some(&b',') {
            self.at = skip_blanks(text, self.at + 1);
        }
        Some((key, part))
    }
}

fn skip_blanks(text: &str, from: usize) -> usize {
    let blanks = text.as_bytes().iter().skip(from).take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count();
    (from + blanks).min(text.len())
}

/// The end of the quoted text that begins at `from`.
fn text_end(text: &str, from: usize) -> usize {
    let bytes = text.as_bytes();
    let mut at = from + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of the value that begins at `from`.
fn value_end(text: &str, from: usize) -> usize {
    let bytes = text.as_bytes();
    let mut at = from;
    let mut depth = 0usize;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at = text_end(text, at);
                if depth == 0 {
                    return at;
                }
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth <= 1 => return at + depth,
            b']' | b'}' => depth -= 1,
            b',' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}
