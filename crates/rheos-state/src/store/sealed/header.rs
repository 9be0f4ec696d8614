//! The first line of an encrypted file.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rheos_checkpoint::manifest::Checksum;
use rheos_core::{Error, Result};
use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use ring::hkdf;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::frames::Cipher;
use super::key_error;
use super::keys::{Key, KeyRing};
use crate::errors::damaged;

/// Length of the line: its end is a line feed, what is left before that are spaces.
pub(super) const HEADER_BYTES: u64 = 256;
/// How every version begins.
const START: &[u8] = br#"{"rheos":"encrypted","#;
/// How many of these bytes may have changed. A `committed` of the journal, which is most alike, differs in seven.
const FLIPPED_MAX: usize = 4;
const VERSION: u32 = 1;
const SALT_BYTES: usize = 32;

/// See the module. The same in all versions to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    rheos: String,
    version: u32,
    /// Which key of the ring.
    key: String,
    /// Of this file, random: base64.
    salt: String,
    /// Tells whether a key is the one.
    check: String,
    /// Of what stands before, so that damage is not taken for another key.
    checksum: Checksum,
}

impl Header {
    /// The line of a new file, and what encrypts the file.
    pub(super) fn make(id: &str, key: &Key, name: &str) -> Result<(Vec<u8>, Cipher)> {
        let mut salt = [0; SALT_BYTES];
        let random = SystemRandom::new().fill(&mut salt);
        random.map_err(|_| Error::internal("the system gives no random bytes"))?;
        let derived = Derived::of(key, &salt);
        let mut header = Self {
            rheos: "encrypted".into(),
            version: VERSION,
            key: id.into(),
            salt: STANDARD.encode(salt),
            check: derived.check()?,
            checksum: Checksum(0),
        };
        header.checksum = header.sum();
        Ok((header.line()?, derived.cipher(name)?))
    }

    fn sum(&self) -> Checksum {
        Checksum::of(format!("{}\n{}\n{}\n{}\n", self.version, self.key, self.salt, self.check).as_bytes())
    }

    fn line(&self) -> Result<Vec<u8>> {
        let mut line =
            serde_json::to_vec(self).map_err(|e| Error::internal(format!("a line cannot be written: {e}")))?;
        if line.len() as u64 >= HEADER_BYTES {
            return Err(Error::internal(format!("the first line of an encrypted file has {} bytes", line.len())));
        }
        line.resize(HEADER_BYTES as usize - 1, b' ');
        line.push(b'\n');
        Ok(line)
    }

    /// The line of a file that begins with `start`; `None` if the file is not encrypted.
    ///
    /// Errors: `Corrupt` (R0626) for damage, `Invalid` (R0627) for another version.
    pub(super) fn read(start: &[u8]) -> Result<Option<Self>> {
        // Bits that flipped in the first bytes must not make an encrypted file look like another one.
        let alike = start.iter().zip(START).filter(|(a, b)| a == b).count();
        if alike + FLIPPED_MAX < START.len() {
            return Ok(None);
        }
        let wrong = |what: String| damaged(format!("its first line: {what}"));
        let line = start.get(..HEADER_BYTES as usize).ok_or_else(|| wrong("it is cut off".into()))?;
        let json = |e: serde_json::Error| wrong(e.to_string());
        let header: Self = serde_json::from_slice(line).map_err(json)?;
        if header.checksum != header.sum() || header.rheos != "encrypted" {
            return Err(wrong("the checksum is wrong".into()));
        }
        if header.version != VERSION {
            // The line is whole: this is no damage.
            let message = format!("it is encrypted by version {}; this Rheos reads version {VERSION}", header.version);
            return Err(Error::invalid(627, message).with_hint("use the version of Rheos that wrote it"));
        }
        Ok(Some(header))
    }

    /// What decrypts the file of this name.
    ///
    /// Errors: `Invalid` for a key that the ring has not (R0651), or that is another (R0652).
    pub(super) fn cipher(&self, keys: &KeyRing, name: &str) -> Result<Cipher> {
        let Some(key) = keys.get(&self.key) else {
            let known = match keys.is_empty() {
                true => "no key was given".to_string(),
                false => format!("the key file has {}", keys.ids().collect::<Vec<_>>().join(", ")),
            };
            return Err(key_error(651, format!("it is encrypted with the key '{}', and {known}", self.key))
                .with_hint("give the file that has this key, with --encryption-key-file"));
        };
        let salt = STANDARD.decode(&self.salt).map_err(|_| damaged("its first line: the salt is none"))?;
        let derived = Derived::of(key, &salt);
        if derived.check()? != self.check {
            let message =
                format!("the key '{}' of the key file is another than the one it was encrypted with", self.key);
            return Err(key_error(652, message).with_hint("put the right key into the file, under an id of its own"));
        }
        derived.cipher(name)
    }
}

/// What is derived for one file.
struct Derived(hkdf::Prk);

impl Derived {
    fn of(key: &Key, salt: &[u8]) -> Self {
        Self(hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(key.bytes()))
    }

    /// Eight bytes that follow from key and salt, and tell nothing of the key.
    fn check(&self) -> Result<String> {
        struct Eight;
        impl hkdf::KeyType for Eight {
            fn len(&self) -> usize {
                8
            }
        }
        let mut bytes = [0; 8];
        let expanded = self.0.expand(&[b"rheos key check v1"], Eight).and_then(|okm| okm.fill(&mut bytes));
        expanded.map_err(|_| underivable())?;
        Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
    }

    fn cipher(&self, name: &str) -> Result<Cipher> {
        let info = [b"rheos file v1 ".as_slice(), name.as_bytes()];
        let key = self.0.expand(&info, &AES_256_GCM).map_err(|_| underivable())?;
        Ok(Cipher::new(LessSafeKey::new(UnboundKey::from(key))))
    }
}

fn underivable() -> Error {
    Error::internal("a key cannot be derived")
}
