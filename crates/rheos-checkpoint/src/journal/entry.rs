//! What stands in a journal: claims, manifests, and what is left when they have done their work.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

pub use rheos_core::ids::Nonce;
use rheos_core::{Epoch, Error, ErrorKind, Generation, JobId, Result};
use serde::{Deserialize, Serialize};

use crate::manifest::{Checksum, Manifest, NUMBER_MAX, text};

/// The number of an entry, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntryNumber(pub u64);

impl EntryNumber {
    /// The number behind this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The entry's file name; names sort as their numbers do.
    pub fn file_name(self) -> String {
        format!("{:020}.json", self.0)
    }

    /// The number of a file, if it has the name of an entry.
    pub fn from_file_name(name: &str) -> Option<Self> {
        Self::parse(name.strip_suffix(".json")?).filter(|n| n.file_name() == name)
    }

    /// The name of the file that bears witness to the entry. See [`Witness`].
    pub fn witness_name(self) -> String {
        format!("head-{:020}", self.0)
    }

    /// The number of a file, if it has the name of a witness.
    pub fn from_witness_name(name: &str) -> Option<Self> {
        Self::parse(name.strip_prefix("head-")?).filter(|n| n.witness_name() == name)
    }

    fn parse(digits: &str) -> Option<Self> {
        let number: u64 = digits.parse().ok()?;
        (1..=NUMBER_MAX).contains(&number).then_some(Self(number))
    }
}

/// What a small file beside the entries says: this entry, with this text, was the newest.
///
/// The file's name tells the number, so that it can be made only once: who finds it there with another checksum has written
/// an entry whose number had been another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Witness {
    /// The entry.
    pub number: EntryNumber,
    /// Of its text: the number of an entry that was removed may have been taken by a late claim. `None`: it cannot be read.
    pub checksum: Option<Checksum>,
}

impl Witness {
    /// The witness of entry `number`, whose text is `text`.
    pub fn of(number: EntryNumber, text: &[u8]) -> Self {
        Self { number, checksum: Some(Checksum::of(text)) }
    }

    /// The witness in the file of this name, if it has the name of one.
    pub fn read(name: &str, contents: &[u8]) -> Option<Self> {
        let number = EntryNumber::from_witness_name(name)?;
        let twice = |c: &&str| std::str::from_utf8(contents).is_ok_and(|text| text == format!("{c} {c}\n"));
        let checksum = contents.get(..16).and_then(|c| std::str::from_utf8(c).ok()).filter(twice);
        let checksum = checksum.and_then(|c| u64::from_str_radix(c, 16).ok()).map(Checksum);
        Some(Self { number, checksum })
    }

    /// What the file holds: the checksum twice, for a bit that flips in it must not look like another entry.
    pub fn contents(&self) -> String {
        self.checksum.map_or(String::new(), |c| format!("{c} {c}\n"))
    }
}

impl fmt::Display for EntryNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// "From here on the journal is mine."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The number of the claim's own entry: no two claims have the same, and a damaged one leaves no number to be used
    /// again.
    pub generation: Generation,
    /// Who wrote it: two starters may make the same claim in all other respects, and the number is for one of them.
    pub nonce: Nonce,
    /// The job, from its first claim on.
    pub job: JobId,
    /// What it went on from; `None` for a job that starts without state.
    pub restored: Option<Restored>,
    /// The epoch that runs first.
    pub first_epoch: Epoch,
    /// How many of the newest checkpoints the generation keeps; at least so many can its successor go back to.
    pub checkpoints_kept: NonZeroU32,
    /// Objects that were found damaged and are kept for a look at them.
    pub damaged: Vec<String>,
}

/// The checkpoint that a generation went on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restored {
    /// Its entry.
    pub entry: EntryNumber,
    /// Who wrote it: the history goes on there, also when the entry has been deleted.
    pub generation: Generation,
}

impl Claim {
    /// The entry that the claim has, or will have.
    pub fn entry(&self) -> EntryNumber {
        EntryNumber(self.generation.0)
    }
}

/// "Everything that this manifest has released is committed": written when a job ends in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Committed {
    /// The number of the entry itself.
    pub entry: EntryNumber,
    /// Who wrote it.
    pub generation: Generation,
    /// The manifest.
    pub manifest: EntryNumber,
}

/// The body of a retired entry.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Retired {
    entry: EntryNumber,
}

/// What an entry holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A generation begins.
    Claim(Claim),
    /// A checkpoint is complete.
    Manifest(Arc<Manifest>),
    /// What a manifest has released is committed.
    Committed(Committed),
    /// It was a manifest that is not needed any more; its number must not become free.
    Retired,
    /// A file that cannot be read or is missing, and why.
    Unreadable(String),
}

impl Entry {
    /// The text of entry `number`.
    ///
    /// Errors: as of [`text::encode`]; `Internal` for an unreadable entry, and one that belongs at another number.
    pub fn encode(&self, number: EntryNumber) -> Result<Vec<u8>> {
        if self.own_number().is_some_and(|own| own != number) {
            return Err(Error::internal(format!("entry {number} of the journal would not tell its own number")));
        }
        match self {
            Entry::Claim(claim) => text::encode_as("claim", claim),
            Entry::Manifest(manifest) => text::encode(manifest),
            Entry::Committed(committed) => text::encode_as("committed", committed),
            Entry::Retired => text::encode_as("retired", &Retired { entry: number }),
            Entry::Unreadable(why) => Err(Error::internal(format!("an unreadable entry is not written: {why}"))),
        }
    }

    /// Entry `number` from its text; one that is damaged, or stood elsewhere, becomes `Unreadable`.
    ///
    /// Errors: `Corrupt` (R0602) for a version that is not known, `Invalid` (R0610) for one that is encrypted: these are no
    /// damage, and nothing may be decided over them.
    pub fn decode(number: EntryNumber, bytes: &[u8]) -> Result<Self> {
        match Self::read(number, bytes) {
            Err(error) if ["R0602", "R0610"].contains(&error.code().as_str()) => Err(error),
            Err(error) => Ok(Entry::Unreadable(error.message().to_string())),
            Ok(entry) => Ok(entry),
        }
    }

    fn read(number: EntryNumber, bytes: &[u8]) -> Result<Self> {
        let (kind, body) = text::open(bytes)?;
        let (entry, own) = match kind.as_str() {
            "claim" => {
                let claim: Claim = text::decode_body("claim", &kind, body)?;
                claim.check()?;
                (Entry::Claim(claim), None)
            }
            "committed" => {
                let committed: Committed = text::decode_body("committed", &kind, body)?;
                if committed.manifest >= committed.entry {
                    return Err(misplaced("it speaks of what comes after it"));
                }
                (Entry::Committed(committed), None)
            }
            "retired" => {
                let Retired { entry } = text::decode_body("retired", &kind, body)?;
                (Entry::Retired, Some(entry))
            }
            _ => {
                let manifest: Manifest = text::decode_body("manifest", &kind, body)?;
                manifest.check()?;
                (Entry::Manifest(Arc::new(manifest)), None)
            }
        };
        match own.or(entry.own_number()) {
            Some(own) if own != number => Err(misplaced(format_args!("it is a copy of entry {own}"))),
            _ => Ok(entry),
        }
    }

    fn own_number(&self) -> Option<EntryNumber> {
        match self {
            Entry::Claim(claim) => Some(claim.entry()),
            Entry::Manifest(manifest) => Some(manifest.entry),
            Entry::Committed(committed) => Some(committed.entry),
            Entry::Retired | Entry::Unreadable(_) => None,
        }
    }
}

impl Claim {
    /// What it goes on from lies before it.
    fn check(&self) -> Result<()> {
        let after = |r: &Restored| r.entry >= self.entry() || r.generation.0 >= r.entry.0;
        match self.restored.as_ref().is_some_and(after) || self.first_epoch.0 > NUMBER_MAX {
            true => Err(misplaced("the claim goes on from what comes after it")),
            false => Ok(()),
        }
    }
}

fn misplaced(what: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, 603, what.to_string())
}
