//! One run at a time in a folder: a lock on the file `lock`, which the system gives back when the process ends.
//!
//! It spares users the confusion of two runs that push each other out. What keeps two runs from harm is the journal: also on
//! file systems whose locks do not work, and if somebody removes the file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use rheos_core::{Error, ErrorKind, Result};

use crate::errors::io_error;

/// The name of the file.
pub(super) const LOCK: &str = "lock";

/// Held as long as it lives.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Errors: `InUse` (R0623) if another run holds it.
    pub(super) fn try_new(folder: &Path) -> Result<Self> {
        let path: PathBuf = folder.join(LOCK);
        let shown = path.display().to_string();
        let failed = |e: &std::io::Error| io_error("lock", &shown, e);
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(|e| failed(&e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(folder, &mut file)),
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
        // Only to be shown to others: a disk that is full does not keep a job from its state.
        let _ = file.set_len(0).and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
        Ok(Self { _file: file })
    }
}

fn in_use(folder: &Path, file: &mut File) -> Error {
    let mut text = String::new();
    // A process number has ten digits at most.
    let read = file.rewind().and_then(|()| file.take(16).read_to_string(&mut text));
    let holder = match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => format!("process {pid}"),
        _ => "another process".to_string(),
    };
    let message = format!("the state directory '{}' is in use by {holder}", folder.display());
    Error::new(ErrorKind::InUse, 623, message)
        .with_hint("wait until that run has ended, or end it; each job needs a directory of its own")
}
