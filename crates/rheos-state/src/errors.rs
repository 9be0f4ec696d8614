//! The errors of stored state, each with its code.

use std::io;

use rheos_checkpoint::manifest::Segment;
use rheos_core::{Error, ErrorKind};

/// Whether an error says that the store has no space left: the job goes on and tries again.
pub fn is_full(error: &Error) -> bool {
    error.code() == "R0621"
}

/// A failed call of the operating system on a file of the store.
pub(crate) fn io_error(what: &str, path: &str, error: &io::Error) -> Error {
    use io::ErrorKind as Io;
    let message = format!("cannot {what} '{path}': {error}");
    match error.kind() {
        Io::StorageFull | Io::QuotaExceeded => full(path, error),
        Io::PermissionDenied | Io::ReadOnlyFilesystem => Error::new(ErrorKind::NotAllowed, 622, message)
            .with_hint("give the user that runs rheos the permission to read and write there, or take another folder"),
        Io::Unsupported => Error::new(ErrorKind::External, 622, message)
            .with_hint("keep state on a file system that has hard links and locks, such as ext4 or xfs"),
        // The disk could not read what it has.
        _ if error.raw_os_error() == Some(EIO) && what == "read" => damaged(message),
        _ => {
            Error::new(ErrorKind::External, 622, message).with_hint("look at the disk and the folder, then start again")
        }
    }
}

/// "Input/output error" of Linux and other Unix systems.
const EIO: i32 = 5;

pub(crate) fn full(place: &str, cause: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::External, 621, format!("no space is left for '{place}': {cause}"))
        .with_hint("make space; a job that has started goes on meanwhile and tries again")
}

/// What was stored and somebody has removed, or the folder of it.
pub(crate) fn removed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::External, REMOVED, message)
        .with_hint("put it back as it was; a job that runs goes on meanwhile and tries again")
}

const REMOVED: u16 = 647;

/// Whether an error says that stored state has been removed while the job runs.
pub fn is_removed(error: &Error) -> bool {
    error.code() == "R0647"
}

pub(crate) fn unreachable(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::External, 622, message).with_hint("look at the checkpoint store, then start again")
}

/// An error of the second store of two: the job can do without.
pub(crate) fn of_the_copy(error: Error) -> Error {
    let error = error.context("the copy");
    match (error.kind(), error.hint()) {
        (ErrorKind::External | ErrorKind::NotAllowed | ErrorKind::InputMissing, Some(hint)) => {
            let hint = format!("{hint}; SET 'checkpoint.copies' = '1' goes on without the copy");
            error.with_hint(hint)
        }
        _ => error,
    }
}

pub(crate) fn damaged(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, 626, message)
        .with_hint("put the file back from a copy, or restore from another checkpoint")
}

/// Damage inside of a segment, with the object's, the operator's and the table's name.
pub(crate) fn damaged_segment(object: &str, segment: &Segment, what: impl std::fmt::Display) -> Error {
    damaged(format!("{}: {what}", place(object, segment)))
}

pub(crate) fn place(object: &str, segment: &Segment) -> String {
    format!("the object '{object}', table '{}' of operator '{}'", segment.table, segment.operator)
}

/// `what` is of a version that this Rheos does not know.
pub(crate) fn unknown_version(what: &str, version: u32, known: u32) -> Error {
    let message = format!("{what} is of version {version}; this Rheos reads version {known}");
    Error::new(ErrorKind::Corrupt, 627, message).with_hint("use the version of Rheos that wrote it")
}
