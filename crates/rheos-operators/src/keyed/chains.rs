//! The rows of each key: lists that are linked both ways through vectors that go by row slot. 8 bytes a row, 4 a key.

/// No row.
const NONE: u32 = u32::MAX;
/// Marks a `previous` that is no row but the key whose first row this is.
const KEY: u32 = 1 << 31;

/// See the module. Keys and rows are below 2^31. The newest row of a key is its first.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    /// By key slot.
    first: Vec<u32>,
    /// By row slot.
    links: Vec<Link>,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    previous: u32,
    next: u32,
}

impl Chains {
    /// Adds a row to those of a key. It must not be in any.
    pub(crate) fn push(&mut self, key: u32, row: u32) {
        let (k, r) = (key as usize, row as usize);
        if self.first.len() <= k {
            self.first.resize(k + 1, NONE);
        }
        if self.links.len() <= r {
            self.links.resize(r + 1, Link { previous: NONE, next: NONE });
        }
        let next = std::mem::replace(&mut self.first[k], row);
        self.links[r] = Link { previous: key | KEY, next };
        if next != NONE {
            self.links[next as usize].previous = row;
        }
    }

    /// Takes a row out; the key that has no row any more then.
    pub(crate) fn remove(&mut self, row: u32) -> Option<u32> {
        let gone = Link { previous: NONE, next: NONE };
        let Link { previous, next } = std::mem::replace(&mut self.links[row as usize], gone);
        if next != NONE {
            self.links[next as usize].previous = previous;
        }
        if previous & KEY == 0 {
            self.links[previous as usize].next = next;
            return None;
        }
        let key = previous & !KEY;
        self.first[key as usize] = next;
        (next == NONE).then_some(key)
    }

    /// The first row of a key.
    pub(crate) fn first(&self, key: u32) -> Option<u32> {
        self.first.get(key as usize).copied().filter(|row| *row != NONE)
    }

    /// The row of the same key that follows.
    pub(crate) fn next(&self, row: u32) -> Option<u32> {
        Some(self.links[row as usize].next).filter(|row| *row != NONE)
    }

    /// The rows of a key.
    pub(crate) fn of(&self, key: u32) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(self.first(key), |row| self.next(*row))
    }

    /// Bytes, about.
    pub(crate) fn size(&self) -> usize {
        self.first.capacity() * size_of::<u32>() + self.links.capacity() * size_of::<Link>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A map of lists is the truth.
        #[test]
        fn rows_stand_with_their_keys(steps in prop::collection::vec((0..6_u32, 0..30_u32), 0..300)) {
            let mut chains = Chains::default();
            let mut model: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
            for (key, row) in steps {
                match model.iter().find(|(_, rows)| rows.contains(&row)).map(|(key, _)| *key) {
                    Some(its) => {
                        let rows = model.get_mut(&its).unwrap();
                        rows.retain(|r| *r != row);
                        prop_assert_eq!(chains.remove(row), rows.is_empty().then_some(its));
                    }
                    None => {
                        chains.push(key, row);
                        model.entry(key).or_default().insert(0, row);
                    }
                }
                for key in 0..7 {
                    let rows = model.get(&key).cloned().unwrap_or_default();
                    prop_assert_eq!(chains.of(key).collect::<Vec<_>>(), rows);
                }
            }
        }
    }
}
