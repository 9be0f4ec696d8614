//! Which files a path means: a file, a folder or a glob; always in byte order of the paths.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rheos_core::error::nearest;
use rheos_core::place::resolved;
use rheos_core::{Error, ErrorKind, Result};

use super::options::FileOrder;
use super::position::FileMark;

/// A file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InputFile {
    pub(crate) path: PathBuf,
    pub(crate) size_bytes: u64,
    pub(crate) modified: SystemTime,
    /// False for pipes and devices: they have no size and can be read only once.
    pub(crate) regular: bool,
    pub(crate) inode: u64,
    /// Where it lies, however the table names it: see [`place_of`]. Absent until it is asked for.
    pub(crate) place: Option<PathBuf>,
    /// What it is known by, in a folder that is followed.
    pub(crate) mark: Option<FileMark>,
    /// Another file had its path not long ago.
    pub(crate) again: bool,
}

impl InputFile {
    /// As it is now.
    pub(crate) fn look(path: PathBuf) -> Result<Self> {
        let metadata = std::fs::metadata(&path).map_err(|e| Error::io("read", &shown(&path), &e))?;
        Ok(Self::new(path, &metadata))
    }

    fn new(path: PathBuf, metadata: &Metadata) -> Self {
        let regular = metadata.is_file();
        let size_bytes = if regular { metadata.len() } else { 0 };
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Self { path, size_bytes, modified, regular, inode: metadata.ino(), place: None, mark: None, again: false }
    }
}

/// The name of a path in messages.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// What it means that there is no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoFiles {
    /// A mistake.
    Refused,
    /// They will come; others may go while the folder is looked at.
    Awaited,
}

/// The files of `path` in `order`.
///
/// Errors: `InputMissing` for a path without files (with the nearest name), unless they are awaited, or a folder that cannot
/// be read.
pub(crate) fn input_files(path: &str, order: FileOrder, none: NoFiles) -> Result<Vec<InputFile>> {
    let mut files = vec![];
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            list_folder(Path::new(path), none, &mut files)?;
            if files.is_empty() && none == NoFiles::Refused {
                return Err(Error::new(ErrorKind::InputMissing, 210, format!("the folder '{path}' has no files"))
                    .with_hint("hidden files (names that begin with '.' or '_') do not count"));
            }
        }
        Ok(metadata) => files.push(InputFile::new(PathBuf::from(path), &metadata)),
        Err(_) if is_glob(path) => list_glob(path, none, &mut files)?,
        Err(error) => return Err(missing(path, &error)),
    }
    files.sort_by(|a, b| a.path.as_os_str().as_bytes().cmp(b.path.as_os_str().as_bytes()));
    if order == FileOrder::Modified {
        files.sort_by_key(|f| f.modified);
    }
    Ok(files)
}

/// Whether reading `path` reads files in `folder` or below, now or as files come. Links are followed.
pub(crate) fn reads_in(path: &str, folder: &Path) -> bool {
    let folder = real_path(folder);
    let is_folder = fs::metadata(path).map(|m| m.is_dir());
    let (root, deep) = match is_folder {
        Err(_) if is_glob(path) => (real_path(&fixed_folder(path)), path.contains("**")),
        is_folder => (real_path(Path::new(path)), is_folder.unwrap_or(false)),
    };
    // Where the folder lies inside of what is read, hidden folders on the way are not looked into.
    let seen = |below: &Path| !below.ancestors().any(is_hidden);
    if root.starts_with(&folder) || deep && folder.strip_prefix(&root).is_ok_and(seen) {
        return true;
    }
    let files = input_files(path, FileOrder::Unknown, NoFiles::Awaited).unwrap_or_default();
    files.iter().any(|file| real_path(&file.path).starts_with(&folder))
}

/// Whether `path` means a part that a table writes to `folder`, if it has this extension. Links are followed.
pub(crate) fn comes_in(path: &str, folder: &Path, extension: &str) -> bool {
    let folder = real_path(folder);
    if fs::metadata(path).is_ok() || !is_glob(path) {
        let seen = |below: &Path| !below.ancestors().any(is_hidden);
        return folder.strip_prefix(real_path(Path::new(path))).is_ok_and(seen);
    }
    let fixed = fixed_folder(path);
    let (Ok(stars), root) = (Path::new(path).strip_prefix(&fixed), real_path(&fixed)) else { return false };
    let pattern = format!("{}/{}", glob::Pattern::escape(shown(&root).trim_end_matches('/')), shown(stars));
    let options = glob::MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..glob::MatchOptions::default()
    };
    let part = folder.join(format!("part-0-0.{extension}"));
    glob::Pattern::new(&pattern).is_ok_and(|pattern| pattern.matches_path_with(&part, options))
}

/// The path without links and dots, also where it does not exist yet.
pub(crate) fn real_path(path: &Path) -> PathBuf {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    resolved(&std::path::absolute(path).unwrap_or_else(|_| path.into()), |there| there.canonicalize().ok())
}

/// Where a file lies, however its path is spelled and from wherever: without links, but for a link that the file itself is, which may
/// come to name another.
pub(crate) fn place_of(path: &Path) -> PathBuf {
    Places::default().of(path)
}

/// The places of many files.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// By the folders as they are named.
    folders: HashMap<PathBuf, PathBuf>,
}

impl Places {
    /// See [`place_of`].
    pub(crate) fn of(&mut self, path: &Path) -> PathBuf {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return real_path(path) };
        if let Some(real) = self.folders.get(folder) {
            return real.join(name);
        }
        let real = real_path(folder);
        let place = real.join(name);
        self.folders.insert(folder.into(), real);
        place
    }
}

/// The folder that holds all that `path` reads, now or later.
pub(crate) fn root_of(path: &str) -> PathBuf {
    match fs::metadata(path) {
        Err(_) if is_glob(path) => real_path(&fixed_folder(path)),
        Ok(about) if about.is_dir() => real_path(Path::new(path)),
        _ => place_of(Path::new(path)),
    }
}

/// The folder before the first star of a glob.
fn fixed_folder(pattern: &str) -> PathBuf {
    let fixed = Path::new(pattern).ancestors().skip(1).find(|a| !is_glob(&shown(a)));
    fixed.unwrap_or(Path::new("")).into()
}

pub(crate) fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// Dot and underscore files are unfinished parts and notes of other systems.
pub(crate) fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|n| matches!(n.as_bytes().first(), Some(b'.' | b'_')))
}

/// What a name stands for; `None` where it has gone since it was listed, and that may be.
fn look_at(path: &Path, none: NoFiles) -> Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(e) if none == NoFiles::Awaited && e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(missing(&shown(path), &e)),
    }
}

/// A partition's folder is none of them, whatever the name of its column.
fn is_hidden_entry(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    let is_partition = name.as_bytes().contains(&b'=') && entry.file_type().is_ok_and(|t| t.is_dir());
    is_hidden(&entry.path()) && !(is_partition && name.as_bytes().starts_with(b"_"))
}

fn list_folder(folder: &Path, none: NoFiles, files: &mut Vec<InputFile>) -> Result<()> {
    let name = shown(folder);
    for entry in fs::read_dir(folder).map_err(|e| Error::io("list the folder", &name, &e))? {
        let entry = entry.map_err(|e| Error::io("list the folder", &name, &e))?;
        let path = entry.path();
        if is_hidden_entry(&entry) {
            continue;
        }
        let Some(metadata) = look_at(&path, none)? else { continue };
        if metadata.is_dir() {
            // A link to a folder could lead back here.
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                list_folder(&path, none, files)?;
            }
        } else {
            files.push(InputFile::new(path, &metadata));
        }
    }
    Ok(())
}

fn list_glob(pattern: &str, none: NoFiles, files: &mut Vec<InputFile>) -> Result<()> {
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::default() };
    let paths = glob::glob_with(pattern, options).map_err(|e| {
        Error::invalid(219, format!("'{pattern}' is no valid glob: {}", e.msg)).with_hint("use *, ?, [ab] and **")
    })?;
    check_reachable(pattern)?;
    for path in paths {
        let path = path.map_err(|e| Error::io("list the folder", &shown(e.path()), e.error()))?;
        let Some(metadata) = look_at(&path, none)? else { continue };
        if !metadata.is_dir() && !is_hidden(&path) {
            files.push(InputFile::new(path, &metadata));
        }
    }
    if files.is_empty() && none == NoFiles::Refused {
        let hint = folder_hint(&fixed_folder(pattern), None);
        return Err(Error::new(ErrorKind::InputMissing, 210, format!("no file matches '{pattern}'")).with_hint(hint));
    }
    Ok(())
}

/// Folders that may not be entered look empty to a glob whose next name has no star. Errors: `InputMissing` for one.
fn check_reachable(pattern: &str) -> Result<()> {
    let denied = |folder: &Path| match fs::metadata(folder.join(".")) {
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(Error::io("enter the folder", &shown(folder), &e))
        }
        _ => Ok(()),
    };
    for folder in Path::new(pattern).ancestors().skip(1).filter(|a| !a.as_os_str().is_empty()) {
        if !is_glob(&shown(folder)) {
            return denied(folder);
        }
        // What `**` goes through has been listed, and that tells.
        if !shown(folder).contains("**") {
            glob::glob(&shown(folder)).into_iter().flatten().flatten().try_for_each(|found| denied(&found))?;
        }
    }
    Ok(())
}

/// The error for a path that is not there, with the nearest name in its folder.
pub(crate) fn missing(path: &str, error: &std::io::Error) -> Error {
    let wrapped = Error::io("read", path, error);
    if error.kind() != std::io::ErrorKind::NotFound {
        return wrapped;
    }
    let path = Path::new(path);
    if let Ok(target) = fs::read_link(path) {
        return wrapped.with_hint(format!("it is a link to '{}', which does not exist", shown(&target)));
    }
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
        return format!("correct the path, or make the folder: {shown_folder} does not exist or cannot be read");
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
        let files = input_files(path.to_str().unwrap(), order, NoFiles::Refused).unwrap();
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
    fn what_a_path_reads_is_known_through_links_folders_and_globs() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
        for name in ["in/sub", "in/.hidden", "out/day=1", "links"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        for name in ["in/a.csv", "out/day=1/part-0-0.csv"] {
            fs::write(at(name), "x").unwrap();
        }
        std::os::unix::fs::symlink(at("out/day=1/part-0-0.csv"), at("links/l.csv")).unwrap();
        std::os::unix::fs::symlink(at("out"), at("alias")).unwrap();
        let reads = |path: &str, sink: &str| reads_in(&at(path), Path::new(&at(sink)));
        for (path, sink) in [
            ("out", "out"),
            ("out/", "in/../out"),
            ("out/day=1", "out"),
            ("out/day=1/part-0-0.csv", "out"),
            ("out/*/*.csv", "out"),
            ("*/*/*.csv", "out"),
            ("**/*.csv", "new"),
            ("in", "in/sub"),
            ("in", "in/new"),
            ("links", "out"),
            ("links/*.csv", "out"),
            ("alias", "out"),
            ("out", "alias"),
            ("in", "new/../in/sub"),
            ("out", "new/x/../../alias/day=2"),
            ("new/../alias/*.csv", "out"),
        ] {
            assert!(reads(path, sink), "{path} {sink}");
        }
        for (path, sink) in [
            ("in", "out"),
            ("in/a.csv", "in/sub"),
            ("in/*.csv", "in/sub"),
            ("in", "in/.hidden"),
            ("in", "inner"),
            ("in", "in/new/../../out"),
        ] {
            assert!(!reads(path, sink), "{path} {sink}");
        }
    }

    #[test]
    fn parts_of_a_table_are_known_as_input() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
        fs::create_dir_all(at("in/sub")).unwrap();
        std::os::unix::fs::symlink(at("in"), at("alias")).unwrap();
        let comes = |path: &str, sink: &str| comes_in(&at(path), Path::new(&at(sink)), "csv");
        for (path, sink) in [
            ("in", "in"),
            ("in", "in/new"),
            ("in", "alias/sub"),
            ("in", "new/../in/new"),
            ("alias", "new/../in"),
            ("alias/*.csv", "in"),
            ("in/*", "in"),
            ("in/**/*.csv", "in/a/b"),
            ("in/*/part-*.csv", "in/new"),
        ] {
            assert!(comes(path, sink), "{path} {sink}");
        }
        for (path, sink) in [
            ("in", "out"),
            ("in/sub", "in"),
            ("in", "in/.hidden"),
            ("in/*.csv", "in/sub"),
            ("in/log-*.csv", "in"),
            ("in/*.json", "in"),
            ("in", "inner"),
            ("in", "in/new/../../out"),
        ] {
            assert!(!comes(path, sink), "{path} {sink}");
        }
    }

    #[test]
    fn what_is_missing_is_named_with_what_is_near() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("flights.csv"), "x").unwrap();
        let find = |name: &str, none| input_files(folder.path().join(name).to_str().unwrap(), FileOrder::Name, none);
        let error = |name: &str| find(name, NoFiles::Refused).unwrap_err();
        let near = error("flight.csv");
        assert_eq!((near.kind(), near.code().as_str()), (ErrorKind::InputMissing, "R0201"));
        assert!(near.hint().unwrap().contains("flights.csv'?"), "{near}");
        std::os::unix::fs::symlink("gone.csv", folder.path().join("dangling.csv")).unwrap();
        for name in ["dangling.csv", "", "dang*"] {
            assert!(error(name).hint().unwrap().contains("a link to 'gone.csv', which does not exist"), "{name}");
        }
        fs::remove_file(folder.path().join("dangling.csv")).unwrap();
        let glob = error("*.json");
        assert!(glob.message().starts_with("no file matches") && glob.hint().unwrap().contains("has: flights.csv"));
        assert!(error("nowhere/x.csv").hint().unwrap().contains("does not exist"));
        fs::create_dir(folder.path().join("empty")).unwrap();
        assert!(error("empty").message().contains("has no files"));
        for awaited in ["empty", "*.json"] {
            assert_eq!(find(awaited, NoFiles::Awaited).unwrap(), [], "{awaited}");
        }
        assert!(find("flight.csv", NoFiles::Awaited).is_err(), "a folder or file without a star must be there");
    }
}
