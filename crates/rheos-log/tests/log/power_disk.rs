//! A disk in memory that keeps a log of what it was asked, and can be looked at as it may be after a power failure at any point.
//!
//! What was synced before that is there. Of the rest: none, a part in order, any part, the last of a part torn. Names of a folder
//! come back in the order in which they were changed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rheos_log::disk::{Disk, DiskFile};

#[derive(Debug, Clone, Default)]
pub(crate) struct PowerDisk {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    log: Vec<Operation>,
    names: BTreeMap<PathBuf, usize>,
    files: Vec<Vec<u8>>,
    fails: BTreeSet<Fails>,
}

/// What goes wrong until it is said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fails {
    /// Half of what is written is there, and the disk is full.
    Write,
    Sync,
    Create,
}

#[derive(Debug, Clone)]
enum Operation {
    Write { file: usize, at: usize, bytes: Vec<u8> },
    Truncate { file: usize, length: usize },
    Sync { file: usize },
    Create { path: PathBuf, file: usize },
    Rename { from: PathBuf, to: PathBuf },
    Remove { path: PathBuf },
    SyncFolder { folder: PathBuf },
}

/// Numbers that a seed gives again (xorshift).
#[derive(Debug, Clone)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

impl Inner {
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Write { file, at, bytes } => {
                let content = &mut self.files[*file];
                let end = at + bytes.len();
                content.resize(content.len().max(end), 0);
                content[*at..end].copy_from_slice(bytes);
            }
            Operation::Truncate { file, length } => self.files[*file].truncate(*length),
            Operation::Create { path, file } => {
                self.names.insert(path.clone(), *file);
            }
            Operation::Rename { from, to } => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Operation::Remove { path } => {
                self.names.remove(path);
            }
            Operation::Sync { .. } | Operation::SyncFolder { .. } => {}
        }
    }

    fn run(&mut self, operation: Operation) {
        self.apply(&operation);
        self.log.push(operation);
    }
}

/// Which of the operations that were not synced are there.
fn surviving(pending: Vec<Operation>, may_skip: bool, numbers: &mut Numbers) -> Vec<Operation> {
    let mut kept: Vec<Operation> = match numbers.below(if may_skip { 4 } else { 3 }) {
        0 => vec![],
        1 => pending,
        2 => {
            let n = numbers.below(pending.len() + 1);
            pending.into_iter().take(n).collect()
        }
        _ => pending.into_iter().filter(|_| numbers.below(2) == 0).collect(),
    };
    if let Some(Operation::Write { bytes, .. }) = kept.last_mut()
        && numbers.below(2) == 0
    {
        bytes.truncate(numbers.below(bytes.len() + 1));
    }
    kept
}

impl PowerDisk {
    /// How many operations there have been.
    pub(crate) fn operations(&self) -> usize {
        self.lock().log.len()
    }

    /// The disk as it may be if the power failed behind the first `n` operations.
    pub(crate) fn after_failure(&self, n: usize, numbers: &mut Numbers) -> Self {
        let inner = self.lock();
        let log = &inner.log[..n];
        let mut after = Inner { files: vec![vec![]; inner.files.len()], ..Inner::default() };
        for file in 0..inner.files.len() {
            let of_file = |op: &Operation| matches!(op, Operation::Write { file: f, .. } | Operation::Truncate { file: f, .. } if *f == file);
            let synced =
                log.iter().rposition(|op| matches!(op, Operation::Sync { file: f } if *f == file)).unwrap_or(0);
            log[..synced].iter().filter(|op| of_file(op)).for_each(|op| after.apply(op));
            let pending = log[synced..].iter().filter(|op| of_file(op)).cloned().collect();
            surviving(pending, true, numbers).iter().for_each(|op| after.apply(op));
        }
        let folder_of = |op: &Operation| match op {
            Operation::Create { path, .. } | Operation::Remove { path } | Operation::Rename { to: path, .. } => {
                path.parent().map(Path::to_path_buf)
            }
            _ => None,
        };
        let folders: BTreeSet<PathBuf> = log.iter().filter_map(folder_of).collect();
        for folder in folders {
            let is_sync = |op: &Operation| matches!(op, Operation::SyncFolder { folder: f } if *f == folder);
            let synced = log.iter().rposition(is_sync).unwrap_or(0);
            let of_folder = |op: &&Operation| folder_of(op).as_ref() == Some(&folder);
            log[..synced].iter().filter(of_folder).for_each(|op| after.apply(op));
            let pending = log[synced..].iter().filter(of_folder).cloned().collect();
            surviving(pending, false, numbers).iter().for_each(|op| after.apply(op));
        }
        Self { inner: Arc::new(Mutex::new(after)) }
    }

    pub(crate) fn fail(&self, fails: Fails) {
        self.lock().fails.insert(fails);
    }

    pub(crate) fn heal(&self) {
        self.lock().fails.clear();
    }

    /// Every file's name and length.
    pub(crate) fn listed(&self) -> Vec<(String, usize)> {
        let inner = self.lock();
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        inner.names.iter().map(|(path, file)| (name(path), inner.files[*file].len())).collect()
    }

    /// Changes a byte of a file, as a bad disk does.
    pub(crate) fn damage(&self, path: &Path, at: usize) {
        let mut inner = self.lock();
        let file = inner.names[path];
        inner.files[file][at] ^= 0x55;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

#[derive(Debug)]
struct PowerFile {
    disk: PowerDisk,
    file: usize,
}

impl Disk for PowerDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut inner = self.lock();
        if inner.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if inner.fails.contains(&Fails::Create) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = inner.files.len();
        inner.files.push(vec![]);
        inner.run(Operation::Create { path: path.to_path_buf(), file });
        Ok(Arc::new(PowerFile { disk: self.clone(), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = *self.lock().names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(PowerFile { disk: self.clone(), file }))
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let inner = self.lock();
        // Files, and folders that have some.
        let inside: BTreeSet<&Path> = inner.names.keys().filter_map(|path| path.strip_prefix(folder).ok()).collect();
        let first: BTreeSet<String> =
            inside.iter().filter_map(|path| Some(path.iter().next()?.to_string_lossy().into_owned())).collect();
        Ok(first.into_iter().collect())
    }

    fn create_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        let inside: Vec<PathBuf> = inner.names.keys().filter(|path| path.parent() == Some(folder)).cloned().collect();
        inside.into_iter().for_each(|path| inner.run(Operation::Remove { path }));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.lock().run(Operation::Rename { from: from.to_path_buf(), to: to.to_path_buf() });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.lock().run(Operation::Remove { path: path.to_path_buf() });
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.lock().run(Operation::SyncFolder { folder: folder.to_path_buf() });
        Ok(())
    }
}

impl DiskFile for PowerFile {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let is_full = inner.fails.contains(&Fails::Write);
        let written = if is_full { &bytes[..bytes.len() / 2] } else { bytes };
        inner.run(Operation::Write { file: self.file, at: at as usize, bytes: written.to_vec() });
        if is_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let inner = self.disk.lock();
        let found = inner.files[self.file].get(at as usize..at as usize + bytes.len());
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn length_bytes(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files[self.file].len() as u64)
    }

    fn truncate(&self, length_bytes: u64) -> io::Result<()> {
        self.disk.lock().run(Operation::Truncate { file: self.file, length: length_bytes as usize });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.lock();
        if inner.fails.contains(&Fails::Sync) {
            return Err(io::Error::from_raw_os_error(5));
        }
        inner.run(Operation::Sync { file: self.file });
        Ok(())
    }
}
