//! What is in a table's folder when a job begins to write to it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rheos_core::{Error, Result};

use super::part::{is_unfinished, part_number};
use super::partition::Partitioning;
use super::paths::{is_hidden, shown};

/// The files and folders that are there.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    /// Anything that readers see, relative to the folder.
    pub(crate) visible: Option<String>,
    /// Anything that readers see and that no job wrote.
    pub(crate) foreign: Option<String>,
    /// The number behind that of the last part.
    pub(crate) next_part: u64,
    parts: Vec<PathBuf>,
    unfinished: Vec<PathBuf>,
    /// The folders of partitions, those inside others behind them.
    folders: Vec<PathBuf>,
}

impl Leftovers {
    /// Looks into the folder and the folders of its partitions. `success_file` is ours, too.
    pub(crate) fn find(folder: &Path, partitioning: Option<&Partitioning>, success_file: Option<&str>) -> Result<Self> {
        let mut found = Self::default();
        found.look(folder, folder, 0, partitioning, success_file)?;
        Ok(found)
    }

    fn look(
        &mut self,
        table: &Path,
        folder: &Path,
        depth: usize,
        partitioning: Option<&Partitioning>,
        success_file: Option<&str>,
    ) -> Result<()> {
        let failed = |e: std::io::Error| Error::output("list the folder", &shown(folder), &e);
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let relative = || shown(path.strip_prefix(table).unwrap_or(&path));
            let is_folder = entry.file_type().is_ok_and(|t| t.is_dir());
            if is_folder && partitioning.is_some_and(|p| p.is_folder(&name, depth)) {
                self.visible.get_or_insert_with(relative);
                self.folders.push(path.clone());
                self.look(table, &path, depth + 1, partitioning, success_file)?;
            } else if is_unfinished(&name) {
                self.unfinished.push(path);
            } else if success_file == Some(name.as_str()) {
                self.parts.push(path);
            } else if let Some(n) = part_number(&name) {
                self.visible.get_or_insert_with(relative);
                self.next_part = self.next_part.max(n + 1);
                self.parts.push(path);
            } else if !is_hidden(&path) {
                self.visible.get_or_insert_with(relative);
                self.foreign.get_or_insert_with(relative);
            }
        }
        Ok(())
    }

    /// Removes what failed jobs left unfinished.
    pub(crate) fn remove_unfinished(&self) -> Result<()> {
        self.unfinished.iter().try_for_each(|path| remove(path))
    }

    /// Removes what jobs wrote, and the folders that are empty then.
    pub(crate) fn remove_parts(&self) -> Result<()> {
        self.parts.iter().try_for_each(|path| remove(path))?;
        for folder in self.folders.iter().rev() {
            // One that holds hidden files of others stays.
            let _ = fs::remove_dir(folder);
        }
        Ok(())
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        // Somebody else has removed it since it was found.
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        result => result.map_err(|e| Error::output("remove", &shown(path), &e)),
    }
}
