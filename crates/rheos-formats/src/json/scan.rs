//! Finds the values of a JSON text without parsing them.

use crate::cell::{Cell, CellKind, unescape_json};
use crate::word::{count_digits, find_quote_or_backslash, word};

/// What breaks a JSON text, as the end of a sentence.
pub(crate) type Broken = &'static str;

/// Deeper nesting is refused.
const DEPTH_MAX: u32 = 128;

/// The key's bytes with escapes resolved; a broken escape gives the raw bytes, which match no column.
pub(crate) fn key_bytes<'a>(data: &'a [u8], key: Cell, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    let raw = key.bytes(data);
    if key.kind != CellKind::JsonEscaped {
        return raw;
    }
    scratch.clear();
    if unescape_json(raw, scratch) { scratch } else { raw }
}

/// Calls `found` with key and value of each entry of the object in `data[start..end]`.
pub(crate) fn object(data: &[u8], start: usize, end: usize, mut found: impl FnMut(Cell, Cell)) -> Result<(), Broken> {
    let mut s = Scan::new(data, start, end);
    let mut is_first = true;
    while let Some(key) = s.key(is_first)? {
        let value = s.value()?;
        found(key, value);
        is_first = false;
    }
    s.done()
}

/// Calls `found` with each element of the array in `data[start..end]`.
pub(crate) fn array(data: &[u8], start: usize, end: usize, mut found: impl FnMut(Cell)) -> Result<(), Broken> {
    let mut s = Scan::new(data, start, end);
    s.expect(b'[', "it is not an array")?;
    if s.next_is(b']') {
        return s.done();
    }
    loop {
        found(s.value()?);
        if s.next_is(b',') {
            continue;
        }
        s.expect(b']', "a comma or a closing bracket is missing")?;
        return s.done();
    }
}

/// A place in a JSON text.
pub(crate) struct Scan<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) at: usize,
    pub(crate) end: usize,
    /// Objects around the one whose values are read.
    pub(crate) depth: u32,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(data: &'a [u8], start: usize, end: usize) -> Self {
        Self { data, at: start, end: end.min(data.len()), depth: 0 }
    }

    #[inline]
    pub(crate) fn peek(&self) -> Option<u8> {
        if self.at < self.end { self.data.get(self.at).copied() } else { None }
    }

    #[inline]
    pub(crate) fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn next_is(&mut self, byte: u8) -> bool {
        self.space();
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, byte: u8, broken: Broken) -> Result<(), Broken> {
        if self.next_is(byte) { Ok(()) } else { Err(broken) }
    }

    pub(crate) fn done(&mut self) -> Result<(), Broken> {
        self.space();
        if self.at == self.end { Ok(()) } else { Err("there is text behind the value") }
    }

    /// The next key of an object; the cursor stands before the object or behind a value, then before the key's value.
    /// `None`: the object is at its end.
    pub(crate) fn key(&mut self, is_first: bool) -> Result<Option<Cell>, Broken> {
        if is_first {
            self.expect(b'{', "it is not an object")?;
            if self.next_is(b'}') {
                return Ok(None);
            }
        } else if !self.next_is(b',') {
            self.expect(b'}', "a comma or a closing brace is missing")?;
            return Ok(None);
        }
        self.space();
        if self.peek() != Some(b'"') {
            return Err("a key in quotes is missing");
        }
        let key = self.string()?;
        self.expect(b':', "a colon is missing behind a key")?;
        self.space();
        Ok(Some(key))
    }

    /// A string; the cursor stands on its opening quote.
    #[inline(always)]
    fn string(&mut self) -> Result<Cell, Broken> {
        let start = self.at + 1;
        let at = find_quote_or_backslash(self.data, start);
        if at < self.end && self.data[at] == b'"' {
            self.at = at + 1;
            return Ok(Cell::new(start, at, CellKind::Text));
        }
        self.escaped_string(start, at)
    }

    /// A string whose first backslash is at `at`.
    #[cold]
    fn escaped_string(&mut self, start: usize, mut at: usize) -> Result<Cell, Broken> {
        while at < self.end {
            if self.data[at] == b'"' {
                self.at = at + 1;
                return Ok(Cell::new(start, at, CellKind::JsonEscaped));
            }
            at = find_quote_or_backslash(self.data, at + 2);
        }
        Err("a string is not closed")
    }

    /// The value at the cursor or behind the space there.
    #[inline]
    pub(crate) fn value(&mut self) -> Result<Cell, Broken> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{' | b'[') => self.skip_nested(),
            Some(b' ' | b'\t' | b'\r' | b'\n') => {
                self.space();
                self.value()
            }
            Some(_) => self.scalar(),
            None => Err("a value is missing"),
        }
    }

    /// A scalar that is no string. Most are short numbers or null, and end at a comma or a bracket.
    #[inline]
    fn scalar(&mut self) -> Result<Cell, Broken> {
        let start = self.at;
        let is_end = |at: usize| at < self.end && matches!(self.data.get(at), Some(b',' | b'}' | b']'));
        if word(self.data, start).is_some_and(|word| word as u32 == u32::from_le_bytes(*b"null")) && is_end(start + 4) {
            self.at = start + 4;
            return Ok(Cell::NULL);
        }
        let at = start + count_digits(self.data, start);
        // No digits, and a zero before others, are told apart below.
        if at > start && is_end(at) && (at == start + 1 || self.data[start] != b'0') {
            self.at = at;
            return Ok(Cell::new(start, at, CellKind::Plain));
        }
        self.any_scalar()
    }

    fn any_scalar(&mut self) -> Result<Cell, Broken> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-' | b'.')) {
            self.at += 1;
        }
        match &self.data[start..self.at] {
            b"null" => Ok(Cell::NULL),
            b"true" | b"false" => Ok(Cell::new(start, self.at, CellKind::Plain)),
            text if is_number(text) => Ok(Cell::new(start, self.at, CellKind::Plain)),
            _ => Err("a value is neither string, number, true, false, null, object nor array"),
        }
    }

    /// An object or array, checked for its brackets and strings only.
    pub(crate) fn skip_nested(&mut self) -> Result<Cell, Broken> {
        let start = self.at;
        // One bit a level: whether it is an object.
        let (mut depth, mut objects) = (self.depth, 0u128);
        while let Some(byte) = self.peek() {
            match byte {
                b'{' | b'[' if depth == DEPTH_MAX => return Err("it is nested more than 128 levels deep"),
                b'{' | b'[' => {
                    objects = objects << 1 | u128::from(byte == b'{');
                    depth += 1;
                }
                b'}' | b']' if (objects & 1 == 1) != (byte == b'}') => return Err("its brackets do not match"),
                b'}' | b']' => {
                    objects >>= 1;
                    depth -= 1;
                    if depth == self.depth {
                        self.at += 1;
                        return Ok(Cell::new(start, self.at, CellKind::Json));
                    }
                }
                b'"' => {
                    self.string()?;
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
        Err("a bracket is not closed")
    }
}

/// The grammar of JSON numbers.
fn is_number(text: &[u8]) -> bool {
    fn digits(text: &[u8]) -> (usize, &[u8]) {
        let n = text.iter().take_while(|b| b.is_ascii_digit()).count();
        (n, &text[n..])
    }
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let (n, mut rest) = digits(text);
    if n == 0 || n > 1 && text[0] == b'0' {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let (n, behind) = digits(fraction);
        if n == 0 {
            return false;
        }
        rest = behind;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = exponent.strip_prefix(b"-").or(exponent.strip_prefix(b"+")).unwrap_or(exponent);
        let (n, behind) = digits(exponent);
        return n > 0 && behind.is_empty();
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries(text: &str) -> Result<Vec<(String, String)>, Broken> {
        let mut out = vec![];
        let data = text.as_bytes();
        object(data, 0, data.len(), |key, cell| {
            let text = |cell: Cell| String::from_utf8_lossy(cell.bytes(data)).into();
            out.push((text(key), text(cell)));
        })?;
        Ok(out)
    }

    #[test]
    fn values_are_found() {
        let got = entries(r#" {"a" : 1 ,"b":"x\"}","c":{"d":[1,"]"]},"e":null , "f":[]} "#).unwrap();
        let want = [("a", "1"), ("b", "x\\\"}"), ("c", r#"{"d":[1,"]"]}"#), ("e", ""), ("f", "[]")];
        assert_eq!(got, want.map(|(k, v)| (k.to_string(), v.to_string())));
    }

    #[test]
    fn broken_lines_are_refused() {
        for bad in [
            "",
            "1",
            "[1]",
            "{",
            "{}}",
            "{}{}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{a:1}"#,
            r#"{"a":1"b":2}"#,
            r#"{"a":[1}"#,
            r#"{"a":"x}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":+1}"#,
            r#"{"a":tru}"#,
            r#"{"a":NaN}"#,
            r#"{"a":1e}"#,
            r#"{"a":"\"#,
        ] {
            assert!(entries(bad).is_err(), "{bad}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(129), "]".repeat(129));
        assert!(entries(&deep).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_scanned_or_refused(bytes: Vec<u8>) {
            let _ = object(&bytes, 0, bytes.len(), |_, _| ());
            let _ = array(&bytes, 0, bytes.len(), |_| ());
        }

        /// serde_json is the judge of what is valid among texts of these pieces.
        #[test]
        fn what_serde_takes_is_taken(pieces in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"a\"", "\"b\\n\"", "1", "-2.5e3", "null", "true", " ",
        ]), 0..14)) {
            let text = format!("{{{}}}", pieces.concat());
            let ours = entries(&text).is_ok();
            let theirs = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).is_ok();
            // What is passed over is not fully checked, so we may take more, never less.
            prop_assert!(ours || !theirs, "{}", text);
        }
    }
}
