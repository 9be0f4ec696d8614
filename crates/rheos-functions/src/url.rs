//! Functions of URLs, as `java.net.URL`, `URLEncoder` and `URLDecoder` read and write them.
//!
//! ```text
//!   https://user:pw@host:8080/a/b?x=1&y=2#top
//!   PROTOCOL USERINFO HOST    PATH  QUERY  REF       AUTHORITY = user:pw@host:8080, FILE = /a/b?x=1&y=2
//! ```

use std::sync::Arc;

use super::{Builtin, a_text, texts};

/// The parts that `PARSE_URL` knows.
pub const PARTS: &[&str] = &["PROTOCOL", "AUTHORITY", "USERINFO", "HOST", "PATH", "FILE", "QUERY", "REF"];

pub(super) fn functions() -> Vec<Builtin> {
    vec![
        Builtin::new(
            "parse_url",
            vec![vec![a_text(), a_text()], vec![a_text(), a_text(), a_text()]],
            texts,
            |call| match call.args.len() {
                2 => Ok(Arc::new(call.map_texts(|[url, part]| Some(Url::parse(url)?.part(part)?.to_string()))?)),
                _ => Ok(Arc::new(call.map_texts(|[url, part, key]| {
                    let query = Url::parse(url)?.query.filter(|_| part == "QUERY")?;
                    query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')).map(str::to_string)
                })?)),
            },
            (
                "parse_url(url, part [, key])",
                "A part of a URL: PROTOCOL, AUTHORITY, USERINFO, HOST, PATH, FILE, QUERY or REF; with QUERY also the value of one key.",
            ),
        ),
        Builtin::new(
            "url_encode",
            vec![vec![a_text()]],
            texts,
            |call| Ok(Arc::new(call.map_texts(|[text]| Some(encode(text)))?)),
            (
                "url_encode(text)",
                "A text as it stands in the query of a URL: a blank is '+', other characters are %XX.",
            ),
        ),
        Builtin::new(
            "url_decode",
            vec![vec![a_text()]],
            texts,
            |call| Ok(Arc::new(call.map_texts(|[text]| decode(text))?)),
            (
                "url_decode(text)",
                "The text that url_encode made this of; NULL where a % is not followed by two digits.",
            ),
        ),
    ]
}

struct Url<'a> {
    protocol: &'a str,
    authority: Option<&'a str>,
    path: &'a str,
    file: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

impl<'a> Url<'a> {
    fn parse(url: &'a str) -> Option<Self> {
        let (protocol, rest) = url.trim().split_once(':')?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        if !protocol.starts_with(|c: char| c.is_ascii_alphabetic()) || !protocol.chars().all(is_name) {
            return None;
        }
        let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(rest, fragment)| (rest, Some(fragment)));
        let (authority, file) = match rest.strip_prefix("//") {
            Some(rest) => {
                let (authority, file) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
                (Some(authority), file)
            }
            None => (None, rest),
        };
        let (path, query) = file.split_once('?').map_or((file, None), |(path, query)| (path, Some(query)));
        Some(Self { protocol, authority, path, file, query, fragment })
    }

    fn part(&self, name: &str) -> Option<&'a str> {
        match name {
            "PROTOCOL" => Some(self.protocol),
            "AUTHORITY" => self.authority,
            "USERINFO" => self.authority?.rsplit_once('@').map(|(user, _)| user),
            "HOST" => self.host(),
            "PATH" => Some(self.path),
            "FILE" => Some(self.file),
            "QUERY" => self.query,
            "REF" => self.fragment,
            _ => None,
        }
    }

    fn host(&self) -> Option<&'a str> {
        let authority = self.authority?;
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        // The colons of an address in brackets are not those of a port.
        let end = if host.starts_with('[') { host.find(']')? + 1 } else { host.find(':').unwrap_or(host.len()) };
        Some(&host[..end])
    }
}

fn encode(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => encoded.push(char::from(byte)),
            b' ' => encoded.push('+'),
            _ => {
                encoded.push('%');
                encoded.push(char::from(HEX[usize::from(byte >> 4)]));
                encoded.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    encoded
}

fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    let digit = |bytes: &mut std::str::Bytes<'_>| char::from(bytes.next()?).to_digit(16);
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => decoded.push(b' '),
            b'%' => {
                let (high, low) = (digit(&mut bytes)?, digit(&mut bytes)?);
                decoded.push(u8::try_from(high * 16 + low).ok()?);
            }
            _ => decoded.push(byte),
        }
    }
    // Bytes that are no UTF-8 become U+FFFD, as in Java.
    Some(String::from_utf8_lossy(&decoded).into_owned())
}
