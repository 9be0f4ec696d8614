//! What the log asks of a disk: so that a test may be one that loses power.
//!
//! Nothing is there for good before it is synced: bytes with their file, names with their folder.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Folders and names.
pub trait Disk: Debug + Send + Sync {
    /// A new, empty file. Errors: `AlreadyExists`, and those of the system.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// A file that is there. Errors: `NotFound`, and those of the system.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// The names in a folder, in any order; none if it is not there.
    fn names(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Makes a folder and those above it.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    /// Removes a folder with all that is in it; it need not be there.
    fn remove_folder(&self, folder: &Path) -> io::Result<()>;
    /// Gives a file another name, in the place of what has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file that need not be there.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The names in a folder are there for good.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// The bytes of a file.
pub trait DiskFile: Debug + Send + Sync {
    /// Writes all of `bytes`. After an error any of them may be there.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Fills all of `bytes`. Errors: `UnexpectedEof`, and those of the system.
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;
    /// How long it is.
    fn length_bytes(&self) -> io::Result<u64>;
    /// Makes it shorter.
    fn truncate(&self, length_bytes: u64) -> io::Result<()>;
    /// Its bytes are there for good.
    fn sync(&self) -> io::Result<()>;
}

/// The system's file systems.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(File::options().read(true).write(true).create_new(true).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(File::options().read(true).write(true).open(path)?))
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        match fs::read_dir(folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(vec![]),
            entries => entries?.map(|e| Ok(e?.file_name().to_string_lossy().into_owned())).collect(),
        }
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        match fs::remove_dir_all(folder) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

impl DiskFile for File {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.read_exact_at(bytes, at)
    }

    fn length_bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn truncate(&self, length_bytes: u64) -> io::Result<()> {
        self.set_len(length_bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
