//! What is deleted, over journals made by hand.

use std::collections::BTreeSet;

use rheos_checkpoint::garbage::{Garbage, StoredObject, collect, delete};
use rheos_checkpoint::journal::{Entry, EntryNumber, Journal};
use rheos_core::{Epoch, ErrorKind, Generation};

use super::{claim, claimed, entry, held_back, journal, manifest, workers};

fn listed(names: &[(&str, u64, u64)]) -> Vec<StoredObject> {
    let object = |(name, generation, epoch): &(&str, u64, u64)| StoredObject {
        name: name.to_string(),
        generation: Generation(*generation),
        epoch: Epoch(*epoch),
    };
    names.iter().map(object).collect()
}

fn collected(journal: &Journal, generation: u64, objects: &[StoredObject]) -> Garbage {
    collect(journal, Generation(generation), &BTreeSet::new(), objects)
}

fn keeping(kept: u32, mut entries: Vec<Entry>) -> Journal {
    for entry in &mut entries {
        if let Entry::Claim(claim) = entry {
            claim.checkpoints_kept = workers(kept);
        }
    }
    journal(entries)
}

#[test]
fn garbage_is_what_nothing_names_and_nobody_can_name() {
    let mut saved = manifest(1, 1, &[("s", 1)], Some(1));
    saved.savepoint = Some("kept".into());
    let mut second = claim(6, Some((4, 1)));
    second.damaged.push("broken".into());
    let entries = vec![
        claimed(1, None),
        entry(saved),
        entry(manifest(1, 2, &[("a", 2)], Some(2))),
        entry(manifest(1, 3, &[("b", 3)], Some(3))),
        entry(manifest(1, 4, &[("dead", 4)], Some(3))),
        Entry::Claim(second),
        entry(manifest(6, 5, &[("b", 3), ("c", 5)], Some(5))),
        entry(manifest(6, 6, &[("c", 5), ("d", 6)], Some(6))),
    ];
    let objects = listed(&[
        ("a", 1, 2),
        ("b", 1, 3),
        ("broken", 1, 4),
        ("c", 6, 5),
        ("compacting", 6, 6),
        ("d", 6, 6),
        ("dead", 1, 4),
        ("late", 1, 9),
        ("left", 6, 6),
        ("next", 6, 7),
        ("s", 1, 1),
        ("successor", 9, 1),
    ]);
    let protected = BTreeSet::from(["compacting".to_string()]);
    let garbage = collect(&keeping(3, entries.clone()), Generation(6), &protected, &objects);
    let names: Vec<String> = ["a", "dead", "late", "left"].map(String::from).into();
    let expected =
        Garbage { entries: vec![EntryNumber(3)], retired: vec![EntryNumber(5)], objects: names, blocked_by: vec![] };
    assert_eq!(garbage, expected);
    let one = collect(&keeping(1, entries), Generation(6), &protected, &[]);
    assert_eq!(one.entries, [3, 4, 7].map(EntryNumber));
}

#[test]
fn the_checkpoint_that_released_output_is_kept_however_old_also_over_generations() {
    let mut entries = held_back();
    assert_eq!(collected(&keeping(1, entries.clone()), 1, &[]).entries, [EntryNumber(3)]);
    // The restored entry 4 goes, and the history behind it is known all the same.
    entries[3] = Entry::Retired;
    entries.push(claimed(5, Some((4, 1))));
    entries.push(entry(manifest(5, 9, &[("d", 9)], Some(5))));
    assert_eq!(collected(&keeping(1, entries), 5, &[]).entries, [EntryNumber(3)]);
}

#[test]
fn nothing_is_deleted_by_who_was_replaced() {
    let objects = listed(&[("x", 1, 1)]);
    assert_eq!(collected(&journal(held_back()), 1, &objects).objects, ["x"]);
    let replaced = journal(held_back().into_iter().chain([claimed(5, Some((4, 1)))]).collect());
    assert_eq!(collected(&replaced, 1, &objects), Garbage::default());
}

#[test]
fn an_entry_that_cannot_be_read_protects_what_it_may_name_and_nothing_newer() {
    let mut entries = held_back();
    entries.push(Entry::Unreadable("cut off".into()));
    entries.push(claimed(6, Some((4, 1))));
    entries.push(entry(manifest(6, 9, &[("d", 9)], Some(5))));
    let objects = listed(&[("old", 1, 1), ("new", 6, 9)]);
    let garbage = collected(&journal(entries), 6, &objects);
    assert_eq!((garbage.objects, garbage.blocked_by), (vec!["new".to_string()], vec![EntryNumber(5)]));
}

#[test]
fn a_job_started_without_state_keeps_what_it_had_until_it_has_a_checkpoint() {
    let objects = listed(&[("a", 1, 5), ("b", 1, 6), ("c", 1, 7), ("x", 1, 7)]);
    let mut entries = held_back();
    entries.push(claimed(5, None));
    let garbage = collected(&journal(entries.clone()), 5, &objects);
    assert_eq!((garbage.entries, garbage.retired, garbage.objects), (vec![], vec![], vec!["x".to_string()]));
    entries.push(entry(manifest(5, 9, &[("d", 9)], None)));
    let garbage = collected(&journal(entries), 5, &objects);
    assert_eq!((garbage.entries, garbage.retired), ([2, 3].map(EntryNumber).to_vec(), vec![EntryNumber(4)]));
    assert_eq!(garbage.objects, ["a", "b", "c", "x"]);
}

#[test]
fn a_user_may_delete_what_the_job_can_do_without() {
    let mut entries = held_back();
    let deleted = |entries: &[Entry], number| delete(&journal(entries.to_vec()), EntryNumber(number));
    assert_eq!(deleted(&entries, 3).unwrap().entries, [EntryNumber(3)]);
    for (number, code) in [(4, "R0616"), (2, "R0616"), (1, "R0608"), (9, "R0608")] {
        assert_eq!(deleted(&entries, number).unwrap_err().code(), code, "{number}");
    }
    assert_eq!(deleted(&entries, 4).unwrap_err().kind(), ErrorKind::Conflict);
    entries.push(claimed(5, Some((4, 1))));
    entries.push(entry(manifest(5, 9, &[], Some(9))));
    assert_eq!(deleted(&entries, 4).unwrap().retired, [EntryNumber(4)]);
}
