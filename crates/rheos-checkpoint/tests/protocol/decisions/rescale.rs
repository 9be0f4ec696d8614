//! Who reads what, by hand and for all assignments.

use proptest::prelude::*;
use rheos_checkpoint::manifest::{KeyGroupSet, owner_ranges};
use rheos_checkpoint::rescale::{SegmentRead, assign, even, plan};
use rheos_core::key::{KeyGroup, KeyGroupAssignment};
use rheos_core::state::TableKind;
use rheos_core::{OperatorId, WorkerId};

use super::{manifest, object, workers};

fn set(groups: &[u16]) -> KeyGroupSet {
    groups.iter().copied().map(KeyGroup).collect()
}

#[test]
fn tables_go_to_workers_by_their_kind() {
    let mut m = manifest(1, 9, &[], None);
    m.objects = vec![object("a", 1, 5), object("b", 6, 6)];
    m.objects[0].segments[0].groups = set(&[0, 2, 3]);
    for (kind, table, holder) in [
        (TableKind::Split, "buffer", 0),
        (TableKind::Split, "buffer", 1),
        (TableKind::Split, "buffer", 2),
        (TableKind::Broadcast, "rules", 0),
        (TableKind::Single, "total", 2),
    ] {
        let mut part = object("b", 6, 6).segments.remove(0);
        part.groups = KeyGroupSet::default();
        (part.kind, part.table, part.holder) = (kind, table.into(), WorkerId(holder));
        m.objects[1].segments.push(part);
    }
    let plans = plan(&m, &KeyGroupAssignment::from_owners(vec![1, 0, 0, 1]), workers(2));
    let reads = |w: usize| {
        let read =
            |r: &SegmentRead| (r.object.clone(), r.segment.table.clone(), r.groups.clone(), r.unit.0, r.is_holder);
        plans[w].reads.iter().map(read).collect::<Vec<_>>()
    };
    let of = |object: &str, table: &str, groups: &[u16], unit, is_holder| {
        (object.to_string(), table.to_string(), set(groups), unit, is_holder)
    };
    let expected = [
        of("b", "buffer", &[], 0, true),
        of("b", "buffer", &[], 2, true),
        of("b", "rules", &[], 0, true),
        of("a", "slices", &[2], 0, true),
        of("b", "slices", &[1, 2], 0, true),
        of("b", "total", &[], 0, true),
    ];
    assert_eq!(reads(0), expected);
    let expected = [
        of("b", "buffer", &[], 1, true),
        of("b", "rules", &[], 0, false),
        of("a", "slices", &[0, 3], 0, true),
        of("b", "slices", &[0, 3], 0, true),
    ];
    assert_eq!(reads(1), expected);
    let rewritten = (OperatorId::from("tumble-1"), "buffer".to_string());
    assert!(plans[0].rewrites.iter().eq([&rewritten]) && plans[1].rewrites.is_empty());
}

#[test]
fn a_worker_more_takes_its_share_and_no_other_group_moves() {
    let two = KeyGroupAssignment::from_owners(vec![0, 0, 0, 1, 1, 1]);
    let three = assign(&two, &even(workers(3)));
    assert_eq!(three.owners(), [0, 0, 2, 1, 1, 2]);
    assert_eq!(assign(&three, &even(workers(2))).owners(), [0, 0, 0, 1, 1, 1]);
    assert_eq!(owner_ranges(&three).len(), 4);
}

#[test]
fn a_stronger_worker_owns_more_and_none_owns_nothing() {
    let before = KeyGroupAssignment::even(12, 1);
    let loads = |capacities: &[u32]| {
        let capacities: Vec<_> = capacities.iter().map(|c| workers(*c)).collect();
        let owners = assign(&before, &capacities);
        (0..capacities.len()).map(|w| owners.groups_of(w).len()).collect::<Vec<_>>()
    };
    assert_eq!(loads(&[1, 3, 2]), [2, 6, 4]);
    // 12 * 2/7, 2/7, 3/7 is 3.43, 3.43, 5.14: the one group that is left goes to the largest remainder, the first of two.
    assert_eq!(loads(&[2, 2, 3]), [4, 3, 5]);
    assert_eq!(loads(&[1000, 1, 1]), [10, 1, 1]);
    assert_eq!(loads(&[u32::MAX, u32::MAX]), [6, 6]);
    assert_eq!(assign(&before, &[]).owners(), [0; 12]);
}

proptest! {
    #![proptest_config(rheos_testkit::cases(200))]

    #[test]
    fn every_group_has_one_owner_and_loads_are_even(owners in prop::collection::vec(0..9_u32, 9..200), n in 1..9_u32) {
        let next = assign(&KeyGroupAssignment::from_owners(owners.clone()), &even(workers(n)));
        prop_assert_eq!(next.owners().len(), owners.len());
        let load = |w: u32| next.owners().iter().filter(|o| **o == w).count();
        let loads: Vec<usize> = (0..n).map(load).collect();
        prop_assert_eq!(loads.iter().sum::<usize>(), owners.len());
        prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{:?}", loads);
        // A group moves only if its owner is gone or has its share.
        for (group, before) in owners.iter().enumerate() {
            let moved = next.owners()[group] != *before;
            prop_assert!(!moved || *before >= n || load(*before) >= owners.len() / n as usize);
        }
    }
}
