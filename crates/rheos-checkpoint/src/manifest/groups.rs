//! Sets of key groups: a bit for each.
//!
//! After some rescales the groups of a segment lie scattered: as ranges they would take kilobytes a segment. As text a
//! set is whichever is shorter: ranges (`0-300,600`) or, behind a `#`, the bits in base64 (group 0 is the lowest bit of
//! the first byte; no zero bytes at the end).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rheos_core::key::{KEY_GROUPS_MAX, KeyGroup};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Key groups `first..=last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupRange {
    /// The first.
    pub first: u16,
    /// The last; at least `first`.
    pub last: u16,
}

/// A set of key groups.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct KeyGroupSet {
    /// The last word is not 0, so that equal sets are equal.
    words: Vec<u64>,
}

impl KeyGroupSet {
    /// Key groups `first..=last`; none if `last` is smaller.
    pub fn range(first: u16, last: u16) -> Self {
        (first..=last).map(KeyGroup).collect()
    }

    /// Adds a group.
    pub fn insert(&mut self, group: KeyGroup) {
        let word = usize::from(group.0) / 64;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (group.0 % 64);
    }

    /// Whether `group` is one of them.
    pub fn contains(&self, group: KeyGroup) -> bool {
        self.words.get(usize::from(group.0) / 64).is_some_and(|word| word & (1 << (group.0 % 64)) != 0)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = KeyGroup> + '_ {
        let groups = |(i, word): (usize, &u64)| {
            let word = *word;
            (0..64_u16).filter(move |bit| word & (1 << bit) != 0).map(move |bit| KeyGroup(i as u16 * 64 + bit))
        };
        self.words.iter().enumerate().flat_map(groups)
    }

    /// As ranges that do not touch, in ascending order.
    pub fn ranges(&self) -> Vec<GroupRange> {
        let mut ranges: Vec<GroupRange> = Vec::new();
        for KeyGroup(group) in self.iter() {
            match ranges.last_mut() {
                Some(range) if range.last + 1 == group => range.last = group,
                _ => ranges.push(GroupRange { first: group, last: group }),
            }
        }
        ranges
    }

    /// What both have.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self::of_words(self.words.iter().zip(&other.words).map(|(a, b)| a & b).collect())
    }

    /// What either has.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let (long, short) = if self.words.len() < other.words.len() { (other, self) } else { (self, other) };
        let mut words = long.words.clone();
        words.iter_mut().zip(&short.words).for_each(|(a, b)| *a |= b);
        Self { words }
    }

    /// What `other` does not have.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let others = other.words.iter().copied().chain(std::iter::repeat(0));
        Self::of_words(self.words.iter().zip(others).map(|(a, b)| a & !b).collect())
    }

    fn of_words(mut words: Vec<u64>) -> Self {
        while words.last() == Some(&0) {
            words.pop();
        }
        Self { words }
    }

    fn parse(text: &str) -> Option<Self> {
        let set = match text.strip_prefix('#') {
            Some(bits) => {
                let bytes = STANDARD_NO_PAD.decode(bits).ok()?;
                if bytes.len() > usize::from(KEY_GROUPS_MAX) / 8 {
                    return None;
                }
                let mut words = vec![0_u64; bytes.len().div_ceil(8)];
                for (i, byte) in bytes.iter().enumerate() {
                    words[i / 8] |= u64::from(*byte) << (8 * (i % 8));
                }
                Self::of_words(words)
            }
            None if text.is_empty() => Self::default(),
            None => {
                let mut set = Self::default();
                for range in text.split(',') {
                    let (first, last) = range.split_once('-').unwrap_or((range, range));
                    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
                    if last >= KEY_GROUPS_MAX {
                        return None;
                    }
                    (first..=last).for_each(|group| set.insert(KeyGroup(group)));
                }
                set
            }
        };
        // One set has one text: what reads differently is damage, or was written by something else.
        (set.to_string() == text).then_some(set)
    }
}

impl FromIterator<KeyGroup> for KeyGroupSet {
    fn from_iter<I: IntoIterator<Item = KeyGroup>>(groups: I) -> Self {
        let mut set = Self::default();
        groups.into_iter().for_each(|group| set.insert(group));
        set
    }
}

impl fmt::Display for KeyGroupSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |r: &GroupRange| match r.first == r.last {
            true => r.first.to_string(),
            false => format!("{}-{}", r.first, r.last),
        };
        let ranges = self.ranges().iter().map(range).collect::<Vec<_>>().join(",");
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        // 3 bytes are 4 letters; a remainder is one letter more than it has bytes.
        let bits_len = 1 + bytes.len() / 3 * 4 + [0, 2, 3][bytes.len() % 3];
        if ranges.len() <= bits_len { f.write_str(&ranges) } else { write!(f, "#{}", STANDARD_NO_PAD.encode(bytes)) }
    }
}

impl Serialize for KeyGroupSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyGroupSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(format!("'{text}' is not a set of key groups")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_written_in_its_shorter_form_and_read_back() {
        let of = |groups: &[u16]| groups.iter().copied().map(KeyGroup).collect::<KeyGroupSet>();
        let odd: KeyGroupSet = (0..16).filter(|g| g % 2 == 1).map(KeyGroup).collect();
        // 0xaa 0xaa in base64, by hand: 101010 101010 101000.
        let cases = [
            (KeyGroupSet::default(), ""),
            (of(&[0]), "0"),
            (KeyGroupSet::range(0, 300).union(&KeyGroupSet::range(600, 1023)), "0-300,600-1023"),
            (of(&[32_767]), "32767"),
            (odd, "#qqo"),
        ];
        for (set, text) in cases {
            assert_eq!(set.to_string(), text);
            assert_eq!(KeyGroupSet::parse(text), Some(set));
        }
        for wrong in [
            "1-", "-1", "x", "5-4", "32768", "0-65535", "1,1", "2,1", "01", "1,2", "#", "#AA", "#qqo=", "#qqp",
            "0-7,9,",
        ] {
            assert_eq!(KeyGroupSet::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sets_are_combined_by_group() {
        let (a, b) = (KeyGroupSet::range(0, 99), KeyGroupSet::range(64, 200));
        assert_eq!(a.intersection(&b), KeyGroupSet::range(64, 99));
        assert_eq!(a.union(&b), KeyGroupSet::range(0, 200));
        assert_eq!(b.union(&a), KeyGroupSet::range(0, 200));
        assert!(a.intersection(&KeyGroupSet::range(150, 151)).is_empty());
        assert_eq!((a.len(), a.contains(KeyGroup(99)), a.contains(KeyGroup(100))), (100, true, false));
        assert_eq!(a.ranges(), [GroupRange { first: 0, last: 99 }]);
    }
}
