//! The steps of a commit on the disk. A process may die between any two of them; tests let it.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rheos_core::{Error, ErrorKind as Kind, Result};

use super::paths::shown;

/// How long another commit in the same folder is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// One step is about to be taken.
pub(super) fn step() -> io::Result<()> {
    #[cfg(test)]
    crash::step()?;
    Ok(())
}

/// Makes a folder and those above it.
pub(super) fn create_folder(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let made = step().and_then(|()| fs::create_dir_all(folder));
    made.map_err(|e| Error::output("create the folder", &shown(folder), &e))
}

/// Makes a file, or an existing one empty.
pub(super) fn create_file(path: &Path) -> Result<File> {
    step().and_then(|()| File::create(path)).map_err(|e| Error::output("write", &shown(path), &e))
}

/// The file's bytes to the disk.
pub(super) fn sync_file(file: &File, path: &Path) -> Result<()> {
    step().and_then(|()| file.sync_all()).map_err(|e| Error::output("write", &shown(path), &e))?;
    #[cfg(test)]
    power::file_synced(path);
    Ok(())
}

/// The names in a folder to the disk: a new or renamed file is there for good only then.
pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    let synced = step().and_then(|()| File::open(folder)).and_then(|folder| folder.sync_all());
    synced.map_err(|e| Error::output("write", &shown(folder), &e))?;
    #[cfg(test)]
    power::folder_synced(folder);
    Ok(())
}

/// Gives a file another name.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    step()?;
    fs::rename(from, to)
}

/// Removes a file that may have gone already.
pub(super) fn remove(path: &Path) -> Result<()> {
    match step().and_then(|()| fs::remove_file(path)) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        result => result.map_err(|e| Error::output("remove", &shown(path), &e)),
    }
}

/// Replaces what a file in `folder` holds, as a whole.
pub(super) fn replace(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let (new, path) = (folder.join(format!("{name}.new")), folder.join(name));
    let failed = |e: io::Error| Error::output("write", &shown(&path), &e);
    let mut file = create_file(&new)?;
    step().and_then(|()| file.write_all(bytes)).map_err(failed)?;
    sync_file(&file, &new)?;
    rename(&new, &path).map_err(failed)?;
    sync_folder(folder)
}

/// Keeps other processes from committing in the folder for as long as the answer lives, or this process does. On file
/// systems without locks nothing is kept.
///
/// Errors: `Conflict` where another process does not come to its end.
pub(super) fn lock_folder(folder: &Path) -> Result<File> {
    let open = File::open(folder).map_err(|e| Error::output("write to the folder", &shown(folder), &e))?;
    let until = Instant::now() + LOCK_WAIT;
    loop {
        match open.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            Err(TryLockError::WouldBlock) => {
                let message = format!("another process is committing its output to '{}'", shown(folder));
                return Err(Error::new(Kind::Conflict, 237, message)
                    .with_hint("let one job at a time write to a folder; end the other process"));
            }
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(open),
        }
    }
}

/// Processes that die at a given step, in tests.
#[cfg(test)]
pub(super) mod crash {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        /// Steps that may still be taken on this thread.
        static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
    }

    pub(super) fn step() -> io::Result<()> {
        match LEFT.get() {
            0 => Err(io::Error::other("the process died here")),
            n => {
                LEFT.set(n - 1);
                Ok(())
            }
        }
    }

    /// Runs `work`, and lets it die behind `steps` steps: every later step of it fails.
    pub(crate) fn after<T>(steps: u64, work: impl FnOnce() -> T) -> T {
        LEFT.set(steps);
        let result = work();
        LEFT.set(u64::MAX);
        result
    }
}

/// Machines that lose their power at a given step, in tests: names and bytes that were not synced are gone, all of them.
#[cfg(test)]
pub(super) mod power {
    use std::cell::RefCell;
    use std::collections::{BTreeMap, HashMap};
    use std::fs::{self, File};
    use std::os::unix::fs::MetadataExt;
    use std::path::{Path, PathBuf};

    /// What is on the disk.
    #[derive(Default)]
    struct Platter {
        /// By folder: its names, and the inodes of those that are files.
        folders: BTreeMap<PathBuf, BTreeMap<String, Option<u64>>>,
        bytes: HashMap<u64, Vec<u8>>,
        /// As long as a file is open, its inode is not given out again.
        open: HashMap<u64, File>,
    }

    thread_local! {
        static PLATTER: RefCell<Option<Platter>> = const { RefCell::new(None) };
    }

    impl Platter {
        fn note_folder(&mut self, folder: &Path) {
            let mut names = BTreeMap::new();
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let inode = entry.file_type().unwrap().is_file().then(|| entry.metadata().unwrap().ino());
                if let Some(inode) = inode {
                    self.open.entry(inode).or_insert_with(|| File::open(entry.path()).unwrap());
                }
                names.insert(entry.file_name().into_string().unwrap(), inode);
            }
            self.folders.insert(folder.to_path_buf(), names);
        }

        fn note_all(&mut self, folder: &Path) {
            self.note_folder(folder);
            for (name, inode) in self.folders[folder].clone() {
                match inode {
                    Some(inode) => drop(self.bytes.insert(inode, fs::read(folder.join(name)).unwrap())),
                    None => self.note_all(&folder.join(name)),
                }
            }
        }

        fn restore(&self, folder: &Path, to: &Path) {
            fs::create_dir_all(to).unwrap();
            for (name, inode) in self.folders.get(folder).into_iter().flatten() {
                match inode {
                    Some(inode) => {
                        fs::write(to.join(name), self.bytes.get(inode).map_or(&[][..], Vec::as_slice)).unwrap();
                    }
                    None => self.restore(&folder.join(name), &to.join(name)),
                }
            }
        }
    }

    pub(super) fn file_synced(path: &Path) {
        PLATTER.with_borrow_mut(|platter| {
            if let Some(platter) = platter {
                let file = File::open(path).unwrap();
                let inode = file.metadata().unwrap().ino();
                platter.bytes.insert(inode, fs::read(path).unwrap());
                platter.open.entry(inode).or_insert(file);
            }
        });
    }

    pub(super) fn folder_synced(folder: &Path) {
        PLATTER.with_borrow_mut(|platter| {
            if let Some(platter) = platter {
                // `a/` and `a` are one folder.
                platter.note_folder(&folder.components().collect::<PathBuf>());
            }
        });
    }

    /// Runs `work` in `folder`, and leaves in `after` what is on the disk of a machine that stopped behind `steps` steps.
    pub(crate) fn lost_after<T>(folder: &Path, after: &Path, steps: u64, work: impl FnOnce() -> T) -> T {
        let mut platter = Platter::default();
        platter.note_all(folder);
        PLATTER.set(Some(platter));
        let result = super::crash::after(steps, work);
        let platter = PLATTER.take().unwrap();
        platter.restore(folder, after);
        result
    }
}
