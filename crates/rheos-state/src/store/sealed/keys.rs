//! The file of keys: a line a key, `id:base64 of 32 bytes`. The first encrypts; all decrypt.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rheos_core::{Error, ErrorKind, Result};

use crate::store::Note;

/// Longest id of a key, in bytes: it stands in the first line of each file.
const ID_BYTES_MAX: usize = 64;
/// Longest file of keys, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// A key. Never shown.
#[derive(Clone)]
pub(super) struct Key([u8; 32]);

impl Key {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Keys by id, none twice.
#[derive(Clone, Default)]
pub struct KeyRing {
    keys: Vec<(String, Key)>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

impl KeyRing {
    /// No key: nothing is encrypted.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The keys of a file. `note` is told (R0653) if others than its owner may read it.
    ///
    /// Errors: `InputMissing` (R0650) for a file that cannot be read, `Invalid` (R0650) for one that is no file of keys.
    pub fn read(path: &Path, note: &Note) -> Result<Self> {
        let shown = path.display();
        let failed = |e: std::io::Error| {
            Error::new(ErrorKind::InputMissing, 650, format!("the key file '{shown}' cannot be read: {e}"))
                .with_hint("look at the path and its permissions")
        };
        let found = std::fs::metadata(path).map_err(failed)?;
        if found.len() > FILE_BYTES_MAX {
            return Err(Error::invalid(650, format!("the key file '{shown}' is longer than {FILE_BYTES_MAX} bytes"))
                .with_hint(HINT));
        }
        if is_open_to_others(&found) {
            let message = format!("others than its owner may read the key file '{shown}'");
            note(&Error::new(ErrorKind::NotAllowed, 653, message).with_hint(format!("chmod 600 {shown}")));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Self::parse(&text).map_err(|e| e.context(format_args!("the key file '{shown}'")))
    }

    /// The keys of a text. Errors: `Invalid` (R0650), naming the line.
    pub fn parse(text: &str) -> Result<Self> {
        let mut ring = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // The line itself is not told: it may be a key.
            let wrong = |what: &str| Error::invalid(650, format!("line {number}: {what}")).with_hint(HINT);
            let (id, key) = line.split_once(':').ok_or_else(|| wrong("there is no ':' between id and key"))?;
            let (id, key) = (id.trim(), key.trim());
            let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(letter) {
                return Err(wrong("an id is up to 64 letters, digits, '-', '_' and '.'"));
            }
            let key = STANDARD.decode(key).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            let key = key.ok_or_else(|| wrong(&format!("the key '{id}' is not 32 bytes in base64")))?;
            if ring.get(id).is_some() {
                return Err(wrong(&format!("the key '{id}' is there twice")));
            }
            ring.keys.push((id.to_string(), Key(key)));
        }
        match ring.is_empty() {
            true => Err(Error::invalid(650, "there is no key in it").with_hint(HINT)),
            false => Ok(ring),
        }
    }

    /// Whether it has no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The ids of its keys, the one that encrypts first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|(id, _)| id.as_str())
    }

    /// The key that encrypts.
    pub(super) fn first(&self) -> Option<(&str, &Key)> {
        self.keys.first().map(|(id, key)| (id.as_str(), key))
    }

    pub(super) fn get(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|(own, _)| own == id).map(|(_, key)| key)
    }
}

const HINT: &str = "make one with: (umask 077; echo \"2026-11:$(openssl rand -base64 32)\" > keys)";

#[cfg(unix)]
fn is_open_to_others(found: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    found.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn is_open_to_others(_: &std::fs::Metadata) -> bool {
    false
}
