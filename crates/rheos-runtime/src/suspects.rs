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

/// Rows that are read one by one, at most, from the beginning of a stretch on: positions cannot be compared, so where its end was
/// left out is not always seen.
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
        Some(Careful { stretch: stretch.clone(), has_begun: false, rows_left: CAREFUL_ROWS_MAX })
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
    stretch: Stretch,
    /// Whether reading has come to the stretch: a checkpoint may lie millions of rows before it.
    has_begun: bool,
    rows_left: u64,
}

impl Careful {
    /// A row has been read that began at `from`. Whether that is over, now that reading stands at `position`.
    pub(crate) fn is_over(&mut self, from: &str, position: &str) -> bool {
        self.has_begun |= self.stretch.first.position == from;
        if self.has_begun {
            self.rows_left = self.rows_left.saturating_sub(1);
        }
        self.rows_left == 0 || self.stretch.end == position || self.is_behind(position)
    }

    /// Whether a position lies behind the stretch for certain.
    fn is_behind(&self, position: &str) -> bool {
        let number = |position: &str| Place { position: position.to_string(), ..self.stretch.first.clone() }.number();
        number(position).zip(number(&self.stretch.end)).is_some_and(|(at, end)| at > end)
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
    fn rows_count_from_the_beginning_of_a_stretch_however_far_it_is() {
        let mut suspects = Suspects::default();
        let first = 3 * CAREFUL_ROWS_MAX;
        suspects.panicked(stretch("a", first, 5));
        let careful = || suspects.careful(&"s".into(), "a").unwrap();
        let mut far = careful();
        for row in 0..first + 4 {
            assert!(!far.is_over(&row.to_string(), &(row + 1).to_string()), "{row}");
        }
        assert!(far.is_over(&(first + 4).to_string(), &(first + 5).to_string()));
        // A position that is never the end's.
        let (mut past, mut endless) = (careful(), careful());
        assert!(past.is_over("rows", &(first + 6).to_string()));
        assert!(!endless.is_over(&first.to_string(), "x"));
        let rows = (0..).take_while(|_| !endless.is_over("x", "x")).count() as u64;
        assert_eq!(rows, CAREFUL_ROWS_MAX - 2);
    }

    #[test]
    fn a_stretch_is_read_row_by_row_to_its_end_also_behind_a_row_of_it() {
        let mut suspects = Suspects::default();
        assert_eq!(suspects.panicked(stretch("a", 10, 5)), None);
        assert!(suspects.careful(&"s".into(), "b").is_none() && suspects.careful(&"t".into(), "a").is_none());
        let row = stretch("a", 12, 1);
        assert_eq!(suspects.panicked(row.clone()), Some(row.first.clone()));
        let mut careful = suspects.careful(&"s".into(), "a").unwrap();
        assert!(!careful.is_over("12", "13") && careful.is_over("14", "15"));
        suspects.put_aside(row.first.clone(), "it panics".into());
        assert_eq!((suspects.of(&row.first), suspects.count()), (Some("it panics"), 1));
        // Another split: what was known of the first is behind.
        suspects.panicked(stretch("b", 0, 1));
        assert!(suspects.careful(&"s".into(), "a").is_none() && suspects.careful(&"s".into(), "b").is_some());
    }
}
