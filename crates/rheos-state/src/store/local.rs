//! A folder as checkpoint store.
//!
//! ```text
//!   create:  .tmp-<pid>-<n> ── write, fsync ──► link to the name (fails if it is taken) ──► fsync of the folder
//! ```
//! A name that can be seen has its whole contents: no crash leaves half a file under it. What a crash leaves are temporary
//! files, which the next run removes when it opens the folder.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rheos_core::{Error, ErrorKind, Result};

use super::home::Home;
use super::lock::{FolderLock, LOCK};
use super::{CheckpointStore, Creation, Listed, WriteFailure};
use crate::errors::{damaged, io_error};
use crate::names;

const TEMPORARY: &str = ".tmp-";
/// What is given to the system at once, in bytes. For long writes Linux takes pages of 2 MiB and more, which on a virtual machine
/// may be memory that its host has yet to find: that took four times longer here.
const PIECE_BYTES: usize = 256 << 10;
/// Folders inside of folders, at most.
const DEPTH_MAX: usize = 8;

/// A folder, opened for one run or for a look.
#[derive(Debug)]
pub struct LocalStore {
    folder: PathBuf,
    /// `None` for a look: nothing is written.
    taken: Option<Taken>,
    next_temporary: AtomicU64,
}

/// What a run holds of its folder.
#[derive(Debug)]
struct Taken {
    _lock: FolderLock,
    home: Home,
    /// The run has made the folder.
    is_new: bool,
}

impl LocalStore {
    /// The folder of a job, for the one run that uses it. It is made if it is not there, and goes again if the run stores nothing; what
    /// an unfinished write has left is removed.
    ///
    /// Errors: `InUse` (R0623) if another run uses it, `Invalid` (R0625) if it holds other things or is no folder. Later, of all calls:
    /// `External` (R0647) while it is removed, renamed, or another folder stands in its place.
    pub fn open(folder: &Path) -> Result<Self> {
        let shown = folder.display().to_string();
        check_is_folder(folder)?;
        let is_new = !folder.exists();
        make_root(folder).map_err(|e| io_error("make the folder", &shown, &e))?;
        let folder = fs::canonicalize(folder).map_err(|e| io_error("open", &shown, &e))?;
        check_contents(&folder)?;
        let lock = FolderLock::try_new(&folder)?;
        let inner = [names::JOURNAL, names::OBJECTS].map(|name| folder.join(name.trim_end_matches('/')));
        for path in &inner {
            make_folder(path).map_err(|e| io_error("make the folder", &path.display().to_string(), &e))?;
        }
        let home = Home::hold([folder.clone()].into_iter().chain(inner))?;
        let taken = Some(Taken { _lock: lock, home, is_new });
        let store = Self { folder, taken, next_temporary: AtomicU64::new(0) };
        store.remove_leftovers(&store.folder, 0)?;
        Ok(store)
    }

    /// The folder of a job, for a look at it while a run may use it.
    ///
    /// Errors: `InputMissing` (R0624) if it is none.
    pub fn view(folder: &Path) -> Result<Self> {
        let missing = |what: &str| {
            let message = format!("'{}' is no state directory: {what}", folder.display());
            Error::new(ErrorKind::InputMissing, 624, message)
                .with_hint("give the folder that 'rheos run --state-dir' was given")
        };
        match fs::metadata(folder) {
            Ok(found) if !found.is_dir() => return Err(missing("it is a file")),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(missing("it does not exist")),
            Err(e) => return Err(io_error("open", &folder.display().to_string(), &e)),
        }
        if !folder.join(names::JOURNAL).is_dir() {
            return Err(missing("it has no folder 'journal'"));
        }
        Ok(Self { folder: folder.to_path_buf(), taken: None, next_temporary: AtomicU64::new(0) })
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        names::check(name)?;
        Ok(self.folder.join(name))
    }

    /// Whether the folder is still the one that was taken: what is missing may be in that one. Errors: R0647.
    fn check_home(&self) -> Result<()> {
        self.taken.as_ref().map_or(Ok(()), |taken| taken.home.check())
    }

    /// The path of a file that is written, in a folder that is there.
    fn path_for_write(&self, name: &str) -> Result<PathBuf> {
        if self.taken.is_none() {
            return Err(Error::internal(format!("'{name}' is written in a folder that was opened for a look")));
        }
        let path = self.path(name)?;
        self.check_home()?;
        let folder = parent(&path);
        if !folder.is_dir() {
            make_folder(folder).map_err(|e| io_error("make the folder", &folder.display().to_string(), &e))?;
        }
        Ok(path)
    }

    /// A file and its length.
    fn open_file(&self, path: &Path) -> Result<Option<(File, u64)>> {
        let found = open(path)?;
        if found.is_none() {
            self.check_home()?;
        }
        Ok(found)
    }

    /// A temporary file beside `path` with these bytes, which are on the disk.
    fn write_temporary(&self, path: &Path, bytes: &[u8]) -> Result<PathBuf> {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = parent(path).join(format!("{TEMPORARY}{}-{number}", std::process::id()));
        let write = || {
            let mut file = File::create_new(&temporary)?;
            bytes.chunks(PIECE_BYTES).try_for_each(|piece| file.write_all(piece))?;
            file.sync_all()
        };
        write().map_err(|error| {
            // The space is needed.
            let _ = fs::remove_file(&temporary);
            io_error("write", &path.display().to_string(), &error)
        })?;
        Ok(temporary)
    }

    fn remove_leftovers(&self, folder: &Path, depth: usize) -> Result<()> {
        let failed = |e: io::Error| io_error("read", &folder.display().to_string(), &e);
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            if entry.file_type().map_err(failed)?.is_dir() {
                if depth < DEPTH_MAX {
                    self.remove_leftovers(&path, depth + 1)?;
                }
            } else if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                fs::remove_file(&path).map_err(|e| io_error("remove", &path.display().to_string(), &e))?;
            }
        }
        Ok(())
    }

    fn collect(&self, folder: &Path, base: &str, prefix: &str, into: &mut Vec<Listed>) -> Result<()> {
        let failed = |e: io::Error| io_error("read", &folder.display().to_string(), &e);
        let entries = match fs::read_dir(folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = format!("{base}{}", entry.file_name().to_string_lossy());
            if names::check(&name).is_err() {
                continue;
            }
            let found = match entry.metadata() {
                // Somebody was faster with a delete.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                found => found.map_err(failed)?,
            };
            let inner = format!("{name}/");
            let leads_there = inner.starts_with(prefix) || prefix.starts_with(&inner);
            if found.is_dir() && leads_there && inner.matches('/').count() <= DEPTH_MAX {
                self.collect(&entry.path(), &inner, prefix, into)?;
            } else if found.is_file() && name.starts_with(prefix) {
                let age = found.modified().ok().and_then(|m| m.elapsed().ok());
                into.push(Listed { name, length_bytes: found.len(), age });
            }
        }
        Ok(())
    }
}

impl Drop for LocalStore {
    /// A run that was refused leaves no folder behind: where its input lies, the next run would take it for input.
    fn drop(&mut self) {
        // Another folder in its place belongs to another run.
        if self.taken.as_ref().is_none_or(|taken| !taken.is_new || taken.home.check().is_err()) {
            return;
        }
        let inner = [names::JOURNAL, names::OBJECTS].map(|name| self.folder.join(name));
        let is_empty = |path: &PathBuf| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        // A folder is removed only while it is empty: what somebody puts there meanwhile stays.
        if inner.iter().all(is_empty) && inner.iter().all(|path| fs::remove_dir(path).is_ok()) {
            let _ = fs::remove_file(self.folder.join(LOCK));
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

impl CheckpointStore for LocalStore {
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Creation, WriteFailure> {
        let path = self.path_for_write(name).map_err(WriteFailure::NotWritten)?;
        let shown = path.display().to_string();
        let temporary = self.write_temporary(&path, bytes).map_err(WriteFailure::NotWritten)?;
        let linked = fs::hard_link(&temporary, &path);
        // If it stays, the next run removes it.
        let _ = fs::remove_file(&temporary);
        let creation = match linked {
            Ok(()) => Creation::Created,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Creation::Exists,
            Err(e) => return Err(link_failure(io_error("make", &shown, &e), &e)),
        };
        // Also what exists must stay: it may be what an earlier try of this caller made, whose folder was not synced.
        sync_folder(parent(&path)).map_err(|e| WriteFailure::Unknown(io_error("sync the folder of", &shown, &e)))?;
        Ok(creation)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), WriteFailure> {
        let path = self.path_for_write(name).map_err(WriteFailure::NotWritten)?;
        let shown = path.display().to_string();
        let temporary = self.write_temporary(&path, bytes).map_err(WriteFailure::NotWritten)?;
        fs::rename(&temporary, &path).map_err(|e| {
            let _ = fs::remove_file(&temporary);
            link_failure(io_error("replace", &shown, &e), &e)
        })?;
        sync_folder(parent(&path)).map_err(|e| WriteFailure::Unknown(io_error("sync the folder of", &shown, &e)))
    }

    fn read(&self, name: &str, limit_bytes: u64) -> Result<Option<Vec<u8>>> {
        let path = self.path(name)?;
        let failed = |e: io::Error| io_error("read", &path.display().to_string(), &e);
        let Some((file, length)) = self.open_file(&path)? else { return Ok(None) };
        let mut bytes = Vec::with_capacity(length.min(limit_bytes) as usize);
        file.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > limit_bytes {
            return Err(damaged(format!("'{}' is longer than {limit_bytes} bytes", path.display())));
        }
        Ok(Some(bytes))
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Option<Vec<u8>>> {
        self.read_range_into(name, range, Vec::new())
    }

    fn read_range_into(&self, name: &str, range: Range<u64>, mut memory: Vec<u8>) -> Result<Option<Vec<u8>>> {
        let path = self.path(name)?;
        let failed = |e: io::Error| io_error("read", &path.display().to_string(), &e);
        let Some((mut file, length)) = self.open_file(&path)? else { return Ok(None) };
        // Before memory is asked for: the range may come from a manifest that lies.
        if range.end > length || range.start > range.end {
            let message = format!("'{}' has {length} bytes, and {} are asked for", path.display(), range.end);
            return Err(damaged(message));
        }
        file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
        let wanted = (range.end - range.start) as usize;
        if memory.capacity() >= wanted {
            memory.resize(wanted, 0);
            file.read_exact(&mut memory).map_err(failed)?;
            return Ok(Some(memory));
        }
        // Fresh memory is not cleared for this.
        memory = Vec::with_capacity(wanted);
        if file.take(wanted as u64).read_to_end(&mut memory).map_err(failed)? < wanted {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(Some(memory))
    }

    fn read_back_bytes(&self) -> u64 {
        // A cache's worth: there is no request to be saved.
        256 << 10
    }

    fn length_bytes(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.open_file(&self.path(name)?)?.map(|(_, length)| length))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        let mut found = Vec::new();
        self.collect(&self.folder, "", prefix, &mut found)?;
        self.check_home()?;
        found.retain(|l| l.name != LOCK);
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn missing(&self, names: &[&str]) -> Result<Option<String>> {
        self.check_home()?;
        for name in names {
            let path = self.path(name)?;
            match fs::metadata(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Some(name.to_string())),
                found => found.map_err(|e| io_error("read", &path.display().to_string(), &e))?,
            };
        }
        Ok(None)
    }

    fn delete(&self, name: &str) -> Result<()> {
        let path = self.path_for_write(name)?;
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &path.display().to_string(), &e)),
            _ => Ok(()),
        }
    }

    fn keep(&self, name: &str) -> Result<()> {
        let (from, to) = (self.path(name)?, self.path_for_write(&names::damaged_path(name))?);
        match fs::hard_link(&from, &to) {
            // One look is enough.
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                Err(io_error("keep", &from.display().to_string(), &e))
            }
            _ => Ok(()),
        }
    }

    fn place(&self) -> String {
        format!("'{}'", self.folder.display())
    }

    fn folder(&self) -> Option<&Path> {
        Some(&self.folder)
    }
}

/// A file and its length.
fn open(path: &Path) -> Result<Option<(File, u64)>> {
    let failed = |e: io::Error| io_error("read", &path.display().to_string(), &e);
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let found = file.metadata().map_err(failed)?;
    match found.is_file() {
        true => Ok(Some((file, found.len()))),
        false => Err(damaged(format!("'{}' is no file", path.display()))),
    }
}

/// What is known after a failed `link` or `rename`. Servers of network file systems may have done it and lost the answer.
fn link_failure(error: Error, cause: &io::Error) -> WriteFailure {
    use io::ErrorKind as Io;
    match cause.kind() {
        Io::StorageFull | Io::QuotaExceeded | Io::PermissionDenied | Io::ReadOnlyFilesystem | Io::Unsupported => {
            WriteFailure::NotWritten(error)
        }
        _ => WriteFailure::Unknown(error),
    }
}

/// Every path here is a file inside of the store's folder.
fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A folder that is there after a power failure.
fn make_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    sync_folder(folder)?;
    sync_folder(parent(folder))
}

/// The folder of a job. Its name, and those of the folders above it, are there after a power failure: output may be visible
/// that only the state in it knows of. Also what was there is synced, for an earlier run may have made it and died.
fn make_root(folder: &Path) -> io::Result<()> {
    let is_used = folder.join(names::JOURNAL).is_dir();
    fs::create_dir_all(folder)?;
    for above in fs::canonicalize(folder)?.ancestors().skip(1).take_while(|_| !is_used) {
        match sync_folder(above) {
            // Folders of others may be closed to this user, and have been there before.
            Err(e) if matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput) => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// What is there and is no folder, or leads to nothing, is named for what it is.
fn check_is_folder(folder: &Path) -> Result<()> {
    let shown = folder.display();
    let message = match (fs::metadata(folder), fs::read_link(folder)) {
        (Ok(found), _) if !found.is_dir() => format!("'{shown}' is a file, and state needs a folder"),
        (Err(_), Ok(target)) => format!("'{shown}' is a link to '{}', where there is nothing", target.display()),
        _ => return Ok(()),
    };
    Err(Error::invalid(625, message).with_hint("give an empty folder, or one that does not exist yet"))
}

/// Names that runs leave beside the journal. Where it is gone, who reads it says so.
const LEFT: [&str; 5] = [LOCK, "objects", "damaged", "errors", "control.sock"];

/// A folder with a user's files in it is taken for a mistake.
fn check_contents(folder: &Path) -> Result<()> {
    if folder.join(names::JOURNAL).is_dir() {
        return Ok(());
    }
    let failed = |e: io::Error| io_error("read", &folder.display().to_string(), &e);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy();
        // Also of a run that ended while it made the folder.
        if LEFT.contains(&&*name) {
            continue;
        }
        let message = format!("'{}' is no state directory: it holds '{name}'", folder.display());
        return Err(Error::invalid(625, message).with_hint("give an empty folder, or one that does not exist yet"));
    }
    Ok(())
}
