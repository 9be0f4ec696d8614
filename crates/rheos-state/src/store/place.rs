//! From what a user names to a store: a folder or a URL, with a copy elsewhere, encrypted.
//!
//! ```text
//!   CopiedStore ─┬─► SealedStore ─► folder or object store
//!                └─► SealedStore ─► folder or object store (the copy)
//! ```
//! Copies are told apart by what they hold, so encryption lies below: each store has salts of its own.

use std::path::{Component, Path, PathBuf, absolute};
use std::sync::Arc;

use rheos_core::place::resolved;
use rheos_core::{Error, Result};

use super::history::check_one_history;
use super::remote::is_url;
use super::{CheckpointStore, CopiedStore, KeyRing, LocalStore, Note, RemoteStore, SealedStore};
use crate::errors::of_the_copy;

/// Where state lies, and how.
#[derive(Debug, Clone)]
#[must_use]
pub struct StoreOptions {
    /// A folder, or `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.
    pub place: PathBuf,
    /// Where a copy of all files is written, if one is: as `place`.
    pub copy: Option<PathBuf>,
    /// A file of keys, if state is encrypted. See [`KeyRing`].
    pub key_file: Option<PathBuf>,
}

impl StoreOptions {
    /// At a place, without a copy, not encrypted.
    pub fn at(place: impl Into<PathBuf>) -> Self {
        Self { place: place.into(), copy: None, key_file: None }
    }

    /// Whether the place is a folder, not a URL.
    pub fn is_folder(&self) -> bool {
        url(&self.place).is_none()
    }

    /// The store, for the one run that uses it. `note` is told of what does not end the run.
    ///
    /// Errors: as of [`LocalStore::open`], [`RemoteStore::open`] and [`KeyRing::read`]; `Invalid` (R0641) for what
    /// looks like a URL and is none, (R0642) if the copy belongs to another job, (R0646) if one of the two was used without the other
    /// and then the other without it, (R0644) if it is in the same place.
    pub fn open(&self, note: &Note) -> Result<Arc<dyn CheckpointStore>> {
        check_name(&self.place)?;
        self.copy.iter().try_for_each(|copy| check_name(copy))?;
        if let Some(copy) =
            self.copy.as_ref().filter(|copy| is_within(copy, &self.place) || is_within(&self.place, copy))
        {
            let message = format!("'{}' and its copy in '{}' lie in one another", self.place.display(), copy.display());
            return Err(
                Error::invalid(644, message).with_hint("give another folder, best on another disk or in another store")
            );
        }
        let keys = self.keys(note)?;
        let open = |place: &Path| -> Result<Arc<dyn CheckpointStore>> {
            let store: Arc<dyn CheckpointStore> = match url(place) {
                Some(url) => Arc::new(RemoteStore::open(url, note)?),
                None => Arc::new(LocalStore::open(place)?),
            };
            Ok(Arc::new(SealedStore::new(store, keys.clone())))
        };
        let first = open(&self.place)?;
        let Some(copy) = &self.copy else { return Ok(first) };
        let second = open(copy).map_err(of_the_copy)?;
        check_one_history(first.as_ref(), second.as_ref())?;
        let copied = CopiedStore::new(first, second, Arc::clone(note));
        copied.catch_up().map_err(of_the_copy)?;
        Ok(Arc::new(copied))
    }

    /// The store, for a look at it while a run may use it; a copy is not looked at. In an object store that run may be asked by it
    /// (`requests/`), but nothing else is written.
    ///
    /// Errors: as of [`LocalStore::view`], [`RemoteStore::view`] and [`KeyRing::read`].
    pub fn view(&self, note: &Note) -> Result<Arc<dyn CheckpointStore>> {
        check_name(&self.place)?;
        let keys = self.keys(note)?;
        let store: Arc<dyn CheckpointStore> = match url(&self.place) {
            Some(url) => Arc::new(RemoteStore::view(url)?),
            None => Arc::new(LocalStore::view(&self.place)?),
        };
        Ok(Arc::new(SealedStore::new(store, keys)))
    }

    fn keys(&self, note: &Note) -> Result<KeyRing> {
        match &self.key_file {
            Some(path) => KeyRing::read(path, note),
            None => Ok(KeyRing::empty()),
        }
    }
}

fn url(place: &Path) -> Option<&str> {
    place.to_str().filter(|text| is_url(text))
}

/// Refuses what would make a folder of a strange name. Errors: `Invalid` (R0641).
fn check_name(place: &Path) -> Result<()> {
    let first = match place.components().next() {
        Some(Component::Normal(first)) if url(place).is_none() => first.to_string_lossy(),
        _ => return Ok(()),
    };
    let wrong =
        |what: &str, hint: String| Err(Error::invalid(641, format!("'{}' {what}", place.display())).with_hint(hint));
    match first.strip_suffix(':') {
        Some(scheme) if is_scheme(scheme) => wrong(
            "is no URL, and looks like one",
            format!("write {scheme}://bucket/prefix, or './{first}' for a folder"),
        ),
        _ if first.starts_with('~') => {
            wrong("begins with '~', which only a shell replaces", "write the whole path of the folder".into())
        }
        _ => Ok(()),
    }
}

/// Whether a word may stand before `://`.
fn is_scheme(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.chars().all(|c| c.is_ascii_alphanumeric())
}

/// Whether a place is another, or lies below it. Folders may have several names, and need not be there yet.
fn is_within(inner: &Path, outer: &Path) -> bool {
    match (url(inner), url(outer)) {
        (Some(inner), Some(outer)) => {
            let folder = |url: &str| format!("{}/", url.trim_end_matches('/'));
            folder(inner).starts_with(&folder(outer))
        }
        (None, None) => {
            let real = |path: &Path| absolute(path).map(|path| resolved(&path, |there| there.canonicalize().ok()));
            real(inner).is_ok_and(|inner| real(outer).is_ok_and(|outer| inner.starts_with(outer)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_url_and_a_home_are_no_folders() {
        for place in ["s3:/bucket/x", "s3:", "~/x", "~", "~joe/x", "gs:/b"] {
            assert_eq!(check_name(Path::new(place)).unwrap_err().code(), "R0641", "{place}");
        }
        for place in
            ["s3://bucket/x", "./s3:/x", "/s3:/x", "a:b/c", "state", "./~", "a~", "../x", "2024-01-01T00:00:00:"]
        {
            assert_eq!(check_name(Path::new(place)), Ok(()), "{place}");
        }
    }

    #[test]
    fn a_copy_in_the_same_place_is_known_through_links_and_before_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("state")).unwrap();
        std::os::unix::fs::symlink(at("state"), at("alias")).unwrap();
        let within = |inner: &str, outer: &str| is_within(&at(inner), &at(outer));
        for (inner, outer) in [
            ("state", "state"),
            ("state/copy", "state"),
            ("alias/copy", "state"),
            ("state/copy", "alias"),
            ("new/../state", "state"),
            ("new/../alias/copy", "state"),
            ("new/x/..", "new"),
        ] {
            assert!(within(inner, outer), "{inner} {outer}");
        }
        for (inner, outer) in [("copy", "state"), ("state/../copy", "state"), ("state/new/../../copy", "alias")] {
            assert!(!within(inner, outer), "{inner} {outer}");
        }
        let url = |text: &str| PathBuf::from(text);
        assert!(is_within(&url("s3://b/x/copy/"), &url("s3://b/x")) && !is_within(&url("s3://b/xy"), &url("s3://b/x")));
        assert!(!is_within(&url("s3://b/x"), &at("state")));
    }
}
