//! A manifest, or another entry of the journal, as text: a line that says what follows, then the body.
//!
//! ```text
//!   {"rheos":"manifest","version":1,"key":null,"length_bytes":1234,"checksum":"0123456789abcdef"}
//!   {"entry":9,"generation":3,"epoch":17, ...}
//! ```
//! The first line is the same for all versions to come: so a text whose version is not known can be told from one whose
//! version has been damaged. The checksum is the xxh3-64 of kind, version and key, each followed by a line feed (no key:
//! nothing before the line feed), and of the body: a digit that has flipped anywhere must not go unnoticed. Both lines are
//! JSON, so that the text can be read with other tools. Whoever changes the body's meaning raises the version; a version
//! that is not known is refused by name, and so is a field that is not known. `key` would name a key that the body has been
//! encrypted with; this version reads and writes none (whole files are encrypted, by the store).

use rheos_core::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::{Checksum, MANIFEST_BYTES_MAX, Manifest, VERSION};

/// The first line, in all versions.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    rheos: String,
    version: u32,
    key: Option<String>,
    length_bytes: u64,
    checksum: Checksum,
}

impl Header {
    fn of(kind: &str, body: &[u8]) -> Self {
        let mut header = Self {
            rheos: kind.into(),
            version: VERSION,
            key: None,
            length_bytes: body.len() as u64,
            checksum: Checksum(0),
        };
        header.checksum = header.sum(body);
        header
    }

    fn sum(&self, body: &[u8]) -> Checksum {
        let mut hash = Xxh3::new();
        let told = format!("{}\n{}\n{}\n", self.rheos, self.version, self.key.as_deref().unwrap_or(""));
        hash.update(told.as_bytes());
        hash.update(body);
        Checksum(hash.digest())
    }
}

/// The text of a manifest.
///
/// Errors: `Internal` for one that does not fit together, `Invalid` (R0604) for one that is too long.
pub fn encode(manifest: &Manifest) -> Result<Vec<u8>> {
    manifest.check().map_err(|e| Error::internal(e.message()))?;
    encode_as("manifest", manifest)
}

/// A manifest from its text.
///
/// Errors: `Corrupt`: R0601 for a text that is damaged, R0602 for a version that is not known, R0603 for contents that
/// do not fit together; `Invalid` (R0610) for one that is encrypted. The message does not name the file; the caller does.
pub fn decode(text: &[u8]) -> Result<Manifest> {
    let (header, body) = split(text)?;
    let manifest: Manifest = decode_body("manifest", &header.rheos, body)?;
    manifest.check()?;
    Ok(manifest)
}

fn damaged(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, 601, format!("the text is damaged: {what}"))
        .with_hint("put the file back from a copy, or restore from another checkpoint")
}

pub(crate) fn encode_as<T: Serialize>(kind: &str, body: &T) -> Result<Vec<u8>> {
    let json = |e: serde_json::Error| Error::internal(format!("a {kind} cannot be written: {e}"));
    let body = serde_json::to_vec(body).map_err(json)?;
    if body.len() > MANIFEST_BYTES_MAX {
        let message = format!("the {kind} has {} bytes, more than {MANIFEST_BYTES_MAX}", body.len());
        return Err(Error::invalid(604, message).with_hint("commit more often, or read fewer files at a time"));
    }
    let mut text = serde_json::to_vec(&Header::of(kind, &body)).map_err(json)?;
    text.push(b'\n');
    text.extend_from_slice(&body);
    text.push(b'\n');
    Ok(text)
}

/// What kind of text it is, e.g. `manifest`, and its body. Errors: as of [`decode`], but for R0603.
pub(crate) fn open(text: &[u8]) -> Result<(String, &[u8])> {
    split(text).map(|(header, body)| (header.rheos, body))
}

pub(crate) fn decode_body<T: DeserializeOwned>(kind: &str, found: &str, body: &[u8]) -> Result<T> {
    if found != kind {
        return Err(damaged(format_args!("it is a '{found}', not a '{kind}'")));
    }
    // The bytes are those that were written, so what does not fit was written by something else.
    serde_json::from_slice(body).map_err(|e| damaged(format_args!("version {VERSION} has another form: {e}")))
}

fn split(text: &[u8]) -> Result<(Header, &[u8])> {
    if text.len() > MANIFEST_BYTES_MAX + 4096 {
        return Err(damaged(format_args!("it is longer than {MANIFEST_BYTES_MAX} bytes")));
    }
    let end = text.iter().position(|b| *b == b'\n').ok_or_else(|| damaged("its first line does not end"))?;
    let (line, rest) = (&text[..end], &text[end + 1..]);
    let header: Header = serde_json::from_slice(line).map_err(|e| damaged(format_args!("its first line: {e}")))?;
    let body = rest.strip_suffix(b"\n").ok_or_else(|| damaged("its last line does not end"))?;
    if header.length_bytes != body.len() as u64 {
        let told = header.length_bytes;
        return Err(damaged(format_args!("{} bytes follow the first line, which tells of {told}", body.len())));
    }
    let sum = header.sum(body);
    if header.checksum != sum {
        return Err(damaged(format_args!("the checksum is {sum}, the first line says {}", header.checksum)));
    }
    understood(&header)?;
    Ok((header, body))
}

/// The text is whole; whether it is for this version is another question, and no damage.
fn understood(header: &Header) -> Result<()> {
    let Header { rheos, version, key, .. } = header;
    if *version != VERSION || !["manifest", "claim", "committed", "retired"].contains(&rheos.as_str()) {
        let message = format!("it is a {rheos} of version {version}; this Rheos reads version {VERSION}");
        return Err(Error::new(ErrorKind::Corrupt, 602, message).with_hint("use the version of Rheos that wrote it"));
    }
    match key {
        Some(key) => Err(Error::invalid(610, format!("it is encrypted with the key '{key}'"))
            .with_hint("use the version of Rheos that wrote it")),
        None => Ok(()),
    }
}
