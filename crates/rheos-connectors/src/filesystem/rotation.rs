//! Finds a growing file again that a position was taken in, under its own name, or beside it under another if it was rotated since;
//! and the file that was begun when it was.
//!
//! ```text
//!   x.log is the file                  go on in it
//!   x.log.1 is, x.log another          go on in x.log.1 to its end, then x.log from its beginning
//!   x.log.3 is                         then x.log.2, x.log.1 and x.log: in the order of their last changes
//!   x.log.2.gz came between, or x.log.2 has gone, or none is: an error, lines may be lost
//! ```
//!
//! A file is known by its inode and, since inodes are given out again, by the bytes that it begins with.

use std::cmp::Reverse;
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
        "rotate the file by renaming it and beginning a new one, and keep the renamed one until it is read; put the lost file back \
         beside it, or go on with what is there, and with all state, by 'source.lost-lines' = 'accept'",
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
    for (other, _) in
        same_inode(path, identity.inode).map_err(failed)?.iter().filter(|(_, about)| about.len() >= offset)
    {
        let file = File::open(other).map_err(|e| Error::io("read", &shown(other), &e))?;
        if identity.begins(&read_head(&file).map_err(failed)?) {
            return Ok(file);
        }
    }
    Err(lost(path, "has been replaced since it was read, and the file that it was is not beside it"))
}

/// Whether `path` names the file of `identity`, or did before that was rotated: then it lies beside, under a longer name.
pub(super) fn is_there(path: &Path, identity: &FileIdentity) -> Result<bool> {
    let inode = |path: &Path| fs::metadata(path).map(|about| about.ino()).ok();
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let is_longer = |other: &Path| other.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(name));
    let rotated =
        || same_inode(path, identity.inode).is_ok_and(|found| found.iter().any(|(other, _)| is_longer(other)));
    if inode(path) != Some(identity.inode) && !rotated() {
        return Ok(false);
    }
    match find(path, identity, 0) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::Corrupt => Ok(false),
        Err(e) => Err(e),
    }
}

fn same_inode(path: &Path, inode: u64) -> io::Result<Vec<(PathBuf, Metadata)>> {
    let mut beside = files_beside(path)?;
    beside.retain(|(_, about)| about.ino() == inode);
    Ok(beside)
}

/// What follows a file that was rotated.
#[derive(Debug, Default)]
pub(super) struct Successor {
    /// The file that was begun then, if it has been rotated since.
    pub(super) file: Option<File>,
    /// Why lines between the two may be lost.
    pub(super) gap: Option<Error>,
}

/// The file that was begun when `file` was rotated. `is_known`: this process has followed `file` since before it was rotated, so that
/// what has another kind of name is none of its successors.
///
/// Errors: `External` where the folder cannot be read.
pub(super) fn successor(path: &Path, file: &File, is_known: bool) -> Result<Successor> {
    let failed = |e: io::Error| Error::io("read", &shown(path), &e);
    let inode = file.metadata().map_err(failed)?.ino();
    let beside = files_beside(path).map_err(failed)?;
    let Some((own, about)) = beside.iter().find(|(_, about)| about.ino() == inode) else {
        return Ok(Successor::default());
    };
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    // An empty one has nothing to lose.
    let is_later = |other: &Path, later: &Metadata| {
        let rotated_too = other.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(name));
        rotated_too && other != own && later.len() > 0 && age(other, later) > age(own, about)
    };
    let mut later: Vec<_> = beside.iter().filter(|(other, about)| is_later(other, about)).collect();
    later.sort_by_key(|(other, about)| age(other, about));
    let (alike, strange): (Vec<_>, Vec<_>) = later.into_iter().partition(|(other, _)| kind(other) == kind(own));
    let strange = strange.first().filter(|_| !is_known);
    let mut gap = strange.map(|(other, _)| between(path, own, other, "came behind it, and is no file to go on in"));
    let Some((next, found)) = alike.first() else { return Ok(Successor { file: None, gap }) };
    if let (Some(from), Some(to)) = (number(own), number(next))
        && to + 1 < from
    {
        gap = Some(between(path, own, next, "is the next that is there, so that one has gone"));
    }
    let opened = File::open(next).and_then(|file| Ok((file.metadata()?.ino(), file)));
    match opened {
        Ok((inode, file)) if inode == found.ino() => Ok(Successor { file: Some(file), gap }),
        // It was rotated just now: who asks again finds it.
        Ok(_) => Err(Error::io("read", &shown(path), &io::Error::other("it was rotated once more"))),
        Err(e) => Err(Error::io("read", &shown(next), &e)),
    }
}

fn between(path: &Path, own: &Path, other: &Path, what: &str) -> Error {
    let what = format!(
        "has been rotated more than once since it was read: it is '{}' now, and '{}' {what}",
        shown(own),
        shown(other)
    );
    lost(path, &what)
}

/// The kind of a rotated file's name: all but its numbers.
fn kind(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut kind = String::new();
    for c in name.chars() {
        match c.is_ascii_digit() {
            true if kind.ends_with('#') => {}
            true => kind.push('#'),
            false => kind.push(c),
        }
    }
    kind
}

/// The small number that counts a rotated file, which ends its name; dates are large.
fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let number = name.rsplit(|c: char| !c.is_ascii_digit()).next()?;
    number.parse().ok().filter(|n| *n < 1000)
}

/// Orders rotated files by their last change and, where the clock of the file system does not tell, by their names: the oldest has the
/// largest small number, or the least date.
fn age(path: &Path, about: &Metadata) -> (i64, i64, Reverse<u64>, PathBuf) {
    let (seconds, ns) = (about.mtime(), about.mtime_nsec());
    (seconds, ns, Reverse(number(path).unwrap_or(0)), path.into())
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
