//! What is in a table's folder when a job begins to write to it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rheos_core::{Error, Result};

use super::disk;
use super::partition::Partitioning;
use super::paths::{is_hidden, shown};
use super::staged::{is_hidden_part, part_number, run_of};

/// The files and folders that are there.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    /// Anything that readers see, relative to the folder.
    pub(crate) visible: Option<String>,
    /// Anything that readers see and that no job wrote.
    pub(crate) foreign: Option<String>,
    /// The number behind that of the last visible part.
    pub(crate) next_part: u64,
    /// The highest run in the name of a hidden part.
    pub(crate) runs: u64,
    /// Visible parts with their numbers, and files that declare a partition complete.
    parts: Vec<(PathBuf, Option<u64>)>,
    unfinished: Vec<(PathBuf, String)>,
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
            } else if is_hidden_part(&name) {
                self.runs = self.runs.max(run_of(&name));
                self.unfinished.push((path, name));
            } else if success_file == Some(name.as_str()) {
                self.parts.push((path, None));
            } else if let Some(n) = part_number(&name) {
                self.visible.get_or_insert_with(relative);
                self.next_part = self.next_part.max(n + 1);
                self.parts.push((path, Some(n)));
            } else if !is_hidden(&path) {
                self.visible.get_or_insert_with(relative);
                self.foreign.get_or_insert_with(relative);
            }
        }
        Ok(())
    }

    /// Removes what earlier attempts left unfinished, except the hidden parts that `keep` names.
    pub(crate) fn remove_unfinished(&self, keep: impl Fn(&str) -> bool) -> Result<()> {
        self.unfinished.iter().filter(|(_, name)| !keep(name)).try_for_each(|(path, _)| disk::remove(path))
    }

    /// Removes the visible parts with a number below `below`, what declares partitions complete, and the folders that are
    /// empty then; for good.
    pub(crate) fn remove_parts(&self, below: u64) -> Result<()> {
        let mut changed = BTreeSet::new();
        for (path, _) in self.parts.iter().filter(|(_, n)| n.is_none_or(|n| n < below)) {
            disk::remove(path)?;
            changed.extend(path.parent());
        }
        for folder in self.folders.iter().rev() {
            // One that holds parts, or hidden files of others, stays.
            if fs::remove_dir(folder).is_ok() {
                changed.extend(folder.parent());
            }
        }
        changed.into_iter().filter(|folder| folder.is_dir()).try_for_each(disk::sync_folder)
    }
}
