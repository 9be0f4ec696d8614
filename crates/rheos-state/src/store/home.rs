//! The folders of a store, as they were when it was opened: another folder under their name is not taken for them.
//!
//! They are held open, so that the system gives their identity to nothing else.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rheos_core::{Error, Result};

use crate::errors::{io_error, removed};

/// See the module.
#[derive(Debug)]
pub(super) struct Home {
    folders: Vec<(PathBuf, File)>,
}

impl Home {
    /// Errors: those of the system.
    pub(super) fn hold(folders: impl IntoIterator<Item = PathBuf>) -> Result<Self> {
        let open = |path: PathBuf| match File::open(&path) {
            Ok(file) => Ok((path, file)),
            Err(e) => Err(io_error("open", &path.display().to_string(), &e)),
        };
        Ok(Self { folders: folders.into_iter().map(open).collect::<Result<_>>()? })
    }

    /// Errors: `External` (R0647) for a folder that is gone or is another one; those of the system.
    pub(super) fn check(&self) -> Result<()> {
        self.folders.iter().try_for_each(|(path, held)| {
            let shown = path.display().to_string();
            let failed = |e: io::Error| io_error("open", &shown, &e);
            let found = match fs::metadata(path) {
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    return Err(moved(path, "has been removed or renamed"));
                }
                found => found.map_err(failed)?,
            };
            let held = held.metadata().map_err(failed)?;
            match (found.dev(), found.ino()) == (held.dev(), held.ino()) {
                true => Ok(()),
                false => Err(moved(path, "is another folder than the one that was opened")),
            }
        })
    }
}

fn moved(path: &Path, what: &str) -> Error {
    removed(format!("the folder '{}' {what}", path.display()))
}
