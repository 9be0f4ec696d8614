//! Which files a path means: a file, a folder or a glob; always in byte order of the paths.

use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rheos_core::error::nearest;
use rheos_core::{Error, ErrorKind, Result};

use super::options::FileOrder;

/// A file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InputFile {
    pub(crate) path: PathBuf,
    pub(crate) size_bytes: u64,
    pub(crate) modified: SystemTime,
    /// False for pipes and devices: they have no size and can be read only once.
    pub(crate) regular: bool,
}

impl InputFile {
    fn new(path: PathBuf, metadata: &Metadata) -> Self {
        let regular = metadata.is_file();
        let size_bytes = if regular { metadata.len() } else { 0 };
        Self { path, size_bytes, modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), regular }
    }
}

/// The name of a path in messages.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The files of `path` in `order`.
///
/// Errors: `InputMissing` for a path without files (with the nearest name) or a folder that cannot be read.
pub(crate) fn input_files(path: &str, order: FileOrder) -> Result<Vec<InputFile>> {
    let mut files = vec![];
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            list_folder(Path::new(path), &mut files)?;
            if files.is_empty() {
                return Err(Error::new(ErrorKind::InputMissing, 210, format!("the folder '{path}' has no files"))
                    .with_hint("hidden files (names that begin with '.' or '_') do not count"));
            }
        }
        Ok(metadata) => files.push(InputFile::new(PathBuf::from(path), &metadata)),
        Err(_) if is_glob(path) => list_glob(path, &mut files)?,
        Err(error) => return Err(missing(path, &error)),
    }
    files.sort_by(|a, b| a.path.as_os_str().as_bytes().cmp(b.path.as_os_str().as_bytes()));
    if order == FileOrder::Modified {
        files.sort_by_key(|f| f.modified);
    }
    Ok(files)
}

fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// Dot and underscore files are unfinished parts and notes of other systems.
pub(crate) fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|n| matches!(n.as_bytes().first(), Some(b'.' | b'_')))
}

fn list_folder(folder: &Path, files: &mut Vec<InputFile>) -> Result<()> {
    let name = shown(folder);
    for entry in fs::read_dir(folder).map_err(|e| Error::io("list the folder", &name, &e))? {
        let entry = entry.map_err(|e| Error::io("list the folder", &name, &e))?;
        let path = entry.path();
        if is_hidden(&path) {
            continue;
        }
        let metadata = fs::metadata(&path).map_err(|e| Error::io("read", &shown(&path), &e))?;
        if metadata.is_dir() {
            // A link to a folder could lead back here.
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                list_folder(&path, files)?;
            }
        } else {
            files.push(InputFile::new(path, &metadata));
        }
    }
    Ok(())
}

fn list_glob(pattern: &str, files: &mut Vec<InputFile>) -> Result<()> {
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::default() };
    let paths = glob::glob_with(pattern, options).map_err(|e| {
        Error::invalid(219, format!("'{pattern}' is no valid glob: {}", e.msg)).with_hint("use *, ?, [ab] and **")
    })?;
    for path in paths {
        let path = path.map_err(|e| Error::io("list the folder", &shown(e.path()), e.error()))?;
        let metadata = fs::metadata(&path).map_err(|e| Error::io("read", &shown(&path), &e))?;
        if !metadata.is_dir() && !is_hidden(&path) {
            files.push(InputFile::new(path, &metadata));
        }
    }
    if files.is_empty() {
        let folder: PathBuf =
            Path::new(pattern).ancestors().skip(1).find(|a| !is_glob(&shown(a))).unwrap_or(Path::new("")).into();
        let hint = folder_hint(&folder, None);
        return Err(Error::new(ErrorKind::InputMissing, 210, format!("no file matches '{pattern}'")).with_hint(hint));
    }
    Ok(())
}

/// The error for a path that is not there, with the nearest name in its folder.
fn missing(path: &str, error: &std::io::Error) -> Error {
    let wrapped = Error::io("read", path, error);
    if error.kind() != std::io::ErrorKind::NotFound {
        return wrapped;
    }
    let path = Path::new(path);
    let folder = path.parent().unwrap_or(Path::new(""));
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
    wrapped.with_hint(folder_hint(folder, name.as_deref()))
}

/// What there is in a folder.
fn folder_hint(folder: &Path, name: Option<&str>) -> String {
    let shown_folder =
        if folder.as_os_str().is_empty() { "the working directory".into() } else { format!("'{}'", shown(folder)) };
    let real = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = fs::read_dir(real) else {
        return format!("{shown_folder} does not exist or cannot be read");
    };
    let mut names: Vec<String> = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    if let Some(near) = name.and_then(|name| nearest(name, names.iter().map(String::as_str))) {
        return format!("did you mean '{}'?", shown(&folder.join(near)));
    }
    if names.is_empty() {
        return format!("{shown_folder} is empty");
    }
    const SHOWN: usize = 5;
    let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    names.truncate(SHOWN);
    format!("{shown_folder} has: {}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &Path, order: FileOrder) -> Vec<String> {
        let files = input_files(path.to_str().unwrap(), order).unwrap();
        files.iter().map(|f| f.path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn files_folders_and_globs_in_byte_order_without_hidden_ones() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        for name in ["b.csv", "B.csv", "a10.csv", "a2.csv", ".part-0-0.inprogress", "_note", "sub/c.csv"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        assert_eq!(names(folder.path(), FileOrder::Name), ["B.csv", "a10.csv", "a2.csv", "b.csv", "c.csv"]);
        assert_eq!(names(&folder.path().join("a*.csv"), FileOrder::Name), ["a10.csv", "a2.csv"]);
        assert_eq!(names(&folder.path().join("a2.csv"), FileOrder::Name), ["a2.csv"]);
        let old = fs::File::options().write(true).open(folder.path().join("b.csv")).unwrap();
        old.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(names(folder.path(), FileOrder::Modified)[0], "b.csv");
    }

    #[test]
    fn what_is_missing_is_named_with_what_is_near() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("flights.csv"), "x").unwrap();
        let error = |name: &str| input_files(folder.path().join(name).to_str().unwrap(), FileOrder::Name).unwrap_err();
        let near = error("flight.csv");
        assert_eq!((near.kind(), near.code().as_str()), (ErrorKind::InputMissing, "R0201"));
        assert!(near.hint().unwrap().contains("flights.csv'?"), "{near}");
        let glob = error("*.json");
        assert!(glob.message().starts_with("no file matches") && glob.hint().unwrap().contains("has: flights.csv"));
        assert!(error("nowhere/x.csv").hint().unwrap().contains("does not exist"));
        fs::create_dir(folder.path().join("empty")).unwrap();
        assert!(error("empty").message().contains("has no files"));
    }
}
