//! Which columns the keys of a JSON object belong to: the rule of [`find_column`](crate::names::find_column), object by
//! object.
//!
//! A column takes the key that is its name; where the object has none, the only key that differs from it in case.
//!
//! ```text
//!   {"id":7,"name":"x"}        objects of one file mostly have the same keys in the same order, so the bytes from one
//!   ▔▔▔▔▔▔ ▔▔▔▔▔▔▔▔            value to the next are remembered, and compared with what stands there next time
//! ```

use std::collections::HashMap;

use super::scan::{Broken, Scan, key_bytes};
use crate::cell::Cell;
use crate::word::two_words;

/// Keys of an object that are remembered.
const EXPECTED_KEYS_MAX: usize = 256;

/// Remembered keys that are compared before a key is read: keys that an object lacks are passed over.
const EXPECTED_KEYS_TRIED: usize = 16;

/// Bytes of a remembered key with what stands around it.
const EXPECTED_BYTES_MAX: usize = 64;

/// A column that a key can be meant for, and whether it has exactly this name.
type Target = (usize, bool);

/// What a key is meant for.
#[derive(Debug)]
enum Targets {
    Nothing,
    /// The column of exactly this name, and no other.
    Column(usize),
    Several(Vec<Target>),
}

/// The bytes between two values, as they were read once.
#[derive(Debug)]
struct Expected {
    text: Box<[u8]>,
    /// The first 16 bytes, and ones where they count.
    words: [u64; 2],
    masks: [u64; 2],
    targets: Targets,
}

impl Expected {
    fn new(text: &[u8], targets: Targets) -> Self {
        let half = |at: usize| {
            let part = text.get(at..).unwrap_or(&[]);
            let mut bytes = [0; 8];
            let mut mask = [0; 8];
            for (n, byte) in part.iter().take(8).enumerate() {
                (bytes[n], mask[n]) = (*byte, 0xff);
            }
            (u64::from_le_bytes(bytes), u64::from_le_bytes(mask))
        };
        let ((low, low_mask), (high, high_mask)) = (half(0), half(8));
        Self { text: text.into(), words: [low, high], masks: [low_mask, high_mask], targets }
    }

    /// Whether the cursor stands on these bytes.
    #[inline(always)]
    fn is_at(&self, s: &Scan<'_>) -> bool {
        let Some((low, high)) = two_words(s.data, s.at) else {
            return s.data[s.at..s.end].starts_with(&self.text);
        };
        (low & self.masks[0] == self.words[0])
            & (high & self.masks[1] == self.words[1])
            & (s.at + self.text.len() <= s.end)
            && (self.text.len() <= 16 || s.data[s.at + 16..s.end].starts_with(&self.text[16..]))
    }
}

/// Where the values go.
pub(crate) trait Values {
    /// The value of an earlier place is `cell`.
    fn set(&mut self, data: &[u8], column: usize, cell: Cell);

    /// The value at the cursor, which goes behind it.
    #[inline]
    fn read(&mut self, s: &mut Scan<'_>, column: usize) -> Result<(), Broken> {
        let cell = s.value()?;
        self.set(s.data, column, cell);
        Ok(())
    }
}

impl<F: FnMut(usize, Cell)> Values for F {
    fn set(&mut self, _data: &[u8], column: usize, cell: Cell) {
        self(column, cell);
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Keys {
    names: Vec<Vec<u8>>,
    /// Columns by their names in lower case.
    alike: HashMap<Vec<u8>, Vec<usize>>,
    expected: Vec<Expected>,
    found: Found,
    scratch: Vec<u8>,
}

/// What the keys of one object gave.
#[derive(Debug, Default)]
struct Found {
    /// The number of this object.
    object: u64,
    /// The number of the last object in which a key was exactly the column's name, by column.
    exact: Vec<u64>,
    /// The value of the first key of another case, and how many there were; by column.
    others: Vec<(Cell, u64)>,
    /// The columns that have others.
    touched: Vec<usize>,
}

impl Found {
    fn begin(&mut self) {
        self.object += 1;
        for column in self.touched.drain(..) {
            self.others[column].1 = 0;
        }
    }

    /// Reads the value at the cursor for the columns that its key is meant for.
    #[inline(always)]
    fn take(&mut self, targets: &Targets, s: &mut Scan<'_>, values: &mut impl Values) -> Result<(), Broken> {
        match targets {
            Targets::Nothing => s.value().map(drop),
            Targets::Column(column) => {
                self.exact[*column] = self.object;
                values.read(s, *column)
            }
            Targets::Several(targets) => {
                let cell = s.value()?;
                self.take_all(targets, s.data, cell, values);
                Ok(())
            }
        }
    }

    fn take_all(&mut self, targets: &[Target], data: &[u8], cell: Cell, values: &mut impl Values) {
        for (column, is_exact) in targets {
            if *is_exact {
                self.exact[*column] = self.object;
                values.set(data, *column, cell);
                continue;
            }
            let (first, count) = &mut self.others[*column];
            if *count == 0 {
                *first = cell;
                self.touched.push(*column);
            }
            *count += 1;
        }
    }

    fn end(&self, data: &[u8], values: &mut impl Values) {
        for column in &self.touched {
            let (cell, count) = self.others[*column];
            if count == 1 && self.exact[*column] != self.object {
                values.set(data, *column, cell);
            }
        }
    }
}

impl Keys {
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names: Vec<Vec<u8>> = names.into_iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut alike: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for (n, name) in names.iter().enumerate() {
            alike.entry(name.to_ascii_lowercase()).or_default().push(n);
        }
        let (exact, others) = (vec![0; names.len()], vec![(Cell::NULL, 0); names.len()]);
        let found = Found { exact, others, ..Found::default() };
        Self { names, alike, expected: vec![], found, scratch: vec![] }
    }

    fn targets(&self, key: &[u8]) -> Targets {
        match self.alike.get(&key.to_ascii_lowercase()).map_or(&[][..], Vec::as_slice) {
            [] => Targets::Nothing,
            [column] if self.names[*column] == key => Targets::Column(*column),
            columns => Targets::Several(columns.iter().map(|c| (*c, self.names[*c] == key)).collect()),
        }
    }

    /// Gives `values` what the object in `data[start..end]` has for them; the last value for a column counts.
    pub(crate) fn fill(
        &mut self,
        data: &[u8],
        start: usize,
        end: usize,
        values: &mut impl Values,
    ) -> Result<(), Broken> {
        let mut s = Scan::new(data, start, end);
        self.read(&mut s, values)?;
        s.done()
    }

    /// [`Keys::fill`] with the object at the cursor, which goes behind it.
    pub(crate) fn read(&mut self, s: &mut Scan<'_>, values: &mut impl Values) -> Result<(), Broken> {
        self.found.begin();
        let mut is_first = true;
        // The first of the remembered keys that may come next.
        let mut next = 0;
        loop {
            if !is_first && s.peek() == Some(b'}') {
                s.at += 1;
                break;
            }
            match self.expected.get(next).filter(|expected| expected.is_at(s)) {
                Some(expected) => {
                    s.at += expected.text.len();
                    self.found.take(&expected.targets, s, values)?;
                    next += 1;
                }
                None => match self.other_key(s, is_first, next)? {
                    Key::End => break,
                    Key::Expected(place) => {
                        self.found.take(&self.expected[place].targets, s, values)?;
                        next = place + 1;
                    }
                    Key::Unexpected(targets) => self.found.take(&targets, s, values)?,
                },
            }
            is_first = false;
        }
        self.found.end(s.data, values);
        Ok(())
    }

    /// A key that is not the next of those that are remembered: a later one, or another, which is remembered from now on.
    fn other_key(&mut self, s: &mut Scan<'_>, is_first: bool, next: usize) -> Result<Key, Broken> {
        let later = self.expected.iter().enumerate().skip(next + 1).take(EXPECTED_KEYS_TRIED);
        if let Some((place, expected)) = later.into_iter().find(|(_, expected)| expected.is_at(s)) {
            s.at += expected.text.len();
            return Ok(Key::Expected(place));
        }
        let start = s.at;
        let Some(key) = s.key(is_first)? else { return Ok(Key::End) };
        let mut scratch = std::mem::take(&mut self.scratch);
        let targets = self.targets(key_bytes(s.data, key, &mut scratch));
        self.scratch = scratch;
        let text = &s.data[start..s.at];
        if self.expected.len() == EXPECTED_KEYS_MAX || text.len() > EXPECTED_BYTES_MAX {
            return Ok(Key::Unexpected(targets));
        }
        let place = next.min(self.expected.len());
        self.expected.insert(place, Expected::new(text, targets));
        Ok(Key::Expected(place))
    }
}

/// A key that was found; the cursor stands before its value.
enum Key {
    /// There is none: the object is at its end.
    End,
    Expected(usize),
    Unexpected(Targets),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::find_column;
    use proptest::prelude::*;

    fn fill(keys: &mut Keys, line: &str) -> Vec<String> {
        let mut values = vec![String::new(); keys.names.len()];
        let data = line.as_bytes();
        let mut set = |c: usize, cell: Cell| values[c] = String::from_utf8_lossy(cell.bytes(data)).into();
        keys.fill(data, 0, data.len(), &mut set).unwrap();
        values
    }

    #[test]
    fn keys_match_exactly_else_without_case_where_only_one_fits() {
        let mut keys = Keys::new(["id", "Name"]);
        for (line, want) in [
            (r#"{"id":1,"Name":2}"#, ["1", "2"]),
            (r#"{"ID":1,"name":2}"#, ["1", "2"]),
            (r#"{"ID":1,"name":2}"#, ["1", "2"]),
            (r#"{"ID":1,"id":2,"NAME":3}"#, ["2", "3"]),
            (r#"{"id":2,"ID":1,"nam\u0045":3}"#, ["2", "3"]),
            (r#"{"id":null,"ID":1}"#, ["", ""]),
            (r#"{"ID":1,"Id":2}"#, ["", ""]),
            (r#"{"id":1,"id":2}"#, ["2", ""]),
        ] {
            assert_eq!(fill(&mut keys, line), want, "{line}");
        }
        assert_eq!(fill(&mut Keys::new(["id", "ID"]), r#"{"Id":1}"#), ["1", "1"]);
    }

    proptest! {
        /// The rule is that of a csv header, whatever came in the objects before.
        #[test]
        fn a_key_matches_as_a_header_does(
            columns in prop::collection::btree_set("[aA][bB]?", 1..4),
            lines in prop::collection::vec(prop::collection::btree_set("[aA][bB]?", 0..5), 1..5),
        ) {
            let columns: Vec<String> = columns.into_iter().collect();
            let mut keys = Keys::new(columns.iter().map(String::as_str));
            for names in lines {
                let names: Vec<String> = names.into_iter().collect();
                let entries: Vec<String> = names.iter().enumerate().map(|(n, name)| format!("\"{name}\":{n}")).collect();
                let want: Vec<String> = columns
                    .iter()
                    .map(|c| find_column(c, &names).map(|n| n.to_string()).unwrap_or_default())
                    .collect();
                prop_assert_eq!(fill(&mut keys, &format!("{{{}}}", entries.join(","))), want);
            }
        }
    }
}
