//! Which columns the keys of a JSON object belong to: the rule of [`find_column`](crate::names::find_column), object by
//! object.
//!
//! A column takes the key that is its name; where the object has none, the only key that differs from it in case.

use std::collections::HashMap;

use super::scan::{Broken, key_bytes, object};
use crate::cell::{Cell, CellKind};

/// Keys an object that are remembered.
const EXPECTED_KEYS_MAX: usize = 256;

/// A column that a key can be meant for, and whether it has exactly this name.
type Target = (usize, bool);

/// See the module.
#[derive(Debug)]
pub(crate) struct Keys {
    names: Vec<Vec<u8>>,
    /// Columns by their names in lower case.
    alike: HashMap<Vec<u8>, Vec<usize>>,
    /// The keys of the last object with their columns: objects of one file mostly have the same keys in the same order.
    expected: Vec<(Vec<u8>, Vec<Target>)>,
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

    #[inline]
    fn take(&mut self, targets: &[Target], cell: Cell, set: &mut impl FnMut(usize, Cell)) {
        for (column, is_exact) in targets {
            if *is_exact {
                self.exact[*column] = self.object;
                set(*column, cell);
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

    fn end(&self, set: &mut impl FnMut(usize, Cell)) {
        for column in &self.touched {
            let (cell, count) = self.others[*column];
            if count == 1 && self.exact[*column] != self.object {
                set(*column, cell);
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

    fn targets(&self, key: &[u8]) -> Vec<Target> {
        let columns = self.alike.get(&key.to_ascii_lowercase()).map_or(&[][..], Vec::as_slice);
        columns.iter().map(|c| (*c, self.names[*c] == key)).collect()
    }

    /// Calls `set` with the columns and values of the object in `data[start..end]`; the last call for a column counts.
    pub(crate) fn fill(
        &mut self,
        data: &[u8],
        start: usize,
        end: usize,
        mut set: impl FnMut(usize, Cell),
    ) -> Result<(), Broken> {
        self.found.begin();
        let mut n = 0;
        object(data, start, end, |key, cell| {
            let raw = key.bytes(data);
            let plain = key.kind != CellKind::JsonEscaped;
            if plain && self.expected.get(n).is_some_and(|(expected, _)| expected == raw) {
                self.found.take(&self.expected[n].1, cell, &mut set);
            } else {
                let mut scratch = std::mem::take(&mut self.scratch);
                let targets = self.targets(key_bytes(data, key, &mut scratch));
                self.scratch = scratch;
                self.found.take(&targets, cell, &mut set);
                if plain && n < EXPECTED_KEYS_MAX {
                    let entry = (raw.to_vec(), targets);
                    match self.expected.get_mut(n) {
                        Some(known) => *known = entry,
                        None => self.expected.push(entry),
                    }
                }
            }
            n += 1;
        })?;
        self.found.end(&mut set);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::find_column;
    use proptest::prelude::*;

    fn fill(keys: &mut Keys, line: &str) -> Vec<String> {
        let mut values = vec![String::new(); keys.names.len()];
        let data = line.as_bytes();
        keys.fill(data, 0, data.len(), |c, cell| values[c] = String::from_utf8_lossy(cell.bytes(data)).into()).unwrap();
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
