//! Whether a job that goes on from a checkpoint reads what it read before: with an `id()` of its own, a source may name another path,
//! or read it in another way.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rheos_core::{Error, Result};

use super::options::{FileOptions, Growth};
use super::paths::{NoFiles, Places, input_files, place_of, shown};
use super::position::{GrowingPosition, parse};
use super::rotation::is_there;
use super::splits::{FileSplit, Part};

/// Looks at the splits that have not been read to their end, with their positions.
///
/// Errors: `Invalid` (R0241) for one that the table does not read any more.
pub(super) fn check(options: &FileOptions, open: &[(FileSplit, Option<&str>)]) -> Result<()> {
    let followed = matches!(options.growth, Growth::Lines { .. });
    let mut known = None;
    for (split, position) in open {
        let before = split.whereabouts();
        let what = match (&split.part, followed) {
            (Part::Growing, true) if is_same_file(options, &before, *position)? => continue,
            (Part::Growing, true) => format!("the job follows '{}', and the table now names", shown(&before)),
            (Part::Growing, false) => {
                format!("the job follows the lines of '{}', and the table now reads", shown(&before))
            }
            (_, true) => {
                format!("the job has not read '{}' to its end, and the table now follows the lines of", shown(&before))
            }
            (_, false) if !before.exists() => continue,
            (_, false) => {
                let places = match known.take() {
                    Some(places) => places,
                    None => places_of(options)?,
                };
                let belongs = places.contains(&before);
                known = Some(places);
                if belongs {
                    continue;
                }
                format!("the job has not read '{}' to its end, and it does not belong to", shown(&before))
            }
        };
        return Err(Error::invalid(241, format!("{what} '{}'", options.path)).with_hint(
            "set the path and how it is read back; or, to read another one from its start, give the source another id() and let the \
             old positions go by '--allow-dropped-state'",
        ));
    }
    Ok(())
}

/// All that the table reads now.
pub(super) fn places_of(options: &FileOptions) -> Result<HashSet<PathBuf>> {
    let files = input_files(&options.path, options.file_order, NoFiles::Awaited)?;
    let mut places = Places::default();
    Ok(files.iter().map(|file| places.of(&file.path)).collect())
}

/// Whether the table follows the file that it followed, however it is named now.
fn is_same_file(options: &FileOptions, before: &Path, position: Option<&str>) -> Result<bool> {
    let path = Path::new(&options.path);
    if place_of(path) == before {
        return Ok(true);
    }
    match position.map_or(Ok(GrowingPosition::Start), |text| parse(text, "a growing file"))? {
        GrowingPosition::Start => Ok(true),
        GrowingPosition::At(_, identity) => is_there(path, &identity),
    }
}
