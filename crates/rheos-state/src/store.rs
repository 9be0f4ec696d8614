//! The checkpoint store: named, immutable files of bytes, written all or nothing.
//!
//! What the protocol needs of it is one thing: [`create`](CheckpointStore::create) succeeds for one caller only, also among
//! processes. A local folder does it by `link`, an object store by a conditional write.
//!
//! Calls block, and are made on threads that may. An error of a write says whether it may have happened all the same.

mod copied;
mod history;
mod home;
mod local;
mod lock;
mod memory;
mod place;
mod remote;
mod sealed;

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rheos_core::{Error, ErrorKind, Result};

pub use copied::CopiedStore;
pub use local::LocalStore;
pub use memory::{Fault, MemoryStore, Operation};
pub use place::StoreOptions;
pub use remote::RemoteStore;
pub use sealed::{KeyRing, SealedStore};

/// Called with what the user should know and what ends nothing.
pub type Note = Arc<dyn Fn(&Error) + Send + Sync>;

/// Longest stretch that is read at once where the caller has no use for all of it, in bytes.
pub(crate) const READ_BYTES_MAX: u64 = 8 << 20;

/// What a conditional write found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// The name was free; the file is there now, and will be after a power failure.
    Created,
    /// The name was taken; nothing was written. What stands there will be there after a power failure.
    Exists,
}

/// Why a write failed, by what is known of its outcome.
#[derive(Debug, Clone)]
pub enum WriteFailure {
    /// Nothing was written.
    NotWritten(Error),
    /// It may have been written, or may yet be.
    Unknown(Error),
}

impl WriteFailure {
    /// The cause.
    pub fn error(&self) -> &Error {
        match self {
            WriteFailure::NotWritten(error) | WriteFailure::Unknown(error) => error,
        }
    }
}

impl WriteFailure {
    /// The cause alone, for who does not ask whether it was written.
    pub(crate) fn into_error(self) -> Error {
        match self {
            WriteFailure::NotWritten(error) | WriteFailure::Unknown(error) => error,
        }
    }
}

impl From<WriteFailure> for Error {
    fn from(failure: WriteFailure) -> Self {
        match failure {
            WriteFailure::NotWritten(error) => error,
            WriteFailure::Unknown(error) => error.context("it is not known whether this was done"),
        }
    }
}

/// A file of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its whole name.
    pub name: String,
    /// Its length.
    pub length_bytes: u64,
    /// Time since it was written, as far as the store knows.
    pub age: Option<Duration>,
}

/// Where checkpoints lie. Names are as of [`names::check`](crate::names::check).
///
/// Errors, where nothing else is said: `External` (R0622) for a store that cannot be reached, `NotAllowed` (R0622), `Corrupt` for
/// what the disk cannot read (R0626) and for names that are not allowed (R0620).
pub trait CheckpointStore: Send + Sync + fmt::Debug {
    /// Writes a file that must not exist. On return it is durable, and so is its name.
    ///
    /// Errors: also `External` (R0621) where no space is left, see [`is_full`](crate::is_full).
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Creation, WriteFailure>;

    /// Writes a file, in place of one that may exist; readers see the one or the other. Errors: as of `create`.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), WriteFailure>;

    /// A whole file; `None` if there is none.
    ///
    /// Errors: also `Corrupt` (R0626) if it is longer than `limit_bytes`.
    fn read(&self, name: &str, limit_bytes: u64) -> Result<Option<Vec<u8>>>;

    /// A stretch of a file, exactly as long as asked for; `None` if there is no file.
    ///
    /// Errors: also `Corrupt` (R0626) if the file ends before.
    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Option<Vec<u8>>>;

    /// As [`read_range`](Self::read_range), into `memory` if it is large enough; what that holds does not matter.
    fn read_range_into(&self, name: &str, range: Range<u64>, memory: Vec<u8>) -> Result<Option<Vec<u8>>> {
        drop(memory);
        self.read_range(name, range)
    }

    /// In what pieces a file is best read back, in bytes.
    fn read_back_bytes(&self) -> u64 {
        READ_BYTES_MAX
    }

    /// The length of a file; `None` if there is none.
    fn length_bytes(&self, name: &str) -> Result<Option<u64>>;

    /// All files whose name begins with `prefix`, in the order of their names. Files that are being written are not there yet.
    fn list(&self, prefix: &str) -> Result<Vec<Listed>>;

    /// The first of these files, which were written, that somebody has removed. Asked for each checkpoint: only of stores that people
    /// have their hands in, and where it costs next to nothing.
    fn missing(&self, names: &[&str]) -> Result<Option<String>> {
        let _ = names;
        Ok(None)
    }

    /// Removes a file; that there is none is no error.
    fn delete(&self, name: &str) -> Result<()>;

    /// Keeps what a file holds now beside the others, under `damaged/`, for a look at it. The file stays. Errors: also R0622 if there is none.
    fn keep(&self, name: &str) -> Result<()>;

    /// Takes what its reader has found damaged, a stretch or all of the file (`None`), from a copy, where there is one whose bytes
    /// there `is_whole` says are right; whether the reader should look again. The rest of the file stays as it is. What the file
    /// held is kept, see `keep`.
    fn repair(&self, name: &str, stretch: Option<Range<u64>>, is_whole: &dyn Fn(&[u8]) -> bool) -> Result<bool> {
        let _ = (name, stretch, is_whole);
        Ok(false)
    }

    /// Where it is, for messages.
    fn place(&self) -> String;

    /// The folder on this machine that it is, if it is one: other processes reach the job by a socket in it.
    fn folder(&self) -> Option<&Path> {
        None
    }

    /// All folders on this machine that it writes to.
    fn folders(&self) -> Vec<&Path> {
        self.folder().into_iter().collect()
    }
}

/// Looks whether files that were written are still there. See [`CheckpointStore::missing`].
///
/// Errors: `External` (R0647) for one that is not; those of the store.
pub fn check_there(store: &dyn CheckpointStore, names: &[String]) -> Result<()> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match store.missing(&names)? {
        None => Ok(()),
        Some(name) => Err(crate::errors::removed(format!("'{name}' has been removed from {}", store.place()))),
    }
}

/// Writes a file that nobody else writes, and reads it back.
///
/// A file that is there already is fine if it has the same bytes: an earlier try was reported as failed.
///
/// Errors: those of the store; `Corrupt` (R0626) if other bytes come back, `Conflict` (R0628) if the name has been used.
pub fn put(store: &dyn CheckpointStore, name: &str, bytes: &[u8]) -> Result<()> {
    let creation = store.create(name, bytes)?;
    let (mut at, mut memory) = (0, Vec::new());
    let same_length = store.length_bytes(name)? == Some(bytes.len() as u64);
    while same_length && at < bytes.len() {
        let end = bytes.len().min(at + store.read_back_bytes() as usize);
        match store.read_range_into(name, at as u64..end as u64, memory)? {
            Some(found) if found == bytes[at..end] => memory = found,
            _ => break,
        }
        at = end;
    }
    match creation {
        _ if same_length && at == bytes.len() => Ok(()),
        Creation::Created => {
            Err(crate::errors::damaged(format!("'{name}' reads other than it was written, in {}", store.place())))
        }
        Creation::Exists => {
            let message = format!("'{name}' exists with other contents, in {}", store.place());
            Err(Error::new(ErrorKind::Conflict, 628, message).with_hint("let only one run use a state directory"))
        }
    }
}
