//! Finds a growing file again that a position was taken in: under its own name, or beside it under another if it was
//! rotated since.
//!
//! ```text
//!   x.log is the file          go on in it
//!   x.log.1 is, x.log another  go on in x.log.1 to its end, then x.log from its beginning
//!   x.log.2 is, x.log.1 came between, or none is: an error, lines may be lost
//! ```
//!
//! A file is known by its inode and, since inodes are given out again, by the bytes that it begins with.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rheos_core::{Error, ErrorKind, Result};

use super::paths::shown;
use super::position::FileIdentity;

/// The error for lines that may never be read.
pub(super) fn lost(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, 233, format!("'{}' {what}, so lines may be lost", shown(path))).with_hint(
        "rotate the file by renaming it and beginning a new one, and keep the renamed one until it is read; start the job \
         anew to read what is there",
    )
}

/// The first bytes of a file, as many as an identity may need.
pub(super) fn read_head(file: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0; FileIdentity::HEAD_BYTES];
    let mut length = 0;
    while length < head.len() {
        match file.read_at(&mut head[length..], length as u64)? {
            0 => break,
            n => length += n,
        }
    }
    head.truncate(length);
    Ok(head)
}

/// Opens the file of `identity`, of which `offset` bytes have been read when it had the name `path`.
///
/// Errors: `Corrupt` where it has been cut or is not there any more; `External` where the folder cannot be read.
pub(super) fn find(path: &Path, identity: &FileIdentity, offset: u64) -> Result<File> {
    let failed = |e: io::Error| Error::io("read", &shown(path), &e);
    match File::open(path) {
        Ok(file) => {
            let about = file.metadata().map_err(failed)?;
            if about.ino() == identity.inode {
                let same = identity.begins(&read_head(&file).map_err(failed)?);
                return match (about.len() < offset, same) {
                    (true, _) => Err(lost(path, "has become shorter since it was read")),
                    (_, false) => Err(lost(path, "does not begin any more as it did when it was read")),
                    _ => Ok(file),
                };
            }
        }
        // It may have been renamed, and a new one not begun.
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed(e)),
    }
    let beside = files_beside(path).map_err(failed)?;
    let mut found = None;
    for (other, about) in beside.iter().filter(|(_, about)| about.ino() == identity.inode && about.len() >= offset) {
        let file = File::open(other).map_err(|e| Error::io("read", &shown(other), &e))?;
        if identity.begins(&read_head(&file).map_err(failed)?) {
            found = Some((file, other, about));
        }
    }
    let Some((file, rotated, about)) = found else {
        return Err(lost(path, "has been replaced since it was read, and the file that it was is not beside it"));
    };
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let between = beside.iter().find(|(other, later)| {
        let rotated_too = other.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(name));
        // An empty one has nothing to lose.
        rotated_too && other != rotated && later.len() > 0 && modified(later) >= modified(about)
    });
    match between {
        Some((other, _)) => {
            let what = format!(
                "has been rotated more than once since it was read: it is '{}' now, and '{}' came behind it",
                shown(rotated),
                shown(other)
            );
            Err(lost(path, &what))
        }
        None => Ok(file),
    }
}

fn modified(about: &Metadata) -> (i64, i64) {
    (about.mtime(), about.mtime_nsec())
}

/// The other files of its folder.
fn files_beside(path: &Path) -> io::Result<Vec<(PathBuf, Metadata)>> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut files = vec![];
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // One that goes away meanwhile is not the one.
        if let Ok(about) = entry.metadata()
            && about.is_file()
            && Some(entry.file_name().as_os_str()) != path.file_name()
        {
            files.push((entry.path(), about));
        }
    }
    Ok(files)
}
