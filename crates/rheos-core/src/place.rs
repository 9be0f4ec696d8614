//! Where a path leads, however it is spelled: what two paths are compared by.
//!
//! What is there, the file system knows (`canonicalize`); it is asked by the caller, since nothing here does I/O. It refuses a path
//! of which a part is not there yet, such as a folder that the job will make. That part goes by its letters.

use std::path::{Component, Path, PathBuf};

/// An absolute path without links and dots. `real`: the same of a path that is there, `None` of any other.
///
/// Behind a name that is not there, `..` takes that name away: once the folder has been made, it leads there.
pub fn resolved(absolute: &Path, real: impl Fn(&Path) -> Option<PathBuf>) -> PathBuf {
    if let Some(place) = real(absolute) {
        return place;
    }
    let mut place = PathBuf::new();
    for component in absolute.components() {
        match component {
            // No link is left in what stands before.
            Component::ParentDir => {
                place.pop();
            }
            component => {
                place.push(component);
                if let Some(there) = real(&place) {
                    place = there;
                }
            }
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_not_there_goes_by_its_letters() {
        // `/a/b` is there, and `/l` is a link to it.
        let real = |path: &Path| match path.to_str()? {
            "/" | "/l/../.." => Some("/".into()),
            "/a" | "/a/b/.." | "/l/.." => Some("/a".into()),
            "/a/b" | "/l" | "/a/b/../b" => Some("/a/b".into()),
            _ => None,
        };
        for (path, place) in [
            ("/a/b", "/a/b"),
            ("/l", "/a/b"),
            ("/l/..", "/a"),
            ("/l/new", "/a/b/new"),
            ("/l/../new", "/a/new"),
            ("/new/../l", "/a/b"),
            ("/new/../l/../new", "/a/new"),
            ("/new/x/../../a/b/y/..", "/a/b"),
            ("/new/./x", "/new/x"),
            ("/new/../../../a", "/a"),
            ("/new", "/new"),
        ] {
            assert_eq!(resolved(Path::new(path), real), Path::new(place), "{path}");
        }
    }
}
