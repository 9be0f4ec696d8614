//! A store whose files are encrypted: AES-256-GCM, with keys from a file.
//!
//! ```text
//!   line of 256 bytes   {"rheos":"encrypted","version":1,"key":"2026-11","salt":..,"check":..,"checksum":..}
//!   frame 0             64 KiB, encrypted, and 16 bytes that authenticate them
//!   frame 1 ...         the last one is shorter, and may be empty
//! ```
//! Each file has a key of its own, derived (HKDF-SHA-256) from the key of the ring, the file's salt and its name; the nonce
//! of a frame is its number, and whether it is the last. So frames cannot be moved, cut off or put into other files, and any
//! stretch is read by decrypting its frames only. `check` tells a wrong key from damage: a wrong key is an error of its own,
//! and never makes a restore go back. Names, lengths and times of files stay visible. Files from before there was a key are
//! read as they are (`docs/decisions/0007-encrypted-state.md`).

mod frames;
mod header;
mod keys;

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rheos_core::{Error, Result};

use self::frames::Cipher;
use self::header::{HEADER_BYTES, Header};
use super::{CheckpointStore, Creation, Listed, WriteFailure};
use crate::errors::damaged;

pub use self::keys::KeyRing;

/// Files of which it is remembered how they are encrypted, at most.
const REMEMBERED_MAX: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub struct SealedStore {
    inner: Arc<dyn CheckpointStore>,
    keys: KeyRing,
    /// Of files that were read in parts.
    seen: Mutex<HashMap<String, Seen>>,
}

/// How a file lies in the store.
#[derive(Debug, Clone)]
struct Seen {
    /// All its bytes there.
    stored_bytes: u64,
    /// `None`: it is not encrypted.
    cipher: Option<Arc<Cipher>>,
}

impl SealedStore {
    /// Without keys nothing is encrypted, and an encrypted journal is refused (R0651).
    pub fn new(inner: Arc<dyn CheckpointStore>, keys: KeyRing) -> Self {
        Self { inner, keys, seen: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, name: &str) {
        self.lock().remove(name);
    }

    fn encrypt(&self, name: &str, bytes: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some((id, key)) = self.keys.first() else { return Ok(None) };
        let (header, cipher) = Header::make(id, key, name)?;
        let mut sealed = header;
        cipher.seal(bytes, &mut sealed)?;
        Ok(Some(sealed))
    }

    /// What encrypts a file that begins with these bytes; `None` for one that is not encrypted.
    ///
    /// Errors: `Invalid` for a key that is not there (R0651) or is another (R0652); `Corrupt` for damage.
    fn cipher(&self, name: &str, start: &[u8]) -> Result<Option<Cipher>> {
        let place = |e: Error| e.context(format_args!("'{name}' in {}", self.inner.place()));
        match Header::read(start).map_err(place)? {
            Some(header) => header.cipher(&self.keys, name).map(Some).map_err(place),
            None => Ok(None),
        }
    }

    /// How a file lies in the store; `None` if there is none.
    fn seen(&self, name: &str) -> Result<Option<Seen>> {
        if let Some(seen) = self.lock().get(name) {
            return Ok(Some(seen.clone()));
        }
        let Some(stored_bytes) = self.inner.length_bytes(name)? else { return Ok(None) };
        let Some(start) = self.inner.read_range(name, 0..stored_bytes.min(HEADER_BYTES))? else { return Ok(None) };
        let seen = Seen { stored_bytes, cipher: self.cipher(name, &start)?.map(Arc::new) };
        let mut all = self.lock();
        if all.len() >= REMEMBERED_MAX {
            all.clear();
        }
        all.insert(name.to_string(), seen.clone());
        Ok(Some(seen))
    }

    fn in_frames(&self, name: &str, seen: &Seen) -> Result<u64> {
        frames::plain_bytes(seen.stored_bytes).ok_or_else(|| {
            damaged(format!("'{name}' in {} is cut off: it has {} bytes", self.inner.place(), seen.stored_bytes))
        })
    }

    fn undecryptable(&self, name: &str) -> Error {
        damaged(format!("'{name}' in {} cannot be decrypted: its bytes have changed", self.inner.place()))
    }

    fn read_frames(&self, name: &str, seen: &Seen, cipher: &Cipher, range: Range<u64>) -> Result<Option<Vec<u8>>> {
        let plain_bytes = self.in_frames(name, seen)?;
        if range.start > range.end || range.end > plain_bytes {
            let place = self.inner.place();
            return Err(damaged(format!(
                "'{name}' in {place} has {plain_bytes} bytes, and {} are asked for",
                range.end
            )));
        }
        if range.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let (first, stored) = frames::stored_range(&range, seen.stored_bytes);
        let Some(bytes) = self.inner.read_range(name, stored.clone())? else { return Ok(None) };
        let plain = cipher.open(first, stored.end == seen.stored_bytes, bytes);
        let plain = plain.ok_or_else(|| self.undecryptable(name))?;
        let skipped = (range.start - first * frames::FRAME_BYTES) as usize;
        let wanted = skipped..skipped + (range.end - range.start) as usize;
        plain.get(wanted).map(|bytes| Some(bytes.to_vec())).ok_or_else(|| self.undecryptable(name))
    }
}

impl CheckpointStore for SealedStore {
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Creation, WriteFailure> {
        self.forget(name);
        match self.encrypt(name, bytes).map_err(WriteFailure::NotWritten)? {
            Some(sealed) => self.inner.create(name, &sealed),
            None => self.inner.create(name, bytes),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), WriteFailure> {
        self.forget(name);
        let replaced = match self.encrypt(name, bytes).map_err(WriteFailure::NotWritten)? {
            Some(sealed) => self.inner.replace(name, &sealed),
            None => self.inner.replace(name, bytes),
        };
        self.forget(name);
        replaced
    }

    fn read(&self, name: &str, limit_bytes: u64) -> Result<Option<Vec<u8>>> {
        let Some(mut bytes) = self.inner.read(name, frames::stored_bytes_max(limit_bytes))? else { return Ok(None) };
        let start = &bytes[..bytes.len().min(HEADER_BYTES as usize)];
        let plain = match self.cipher(name, start)? {
            None => bytes,
            Some(cipher) => {
                bytes.drain(..HEADER_BYTES as usize);
                cipher.open(0, true, bytes).ok_or_else(|| self.undecryptable(name))?
            }
        };
        match plain.len() as u64 > limit_bytes {
            true => Err(damaged(format!("'{name}' in {} is longer than {limit_bytes} bytes", self.inner.place()))),
            false => Ok(Some(plain)),
        }
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Option<Vec<u8>>> {
        self.read_range_into(name, range, Vec::new())
    }

    fn read_range_into(&self, name: &str, range: Range<u64>, memory: Vec<u8>) -> Result<Option<Vec<u8>>> {
        if self.keys.is_empty() {
            // The journal is read first, as a whole, and would have been refused.
            return self.inner.read_range_into(name, range, memory);
        }
        let Some(seen) = self.seen(name)? else { return Ok(None) };
        let read = match &seen.cipher {
            Some(cipher) => self.read_frames(name, &seen, cipher, range),
            None => self.inner.read_range_into(name, range, memory),
        };
        if !matches!(read, Ok(Some(_))) {
            // The file may have been replaced since.
            self.forget(name);
        }
        read
    }

    fn length_bytes(&self, name: &str) -> Result<Option<u64>> {
        if self.keys.is_empty() {
            return self.inner.length_bytes(name);
        }
        self.forget(name);
        match self.seen(name)? {
            None => Ok(None),
            Some(seen) if seen.cipher.is_some() => self.in_frames(name, &seen).map(Some),
            Some(seen) => Ok(Some(seen.stored_bytes)),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        self.inner.list(prefix)
    }

    fn missing(&self, names: &[&str]) -> Result<Option<String>> {
        self.inner.missing(names)
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.forget(name);
        self.inner.delete(name)
    }

    fn keep(&self, name: &str) -> Result<()> {
        self.inner.keep(name)
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn folder(&self) -> Option<&Path> {
        self.inner.folder()
    }

    fn folders(&self) -> Vec<&Path> {
        self.inner.folders()
    }
}

/// An error about keys: no damage, and nothing may be decided over it.
fn key_error(code: u16, message: String) -> Error {
    Error::invalid(code, message)
}
