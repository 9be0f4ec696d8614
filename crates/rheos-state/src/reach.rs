//! How far tombstones reach: per key group, the rows of earlier epochs that are gone.
//!
//! Tombstones are applied from the newest segment to the oldest: a row is gone if a segment that is newer than its own has a
//! tombstone for it in its key group. Two tombstones of a group add up to the further one, so one value a group is enough.

use std::collections::BTreeMap;

use rheos_checkpoint::manifest::KeyGroupSet;
use rheos_core::key::KeyGroup;
use rheos_core::state::Tombstone;
use serde::{Deserialize, Serialize};

/// Which rows of a key group are gone. The order is "reaches at least as far".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// None.
    Nothing,
    /// Those whose namespace is at most this.
    UpTo(i64),
    /// All.
    All,
}

impl Reach {
    pub(crate) fn of(tombstones: &[Tombstone]) -> Self {
        let reach = |t: &Tombstone| match t {
            Tombstone::NamespacesUpTo(namespace) => Reach::UpTo(*namespace),
            Tombstone::All => Reach::All,
        };
        tombstones.iter().map(reach).max().unwrap_or(Reach::Nothing)
    }

    /// Whether it takes a row. A row without namespace goes with all others only.
    pub(crate) fn takes(self, namespace: Option<i64>) -> bool {
        match self {
            Reach::Nothing => false,
            Reach::UpTo(bound) => namespace.is_some_and(|n| n <= bound),
            Reach::All => true,
        }
    }
}

/// A tombstone with the key groups that it reaches, as it stands in a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredTombstone {
    /// The key groups; empty: all for which its segment counts.
    pub groups: KeyGroupSet,
    /// Rows whose namespace is at most this are gone; `None`: every row.
    pub up_to: Option<i64>,
}

impl StoredTombstone {
    /// For all key groups of its segment; `None` for tombstones that take nothing.
    pub(crate) fn everywhere(reach: Reach) -> Option<Self> {
        Self::within(KeyGroupSet::default(), reach)
    }

    fn within(groups: KeyGroupSet, reach: Reach) -> Option<Self> {
        match reach {
            Reach::Nothing => None,
            Reach::UpTo(bound) => Some(Self { groups, up_to: Some(bound) }),
            Reach::All => Some(Self { groups, up_to: None }),
        }
    }

    pub(crate) fn reach(&self) -> Reach {
        self.up_to.map_or(Reach::All, Reach::UpTo)
    }
}

/// The reach in every key group.
#[derive(Debug, Clone, Default)]
pub(crate) struct Horizon {
    by_group: Vec<Reach>,
}

impl Horizon {
    pub(crate) fn at(&self, group: KeyGroup) -> Reach {
        self.by_group.get(usize::from(group.0)).copied().unwrap_or(Reach::Nothing)
    }

    /// Adds the tombstones of a segment that counts for `counted`.
    pub(crate) fn add(&mut self, tombstones: &[StoredTombstone], counted: &KeyGroupSet) {
        for tombstone in tombstones {
            match tombstone.groups.is_empty() {
                true => self.raise(counted, tombstone.reach()),
                false => self.raise(&tombstone.groups.intersection(counted), tombstone.reach()),
            }
        }
    }

    fn raise(&mut self, within: &KeyGroupSet, reach: Reach) {
        for group in within.iter() {
            let at = usize::from(group.0);
            if self.by_group.len() <= at {
                self.by_group.resize(at + 1, Reach::Nothing);
            }
            self.by_group[at] = reach.max(self.by_group[at]);
        }
    }

    /// The smallest reach in a set of groups.
    pub(crate) fn least(&self, within: &KeyGroupSet) -> Reach {
        within.iter().map(|g| self.at(g)).min().unwrap_or(Reach::Nothing)
    }

    /// As tombstones with their groups, those of `within` only.
    pub(crate) fn tombstones(&self, within: &KeyGroupSet) -> Vec<StoredTombstone> {
        let mut found: BTreeMap<Reach, KeyGroupSet> = BTreeMap::new();
        for group in within.iter() {
            found.entry(self.at(group)).or_default().insert(group);
        }
        found.into_iter().filter_map(|(reach, groups)| StoredTombstone::within(groups, reach)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tombstone_reaches_its_groups_and_no_others() {
        let mut horizon = Horizon::default();
        let range = KeyGroupSet::range;
        let up_to = |groups, bound| StoredTombstone { groups, up_to: bound };
        horizon.add(&[up_to(KeyGroupSet::default(), Some(5))], &range(0, 3));
        let counted = range(3, 4).union(&range(9, 9));
        horizon.add(&[up_to(range(2, 9), Some(7)), up_to(range(9, 9), None)], &counted);
        let reaches: Vec<Reach> = (0..11).map(|g| horizon.at(KeyGroup(g))).collect();
        use Reach::*;
        let expected = [UpTo(5), UpTo(5), UpTo(5), UpTo(7), UpTo(7), Nothing, Nothing, Nothing, Nothing, All, Nothing];
        assert_eq!(reaches, expected);
        assert_eq!(horizon.least(&range(0, 4)), UpTo(5));
        assert_eq!(horizon.least(&range(4, 5)), Nothing);
        let stored = horizon.tombstones(&range(0, 10));
        assert_eq!(stored, [up_to(range(0, 2), Some(5)), up_to(range(3, 4), Some(7)), up_to(range(9, 9), None)]);
    }

    #[test]
    fn a_row_goes_by_its_namespace() {
        assert!(Reach::UpTo(5).takes(Some(5)) && !Reach::UpTo(5).takes(Some(6)) && !Reach::UpTo(5).takes(None));
        assert!(Reach::All.takes(None) && !Reach::Nothing.takes(Some(i64::MIN)));
        let both = [Tombstone::NamespacesUpTo(3), Tombstone::NamespacesUpTo(-4)];
        assert_eq!(Reach::of(&both), Reach::UpTo(3));
        assert_eq!(Reach::of(&[Tombstone::NamespacesUpTo(i64::MAX), Tombstone::All]), Reach::All);
        assert_eq!(Reach::of(&[]), Reach::Nothing);
    }
}
