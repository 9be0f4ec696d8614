//! Records that end generations: which they are, and what is done about them.
//!
//! ```text
//!   a worker panics over a batch ──► its stretch of a split (from, end) ──► the next generation reads it row by row
//!   a worker panics over a single row ──► its place, once more ... three times ──► the row is put aside by its source
//! ```
//! A batch tells by its ticket that a thread panics while it works on it. A panic that no batch is at hand for, as of a window that
//! fires, names no record.

use std::collections::BTreeMap;

use rheos_checkpoint::restart::Place;
use rheos_core::OperatorId;

/// Rows that are read one by one, at most, for one suspicion: positions cannot be compared, so where a stretch was left behind is
/// not seen.
const CAREFUL_ROWS_MAX: u64 = 1_000_000;

/// The rows of a batch, in their split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Of the first row.
    pub(crate) first: Place,
    /// The position behind the last.
    pub(crate) end: String,
    pub(crate) rows: usize,
}

/// What earlier generations of a run have learnt.
#[derive(Debug, Clone, Default)]
pub(crate) struct Suspects {
    /// What is read row by row.
    careful: Option<Stretch>,
    /// What is put aside, and what it has done.
    aside: BTreeMap<Place, String>,
}

impl Suspects {
    /// A generation has panicked over these rows. The place, where it is one.
    pub(crate) fn panicked(&mut self, stretch: Stretch) -> Option<Place> {
        let place = (stretch.rows == 1).then(|| stretch.first.clone());
        // A single row is read in its stretch again.
        if place.is_none() || self.careful.as_ref().is_none_or(|c| !c.is_in_the_split_of(&stretch)) {
            self.careful = Some(stretch);
        }
        place
    }

    pub(crate) fn put_aside(&mut self, place: Place, cause: String) {
        self.aside.insert(place, cause);
    }

    /// Records that are put aside.
    pub(crate) fn count(&self) -> usize {
        self.aside.len()
    }

    /// What the record at a place has done that is to be put aside.
    pub(crate) fn of(&self, place: &Place) -> Option<&str> {
        self.aside.get(place).map(String::as_str)
    }

    /// How a split is read, if not as all others.
    pub(crate) fn careful(&self, source: &OperatorId, split: &str) -> Option<Careful> {
        let stretch = self.careful.as_ref().filter(|s| s.first.source == *source && s.first.split == split)?;
        Some(Careful { end: stretch.end.clone(), rows_left: CAREFUL_ROWS_MAX })
    }
}

impl Stretch {
    fn is_in_the_split_of(&self, other: &Stretch) -> bool {
        (&self.first.source, &self.first.split) == (&other.first.source, &other.first.split)
    }
}

/// A split that is read row by row.
#[derive(Debug)]
pub(crate) struct Careful {
    end: String,
    rows_left: u64,
}

impl Careful {
    /// Whether that is over, now that reading stands at `position`.
    pub(crate) fn is_over(&mut self, position: &str) -> bool {
        self.rows_left = self.rows_left.saturating_sub(1);
        self.rows_left == 0 || self.end == position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(split: &str, from: u64, rows: usize) -> Stretch {
        let first = Place { source: "s".into(), split: split.into(), position: from.to_string() };
        Stretch { first, end: (from + rows as u64).to_string(), rows }
    }

    #[test]
    fn a_stretch_is_read_row_by_row_to_its_end_also_behind_a_row_of_it() {
        let mut suspects = Suspects::default();
        assert_eq!(suspects.panicked(stretch("a", 10, 5)), None);
        assert!(suspects.careful(&"s".into(), "b").is_none() && suspects.careful(&"t".into(), "a").is_none());
        let row = stretch("a", 12, 1);
        assert_eq!(suspects.panicked(row.clone()), Some(row.first.clone()));
        let mut careful = suspects.careful(&"s".into(), "a").unwrap();
        assert!(!careful.is_over("13") && careful.is_over("15"));
        suspects.put_aside(row.first.clone(), "it panics".into());
        assert_eq!((suspects.of(&row.first), suspects.count()), (Some("it panics"), 1));
        // Another split: what was known of the first is behind.
        suspects.panicked(stretch("b", 0, 1));
        assert!(suspects.careful(&"s".into(), "a").is_none() && suspects.careful(&"s".into(), "b").is_some());
    }
}
